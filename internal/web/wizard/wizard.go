// Package wizard is the pages of the way back: a basket of files and folders, its plan with price and time, the restore itself, and what was restored.
//
// # The way
//
//	basket (of a session, about one snapshot) → plan (packs, bytes, requests, tiers, routes, room at the target) → the price is confirmed → a child of firn restores → result
//
// A basket lives in this process, for the browser session that has filled it; how many there are and how much is in them is bounded. The plan is made in this process by what the command plans with. What is confirmed becomes a
// record: a small file in StateDir/restores, with the list of paths beside it, both readable by this user alone. From then on only the record counts: its command line names snapshot, list, target and tier, and carries the
// amount that was confirmed as --max-cost, so that nothing is spent that nobody has seen. Started again, the same line goes on where it stopped and pays for nothing twice; so it does after the pages were killed.
//
// # Into the browser
//
// A download is the tar of a child, passed on as it comes. Where the child fails, or what it reads is damaged, the connection is broken, so that the browser shows a failed download and not a short file that looks whole. What lies in a
// cold class is thawed first, by a child of its own; the copies stay for days, so that a download can be repeated.
//
// # Safety
//
// A target is an absolute, clean path outside of the repository. Nothing there is replaced unless that was chosen. Nothing is ever deleted.
package wizard

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"firn/internal/web"
)

//go:embed *.html
var files embed.FS

// wizard is the pages with what they remember.
type wizard struct {
	site    *web.Site
	baskets *baskets
	book    *book

	mu sync.Mutex // keeps two browsers from starting one record at once

	activeMu sync.Mutex
	active   map[string]string // id of a record → that of its task, until its end is written down

	restore, plan, record *template.Template
}

// Add registers the pages:
//
//	GET  /r/{repo}/restore                  baskets of the session, and restores of this repository
//	POST /r/{repo}/restore/basket           fields snapshot, path (web.EncodePath; repeated; empty: everything), next
//	POST /r/{repo}/restore/remove           fields snapshot, path (repeated), or all
//	GET  /r/{repo}/restore/plan             snapshot, to (folder, tar, download), target, overwrite
//	POST /r/{repo}/restore/go               what the plan showed, and the amount that was confirmed
//	GET  /r/{repo}/restore/{id}             how a restore stands
//	POST /r/{repo}/restore/{id}/on          goes on, with a higher limit where one is given
//	POST /r/{repo}/restore/{id}/stop
//	POST /r/{repo}/restore/{id}/forget      drops the record, and nothing else
//	POST /r/{repo}/restore/{id}/download
func Add(s *web.Site) {
	z := &wizard{site: s, active: map[string]string{}, baskets: newBaskets(), book: newBook(s),
		restore: page("restore.html"), plan: page("plan.html"), record: page("record.html")}
	for pattern, fn := range map[string]func(http.ResponseWriter, *http.Request, *web.Archive) error{
		"GET /r/{repo}/restore":                z.showBaskets,
		"POST /r/{repo}/restore/basket":        z.fill,
		"POST /r/{repo}/restore/remove":        z.empty,
		"GET /r/{repo}/restore/plan":           z.showPlan,
		"POST /r/{repo}/restore/go":            z.goes,
		"GET /r/{repo}/restore/{id}":           z.showRecord,
		"POST /r/{repo}/restore/{id}/on":       z.goesOn,
		"POST /r/{repo}/restore/{id}/stop":     z.stop,
		"POST /r/{repo}/restore/{id}/forget":   z.forget,
		"POST /r/{repo}/restore/{id}/download": z.download,
	} {
		s.Handle(pattern, func(w http.ResponseWriter, r *http.Request) error {
			a, err := s.Archive(r)
			if err != nil {
				return err
			}
			return fn(w, r, a)
		})
	}
}

// newBook opens the records, or keeps them for this process alone.
func newBook(s *web.Site) *book {
	b := &book{log: s.Options().Log}
	if dir := s.Options().StateDir; dir != "" {
		b.dir = filepath.Join(dir, "restores")
		return b
	}
	dir, err := os.MkdirTemp("", "firn-ui-")
	if err != nil {
		b.broken = fmt.Errorf("there is no place to remember restores in: %w", err)
		return b
	}
	b.dir = dir
	s.Go(func(ctx context.Context) {
		<-ctx.Done()
		_ = os.RemoveAll(dir) // else it goes with the system's other temporary files
	})
	return b
}

// refused is an error for the status that says that something was wrong with what was asked for.
func refused(code int, hint, format string, args ...any) error {
	return &web.StatusError{Code: code, Text: fmt.Sprintf(format, args...), Hint: hint}
}
