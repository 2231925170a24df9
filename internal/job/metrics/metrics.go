// Package metrics says what jobs did, as Prometheus reads it: from what the machine remembers of them, at the moment when somebody asks. Nothing is counted in between, so the numbers outlive the process, and
// those of a page and of a file are the same.
//
// # Metrics
//
// All of jobs have the labels job, kind (backup, transition, prune, check, drill, copy) and repository. Jobs that are switched off have none.
//
//	firn_build_info                              version and goversion are labels; always 1
//	firn_job_last_success_timestamp_seconds      when the last good run ended; absent: none is known
//	firn_job_last_run_timestamp_seconds          when the last run ended, however it did
//	firn_job_last_duration_seconds               how long it took
//	firn_job_last_outcome                        1 for its outcome: done, incomplete, partial or failed (label outcome), 0 for the others
//	firn_job_last_added_bytes                    what it stored
//	firn_job_last_sent_bytes                     what it sent to the store
//	firn_job_source_bytes, firn_job_source_files what the source had then
//	firn_job_next_run_timestamp_seconds          when it is due; absent: not by itself
//	firn_job_stale                               1 where the last success is older than it may be
//	firn_job_stale_after_seconds                 how old it may be; absent: any age
//	firn_job_running                             1 while it runs
//	firn_job_failures                            runs in succession that failed, up to the last
//	firn_job_missed_runs                         runs since the last success that should have been
//	firn_repository_month_sent_bytes             what this machine has sent to a repository (label repository) in this calendar month
//	firn_repository_month_allowance_bytes        what it may send; absent: any number
//	firn_paused                                  1 while jobs are paused
//	firn_config_valid                            0 where the configuration was changed and what it says now is refused (only from whoever reads it again)
package metrics

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"firn/internal/job"
)

// View is what metrics are made of.
type View struct {
	Version  string
	Statuses []job.Status
	Months   []Month
	Paused   bool
	Broken   *bool // the configuration is refused; nil: nobody looks
}

// Month is what was sent to a repository in this calendar month, in bytes.
type Month struct {
	Repository    string
	Sent, Allowed int64 // Allowed 0: any number
}

// Of makes a view of all jobs of a runner.
func Of(version string, r *job.Runner) *View {
	v := &View{Version: version, Statuses: r.Status(r.Jobs(), 0)}
	seen := map[string]bool{}
	for i := range v.Statuses {
		s := &v.Statuses[i]
		v.Paused = v.Paused || s.Pause != nil
		to := s.Job.Repository
		if s.Job.To != nil {
			to = s.Job.To
		}
		if s.Job.Kind != job.Backup && s.Job.Kind != job.Copy || seen[to.Name] {
			continue
		}
		seen[to.Name] = true
		v.Months = append(v.Months, Month{to.Name, r.Sent(s.Job), int64(to.UploadPerMonth)})
	}
	slices.SortFunc(v.Months, func(a, b Month) int { return cmp.Compare(a.Repository, b.Repository) })
	return v
}

// Write writes the metrics in the text format.
func (v *View) Write(w io.Writer) error {
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(collector{v}); err != nil {
		return err
	}
	families, err := reg.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return err
		}
	}
	return nil
}

// ContentType is that of what Write writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// WriteFile writes the metrics to a file for the textfile collector of node_exporter: under another name first, in the same folder, so that nobody reads half of it.
func (v *View) WriteFile(path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // the collector reads names in .prom only
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = fmt.Errorf("metrics: %w", err)
		}
	}()
	if err := v.Write(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil && runtime.GOOS != "windows" {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// collector tells of a view.
type collector struct{ v *View }

// desc is a metric of jobs.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("firn_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector: which metrics there are hangs on the jobs.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(desc("build_info", "Version of firn and of Go, as labels; the value is always 1.", "version", "goversion"), 1, c.v.Version, runtime.Version())
	gauge(desc("paused", "Whether all jobs of this machine are paused."), flag(c.v.Paused))
	if c.v.Broken != nil {
		gauge(desc("config_valid", "Whether the configuration, as it stands in its files now, is the one in use."), flag(!*c.v.Broken))
	}
	sent := desc("repository_month_sent_bytes", "Bytes that this machine has sent to the repository in this calendar month.", "repository")
	allowed := desc("repository_month_allowance_bytes", "Bytes that this machine may send to the repository in a calendar month.", "repository")
	for _, m := range c.v.Months {
		gauge(sent, float64(m.Sent), m.Repository)
		if m.Allowed > 0 {
			gauge(allowed, float64(m.Allowed), m.Repository)
		}
	}
	for _, m := range jobMetrics() {
		d := desc(m.name, m.help, "job", "kind", "repository")
		for i := range c.v.Statuses {
			s := &c.v.Statuses[i]
			if value, ok := m.of(s); ok && !s.Job.Off {
				gauge(d, value, s.Job.Name, string(s.Job.Kind), s.Job.Repository.Name)
			}
		}
	}
	outcome := desc("job_last_outcome", "How the last run of the job ended: 1 for its outcome.", "job", "kind", "repository", "outcome")
	for i := range c.v.Statuses {
		s := &c.v.Statuses[i]
		if s.Last == nil || s.Job.Off {
			continue
		}
		for _, o := range []job.Outcome{job.Done, job.Incomplete, job.Partial, job.Failed} {
			gauge(outcome, flag(s.Last.Outcome == o), s.Job.Name, string(s.Job.Kind), s.Job.Repository.Name, string(o))
		}
	}
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// jobMetric is a metric that a job has one value of, or none.
type jobMetric struct {
	name, help string
	of         func(s *job.Status) (float64, bool)
}

// seconds is a time as Prometheus has it.
func seconds(t time.Time) (float64, bool) { return float64(t.UnixMilli()) / 1000, !t.IsZero() }

// ofLast is a number of the last run.
func ofLast(fn func(r *job.Record) float64) func(s *job.Status) (float64, bool) {
	return func(s *job.Status) (float64, bool) {
		if s.Last == nil {
			return 0, false
		}
		return fn(s.Last), true
	}
}

// ofSuccess is a number of the last good run.
func ofSuccess(fn func(r *job.Record) float64) func(s *job.Status) (float64, bool) {
	return func(s *job.Status) (float64, bool) {
		if s.Success == nil || s.Job.Kind != job.Backup {
			return 0, false
		}
		return fn(s.Success), true
	}
}

// stale reports whether the last success is too old.
func stale(s *job.Status) bool {
	return s.State == job.Stale || s.Old()
}

func jobMetrics() []jobMetric {
	return []jobMetric{
		{"job_last_success_timestamp_seconds", "Unix time at which the last good run of the job ended.", func(s *job.Status) (float64, bool) {
			if s.Success == nil {
				return 0, false
			}
			return seconds(s.Success.End)
		}},
		{"job_last_run_timestamp_seconds", "Unix time at which the last run of the job ended, however it did.", func(s *job.Status) (float64, bool) {
			if s.Last == nil {
				return 0, false
			}
			return seconds(s.Last.End)
		}},
		{"job_last_duration_seconds", "How long the last run of the job took.", ofLast(func(r *job.Record) float64 { return max(r.End.Sub(r.Start), 0).Seconds() })},
		{"job_last_added_bytes", "Bytes that the last run of the job stored.", ofLast(func(r *job.Record) float64 { return float64(r.Added) })},
		{"job_last_sent_bytes", "Bytes that the last run of the job sent to the store.", ofLast(func(r *job.Record) float64 { return float64(r.Sent) })},
		{"job_source_bytes", "Bytes that the source had at the last good backup.", ofSuccess(func(r *job.Record) float64 { return float64(r.Bytes) })},
		{"job_source_files", "Files that the source had at the last good backup.", ofSuccess(func(r *job.Record) float64 { return float64(r.Files) })},
		{"job_next_run_timestamp_seconds", "Unix time at which the job is due.", func(s *job.Status) (float64, bool) { return seconds(s.Next) }},
		{"job_stale", "Whether the last good run of the job is older than it may be.", func(s *job.Status) (float64, bool) { return flag(stale(s)), true }},
		{"job_stale_after_seconds", "How old the last good run of the job may be.", func(s *job.Status) (float64, bool) { return s.StaleTime.Seconds(), s.StaleTime > 0 }},
		{"job_running", "Whether the job runs.", func(s *job.Status) (float64, bool) { return flag(s.State == job.Running), true }},
		{"job_failures", "Runs of the job in succession that failed, up to the last one.", func(s *job.Status) (float64, bool) { return float64(s.Failures), true }},
		{"job_missed_runs", "Runs of the job since the last good one that should have been and were not.", func(s *job.Status) (float64, bool) { return float64(s.Misses), true }},
	}
}
