// Package retention is the verb behind what is kept, and why: which policy speaks of which source of a repository, and what that decides of its snapshots. The rules themselves are those of package
// retain; this one knows sources by the names that people give them. It reads nothing: snapshots come in, verdicts go out.
package retention

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"firn/internal/config"
	"firn/internal/retain"
	"firn/internal/snapshot"
	"firn/internal/wire"
)

// Rule says what is kept of a source.
type Rule struct {
	Source string // its name, path, or id, or what stands behind the kind
	Kind   string // dir, zfs, …; empty: any
	Host   string // empty: any
	Policy retain.Policy
}

// Rules are policies for some of the sources of a repository. Of a source that several name what one of them keeps is kept; one that none names keeps everything.
type Rules []Rule

// Of returns what a configuration keeps of the sources that a repository holds, its own and those of which it is a copy. system is the name of the machine, for repositories that name no host:
// other hosts may have sources of the same path.
func Of(c *config.Config, r *config.Repository, system func() (string, error)) (rules Rules, err error) {
	for _, s := range c.Sources {
		of := c.Repository(s.Repository)
		if s.Keep.Check() != nil || of == nil || of != r && !slices.Contains(of.Also, r.Name) {
			continue
		}
		host := of.Host // a copy has the snapshots as they were made
		if host == "" {
			if host, err = system(); err != nil {
				return nil, err
			}
		}
		names := append(slices.Clone(s.Paths), s.Rest)
		if s.As != "" {
			names = []string{s.As}
		}
		for _, name := range names {
			if name != "" {
				rules = append(rules, Rule{Source: name, Kind: s.Kind, Host: host, Policy: s.Keep})
			}
		}
	}
	return rules, nil
}

// PolicyOf is the first policy that speaks of the source of a snapshot; where none does, one that says nothing.
func (rules Rules) PolicyOf(it *snapshot.Item) retain.Policy {
	for i := range rules {
		if rules[i].SpeaksOf(it) {
			return rules[i].Policy
		}
	}
	return retain.Policy{}
}

// SpeaksOf reports whether the rule is for the source of a snapshot.
func (r *Rule) SpeaksOf(it *snapshot.Item) bool {
	o := &it.Source
	if r.Host != "" && r.Host != it.Host {
		return false
	}
	if r.Kind != "" && r.Kind != o.Kind {
		spec := wire.Spec{Kind: r.Kind, Rest: r.Source}
		if r.Kind == "dir" || o.Kind != spec.Origin(nil) && o.Kind != spec.Origin(map[string]string{"mode": "files"}) {
			return false
		}
	}
	if o.Name != "" && o.Name == r.Source || o.ID.String() == r.Source {
		return true
	}
	path := string(o.Path)
	if o.Name != "" {
		return false // it is called by that
	}
	return path == r.Source || o.Kind == "dir" && len(path) > 1 && strings.TrimRight(path, "/") == strings.TrimRight(r.Source, "/") ||
		r.Kind == "" && o.Kind != "dir" && r.Source == o.Kind+":"+path
}

// origins groups snapshots by what they say of their source, all of it: rules ask for nothing else, and there are few sources.
func origins(items []snapshot.Item) (groups [][]snapshot.Item) {
	type origin struct {
		id                     snapshot.Source
		host, kind, name, path string
	}
	last := map[snapshot.Source]int{} // the group that an id was seen in last
	all := map[origin]int{}
	for i := range items {
		it := &items[i]
		at, seen := last[it.Source.ID]
		if !seen || !sameOrigin(&groups[at][0], it) { // one id of several is a forger's
			o := origin{it.Source.ID, it.Host, it.Source.Kind, it.Source.Name, string(it.Source.Path)}
			if at, seen = all[o]; !seen {
				at = len(groups)
				all[o] = at
				groups = append(groups, nil)
			}
			last[it.Source.ID] = at
		}
		groups[at] = append(groups[at], *it)
	}
	return groups
}

func sameOrigin(a, b *snapshot.Item) bool {
	return a.Source.ID == b.Source.ID && a.Host == b.Host && a.Source.Kind == b.Source.Kind && a.Source.Name == b.Source.Name && bytes.Equal(a.Source.Path, b.Source.Path)
}

// among returns the snapshots of which a rule speaks.
func (r *Rule) among(groups [][]snapshot.Item) (mine []snapshot.Item) {
	for _, g := range groups {
		if r.SpeaksOf(&g[0]) {
			mine = append(mine, g...)
		}
	}
	return mine
}

// Verdicts says of the snapshots of which a rule speaks why they stay or go. The others stay.
func (rules Rules) Verdicts(items []snapshot.Item, now time.Time, loc *time.Location) map[snapshot.ID]retain.Verdict {
	all := map[snapshot.ID]retain.Verdict{}
	groups := origins(items)
	for i := range rules {
		mine := rules[i].among(groups)
		if rules[i].Ambiguous(mine) {
			continue
		}
		for _, v := range retain.Decide(Snapshots(mine), rules[i].Policy, now, loc) {
			if have, named := all[v.ID]; !named || v.Keep && !have.Keep {
				all[v.ID] = v
			}
		}
	}
	if len(all) > 0 {
		keepBases(items, all)
	}
	return all
}

// Ambiguous reports whether a rule that goes by the name of a host speaks of several, in mine, of which it speaks: names need not differ, the scopes in which hosts store do. Two machines called
// alike must not prune one another.
func (r *Rule) Ambiguous(mine []snapshot.Item) bool {
	return r.Host != "" && slices.ContainsFunc(mine, func(it snapshot.Item) bool { return it.Scope != mine[0].Scope })
}

// Decide returns the snapshots that go.
func (rules Rules) Decide(items []snapshot.Item, now time.Time, loc *time.Location) (gone []snapshot.ID) {
	verdicts := rules.Verdicts(items, now, loc)
	for i := range items {
		if v, named := verdicts[items[i].ID]; named && !v.Keep {
			gone = append(gone, items[i].ID)
		}
	}
	return gone
}

// keepBases keeps what snapshots that stay are built on, also those of a source with another name and another rule.
func keepBases(items []snapshot.Item, verdicts map[snapshot.ID]retain.Verdict) {
	base := make(map[snapshot.ID]snapshot.ID, len(items))
	for i := range items {
		base[items[i].ID] = items[i].Base
	}
	for i := range items {
		by := items[i].ID
		if v, named := verdicts[by]; named && !v.Keep || items[i].Status() == snapshot.IsForgotten {
			continue
		}
		for id, n := base[by], 0; !id.IsZero() && n <= len(items); id, n = base[id], n+1 {
			if v, named := verdicts[id]; named && !v.Keep {
				verdicts[id] = retain.Verdict{ID: id, Keep: true, Reasons: []retain.Reason{{Rule: retain.RuleBase, By: by}}}
			}
		}
	}
}

// ForgetsAll reports whether a rule keeps nothing, which may leave a source without any snapshot.
func (rules Rules) ForgetsAll() bool {
	return slices.ContainsFunc(rules, func(r Rule) bool { return r.Policy.None })
}

// Snapshots returns what rules look at: all snapshots but those that are forgotten already.
func Snapshots(items []snapshot.Item) []retain.Snapshot {
	out := make([]retain.Snapshot, 0, len(items))
	for i := range items {
		it := &items[i]
		if it.Status() == snapshot.IsForgotten {
			continue
		}
		out = append(out, retain.Snapshot{ID: it.ID, Source: it.Source.ID, Time: it.Stored, Made: it.End, Sequence: it.Sequence, Epoch: it.Epoch, Base: it.Base, Tags: it.Tags,
			Done: it.Status() == snapshot.IsDone, Bytes: it.Stats.Bytes, Added: it.Stats.BytesStored})
	}
	return out
}

// Planned returns what a cycle plans by: Snapshots with the times at which their backups began, so that one which ends after midnight counts for the evening before.
// A time that the store's clock contradicts does not count.
func Planned(items []snapshot.Item) []retain.Snapshot {
	snaps := Snapshots(items)
	at := make(map[[16]byte]time.Time, len(items))
	for _, it := range items {
		at[it.ID] = it.Start
	}
	for i := range snaps {
		if began := at[snaps[i].ID]; !began.IsZero() && (snaps[i].Time.IsZero() || began.Before(snaps[i].Time)) {
			snaps[i].Time = began
		}
	}
	return snaps
}

// Source is one source with what becomes of its snapshots, in the order of the store's clock.
type Source struct {
	Items    []snapshot.Item
	Snaps    []retain.Snapshot // of Items
	Verdicts []retain.Verdict  // likewise
}

// Last is its snapshot that was stored last.
func (s *Source) Last() *snapshot.Item { return &s.Items[len(s.Items)-1] }

// Explain decides all snapshots by one policy and groups them by source, as package prune does: of one whose paths were taken out only what stands in its place counts.
func Explain(items []snapshot.Item, policy retain.Policy, now time.Time, loc *time.Location) []Source {
	sources := grouped(items)
	var all []retain.Snapshot
	for _, s := range sources {
		all = append(all, s.Snaps...)
	}
	verdicts := retain.Decide(all, policy, now, loc) // together: bases may lie in other sources
	for i := range sources {
		n := len(sources[i].Snaps)
		sources[i].Verdicts, verdicts = verdicts[:n], verdicts[n:]
	}
	return sources
}

// Explain is the function Explain by rules: what none names stays.
func (rules Rules) Explain(items []snapshot.Item, now time.Time, loc *time.Location) []Source {
	sources := grouped(items)
	var all []snapshot.Item
	for i := range sources {
		all = append(all, sources[i].Items...)
	}
	verdicts := rules.Verdicts(all, now, loc)
	for i := range sources {
		s := &sources[i]
		s.Verdicts = make([]retain.Verdict, len(s.Snaps))
		for k := range s.Snaps {
			v, named := verdicts[s.Snaps[k].ID]
			if !named {
				v = retain.Verdict{ID: s.Snaps[k].ID, Keep: true, Reasons: []retain.Reason{{Rule: retain.RulePolicy}}}
			}
			s.Verdicts[k] = v
		}
	}
	return sources
}

// grouped returns what counts, by source.
func grouped(items []snapshot.Item) []Source {
	var sources []Source
	for _, h := range snapshot.Histories(snapshot.Standing(items)) {
		slices.SortStableFunc(h.Items, func(a, b snapshot.Item) int { return a.Stored.Compare(b.Stored) })
		sources = append(sources, Source{Items: h.Items, Snaps: Snapshots(h.Items)})
	}
	return sources
}
