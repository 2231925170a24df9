package rewrite_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/repo"
	"firn/internal/rewrite"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// history makes three snapshots: the first without the folder that is to go.
func (w *world) history() {
	w.write("keep/a", 1, 300)
	w.write("keep/large", 2, 300<<10)
	w.backup()
	w.write("secret/plan", 3, 2000)
	w.write("secret/large", 4, 400<<10)
	w.write("secret/sub/x", 5, 100)
	w.must(os.Symlink("plan", filepath.Join(w.base, "src", "secret", "link")))
	w.backup()
	w.write("keep/b", 6, 5000)
	w.backup()
}

func TestRewrite(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.history()
	before := w.items()
	var want []map[string]string
	for _, it := range before {
		want = append(want, without(w.content(it), below("secret")))
	}
	p, res := w.rewrite("/secret")
	if len(p.Snapshots) != 2 || len(res.Replaced) != 2 || len(p.Skipped)+len(res.Skipped) > 0 || p.Looked != 3 {
		t.Fatalf("%+v, %+v", p, res)
	}
	if a := p.Snapshots[0]; a.Files != 3 || a.Dirs != 2 || a.Others != 1 || a.Bytes != 2100+400<<10 || string(p.Paths[0]) != "secret" || len(p.Paths) != 1 {
		t.Errorf("%+v, %q", a, p.Paths)
	}
	after := w.items()
	if len(after) != 3 || after[0].ID != before[0].ID {
		t.Fatalf("%d snapshots", len(after))
	}
	for i, it := range after {
		old := before[i]
		if got := w.content(it); !maps.Equal(got, want[i]) {
			t.Errorf("snapshot %d: %d entries, want %d", i, len(got), len(want[i]))
		}
		if it.Status() != snapshot.IsDone || it.Sequence != old.Sequence || !it.Start.Equal(old.Start) || it.Host != old.Host || it.Source.ID != old.Source.ID || !it.Stored.Equal(old.Stored) {
			t.Errorf("%+v is not in the place of %+v", it, old)
		}
		if i > 0 && (it.Previous.ID != after[i-1].ID || it.Previous.Sum != after[i-1].Sum || !slices.Equal(it.Rewrites, []snapshot.Link{{ID: old.ID, Sum: old.Sum}})) {
			t.Errorf("snapshot %d follows %v and rewrites %v", i, it.Previous, it.Rewrites)
		}
	}
	if res.Freed.Packs == 0 || res.Freed.Bytes < 300<<10 || res.Stored == 0 || res.Forgotten != 2 {
		t.Errorf("%+v", res)
	}
	w.sound()
	if p, err := rewrite.Make(ctx, w.options("/secret")); err != nil || !p.Nothing() {
		t.Errorf("again: %+v, %v", p, err)
	}
	w.rewrite("keep/b")
	again := w.items()
	if len(again) != 3 || len(again[2].Rewrites) != 2 || again[2].Rewrites[1].ID != before[2].ID || again[1].ID != after[1].ID {
		t.Errorf("the third snapshot rewrites %v", again[2].Rewrites)
	}
	w.sound()
}

// A snapshot that is not touched may follow one that is replaced: its link leads to what the stand-in names.
func TestLinksThroughStandIns(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.write("a", 1, 100)
	w.write("b", 2, 100)
	w.backup()
	w.must(os.Remove(filepath.Join(w.base, "src", "b")))
	w.backup()
	before := w.items()
	w.rewrite("b")
	after := w.items()
	if len(after) != 2 || after[1].ID != before[1].ID || after[1].Previous.ID != before[0].ID || after[0].Rewrites[0] != *after[1].Previous {
		t.Errorf("%+v", after)
	}
	h := snapshot.Histories(after)[0]
	if err := h.CheckHead(snapshot.Head{Source: h.Source, Snapshot: before[0].ID, Sequence: 1, Sum: before[0].Sum}); err != nil {
		t.Error(err)
	}
	w.sound()
}

// The next backup goes on from the stand-in: it reads nothing that has not changed, and stores again only what the source still has.
func TestBackupGoesOn(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.history()
	w.rewrite("/secret")
	w.must(os.RemoveAll(filepath.Join(w.base, "src", "secret", "sub")))
	w.must(os.RemoveAll(filepath.Join(w.base, "src", "secret")))
	w.write("keep/c", 9, 100)
	res := w.backup()
	if res.Snapshot.Stats.BytesRead > 200 || res.Snapshot.Stats.FilesUnchanged != 3 || res.Snapshot.Stats.FilesNew != 1 {
		t.Errorf("%+v", res.Snapshot.Stats)
	}
	items := w.items()
	last := items[len(items)-1]
	if last.Sequence != 4 || last.Previous.ID != items[2].ID {
		t.Errorf("%+v", last)
	}
	for path := range w.content(last) {
		if strings.HasPrefix(path, "secret") {
			t.Errorf("%q is back", path)
		}
	}
	w.sound()
}

// What the source still has comes back with the next backup, without being read again.
func TestSourceStillHasIt(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.history()
	want := w.content(w.items()[2])
	w.rewrite("/secret")
	res := w.backup()
	items := w.items()
	if got := w.content(items[len(items)-1]); !maps.Equal(got, want) || res.Snapshot.Stats.BytesRead > 0 {
		t.Errorf("%d entries of %d, %d bytes read", len(got), len(want), res.Snapshot.Stats.BytesRead)
	}
	w.sound()
}

func TestHardLinks(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.write("a/first", 1, 200<<10)
	w.link("a/first", "a/second")
	w.link("a/first", "b/third")
	w.link("a/first", "c/fourth")
	w.write("d", 2, 100)
	w.backup()
	want := w.content(w.items()[0])
	for _, c := range []struct {
		pattern string
		dir     string
	}{{"/a/first", "a/first"}, {"/a", "a"}, {"/b", "b"}} {
		p, _ := w.rewrite(c.pattern)
		if len(p.Snapshots) != 1 {
			t.Fatalf("%s: %+v", c.pattern, p)
		}
		want = without(want, below(c.dir))
		if got := w.content(w.items()[0]); !maps.Equal(got, want) {
			t.Errorf("after %s: %d entries, want %d", c.pattern, len(got), len(want))
		}
		w.sound()
	}
}

func TestEverything(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.history()
	p, err := rewrite.Make(ctx, w.options("/"+strings.TrimPrefix(filepath.Join(w.base, "src"), "/")))
	if err != nil || len(p.Snapshots) > 0 || len(p.Skipped) != 3 || !errors.Is(p.Skipped[0].Err, rewrite.ErrEverything) {
		t.Errorf("%+v, %v", p, err)
	}
	w.rewrite("*")
	for _, it := range w.items() {
		if got := w.content(it); len(got) != 1 || it.Stats.Dirs != 1 {
			t.Errorf("%v", got)
		}
	}
	w.sound()
	r, err := repo.Open(ctx, w.st, repo.Access{Host: w.access.Host}, repo.Options{})
	w.must(err)
	o := w.options("x")
	o.Repo = r
	if _, err := rewrite.Make(ctx, o); !errors.Is(err, repo.ErrWriteOnly) {
		t.Error(err)
	}
}

// Packs that hold something else as well stay, and are told; where that is wanted they are retired, and the next backup stores again what it needs.
func TestStillThere(t *testing.T) {
	for _, retire := range []bool{false, true} {
		w := newWorld(t, mem.Options{})
		for i := range 20 {
			w.write(fmt.Sprintf("f%02d", i), uint64(i), 400)
		}
		w.backup()
		o := w.options("f07")
		o.Retire = retire
		p, err := rewrite.Make(ctx, o)
		w.must(err)
		res, err := rewrite.Run(ctx, o, p)
		w.must(err)
		if res.Still.Packs != 1 || res.Freed.Bytes > 4<<10 || retire != (res.Retired.Packs == 1) {
			t.Errorf("retire %v: %+v", retire, res)
		}
		w.sound()
		w.must(os.Remove(filepath.Join(w.base, "src", "f07")))
		if read := w.backup().Snapshot.Stats.BytesRead; (read > 0) != retire {
			t.Errorf("retire %v: the next backup reads %d bytes", retire, read)
		}
		w.sound()
	}
}

// A pack that a chain needs, or that the next link of one may be built on, is not retired: nobody could send again what is in it.
func TestPacksOfChainsAreNotRetired(t *testing.T) {
	for _, based := range []bool{false, true} {
		w := newWorld(t, mem.Options{})
		for i := range 20 {
			w.write(fmt.Sprintf("f%02d", i), uint64(i), 400)
		}
		w.backup()
		old := w.items()[0]
		r, err := repo.Open(ctx, w.mem, repo.Access{Host: w.access.Host}, repo.Options{})
		w.must(err)
		s, err := r.Load(ctx, w.access.Host.ScopeID, true)
		w.must(err)
		names, err := s.PackNames(ctx, old.Snapshot)
		w.must(err)
		stream := func(base snapshot.ID, sequence byte, points []snapshot.Point) snapshot.ID {
			out, err := r.NewWriter(ctx, s, repo.WriterOptions{Lanes: 1})
			w.must(err)
			out.ReferencePacks(names)
			link := *old.Snapshot
			link.ID, link.Source, link.Previous, link.Packs = snapshot.ID{sequence, 9}, snapshot.Origin{ID: snapshot.Source{sequence}, Kind: "zfs", Name: "tank"}, nil, nil
			link.Base, link.Points = base, points
			item, err := out.Publish(ctx, &link)
			w.must(err)
			w.must(out.Confirm(ctx, item))
			return link.ID
		}
		if based {
			stream(stream(snapshot.ID{}, 1, nil), 2, nil)
		} else {
			stream(snapshot.ID{}, 1, []snapshot.Point{{Of: "tank", At: "a", ID: "1", Stream: "f00"}})
		}
		o := w.options("f07")
		o.Retire, o.Choose = true, func(it snapshot.Item) bool { return it.ID == old.ID }
		p, err := rewrite.Make(ctx, o)
		w.must(err)
		res, err := rewrite.Run(ctx, o, p)
		w.must(err)
		if len(res.Replaced) != 1 || res.Still.Packs != 1 || res.Retired.Packs != 0 {
			t.Errorf("based %v: %+v", based, res)
		}
	}
}

// Whatever is taken out of whatever history, what is left is what was there.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, mem.Options{})
		name := func() string {
			return fmt.Sprintf("%c/%c/%d", 'a'+rune(r.IntN(3)), 'a'+rune(r.IntN(3)), r.IntN(4))
		}
		for range 4 {
			for range 6 {
				path := name()
				switch full := filepath.Join(w.base, "src", path); r.IntN(5) {
				case 0:
					_ = os.Remove(full)
				case 1:
					_ = os.Remove(full)
					w.must(os.MkdirAll(filepath.Dir(full), 0o755))
					_ = os.Link(filepath.Join(w.base, "src", name()), full)
				default:
					_ = os.Remove(full)
					w.write(path, r.Uint64(), []int{0, 10, 3000, 200 << 10}[r.IntN(4)])
				}
			}
			w.backup()
		}
		for range 3 {
			dir := string(rune('a' + r.IntN(3)))
			if r.IntN(2) == 0 {
				dir += "/" + string(rune('a'+r.IntN(3)))
			}
			before := w.items()
			var want []map[string]string
			for _, it := range before {
				want = append(want, without(w.content(it), below(dir)))
			}
			w.rewrite("/" + dir)
			after := w.items()
			if len(after) != len(before) {
				t.Fatalf("seed %d: %d snapshots of %d", seed, len(after), len(before))
			}
			for i := range after {
				if got := w.content(after[i]); !maps.Equal(got, want[i]) {
					t.Errorf("seed %d: %s taken out of snapshot %d: %d entries, want %d", seed, dir, i, len(got), len(want[i]))
				}
			}
		}
		w.sound()
		w.backup()
		w.sound()
	}
}

// Killed before or after any write, each snapshot is there, as it was or without what was to go, and the next run ends it.
func TestKilledAtEveryWrite(t *testing.T) {
	steps := 0
	for _, after := range []bool{false, true} {
		for n := 0; ; n++ {
			w := newWorld(t, mem.Options{})
			w.history()
			before := w.items()
			cut := &cutting{Store: w.mem, late: after}
			cut.left.Store(int64(n))
			w.st = cut
			o := w.options("/secret")
			p, err := rewrite.Make(ctx, o)
			w.must(err)
			_, err = rewrite.Run(ctx, o, p)
			if ended := cut.left.Load() >= 0; ended != (err == nil) {
				t.Fatalf("cut at %d: %v", n, err)
			}
			w.st = w.mem
			there := map[uint64]int{}
			for _, it := range w.items() {
				if it.Status() == snapshot.IsDone {
					there[it.Sequence]++
				}
			}
			for _, it := range before {
				if there[it.Sequence] == 0 {
					t.Fatalf("cut at %d: number %d is lost", n, it.Sequence)
				}
			}
			_, res := w.rewrite("/secret")
			items := w.items()
			if len(items) != 3 || len(res.Skipped) > 0 {
				t.Fatalf("cut at %d: %d snapshots, %+v", n, len(items), res)
			}
			for _, it := range items {
				for path := range w.content(it) {
					if strings.HasPrefix(path, "secret") {
						t.Errorf("cut at %d: %q is in number %d", n, path, it.Sequence)
					}
				}
			}
			if n%8 == 0 {
				w.sound()
			}
			if err == nil {
				break
			}
			steps++
		}
	}
	if steps < 20 {
		t.Errorf("only %d cuts", steps)
	}
}

// cutting is a store that takes so many writes and fails from then on; late: the write that fails has its effect.
type cutting struct {
	store.Store
	left atomic.Int64
	late bool
}

var errCut = errors.New("cut off")

func (c *cutting) Put(cx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	left := c.left.Add(-1)
	if left >= 0 {
		return c.Store.Put(cx, name, r, size, o)
	}
	if left == -1 && c.late {
		if err := c.Store.Put(cx, name, r, size, o); err != nil {
			return err
		}
	}
	return errCut
}

// A pruner that retires a pack while the stand-in is made: that one is never done, and the old snapshot stays.
func TestPackIsRetiredMeanwhile(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.history()
	before := w.items()
	r, err := repo.Open(ctx, w.mem, repo.Access{Secrets: w.access.Secrets}, repo.Options{})
	w.must(err)
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	var data []digest.Object
	names, err := s.PackNames(ctx, before[0].Snapshot)
	w.must(err)
	for _, n := range names {
		info, ok, err := s.Set().Find(n)
		w.must(err)
		if ok && info.Kind == chunk.Data {
			data = append(data, n)
		}
	}
	done := false
	w.st = &onPut{w.mem, func(name string) {
		if strings.HasPrefix(name, "snapshots/") && !done {
			done = true
			_, err := s.Retire(ctx, data[:1], nil)
			w.must(err)
		}
	}}
	for range 2 { // the second time it is known before anything is stored
		_, res := w.rewrite("/secret")
		if len(res.Replaced) > 0 || len(res.Skipped) != 2 || !errors.Is(res.Skipped[0].Err, rewrite.ErrRetired) {
			t.Fatalf("%+v", res)
		}
		items := w.items()
		for i, it := range items {
			if it.ID != before[i].ID || it.Status() != snapshot.IsDone {
				t.Errorf("%v is %v", it.ID, it.Status())
			}
		}
		if len(items) != 3 {
			t.Errorf("%d snapshots", len(items))
		}
	}
	w.sound()
}

// onPut is a store that calls before each write.
type onPut struct {
	store.Store
	call func(name string)
}

func (o *onPut) Put(cx context.Context, name string, r io.ReadSeeker, size int64, opt store.PutOptions) error {
	o.call(name)
	return o.Store.Put(cx, name, r, size, opt)
}

// Two runs side by side make two stand-ins of a snapshot; the next run leaves one.
func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.history()
	a, b := w.options("/secret"), w.options("/secret")
	pa, err := rewrite.Make(ctx, a)
	w.must(err)
	pb, err := rewrite.Make(ctx, b)
	w.must(err)
	for i, p := range []*rewrite.Plan{pa, pb} {
		res, err := rewrite.Run(ctx, []rewrite.Options{a, b}[i], p)
		if err != nil || len(res.Replaced) != 2 {
			t.Fatalf("run %d: %+v, %v", i, res, err)
		}
	}
	if n := len(w.items()); n != 5 {
		t.Fatalf("%d snapshots", n)
	}
	_, res := w.rewrite("/secret")
	if n := len(w.items()); n != 3 || res.Forgotten != 2 || len(res.Replaced) > 0 {
		t.Errorf("%d snapshots, %+v", n, res)
	}
	w.sound()
}

// Many stand-ins leave few indexes behind.
func TestIndexesAreMerged(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.write("secret", 1, 100)
	for i := range 10 {
		w.write("a", uint64(i), 100)
		w.backup()
	}
	count := func() (n int) {
		w.must(w.mem.List(ctx, "index/", "", func(store.Info) error { n++; return nil }))
		return n
	}
	before := count()
	if _, res := w.rewrite("secret"); len(res.Replaced) != 10 {
		t.Fatalf("%+v", res)
	}
	if after := count(); after > before+3 {
		t.Errorf("%d indexes, there were %d", after, before)
	}
	w.sound()
	w.backup()
}
