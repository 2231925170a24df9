package prune

import (
	"errors"
	"strings"
	"testing"
	"time"

	"firn/internal/repo"
	"firn/internal/snapshot"
)

// oneOf is a done snapshot of a source, with a number.
func (w *world) oneOf(id byte, sequence uint64, rewrites ...byte) snapshot.Item {
	s := &snapshot.Snapshot{ID: snapshot.ID{id}, Complete: true, Sequence: sequence, Source: snapshot.Origin{ID: snapshot.Source{1}}}
	for _, old := range rewrites {
		s.Rewrites = append(s.Rewrites, snapshot.Link{ID: snapshot.ID{old}})
	}
	return snapshot.Item{Snapshot: s, Marked: true, Stored: w.now()}
}

// Between the mark of a stand-in and the record that forgets the old snapshot both are there. Rules see the stand-in, and what they say of it goes for both.
func TestStandInsShareAFate(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	items := []snapshot.Item{w.oneOf(1, 1), w.oneOf(2, 1, 1), w.oneOf(3, 2), w.oneOf(4, 2, 3), w.oneOf(5, 2, 3), w.oneOf(6, 3)}
	for _, c := range []struct {
		drop, gone string
	}{{"", ""}, {"2", "12"}, {"4", "4"}, {"45", "345"}, {"245", "12345"}, {"6", "6"}} {
		x := &run{o: &Options{Decide: func(seen []snapshot.Item, _ time.Time) (gone []snapshot.ID, err error) {
			for _, it := range seen {
				if strings.Contains("13", string('0'+it.ID[0])) {
					t.Errorf("rules see %v, in whose place another one stands", it.ID)
				}
				if strings.Contains(c.drop, string('0'+it.ID[0])) {
					gone = append(gone, it.ID)
				}
			}
			return gone, nil
		}}, now: w.now()}
		p := &repo.Pruning{ScopeState: &repo.ScopeState{Items: items}}
		going := map[snapshot.ID]Why{}
		w.must(x.byRule(p, going))
		got := ""
		for _, it := range items {
			if going[it.ID] == ByRule {
				got += string('0' + it.ID[0])
			}
		}
		if got != c.gone {
			t.Errorf("without %q: %q go, want %q", c.drop, got, c.gone)
		}
		lives, err := x.lives(&view{items: items})
		w.must(err)
		if lives[items[0].ID] != lives[items[1].ID] {
			t.Errorf("without %q: the old one lives for %v, its stand-in for %v", c.drop, lives[items[0].ID], lives[items[1].ID])
		}
	}
	x := &run{o: &Options{}, now: w.now()}
	p := &repo.Pruning{ScopeState: &repo.ScopeState{Items: items[:2]}}
	var last *LastError
	if err := x.last(p, map[snapshot.ID]Why{{2}: Asked}); !errors.As(err, &last) {
		t.Errorf("the old one is taken for another snapshot of the source: %v", err)
	}
}
