package restore

import (
	"bytes"

	"firn/internal/manifest"
)

// linker finds out what a later name of a hard-linked file becomes. What it remembers grows with the files of which only later
// names are chosen: by their first name and the one that stands for it.
type linker struct {
	choice *choice
	stands map[string]string // first names that are not chosen → the chosen name, relative to the target, that has the content
	first  *manifest.Iterator
}

// resolve returns either the path in the target that e is another name of, or the entry whose content rel is to have, since no name
// before it is chosen; neither if the manifest has no such entry. The entry is valid until the next call.
func (l *linker) resolve(e *manifest.Entry, rel []byte) (link []byte, real *manifest.Entry, err error) {
	first := e.Hardlink
	if !l.choice.single && l.choice.has(first, false) {
		return l.choice.rel(first), nil, nil
	}
	if at, ok := l.stands[string(first)]; ok {
		return []byte(at), nil, nil
	}
	real, err = l.lookUp(first)
	if err != nil || real == nil || len(real.Hardlink) > 0 || real.Type == manifest.Dir {
		return nil, nil, err
	}
	if !l.choice.single {
		l.stands[string(first)] = string(rel)
	}
	return nil, real, nil
}

// lookUp finds an entry out of the order of the walk; nil: it is not there.
func (l *linker) lookUp(path []byte) (*manifest.Entry, error) {
	if l.first == nil {
		l.first = l.choice.m.Entries(path)
	} else {
		l.first.Seek(path)
	}
	if !l.first.Next() || !bytes.Equal(l.first.Path(), path) {
		return nil, l.first.Err()
	}
	return l.first.Entry()
}
