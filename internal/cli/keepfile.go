package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/retain"
	"firn/internal/snapshot"
	"firn/internal/wire"
)

// keepRule says what is kept of a source.
type keepRule struct {
	Source string         `json:"source"` // its name, path, or id, or what stands behind the kind
	Kind   string         `json:"kind"`   // dir, zfs, …; empty: any
	Host   string         `json:"host"`   // empty: any
	Keep   []string       `json:"keep"`   // as flags: --keep-daily=7
	Policy *retain.Policy `json:"policy"` // in the place of Keep
	policy retain.Policy
}

// keepRules are policies for some of the sources of a repository. Of a source that several name what one of them keeps is kept; one that none names keeps everything.
type keepRules []keepRule

// Limits of a file of policies.
const (
	maxKeepFile  = 4 << 20 // bytes
	maxKeepRules = 10_000
)

// readKeepFile reads --keep-file.
func readKeepFile(path string) (keepRules, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxKeepFile+1))
	if err != nil {
		return nil, err
	}
	rules, err := parseKeepRules(raw)
	if err != nil {
		return nil, usage(`such as [{"source": "/home", "keep": ["--keep-daily=7", "--keep-monthly=12"]}]`, "--keep-file %q: %v", path, err)
	}
	return rules, nil
}

func parseKeepRules(raw []byte) (keepRules, error) {
	if len(raw) > maxKeepFile {
		return nil, errors.New("it is too large")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var rules keepRules
	if err := dec.Decode(&rules); err != nil {
		return nil, fmt.Errorf("want a list of policies as JSON: %w", err)
	}
	if rules == nil {
		return nil, errors.New("want a list of policies as JSON")
	}
	if dec.More() {
		return nil, errors.New("something stands behind the list")
	}
	if len(rules) > maxKeepRules {
		return nil, fmt.Errorf("%d policies, want at most %d", len(rules), maxKeepRules)
	}
	for i := range rules {
		if err := rules[i].check(); err != nil {
			return nil, fmt.Errorf("policy %d, of %q: %w", i+1, rules[i].Source, err)
		}
	}
	return rules, nil
}

func (r *keepRule) check() error {
	switch {
	case r.Source == "":
		return errors.New("it does not name its source")
	case r.Policy != nil && len(r.Keep) > 0:
		return errors.New("want keep or policy, not both")
	case r.Policy != nil:
		r.policy = *r.Policy
		return r.policy.Check()
	}
	var keep retentionFlags
	cmd := &cobra.Command{}
	keep.register(cmd)
	if err := cmd.Flags().Parse(r.Keep); err != nil {
		return err
	}
	if rest := cmd.Flags().Args(); len(rest) > 0 {
		return fmt.Errorf("%q is no flag", rest[0])
	}
	var err error
	r.policy, err = keep.policy()
	return err
}

// policyOf is the first policy that speaks of the source of a snapshot; where none does, one that says nothing.
func (rules keepRules) policyOf(it *snapshot.Item) retain.Policy {
	for i := range rules {
		if rules[i].speaksOf(it) {
			return rules[i].policy
		}
	}
	return retain.Policy{}
}

// speaksOf reports whether the rule is for the source of a snapshot.
func (r *keepRule) speaksOf(it *snapshot.Item) bool {
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

// verdicts says of the snapshots of which a rule speaks why they stay or go. The others stay.
func (rules keepRules) verdicts(items []snapshot.Item, now time.Time, loc *time.Location) map[snapshot.ID]retain.Verdict {
	all := map[snapshot.ID]retain.Verdict{}
	for i := range rules {
		var mine []snapshot.Item
		for k := range items {
			if rules[i].speaksOf(&items[k]) {
				mine = append(mine, items[k])
			}
		}
		if rules[i].ambiguous(mine) {
			continue
		}
		for _, v := range retain.Decide(toRetain(mine), rules[i].policy, now, loc) {
			if have, named := all[v.ID]; !named || v.Keep && !have.Keep {
				all[v.ID] = v
			}
		}
	}
	keepBases(items, all)
	return all
}

// ambiguous reports whether a rule that goes by the name of a host speaks of several: names need not differ, the scopes in which hosts store do. Two machines called alike must not prune one another.
func (r *keepRule) ambiguous(mine []snapshot.Item) bool {
	return r.Host != "" && slices.ContainsFunc(mine, func(it snapshot.Item) bool { return it.Scope != mine[0].Scope })
}

// decide returns the snapshots that go.
func (rules keepRules) decide(items []snapshot.Item, now time.Time, loc *time.Location) (gone []snapshot.ID) {
	verdicts := rules.verdicts(items, now, loc)
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

// forgetsAll reports whether a rule keeps nothing, which may leave a source without any snapshot.
func (rules keepRules) forgetsAll() bool {
	return slices.ContainsFunc(rules, func(r keepRule) bool { return r.policy.None })
}

// tell says which sources no rule names, so that nobody wonders why they grow.
func (rules keepRules) tell(c *console, items []snapshot.Item) {
	seen := map[snapshot.Source]bool{}
	used := make([]bool, len(rules))
	for i := range items {
		it := &items[i]
		named := false
		for k := range rules {
			if rules[k].speaksOf(it) {
				named, used[k] = true, true
			}
		}
		if !named && !seen[it.Source.ID] && it.Status() != snapshot.IsForgotten {
			seen[it.Source.ID] = true
			text := fmt.Sprintf("no policy names %s of %s: all its snapshots stay", advice.SourceName(it.Source), it.Host)
			c.note("%s", text)
			c.emit(map[string]any{"event": "note", "text": text})
		}
	}
	for k := range rules {
		var mine []snapshot.Item
		for i := range items {
			if rules[k].speaksOf(&items[i]) {
				mine = append(mine, items[i])
			}
		}
		if rules[k].ambiguous(mine) {
			c.warn("several hosts are called %s and have a source %s: all their snapshots stay (name one by its id in --keep-file; firn source list tells it)", rules[k].Host, rules[k].Source)
		}
		if !used[k] {
			c.explain("%s: there are no snapshots of it", rules[k].Source)
		}
	}
}
