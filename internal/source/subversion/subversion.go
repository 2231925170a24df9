// Package subversion makes streams of Subversion repositories with svnadmin dump, and loads them back.
//
// A source is one repository, or a folder in which repositories are looked for. Each is stored as a chain: a full dump, then the revisions since. A point is a revision, its ID the UUID of the repository, a colon and the number; a
// repository with no new revision keeps its point without a stream. Streams are called "NAME.FIRST-LAST.svndump", or "NAME/FIRST-LAST.svndump" where the source is a folder, with revisions of eight digits, so that
// files of a chain in the order of their names are in the order in which they are loaded. Beside them, in "NAME.conf.tar" or "NAME/conf.tar", goes what a dump lacks: the folders conf and hooks, and db/fsfs.conf.
//
// Dumps hold differences, since with every revision of a file as a whole a dump is many times as large as its repository, and most of that is in no chunk that is there already.
//
// A dump is of one state of the repository, whoever commits meanwhile. What it does not have: locks of files, transactions under way, and later changes of the properties of revisions that are stored already,
// such as log messages that were mended; these come with the next full one.
package subversion

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/program"
	"firn/internal/source"
)

// Kind is how snapshots call sources of this package.
const Kind = "subversion"

const (
	patience        = 2 * time.Minute // for answers
	maxAnswer       = 1 << 20         // bytes of one
	maxRepositories = 3000
	maxConsidered   = 50      // snapshots that increments may start from
	maxFolders      = 100_000 // that are looked into for repositories
)

// Settings of a repository, or a folder of them.
var Settings = append([]source.Setting{
	{Name: "deltas", Value: "yes|no", Default: "yes", Help: "dump what differs and not whole files, for every revision again; no is what svndumpfilter needs"},
	{Name: "depth", Value: "N", Default: "3", Help: "how deep below the folder to look for repositories"},
	{Name: "exclude", Value: "NAME,…", Help: "leave out repositories of these names or patterns, as paths below the folder"},
	{Name: "files", Value: "yes|no", Default: "yes", Help: "store and restore configuration and hooks of repositories, too"},
	{Name: "programs", Value: "FOLDER", Default: "PATH", Help: "where svnadmin and svnlook are"},
}, program.Common...)

// tools are Subversion's programs.
type tools struct {
	folder string // empty: PATH
	idle   time.Duration
}

func newTools(o *source.Settings) tools {
	return tools{o.Text("programs", ""), program.Timeout(o)}
}

func (t tools) command(name string, args ...string) program.Command {
	c := program.Command{Name: name, Args: args, Idle: t.idle}
	if t.folder != "" {
		c.Name = filepath.Join(t.folder, name)
	}
	ctype := "C.UTF-8"
	if runtime.GOOS == "darwin" {
		ctype = "UTF-8"
	}
	c.Env = []string{"LC_ALL=", "LC_MESSAGES=C", "LC_CTYPE=" + ctype} // or names of files may have no letters but those of ASCII
	return c
}

func (t tools) find() error {
	for _, name := range []string{"svnadmin", "svnlook"} {
		if _, err := program.Find(t.command(name).Name); err != nil {
			return err
		}
	}
	return nil
}

// ask runs a program that answers in a line.
func (t tools) ask(ctx context.Context, name string, args ...string) (string, error) {
	c := t.command(name, args...)
	if c.Idle == 0 {
		c.Idle = patience
	}
	out, err := c.Output(ctx, maxAnswer)
	return strings.TrimSpace(string(out)), err
}

// repository is one as it is now.
type repository struct {
	name     string // of its streams, escaped; empty where it is the source itself
	dir      string
	uuid     string
	youngest int
}

// look asks a repository what it has.
func (t tools) look(ctx context.Context, r *repository) error {
	text, err := t.ask(ctx, "svnlook", "youngest", r.dir)
	if err == nil {
		if r.youngest, err = strconv.Atoi(text); err != nil || r.youngest < 0 {
			return fmt.Errorf("repository %q: its youngest revision is %q", r.dir, text)
		}
		r.uuid, err = t.ask(ctx, "svnlook", "uuid", r.dir)
	}
	if err == nil && (r.uuid == "" || strings.ContainsAny(r.uuid, ": \n")) {
		return fmt.Errorf("repository %q: its UUID is %q", r.dir, r.uuid)
	}
	return err
}

// date is when a revision was committed, as it says; zero: it does not say.
func (t tools) date(ctx context.Context, dir string, revision int) time.Time {
	text, err := t.ask(ctx, "svnlook", "propget", "--revprop", "-r", strconv.Itoa(revision), dir, "svn:date")
	if err != nil {
		return time.Time{}
	}
	return parseDate(text)
}

// isRepository tells what looks like one, whole or not.
func isRepository(dir string) bool {
	format, err := os.Lstat(filepath.Join(dir, "format"))
	db, wrong := os.Lstat(filepath.Join(dir, "db"))
	return err == nil && wrong == nil && format.Mode().IsRegular() && db.IsDir()
}

// Source is a repository, or a folder of them. It implements source.Producer.
type Source struct {
	tools   tools
	dir     string
	depth   int
	exclude source.Names
	deltas  bool
	files   bool
}

// New returns the repository, or those in the folder, at a path. It fails with *source.SettingError.
func New(rest string, o *source.Settings, _ source.Host) (*Source, error) {
	s := &Source{tools: newTools(o), depth: o.Int("depth", 3, 1, 100), exclude: o.Names("exclude"), deltas: o.Bool("deltas", true), files: o.Bool("files", true)}
	var err error
	if rest == "" || strings.ContainsRune(rest, 0) {
		return nil, &source.MissingError{What: "repository", Name: rest}
	}
	if s.dir, err = filepath.Abs(rest); err != nil {
		return nil, err
	}
	return s, o.Err()
}

// find returns the repositories there are, by name.
func (s *Source) find(ctx context.Context) ([]*repository, error) {
	st, err := os.Stat(s.dir)
	if err == nil && !st.IsDir() {
		err = errors.New("it is no folder")
	}
	if err != nil {
		return nil, &source.MissingError{What: "repository", Name: s.dir, Err: err}
	}
	if isRepository(s.dir) {
		r := &repository{dir: s.dir}
		return []*repository{r}, s.tools.look(ctx, r)
	}
	f := finder{s: s}
	if err := f.walk(ctx, s.dir, "", "", s.depth); err != nil {
		return nil, err
	}
	if len(f.found) == 0 {
		return nil, &source.MissingError{What: "repository", Name: s.dir, Err: fmt.Errorf("there is none in the folder, down to %d folders below", s.depth)}
	}
	return f.found, nil
}

// finder looks for repositories.
type finder struct {
	s       *Source
	found   []*repository
	folders int
}

// walk looks into a folder. Links are not followed, and repositories are not looked into.
func (f *finder) walk(ctx context.Context, dir, rel, name string, depth int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if f.folders++; f.folders > maxFolders {
		return fmt.Errorf("there are more than %d folders in %q", maxFolders, f.s.dir)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		below, relBelow, nameBelow := filepath.Join(dir, e.Name()), path.Join(rel, e.Name()), path.Join(name, source.EscapeName(e.Name(), ""))
		switch {
		case f.s.exclude.Match(relBelow):
		case isRepository(below):
			r := &repository{name: nameBelow, dir: below}
			if err := f.s.tools.look(ctx, r); err != nil {
				return err
			}
			if f.found = append(f.found, r); len(f.found) > maxRepositories {
				return fmt.Errorf("there are more than %d repositories in %q", maxRepositories, f.s.dir)
			}
		case depth > 1:
			if err := f.walk(ctx, below, relBelow, nameBelow, depth-1); err != nil {
				return err
			}
		}
	}
	return nil
}

// Prepare implements source.Producer.
func (s *Source) Prepare(ctx context.Context, have []source.Have) (*source.Batch, error) {
	if err := s.tools.find(); err != nil {
		return nil, err
	}
	found, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	b := &source.Batch{Base: -1}
	have = have[:min(len(have), maxConsidered)]
	choice := s.choose(found, have)
	increments := false
	for _, r := range found {
		now := source.Point{Of: s.of(r), At: "r" + strconv.Itoa(r.youngest), ID: r.id(), Time: s.tools.date(ctx, r.dir, r.youngest)}
		first := 0
		if choice >= 0 {
			base, revision := r.base(s.of(r), have[choice])
			if base != nil && !base.Time.IsZero() && !s.tools.date(ctx, r.dir, revision).Equal(base.Time) {
				b.Notes = append(b.Notes, fmt.Sprintf("repository %q is stored in full: revision %d is another than the one that was stored", r.dir, revision))
				base = nil
			} else if base == nil {
				b.Notes = append(b.Notes, r.why(s.of(r), have[choice])...)
			}
			if base != nil {
				now.From, now.FromAt, first, increments = base.ID, base.At, revision+1, true
			}
		}
		if now.From == "" || first <= r.youngest {
			now.Stream = s.path(r, fmt.Sprintf("%08d-%08d.svndump", first, r.youngest))
			b.Streams = append(b.Streams, source.Stream{Path: now.Stream, Open: s.dump(r, first)})
		}
		b.Points = append(b.Points, now)
		if s.files {
			b.Streams = append(b.Streams, source.Stream{Path: s.path(r, filesName), Open: openFiles(r.dir)})
		}
	}
	if increments {
		b.Base = choice
	}
	slices.SortFunc(b.Streams, func(x, y source.Stream) int { return cmp.Compare(x.Path, y.Path) })
	return b, nil
}

// of is how points call a repository.
func (s *Source) of(r *repository) string {
	if r.name != "" {
		return r.name
	}
	return cmp.Or(source.EscapeName(filepath.Base(r.dir), ""), "repository")
}

// path is that of a stream of a repository.
func (s *Source) path(r *repository, what string) string {
	if r.name != "" {
		return r.name + "/" + what
	}
	return s.of(r) + "." + what
}

func (r *repository) id() string { return r.uuid + ":" + strconv.Itoa(r.youngest) }

// parseID takes the ID of a point apart.
func parseID(id string) (uuid string, revision int, ok bool) {
	uuid, text, ok := strings.Cut(id, ":")
	revision, err := strconv.Atoi(text)
	return uuid, revision, ok && err == nil && revision >= 0 && uuid != ""
}

// base finds the state of a repository in a snapshot that it still has.
func (r *repository) base(of string, have source.Have) (*source.Point, int) {
	for i := range have.Points {
		p := &have.Points[i]
		if uuid, revision, ok := parseID(p.ID); ok && p.Of == of && uuid == r.uuid && revision <= r.youngest {
			return p, revision
		}
	}
	return nil, 0
}

// why says why a repository that a snapshot has is stored in full all the same.
func (r *repository) why(of string, have source.Have) []string {
	for _, p := range have.Points {
		uuid, revision, ok := parseID(p.ID)
		switch {
		case !ok || p.Of != of:
		case uuid != r.uuid:
			return []string{fmt.Sprintf("repository %q is stored in full: it is another than the one that was stored, by its UUID", r.dir)}
		case revision > r.youngest:
			return []string{fmt.Sprintf("repository %q is stored in full: it has %d revisions, and had %d", r.dir, r.youngest, revision)}
		}
	}
	return nil
}

// choose returns the snapshot in which most repositories have a state to start from, the newest of these; -1: there is none. One snapshot is the base of all streams.
func (s *Source) choose(found []*repository, have []source.Have) int {
	best, most := -1, 0
	for i := range have {
		n := 0
		for _, r := range found {
			if p, _ := r.base(s.of(r), have[i]); p != nil {
				n++
			}
		}
		if n > most {
			best, most = i, n
		}
	}
	if best < 0 && len(have) > 0 {
		return 0 // to say why
	}
	return best
}

// dump makes the stream of the revisions from first on.
func (s *Source) dump(r *repository, first int) func(context.Context) (io.ReadCloser, error) {
	args := []string{"dump", "--quiet", "-r", fmt.Sprintf("%d:%d", first, r.youngest)}
	if first > 0 {
		args = append(args, "--incremental")
	}
	if s.deltas {
		args = append(args, "--deltas")
	}
	c := s.tools.command("svnadmin", append(args, r.dir)...)
	return func(ctx context.Context) (io.ReadCloser, error) { return c.Start(ctx) }
}
