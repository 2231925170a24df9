// Package mount shows the snapshots of a repository as a file system that can only be read.
//
//	sources/<source>/<date>/…        what a snapshot holds: the only place with real folders
//	sources/<source>/latest          link to the newest one that is done
//	dates/<day>/<time>_<source>      links, by day
//	hosts/<host>/<source>            links, by host
//	tags/<tag>/<date>_<source>       links, by tag
//	ids/<id>                         links; the beginning of an id will do
//
// Dates are those of the place where it is mounted, as 2026-11-20_10-00-00; what is not done has "-partial" or "-unconfirmed" behind it. Names are made safe, whatever a source
// or a tag is called (safeName), and stay as they are while it is mounted.
//
// # Memory
//
// A file is known by its number in the manifest of its snapshot (node), so nothing is kept of what the kernel knows: listing a million files takes no more memory than listing
// ten. What is kept has bounds: open manifests (maxVolumes, each with maxCursors places where it was read), chunks of manifests (metaCache) and of content (Options.Cache), and what
// was found out about hard links, attributes and cold packs.
//
// # What is read, and when
//
// Listing reads manifests, which are hot. Content is read when a program reads it, chunk by chunk, ahead of it where it reads on. What lies in a cold class and is not thawed fails at once;
// what is damaged fails too, and nothing else with it. What went wrong is told to Options.Report, and to whoever asks for the attribute user.firn.error of the file.
//
// # Other hands
//
// A look at the folders above the snapshots looks for new and forgotten ones, no more than every Options.Refresh, and waits for that no longer than patience. A snapshot that is forgotten is gone from these
// folders; who is in it reads on as long as its packs are there. Chunks that are not where the index says are looked for in a fresh one, once, since a prune may have moved them.
//
// Locks: FS.mu guards what was loaded and the tree; volumes, cache and open files have their own, taken after it, and none is held during a request to the store but that of links, of one volume.
package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"firn/internal/browse"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// Defaults and bounds. Sizes are bytes.
const (
	DefaultCache   = 64 << 20
	LeastCache     = 16 << 20
	DefaultRefresh = time.Minute
	DefaultGrace   = 5 * time.Second

	metaCache  = 32 << 20
	maxVolumes = 16
	maxCursors = 6
	patience   = 2 * time.Second  // for a look at what is new
	silence    = 90 * time.Second // after which a read fails, though the store may answer yet
)

// Options say what is shown, and how.
type Options struct {
	Repo   *repo.Repository
	Choose func(items []snapshot.Item) []browse.Info // which snapshots are shown; nil: all that count
	// Command is how a person names the repository behind "firn restore", such as " -r /mnt/disk/backup"; it stands in what is told of cold files.
	Command string

	Owner      *Owner         // whose all files are; nil: as they were
	Zone       *time.Location // of names; nil: time.Local
	Cache      int64          // for content; 0: DefaultCache, and never less than LeastCache
	Refresh    time.Duration  // least time between two looks at what is new; 0: DefaultRefresh, negative: none but those of FS.Refresh
	AllowOther bool           // others than who mounts may look, within the rights that files have
	Grace      time.Duration  // how long to wait for those who still use it, when it ends; 0: DefaultGrace

	Report func(Report)     // nil: nobody listens. Called by any goroutine, one at a time
	Now    func() time.Time // nil: time.Now
}

// Owner is whose files are shown to be.
type Owner struct{ UID, GID uint32 }

// Report is something that whoever has mounted it should know.
type Report struct {
	Warning bool // else a note
	Text    string
}

func (o *Options) setDefaults() {
	if o.Choose == nil {
		o.Choose = func(items []snapshot.Item) []browse.Info { return browse.Snapshots(items, browse.Filter{}) }
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	if o.Cache == 0 {
		o.Cache = DefaultCache
	}
	o.Cache = max(o.Cache, LeastCache)
	if o.Refresh == 0 {
		o.Refresh = DefaultRefresh
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Reasons why a place cannot be mounted on.
var (
	ErrNotFolder   = errors.New("is not a folder")
	ErrNotEmpty    = errors.New("is not empty")
	ErrMounted     = errors.New("snapshots are mounted there already")
	ErrStale       = errors.New("is left over from a mount whose program has ended")
	ErrNoDevice    = errors.New("there is no /dev/fuse")
	ErrDenied      = errors.New("/dev/fuse may not be opened")
	ErrNoHelper    = errors.New("there is no program that mounts for users")
	ErrUnsupported = errors.New("file systems of programs are not supported on this system")
)

// PointError tells why a place cannot be mounted on.
type PointError struct {
	Dir string
	Err error // one of the above, or another
}

func (e *PointError) Error() string { return fmt.Sprintf("%q: %v", e.Dir, e.Err) }

// Unwrap returns the reason.
func (e *PointError) Unwrap() error { return e.Err }

// CheckPoint tells whether a folder can be mounted on: it is there, and empty. It fails with *PointError.
func CheckPoint(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case isStale(err):
		err = ErrStale
	case err == nil && !info.IsDir():
		err = ErrNotFolder
	case err == nil:
		err = checkEmpty(dir)
	}
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return &PointError{dir, err}
	}
	return nil
}

// topNames are what an FS shows at its top, sorted.
var topNames = [...]string{"dates", "hosts", "ids", "sources", "tags"}

func checkEmpty(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	names, _ := f.Readdirnames(len(topNames) + 1) // what cannot be listed is mounted on
	if err := f.Close(); err != nil {
		return err
	}
	slices.Sort(names)
	switch {
	case len(names) == 0:
		return nil
	case slices.Equal(names, topNames[:]) && isMountPoint(dir):
		return ErrMounted
	}
	return ErrNotEmpty
}

// Run shows an FS at dir until ctx ends or somebody unmounts it; up is called once it is there. When ctx ends those who use it have Options.Grace to leave; then it is detached, and what they have
// open fails. It fails with *PointError. The FS is closed when it returns.
func Run(ctx context.Context, f *FS, dir string, up func()) error {
	defer f.Close()
	if err := CheckPoint(dir); err != nil {
		return err
	}
	return f.serve(ctx, dir, up)
}
