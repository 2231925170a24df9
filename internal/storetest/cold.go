package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/store"
)

// ColdSuite is the contract of store.Thawer, store.Mover, store.Ruler and store.UploadMemory as a test suite. A store that is none of the first
// three does not pass it; what it is known to lack is said below.
type ColdSuite struct {
	// Open returns an empty store, which the suite closes, and a func that moves the clock of what keeps its objects.
	Open func(t *testing.T) (s store.Store, advance func(time.Duration))

	Cold    string // a class without Expedited, thawed in two days at most; empty: DEEP_ARCHIVE
	Fast    string // a class with all tiers; empty: GLACIER; not asked where there are no tiers
	Warm    string // a class that is not the default and can be read at once; empty: STANDARD_IA
	Instant string // a cold class that can be read at once; empty: GLACIER_IR

	NoTiers  bool // the store knows store.NoTier only
	NoStatus bool // its listings do not tell what is thawed
	// SetRules gives the store rules, as its owner would; nil: only that a new store has none is tested.
	SetRules func(t *testing.T, s store.Store, rules []store.Rule)
	Part     int64 // size of a part in bytes; 0: 5 MiB
}

const (
	thawStep  = time.Hour           // by which the suite's clock moves while it waits
	thawLimit = 4 * 24 * time.Hour  // no thaw takes longer, whatever the tier
	endLimit  = 30 * 24 * time.Hour // no copy of the suite's is kept longer
)

// Run runs the suite.
func (u ColdSuite) Run(t *testing.T) {
	for class, otherwise := range map[*string]string{&u.Cold: "DEEP_ARCHIVE", &u.Fast: "GLACIER", &u.Warm: "STANDARD_IA", &u.Instant: "GLACIER_IR"} {
		if *class == "" {
			*class = otherwise
		}
	}
	if u.Part == 0 {
		u.Part = 5 << 20
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, *coldStore)
	}{
		{"Unthawed", u.unthawed}, {"Thaw", u.thaw}, {"Extend", u.extend}, {"Expire", u.expire}, {"Tiers", u.tiers}, {"Fast", u.fast}, {"NotCold", u.notCold},
		{"Refuse", u.refuse}, {"ThawRace", u.thawRace}, {"ListCopies", u.listCopies}, {"ListCopiesEnd", u.listCopiesEnd}, {"DeleteCold", u.deleteCold},
		{"Move", u.move}, {"MoveCold", u.moveCold}, {"MoveRefuse", u.moveRefuse}, {"Rules", u.rules}, {"Parts", u.parts}, {"PartsLost", u.partsLost}, {"PartsMixed", u.partsMixed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, advance := u.Open(t)
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			c.test(t, u.powers(t, s, advance))
		})
	}
}

// coldStore is a store under test with its powers.
type coldStore struct {
	store.Store
	store.Thawer
	store.Mover
	store.Ruler
	advance func(time.Duration)
	clocks  int
}

func (u ColdSuite) powers(t *testing.T, s store.Store, advance func(time.Duration)) *coldStore {
	t.Helper()
	c := &coldStore{Store: s, advance: advance}
	var thaws, moves, rules bool
	c.Thawer, thaws = store.As[store.Thawer](s)
	c.Mover, moves = store.As[store.Mover](s)
	c.Ruler, rules = store.As[store.Ruler](s)
	if !thaws || !moves || !rules {
		t.Fatalf("%s is a Thawer: %v, a Mover: %v, a Ruler: %v", s.Location(), thaws, moves, rules)
	}
	return c
}

// tier is a tier that the store has for its cold class.
func (u ColdSuite) tier(t store.Tier) store.Tier {
	if u.NoTiers {
		return store.NoTier
	}
	return t
}

// put stores content in a class.
func (c *coldStore) put(t *testing.T, name, class string, content []byte) {
	t.Helper()
	err := c.Put(t.Context(), name, bytes.NewReader(content), int64(len(content)), store.PutOptions{Sum: sha256.Sum256(content), Class: class})
	if err != nil {
		t.Fatalf("put %q in %s: %v", name, class, err)
	}
}

// stat tells about an object that is there.
func (c *coldStore) stat(t *testing.T, name string) store.Info {
	t.Helper()
	info, err := c.Stat(t.Context(), name)
	if err != nil {
		t.Fatalf("stat %q: %v", name, err)
	}
	return info
}

// now reads the store's clock, by an object that it makes and deletes.
func (c *coldStore) now(t *testing.T) time.Time {
	t.Helper()
	c.clocks++
	name := fmt.Sprintf("clock/%d", c.clocks)
	c.put(t, name, "", []byte("now"))
	info := c.stat(t, name)
	if err := c.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return info.Modified
}

// begin asks for a copy that is not there yet.
func (c *coldStore) begin(t *testing.T, name string, tier store.Tier, days int) {
	t.Helper()
	if answer, err := c.Thaw(t.Context(), name, store.ThawOptions{Tier: tier, Days: days}); err != nil || answer != store.ThawBegun {
		t.Fatalf("thaw %q (%q, %d days): %v, %v", name, tier, days, answer, err)
	}
}

// wait moves the clock until the object is in the state, and tells how long that took.
func (c *coldStore) wait(t *testing.T, name string, state store.CopyState, limit time.Duration) time.Duration {
	t.Helper()
	for past := time.Duration(0); past <= limit; past += thawStep {
		if c.stat(t, name).Copy.State == state {
			return past
		}
		c.advance(thawStep)
	}
	t.Fatalf("%q is not in state %d after %v", name, state, limit)
	return 0
}

// state compares what Stat, ListCopies and Get say of an object with what they should.
func (u ColdSuite) state(t *testing.T, c *coldStore, name string, want store.CopyState, content []byte) {
	t.Helper()
	info := c.stat(t, name)
	if info.Copy.State != want || want == store.NoCopy && !info.Copy.Expires.IsZero() {
		t.Errorf("stat %q tells %+v, want state %d", name, info.Copy, want)
	}
	if !u.NoStatus {
		if got := c.copies(t, name, ""); len(got) == 0 || got[0].Name != name || got[0].Copy.State != want || !got[0].Copy.Expires.Equal(info.Copy.Expires) {
			t.Errorf("listing %q tells %+v, stat %+v", name, got, info)
		}
	}
	got, err := Get(t.Context(), c, name, 0, -1)
	if want == store.Thawed && (err != nil || !bytes.Equal(got, content)) {
		t.Errorf("get of thawed %q: %d bytes, %v", name, len(got), err)
	}
	if want != store.Thawed && !errors.Is(err, store.ErrCold) {
		t.Errorf("get of %q in state %d: %d bytes, %v", name, want, len(got), err)
	}
}

// copies is a whole listing with copies.
func (c *coldStore) copies(t *testing.T, prefix, after string) (out []store.Info) {
	t.Helper()
	err := c.ListCopies(t.Context(), prefix, after, func(i store.Info) error {
		out = append(out, i)
		return nil
	})
	if err != nil {
		t.Fatalf("list copies of %q: %v", prefix, err)
	}
	return out
}

// is fails the test where an answer of the contract is not what it should be: which, whom it names, and that asking again does not help.
func is(t *testing.T, err, want error, name string) {
	t.Helper()
	var e *store.Error
	if !errors.Is(err, want) || !errors.As(err, &e) || e.Name != name {
		t.Errorf("%v, want that %q: %v", err, name, want)
	}
	if store.IsTemporary(err) {
		t.Errorf("%v passes for temporary", err)
	}
}

func (u ColdSuite) unthawed(t *testing.T, c *coldStore) {
	content := Content(1, 5000)
	c.put(t, "data/a", u.Cold, content)
	u.state(t, c, "data/a", store.NoCopy, nil)
	if info := c.stat(t, "data/a"); info.Class != u.Cold || info.Size != 5000 || !info.Sum.IsZero() && info.Sum != sha256.Sum256(content) {
		t.Errorf("%+v", info)
	}
	for _, length := range []int64{-1, 1, 5000} {
		if _, err := c.Get(t.Context(), "data/a", 5, length); !errors.Is(err, store.ErrCold) {
			t.Errorf("get of a part: %v", err)
		}
	}
	err := c.Put(t.Context(), "data/a", bytes.NewReader(content), 5000, store.PutOptions{Class: u.Cold})
	if !errors.Is(err, store.ErrExist) {
		t.Errorf("second put: %v", err)
	}
	err = c.List(t.Context(), "data/", "", func(i store.Info) error {
		if i.Class != u.Cold || i.Copy != (store.Copy{}) {
			t.Errorf("list tells %+v", i)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, class := range []string{u.Warm, u.Instant} {
		c.put(t, "warm/"+class, class, content)
		if got, err := Get(t.Context(), c, "warm/"+class, 0, -1); err != nil || !bytes.Equal(got, content) {
			t.Errorf("get of %s: %d bytes, %v", class, len(got), err)
		}
		if info := c.stat(t, "warm/"+class); info.Class != class || info.Copy != (store.Copy{}) {
			t.Errorf("%+v", info)
		}
	}
}

func (u ColdSuite) thaw(t *testing.T, c *coldStore) {
	content := Content(1, 70_000)
	c.put(t, "data/a", u.Cold, content)
	c.put(t, "data/b", u.Cold, content)
	c.begin(t, "data/a", u.tier(store.Standard), 3)
	u.state(t, c, "data/a", store.Thawing, nil)
	_, err := c.Thaw(t.Context(), "data/a", store.ThawOptions{Tier: u.tier(store.Standard), Days: 3})
	is(t, err, store.ErrThawing, "data/a")
	if took := c.wait(t, "data/a", store.Thawed, thawLimit); took < thawStep {
		t.Errorf("thawed in less than %v", took)
	}
	u.state(t, c, "data/a", store.Thawed, content)
	u.state(t, c, "data/b", store.NoCopy, nil)
	if got, err := Get(t.Context(), c, "data/a", 1000, 50); err != nil || !bytes.Equal(got, content[1000:1050]) {
		t.Errorf("part: %d bytes, %v", len(got), err)
	}
	info := c.stat(t, "data/a")
	if info.Class != u.Cold || info.Size != 70_000 {
		t.Errorf("thawed: %+v", info)
	}
	if left := info.Copy.Expires.Sub(c.now(t)); left < 3*24*time.Hour-2*thawStep || left > 4*24*time.Hour+thawStep {
		t.Errorf("a copy for 3 days is kept %v", left)
	}
}

func (u ColdSuite) extend(t *testing.T, c *coldStore) {
	content := Content(2, 100)
	c.put(t, "a", u.Cold, content)
	c.begin(t, "a", u.tier(store.Bulk), 2)
	c.wait(t, "a", store.Thawed, thawLimit)
	before := c.stat(t, "a").Copy.Expires
	for _, days := range []int{9, 9} {
		answer, err := c.Thaw(t.Context(), "a", store.ThawOptions{Tier: u.tier(store.Bulk), Days: days})
		if err != nil || answer != store.ThawExtended {
			t.Fatalf("extending: %v, %v", answer, err)
		}
	}
	u.state(t, c, "a", store.Thawed, content)
	after := c.stat(t, "a").Copy.Expires
	if left := after.Sub(c.now(t)); !after.After(before) || left < 9*24*time.Hour-thawStep || left > 10*24*time.Hour+thawStep {
		t.Errorf("extended by 9 days from %v to %v, that is for %v", before, after, left)
	}
	c.advance(before.Sub(c.now(t)) + thawStep)
	u.state(t, c, "a", store.Thawed, content)
}

func (u ColdSuite) expire(t *testing.T, c *coldStore) {
	content := Content(3, 100)
	c.put(t, "a", u.Cold, content)
	for range 2 {
		c.begin(t, "a", u.tier(store.Standard), 1)
		c.wait(t, "a", store.Thawed, thawLimit)
		expires := c.stat(t, "a").Copy.Expires
		c.wait(t, "a", store.NoCopy, endLimit)
		if past := c.now(t).Sub(expires); past < -time.Second || past > 2*thawStep {
			t.Errorf("gone %v after it expired", past)
		}
		u.state(t, c, "a", store.NoCopy, nil)
	}
}

func (u ColdSuite) tiers(t *testing.T, c *coldStore) {
	for _, name := range []string{"a", "b", "c"} {
		c.put(t, name, u.Cold, []byte(name))
	}
	for _, tier := range []store.Tier{store.Expedited, "Warp"} {
		_, err := c.Thaw(t.Context(), "a", store.ThawOptions{Tier: tier, Days: 1})
		is(t, err, store.ErrTier, "a")
	}
	if u.NoTiers {
		_, err := c.Thaw(t.Context(), "a", store.ThawOptions{Tier: store.Bulk, Days: 1})
		is(t, err, store.ErrTier, "a")
	}
	u.state(t, c, "a", store.NoCopy, nil)
	c.begin(t, "a", store.NoTier, 1)
	c.wait(t, "a", store.Thawed, thawLimit)
	if u.NoTiers {
		return
	}
	c.begin(t, "b", store.Bulk, 1)
	c.begin(t, "c", store.Bulk, 1)
	c.begin(t, "c", store.Standard, 1) // faster than before
	for _, tier := range []store.Tier{store.Bulk, store.Standard} {
		_, err := c.Thaw(t.Context(), "c", store.ThawOptions{Tier: tier, Days: 1})
		is(t, err, store.ErrThawing, "c")
	}
	c.wait(t, "c", store.Thawed, thawLimit)
	u.state(t, c, "b", store.Thawing, nil)
	c.wait(t, "b", store.Thawed, thawLimit)
}

func (u ColdSuite) fast(t *testing.T, c *coldStore) {
	if u.NoTiers {
		t.Skip("the store is known to have no tiers")
	}
	var took []time.Duration
	for _, tier := range []store.Tier{store.Expedited, store.Standard, store.Bulk} {
		name := "fast/" + string(tier)
		c.put(t, name, u.Fast, []byte(name))
		for try := 0; ; try++ { // the store may have no room for it at the moment
			_, err := c.Thaw(t.Context(), name, store.ThawOptions{Tier: tier, Days: 1})
			if err == nil {
				break
			}
			if !errors.Is(err, store.ErrNoCapacity) || try == 100 {
				t.Fatalf("%s: %v", tier, err)
			}
		}
		u.state(t, c, name, store.Thawing, nil)
		took = append(took, c.wait(t, name, store.Thawed, thawLimit))
	}
	if !slices.IsSorted(took) || took[0] == took[2] {
		t.Errorf("Expedited, Standard and Bulk took %v", took)
	}
}

func (u ColdSuite) notCold(t *testing.T, c *coldStore) {
	for _, class := range []string{"", u.Warm, u.Instant} {
		c.put(t, "x"+class, class, []byte("x"))
		_, err := c.Thaw(t.Context(), "x"+class, store.ThawOptions{Tier: u.tier(store.Bulk), Days: 1})
		is(t, err, store.ErrNotCold, "x"+class)
		if got, err := Get(t.Context(), c, "x"+class, 0, -1); err != nil || string(got) != "x" {
			t.Errorf("after it: %q, %v", got, err)
		}
		if info := c.stat(t, "x"+class); info.Copy != (store.Copy{}) {
			t.Errorf("%+v", info)
		}
	}
}

func (u ColdSuite) refuse(t *testing.T, c *coldStore) {
	c.put(t, "a", u.Cold, []byte("x"))
	for _, name := range []string{"", "a/", "../a", "a b"} {
		if _, err := c.Thaw(t.Context(), name, store.ThawOptions{Tier: u.tier(store.Bulk), Days: 1}); err == nil {
			t.Errorf("thaw takes %q", name)
		}
		if err := c.Move(t.Context(), name, u.Cold); err == nil {
			t.Errorf("move takes %q", name)
		}
	}
	_, err := c.Thaw(t.Context(), "nothing", store.ThawOptions{Tier: u.tier(store.Bulk), Days: 1})
	is(t, err, store.ErrNotExist, "nothing")
	for _, days := range []int{0, -1} {
		if _, err := c.Thaw(t.Context(), "a", store.ThawOptions{Tier: u.tier(store.Bulk), Days: days}); err == nil {
			t.Errorf("thaw takes %d days", days)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Thaw(ctx, "a", store.ThawOptions{Tier: u.tier(store.Bulk), Days: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("thaw: %v", err)
	}
	if err := c.Move(ctx, "a", u.Warm); !errors.Is(err, context.Canceled) {
		t.Errorf("move: %v", err)
	}
	if _, err := c.Rules(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("rules: %v", err)
	}
	if err := c.ListCopies(ctx, "", "", func(store.Info) error { return nil }); !errors.Is(err, context.Canceled) && !u.NoStatus {
		t.Errorf("list copies: %v", err)
	}
	u.state(t, c, "a", store.NoCopy, nil)
}

// thawRace: of many that ask at once, one begins, so that nothing is paid twice.
func (u ColdSuite) thawRace(t *testing.T, c *coldStore) {
	c.put(t, "a", u.Cold, []byte("x"))
	var begun atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			o := store.ThawOptions{Tier: u.tier(store.Bulk), Days: 1}
			_, err := c.Thaw(t.Context(), "a", o)
			for try := 0; try < 50 && store.IsTemporary(err); try++ {
				_, err = c.Thaw(t.Context(), "a", o)
			}
			if err == nil {
				begun.Add(1)
			} else if !errors.Is(err, store.ErrThawing) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if begun.Load() != 1 {
		t.Errorf("begun %d times", begun.Load())
	}
}

func (u ColdSuite) listCopies(t *testing.T, c *coldStore) {
	if u.NoStatus {
		seen := 0
		c.put(t, "data/a", u.Cold, []byte("x"))
		c.put(t, "data/b", u.Cold, []byte("x"))
		c.begin(t, "data/b", u.tier(store.Bulk), 1) // only now it has to be known
		err := c.ListCopies(t.Context(), "data/", "", func(store.Info) error { seen++; return nil })
		if !errors.Is(err, store.ErrNoStatus) || seen > 0 {
			t.Errorf("%v after %d objects", err, seen)
		}
		return
	}
	want := map[string]store.CopyState{}
	for i, class := range []string{u.Cold, u.Cold, u.Cold, "", u.Warm, u.Instant} {
		name := fmt.Sprintf("data/%02x/%d", i%2, i)
		c.put(t, name, class, []byte(name))
		want[name] = store.NoCopy
	}
	c.put(t, "other", "", nil)
	c.begin(t, "data/00/0", u.tier(store.Standard), 5)
	c.wait(t, "data/00/0", store.Thawed, thawLimit)
	c.begin(t, "data/01/1", u.tier(store.Standard), 5)
	want["data/00/0"], want["data/01/1"] = store.Thawed, store.Thawing

	for _, after := range []string{"", "data/00/2", "data/01"} {
		got := c.copies(t, "data/", after)
		var plain []store.Info
		err := c.List(t.Context(), "data/", after, func(i store.Info) error {
			if i.Copy != (store.Copy{}) {
				t.Errorf("list tells %+v", i)
			}
			plain = append(plain, i)
			return nil
		})
		if err != nil || len(got) != len(plain) {
			t.Fatalf("after %q: %d objects with copies, %d without, %v", after, len(got), len(plain), err)
		}
		for i, info := range got {
			p := plain[i]
			if info.Name != p.Name || info.Size != p.Size || info.Class != p.Class || !info.Modified.Equal(p.Modified) || info.Copy.State != want[info.Name] {
				t.Errorf("%+v, without copy %+v, want state %d", info, p, want[info.Name])
			}
		}
	}
}

func (u ColdSuite) listCopiesEnd(t *testing.T, c *coldStore) {
	if u.NoStatus {
		t.Skip("the listings are known not to tell")
	}
	for i := range 5 {
		c.put(t, fmt.Sprintf("x/%d", i), u.Cold, nil)
	}
	stop, seen := errors.New("enough"), 0
	err := c.ListCopies(t.Context(), "x/", "", func(store.Info) error {
		if seen++; seen == 2 {
			return stop
		}
		return nil
	})
	if err != stop || seen != 2 {
		t.Errorf("%v after %d", err, seen)
	}
	if err := c.ListCopies(t.Context(), "nothing", "", func(store.Info) error { return stop }); err != nil {
		t.Error(err)
	}
}

func (u ColdSuite) deleteCold(t *testing.T, c *coldStore) {
	for _, name := range []string{"a", "b"} {
		c.put(t, name, u.Cold, []byte(name))
	}
	c.begin(t, "a", u.tier(store.Bulk), 1)
	for _, name := range []string{"a", "b"} {
		if err := c.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		_, err := c.Thaw(t.Context(), name, store.ThawOptions{Tier: u.tier(store.Bulk), Days: 1})
		is(t, err, store.ErrNotExist, name)
	}
	c.put(t, "a", u.Cold, []byte("again"))
	u.state(t, c, "a", store.NoCopy, nil)
}

// in fails the test where an object is not whole in its class.
func (c *coldStore) in(t *testing.T, name, class string, content []byte, cold bool) {
	t.Helper()
	info := c.stat(t, name)
	if info.Class != class || info.Size != int64(len(content)) || !info.Sum.IsZero() && info.Sum != sha256.Sum256(content) {
		t.Errorf("%q should be in %s with %d bytes: %+v", name, class, len(content), info)
	}
	got, err := Get(t.Context(), c, name, 0, -1)
	if cold != errors.Is(err, store.ErrCold) || !cold && (err != nil || !bytes.Equal(got, content)) {
		t.Errorf("%q in %s, cold: %v: %d bytes, %v", name, class, cold, len(got), err)
	}
}

func (u ColdSuite) move(t *testing.T, c *coldStore) {
	content := Content(4, 20_000)
	c.put(t, "data/a", u.Warm, content)
	c.put(t, "data/b", "", content)
	for range 2 {
		for _, name := range []string{"data/a", "data/b"} {
			if err := c.Move(t.Context(), name, u.Instant); err != nil {
				t.Fatal(err)
			}
			c.in(t, name, u.Instant, content, false)
		}
	}
	for range 2 { // the second time it is there already, and need not be thawed for it
		if err := c.Move(t.Context(), "data/a", u.Cold); err != nil {
			t.Fatal(err)
		}
		c.in(t, "data/a", u.Cold, content, true)
	}
	c.in(t, "data/b", u.Instant, content, false)
	if names, err := Names(t.Context(), c, "", ""); err != nil || strings.Join(names, " ") != "data/a data/b" {
		t.Errorf("%q, %v", names, err)
	}
	c.begin(t, "data/a", u.tier(store.Bulk), 1)
	c.wait(t, "data/a", store.Thawed, thawLimit)
	u.state(t, c, "data/a", store.Thawed, content)
}

func (u ColdSuite) moveCold(t *testing.T, c *coldStore) {
	content := Content(5, 300)
	c.put(t, "a", u.Cold, content)
	is(t, c.Move(t.Context(), "a", u.Warm), store.ErrCold, "a")
	c.in(t, "a", u.Cold, content, true)
	c.begin(t, "a", u.tier(store.Standard), 2)
	is(t, c.Move(t.Context(), "a", u.Warm), store.ErrCold, "a")
	c.wait(t, "a", store.Thawed, thawLimit)
	if err := c.Move(t.Context(), "a", u.Warm); err != nil {
		t.Fatal(err)
	}
	c.in(t, "a", u.Warm, content, false)
	if info := c.stat(t, "a"); info.Copy != (store.Copy{}) {
		t.Errorf("it needs no copy any more: %+v", info)
	}
	c.advance(endLimit)
	c.in(t, "a", u.Warm, content, false)
}

func (u ColdSuite) moveRefuse(t *testing.T, c *coldStore) {
	is(t, c.Move(t.Context(), "nothing", u.Cold), store.ErrNotExist, "nothing")
	c.put(t, "a", u.Warm, []byte("x"))
	if err := c.Move(t.Context(), "a", "LUKEWARM"); err == nil {
		t.Error("move to a class that is not there")
	}
	c.in(t, "a", u.Warm, []byte("x"), false)
	if names, err := Names(t.Context(), c, "", ""); err != nil || len(names) != 1 {
		t.Errorf("%q, %v", names, err)
	}
}

func (u ColdSuite) rules(t *testing.T, c *coldStore) {
	got, err := c.Rules(t.Context())
	if errors.Is(err, store.ErrUnsupported) && u.SetRules == nil {
		t.Skip("the store does not tell rules")
	}
	if err != nil || len(got) > 0 {
		t.Fatalf("a new store has rules: %+v, %v", got, err)
	}
	if u.SetRules == nil {
		return
	}
	want := []store.Rule{
		{ID: "chill", Enabled: true, Days: 30, Class: u.Cold},
		{ID: "off", Days: 1, Expires: true, Prefix: "data/"},
		{ID: "some", Enabled: true, Narrowed: true, Days: 3, Expires: true, Prefix: "meta/"},
		{ID: "tidy", Enabled: true, Aborts: 7},
		{ID: "two", Enabled: true, Prefix: "x", Days: 10, Class: u.Instant},
		{ID: "two", Enabled: true, Prefix: "x", Days: 400, Expires: true},
		{ID: "versions", Enabled: true, Noncurrent: true, Days: 5, Expires: true},
	}
	u.SetRules(t, c.Store, want)
	got, err = c.Rules(t.Context())
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d rules of %d, %v: %+v", len(got), len(want), err, got)
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%+v is missing in %+v", w, got)
		}
	}
}

// memory is a store.UploadMemory that lasts as long as the test.
type memory struct {
	id  string
	set []string
}

func (m *memory) Upload() string { return m.id }
func (m *memory) SetUpload(id string) {
	m.id = id
	m.set = append(m.set, id)
}

// cut sends content in parts until its source fails, after some bytes.
func (u ColdSuite) cut(t *testing.T, c *coldStore, m *memory, content []byte, after int64) {
	t.Helper()
	r := &failing{ReadSeeker: bytes.NewReader(content), left: int(after), times: 1}
	o := store.PutOptions{Class: u.Cold, Parts: u.Part, Memory: m} // without a sum the content need not be read before
	if err := c.Put(t.Context(), "data/a", r, int64(len(content)), o); err == nil {
		t.Skip("the store made up for a source that failed by itself")
	}
	if _, err := c.Stat(t.Context(), "data/a"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("after a source that failed: %v", err)
	}
}

// rest sends content, after what may have gone before, and looks that it is whole.
func (u ColdSuite) rest(t *testing.T, c *coldStore, m *memory, content []byte) {
	t.Helper()
	o := store.PutOptions{Sum: sha256.Sum256(content), Class: u.Cold, Parts: u.Part, Memory: m}
	err := c.Put(t.Context(), "data/a", bytes.NewReader(content), int64(len(content)), o)
	if errors.Is(err, store.ErrChecksum) { // what had been sent before was something else
		err = c.Put(t.Context(), "data/a", bytes.NewReader(content), int64(len(content)), o)
	}
	if err != nil {
		t.Fatal(err)
	}
	if m.id != "" {
		t.Errorf("upload %q is remembered though it has ended", m.id)
	}
	if info := c.stat(t, "data/a"); info.Class != u.Cold || info.Size != int64(len(content)) {
		t.Errorf("%+v", info)
	}
	c.begin(t, "data/a", u.tier(store.Standard), 1)
	c.wait(t, "data/a", store.Thawed, thawLimit)
	if got, err := Get(t.Context(), c, "data/a", 0, -1); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func (u ColdSuite) parts(t *testing.T, c *coldStore) {
	m := &memory{}
	content := Content(6, int(u.Part*2+u.Part/2))
	u.cut(t, c, m, content, u.Part+u.Part/2)
	cut := m.id
	u.rest(t, c, m, content)
	if cut != "" && len(m.set) != 2 {
		t.Errorf("the upload was not taken up again: %q", m.set)
	}
	err := c.Put(t.Context(), "data/a", bytes.NewReader(content), int64(len(content)), store.PutOptions{Class: u.Cold, Parts: u.Part, Memory: m})
	if !errors.Is(err, store.ErrExist) || m.id != "" {
		t.Errorf("second put: %v, upload %q", err, m.id)
	}
}

// partsLost: the store no longer knows the upload that is remembered.
func (u ColdSuite) partsLost(t *testing.T, c *coldStore) {
	m := &memory{id: "nothing-of-this-name"}
	u.rest(t, c, m, Content(7, int(u.Part+u.Part/3)))
}

// partsMixed: what is sent the second time is not what was sent the first time.
func (u ColdSuite) partsMixed(t *testing.T, c *coldStore) {
	m := &memory{}
	u.cut(t, c, m, Content(8, int(u.Part*2+1)), u.Part+u.Part/2)
	u.rest(t, c, m, Content(9, int(u.Part*2+u.Part/4)))
}
