package restore

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"

	"firn/internal/manifest"
	"firn/internal/source"
)

// sweeper removes, folder by folder, what the snapshot has not. It goes through the manifest once more; it holds the names in the folders above and in
// the one it is in.
type sweeper struct {
	r     *run
	ctx   context.Context
	stack []*swept
}

// swept is a folder and what the snapshot has in it.
type swept struct {
	folder
	full  []byte
	names map[string]struct{}
}

// removeExtra removes what is in restored folders and not in the snapshot.
func (r *run) removeExtra(ctx context.Context) error {
	failed := r.res.Failed
	if r.pass != nil {
		failed += r.pass.p.sum.Failed
	}
	if failed > 0 {
		r.mu.Lock()
		r.res.NoDelete = true
		r.mu.Unlock()
		return nil
	}
	s := &sweeper{r: r, ctx: ctx}
	if err := r.choice.walk(s.entry); err != nil {
		return err
	}
	return s.leave(nil, true)
}

func (s *sweeper) entry(e *manifest.Entry, chosen bool) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	rel := s.r.choice.rel(e.Path)
	if err := s.leave(rel, false); err != nil {
		return err
	}
	if n := len(s.stack); n > 0 {
		s.stack[n-1].names[string(rel[bytes.LastIndexByte(rel, '/')+1:])] = struct{}{}
	}
	if e.Type == manifest.Dir {
		s.stack = append(s.stack, &swept{folder: folder{rel: bytes.Clone(rel), meta: metaOf(e)}, full: bytes.Clone(e.Path), names: map[string]struct{}{}})
	}
	return nil
}

// leave sweeps the folders that rel is not in.
func (s *sweeper) leave(rel []byte, all bool) error {
	for n := len(s.stack); n > 0 && (all || !manifest.Within(rel, s.stack[n-1].rel)); n-- {
		f := s.stack[n-1]
		s.stack = s.stack[:n-1]
		if err := s.sweep(f); err != nil {
			return err
		}
	}
	return nil
}

// keeps reports whether a name stays: the snapshot has it, or the patterns do not choose it.
func (s *sweeper) keeps(f *swept, name []byte) bool {
	if _, ok := f.names[string(name)]; ok {
		return true
	}
	c := s.r.choice
	if c.all() {
		return false
	}
	path := f.full
	if len(path) > 0 {
		path = append(bytes.Clone(path), '/')
	}
	path = append(path, name...)
	return !c.matches(path, false) || !c.matches(path, true)
}

func (s *sweeper) sweep(f *swept) error {
	r := s.r
	if r.o.DryRun {
		return s.list(f)
	}
	removed := false
	err := r.to.RemoveExtra(f.rel, func(name []byte) bool { return s.keeps(f, name) }, func(path []byte, typ source.Type) {
		removed = true
		s.tell(path, typeName(typ))
	})
	if err == nil && removed && (len(f.rel) > 0 || !r.rootKept) {
		err = r.to.Finish(f.rel, &f.meta)
	}
	if err != nil {
		return r.failed(f.rel, "dir", 0, err)
	}
	return nil
}

func (s *sweeper) tell(path []byte, typ string) {
	s.r.mu.Lock()
	s.r.res.Deleted++
	s.r.mu.Unlock()
	if s.r.o.Each != nil {
		s.r.o.Each(Item{Action: Remove, Type: typ, Path: path})
	}
}

// list tells what sweep would remove.
func (s *sweeper) list(f *swept) error {
	all, err := os.ReadDir(s.r.path(f.rel))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.r.failed(f.rel, "dir", 0, err)
	}
	for _, d := range all {
		if s.keeps(f, []byte(d.Name())) {
			continue
		}
		path := []byte(d.Name())
		if len(f.rel) > 0 {
			path = append(append(bytes.Clone(f.rel), '/'), path...)
		}
		typ := "file"
		if d.IsDir() {
			typ = "dir"
		} else if d.Type()&fs.ModeSymlink != 0 {
			typ = "symlink"
		}
		s.tell(path, typ)
	}
	return nil
}
