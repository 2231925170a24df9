package history

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"firn/internal/plot"
	"firn/internal/snapshot"
	"firn/internal/web"
)

// flow is what backups have sent, as the snapshots that are still there say.
type flow struct {
	all     *stream
	streams []*stream // by source, what stored most first
	hidden  int       // snapshots that do not count: forgotten, or made again by another one
	undone  int       // partial ones and those without a mark, which count
	future  int       // snapshots from the future, by the clock of whoever looks
}

// stream is that of one source, or of all.
type stream struct {
	ID         snapshot.Source
	Name, Host string
	Class      string // in which its newest content ends up; empty: as the repository says
	Count      int
	Size       int64       // of the newest that is done
	sum        amounts     // of all
	first      time.Time   // of its snapshots
	last       time.Time   //
	last90     int64       // bytes stored in the 90 days before now, but for the first backup
	at         []float64   // of each snapshot
	stored     []float64   // bytes stored up to it
	when       []time.Time // of each
	each       []amounts
}

// amounts are sums over backups.
type amounts struct {
	Backups int64
	Read    int64
	Added   int64 // of what was read, content that was not known
	Stored  int64 // after compression
}

func (a *amounts) add(st *snapshot.Stats) {
	a.Backups, a.Read, a.Added, a.Stored = a.Backups+1, plus(a.Read, st.BytesRead), plus(a.Added, st.BytesAdded), plus(a.Stored, st.BytesStored)
}

// plus adds what snapshots claim: nothing that is negative, and never beyond what a number holds.
func plus(sum, n int64) int64 {
	if n <= 0 {
		return sum
	}
	if sum > math.MaxInt64-n {
		return math.MaxInt64
	}
	return sum + n
}

// Known is what was read and known already.
func (a *amounts) Known() int64 { return max(0, a.Read-a.Added) }

// Squeezed is what compression took away.
func (a *amounts) Squeezed() int64 { return max(0, a.Added-a.Stored) }

// recent is how long what is called the present growth goes back.
const recent = 90 * 24 * time.Hour

func (p *pages) flow(ctx context.Context, k *known) (*flow, error) {
	return k.book.flow.get(ctx, k.stamp^hour(k.At), func() (*flow, error) { return newFlow(k.Items, k.At), nil })
}

func newFlow(items []snapshot.Item, now time.Time) *flow {
	f := &flow{all: &stream{Name: "all sources"}}
	voided := snapshot.Voided(items)
	of := map[snapshot.Source]*stream{}
	order := slices.Clone(items)
	slices.SortStableFunc(order, func(a, b snapshot.Item) int { return a.Start.Compare(b.Start) })
	for i := range order {
		it := &order[i]
		if _, gone := voided[it.ID]; gone || it.Status() == snapshot.IsForgotten {
			f.hidden++
			continue
		}
		if it.Status() != snapshot.IsDone {
			f.undone++
		}
		if it.Start.After(now.Add(time.Hour)) {
			f.future++
		}
		s := of[it.Source.ID]
		if s == nil {
			s = &stream{ID: it.Source.ID}
			of[it.Source.ID] = s
			f.streams = append(f.streams, s)
		}
		s.Name, s.Host = nameOf(it.Source), it.Host
		s.take(it, now)
		f.all.take(it, now)
	}
	f.all.last90, f.all.Size = 0, 0
	for _, s := range f.streams {
		f.all.last90 = plus(f.all.last90, s.last90)
		f.all.Size = plus(f.all.Size, s.Size)
	}
	slices.SortStableFunc(f.streams, func(a, b *stream) int {
		return cmp.Or(cmp.Compare(b.sum.Stored, a.sum.Stored), strings.Compare(a.Name, b.Name), slices.Compare(a.ID[:], b.ID[:]))
	})
	return f
}

func (s *stream) take(it *snapshot.Item, now time.Time) {
	st := &it.Stats
	if s.Count > 0 && !it.Start.Before(now.Add(-recent)) && !it.Start.After(now) {
		s.last90 = plus(s.last90, st.BytesStored)
	}
	if s.Count == 0 {
		s.first = it.Start
	}
	s.Count++
	s.last = it.Start
	if it.Status() == snapshot.IsDone {
		s.Size = max(0, st.Bytes)
		if s.Class = it.Storage.Then; s.Class == "" {
			s.Class = it.Storage.Class
		}
	}
	s.sum.add(st)
	s.at, s.stored = append(s.at, plot.At(it.Start)), append(s.stored, float64(s.sum.Stored))
	a := amounts{}
	a.add(st)
	s.when, s.each = append(s.when, it.Start), append(s.each, a)
}

// daily is how much a source grows a day, over the last 90 days or since it began.
func (s *stream) daily(now time.Time) float64 {
	span := min(now.Sub(s.first), recent)
	if s.Count < 2 || span <= 0 {
		return 0
	}
	return float64(s.last90) / math.Max(1, span.Hours()/24)
}

// period is a stretch of time that a column stands for.
type period struct {
	start time.Time
	sum   amounts
}

// byPeriod adds backups up by days, weeks or months, whatever makes no more than about fifty of them; later ones are left out past 200 years.
func (s *stream) byPeriod(loc *time.Location) (word string, all []period) {
	if s.Count == 0 {
		return "day", nil
	}
	first, last := s.when[0].In(loc), s.when[len(s.when)-1].In(loc)
	span := last.Sub(first)
	word, next := "month", func(t time.Time) time.Time { return time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, loc) }
	start := time.Date(first.Year(), first.Month(), 1, 0, 0, 0, 0, loc)
	switch {
	case span <= 45*24*time.Hour:
		word, next = "day", func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, loc) }
		start = time.Date(first.Year(), first.Month(), first.Day(), 0, 0, 0, 0, loc)
	case span <= 330*24*time.Hour:
		word, next = "week", func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day()+7, 0, 0, 0, 0, loc) }
		start = time.Date(first.Year(), first.Month(), first.Day()-(int(first.Weekday())+6)%7, 0, 0, 0, 0, loc)
	case span > 8*366*24*time.Hour:
		word, next = "year", func(t time.Time) time.Time { return time.Date(t.Year()+1, 1, 1, 0, 0, 0, 0, loc) }
		start = time.Date(first.Year(), 1, 1, 0, 0, 0, 0, loc)
	}
	i := 0
	for t := start; i < len(s.when) && len(all) < 400; {
		end := next(t)
		if !end.After(t) {
			break
		}
		p := period{start: t}
		for ; i < len(s.when) && s.when[i].Before(end); i++ {
			e := s.each[i]
			p.sum.Backups, p.sum.Read, p.sum.Added, p.sum.Stored = p.sum.Backups+e.Backups, plus(p.sum.Read, e.Read), plus(p.sum.Added, e.Added), plus(p.sum.Stored, e.Stored)
		}
		all = append(all, p)
		t = end
	}
	return word, all
}

// wide is the width of pictures, in their units.
const wide = 960

// mostAreas is how many sources have an area of their own; the others share one.
const mostAreas = 8

// until has a series go on to a time: what was stored last is there still.
func until(s plot.Series, now time.Time) plot.Series {
	if n := len(s.X); n > 0 && s.X[n-1] < plot.At(now) {
		s.X, s.Y = append(slices.Clip(s.X), plot.At(now)), append(slices.Clip(s.Y), s.Y[n-1])
	}
	return s
}

// areas is what is stored over time, by source.
func (f *flow) areas(loc *time.Location, only *stream, now time.Time) *plot.Plot {
	pl := &plot.Plot{Sheet: plot.Sheet{ID: "stored", Width: wide, Title: "Stored over time, by source", Desc: "what the snapshots that are still there have added to the repository, after deduplication and compression"},
		X: plot.Axis{Time: loc}, Y: plot.Axis{Label: "stored", Unit: plot.Bytes()}}
	if only != nil {
		pl.Series = []plot.Series{until(plot.Series{Name: only.Name, Shape: plot.Area, X: only.at, Y: only.stored}, now)}
		return pl
	}
	rest := &stream{}
	for i, s := range f.streams {
		if i < mostAreas || len(f.streams) == mostAreas+1 {
			pl.Series = append(pl.Series, until(plot.Series{Name: s.Name, Shape: plot.Area, Color: i, X: s.at, Y: s.stored}, now))
			continue
		}
		rest.at, rest.when, rest.each = append(rest.at, s.at...), append(rest.when, s.when...), append(rest.each, s.each...)
	}
	if len(rest.at) > 0 {
		order := make([]int, len(rest.at))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return rest.when[a].Compare(rest.when[b]) })
		series := plot.Series{Name: web.Counted(int64(len(f.streams)-mostAreas), "other source"), Shape: plot.Area, Color: mostAreas}
		sum := int64(0)
		for _, i := range order {
			sum = plus(sum, rest.each[i].Stored)
			series.X, series.Y = append(series.X, rest.at[i]), append(series.Y, float64(sum))
		}
		pl.Series = append(pl.Series, until(series, now))
	}
	return pl
}

// columns is what backups read, by what became of it.
func columns(word string, all []period) *plot.Columns {
	c := &plot.Columns{Sheet: plot.Sheet{ID: "sent", Width: wide, Title: "What backups read, by " + word, Desc: "what was stored, what compression took away, and what was known already and not stored again"},
		Label: word + " that begins then", Y: plot.Axis{Label: "read", Unit: plot.Bytes()}}
	stored, squeezed, known := plot.Part{Name: "stored", Color: 0}, plot.Part{Name: "compressed away", Color: 2}, plot.Part{Name: "known already", Color: 7}
	for i := range all {
		p := &all[i]
		slot := plot.Slot{Label: p.start.Format("Jan"), Under: p.start.Format("2006"), Title: p.start.Format("2006-01-02") + ", " + web.Counted(p.sum.Backups, "backup")}
		switch word {
		case "day", "week":
			slot.Label = p.start.Format("2 Jan")
		case "year":
			slot.Label, slot.Under = p.start.Format("2006"), ""
		}
		c.Slots = append(c.Slots, slot)
		stored.Values, squeezed.Values, known.Values = append(stored.Values, float64(p.sum.Stored)), append(squeezed.Values, float64(p.sum.Squeezed())), append(known.Values, float64(p.sum.Known()))
	}
	c.Parts = []plot.Part{stored, squeezed, known}
	return c
}
