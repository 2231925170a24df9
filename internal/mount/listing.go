package mount

import (
	"bytes"
	"sync"

	"firn/internal/manifest"
)

// listing is an open folder of a snapshot. Places in it are numbers of lines, so that any of them can be gone back to, and nothing is kept of what was listed.
type listing struct {
	f   *FS
	dir node

	mu    sync.Mutex
	path  []byte // of the folder
	known bool
	c     *cursor // before the next child after line last
	last  int64   // −1: none was listed
	ended bool    // there is none behind last
}

func (f *FS) list(dir node) *listing { return &listing{f: f, dir: dir, last: -2} }

// child is one entry of a folder.
type child struct {
	file
	name []byte // valid until the function that is given it returns
	line int64
	bad  bool // nothing but its name and type is known
}

// from calls fn for what lies in the folder behind a line, −1 for all, until fn returns false; what fn did not take comes again.
func (d *listing) from(line int64, stop stopper, fn func(c *child) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended && line == d.last {
		return nil
	}
	v, err := d.f.read(d.dir.slot(), stop)
	if err != nil {
		return err
	}
	if !d.known {
		if d.path, err = v.path(d.dir.line()); err != nil {
			return err
		}
		d.known = true
	}
	if d.c == nil {
		d.c = v.cursor(max(line, d.dir.line()))
		d.last = -2
	}
	d.c.stop = stop
	if err = d.place(line); err == nil {
		err = d.each(v, fn)
	}
	d.c.stop = nil
	if err != nil {
		d.c, d.last = nil, -2
	}
	return err
}

// place goes to before the first child behind a line.
func (d *listing) place(line int64) error {
	if line == d.last {
		return nil
	}
	d.ended = false
	if d.last = line; line < 0 {
		d.c.toLine(max(d.dir.line()+1, 0))
		return nil
	}
	d.c.toLine(line)
	e, err := d.c.step()
	if err == nil && e != nil && e.Type == manifest.Dir {
		d.c.toPath(manifest.AppendAfter(nil, e.Path))
	}
	return err
}

func (d *listing) each(v look, fn func(c *child) bool) error {
	var behind []byte
	for {
		e, err := d.c.step()
		if err != nil {
			return err
		}
		if e == nil || !manifest.Within(e.Path, d.path) {
			d.ended = true
			return nil
		}
		name := e.Path
		if len(d.path) > 0 {
			name = name[min(len(d.path)+1, len(name)):]
		}
		if len(name) == 0 {
			continue // the folder itself
		}
		if i := bytes.IndexByte(name, '/'); i >= 0 { // in a folder that is not there
			d.c.toPath(manifest.AppendAfter(nil, e.Path[:len(e.Path)-len(name)+i]))
			continue
		}
		line := d.c.line
		c := child{name: name, line: line}
		if c.file, err = v.describe(e, line); err != nil {
			if k := kindOf(err); k == isStopped || !isDamage(err) && k != isBroken {
				return err
			}
			c.bad, c.node, c.kind = true, lineNode(v.slot, line), e.Type
		}
		if !fn(&c) {
			d.c.toLine(line)
			return nil
		}
		d.last = line
		if e.Type == manifest.Dir {
			behind = manifest.AppendAfter(behind[:0], e.Path)
			d.c.toPath(behind)
		}
	}
}

// close gives back what it held.
func (d *listing) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c == nil {
		return
	}
	if v, err := d.f.volume(d.dir.slot()); err == nil {
		v.giveBack(d.c)
	}
	d.c = nil
}
