// Package sync mirrors plain files: a folder into a bucket, a bucket into a folder, a bucket into a bucket, always one way. Each file is an object that anyone can open.
//
// # Comparison
//
// Three sorted streams are merged, in memory that does not grow with them: the folder, walked in the order of the keys; the ledger of what was equal when it was last seen (package ledger); and the
// bucket's listing, one request for 1,000 objects. A folder's name sorts with a slash behind it. For each key that both sides have:
//
//   - A ledger entry counts for the object while the listing shows its ETag and size, and for the file while size, mtime and ctime are what they were, unless the file had
//     changed within two seconds before it was read. Where it counts for both, the two are equal.
//   - Else, where sizes differ, the file is transferred.
//   - Else contents are compared. The file is read here; what is known of the object comes from, in this order: the checksum in the ledger; an ETag of 32 hex digits, which is the MD5; an ETag of
//     parts, recomputed for the part sizes that are usual and fit the number of parts. All this takes no request. Where it does not say that they are equal and cannot say that they differ, the object is asked
//     for (HEAD): its part size, a checksum of the whole content, whether its ETag can be an MD5 at all; at last the mtime in its metadata. What cannot be found equal is transferred.
//   - Encrypted objects have the size that the file would have when encrypted; where the ledger knows nothing, one HEAD asks for the mtime and size of the file.
//   - BySize goes by sizes alone, ByContent trusts no times, Update leaves alone what is newer at the target.
//
// So an unchanged sync costs the listing and nothing else, with or without a ledger, as long as ETags are MD5s.
//
// # Order of doing
//
// New and changed files are transferred while the streams are still being merged. What would replace an object that has to be paid for longer (a class with a least stay) waits until all is known, is
// priced, agreed to, and done then. Deletions come last of all, priced with the same question, and only if everything could be read and everything before succeeded. The target is never touched
// for what the filter leaves out, on either side. Nothing is deleted when more than Guard allows would be: by default more than half, or all since the source is empty.
//
// # Old listings, lists of sums
//
// A Listing with AsOf may lack what was written since, and have what is gone. Where the ledger knows of an object that a sync stored later, that counts. Else what the listing leads to is looked at first, by one
// HEAD for the object: an upload decides anew by what is there; a deletion is left where the object is another one by now, or where the source has it after all. What the listing shows as equal is believed.
//
// A sum of a list (Sums) stands for the content of a file whose times are no newer than the list, where the object has a sum of that kind; else the file is read.
//
// # Keeping
//
// With BackupDir what is replaced or deleted is first copied there (a bucket, by the server) or moved there (a folder).
//
// # What can change meanwhile
//
// A file is looked at before and after each reading, the last read of a request included: a request whose file has changed never ends, so no torn object comes to be; it is tried
// again a few times, then the file is unread. Objects are read and copied only with the ETag that was listed. A folder that is another one at the end than at the beginning (unmounted) is an error.
// Downloads are written under a temporary name, checked, and renamed; the ledger hears of them when they are on the disk. Names that cannot be files below the target are refused, each by name.
//
// # Metadata
//
// With Metadata objects carry, as rclone and s3fs have them: mtime (seconds with a fraction), mode (decimal, with the type of file), uid, gid. Symlinks are objects whose content is
// the target and whose mode says so. Folders, with Folders, are empty objects "name/".
package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"filippo.io/age"

	"firn/internal/bucket"
	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/sync/ledger"
	"firn/internal/units"
)

// Errors, wrapped where there is more to say.
var (
	ErrChanged  = errors.New("changed while it was read")
	ErrKey      = errors.New("cannot be a file here")
	ErrVanished = errors.New("the folder is not the one that it was when the sync began")
	ErrSealed   = errors.New("not encrypted, though all should be")
	ErrFile     = errors.New("it is a file and no folder")
	ErrOurs     = errors.New("a backup repository lies there, which deletions would destroy")
)

// Listing tells of the objects of a place in the order of their keys, in the place of asking the bucket for it.
type Listing interface {
	// Each calls fn for every object below the prefix, keys whole and ascending bytewise, and stops at the first error of fn, which it returns.
	Each(ctx context.Context, fn func(bucket.Object) error) error
}

// Place is one side: a folder, or a bucket and a prefix.
type Place struct {
	Folder  string        // empty: a bucket
	Bucket  bucket.Bucket // nil: a folder
	Name    string        // of the bucket, for copies on the server
	Prefix  string        // below which the keys lie, "" or with a slash at its end
	Listing Listing       // nil: the bucket is listed
	AsOf    time.Time     // zero: the listing is as of now. Else what it has decided is looked at again, object by object, before anything is replaced or deleted
}

func (p *Place) local() bool { return p.Bucket == nil }

// Compare says when two things count as equal.
type Compare int

// The ways.
const (
	ByTimes   Compare = iota // times, where the ledger knows them, else content
	BySize                   // nothing but the size
	ByContent                // content, whatever the times say
)

// Links says what becomes of symlinks.
type Links int

// The ways.
const (
	SkipLinks   Links = iota
	FollowLinks       // what they lead to, under their names
	KeepLinks         // objects that are links again on the way back
)

// Guard bounds deletions. The zero value is half of what is there, and nothing where the source is empty.
type Guard struct {
	Set     bool
	Percent float64 // of what the target has; with Count < 0
	Count   int64   // files; −1: Percent counts
}

// Options of a sync. From and To are needed, and at least one of them is a bucket.
type Options struct {
	From, To Place
	Book     *ledger.Book // nil: nothing is remembered

	Compare Compare
	Update  bool // what is newer at the target stays
	Delete  bool
	Guard   Guard
	DryRun  bool
	Filter  *Filter  // nil: everything
	Skip    []string // paths below the folder that are firn's own

	Classes   *Classes // nil: the bucket's default
	Metadata  bool
	Folders   bool // with Metadata: empty objects for folders
	Links     Links
	BackupDir string // whole prefix of keys in the same bucket, with a slash at its end, or a folder; empty: none

	Recipients []age.Recipient // to a bucket: encrypt, keys get ".age"
	Identities []age.Identity  // from a bucket: decrypt what ends in ".age"

	Connections   int   // transfers at once; 0: 32
	PartSize      int64 // 0: 16 MiB, more where there would be too many parts
	Threshold     int64 // files larger than this go in parts; 0: 32 MiB
	Retries       int   // of a file that changes while it is read; 0: 3
	OneFileSystem bool

	Region *price.Region                          // nil: nothing is priced
	Agree  func(ctx context.Context, d Due) error // asked before a least stay is cut short or anything is thawed, not about egress and fees of classes that are read at once; an error: it is left. nil: yes
	Thaw   *Thawing                               // nil: cold objects are not thawed, and reported

	Now    func() time.Time                                 // nil: time.Now
	Wait   func(ctx context.Context, d time.Duration) error // nil: a timer
	Events event.Func
	Each   func(Item)        // told of all that is done, or with DryRun would be; by one goroutine at a time. nil: nobody
	Same   bool              // Each is told of what is equal, too
	Report func(*Difference) // told of all that was compared, before anything is done; by one goroutine at a time. nil: nobody
	Sums   *Checksums        // of files of the folder, which are not read to be compared where it has a sum that fits; nil: none
}

// Thawing says how cold objects are thawed.
type Thawing struct {
	Tier string        // Standard, Bulk, Expedited; empty: the cheapest
	Days int           // that copies are kept; 0: 7
	Wait bool          // until they are there, and fetch them; else the next run does
	Poll time.Duration // between two looks; 0: by the tier
}

// Due is what something costs besides its requests. Amounts are in the region's currency, and 0 where no prices are known.
type Due struct {
	Why      string // "replace", "delete", "thaw"
	Files    int64
	Bytes    int64
	Cost     price.Money
	Currency string
	Last     time.Duration // of a thaw: until all can be read
}

// Result is what a sync did, or with DryRun would do.
type Result struct {
	Files   int64 // of the source, that the filter lets through
	Bytes   int64
	Same    int64
	New     int64
	Changed int64
	Touched int64 // only metadata changed
	Deleted int64
	Kept    int64 // newer at the target (Update)
	Skipped int64 // symlinks and special files
	Unread  int64 // could not be read, or changed too often; each was told
	Failed  int64 // could not be written; each was told
	Refused int64 // keys that cannot be files here; each was told

	Compared int64 // contents that were read here to be compared
	Resumed  int64 // bytes of uploads of an earlier run that counted
	Sent     int64 // bytes
	Got      int64
	Copied   int64 // bytes that the server copied

	Undeleted  int64       // not deleted, since something else went wrong
	Early      price.Money // paid for the rest of least stays
	Frozen     int64       // cold objects that are wanted and not here
	FrozenSize int64
	Asked      int64       // of them asked to be thawed by this run
	ThawCost   price.Money // at most, of what this run asked for
	Ready      time.Time   // when all of them can be read; zero: unknown
	Classes    map[string]Tally
}

// Tally is a number of objects sent in a class.
type Tally struct{ Objects, Bytes int64 }

// Incomplete reports whether something was left out because it could not be read or written.
func (r *Result) Incomplete() bool { return r.Unread+r.Failed+r.Refused > 0 }

// GuardError means that nothing was deleted, since too much would have been.
type GuardError struct {
	Deletions, Of int64
	Empty         bool // the source has no files at all
	Guard         Guard
}

func (e *GuardError) Error() string {
	if e.Empty {
		return fmt.Sprintf("the source is empty: deleting all %s files of the target was refused", units.Count(e.Of))
	}
	return fmt.Sprintf("%s of %s files of the target would be deleted: refused", units.Count(e.Deletions), units.Count(e.Of))
}

// DueError means that something was not done because of what it costs.
type DueError struct {
	Due
	Err error
}

func (e *DueError) Error() string {
	return fmt.Sprintf("%s of %s files was left: %v", map[string]string{"replace": "replacing", "delete": "deletion", "thaw": "thawing"}[e.Why], units.Count(e.Files), e.Err)
}

// Unwrap returns what Agree said.
func (e *DueError) Unwrap() error { return e.Err }

// PlaceError means that one side as a whole cannot be used.
type PlaceError struct {
	Place string
	Doing string // "list", "read", "write"
	Err   error
}

func (e *PlaceError) Error() string { return fmt.Sprintf("%s %s: %v", e.Doing, e.Place, e.Err) }

// Unwrap returns the cause.
func (e *PlaceError) Unwrap() error { return e.Err }

func (o *Options) defaults() {
	if o.Connections <= 0 {
		o.Connections = 32
	}
	if o.PartSize <= 0 {
		o.PartSize = 16 << 20
	}
	if o.Threshold <= 0 {
		o.Threshold = 32 << 20
	}
	if o.Retries <= 0 {
		o.Retries = 3
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wait == nil {
		o.Wait = wait
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
