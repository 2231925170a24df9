package job

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/config"
	"firn/internal/notify"
	"firn/internal/retain"
)

// TestOutcomes runs children that end in all ways.
func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		mode    string
		outcome Outcome
		why     Why
		err     string
	}{
		{"ok", Done, "", ""},
		{"fail", Failed, "", "the disk is on fire"},
		{"unread", Incomplete, "", ""},
		{"limit", Partial, WhyLimit, ""},
		{"notdue", Skipped, WhyNotDue, ""},
		{"garbage", Failed, "", `it ended without saying what it did; it printed 2 lines that mean nothing here, the first of them "Segmentation fault (core dumped)"`},
		{"garbageanddone", Done, "", ""},
		{"die", Failed, "", "memory runs out"},
		{"events", Done, "", ""},
	} {
		t.Run(c.mode, func(t *testing.T) {
			w := newWorld(t, c.mode)
			rep, ok := w.run(Wish{Scheduled: true})[c.mode]
			if !ok || rep.Outcome != c.outcome || rep.Why != c.why || c.err == "" != (rep.Error == "") || !strings.Contains(rep.Error, c.err) {
				t.Fatalf("%q, %q, %q; want %q, %q, %q", rep.Outcome, rep.Why, rep.Error, c.outcome, c.why, c.err)
			}
			h := w.history(c.mode)
			if c.outcome != Skipped && (h.Last == nil || h.Last.Outcome != c.outcome || h.Begun != nil) {
				t.Errorf("the ledger says %+v", h)
			}
			due := w.r.Plan(w.r.Jobs(), Wish{Scheduled: true})[0].Decision.Due
			if want := c.outcome == Partial || c.outcome == Skipped; due != want {
				t.Errorf("due afterwards: %v", due)
			}
			if c.mode == "fail" && (rep.Hint != "call the fire brigade" || rep.ExitCode == nil || *rep.ExitCode != 1 || len(rep.Log) != 2) {
				t.Errorf("%+v", rep)
			}
			if c.mode == "events" && (len(rep.Results) != maxResults || rep.LeftOut != 3001-maxResults) {
				t.Errorf("%d results, %d left out", len(rep.Results), rep.LeftOut)
			}
			if c.mode == "ok" && (rep.Amounts != Amounts{Snapshot: rep.Snapshot, Files: 3, Bytes: 300, Added: 120, Sent: 120, Cost: 0.5, Monthly: 0.01, Currency: "USD"} || rep.Snapshot == "") {
				t.Errorf("%+v", rep.Amounts)
			}
		})
	}
}

// TestMemory has a child print 100 MB, and holds what that makes us take.
func TestMemory(t *testing.T) {
	w := newWorld(t, "flood")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	rep := w.run(Wish{})["flood"]
	runtime.GC()
	runtime.ReadMemStats(&after)
	if rep.Outcome != Done {
		t.Errorf("%q: %s", rep.Outcome, rep.Error)
	}
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > 8<<20 {
		t.Errorf("%d bytes are held", took)
	}
	if total := after.TotalAlloc - before.TotalAlloc; total > 32<<20 {
		t.Errorf("%d bytes were allocated for 100 MB", total)
	}
	for _, line := range rep.Log {
		if len(line) > tailLine+3 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

// TestOneFails runs four jobs, of which two fail.
func TestOneFails(t *testing.T) {
	w := newWorld(t, "a", "fail", "die", "b")
	got := w.run(Wish{Scheduled: true})
	for name, want := range map[string]Outcome{"a": Done, "fail": Failed, "die": Failed, "b": Done} {
		if got[name].Outcome != want {
			t.Errorf("%s: %q", name, got[name].Outcome)
		}
	}
	if again := w.run(Wish{Scheduled: true}); len(again) != 0 {
		t.Errorf("run again: %v", again)
	}
	if again := w.run(Wish{}); len(again) != 2 || again["fail"].Cause != Again {
		t.Errorf("run again by a person: %v", again)
	}
	if forced := w.run(Wish{Forced: true}); len(forced) != 4 {
		t.Errorf("forced: %v", forced)
	}
	s := &Summary{Results: []Result{{Report: Report{Outcome: Skipped}}, {Report: Report{Outcome: Incomplete}}}}
	if s.Worst() != Incomplete {
		t.Errorf("worst: %q", s.Worst())
	}
}

// TestStops ends runs by all limits: the child is asked to stop, and goes on later.
func TestStops(t *testing.T) {
	for _, mode := range []string{"hang", "ignore"} {
		for _, why := range []Why{WhyWindow, WhyDuration, WhyPause, WhyShutdown} {
			t.Run(mode+" "+string(why), func(t *testing.T) {
				w := newWorld(t)
				s := w.source(mode, "daily 02:30")
				switch why {
				case WhyWindow:
					s.Window = parseWindow(t, "10:00-13:00")
				case WhyDuration:
					s.MaxDuration = time.Hour
				}
				w.source("next", "daily 02:30")
				w.make()
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				end := w.begin(ctx, Wish{Scheduled: true})
				w.working(mode)
				switch why {
				case WhyPause:
					if err := SetPause(w.dir, Pause{Until: start.Add(5 * time.Hour)}); err != nil {
						t.Fatal(err)
					}
				case WhyShutdown:
					cancel()
				}
				w.clock.passUntil(t, map[string]int{"hang": 1, "ignore": 2}[mode])
				got := w.await(end)
				rep := got[mode]
				if rep.Outcome != Partial || rep.Why != why {
					t.Fatalf("%q, %q: %s", rep.Outcome, rep.Why, rep.Error)
				}
				if killed := rep.Signal == "killed"; killed != (mode == "ignore") {
					t.Errorf("signal %q", rep.Signal)
				}
				if why == WhyPause || why == WhyShutdown {
					if next := got["next"]; next.Outcome != Skipped || next.Why != why {
						t.Errorf("the next: %q, %q", next.Outcome, next.Why)
					}
				}
				d := w.r.Plan(w.r.Jobs(), Wish{Scheduled: why != WhyDuration})[0].Decision
				if !d.Due || d.Cause != GoesOn || (why == WhyPause || why == WhyWindow) != (d.Blocked == why) {
					t.Errorf("afterwards: %+v", d)
				}
				if events := w.heard.events(mode); len(events) != 1 || events[0] != notify.Success {
					t.Errorf("told: %v", events)
				}
			})
		}
	}
}

// TestLimitsAreTold looks at what children are told of limits.
func TestLimitsAreTold(t *testing.T) {
	w := newWorld(t)
	s := w.source("ok", "daily 02:30")
	s.MaxDuration = 2 * time.Hour
	s.Window = parseWindow(t, "10:00-13:00")
	s.MaxShrink, s.FullEvery = 0.25, 30*24*time.Hour
	w.c.Repositories[0].UploadPerMonth = 250
	w.make()
	for _, want := range []string{"--max-upload=250", "--max-upload=130", "--max-upload=10"} {
		w.run(Wish{Forced: true})
		all := w.children()
		if got := all[len(all)-1]; !strings.Contains(got, want) || !strings.Contains(got, "--stop-after=2h0m0s") || !strings.Contains(got, "--max-shrink=25% ") || strings.Contains(got, "--full") {
			t.Errorf("%s", got)
		}
	}
	if got := w.run(Wish{Asked: true}); got["ok"].Outcome != Skipped || got["ok"].Why != WhyAllowance || !got["ok"].Next.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("with nothing left: %+v", got["ok"])
	}
	if bad := w.r.Status(w.r.Jobs(), 0)[0]; bad.Bad() {
		t.Errorf("an allowance that is used up is trouble: %+v", bad)
	}
	w.clock.pass(27 * 24 * time.Hour) // 2 March
	w.run(Wish{Scheduled: true})
	all := w.children()
	if got := all[len(all)-1]; !strings.Contains(got, "--max-upload=250") || !strings.Contains(got, "--stop-after=1h0m0s") || strings.Contains(got, "--full") {
		t.Errorf("in the next month: %s", got)
	}
	w.clock.pass(4 * 24 * time.Hour)
	w.run(Wish{Scheduled: true})
	all = w.children()
	if got := all[len(all)-1]; !strings.Contains(got, "--full") {
		t.Errorf("after 31 days: %s", got)
	}
}

// TestOrder looks at the order of kinds, and that who deletes is alone.
func TestOrder(t *testing.T) {
	w := newWorld(t, "a", "b")
	other := &config.Repository{Name: "other", Location: "/other"}
	w.c.Repositories = append(w.c.Repositories, other)
	r := w.c.Repositories[0]
	daily := config.Timing{Schedule: parse(t, "daily 02:30")}
	r.Prune, r.Check, r.Drill = &config.Upkeep{Timing: daily}, &config.Upkeep{Timing: daily}, &config.Upkeep{Timing: daily}
	r.Copies = []*config.Copy{{To: "other", Timing: daily}}
	w.c.Sources[0].Keep = retain.Policy{Daily: 3}
	for _, parallel := range []int{1, 4} {
		w.c.Run.Parallel = parallel
		w.make()
		_ = os.Remove(w.log)
		got := w.run(Wish{Forced: true})
		var verbs []string
		for _, c := range w.started() {
			verbs = append(verbs, c.Args[0])
		}
		slices.Sort(verbs[3:])
		want := []string{"backup", "backup", "prune", "check", "copy", "drill"}
		if parallel == 1 || !slices.Equal(verbs, want) {
			slices.Sort(verbs[4:])
		}
		if !slices.Equal(verbs, want) || len(got) != 6 {
			t.Errorf("%d at once: %v, %v", parallel, verbs, got)
		}
	}
	plan := w.r.Plan(w.r.Jobs(), Wish{Forced: true})
	var queue []*Planned
	for i := range plan {
		queue = append(queue, &plan[i])
	}
	at := func(i int) []*Job { return []*Job{&plan[i].Job} }
	if i := pick(queue[1:], at(0)); i != 0 {
		t.Errorf("a second backup may run beside the first: %d", i)
	}
	if i := pick(queue[2:], at(0)); i != -1 {
		t.Errorf("prune may not run beside a backup: %d", i)
	}
	if i := pick(queue[3:], at(2)); i != -1 {
		t.Errorf("nothing may run beside prune: %d", i)
	}
}

// TestHooks runs commands around jobs.
func TestHooks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the hooks are for a POSIX shell")
	}
	for mode, want := range map[string]string{
		"ok":     "before ok backup  \nsuccess done 1\nafter done\n",
		"fail":   "before fail backup  \nfailure failed 1\nafter failed\n",
		"unread": "before unread backup  \nfailure incomplete 1\nafter incomplete\n",
		"limit":  "before limit backup  \nafter partial\n",
	} {
		w := newWorld(t, mode)
		out := filepath.Join(t.TempDir(), "out")
		w.c.Sources[0].Passphrase = config.Secret{Env: "OUR_PASSPHRASE"}
		t.Setenv("OUR_PASSPHRASE", "correct horse")
		t.Setenv("FIRN_PASSPHRASE", "battery staple")
		w.c.Sources[0].Hooks = config.Hooks{
			Before:    `echo before $FIRN_JOB $FIRN_KIND "$FIRN_STATUS" "$FIRN_REPORT$OUR_PASSPHRASE$FIRN_PASSPHRASE" >> ` + out,
			OnSuccess: `echo success $FIRN_STATUS $(grep -c '"outcome": "'$FIRN_STATUS'"' $FIRN_REPORT) >> ` + out,
			OnFailure: `echo failure $FIRN_STATUS $(grep -c '"outcome": "'$FIRN_STATUS'"' $FIRN_REPORT) >> ` + out,
			After:     `echo after $FIRN_STATUS >> ` + out,
		}
		w.make()
		rep := w.run(Wish{})[mode]
		raw, _ := os.ReadFile(out)
		if string(raw) != want {
			t.Errorf("%s: %q, want %q", mode, raw, want)
		}
		if len(rep.Warnings) != 0 {
			t.Errorf("%s: %v", mode, rep.Warnings)
		}
		if env := w.started()[0].Env; !slices.Contains(env, "FIRN_PASSPHRASE=correct horse") || slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "OUR_") }) {
			t.Errorf("%s: the child has %q", mode, env)
		}
	}
	w := newWorld(t, "ok", "b")
	w.c.Sources[0].Hooks = config.Hooks{Before: "echo no; exit 7", After: "exit 8"}
	w.make()
	got := w.run(Wish{})
	if rep := got["ok"]; rep.Outcome != Failed || !strings.HasPrefix(rep.Error, "before: ") || strings.Contains(rep.Error, "before: before") || len(w.started()) != 1 || len(rep.Warnings) != 1 || len(rep.Hooks) != 2 || got["b"].Outcome != Done {
		t.Errorf("a hook that fails: %+v", rep)
	}
}

// TestHookTime ends a hook that hangs.
func TestHookTime(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the hook is for a POSIX shell")
	}
	w := newWorld(t, "ok")
	mark := filepath.Join(t.TempDir(), "mark")
	w.c.Sources[0].Hooks = config.Hooks{Before: "touch " + mark + "; sleep 300", Timeout: time.Minute}
	w.make()
	end := w.begin(context.Background(), Wish{})
	for range 6000 {
		if _, err := os.Stat(mark); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.clock.pass(time.Minute)
	if rep := w.await(end)["ok"]; rep.Outcome != Failed || !strings.Contains(rep.Error, "too long") {
		t.Errorf("%+v", rep)
	}
}

// TestTwoRunners has two runners want the same job.
func TestTwoRunners(t *testing.T) {
	w := newWorld(t, "hang")
	ctx, cancel := context.WithCancel(context.Background())
	end := w.begin(ctx, Wish{})
	w.working("hang")
	w.make()
	second := w.await(w.begin(context.Background(), Wish{Forced: true}))
	if rep := second["hang"]; rep.Outcome != Skipped || rep.Why != WhyHeld || !strings.Contains(rep.Error, "is being run by process") || !strings.Contains(rep.Error, "2026-02-03T12:00:00Z") {
		t.Errorf("%+v", rep)
	}
	if s := w.r.Status(w.r.Jobs(), 0)[0]; s.State != Running || s.Runner == nil || s.Runner.PID != os.Getpid() {
		t.Errorf("%+v", s)
	}
	cancel()
	w.clock.passUntil(t, 1)
	if rep := w.await(end)["hang"]; rep.Outcome != Partial {
		t.Errorf("%+v", rep)
	}
	if s := w.r.Status(w.r.Jobs(), 0)[0]; s.Runner != nil || s.State == Running {
		t.Errorf("%+v", s)
	}
}

// TestRunsShare calls Run twice at once: what one of them does counts for the other.
func TestRunsShare(t *testing.T) {
	w := newWorld(t, "hang")
	w.c.Run.Parallel = 2
	w.c.Repositories[0].Prune = &config.Upkeep{Timing: config.Timing{Schedule: parse(t, "daily 02:30")}}
	w.make()
	ctx, cancel := context.WithCancel(context.Background())
	first := w.begin(ctx, Wish{}, "hang")
	w.working("hang")
	second := w.begin(context.Background(), Wish{}, "prune")
	select {
	case <-second:
		t.Error("prune did not wait")
	case <-time.After(50 * time.Millisecond): // not long: a failure would be missed at times, never invented
	}
	if n := len(w.started()); n != 1 {
		t.Errorf("%d children", n)
	}
	cancel()
	if rep := w.await(first)["hang"]; rep.Outcome != Partial {
		t.Errorf("%+v", rep)
	}
	if rep := w.await(second)["prune"]; rep.Outcome != Done {
		t.Errorf("%+v", rep)
	}
}

// TestQuicker has another runner do a job between the plan and the run.
func TestQuicker(t *testing.T) {
	w := newWorld(t, "ok")
	plan := w.r.Plan(w.r.Jobs(), Wish{Scheduled: true})
	w.run(Wish{Scheduled: true})
	s := w.r.Run(context.Background(), plan)
	if rep := s.Results[0].Report; rep.Outcome != Skipped || rep.Why != WhyServed || len(w.started()) != 1 {
		t.Errorf("%+v", rep)
	}
}

// TestReadOnlyState runs where nothing can be remembered.
func TestReadOnlyState(t *testing.T) {
	w := newWorld(t, "ok")
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", filepath.Join(blocked, "jobs")} {
		var notes []string
		w.make(func(o *Options) { o.Dir = dir; o.Notice = func(text string) { notes = append(notes, text) } })
		rep := w.run(Wish{})["ok"]
		if rep.Outcome != Done || len(rep.Warnings) == 0 || len(notes) == 0 {
			t.Errorf("%q: %q, %q, %q", dir, rep.Outcome, rep.Warnings, notes)
		}
	}
}

// TestTold looks at who is told what, and that a reporter that fails changes nothing.
func TestTold(t *testing.T) {
	w := newWorld(t)
	s := w.source("fail", "daily 02:30")
	w.make()
	w.heard.fail = errors.New("SMTP is down")
	rep := w.run(Wish{Scheduled: true})["fail"]
	if rep.Outcome != Failed || len(rep.Warnings) != 2 || !strings.Contains(rep.Warnings[1], "SMTP is down") {
		t.Errorf("%+v", rep.Warnings)
	}
	w.clock.pass(24 * time.Hour)
	w.run(Wish{Scheduled: true})
	w.clock.pass(4 * 24 * time.Hour)
	s.Rest = "/fake/ok" // the same job for the test's sake
	id := w.r.jobs[0].ID
	w.make()
	w.r.jobs[0].ID = id
	if rep := w.run(Wish{Scheduled: true})["fail"]; rep.Outcome != Done || rep.Missed != 3 {
		t.Errorf("%+v", rep)
	}
	want := []notify.Event{notify.Failure, notify.Failure, notify.Missed, notify.Recovered}
	if got := w.heard.events("fail"); !slices.Equal(got, want) {
		t.Fatalf("%v", got)
	}
	all := slices.DeleteFunc(w.heard.all, func(m notify.Message) bool { return m.Event == notify.Start })
	if all[0].Failures != 1 || all[1].Failures != 2 || all[2].Missed != 3 || all[2].Failures != 5 || !all[2].Since.Equal(time.Date(2026, 2, 5, 2, 30, 0, 0, time.UTC)) || all[3].Failures != 5 {
		t.Errorf("%+v", all)
	}
	if all[1].Error != "the disk is on fire" || all[1].Hint == "" || len(all[1].Log) != 2 || len(all[1].Report) == 0 || all[1].ReportFile == "" {
		t.Errorf("%+v", all[1])
	}
}

// TestReports counts the reports that are kept.
func TestReports(t *testing.T) {
	w := newWorld(t, "ok")
	for range 9 {
		w.run(Wish{Forced: true})
		w.clock.pass(time.Minute)
	}
	found, _ := filepath.Glob(filepath.Join(w.dir, "ok", "reports", "*.json"))
	if len(found) != 5 || filepath.Base(found[4]) != "20260203T120800.000Z.json" {
		t.Errorf("%q", found)
	}
}

// silent is a reporter of whom nothing comes back until it is given up.
type silent struct{ asked atomic.Int64 }

func (s *silent) Report(ctx context.Context, _ *Job, m notify.Message) error {
	if m.Event != notify.Missed {
		return nil
	}
	s.asked.Add(1)
	<-ctx.Done()
	return context.Cause(ctx)
}

// TestMissedHoldsUp has channels that never answer: what was missed is counted, the jobs run all the same, and one wait does for all of them.
func TestMissedHoldsUp(t *testing.T) {
	w := newWorld(t, "ok", "unread")
	w.run(Wish{Scheduled: true})
	w.clock.pass(10 * 24 * time.Hour)
	s := &silent{}
	w.make(func(o *Options) { o.Reporter, o.Telling = s, 20*time.Millisecond })
	for name, rep := range w.run(Wish{Scheduled: true}) {
		if rep.Missed != 9 {
			t.Errorf("%s: missed %d", name, rep.Missed)
		}
	}
	if n := s.asked.Load(); n != 2 {
		t.Errorf("%d were to be told", n)
	}
	if w.run(Wish{Scheduled: true}); s.asked.Load() != 2 {
		t.Error("what was missed is counted again")
	}
}
