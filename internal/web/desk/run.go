package desk

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/job"
	"firn/internal/units"
	"firn/internal/web"
)

// runData is what the page of what can be begun shows.
type runData struct {
	Now      time.Time
	Running  []web.Task
	Ended    []web.Task
	Others   []source // that firn serve, a timer or a person runs
	OtherUps []upkeep
	Jobs     []startable
	Sources  []startable // that no job has
	Repos    []startable
	Pause    *job.Pause
	HasJobs  bool
	Pauses   []pauseTime
}

// startable is what can be begun.
type startable struct {
	Name, Repo string
	ID         string // of a source
	Kind       job.Kind
	State      job.State
	Good       time.Time
	Next       time.Time
	Busy       bool
	Line       string // what a person would type
	Why        string // it cannot be begun here
}

type pauseTime struct{ Value, Text string }

var pauses = []pauseTime{{"30m", "30 minutes"}, {"2h", "2 hours"}, {"8h", "8 hours"}, {"1d", "a day"}, {"", "until it is resumed"}}

// run shows what can be begun, and what was.
func (d *desk) run(w http.ResponseWriter, r *http.Request) error {
	p := d.gather(r.Context())
	out := &runData{Now: p.Now, Pause: p.Pause, HasJobs: p.HasJobs, Pauses: pauses}
	out.Running, out.Ended = d.tasks()
	for _, s := range p.Sources {
		switch {
		case s.Job == "":
			out.Sources = append(out.Sources, d.unscheduled(s))
		case s.State == job.Running:
			out.Others = append(out.Others, s)
		}
	}
	if jobs := d.jobs(); jobs != nil {
		all := jobs.Status(jobs.Jobs(), 0)
		for i := range all {
			out.addJob(&all[i])
		}
	}
	for _, a := range d.site.Archives() {
		st := a.Known()
		one := startable{Name: a.Place().Name, Repo: a.Place().Name}
		if !st.At.IsZero() && !st.Reads {
			one.Why = "the pages have no passphrase or identity"
		}
		out.Repos = append(out.Repos, one)
	}
	f := web.Frame{Title: "Run", Section: "run", Refresh: time.Minute}
	if len(out.Running) > 0 || len(out.Others) > 0 {
		f.Refresh = 5 * time.Second
	}
	if at := r.URL.Query().Get("busy"); at != "" {
		f.Notices = append(f.Notices, web.Notice{Level: "warning", Text: "nothing was begun: that is under way already, or too much is", Hint: "wait until it has ended, or stop it on its page"})
	}
	return d.site.Render(w, r, f, d.runPage, out)
}

// addJob adds a job of the configuration. What deletes, moves or copies is left to those who run it by hand.
func (p *runData) addJob(s *job.Status) {
	one := startable{Name: s.Job.Name, Repo: s.Job.Repository.Name, Kind: s.Job.Kind, State: s.State, Next: s.Next, Busy: s.Runner != nil, Line: job.Typed([]string{"firn", "run", s.Job.Name})}
	if s.Success != nil {
		one.Good = s.Success.End
	}
	if s.Runner != nil && s.Job.Kind != job.Backup {
		p.OtherUps = append(p.OtherUps, upkeep{Name: s.Job.Name, Kind: s.Job.Kind, Repo: one.Repo, State: s.State, Good: one.Good})
	}
	switch s.Job.Kind {
	case job.Backup, job.Check, job.Drill:
		p.Jobs = append(p.Jobs, one)
	}
}

// unscheduled is a source that no job has, as far as it can be backed up from here.
func (d *desk) unscheduled(s source) startable {
	one := startable{Name: s.Name, Repo: s.Repo, Good: s.Good}
	if !s.Known && s.origin.Kind == "" {
		one.Why = "nothing is known of it"
		return one
	}
	one.ID = s.origin.ID.String()
	args, why := sourceArgs(&s, d.host())
	one.Why = why
	if a := d.archive(s.Repo); a != nil && why == "" {
		one.Line = job.Typed(append([]string{"firn"}, join(args, a.Place().Flags)...))
	}
	return one
}

func (d *desk) archive(name string) *web.Archive {
	for _, a := range d.site.Archives() {
		if a.Place().Name == name {
			return a
		}
	}
	return nil
}

// join adds the flags that lead to a repository before what is no flag.
func join(args, flags []string) []string {
	at := slices.Index(args, "--")
	if at < 0 {
		at = len(args)
	}
	return slices.Concat(args[:at], flags, args[at:])
}

// sourceArgs is the line that backs a source up once more, or why there is none.
func sourceArgs(s *source, host string) (args []string, why string) {
	switch path := string(s.origin.Path); {
	case s.Host != host:
		return nil, "it is of the host " + s.Host
	case s.origin.Kind != "dir":
		return nil, "a stream is backed up by a job of the configuration, or by hand"
	case path == "" || strings.ContainsRune(path, 0):
		return nil, "its path is not known"
	case s.origin.Name != "":
		return []string{"backup", "--source=" + s.origin.Name, "--", path}, ""
	default:
		return []string{"backup", "--", path}, ""
	}
}

// begin begins a task and leads to its page.
func (d *desk) begin(w http.ResponseWriter, r *http.Request, spec web.Spec) error {
	done := spec.Ended
	spec.Ended = func(t web.Task) {
		for _, a := range d.site.Archives() {
			a.Expire()
		}
		if done != nil {
			done(t)
		}
	}
	t, err := d.site.Tasks.Start(context.WithoutCancel(r.Context()), spec)
	var busy *web.BusyError
	switch {
	case errors.As(err, &busy) && busy.ID != "":
		http.Redirect(w, r, "/tasks/"+busy.ID, http.StatusSeeOther)
	case errors.As(err, &busy):
		http.Redirect(w, r, "/run?busy=1", http.StatusSeeOther)
	case err != nil:
		return err
	default:
		http.Redirect(w, r, "/tasks/"+t.ID, http.StatusSeeOther)
	}
	return nil
}

// runJob runs a job of the configuration.
func (d *desk) runJob(w http.ResponseWriter, r *http.Request) error {
	jobs := d.jobs()
	if jobs == nil {
		return &web.StatusError{Code: http.StatusNotFound, Text: "there is no configuration"}
	}
	all := jobs.Jobs()
	at := slices.IndexFunc(all, func(j job.Job) bool { return j.Name == r.PostFormValue("job") })
	if at < 0 {
		return &web.StatusError{Code: http.StatusNotFound, Text: "there is no such job any more", Hint: "the configuration was changed; load the page again"}
	}
	j := &all[at]
	if j.Kind != job.Backup && j.Kind != job.Check && j.Kind != job.Drill {
		return &web.StatusError{Code: http.StatusForbidden, Text: "that is not begun from a page", Hint: "run it by hand: " + job.Typed([]string{"firn", "run", j.Name})}
	}
	args := []string{"run"}
	if r.PostFormValue("force") != "" {
		args = append(args, "--force")
	}
	return d.begin(w, r, web.Spec{Title: title(j.Kind, j.Name), Kind: string(j.Kind), Args: append(args, "--", j.Name), Once: "job " + j.Name})
}

func title(kind job.Kind, name string) string {
	switch kind {
	case job.Backup:
		return "back up " + name
	case job.Check, job.Drill:
		if name == string(kind) {
			return name
		}
		return string(kind) + " " + strings.TrimPrefix(strings.TrimPrefix(name, string(kind)), "@")
	}
	return name
}

// runSource backs up a source that no job has.
func (d *desk) runSource(w http.ResponseWriter, r *http.Request) error {
	a := d.archive(r.PostFormValue("repo"))
	if a == nil {
		return &web.StatusError{Code: http.StatusNotFound, Text: "there is no such repository"}
	}
	st, err := a.State(r.Context())
	if err != nil {
		return err
	}
	for _, it := range st.Sources() {
		if it.Source.ID.String() != r.PostFormValue("source") {
			continue
		}
		s := lineOf(&it, nil, st.At)
		args, why := sourceArgs(&s, d.host())
		if why != "" {
			return &web.StatusError{Code: http.StatusForbidden, Text: "it cannot be backed up from here: " + why}
		}
		return d.begin(w, r, web.Spec{Title: "back up " + s.Name, Kind: string(job.Backup), Place: a.Place(), Args: args, Secret: true, Once: "source " + s.origin.ID.String()})
	}
	return &web.StatusError{Code: http.StatusNotFound, Text: "the repository has no such source any more"}
}

// maxDrillCost bounds what a drill may cost, in the currency of the prices.
const maxDrillCost = 1000

// runUpkeep checks a repository, or drills.
func (d *desk) runUpkeep(w http.ResponseWriter, r *http.Request) error {
	a := d.archive(r.PostFormValue("repo"))
	if a == nil {
		return &web.StatusError{Code: http.StatusNotFound, Text: "there is no such repository"}
	}
	spec := web.Spec{Place: a.Place(), Secret: true}
	switch what := r.PostFormValue("what"); what {
	case "listing":
		spec.Kind, spec.Title, spec.Args = "check", "look whether everything is there in "+a.Place().Name, []string{"check", "--listing"}
	case "check":
		spec.Kind, spec.Title, spec.Args = "check", "check "+a.Place().Name, []string{"check"}
	case "drill":
		most, err := strconv.ParseFloat(cmp.Or(r.PostFormValue("most"), "0"), 64)
		if err != nil || !(most >= 0 && most <= maxDrillCost) {
			return &web.StatusError{Code: http.StatusBadRequest, Text: "the most that a drill may cost is a number from 0 to " + strconv.Itoa(maxDrillCost)}
		}
		spec.Kind, spec.Title = "drill", "drill "+a.Place().Name
		spec.Args = []string{"drill", "--yes", "--max-cost=" + strconv.FormatFloat(most, 'f', -1, 64)}
	default:
		return &web.StatusError{Code: http.StatusBadRequest, Text: "that is nothing that can be begun"}
	}
	spec.Once = spec.Kind + " " + a.Place().Name
	return d.begin(w, r, spec)
}

// pause pauses jobs for a time, or has them go on.
func (d *desk) pause(w http.ResponseWriter, r *http.Request) error {
	if r.PostFormValue("do") == "resume" {
		return d.begin(w, r, web.Spec{Title: "end the pause", Kind: "pause", Args: []string{"resume"}, Once: "pause"})
	}
	args := []string{"pause"}
	text := "until it is resumed"
	if long := r.PostFormValue("for"); long != "" {
		t, err := units.ParseDuration(long)
		if err != nil || t <= 0 || !slices.ContainsFunc(pauses, func(p pauseTime) bool { return p.Value == long }) {
			return &web.StatusError{Code: http.StatusBadRequest, Text: "that is no time to pause for"}
		}
		args, text = append(args, long), "for "+web.Duration(t)
	}
	return d.begin(w, r, web.Spec{Title: "pause jobs " + text, Kind: "pause", Args: args, Once: "pause"})
}

// taskData is what the page of a task shows.
type taskData struct {
	web.Task
	Now    time.Time
	Left   time.Duration
	Took   time.Duration
	Active bool
	Result []resultLine
	Jobs   []ending // of a run of jobs
}

// task shows how a task stands.
func (d *desk) task(w http.ResponseWriter, r *http.Request) error {
	t := d.site.Tasks.Get(r.PathValue("id"))
	if t == nil {
		return &web.StatusError{Code: http.StatusNotFound, Text: "there is no such task any more", Hint: "what ended is remembered for a while only, and until firn ui ends"}
	}
	p := &taskData{Task: *t, Now: d.site.Options().Now(), Active: t.Ended.IsZero(), Result: resultLines(t), Jobs: endings(t)}
	if slices.ContainsFunc(p.Jobs, func(e ending) bool { return e.Bad }) {
		p.Error, p.Hint = "", "" // the job has said it better
	}
	p.Left, p.Took = t.Left(p.Now), p.Now.Sub(t.Begun)
	f := web.Frame{Title: strings.ToUpper(t.Spec.Title[:1]) + t.Spec.Title[1:], Section: "run", Crumbs: []web.Crumb{{Text: "Run", Address: "/run"}, {Text: t.Spec.Title}}}
	if p.Active {
		f.Refresh = 3 * time.Second
	} else {
		p.Took = t.Ended.Sub(t.Begun)
	}
	return d.site.Render(w, r, f, d.taskPage, p)
}
