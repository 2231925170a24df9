package mount

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"firn/internal/browse"
	"firn/internal/snapshot"
)

func TestSafeName(t *testing.T) {
	for text, want := range map[string]string{
		"/home/eve": "home-eve", "/": "root", "": "root", "photos": "photos", "/srv/Bilder und Töne/": "srv-Bilder_und_Töne", "..": "_.", "-rf": "_rf", `C:\Users\eve`: "C_-Users-eve",
		"a\x00b\nc\x1b[2J": "a_b_c_[2J", "\xff\xfe": "__", "tank/data@x": "tank-data@x", "*?$`": "____", ".ssh": "_ssh", "日本語": "日本語",
	} {
		if got := safeName(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"/home/eve", "..", "\xff", strings.Repeat("ü/", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name := safeName(text)
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00\n") || len(name) > maxName || !utf8.ValidString(name) {
			t.Errorf("%q: %q", text, name)
		}
	})
}

// paths lists all that is above the snapshots, links with their targets.
func (s *shelf) paths() (all []string) {
	var walk func(p *place, at string)
	walk = func(p *place, at string) {
		for _, c := range p.inside {
			text := at + c.name
			switch {
			case c.target != "":
				text += " -> " + c.target
			case c.slot != 0:
				text += " *"
			}
			all = append(all, text)
			walk(c, at+c.name+"/")
		}
	}
	walk(s.root, "")
	return all
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestShelf(t *testing.T) {
	a, b, c, d := info(1, "/home/eve", noon), info(2, "/home/eve", noon), info(3, "/home/eve", noon.AddDate(0, 0, 1)), info(4, "/srv/x", noon)
	a.Tags = []string{"before move", "x"}
	c.State, d.Host = browse.StatePartial, "web"
	list := []browse.Info{a, b, c, d}
	sortItems(list)
	s := newNames().shelve(list, time.UTC)
	want := strings.Split(strings.TrimSpace(`
dates
dates/2026-11-20
dates/2026-11-20/12-00-00_02010203_home-eve -> ../../sources/home-eve/2026-11-20_12-00-00_02010203
dates/2026-11-20/12-00-00_home-eve -> ../../sources/home-eve/2026-11-20_12-00-00
dates/2026-11-20/12-00-00_srv-x -> ../../sources/srv-x/2026-11-20_12-00-00
dates/2026-11-21
dates/2026-11-21/12-00-00-partial_home-eve -> ../../sources/home-eve/2026-11-21_12-00-00-partial
hosts
hosts/nas
hosts/nas/home-eve -> ../../sources/home-eve
hosts/web
hosts/web/srv-x -> ../../sources/srv-x
ids
ids/01010203 -> ../sources/home-eve/2026-11-20_12-00-00
ids/02010203 -> ../sources/home-eve/2026-11-20_12-00-00_02010203
ids/03010203 -> ../sources/home-eve/2026-11-21_12-00-00-partial
ids/04010203 -> ../sources/srv-x/2026-11-20_12-00-00
sources
sources/home-eve
sources/home-eve/2026-11-20_12-00-00 *
sources/home-eve/2026-11-20_12-00-00_02010203 *
sources/home-eve/2026-11-21_12-00-00-partial *
sources/home-eve/latest -> 2026-11-20_12-00-00_02010203
sources/srv-x
sources/srv-x/2026-11-20_12-00-00 *
sources/srv-x/latest -> 2026-11-20_12-00-00
tags
tags/before_move
tags/before_move/2026-11-20_12-00-00_home-eve -> ../../sources/home-eve/2026-11-20_12-00-00
tags/x
tags/x/2026-11-20_12-00-00_home-eve -> ../../sources/home-eve/2026-11-20_12-00-00`), "\n")
	if got := s.paths(); !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	for name, found := range map[string]bool{"01010203": true, "0101": true, "010102030000": false, "01": false, "0": false, "0909": false} {
		if (s.find(s.ids, name) != nil) != found {
			t.Errorf("ids/%s: found is not %v", name, found)
		}
	}
	for id, p := range s.byID {
		if p.id != id || s.byID[p.up] == nil {
			t.Errorf("place %q has node %x under %x", p.name, id, p.up)
		}
	}
}

// TestShelfStays: names and nodes stay while others come and go, and when it is mounted again.
func TestShelfStays(t *testing.T) {
	one, two := info(1, "/data", noon), info(2, "/data", noon.Add(time.Hour))
	two.Source.ID, two.Host = snapshot.Source{9}, "web"
	n := newNames()
	before := n.shelve([]browse.Info{one}, time.UTC)
	both := n.shelve([]browse.Info{one, two}, time.UTC)
	for _, p := range []string{"sources/data/2026-11-20_12-00-00 *", "sources/data@web/2026-11-20_13-00-00 *"} {
		if !slices.Contains(both.paths(), p) {
			t.Errorf("no %q in %q", p, both.paths())
		}
	}
	for id, p := range before.byID {
		if q := both.byID[id]; q == nil || q.name != p.name {
			t.Errorf("place %q has become %+v", p.name, q)
		}
	}
	if sameShelf(before, both) || !sameShelf(both, n.shelve([]browse.Info{one, two}, time.UTC)) {
		t.Error("what is the same is told wrongly")
	}
	fresh := newNames().shelve([]browse.Info{one, two}, time.UTC)
	for _, p := range []string{"sources/data@nas/2026-11-20_12-00-00 *", "sources/data@web/2026-11-20_13-00-00 *"} {
		if !slices.Contains(fresh.paths(), p) {
			t.Errorf("no %q in %q", p, fresh.paths())
		}
	}
	if gone := n.shelve([]browse.Info{two}, time.UTC); slices.Contains(gone.paths(), "sources/data") {
		t.Error("a source without snapshots is shown")
	}
}

// TestSlots: many snapshots have slots of their own, whatever their ids are.
func TestSlots(t *testing.T) {
	n := newNames()
	seen := map[uint32]bool{}
	for i := range 5000 {
		s := n.slot(snapshot.ID{0xff, 0xff, 0xff, byte(i), byte(i >> 8), 1})
		if s == 0 || s >= 1<<slotBits || seen[s] {
			t.Fatalf("slot %d of snapshot %d", s, i)
		}
		seen[s] = true
		if back := lineNode(s, int64(i)); back.slot() != s || back.line() != int64(i) || int64(back) < 0 {
			t.Fatalf("node %x", back)
		}
	}
}

// TestNames: sources that look alike are told apart.
func TestNames(t *testing.T) {
	var list []browse.Info
	for i := range 4 {
		x := info(byte(i+1), "/a/b", noon.Add(time.Duration(i)*time.Second))
		x.Source.ID = snapshot.Source{byte(i + 1)}
		x.Source.Path = []byte([]string{"/a/b", "/a-b", "a b", "/a/b"}[i])
		list = append(list, x)
	}
	n := newNames()
	n.shelve(list, time.UTC)
	seen := map[string]bool{}
	for _, name := range n.source {
		seen[name] = true
	}
	if len(seen) != 4 {
		t.Errorf("names %v", fmt.Sprint(n.source))
	}
}
