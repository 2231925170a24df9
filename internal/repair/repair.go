// Package repair mends a repository: packs from their parity, volumes from their packs, indexes from the tables in packs, and of the small objects what follows from others. What
// it cannot mend it names, down to the files, and it marks packs as lost, so that the next backups send again what the sources still have.
//
// Examine looks and changes nothing. Run does what a Plan says, looks again, and goes on until nothing more can be done: an index that was rebuilt shows packs that are damaged.
//
// # Never worse
//
// A store creates and deletes, and writes over nothing. So an object is replaced by a Delete and a Put, with the new bytes and an entry of a journal on the local disk before the
// first and until what the store has then was compared with its sum; the damaged object is kept there as long. A process that dies in between leaves an entry which the next
// Run begins with. Bytes that replace a pack hash to its name, so whatever could be read of it can be read afterwards. An index that cannot be read is removed
// only when all packs that the store has are named by others.
//
//	<dir>/<24 hex digits>.json  {"object":"…","class":"…","sum":"…","size":n}: an object that is being replaced
//	<dir>/<24 hex digits>.new   what it becomes
//	<dir>/<24 hex digits>.old   what it was
//	<dir>/kept/…                objects that were removed and could not be read, by name; for people
//
// # Parity
//
// A pack is put together from what is left of it, from its recovery volume, whole or not, and from the index, which knows how the pack begins. It counts as mended when its SHA-256 is
// its name, and not before.
//
// # Cold classes
//
// Nothing cold is read that is not thawed; Plan.Needs are the objects that have to be. Given a thaw job about them, Run mends each pack when it and its volume can be read.
// A mended object is put back into the class where it was.
package repair

import (
	"errors"
	"fmt"
	"time"

	"firn/internal/event"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/thaw"
)

// Options of an examination and a repair.
type Options struct {
	Repo *repo.Repository // with secrets and without a host key; its store is no cache, and it has no local tables: the store itself is what is looked at
	Dir  string           // local folder for what is being replaced; one repair at a time uses it

	Objects  []string // packs, or recovery volumes of packs, that are read even if they look well; others are then not looked into
	ReadData bool     // read all packs and volumes, and not only those that look damaged
	Cold     bool     // with ReadData: also those that have to be thawed, by Run; else they are left out
	Parity   int      // percent of recovery data that is made for packs that have none; 0: they stay as they are
	Sums     bool     // ask for the stored SHA-256 of every pack, one request each, where the store tells

	Copy   func(name string) []byte // what another place kept of a small object; nil: nothing. It is verified
	Host   *keys.HostKey            // of this machine, whose certificate it holds; may be nil
	Config []byte                   // firn.json by which the repository was opened, where the store's own is lost or damaged; else nil
	Region *price.Region            // knows which classes are cold; nil: the names of Amazon S3
	Report event.Func
	Now    func() time.Time

	Workers int   // processors to compute with; 0: 1
	Memory  int64 // for parity, in bytes; 0: 256 MiB
}

// Remedy is what is done about an object.
type Remedy string

// The remedies.
const (
	Finish  Remedy = "finish"  // a replacement that was cut off is ended
	Parity  Remedy = "parity"  // a pack is put together from what is left, and its volume
	Volume  Remedy = "volume"  // a recovery volume is made again from its pack
	Reindex Remedy = "index"   // a pack that no index names is named by its own table
	Copy    Remedy = "copy"    // put back from a copy
	Make    Remedy = "make"    // made again from other objects or keys
	Remove  Remedy = "remove"  // kept aside and removed: others say what it said
	Resend  Remedy = "resend"  // marked as lost, so that backups send again what their sources have
	Nothing Remedy = "nothing" // there is none
)

// writes reports whether a remedy writes over an object or removes one.
func (r Remedy) writes() bool {
	return r == Finish || r == Parity || r == Volume || r == Copy || r == Make || r == Remove || r == Resend || r == Reindex
}

// Outcome is how a step has come out.
type Outcome string

// The outcomes.
const (
	Planned Outcome = "planned"
	Mended  Outcome = "mended"
	Sound   Outcome = "sound"  // read, and nothing was wrong
	Marked  Outcome = "marked" // lost, and to be sent again by the next backups
	Healed  Outcome = "healed" // lost, and what is needed of it lies in other packs
	Waits   Outcome = "cold"   // has to be thawed first
	Left    Outcome = "lost"   // beyond help
	Failed  Outcome = "failed" // something else stood in the way: Err
)

// Step is one object that is not as it has to be, and what becomes of it.
type Step struct {
	Object  string
	Damage  repo.FindingKind // empty: only suspected
	Why     error            // more about the damage; may be nil
	Remedy  Remedy
	Class   string
	Size    int64 // bytes of the object, as it should be; 0: unknown
	Outcome Outcome
	Err     error // why it is Left, or Failed

	scope *scope
	unit  *unit
	stray *index.Pack // what the index should say of the pack, once it was put together
	do    func(*run, *Step) (Outcome, error)
}

func (s *Step) key() string { return string(s.Remedy) + " " + s.Object }

// Plan is what was found, and what would be done.
type Plan struct {
	Steps  []*Step
	Hurt   []*repo.Hurt // snapshots that lose something, as far as it is known
	Needs  []thaw.Need  // objects that have to be readable for that, most of which may be; see thaw.Look
	Packs  int64        // packs that were looked at
	Read   int64        // of them, those that were read
	Unread int64        // packs that should have been read and are cold

	planned map[string]bool // by key of a step
	scopes  []*scope
	found   map[string]*repo.Finding // as in run
	read    map[string]bool
	beyond  map[string]error
}

// Writes reports whether carrying out the plan changes anything in the store.
func (p *Plan) Writes() bool {
	for _, s := range p.Steps {
		if s.Outcome == Planned && s.Remedy.writes() {
			return true
		}
	}
	return false
}

// Result is what a repair did.
type Result struct {
	Steps []*Step      // each object once for each remedy that was tried
	Hurt  []*repo.Hurt // what snapshots lose now
	Needs []thaw.Need  // what has to be thawed before more can be done
	Thaw  *thaw.Result // nil: no job was run
}

// Count returns how many steps have come out so.
func (r *Result) Count(o Outcome) (n int64) {
	for _, s := range r.Steps {
		if s.Outcome == o {
			n++
		}
	}
	return n
}

// Well reports whether nothing is wrong any more.
func (r *Result) Well() bool {
	return len(r.Hurt) == 0 && r.Count(Left)+r.Count(Failed)+r.Count(Waits)+r.Count(Marked)+r.Count(Planned) == 0
}

// BeyondError tells that a pack could not be put together.
type BeyondError struct {
	Object string
	Err    error // of the attempt that came nearest
}

func (e *BeyondError) Error() string {
	return fmt.Sprintf("%s cannot be put together: %v", e.Object, e.Err)
}

// Unwrap returns the reason.
func (e *BeyondError) Unwrap() error { return e.Err }

// Errors that a caller may want to tell apart.
var (
	ErrNoVolume = errors.New("there is no recovery volume")
	ErrNoCopy   = errors.New("no copy is known, and it cannot be made from other objects")
	ErrPending  = errors.New("what replaces the object is on this disk and not in the store yet")
)
