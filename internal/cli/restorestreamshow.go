package cli

import (
	"context"
	"fmt"

	"firn/internal/replay"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/store"
	"firn/internal/thaw"
	"firn/internal/units"
)

// replayJSON is what restore prints with --json where it replays streams.
type replayJSON struct {
	*replay.Result
	Snapshot string           `json:"snapshot"`
	Into     string           `json:"into"`
	Seconds  float64          `json:"seconds"`
	Streams  []streamJSON     `json:"streams"` // replayed, in their order
	Lost     []lostStreamJSON `json:"lost"`
	Thaw     *jobJSON         `json:"thaw,omitempty"` // where something had to be thawed
	Cost     *restoreCost     `json:"cost,omitempty"`
	Error    string           `json:"error,omitempty"`
}

type streamJSON struct {
	Path     string `json:"path"`
	Snapshot string `json:"snapshot"`
	Of       string `json:"of,omitempty"`
	At       string `json:"at,omitempty"`
	FromAt   string `json:"from_at,omitempty"`
	Size     int64  `json:"size"`
	File     string `json:"file,omitempty"` // written
}

type lostStreamJSON struct {
	Path          string `json:"path"`
	Snapshot      string `json:"snapshot"`
	At            string `json:"at,omitempty"`
	Until         string `json:"until,omitempty"` // what it leads to was brought back, or can be
	UntilSnapshot string `json:"until_snapshot,omitempty"`
	Error         string `json:"error"`
}

func (r *replaying) stream(l source.Link) streamJSON {
	return streamJSON{l.Path, r.streams.SnapshotOf(l).ID.String(), l.Point.Of, l.Point.At, l.Point.FromAt, l.Size, r.file(l)}
}

// show tells what was replayed.
func (r *replaying) show(res *replay.Result, job *thaw.Job, tr *thaw.Result, err error) error {
	x := r.x
	region, _ := x.thaw.prices.orNone(r.s.st, &x.read.store) // what is wrong with the prices was told before
	if x.c.json != "" {
		j := replayJSON{Result: res, Snapshot: r.item.ID.String(), Into: r.into, Seconds: seconds(x.c.now().Sub(r.started)), Streams: []streamJSON{}, Lost: []lostStreamJSON{}}
		for _, l := range res.Taken {
			j.Streams = append(j.Streams, r.stream(l))
		}
		for _, e := range res.Lost {
			lost := lostStreamJSON{Path: e.Path, Snapshot: e.Snapshot.String(), At: e.Point.At, Error: e.Err.Error()}
			if e.Until != nil {
				lost.Until, lost.UntilSnapshot = e.Until.Point.At, e.UntilSnapshot.String()
			}
			j.Lost = append(j.Lost, lost)
		}
		if job != nil && tr != nil {
			j.Thaw = &jobJSON{Job: job.Header().ID, Done: tr.Status.State == thaw.Done, Status: &tr.Status}
			if region != nil {
				j.Thaw.Currency = region.Currency
			}
		}
		if err != nil {
			j.Error = err.Error()
		}
		return x.c.objectOf("replay", j)
	}
	told := map[string]bool{} // what the first of them says goes for all that builds upon it
	for _, e := range res.Lost {
		if !told[e.Point.Of] {
			told[e.Point.Of] = r.tellUntil(e)
		}
	}
	if x.c.quiet {
		return nil
	}
	r.sum(res, err)
	if job != nil && tr != nil {
		r.tellThaw(tr, err)
	}
	if r.folder != nil && err == nil && res.Failed == 0 && len(res.Taken) > 0 {
		r.tellUse()
	}
	return nil
}

// sum is the line that says what was done. Standard output is for the stream, where there is one.
func (r *replaying) sum(res *replay.Result, err error) {
	text := fmt.Sprintf("replayed %s, %v, into %s", counted(res.Links, "stream"), units.Size(res.Bytes), printable(r.into))
	if err != nil {
		text = "stopped: " + text
	}
	if res.Had > 0 {
		text += fmt.Sprintf("; %s there already", units.Count(res.Had))
	}
	if res.Failed > 0 {
		text += fmt.Sprintf("; %s FAILED", units.Count(res.Failed))
	}
	text += fmt.Sprintf("; %v fetched, in %s", units.Size(res.BytesGot), duration(r.x.c.now().Sub(r.started)))
	r.say(text)
}

func (r *replaying) say(text string) {
	if r.x.to.stdout || r.x.to.command != "" {
		r.x.c.say("note", text)
		return
	}
	r.x.c.print("%s\n", text)
}

// tellUntil says up to where there is something in spite of a stream that is lost, and reports whether there was anything to say.
func (r *replaying) tellUntil(e *replay.LinkError) bool {
	switch {
	case e.Until != nil:
		r.x.c.warn("of %q all is there up to %q, of snapshot %s; what comes after %q builds upon what is lost", e.Point.Of, e.Until.Point.At, shortID(e.UntilSnapshot), e.Path)
	case e.Point.From != "":
		r.x.c.warn("of %q nothing can be brought back", e.Point.Of)
	default:
		return false
	}
	return true
}

func (r *replaying) tellThaw(tr *thaw.Result, err error) {
	status := tr.Status
	region, _ := r.x.thaw.prices.orNone(r.s.st, &r.x.read.store)
	if region != nil && status.Spent > 0 {
		r.say("it cost " + region.Format(status.Spent))
	}
	if err == nil && status.State == thaw.Active {
		text := fmt.Sprintf("%s to come, %s of them asked for; run the same command again", counted(status.Left.Objects, "pack"), units.Count(status.Thawing.Objects))
		if !status.ETA.IsZero() {
			text += " (all can be here by " + status.ETA.Local().Format(timeFormat) + ")"
		}
		r.say(text)
	}
}

// dry tells what would be written.
func (r *replaying) dry() error {
	for _, l := range r.missing {
		if r.x.c.json != "" {
			if err := r.x.c.object(map[string]any{"event": "item", "action": "create", "type": "file", "size": l.Size, "path": r.folder.Name(l)}); err != nil {
				return err
			}
			continue
		}
		r.x.c.print("%-7s %s\n", "create", printable(r.file(l)))
	}
	return nil
}

// replayPlanJSON is what restore --plan prints with --json of streams.
type replayPlanJSON struct {
	*replay.Needs
	Outside []snapshot.Point `json:"outside"`
	Had     int              `json:"had"`
	Offers  []offerJSON      `json:"offers"`
}

// plan tells what would be replayed, in which order, and what has to be thawed for it.
func (r *replaying) plan(ctx context.Context) error {
	x := r.x
	n, err := r.streams.Plan(ctx, r.missing)
	if err != nil {
		return err
	}
	look := &outlook{}
	if _, ok := store.As[store.Thawer](r.s.st); ok {
		if look, err = x.thaw.look(ctx, r.s, &x.read.store, x.from.lacking(ctx, r.s, n.Objects()), false); err != nil {
			return err
		}
	}
	had := len(r.streams.Links()) - len(r.missing)
	outside := r.streams.Outside()
	if x.c.json != "" {
		return x.c.objectOf("replay_plan", replayPlanJSON{n, append([]snapshot.Point{}, outside...), had, look.json()})
	}
	for _, p := range outside {
		x.c.print("starts from %s of %s, which another tool has stored\n", printable(p.At), printable(p.Of))
	}
	t := x.c.table("snapshot", "stream", "leads to", "starts from", ">size", ">packs")
	for _, s := range n.Streams {
		t.row(s.Snapshot[:8], printable(s.Path), printable(s.At), printable(s.FromAt), units.Size(s.Size).String(), units.Count(int64(s.Packs)))
	}
	t.print()
	x.c.print("%s, %v of content", counted(n.Links, "stream"), units.Size(n.Bytes))
	if had > 0 {
		x.c.print("; %s there already", units.Count(int64(had)))
	}
	x.c.print("\n%s, %s, %v to fetch\n", counted(int64(len(n.Packs)), "pack"), counted(n.Requests, "request"), units.Size(n.Download))
	if look.survey != nil {
		offer, err := x.thaw.choose(look)
		if err != nil {
			return err
		}
		look.show(x.c, offer)
	}
	if n.Missing > 0 {
		x.c.warn("%s chunks are in no known pack: streams that need them cannot be replayed", units.Count(n.Missing))
		return incomplete()
	}
	return nil
}
