package mem

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"firn/internal/store"
)

// Request is one request to the store, as Options.Watch sees it before it is carried out.
type Request struct {
	Op string // put (Commit too), get, list (a thousand objects each), stat, delete (of a version, too), make, thaw, copies (as list), move, rules,
	// lock, locks (LockOf and LockRule), versions (as list)
	Name   string // object or prefix
	Class  string // of the object that is there; put, move: the one asked for
	Cold   bool   // the object that is there lies in a cold class, whether a copy of it can be read or not
	Copy   store.CopyState
	Size   int64             // of the object; get: bytes asked for
	Option store.ThawOptions // thaw
}

// NoColdGet returns a Watch that calls fail, as of a test, for every Get of an object in a cold class, thawed or not.
func NoColdGet(fail func(format string, args ...any)) func(Request) error {
	return func(r Request) error {
		if r.Op == "get" && r.Cold {
			fail("get of %q, which lies in %s", r.Name, r.Class)
		}
		return nil
	}
}

// AmazonThawTime is how long Amazon S3 takes at most, as a rule (User Guide, "Archive retrieval options").
func AmazonThawTime(class string, tier store.Tier) time.Duration {
	deep := class == "DEEP_ARCHIVE"
	switch {
	case tier == store.Expedited:
		return 5 * time.Minute
	case tier == store.Bulk && deep:
		return 48 * time.Hour
	case tier == store.Bulk, deep:
		return 12 * time.Hour
	}
	return 5 * time.Hour
}

// thawed is a copy of an object in a cold class, there or on its way.
type thawed struct {
	tier    store.Tier
	ready   time.Time
	expires time.Time // zero: none was asked for
}

func (c thawed) at(now time.Time) store.Copy {
	switch {
	case c.expires.IsZero() || !now.Before(c.expires) && !now.Before(c.ready):
		return store.Copy{}
	case now.Before(c.ready):
		return store.Copy{State: store.Thawing}
	}
	return store.Copy{State: store.Thawed, Expires: c.expires}
}

func (s *Store) cold(class string) bool { return slices.Contains(s.o.Cold, class) }

// Requests tells how many requests of each Request.Op there were.
func (s *Store) Requests() map[string]int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make(map[string]int64, len(s.requests))
	for op, n := range s.requests {
		out[op] = n
	}
	return out
}

// ask counts a request and lets Watch refuse it.
func (s *Store) ask(r Request) error {
	s.mu.Lock()
	s.requests[r.Op]++
	if o, ok := s.objects[r.Name]; ok && r.Op != "list" && r.Op != "copies" {
		r.Cold, r.Copy = s.cold(o.info.Class), o.copy.at(s.o.Now()).State
		if r.Class == "" {
			r.Class = o.info.Class
		}
		if r.Size == 0 {
			r.Size = o.info.Size
		}
	}
	s.mu.Unlock()
	if s.o.Watch == nil {
		return nil
	}
	return s.o.Watch(r)
}

// Reclass puts an object into a class behind everybody's back, as a rule of the bucket would. A copy that is there is gone.
func (s *Store) Reclass(name, class string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.objects[name]; ok {
		o.info.Class, o.copy = class, thawed{}
		s.objects[name] = o
	}
}

// Thaw implements store.Thawer.
func (s *Store) Thaw(ctx context.Context, name string, o store.ThawOptions) (store.Answer, error) {
	err := s.ask(Request{Op: "thaw", Name: name, Option: o})
	if err != nil {
		return 0, store.Fail("thaw", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, err := s.thawLocked(ctx, name, o)
	return answer, store.Fail("thaw", name, err)
}

func (s *Store) thawLocked(ctx context.Context, name string, o store.ThawOptions) (store.Answer, error) {
	it, err := s.findLocked(ctx, name)
	if err != nil {
		return 0, err
	}
	if !s.cold(it.info.Class) {
		return 0, store.ErrNotCold
	}
	if o.Days < 1 {
		return 0, errDays
	}
	if !s.offers(it.info.Class, o.Tier) {
		return 0, store.ErrTier
	}
	now := s.o.Now()
	until := now.Add(time.Duration(o.Days) * 24 * time.Hour)
	switch it.copy.at(now).State {
	case store.Thawed:
		if until.After(it.copy.expires) {
			it.copy.expires = until
		}
		s.objects[name] = it
		return store.ThawExtended, nil
	case store.Thawing:
		if s.o.NoTiers || rank(o.Tier) <= rank(it.copy.tier) {
			return 0, store.ErrThawing
		}
	}
	ready := now.Add(s.o.ThawTime(it.info.Class, o.Tier))
	if it.copy.at(now).State == store.Thawing && it.copy.ready.Before(ready) {
		ready = it.copy.ready
	}
	it.copy = thawed{tier: o.Tier, ready: ready, expires: ready.Add(time.Duration(o.Days) * 24 * time.Hour)}
	s.objects[name] = it
	return store.ThawBegun, nil
}

// offers reports whether a class has a tier. Where there are tiers, none given means the standard one.
func (s *Store) offers(class string, tier store.Tier) bool {
	switch tier {
	case store.NoTier:
		return true
	case store.Expedited:
		return !s.o.NoTiers && class != "DEEP_ARCHIVE"
	case store.Standard, store.Bulk:
		return !s.o.NoTiers
	}
	return false
}

func rank(t store.Tier) int {
	switch t {
	case store.Expedited:
		return 2
	case store.Bulk:
		return 0
	}
	return 1
}

// ListCopies implements store.Thawer.
func (s *Store) ListCopies(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if s.o.NoStatus {
		return store.Fail("list", prefix, store.ErrNoStatus)
	}
	return s.list(ctx, "copies", prefix, after, fn)
}

// Move implements store.Mover. As with Amazon S3 the object counts as made anew: its Modified is now.
func (s *Store) Move(ctx context.Context, name, class string) error {
	err := s.ask(Request{Op: "move", Name: name, Class: class})
	if err != nil {
		return store.Fail("move", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.findLocked(ctx, name)
	if err != nil || o.info.Class == class {
		return store.Fail("move", name, err)
	}
	if !slices.Contains(amazonClasses, class) && !s.cold(class) {
		return store.Fail("move", name, fmt.Errorf("no storage class %q", class))
	}
	if s.cold(o.info.Class) && o.copy.at(s.o.Now()).State != store.Thawed {
		return store.Fail("move", name, store.ErrCold)
	}
	if o.lock.Holds(s.o.Now()) { // else the version that was moved is deleted
		s.supersede(name)
	}
	o.info.Class, o.info.Modified, o.copy, o.id = class, s.o.Now(), thawed{}, s.nextID()
	s.objects[name] = o
	return nil
}

// amazonClasses are those into which Move puts objects, beside the cold ones. Put takes any.
var amazonClasses = []string{"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"}

// Rules implements store.Ruler.
func (s *Store) Rules(ctx context.Context) ([]store.Rule, error) {
	err := s.ask(Request{Op: "rules"})
	if err == nil {
		err = s.alive(ctx)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.o.Rules), store.Fail("rules", "", err)
}

// SetRules replaces what Rules tells. The rules do nothing: see Reclass.
func (s *Store) SetRules(rules []store.Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.Rules = slices.Clone(rules)
}

// pageSize is how many objects a request of a listing shows, as in S3.
const pageSize = 1000

func (s *Store) list(ctx context.Context, op, prefix, after string, fn func(store.Info) error) error {
	if err := s.alive(ctx); err != nil {
		return store.Fail("list", prefix, err)
	}
	found := s.matching(prefix, after, op == "copies")
	for i := 0; i == 0 || i < len(found); i += pageSize {
		if err := s.ask(Request{Op: op, Name: prefix}); err != nil {
			return store.Fail("list", prefix, err)
		}
		for _, info := range found[i:min(i+pageSize, len(found))] {
			if err := s.alive(ctx); err != nil {
				return store.Fail("list", prefix, err)
			}
			if err := fn(info); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) matching(prefix, after string, copies bool) (out []store.Info) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, o := range s.objects {
		if !strings.HasPrefix(name, prefix) || name <= after {
			continue
		}
		if copies {
			o.info.Copy = o.copy.at(s.o.Now())
		}
		out = append(out, o.info)
	}
	slices.SortFunc(out, func(a, b store.Info) int { return strings.Compare(a.Name, b.Name) })
	return out
}
