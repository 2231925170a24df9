package mem

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"firn/internal/store"
	"firn/internal/storetest"
)

// world is a store with a clock that stands still.
type world struct {
	*Store
	t   *testing.T
	now time.Time
}

func newWorld(t *testing.T, o Options) *world {
	w := &world{t: t, now: time.Unix(1_000_000, 0)}
	o.Now = func() time.Time { return w.now }
	w.Store = New(o)
	return w
}

func (w *world) put(name, class string) {
	w.t.Helper()
	if err := w.Put(w.t.Context(), name, bytes.NewReader([]byte(name)), int64(len(name)), store.PutOptions{Class: class}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) thaw(name string, tier store.Tier, days int, want store.Answer, fails error) {
	w.t.Helper()
	got, err := w.Thaw(w.t.Context(), name, store.ThawOptions{Tier: tier, Days: days})
	if !errors.Is(err, fails) || fails == nil && (err != nil || got != want) {
		w.t.Errorf("thaw %s %q: %v, %v", name, tier, got, err)
	}
}

// state compares what Stat, ListCopies and Get tell of a copy.
func (w *world) state(name string, want store.CopyState) store.Copy {
	w.t.Helper()
	info, err := w.Stat(w.t.Context(), name)
	if err != nil || info.Copy.State != want {
		w.t.Errorf("stat %s: %+v, %v", name, info, err)
	}
	err = w.ListCopies(w.t.Context(), name, "", func(i store.Info) error {
		if i.Name == name && i.Copy != info.Copy {
			w.t.Errorf("list of %s tells %+v, stat %+v", name, i.Copy, info.Copy)
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
	if _, err := storetest.Get(w.t.Context(), w, name, 0, -1); errors.Is(err, store.ErrCold) == (want == store.Thawed) {
		w.t.Errorf("get %s: %v", name, err)
	}
	return info.Copy
}

func TestThaw(t *testing.T) {
	w := newWorld(t, Options{})
	w.put("hot", "STANDARD")
	w.put("a", "GLACIER")
	w.put("b", "DEEP_ARCHIVE")
	w.thaw("hot", store.Bulk, 1, 0, store.ErrNotCold)
	w.thaw("nothing", store.Bulk, 1, 0, store.ErrNotExist)
	w.thaw("b", store.Expedited, 1, 0, store.ErrTier)
	w.thaw("a", "Sometime", 1, 0, store.ErrTier)
	if _, err := w.Thaw(t.Context(), "a", store.ThawOptions{}); err == nil {
		t.Error("no days")
	}
	w.state("a", store.NoCopy)
	w.thaw("a", store.Bulk, 2, store.ThawBegun, nil)
	w.thaw("a", store.Bulk, 2, 0, store.ErrThawing)
	w.state("a", store.Thawing)
	w.now = w.now.Add(time.Hour)
	w.thaw("a", store.Expedited, 2, store.ThawBegun, nil)
	w.thaw("a", store.NoTier, 2, 0, store.ErrThawing)
	w.now = w.now.Add(5 * time.Minute)
	expires := w.state("a", store.Thawed).Expires
	if !expires.Equal(w.now.Add(48 * time.Hour)) {
		t.Errorf("expires %v", expires)
	}
	w.thaw("a", store.Bulk, 1, store.ThawExtended, nil)
	if got := w.state("a", store.Thawed).Expires; !got.Equal(expires) {
		t.Errorf("fewer days: %v", got)
	}
	w.thaw("a", store.Bulk, 10, store.ThawExtended, nil)
	w.now = w.now.Add(10*24*time.Hour - time.Second)
	w.state("a", store.Thawed)
	w.now = w.now.Add(time.Second)
	w.state("a", store.NoCopy)
	w.thaw("a", store.Bulk, 1, store.ThawBegun, nil)
	if n := w.Requests(); n["thaw"] != 12 || n["put"] != 3 || n["move"] != 0 {
		t.Errorf("%v", n)
	}
}

func TestNoTiers(t *testing.T) {
	w := newWorld(t, Options{NoTiers: true, NoStatus: true, Cold: []string{"COLD"}, ThawTime: func(string, store.Tier) time.Duration { return time.Minute }})
	w.put("a", "COLD")
	w.put("b", "GLACIER")
	for _, tier := range []store.Tier{store.Expedited, store.Standard, store.Bulk} {
		w.thaw("a", tier, 1, 0, store.ErrTier)
	}
	w.thaw("b", store.NoTier, 1, 0, store.ErrNotCold)
	w.thaw("a", store.NoTier, 1, store.ThawBegun, nil)
	w.thaw("a", store.NoTier, 1, 0, store.ErrThawing)
	err := w.ListCopies(t.Context(), "", "", func(store.Info) error { t.Error("called"); return nil })
	if !errors.Is(err, store.ErrNoStatus) {
		t.Error(err)
	}
}

func TestMove(t *testing.T) {
	w := newWorld(t, Options{Rules: []store.Rule{{ID: "x", Class: "GLACIER"}}})
	w.put("a", "STANDARD_IA")
	move := func(class string, want error) {
		t.Helper()
		if err := w.Move(t.Context(), "a", class); !errors.Is(err, want) {
			t.Errorf("move to %s: %v", class, err)
		}
	}
	move("GLACIER", nil)
	move("GLACIER", nil)
	move("STANDARD", store.ErrCold)
	w.thaw("a", store.Expedited, 1, store.ThawBegun, nil)
	w.now = w.now.Add(time.Hour)
	move("STANDARD", nil)
	if info, err := w.Stat(t.Context(), "a"); err != nil || info.Class != "STANDARD" || info.Copy != (store.Copy{}) || !info.Modified.Equal(w.now) {
		t.Errorf("%+v, %v", info, err)
	}
	w.Reclass("a", "DEEP_ARCHIVE")
	w.Replace("a", []byte("other"))
	w.state("a", store.NoCopy)
	if rules, err := w.Rules(t.Context()); err != nil || len(rules) != 1 {
		t.Errorf("%v, %v", rules, err)
	}
	if err := w.Move(t.Context(), "b", "GLACIER"); !errors.Is(err, store.ErrNotExist) {
		t.Error(err)
	}
	fixed := newWorld(t, Options{Fixed: "STANDARD"})
	fixed.put("a", "GLACIER")
	if info, err := fixed.Stat(t.Context(), "a"); err != nil || info.Class != "STANDARD" {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestWatch(t *testing.T) {
	var failed []string
	forbid := NoColdGet(func(format string, args ...any) { failed = append(failed, fmt.Sprintf(format, args...)) })
	w := newWorld(t, Options{Watch: func(r Request) error {
		if r.Op == "thaw" && r.Option.Tier == store.Expedited {
			return store.ErrNoCapacity
		}
		return forbid(r)
	}})
	w.put("hot", "")
	w.put("cold", "GLACIER")
	for _, name := range []string{"hot", "cold"} {
		_, _ = w.Get(t.Context(), name, 0, 1)
		_, _ = w.Stat(t.Context(), name)
	}
	if want := []string{`get of "cold", which lies in GLACIER`}; !slices.Equal(failed, want) {
		t.Errorf("%q", failed)
	}
	w.thaw("cold", store.Expedited, 1, 0, store.ErrNoCapacity)
	w.thaw("cold", store.Bulk, 1, store.ThawBegun, nil)
}

func TestColdSuite(t *testing.T) {
	for name, o := range map[string]Options{"tiers": {}, "no tiers": {NoTiers: true}, "no status": {NoStatus: true}} {
		t.Run(name, func(t *testing.T) {
			storetest.ColdSuite{NoTiers: o.NoTiers, NoStatus: o.NoStatus, Part: 1 << 16, Open: func(t *testing.T) (store.Store, func(time.Duration)) {
				w := newWorld(t, o)
				return w.Store, func(d time.Duration) { w.now = w.now.Add(d) }
			}, SetRules: func(_ *testing.T, s store.Store, rules []store.Rule) { s.(*Store).SetRules(rules) }}.Run(t)
		})
	}
}

func TestLockSuite(t *testing.T) {
	storetest.LockSuite{Class: "STANDARD_IA", Open: func(t *testing.T) (store.Store, func(time.Duration)) {
		w := newWorld(t, Options{Lock: store.LockRule{Enabled: true}})
		return w.Store, func(d time.Duration) { w.now = w.now.Add(d) }
	}, SetRule: func(_ *testing.T, s store.Store, rule store.LockRule) { s.(*Store).SetLock(rule) },
		Plain: func(t *testing.T) store.Store { return New(Options{}) }}.Run(t)
}
