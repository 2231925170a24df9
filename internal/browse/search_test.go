package browse_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firn/internal/browse"
	"firn/internal/snapshot"
)

// past makes some snapshots of a folder in which files come, change and go.
func past(w *world, steps int) (items []snapshot.Item, trees []map[string]string) {
	r := rand.New(rand.NewPCG(7, 7))
	now := map[string]string{}
	for step := range steps {
		for range 4 {
			name := fmt.Sprintf("d%d/f%d.txt", r.IntN(2), r.IntN(6))
			if r.IntN(3) == 0 {
				delete(now, name)
				_ = os.Remove(filepath.Join(w.src, name))
			} else {
				now[name] = strings.Repeat("x", step+r.IntN(3)*100)
				w.write(name, now[name])
			}
		}
		w.full = step == steps/2 // another epoch
		s := w.backup()
		items = append(items, snapshot.Item{Snapshot: s, Marked: true})
		tree := map[string]string{}
		for k, v := range now {
			tree[k] = v
		}
		trees = append(trees, tree)
	}
	return items, trees
}

func TestSearch(t *testing.T) {
	w := newWorld(t)
	items, trees := past(w, 9)
	r, scope := w.open()
	newest := slices.Clone(items)
	slices.Reverse(newest)
	want := map[string]snapshot.ID{} // the newest snapshot that has a path
	for i, tree := range trees {
		for name := range tree {
			want[name] = items[i].ID
		}
	}
	match := func(path []byte, dir bool) bool { return !dir && bytes.Contains(path, []byte("f")) }
	got := map[string]snapshot.ID{}
	_, err := browse.Search(t.Context(), r, scope, browse.SearchOptions{Match: match, Snapshots: newest}, func(h *browse.Hit) error {
		if _, ok := got[string(h.Path)]; ok {
			t.Errorf("%q twice", h.Path)
		}
		got[string(h.Path)] = h.Snapshot.ID
		return nil
	})
	w.must(err)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("want %v\n got %v", want, got)
	}
	stop, at, again := errors.New("stop"), browse.Position{}, map[string]snapshot.ID{}
	for n := 0; ; n++ { // taken up after every hit
		at, err = browse.Search(t.Context(), r, scope, browse.SearchOptions{Match: match, Snapshots: newest, After: at}, func(h *browse.Hit) error {
			if _, ok := again[string(h.Path)]; !ok { // one that went away twice may come twice
				again[string(h.Path)] = h.Snapshot.ID
			}
			return stop
		})
		if !errors.Is(err, stop) || n > 1000 {
			break
		}
	}
	w.must(err)
	if fmt.Sprint(again) != fmt.Sprint(want) {
		t.Errorf("piecemeal: want %v\n got %v", want, again)
	}
	var below []string
	_, err = browse.Search(t.Context(), r, scope, browse.SearchOptions{Match: match, Snapshots: newest[:1], Below: []byte("/d1/")}, func(h *browse.Hit) error { below = append(below, string(h.Path)); return nil })
	w.must(err)
	for name := range trees[len(trees)-1] {
		if strings.HasPrefix(name, "d1/") != slices.Contains(below, name) {
			t.Errorf("%q below d1: %q", name, below)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := browse.Search(ctx, r, scope, browse.SearchOptions{Match: match, Snapshots: newest}, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestVersions(t *testing.T) {
	w := newWorld(t)
	items, trees := past(w, 20)
	r, scope := w.open()
	for d := range 2 {
		for f := range 7 {
			name := fmt.Sprintf("d%d/f%d.txt", d, f)
			at := len(items)
			err := browse.Versions(t.Context(), r, scope, browse.VersionsOptions{Path: []byte(name), Snapshots: items}, func(v *browse.Version) error {
				at -= v.Count
				if at < 0 || v.First.ID != items[at].ID || v.Last.ID != items[at+v.Count-1].ID {
					t.Fatalf("%s: %d snapshots from %d on", name, v.Count, at)
				}
				for k := at; k < at+v.Count; k++ {
					content, ok := trees[k][name]
					if ok != (v.Type == "file") || ok && int64(len(content)) != v.Size {
						t.Errorf("%s in snapshot %d: %+v", name, k, v.Entry)
					}
				}
				return nil
			})
			if err != nil || at != 0 {
				t.Errorf("%s: %v, %d are left", name, err, at)
			}
		}
	}
	if err := browse.Versions(t.Context(), r, scope, browse.VersionsOptions{}, nil); err != nil {
		t.Error(err)
	}
}

func TestOpenFile(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(1, 1))
	large := make([]byte, 9<<20)
	for i := 0; i < len(large); i += 3 {
		large[i] = byte(r.Uint32())
	}
	clear(large[2<<20 : 5<<20])
	w.write("large", string(large))
	w.write("small", "hello")
	w.write("empty", "")
	w.must(os.Link(filepath.Join(w.src, "large"), filepath.Join(w.src, "link")))
	v := w.view(w.backup())
	for name, want := range map[string][]byte{"large": large, "link": large, "small": []byte("hello"), "empty": nil} {
		f, err := v.OpenFile(t.Context(), []byte(name))
		w.must(err)
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) || f.Size() != int64(len(want)) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		for range 30 {
			at := r.Int64N(int64(len(want)) + 1)
			n := min(r.Int64N(3<<20), int64(len(want))-at)
			_, err := f.Seek(at-int64(len(want)), io.SeekEnd)
			w.must(err)
			got := make([]byte, n)
			if _, err := io.ReadFull(f, got); err != nil || !bytes.Equal(got, want[at:at+n]) {
				t.Fatalf("%s at %d: %v", name, at, err)
			}
		}
		if _, err := f.Seek(-1, io.SeekStart); err == nil {
			t.Error("before the beginning")
		}
		w.must(f.Close())
		packs, lost, err := v.Packs(t.Context(), []byte(name), browse.CatOptions{})
		if err != nil || lost != 0 || (len(packs) > 0) != (len(want) > 0) {
			t.Errorf("%s: %v, %d, %v", name, packs, lost, err)
		}
	}
	if _, err := v.OpenFile(t.Context(), nil); !errors.Is(err, browse.ErrNotFile) {
		t.Error(err)
	}
}
