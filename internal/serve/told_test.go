package serve

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"firn/internal/job"
)

// missing has missed runs of all jobs, whatever it is told: nothing can be written down.
type missing struct{ *fakes }

func (m missing) Plan(jobs []job.Job, w job.Wish) []job.Planned {
	plan := m.fakes.Plan(jobs, w)
	for i := range plan {
		plan[i].Decision.Missed = 1
	}
	return plan
}

// TestBlockedIsTold: what a job misses while it is paused, or its window is closed, is handed on to be told; not without end where that cannot be remembered.
func TestBlockedIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes("blocked", "passed")
		f.due["blocked"] = []time.Time{time.Now()}
		f.blocked["blocked"] = time.Now().Add(1000 * time.Hour)
		f.due["passed"] = []time.Time{time.Now().Add(1000 * time.Hour)}
		w := newWorld(t, missing{f})
		w.start()
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		got := f.runs()
		for _, name := range []string{"blocked", "passed"} {
			n := len(got) - len(slices.DeleteFunc(slices.Clone(got), func(g string) bool { return g == name }))
			if n < 1 || n > 11 {
				t.Errorf("in ten hours %s was handed on %d times", name, n)
			}
		}
		w.stop()
	})
}

// TestForgotten: a job of which nothing can be written down waits for its next moment nevertheless, and a drill that waits for what is being thawed looks again before that is gone.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes("forgotten", "drill")
		begin := time.Now()
		for i := range f.jobs {
			f.due[f.jobs[i].Name] = []time.Time{begin, begin.Add(700 * time.Hour)}
		}
		f.jobs[1].Kind = job.Drill
		f.work = func(_ context.Context, name string) job.Report {
			if name == "drill" {
				return job.Report{Outcome: job.Partial, Why: job.WhyLimit}
			}
			return job.Report{Outcome: job.Done}
		}
		w := newWorld(t, forgetful{f})
		w.start()
		time.Sleep(10*time.Hour + time.Minute)
		synctest.Wait()
		got := f.runs()
		drills := len(slices.DeleteFunc(slices.Clone(got), func(g string) bool { return g != "drill" }))
		if others := len(got) - drills; others != 1 || drills < 8 || drills > 11 {
			t.Errorf("in ten hours: %d runs, %d drills", others, drills)
		}
		w.stop()
	})
}

// forgetful cannot write down what it did.
type forgetful struct{ *fakes }

func (f forgetful) Run(ctx context.Context, plan []job.Planned) *job.Summary {
	sum := f.fakes.Run(ctx, plan)
	for i := range sum.Results {
		sum.Results[i].Forgotten = true
	}
	return sum
}
