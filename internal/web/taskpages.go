package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"firn/internal/job"
	"firn/internal/web/gate"
)

// Times of a stream of events.
const (
	eventsApart = 250 * time.Millisecond // at least
	heartbeat   = 15 * time.Second       // so that who has gone is noticed, and those between keep the connection
	eventLate   = 30 * time.Second       // for a browser to take one
)

// register registers what is asked about tasks by scripts and forms of several pages.
//
//	GET  /tasks/{id}/events   server-sent events: "task" with how it stands as JSON, at every change, and "end" with the last one
//	POST /tasks/{id}/stop     tells it to stop, then leads to the address in the field next
func (t *Tasks) register(s *Site) {
	s.Handle("GET /tasks/{id}/events", t.events)
	s.Handle("POST /tasks/{id}/stop", func(w http.ResponseWriter, r *http.Request) error {
		id := r.PathValue("id")
		if t.Get(id) == nil {
			return errNoTask
		}
		t.Stop(id)
		http.Redirect(w, r, LocalAddress(r.PostFormValue("next"), "/tasks/"+id), http.StatusSeeOther)
		return nil
	})
}

var errNoTask = &StatusError{Code: http.StatusNotFound, Text: "there is no such task any more", Hint: "what ended is remembered for a while only, and until firn ui ends"}

// LocalAddress is an address of these pages that came with a request; fallback where it leads elsewhere, or nowhere.
func LocalAddress(address, fallback string) string {
	if local := gate.Local(address); local != "/" || address == "/" {
		return local
	}
	return fallback
}

// Long prepares an answer that takes long: neither the time for asking nor that for answering bounds it. It fails where too many are under way.
func Long(w http.ResponseWriter, r *http.Request) error {
	if !gate.Long(w, r) {
		w.Header().Set("Retry-After", "10")
		return &StatusError{Code: http.StatusServiceUnavailable, Text: "too many downloads and pages that follow what happens", Hint: "close some of them"}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // else it would end the request's context
	return nil
}

// taskJSON is what events say.
type taskJSON struct {
	ID         string        `json:"id"`
	Title      string        `json:"title"`
	Kind       string        `json:"kind"`
	Outcome    string        `json:"outcome"`
	Phase      string        `json:"phase"`
	Seconds    float64       `json:"seconds"`
	Left       float64       `json:"left,omitempty"` // seconds, guessed
	FilesDone  int64         `json:"files_done"`
	FilesTotal int64         `json:"files_total"`
	BytesDone  int64         `json:"bytes_done"`
	BytesTotal int64         `json:"bytes_total"`
	BytesSent  int64         `json:"bytes_sent"`
	BytesGot   int64         `json:"bytes_got"`
	Current    string        `json:"current,omitempty"`
	Troubles   int64         `json:"troubles"`
	Problems   []job.Problem `json:"problems,omitempty"` // the last few
	Note       string        `json:"note,omitempty"`     // the last one
	Thaw       *Thaw         `json:"thaw,omitempty"`
	Error      string        `json:"error,omitempty"`
	Hint       string        `json:"hint,omitempty"`
}

func (t *Task) json(now time.Time) taskJSON {
	end := now
	if !t.Ended.IsZero() {
		end = t.Ended
	}
	j := taskJSON{ID: t.ID, Title: t.Spec.Title, Kind: t.Spec.Kind, Outcome: t.Outcome(), Phase: t.Phase, Seconds: float64(end.Sub(t.Begun).Milliseconds()) / 1000, Left: t.Left(now).Seconds(),
		FilesDone: t.FilesDone, FilesTotal: t.FilesTotal, BytesDone: t.BytesDone, BytesTotal: t.BytesTotal, BytesSent: t.BytesSent, BytesGot: t.BytesGot, Current: t.Current,
		Troubles: t.Troubles, Problems: t.Problems[max(len(t.Problems)-5, 0):], Thaw: t.Thaw, Error: t.Error, Hint: t.Hint}
	if n := len(t.Notes); n > 0 {
		j.Note = t.Notes[n-1]
	}
	return j
}

// events streams how a task stands until it ends, the browser leaves, or the site closes.
func (t *Tasks) events(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	k, changed := t.Watch(id)
	if k == nil {
		return errNoTask
	}
	if err := Long(w, r); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	send := func(format string, args ...any) bool {
		_ = out.SetWriteDeadline(time.Now().Add(eventLate)) // where that cannot be set, the server's own holds
		_, err := fmt.Fprintf(w, format, args...)
		return err == nil && out.Flush() == nil
	}
	for {
		raw, err := json.Marshal(k.json(t.o.Now()))
		if err != nil || !send("event: task\ndata: %s\n\n", raw) {
			return nil
		}
		if !k.Ended.IsZero() {
			send("event: end\ndata: %s\n\n", raw)
			return nil
		}
		if !t.await(r.Context(), changed, func() bool { return send(": still here\n\n") }) {
			return nil
		}
		if k, changed = t.Watch(id); k == nil {
			return nil
		}
	}
}

// await waits for a change, and lets some time pass between two of them; false: nobody waits any more.
func (t *Tasks) await(ctx context.Context, changed <-chan struct{}, beat func() bool) bool {
	pause := time.NewTimer(eventsApart)
	defer pause.Stop()
	beats := time.NewTicker(heartbeat)
	defer beats.Stop()
	for rested := false; ; {
		on := changed
		if !rested {
			on = nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-t.closed:
			return false
		case <-pause.C:
			rested = true
		case <-on:
			return true
		case <-beats.C:
			if !beat() {
				return false
			}
		}
	}
}
