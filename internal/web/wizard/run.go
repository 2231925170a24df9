package wizard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"firn/internal/web"
)

// once names the task of a record.
func once(id string) string { return "restore " + id }

// running returns the task of a record whose end has not been written down; nil: there is none.
func (z *wizard) running(id string) *web.Task {
	for _, t := range z.site.Tasks.List() {
		if t.Ended.IsZero() && t.Spec.Once == once(id) {
			return &t
		}
	}
	z.activeMu.Lock()
	defer z.activeMu.Unlock()
	if t := z.site.Tasks.Get(z.active[id]); t != nil {
		t.Ended, t.Code = time.Time{}, 0 // in a moment it will have
		return t
	}
	return nil
}

// stand is how a record stands, which may have been read a while ago.
func (z *wizard) stand(rec *record) *shownRecord {
	t := z.running(rec.ID)
	if t == nil && rec.State == stateBegun { // it may have ended meanwhile
		if now, err := z.book.get(rec.ID); err == nil {
			rec = now
		}
	}
	return &shownRecord{rec, t}
}

// step is what a record needs next.
type step int

const (
	stepThaw step = iota
	stepRestore
	stepDownload // by whom it is for
)

func (r *record) step() step {
	switch {
	case r.Thaws && !r.Thawed:
		return stepThaw
	case r.To == toDownload:
		return stepDownload
	}
	return stepRestore
}

// args is the command line of a step, without what leads to the repository. It is the same whenever it is asked for, so that it goes on.
func (z *wizard) args(r *record, s step) []string {
	verb := "restore"
	if s == stepThaw {
		verb = "thaw"
	}
	a := []string{verb, r.Snapshot}
	switch {
	case s == stepDownload:
		a = append(a, "--tar=-")
	case s == stepRestore && r.To == toTar:
		a = append(a, "--tar="+string(r.Target))
	case s == stepRestore:
		a = append(a, "--target="+string(r.Target), "--overwrite="+r.Overwrite)
	}
	if r.Paths > 0 {
		a = append(a, "--files-from="+z.book.path(r.ID, ".list"), "--from0")
	}
	if s == stepThaw || r.To == toFolder {
		for _, f := range [][2]string{{"tier", r.Tier}, {"route", r.Route}, {"max-cost", r.MaxCost}} {
			if f[1] != "" {
				a = append(a, "--"+f[0]+"="+f[1])
			}
		}
		a = append(a, "--yes")
	}
	return a
}

func (z *wizard) spec(a *web.Place, r *record, s step) web.Spec {
	title := map[step]string{stepThaw: "thaw " + r.What(), stepRestore: "restore " + r.What() + " into " + r.Where(), stepDownload: "download " + r.What()}[s]
	return web.Spec{Title: title, Kind: map[step]string{stepThaw: "thaw", stepRestore: "restore", stepDownload: "download"}[s], Place: a, Args: z.args(r, s), Secret: true, Once: once(r.ID)}
}

// start begins the next step of a record. A download is begun by whom it is for.
func (z *wizard) start(ctx context.Context, p *web.Place, id string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.running(id) != nil {
		return nil
	}
	r, err := z.book.change(id, func(r *record) {
		r.State, r.Error, r.Hint, r.Ended = stateBegun, "", "", time.Time{}
		if r.step() == stepDownload {
			r.State = stateReady
		}
	})
	if err != nil || r.State == stateReady {
		return err
	}
	s := r.step()
	spec := z.spec(p, r, s)
	spec.Ended = func(t web.Task) { z.ended(p, id, s, &t) }
	z.activeMu.Lock() // so that what ends at once finds itself there
	t, err := z.site.Tasks.Start(ctx, spec)
	if err == nil {
		z.active[id] = t.ID
	}
	z.activeMu.Unlock()
	if err == nil {
		return nil
	}
	hint := "go on once something else has ended"
	if !errors.As(err, new(*web.BusyError)) {
		hint = ""
	}
	if _, e := z.book.change(id, func(r *record) { r.State, r.Error, r.Hint, r.Ended = stateStopped, err.Error(), hint, z.now() }); e != nil {
		return errors.Join(err, e)
	}
	return nil
}

func (z *wizard) now() time.Time { return z.site.Options().Now() }

// ended writes down how a step ended, and goes on with the next one.
func (z *wizard) ended(p *web.Place, id string, s step, t *web.Task) {
	r, err := z.book.change(id, func(r *record) { r.note(s, t) })
	z.activeMu.Lock()
	delete(z.active, id)
	z.activeMu.Unlock()
	if err != nil {
		if !errors.Is(err, errNoRecord) {
			z.book.tell("restore %s: how it ended is not remembered: %v", id, err)
		}
		return
	}
	if s == stepThaw && r.Thawed && r.To == toTar {
		if err := z.start(context.Background(), p, id); err != nil {
			z.book.tell("restore %s: %v", id, err)
		}
	}
}

// note takes over how a step ended.
func (r *record) note(s step, t *web.Task) {
	r.State = map[string]string{"done": stateDone, "partly": statePartly, "stopped": stateStopped}[t.Outcome()]
	if r.State == "" {
		r.State = stateFailed
	}
	r.Ended, r.Error, r.Hint = t.Ended, t.Error, t.Hint
	r.Trouble, r.Failed, r.Notes = t.Troubles, t.Problems[:min(len(t.Problems), maxNamed)], t.Notes[max(len(t.Notes)-20, 0):]
	if res := resultOf(t); res != nil {
		r.Result = res
	}
	if s == stepThaw && (r.State == stateDone || r.State == statePartly) {
		r.Thawed, r.State = true, stateReady
		if r.Result == nil {
			r.Error, r.Hint = "", ""
		}
	}
	if s == stepDownload && r.State != stateDone && r.State != stateStopped {
		r.State = stateFailed
	}
}

// resultOf reads what a child says that it did; nil: it did not say.
func resultOf(t *web.Task) *result {
	for _, raw := range t.Results {
		var o struct {
			Event string `json:"event"`
			result
			Cost *struct {
				Total float64 `json:"total"`
			} `json:"cost"`
			Thaw *struct {
				Status *struct {
					Spent float64 `json:"spent"`
				} `json:"status"`
			} `json:"thaw"`
		}
		if json.Unmarshal(raw, &o) != nil || o.Event != "result" {
			continue
		}
		if o.Cost != nil {
			o.Spent = o.Cost.Total
		}
		if o.Thaw != nil && o.Thaw.Status != nil {
			o.Spent = o.Thaw.Status.Spent
		}
		return &o.result
	}
	return nil
}

// stall is how long a browser may take nothing of a download, as where somebody has paused it.
const stall = 10 * time.Minute

// download passes the tar of a child on.
func (z *wizard) download(w http.ResponseWriter, r *http.Request, a *web.Archive) error {
	rec, err := z.mine(r, a)
	if err != nil {
		return err
	}
	if rec.step() != stepDownload {
		return refused(http.StatusConflict, "have it thawed first", "it cannot be downloaded yet")
	}
	if z.running(rec.ID) != nil {
		return refused(http.StatusConflict, "stop that one first, or wait for it", "this is being downloaded already")
	}
	if err := web.Long(w, r); err != nil {
		return err
	}
	out := &tarAnswer{w: w, name: archiveName(rec), control: http.NewResponseController(w)}
	over := make(chan struct{})
	defer close(over)
	go func() { // who takes nothing must not keep the pages from being closed
		select {
		case <-z.site.Tasks.Closed():
			_ = out.control.SetWriteDeadline(time.Now())
		case <-over:
		}
	}()
	t, err := z.site.Tasks.Stream(r.Context(), z.spec(a.Place(), rec, stepDownload), out)
	if err != nil {
		return err
	}
	if _, err := z.book.change(rec.ID, func(rec *record) { rec.note(stepDownload, &t) }); err != nil {
		z.book.tell("restore %s: %v", rec.ID, err)
	}
	switch {
	case t.Code == 0:
		return nil
	case out.begun:
		panic(http.ErrAbortHandler) // the browser must not take what it has for all
	}
	text, hint := t.Error, t.Hint
	if text == "" {
		text = "the download was stopped"
	}
	return refused(http.StatusBadGateway, hint, "%s", text)
}

// tarAnswer writes the head of an answer with the first bytes of an archive, so that an error before them can still be a page.
type tarAnswer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	name    string
	begun   bool
}

func (t *tarAnswer) Write(b []byte) (int, error) {
	if !t.begun && len(b) > 0 {
		t.begun = true
		h := t.w.Header()
		h.Set("Content-Type", "application/x-tar")
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": t.name}))
		h.Set("X-Content-Type-Options", "nosniff")
	}
	_ = t.control.SetWriteDeadline(time.Now().Add(stall))
	n, err := t.w.Write(b)
	if err == nil {
		err = t.control.Flush()
	}
	return n, err
}

// archiveName is what a download is called: of plain letters, since browsers differ in the rest.
func archiveName(r *record) string {
	last := r.Source[strings.LastIndexAny(r.Source, `/\`)+1:]
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.", c) {
			return c
		}
		return '_'
	}, last)
	name = strings.TrimLeft(name, ".")
	return fmt.Sprintf("%s-%s.tar", name[:min(len(name), 60)], r.Taken.UTC().Format("2006-01-02"))
}
