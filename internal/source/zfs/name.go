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
	sameDay, name := false, p.nameOf(q.dataset) // once: there may be thousands
	for _, h := range p.have {
		sameDay = sameDay || slices.ContainsFunc(h.Points, func(o source.Point) bool {
			return o.Of == name && o.ID != q.target.guid && day(o.Time) == day(to)
		})
	}
	below := strings.TrimPrefix(strings.TrimPrefix(q.dataset.name, p.dataset), "/")
	ext := ".zfs"
	switch {
	case p.sendsRaw(q.dataset):
		ext = rawExt
	case p.sendsSmall():
		ext = smallExt
	}
	return source.ChainName(path.Join(path.Base(p.dataset), below), from, to, sameDay, ext)
}

// rawExt ends the names of streams that hold a dataset encrypted as it is, which can be received only on top of what was received so.
const rawExt = ".raw.zfs"

// smallExt ends the names of streams whose large blocks were split although zfs could send them whole: nothing else can be received on top of what has whole ones.
const smallExt = ".small.zfs"

// sendsSmall reports whether streams that are not raw hold small blocks only, because the user wants it so.
func (p *plan) sendsSmall() bool { return !p.largeBlocks && p.has("send", 'L') }

// sendsRaw reports whether the streams of a dataset are raw: of what is not encrypted there are none that are.
func (p *plan) sendsRaw(d *dataset) bool {
	return d.encrypted && p.raw != "no" && p.has("send", 'w')
}

// otherwise reports whether nothing that is sent now can be received on top of a base: the stream that led there is raw and those of the dataset are not, or the other way round, or it may hold large blocks,
// which are to be split from now on. Streams that lie elsewhere nobody knows.
func (p *plan) otherwise(d *dataset, base source.Point) bool {
	for _, h := range p.have {
		for _, q := range h.Points {
			if q.ID == base.ID && q.Of == base.Of && q.Stream != "" {
				raw, small := p.sendsRaw(d), strings.HasSuffix(q.Stream, smallExt)
				return strings.HasSuffix(q.Stream, rawExt) != raw || !raw && !small && p.sendsSmall()
			}
		}
	}
	return false
}

// sortBatch puts the streams in the order of their paths.
func sortBatch(b *source.Batch) {
	slices.SortFunc(b.Streams, func(x, y source.Stream) int { return strings.Compare(x.Path, y.Path) })
	slices.SortFunc(b.Points, func(x, y source.Point) int { return strings.Compare(x.Stream, y.Stream) })
}
