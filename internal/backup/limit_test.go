package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"firn/internal/backup"
	"firn/internal/snapshot"
	"firn/internal/store/limit"
)

// fill writes small files around large ones, of content that neither repeats nor compresses, and returns how much that is.
func (w *world) fill(seed uint64, small, large, largeSize int) (total int64) {
	rng := rand.New(rand.NewPCG(seed, 11))
	put := func(name string, size int) {
		w.write(name, string(noise(rng, size)))
		total += int64(size)
	}
	for i := range small {
		put(fmt.Sprintf("d%d/f%d", i%7, i), 2000+rng.IntN(9000))
	}
	for i := range large {
		put(fmt.Sprintf("d%d/big", 2*i), largeSize)
	}
	if err := os.Link(filepath.Join(w.src, "d0/big"), filepath.Join(w.src, "d1/linked")); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
	return total
}

// limited runs until nothing stops a run, and returns how much content all of them stored, and how many there were.
func (w *world) limited(begin func() (check func(res *backup.Result))) (done *backup.Result, added int64, runs int) {
	w.t.Helper()
	for {
		check := begin()
		res, err := w.try(w.t.Context())
		runs++
		var stopped *backup.LimitError
		if err != nil && !errors.As(err, &stopped) {
			w.t.Fatalf("run %d: %v", runs, err)
		}
		if stopped != nil && (!res.Partial || res.Limit != stopped.Limit) {
			w.t.Fatalf("run %d: %+v after %v", runs, res, err)
		}
		check(res)
		if res.Snapshot != nil {
			added += res.Snapshot.Stats.BytesAdded
		}
		if stopped == nil {
			return res, added, runs
		}
		if res.Snapshot == nil || res.Snapshot.Stats.BytesAdded+res.Snapshot.Stats.BytesStored == 0 {
			w.t.Fatalf("run %d got no further: %+v", runs, res)
		}
		if runs > 400 {
			w.t.Fatal("it does not end")
		}
	}
}

// TestUploadLimit: runs that may send little end with what they sent in a partial snapshot, send no more than they may but for the last object or two, and all of them together send
// everything once.
func TestUploadLimit(t *testing.T) {
	for _, c := range []struct {
		name         string
		most         int64
		small, large int
		size         int
		slack        int64 // a chunk and a bundle for each worker, which may have been at it, and a few small objects
		workers      int
		local        bool
		leastRuns    int
	}{
		{name: "a byte", most: 1, small: 60, large: 1, size: 3 << 20, slack: 3 << 20, workers: 1, leastRuns: 2},
		{name: "some", most: 3 << 20, small: 300, large: 3, size: 5 << 20, slack: 5 << 20, workers: 2, leastRuns: 3},
		{name: "enough", most: 1 << 30, small: 50, large: 1, size: 3 << 20, workers: 2, leastRuns: 1},
		{name: "a folder", most: 3 << 20, small: 200, large: 2, size: 5 << 20, slack: 5 << 20, workers: 2, local: true, leastRuns: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			total := w.fill(3, c.small, c.large, c.size)
			healthy := w.st
			var sent atomic.Int64
			if c.local {
				w.st = limit.New(healthy, limit.Options{Sent: &sent})
			} else {
				w.st = limit.New(&watched{healthy, func(string) {}, func(string) {}}, limit.Options{Sent: &sent})
			}
			w.opts = func(o *backup.Options) {
				o.PackSize, o.Workers, o.MaxUpload, o.Sent = 1<<20, c.workers, c.most, sent.Load
			}
			var all int64
			res, added, runs := w.limited(func() func(*backup.Result) {
				sent.Store(0)
				return func(res *backup.Result) {
					n := sent.Load()
					all += n
					if c.slack > 0 && n > c.most+c.slack {
						t.Errorf("a run has sent %d bytes, and may send %d", n, c.most)
					}
				}
			})
			if added != total {
				t.Errorf("the runs stored %d bytes of content, and there are %d", added, total)
			}
			if runs < c.leastRuns {
				t.Errorf("%d runs", runs)
			}
			t.Logf("%d runs sent %d bytes for %d", runs, all, total)
			w.st = healthy
			w.verify(res.Snapshot)
			w.checkScope(res.Snapshot.ID)
		})
	}
}

// TestTimeLimit: a run whose time is over while it sends keeps what it has stored; nothing of it is sent again.
func TestTimeLimit(t *testing.T) {
	w := newWorld(t)
	total := w.fill(4, 200, 3, 6<<20)
	healthy := w.st
	var over chan struct{}
	var once *sync.Once
	var packs, most int
	w.st = &watched{healthy, func(string) {}, func(name string) {
		if strings.HasPrefix(name, "data/") && strings.Count(name, ".") == 0 {
			if packs++; packs >= most {
				once.Do(func() { close(over) })
			}
		}
	}}
	w.opts = func(o *backup.Options) { o.PackSize, o.Workers, o.Uploads, o.Until = 1<<20, 2, 1, over }
	res, added, runs := w.limited(func() func(*backup.Result) {
		over, once, packs, most = make(chan struct{}), new(sync.Once), 0, 3
		return func(res *backup.Result) {
			if res.Partial && res.Limit != backup.ByTime {
				t.Errorf("%+v", res)
			}
		}
	})
	if added != total {
		t.Errorf("the runs stored %d bytes of content, and there are %d", added, total)
	}
	if runs < 2 {
		t.Errorf("%d runs", runs)
	}
	w.st = healthy
	w.verify(res.Snapshot)
	w.checkScope(res.Snapshot.ID)
}

// TestTimeIsOver: a run that has no time at all begins nothing, and leaves nothing behind.
func TestTimeIsOver(t *testing.T) {
	w := newWorld(t)
	w.fill(5, 10, 1, 3<<20)
	over := make(chan struct{})
	close(over)
	w.opts = func(o *backup.Options) { o.Until = over }
	for range 3 {
		res, err := w.try(t.Context())
		var stopped *backup.LimitError
		if err != nil && !errors.As(err, &stopped) {
			t.Fatal(err)
		}
		if stopped != nil && (res.Limit != backup.ByTime || !res.Partial) {
			t.Errorf("%+v", res)
		}
	}
	w.opts = nil
	w.verify(w.backup().Snapshot)
}

// TestLimitAtTheEnd: one that is through when its time is over is done.
func TestLimitAtTheEnd(t *testing.T) {
	w := newWorld(t)
	w.write("a", "a")
	w.settle()
	healthy, over := w.st, make(chan struct{})
	var once sync.Once
	w.st = &watched{healthy, func(name string) {
		if strings.HasPrefix(name, "snapshots/") {
			once.Do(func() { close(over) })
		}
	}, func(string) {}}
	w.opts = func(o *backup.Options) { o.Until, o.MaxUpload = over, 1 }
	res, err := w.try(t.Context())
	if err != nil || res.Partial || res.Limit != "" {
		t.Errorf("%+v, %v", res, err)
	}
	w.st = healthy
	w.verify(res.Snapshot)
}

// TestLimitOfStreams: a stream is cut off, its producer ends, and no snapshot is done; what was stored of it is kept, and not stored again.
func TestLimitOfStreams(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(9, 9))
	contents := map[string][]byte{"a": noise(rng, 3<<20), "b": noise(rng, 12<<20)}
	faucets := func(at func(int)) []*faucet {
		return []*faucet{{path: "a", content: contents["a"], failAt: -1, step: 1 << 18}, {path: "b", content: contents["b"], failAt: -1, step: 1 << 18, at: at}}
	}
	over, closed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.opts = func(o *backup.Options) { o.Until, o.Workers = over, 2 }
	cut := faucets(func(off int) {
		if off >= 6<<20 {
			once.Do(func() { close(over) })
			<-closed // silent from here on
		}
	})
	cut[1].closed = func() { close(closed) }
	res, err := w.tryStreams(t.Context(), chained{at: 1}, cut...)
	var stopped *backup.LimitError
	if !errors.As(err, &stopped) || stopped.Limit != backup.ByTime || res == nil || res.Snapshot == nil || !res.Partial || len(res.Snapshot.Points) != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if w.latest() != nil {
		t.Error("a snapshot is done")
	}
	_, s := w.open()
	if n := len(w.packs(s, res.Snapshot)); n < 3 {
		t.Errorf("the partial snapshot names %d packs", n)
	}
	first := res.Snapshot.Stats.BytesAdded
	w.opts = nil
	done := w.streams(chained{at: 1}, faucets(nil)...)
	if total := first + done.Snapshot.Stats.BytesAdded; total != 15<<20 {
		t.Errorf("%d bytes were stored", total)
	}
	w.verifyStreams(done.Snapshot, contents)
	w.checkScope(done.Snapshot.ID)
}

// TestShrink: a source that has lost more than it may fails, and its last snapshot stays the last.
func TestShrink(t *testing.T) {
	share := func(x float64) *float64 { return &x }
	for _, c := range []struct {
		name     string
		lose     func(w *world)
		most     *float64
		notEmpty bool
		full     bool
		fails    bool
	}{
		{name: "all, not judged", lose: (*world).empty},
		{name: "all", lose: (*world).empty, notEmpty: true, fails: true},
		{name: "all, of a share", lose: (*world).empty, most: share(.5), fails: true},
		{name: "all, in full", lose: (*world).empty, most: share(.5), full: true, fails: true},
		{name: "all, all may go", lose: (*world).empty, most: share(1)},
		{name: "nothing", lose: func(*world) {}, most: share(0), notEmpty: true},
		{name: "half", lose: func(w *world) { w.remove("a") }, most: share(.5), notEmpty: true},
		{name: "more than half", lose: func(w *world) { w.remove("a"); w.remove("b/0") }, most: share(.5), fails: true},
		{name: "a file of none", lose: func(w *world) { w.remove("b/0") }, most: share(0), fails: true},
		{name: "bytes", lose: func(w *world) {
			for i := range 4 {
				w.write(fmt.Sprintf("a/%d", i), "")
				w.write(fmt.Sprintf("b/%d", i), "")
			}
		}, most: share(.5), fails: true},
		{name: "bytes, by hand", lose: func(w *world) {
			for i := range 4 {
				w.write(fmt.Sprintf("a/%d", i), "")
				w.write(fmt.Sprintf("b/%d", i), "")
			}
		}, notEmpty: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			for i := range 4 {
				w.write(fmt.Sprintf("a/%d", i), "aaaa")
				w.write(fmt.Sprintf("b/%d", i), "bbbb")
			}
			w.settle()
			first := w.backup().Snapshot
			c.lose(w)
			w.settle()
			w.opts = func(o *backup.Options) { o.MaxShrink, o.NotEmpty, o.Full = c.most, c.notEmpty, c.full }
			res, err := w.try(t.Context())
			var shrunk *backup.ShrinkError
			if errors.As(err, &shrunk) != c.fails || !c.fails && err != nil {
				t.Fatalf("%v", err)
			}
			if !c.fails {
				w.verify(res.Snapshot)
				return
			}
			if shrunk.Last != first.ID || shrunk.LastFiles != 8 || shrunk.LastBytes != 32 || shrunk.Files > 8 || res != nil {
				t.Errorf("%+v, %+v", shrunk, res)
			}
			if _, s := w.open(); len(s.Items) != 1 || s.Items[0].ID != first.ID || s.Items[0].Status() != snapshot.IsDone {
				t.Errorf("%d snapshots are left", len(s.Items))
			}
			w.opts = nil // what comes back is what it was
			for i := range 4 {
				w.write(fmt.Sprintf("a/%d", i), "aaaa")
				w.write(fmt.Sprintf("b/%d", i), "bbbb")
			}
			w.settle()
			again := w.backup().Snapshot
			w.verify(again)
			if again.Stats.Files != 8 || again.Sequence != 2 {
				t.Errorf("%+v", again.Stats)
			}
		})
	}
}

// TestShrinkOfBegun: what a first backup has sent before it reached a limit a folder that is empty now does not void.
func TestShrinkOfBegun(t *testing.T) {
	half := .5
	for _, c := range []struct {
		most     *float64
		notEmpty bool
		lose     func(w *world)
		fails    bool
	}{
		{notEmpty: true, lose: (*world).clear, fails: true},
		{most: &half, lose: (*world).clear, fails: true},
		{lose: (*world).clear},
		{most: &half, lose: func(w *world) { w.clear(); w.write("left", "x") }}, // how much there was nobody knows
	} {
		w := newWorld(t)
		w.fill(7, 60, 1, 3<<20)
		w.opts = func(o *backup.Options) { o.PackSize, o.Workers, o.MaxUpload = 1<<20, 1, 1 }
		begun, err := w.try(t.Context())
		var limit *backup.LimitError
		if !errors.As(err, &limit) || begun.Snapshot == nil || begun.Snapshot.Stats.Files == 0 {
			t.Fatalf("%+v, %v", begun, err)
		}
		c.lose(w)
		w.settle()
		w.opts = func(o *backup.Options) { o.MaxShrink, o.NotEmpty = c.most, c.notEmpty }
		res, err := w.try(t.Context())
		var shrunk *backup.ShrinkError
		if errors.As(err, &shrunk) != c.fails || !c.fails && err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if !c.fails {
			w.verify(res.Snapshot)
			continue
		}
		_, s := w.open()
		if voided := snapshot.Voided(s.Items); len(s.Items) != 1 || len(voided) != 0 || shrunk.Last != begun.Snapshot.ID || shrunk.LastFiles == 0 {
			t.Errorf("%d snapshots, %d voided, %+v", len(s.Items), len(voided), shrunk)
		}
	}
}

// clear removes all that is in the folder.
func (w *world) clear() {
	list, err := os.ReadDir(w.src)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range list {
		w.remove(e.Name())
	}
}

func (w *world) empty() { w.remove("a"); w.remove("b") }

func (w *world) remove(name string) {
	if err := os.RemoveAll(filepath.Join(w.src, name)); err != nil {
		w.t.Fatal(err)
	}
}

// TestShrinkOfStreams: of streams it counts whether there are any, where it is dumps that there are to be.
func TestShrinkOfStreams(t *testing.T) {
	half := .5
	for _, chain := range []int{0, 1} {
		w := newWorld(t)
		w.streams(chained{at: chain}, &faucet{path: "d/a", content: bytes.Repeat([]byte("a"), 1000), failAt: -1, step: 100}, &faucet{path: "d/b", content: []byte("b"), failAt: -1, step: 100})
		w.opts = func(o *backup.Options) { o.MaxShrink = &half }
		res, err := w.tryStreams(context.Background(), chained{at: chain}, &faucet{path: "d/b", content: []byte("b"), failAt: -1, step: 100})
		if err != nil || res.Snapshot.Stats.Files != 1 {
			t.Fatalf("one of two: %v", err)
		}
		_, err = w.tryStreams(context.Background(), chained{at: chain})
		var shrunk *backup.ShrinkError
		if !errors.As(err, &shrunk) || shrunk.LastFiles != 1 {
			t.Errorf("none of one: %v", err)
		}
	}
}
