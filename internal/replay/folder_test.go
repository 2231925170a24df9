package replay_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"firn/internal/replay"
	"firn/internal/source"
	"firn/internal/store/mem"
)

func TestFolder(t *testing.T) {
	w := newWorld(t, mem.Options{})
	first := []source.Point{{Stream: "tank/home.zfs", Of: "home", ID: "1", At: "1"}}
	second := []source.Point{{Stream: "tank/home.zfs", Of: "home", ID: "2", At: "2", From: "1", FromAt: "1"}}
	w.fill(1, 200<<10, "tank/home.zfs", "tank/other")
	base := w.backup(nil, first)
	old := w.content["tank/home.zfs"]
	w.fill(7, 300<<10, "tank/home.zfs")
	it := w.backup(&base, second, "tank/other")

	dir := filepath.Join(w.base, "a", "out")
	s := w.streams(it)
	f := s.Folder(dir, false)
	run := func(f *replay.Folder) (*replay.Result, error) {
		t.Helper()
		missing, err := s.Missing(t.Context(), f)
		if err != nil {
			return nil, err
		}
		return s.Run(context.Background(), f, missing)
	}
	res, err := run(f)
	w.must(err)
	links := s.Links()
	if res.Links != 3 || f.Name(links[0]) == f.Name(links[1]) || filepath.Ext(f.Name(links[0])) != ".zfs" || f.Name(links[2]) != filepath.Join("tank", "other") {
		t.Errorf("%+v", res)
	}
	for i, want := range [][]byte{old, w.content["tank/home.zfs"], w.content["tank/other"]} {
		got, err := os.ReadFile(filepath.Join(dir, f.Name(links[i])))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", f.Name(links[i]), len(got), err)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "tank")); err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
	if res, err = run(f); err != nil || res.Links != 0 || res.Had != 3 {
		t.Errorf("%+v, %v", res, err)
	}
	// What is there and is something else.
	other := filepath.Join(dir, "tank", "other")
	w.must(os.WriteFile(other, []byte("mine"), 0o600))
	var unfit *source.TargetError
	if _, err := run(f); !errors.As(err, &unfit) || !unfit.Exists {
		t.Error(err)
	}
	if res, err = run(s.Folder(dir, true)); err != nil || res.Links != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	// A damaged stream leaves nothing, and no way leads out of the folder.
	w.must(os.Remove(other))
	for _, name := range w.packs() {
		b := w.object(name)
		b[len(b)/2] ^= 1
		w.st.Replace(name, b)
	}
	if res, err = run(f); err != nil || res.Failed != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "tank")); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	outside := t.TempDir()
	dir2 := filepath.Join(w.base, "b")
	w.must(os.Mkdir(dir2, 0o755))
	w.must(os.Symlink(outside, filepath.Join(dir2, "tank")))
	if _, err := run(s.Folder(dir2, false)); err == nil {
		t.Error("went through a link out of the folder")
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("left %v outside", entries)
	}
}
