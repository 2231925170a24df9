package desk

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/job"
	"firn/internal/units"
	"firn/internal/web"
)

// maxResultLines bounds what is shown of what a child printed.
const maxResultLines = 40

// resultLine is one thing that a child said at its end.
type resultLine struct{ Name, Text string }

// resultLines are the plain members of the last result: numbers, words and sizes. Lists and objects are left to the command line.
func resultLines(t *web.Task) (lines []resultLine) {
	if len(t.Results) == 0 || len(jobReports(t)) > 0 {
		return nil
	}
	var o map[string]any
	if json.Unmarshal(t.Results[len(t.Results)-1], &o) != nil {
		return nil
	}
	for name, v := range o {
		if name == "event" || name == "version" {
			continue
		}
		text := ""
		switch v := v.(type) {
		case string:
			text = v
		case bool:
			text = map[bool]string{true: "yes", false: "no"}[v]
		case float64:
			text = numberOf(name, v)
		}
		if text != "" {
			lines = append(lines, resultLine{strings.ReplaceAll(name, "_", " "), text})
		}
	}
	slices.SortFunc(lines, func(a, b resultLine) int { return strings.Compare(a.Name, b.Name) })
	return lines[:min(len(lines), maxResultLines)]
}

func numberOf(name string, v float64) string {
	switch {
	case strings.Contains(name, "bytes") || name == "added" || name == "sent" || name == "size":
		return units.Size(int64(v)).String()
	case v == float64(int64(v)):
		return units.Count(int64(v))
	}
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 4, 64), "0"), ".")
}

// jobReports are what a run of jobs said of each of them.
func jobReports(t *web.Task) (all []job.Report) {
	for _, raw := range t.Results {
		var r job.Report
		if json.Unmarshal(raw, &r) == nil && r.Event == "job" {
			all = append(all, r)
		}
	}
	return all
}

// ending is what became of a job, in words.
type ending struct {
	Name, Text, Hint string
	Bad              bool      // it failed, or lacks something
	Next             time.Time // when it may run; zero: unknown
}

// skips are reasons for which a job was not begun.
var skips = map[job.Why]string{job.WhyPause: "not run: jobs are paused", job.WhyWindow: "not run: it is outside its window", job.WhyAllowance: "not run: what may be uploaded in a month is used up",
	job.WhyNotDue: "not run: its cycle has no snapshot planned now", job.WhyServed: "not run: another firn has just run it", job.WhyHeld: "not run: another firn runs it", job.WhyShutdown: "not run: firn was told to stop"}

// stops are reasons for which a job that had begun was stopped.
var stops = map[job.Why]string{job.WhyPause: "jobs were paused", job.WhyWindow: "its window closed", job.WhyDuration: "it ran for as long as it may", job.WhyAllowance: "what may be uploaded in a month is used up",
	job.WhyLimit: "a limit was reached", job.WhyShutdown: "firn was told to stop"}

// endings say what became of the jobs of a task.
func endings(t *web.Task) (all []ending) {
	for _, r := range jobReports(t) {
		e := ending{Name: r.Job, Text: "done", Bad: r.Outcome == job.Failed || r.Outcome == job.Incomplete}
		switch r.Outcome {
		case job.Skipped:
			e.Text, e.Next = cmp.Or(r.Error, skips[r.Why], "not run"), r.Next
			if r.Why == job.WhyPause {
				e.Hint = "resume jobs on the page of what can be run, or begin it there although they are paused"
			}
		case job.Partial:
			e.Text = strings.TrimSuffix("stopped: "+stops[r.Why], ": ") + "; the next run goes on where it stood"
		case job.Incomplete:
			e.Text, e.Hint = cmp.Or(r.Error, "done, but not everything could be read"), r.Hint
		case job.Failed:
			e.Text, e.Hint = cmp.Or(r.Error, "failed"), r.Hint
		default:
			e.Text += amounts(&r)
		}
		all = append(all, e)
	}
	return all
}

// amounts says how much a job has done.
func amounts(r *job.Report) (text string) {
	if r.Files > 0 {
		text = ": " + web.Counted(r.Files, "file") + ", " + units.Size(r.Bytes).String() + ", of which " + units.Size(r.Added).String() + " were stored"
	}
	return text
}
