package snapshot

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// item is a done snapshot of one source; points as "of:at<from" ("of:at<at" where nothing has moved), "of:at" for a full one, "of:at!" for one that lies outside.
func item(n int, base int, points ...string) Item {
	s := &Snapshot{ID: ID{byte(n), 1}, Start: time.Unix(int64(n), 0), Source: Origin{ID: Source{1}, Kind: "zfs", Path: []byte("p")}, Sequence: uint64(n), Complete: true}
	if base > 0 {
		s.Base = ID{byte(base), 1}
	}
	for _, text := range points {
		of, at, _ := strings.Cut(text, ":")
		at, from, _ := strings.Cut(at, "<")
		name, outside := strings.CutSuffix(at, "!")
		p := Point{Of: of, At: name, ID: of + name, Outside: outside, FromAt: from}
		if from != "" {
			p.From = of + from
		}
		if !outside && !p.Unmoved() {
			p.Stream = of + "-" + name
		}
		s.Points = append(s.Points, p)
	}
	return Item{Snapshot: s, Marked: true}
}

func lineageText(t *testing.T, items []Item, want Item) string {
	t.Helper()
	all, err := Lineages(items, want)
	var broken *BrokenChainError
	if errors.As(err, &broken) {
		text := fmt.Sprintf("%s broken at %d", broken.Of, broken.Missing[0])
		if broken.Until != nil {
			text += fmt.Sprintf(" until %d %s", broken.Until.ID[0], broken.UntilAt)
		}
		if broken.Err != nil {
			text += ": " + broken.Err.Error()
		}
		return text
	}
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range all {
		text := l.Of + ":"
		if l.Outside != nil {
			text += " (" + l.Outside.At + ")"
		}
		for _, s := range l.Steps {
			text += fmt.Sprintf(" %d/%s", s.Item.ID[0], s.Point.At)
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func TestLineages(t *testing.T) {
	other := item(2, 1, "a:2<1")
	other.Source.ID = Source{9}
	partial := item(2, 1)
	partial.Complete = false
	for name, c := range map[string]struct {
		items []Item
		want  string
	}{
		"full":              {[]Item{item(1, 0, "a:1")}, "a: 1/1"},
		"nothing":           {[]Item{item(1, 0)}, ""},
		"chain":             {[]Item{item(1, 0, "a:1"), item(2, 1, "a:2<1"), item(3, 2, "a:3<2")}, "a: 1/1 2/2 3/3"},
		"not in order":      {[]Item{item(2, 1, "a:2<1"), item(1, 0, "a:1"), item(3, 2, "a:3<2")}, "a: 1/1 2/2 3/3"},
		"a new full":        {[]Item{item(1, 0, "a:1"), item(2, 1, "a:2<1"), item(3, 0, "a:3"), item(4, 3, "a:4<3")}, "a: 3/3 4/4"},
		"nothing has moved": {[]Item{item(1, 0, "a:1", "b:1"), item(2, 1, "a:1<1", "b:2<1"), item(3, 2, "a:1<1", "b:3<2"), item(4, 3, "a:2<1", "b:3<3")}, "a: 1/1 4/2; b: 1/1 2/2 3/3"},
		"never moved":       {[]Item{item(1, 0, "a:1"), item(2, 1, "a:1<1"), item(3, 2, "a:1<1")}, "a: 1/1"},
		"two, one is new":   {[]Item{item(1, 0, "a:1"), item(2, 1, "a:2<1", "b:1"), item(3, 2, "a:3<2", "b:2<1")}, "a: 1/1 2/2 3/3; b: 2/1 3/2"},
		"passed over":       {[]Item{item(1, 0, "a:1", "b:1"), item(2, 1, "b:2<1"), item(3, 2, "a:2<1", "b:3<2")}, "a: 1/1 3/2; b: 1/1 2/2 3/3"},
		"outside":           {[]Item{item(1, 0, "a:1!"), item(2, 1, "a:2<1"), item(3, 2, "a:3<2")}, "a: (1) 2/2 3/3"},
		"several outside":   {[]Item{item(1, 0, "a:1!", "a:2!"), item(2, 1, "a:3<2")}, "a: (2) 2/3"},
		"outside is passed": {[]Item{item(1, 0, "a:1!"), item(2, 0, "a:2", "b:1!")}, "a: 2/2"},
		"missing":           {[]Item{item(1, 0, "a:1"), item(2, 1, "a:2<1"), item(4, 3, "a:4<3"), item(5, 4, "a:5<4")}, "a broken at 3 until 2 2"},
		"missing first":     {[]Item{item(2, 1, "a:2<1"), item(3, 2, "a:3<2")}, "a broken at 1"},
		"missing for one":   {[]Item{item(3, 2, "a:2<1", "b:1"), item(4, 3, "b:2<1", "a:3<2")}, "a broken at 2"},
		"no such point":     {[]Item{item(1, 0, "a:1"), item(2, 1, "a:3<2")}, "a broken at 1 until 1 1: " + ErrNoPoint.Error()},
		"of other things":   {[]Item{item(1, 0, "b:1"), item(2, 1, "a:2<1")}, "a broken at 1: " + ErrNoPoint.Error()},
		"other source":      {[]Item{item(1, 0, "a:1"), other, item(3, 2, "a:3<2")}, "a broken at 2 until 1 1: " + ErrBadBase.Error()},
		"partial":           {[]Item{item(1, 0, "a:1"), partial, item(3, 2, "a:3<2")}, "a broken at 2 until 1 1: " + ErrBadBase.Error()},
		"ring":              {[]Item{item(1, 2, "a:1<2"), item(2, 1, "a:2<1")}, "a broken at 2: " + ErrBadBase.Error()},
		"itself":            {[]Item{item(1, 1, "a:1<1")}, "a broken at 1: " + ErrBadBase.Error()},
		"newer":             {[]Item{item(3, 0, "a:3"), item(2, 3, "a:2<3")}, "a broken at 3: " + ErrBadBase.Error()},
		"a full hides gaps": {[]Item{item(2, 1, "a:2"), item(3, 2, "a:3<2")}, "a: 2/2 3/3"},
		"from outside too":  {[]Item{item(1, 0, "a:1!", "a:1"), item(2, 1, "a:2<1")}, "a: 1/1 2/2"},
		"two ways":          {[]Item{item(1, 0, "a:1"), item(2, 1, "a:2<1"), item(3, 2, "a:3<1", "a:4<2")}, "a: 1/1 3/3; a: 1/1 2/2 3/4"},
	} {
		if got := lineageText(t, c.items, c.items[len(c.items)-1]); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestLineagesOfAnything: whatever bodies say, what comes back are steps that fit together.
func TestLineagesOfAnything(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	for range 3000 {
		n := 1 + rnd.IntN(8)
		var items []Item
		for k := 1; k <= n; k++ {
			var points []string
			for range rnd.IntN(3) {
				text := fmt.Sprintf("%c:%d", 'a'+rune(rnd.IntN(2)), rnd.IntN(n+1))
				switch rnd.IntN(4) {
				case 0:
				case 1:
					text += "!"
				default:
					text += fmt.Sprintf("<%d", rnd.IntN(n+1))
				}
				points = append(points, text)
			}
			items = append(items, item(k, rnd.IntN(n+1), points...))
		}
		want := items[rnd.IntN(n)]
		all, err := Lineages(items, want)
		var broken *BrokenChainError
		if err != nil && (!errors.As(err, &broken) || broken.Snapshot != want.ID || broken.Error() == "") {
			t.Fatal(err)
		}
		for _, l := range all {
			from := ""
			if l.Outside != nil {
				from = l.Outside.ID
			}
			for _, s := range l.Steps {
				if s.Point.From != from || s.Point.Of != l.Of || s.Point.Outside {
					t.Fatalf("%+v does not start from %q", s.Point, from)
				}
				from = s.Point.ID
			}
			ends := slices.ContainsFunc(want.Points, func(p Point) bool { return p.Of == l.Of && p.ID == from })
			moved := len(l.Steps) > 0 && l.Steps[len(l.Steps)-1].Item.ID == want.ID
			still := slices.ContainsFunc(want.Points, func(p Point) bool { return p.Of == l.Of && p.ID == from && p.Unmoved() })
			if !ends || !moved && !still {
				t.Fatalf("ends with %q, which is not what snapshot %v has", from, want.ID)
			}
		}
		if all, err := Bases(items, want); err == nil && (all[len(all)-1].ID != want.ID || !all[0].Base.IsZero()) {
			t.Fatal(all)
		}
	}
}

// TestUnmovedPoint: a state that is still that of the base has no stream, and needs a base.
func TestUnmovedPoint(t *testing.T) {
	for text, c := range map[string]struct {
		p    Point
		base bool
		good bool
	}{
		"unmoved":               {Point{Of: "a", ID: "1", From: "1"}, true, true},
		"unmoved with a stream": {Point{Of: "a", ID: "1", From: "1", Stream: "s"}, true, false},
		"unmoved, no base":      {Point{Of: "a", ID: "1", From: "1"}, false, false},
		"unmoved and outside":   {Point{Of: "a", ID: "1", From: "1", Outside: true}, true, false},
		"moved":                 {Point{Of: "a", ID: "2", From: "1", Stream: "s"}, true, true},
		"moved, no stream":      {Point{Of: "a", ID: "2", From: "1"}, true, false},
		"full, no stream":       {Point{Of: "a", ID: "2"}, true, false},
	} {
		s := &Snapshot{ID: ID{1}, Points: []Point{c.p}}
		if c.base {
			s.Base = ID{2}
		}
		if err := s.checkPoints(); (err == nil) != c.good {
			t.Errorf("%s: %v", text, err)
		}
	}
}
