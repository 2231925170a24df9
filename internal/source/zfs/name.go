package zfs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/source"
)

// defaultPattern is how snapshots are called where the user does not say.
const defaultPattern = "firn-%Y%m%d-%H%M%S"

// Reasons why a pattern is none.
var (
	errEmpty   = errors.New("it is empty")
	errLong    = errors.New("names have at most 120 bytes")
	errLetters = errors.New("names are made of letters, digits and _ - . :")
)

// expand makes a name from a pattern: %Y, %m, %d, %H, %M, %S, %y, %j, %F, %T, %s, %u, %G, %V and %% as date(1) has them, in the zone of t.
func expand(pattern string, t time.Time) (string, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' {
			b.WriteByte(pattern[i])
			continue
		}
		i++
		if i == len(pattern) {
			return "", errors.New("it ends with a lone %")
		}
		text, ok := field(pattern[i], t)
		if !ok {
			return "", fmt.Errorf("%q means nothing here", pattern[i-1:i+1])
		}
		b.WriteString(text)
	}
	name := b.String()
	switch {
	case name == "":
		return "", errEmpty
	case len(name) > 120:
		return "", errLong
	case !validComponent(name):
		return "", errLetters
	}
	return name, nil
}

// field is one word of a pattern.
func field(c byte, t time.Time) (string, bool) {
	year, week := t.ISOWeek()
	switch c {
	case 'Y':
		return t.Format("2006"), true
	case 'y':
		return t.Format("06"), true
	case 'm':
		return t.Format("01"), true
	case 'd':
		return t.Format("02"), true
	case 'H':
		return t.Format("15"), true
	case 'M':
		return t.Format("04"), true
	case 'S':
		return t.Format("05"), true
	case 'j':
		return t.Format("002"), true
	case 'F':
		return t.Format(time.DateOnly), true
	case 'T':
		return t.Format(time.TimeOnly), true
	case 's':
		return strconv.FormatInt(t.Unix(), 10), true
	case 'u':
		return strconv.Itoa((int(t.Weekday())+6)%7 + 1), true
	case 'G':
		return fmt.Sprintf("%04d", year), true
	case 'V':
		return fmt.Sprintf("%02d", week), true
	}
	return "", false
}

// streamName is how a stream is called: DATASET-TYYYYMMDD.zfs where it is full, DATASET-FYYYYMMDD-TYYYYMMDD.zfs where it starts from another state; DATASET is the last part of the name
// of what is backed up, with what lies below it in folders. Where days do not tell states apart, times of day are added.
func (p *plan) streamName(q part) string {
	name := path.Join(path.Base(p.dataset), strings.TrimPrefix(strings.TrimPrefix(q.dataset.name, p.dataset), "/"))
	zone := p.host.Now().Location()
	layout, to := "20060102", q.target.creation.In(zone)
	sameDay := func(t time.Time) bool { return t.In(zone).Format(layout) == to.Format(layout) }
	close := q.from != nil && sameDay(q.from.creation)
	for _, h := range p.have {
		close = close || slices.ContainsFunc(h.Points, func(o source.Point) bool {
			return o.Of == p.nameOf(q.dataset) && o.ID != q.target.guid && sameDay(o.Time)
		})
	}
	if close {
		layout = "20060102-150405"
	}
	if q.from != nil {
		name += "-F" + q.from.creation.In(zone).Format(layout)
	}
	return name + "-T" + to.Format(layout) + ".zfs"
}

// days is a time span in days.
func days(d time.Duration) string { return fmt.Sprintf("%d days", int(d.Hours()+12)/24) }

// age is a time span for people.
func age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return "a moment"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return days(d)
}

// sortBatch puts the streams in the order of their paths.
func sortBatch(b *source.Batch) {
	slices.SortFunc(b.Streams, func(x, y source.Stream) int { return strings.Compare(x.Path, y.Path) })
	slices.SortFunc(b.Points, func(x, y source.Point) int { return strings.Compare(x.Stream, y.Stream) })
}
