package backup

import (
	"bytes"
	"errors"

	"firn/internal/manifest"
	"firn/internal/source"
)

// step is one thing that the emitter does, in tree order: take over a stretch of records from an earlier run, or emit a member.
type step struct {
	from  *previous // where a stretch of unchanged records comes from; nil: a member
	first int64     // its first record
	count int64
	unit  *unit // a member of a unit …
	index int
	large *large // … or a large file
}

// inode names a file with several names while a run lasts.
type inode struct{ dev, ino uint64 }

// linked is the first name of such a file, and how many more are to come. Size and mtime tell it from another file that was given the number of the inode
// since: one that is written to meanwhile is stored twice, which does no harm.
type linked struct {
	path  []byte
	left  uint32
	size  int64
	mtime int64
	nsec  int32
}

// planner compares the walk with what earlier runs saw, and decides what is read. It runs in the goroutine of the walk.
type planner struct {
	run   *run
	steps []step
	unit  *unit
	links map[inode]*linked

	waiting int64 // bytes of large files among steps
}

// maxWaiting bounds how many bytes of large files go past an open unit of small ones before it is closed: so much is read again at most if the
// process dies, since the emitter has not seen it.
const maxWaiting = 16 << 20

// maxSteps is how many steps gather before they are handed on with the unit they belong to.
const maxSteps = 4 * maxMembers

// walk plans all that there is, or, where a limit is reached, what there was until then.
func (p *planner) walk() error {
	err := p.run.tree.Walk(p.run.ctx, p.entry)
	if err == nil {
		err = p.run.judge()
	}
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return p.dispatch()
}

func (p *planner) entry(e *source.Entry) error {
	if err := p.run.ctx.Err(); err != nil {
		return err
	}
	if p.run.ending() {
		p.run.shorten()
		return errEnough
	}
	p.run.count(&e.Stat)
	known, why := false, "new"
	for _, prev := range p.run.previous {
		verdict, err := prev.find(e, p.run.o.Detect)
		if err != nil {
			return err
		}
		if prev.matches {
			known = true
			if p.run.o.Each != nil {
				why = p.run.o.Detect.why(&e.Stat, &prev.plan.Stat)
			}
		}
		if verdict == modified {
			continue
		}
		if verdict, err = p.checkLine(prev, e, verdict); err != nil {
			return err
		}
		switch verdict {
		case same:
			return p.keep(prev, e)
		case touched:
			p.run.unchanged(&e.Stat)
			return p.member(e, newDetails, prev.lineCopy)
		}
	}
	p.run.fresh(&e.Stat, known)
	if p.run.o.Each != nil && e.Stat.Type == source.File {
		p.run.o.Each(e.Path, why)
	}
	return p.changed(e)
}

// checkLine looks at the manifest line of an entry that seems unchanged, where there is cause: hard links, whose lines depend on each
// other; records whose chunks may be gone; metadata that are taken from it.
func (p *planner) checkLine(prev *previous, e *source.Entry, v verdict) (verdict, error) {
	multi := e.Stat.Nlink > 1 && e.Stat.Type != source.Dir
	if v == same && !multi && !prev.verify {
		return v, nil
	}
	raw, err := prev.plan.Line()
	if err != nil {
		return modified, nil // the file is read again; the cache told its fault
	}
	line, extra := splitLine(raw)
	var old manifest.Entry
	if manifest.ParseLine(line, &old) != nil || old.Error != "" {
		return modified, nil
	}
	if prev.verify {
		ok, err := p.run.stored(&old, extra)
		if err != nil || !ok {
			return modified, err
		}
	}
	if multi {
		first := p.first(e)
		if first == nil && len(old.Hardlink) > 0 || first != nil && !bytes.Equal(first.path, old.Hardlink) {
			return modified, nil
		}
		p.link(e)
	} else if len(old.Hardlink) > 0 {
		return modified, nil // what it was another name of may be gone, or have other content by now
	}
	if v == touched {
		prev.lineCopy = bytes.Clone(raw)
	}
	return v, nil
}

// first returns the first name of a file with several, if this is another one.
func (p *planner) first(e *source.Entry) *linked {
	l := p.links[inode{e.Stat.Dev, e.Stat.Inode}]
	if l == nil || l.size != e.Stat.Size || l.mtime != e.Stat.MtimeSec || l.nsec != e.Stat.MtimeNsec {
		return nil
	}
	return l
}

// link notes a name of a file with several, and returns the first one if this is another.
func (p *planner) link(e *source.Entry) []byte {
	key, st := inode{e.Stat.Dev, e.Stat.Inode}, &e.Stat
	l := p.first(e)
	if l == nil {
		p.links[key] = &linked{bytes.Clone(e.Path), st.Nlink - 1, st.Size, st.MtimeSec, st.MtimeNsec}
		return nil
	}
	if l.left--; l.left == 0 {
		delete(p.links, key)
	}
	return l.path
}

// keep takes a record over as it is.
func (p *planner) keep(prev *previous, e *source.Entry) error {
	p.run.unchanged(&e.Stat)
	if n := len(p.steps); n > 0 {
		last := &p.steps[n-1]
		if last.from == prev && last.first+last.count == prev.index {
			last.count++
			return nil
		}
	}
	return p.add(step{from: prev, first: prev.index, count: 1})
}

// changed plans an entry that is new or not as it was.
func (p *planner) changed(e *source.Entry) error {
	if e.Stat.Nlink > 1 && e.Stat.Type != source.Dir {
		if first := p.link(e); first != nil {
			return p.member(e, hardlink, first)
		}
	}
	switch {
	case e.Stat.Type != source.File:
		return p.member(e, detailsOnly, nil)
	case e.Stat.Size >= p.run.largeSize || e.Stat.Size == source.UnknownSize:
		return p.large(e)
	}
	if p.unit != nil && p.unit.bytes+e.Stat.Size > p.run.bundleRoom {
		if err := p.dispatch(); err != nil {
			return err
		}
	}
	return p.member(e, readContent, nil)
}

// member adds an entry to the open unit; ref is the earlier line, or the first path of a hard link.
func (p *planner) member(e *source.Entry, j job, ref []byte) error {
	if p.unit == nil {
		p.unit = &unit{bundle: &bundle{done: make(chan struct{})}}
	}
	m := member{path: bytes.Clone(e.Path), stat: e.Stat, job: j}
	switch j {
	case newDetails:
		m.old = ref
	case hardlink:
		m.first = ref
	}
	u := p.unit
	u.members = append(u.members, m)
	if j == readContent {
		u.bytes += e.Stat.Size
	}
	full := len(u.members) >= maxMembers || u.bytes >= p.run.bundleMin && p.run.endsBundle(e.Path)
	p.steps = append(p.steps, step{unit: u, index: len(u.members) - 1})
	if full || len(p.steps) >= maxSteps {
		return p.dispatch()
	}
	return nil
}

func (p *planner) large(e *source.Entry) error {
	if err := p.run.o.Ready(p.run.ctx); err != nil {
		return err
	}
	l := &large{member: member{path: bytes.Clone(e.Path), stat: e.Stat}, done: make(chan struct{})}
	select {
	case p.run.largeSlots <- struct{}{}:
	case <-p.run.ctx.Done():
		return p.run.ctx.Err()
	}
	p.run.group.Go(func() error {
		defer func() { <-p.run.largeSlots }()
		p.run.underWay(l, true)
		defer p.run.underWay(l, false)
		return p.run.readLargeFile(l)
	})
	if err := p.add(step{large: l}); err != nil {
		return err
	}
	if p.waiting += max(e.Stat.Size, 0); p.unit == nil || p.waiting >= maxWaiting {
		return p.dispatch()
	}
	return nil
}

func (p *planner) add(s step) error {
	p.steps = append(p.steps, s)
	if len(p.steps) >= maxSteps {
		return p.dispatch()
	}
	return nil
}

// dispatch gives the open unit to the workers, and then the steps up to here to the emitter: never a step whose unit nobody works on, or
// the emitter would wait for ever.
func (p *planner) dispatch() error {
	if err := p.run.o.Ready(p.run.ctx); err != nil {
		return err
	}
	if u := p.unit; u != nil {
		p.unit = nil
		select {
		case p.run.units <- u:
		case <-p.run.ctx.Done():
			return p.run.ctx.Err()
		}
	}
	if len(p.steps) == 0 {
		return nil
	}
	select {
	case p.run.batches <- p.steps:
	case <-p.run.ctx.Done():
		return p.run.ctx.Err()
	}
	p.steps, p.waiting = nil, 0
	return nil
}

// endsBundle decides by the name of a file whether a bundle that is long enough ends with it, so that equal folders are cut at equal
// places wherever they lie: on average after eight more files.
func (r *run) endsBundle(path []byte) bool {
	name := path[bytes.LastIndexByte(path, '/')+1:]
	return r.gear.Hash(name)>>61 == 0
}

// stored reports whether every chunk of a manifest line is in a pack that takes references.
func (r *run) stored(e *manifest.Entry, extra []byte) (bool, error) {
	ids, err := chunksOf(e, extra)
	if err != nil {
		return false, nil
	}
	for _, c := range ids {
		ok, err := r.writer.Known(c.id, c.kind)
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}
