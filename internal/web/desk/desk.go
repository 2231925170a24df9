// Package desk is the pages about how all stands, and what can be begun: the overview, and running backups, checks and drills.
//
// What the overview shows of jobs is what this machine remembers of them (job.Status), and of repositories what was last read of them: a page never waits for a store. What is old is read anew beside it, and browsers are told when it has
// changed (GET /events). Costs come from indexes, which lie on this machine for the most part, and not from listing a bucket.
//
// What is begun runs as a child of firn (web.Tasks), whose line the page shows. Nothing that deletes can be begun from here.
package desk

import (
	"embed"
	"html/template"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"firn/internal/web"
)

//go:embed *.html
var files embed.FS

// desk is what these pages share.
type desk struct {
	site *web.Site

	overviewPage, runPage, taskPage *template.Template

	mu    sync.Mutex
	books map[*web.Archive]*book // what was found out of each repository
}

// Add registers the pages.
func Add(s *web.Site) {
	d := &desk{site: s, books: map[*web.Archive]*book{},
		overviewPage: web.Template(files, "overview.html", "parts.html"), runPage: web.Template(files, "run.html", "parts.html"), taskPage: web.Template(files, "task.html", "parts.html")}
	s.Handle("GET /{$}", d.overview)
	s.Handle("GET /events", d.events)
	s.Handle("GET /run", d.run)
	s.Handle("POST /run/job", d.runJob)
	s.Handle("POST /run/source", d.runSource)
	s.Handle("POST /run/upkeep", d.runUpkeep)
	s.Handle("POST /run/pause", d.pause)
	s.Handle("GET /tasks/{id}", d.task)
}

// overview shows how all stands.
func (d *desk) overview(w http.ResponseWriter, r *http.Request) error {
	p := d.gather(r.Context())
	f := web.Frame{Title: "Overview", Section: "overview", Notices: p.Notices, Refresh: time.Minute}
	if p.Reading {
		f.Refresh = 3 * time.Second
	}
	return d.site.Render(w, r, f, d.overviewPage, p)
}

// host is how snapshots of this machine are called, as far as that is known.
func (d *desk) host() string {
	if name := d.site.Options().Host; name != "" {
		return name
	}
	name, _ := os.Hostname() // without a name it has none
	return name
}

// tell notes a problem that no page shows.
func (d *desk) tell(format string, args ...any) {
	if log := d.site.Options().Log; log != nil {
		log(format, args...)
	}
}

// tasks returns what runs and what ended, at most a few of these.
func (d *desk) tasks() (running, ended []web.Task) {
	all := d.site.Tasks.List()
	at := slices.IndexFunc(all, func(t web.Task) bool { return !t.Ended.IsZero() })
	if at < 0 {
		at = len(all)
	}
	return all[:at], all[at:min(len(all), at+20)]
}
