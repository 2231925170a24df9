package wizard_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/web/webtest"
)

// large is a file that takes a while.
func (w *world) large(bytes int) (*snapshot.Snapshot, string) {
	content := make([]byte, bytes)
	_, _ = rand.Read(content)
	return w.Backup("films", func(string) { w.Write("films", "film", string(content)) }), string(content)
}

// raw sends a form and leaves the answer to be read.
func (w *world) raw(ctx context.Context, client *http.Client, p *webtest.Page, action string) (*http.Response, error) {
	w.t.Helper()
	address, form := w.form(p, action, "")
	form.Set("csrf", w.GetBy(client, "/webtest/csrf").Body)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL+address, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", w.URL)
	return client.Do(r)
}

// TestBroken: a download that lacks something is broken off, so that no browser takes it for whole, and what failed is named.
func TestBroken(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	s := w.photos()
	w.fill(s, "")
	p := w.press(w.plan(s, "download", "", ""), "/restore/go", "Download")
	packs := 0
	err := filepath.WalkDir(filepath.Join(w.Repo, "data"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".par2") {
			return err
		}
		packs++
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		raw[len(raw)/2] ^= 1
		return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, raw, 0o600))
	})
	if err != nil || packs == 0 {
		t.Fatal(err, packs)
	}
	res, err := w.raw(t.Context(), w.NewClient(), p, "/download")
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if res.StatusCode == 200 && err == nil {
		t.Error("a damaged archive looks whole")
	}
	w.wants(w.until(p.URL.Path, badge("failed"), badge("done")), 200, badge("failed"), "What it said", "c.txt")

	// Into a folder the rest is restored, and what failed is named.
	w.fill(s, "")
	p = w.ended(w.press(w.plan(s, "folder", filepath.Join(w.Base, "out"), ""), "/restore/go", "Restore"))
	w.wants(p, 200, badge("partly"), "What failed", "c.txt", "7 failed", "Try what failed again")
}

// TestLeft: a browser that leaves a download stops the child, and it can be had again. A second one at the same time is refused.
func TestLeft(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	s, _ := w.large(48 << 20) // more than lies between the child and a browser that does not read
	w.fill(s, "film")
	p := w.press(w.plan(s, "download", "", ""), "/restore/go", "Download")
	ctx, leave := context.WithCancel(t.Context())
	res, err := w.raw(ctx, w.NewClient(), p, "/download")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 600)); err != nil {
		t.Fatal(err)
	}
	w.wants(w.Get(p.URL.Path), 200, "Being downloaded", badge("running"))
	w.wants(w.Post(p.URL.Path+"/download", nil), 409, "being downloaded already")
	w.wants(w.Post(p.URL.Path+"/forget", nil), 409, "stop it first")
	leave()
	_ = res.Body.Close()
	w.wants(w.until(p.URL.Path, badge("stopped"), badge("failed"), badge("done")), 200, badge("stopped"), "Download") // ready: the child has ended, and how it did is not written yet
}

// TestPruned: a snapshot that went between plan and going, or between stopping and going on, is told as such.
func TestPruned(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	s := w.photos()
	w.photos()
	target := filepath.Join(w.Base, "out")
	w.fill(s, "b")
	plan := w.plan(s, "folder", target, "")
	w.fill(s, "b", "c.txt")
	ready := w.press(w.plan(s, "download", "", ""), "/restore/go", "Download")
	w.fill(s, "b")
	var gone []string
	err := w.Store.List(t.Context(), "snapshots/", "", func(i store.Info) error {
		if strings.Contains(i.Name, s.ID.String()) {
			gone = append(gone, i.Name)
		}
		return nil
	})
	if err != nil || len(gone) == 0 {
		t.Fatal(err)
	}
	for _, name := range gone {
		if err := os.Remove(filepath.Join(w.Repo, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
	p := w.press(plan, "/restore/go", "Restore")
	w.wants(p, 410, "is gone: it was forgotten or pruned since", "choose the same files from another snapshot")
	w.wants(w.Get("/r/nas/restore"), 200, "is gone: it was forgotten or pruned since", "Drop this basket")
	w.wants(w.Post("/r/nas/restore/remove", url.Values{"snapshot": {s.ID.String()}, "all": {"1"}}), 200, "The basket is empty")
	if p := w.press(ready, "/download", "Download"); p.Status < 400 || !p.Has("no such snapshot") {
		t.Errorf("%d\n%s", p.Status, p.Body)
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("the target was made")
	}
}

// TestFull: a disk that is too small is told before and when it is full, and the restore goes on once there is room.
func TestFull(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	disk := filepath.Join(w.Base, "disk")
	change := smallDisk(t, disk)
	s, content := w.large(3 << 20)
	w.fill(s, "")
	target := filepath.Join(disk, "out")
	p := w.plan(s, "folder", target, "")
	w.wants(p, 200, "there is too little room at the target")
	p = w.ended(w.press(p, "/restore/go", "Restore"))
	w.wants(p, 200, badge("failed"), "no space left on device", "make room")
	change("size=20m", false)
	w.press(p, "/on", "Go on")
	p = w.ended(w.until(p.URL.Path, badge("done"), badge("failed"), badge("running")))
	w.wants(p, 200, badge("done"))
	if got := tree(t, target); !maps.Equal(got, map[string]string{"film": content}) {
		t.Errorf("%d files", len(got))
	}
	change("size=20m", true)
	w.fill(s, "")
	p = w.ended(w.press(w.plan(s, "folder", filepath.Join(disk, "more"), ""), "/restore/go", "Restore"))
	w.wants(p, 200, badge("failed"), "read-only file system")
}
