package restore

import (
	"errors"
	"io"
	"os"
	"syscall"

	"bytes"

	"firn/internal/manifest"
	"firn/internal/target"
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
		l.first = l.choice.m.EntriesPast(path, l.choice.gap)
	} else {
		l.first.Seek(path)
	}
	if !l.first.Next() || !bytes.Equal(l.first.Path(), path) {
		return nil, l.first.Err()
	}
	return l.first.Entry()
}

// linkOrCopy makes another name of a file that was restored, or, where the file system has no such names or no more of them, a copy.
func (r *run) linkOrCopy(first, rel []byte, l *hardLink) (target.Outcome, error) {
	outcome, err := r.to.Link(first, rel)
	if err == nil || l.typ != manifest.File || !unlinkable(err) {
		return outcome, err
	}
	var e manifest.Entry
	if found, lerr := r.choice.m.Lookup(r.choice.full(first), &e); lerr != nil || !found {
		return 0, errors.Join(err, lerr)
	}
	from, cerr := os.Open(r.path(first))
	if cerr != nil {
		return 0, errors.Join(err, cerr)
	}
	defer func() { _ = from.Close() }()
	f, outcome, cerr := r.to.CreateFile(rel, &target.FileSpec{Meta: metaOf(&e), Size: l.size})
	if f == nil || cerr != nil {
		return outcome, cerr
	}
	if _, cerr := io.Copy(&appender{f: f}, io.LimitReader(from, l.size)); cerr != nil {
		return 0, errors.Join(cerr, f.Abort(false))
	}
	return outcome, f.Finish()
}

// unlinkable tells a file system without hard links, or with no room for one more, from a failure.
func unlinkable(err error) bool {
	for _, no := range []error{syscall.EPERM, syscall.ENOTSUP, syscall.EXDEV, syscall.EMLINK, errors.ErrUnsupported} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// appender writes from the start of a file on.
type appender struct {
	f  *target.File
	at int64
}

func (a *appender) Write(p []byte) (int, error) {
	n, err := a.f.WriteAt(p, a.at)
	a.at += int64(n)
	return n, err
}
