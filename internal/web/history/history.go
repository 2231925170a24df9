// Package history is the pages about time and money: a year of snapshots and why each is kept (calendar), what is stored and what it costs (cost), and what would be freed by deleting (frees).
//
//	GET  /r/{repo}/calendar ?year= &source= &day= &page=
//	GET  /r/{repo}/cost     ?source= &provider= &in= &class=
//	POST /r/{repo}/cost/count                                     lists the store, which costs what the page says before
//	GET  /r/{repo}/frees    ?source= &snapshot=
//
// All that a page shows follows from which snapshots there are, and is worked out once for each state of a repository: with 100,000 snapshots that takes a moment, and no time afterwards. Looking reads hot objects only: snapshots,
// indexes and, for what would be freed, pack sets. The store is listed only when somebody asks for it.
package history

import (
	"context"
	"embed"
	"html/template"
	"sync"
	"time"

	"firn/internal/advice"
	"firn/internal/job"
	"firn/internal/snapshot"
	"firn/internal/web"
)

//go:embed *.html
var files embed.FS

var (
	calendarPage = web.Template(files, "calendar.html")
	costPage     = web.Template(files, "cost.html")
	freesPage    = web.Template(files, "frees.html")
)

// Add registers the pages.
func Add(s *web.Site) {
	p := &pages{site: s, books: map[*web.Archive]*book{}}
	s.Handle("GET /r/{repo}/calendar", p.calendar)
	s.Handle("GET /r/{repo}/cost", p.cost)
	s.Handle("POST /r/{repo}/cost/count", p.count)
	s.Handle("GET /r/{repo}/frees", p.frees)
}

// pages is what the pages share.
type pages struct {
	site *web.Site

	mu    sync.Mutex // guards books
	books map[*web.Archive]*book
}

// book is what was found out about one repository. Its members guard themselves.
type book struct {
	stamp   memo[uint64] // of the snapshots; its key is when they were read
	years   memo[*years]
	flow    memo[*flow]
	stock   memo[*stock]
	sharing memo[*sharing]

	mu      sync.Mutex // guards counted
	counted *counted
}

func (p *pages) book(a *web.Archive) *book {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.books[a]
	if b == nil {
		b = &book{}
		p.books[a] = b
	}
	return b
}

// idle is after how long what nobody looks at is let go.
const idle = 5 * time.Minute

// memo is a value that is worked out once for a key, and kept for as long as somebody looks.
type memo[T any] struct {
	mu    sync.Mutex // guards all below, held for moments
	busy  chan struct{}
	have  bool
	key   uint64
	value T
	timer *time.Timer
}

// get returns the value for a key, or has it worked out: by one at a time, who others wait for. Where that fails, the next one tries again.
func (m *memo[T]) get(ctx context.Context, key uint64, fn func() (T, error)) (T, error) {
	for {
		m.mu.Lock()
		if m.have && m.key == key {
			defer m.mu.Unlock()
			m.timer.Reset(idle)
			return m.value, nil
		}
		busy := m.busy
		if busy == nil {
			busy = make(chan struct{})
			m.busy = busy
			m.mu.Unlock()
			return m.fill(key, fn)
		}
		m.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
	}
}

func (m *memo[T]) fill(key uint64, fn func() (T, error)) (value T, err error) {
	done := false
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if close(m.busy); done && err == nil {
			m.have, m.key, m.value = true, key, value
			if m.timer == nil {
				m.timer = time.AfterFunc(idle, m.drop)
			}
			m.timer.Reset(idle)
		}
		m.busy = nil
	}()
	value, err = fn()
	done = true // it has not panicked
	return value, err
}

// drop lets go of the value.
func (m *memo[T]) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var none T
	m.have, m.value = false, none
}

// known is what the pages go by: the state of a repository, and a number that changes with its snapshots.
type known struct {
	web.State
	stamp uint64
	book  *book
}

// know asks for the state of a repository, and tells on the page where it is not what it should be.
func (p *pages) know(ctx context.Context, a *web.Archive) (*known, []web.Notice, error) {
	st, err := a.State(ctx)
	if err != nil {
		return nil, nil, err
	}
	k := &known{State: st, book: p.book(a)}
	k.stamp, err = k.book.stamp.get(ctx, uint64(st.At.UnixNano()), func() (uint64, error) { return stampOf(st.Items), nil })
	if err != nil {
		return nil, nil, err
	}
	return k, p.notices(&st), nil
}

// notices tells where the state of a repository is not what it should be.
func (p *pages) notices(st *web.State) (notices []web.Notice) {
	if st.Err != nil {
		notices = append(notices, web.Notice{Level: "warning", Text: "the repository cannot be reached now, this is how it stood at " + st.At.In(p.zone()).Format(timeFormat) + ": " + st.Err.Error(), Hint: advice.Hint(st.Err)})
	}
	if n := len(st.Damaged); n > 0 {
		notices = append(notices, web.Notice{Level: "warning", Text: web.Counted(int64(n), "object") + " that say which snapshots there are cannot be read, the first: " + st.Damaged[0].Error(), Hint: "firn check --level list tells all; figures here are without what they say"})
	}
	return notices
}

// stampOf is a number that changes with the snapshots and how they stand.
func stampOf(items []snapshot.Item) uint64 {
	sum := uint64(len(items))
	for i := range items {
		it := &items[i]
		x := uint64(14695981039346656037)
		for _, b := range it.ID {
			x = (x ^ uint64(b)) * 1099511628211
		}
		x = (x ^ uint64(it.Status())) * 1099511628211
		x = (x ^ uint64(it.Stored.Unix())) * 1099511628211
		sum += x ^ x>>31
	}
	return sum
}

func (p *pages) zone() *time.Location { return p.site.Options().Location }

const timeFormat = "2006-01-02 15:04"

// moment is a time on a page.
type moment struct{ Exact, Shown string }

func (p *pages) moment(t time.Time, format string) moment {
	if t.IsZero() {
		return moment{}
	}
	return moment{t.UTC().Format(time.RFC3339), t.In(p.zone()).Format(format)}
}

// command is the line by which a person would ask for the same.
func command(a *web.Archive, args ...string) string {
	return job.Typed(append(append([]string{"firn"}, args...), a.Place().Flags...))
}

// picture makes an SVG part of a page. Package plot escapes what it is given.
func picture(svg []byte) template.HTML { return template.HTML(svg) }

// nameOf is how people call a source, shown as a path is.
func nameOf(o snapshot.Origin) string {
	name := web.ShownPath([]byte(advice.SourceName(o)))
	if o.Kind != "" && o.Kind != "dir" {
		return o.Kind + ": " + name
	}
	return name
}
