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
	base             []byte // of this folder; or the one entry
	single           bool   // base is no folder
	strip            int    // bytes that a path loses on its way to the target
}

// newChoice fails with ErrNotThere if path is not in the manifest.
func newChoice(m *manifest.Reader, path []byte, include, exclude *glob.Set) (*choice, error) {
	path = bytes.Trim(path, "/")
	c := &choice{m: m, include: include, exclude: exclude, base: path}
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

// all reports whether no pattern chooses.
func (c *choice) all() bool { return c.include.Empty() && c.exclude.Empty() }

// has reports whether a path of the manifest is chosen.
func (c *choice) has(path []byte, dir bool) bool {
	return manifest.Within(path, c.base) && c.matches(path, dir)
}

// matches asks the patterns alone.
func (c *choice) matches(path []byte, dir bool) bool {
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
	if !c.include.Empty() && c.include.Below(dir) == glob.Nothing {
		return false
	}
	return c.exclude.Empty() || c.exclude.Below(dir) != glob.Everything
}

// walk calls fn for every chosen entry, in order, and for the folders on the way there, with chosen false. Entries are valid until fn
// returns.
func (c *choice) walk(fn func(e *manifest.Entry, chosen bool) error) error {
	it := c.m.Entries(c.base)
	var behind []byte
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
			if err := fn(e, chosen); err != nil {
				return err
			}
		}
		if !enter && len(behind) > 1 {
			it.Seek(behind)
		}
	}
	return it.Err()
}
