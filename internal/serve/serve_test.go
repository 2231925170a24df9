package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"firn/internal/config"
	"firn/internal/job"
)

// fakes are jobs that are due at times, and run for as long as they are told.
type fakes struct {
	mu      sync.Mutex
	now     func() time.Time
	jobs    []job.Job
	due     map[string][]time.Time // moments, in order; the first is the next
	blocked map[string]time.Time
	work    func(ctx context.Context, name string) job.Report // nil: it is done at once
	ran     []string
	at      []time.Time
	plans   int
	state   map[string]job.State
}

func newFakes(names ...string) *fakes {
	f := &fakes{now: time.Now, due: map[string][]time.Time{}, blocked: map[string]time.Time{}, state: map[string]job.State{}}
	for i, n := range names {
		f.jobs = append(f.jobs, job.Job{Name: n, Kind: job.Backup, Repository: &config.Repository{Name: "r", Location: fmt.Sprint("/r", i)}})
	}
	return f
}

func (f *fakes) Jobs() []job.Job { return f.jobs }

func (f *fakes) Plan(jobs []job.Job, _ job.Wish) (plan []job.Planned) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plans++
	for _, j := range jobs {
		p := job.Planned{Job: j}
		if due := f.due[j.Name]; len(due) > 0 {
			p.Next = due[0]
			if p.Decision.Due = !f.now().Before(due[0]); p.Decision.Due {
				i := slices.IndexFunc(due, func(t time.Time) bool { return t.After(f.now()) })
				p.Next = time.Time{}
				if i >= 0 {
					p.Next = due[i]
				}
			}
			if until := f.blocked[j.Name]; p.Decision.Due && until.After(f.now()) {
				p.Decision.Blocked, p.Decision.Until = job.WhyWindow, until
			}
		}
		plan = append(plan, p)
	}
	return plan
}

func (f *fakes) Run(ctx context.Context, plan []job.Planned) *job.Summary {
	sum := &job.Summary{}
	for i := range plan {
		p := &plan[i]
		rep := job.Report{Job: p.Job.Name, Outcome: job.Done}
		f.mu.Lock()
		f.ran, f.at = append(f.ran, p.Job.Name), append(f.at, f.now())
		f.mu.Unlock()
		if f.work != nil {
			rep = f.work(ctx, p.Job.Name)
		}
		if rep.Outcome.Good() {
			f.mu.Lock()
			f.due[p.Job.Name] = slices.DeleteFunc(f.due[p.Job.Name], func(t time.Time) bool { return !t.After(f.now()) })
			f.mu.Unlock()
		}
		sum.Results = append(sum.Results, job.Result{Job: &p.Job, Report: rep})
	}
	return sum
}

func (f *fakes) Status(jobs []job.Job, _ time.Duration) (all []job.Status) {
	for i := range jobs {
		s := job.Status{Job: &jobs[i], State: job.OK, Last: &job.Record{Error: "/srv/secret"}}
		if st := f.state[jobs[i].Name]; st != "" {
			s.State = st
		}
		all = append(all, s)
	}
	return all
}

func (f *fakes) runs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ran)
}

// begun is when the n-th run began.
func (f *fakes) begun(n int) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at[n]
}

// looked is how often somebody has looked what is due.
func (f *fakes) looked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plans
}

// world is a daemon in a bubble of time.
type world struct {
	t      *testing.T
	o      Options
	cfg    *config.Config
	file   string
	mu     sync.Mutex
	load   error
	alerts []string
	overs  int // that something is over
	states []string
	closed int
	cancel context.CancelFunc
	end    chan error
}

func newWorld(t *testing.T, f Runner) *world {
	dir := t.TempDir()
	w := &world{t: t, file: filepath.Join(dir, "firn.toml"), end: make(chan error, 1)}
	w.write("one")
	w.cfg = &config.Config{Files: []string{w.file}, Serve: config.Serve{Listen: "off"}, Run: config.Run{Parallel: 1}}
	w.o = Options{Dir: filepath.Join(dir, "jobs"), Load: func() (*config.Config, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		c := *w.cfg
		return &c, w.load
	}, Hire: func(*config.Config) (*Crew, error) {
		return &Crew{Runner: f, Alert: func(_ context.Context, text string, over bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if over {
				w.overs++
				return
			}
			w.alerts = append(w.alerts, text)
		}, Close: func() { w.mu.Lock(); w.closed++; w.mu.Unlock() }}, nil
	}, Notify: func(state string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.states = append(w.states, state)
	}}
	return w
}

func (w *world) write(text string) {
	if err := os.WriteFile(w.file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// start begins, and waits until all wait for time to pass.
func (w *world) start() {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.cancel = cancel
	go func() { w.end <- Run(ctx, w.o) }()
	synctest.Wait()
}

func (w *world) stop() {
	w.t.Helper()
	w.cancel()
	if err := <-w.end; err != nil {
		w.t.Error(err)
	}
}

// gone is how many generations were closed.
func (w *world) gone() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

func (w *world) alerted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.alerts)
}

// TestDue: a job runs when it is due and not before, and the daemon sleeps in between.
func TestDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes("a", "b")
		begin := time.Now()
		f.due["a"] = []time.Time{begin.Add(3 * time.Hour), begin.Add(27 * time.Hour)}
		w := newWorld(t, f)
		w.start()
		time.Sleep(3*time.Hour - time.Second)
		if n := len(f.runs()); n != 0 {
			t.Errorf("%d runs before the time", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := f.runs(); !slices.Equal(got, []string{"a"}) || f.begun(0).Sub(begin) > 3*time.Hour+time.Second {
			t.Errorf("%v ran", got)
		}
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if got := f.runs(); !slices.Equal(got, []string{"a", "a"}) {
			t.Errorf("%v ran", got)
		}
		if most := int(29*time.Hour/lookAgain) + 20; f.looked() > most {
			t.Errorf("looked %d times, want %d at most", f.looked(), most)
		}
		w.stop()
		if w.states[0] != "READY=1\nSTATUS=2 jobs" || !slices.ContainsFunc(w.states, func(s string) bool { return strings.HasPrefix(s, "STOPPING=1") }) || w.gone() != 1 {
			t.Errorf("%q, closed %d times", w.states[0], w.gone())
		}
	})
}

// jumping is a clock that can be set.
type jumping struct {
	job.System
	mu  sync.Mutex
	off time.Duration
}

func (j *jumping) Now() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Now().Add(j.off)
}

func (j *jumping) jump(d time.Duration) { j.mu.Lock(); j.off += d; j.mu.Unlock() }

// TestSlept: what was due while the machine slept for a month runs once, soon after it woke; and a clock that is set back is noticed.
func TestSlept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &jumping{}
		f := newFakes("a")
		f.now = clock.Now
		begin := clock.Now()
		for day := range 60 {
			f.due["a"] = append(f.due["a"], begin.AddDate(0, 0, day+1))
		}
		w := newWorld(t, f)
		w.o.Clock = clock
		w.start()
		clock.jump(30*24*time.Hour + time.Hour)
		time.Sleep(defaultPoll + time.Second)
		synctest.Wait()
		if got := f.runs(); len(got) != 1 {
			t.Errorf("%v ran", got)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got := f.runs(); len(got) != 2 {
			t.Errorf("%v ran", got)
		}
		plans := f.looked()
		clock.jump(-48 * time.Hour)
		time.Sleep(defaultPoll + time.Second)
		synctest.Wait()
		if f.looked() == plans {
			t.Error("nobody looked after the clock was set back")
		}
		w.stop()
	})
}

// TestRests: a job that somebody else runs is tried once a minute, and one that has had its time waits for its next moment.
func TestRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes("held", "long")
		begin := time.Now()
		f.due["held"] = []time.Time{begin}
		f.due["long"] = []time.Time{begin, begin.Add(10 * time.Hour)}
		f.work = func(_ context.Context, name string) job.Report {
			if name == "held" {
				return job.Report{Outcome: job.Skipped, Why: job.WhyHeld}
			}
			return job.Report{Outcome: job.Partial, Why: job.WhyDuration}
		}
		w := newWorld(t, f)
		w.start()
		time.Sleep(time.Hour)
		synctest.Wait()
		var held, long int
		for _, name := range f.runs() {
			if name == "held" {
				held++
			} else {
				long++
			}
		}
		if held < 30 || held > 61 || long != 1 {
			t.Errorf("in an hour: %d and %d runs", held, long)
		}
		time.Sleep(9*time.Hour + time.Minute)
		synctest.Wait()
		if got := f.runs(); !slices.Contains(got[len(got)-3:], "long") {
			t.Errorf("the other did not go on: %v", got[len(got)-3:])
		}
		w.stop()
	})
}

// TestBlocked: a job whose window is closed runs once that opens.
func TestBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes("a")
		f.due["a"] = []time.Time{time.Now()}
		f.blocked["a"] = time.Now().Add(5 * time.Hour)
		w := newWorld(t, f)
		w.start()
		time.Sleep(5*time.Hour - time.Minute)
		if got := f.runs(); len(got) != 0 {
			t.Errorf("%v ran", got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := f.runs(); len(got) != 1 {
			t.Errorf("%v ran", got)
		}
		w.stop()
	})
}

// TestBeside: while a job works others begin only where several may, and they share no repository.
func TestBeside(t *testing.T) {
	for parallel, want := range map[int][]string{1: {"a"}, 2: {"a", "c"}, 3: {"a", "c", "d"}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakes("a", "b", "c", "d")
			f.jobs[1].Repository.Location = f.jobs[0].Repository.Location
			begin, through := time.Now(), make(chan struct{})
			f.due["a"] = []time.Time{begin}
			for _, name := range []string{"b", "c", "d"} {
				f.due[name] = []time.Time{begin.Add(time.Hour)}
			}
			f.work = func(context.Context, string) job.Report { <-through; return job.Report{Outcome: job.Done} }
			w := newWorld(t, f)
			w.cfg.Run.Parallel = parallel
			w.start()
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			got := f.runs()
			slices.Sort(got)
			if parallel == 3 { // both in one shift, one after the other by the fake
				want = []string{"a", "c"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d at once: %v ran, want %v", parallel, got, want)
			}
			close(through)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if got := f.runs(); len(got) != 4 {
				t.Errorf("%v ran in the end", got)
			}
			w.stop()
		})
	}
}

// TestConfiguration: one that changed is used once it stays as it is; one that is refused changes nothing, and is told once.
func TestConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes("a")
		w := newWorld(t, f)
		reload := make(chan struct{})
		w.o.Reload = reload
		w.start()
		set := func(err error, parallel int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.load = err
			c := *w.cfg
			c.Run.Parallel = parallel
			w.cfg = &c
		}
		set(errors.New("line 3: what is this"), 1)
		w.write("two!")
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := w.alerted(); n != 1 || !strings.Contains(w.alerts[0], "line 3") || w.gone() != 0 {
			t.Errorf("%d alerts, %d closed", n, w.gone())
		}
		reload <- struct{}{}
		synctest.Wait()
		if n := w.alerted(); n != 1 {
			t.Errorf("%d alerts of the same", n)
		}
		set(errors.New("line 4: and this"), 1)
		reload <- struct{}{}
		synctest.Wait()
		if n := w.alerted(); n != 2 {
			t.Errorf("%d alerts", n)
		}
		set(nil, 4)
		w.write("three three")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if w.gone() != 1 {
			t.Errorf("%d generations closed", w.gone())
		}
		w.write("four, says the same") // so nothing happens
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if w.gone() != 1 {
			t.Errorf("%d generations closed", w.gone())
		}
		reload <- struct{}{} // as asked
		synctest.Wait()
		if w.gone() != 2 {
			t.Errorf("%d generations closed", w.gone())
		}
		if !slices.ContainsFunc(w.states, func(s string) bool { return strings.HasPrefix(s, "RELOADING=1") }) {
			t.Error("the service manager was not told")
		}
		w.stop()
		if w.gone() != 3 || w.alerted() != 2 || w.overs != 1 {
			t.Errorf("%d generations closed, %d alerts", w.gone(), w.alerted())
		}
	})
}

// TestStop: what runs is told to stop, and has its time for that.
func TestStop(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakes("a")
			f.due["a"] = []time.Time{time.Now()}
			free := make(chan struct{})
			f.work = func(ctx context.Context, _ string) job.Report {
				if deaf {
					<-free
				} else {
					<-ctx.Done()
					time.Sleep(time.Minute)
				}
				return job.Report{Outcome: job.Partial, Why: job.WhyShutdown}
			}
			w := newWorld(t, f)
			w.start()
			begin := time.Now()
			w.cancel()
			err := <-w.end
			var stuck *StuckError
			if errors.As(err, &stuck) != deaf || !deaf && err != nil || deaf && !slices.Equal(stuck.Jobs, []string{"a"}) {
				t.Errorf("%v", err)
			}
			if took, want := time.Since(begin), map[bool]time.Duration{false: time.Minute, true: defaultGrace}[deaf]; took != want {
				t.Errorf("it took %v", took)
			}
			close(free)
		})
	}
}

// TestAlone: there is one for a folder.
func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newFakes("a"))
		w.start()
		err := Run(t.Context(), w.o)
		var held *job.HeldError
		if !errors.As(err, &held) || held.PID != os.Getpid() {
			t.Errorf("%v", err)
		}
		w.stop()
		w.start()
		w.stop()
	})
}

// TestRefused: without a configuration there is nothing to serve.
func TestRefused(t *testing.T) {
	w := newWorld(t, newFakes("a"))
	w.load = errors.New("line 1")
	if err := Run(t.Context(), w.o); !errors.Is(err, w.load) {
		t.Error(err)
	}
	w.load = nil
	w.cfg.Serve.Listen = "0.0.0.0:0"
	if err := Run(t.Context(), w.o); !errors.Is(err, ErrOpen) {
		t.Error(err)
	}
}

// TestPause: that jobs were paused, or are to go on, is noticed soon.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes("a")
		w := newWorld(t, f)
		w.start()
		for _, change := range []func() error{
			func() error { return job.SetPause(w.o.Dir, job.Pause{}) },
			func() error { _, err := job.Resume(w.o.Dir, time.Now()); return err },
		} {
			plans := f.looked()
			if err := change(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(defaultPoll + time.Second)
			synctest.Wait()
			if f.looked() == plans {
				t.Error("nobody looked")
			}
		}
		w.stop()
	})
}
