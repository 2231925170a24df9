package restore

import (
	"bytes"
	"fmt"

	"firn/internal/glob"
	"firn/internal/manifest"
)

// choice is the part of a manifest that is to be restored, and where each path goes.
type choice struct {
	m                *manifest.Reader
	include, exclude *glob.Set
	list             *Paths // nil: everything
	base             []byte // of this folder; or the one entry
	single           bool   // base is no folder
	strip            int    // bytes that a path loses on its way to the target

	// gap is told of what cannot be read of the manifest, perhaps several times; false: that ends the walk.
	gap func(manifest.Gap) bool
}

// newChoice fails with ErrNotThere if path is not in the manifest.
func newChoice(m *manifest.Reader, o *Options) (*choice, error) {
	path := bytes.Trim(o.Path, "/")
	c := &choice{m: m, include: o.Include, exclude: o.Exclude, list: o.Paths, base: path}
	if c.list != nil {
		c.list.sort()
	}
	if len(path) == 0 {
		return c, nil
	}
	var e manifest.Entry
	found, err := m.Lookup(path, &e)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("%q: %w", path, ErrNotThere)
	}
	c.single = e.Type != manifest.Dir
	c.strip = len(path) + 1
	if c.single {
		c.strip = bytes.LastIndexByte(path, '/') + 1
	}
	return c, nil
}

// rel is where a path of the manifest goes, relative to the target.
func (c *choice) rel(path []byte) []byte {
	if len(path) < c.strip {
		return path[len(path):]
	}
	return path[c.strip:]
}

// all reports whether neither a pattern nor a list chooses.
func (c *choice) all() bool { return c.include.Empty() && c.exclude.Empty() && c.list == nil }

// has reports whether a path of the manifest is chosen.
func (c *choice) has(path []byte, dir bool) bool {
	return manifest.Within(path, c.base) && c.matches(path, dir)
}

// matches asks the patterns and the list alone.
func (c *choice) matches(path []byte, dir bool) bool {
	if c.list != nil && !c.list.covers(path) {
		return false
	}
	if !c.include.Empty() {
		if in, _ := c.include.Covers(path, dir); !in {
			return false
		}
	}
	if !c.exclude.Empty() {
		if out, _ := c.exclude.Covers(path, dir); out {
			return false
		}
	}
	return true
}

// enters reports whether something below a folder may be chosen.
func (c *choice) enters(dir []byte) bool {
	if c.list != nil && !c.list.below(dir) {
		return false
	}
	if !c.include.Empty() && c.include.Below(dir) == glob.Nothing {
		return false
	}
	return c.exclude.Empty() || c.exclude.Below(dir) != glob.Everything
}

// walk calls fn for every chosen entry, in order, and for the folders on the way there, with chosen false. Entries are valid until fn
// returns. Folders whose entry cannot be read, but something in them, are told of as well, as if nobody but their owner could enter them.
func (c *choice) walk(fn func(e *manifest.Entry, chosen bool) error) error {
	it := c.m.EntriesPast(c.base, c.gap)
	var behind []byte
	known := ancestors{base: len(c.base)}
	for it.Next() {
		if !manifest.Within(it.Path(), c.base) {
			break
		}
		e, err := it.Entry()
		if err != nil {
			return err
		}
		isDir := e.Type == manifest.Dir
		chosen := c.all() || c.matches(e.Path, isDir)
		enter := !isDir || c.all() || c.enters(e.Path)
		if !enter {
			behind = manifest.AppendAfter(behind[:0], e.Path)
		}
		if chosen || isDir && enter {
			if err := known.complete(e, fn); err != nil {
				return err
			}
			if err := fn(e, chosen); err != nil {
				return err
			}
		}
		switch {
		case c.list != nil && !c.onWay(e.Path, isDir):
			if behind = c.list.next(behind[:0], e.Path); len(behind) == 0 {
				return it.Err()
			}
			it.Seek(behind)
		case !enter && len(behind) > 1:
			it.Seek(behind)
		}
	}
	return it.Err()
}

// onWay reports whether the list has a path, something above it, or something below it.
func (c *choice) onWay(path []byte, dir bool) bool {
	return c.list.covers(path) || dir && c.list.below(path)
}

// ancestors are the folders above the current entry of a walk that have been told of.
type ancestors struct {
	base  int // length of the path of the folder that is walked
	stack [][]byte
}

// complete calls fn for the folders above e that were not told of, since their entries could not be read.
func (a *ancestors) complete(e *manifest.Entry, fn func(e *manifest.Entry, chosen bool) error) error {
	for n := len(a.stack); n > 0 && !manifest.Within(e.Path, a.stack[n-1]); n-- {
		a.stack = a.stack[:n-1]
	}
	at := a.base
	if n := len(a.stack); n > 0 {
		at = len(a.stack[n-1])
	}
	for {
		if at > 0 {
			at++ // behind the slash
		}
		next := -1
		if at < len(e.Path) {
			next = bytes.IndexByte(e.Path[at:], '/')
		}
		if next < 0 {
			break
		}
		at += next
		lost := bytes.Clone(e.Path[:at])
		a.stack = append(a.stack, lost)
		if err := fn(&manifest.Entry{Path: lost, Type: manifest.Dir, Mode: 0o700}, false); err != nil {
			return err
		}
	}
	if e.Type == manifest.Dir && len(e.Path) > a.base {
		a.stack = append(a.stack, bytes.Clone(e.Path))
	}
	return nil
}
