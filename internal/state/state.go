// Package state keeps what a host remembers between runs: its key, the heads of its sources, journals, and caches that make the next run fast.
// All but the host key can be deleted: that costs time, not data.
//
// A state never fails its caller. Folders that are absent, read-only or full, and files that are damaged, cost speed: each is told once through the
// note function, and the part concerned is off for the rest of the run. What is read is checked first (magic, version, repository id, CRC32C);
// what does not pass is treated as absent. Whole files are replaced atomically: temporary file, fsync, rename, fsync of the folder.
//
//	<state>/<repository id>/host.key            host key file (FORMAT §4.4), 0600; of all copies of the repository
//	<state>/<repository id>/heads/<source>      last snapshot seen of a source (sealed file, see file.go)
//	<state>/<repository id>/locks/<source>      lock of a source; pid and start of the holder
//	<state>/<repository id>/journals/<name>     append-only records (see journal.go)
//	<cache>/<repository id>/sources/<source>/   stat-<gen>, lines-<gen>: what the last run saw (see statcache.go)
//	<cache>/<repository id>/spool/              sealed packs on their way
//	<cache>/<repository id>/store/              objects of the store, kept by the store cache
//	<cache>/<repository id>/chunks/             chunk tables
//
// A copy of a repository (FORMAT §3, copy) has folders of its own, <repository id>-<copy>: what is known of one location says nothing of another.
package state

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// SourceID names a source: 16 hex digits in text.
type SourceID = [8]byte

// Error tells what part of the state is off, and why. It is what the note function gets.
type Error struct {
	What string // "heads", "journal", …
	Path string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("local state: %s %q: %s", e.What, e.Path, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errors inside of Error.
var (
	ErrDamaged = errors.New("damaged, not used")
	ErrForeign = errors.New("belongs to another repository, not used")
	ErrNewer   = errors.New("written by a newer version, not used")
	ErrNone    = errors.New("no folder for local state")
)

// State is the local state of one repository. It may be used by many goroutines at once; note is called by whichever finds the trouble,
// one at a time.
type State struct {
	repo  [16]byte
	keys  string // folder of the host key; empty: none
	state string // empty: none
	cache string
	note  func(error)
	still bool             // see Still
	now   func() time.Time // when pieces of the cache are used

	mu    sync.Mutex
	noted map[string]bool // what was told already
}

// Open returns the state of a repository. It never fails and makes nothing until there is something to write. note may be nil.
func Open(dirs Dirs, repo [16]byte, note func(error)) *State {
	return OpenCopy(dirs, repo, [16]byte{}, note)
}

// OpenCopy is Open for a copy of a repository; a zero number means the first.
func OpenCopy(dirs Dirs, repo, number [16]byte, note func(error)) *State {
	s := &State{repo: repo, note: note, now: time.Now, noted: map[string]bool{}}
	name := hex.EncodeToString(repo[:])
	if dirs.State != "" {
		s.keys = filepath.Join(dirs.State, name)
	}
	if number != [16]byte{} {
		name += "-" + hex.EncodeToString(number[:])
	}
	if dirs.State != "" {
		s.state = filepath.Join(dirs.State, name)
	}
	if dirs.Cache != "" {
		s.cache = filepath.Join(dirs.Cache, name)
	}
	return s
}

// Still returns the same state, which is read as ever, but remembers nothing of what is done with it: for runs that only pretend. Copies of what
// the store has are kept all the same.
func (s *State) Still() *State {
	return &State{repo: s.repo, keys: s.keys, state: s.state, cache: s.cache, note: s.note, still: true, now: s.now, noted: map[string]bool{}}
}

// tell notes trouble with one part, once per part and path.
func (s *State) tell(what, path string, err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := what + "\x00" + path
	if s.noted[key] || s.note == nil {
		return
	}
	s.noted[key] = true
	s.note(&Error{what, path, err})
}

// folder makes a folder below base and returns its path, or "" if there is none; trouble is told.
func (s *State) folder(what, base string, elem ...string) string {
	if base == "" || s.still && (base == s.state || elem[0] == "sources") {
		return ""
	}
	path := filepath.Join(append([]string{base}, elem...)...)
	if err := os.MkdirAll(path, 0o700); err != nil {
		s.tell(what, path, err)
		return ""
	}
	return path
}

// StoreCacheDir is the folder for cached objects of the store; empty if there is none.
func (s *State) StoreCacheDir() string { return s.folder("cache", s.cache, "store") }

// ChunkTableDir is the folder for chunk tables; empty if there is none.
func (s *State) ChunkTableDir() string { return s.folder("cache", s.cache, "chunks") }

// SpoolDir is the folder for packs on their way; empty if there is none.
func (s *State) SpoolDir() string { return s.folder("spool", s.cache, "spool") }
