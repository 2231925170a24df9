package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"firn/internal/backup"
	"firn/internal/event"
	"firn/internal/glob"
	"firn/internal/source"
	"firn/internal/source/dir"
	"firn/internal/units"
	"firn/internal/wire"
)

// root is one PATH of a backup.
type root struct {
	given string
	path  string // absolute, as the user means it: links in it are not resolved
	real  string // with links resolved
	file  bool   // no folder

	made *produced // it is asked for what there is to read; nil: it is read as it stands
	from string    // to be read in its place; empty: there is none
}

// folder is what is read.
func (r root) folder() string {
	if r.from != "" {
		return r.from
	}
	return r.path
}

// reals are the real paths of all that it stands for.
func (r root) reals() (all []string) {
	if r.real != "" {
		all = append(all, r.real)
	}
	if r.from != "" && r.from != r.path {
		if real, err := filepath.EvalSymlinks(r.from); err == nil {
			all = append(all, real)
		}
	}
	return all
}

// findRoots looks all paths up before anything is done.
func findRoots(paths []string) (roots []root, err error) {
	seen := map[string]string{}
	for _, p := range paths {
		r := root{given: p}
		if p == "" {
			return nil, usage("", "a path is empty")
		}
		if r.path, err = filepath.Abs(p); err != nil {
			return nil, err
		}
		if r.real, err = filepath.EvalSymlinks(r.path); err != nil {
			return nil, missing(p, err)
		}
		info, err := os.Stat(r.real)
		if err != nil {
			return nil, missing(p, err)
		}
		r.file = !info.IsDir()
		if before, ok := seen[r.path]; ok {
			return nil, usage("", "%q and %q are the same source", before, p)
		}
		seen[r.path] = p
		roots = append(roots, r)
	}
	return roots, nil
}

func missing(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return failure("check the path, and that what should be mounted there is", "source %q does not exist", path)
	}
	return fmt.Errorf("source %q: %w", path, err)
}

// below returns what lies at path relative to the folder of r, if it does; "" is the folder itself. Both are real paths.
func (r root) below(path string) (rel string, ok bool) {
	for _, real := range r.reals() {
		if rel, ok = belowFolder(real, path); ok {
			return rel, true
		}
	}
	return "", false
}

func belowFolder(folder, path string) (rel string, ok bool) {
	rel, err := filepath.Rel(folder, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", false
	}
	if rel == "." {
		rel = ""
	}
	return filepath.ToSlash(rel), true
}

// excludeFlags say what of a source is left out.
type excludeFlags struct {
	patterns   []string
	files      []string
	anyCase    []string
	larger     units.Size
	present    []string
	caches     bool
	oneSystem  bool
	sets       []*glob.Set // of the sources walked so far, in pairs
	unfinished bool        // a walk did not reach its end
}

func (f *excludeFlags) register(fl *pflag.FlagSet) {
	fl.StringArrayVarP(&f.patterns, "exclude", "e", nil, "leave out what matches the pattern (repeat for more)")
	fl.StringArrayVar(&f.files, "exclude-file", nil, "leave out what matches a pattern of this file, one a line")
	fl.StringArrayVar(&f.anyCase, "iexclude", nil, "like --exclude, upper and lower case alike")
	fl.Var(&f.larger, "exclude-larger-than", "leave out files larger than this, such as 4G")
	fl.Lookup("exclude-larger-than").DefValue = ""
	fl.StringArrayVar(&f.present, "exclude-if-present", nil, "leave out folders that have a file of this name, such as .nobackup (repeat for more)")
	fl.BoolVar(&f.caches, "exclude-caches", false, "leave out what lies in folders with a CACHEDIR.TAG")
	fl.BoolVarP(&f.oneSystem, "one-file-system", "x", false, "leave out what is mounted inside the source")
}

// compile reads the patterns for a source. Patterns without regard to case are a set of their own.
func (f *excludeFlags) compile(r root) (exact, folded *glob.Set, err error) {
	folder := r.path
	if r.file {
		folder = filepath.Dir(r.path)
	}
	o := glob.Options{Root: filepath.ToSlash(folder)}
	sets := []*glob.Set{}
	for _, file := range f.files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, fmt.Errorf("exclude file: %w", err)
		}
		set, err := o.Parse(strings.Split(string(raw), "\n"), file)
		if err != nil {
			return nil, nil, err
		}
		sets = append(sets, set)
	}
	set, err := o.Parse(f.patterns, "--exclude")
	if err != nil {
		return nil, nil, err
	}
	exact = glob.Join(append(sets, set)...)
	o.FoldCase = true
	folded, err = o.Parse(f.anyCase, "--iexclude")
	return exact, folded, err
}

// check refuses patterns that cannot be read, and a source that is, or lies in, the repository.
func (f *excludeFlags) check(s *session, r root) error {
	for _, name := range f.present {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, `/\`) {
			return usage("such as .nobackup", "--exclude-if-present %q: want the name of a file", name)
		}
	}
	if _, _, err := f.compile(r); err != nil {
		return err
	}
	own := s.folder()
	if own == "" {
		return nil
	}
	if _, inside := (root{real: own}).below(r.real); inside {
		return failure("back up something else; to copy a repository, copy its folder", "source %q lies in the repository itself", r.given)
	}
	return nil
}

// folder is the real path of the folder in which the repository lies, empty if it is in none.
func (s *session) folder() string {
	l, err := wire.ParseLocation(s.st.Location())
	if err != nil || l.Scheme != "file" {
		return ""
	}
	path, err := filepath.Abs(l.Path)
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// tree is what a source is read from.
type tree interface {
	source.Tree
	Names(uid, gid uint32) (user, group string)
}

// open opens a source. What cannot be read goes to unread, what is left out and why to hear.
func (f *excludeFlags) open(s *session, r root, unread *backup.Unread, hear event.Func) (tree, error) {
	exact, folded, err := f.compile(r)
	if err != nil {
		return nil, err
	}
	f.sets = append(f.sets, exact, folded)
	return f.openWith(s.ownFolders(r), r, exact, folded, unread.Add, hear)
}

// count goes through a source beside the backup, to know how much there is. The totals are 0 until it has seen everything; what is in the way of that
// the backup itself will tell. wait waits until it has ended by itself, stop ends it.
func (f *excludeFlags) count(ctx context.Context, s *session, r root) (totals func() (files, bytes int64), wait, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var files, bytes int64
	var whole atomic.Bool
	var g errgroup.Group
	g.Go(func() error {
		exact, folded, err := f.compile(r)
		if err != nil {
			return err
		}
		t, err := f.openWith(s.ownFolders(r), r, exact, folded, func([]byte, error) {}, nil)
		if err != nil {
			return err
		}
		defer func() { _ = t.Close() }()
		err = t.Walk(ctx, func(e *source.Entry) error {
			if e.Stat.Type == source.File {
				files++
				bytes += e.Stat.Size
			}
			return nil
		})
		whole.Store(err == nil)
		return err
	})
	totals = func() (int64, int64) {
		if !whole.Load() {
			return 0, 0
		}
		return files, bytes
	}
	wait = func() { _ = g.Wait() } // the backup tells of the same errors
	return totals, wait, func() { cancel(); wait() }
}

// openWith opens a source. own are the folders in it that are firn's.
func (f *excludeFlags) openWith(own [][]byte, r root, exact, folded *glob.Set, problem func([]byte, error), hear event.Func) (tree, error) {
	return dir.Open(r.folder(), dir.Options{
		Exclude: func(path []byte, isDir bool, _ *source.Stat) bool {
			if isDir {
				for _, p := range own {
					if bytes.Equal(path, p) {
						return true
					}
				}
			}
			if chosen, _ := exact.Match(path, isDir); chosen {
				return true
			}
			chosen, _ := folded.Match(path, isDir)
			return chosen || isDir && f.marked(r, path)
		},
		MaxSize: int64(f.larger), CacheTags: f.caches, OneFileSystem: f.oneSystem,
		Problem: problem,
		Note: func(path []byte, n dir.Note) {
			text := fmt.Sprintf("%q: %v", filepath.Join(r.path, string(path)), n)
			if n.Reason == dir.CacheFolder || n.Reason == dir.TooLarge {
				hear.Emit(event.Decision{Text: text}) // asked for
				return
			}
			hear.Emit(event.Note{Text: text})
		},
	})
}

// marked reports whether a folder of a source has a file by which its owner wants it left out. What cannot be looked at has none.
func (f *excludeFlags) marked(r root, path []byte) bool {
	for _, name := range f.present {
		if info, err := os.Lstat(filepath.Join(r.folder(), filepath.FromSlash(string(path)), name)); err == nil && !info.IsDir() {
			return true
		}
	}
	return false
}

// tellOwn says what ownFolders leaves out.
func (s *session) tellOwn(r root) {
	for _, repository := range s.folders() {
		if rel, ok := r.below(repository); ok && rel != "" {
			s.c.note("%q is left out: it is the repository", repository)
		}
	}
}

// folders are those in which the repository lies, and copies of it that are open beside it.
func (s *session) folders() (all []string) {
	for _, one := range append([]*session{s}, s.copies...) {
		if path := one.folder(); path != "" {
			all = append(all, path)
		}
	}
	return all
}

// localFolders are what this machine keeps of the repository and its copies, where that is there.
func (s *session) localFolders() (all []string) {
	for _, base := range []string{s.dirs.Cache, s.dirs.State} {
		if base == "" {
			continue
		}
		found, err := os.ReadDir(base)
		if err != nil {
			continue // nothing there yet
		}
		for _, e := range found {
			if l, ok := parseLocal(e.Name()); !ok || l.repository != s.header.ID {
				continue
			}
			if real, err := filepath.EvalSymlinks(filepath.Join(base, e.Name())); err == nil {
				all = append(all, real)
			}
		}
	}
	return all
}

// ownFolders are the folders below a source that hold the repository, or what firn keeps about it on this machine.
func (s *session) ownFolders(r root) (own [][]byte) {
	for _, repository := range s.folders() {
		if rel, ok := r.below(repository); ok && rel != "" {
			own = append(own, []byte(rel))
		}
	}
	for _, path := range s.localFolders() {
		if rel, ok := r.below(path); ok && rel != "" {
			own = append(own, []byte(rel))
		}
	}
	return own
}

// walked notes whether a source was read to its end: only then is a pattern that matched nothing worth telling.
func (f *excludeFlags) walked(whole bool) { f.unfinished = f.unfinished || !whole }

// tellUnmatched mentions the patterns that matched nothing in any source.
func (f *excludeFlags) tellUnmatched(c *console) {
	if f.unfinished {
		return
	}
	type key struct {
		origin string
		line   int
	}
	counts := map[key]int{}
	for _, set := range f.sets {
		for _, r := range set.Unmatched() {
			k := key{r.Origin, r.Line}
			if counts[k]++; counts[k] == len(f.sets)/2 && !r.Negated {
				c.note("%s pattern %q matched nothing", r.Origin, r.Pattern)
			}
		}
	}
}
