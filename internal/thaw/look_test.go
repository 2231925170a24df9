package thaw

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"firn/internal/store"
	"firn/internal/store/mem"
)

// listing returns a store of n objects, of which some are wanted.
func listing(n int, wants int) (*simStore, []Need) {
	all := packs(5, n, "DEEP_ARCHIVE", 1e8)
	s := newSim(5, all)
	r := rand.New(rand.NewPCG(1, 1))
	for k, o := range s.objects {
		o.class = []string{"DEEP_ARCHIVE", "GLACIER", "STANDARD", "STANDARD_IA"}[k%4]
		if simCold(o.class) && k%3 > 0 {
			o.copyAt, o.expires = simStart.Add(time.Duration(k%3*2-3)*time.Hour), simStart.Add(48*time.Hour)
		}
	}
	r.Shuffle(n, func(a, b int) { all[a], all[b] = all[b], all[a] })
	return s, all[:wants]
}

// told checks a survey against the store.
func told(t *testing.T, s *simStore, v *Survey) {
	t.Helper()
	for i, n := range v.Needs {
		f := v.At(i)
		o := s.find(n.Object)
		if f.Missing != (o == nil) {
			t.Fatalf("%s: %+v", n.Object, f)
		}
		if o == nil {
			continue
		}
		if want := s.state(o); f.Copy != want || f.Class != o.class || f.Cold != simCold(o.class) {
			t.Fatalf("%s: %+v, want %+v in %s", n.Object, f, want, o.class)
		}
	}
}

func TestLook(t *testing.T) {
	for _, c := range []struct {
		objects, wants int
		total          int64
		silent         bool
		lists, heads   int // at most
	}{
		{10, 10, 0, false, 0, 10},
		{10, 10, 0, true, 0, 10},
		{1000, 1000, 0, false, 1, 0},
		{1500, 40, 0, false, 1, 12},
		{100_000, 100_000, 100_000, false, 135, 0},
		{100_000, 10_000, 100_000, false, 130, 0},
		{100_000, 100, 100_000, false, 0, 100},
		{100_000, 100, 0, false, 1, 100},
		{100_000, 1500, 0, false, 135, 1000},
		{3000, 3000, 0, true, 10, 1600},
		{20_000, 12, 0, true, 0, 12},
	} {
		t.Run(fmt.Sprintf("%d of %d", c.wants, c.objects), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, needs := listing(c.objects, c.wants)
				s.silent, s.latency = c.silent, 100*time.Millisecond
				gone := needs[len(needs)/2].Object
				s.remove(gone)
				v, err := Look(t.Context(), s, needs, LookOptions{Region: aws(t), Total: c.total})
				if err != nil {
					t.Fatal(err)
				}
				told(t, s, v)
				if s.calls["list"] > c.lists || s.calls["stat"] > c.heads || int64(s.calls["stat"]) != v.Requests.Head {
					t.Errorf("%v, counted %+v", s.calls, v.Requests)
				}
				if got := time.Since(simStart); got > 20*time.Second {
					t.Errorf("took %v", got)
				}
				sum := v.Missing
				for _, g := range v.Groups {
					sum.join(g.Tally)
				}
				if v.Missing.Objects != 1 || sum.Objects != int64(c.wants) || sum.Bytes != int64(c.wants)*1e8 {
					t.Errorf("%+v in %+v", sum, v.Groups)
				}
			})
		})
	}
}

// TestLookCluster: a snapshot's packs lie anywhere, but some callers want neighbours.
func TestLookCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all := listing(100_000, 100_000)
		all = slices.Clone(all)
		slices.SortFunc(all, func(a, b Need) int { return strings.Compare(a.Object, b.Object) })
		needs := append(slices.Clone(all[20_000:23_000]), all[70_000:71_000]...)
		v, err := Look(t.Context(), s, needs, LookOptions{Total: 100_000 * 25}) // the total is wrong
		if err != nil {
			t.Fatal(err)
		}
		told(t, s, v)
		if s.calls["list"]+s.calls["stat"]/12 > 50 {
			t.Errorf("%v", s.calls)
		}
	})
}

func TestLookFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, needs := listing(20_000, 5000)
		s.faults.list = 0.2
		v, err := Look(t.Context(), s, needs, LookOptions{})
		if err != nil {
			t.Fatal(err)
		}
		told(t, s, v)
		s.faults.list = 1
		s.die = 0
		if _, err := Look(t.Context(), s, needs, LookOptions{}); err != nil {
			t.Logf("all fail half-way: %v", err) // each try gets a little farther, so this may end well
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Look(ctx, s, needs, LookOptions{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestLookBad(t *testing.T) {
	s := newSim(1, nil)
	for _, needs := range [][]Need{
		{{Object: "a"}, {Object: "b"}, {Object: "a"}},
		{{Object: ""}}, {{Object: "/a"}}, {{Object: "a", Size: -1}}, {{Object: "a", Wanted: -1}}, {{Object: "a", Gets: -1}},
	} {
		if _, err := Look(t.Context(), s, needs, LookOptions{}); err == nil {
			t.Errorf("%v", needs)
		}
	}
	if v, err := Look(t.Context(), s, nil, LookOptions{}); err != nil || len(v.Groups) != 0 {
		t.Error(v, err)
	}
}

// TestLookNames: names that are no hexadecimal numbers, several folders, folders of two digits, names that begin other names.
func TestLookNames(t *testing.T) {
	for _, o := range []mem.Options{{}, {NoStatus: true}, {NoTiers: true, Cold: []string{"COLD"}}} {
		m := mem.New(o)
		var needs []Need
		put := func(name, class string) {
			if err := m.Put(t.Context(), name, strings.NewReader(name), int64(len(name)), store.PutOptions{Class: class}); err != nil {
				t.Fatal(err)
			}
		}
		for k := range 40 {
			class := []string{"GLACIER", "COLD", "", "STANDARD"}[k%4]
			for _, name := range []string{fmt.Sprintf("index/main/%d-x", k), fmt.Sprintf("s/%02x/%02x%d", k, k, k), fmt.Sprintf("k%d", k), fmt.Sprintf("k%d.par2", k), fmt.Sprintf("ab/%02x/x", k)} {
				put(name, class)
				if k%7 != 0 || strings.HasPrefix(name, "index") {
					needs = append(needs, Need{Object: name, Class: class, Size: int64(len(name))})
				}
			}
		}
		needs = append(needs, Need{Object: "k5x"}, Need{Object: "zz/zz/zz"}, Need{Object: "index/main/10"})
		v, err := Look(t.Context(), m, needs, LookOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range needs {
			info, err := m.Stat(t.Context(), n.Object)
			f := v.At(i)
			if f.Missing != errors.Is(err, store.ErrNotExist) || f.Class != info.Class || f.Copy != info.Copy {
				t.Errorf("%s: %+v, want %+v, %v", n.Object, f, info, err)
			}
			if want := info.Class == "GLACIER" || info.Class == "COLD"; f.Cold != want {
				t.Errorf("%s in %s: cold %v", n.Object, f.Class, f.Cold)
			}
		}
	}
}

// hotStore cannot thaw.
type hotStore struct{ store.Store }

func TestLookHotStore(t *testing.T) {
	m := mem.New(mem.Options{})
	if err := m.Put(t.Context(), "a", strings.NewReader("x"), 1, store.PutOptions{Class: "GLACIER"}); err != nil {
		t.Fatal(err)
	}
	v, err := Look(t.Context(), hotStore{m}, []Need{{Object: "a"}, {Object: "b"}}, LookOptions{})
	if err != nil || v.At(0).Cold || !v.At(1).Missing {
		t.Error(v, err)
	}
}

func TestChilled(t *testing.T) {
	m := mem.New(mem.Options{})
	for name, class := range map[string]string{"index/a": "", "index/b": "GLACIER", "meta/c": "DEEP_ARCHIVE", "meta/d": "GLACIER_IR", "data/e": "GLACIER"} {
		if err := m.Put(t.Context(), name, strings.NewReader(name), int64(len(name)), store.PutOptions{Class: class}); err != nil {
			t.Fatal(err)
		}
	}
	for st, want := range map[store.Store]int{m: 2, hotStore{m}: 0} {
		needs, err := Chilled(t.Context(), st, []string{"index/", "meta/"}, aws(t))
		if err != nil || len(needs) != want || want > 0 && (needs[0] != Need{"index/b", "GLACIER", 7, 7, 1} || needs[1].Object != "meta/c") {
			t.Errorf("%+v, %v", needs, err)
		}
	}
}

func BenchmarkLook(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, needs := listing(n, n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Look(b.Context(), s, needs, LookOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
