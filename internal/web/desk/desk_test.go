package desk_test

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/web"
	"firn/internal/web/desk"
	"firn/internal/web/webtest"
)

// jobs is a configuration as pages see it.
type jobs struct {
	mu  sync.Mutex
	all []job.Job
	by  map[string]job.Status
}

func (f *jobs) Jobs() []job.Job {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all
}

func (f *jobs) Status(all []job.Job, _ time.Duration) (out []job.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range all {
		s := f.by[all[i].Name]
		s.Job = &all[i]
		out = append(out, s)
	}
	return out
}

func (f *jobs) Report(j *job.Job, _ *job.Record) (*job.Report, error) {
	return &job.Report{Hint: "call the fire brigade for " + j.Name}, nil
}

// set says how a job stands.
func (f *jobs) set(j job.Job, s job.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.by[j.Name]; !there {
		f.all = append(f.all, j)
	}
	f.by[j.Name] = s
}

func backup(name, path string) job.Job {
	return job.Job{Name: name, Kind: job.Backup, Repository: &config.Repository{Name: "nas", Host: "nas"}, Source: &config.Source{Name: name, Kind: "dir", Rest: path}}
}

func upkeep(kind job.Kind) job.Job {
	return job.Job{Name: string(kind), Kind: kind, Repository: &config.Repository{Name: "nas", Host: "nas"}}
}

func newWorld(t testing.TB, o webtest.Options) (*webtest.World, *jobs) {
	t.Helper()
	f := &jobs{by: map[string]job.Status{}}
	if o.Jobs == nil {
		o.Jobs = func() web.Jobs { return f }
	}
	w := webtest.New(t, o)
	desk.Add(w.Site)
	return w, f
}

// wait asks for a page until it holds a text, which comes from work beside it.
func wait(t testing.TB, w *webtest.World, path, text string) *webtest.Page {
	t.Helper()
	for range 30_000 {
		if p := w.Get(path); p.Status == 200 && p.Has(text) {
			return p
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s never says %q: %s", path, text, w.Get(path).Body)
	return nil
}

// TestOverview: every source with its state, what failed with its hint, and what all costs, once that is found out.
func TestOverview(t *testing.T) {
	w, f := newWorld(t, webtest.Options{Cold: "DEEP_ARCHIVE", Monthly: 1})
	for i, name := range []string{"photos", "mail", "alone"} {
		w.Write(name, "a.txt", strings.Repeat("x", 1000*(i+1)))
		w.Backup(name, nil)
		w.Write(name, "b.txt", strings.Repeat("y", 5000))
		w.Backup(name, nil)
	}
	now := w.Now()
	good := &job.Record{End: now.Add(-time.Hour), Outcome: job.Done, Amounts: job.Amounts{Files: 2, Bytes: 6000}}
	f.set(backup("photos", w.Dir("photos")), job.Status{State: job.OK, Success: good, Age: time.Hour, StaleTime: 36 * time.Hour, Next: now.Add(5 * time.Hour)})
	f.set(backup("mail", w.Dir("mail")), job.Status{State: job.Failing, Success: good, Last: &job.Record{End: now, Outcome: job.Failed, Error: "the disk is on fire"}, Failures: 1})
	f.set(backup("new", "/srv/new"), job.Status{State: job.Never})
	f.set(upkeep(job.Check), job.Status{State: job.OK, Success: &job.Record{End: now.Add(-48 * time.Hour)}})
	p := wait(t, w, "/", "of the budget")
	for _, text := range []string{"photos", "mail", "alone", `<span class="badge ok">ok</span>`, `<span class="badge bad">failed</span>`, `<span class="badge warn">never run</span>`, `<span class="badge off">by hand</span>`,
		"the disk is on fire", "call the fire brigade for mail", "1 to look at", "2 days ago", "USD", "class=\"spark\"", "csp"} {
		if text == "csp" {
			if p.Header.Get("Content-Security-Policy") == "" || strings.Contains(p.Body, " style=") || strings.Contains(p.Body, "onclick") {
				t.Error("inline")
			}
			continue
		}
		if !p.Has(text) && !(text == "USD" && p.Has("$")) {
			t.Errorf("%q is missing", text)
		}
	}
	if strings.Count(p.Body, `class="spark"`) != 3 || strings.Contains(p.Body, "ZgotmplZ") {
		t.Errorf("sparks: %s", p.Body)
	}
	if one, other := strings.Index(p.Body, ">mail<"), strings.Index(p.Body, ">photos<"); one < 0 || one > other && other >= 0 {
		t.Errorf("what needs a look does not come first: %d, %d", one, other)
	}
}

// TestHostileNames: names of files, jobs and errors are text, whatever stands in them.
func TestHostileNames(t *testing.T) {
	const evil = `<script>alert(1)</script>`
	w, f := newWorld(t, webtest.Options{})
	dir := "x" + strings.ReplaceAll(evil, "/", "\u2215") + "\x1b[31m\u202e"
	if runtime.GOOS == "windows" {
		t.Skip("such names do not exist there")
	}
	w.Write(dir, "a", "x")
	w.Backup(dir, nil)
	f.set(backup(evil, "/srv/"+evil), job.Status{State: job.Failing, Last: &job.Record{End: w.Now(), Outcome: job.Failed, Error: `"><img src=x onerror=alert(1)>` + "\x00\x1b"}})
	for _, path := range []string{"/", "/run"} {
		p := wait(t, w, path, "&lt;script&gt;")
		if p.Has("<script>alert") || p.Has("<img src=x") || p.Has("\x1b") || p.Has("\x00") {
			t.Errorf("%s: %s", path, p.Body)
		}
	}
}

// TestGone: a repository that goes away leaves what was known of it, and a notice; it comes back by itself.
func TestGone(t *testing.T) {
	w, _ := newWorld(t, webtest.Options{})
	w.Write("photos", "a", "x")
	w.Backup("photos", nil)
	wait(t, w, "/", "photos")
	away := filepath.Join(w.Base, "away")
	if err := os.CopyFS(away, os.DirFS(w.Repo)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(w.Repo); err != nil { // what is open follows a folder that is only renamed
		t.Fatal(err)
	}
	w.Advance(time.Hour)
	p := wait(t, w, "/", "cannot be reached")
	if !p.Has("photos", "out of reach", "what is shown of it was read") || p.Has("NaN") {
		t.Errorf("%s", p.Body)
	}
	if err := os.Rename(away, w.Repo); err != nil {
		t.Fatal(err)
	}
	for range 30_000 {
		w.Advance(time.Hour)
		if p = w.Get("/"); !p.Has("cannot be reached") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("it does not come back")
}

// TestNothing: no configuration and an empty repository; a key that opens little; a repository that was never there.
func TestNothing(t *testing.T) {
	w, _ := newWorld(t, webtest.Options{Jobs: func() web.Jobs { return nil }, Blind: true, More: []web.Place{{Name: "far", Location: "s3://far", Open: func(context.Context) (*web.Opened, error) { return nil, os.ErrNotExist }}}})
	wait(t, w, "/", "nothing is known of it yet")
	p := wait(t, w, "/", "with the key of this host alone")
	if !p.Has("There are no snapshots yet") {
		t.Errorf("%s", p.Body)
	}
	if p := w.Get("/run"); p.Status != 200 || p.Has("Pause jobs") {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := w.Get("/nothing"); p.Status != 404 || !p.Has("there is no such page") {
		t.Errorf("%d", p.Status)
	}
}

// TestTwoTabs: two pages of one browser, one of another: each sends forms; after the session is left the others' forms are refused.
func TestTwoTabs(t *testing.T) {
	w, _ := newWorld(t, webtest.Options{})
	first, second := w.Get("/run"), w.Get("/run")
	field := func(p *webtest.Page) string {
		_, rest, _ := strings.Cut(p.Body, `name="csrf" value="`)
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	if field(first) == "" || field(first) != field(second) {
		t.Error("two tabs, two fields")
	}
	other := w.NewClient()
	if field(w.GetBy(other, "/run")) == field(first) {
		t.Error("two browsers, one field")
	}
	if p := w.PostBy(other, "/run/pause", url.Values{"csrf": {field(first)}, "for": {"2h"}}); p.Status != 403 {
		t.Errorf("with another's field: %d", p.Status)
	}
	if p := w.Post("/leave", nil); p.Status != 200 || !p.Has("the session has ended") || p.Has("/run") {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := w.Get("/run"); p.Status != 401 || !p.Has("firn ui --link") {
		t.Errorf("%d", p.Status)
	}
	if p := w.GetBy(other, "/run"); p.Status != 200 {
		t.Errorf("the other browser: %d", p.Status)
	}
}

// child is what tests have in the place of firn: this program, which says what it was called with.
func TestMain(m *testing.M) {
	if os.Getenv("DESK_CHILD") != "" {
		fmt.Println(`{"event":"progress","phase":"backup","files_done":1,"files_total":2,"bytes_done":10,"bytes_total":20}`)
		var secret string
		for _, a := range os.Args[1:] {
			if a == "--passphrase-file=-" {
				secret, _ = bufio.NewReader(os.Stdin).ReadString('\n')
			}
		}
		fmt.Printf(`{"event":"result","line":%q,"secret":%d,"bytes":1048576}`+"\n", strings.Join(os.Args[1:], " "), len(strings.TrimSpace(secret)))
		if said := os.Getenv("DESK_JOB"); said != "" {
			fmt.Println(said)
			fmt.Println(`{"event":"run","jobs":{"skipped":1},"not_due":0,"missed":0,"outcome":"done"}`)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestRun: what pages begin is the line that a person would type; what deletes, what is unknown and what costs without bound is refused.
func TestRun(t *testing.T) {
	t.Setenv("DESK_CHILD", "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w, f := newWorld(t, webtest.Options{Program: []string{self}})
	w.Write("photos", "a", "x")
	s := w.Backup("photos", nil)
	wait(t, w, "/", "photos")
	f.set(backup("mail", "/srv/mail"), job.Status{State: job.Never})
	f.set(upkeep(job.Prune), job.Status{State: job.OK})
	if p := w.Get("/run"); !p.Has("firn run mail") || p.Has("firn run prune") {
		t.Errorf("%s", p.Body)
	}
	for _, c := range []struct {
		path string
		form url.Values
		want int
		line []string
	}{
		{"/run/job", url.Values{"job": {"mail"}}, 200, []string{"run -- mail"}},
		{"/run/job", url.Values{"job": {"mail"}, "force": {"1"}}, 200, []string{"run --force -- mail"}},
		{"/run/job", url.Values{"job": {"prune"}}, 403, nil},
		{"/run/job", url.Values{"job": {"*"}}, 404, nil},
		{"/run/job", url.Values{"job": {"--help"}}, 404, nil},
		{"/run/source", url.Values{"repo": {"nas"}, "source": {s.Source.ID.String()}}, 403, nil}, // of another host
		{"/run/source", url.Values{"repo": {"nas"}, "source": {"x"}}, 404, nil},
		{"/run/source", url.Values{"repo": {"x"}, "source": {"x"}}, 404, nil},
		{"/run/upkeep", url.Values{"repo": {"nas"}, "what": {"listing"}}, 200, []string{"check --listing --repo"}},
		{"/run/upkeep", url.Values{"repo": {"nas"}, "what": {"check"}}, 200, []string{"check --repo"}},
		{"/run/upkeep", url.Values{"repo": {"nas"}, "what": {"drill"}, "most": {"1.5"}}, 200, []string{"drill --yes --max-cost=1.5 --repo"}},
		{"/run/upkeep", url.Values{"repo": {"nas"}, "what": {"drill"}, "most": {"1e9"}}, 400, nil},
		{"/run/upkeep", url.Values{"repo": {"nas"}, "what": {"drill"}, "most": {"NaN"}}, 400, nil},
		{"/run/upkeep", url.Values{"repo": {"nas"}, "what": {"prune"}}, 400, nil},
		{"/run/pause", url.Values{"for": {"2h"}}, 200, []string{"pause 2h"}},
		{"/run/pause", url.Values{"for": {""}}, 200, []string{"pause"}},
		{"/run/pause", url.Values{"for": {"--help"}}, 400, nil},
		{"/run/pause", url.Values{"do": {"resume"}}, 200, []string{"resume"}},
	} {
		p := w.Post(c.path, c.form)
		if p.Status != c.want {
			t.Errorf("%s %v: %d, want %d: %s", c.path, c.form, p.Status, c.want, p.Body)
			continue
		}
		if c.want != 200 {
			continue
		}
		if !strings.HasPrefix(p.URL.Path, "/tasks/") {
			t.Errorf("led to %v", p.URL)
			continue
		}
		done := wait(t, w, p.URL.Path, `<span class="badge ok">done</span>`)
		for _, text := range c.line {
			if !done.Has(text, "1.00 MiB") {
				t.Errorf("%v: %q is missing in %s", c.form, text, done.Body)
			}
		}
		if done.Has(webtest.Phrase) {
			t.Error("the passphrase is shown")
		}
	}
	if p := w.Get("/tasks/ffff"); p.Status != 404 {
		t.Errorf("%d", p.Status)
	}
	if p := w.Get("/run"); !p.Has("What was begun from here", "pause jobs for 2 h") {
		t.Errorf("%s", p.Body)
	}
}

// TestJobEnded: what became of a job is told in words, with its own error and hint.
func TestJobEnded(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DESK_CHILD", "1")
	for _, c := range []struct {
		said string
		want []string
	}{
		{`"outcome":"skipped","why":"paused","next":"2026-11-20T18:30:00Z"`, []string{"not run: jobs are paused, until", "18:30", "resume jobs"}},
		{`"outcome":"skipped","why":"held","error":"it is being run by process 17"`, []string{"it is being run by process 17"}},
		{`"outcome":"partial","why":"window"`, []string{"stopped: its window closed; the next run goes on"}},
		{`"outcome":"failed","error":"the disk is on fire","hint":"call the fire brigade"`, []string{"the disk is on fire", "call the fire brigade", "notice error"}},
		{`"outcome":"done","files":3,"bytes":1048576,"added":1024`, []string{"done: 3 files, 1.00 MiB, of which 1.00 KiB were stored"}},
	} {
		w, f := newWorld(t, webtest.Options{Program: []string{self}})
		f.set(backup("mail", "/srv/mail"), job.Status{State: job.Never})
		t.Setenv("DESK_JOB", `{"event":"job","version":1,"job":"mail","kind":"backup",`+c.said+`}`)
		p := w.Post("/run/job", url.Values{"job": {"mail"}})
		if p := wait(t, w, p.URL.Path, ">Ended<"); !p.Has(c.want...) || p.Has("What it said") {
			t.Errorf("%s: %s", c.said, p.Body)
		}
	}
}

// TestEvents: a browser hears that something has changed.
func TestEvents(t *testing.T) {
	w, f := newWorld(t, webtest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	res := w.Stream(ctx, "/events")
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != ": here" || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%q", lines.Text())
	}
	f.set(backup("mail", "/srv/mail"), job.Status{State: job.Failing, Last: &job.Record{End: w.Now(), Error: "x"}})
	for lines.Scan() {
		if lines.Text() == "event: change" {
			return
		}
	}
	t.Error("nothing was heard")
}
