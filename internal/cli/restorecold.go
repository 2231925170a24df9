package cli

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"firn/internal/advice"
	"firn/internal/price"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/thaw"
	"firn/internal/units"
)

// mayBeCold reports whether content may lie in a class that has to be thawed. Where a store has such classes only the store knows: a rule of the bucket may have
// moved what was stored hot. It is asked before anything is written, which takes a listing or less.
func mayBeCold(s *session) bool {
	_, ok := store.As[store.Thawer](s.st)
	return ok
}

// thawDescription is what a job of a restore remembers for people.
type thawDescription struct {
	Snapshot string `json:"snapshot"`
	Source   string `json:"source"`
	Path     string `json:"path,omitempty"`
	Target   string `json:"target,omitempty"`
}

func describe(snap *snapshot.Snapshot, path []byte, target string) json.RawMessage {
	d := thawDescription{Snapshot: snap.ID.String(), Source: advice.SourceName(snap.Source), Target: target}
	if len(path) > 0 {
		d.Path = shownPath(path)
	}
	raw, err := json.Marshal(d)
	if err != nil {
		panic("cli: " + err.Error()) // texts only
	}
	return raw
}

// restoreCold restores what has to be thawed first: it goes on with the job of an earlier run, or plans, asks whether the price is right, and begins one.
func (x *restoreCommand) restoreCold(ctx context.Context, s *session, o restore.Options) error {
	plan, err := restore.Plan(ctx, o)
	if err != nil {
		return err
	}
	keep := s.jobState()
	job, err := thaw.Find(keep, restore.ThawKey(&o), x.c.now())
	if err != nil {
		return err
	}
	var look *outlook
	if job != nil {
		look, err = x.goOn(ctx, s, job, keep, &o, plan)
	} else {
		job, look, err = x.begin(ctx, s, keep, &o, plan)
	}
	if err != nil {
		return err
	}
	if job == nil {
		err := x.do(ctx, s, o)
		if cold := errors.As(err, new(*restore.ColdError)); err == nil || cold { // what earlier passes have brought is complete now, or gone
			if e := restore.Forget(keep, &o); e != nil && err == nil {
				err = e
			}
		}
		return err
	}
	defer job.Close()
	return x.runJob(ctx, s, o, restore.ThawOptions{Plan: plan, State: keep, Job: job, Run: x.thaw.runOptions(s, look)})
}

// begin plans and makes a job; nil: everything can be read as it is.
func (x *restoreCommand) begin(ctx context.Context, s *session, keep *state.State, o *restore.Options, plan *restore.Needs) (*thaw.Job, *outlook, error) {
	needs, err := restore.Left(keep, o, plan)
	if err != nil {
		return nil, nil, err
	}
	needs = x.from.lacking(ctx, s, needs)
	look, err := x.thaw.look(ctx, s, &x.read.store, needs, false)
	if err != nil || !look.thawed() {
		return nil, nil, err
	}
	offer, err := x.thaw.choose(look)
	if err != nil {
		return nil, nil, err
	}
	if !x.c.quiet && x.c.json == "" && look.cold() {
		x.c.print("%s, %v of content:\n", counted(plan.Files, "file"), units.Size(plan.Bytes))
		look.show(x.c, offer)
	}
	if err := x.thaw.agree(ctx, x.c, look, offer); err != nil {
		return nil, nil, err
	}
	h, err := x.thaw.header(offer, look, "restore", restore.ThawKey(o))
	if err != nil {
		return nil, nil, err
	}
	h.Description = describe(o.Snapshot, o.Path, o.Target)
	job, err := thaw.Create(keep, h, needs, x.c.now())
	return job, look, err
}

// goOn takes up a job. A tier or a limit that is given now counts from now on.
func (x *restoreCommand) goOn(ctx context.Context, s *session, job *thaw.Job, keep *state.State, o *restore.Options, plan *restore.Needs) (*outlook, error) {
	st := job.Status()
	look := &outlook{}
	var err error
	if look.region, err = x.thaw.prices.orNone(s.st, &x.read.store); err != nil {
		job.Close()
		return nil, err
	}
	spent := ""
	if look.region != nil && st.Spent > 0 {
		spent = ", " + look.region.Format(st.Spent) + " spent"
	}
	x.c.note("going on with job %s of %s: %s of %s fetched%s", job.Header().ID[:8], job.Header().Created.Local().Format(timeFormat),
		units.Count(st.Fetched.Objects), counted(st.Fetched.Objects+st.Left.Objects, "pack"), spent)
	look.link = thaw.Link{Down: linkOf(s.state, &x.read.store).Down}
	if x.thaw.link > 0 {
		look.link.Down = float64(x.thaw.link)
	}
	if err := x.thaw.change(x.c, job); err != nil {
		job.Close()
		return nil, err
	}
	return look, nil
}

// runJob thaws and restores, and tells about it.
func (x *restoreCommand) runJob(ctx context.Context, s *session, o restore.Options, t restore.ThawOptions) error {
	started := x.c.now()
	o.Report = x.c.listen().hear
	if x.c.verbose {
		o.Each = x.each()
	}
	res, err := restore.Thaw(ctx, o, t)
	x.c.endLine()
	if res == nil {
		return err
	}
	if res.Thaw != nil && res.Thaw.Status.Speed > 0 && res.Thaw.Status.Speed != thaw.AssumedDown {
		s.state.SetLink(state.Link{Down: res.Thaw.Status.Speed})
	}
	if res.Done && t.Job.Status().State == thaw.Active { // what is left is gone
		if e := t.Job.End(thaw.Done, x.c.now()); e != nil && err == nil {
			err = e
		}
	}
	if e := x.showCold(o, t, res, err, x.c.now().Sub(started)); e != nil && err == nil {
		err = e
	}
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return &advice.Error{Text: "interrupted", Hint: "run the same command again: it goes on where it stopped, and pays for nothing twice", Err: err}
	case err != nil:
		return err
	case !res.Done:
		return nil
	case res.Result.Failed > 0 && res.Result.Damaged != nil:
		return &advice.Error{Code: advice.Incomplete, Hint: advice.HowToHeal}
	case res.Result.Failed > 0:
		return incomplete()
	}
	return nil
}

// showCold tells what was restored, what is still to come, and what it cost.
func (x *restoreCommand) showCold(o restore.Options, t restore.ThawOptions, res *restore.Thawed, err error, took time.Duration) error {
	var status thaw.Status
	if res.Thaw != nil {
		status = res.Thaw.Status
	}
	if x.c.json != "" {
		j := x.resultJSON(o, res.Result, err, took)
		j.Thaw = &jobJSON{Job: t.Job.Header().ID, Done: res.Done, Status: &status}
		if t.Run.Region != nil {
			j.Thaw.Currency = t.Run.Region.Currency
		}
		return x.c.objectOf("result", j)
	}
	if e := x.showText(o, res.Result, err, took); e != nil {
		return e
	}
	if x.c.quiet {
		return nil
	}
	if t.Run.Region != nil && status.Spent > 0 {
		x.c.print("it cost %s\n", t.Run.Region.Format(status.Spent))
	}
	if !res.Done && err == nil {
		x.c.print("%s to come, %s of them asked for; run the same command again", counted(status.Left.Objects, "pack"), units.Count(status.Thawing.Objects))
		if !status.ETA.IsZero() {
			x.c.print(" (all can be here by %s)", status.ETA.Local().Format(timeFormat))
		}
		x.c.print("\n")
	}
	return nil
}

// jobJSON is what a restore that thaws says of its job.
type jobJSON struct {
	Job      string       `json:"job"`
	Done     bool         `json:"done"`
	Currency string       `json:"currency,omitempty"`
	Status   *thaw.Status `json:"status"`
}

// spentJSON of a restore that needed no thawing: requests, and what left the store.
func (x *restoreCommand) spent(region *price.Region, res *restore.Result) *restoreCost {
	made := x.read.store.made.take()
	if region == nil || res == nil {
		return nil
	}
	route := x.thaw.route
	c := &restoreCost{Currency: region.Currency, Requests: made}
	bill := append(region.Backup(nil, made.List, made.Get), region.Egress(route, res.BytesGot, 0))
	if c.Total = bill.Total(); c.Total == 0 {
		return nil
	}
	return c
}

// restoreCost is what a restore cost.
type restoreCost struct {
	Currency string      `json:"currency"`
	Total    price.Money `json:"total"`
	Requests requests    `json:"requests"`
}
