package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/snapshot"
	"firn/internal/units"
)

// snapshotsCommand lists snapshots.
type snapshotsCommand struct {
	c       *console
	read    readFlags
	host    hostFlags
	filters filterFlags
	path    string
	all     bool
}

func newSnapshots(c *console) *cobra.Command {
	x := &snapshotsCommand{c: c}
	cmd := &cobra.Command{
		Use:   "snapshots",
		Short: "List snapshots",
		Long: `Lists the snapshots that are done, by time. A host's own key is enough; it shows the snapshots of its scope. With -v the
heads are printed, too: the last snapshot of each source that this machine has seen. A store that shows less was rolled back.
Below them stands, for each source that was drilled (firn drill), when recovery was proven the last time, and for which part.`,
		Example: `  firn snapshots
  firn snapshots --source /home --tag monthly
  firn snapshots --all --json | jq -r 'select(.state == "partial") | .id'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&x.path, "path", "", "only of the source with this path")
	cmd.Flags().BoolVar(&x.all, "all", false, "also those that are partial, unconfirmed, replaced or forgotten")
	cmd.Flags().StringVar(&x.host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	x.filters.register(cmd)
	x.read.register(cmd)
	return cmd
}

func (x *snapshotsCommand) run(ctx context.Context) error {
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.openLister(ctx, &x.read.secrets, &x.host); err != nil {
		return err
	}
	items, err := s.items(ctx)
	if err != nil {
		return err
	}
	f, err := x.filters.among(x.c, items)
	if err != nil {
		return err
	}
	f.Done, f.Voided, f.Forgotten = !x.all, x.all, x.all
	list := x.onPath(browse.Snapshots(items, f))
	if err := x.show(list, s.proofs(ctx, list), chainsOf(items, list)); err != nil {
		return err
	}
	if len(list) == 0 {
		x.c.note("no snapshots")
	}
	f.Done = false
	if hidden := len(x.onPath(browse.Snapshots(items, f))) - len(list); hidden > 0 && !x.all {
		x.c.note("%d partial or unconfirmed are not shown; --all shows them", hidden)
	}
	s.tellHeads(items)
	return nil
}

// onPath keeps the snapshots of the source with the path that the user named.
func (x *snapshotsCommand) onPath(list []browse.Info) []browse.Info {
	if x.path == "" {
		return list
	}
	var kept []browse.Info
	for _, i := range list {
		if strings.TrimSuffix(string(i.Source.Path), "/") == strings.TrimSuffix(x.path, "/") {
			kept = append(kept, i)
		}
	}
	return kept
}

// snapshotJSON is a snapshot in the JSON of all commands.
type snapshotJSON struct {
	Event    string         `json:"event"` // snapshot
	ID       string         `json:"id"`
	Time     time.Time      `json:"time"`
	End      time.Time      `json:"end"`
	Host     string         `json:"host"`
	Source   sourceJSON     `json:"source"`
	Tags     []string       `json:"tags"`
	State    string         `json:"state"` // done, unconfirmed, partial, forgotten
	VoidedBy string         `json:"voided_by,omitempty"`
	Rewrites []string       `json:"rewrites,omitempty"` // ids of those in whose place it stands
	Sequence uint64         `json:"sequence"`
	Scope    string         `json:"scope"`
	Epoch    uint32         `json:"epoch"`
	Stats    snapshot.Stats `json:"stats"`
	Chain    *chainJSON     `json:"chain,omitempty"` // of streams that lead from state to state
	Points   []pointJSON    `json:"points,omitempty"`
	Program  string         `json:"program"`
	Proof    *proofJSON     `json:"proof,omitempty"` // the last one of the source, beside its newest snapshot
}

func infoJSON(i browse.Info) snapshotJSON {
	j := snapshotJSON{Event: "snapshot", ID: i.ID.String(), Time: i.Start.UTC(), End: i.End.UTC(), Host: i.Host, Source: originJSON(i.Source, i.Host), Tags: append([]string{}, i.Tags...),
		State: i.State, Sequence: i.Sequence, Scope: fmt.Sprintf("%x", i.Scope), Epoch: i.Epoch, Stats: i.Stats, Program: i.Program}
	if !i.VoidedBy.IsZero() {
		j.VoidedBy = i.VoidedBy.String()
	}
	for _, l := range i.Rewrites {
		j.Rewrites = append(j.Rewrites, l.ID.String())
	}
	return j
}

// proofs returns the last proof of each source of which a snapshot is listed. What cannot be read is not worth failing for.
func (s *session) proofs(ctx context.Context, list []browse.Info) map[snapshot.Source]snapshot.Proof {
	last, asked := map[snapshot.Source]snapshot.Proof{}, map[[8]byte]bool{}
	for _, i := range list {
		if asked[i.Scope] {
			continue
		}
		asked[i.Scope] = true
		all, err := s.repo.Proofs(ctx, i.Scope)
		if err != nil {
			s.c.explain("proofs of recovery: %v", err)
		}
		for _, p := range all { // in order of time
			last[p.Source] = p
		}
	}
	return last
}

// newestOf returns the index of the newest snapshot of each source.
func newestOf(list []browse.Info) map[snapshot.Source]int {
	at := map[snapshot.Source]int{}
	for i := range list { // in order of time
		at[list[i].Source.ID] = i
	}
	return at
}

func (x *snapshotsCommand) show(list []browse.Info, proofs map[snapshot.Source]snapshot.Proof, chains map[snapshot.ID]*chainJSON) error {
	last := newestOf(list)
	if x.c.json != "" {
		for n, i := range list {
			j := infoJSON(i)
			j.Chain, j.Points = chains[i.ID], pointsJSON(i.Points)
			if p, ok := proofs[i.Source.ID]; ok && last[i.Source.ID] == n {
				j.Proof = newProofJSON(&p)
			}
			if err := x.c.object(j); err != nil {
				return err
			}
		}
		return nil
	}
	t := x.c.table("id", "time", "host", "source", "kind", ">files", ">size", ">added", "chain", "state", "tags")
	for _, i := range list {
		state := i.State
		if !i.VoidedBy.IsZero() {
			state = "replaced by " + shortID(i.VoidedBy)
		} else if i.Stats.Problems > 0 {
			state += sprintf(", %s not read", units.Count(i.Stats.Problems))
		}
		t.row(shortID(i.ID), i.Start.Local().Format(timeFormat), i.Host, advice.SourceName(i.Source), i.Source.Kind, units.Count(i.Stats.Files),
			units.Size(i.Stats.Bytes).String(), units.Size(i.Stats.BytesStored).String(), chains[i.ID].text(), state, strings.Join(i.Tags, ","))
	}
	t.print()
	for n, i := range list {
		if p, ok := proofs[i.Source.ID]; ok && last[i.Source.ID] == n {
			x.c.print("%s\n", printable(proofText(advice.SourceName(i.Source), &p)))
		}
	}
	return nil
}

// tellHeads compares what the store shows with what this machine has seen.
func (s *session) tellHeads(items []snapshot.Item) {
	histories := map[snapshot.Source]snapshot.History{}
	for _, h := range snapshot.Histories(items) {
		histories[h.Source] = h
	}
	for _, id := range s.state.Heads() {
		head, ok := s.state.Head(id)
		if !ok {
			continue // damaged, and told so
		}
		h, there := histories[id]
		name := "source " + snapshot.Source(id).String()
		if there {
			name = advice.SourceName(h.Items[0].Source)
		}
		s.c.explain("head of %s: number %d, snapshot %x, SHA-256 %x", name, head.Sequence, head.Snapshot, head.Body)
		if err := h.CheckHead(snapshot.Head{Source: id, Snapshot: head.Snapshot, Sequence: head.Sequence, Sum: head.Body}); err != nil {
			s.c.warn("%s: %v: snapshots were removed, or the store was rolled back", name, err)
		}
	}
}
