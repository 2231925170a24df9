package check_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"firn/internal/check"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store/mem"
)

// A repository that nothing has happened to gives no findings, however it is looked at.
func TestSound(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	for name, l := range map[string]level{"listing": listing, "sums": sums, "metadata": metadata, "reading": reading, "blind": {blind: true, wish: check.Wish{Sums: 1, Metadata: true, Read: check.Share{All: true}}},
		"host": {host: w.hosts["nas"], wish: check.Wish{Sums: 1, Metadata: true, Read: check.Share{All: true}}}} {
		r := w.check(l)
		for _, f := range r.Findings {
			t.Errorf("%s: %v %s", name, f, f.Kind)
		}
		t.Logf("%s: %+v", name, r.Result)
		if l.wish.Read.All && (r.Result.Packs == 0 || r.Result.Packs != r.Result.Candidates) {
			t.Errorf("%s: %d packs of %d read", name, r.Result.Packs, r.Result.Candidates)
		}
	}
}

// damage is what can happen to an object.
var damage = map[string]func(raw, other []byte) []byte{
	"cut":       func(raw, _ []byte) []byte { return raw[:len(raw)*2/3] },
	"flipped":   func(raw, _ []byte) []byte { raw[len(raw)/2] ^= 4; return raw },
	"gone":      func([]byte, []byte) []byte { return nil },
	"exchanged": func(_, other []byte) []byte { return other },
}

// Every kind of object, damaged in every way, is found by the level that has to find it, and the report names the object.
func TestEveryDamage(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	for _, c := range []struct {
		kind, suffix string
		byListing    string // ways that a listing shows
		byMetadata   string // ways that show in metadata
		byReading    string
		fails        string // ways because of which there is no repository to check
		harms        bool
	}{
		{"data/", "", "cut gone exchanged", "cut gone exchanged", "cut flipped gone exchanged", "", true},
		{"meta/", "", "cut gone exchanged", "cut gone exchanged", "cut flipped gone exchanged", "", true},
		{"index/", "", "cut flipped gone exchanged", "cut flipped gone exchanged", "", "", false},
		{"packset/", "", "cut flipped gone exchanged", "", "", "", true},
		{"snapshots/", "", "cut flipped gone exchanged", "", "", "", false},
		{"snapshots/", ".done", "cut flipped exchanged", "gone", "", "", false},
		{"hosts/", "", "", "cut flipped gone exchanged", "", "", false},
		{"state/", "", "", "cut flipped exchanged", "", "", false},
		{"keys/", ".age", "", "gone", "", "", false}, // what only another key opens is known by its form alone
		{"keys/", ".json", "", "cut flipped gone", "", "", false},
		{"recover.py", "", "", "gone", "", "", false},
		{"firn.json", "", "", "", "", "cut flipped gone exchanged", false},
	} {
		names := w.names(c.kind, c.suffix)
		for how, do := range damage {
			name := names[0]
			raw := w.object(name)
			other := w.object(w.names("data/", "")[len(w.names("data/", ""))-1])
			if len(names) > 1 {
				other = w.object(names[1])
			}
			w.replace(name, do(bytes.Clone(raw), other), "")
			for _, l := range []struct {
				name string
				level
				must bool
			}{
				{"listing", listing, strings.Contains(c.byListing, how)},
				{"metadata", metadata, strings.Contains(c.byListing+c.byMetadata, how)},
				{"reading", reading, strings.Contains(c.byListing+c.byMetadata+c.byReading, how)},
			} {
				r, err := run(w.options(l.level), l.wish)
				if err != nil {
					if !strings.Contains(c.fails, how) || !openable(err) {
						t.Errorf("%s %s, %s: %v", name, how, l.name, err)
					}
					continue
				}
				i := slices.IndexFunc(r.Findings, func(f check.Finding) bool {
					return f.Object == name || how == "gone" && c.kind == "index/" && f.Object == name[:strings.LastIndexByte(name, '/')+1]
				})
				if i < 0 && l.must {
					t.Errorf("%s %s is not found by %s: %v", name, how, l.name, r.Findings)
				}
				if i >= 0 && c.harms && len(r.Findings[i].Harms) == 0 {
					t.Errorf("%s %s, %s: it hurts nobody", name, how, l.name)
				}
				if i >= 0 && (r.Findings[i].Remedy == "" || r.Findings[i].Kind == "") {
					t.Errorf("%s %s, %s: %+v", name, how, l.name, r.Findings[i])
				}
			}
			w.replace(name, raw, "")
		}
	}
	if r := w.check(reading); len(r.Findings) > 0 {
		t.Errorf("mended: %v", r.Findings)
	}
}

// What is said to be hurt is what cannot be read back, no more and no less.
func TestHarms(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	for seed := range 9 {
		all := w.names("data/", "")
		name := all[seed*5%len(all)]
		raw := w.object(name)
		way := []string{"gone", "flipped", "cut"}[seed%3]
		w.replace(name, damage[way](bytes.Clone(raw), nil), "")
		r := w.check(reading)
		if len(r.Findings) != 1 || r.Findings[0].Object != name {
			t.Fatalf("%s %s: %v", name, way, r.Findings)
		}
		told := map[snapshot.ID][]string{}
		for _, h := range r.Findings[0].Harms {
			for _, p := range h.Paths {
				told[h.ID] = append(told[h.ID], string(p))
			}
			if h.Files != int64(len(h.Paths)) && h.Files < 10 {
				t.Errorf("%d files, %q", h.Files, h.Paths)
			}
		}
		want := w.lostFiles(name)
		if fmt.Sprint(told) != fmt.Sprint(want) {
			t.Errorf("%s %s: told %v, lost %v", name, way, told, want)
		}
		w.replace(name, raw, "")
	}
}

// Several things at once, at random: each object is named, and nothing else is.
func TestRandomDamage(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	var all []string
	for _, prefix := range []string{"data/", "meta/"} {
		all = append(all, w.names(prefix, "")...)
	}
	ways := []string{"cut", "flipped", "gone"}
	for seed := range uint64(10) {
		r := newRand(seed)
		kept := map[string][]byte{}
		for range 1 + r.IntN(6) {
			name := all[r.IntN(len(all))]
			if kept[name] == nil {
				kept[name] = w.object(name)
				w.replace(name, damage[ways[r.IntN(3)]](bytes.Clone(kept[name]), nil), "")
			}
		}
		rep := w.check(reading)
		for _, f := range rep.Findings {
			if kept[f.Object] == nil && !strings.HasPrefix(f.Object, "manifest") {
				t.Errorf("seed %d: %s is sound: %v", seed, f.Object, f)
			}
		}
		for name, raw := range kept {
			if !slices.ContainsFunc(rep.Findings, func(f check.Finding) bool { return f.Object == name }) {
				t.Errorf("seed %d: %s is not found", seed, name)
			}
			w.replace(name, raw, "")
		}
	}
}

// Stored sums show what listings do not, without a byte of content leaving.
func TestStoredSums(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	name := w.names("data/", "")[0]
	raw := w.object(name)
	raw[77] ^= 1
	w.replace(name, raw, "")
	for _, blind := range []bool{false, true} {
		r := w.check(level{blind: blind, wish: check.Wish{Sums: 1}})
		if len(r.Findings) != 1 || r.Findings[0].Object != name || r.Findings[0].Kind != repo.WrongSum {
			t.Errorf("blind %v: %v", blind, r.Findings)
		}
	}
}

// A mark that is gone is missed, whichever it is: a later snapshot or the host's own state names it.
func TestMarks(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	for _, name := range w.names("snapshots/", ".done") {
		for _, name := range []string{name, strings.TrimSuffix(name, ".done")} {
			raw := w.object(name)
			w.replace(name, nil, "")
			if r := w.check(metadata); len(r.Findings) != 1 || r.Findings[0].Object != name || r.Findings[0].Kind != repo.Missing {
				t.Errorf("%s: %v", name, r.Findings)
			}
			w.replace(name, raw, "")
		}
	}
}
