package desk

import (
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"time"

	"firn/internal/job"
	"firn/internal/web"
)

// How often it is looked whether something has changed, and how long a browser may take for an event.
const (
	lookApart = 4 * time.Second
	beatApart = 5 // looks without a change, after which a browser hears that somebody is there
	eventLate = 30 * time.Second
)

// events tells browsers that the overview, or the page of what runs, would say something else by now: server-sent events "change" without content. Nothing is asked of any store for that.
func (d *desk) events(w http.ResponseWriter, r *http.Request) error {
	if err := web.Long(w, r); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	send := func(text string) bool {
		_ = out.SetWriteDeadline(time.Now().Add(eventLate)) // where that cannot be set, the server's own holds
		_, err := io.WriteString(w, text)
		return err == nil && out.Flush() == nil
	}
	last, quiet := d.signature(), 0
	if !send(": here\n\n") {
		return nil
	}
	look := time.NewTicker(lookApart)
	defer look.Stop()
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-d.site.Closed():
			return nil
		case <-look.C:
		}
		now := d.signature()
		text := ""
		if quiet++; quiet >= beatApart {
			text = ": still here\n\n"
		}
		if now != last {
			text = "event: change\ndata: \n\n"
		}
		if text != "" {
			quiet = 0
			if !send(text) {
				return nil
			}
		}
		last = now
	}
}

// signature is a number that changes with what the pages say. A backup that has ended has its repository read anew.
func (d *desk) signature() uint64 {
	h := fnv.New64a()
	for _, a := range d.site.Archives() {
		st := a.Known()
		d.mu.Lock()
		b := d.books[a]
		d.mu.Unlock()
		fmt.Fprintln(h, a.Place().Name, st.At.UnixNano(), st.Err != nil)
		if b != nil {
			fmt.Fprintln(h, b.turn())
		}
	}
	for _, t := range d.site.Tasks.List() {
		fmt.Fprintln(h, t.ID, t.Outcome(), t.BytesDone>>24, t.FilesDone>>6, t.Phase)
	}
	jobs := d.jobs()
	if jobs == nil {
		return h.Sum64()
	}
	ended := map[string]time.Time{}
	for _, s := range jobs.Status(jobs.Jobs(), 0) {
		fmt.Fprintln(h, s.Job.Name, s.State, s.Pause != nil)
		if s.Last != nil && s.Job.Kind == job.Backup {
			ended[s.Job.Repository.Name] = later(ended[s.Job.Repository.Name], s.Last.End)
		}
		if s.Last != nil {
			fmt.Fprintln(h, s.Last.End.UnixNano())
		}
	}
	for _, a := range d.site.Archives() {
		if st := a.Known(); !st.At.IsZero() && st.Err == nil && ended[a.Place().Name].After(st.At) {
			a.Expire()
			a.Glance()
		}
	}
	return h.Sum64()
}
