package zfs

import (
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"firn/internal/source"
)

// defaultPattern is how snapshots are called where the user does not say.
const defaultPattern = "firn-%Y%m%d-%H%M%S"

// errLetters is why a pattern makes no name.
var errLetters = errors.New("names have only letters, digits, : . - and _")

// expand makes the name of a snapshot.
func expand(pattern string, t time.Time) (string, error) {
	name, err := source.Moment(pattern, t)
	if err == nil && !validComponent(name) {
		err = errLetters
	}
	return name, err
}

// streamName is how a stream is called, by the last part of the name of what is backed up, with what lies below it in folders.
func (p *plan) streamName(q part) string {
	zone := p.host.Now().Location()
	to, day := q.target.creation.In(zone), func(t time.Time) string { return t.In(zone).Format(time.DateOnly) }
	var from time.Time
	if q.from != nil {
		from = q.from.creation.In(zone)
	}
	sameDay := false
	for _, h := range p.have {
		sameDay = sameDay || slices.ContainsFunc(h.Points, func(o source.Point) bool {
			return o.Of == p.nameOf(q.dataset) && o.ID != q.target.guid && day(o.Time) == day(to)
		})
	}
	below := strings.TrimPrefix(strings.TrimPrefix(q.dataset.name, p.dataset), "/")
	return source.ChainName(path.Join(path.Base(p.dataset), below), from, to, sameDay, ".zfs")
}

// sortBatch puts the streams in the order of their paths.
func sortBatch(b *source.Batch) {
	slices.SortFunc(b.Streams, func(x, y source.Stream) int { return strings.Compare(x.Path, y.Path) })
	slices.SortFunc(b.Points, func(x, y source.Point) int { return strings.Compare(x.Stream, y.Stream) })
}
