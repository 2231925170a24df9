package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"sort"
	"strings"
	"time"

	"firn/internal/advice"
	"firn/internal/job"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/units"
)

// remoteJSON is what status --remote prints with --json: a line for each source, or, where no key is at hand, for each scope.
type remoteJSON struct {
	Repository string      `json:"repository"`
	Host       string      `json:"host,omitempty"`
	Scope      string      `json:"scope"`
	Source     *sourceJSON `json:"source,omitempty"`
	State      job.State   `json:"state"` // ok, stale, never; without --max-age ok or never
	Snapshot   string      `json:"snapshot,omitempty"`
	Time       *time.Time  `json:"time,omitempty"` // when the store got it
	Age        float64     `json:"age_seconds,omitempty"`
	Snapshots  int         `json:"snapshots"` // that are done
	Files      int64       `json:"files"`
	Bytes      int64       `json:"bytes"`
	Added      int64       `json:"added"`

	name string
}

// look looks at one repository, and returns the names of what is stale.
func (x *statusCommand) look(ctx context.Context, one lookedAt) ([]string, error) {
	s, err := openSession(ctx, x.c, &one.read.store)
	if err != nil {
		return nil, err
	}
	defer s.close()
	lines, err := x.bySource(ctx, s, one)
	if errors.Is(err, errNoKeyHere) {
		x.c.explain("no key is at hand: going by names and dates alone")
		lines, err = x.byScope(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	sort.SliceStable(lines, func(a, b int) bool { return lines[a].Host+"\x00"+lines[a].name < lines[b].Host+"\x00"+lines[b].name })
	return x.showRemote(s.st.Location(), lines)
}

// errNoKeyHere tells that nothing opens the repository without asking somebody.
var errNoKeyHere = errors.New("no key is at hand")

// bySource goes by snapshots: those of the scope of a host key, or all.
func (x *statusCommand) bySource(ctx context.Context, s *session, one lookedAt) ([]remoteJSON, error) {
	cred, err := one.read.secrets.credential(ctx, x.c)
	if err != nil {
		return nil, err
	}
	if cred == nil {
		host, err := s.hostKey(one.host)
		if err != nil {
			return nil, err
		}
		if host == nil {
			return nil, errNoKeyHere
		}
		if err := s.open(ctx, repo.Access{Host: host}); err != nil {
			return nil, err
		}
	} else if err := s.openLister(ctx, &one.read.secrets, one.host); err != nil {
		return nil, err
	}
	items, err := s.items(ctx)
	if err != nil {
		return nil, err
	}
	var lines []remoteJSON
	for _, h := range snapshot.Histories(items) {
		lines = append(lines, x.ofSource(s.st.Location(), h))
	}
	return lines, nil
}

// ofSource is the line of a source.
func (x *statusCommand) ofSource(location string, h snapshot.History) remoteJSON {
	newest := h.Items[len(h.Items)-1]
	source := originJSON(newest.Source, newest.Host)
	j := remoteJSON{Repository: location, Host: newest.Host, Scope: hex.EncodeToString(newest.Scope[:]), Source: &source, State: job.Never, name: advice.SourceName(newest.Source)}
	var at time.Time
	for _, it := range h.Items {
		if it.Status() != snapshot.IsDone {
			continue
		}
		j.Snapshots++
		if at = it.Stored; at.IsZero() {
			at = it.End
		}
		j.Snapshot, j.Files, j.Bytes, j.Added = it.ID.String(), it.Stats.Files, it.Stats.Bytes, it.Stats.BytesStored
	}
	x.judge(&j, at)
	return j
}

// judge says how old the newest snapshot is, and whether that is too old.
func (x *statusCommand) judge(j *remoteJSON, at time.Time) {
	if at.IsZero() {
		if x.older > 0 {
			j.State = job.Stale
		}
		return
	}
	age := max(x.c.now().Sub(at), 0)
	j.Time, j.Age, j.State = whenJSON(at), age.Seconds(), job.OK
	if x.older > 0 && (age > x.older || at.Sub(x.c.now()) > x.older) { // far ahead of the clock: it says nothing of what is new
		j.State = job.Stale
	}
}

// byScope goes by names and by the dates of the store: that a snapshot is done is an object of its own (FORMAT §10), which anybody can see who may list.
func (x *statusCommand) byScope(ctx context.Context, s *session) ([]remoteJSON, error) {
	lines := map[string]*remoteJSON{}
	newest := map[string]time.Time{}
	err := s.st.List(ctx, "snapshots/", "", func(o store.Info) error {
		parts := strings.Split(o.Name, "/")
		if len(parts) != 3 {
			return nil
		}
		scope := parts[1]
		j := lines[scope]
		if j == nil {
			j = &remoteJSON{Repository: s.st.Location(), Scope: scope, State: job.Never, name: "scope " + scope[:min(8, len(scope))]}
			lines[scope] = j
		}
		if id, ok := strings.CutSuffix(parts[2], ".done"); ok {
			j.Snapshots++
			if o.Modified.After(newest[scope]) {
				newest[scope], j.Snapshot = o.Modified, id
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var all []remoteJSON
	for scope, j := range lines {
		x.judge(j, newest[scope])
		all = append(all, *j)
	}
	return all, nil
}

// showRemote prints the lines, and returns the names of what is stale.
func (x *statusCommand) showRemote(location string, lines []remoteJSON) (bad []string, err error) {
	c := x.c
	t := c.table("host", "source", "state", "newest", ">age", "snapshot", ">files", ">size", ">added", ">snapshots")
	for i := range lines {
		j := &lines[i]
		if j.State == job.Stale {
			bad = append(bad, strings.TrimPrefix(j.Host+": "+j.name, ": ")+" (stale)")
		}
		if c.json != "" {
			if err := c.objectOf("remote", j); err != nil {
				return nil, err
			}
			continue
		}
		at, age, snap, files, size, added := "", "", j.Snapshot[:min(8, len(j.Snapshot))], "", "", ""
		if j.Time != nil {
			at, age = j.Time.Local().Format("2006-01-02 15:04"), longDuration(time.Duration(j.Age*float64(time.Second)))
		}
		if j.Source != nil {
			files, size, added = units.Count(j.Files), units.Size(j.Bytes).String(), units.Size(j.Added).String()
		}
		t.row(j.Host, j.name, string(j.State), at, age, snap, files, size, added, units.Count(int64(j.Snapshots)))
		t.colour(stateColour[j.State])
	}
	if c.json == "" {
		t.print()
	}
	if len(lines) == 0 {
		c.note("%s has no snapshots", location)
		if x.older > 0 {
			bad = append(bad, location+" (no snapshots)")
		}
	}
	return bad, nil
}
