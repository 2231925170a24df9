package zfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"firn/internal/program"
	"firn/internal/source"
)

// Taker gives streams to zfs receive, into a dataset and, where there were several, those below it. It implements source.Taker.
//
// Streams are received without the flag for receives that can be resumed: what ZFS resumes with is a stream that the sender makes anew, from the middle on, which a stored
// one is not. So a receive that was stopped leaves nothing, and the next run begins that link again.
type Taker struct {
	system
	target    string
	force     bool
	unmounted bool

	steps map[string]*step // by key
	ours  map[string]bool  // datasets that got a link in this run and are mounted: what changed them since is that they were looked at
	mount []string         // to be mounted after the last link
	left  int              // links to come
}

// step is what a link means for the target.
type step struct {
	dataset  string
	link     source.Link
	first    bool   // a full stream into what is not there
	over     bool   // what is there is rolled back
	abort    bool   // a receive that was stopped is given up
	rollback string // snapshot, to which the target is rolled back before; may be empty
}

func key(l source.Link) string { return l.Path + "\x00" + l.Point.ID }

// NewTaker returns what restores into the dataset that rest names. It looks at nothing yet. It fails with *NameError or *source.SettingError.
func NewTaker(rest string, o *source.Settings) (*Taker, error) {
	if err := checkName(rest); err != nil {
		return nil, err
	}
	t := &Taker{system: system{idle: program.Timeout(o)}, target: rest, force: o.Bool("force", false), unmounted: o.Bool("unmounted", false), ours: map[string]bool{}}
	return t, o.Err()
}

// Missing implements source.Taker.
func (t *Taker) Missing(ctx context.Context, links []source.Link) ([]source.Link, error) {
	if err := t.find(ctx, t.target, "receive"); err != nil {
		return nil, err
	}
	if u := t.can["receive"]; !t.has("receive", 'u') {
		u.flags += "u" // all versions that have holds take it; zfs-fuse does not say so
		t.can["receive"] = u
	}
	chains, err := t.chains(links)
	if err != nil {
		return nil, err
	}
	there, err := t.list(ctx, t.target, true)
	var missing *source.MissingError
	if err != nil && !errors.As(err, &missing) {
		return nil, err
	}
	t.steps, t.mount = map[string]*step{}, nil
	var needed []source.Link
	for _, c := range chains {
		i := slices.IndexFunc(there, func(d *dataset) bool { return d.name == c.dataset })
		var d *dataset
		if i >= 0 {
			d = there[i]
		}
		steps, err := t.fit(c, d)
		if err != nil {
			return nil, err
		}
		for _, s := range steps {
			t.steps[key(s.link)] = s
			needed = append(needed, s.link)
		}
	}
	t.left = len(needed)
	return needed, nil
}

// chain is the links that lead to a state of one dataset.
type chain struct {
	dataset string // of the target
	links   []source.Link
}

// chains sorts links into chains, those of parents first, and says which dataset of the target each belongs to.
func (t *Taker) chains(links []source.Link) ([]*chain, error) {
	byName := map[string]*chain{}
	var names []string
	for _, l := range links {
		if l.Point.ID == "" || checkName(l.Point.Of) != nil {
			return nil, &source.TargetError{Target: t.target, Reason: fmt.Sprintf("stream %q leads to no state of a dataset", l.Path)}
		}
		if byName[l.Point.Of] == nil {
			byName[l.Point.Of] = &chain{}
			names = append(names, l.Point.Of)
		}
		byName[l.Point.Of].links = append(byName[l.Point.Of].links, l)
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
	root := root(names)
	var all []*chain
	for _, n := range names {
		c := byName[n]
		c.dataset = t.target + strings.TrimPrefix(n, root)
		if err := checkName(c.dataset); err != nil {
			return nil, err
		}
		for i := 1; i < len(c.links); i++ {
			if from := c.links[i].Point; from.From != c.links[i-1].Point.ID {
				return nil, &source.TargetError{Target: c.dataset, Reason: fmt.Sprintf("stream %q starts from %q, but the one before it leads to %q", c.links[i].Path, from.FromAt, c.links[i-1].Point.At)}
			}
		}
		all = append(all, c)
	}
	return all, nil
}

// root is the dataset below which all lie.
func root(names []string) string {
	if len(names) == 0 {
		return ""
	}
	r := names[0]
	for _, n := range names {
		for n != r && !strings.HasPrefix(n, r+"/") {
			r = path.Dir(r)
			if r == "." {
				return ""
			}
		}
	}
	return r
}

// fit says which links of a chain a dataset still needs.
func (t *Taker) fit(c *chain, d *dataset) ([]*step, error) {
	unfit := func(exists bool, format string, args ...any) error {
		return &source.TargetError{Target: c.dataset, Reason: fmt.Sprintf(format, args...), Exists: exists}
	}
	last := -1 // link up to which the target has all
	var at *state
	for i, l := range c.links {
		if d == nil {
			break
		}
		if s := d.find(l.Point.ID); s != nil && !s.bookmark {
			last, at = i, s
		}
	}
	if last == len(c.links)-1 {
		return nil, nil
	}
	next := c.links[last+1].Point
	if d != nil && at == nil && next.From != "" {
		if s := d.find(next.From); s != nil && !s.bookmark {
			at = s
		}
	}
	steps := make([]*step, 0, len(c.links)-last-1)
	for _, l := range c.links[last+1:] {
		steps = append(steps, &step{dataset: c.dataset, link: l})
	}
	switch {
	case d == nil && next.From != "":
		return nil, unfit(false, "snapshot %q (GUID %s) has to be received there first: stream %q starts from it", next.FromAt, next.From, c.links[last+1].Path)
	case d == nil:
		steps[0].first = true
		return steps, nil
	}
	steps[0].abort = d.token != ""
	switch {
	case d.token != "" && !t.force:
		return nil, unfit(true, "a receive into it was stopped and can be resumed")
	case at == nil && next.From != "":
		return nil, unfit(len(d.states) > 0, "it does not have snapshot %q (GUID %s), from which stream %q starts", next.FromAt, next.From, c.links[last+1].Path)
	case at == nil && len(d.states) > 0:
		return nil, unfit(true, "it exists and has snapshots of something else, such as %q", d.newest().name)
	case at == nil && !t.force:
		return nil, unfit(true, "it exists, and what is to be restored has nothing in common with it")
	case at == nil:
		steps[0].over = true
		return steps, nil
	}
	newest := d.newest()
	if newest != at && !t.force {
		return nil, unfit(true, "it has %q and perhaps more, newer than %q, from which stream %q starts", newest.name, at.name, c.links[last+1].Path)
	}
	if newest == at && d.written > 0 && !t.force {
		return nil, unfit(true, "it was changed since its newest snapshot, %q", at.name)
	}
	if newest != at {
		steps[0].rollback = at.full()
	}
	steps[0].over = t.force
	return steps, nil
}

// Take implements source.Taker.
func (t *Taker) Take(ctx context.Context, l source.Link) error {
	s := t.steps[key(l)]
	if s == nil {
		return &source.TargetError{Target: t.target, Reason: fmt.Sprintf("stream %q was not asked for", l.Path)}
	}
	r, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	in := bufio.NewReaderSize(r, 4<<10)
	if err := begins(in, l); err != nil {
		return err
	}
	if err := t.prepare(ctx, s); err != nil {
		return err
	}
	args := []string{"receive"}
	if t.has("receive", 'u') {
		args = append(args, "-u")
	}
	if s.over || t.ours[s.dataset] {
		args = append(args, "-F") // a file system that gets mounted changes by being looked at
	}
	err = program.Command{Name: t.zfs, Args: append(args, s.dataset), Idle: t.idle}.Feed(ctx, in)
	if err != nil {
		return t.explain(err, s)
	}
	if s.first {
		t.mount = append(t.mount, s.dataset)
	}
	if !t.has("receive", 'u') || !slices.Contains(t.mount, s.dataset) {
		t.ours[s.dataset] = true
	}
	if t.left--; t.left == 0 {
		t.mountAll(ctx)
	}
	return nil
}

// begins looks whether a stream is what it should be, before anything is changed.
func begins(in *bufio.Reader, l source.Link) error {
	b, err := in.Peek(headerSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h, simple, ok := parseHeader(b)
	if !ok || simple && (h.to != l.Point.ID || h.from != l.Point.From) {
		return &source.ProducerError{Program: fmt.Sprintf("stream %q", l.Path), Err: errStream}
	}
	return nil
}

// prepare makes a target ready for a link.
func (t *Taker) prepare(ctx context.Context, s *step) error {
	if parent := path.Dir(s.dataset); s.first && strings.Contains(parent, "/") {
		if err := t.run(ctx, parent, "create", "-p", parent); err != nil {
			return err
		}
	}
	if s.abort {
		if err := t.run(ctx, s.dataset, "receive", "-A", s.dataset); err != nil {
			return err
		}
	}
	if s.rollback != "" {
		return t.run(ctx, s.rollback, "rollback", "-r", s.rollback)
	}
	return nil
}

// explain makes what zfs receive said into what it means.
func (t *Taker) explain(err error, s *step) error {
	reason := ""
	switch {
	case said(err, "has been modified"):
		reason = "it was changed since its newest snapshot"
	case said(err, "does not match incremental source"):
		reason = fmt.Sprintf("its newest snapshot is not %q, from which stream %q starts", s.link.Point.FromAt, s.link.Path)
	case said(err, "exists", "destination has snapshots"):
		reason = "it exists already"
	case said(err, "partially-complete"):
		reason = "a receive into it was stopped and can be resumed"
	default:
		return explain(err, s.dataset, "zfs receive")
	}
	return &source.TargetError{Target: s.dataset, Reason: reason, Exists: true}
}

// mountAll mounts what was received unmounted, so that it could not change between two links. That a dataset cannot be mounted, for want of its key or of a right, does not
// make the restore less whole. One that brought its own mount point along may hide something there, and is left to the user.
func (t *Taker) mountAll(ctx context.Context) {
	if t.unmounted || !t.has("receive", 'u') {
		return
	}
	for _, d := range t.mount {
		out, err := t.output(ctx, d, "get", "-H", "-o", "value,source", "mountpoint", d)
		value, from, _ := strings.Cut(strings.TrimSpace(string(out)), "\t")
		if err == nil && strings.HasPrefix(value, "/") && from != "received" && from != "local" {
			_ = t.run(ctx, d, "mount", d)
		}
	}
}
