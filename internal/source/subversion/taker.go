package subversion

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/source"
)

// Taker loads dumps into repositories. It implements source.Taker.
type Taker struct {
	tools tools
	dir   string
	files bool
	plans map[string]plan // by path of the stream
}

// plan is what becomes of one stream.
type plan struct {
	dir         string // of the repository
	files       bool   // conf.tar
	first, last int    // revisions of a dump
	from        int    // the first that is missing
}

// NewTaker returns the repository at a path, or, for streams of a folder of repositories, the folder. Either is made where it is missing.
func NewTaker(rest string, o *source.Settings) (*Taker, error) {
	t := &Taker{tools: newTools(o), files: o.Bool("files", true)}
	if rest == "" || strings.ContainsRune(rest, 0) {
		return nil, &source.MissingError{What: "repository", Name: rest}
	}
	var err error
	if t.dir, err = filepath.Abs(rest); err != nil {
		return nil, err
	}
	return t, o.Err()
}

var (
	dumpPath  = regexp.MustCompile(`^(?:(.+)/|[^/]+\.)([0-9]{8,10})-([0-9]{8,10})\.svndump$`)
	filesPath = regexp.MustCompile(`^(?:(.+)/|[^/]+\.)` + regexp.QuoteMeta(filesName) + `$`)
)

// plan reads the path of a stream.
func (t *Taker) plan(name string) (plan, error) {
	bad := &source.TargetError{Target: t.dir, Reason: fmt.Sprintf("%q is no dump of a repository", name)}
	var p plan
	var folder string
	if m := filesPath.FindStringSubmatch(name); m != nil {
		folder, p.files = m[1], true
	} else if m := dumpPath.FindStringSubmatch(name); m != nil {
		folder = m[1]
		p.first, _ = strconv.Atoi(m[2])
		p.last, _ = strconv.Atoi(m[3])
		if p.first > p.last {
			return p, bad
		}
		p.from = p.first
	} else {
		return p, bad
	}
	p.dir = t.dir
	if folder == "" {
		return p, nil
	}
	for _, component := range strings.Split(folder, "/") {
		file, ok := source.UnescapeName(component)
		if !ok || file == "" || !filepath.IsLocal(file) || file == "." || strings.ContainsRune(file, filepath.Separator) {
			return p, bad
		}
		p.dir = filepath.Join(p.dir, file)
	}
	return p, nil
}

// Missing implements source.Taker. A repository that has the begin of the history gets the rest; one that is new gets configuration and hooks, too.
func (t *Taker) Missing(ctx context.Context, links []source.Link) ([]source.Link, error) {
	if err := t.tools.find(); err != nil {
		return nil, err
	}
	t.plans = map[string]plan{}
	groups := map[string][]source.Link{}
	var dirs []string
	for _, l := range links {
		p, err := t.plan(l.Path)
		if err != nil {
			return nil, err
		}
		if t.plans[l.Path] = p; !slices.Contains(dirs, p.dir) {
			dirs = append(dirs, p.dir)
		}
		groups[p.dir] = append(groups[p.dir], l)
	}
	var wanted []source.Link
	for _, dir := range dirs {
		some, err := t.missing(ctx, dir, groups[dir])
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, some...)
	}
	return wanted, nil
}

// missing says what one repository needs. Configuration comes first: it says how revisions are kept, loading runs no hooks, and a load that is gone on with leaves it alone.
func (t *Taker) missing(ctx context.Context, dir string, links []source.Link) ([]source.Link, error) {
	r, err := t.target(ctx, dir)
	if err != nil {
		return nil, err
	}
	fresh := r == nil || r.youngest == 0 && !slices.ContainsFunc(links, func(l source.Link) bool { return strings.HasPrefix(l.Point.ID, r.uuid+":") })
	next := 0
	if !fresh {
		if next, err = t.next(ctx, r, links); err != nil {
			return nil, err
		}
	}
	var wanted, before []source.Link
	for _, l := range links {
		p := t.plans[l.Path]
		switch {
		case p.files && fresh && t.files:
			before = append(before, l)
		case p.files || p.last < next:
		case p.first > next:
			return nil, &source.TargetError{Target: dir, Reason: fmt.Sprintf("the streams go on with revision %d, and the repository needs revision %d", p.first, next)}
		default:
			p.from = next
			t.plans[l.Path] = p
			next = p.last + 1
			wanted = append(wanted, l)
		}
	}
	return append(before, wanted...), nil
}

// target looks at what is there; nil: nothing.
func (t *Taker) target(ctx context.Context, dir string) (*repository, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case len(entries) == 0:
		return nil, nil
	case !isRepository(dir):
		return nil, &source.TargetError{Target: dir, Exists: true, Reason: "it is no repository, and not empty"}
	}
	r := &repository{dir: dir}
	return r, t.tools.look(ctx, r)
}

// next is the first revision that a repository needs. It has to be the same as the one that was stored, as far as it goes.
func (t *Taker) next(ctx context.Context, r *repository, links []source.Link) (int, error) {
	for _, l := range links {
		uuid, revision, ok := parseID(l.Point.ID)
		switch {
		case !ok || t.plans[l.Path].files:
		case uuid != r.uuid:
			return 0, &source.TargetError{Target: r.dir, Exists: true, Reason: "it is another repository, by its UUID"}
		case revision <= r.youngest && !l.Point.Time.IsZero() && !t.tools.date(ctx, r.dir, revision).Equal(l.Point.Time):
			return 0, &source.TargetError{Target: r.dir, Exists: true, Reason: fmt.Sprintf("its revision %d is another than the one that was stored", revision)}
		}
	}
	return r.youngest + 1, nil
}

// Take implements source.Taker. What was loaded stays where a load fails: the next one goes on there.
func (t *Taker) Take(ctx context.Context, l source.Link) error {
	p, ok := t.plans[l.Path]
	if !ok {
		return &source.TargetError{Target: t.dir, Reason: fmt.Sprintf("nobody asked for %q", l.Path)}
	}
	r, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if err := t.unchanged(ctx, p); err != nil {
		return err
	}
	if !isRepository(p.dir) {
		if err := os.MkdirAll(p.dir, 0o755); err != nil {
			return err
		}
		if _, err := t.tools.ask(ctx, "svnadmin", "create", p.dir); err != nil {
			return err
		}
	}
	if p.files {
		return takeFiles(p.dir, r)
	}
	args := []string{"load", "--quiet", "--bypass-prop-validation"} // what older servers took is content all the same
	if p.first == 0 && p.from == 0 {
		args = append(args, "--force-uuid")
	} else {
		args = append(args, "--ignore-uuid")
	}
	if p.from > p.first {
		args = append(args, "-r", fmt.Sprintf("%d:%d", p.from, p.last))
	}
	c := t.tools.command("svnadmin", append(args, p.dir)...)
	c.Idle = 0             // a revision may take long
	c.Finish = time.Minute // it stores a revision first and its date then: killed in between, it leaves one that nobody recognizes
	if p.from == p.first {
		return c.Feed(ctx, r)
	}
	has := p.from - 1
	err = c.Feed(ctx, &verifier{in: bufio.NewReaderSize(r, 64<<10), revision: has, date: t.tools.date(ctx, p.dir, has)})
	if errors.Is(err, errOther) {
		return &source.TargetError{Target: p.dir, Exists: true, Reason: errOther.Error()}
	}
	return err
}

// unchanged looks again, since what is thawed takes days, in which others make repositories and commit to them.
func (t *Taker) unchanged(ctx context.Context, p plan) error {
	r, err := t.target(ctx, p.dir)
	switch {
	case err != nil:
		return err
	case r == nil && p.from > 0:
		return &source.MissingError{What: "repository", Name: p.dir}
	case r != nil && r.youngest != max(p.from-1, 0):
		return &source.TargetError{Target: p.dir, Exists: true, Reason: fmt.Sprintf("it has changed meanwhile: its youngest revision is %d", r.youngest)}
	}
	return nil
}

// String is how errors call the target.
func (t *Taker) String() string { return "svn:" + cmp.Or(t.dir, ".") }
