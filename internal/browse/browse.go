// Package browse looks into snapshots: which there are, what they hold, what differs between them. It changes nothing.
package browse

import (
	"context"
	"errors"
	"io"
	"time"

	"firn/internal/glob"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// Errors that a caller may want to tell apart.
var (
	ErrNotThere = errors.New("not in the snapshot")
	ErrNotFile  = errors.New("not a regular file")
)

// Entry is one file of a snapshot. It marshals to JSON with the names of the manifest, path_b64 and so on where a text is not UTF-8.
type Entry struct {
	Path     []byte // relative to the source; empty: the source itself
	Type     string // file, dir, symlink, fifo, char, block, socket
	Mode     uint32 // 07777
	UID, GID int64
	User     string
	Group    string
	Mtime    time.Time
	Size     int64
	Hash     string // hex; comparable within one scope and epoch; empty: none
	Hardlink []byte
	Target   []byte
	Major    uint32
	Minor    uint32
	Xattrs   []string // names
	Error    string
}

// View is a snapshot open for reading. Its methods may be called by several goroutines at once.
type View struct {
	Snapshot *snapshot.Snapshot
	Scope    *repo.ScopeState
}

// Open opens a snapshot of a scope, which was loaded with its index. The view works until ctx ends. It fails with repo.ErrWriteOnly.
func Open(ctx context.Context, r *repo.Repository, scope *repo.ScopeState, snap *snapshot.Snapshot) (*View, error) {
	return nil, errors.ErrUnsupported
}

// ListOptions say what is listed.
type ListOptions struct {
	Path      []byte    // file or folder
	Recursive bool      // all below; else what lies directly in the folder
	Self      bool      // the folder itself too
	Include   *glob.Set // nil or empty: everything
	Exclude   *glob.Set
}

// List calls fn for entries, in order of path. They are valid until fn returns. It fails with ErrNotThere.
func (v *View) List(o ListOptions, fn func(*Entry) error) error { return errors.ErrUnsupported }

// Stat returns one entry, or fails with ErrNotThere.
func (v *View) Stat(path []byte) (*Entry, error) { return nil, errors.ErrUnsupported }

// CatOptions say which bytes of a file.
type CatOptions struct {
	Offset int64 // negative: from the end
	Length int64 // 0: to the end
}

// Cat writes a file, or a range of it, to w and returns how many bytes. Other names of hard-linked files are followed. It fails with ErrNotThere, ErrNotFile and *repo.DamageError.
func (v *View) Cat(w io.Writer, path []byte, o CatOptions) (int64, error) {
	return 0, errors.ErrUnsupported
}

// FindOptions say what is looked for and where.
type FindOptions struct {
	Include   *glob.Set // nil or empty: everything
	Exclude   *glob.Set
	Snapshots []snapshot.Item // of one scope; of any sources
	Type      string          // empty: any
}

// Version is a file as it was in one or several snapshots on end of one source.
type Version struct {
	Entry
	Source      snapshot.Origin
	First, Last snapshot.Item // the oldest and newest snapshot that have it so; equal where one has
	Count       int           // snapshots
}

// Find calls fn for every version of every matching file, by source, then path, then time. A file unchanged over several snapshots is told once.
func Find(ctx context.Context, r *repo.Repository, scope *repo.ScopeState, o FindOptions, fn func(*Version) error) error {
	return errors.ErrUnsupported
}

// Change is one difference between two snapshots.
type Change struct {
	Kind     string // added, removed, modified, metadata, type
	Old, New *Entry // nil: added, removed
}

// DiffStats sums up a comparison. Sizes are bytes of regular files.
type DiffStats struct {
	Added        int64 `json:"added"`
	Removed      int64 `json:"removed"`
	Modified     int64 `json:"modified"`
	Metadata     int64 `json:"metadata"`
	Type         int64 `json:"type"`
	BytesAdded   int64 `json:"bytes_added"`   // size of added and, anew, of modified files
	BytesRemoved int64 `json:"bytes_removed"` // the same of removed and, of old, modified files
	Approximate  bool  `json:"approximate"`   // different scopes or epochs: content was compared by size and time
}

// DiffOptions say what is compared.
type DiffOptions struct {
	Path     []byte // only this file or folder
	Include  *glob.Set
	Exclude  *glob.Set
	Metadata bool // tell changes of metadata alone, too
}

// Diff calls fn for every path that differs, in order. Entries are valid until fn returns.
func Diff(a, b *View, o DiffOptions, fn func(*Change) error) (DiffStats, error) {
	return DiffStats{}, errors.ErrUnsupported
}

// Filter chooses snapshots. The zero Filter chooses all that count.
type Filter struct {
	Host      string   // name
	Source    string   // name, path or id of the source; a path may end in a slash
	Tags      []string // all of them
	Done      bool     // only those that are done
	Voided    bool     // also those that a newer one of the same run replaces
	Forgotten bool     // also those about to be deleted
}

// Info is a snapshot as people and programs see it.
type Info struct {
	snapshot.Item
	State    string      // done, unconfirmed, partial, forgotten
	VoidedBy snapshot.ID // zero: by none
}

// Snapshots chooses from items and sorts by time.
func Snapshots(items []snapshot.Item, f Filter) []Info { return nil }

// Select finds the snapshot that an expression means (package snapshot) among those that f chooses.
func Select(items []snapshot.Item, expr string, f Filter, now time.Time, loc *time.Location) (snapshot.Item, error) {
	return snapshot.Item{}, errors.ErrUnsupported
}
