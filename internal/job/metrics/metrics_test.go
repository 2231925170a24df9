package metrics

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/schedule"
)

// view is of a job that has run, one that never did, one that is stale and paused, and one that is off.
func view() *View {
	at := time.Date(2026, 11, 20, 2, 30, 0, 0, time.UTC)
	repo := &config.Repository{Name: `odd "name"`}
	of := func(name string, kind job.Kind) *job.Job { return &job.Job{Name: name, Kind: kind, Repository: repo} }
	run := &job.Record{Start: at, End: at.Add(90*time.Second + 500*time.Millisecond), Outcome: job.Done, Amounts: job.Amounts{Files: 12, Bytes: 3_000_000_000, Added: 1000, Sent: 1100}}
	failed := &job.Record{Start: at, End: at.Add(time.Second), Outcome: job.Failed, Error: "secret /home/x"}
	broken := true
	off := of("off", job.Backup)
	off.Off = true
	return &View{Version: "1.2", Paused: true, Broken: &broken, Months: []Month{{"a", 5, 0}, {"b", 6, 7}}, Statuses: []job.Status{
		{Job: of("photos", job.Backup), State: job.OK, Success: run, Last: run, Age: time.Hour, StaleTime: 36 * time.Hour, Next: at.Add(24 * time.Hour)},
		{Job: of("never\nrun", job.Backup), State: job.Never},
		{Job: of("prune", job.Prune), State: job.Stale, Success: run, Last: failed, Age: 40 * time.Hour, StaleTime: 36 * time.Hour, Failures: 2, Misses: 3},
		{Job: off, State: job.Off, Last: run},
	}}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := view().Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		`firn_build_info{goversion="` + runtime.Version() + `",version="1.2"} 1`,
		`firn_job_last_success_timestamp_seconds{job="photos",kind="backup",repository="odd \"name\""} 1.7951418905e+09`,
		`firn_job_last_duration_seconds{job="photos",kind="backup",repository="odd \"name\""} 90.5`,
		`firn_job_last_outcome{job="photos",kind="backup",outcome="done",repository="odd \"name\""} 1`,
		`firn_job_last_outcome{job="prune",kind="prune",outcome="failed",repository="odd \"name\""} 1`,
		`firn_job_last_outcome{job="prune",kind="prune",outcome="done",repository="odd \"name\""} 0`,
		`firn_job_source_bytes{job="photos",kind="backup",repository="odd \"name\""} 3e+09`,
		`firn_job_stale{job="prune",kind="prune",repository="odd \"name\""} 1`,
		`firn_job_stale{job="photos",kind="backup",repository="odd \"name\""} 0`,
		`firn_job_missed_runs{job="prune",kind="prune",repository="odd \"name\""} 3`,
		`firn_job_running{job="never\nrun",kind="backup",repository="odd \"name\""} 0`,
		`firn_repository_month_sent_bytes{repository="a"} 5`,
		`firn_repository_month_allowance_bytes{repository="b"} 7`,
		"firn_paused 1", "firn_config_valid 0",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	for _, never := range []string{"secret", `job="off"`, `allowance_bytes{repository="a"}`, `last_success_timestamp_seconds{job="never`, `source_bytes{job="prune"`, `next_run_timestamp_seconds{job="prune"`} {
		if strings.Contains(text, never) {
			t.Errorf("%s is told", never)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil || len(families) < 15 {
		t.Errorf("%d families, %v", len(families), err)
	}
}

// TestLint holds names and help to the conventions of Prometheus.
func TestLint(t *testing.T) {
	var b bytes.Buffer
	if err := view().Write(&b); err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(&b).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "firn.prom")
	for range 2 { // the second time over the first
		if err := view().WriteFile(path); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(raw, []byte("firn_job_stale")) {
		t.Errorf("%v: %s", err, raw)
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if found, err := os.ReadDir(dir); err != nil || len(found) != 1 {
		t.Errorf("%d files are left, %v", len(found), err)
	}
	if err := view().WriteFile(filepath.Join(dir, "none", "firn.prom")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "folder", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := view().WriteFile(filepath.Join(dir, "folder")); err == nil {
		t.Error("a folder was replaced")
	}
	if found, err := os.ReadDir(dir); err != nil || len(found) != 2 {
		t.Errorf("%d files are left, %v", len(found), err)
	}
}

// TestOf reads what a runner remembers: nothing yet.
func TestOf(t *testing.T) {
	s, err := schedule.Parse("daily 02:30")
	if err != nil {
		t.Fatal(err)
	}
	repo := &config.Repository{Name: "default", Location: "/r", UploadPerMonth: 100}
	cfg := &config.Config{Repositories: []*config.Repository{repo}, Sources: []*config.Source{{Name: "a", Repository: "default", Kind: "dir", Rest: "/a", Timing: config.Timing{Schedule: s}}}}
	v := Of("x", job.New(job.Options{Config: cfg, Dir: t.TempDir(), Host: "h"}))
	if len(v.Statuses) != 1 || len(v.Months) != 1 || v.Months[0] != (Month{"default", 0, 100}) {
		t.Errorf("%+v", v)
	}
	if err := v.Write(&bytes.Buffer{}); err != nil {
		t.Error(err)
	}
}
