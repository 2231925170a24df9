package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// UnknownSize is the size of a file in a Tree whose end only reading finds: the output of a program. Its Content is read once, from its start, by Read alone; what
// Read reports but io.EOF ends the backup, since half a dump is none. Such a file is never taken for unchanged.
const UnknownSize = -1

// Stream is one sequence of bytes that somebody produces while it is read.
type Stream struct {
	// Path is how the stream is called in the manifest, relative, in components without "." and "..".
	Path string
	// Size is how many bytes are expected, for the progress only; 0: nobody knows.
	Size int64
	// Open starts to produce, perhaps beside another stream. The producer ends with ctx, or when what it returns is closed before its end. Read returns io.EOF only where the producer
	// has ended well, else a *ProducerError. It is called again, after the close, where a backup has to start over; who cannot produce twice (ErrOnce) fails then, and the backup with it.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// ErrOnce tells that a stream is wanted a second time, which its producer cannot give.
var ErrOnce = errors.New("it can be read only once, and the backup had to start over")

// ProducerError tells that what should have been backed up was not produced whole, or that what should have taken content back did not.
type ProducerError struct {
	Program string // as it was run, without secrets
	Stderr  string // the end of what it wrote there, at most 4 KiB; for people
	Err     error
}

func (e *ProducerError) Error() string {
	if e.Stderr == "" {
		return fmt.Sprintf("%s: %v", e.Program, e.Err)
	}
	return fmt.Sprintf("%s: %v: %s", e.Program, e.Err, e.Stderr)
}

// Unwrap returns the reason.
func (e *ProducerError) Unwrap() error { return e.Err }

// Point is a state of what is backed up that its own system can name, such as a snapshot of a file system or a revision: what a stream leads to, and from where.
type Point struct {
	Stream  string    // path of the stream that leads here; empty where it was made by somebody else and lies elsewhere (Outside), or where nothing has moved since the base (From is ID)
	Of      string    // what it is a state of, in the system's words: a dataset, a subvolume, a repository
	At      string    // the system's name of it, for people, such as "firn-20261120-101500" or "r4711"
	ID      string    // what identifies it for good: a GUID, a UUID with a revision
	From    string    // ID of the point that the stream starts from; empty: the stream is a full one
	FromAt  string    // its name
	Time    time.Time // when it was; zero: unknown
	Outside bool      // a base that was stored by another tool; the stream is not in the repository
}

// Have is what the repository has of a source: the points of one snapshot.
type Have struct{ Points []Point }

// Producer is a source that makes streams, or a folder that stands still while it is read.
type Producer interface {
	// Prepare looks at what is to be backed up, takes a snapshot of it where the system has such, and says what there is to read. have is what increments may start from, newest first, each
	// with its chain whole; it is empty where everything is to be stored in full. It fails with a *ProducerError, *MissingError or *ProgramError, or as the system says.
	Prepare(ctx context.Context, have []Have) (*Batch, error)
}

// Batch is one snapshot's worth of content. Either Streams or Folder is set; both are empty where a base that lies elsewhere is only recorded.
type Batch struct {
	Streams []Stream // sorted bytewise by path
	Points  []Point  // one for each stream that leads to one, and for each state of the base that is still the present one
	Base    int      // index in have of what the increments start from; -1: there are none

	Folder  string // read this folder instead
	Display string // how it is called for people, such as the place where it is mounted; empty: as Folder

	Notes []string // worth telling, such as why a stream is a full one although increments were wanted

	// End is called once, when the backup has ended: done tells whether the snapshot is in the repository for good. It holds what the next increment needs and removes what is needed no more, or, where
	// the backup has failed, leaves what makes the next run produce the same again. Its error does not undo the backup. nil: there is nothing to do.
	End func(ctx context.Context, done bool) error
}

// MissingError tells that what should be backed up, or written to, is not there.
type MissingError struct {
	What string // "dataset", "database", "subvolume", …
	Name string
	Err  error // as the system said; may be nil
}

func (e *MissingError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s %q does not exist", e.What, e.Name)
	}
	return fmt.Sprintf("%s %q does not exist: %v", e.What, e.Name, e.Err)
}

// Unwrap returns the reason.
func (e *MissingError) Unwrap() error { return e.Err }

// ProgramError tells that a program is missing, by the name under which it was looked for.
type ProgramError struct {
	Program string
	Err     error
}

func (e *ProgramError) Error() string {
	return fmt.Sprintf("program %q cannot be run: %v", e.Program, e.Err)
}

// Unwrap returns the reason.
func (e *ProgramError) Unwrap() error { return e.Err }

// Link is one stream of a chain, on its way back.
type Link struct {
	Path  string // of the stream
	Point Point  // zero: it leads to none
	Size  int64  // bytes
	// Open reads the stream from its start. Read fails where content is lost.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Taker is what takes streams back: a dataset, a database, a folder of repositories.
type Taker interface {
	// Missing says which of the links the target still needs: those that it has already, judged by their IDs, are left out. It fails with a *TargetError where the target has what may
	// not be overwritten, or lacks what the links start from, before anything is changed.
	Missing(ctx context.Context, links []Link) ([]Link, error)
	// Take writes one link, in the order of Missing.
	Take(ctx context.Context, l Link) error
}

// TargetError tells that a target does not fit what is to be written.
type TargetError struct {
	Target string
	Reason string // lower case, a phrase
	Exists bool   // it holds something else already
}

func (e *TargetError) Error() string { return fmt.Sprintf("%s: %s", e.Target, e.Reason) }

// Host is what an adapter is told of the world that it does not find out for itself.
type Host struct {
	Now  func() time.Time  // nil: time.Now
	Note func(text string) // worth telling a person while it happens; nil: nobody listens

	// Holder names, for good, who needs what an adapter keeps in the system for the next increment: it differs between repositories and between sources, 1 to 64 lower-case letters and
	// digits. What bears another name, or none, is never touched. Empty: there is only one.
	Holder string

	// Pretend tells that nothing of what is produced will be stored: Batch.End hears that the backup has failed, and what Prepare took for it, such as a snapshot, is not left for a next run.
	Pretend bool
}
