package repair_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/repair"
	"firn/internal/store"
)

// three backups of files that share some content.
func threeBackups(t testing.TB, class string, parity int) *world {
	w := newWorld(t, class, parity)
	var files [][]byte
	for i := range 6 {
		files = append(files, random(uint64(i), 30_000+i*1000))
	}
	w.backup(w.mem, 70_000, files...)
	files = append(files, random(100, 50_000))
	w.backup(w.mem, 70_000, files...)
	files[0] = random(101, 20_000)
	w.backup(w.mem, 70_000, files...)
	return w
}

func TestNothingWrong(t *testing.T) {
	w := threeBackups(t, "", 5)
	before := w.all()
	p, res := w.repair(w.mem, func(o *repair.Options) { o.ReadData = true })
	if len(p.Steps) > 0 || !res.Well() || p.Read == 0 || p.Read != p.Packs {
		t.Errorf("%d steps, %d of %d read: %s", len(p.Steps), p.Read, p.Packs, outcomes(res))
	}
	if after := w.all(); len(after) != len(before) {
		t.Errorf("%d objects, were %d", len(after), len(before))
	}
	w.expectSame(before)
}

func TestParity(t *testing.T) {
	for name, damage := range map[string]func(w *world, pack string){
		"bytes": func(w *world, pack string) { w.flip(pack, 9000, 700) },
		"head":  func(w *world, pack string) { w.flip(pack, 0, 300) },
		"tail":  func(w *world, pack string) { raw := get(w.t, w.mem, pack); w.mem.Replace(pack, raw[:len(raw)-100]) },
		"insertion": func(w *world, pack string) {
			raw := get(w.t, w.mem, pack)
			w.mem.Replace(pack, slices.Insert(raw, len(raw)/2, []byte("some")...))
		},
		"with volume": func(w *world, pack string) {
			w.flip(pack, 9000, 700)
			w.flip(pack+".par2", 100, 3)
		},
		"volume alone": func(w *world, pack string) { w.flip(pack+".par2", 200, 1000) },
		"volume gone":  func(w *world, pack string) { w.must(w.mem.Delete(ctx, pack+".par2")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := threeBackups(t, "", 10)
			before := w.all()
			damage(w, w.names("data/", "")[1])
			damage(w, w.names("meta/", "")[0])
			_, res := w.repair(w.mem, func(o *repair.Options) { o.ReadData = true })
			if !res.Well() || res.Count(repair.Mended) == 0 {
				t.Errorf("%s", outcomes(res))
			}
			w.expectSame(before)
		})
	}
}

// TestHeadWithoutParity: the index knows how a pack begins.
func TestHeadWithoutParity(t *testing.T) {
	w := threeBackups(t, "", 0)
	before := w.all()
	w.flip(w.names("data/", "")[0], 30, 20)
	if _, res := w.repair(w.mem, func(o *repair.Options) { o.Objects = w.names("data/", "")[:1] }); !res.Well() {
		t.Errorf("%s", outcomes(res))
	}
	w.expectSame(before)
}

func TestIndex(t *testing.T) {
	for name, damage := range map[string]func(w *world){
		"gone":    func(w *world) { w.must(w.mem.Delete(ctx, w.names("index/", "")[0])) },
		"wrecked": func(w *world) { w.flip(w.names("index/", "")[1], 400, 1) },
		"all": func(w *world) {
			for i, n := range w.names("index/", "") {
				if i == 1 {
					w.flip(n, 100, 1)
				} else {
					w.must(w.mem.Delete(ctx, n))
				}
			}
		},
		"all, and packs damaged": func(w *world) {
			for _, n := range w.names("index/", "") {
				w.must(w.mem.Delete(ctx, n))
			}
			pack := w.names("data/", "")[0]
			raw := get(w.t, w.mem, pack)
			w.flip(pack, len(raw)-50, 30)
			w.flip(w.names("meta/", "")[0], 0, 10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := threeBackups(t, "", 10)
			before, files := w.all(), w.readable(w.mem)
			damage(w)
			_, res := w.repair(w.mem, nil)
			if !res.Well() {
				t.Errorf("%s\n%+v", outcomes(res), res.Hurt)
			}
			if got := w.readable(w.mem); len(got) != len(files) {
				t.Errorf("%d files can be read, were %d", len(got), len(files))
			}
			w.expectSame(before, "index/")
			for _, n := range w.names("index/", "") {
				if strings.HasSuffix(n, "x") {
					t.Error(n)
				}
			}
			if p, res := w.repair(w.mem, func(o *repair.Options) { o.ReadData = true }); len(p.Steps) > 0 {
				t.Errorf("again: %s", outcomes(res))
			}
			w.backup(w.mem, 70_000, random(1, 31_000), random(500, 10_000)) // a writer believes the new index
		})
	}
}

func TestLostPackHeals(t *testing.T) {
	w := threeBackups(t, "", 5)
	files := w.readable(w.mem)
	lost := w.names("data/", "")[0]
	w.must(w.mem.Delete(ctx, lost))
	p, res := w.repair(w.mem, nil)
	if len(p.Hurt) == 0 || len(res.Hurt) == 0 || res.Well() || res.Count(repair.Marked) != 1 || len(res.Steps) != 1 {
		t.Fatalf("%s, %d hurt", outcomes(res), len(res.Hurt))
	}
	if _, res := w.repair(w.mem, nil); res.Count(repair.Marked) != 1 || len(w.names("prune/", "")) != 1 {
		t.Errorf("again: %s, %v", outcomes(res), w.names("prune/", ""))
	}
	w.backup(w.mem, 70_000, append(append([][]byte(nil), w.texts[w.items[1].ID]...), w.texts[w.items[2].ID]...)...)
	_, res = w.repair(w.mem, nil)
	if !res.Well() || res.Count(repair.Healed) != 1 {
		t.Errorf("%s, %d hurt", outcomes(res), len(res.Hurt))
	}
	got := w.readable(w.mem)
	for f := range files {
		if !got[f] {
			t.Errorf("%s cannot be read", f)
		}
	}
}

func TestBeyondHelp(t *testing.T) {
	w := threeBackups(t, "", 5)
	pack := w.names("data/", "")[0]
	raw := get(t, w.mem, pack)
	w.flip(pack, len(raw)/4, len(raw)/2)
	before := w.readable(w.mem)
	_, res := w.repair(w.mem, func(o *repair.Options) { o.ReadData = true })
	if res.Well() || res.Count(repair.Marked) != 1 || len(res.Hurt) == 0 || len(res.Hurt[0].Files) == 0 {
		t.Errorf("%s", outcomes(res))
	}
	after := w.readable(w.mem)
	for f := range before {
		if !after[f] {
			t.Errorf("%s was readable before", f)
		}
	}
}

// late is a store whose listings lack an object that is there.
type late struct {
	store.Store
	name string
}

func (l late) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	return l.Store.List(ctx, prefix, after, func(i store.Info) error {
		if i.Name == l.name {
			return nil
		}
		return fn(i)
	})
}

// TestLateListing: what a listing lacks and the store has is left as it is, with its date. A mark that was made again looked younger than it was, and a listing that was late hid it from the next prune.
func TestLateListing(t *testing.T) {
	w := threeBackups(t, "", 5)
	before, dates := w.all(), map[string]time.Time{}
	for name := range before {
		info, err := w.mem.Stat(ctx, name)
		w.must(err)
		dates[name] = info.Modified
	}
	for name := range before {
		if strings.HasPrefix(name, "index/") || strings.HasPrefix(name, "prune/") {
			continue // what only a listing names is not known of without it
		}
		p, res := w.repair(late{w.mem, name}, func(o *repair.Options) { o.ReadData = true })
		if len(p.Steps) > 0 || !res.Well() {
			t.Errorf("%s: %d steps: %s", name, len(p.Steps), outcomes(res))
		}
		for name, at := range dates {
			if info, err := w.mem.Stat(ctx, name); err != nil || !info.Modified.Equal(at) {
				t.Fatalf("%s is of %v, was of %v, %v", name, info.Modified, at, err)
			}
		}
	}
	w.expectSame(before)
}
