package thaw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/digest"
	"firn/internal/price"
	"firn/internal/store"
)

// simObject is one object of a simStore.
type simObject struct {
	name    string
	class   string
	size    int64
	copyAt  time.Time // when the copy is, or was, there; zero: never asked for
	tier    store.Tier
	tiers   []store.Tier // of all thaws
	expires time.Time
	begun   int // thaws that began
	expired int // copies that expired before the object was fetched
	kept    int // extensions
	fetched bool
	known   bool // some journal says that it is fetched, or the caller knows
	want    int64
}

// simFaults are how a simStore fails.
type simFaults struct {
	throttle float64 // of thaw requests, before anything happens
	lost     float64 // of thaw requests, after they had their effect
	list     float64 // of pages of listings
	capacity float64 // of expedited requests
	denied   func(name string) error
}

type temporary struct{ error }

func (temporary) Temporary() bool { return true }

// simStore is a store of cold objects in the time of a synctest bubble. It counts, and can die.
type simStore struct {
	mu      sync.Mutex
	rand    *rand.Rand
	objects []*simObject // by name
	faults  simFaults
	latency time.Duration
	silent  bool
	mute    bool // tells of no copy, anywhere
	jump    *jumpClock
	clock   time.Duration // how far the store's clock is ahead

	calls    map[string]int
	die      int // at which call or write; 0: never
	ops      int
	after    bool // die after the call had its effect
	kill     func()
	dead     bool
	most     int64         // bytes wanted that were thawing or thawed, and not fetched
	overAsks int           // thaws that passed allowed
	cut      time.Duration // by which a request has made a copy end sooner, at most
	allowed  func() int64
}

var simStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func newSim(seed uint64, needs []Need) *simStore {
	s := &simStore{rand: rand.New(rand.NewPCG(seed, 7)), calls: map[string]int{}}
	for _, n := range needs {
		s.objects = append(s.objects, &simObject{name: n.Object, class: n.Class, size: n.Size, want: n.Wanted})
	}
	slices.SortFunc(s.objects, func(a, b *simObject) int { return strings.Compare(a.name, b.name) })
	return s
}

func (s *simStore) now() time.Time {
	if s.jump != nil {
		return s.jump.Now()
	}
	return time.Now().Add(s.clock)
}

// jumpClock is a clock that passes only when somebody sleeps.
type jumpClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *jumpClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *jumpClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(max(d, 0))
	return ctx.Err()
}

func (s *simStore) find(name string) *simObject {
	k := sort.Search(len(s.objects), func(k int) bool { return s.objects[k].name >= name })
	if k < len(s.objects) && s.objects[k].name == name {
		return s.objects[k]
	}
	return nil
}

func simCold(class string) bool { return class == "GLACIER" || class == "DEEP_ARCHIVE" }

// state settles what time has done to a copy.
func (s *simStore) state(o *simObject) store.Copy {
	now := s.now()
	switch {
	case !simCold(o.class) || o.copyAt.IsZero():
		return store.Copy{}
	case now.Before(o.copyAt):
		return store.Copy{State: store.Thawing}
	case now.Before(o.expires):
		return store.Copy{State: store.Thawed, Expires: o.expires}
	}
	o.copyAt = time.Time{}
	if !o.known {
		o.expired++
	}
	return store.Copy{}
}

// op counts one call or write and reports whether this process is dead, before its effect or after it.
func (s *simStore) op() (dead, dies bool) {
	if s.dead {
		return true, false
	}
	s.ops++
	if s.ops != s.die {
		return false, false
	}
	s.dead = true
	s.kill()
	return !s.after, true
}

func (s *simStore) begin(ctx context.Context, op string) error {
	if s.latency > 0 {
		select {
		case <-time.After(s.latency):
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	s.calls[op]++
	if dead, _ := s.op(); dead {
		s.mu.Unlock()
		return context.Canceled
	}
	if ctx.Err() != nil && !s.dead {
		s.mu.Unlock()
		return ctx.Err()
	}
	return nil
}

func (s *simStore) Thaw(ctx context.Context, name string, o store.ThawOptions) (store.Answer, error) {
	if err := s.begin(ctx, "thaw"); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	answer, err := s.thaw(name, o)
	if s.dead {
		return 0, context.Canceled
	}
	if err == nil && s.rand.Float64() < s.faults.lost {
		return 0, temporary{io.ErrUnexpectedEOF}
	}
	return answer, err
}

func (s *simStore) thaw(name string, o store.ThawOptions) (store.Answer, error) {
	if s.rand.Float64() < s.faults.throttle {
		return 0, temporary{errors.New("slow down")}
	}
	it := s.find(name)
	switch {
	case it == nil:
		return 0, store.ErrNotExist
	case s.faults.denied != nil && s.faults.denied(name) != nil:
		return 0, s.faults.denied(name)
	case !simCold(it.class):
		return 0, store.ErrNotCold
	case it.class == "DEEP_ARCHIVE" && o.Tier == store.Expedited:
		return 0, store.ErrTier
	case o.Tier == store.Expedited && s.rand.Float64() < s.faults.capacity:
		return 0, store.ErrNoCapacity
	}
	keep := time.Duration(o.Days) * day
	switch c := s.state(it); c.State {
	case store.Thawing:
		return 0, store.ErrThawing
	case store.Thawed: // as Amazon S3 does it, also where that is sooner than before
		it.kept++
		until := s.now().Add(keep)
		s.cut = max(s.cut, it.expires.Sub(until))
		it.expires = until
		return store.ThawExtended, nil
	}
	took := simTime(it.class, o.Tier)
	it.begun++
	it.tiers = append(it.tiers, o.Tier)
	it.copyAt, it.tier = s.now().Add(took/4+time.Duration(s.rand.Int64N(int64(took)*3/4))), o.Tier
	it.expires = it.copyAt.Add(keep)
	s.outstanding()
	return store.ThawBegun, nil
}

// outstanding checks how much is asked for and not fetched.
func (s *simStore) outstanding() {
	if s.allowed == nil {
		return
	}
	var sum int64
	n := 0
	for _, o := range s.objects {
		if !o.fetched && s.state(o).State != store.NoCopy {
			sum += o.want
			n++
		}
	}
	s.most = max(s.most, sum)
	if n > 1 && sum > s.allowed() {
		s.overAsks++
	}
}

func simTime(class string, t store.Tier) time.Duration {
	if t == store.Expedited {
		return 5 * time.Minute
	}
	if class == "DEEP_ARCHIVE" {
		if t == store.Bulk {
			return 48 * time.Hour
		}
		return 12 * time.Hour
	}
	if t == store.Bulk {
		return 12 * time.Hour
	}
	return 5 * time.Hour
}

func (s *simStore) ListCopies(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if s.silent {
		return store.ErrNoStatus
	}
	return s.list(ctx, prefix, after, true, fn)
}

func (s *simStore) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	return s.list(ctx, prefix, after, false, fn)
}

func (s *simStore) list(ctx context.Context, prefix, after string, copies bool, fn func(store.Info) error) error {
	for {
		if err := s.begin(ctx, "list"); err != nil {
			return err
		}
		at := sort.Search(len(s.objects), func(k int) bool { return s.objects[k].name > after && s.objects[k].name >= prefix })
		fail := s.rand.Float64() < s.faults.list
		var page []store.Info
		for ; at < len(s.objects) && len(page) < pageSize && strings.HasPrefix(s.objects[at].name, prefix); at++ {
			page = append(page, s.info(s.objects[at], copies))
		}
		s.mu.Unlock()
		for k, info := range page {
			if fail && k == len(page)/2 {
				return temporary{io.ErrUnexpectedEOF}
			}
			if err := fn(info); err != nil {
				return err
			}
		}
		if len(page) < pageSize {
			return nil
		}
		after = page[len(page)-1].Name
	}
}

func (s *simStore) info(o *simObject, copies bool) store.Info {
	i := store.Info{Name: o.name, Size: o.size, Class: o.class}
	if copies && !s.mute {
		i.Copy = s.state(o)
	}
	return i
}

func (s *simStore) Stat(ctx context.Context, name string) (store.Info, error) {
	if err := s.begin(ctx, "stat"); err != nil {
		return store.Info{}, err
	}
	defer s.mu.Unlock()
	if o := s.find(name); o != nil {
		return s.info(o, true), nil
	}
	return store.Info{}, store.Fail("stat", name, store.ErrNotExist)
}

func (s *simStore) Put(context.Context, string, io.ReadSeeker, int64, store.PutOptions) error {
	return errors.ErrUnsupported
}
func (s *simStore) Get(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}
func (s *simStore) Delete(context.Context, string) error { return errors.ErrUnsupported }
func (s *simStore) Location() string                     { return "sim:" }
func (s *simStore) Close() error                         { return nil }

// remove takes an object away.
func (s *simStore) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects = slices.DeleteFunc(s.objects, func(o *simObject) bool { return o.name == name })
}

// simLink fetches objects over a link.
type simLink struct {
	s        *simStore
	speed    func() float64 // bytes per second
	overhead time.Duration
	passes   int
	again    int // objects fetched more than once
	broken   map[string]bool
	tell     *Job // is told of every object as it comes
}

func (l *simLink) fetch(ctx context.Context, names []string) (cold []string, err error) {
	l.passes++
	if err := sleep(ctx, l.overhead); err != nil {
		return nil, err
	}
	for _, name := range names {
		l.s.mu.Lock()
		o := l.s.find(name)
		readable := o != nil && !l.broken[name] && (!simCold(o.class) || l.s.state(o).State == store.Thawed)
		l.s.mu.Unlock()
		if !readable {
			cold = append(cold, name)
			continue
		}
		if err := sleep(ctx, seconds(float64(o.want)/l.speed())); err != nil {
			return nil, err
		}
		l.s.mu.Lock()
		if o.fetched {
			l.again++
		}
		o.fetched = true // a restore does not lose what it has written
		dead, _ := l.s.op()
		l.s.mu.Unlock()
		if dead {
			return nil, context.Canceled
		}
		if l.tell != nil {
			l.tell.Brought(name)
		}
	}
	return cold, ctx.Err()
}

func sleep(ctx context.Context, d time.Duration) error { return WallClock{}.Sleep(ctx, d) }

// simLog is a journal in memory that dies with its store.
type simLog struct {
	s       *simStore
	records [][]byte
	needs   []Need
	wrote   int
}

func (l *simLog) Append(r []byte) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if dead, _ := l.s.op(); dead {
		return
	}
	l.wrote += len(r)
	l.records = append(l.records, slices.Clone(r))
	var got ranges
	if r[0] == recFetched && decodeSets(r[1:], len(l.needs), &got) == nil {
		got.each(func(i int32) { l.s.find(l.needs[i].Object).known = true })
	}
}
func (l *simLog) Sync()      {}
func (l *simLog) Err() error { return nil }
func (l *simLog) Close()     {}
func (l *simLog) Rewrite(r [][]byte) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if !l.s.dead {
		l.records = slices.Clone(r)
	}
}

func (l *simLog) open(t testing.TB, id string) *Job {
	t.Helper()
	j, err := open(id, func(replay func([]byte) error) (log, error) {
		for _, r := range l.records {
			if err := replay(r); err != nil {
				return l, err
			}
		}
		return l, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// write makes a job that is written to l.
func (l *simLog) write(t testing.TB, h Header, needs []Need) *Job {
	t.Helper()
	j, err := Create(nil, h, needs, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l.records, err = j.all()
	if err != nil {
		t.Fatal(err)
	}
	j.log, l.needs = l, needs
	return j
}

// packs returns n needs of a class, in an order that is not that of their names.
func packs(seed uint64, n int, class string, size int64) []Need {
	r := rand.New(rand.NewPCG(seed, 1))
	needs := make([]Need, n)
	for i := range needs {
		var sum digest.Object
		for k := range sum {
			sum[k] = byte(r.Uint32())
		}
		needs[i] = Need{Object: fmt.Sprintf("data/main/%02x/%s", sum[0], sum), Class: class, Size: size, Wanted: size, Gets: 1}
	}
	return needs
}

var table = sync.OnceValue(price.Default)

func aws(t testing.TB) *price.Region {
	t.Helper()
	r, err := table().Region("aws", "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(a, b, part float64) bool { return a >= b*(1-part) && a <= b*(1+part) }
