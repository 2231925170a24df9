package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"firn/internal/event"
	"firn/internal/units"
)

// sprintf is fmt.Sprintf.
func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// listener shows the events of a verb: a progress line on a terminal, lines of their own for what matters, JSON where that is wanted.
type listener struct {
	c        *console
	mu       sync.Mutex
	started  time.Time
	spoken   time.Time
	problems int64
	rate     meter
	last     string // told about a thaw job
}

// reportEvery is how often progress is told with -v where there is no terminal.
const reportEvery = 10 * time.Second

// listen returns a listener for one run of a verb.
func (c *console) listen() *listener {
	now := c.now()
	return &listener{c: c, started: now, spoken: now}
}

// report is for events outside of a verb: notes and decisions.
func (c *console) report() event.Func { return c.listen().hear }

// hear takes one event.
func (l *listener) hear(e event.Event) {
	c := l.c
	switch e := e.(type) {
	case event.Progress:
		l.progress(e)
	case event.Thaw:
		l.thawed(thawProgress{e.Objects, e.Thawing, e.Ready, e.Fetched, e.ETA, e.Spent})
	case event.Problem:
		l.mu.Lock()
		l.problems++
		l.mu.Unlock()
		c.warn("%q: %v", e.Path, e.Err)
		c.emit(map[string]any{"event": "problem", "path": e.Path, "error": e.Err.Error()})
	case event.Note:
		c.note("%s", e.Text)
		c.emit(map[string]any{"event": "note", "text": e.Text})
	case event.Decision:
		c.explain("%s", e.Text)
	}
}

// emit prints an object in the middle of a run, if the user asked for events.
func (c *console) emit(v any) {
	if c.json == "events" {
		_ = c.object(v) // maps of strings and numbers always marshal; errors of writing are kept by the console
	}
}

func (l *listener) progress(p event.Progress) {
	c := l.c
	l.mu.Lock()
	defer l.mu.Unlock()
	now := c.now()
	rate := l.rate.add(now, p.BytesDone)
	if c.json == "events" {
		c.emit(map[string]any{"event": "progress", "phase": p.Phase, "seconds": seconds(now.Sub(l.started)), "files_done": p.FilesDone, "files_total": p.FilesTotal,
			"bytes_done": p.BytesDone, "bytes_total": p.BytesTotal, "bytes_sent": p.BytesSent, "bytes_got": p.BytesGot, "problems": l.problems})
	}
	if c.live && p.Phase != "thaw" { // of which thawed tells more
		c.status(l.render(p, rate, now))
	} else if c.verbose && !c.quiet && now.Sub(l.spoken) >= reportEvery {
		l.spoken = now
		c.say("note", l.render(p, rate, now))
	}
}

// thawProgress is how a thaw job stands.
type thawProgress struct {
	objects, thawing, ready, fetched int64
	eta                              time.Time
	spent                            float64
}

// thawed shows how a thaw job stands: a line on a terminal, now and then one elsewhere.
func (l *listener) thawed(p thawProgress) {
	c := l.c
	l.mu.Lock()
	defer l.mu.Unlock()
	now := c.now()
	if c.json == "events" {
		o := map[string]any{"event": "thawing", "objects": p.objects, "thawing": p.thawing, "ready": p.ready, "fetched": p.fetched, "spent": p.spent}
		if !p.eta.IsZero() {
			o["eta"] = p.eta.UTC().Format(time.RFC3339)
		}
		c.emit(o)
	}
	text := fmt.Sprintf("thaw: %s of %s here, %s thawed, %s being thawed", units.Count(p.fetched), units.Count(p.objects), units.Count(p.ready), units.Count(p.thawing))
	if !p.eta.IsZero() && p.eta.After(now) {
		text += ", all by " + p.eta.Local().Format(timeFormat)
	}
	switch {
	case c.live:
		c.status(text)
	case !c.quiet && text != l.last && now.Sub(l.spoken) >= thawEvery:
		l.spoken, l.last = now, text
		c.say("note", text)
	}
}

// thawEvery is how often the state of a thaw job is told where there is no terminal.
const thawEvery = time.Minute

// render is the line that people see.
func (l *listener) render(p event.Progress, rate float64, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s files", p.Phase, units.Count(p.FilesDone))
	if p.FilesTotal > p.FilesDone {
		fmt.Fprintf(&b, " of %s", units.Count(p.FilesTotal))
	}
	fmt.Fprintf(&b, ", %v", units.Size(p.BytesDone))
	if p.BytesTotal > p.BytesDone {
		fmt.Fprintf(&b, " of %v (%d %%)", units.Size(p.BytesTotal), 100*p.BytesDone/p.BytesTotal)
	}
	if rate > 0 {
		fmt.Fprintf(&b, ", %v/s", units.Size(rate))
	}
	if p.BytesSent > 0 {
		fmt.Fprintf(&b, ", sent %v", units.Size(p.BytesSent))
	}
	if p.BytesGot > 0 {
		fmt.Fprintf(&b, ", got %v", units.Size(p.BytesGot))
	}
	if l.problems > 0 {
		fmt.Fprintf(&b, ", %d problems", l.problems)
	}
	elapsed := now.Sub(l.started)
	fmt.Fprintf(&b, ", %s", duration(elapsed))
	if left := eta(p, elapsed); left > 0 {
		fmt.Fprintf(&b, ", about %s left", duration(left))
	}
	return b.String()
}

// counted is a number of things, of which there may be one.
func counted(n int64, what string) string {
	switch stem, y := strings.CutSuffix(what, "y"); {
	case n == 1:
	case y && what != "day":
		what = stem + "ies"
	default:
		what += "s"
	}
	return units.Count(n) + " " + what
}

// eta guesses how long it still takes, from the totals; 0: unknown.
func eta(p event.Progress, elapsed time.Duration) time.Duration {
	if p.BytesTotal <= p.BytesDone || p.BytesDone <= 0 || elapsed < 2*time.Second {
		return 0
	}
	left := float64(elapsed) * float64(p.BytesTotal-p.BytesDone) / float64(p.BytesDone)
	if left > float64(30*24*time.Hour) {
		return 0
	}
	return time.Duration(left).Round(time.Second)
}

// meter averages a rate over the last seconds.
type meter struct {
	samples []sample
}

type sample struct {
	at    time.Time
	bytes int64
}

const meterSpan = 5 * time.Second

// add notes a count and returns bytes a second.
func (m *meter) add(at time.Time, bytes int64) float64 {
	m.samples = append(m.samples, sample{at, bytes})
	for len(m.samples) > 2 && at.Sub(m.samples[0].at) > meterSpan {
		m.samples = m.samples[1:]
	}
	first := m.samples[0]
	if span := at.Sub(first.at).Seconds(); span > 0.1 {
		return float64(bytes-first.bytes) / span
	}
	return 0
}

// duration is a stretch of time for people.
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// seconds is a stretch of time for programs, to the millisecond.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// retrying returns what tells of calls to the store that are repeated: not each of them, since many may fail at once.
func (c *console) retrying() func(op, name string, err error, wait time.Duration) {
	var mu sync.Mutex
	var spoken time.Time
	return func(_, _ string, err error, wait time.Duration) {
		mu.Lock()
		due := c.debug || c.now().Sub(spoken) >= reportEvery
		if due {
			spoken = c.now()
		}
		mu.Unlock()
		if due {
			c.note("%v; trying again in %s", err, duration(wait))
		}
	}
}
