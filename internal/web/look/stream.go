package look

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"firn/internal/web"
)

// stream is a page whose rows are sent as they are found. The template of the page has an empty <tbody id="hits"> for them, and behind it an empty <div id="end"> for what is known when all are there.
type stream struct {
	w       http.ResponseWriter
	flush   func()
	t       *template.Template
	middle  []byte // between rows and end
	tail    []byte
	flushed time.Time
	buf     bytes.Buffer
	Rows    int
}

// sheet takes a rendered page.
type sheet struct {
	header http.Header
	body   bytes.Buffer
}

func (s *sheet) Header() http.Header         { return s.header }
func (s *sheet) Write(b []byte) (int, error) { return s.body.Write(b) }
func (s *sheet) WriteHeader(int)             {}

// Marks in templates.
const (
	rowsMark = `id="hits">`
	endMark  = `id="end">`
)

// flushEvery is how often rows are sent that have been written.
const flushEvery = 200 * time.Millisecond

// begin sends the page as far as its rows.
func (x *room) begin(w http.ResponseWriter, r *http.Request, f web.Frame, t *template.Template, data any) (*stream, error) {
	page := &sheet{header: http.Header{}}
	if err := x.s.Render(page, r, f, t, data); err != nil {
		return nil, err
	}
	head, rest, ok := bytes.Cut(page.body.Bytes(), []byte(rowsMark))
	middle, tail, end := bytes.Cut(rest, []byte(endMark))
	if !ok || !end {
		return nil, fmt.Errorf("page %q has no place for rows", f.Title)
	}
	s := &stream{w: w, t: t, middle: append(middle, endMark...), tail: tail, flush: func() { _ = http.NewResponseController(w).Flush() }}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // of servers in between
	if f.Status != 0 {
		w.WriteHeader(f.Status)
	}
	_, _ = w.Write(append(head, rowsMark...))
	s.flush()
	return s, nil
}

// row sends one, by the template of that name. It fails where nobody is there any more.
func (s *stream) row(name string, data any) error {
	s.buf.Reset()
	if err := s.t.ExecuteTemplate(&s.buf, name, data); err != nil {
		return err
	}
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return err
	}
	s.Rows++
	if now := time.Now(); now.Sub(s.flushed) > flushEvery {
		s.flushed = now
		s.flush()
	}
	return nil
}

// end sends the rest of the page.
func (s *stream) end(name string, data any) error {
	_, _ = s.w.Write(s.middle)
	if err := s.t.ExecuteTemplate(s.w, name, data); err != nil {
		return err
	}
	_, err := s.w.Write(s.tail)
	return err
}
