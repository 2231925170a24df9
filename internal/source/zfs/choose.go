package zfs

import (
	"context"
	"slices"
	"strings"
	"time"

	"firn/internal/source"
)

// chooseBase finds the newest snapshot of the repository that leads to a state of the dataset which the pool still has; else the newest that leads to one of what lies below it.
func (p *plan) chooseBase(all []*dataset) {
	p.base, p.of = -1, p.dataset
	for i, h := range p.have {
		for _, d := range all {
			if d.name == p.dataset {
				p.of = calledBefore(d, h)
			}
			if s, _ := p.common(d, h, nil); s == nil {
				continue
			}
			if d.name == p.dataset {
				p.base = i
				p.tellBase(i)
				return
			}
			if p.base < 0 {
				p.base = i
			}
		}
	}
	p.of = p.dataset
	if len(p.have) > 0 {
		p.tellBase(p.base)
	}
}

// calledBefore is the name that a dataset has in a snapshot of the repository: where it was renamed since, that of the point which is a state of it.
func calledBefore(d *dataset, h source.Have) string {
	name := d.name
	for _, q := range h.Points {
		if q.Of == d.name {
			return d.name
		}
		if d.find(q.ID) != nil {
			name = q.Of
		}
	}
	return name
}

// nameOf is how a dataset is called in points. What was renamed keeps its first name there, so that its chain is one.
func (p *plan) nameOf(d *dataset) string { return p.of + strings.TrimPrefix(d.name, p.dataset) }

// common finds the state of a dataset to which one snapshot of the repository leads, not newer than target (nil: any), and the point that it is; nil: there is none.
func (p *plan) common(d *dataset, have source.Have, target *state) (*state, source.Point) {
	name := p.nameOf(d)
	for _, q := range have.Points {
		if q.Of != name {
			continue
		}
		if s := d.find(q.ID); s != nil && (target == nil || s.txg <= target.txg) {
			return s, q
		}
	}
	return nil, source.Point{}
}

// tellBase says why increments do not start from the newest snapshot of the repository.
func (p *plan) tellBase(base int) {
	if base == 0 {
		return
	}
	last := p.have[0].Points
	if len(last) == 0 {
		return
	}
	i := slices.IndexFunc(last, func(q source.Point) bool { return q.Of == p.dataset })
	gone := p.dataset + "@" + last[max(i, 0)].At
	if base < 0 {
		p.note("the pool no longer has %s nor anything older that is stored (destroyed or rolled back): a full stream is made", gone)
	} else {
		p.note("the pool no longer has %s (destroyed or rolled back): increments start from an older state", gone)
	}
}

// chooseSnapshot finds the name of the snapshot to be stored: one that the user names, that of a run that was stopped, or a new one, which it takes.
func (p *plan) chooseSnapshot(ctx context.Context, all []*dataset) error {
	i := slices.IndexFunc(all, func(d *dataset) bool { return d.name == p.dataset })
	if i < 0 {
		return &source.MissingError{What: "dataset", Name: p.dataset}
	}
	root := all[i]
	if p.snapshot != "" {
		p.name = p.snapshot
		if root.snapshot(p.name) == nil {
			return &source.MissingError{What: "snapshot", Name: root.name + "@" + p.name}
		}
		return nil
	}
	if s := p.stopped(root); s != nil {
		p.name = s.name
		p.note("goes on with %s, which a backup that was stopped has taken %s ago", s.full(), source.Ago(p.host.Now().Sub(s.creation)))
		return nil
	}
	return p.take(ctx, root, p.holder)
}

// resumeFull is how old the snapshot of a stopped run may be at least for a full stream to go on with it: the first one of a large dataset takes weeks.
const resumeFull = 30 * 24 * time.Hour

// stopped finds the snapshot of a run that did not end: ours, newer than what the repository has. It counts only while it is young: a new snapshot costs no more than what was sent of the
// old one, and has what came since.
func (p *plan) stopped(root *dataset) *state {
	var base *state
	stored := map[string]bool{}
	for _, h := range p.have {
		for _, q := range h.Points {
			stored[q.ID] = true
		}
	}
	if p.base >= 0 {
		base, _ = p.common(root, p.have[p.base], nil)
	}
	var found *state
	limit := p.resume
	if base == nil {
		limit = max(limit, resumeFull)
	}
	for _, s := range root.states {
		if s.bookmark || s.source != p.holder || s.stored || stored[s.guid] || base != nil && s.txg <= base.txg {
			continue
		}
		if p.host.Now().Sub(s.creation) > limit {
			continue
		}
		found = s
	}
	return found
}

// take takes a snapshot under a name that is free, and marks it in the same moment as that of a holder.
func (p *plan) take(ctx context.Context, root *dataset, holder string) error {
	now := p.host.Now()
	name, err := expand(p.pattern, now)
	if err != nil {
		return err
	}
	if there := root.snapshot(name); there != nil {
		if there.source == "" {
			return &TakenError{Snapshot: there.full()}
		}
		name += now.Format("-150405")
	}
	args := []string{"snapshot"}
	if p.recursive {
		args = append(args, "-r")
	}
	full := root.name + "@" + name
	err = p.run(ctx, root.name, append(args, "-o", propSource+"="+holder, full)...)
	if said(err, "already exists") {
		return &TakenError{Snapshot: full}
	}
	p.name, p.taken = name, err == nil
	return err
}

// untake destroys the snapshot that this run has taken, where it pretends and does not get so far that it could be told of the end.
func (p *plan) untake(ctx context.Context) error {
	full := p.dataset + "@" + p.name
	if p.recursive { // there was none of that name, or none could have been taken
		return p.run(ctx, full, "destroy", "-r", full)
	}
	return p.run(ctx, full, "destroy", full)
}

// holdAll holds what is stored and what it starts from, until the next backup is done. One that pretends would leave holds behind.
func (p *plan) holdAll(ctx context.Context) error {
	if p.host.Pretend {
		return nil
	}
	var names []string
	for _, q := range p.parts {
		names = append(names, q.target.full())
		if q.from != nil && !q.from.bookmark {
			names = append(names, q.from.full())
		}
	}
	return each(names, func(names []string) error { return p.hold(ctx, names) })
}

// hold holds snapshots; those that are held already stay so.
func (s *Source) hold(ctx context.Context, names []string) error {
	err := s.run(ctx, names[0], append([]string{"hold", s.holdTag()}, names...)...)
	if !said(err, "tag already exists") {
		return err
	}
	if len(names) == 1 {
		return nil
	}
	for _, n := range names {
		if err := s.hold(ctx, []string{n}); err != nil {
			return err
		}
	}
	return nil
}

// release lets go of snapshots that we may hold.
func (s *Source) release(ctx context.Context, name string) error {
	err := s.run(ctx, name, "release", s.holdTag(), name)
	if said(err, "no such tag") {
		return nil
	}
	return err
}
