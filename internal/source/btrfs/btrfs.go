// Package btrfs backs subvolumes of btrfs up: as the streams that btrfs send makes, each full or from a snapshot that the repository has, or as the files of a snapshot.
//
//	Prepare   look at the subvolume → find the newest snapshot that disk and repository share → take a read-only snapshot, or go on with that of a run that was stopped
//	stream    btrfs send, looked at in its first bytes: it has to lead from where it should to where it should
//	End       mark the snapshot as stored, delete older ones of ours
//
// States are compared by UUID, never by name. Snapshots are ours where they lie in the folder FOLDER/HOLDER, which nobody else uses: FOLDER is the setting "snapshots", or .firn-snapshots beside the
// subvolume, or in it where it is mounted by itself, so that what lies beside it is another file system. HOLDER is source.Host.Holder. No other snapshot is ever deleted. An empty file NAME.stored beside a snapshot says that
// it is in the repository.
//
// A snapshot has nothing of subvolumes below the one it was taken of; a note names them.
package btrfs

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"firn/internal/program"
	"firn/internal/source"
)

// Kind is how snapshots call these sources.
const Kind = "btrfs"

// Settings are what can be said of subvolumes, as a source and as a target.
var Settings = append([]source.Setting{
	{Name: "mode", Value: "streams|files", Default: "streams", Help: "store what btrfs send makes, or the files of a snapshot"},
	{Name: "snapshots", Value: "FOLDER", Default: ".firn-snapshots beside it", Help: "where our snapshots lie, in the same file system"},
	{Name: "pattern", Value: "PATTERN", Default: defaultPattern, Help: "names of snapshots, as date(1) has them"},
	{Name: "keep", Value: "NUMBER", Default: "1", Help: "snapshots of ours to keep"},
	{Name: "resume", Value: "DURATION", Default: "7d", Help: "how old the snapshot of a stopped run may be to be gone on with; for full streams at least 30d"},
	{Name: "force", Value: "yes|no", Default: "no", Help: "restoring: delete a subvolume that has the name of one to be restored"},
}, program.Common...)

const (
	defaultPattern = "firn-%Y%m%d-%H%M%S"
	defaultFolder  = ".firn-snapshots"
	defaultHolder  = "local"
	filesMark      = ".files"  // ends the name of the folder of snapshots taken for their files
	storedMark     = ".stored" // ends the name of the file that says that a snapshot is in the repository
	maxNames       = 10000     // entries of a folder that are looked at
)

// resumeFull is how old the snapshot of a stopped run may be at least for a full stream to go on with it: the first one of a large subvolume takes weeks.
const resumeFull = 30 * 24 * time.Hour

// Source is a subvolume. It implements source.Producer.
type Source struct {
	system
	host    source.Host
	path    string
	folder  string // of our snapshots; empty: to be found
	pattern string
	keep    int
	resume  time.Duration
	files   bool
}

// New returns the source that rest, the path of a subvolume, means. It looks at nothing yet. It fails with *source.SettingError.
func New(rest string, o *source.Settings, host source.Host) (*Source, error) {
	s := &Source{system: system{idle: program.Timeout(o)}, host: host, path: rest, folder: o.Text("snapshots", ""), pattern: o.Text("pattern", defaultPattern),
		keep: o.Int("keep", 1, 1, 10000), resume: o.Duration("resume", 7*24*time.Hour)}
	if s.host.Now == nil {
		s.host.Now = time.Now
	}
	if s.host.Holder == "" {
		s.host.Holder = defaultHolder
	}
	switch o.Text("mode", "streams") {
	case "streams":
	case "files":
		s.files = true
	default:
		o.Fail("mode", "want streams or files")
	}
	if _, err := s.newName(s.host.Now()); err != nil {
		o.Fail("pattern", err.Error())
	}
	if s.folder != "" && !filepath.IsAbs(s.folder) {
		o.Fail("snapshots", "want an absolute path")
	}
	return s, o.Err()
}

// newName makes the name of a snapshot.
func (s *Source) newName(t time.Time) (string, error) {
	name, err := source.Moment(s.pattern, t)
	if err == nil && (strings.ContainsAny(name, "/\x00") || name[0] == '.' || name[0] == '-' || strings.HasSuffix(name, storedMark)) {
		err = fmt.Errorf("%q is no name of a snapshot", name)
	}
	return name, err
}

// Prepare implements source.Producer. It fails with *source.ProgramError, *source.MissingError, *DeniedError, *TakenError, *ReceivedError or *source.ProducerError.
func (s *Source) Prepare(ctx context.Context, have []source.Have) (*source.Batch, error) {
	if err := s.find(); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(s.path)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, &source.MissingError{What: "subvolume", Name: s.path, Err: reason(err)}
	}
	p := &plan{Source: s, path: path, have: have, base: -1}
	st, err := s.show(ctx, path)
	if err != nil {
		return nil, err
	}
	if st.received != "" && !s.files {
		return nil, &ReceivedError{Subvolume: path}
	}
	if err := p.openFolder(); err != nil {
		return nil, err
	}
	if p.states, err = s.states(ctx, p.folder); err != nil {
		return nil, err
	}
	if s.files {
		return p.prepareFiles(ctx)
	}
	p.chooseBase()
	if err := p.chooseSnapshot(ctx); err != nil {
		return nil, err
	}
	p.noteBelow(ctx)
	return p.batch(), nil
}

// plan is one run.
type plan struct {
	*Source
	path   string // of the subvolume, as it is
	folder string // of our snapshots
	have   []source.Have
	states []*state // there before this run, old to new
	base   int      // index in have; -1: none
	from   *state   // nil: full
	point  source.Point
	target *state
	taken  bool     // by this run
	made   []string // folders that a run that only pretends removes again, the innermost first
	notes  []string
}

func (p *plan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// openFolder finds or makes the folder of our snapshots.
func (p *plan) openFolder() error {
	folder, holder := p.Source.folder, p.host.Holder
	if folder == "" {
		folder = filepath.Join(filepath.Dir(p.path), defaultFolder)
		if mountPoint(p.path) {
			folder = filepath.Join(p.path, defaultFolder)
		}
	}
	if p.files {
		holder += filesMark
	}
	p.folder = filepath.Join(folder, holder)
	for dir := p.folder; p.host.Pretend && !exists(dir); dir = filepath.Dir(dir) {
		p.made = append(p.made, dir)
	}
	err := os.MkdirAll(p.folder, 0o700)
	if err != nil && os.IsPermission(err) {
		return &DeniedError{What: "make a folder for snapshots", Err: err}
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// chooseBase finds the newest snapshot of the repository that is one of ours that is still there.
func (p *plan) chooseBase() {
	for i, h := range p.have {
		for _, q := range h.Points {
			if s := find(p.states, q.ID); s != nil {
				p.base, p.from, p.point = i, s, q
				break
			}
		}
		if p.from != nil {
			break
		}
	}
	if p.base == 0 || len(p.have) == 0 || len(p.have[0].Points) == 0 {
		return
	}
	gone := p.have[0].Points[0].At
	if p.base < 0 {
		p.note("snapshot %s, from which an increment would start, is gone, and so are older ones: a full stream is made", gone)
	} else {
		p.note("snapshot %s, from which an increment would start, is gone: it starts from an older one", gone)
	}
}

// chooseSnapshot goes on with the snapshot of a run that was stopped, or takes a new one.
func (p *plan) chooseSnapshot(ctx context.Context) error {
	if s := p.stopped(); s != nil {
		p.target = s
		p.note("goes on with snapshot %s, which a backup that was stopped has taken %s ago", s.name, source.Ago(p.host.Now().Sub(s.creation)))
		return nil
	}
	return p.take(ctx)
}

// stopped finds the snapshot of a run that did not end: ours, newer than what the repository has, and young enough that going on with it saves more than what came since is worth.
func (p *plan) stopped() (found *state) {
	stored := map[string]bool{}
	for _, h := range p.have {
		for _, q := range h.Points {
			stored[q.ID] = true
		}
	}
	limit := p.resume
	if p.from == nil {
		limit = max(limit, resumeFull)
	}
	for _, s := range p.states {
		if s.stored || stored[s.uuid] || !s.readOnly || p.from != nil && s.generation <= p.from.generation || p.host.Now().Sub(s.creation) > limit {
			continue
		}
		found = s
	}
	return found
}

// take takes a snapshot under a name that is free.
func (p *plan) take(ctx context.Context) error {
	now := p.host.Now()
	name, err := p.newName(now)
	if err != nil {
		return err
	}
	full := filepath.Join(p.folder, name)
	if _, err := os.Lstat(full); err == nil {
		full += now.Format("-150405")
	}
	if _, err := os.Lstat(full); err == nil { // a snapshot would be put into what is there
		return &TakenError{Snapshot: full}
	}
	if err := p.run(ctx, p.path, "subvolume", "snapshot", "-r", p.path, full); err != nil {
		return err
	}
	p.taken = true
	if p.target, err = p.show(ctx, full); err != nil {
		return err
	}
	return nil
}

// noteBelow names the subvolumes below, of which a snapshot has nothing.
func (p *plan) noteBelow(ctx context.Context) {
	out, err := p.output(ctx, p.path, "subvolume", "list", "-o", p.path)
	if err != nil {
		return
	}
	var below []string
	for line := range strings.Lines(string(out)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), " path "); ok && !strings.Contains("/"+name+"/", "/"+defaultFolder+"/") && !strings.HasPrefix(filepath.Join("/", name), p.folder) {
			below = append(below, name)
		}
	}
	if len(below) == 1 {
		p.note("subvolume %q below it is not part of it", below[0])
	} else if len(below) > 1 {
		p.note("%d subvolumes below it, such as %q, are not part of it", len(below), below[0])
	}
}

// batch is the stream of the snapshot that was chosen.
func (p *plan) batch() *source.Batch {
	zone := p.host.Now().Location()
	to := p.target.creation.In(zone)
	point := source.Point{Of: p.Source.path, At: p.target.name, ID: p.target.uuid, Time: p.target.creation}
	var from time.Time
	if p.from != nil {
		point.Of, point.From, point.FromAt = p.point.Of, p.from.uuid, p.point.At
		from = p.from.creation.In(zone)
	}
	sameDay := slices.ContainsFunc(p.have, func(h source.Have) bool {
		return slices.ContainsFunc(h.Points, func(q source.Point) bool { return q.Time.In(zone).Format(time.DateOnly) == to.Format(time.DateOnly) })
	})
	name := strings.TrimPrefix(filepath.Base(p.path), "@")
	if name == "" || name == "/" || name == "." {
		name = "root"
	}
	point.Stream = source.ChainName(name, from, to, sameDay, ".btrfs")
	return &source.Batch{Base: p.base, Streams: []source.Stream{p.stream(point)}, Points: []source.Point{point}, Notes: p.notes, End: p.end}
}

// reason is what a system call said, without the path.
func reason(err error) error {
	if e, ok := err.(*fs.PathError); ok {
		return e.Err
	}
	return err
}
