// Package snapshot writes and reads what a repository knows of its backups: snapshots and their marks of being done (FORMAT §10), the
// state of a host (§11) and the records of pruning (§12). It also answers, from a list of snapshots, which one is meant, which
// are history of one source, and what is missing in it. It touches no store and no clock.
//
// Bodies are JSON objects (a prune record: lines of them). Ids and sums are lower-case hex, times RFC 3339 in UTC with up to nine
// digits of a second. Unknown members are skipped, an unknown version is refused.
package snapshot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"firn/internal/digest"
)

// Version is the version of the bodies that this package writes, and the newest that it reads.
const Version = 1

// Limits of what is read. Sizes are bytes.
const (
	MaxBody       = 64 << 20 // a snapshot
	MaxDoneBody   = 64 << 10 // a mark
	MaxStateBody  = 16 << 20 // the state of a host
	MaxRecordBody = 256 << 20
	MaxLine       = 1 << 10 // one line of a prune record
	MaxTags       = 1000
	MaxTag        = 1 << 10
	MaxPath       = 64 << 10 // path or name of a source
	MaxProblems   = 100
	MaxParts      = 1 << 20
	MaxVoids      = 1 << 16
	MaxRewrites   = 1 << 10
	MaxLevel      = 32 // of a manifest's tree
	MaxClass      = 64 // name of a storage class
	MaxParity     = 100
	MaxPoints     = 10000
	MaxPointText  = 4 << 10 // any text of a point
)

// ErrBody tells of a body that is not what its kind asks for.
var ErrBody = errors.New("invalid record")

// VersionError tells of a body by a newer program.
type VersionError struct{ Version int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("record of version %d, newer than %d", e.Version, Version)
}

// ID names a snapshot: 16 random bytes.
type ID [16]byte

// IsZero reports whether the id is unset.
func (id ID) IsZero() bool { return id == ID{} }

// String returns 32 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads 32 lower-case hex digits.
func ParseID(s string) (ID, error) {
	var id ID
	return id, parseHex(id[:], s)
}

// Source names a source: the first 8 bytes of a keyed hash of what it is (SourceID).
type Source [8]byte

// IsZero reports whether the id is unset.
func (s Source) IsZero() bool { return s == Source{} }

// String returns 16 hex digits.
func (s Source) String() string { return hex.EncodeToString(s[:]) }

// ParseSource reads 16 lower-case hex digits.
func ParseSource(s string) (Source, error) {
	var id Source
	return id, parseHex(id[:], s)
}

// Storage says in which storage class the file content of a source is stored, in the store's words, and with how much parity. It goes from snapshot to snapshot
// until the user says otherwise. The zero value is what firn.json says.
type Storage struct {
	Class  string        // of new packs; empty: as firn.json says
	Then   string        // to which packs move later; empty: they stay
	HotFor time.Duration // age at which they move, whole seconds; 0 exactly where Then is empty
	Parity *int          // percent of recovery data for new packs, 0 to MaxParity; nil: as firn.json says
}

// IsZero reports whether s says nothing.
func (s Storage) IsZero() bool { return s == Storage{} }

// After returns s with what it leaves open as it was before: classes and their time together, and parity.
func (s Storage) After(before Storage) Storage {
	if s.Class == "" && s.Then == "" {
		s.Class, s.Then, s.HotFor = before.Class, before.Then, before.HotFor
	}
	if s.Parity == nil {
		s.Parity = before.Parity
	}
	return s
}

// Check fails with ErrBody if s breaks a limit.
func (s Storage) Check() error {
	if len(s.Class) > MaxClass || len(s.Then) > MaxClass || (s.Then == "") != (s.HotFor == 0) || s.HotFor < 0 || s.HotFor%time.Second != 0 || s.Then != "" && s.Then == s.Class {
		return fmt.Errorf("%w: storage class %.80q, then %.80q after %v", ErrBody, s.Class, s.Then, s.HotFor)
	}
	if s.Parity != nil && (*s.Parity < 0 || *s.Parity > MaxParity) {
		return fmt.Errorf("%w: parity of %d %%", ErrBody, *s.Parity)
	}
	return nil
}

// Snapshot is one backup of one source.
type Snapshot struct {
	ID       ID
	Start    time.Time // "time", by the host's clock
	End      time.Time
	Host     string
	HostID   [16]byte // author
	Source   Origin
	Tags     []string
	Scope    [8]byte
	Epoch    uint32
	Base     ID // of a chain: the snapshot that this one needs; zero: none
	Points   []Point
	Previous *Link
	Sequence uint64 // 1 for the first of a source
	Complete bool
	Voids    []ID
	Rewrites []Link // snapshots in whose place it stands since paths were taken out of them, the last one first; the root key's alone
	Renamed  Source // "renamed_from": the source whose history goes on here; zero: none
	Manifest Tree
	Packs    []Part // all packs that it needs
	Stats    Stats
	Storage  Storage
	Problems []Problem // the first MaxProblems
	Program  string
}

// Point is a state that the backed-up system itself can name, to which a stream of the snapshot leads, or which lies elsewhere (FORMAT §10.2). Texts are UTF-8 of at most
// MaxPointText bytes.
type Point struct {
	Stream  string    `json:"stream,omitempty"` // path of the stream in the manifest; empty where Outside or Unmoved
	Of      string    `json:"of"`               // what it is a state of: a dataset, a subvolume, a repository
	At      string    `json:"at"`               // its name there, for people
	ID      string    `json:"id"`               // what identifies it for good
	From    string    `json:"from,omitempty"`   // ID of the point that the stream starts from, one of Base's; empty: from nothing
	FromAt  string    `json:"from_at,omitempty"`
	Time    time.Time `json:"time,omitzero"`
	Outside bool      `json:"outside,omitempty"` // stored by another tool: what starts from it needs it from there
}

// Unmoved reports whether it is still the state that the base has, so that no stream had to be made of it.
func (p *Point) Unmoved() bool { return p.From != "" && p.From == p.ID }

// checkPoints holds the points to their rules: each leads somewhere, and starts from nothing, or from a point of the base.
func (s *Snapshot) checkPoints() error {
	bad := func(p *Point, what string) error {
		return fmt.Errorf("%w: snapshot %v: point %.80q of %.80q %s", ErrBody, s.ID, p.At, p.Of, what)
	}
	if len(s.Points) > MaxPoints {
		return fmt.Errorf("%w: snapshot %v: %d points", ErrBody, s.ID, len(s.Points))
	}
	for i := range s.Points {
		p := &s.Points[i]
		for _, text := range []string{p.Stream, p.Of, p.At, p.ID, p.From, p.FromAt} {
			if len(text) > MaxPointText || !utf8.ValidString(text) {
				return bad(p, "has a text that is too long, or none")
			}
		}
		switch {
		case p.Of == "" || p.ID == "":
			return bad(p, "has no name")
		case (p.Stream == "") != (p.Outside || p.Unmoved()):
			return bad(p, "has a stream and lies outside or at its base, or neither")
		case p.From != "" && (s.Base.IsZero() || p.Outside):
			return bad(p, "starts from what is not there")
		}
	}
	return nil
}

// Origin is what was backed up.
type Origin struct {
	ID   Source
	Kind string // "dir", …
	Name string // of a source with a name, else empty
	Path []byte // as the system has it, UTF-8 or not
}

// Link names the snapshot before.
type Link struct {
	ID  ID
	Sum digest.Object // SHA-256 of its body
}

// Tree names a line tree (FORMAT §7.3).
type Tree struct {
	Chunk digest.Chunk // zero: an empty tree
	Level int
	Lines int64
	Bytes int64 // of level 0
}

// Part is one object with names of packs.
type Part struct {
	Object digest.Object // name
	Packs  int           // how many it names
	Digest digest.Object // SHA-256 of its body
}

// Stats are numbers of a backup. Sizes are bytes.
type Stats struct {
	Files          int64 `json:"files"`
	Dirs           int64 `json:"dirs"`
	Others         int64 `json:"others"`
	Bytes          int64 `json:"bytes"`
	FilesNew       int64 `json:"files_new"`
	FilesChanged   int64 `json:"files_changed"`
	FilesUnchanged int64 `json:"files_unchanged"`
	BytesRead      int64 `json:"bytes_read"`
	BytesAdded     int64 `json:"bytes_added"`
	BytesStored    int64 `json:"bytes_stored"`
	PacksAdded     int64 `json:"packs_added"`
	Problems       int64 `json:"problems"`
}

// Problem is one path that could not be read whole.
type Problem struct {
	Path  string `json:"path"`
	Error string `json:"error"`
}

// Done is the mark that a snapshot was reported done.
type Done struct {
	Snapshot ID
	Sum      digest.Object // SHA-256 of the body of the snapshot
	Time     time.Time
	Stored   time.Time // of a copy: when the store that it comes from got the snapshot; zero: this store tells. It counts where the root key signed only
}

// State is what a host needs to go on if its disk dies.
type State struct {
	Host   [16]byte
	Time   time.Time
	Heads  []Head
	Proofs []Proof // that sources can be restored; at most MaxProofs
}

// Head is the last snapshot of a source that a host made or saw.
type Head struct {
	Source   Source
	Name     string
	Path     []byte
	Snapshot ID
	Sequence uint64
	Sum      digest.Object // SHA-256 of the body of the snapshot
}

// Record is one prune record: it only adds.
type Record struct {
	Scope  [8]byte
	Time   time.Time
	Since  time.Time       // of a record that was made of others: when the store got the youngest of these, by its clock; else zero
	Epochs uint32          // every epoch of the scope below this one may have been used, also by snapshots that are gone; 0: nobody noted it
	Retire []digest.Object // packs and pack sets that take no new references
	Forget []ID            // snapshots
}

func parseHex(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("%w: %.80q: want %d hex digits", ErrBody, s, 2*len(dst))
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil || hex.EncodeToString(dst) != s {
		clear(dst)
		return fmt.Errorf("%w: %q: want %d lower-case hex digits", ErrBody, s, 2*len(dst))
	}
	return nil
}
