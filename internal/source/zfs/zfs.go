// Package zfs backs datasets and volumes of ZFS up: as the streams that zfs send makes, each full or from a state that the repository has, or as the files of a snapshot.
//
//	Prepare   ask what there is → find the newest state that pool and repository share → take a snapshot, or go on with that of a run that was stopped → hold it
//	streams   zfs send, looked at in its first bytes: it has to lead from where it should to where it should
//	End       mark the snapshots as stored, bookmark them, let go of older ones of ours
//
// States are compared by GUID, never by name. Snapshots are ours where they carry the property firn:source with the value of source.Host.Holder, set by the same
// command that takes them; no other snapshot is ever destroyed, renamed or released. A state that is to be the base of the next increment is held (tag "firn:" and
// the holder) and, where the installed version has bookmarks, bookmarked (#NAME:firn:HOLDER), so that increments go on even if the snapshot is destroyed. What the installed zfs can
// do is found by asking it: version numbers differ between systems that can do the same.
//
// A full stream of a later snapshot shares nothing with that of an earlier one, since every record names the snapshot that it was sent from. So a run that was stopped leaves its
// snapshot, and the next one sends the very same stream, of which the repository then has the beginning.
package zfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"firn/internal/program"
	"firn/internal/source"
)

// Settings are what can be said of datasets, as a source and as a target.
var Settings = append([]source.Setting{
	{Name: "mode", Value: "streams|files", Default: "streams", Help: "store what zfs send makes, or the files of a snapshot"},
	{Name: "recursive", Value: "yes|no", Default: "no", Help: "with all that lies below, at the same moment"},
	{Name: "pattern", Value: "PATTERN", Default: defaultPattern, Help: "names of snapshots, as date(1) has them"},
	{Name: "snapshot", Value: "NAME", Help: "store this snapshot, which is there already, and take none"},
	{Name: "keep", Value: "NUMBER", Default: "1", Help: "snapshots of ours to keep; 0: a bookmark is enough"},
	{Name: "intermediates", Value: "yes|no", Default: "no", Help: "increments hold the snapshots between, too (zfs send -I)"},
	{Name: "raw", Value: "auto|yes|no", Default: "auto", Help: "as it lies on the disk (zfs send -w); auto: what is encrypted"},
	{Name: "large_blocks", Value: "yes|no", Default: "yes", Help: "zfs send -L, where it has it"},
	{Name: "embedded", Value: "yes|no", Default: "yes", Help: "zfs send -e, where it has it"},
	{Name: "compressed", Value: "yes|no", Default: "yes", Help: "zfs send -c, where it has it"},
	{Name: "properties", Value: "yes|no", Default: "no", Help: "streams hold the properties (zfs send -p)"},
	{Name: "resume", Value: "DURATION", Default: "7d", Help: "how old the snapshot of a stopped run may be to be gone on with; for full streams at least 30d"},
	{Name: "force", Value: "yes|no", Default: "no", Help: "restoring: roll the target back to what is restored"},
	{Name: "unmounted", Value: "yes|no", Default: "no", Help: "restoring: leave it unmounted"},
}, program.Common...)

// Kind is how snapshots call these sources.
const Kind = "zfs"

// Property names of ours.
const (
	propSource = "firn:source" // of a snapshot: the holder that took it
	propStored = "firn:stored" // of a snapshot: it is in the repository
	propClone  = "firn:clone"  // of a clone: the holder that made it, to read its files
)

// filesMark distinguishes snapshots taken for their files, which nothing goes on from.
const filesMark = ".files"

// defaultHolder is who holds where nobody says.
const defaultHolder = "local"

// Source is a dataset or volume, with what lies below it if that is wished. It implements source.Producer.
type Source struct {
	system
	host    source.Host
	dataset string
	holder  string

	files         bool
	recursive     bool
	pattern       string
	snapshot      string
	keep          int
	intermediates bool
	raw           string
	largeBlocks   bool
	embedded      bool
	compressed    bool
	properties    bool
	resume        time.Duration
}

// New returns the source that rest, the name of a dataset or volume, means. It looks at nothing yet. It fails with *NameError or *source.SettingError.
func New(rest string, o *source.Settings, host source.Host) (*Source, error) {
	if err := checkName(rest); err != nil {
		return nil, err
	}
	s := &Source{
		host: host, dataset: rest, holder: host.Holder,
		recursive: o.Bool("recursive", false), pattern: o.Text("pattern", defaultPattern), snapshot: o.Text("snapshot", ""), keep: o.Int("keep", 1, 0, 10000),
		intermediates: o.Bool("intermediates", false), raw: o.Text("raw", "auto"), largeBlocks: o.Bool("large_blocks", true), embedded: o.Bool("embedded", true),
		compressed: o.Bool("compressed", true), properties: o.Bool("properties", false), resume: o.Duration("resume", 7*24*time.Hour),
	}
	s.system = system{idle: program.Timeout(o)}
	if s.holder == "" {
		s.holder = defaultHolder
	}
	if s.host.Now == nil {
		s.host.Now = time.Now
	}
	switch o.Text("mode", "streams") {
	case "streams":
	case "files":
		s.files = true
	default:
		o.Fail("mode", "want streams or files")
	}
	if s.raw != "auto" && s.raw != "yes" && s.raw != "no" {
		o.Fail("raw", "want auto, yes or no")
	}
	if s.files && s.recursive {
		o.Fail("recursive", "the files of each dataset are a source of their own")
	}
	if s.files && s.snapshot != "" {
		o.Fail("snapshot", "files are read from a snapshot that is taken for it")
	}
	if _, err := expand(s.pattern, s.host.Now()); err != nil {
		o.Fail("pattern", err.Error())
	}
	if s.snapshot != "" && !validComponent(s.snapshot) {
		o.Fail("snapshot", "want the part of its name behind the @")
	}
	return s, o.Err()
}

// Prepare implements source.Producer. It fails with *source.ProgramError, *source.MissingError, *PoolError, *DeniedError, *TakenError or *source.ProducerError.
func (s *Source) Prepare(ctx context.Context, have []source.Have) (*source.Batch, error) {
	if err := s.find(ctx, s.dataset, "send", "bookmark"); err != nil {
		return nil, err
	}
	if s.files {
		return s.prepareFiles(ctx)
	}
	all, err := s.list(ctx, s.dataset, s.recursive)
	if err != nil {
		return nil, err
	}
	p := &plan{Source: s, have: have}
	p.chooseBase(all)
	if err := p.chooseSnapshot(ctx, all); err != nil {
		return nil, err
	}
	b, err := p.batch(ctx)
	if err != nil && s.host.Pretend && p.taken {
		err = errors.Join(err, p.untake(context.WithoutCancel(ctx)))
	}
	return b, err
}

// plan is one run.
type plan struct {
	*Source
	have  []source.Have
	base  int    // index in have; -1: none
	of    string // what the dataset is called in points
	name  string // of the snapshot that is stored
	taken bool   // by this run
	parts []part
	notes []string
}

// part is one dataset of a run.
type part struct {
	dataset *dataset
	target  *state
	from    *state       // nil: full
	base    source.Point // that from is
}

// note tells something with the batch.
func (p *plan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// batch makes the streams of the snapshot that was chosen.
func (p *plan) batch(ctx context.Context) (*source.Batch, error) {
	all, err := p.list(ctx, p.dataset, p.recursive)
	if err != nil {
		return nil, err
	}
	if err := p.split(all); err != nil {
		return nil, err
	}
	if err := p.holdAll(ctx); err != nil {
		return nil, err
	}
	b := &source.Batch{Base: -1, End: p.end}
	for _, q := range p.parts {
		point := source.Point{Of: p.nameOf(q.dataset), At: q.target.name, ID: q.target.guid, Time: q.target.creation}
		if q.from != nil {
			b.Base = p.base
			point.From, point.FromAt = q.from.guid, q.base.At
		}
		if point.From != point.ID {
			point.Stream = p.streamName(q)
			b.Streams = append(b.Streams, p.stream(ctx, point.Stream, q))
		}
		b.Points = append(b.Points, point)
	}
	sortBatch(b)
	b.Notes = p.notes
	return b, nil
}

// split finds the state to be stored of every dataset, and what its stream starts from.
func (p *plan) split(all []*dataset) error {
	for _, d := range all {
		target := d.snapshot(p.name)
		if target == nil && d.name == p.dataset {
			return &source.MissingError{What: "snapshot", Name: d.name + "@" + p.name}
		}
		if target == nil {
			p.note("%s has no snapshot %s, so it is left out this time", d.name, p.name)
			continue
		}
		q := part{dataset: d, target: target}
		if p.base >= 0 {
			q.from, q.base = p.common(d, p.have[p.base], target)
			switch {
			case q.from == nil:
				p.tellFull(d)
			case q.from.guid != target.guid && p.otherwise(d, q.base):
				p.note("%s was stored raw, or with large blocks, and now is not, or the other way round, and nothing can be received on top of that: its stream is a full one", d.name)
				q.from, q.base = nil, source.Point{}
			}
		}
		p.parts = append(p.parts, q)
	}
	return nil
}

// tellFull says why the stream of a dataset is a full one inside of increments.
func (p *plan) tellFull(d *dataset) {
	for _, point := range p.have[p.base].Points {
		if point.Of == p.nameOf(d) {
			p.note("%s no longer has %s, from which an increment would start (destroyed or rolled back): its stream is a full one", d.name, point.At)
			return
		}
	}
	p.note("%s is new: its stream is a full one", d.name)
}

// holdTag is the tag of our holds.
func (s *Source) holdTag() string { return "firn:" + s.holder }

// checkName fails with *NameError unless name can be a dataset.
func checkName(name string) error {
	if len(name) > 255 {
		return &NameError{name, "it has more than 255 bytes"}
	}
	if strings.Contains(name, "@") {
		return &NameError{name, "that is a snapshot, not a dataset"}
	}
	for _, c := range strings.Split(name, "/") {
		if !validComponent(c) {
			return &NameError{name, "want a name such as tank/home"}
		}
	}
	return nil
}

// validComponent reports whether s can be a part of a name of ZFS.
func validComponent(s string) bool {
	if s == "" || s == "." || s == ".." || s[0] == '-' || s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.: ", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// openFolder opens a folder; nil: that is not to be had.
func openFolder(path string) *os.File {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	if st, err := f.Stat(); err != nil || !st.IsDir() {
		_ = f.Close()
		return nil
	}
	return f
}
