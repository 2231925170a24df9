package desk

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/job"
	"firn/internal/price"
	"firn/internal/snapshot"
	"firn/internal/web"
)

// firstWait is how long the first page waits for repositories of which nothing is known yet.
const firstWait = 100 * time.Millisecond

// overviewData is what the overview shows.
type overviewData struct {
	Now      time.Time
	Notices  []web.Notice
	Sources  []source
	Troubles []trouble
	Places   []place
	Upkeep   []upkeep
	Running  []web.Task
	Well     int
	Bad      int
	Reading  bool // something is not known yet
	Bytes    int64
	Month    []sum
	Year     []sum
	Drill    time.Time // the last one of all
	Pause    *job.Pause
	HasJobs  bool
}

// sum is money in one currency.
type sum struct {
	region *price.Region
	amount price.Money
}

func (s sum) String() string { return web.Money(s.region, s.amount) }

// source is a line of the overview.
type source struct {
	Name    string
	Kind    string
	Host    string
	Repo    string
	Job     string // empty: none
	State   job.State
	Address string // of its snapshots; empty: none are known
	Good    time.Time
	Age     time.Duration
	Limit   time.Duration // how old it may be; 0: any
	Next    time.Time
	Due     bool
	Blocked string
	Files   int64
	Bytes   int64
	Added   int64 // in the last 30 days
	Sparks  string
	Known   bool // there is a snapshot
	PID     int
	Since   time.Time
	Proof   *snapshot.Proof

	origin snapshot.Origin
}

// trouble is what somebody should look at.
type trouble struct {
	Name  string
	Kind  job.Kind
	State job.State
	At    time.Time
	Text  string
	Hint  string
}

// upkeep is a job that looks after a repository.
type upkeep struct {
	Name    string
	Kind    job.Kind
	Repo    string
	State   job.State
	Good    time.Time
	Next    time.Time
	Due     bool
	Outcome job.Outcome
}

// place is a repository on the overview.
type place struct {
	Name      string
	Location  string
	Base      string
	Sources   int
	Snapshots int
	At        time.Time
	Err       string
	Reads     bool
	Stored    int64
	Objects   int64
	HasMoney  bool
	Month     sum
	Year      sum
	Budget    price.Money
	Share     float64 // of the budget that the month takes
	Over      bool
	Check     time.Time
	CheckOf   job.State
	Drill     time.Time
}

// gather finds out what is known.
func (d *desk) gather(ctx context.Context) *overviewData {
	p := &overviewData{Now: d.site.Options().Now()}
	known := d.known(ctx)
	at := map[string][]*source{} // by repository
	for i, a := range d.site.Archives() {
		st := known[i]
		b := d.book(a, st)
		p.addPlace(a, st, b)
		for _, s := range b.rows(st) {
			s.Repo, s.Address = a.Place().Name, a.Base()+"/snapshots?source="+s.origin.ID.String()
			at[s.Repo] = append(at[s.Repo], &s)
		}
	}
	if jobs := d.jobs(); jobs != nil {
		p.HasJobs = true
		d.addJobs(p, jobs, at)
	}
	for _, a := range d.site.Archives() {
		for _, row := range at[a.Place().Name] {
			p.Sources = append(p.Sources, *row)
		}
		delete(at, a.Place().Name)
	}
	for _, rows := range at {
		for _, row := range rows {
			p.Sources = append(p.Sources, *row)
		}
	}
	slices.SortStableFunc(p.Sources, func(a, b source) int {
		return cmp.Or(cmp.Compare(rank(a.State), rank(b.State)), strings.Compare(a.Repo, b.Repo), strings.Compare(a.Host, b.Host), strings.Compare(a.Name, b.Name))
	})
	p.count()
	p.Running, _ = d.tasks()
	return p
}

// jobs returns those of the configuration; nil: there is none.
func (d *desk) jobs() web.Jobs {
	if fn := d.site.Options().Jobs; fn != nil {
		return fn()
	}
	return nil
}

// known returns what is known of each repository, and waits for a moment where that is nothing.
func (d *desk) known(ctx context.Context) []web.State {
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	all := d.site.Archives()
	out := make([]web.State, len(all))
	for i, a := range all {
		out[i] = a.Glance()
	}
	for i, a := range all {
		if out[i].At.IsZero() && out[i].Err == nil {
			if st, err := a.State(ctx); err == nil {
				out[i] = st
			} else {
				out[i] = a.Known()
			}
		}
	}
	return out
}

// rank puts what needs somebody first.
func rank(s job.State) int {
	return slices.Index([]job.State{job.Failing, job.Stale, job.Running, job.Never, job.DueNow, job.Paused, job.OK, "", job.Off}, s)
}

func (p *overviewData) count() {
	for i := range p.Sources {
		switch p.Sources[i].State {
		case job.Failing, job.Stale:
			p.Bad++
		case job.Never, job.Off:
		default:
			p.Well++
		}
	}
}

// addPlace adds a repository.
func (p *overviewData) addPlace(a *web.Archive, st web.State, b *book) {
	one := place{Name: a.Place().Name, Location: a.Place().Location, Base: a.Base(), At: st.At, Reads: st.Reads, Snapshots: len(st.Items), Budget: a.Place().Monthly}
	switch {
	case st.Err != nil:
		one.Err = st.Err.Error()
		text := "the repository " + one.Name + " cannot be reached: " + one.Err
		if st.At.IsZero() {
			text += "; nothing is known of it yet"
		} else {
			text += "; what is shown of it was read " + web.Age(p.Now.Sub(st.At))
		}
		p.Notices = append(p.Notices, web.Notice{Level: "warning", Text: text, Hint: advice.Hint(st.Err)})
	case st.At.IsZero():
		p.Reading = true
	case !st.Reads:
		p.Notices = append(p.Notices, web.Notice{Level: "note", Text: "the repository " + one.Name + " is open with the key of this host alone: pages show which snapshots there are, and not what they hold",
			Hint: "end firn ui and give it a passphrase or an identity: " + advice.HowToUnlock})
	}
	if n := len(st.Damaged); n > 0 {
		p.Notices = append(p.Notices, web.Notice{Level: "warning", Text: one.Name + ": " + web.Counted(int64(n), "object") + " cannot be read, the first: " + st.Damaged[0].Error(), Hint: "firn check tells more"})
	}
	if m := b.money(); m != nil {
		one.HasMoney, one.Stored, one.Objects = true, m.bytes, m.objects
		p.Bytes += m.bytes
		if m.region != nil {
			one.Month, one.Year = sum{m.region, m.month}, sum{m.region, m.year}
			p.Month, p.Year = added(p.Month, one.Month), added(p.Year, one.Year)
			if one.Budget > 0 {
				one.Share, one.Over = float64(m.month/one.Budget), m.month > one.Budget
			}
		}
	} else if !st.At.IsZero() && st.Err == nil && b.waiting() {
		p.Reading = true
	}
	one.Drill = b.lastDrill()
	p.Drill = later(p.Drill, one.Drill)
	one.Sources = len(b.rows(st))
	p.Places = append(p.Places, one)
}

func added(all []sum, s sum) []sum {
	for i := range all {
		if all[i].region.Currency == s.region.Currency {
			all[i].amount += s.amount
			return all
		}
	}
	return append(all, s)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// addJobs says of each source how its job stands, and of each repository how it is looked after.
func (d *desk) addJobs(p *overviewData, jobs web.Jobs, at map[string][]*source) {
	all := jobs.Status(jobs.Jobs(), 0)
	for i := range all {
		s := &all[i]
		p.Pause = s.Pause
		if s.Bad() {
			p.Troubles = append(p.Troubles, d.trouble(jobs, s))
		}
		if s.Job.Kind != job.Backup {
			p.addUpkeep(s)
			continue
		}
		repo := s.Job.Repository.Name
		rows := d.of(s.Job, at[repo])
		if len(rows) == 0 {
			row := &source{Name: s.Job.Name, Kind: s.Job.Source.Kind, Host: d.host(), Repo: repo}
			at[repo] = append(at[repo], row)
			rows = []*source{row}
		}
		for _, row := range rows {
			row.stand(s)
		}
	}
}

// of finds the sources of a job among those of its repository.
func (d *desk) of(j *job.Job, rows []*source) (found []*source) {
	host := cmp.Or(j.Repository.Host, d.host())
	for _, name := range j.Sources() {
		for _, row := range rows {
			if row.Kind == j.Source.Kind && row.Host == host && row.Job == "" && browse.IsSource(row.origin, name) {
				found = append(found, row)
			}
		}
	}
	return found
}

// stand says of a source how its job stands.
func (s *source) stand(j *job.Status) {
	s.Job, s.State, s.Limit, s.Next, s.Due = j.Job.Name, j.State, j.StaleTime, j.Next, j.Due && j.Blocked == ""
	if j.Blocked != "" && j.State != job.Paused {
		s.Blocked = string(j.Blocked)
	}
	if j.Success != nil {
		s.Good, s.Age = later(s.Good, j.Success.End), j.Age
		if !s.Known {
			s.Files, s.Bytes = j.Success.Files, j.Success.Bytes
		}
	}
	if j.Runner != nil {
		s.PID, s.Since = j.Runner.PID, j.Runner.Since
	}
}

func (p *overviewData) addUpkeep(s *job.Status) {
	u := upkeep{Name: s.Job.Name, Kind: s.Job.Kind, Repo: s.Job.Repository.Name, State: s.State, Next: s.Next, Due: s.Due && s.Blocked == ""}
	if s.Success != nil {
		u.Good = s.Success.End
	}
	if s.Last != nil {
		u.Outcome = s.Last.Outcome
	}
	p.Upkeep = append(p.Upkeep, u)
	for i := range p.Places {
		if one := &p.Places[i]; one.Name == u.Repo {
			switch u.Kind {
			case job.Check:
				one.Check, one.CheckOf = u.Good, u.State
			case job.Drill:
				one.Drill = later(one.Drill, u.Good)
				p.Drill = later(p.Drill, u.Good)
			}
		}
	}
}

// trouble says what is wrong with a job.
func (d *desk) trouble(jobs web.Jobs, s *job.Status) trouble {
	t := trouble{Name: s.Job.Name, Kind: s.Job.Kind, State: s.State}
	if s.State == job.Stale {
		t.Text = "there is no good run yet, and there should be"
		if s.Success != nil {
			t.At, t.Text = s.Success.End, "its last good run is "+web.Duration(s.Age)+" old, and may be "+web.Duration(s.StaleTime)
		}
		t.Hint = "run it by hand, and see whether firn serve or the timer that starts firn run is alive"
		if s.Last != nil && s.Last.Error != "" {
			t.Text += "; its last run: " + s.Last.Error
		}
	}
	if s.Last == nil {
		return t
	}
	if s.State == job.Failing {
		t.At, t.Text = s.Last.End, cmp.Or(s.Last.Error, "it failed, and did not say why")
	}
	if r, ok := jobs.(interface {
		Report(*job.Job, *job.Record) (*job.Report, error)
	}); ok && s.Last.Outcome == job.Failed {
		if rep, err := r.Report(s.Job, s.Last); err == nil {
			t.Hint = cmp.Or(rep.Hint, t.Hint)
		}
	}
	return t
}

// nameOf is how a source is shown.
func nameOf(o snapshot.Origin) string {
	if o.Name != "" {
		return web.ShownPath([]byte(o.Name))
	}
	return web.ShownPath(o.Path)
}
