package replay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"firn/internal/replay"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/store/mem"
)

// run replays what a target lacks.
func (w *world) run(s *replay.Streams, x *target) (*replay.Result, error) {
	w.t.Helper()
	missing, err := s.Missing(context.Background(), x)
	w.must(err)
	return s.Run(context.Background(), x, missing)
}

var wholeChain = []string{"a-1", "b-1", "a-1-2", "b-1-2", "a-2-3", "b-2-3", "globals"}

func TestRun(t *testing.T) {
	w := newWorld(t, mem.Options{})
	items := w.chain(3, 600<<10)
	x := newTarget()
	res, err := w.run(w.streams(items[2]), x)
	w.must(err)
	x.check(w, wholeChain...)
	if res.Links != 7 || res.Had != 0 || res.Bytes != 6*600<<10+9 || res.BytesGot == 0 || res.Requests == 0 || res.Failed != 0 || len(res.Taken) != 7 {
		t.Errorf("%+v", res)
	}
	// The second time only what belongs to no state is left.
	x.took = nil
	res, err = w.run(w.streams(items[2]), x)
	w.must(err)
	x.check(w, "globals")
	if res.Links != 1 || res.Had != 6 {
		t.Errorf("%+v", res)
	}
	// A target that has some of it gets the rest.
	x = newTarget()
	x.has["a"], x.has["b"] = []string{"a1", "a2"}, []string{"b1"}
	_, err = w.run(w.streams(items[2]), x)
	w.must(err)
	x.check(w, "b-1-2", "a-2-3", "b-2-3", "globals")
	// An older snapshot needs less.
	s := w.streams(items[0])
	if links := s.Links(); len(links) != 3 || links[1].Point.At != "1" || links[1].Size != 600<<10 || s.SnapshotOf(links[1]).ID != items[0].ID {
		t.Errorf("%+v", links)
	}
}

// TestReading reads streams of all kinds in all ways.
func TestReading(t *testing.T) {
	w := newWorld(t, mem.Options{})
	same := bytes.Repeat(randomBytes(9, 200<<10), 25)
	mixed := slices.Concat(make([]byte, 1<<20), randomBytes(4, 3<<20), same, make([]byte, 2<<20), randomBytes(4, 4<<20))
	for path, b := range map[string][]byte{"empty": nil, "byte": {7}, "same": same, "mixed": mixed, "zeros": make([]byte, 5<<20), "large": randomBytes(1, 11<<20)} {
		w.content[path] = b
	}
	it := w.backup(nil, nil, "byte", "empty", "large", "mixed", "same", "zeros")
	for _, workers := range []int{1, 3} {
		o := w.options(it)
		o.Workers = workers
		s, err := replay.Open(t.Context(), o)
		w.must(err)
		rnd := rand.New(rand.NewPCG(1, uint64(workers)))
		for _, l := range s.Links() {
			want := w.content[l.Path]
			r, err := l.Open(t.Context())
			w.must(err)
			var b bytes.Buffer
			if _, err := b.ReadFrom(r); err != nil || !bytes.Equal(b.Bytes(), want) {
				t.Errorf("%s: %d bytes of %d: %v", l.Path, b.Len(), len(want), err)
			}
			if n, err := r.Read(make([]byte, 5)); n != 0 || err != io.EOF {
				t.Errorf("%s: after its end %d, %v", l.Path, n, err)
			}
			w.must(r.Close())
			r, err = l.Open(t.Context())
			w.must(err)
			b.Reset()
			if n, err := io.Copy(&b, r); err != nil || n != int64(len(want)) || !bytes.Equal(b.Bytes(), want) {
				t.Errorf("%s: copied %d bytes of %d: %v", l.Path, n, len(want), err)
			}
			w.must(r.Close())
			r, err = l.Open(t.Context())
			w.must(err)
			n, _ := io.ReadFull(r, make([]byte, rnd.IntN(len(want)+1)))
			w.must(r.Close())
			if _, err := r.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: can be read after its close, behind %d bytes", l.Path, n)
			}
			ctx, cancel := context.WithCancel(t.Context())
			r, err = l.Open(ctx)
			w.must(err)
			cancel()
			if _, err := io.Copy(io.Discard, r); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: cancelled: %v", l.Path, err)
			}
			w.must(r.Close())
		}
	}
}

// TestOne: a single stream, without its chain.
func TestOne(t *testing.T) {
	w := newWorld(t, mem.Options{})
	items := w.chain(2, 100<<10)
	o := w.options(items[1])
	o.Path = []byte("a-1-2")
	s, err := replay.Open(t.Context(), o)
	w.must(err)
	x := newTarget()
	x.has["a"] = []string{"a1"}
	_, err = w.run(s, x)
	w.must(err)
	x.check(w, "a-1-2")
	o.Path = []byte("b") // all that leads to what there is of it
	s, err = replay.Open(t.Context(), o)
	w.must(err)
	x = newTarget()
	_, err = w.run(s, x)
	w.must(err)
	x.check(w, "b-1", "b-1-2")
	o.Path = []byte("a-2")
	if _, err := replay.Open(t.Context(), o); !errors.Is(err, replay.ErrNotThere) {
		t.Error(err)
	}
}

// harms are ways in which a pack can be lost.
var harms = map[string]func(w *world, name string){
	"deleted": func(w *world, name string) { w.must(w.st.Delete(context.Background(), name)) },
	"flipped": func(w *world, name string) {
		b := w.object(name)
		for i := 200; i < len(b); i += 64 << 10 {
			b[i] ^= 1
		}
		w.st.Replace(name, b)
	},
	"cut short": func(w *world, name string) { w.st.Replace(name, w.object(name)[:300]) },
}

// TestDamage loses a pack in the middle of a stream: what takes it does not get its end, nothing is built upon it, and the rest comes.
func TestDamage(t *testing.T) {
	for name, harm := range harms {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, mem.Options{})
			w.fill(50, 600<<10, "a-1", "b-1", "other")
			first := w.backup(nil, []source.Point{point("a", "1", ""), point("b", "1", "")})
			w.fill(7, 600<<10, "a-1-2")
			before := w.packs()
			second := w.backup(&first, []source.Point{point("a", "2", "1")})
			var of []string
			for _, p := range w.packs() {
				if !slices.Contains(before, p) {
					of = append(of, p)
				}
			}
			w.fill(8, 600<<10, "a-2-3", "b-1-3")
			third := w.backup(&second, []source.Point{point("a", "3", "2"), point("b", "3", "1")}, "other")
			harm(w, of[len(of)/2])
			x := newTarget()
			res, err := w.run(w.streams(third), x)
			w.must(err)
			x.check(w, "a-1", "b-1", "b-1-3", "other")
			if res.Failed != 2 || len(res.Lost) != 2 || res.Links != 4 || !slices.Equal(w.problems, []string{"a-1-2", "a-2-3"}) {
				t.Fatalf("%+v, problems %q", res, w.problems)
			}
			var damage *repo.DamageError
			if e := res.Lost[0]; !e.Lost || e.Snapshot != second.ID || e.Until == nil || e.Until.Point.At != "1" || e.UntilSnapshot != first.ID || !errors.As(e, &damage) || !slices.Contains(of, damage.Object) {
				t.Errorf("%+v: %v", e, e)
			}
			if e := res.Lost[1]; e.Snapshot != third.ID || e.Until == nil || e.Until.Point.At != "1" {
				t.Errorf("%+v: %v", e, e)
			}
		})
	}
}

func TestGap(t *testing.T) {
	w := newWorld(t, mem.Options{})
	items := w.chain(3, 10<<10)
	o := w.options(items[2])
	o.Items = slices.DeleteFunc(o.Items, func(i snapshot.Item) bool { return i.ID == items[1].ID })
	_, err := replay.Open(t.Context(), o)
	var broken *snapshot.BrokenChainError
	if !errors.As(err, &broken) || broken.Missing != items[1].ID || broken.Until == nil || broken.Until.ID != items[0].ID || broken.UntilAt != "1" {
		t.Errorf("%v: %+v", err, broken)
	}
	o = w.options(items[2])
	for i := range o.Items { // a body that lies about its streams
		if o.Items[i].ID == items[1].ID {
			lie := *o.Items[i].Snapshot
			lie.Points = slices.Clone(lie.Points)
			lie.Points[0].Stream = "nowhere"
			o.Items[i].Snapshot = &lie
		}
	}
	var link *replay.LinkError
	if _, err := replay.Open(t.Context(), o); !errors.As(err, &link) || link.Path != "nowhere" || link.Until == nil || link.Until.Point.At != "1" || link.Snapshot != items[1].ID {
		t.Errorf("%v", err)
	}
}

func TestOutside(t *testing.T) {
	w := newWorld(t, mem.Options{})
	out := point("a", "1", "")
	out.Stream, out.Outside = "", true
	first := w.backup(nil, []source.Point{out})
	w.fill(3, 50<<10, "a-1-2", "a-2-3")
	second := w.backup(&first, []source.Point{point("a", "2", "1")})
	third := w.backup(&second, []source.Point{point("a", "3", "2")})
	s := w.streams(third)
	if o := s.Outside(); len(o) != 1 || o[0].At != "1" {
		t.Errorf("%+v", o)
	}
	_, err := s.Missing(t.Context(), newTarget())
	var outside *replay.OutsideError
	if !errors.As(err, &outside) || len(outside.Points) != 1 || !errors.As(err, new(*source.TargetError)) {
		t.Errorf("%v", err)
	}
	x := newTarget()
	x.has["a"] = []string{"a1"}
	_, err = w.run(s, x)
	w.must(err)
	x.check(w, "a-1-2", "a-2-3")
	if _, err := w.streams(first).Missing(t.Context(), x); !errors.Is(err, replay.ErrNothing) {
		t.Error(err)
	}
}

// TestTakerFails: what fails in the middle ends the replay, and is told with what came before it.
func TestTakerFails(t *testing.T) {
	w := newWorld(t, mem.Options{})
	items := w.chain(2, 300<<10)
	x := newTarget()
	x.fail = "b-1-2"
	res, err := w.run(w.streams(items[1]), x)
	var link *replay.LinkError
	if !errors.As(err, &link) || link.Path != x.fail || link.Lost || link.Until == nil || link.Until.Point.At != "1" || !errors.As(err, new(*source.ProducerError)) {
		t.Errorf("%v: %+v", err, link)
	}
	if res.Links != 3 {
		t.Errorf("%+v", res)
	}
	x.check(w, "a-1", "b-1", "a-1-2")
	// And goes on there.
	x.fail, x.took = "", nil
	_, err = w.run(w.streams(items[1]), x)
	w.must(err)
	x.check(w, "b-1-2", "globals")

	s := w.streams(items[1])
	links := s.Links()
	for name, list := range map[string][]source.Link{"twice": {links[0], links[0]}, "unknown": {{Path: "else"}}} {
		if _, err := s.Run(t.Context(), newTarget(), list); err == nil || !strings.Contains(err.Error(), "wanted") {
			t.Errorf("%s: %v", name, err)
		}
	}
	x = newTarget()
	ctx, cancel := context.WithCancel(t.Context())
	x.stop = func(path string, n int) bool {
		if path == "a-1-2" {
			cancel()
		}
		return false
	}
	if _, err := s.Run(ctx, x, links); err == nil || slices.Contains(x.took, "a-1-2") && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, took %q", err, x.took)
	}
}

// TestPlan: what a plan says is what a run does.
func TestPlan(t *testing.T) {
	w := newWorld(t, mem.Options{})
	items := w.chain(4, 900<<10)
	s := w.streams(items[3])
	n, err := s.Plan(t.Context(), s.Links())
	w.must(err)
	res, err := w.run(s, newTarget())
	w.must(err)
	if n.Requests != res.Requests || n.Bytes != res.Bytes || n.Links != res.Links || n.Missing != 0 || n.Download < res.BytesGot || n.Download > res.BytesGot*2 {
		t.Errorf("plan of %d requests, %d bytes, %d to fetch; was %+v", n.Requests, n.Bytes, n.Download, res)
	}
	seen := map[string]bool{}
	var sum int64
	for _, p := range n.Packs {
		if seen[p.Object] || p.Size == 0 || p.Requests == 0 {
			t.Errorf("%+v", p)
		}
		seen[p.Object] = true
		sum += p.Download
	}
	if sum != n.Download || len(n.Streams) != 9 || n.Streams[0].Packs == 0 {
		t.Errorf("%d of packs, %d in all, %d streams", sum, n.Download, len(n.Streams))
	}
	if text := fmt.Sprint(n.Objects()[0]); !strings.Contains(text, "data/") {
		t.Error(text)
	}
}
