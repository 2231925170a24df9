package snapshot

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"firn/internal/digest"
)

func standIn(id byte, sequence uint64, previous *Link, rewrites ...Link) Item {
	s := &Snapshot{ID: ID{id}, Start: time.Unix(int64(sequence), 0).UTC(), End: time.Unix(int64(sequence), 0).UTC(), Source: Origin{Kind: "dir", ID: Source{1}}, Sequence: sequence,
		Complete: true, Previous: previous, Rewrites: rewrites, Tags: []string{}}
	if len(rewrites) == 0 {
		s.HostID = [16]byte{9}
	}
	return Item{Snapshot: s, Sum: digest.Object{id}, Marked: true}
}

func TestRewrites(t *testing.T) {
	link := func(id byte) Link { return Link{ID{id}, digest.Object{id}} }
	of := func(l Link) *Link { return &l }
	it := standIn(5, 1, nil, link(3), link(1))
	body, err := it.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := Parse(body); err != nil || !reflect.DeepEqual(back, it.Snapshot) {
		t.Errorf("%s: %+v, %v", body, back, err)
	}
	for name, change := range map[string]func(*Snapshot){
		"a host": func(s *Snapshot) { s.HostID = [16]byte{1} }, "itself": func(s *Snapshot) { s.Rewrites[0].ID = s.ID }, "nothing": func(s *Snapshot) { s.Rewrites[0].ID = ID{} },
		"too many": func(s *Snapshot) { s.Rewrites = make([]Link, MaxRewrites+1) },
	} {
		bad := standIn(5, 1, nil, link(3), link(1))
		if change(bad.Snapshot); !errors.Is(bad.Check(), ErrBody) {
			t.Errorf("%s: %v", name, bad.Check())
		}
	}
	for name, c := range map[string]struct {
		previous Link
		sequence uint64
		good     bool
	}{
		"the first": {link(1), 2, true}, "what stood in between": {link(3), 2, true}, "the stand-in": {link(5), 2, true}, "another": {link(7), 2, true},
		"with another sum": {Link{ID{1}, digest.Object{8}}, 2, false}, "at another place": {link(1), 3, false},
	} {
		h := History{Items: []Item{it, standIn(6, c.sequence, of(c.previous))}}
		if err := h.Verify(); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := History{Source: Source{1}, Items: []Item{it}}
	for _, c := range []struct {
		id, sum byte
		good    bool
	}{{5, 5, true}, {3, 3, true}, {1, 1, true}, {1, 2, false}, {4, 4, false}} {
		if err := h.CheckHead(Head{Source: h.Source, Snapshot: ID{c.id}, Sequence: 1, Sum: digest.Object{c.sum}}); (err == nil) != c.good {
			t.Errorf("head %d: %v", c.id, err)
		}
	}
	undone := standIn(8, 1, nil, link(2))
	undone.Marked = false
	if got := Rewritten([]Item{it, undone}); len(got) != 2 || got[ID{1}] != it.ID || got[ID{3}] != it.ID {
		t.Errorf("%v", got)
	}
}

// Of a snapshot and what stands in its place rules see one.
func TestStanding(t *testing.T) {
	link := func(id byte) Link { return Link{ID{id}, digest.Object{id}} }
	undone, forgotten := standIn(8, 2, nil, link(2)), standIn(9, 3, nil, link(3))
	undone.Marked, forgotten.Forgotten = false, true
	items := []Item{standIn(1, 1, nil), standIn(2, 2, nil), standIn(3, 3, nil), standIn(5, 1, nil, link(1)), standIn(6, 1, nil, link(5), link(1)), undone, forgotten}
	var got []byte
	for _, it := range Standing(items) {
		got = append(got, it.ID[0])
	}
	if want := []byte{2, 3, 6, 8}; !reflect.DeepEqual(got, want) || len(items) != 7 {
		t.Errorf("%v, want %v: a stand-in counts only where it is done, and not forgotten", got, want)
	}
}
