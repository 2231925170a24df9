package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"firn/internal/config"
	"firn/internal/retain"
	"firn/internal/snapshot"
)

// daily makes one done snapshot a day of a source, newest last.
func daily(n int, origin snapshot.Origin, host string, until time.Time) (items []snapshot.Item) {
	for i := range n {
		at := until.AddDate(0, 0, i-n+1)
		s := &snapshot.Snapshot{Source: origin, Host: host, Start: at, End: at, Sequence: uint64(i + 1), Complete: true}
		copy(s.ID[:], fmt.Sprintf("%x%02d%s%s", origin.ID[:1], i, origin.Name, origin.Path))
		items = append(items, snapshot.Item{Snapshot: s, Stored: at, Marked: true})
	}
	return items
}

func originOf(n byte, kind, name, path string) snapshot.Origin {
	return snapshot.Origin{ID: snapshot.Source{n, 0xab}, Kind: kind, Name: name, Path: []byte(path)}
}

// TestKeepRules: each source goes by its own policy, one that no policy names keeps everything, and so does what another source is built on.
func TestKeepRules(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	home, web, data, files, named := originOf(1, "dir", "", "/home"), originOf(2, "dir", "", "/home"), originOf(3, "zfs", "", "tank/a"), originOf(4, "zfs-files", "", "tank/b"), originOf(5, "dir", "photos", "/srv/p")
	var items []snapshot.Item
	for _, more := range [][]snapshot.Item{daily(10, home, "nas", now), daily(10, web, "web", now), daily(10, data, "nas", now), daily(10, files, "nas", now), daily(10, named, "nas", now)} {
		items = append(items, more...)
	}
	for _, c := range []struct {
		rules string
		stay  [5]int
	}{
		{`[]`, [5]int{10, 10, 10, 10, 10}},
		{`[{"source":"/home/","keep":["--keep-last=2"]}]`, [5]int{2, 2, 10, 10, 10}},
		{`[{"source":"/home","host":"nas","keep":["--keep-last=2"]},{"source":"/home","host":"web","keep":["--keep-last","3"]}]`, [5]int{2, 3, 10, 10, 10}},
		{`[{"source":"tank/a","kind":"zfs","keep":["--keep-last=2"]},{"source":"tank/b","kind":"zfs","policy":{"Last":4}}]`, [5]int{10, 10, 2, 4, 10}},
		{`[{"source":"zfs:tank/a","keep":["--keep-last=2"]},{"source":"tank/a","kind":"dir","keep":["--keep-last=1"]}]`, [5]int{10, 10, 2, 10, 10}},
		{`[{"source":"photos","kind":"dir","keep":["--keep-none"]},{"source":"/srv/p","keep":["--keep-none"]}]`, [5]int{10, 10, 10, 10, 0}},
		{`[{"source":"/home","keep":["--keep-last=2"]},{"source":"/home","keep":["--keep-last=5"]}]`, [5]int{5, 5, 10, 10, 10}},
		{`[{"source":"` + home.ID.String() + `","keep":["--keep-last=2"]}]`, [5]int{2, 10, 10, 10, 10}},
		{`[{"source":"/nothing","keep":["--keep-last=2"]}]`, [5]int{10, 10, 10, 10, 10}},
	} {
		rules, err := parseKeepRules([]byte(c.rules))
		if err != nil {
			t.Errorf("%s: %v", c.rules, err)
			continue
		}
		goes := map[snapshot.ID]bool{}
		for _, id := range rules.Decide(items, now, time.UTC) {
			goes[id] = true
		}
		var stay [5]int
		for i, it := range items {
			if !goes[it.ID] {
				stay[i/10]++
			}
		}
		if stay != c.stay {
			t.Errorf("%s: %v stay, want %v", c.rules, stay, c.stay)
		}
	}
}

// TestPoliciesOfCopies: in a repository that is a copy as well the sources of the first have the name of the host as which they were backed up.
func TestPoliciesOfCopies(t *testing.T) {
	keep := retain.Policy{Last: 2}
	all := &config.Config{
		Repositories: []*config.Repository{{Name: "near", Host: "nas", Also: []string{"far"}}, {Name: "far", Host: "web"}},
		Sources: []*config.Source{{Name: "a", Kind: "dir", Rest: "/home", Repository: "near", Keep: keep}, {Name: "b", Kind: "dir", Rest: "/srv", Repository: "far", Keep: keep},
			{Name: "c", Kind: "dir", Rest: "/all", Repository: "far"}},
	}
	c := &console{}
	c.config.all = all
	for _, x := range []struct {
		used *config.Repository
		want string
	}{{all.Repositories[0], "[/home of nas]"}, {all.Repositories[1], "[/home of nas /srv of web]"}, {nil, "[]"}} {
		c.config.used = x.used
		rules, err := c.policies()
		var got []string
		for _, r := range rules {
			got = append(got, r.Source+" of "+r.Host)
		}
		if err != nil || fmt.Sprint(got) != x.want {
			t.Errorf("%v, %v, want %s", got, err, x.want)
		}
	}
}

// TestKeepRulesBases: what a snapshot that stays is built on stays, though its own source has another rule.
func TestKeepRulesBases(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	old, renamed := daily(5, originOf(1, "zfs", "", "tank/old"), "nas", now.AddDate(0, 0, -5)), daily(5, originOf(2, "zfs", "", "tank/new"), "nas", now)
	items := append(old, renamed...)
	for i := 1; i < len(items); i++ {
		items[i].Base = items[i-1].ID
	}
	rules, err := parseKeepRules([]byte(`[{"source":"tank/old","keep":["--keep-none"]},{"source":"tank/new","keep":["--keep-last=1"]}]`))
	if err != nil {
		t.Fatal(err)
	}
	if gone := rules.Decide(items, now, time.UTC); len(gone) != 0 {
		t.Errorf("%d go", len(gone))
	}
}

// TestKeepRulesRefused: what cannot be understood whole is refused whole.
func TestKeepRulesRefused(t *testing.T) {
	for text, want := range map[string]string{
		``: "JSON", `null`: "list", `{}`: "list", `[] []`: "behind", `[{}]`: "source", `[{"source":"a"}]`: "which snapshots",
		`[{"source":"a","keep":["--keep-dayly=7"]}]`:                                                                "unknown flag",
		`[{"source":"a","keep":["--keep-daily=0"]}]`:                                                                "number",
		`[{"source":"a","keep":["7"]}]`:                                                                             "no flag",
		`[{"source":"a","keep":["--keep-last=1"],"policy":{"Last":1}}]`:                                             "not both",
		`[{"source":"a","policy":{}}]`:                                                                              retain.ErrEmpty.Error(),
		`[{"source":"a","keep":["--keep-none","--keep-daily=1"]}]`:                                                  "keep-none",
		`[{"source":"a","keep":["--keep-last=1"],"kept":[]}]`:                                                       "unknown field",
		"[" + strings.Repeat(`{"source":"a","policy":{"Last":1}},`, 10_000) + `{"source":"a","policy":{"Last":1}}]`: "at most",
	} {
		if _, err := parseKeepRules([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}

func FuzzKeepRules(f *testing.F) {
	f.Add([]byte(`[{"source":"/home","keep":["--keep-last=2"]}]`))
	f.Add([]byte(`[{"source":"x","kind":"zfs","host":"h","policy":{"Daily":4,"Cycle":{"Kind":"hanoi"}}}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		rules, err := parseKeepRules(raw)
		if err != nil {
			return
		}
		for i := range rules {
			if err := rules[i].Policy.Check(); err != nil {
				t.Errorf("%s is taken: %v", raw, err)
			}
		}
		if _, err := json.Marshal(rules); err != nil {
			t.Error(err)
		}
	})
}

// TestKeepTwins has two machines of one name: a rule for it forgets nothing of either, one for the id of a source does.
func TestKeepTwins(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	one, other := daily(10, originOf(1, "dir", "", "/home"), "raspberrypi", now), daily(10, originOf(2, "dir", "", "/home"), "raspberrypi", now)
	for i := range one {
		one[i].Scope[0], other[i].Scope[0] = 1, 2
	}
	items := append(one, other...)
	for source, want := range map[string]int{"/home": 0, originOf(2, "", "", "").ID.String(): 9} {
		rules, err := parseKeepRules([]byte(fmt.Sprintf(`[{"source": %q, "host": "raspberrypi", "keep": ["--keep-last=1"]}]`, source)))
		if err != nil {
			t.Fatal(err)
		}
		if gone := rules.Decide(items, now, time.UTC); len(gone) != want {
			t.Errorf("%s: %d go, want %d", source, len(gone), want)
		}
	}
}
