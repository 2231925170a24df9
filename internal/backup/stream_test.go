package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/manifest"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/source/stream"
	"firn/internal/store"
)

// faucet is a producer in memory.
type faucet struct {
	path    string
	content []byte
	failAt  int  // -1: it does not
	once    bool // a second time it has nothing
	step    int  // bytes a read at most
	at      func(offset int)
	closed  func() // by whoever reads, once

	opened, open atomic.Int64
}

var errFaucet = &source.ProducerError{Program: "faucet", Stderr: "dry", Err: errors.New("exit status 1")}

func (f *faucet) stream() source.Stream {
	return source.Stream{Path: f.path, Open: func(ctx context.Context) (io.ReadCloser, error) {
		if f.opened.Add(1) > 1 && f.once {
			return nil, source.ErrOnce
		}
		f.open.Add(1)
		return &flow{f: f, ctx: ctx}, nil
	}}
}

type flow struct {
	f    *faucet
	ctx  context.Context
	off  int
	once sync.Once
}

func (r *flow) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, r.ctx.Err()
	}
	if r.f.at != nil {
		r.f.at(r.off)
	}
	end := len(r.f.content)
	if r.f.failAt >= 0 {
		end = r.f.failAt
	}
	if r.off == end && r.f.failAt >= 0 {
		return 0, errFaucet
	}
	if r.off == end {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), max(r.f.step, 1))], r.f.content[r.off:end])
	r.off += n
	return n, nil
}

func (r *flow) Close() error {
	r.once.Do(func() {
		r.f.open.Add(-1)
		if r.f.closed != nil {
			r.f.closed()
		}
	})
	return nil
}

// chained describes a stream that leads from a state to the next.
type chained struct {
	base *snapshot.Item
	at   int // its own number; 0: no points
}

func (w *world) tryStreams(ctx context.Context, c chained, faucets ...*faucet) (*backup.Result, error) {
	w.t.Helper()
	r, s, err := w.openToWrite(ctx)
	if err != nil {
		return nil, err
	}
	var streams []source.Stream
	var points []source.Point
	for _, f := range faucets {
		streams = append(streams, f.stream())
		if c.at > 0 {
			p := source.Point{Stream: f.path, Of: f.path, At: fmt.Sprint("at", c.at), ID: fmt.Sprint("id", c.at)}
			if c.base != nil {
				p.From, p.FromAt = c.base.Points[0].ID, c.base.Points[0].At
			}
			points = append(points, p)
		}
	}
	tree, err := stream.NewTree(ctx, streams, time.Unix(1_800_000_000, 5))
	if err != nil {
		w.t.Fatal(err)
	}
	defer tree.Close()
	o := backup.Options{
		Repo: r, Scope: s, State: w.state(r), Tree: tree, Host: "nas", Source: w.streamOrigin(), Program: "test",
		Stream: &backup.Stream{Base: c.base, Points: points}, PackSize: 1 << 20, FlushAfter: time.Hour,
	}
	if w.opts != nil {
		w.opts(&o)
	}
	res, err := backup.Run(ctx, o)
	for _, f := range faucets {
		if n := f.open.Load(); n != 0 {
			w.t.Errorf("%q: %d are left open", f.path, n)
		}
	}
	return res, err
}

func (w *world) streamOrigin() snapshot.Origin {
	o := snapshot.Origin{Kind: "command", Path: []byte("streams")}
	o.ID = snapshot.SourceID(w.access.Host.Scope().SourceKey(), o.Kind, "nas", "", o.Path)
	return o
}

func (w *world) streams(c chained, faucets ...*faucet) *backup.Result {
	w.t.Helper()
	res, err := w.tryStreams(w.t.Context(), c, faucets...)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// verifyStreams reads a snapshot back: it holds just these streams.
func (w *world) verifyStreams(snap *snapshot.Snapshot, want map[string][]byte) {
	w.t.Helper()
	left := len(want)
	w.read(snap, func(e *manifest.Entry, content []byte) {
		if e.Type != manifest.File {
			return
		}
		if expected, ok := want[string(e.Path)]; !ok || !bytes.Equal(expected, content) {
			w.t.Errorf("%q: %d bytes differ from %d", e.Path, len(content), len(expected))
		}
		left--
	})
	if left != 0 {
		w.t.Errorf("%d streams are missing", left)
	}
}

func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// latest returns the newest done snapshot of the streams.
func (w *world) latest() *snapshot.Item {
	_, s := w.open()
	var last *snapshot.Item
	for i, it := range s.Items {
		if it.Source.ID == w.streamOrigin().ID && it.Status() == snapshot.IsDone && (last == nil || it.Sequence > last.Sequence) {
			last = &s.Items[i]
		}
	}
	return last
}

// TestStreamsAgainstModel: what is done holds the streams to the byte; a producer that fails leaves no snapshot and hurts none.
func TestStreamsAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 9))
		w := newWorld(t)
		kept := map[snapshot.ID]map[string][]byte{}
		snaps := map[snapshot.ID]*snapshot.Snapshot{}
		shared := noise(rng, 3<<20)
		for range 6 {
			faucets, want, fails := randomFaucets(rng, shared)
			res, err := w.tryStreams(t.Context(), chained{}, faucets...)
			if fails {
				if !errors.Is(err, errFaucet) || res != nil {
					t.Fatalf("seed %d: %v, %v", seed, res, err)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				var total int64
				for _, content := range want {
					total += int64(len(content))
				}
				if st := res.Snapshot.Stats; st.Bytes != total || st.BytesRead != total || st.Files != int64(len(want)) || res.Unchanged || st.BytesAdded > total {
					t.Errorf("seed %d: %+v for %d bytes in %d streams", seed, st, total, len(want))
				}
				kept[res.Snapshot.ID], snaps[res.Snapshot.ID] = want, res.Snapshot
			}
		}
		_, s := w.open()
		for _, it := range s.Items {
			if _, ok := kept[it.ID]; !ok && it.Complete {
				t.Errorf("seed %d: a snapshot of failed streams is %v", seed, it.Status())
			}
		}
		for id, want := range kept {
			w.verifyStreams(snaps[id], want)
		}
	}
}

// randomFaucets are streams of all sizes, parts of which many have in common. At most one of them fails.
func randomFaucets(rng *rand.Rand, shared []byte) (faucets []*faucet, want map[string][]byte, fails bool) {
	want = map[string][]byte{}
	names := []string{"a", "b/c", "b/d", "e.sql", "z z"}
	for _, name := range names[:1+rng.IntN(len(names))] {
		size := []int{0, 1, rng.IntN(3000), rng.IntN(1 << 20), rng.IntN(6 << 20)}[rng.IntN(5)]
		f := &faucet{path: name, failAt: -1, step: []int{512, 4096, 100_000, 1 << 20}[rng.IntN(4)]}
		if common := rng.IntN(len(shared)); common < size {
			f.content = append(f.content, shared[:common]...)
			size -= common
		}
		f.content = append(f.content, noise(rng, size)...)
		faucets = append(faucets, f)
		want[name] = f.content
	}
	if fails = rng.IntN(3) == 0; fails {
		f := faucets[rng.IntN(len(faucets))]
		f.failAt = rng.IntN(len(f.content) + 1)
	}
	return faucets, want, fails
}

// TestStreamGoesOn: what an interrupted run has sent, the next one does not send again.
func TestStreamGoesOn(t *testing.T) {
	for _, cut := range []int64{3, 8, 13} {
		w := newWorld(t)
		w.opts = func(o *backup.Options) { o.FlushPacks, o.Grace = 4, time.Millisecond }
		content := noise(rand.New(rand.NewPCG(uint64(cut), 2)), 16<<20)
		healthy := w.st
		d := &dying{Store: healthy, after: true}
		d.left.Store(cut)
		w.st = d
		if _, err := w.tryStreams(t.Context(), chained{}, &faucet{path: "s", content: content, failAt: -1, step: 1 << 20}); !errors.Is(err, errDead) {
			t.Fatal(err)
		}
		w.st = healthy
		var sent int64
		err := healthy.List(t.Context(), "data/", "", func(i store.Info) error { sent += i.Size; return nil })
		if err != nil || sent == 0 {
			t.Fatal(sent, err)
		}
		res := w.streams(chained{}, &faucet{path: "s", content: content, failAt: -1, step: 1 << 20})
		w.verifyStreams(res.Snapshot, map[string][]byte{"s": content})
		if again := res.Snapshot.Stats.BytesAdded; res.Resumed == 0 || again > int64(len(content))-sent*99/100 {
			t.Errorf("%d of %d bytes were sent before, and %d afterwards", sent, len(content), again)
		}
		w.checkScope(res.Snapshot.ID)
	}
}

// retire takes away the packs of a snapshot.
func (w *world) retire(snap *snapshot.Snapshot) {
	_, s := w.open()
	if _, err := s.Retire(context.Background(), w.packs(s, snap), nil); err != nil {
		w.t.Error(err)
	}
}

// TestStreamRetiredMeanwhile: what a stream has in common with an older snapshot is retired while it runs. It is produced and sent once more; who cannot produce twice fails.
func TestStreamRetiredMeanwhile(t *testing.T) {
	for _, once := range []bool{false, true} {
		w := newWorld(t)
		content := noise(rand.New(rand.NewPCG(3, 3)), 5<<20)
		first := w.streams(chained{}, &faucet{path: "s", content: content, failAt: -1, step: 1 << 20})
		var retire sync.Once
		longer := &faucet{path: "s", content: append(slices.Clone(content), content[:2<<20]...), failAt: -1, step: 1 << 20, once: once}
		longer.at = func(off int) {
			if off == len(longer.content) {
				retire.Do(func() { w.retire(first.Snapshot) })
			}
		}
		res, err := w.tryStreams(t.Context(), chained{}, longer)
		if once {
			if !errors.Is(err, source.ErrOnce) {
				t.Errorf("got %v, %v", res, err)
			}
			if last := w.latest(); last.ID != first.Snapshot.ID {
				t.Errorf("snapshot %v is done", last.ID)
			}
			continue
		}
		if err != nil || longer.opened.Load() != 2 {
			t.Fatalf("opened %d times, %v", longer.opened.Load(), err)
		}
		w.verifyStreams(res.Snapshot, map[string][]byte{"s": longer.content})
		_, s := w.open()
		old := w.packs(s, first.Snapshot)
		for _, name := range w.packs(s, res.Snapshot) {
			if slices.Contains(old, name) {
				t.Errorf("pack %v is retired", name)
			}
		}
	}
}

// TestBaseRetired: an increment whose base has lost a pack, before or while it runs, is none.
func TestBaseRetired(t *testing.T) {
	for _, when := range []string{"before", "meanwhile", "base of the base"} {
		w := newWorld(t)
		rng := rand.New(rand.NewPCG(4, 4))
		first := w.streams(chained{at: 1}, &faucet{path: "s", content: noise(rng, 2<<20), failAt: -1, step: 1 << 20})
		second := w.streams(chained{base: w.latest(), at: 2}, &faucet{path: "s", content: noise(rng, 1<<20), failAt: -1, step: 1 << 20})
		third := &faucet{path: "s", content: noise(rng, 1<<20), failAt: -1, step: 1 << 18}
		base := w.latest()
		var retire sync.Once
		switch when {
		case "before":
			w.retire(second.Snapshot)
		case "base of the base":
			w.retire(first.Snapshot)
		case "meanwhile":
			third.at = func(off int) {
				if off > 0 {
					retire.Do(func() { w.retire(second.Snapshot) })
				}
			}
		}
		_, err := w.tryStreams(t.Context(), chained{base: base, at: 3}, third)
		var wrong *backup.BaseError
		if !errors.As(err, &wrong) || wrong.Base != base.ID {
			t.Errorf("%s: got %v", when, err)
		}
		if last := w.latest(); last.ID != second.Snapshot.ID {
			t.Errorf("%s: snapshot %v is done", when, last.ID)
		}
		full := w.streams(chained{at: 3}, &faucet{path: "s", content: third.content, failAt: -1, step: 1 << 20})
		if !full.Snapshot.Base.IsZero() {
			t.Errorf("%s: the full one has a base", when)
		}
		w.verifyStreams(full.Snapshot, map[string][]byte{"s": third.content})
	}
}

// TestBaseForgotten: an increment is not done whose base, or what that is built on, is forgotten before it could be listed. To start over does not help: the caller is told to make a full.
func TestBaseForgotten(t *testing.T) {
	for _, when := range []string{"before", "meanwhile", "base of the base"} {
		w := newWorld(t)
		rng := rand.New(rand.NewPCG(5, 5))
		first := w.streams(chained{at: 1}, &faucet{path: "s", content: noise(rng, 1<<20), failAt: -1, step: 1 << 20})
		second := w.streams(chained{base: w.latest(), at: 2}, &faucet{path: "s", content: noise(rng, 1<<20), failAt: -1, step: 1 << 20})
		base := w.latest()
		forget := func() {
			id := second.Snapshot.ID
			if when == "base of the base" {
				id = first.Snapshot.ID
			}
			_, s := w.open()
			if _, err := s.Retire(context.Background(), nil, []snapshot.ID{id}); err != nil {
				t.Error(err)
			}
		}
		third := &faucet{path: "s", content: noise(rng, 1<<20), failAt: -1, step: 1 << 18}
		var once sync.Once
		third.at = func(off int) {
			if off == len(third.content) {
				once.Do(forget)
			}
		}
		if when == "before" {
			once.Do(forget)
		}
		_, err := w.tryStreams(t.Context(), chained{base: base, at: 3}, third)
		var wrong *backup.BaseError
		if !errors.As(err, &wrong) || wrong.Base != base.ID {
			t.Errorf("%s: got %v", when, err)
		}
		full := w.streams(chained{at: 3}, &faucet{path: "s", content: third.content, failAt: -1, step: 1 << 20})
		if !full.Snapshot.Base.IsZero() {
			t.Errorf("%s: the full one has a base", when)
		}
		w.verifyStreams(full.Snapshot, map[string][]byte{"s": third.content})
	}
}

// watched tells of the objects that are put.
type watched struct {
	store.Store
	before, put func(name string)
}

func (s *watched) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	s.before(name)
	err := s.Store.Put(ctx, name, r, size, o)
	if err == nil {
		s.put(name)
	}
	return err
}

// TestLongStreamIsKept: a partial snapshot appears while a stream runs, and names what was stored of that until then, so that nobody takes it away.
func TestLongStreamIsKept(t *testing.T) {
	w := newWorld(t)
	w.opts = func(o *backup.Options) { o.FlushPacks, o.Workers, o.Uploads = 1, 1, 32 }
	rng := rand.New(rand.NewPCG(5, 5))
	content := noise(rng, 20<<20)
	partial, midway := make(chan struct{}), make(chan struct{}) // no pack lands before so much was read that some chunks are done with
	var once, passed sync.Once
	healthy := w.st
	w.st = &watched{healthy, func(name string) {
		if strings.HasPrefix(name, "data/") {
			<-midway
		}
	}, func(name string) {
		if strings.HasPrefix(name, "snapshots/") {
			once.Do(func() { close(partial) })
		}
	}}
	long := &faucet{path: "s", content: content, failAt: -1, step: 1 << 20}
	var named int
	long.at = func(off int) {
		if off >= 14<<20 {
			passed.Do(func() { close(midway) })
		}
		if off != len(content) {
			return
		}
		<-partial // the stream does not end before
		_, s := w.open()
		for _, it := range s.Items {
			if it.Complete || it.Status() != snapshot.IsPartial || len(it.Points) != 0 {
				t.Errorf("snapshot %v is %v, with %d points", it.ID, it.Status(), len(it.Points))
			}
			named = max(named, len(w.packs(s, it.Snapshot)))
		}
	}
	res := w.streams(chained{at: 1}, long)
	if named < 2 { // one of its manifest, and one of the stream at least
		t.Errorf("the partial snapshots named %d packs", named)
	}
	w.st = healthy
	w.verifyStreams(res.Snapshot, map[string][]byte{"s": content})
	w.checkScope(res.Snapshot.ID)
}

// TestStreamSilentWhenRunFails: a run that cannot go on does not wait for a producer that says nothing.
func TestStreamSilentWhenRunFails(t *testing.T) {
	w := newWorld(t)
	content := noise(rand.New(rand.NewPCG(8, 8)), 1<<20)
	silent, closed := make(chan struct{}), make(chan struct{})
	mute := &faucet{path: "a", content: content, failAt: -1, step: 1 << 18, closed: func() { close(closed) }}
	mute.at = func(off int) {
		if off == len(content) {
			close(silent)
			<-closed
		}
	}
	broken := &faucet{path: "b", content: content, failAt: 0, step: 1, at: func(int) { <-silent }}
	if _, err := w.tryStreams(t.Context(), chained{at: 1}, mute, broken); !errors.Is(err, errFaucet) {
		t.Error(err)
	}
	if w.latest() != nil {
		t.Error("a snapshot is done")
	}
}

// TestStreamCancelled: the end of ctx ends the run and the producer.
func TestStreamCancelled(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	content := noise(rand.New(rand.NewPCG(6, 6)), 4<<20)
	f := &faucet{path: "b", content: content, failAt: -1, step: 1 << 16, at: func(off int) {
		if off > 1<<20 {
			cancel()
		}
	}}
	whole := &faucet{path: "a", content: content[:1000], failAt: -1, step: 100}
	res, err := w.tryStreams(ctx, chained{at: 1}, whole, f)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if res != nil && (!res.Partial || len(res.Snapshot.Points) != 0) {
		t.Errorf("%+v", res.Snapshot)
	}
	if w.latest() != nil {
		t.Error("a snapshot is done")
	}
}

// TestChainDiesAtEveryWrite lets the store die at each write of a chain of three in turn. Whoever goes on starts from the newest snapshot that is done; in the end all that is done reads back, and each
// snapshot holds the packs of its whole chain.
func TestChainDiesAtEveryWrite(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	contents := [][]byte{noise(rng, 2<<20), noise(rng, 1<<20), noise(rng, 300_000)}
	step := int64(1)
	if testing.Short() {
		step = 3
	}
	for n := int64(1); ; n += step {
		w := newWorld(t)
		w.opts = func(o *backup.Options) { o.FlushPacks, o.Grace = 1, time.Millisecond }
		healthy := w.st
		d := &dying{Store: healthy, after: n%2 == 0}
		d.left.Store(n)
		died := false
		want := map[snapshot.ID]int{}
		for i := range contents {
			f := func() *faucet { return &faucet{path: "s", content: contents[i], failAt: -1, step: 1 << 20} }
			base := w.latest()
			w.st = d
			res, err := w.tryStreams(t.Context(), chained{base, i + 1}, f())
			w.st = healthy
			if err != nil {
				if !errors.Is(err, errDead) {
					t.Fatalf("write %d: %v", n, err)
				}
				died = true
				base = w.latest()
				if base != nil && base.Points[0].ID == fmt.Sprint("id", i+1) {
					want[base.ID] = i // it was done just before
					continue
				}
				res = w.streams(chained{base, i + 1}, f())
			}
			want[res.Snapshot.ID] = i
		}
		w.checkChain(n, contents)
		if !died {
			return
		}
	}
}

// checkChain reads back every snapshot that is done.
func (w *world) checkChain(n int64, contents [][]byte) {
	w.t.Helper()
	_, s := w.open()
	last := w.latest()
	chain, err := snapshot.Bases(s.Items, *last)
	if err != nil || len(chain) != len(contents) {
		w.t.Fatalf("write %d: a chain of %d, %v", n, len(chain), err)
	}
	all := w.packs(s, last.Snapshot)
	for i, it := range chain {
		if it.Status() != snapshot.IsDone {
			w.t.Errorf("write %d: snapshot %d of the chain is %v", n, i, it.Status())
		}
		for _, name := range w.packs(s, it.Snapshot) {
			if !slices.Contains(all, name) {
				w.t.Errorf("write %d: pack %v of snapshot %d is not held by the last", n, name, i)
			}
		}
	}
	for _, it := range s.Items {
		if it.Status() != snapshot.IsDone {
			continue
		}
		var at int
		if _, err := fmt.Sscanf(it.Points[0].ID, "id%d", &at); err != nil {
			w.t.Fatal(err)
		}
		w.verifyStreams(it.Snapshot, map[string][]byte{"s": contents[at-1]})
	}
	if err := backup.CheckBase(w.t.Context(), s, last); err != nil {
		w.t.Errorf("write %d: %v", n, err)
	}
}

// TestRenameOfChain: an increment would be nothing without what it starts from; a full stream goes on elsewhere, and increments on top of it.
func TestRenameOfChain(t *testing.T) {
	w := newWorld(t)
	drop := func(text string) *faucet { return &faucet{path: "s", content: []byte(text), failAt: -1, step: 10} }
	w.streams(chained{at: 1}, drop("one"))
	w.streams(chained{base: w.latest(), at: 2}, drop("two"))
	carry := func(to string) (*snapshot.Snapshot, error) {
		r, s := w.open()
		from := w.streamOrigin()
		o := from
		o.Path = []byte(to)
		o.ID = snapshot.SourceID(w.access.Host.Scope().SourceKey(), o.Kind, "nas", "", o.Path)
		return backup.Rename(t.Context(), backup.Options{Repo: r, Scope: s, State: w.state(r), Source: o, Host: "nas"}, from.ID)
	}
	if _, err := carry("elsewhere"); !errors.Is(err, backup.ErrChained) {
		t.Errorf("an increment: %v", err)
	}
	w.streams(chained{at: 3}, drop("three"))
	moved, err := carry("elsewhere")
	if err != nil || len(moved.Points) != 1 || moved.Points[0].ID != "id3" {
		t.Fatalf("%+v, %v", moved, err)
	}
	w.verifyStreams(moved, map[string][]byte{"s": []byte("three")})
}
