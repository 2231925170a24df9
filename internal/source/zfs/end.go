package zfs

import (
	"context"
	"errors"
	"strings"

	"firn/internal/source"
)

// keepBookmarks is how many bookmarks of ours a dataset keeps: they cost next to nothing, and each is a state that an increment can start from.
const keepBookmarks = 20

// end implements Batch.End. A run that failed leaves everything as it is, for the next one; one that only pretended leaves nothing.
func (p *plan) end(ctx context.Context, done bool) error {
	var errs []error
	if !done {
		for _, q := range p.parts {
			if p.host.Pretend && p.taken && q.target.source == p.holder {
				errs = append(errs, p.remove(ctx, q.target, true))
			}
		}
		return errors.Join(errs...)
	}
	errs = append(errs, p.markStored(ctx))
	for _, q := range p.parts {
		marked, err := p.bookmark(ctx, q)
		errs = append(errs, err, p.letGo(ctx, q, marked), p.dropBookmarks(ctx, q.dataset))
	}
	return errors.Join(errs...)
}

// markStored notes on our snapshots that the repository has them.
func (p *plan) markStored(ctx context.Context) error {
	var names []string
	for _, q := range p.parts {
		if q.target.source == p.holder {
			names = append(names, q.target.full())
		}
	}
	return each(names, func(names []string) error {
		return p.run(ctx, names[0], append([]string{"set", propStored + "=yes"}, names...)...)
	})
}

// bookmark leaves a bookmark beside what was stored, and reports whether there is one.
func (p *plan) bookmark(ctx context.Context, q part) (bool, error) {
	if !p.can["bookmark"].known {
		return false, nil
	}
	err := p.run(ctx, q.target.full(), "bookmark", q.target.full(), q.dataset.name+"#"+q.target.name+p.bookmarkMark())
	switch {
	case err == nil, said(err, "exists"):
		return true, nil
	case said(err, "must be upgraded", "feature", "not supported", "out of space"):
		return false, nil
	}
	return false, err
}

// bookmarkMark ends the names of our bookmarks.
func (s *Source) bookmarkMark() string { return ":firn:" + s.holder }

// letGo releases what the next increment does not start from, and destroys what is ours and not to be kept: all but the newest p.keep, and whatever stopped runs left.
func (p *plan) letGo(ctx context.Context, q part, marked bool) error {
	keep := p.keep
	if !marked {
		keep = max(keep, 1)
	}
	var errs []error
	kept := 0
	for i := len(q.dataset.states) - 1; i >= 0; i-- {
		s := q.dataset.states[i]
		if !s.bookmark && s.source != p.holder && s != q.target && s.txg <= q.target.txg && (s.held || s == q.from) {
			errs = append(errs, p.release(ctx, s.full())) // somebody else's, which an increment has started from
		}
		if s.bookmark || s.source != p.holder || s.txg > q.target.txg {
			continue
		}
		target := s == q.target
		if (target || s.stored) && kept < keep {
			kept++
			if !target && s.held {
				errs = append(errs, p.release(ctx, s.full()))
			}
			continue
		}
		errs = append(errs, p.remove(ctx, s, target))
	}
	return errors.Join(errs...)
}

// remove destroys a snapshot of ours. One that somebody else holds, or has cloned, stays; one that is gone is no less removed.
func (s *Source) remove(ctx context.Context, v *state, held bool) error {
	var err error
	if v.held || held {
		err = s.release(ctx, v.full())
	}
	if err == nil {
		err = s.run(ctx, v.full(), "destroy", v.full())
	}
	if gone := new(source.MissingError); errors.As(err, &gone) || said(err, "is busy", "being held", "dependent clones", "is cloned") {
		return nil
	}
	return err
}

// dropBookmarks destroys the oldest of our bookmarks of a dataset.
func (p *plan) dropBookmarks(ctx context.Context, d *dataset) error {
	var ours []*state
	for _, s := range d.states {
		if s.bookmark && strings.HasSuffix(s.name, p.bookmarkMark()) {
			ours = append(ours, s)
		}
	}
	var errs []error
	for i := 0; i <= len(ours)-keepBookmarks; i++ { // one was made by this run
		errs = append(errs, p.run(ctx, ours[i].full(), "destroy", ours[i].full()))
	}
	return errors.Join(errs...)
}
