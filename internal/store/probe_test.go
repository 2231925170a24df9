package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"firn/internal/store"
	"firn/internal/store/mem"
)

func examine(t *testing.T, o mem.Options, p store.ProbeOptions) (store.Abilities, map[string]int64) {
	t.Helper()
	s := mem.New(o)
	got, err := store.Examine(t.Context(), s, p)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := s.Len(); n > 0 && len(got.LeftOver) == 0 {
		t.Errorf("%d objects are left", n)
	}
	return got, s.Requests()
}

func TestExamine(t *testing.T) {
	deny := func(op string) func(mem.Request) error {
		return func(r mem.Request) error {
			if r.Op == op {
				return store.ErrDenied
			}
			return nil
		}
	}
	all := store.Abilities{CreateOnly: true, VerifiesSum: true, ReportsSum: true, Lists: true, Thaws: store.Yes, Rules: store.Yes}
	with := func(change func(*store.Abilities)) store.Abilities { a := all; change(&a); return a }
	cold := func(a *store.Abilities) { a.Class, a.Cold = "GLACIER", true }
	for _, c := range []struct {
		name  string
		o     mem.Options
		p     store.ProbeOptions
		want  store.Abilities
		thaws int64
	}{
		{"hot", mem.Options{}, store.ProbeOptions{}, all, 1},
		{"cold", mem.Options{}, store.ProbeOptions{Class: "GLACIER"}, with(cold), 1},
		{"cold, thawed", mem.Options{}, store.ProbeOptions{Class: "GLACIER", Thaw: true}, with(func(a *store.Abilities) { cold(a); a.Tiers, a.Status = store.Yes, store.Yes }), 1},
		{"no tiers", mem.Options{NoTiers: true}, store.ProbeOptions{Class: "GLACIER", Thaw: true},
			with(func(a *store.Abilities) { cold(a); a.Tiers, a.Status = store.No, store.Yes }), 2},
		{"no status", mem.Options{NoStatus: true}, store.ProbeOptions{Class: "GLACIER", Thaw: true},
			with(func(a *store.Abilities) { cold(a); a.Tiers, a.Status = store.Yes, store.No }), 1},
		{"class is ignored", mem.Options{Fixed: "STANDARD"}, store.ProbeOptions{Class: "GLACIER", Thaw: true}, with(func(a *store.Abilities) { a.Class = "STANDARD" }), 1},
		{"everything is cold", mem.Options{Fixed: "GLACIER"}, store.ProbeOptions{}, with(func(a *store.Abilities) { cold(a); a.Thaws = store.Unknown }), 0},
		{"thaw is denied", mem.Options{Watch: deny("thaw")}, store.ProbeOptions{Class: "GLACIER", Thaw: true},
			with(func(a *store.Abilities) { cold(a); a.Thaws = store.Denied }), 1},
		{"rules are denied", mem.Options{Watch: deny("rules")}, store.ProbeOptions{}, with(func(a *store.Abilities) { a.Rules = store.Denied }), 1},
		{"put is denied", mem.Options{Watch: deny("put")}, store.ProbeOptions{Thaw: true, Parts: true},
			store.Abilities{Missing: []string{"put"}, Rules: store.Yes}, 0},
		{"list is denied", mem.Options{Watch: deny("list")}, store.ProbeOptions{}, with(func(a *store.Abilities) { a.Lists, a.Missing = false, []string{"list"} }), 1},
	} {
		got, requests := examine(t, c.o, c.p)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v\nwant %+v", c.name, got, c.want)
		}
		if requests["thaw"] != c.thaws {
			t.Errorf("%s: %d thaws", c.name, requests["thaw"])
		}
	}
}

// What the store does not know is no error, what may pass is one.
func TestExamineErrors(t *testing.T) {
	odd := errors.New("odd")
	for _, c := range []struct {
		op          string
		err         error
		thaw, rules store.Ability
		fails       bool
	}{
		{"thaw", store.ErrUnsupported, store.No, store.Yes, false}, {"thaw", odd, store.Unknown, store.Yes, false}, {"thaw", store.ErrTimeout, store.Unknown, "", true},
		{"rules", store.ErrUnsupported, store.Yes, store.No, false}, {"rules", odd, store.Yes, store.Unknown, false}, {"rules", store.ErrTimeout, store.Yes, "", true},
		{"rules", context.Canceled, store.Yes, "", true},
	} {
		s := mem.New(mem.Options{Watch: func(r mem.Request) error {
			if r.Op == c.op {
				return c.err
			}
			return nil
		}})
		got, err := store.Probe(t.Context(), s, "")
		if (err != nil) != c.fails || got.Thaws != c.thaw || got.Rules != c.rules {
			t.Errorf("%s fails with %v: %+v, %v", c.op, c.err, got, err)
		}
		if n, _ := s.Len(); n > 0 {
			t.Errorf("%s fails with %v: %d objects are left", c.op, c.err, n)
		}
	}
}

// plain is a store without any further powers.
type plain struct{ store.Store }

func TestExaminePlain(t *testing.T) {
	got, err := store.Examine(t.Context(), plain{mem.New(mem.Options{})}, store.ProbeOptions{Parts: true, Thaw: true})
	if err != nil || got.Thaws != store.No || got.Rules != store.No || !got.CreateOnly {
		t.Errorf("%+v, %v", got, err)
	}
}

// picky refuses to be asked for some things until it was told to do without.
type picky struct {
	*mem.Store
	refuses []string
	known   store.Abilities
	parts   int
}

func (p *picky) Adapt(a store.Abilities) { p.known = a }

func (p *picky) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	for _, what := range p.refuses {
		if !p.known.Refused(what) {
			return store.Fail("put", name, errors.New("no "+what))
		}
	}
	return p.Store.Put(ctx, name, r, size, o)
}

func (p *picky) CountParts(context.Context, string) (int, error) { return p.parts, nil }

func TestExamineRefusals(t *testing.T) {
	for _, refuses := range [][]string{nil, {store.Conditions}, {store.Sums}, {store.Conditions, store.Sums}, {"everything"}} {
		p := &picky{Store: mem.New(mem.Options{}), refuses: refuses, parts: 1000}
		got, err := store.Examine(t.Context(), p, store.ProbeOptions{Parts: true})
		if slices.Equal(refuses, []string{"everything"}) {
			if err == nil || !strings.Contains(err.Error(), "no everything") || len(p.known.Refuses) > 0 {
				t.Errorf("%v, told %+v", err, p.known)
			}
			continue
		}
		if err != nil || !slices.Equal(got.Refuses, refuses) || got.CreateOnly == slices.Contains(refuses, store.Conditions) || got.MaxParts != 1000 ||
			!reflect.DeepEqual(p.known, got) {
			t.Errorf("%q: %+v, %v, told %+v", refuses, got, err, p.known)
		}
	}
}

func TestAbilities(t *testing.T) {
	a := store.Abilities{CreateOnly: true, Class: "GLACIER", Cold: true, Refuses: []string{store.Sums}, Thaws: store.Yes, Tiers: store.No, MaxParts: 1000, Missing: []string{"delete"}}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var again store.Abilities
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(a, again) {
		t.Errorf("%s: %+v, %v", text, again, err)
	}
	if bytes.Contains(text, []byte("status")) {
		t.Errorf("%s tells what is not known", text)
	}
	const want = "creates only, does not verify sums, class GLACIER, cold, thaws: yes, tiers: no, 1000 parts, refuses sums, no right to delete"
	if got := a.String(); got != want {
		t.Errorf("%s", got)
	}
	var none *store.Abilities
	if none.Refused(store.Sums) || !a.Refused(store.Sums) {
		t.Error("refused")
	}
}

// What a probe stores is gone for good where the store keeps versions, and hidden where it is locked.
func TestExamineLeavesNoVersions(t *testing.T) {
	for name, c := range map[string]struct {
		o    mem.Options
		left int
	}{
		"versions": {mem.Options{Versions: true}, 0},
		"locked":   {mem.Options{Lock: store.LockRule{Enabled: true, Mode: store.Compliance, Days: 3}}, 2},
		"may not": {mem.Options{Versions: true, Watch: func(r mem.Request) error {
			if r.Op == "versions" {
				return store.ErrDenied
			}
			return nil
		}}, 2},
	} {
		s := mem.New(c.o)
		got, err := store.Examine(t.Context(), s, store.ProbeOptions{})
		if n, _ := s.Len(); err != nil || n > 0 || len(got.LeftOver)+len(got.Missing) > 0 {
			t.Errorf("%s: %+v, %d objects, %v", name, got, n, err)
		}
		if n := s.Versions(); n != c.left {
			t.Errorf("%s: %d versions and marks are left", name, n)
		}
	}
}
