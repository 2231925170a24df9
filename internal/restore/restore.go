// Package restore brings a snapshot, or a part of it, back: into a folder or as a tar stream.
//
//	manifest → gatherer → window → workers: fetch by pack, verify, write → links → folders
//
// The gatherer goes through the manifest, makes folders, and fills a window: about 80 bytes and the path for a file in one chunk, 32 for each piece of a
// larger file, 100 and more for a chunk. A window is full at Options.Window entries or about 24 MiB, if need be in the middle of a large file; while one is
// worked on, the next is gathered. Within a window each chunk is fetched and decompressed once however many files need it, in requests of up to
// 4 MiB that close small gaps, packs in the order of first need; what two windows need is fetched twice. A worker holds the bytes of one
// request and of one chunk. So memory grows neither with the number of files nor with their size, but for: the names of what failed, of
// files of which only a later hard link is chosen, and, with Options.Delete, of the entries of the largest folder.
//
// When all files of a window are there its hard links are made, and the folders that the walk has left get their metadata, the deepest first.
//
// What is there already is judged by one lstat before anything is fetched, and only in folders that were there before; under target.Always its content is
// compared with hashes. So a run that goes on after an interruption fetches nothing twice but the pieces of files that were in work, as far as these
// do not match the ids of their chunks.
//
// The target folder itself gets metadata only if the restore has made it.
//
// # Passes
//
// What lies in a cold class can be read in parts only, over days. Such a restore is made in passes (Options.Passes), each about the packs that can be read at the time:
//
//	manifest → look-ahead in the index → round: files of these packs → every pack in one go → links → folders → sync → journal
//
// A pass makes one walk through the manifest, a round, or several where the files of its packs, about 150 bytes each, and chunks, about 400, would take more than
// 2 KiB for each entry of Options.Window; what no pack is needed for does not wait. So within a pass no byte is fetched twice and memory is bounded but for
// packs of very many tiny files. A chunk in several packs belongs to the same one in every pass, so that each file is decided on exactly once.
//
// Nothing is remembered of files that are there, nor of most that are not: which pass a file belongs to follows from its packs alone. A large file between two passes
// lies under the temporary name that package target gives it, with a modification time computed from the restore's id and its path: as long as that is there, what earlier
// passes have written counts without being read. Thaw puts a thaw job and passes together.
package restore

import (
	"errors"
	"fmt"
	"io"

	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/glob"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/target"
)

// Errors that a caller may want to tell apart.
var (
	ErrNotThere = errors.New("not in the snapshot")
	ErrNowhere  = errors.New("neither a folder nor a stream to restore into")
)

// Options say what is restored, where to, and how. Repo, Scope, Snapshot and one of Target and Tar must be set; Plan needs neither of these two.
type Options struct {
	Repo     *repo.Repository
	Scope    *repo.ScopeState // loaded with its index
	Snapshot *snapshot.Snapshot

	// Path chooses one file or folder of the snapshot, as in the manifest; empty: everything. What lies below a chosen folder is written
	// straight into the target, a chosen file as target/<its name>.
	Path []byte
	// Include and Exclude choose by pattern, relative to the source's root (not to Path): what Include chooses (nil or empty: everything) and Exclude does
	// not. Folders on the way to what is chosen come with it.
	Include, Exclude *glob.Set
	// Paths chooses exactly what is listed, and all below listed folders, relative to the source's root as well; nil: everything. Of what patterns, list and Path choose, only what all of them choose is restored. Absent tells what of the
	// list the snapshot does not have.
	Paths *Paths

	Target      string           // folder, made with its parents if it is not there
	Overwrite   target.Overwrite // what happens to what is there already
	Delete      bool             // remove from restored folders what the snapshot has not, unless something failed before
	NoOwner     bool             // leave owners as they come
	OwnerByName bool             // known names count instead of numbers
	NoXattrs    bool             // leave out extended attributes and ACLs
	KeepPartial bool             // leave damaged files in several pieces there, what is lost of them as holes, their time 1970
	Sync        bool             // wait at the end until all is on the disk
	DryRun      bool             // change nothing; Each tells what would be done

	Tar io.Writer // a PAX tar is written here instead of files

	// Passes makes Run one pass of a restore whose packs cannot all be read at the same time: it brings what lies in the packs of Only, names as in PackNeed.Object,
	// and defers the rest in silence. Empty files, links, devices and folders come with the first pass; a small file with the pass that has its pack; a
	// large file piece by piece, its name with the last one; later names of a file right after it; metadata of folders with each pass that writes into
	// them. What a pass brought is synced to the disk, and entered in Passes, before Run returns. Last defers nothing any more, whatever
	// is in Only, and then deletes what Delete asks for. DryRun and Tar know no passes.
	Passes *Passes
	Only   []string
	Last   bool

	Workers int        // goroutines that fetch and write; 0: chosen by the number of cores
	Window  int        // entries of the manifest worked on at once; two such windows are held. 0: 32,768
	Each    func(Item) // is told of every entry, by several goroutines at once; nil: nobody is
	Report  event.Func // Progress with Phase "restore", Problem, Note
}

// Action is what is done with an entry.
type Action string

// The actions.
const (
	Create  Action = "create"  // was not there
	Replace Action = "replace" // something else was there
	Keep    Action = "keep"    // stays as it is
	Remove  Action = "delete"  // is not in the snapshot (Options.Delete)
	Skip    Action = "skip"    // cannot be made here: a device node without the right to, a socket in a tar
	Fail    Action = "fail"    // damaged or not to be written
)

// Item tells of one entry.
type Item struct {
	Action Action `json:"action"`
	Type   string `json:"type"` // file, dir, …, as in the manifest
	Path   []byte `json:"-"`    // relative to the target; valid until the callback returns
	Size   int64  `json:"size"`
}

// Damage is a file that could not be restored whole.
type Damage struct {
	Path   []byte       // relative to the source, as in the manifest
	Object string       // name of the object that is damaged or missing; empty: unknown
	Chunk  digest.Chunk // zero: none in particular
	Err    error
	Kept   bool // the rest of it was left there (Options.KeepPartial)
}

func (d *Damage) Error() string { return fmt.Sprintf("%q: %v", d.Path, d.Err) }

// Unwrap returns the reason.
func (d *Damage) Unwrap() error { return d.Err }

// MaxDamages is how many damaged files a Result names; all are reported as event.Problem and counted.
const MaxDamages = 10_000

// Result is what a restore did. Numbers are of entries, sizes are bytes. That of a pass counts what was decided by that pass: the results of all passes add up to
// what a single run tells. A pass that ends with an error returns what it has entered in Passes.
type Result struct {
	Files    int64 `json:"files"` // with hard links
	Dirs     int64 `json:"dirs"`
	Others   int64 `json:"others"`
	Bytes    int64 `json:"bytes"` // of file content
	Created  int64 `json:"created"`
	Replaced int64 `json:"replaced"`
	Kept     int64 `json:"kept"`
	Deleted  int64 `json:"deleted"`
	Skipped  int64 `json:"skipped"`
	Failed   int64 `json:"failed"`    // damaged files and what could not be written
	BytesGot int64 `json:"bytes_got"` // frames fetched
	Requests int64 `json:"requests"`  // for file content
	NoDelete bool  `json:"no_delete"` // Delete was asked for and left out, since something failed before

	// Cold names packs that a pass needed and could not read since they are not, or no longer, thawed, and packs that are needed once more since what
	// they brought was lost from the target. What needs them is deferred, also in a last pass, which is then not the last one.
	Cold []string `json:"cold,omitempty"`

	Damaged []Damage       `json:"-"` // the first MaxDamages
	Limits  []target.Limit `json:"-"` // what the user may not set, or the file system cannot hold, once a kind
}

// Needs is what a restore needs. Sizes are bytes.
type Needs struct {
	Files    int64      `json:"files"`
	Dirs     int64      `json:"dirs"`
	Others   int64      `json:"others"`
	Bytes    int64      `json:"bytes"`    // of file content
	Chunks   int64      `json:"chunks"`   // different ones
	Requests int64      `json:"requests"` // ranged reads of packs, where each is fetched in one go
	Download int64      `json:"download"` // bytes that they fetch
	Missing  int64      `json:"missing"`  // chunks that are in no known pack
	Packs    []PackNeed `json:"packs"`    // in order of first need
}

// PackNeed is what a restore needs of one pack.
type PackNeed struct {
	Object   string `json:"object"`
	Class    string `json:"class"`
	Size     int64  `json:"size"` // of the whole object
	Chunks   int64  `json:"chunks"`
	Requests int64  `json:"requests"`
	Download int64  `json:"download"` // bytes that the requests fetch
	Wanted   int64  `json:"wanted"`   // bytes of the chunks alone
}
