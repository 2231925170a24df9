package prune

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"context"

	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// turn is a request that waits to be let through.
type turn struct {
	actor  int
	what   string
	put    bool
	answer chan verdict
}

// verdict is what becomes of a request.
type verdict int

const (
	pass verdict = iota
	late         // it fails, and is carried out some time later
	cut          // it fails, and so does everything that the actor asks for from now on
)

var errCut = errors.New("cut off")

// stage lets actors take turns at one store, one request or one page of a listing at a time, in an order that the seed decides.
type stage struct {
	w      *world
	rng    *rand.Rand
	lag    time.Duration // listings may leave out what was stored so shortly before
	mu     sync.Mutex
	wait   []*turn
	alive  int
	held   int      // the actor that is held up,
	hold   int      // for so many turns
	rare   int      // one in so many of the moments that matter is drawn out
	delay  []func() // requests that are carried out late
	stored map[string]time.Time
	log    []string
}

// door is the store as one actor sees it.
type door struct {
	store.Store
	s     *stage
	actor int
	cut   atomic.Bool
	hides string // objects below this are never listed
	weak  bool
}

func (d *door) Weakness() []string {
	if d.weak {
		return []string{"late listings"}
	}
	return nil
}

func (d *door) ask(what string, put bool) (verdict, error) {
	if d.cut.Load() {
		return cut, errCut
	}
	t := &turn{actor: d.actor, what: what, put: put, answer: make(chan verdict, 1)}
	d.s.mu.Lock()
	d.s.wait = append(d.s.wait, t)
	d.s.mu.Unlock()
	v := <-t.answer
	switch v {
	case cut:
		d.cut.Store(true)
		return v, errCut
	case late:
		return v, store.Fail("put", what, store.ErrTimeout)
	}
	return v, nil
}

func (d *door) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	do := func() error {
		d.s.mu.Lock()
		if _, ok := d.s.stored[name]; !ok {
			d.s.stored[name] = time.Now()
		}
		d.s.mu.Unlock()
		return d.Store.Put(ctx, name, strings.NewReader(string(raw)), size, o)
	}
	v, err := d.ask("put "+name, true)
	if v == late {
		d.s.mu.Lock()
		d.s.delay = append(d.s.delay, func() { _ = do() })
		d.s.mu.Unlock()
	}
	if err != nil {
		return err
	}
	return do()
}

func (d *door) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if _, err := d.ask("get "+name, false); err != nil {
		return nil, err
	}
	return d.Store.Get(ctx, name, off, n)
}

// errPage ends a page.
var errPage = errors.New("page is full")

func (d *door) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	for {
		if _, err := d.ask("list "+prefix, false); err != nil {
			return err
		}
		var page []store.Info
		err := d.Store.List(ctx, prefix, after, func(i store.Info) error {
			after = i.Name
			if !d.s.unseen(i.Name) && (d.hides == "" || !strings.HasPrefix(i.Name, d.hides)) {
				page = append(page, i)
			}
			if len(page) == 3 {
				return errPage
			}
			return nil
		})
		for _, i := range page {
			if err := fn(i); err != nil {
				return err
			}
		}
		if !errors.Is(err, errPage) {
			return err
		}
	}
}

// unseen reports whether a listing leaves an object out, since it was stored just now.
func (s *stage) unseen(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.stored[name]
	return ok && s.lag > 0 && time.Since(at) < s.lag && s.rng.IntN(2) == 0
}

func (d *door) Stat(ctx context.Context, name string) (store.Info, error) {
	if _, err := d.ask("stat "+name, false); err != nil {
		return store.Info{}, err
	}
	return d.Store.Stat(ctx, name)
}

func (d *door) Delete(ctx context.Context, name string) error {
	if _, err := d.ask("delete "+name, false); err != nil {
		return err
	}
	return d.Store.Delete(ctx, name)
}

// direct lets nobody reach around the door.
type direct struct{ store.Store }

// play runs actors until all have ended.
func (s *stage) play(t *testing.T, actors ...func(d *door)) {
	for i, act := range actors {
		s.alive++
		go func() {
			act(&door{Store: direct{s.w.mem}, s: s, actor: i, weak: s.lag > 0})
			s.mu.Lock()
			s.alive--
			s.mu.Unlock()
		}()
	}
	for {
		synctest.Wait()
		s.mu.Lock()
		if s.alive == 0 {
			s.mu.Unlock()
			break
		}
		ready := s.awake()
		if len(ready) == 0 {
			s.mu.Unlock()
			time.Sleep(10 * time.Minute)
			continue
		}
		next := ready[s.rng.IntN(len(ready))]
		s.wait = slices.DeleteFunc(s.wait, func(t *turn) bool { return t == next })
		v := pass
		switch r := s.rng.IntN(400); {
		case r < 2:
			v = cut
		case r < 12 && next.put:
			v = late
		}
		s.log = append(s.log, fmt.Sprintf("%s %d: %s %v", time.Now().Format("02 15:04:05"), next.actor, next.what, v))
		var due []func()
		for len(s.delay) > 0 && s.rng.IntN(20) == 0 {
			due, s.delay = append(due, s.delay[0]), s.delay[1:]
		}
		pause := time.Duration(0) // chosen before anybody goes on, who draws from rng, too
		if s.rng.IntN(30) == 0 {
			pause = time.Duration(s.rng.Int64N(int64(3 * time.Hour)))
		}
		s.mu.Unlock()
		for _, do := range due {
			do()
		}
		next.answer <- v
		time.Sleep(pause)
	}
	for _, do := range s.delay {
		do()
	}
}

// awake returns the requests of the actors that are not held up. Now and then one is, while the others do much.
func (s *stage) awake() (ready []*turn) {
	slices.SortStableFunc(s.wait, func(a, b *turn) int { return cmp.Or(a.actor-b.actor, strings.Compare(a.what, b.what)) })
	if s.hold--; s.hold < 0 && s.rng.IntN(12) == 0 {
		s.held, s.hold = s.rng.IntN(4), 10+s.rng.IntN(60)
	}
	for _, t := range s.wait { // the moments that matter
		if s.hold < 0 && t.put && (strings.HasPrefix(t.what, "put prune/") || strings.HasSuffix(t.what, ".done")) && s.rng.IntN(s.rare) == 0 {
			s.held, s.hold = t.actor, 20+s.rng.IntN(960/s.rare)
		}
	}
	for _, t := range s.wait {
		if s.hold < 0 || t.actor != s.held {
			ready = append(ready, t)
		}
	}
	return ready
}

// writer makes backups one after another, of a source, each from what the one before left in the store, and is cut off now and then.
func (s *stage) writer(d *door, source byte, runs int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(source)))
	for range runs {
		d.cut.Store(false)
		time.Sleep(time.Duration(rng.Int64N(int64(30 * time.Hour))))
		_ = s.oneBackup(d, source, rng)
	}
}

func (s *stage) oneBackup(d *door, source byte, rng *rand.Rand) error {
	var texts []string
	for range 1 + rng.IntN(3) {
		texts = append(texts, text(rng))
	}
	for range 3 {
		var id snapshot.ID
		s.mu.Lock()
		id = s.w.newID()
		s.mu.Unlock()
		b, err := begin(d, repo.Access{Host: s.w.access.Host}, time.Now, source, id, repo.WriterOptions{PackSize: 1 << 16})
		if err != nil {
			return err
		}
		for _, it := range b.s.Items { // as package backup does after a crash
			if it.Source.ID == b.source && it.Status() == snapshot.IsUndone && rng.IntN(2) == 0 {
				_ = b.s.Confirm(ctx, it)
			}
		}
		snap, err := b.snapshot(rng.IntN(6) > 0, rng.IntN(2) == 0, texts...)
		if err == nil && rng.IntN(4) == 0 {
			time.Sleep(time.Duration(rng.Int64N(int64(60 * time.Hour)))) // asleep
		}
		var item snapshot.Item
		if err == nil {
			item, err = b.out.Publish(ctx, snap)
		}
		if err == nil && rng.IntN(4) == 0 {
			time.Sleep(time.Duration(rng.Int64N(int64(60 * time.Hour))))
		}
		if err == nil && snap.Complete {
			err = b.out.Confirm(ctx, item)
		}
		b.out.Abort()
		var retired *repo.RetiredError
		if !errors.As(err, &retired) {
			return err
		}
	}
	return nil
}

// bug is a mistake that is made on purpose.
type bug struct {
	name   string
	faults faults
	lag    time.Duration
	grace  time.Duration
	deaf   bool // a writer that does not heed records
}

// interleave plays one world, and returns what is wrong at its end.
func interleave(t *testing.T, seed uint64, b bug) (log []string, err error) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Now, "", nil)
		s := &stage{w: w, rng: rand.New(rand.NewPCG(seed, 1)), lag: b.lag, rare: 8, stored: map[string]time.Time{}}
		if b.faults.late || b.faults.stale {
			s.rare = 2
		}
		stop := false
		pruner := func(d *door) {
			rng := rand.New(rand.NewPCG(seed, uint64(100+d.actor)))
			for !stop {
				d.cut.Store(false)
				time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Hour))))
				r, e := repo.Open(ctx, d, repo.Access{Host: w.pruner}, repo.Options{Now: time.Now})
				if e != nil {
					continue
				}
				_, e = Run(ctx, Options{Repo: r, Now: time.Now, Decide: keepLast(1 + rng.IntN(2)), Grace: b.grace, Orphans: 5 * time.Hour, Region: amazon(t), Refresh: Refresh{Off: true}, faults: b.faults})
				if e == nil {
					s.mu.Lock()
					if err == nil {
						err = w.sound(false)
					}
					s.mu.Unlock()
				} else if !errors.Is(e, errCut) && !errors.Is(e, store.ErrTimeout) && !errors.As(e, new(*UnreadableError)) {
					s.mu.Lock()
					err = errors.Join(err, fmt.Errorf("prune: %w", e))
					s.mu.Unlock()
				} else if errors.As(e, new(*UnreadableError)) {
					s.mu.Lock()
					err = errors.Join(err, fmt.Errorf("prune stopped: %w", e))
					s.mu.Unlock()
				}
			}
		}
		writers := 2
		wr := func(source byte) func(d *door) {
			return func(d *door) {
				if b.deaf && source == 1 {
					d.hides = "prune/"
				}
				s.writer(d, source, 6, seed)
				s.mu.Lock()
				if writers--; writers == 0 {
					stop = true
				}
				s.mu.Unlock()
			}
		}
		s.play(t, wr(1), wr(2), pruner, pruner)
		if err == nil {
			err = w.sound(true)
		}
		log = s.log
	})
	return log, err
}

// seedsOf is how many worlds a test plays: FIRN_PRUNE_SEEDS of them, else so many.
func seedsOf(t *testing.T, n int) uint64 {
	if text := os.Getenv("FIRN_PRUNE_SEEDS"); text != "" {
		more, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		n = more
	}
	return uint64(n)
}

// TestInterleaved: whatever order the requests of two writers and two pruners come in, cut off anywhere, with stores that come late and listings in pages, no snapshot
// that is done lacks a pack.
func TestInterleaved(t *testing.T) {
	seeds := 9
	if testing.Short() {
		seeds = 4
	}
	for seed := range seedsOf(t, seeds) {
		grace := []time.Duration{0, 3 * time.Hour, 24 * time.Hour}[seed%3]
		b := bug{grace: grace}
		if seed%4 == 3 {
			b.lag, b.grace = 2*time.Hour, 5*time.Hour
		}
		if log, err := interleave(t, seed, b); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(log[max(0, len(log)-400):], "\n"))
		}
	}
}

// TestBugsAreFound: a pruner or a writer that leaves out a step of the protocol is found out.
func TestBugsAreFound(t *testing.T) {
	for _, b := range []bug{
		{name: "deletes by a listing from before the record", faults: faults{stale: true}},
		{name: "stores the record after listing", faults: faults{late: true}},
		{name: "deletes without grace where listings are late", faults: faults{noGrace: true}, lag: 40 * time.Hour, grace: 81 * time.Hour},
		{name: "refers to what is retired", grace: 2 * time.Hour, deaf: true},
	} {
		t.Run(b.name, func(t *testing.T) {
			if testing.Short() && (b.faults.stale || b.faults.late) {
				t.Skip("takes seeds that take long")
			}
			for seed := range seedsOf(t, 120) {
				if _, err := interleave(t, seed, b); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Error("nobody noticed")
		})
	}
}
