package retention

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"firn/internal/config"
	"firn/internal/retain"
	"firn/internal/snapshot"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// daily makes one done snapshot a day of a source, newest last.
func daily(n int, source byte, kind, name, path, host string) (items []snapshot.Item) {
	origin := snapshot.Origin{ID: snapshot.Source{source, 0xab}, Kind: kind, Name: name, Path: []byte(path)}
	for i := range n {
		at := now.AddDate(0, 0, i-n+1)
		s := &snapshot.Snapshot{ID: snapshot.ID{source, byte(i), 1}, Source: origin, Host: host, Start: at.Add(-time.Hour), End: at, Sequence: uint64(i + 1), Complete: true, Scope: [8]byte{1}}
		items = append(items, snapshot.Item{Snapshot: s, Stored: at, Marked: true})
	}
	return items
}

func TestSpeaksOf(t *testing.T) {
	home, named := daily(1, 1, "dir", "", "/home", "nas")[0], daily(1, 2, "dir", "photos", "/srv/p", "nas")[0]
	tank, files := daily(1, 3, "zfs", "", "tank/a", "nas")[0], daily(1, 4, "zfs-files", "", "tank/a", "nas")[0]
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{Rule{Source: "/home"}, "home"}, {Rule{Source: "/home/", Kind: "dir", Host: "nas"}, "home"}, {Rule{Source: "/home", Host: "web"}, ""}, {Rule{Source: "/home", Kind: "zfs"}, ""},
		{Rule{Source: "photos"}, "named"}, {Rule{Source: "/srv/p"}, ""}, {Rule{Source: home.Source.ID.String()}, "home"},
		{Rule{Source: "tank/a"}, "tank files"}, {Rule{Source: "tank/a", Kind: "zfs"}, "tank files"}, {Rule{Source: "zfs:tank/a"}, "tank"}, {Rule{Source: "tank/a", Kind: "dir"}, ""},
	} {
		var got []string
		for _, x := range []struct {
			name string
			it   snapshot.Item
		}{{"home", home}, {"named", named}, {"tank", tank}, {"files", files}} {
			if c.rule.SpeaksOf(&x.it) {
				got = append(got, x.name)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v, want %s", c.rule, got, c.want)
		}
	}
}

// TestExplain: what a rule names is decided by it, what none names stays, what is forgotten or replaced is not spoken of, and both ways agree with what goes.
func TestExplain(t *testing.T) {
	items := append(daily(10, 1, "dir", "", "/home", "nas"), daily(10, 2, "dir", "", "/srv", "nas")...)
	items[0].Forgotten = true
	undone := daily(1, 3, "dir", "", "/new", "nas")
	undone[0].Complete, undone[0].Marked = false, false
	items = append(items, undone...)
	rules := Rules{{Source: "/home", Policy: retain.Policy{Last: 3}}}
	kept := func(all []Source) (text string) {
		for _, s := range all {
			n := 0
			for i, v := range s.Verdicts {
				if v.ID != s.Items[i].ID || len(v.Reasons) == 0 {
					t.Errorf("verdict %d of %s is of another: %+v", i, s.Last().Source.Path, v)
				}
				if v.Keep {
					n++
				}
			}
			text += fmt.Sprintf("%s %d of %d; ", s.Last().Source.Path, n, len(s.Items))
		}
		return text
	}
	if got, want := kept(rules.Explain(items, now, time.UTC)), "/home 3 of 9; /srv 10 of 10; /new 1 of 1; "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := kept(Explain(items, retain.Policy{Daily: 4}, now, time.UTC)), "/home 4 of 9; /srv 4 of 10; /new 1 of 1; "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if gone := rules.Decide(items, now, time.UTC); len(gone) != 6 { // the forgotten one goes anyhow
		t.Errorf("%d go", len(gone))
	}
	if all := Rules(nil).Explain(nil, now, time.UTC); len(all) != 0 {
		t.Errorf("%+v of nothing", all)
	}
	if p, none := rules.PolicyOf(&items[0]), rules.PolicyOf(&items[12]); p.Last != 3 || none.Check() == nil || rules.ForgetsAll() {
		t.Errorf("%+v, %+v", p, none)
	}
}

// TestTwins has two machines of one name: a rule for it forgets nothing of either.
func TestTwins(t *testing.T) {
	one, other := daily(10, 1, "dir", "", "/home", "pi"), daily(10, 2, "dir", "", "/home", "pi")
	for i := range other {
		other[i].Scope[0] = 2
	}
	items := append(one, other...)
	if gone := (Rules{{Source: "/home", Host: "pi", Policy: retain.Policy{Last: 1}}}).Decide(items, now, time.UTC); len(gone) != 0 {
		t.Errorf("%d go", len(gone))
	}
}

// TestClaims: one id of a source with another path, as only a forger would write it, is asked about for itself.
func TestClaims(t *testing.T) {
	home, other := daily(5, 1, "dir", "", "/home", "nas"), daily(5, 1, "dir", "", "/other", "nas")
	var items []snapshot.Item
	for i := range home {
		items = append(items, home[i], other[i])
	}
	rule := Rule{Source: "/home"}
	if groups := origins(items); len(groups) != 2 || len(rule.among(groups)) != 5 {
		t.Errorf("%d groups, %d", len(groups), len(rule.among(groups)))
	}
}

func TestPlanned(t *testing.T) {
	items := daily(2, 1, "dir", "", "/home", "nas")
	items[1].Start = items[1].Stored.Add(time.Hour) // the store's clock contradicts
	got := Planned(items)
	if !got[0].Time.Equal(items[0].Start) || !got[1].Time.Equal(items[1].Stored) {
		t.Errorf("%v", got)
	}
}

func TestOf(t *testing.T) {
	keep := retain.Policy{Last: 2}
	c := &config.Config{Repositories: []*config.Repository{{Name: "near", Also: []string{"far"}}, {Name: "far", Host: "web"}},
		Sources: []*config.Source{{Name: "a", Kind: "dir", Paths: []string{"/a", "/b"}, Repository: "near", Keep: keep}, {Name: "b", Kind: "dir", Paths: []string{"/srv"}, As: "srv", Repository: "far", Keep: keep},
			{Name: "c", Kind: "dir", Rest: "/all", Repository: "far"}, {Name: "d", Kind: "dir", Rest: "/x", Repository: "gone", Keep: keep}}}
	for i, want := range []string{"/a of nas /b of nas", "/a of nas /b of nas srv of web"} {
		rules, err := Of(c, c.Repositories[i], func() (string, error) { return "nas", nil })
		var got []string
		for _, r := range rules {
			got = append(got, r.Source+" of "+r.Host)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%v, %v, want %s", got, err, want)
		}
	}
	nameless := errors.New("nameless")
	if _, err := Of(c, c.Repositories[0], func() (string, error) { return "", nameless }); !errors.Is(err, nameless) {
		t.Error(err)
	}
}
