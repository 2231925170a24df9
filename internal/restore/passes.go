package restore

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"firn/internal/digest"
	"firn/internal/state"
	"firn/internal/target"
)

// Passes is what the passes of one restore know of each other: what was in the target before, which packs need not come again, which files are decided.
// A restore whose packs come bit by bit, over days perhaps, is a series of Runs with the same Passes, each about the packs that can be read at
// that time (Options.Only). It takes about 100 bytes of memory for each pack, and for each large file that was decided before all of its packs came. Not for
// concurrent use.
//
// With a journal it outlives the process; trouble with the journal is told by its owner (package state), and the passes are then of this process alone.
// What a pass has done is entered after it was synced to the disk, bit by bit; what was not entered is done again, and files that are there
// already by then count as kept.
type Passes struct {
	j     *state.Journal // nil: in memory only
	head  passHead
	id    [16]byte    // of the restore
	fresh *passRecord // read and not yet committed

	before  *before
	entered bool // something has been committed
	begun   bool // what needs no pack is done
	done    bool // the last pass is
	had     packSet
	needed  packSet // once more
	planned packSet
	parts   map[digest.Object]map[uint32]struct{} // of packs that could not be read to their end: frames that need not come again, by offset
	lost    map[string]*Damage                    // what failed, relative to the target; nil: not for damage
	hurt    map[string]*Damage                    // large files that miss a piece, and go on nevertheless
	settled map[fileKey]struct{}                  // large files that were decided on before all of their packs came
	again   map[string]struct{}                   // large files whose partial content was lost between passes
	sum     Result
	bytes   int64 // of content that was brought or found there

	files, content int64 // that there are in all, and their bytes; 0: unknown
}

// packSet is a set of packs by name.
type packSet map[digest.Object]struct{}

// fileKey stands for a path.
type fileKey [16]byte

func keyOf(rel []byte) fileKey {
	sum := digest.SumObject(rel)
	return fileKey(sum[:])
}

// before is what was in the target before the first pass.
type before struct {
	Root bool   `json:"root"`           // the target itself
	Dirs []byte `json:"dirs,omitempty"` // fileKeys of folders, where these are to stay as they are
	keys map[fileKey]struct{}
}

// has reports whether a folder was there.
func (b *before) has(rel []byte) bool {
	_, ok := b.keys[keyOf(rel)]
	return ok
}

func (b *before) index() {
	b.keys = map[fileKey]struct{}{}
	for d := b.Dirs; len(d) >= len(fileKey{}); d = d[len(fileKey{}):] {
		b.keys[fileKey(d)] = struct{}{}
	}
}

// How many packs and lost files one record of the journal names.
const (
	maxRecordPacks = 100_000
	maxRecordLost  = 500
)

// passRecord is one record of the journal. Those without Commit or Head wait for the next one with Commit.
type passRecord struct {
	Head    *passHead           `json:"head,omitempty"`
	Planned []byte              `json:"planned,omitempty"` // sums
	Before  *before             `json:"before,omitempty"`
	Packs   []byte              `json:"packs,omitempty"` // sums of packs that need not come again
	Parts   map[string][]uint32 `json:"parts,omitempty"`
	Lost    []lostRecord        `json:"lost,omitempty"`
	Hurt    []lostRecord        `json:"hurt,omitempty"`
	Settled []byte              `json:"settled,omitempty"` // fileKeys
	Again   [][]byte            `json:"again,omitempty"`
	Whole   [][]byte            `json:"whole,omitempty"` // of Again, complete now
	Commit  *passCommit         `json:"commit,omitempty"`
	Drop    bool                `json:"drop,omitempty"` // what waits for a Commit counts for nothing
}

type passHead struct {
	Version  int      `json:"version"`
	ID       [16]byte `json:"id"`
	Snapshot string   `json:"snapshot"`
	Target   []byte   `json:"target"` // any bytes but NUL
	Path     []byte   `json:"path,omitempty"`
}

type passCommit struct {
	Result Result        `json:"result"` // of what the records since the last commit tell
	Limits []limitRecord `json:"limits,omitempty"`
	Bytes  int64         `json:"bytes"`
	Begun  bool          `json:"begun,omitempty"`
	Done   bool          `json:"done,omitempty"`
	End    bool          `json:"end,omitempty"`    // of a pass
	Needed []byte        `json:"needed,omitempty"` // sums of packs that are needed once more, at the end of a pass
}

type lostRecord struct {
	Rel    []byte `json:"rel"`
	Damage bool   `json:"damage,omitempty"`
	Path   []byte `json:"path,omitempty"`
	Object string `json:"object,omitempty"`
	Chunk  []byte `json:"chunk,omitempty"`
	Error  string `json:"error,omitempty"`
	Kept   bool   `json:"kept,omitempty"`

	live *Damage // of this process
}

type limitRecord struct {
	Kind  string `json:"kind"`
	Count int64  `json:"count"`
	Path  string `json:"path"`
	Error string `json:"error"`

	live error // of this process
}

// passVersion is the version of the journal: 1.
const passVersion = 1

// OpenPasses begins the passes of a restore, or comes back to them. name is that of the journal, one for each restore; s nil: in memory only. plan, if not nil, is what
// the whole restore needs (Plan): of a chunk that lies in several packs, one of these is waited for. What was begun for another snapshot, path or target is forgotten.
func OpenPasses(s *state.State, name string, o *Options, plan *Needs) (*Passes, error) {
	p := &Passes{}
	if plan == nil {
		plan = &Needs{}
	}
	p.reset()
	p.files, p.content = plan.Files, plan.Bytes
	if s != nil {
		known, err := p.load(s, name, o)
		if err != nil {
			return nil, err
		}
		if known {
			return p, nil
		}
		p.j.Clear()
		p.reset()
	}
	p.head = headOf(o)
	for i := range plan.Packs {
		sum, err := packSum(plan.Packs[i].Object)
		if err != nil {
			return nil, err
		}
		p.planned[sum] = struct{}{}
	}
	p.begin()
	return p, nil
}

// lookAtPasses returns the passes that were begun of a restore, and begins none; nil: there are none.
func lookAtPasses(s *state.State, name string, o *Options) (*Passes, error) {
	if s == nil {
		return nil, nil
	}
	p := &Passes{}
	p.reset()
	known, err := p.load(s, name, o)
	if err == nil && known {
		return p, nil
	}
	p.Close()
	return nil, err
}

// load reads a journal, and reports whether it is that of this restore. One that was cut off in its beginning is of none: it does not know which packs are waited for.
func (p *Passes) load(s *state.State, name string, o *Options) (bool, error) {
	var known *passHead
	var err error
	if p.j, err = s.OpenJournal(name, func(raw []byte) error { return p.replay(raw, &known) }); err != nil {
		return false, err
	}
	if p.fresh != nil { // a process ended in the middle of entering
		p.append(&passRecord{Drop: true})
		p.fresh = nil
	}
	head := headOf(o)
	if !p.entered || known == nil || known.Version != head.Version || known.Snapshot != head.Snapshot || !bytes.Equal(known.Target, head.Target) || !bytes.Equal(known.Path, head.Path) {
		return false, nil
	}
	p.head, p.id = *known, known.ID
	return true, nil
}

// headOf tells restores apart.
func headOf(o *Options) passHead {
	head := passHead{Version: passVersion, Target: []byte(o.Target), Path: o.Path}
	if o.Snapshot != nil {
		head.Snapshot = o.Snapshot.ID.String()
	}
	if abs, err := filepath.Abs(o.Target); err == nil {
		head.Target = []byte(abs)
	}
	return head
}

// begin writes the start of a journal.
func (p *Passes) begin() {
	_, _ = rand.Read(p.id[:]) // never fails
	p.head.ID = p.id
	p.append(&passRecord{Head: &p.head})
	var sums []byte
	for sum := range p.planned {
		sums = append(sums, sum[:]...)
	}
	p.appendSums(sums, func(r *passRecord, part []byte) { r.Planned = part })
	p.append(&passRecord{Commit: &passCommit{}})
	if p.j != nil {
		p.j.Sync()
	}
}

// restart forgets all passes, but not what the restore needs.
func (p *Passes) restart() {
	planned := p.planned
	p.Forget()
	p.reset()
	p.planned = planned
	p.begin()
}

func (p *Passes) reset() {
	*p = Passes{j: p.j, head: p.head, files: p.files, content: p.content, had: packSet{}, planned: packSet{}, parts: map[digest.Object]map[uint32]struct{}{}, lost: map[string]*Damage{}, hurt: map[string]*Damage{},
		settled: map[fileKey]struct{}{}, again: map[string]struct{}{}}
}

// packSum takes the sum from the name of a pack's object.
func packSum(object string) (digest.Object, error) {
	sum, err := digest.ParseObject(object[strings.LastIndexByte(object, '/')+1:])
	if err != nil {
		return sum, fmt.Errorf("%q is no pack: %w", object, err)
	}
	return sum, nil
}

// Has reports whether all that is needed of a pack is in the target. Result.Cold may name such a pack again, where something was lost since.
func (p *Passes) Has(object string) bool {
	sum, err := packSum(object)
	_, ok := p.had[sum]
	return ok && err == nil
}

// Result is what all passes until now add up to, those of earlier processes included. Damages and limits of earlier processes have their errors as text.
func (p *Passes) Result() *Result {
	r := p.sum
	return &r
}

// NeedsAgain reports whether a pack that Has knows is needed once more, since something that it brought was lost from the target.
func (p *Passes) NeedsAgain(object string) bool {
	sum, err := packSum(object)
	return err == nil && p.needed.has(sum)
}

// Done reports whether the last pass is done.
func (p *Passes) Done() bool { return p.done }

// Forget empties the journal.
func (p *Passes) Forget() {
	if p.j != nil {
		p.j.Clear()
	}
}

// Close closes the journal; what is in it stays.
func (p *Passes) Close() {
	if p.j != nil {
		p.j.Close()
	}
}

func (p *Passes) append(r *passRecord) {
	if p.j == nil {
		return
	}
	raw, err := json.Marshal(r)
	if err != nil {
		panic("restore: " + err.Error()) // only for types that JSON does not have
	}
	p.j.Append(raw)
}

// appendSums writes a long list of sums in several records.
func (p *Passes) appendSums(sums []byte, set func(r *passRecord, part []byte)) {
	for len(sums) > 0 {
		n := min(len(sums), maxRecordPacks*len(digest.Object{}))
		r := &passRecord{}
		set(r, sums[:n])
		p.append(r)
		sums = sums[n:]
	}
}

// replay takes a record of an earlier process. What it cannot read ends the journal there.
func (p *Passes) replay(raw []byte, head **passHead) error {
	var r passRecord
	if json.Unmarshal(raw, &r) != nil {
		return nil
	}
	if r.Head != nil {
		*head = r.Head
	}
	if p.fresh == nil {
		p.fresh = &passRecord{}
	}
	if r.Drop {
		p.fresh = nil
		return nil
	}
	p.fresh.join(&r)
	if r.Commit != nil {
		p.apply(p.fresh)
		p.fresh = nil
	}
	return nil
}

// join adds what another record says.
func (r *passRecord) join(o *passRecord) {
	r.Planned, r.Packs, r.Settled = append(r.Planned, o.Planned...), append(r.Packs, o.Packs...), append(r.Settled, o.Settled...)
	r.Lost, r.Hurt = append(r.Lost, o.Lost...), append(r.Hurt, o.Hurt...)
	r.Again, r.Whole = append(r.Again, o.Again...), append(r.Whole, o.Whole...)
	if o.Before != nil {
		r.Before = o.Before
	}
	for name, offsets := range o.Parts {
		if r.Parts == nil {
			r.Parts = map[string][]uint32{}
		}
		r.Parts[name] = append(r.Parts[name], offsets...)
	}
	if o.Commit != nil {
		r.Commit = o.Commit
	}
}

// apply makes what a record says so.
func (p *Passes) apply(r *passRecord) {
	for s := r.Planned; len(s) >= 32; s = s[32:] {
		p.planned[digest.Object(s)] = struct{}{}
	}
	if r.Before != nil {
		p.before = r.Before
		p.before.index()
	}
	for s := r.Packs; len(s) >= 32; s = s[32:] {
		p.had[digest.Object(s)] = struct{}{}
		delete(p.parts, digest.Object(s))
	}
	for name, offsets := range r.Parts {
		sum, err := digest.ParseObject(name)
		if err != nil {
			continue
		}
		if p.parts[sum] == nil {
			p.parts[sum] = map[uint32]struct{}{}
		}
		for _, off := range offsets {
			p.parts[sum][off] = struct{}{}
		}
	}
	for i := range r.Lost {
		d := r.Lost[i].damage()
		p.lost[string(r.Lost[i].Rel)] = d
		if d != nil && len(p.sum.Damaged) < MaxDamages {
			p.sum.Damaged = append(p.sum.Damaged, *d)
		}
	}
	for i := range r.Hurt {
		p.hurt[string(r.Hurt[i].Rel)] = r.Hurt[i].damage()
	}
	for s := r.Settled; len(s) >= len(fileKey{}); s = s[len(fileKey{}):] {
		p.settled[fileKey(s)] = struct{}{}
	}
	for _, rel := range r.Again {
		p.again[string(rel)] = struct{}{}
	}
	for _, rel := range r.Whole {
		delete(p.again, string(rel))
	}
	if c := r.Commit; c != nil {
		p.applyCommit(c)
	}
}

func (p *Passes) applyCommit(c *passCommit) {
	p.entered = true
	p.sum.add(&c.Result)
	p.bytes += c.Bytes
	p.done, p.begun = c.Done, p.begun || c.Begun
	if c.End {
		p.needed = packSet{}
		for s := c.Needed; len(s) >= 32; s = s[32:] {
			p.needed[digest.Object(s)] = struct{}{}
		}
	}
	for _, l := range c.Limits {
		err := l.live
		if err == nil {
			err = errors.New(l.Error)
		}
		p.sum.Limits = addLimit(p.sum.Limits, target.Limit{Kind: l.Kind, Count: l.Count, Path: l.Path, Err: err})
	}
}

// commit enters what was done since the last time. The target is synced.
func (p *Passes) commit(r *passRecord) {
	packs, rest := r.Packs, *r
	if n := maxRecordPacks * len(digest.Object{}); len(packs) > n {
		p.appendSums(packs[n:], func(r *passRecord, part []byte) { r.Packs = part })
		rest.Packs = packs[:n]
	}
	for len(rest.Lost) > maxRecordLost {
		p.append(&passRecord{Lost: rest.Lost[:maxRecordLost]})
		rest.Lost = rest.Lost[maxRecordLost:]
	}
	p.append(&rest)
	p.apply(r)
	if p.j != nil {
		p.j.Sync()
	}
}

func (l *lostRecord) damage() *Damage {
	if !l.Damage || l.live != nil {
		return l.live
	}
	d := &Damage{Path: l.Path, Object: l.Object, Err: errors.New(l.Error), Kept: l.Kept}
	copy(d.Chunk[:], l.Chunk)
	return d
}

func recordOf(rel string, d *Damage) lostRecord {
	l := lostRecord{Rel: []byte(rel), live: d}
	if d != nil {
		l.Damage, l.Path, l.Object, l.Chunk, l.Error, l.Kept = true, d.Path, d.Object, d.Chunk[:], d.Err.Error(), d.Kept
	}
	return l
}
