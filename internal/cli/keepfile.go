package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/retain"
	"firn/internal/retention"
	"firn/internal/snapshot"
)

// keepRule says what is kept of a source, in a file.
type keepRule struct {
	Source string         `json:"source"` // its name, path, or id, or what stands behind the kind
	Kind   string         `json:"kind"`   // dir, zfs, …; empty: any
	Host   string         `json:"host"`   // empty: any
	Keep   []string       `json:"keep"`   // as flags: --keep-daily=7
	Policy *retain.Policy `json:"policy"` // in the place of Keep
}

// Limits of a file of policies.
const (
	maxKeepFile  = 4 << 20 // bytes
	maxKeepRules = 10_000
)

// readKeepFile reads --keep-file.
func readKeepFile(path string) (retention.Rules, error) {
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

func parseKeepRules(raw []byte) (retention.Rules, error) {
	if len(raw) > maxKeepFile {
		return nil, errors.New("it is too large")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var all []keepRule
	if err := dec.Decode(&all); err != nil {
		return nil, fmt.Errorf("want a list of policies as JSON: %w", err)
	}
	if all == nil {
		return nil, errors.New("want a list of policies as JSON")
	}
	if dec.More() {
		return nil, errors.New("something stands behind the list")
	}
	if len(all) > maxKeepRules {
		return nil, fmt.Errorf("%d policies, want at most %d", len(all), maxKeepRules)
	}
	rules := make(retention.Rules, len(all))
	for i := range all {
		policy, err := all[i].policy()
		if err != nil {
			return nil, fmt.Errorf("policy %d, of %q: %w", i+1, all[i].Source, err)
		}
		rules[i] = retention.Rule{Source: all[i].Source, Kind: all[i].Kind, Host: all[i].Host, Policy: policy}
	}
	return rules, nil
}

func (r *keepRule) policy() (none retain.Policy, err error) {
	switch {
	case r.Source == "":
		return none, errors.New("it does not name its source")
	case r.Policy != nil && len(r.Keep) > 0:
		return none, errors.New("want keep or policy, not both")
	case r.Policy != nil:
		return *r.Policy, r.Policy.Check()
	}
	var keep retentionFlags
	cmd := &cobra.Command{}
	keep.register(cmd)
	if err := cmd.Flags().Parse(r.Keep); err != nil {
		return none, err
	}
	if rest := cmd.Flags().Args(); len(rest) > 0 {
		return none, fmt.Errorf("%q is no flag", rest[0])
	}
	return keep.policy()
}

// tellRules says which sources no rule names, so that nobody wonders why they grow.
func tellRules(c *console, rules retention.Rules, items []snapshot.Item) {
	seen := map[snapshot.Source]bool{}
	used := make([]bool, len(rules))
	for i := range items {
		it := &items[i]
		named := false
		for k := range rules {
			if rules[k].SpeaksOf(it) {
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
			if rules[k].SpeaksOf(&items[i]) {
				mine = append(mine, items[i])
			}
		}
		if rules[k].Ambiguous(mine) {
			c.warn("several hosts are called %s and have a source %s: all their snapshots stay (name one by its id in --keep-file; firn source list tells it)", rules[k].Host, rules[k].Source)
		}
		if !used[k] {
			c.explain("%s: there are no snapshots of it", rules[k].Source)
		}
	}
}
