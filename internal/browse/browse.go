// Package browse looks into snapshots: which there are, what they hold, what differs between them. It changes nothing, and reads
// packs of file content only for Cat.
package browse

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"firn/internal/glob"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// Errors that a caller may want to tell apart.
var (
	ErrNotThere  = errors.New("not in the snapshot")
	ErrNotFile   = errors.New("not a regular file")
	ErrNotFolder = errors.New("not a folder")
	ErrRange     = errors.New("offset is past the end of the file")
)

// Entry is one file of a snapshot.
type Entry struct {
	Path     []byte // relative to the source; empty: the source itself
	Type     string // file, dir, symlink, fifo, char, block, socket
	Mode     uint32 // 07777
	UID, GID int64  // −1: unknown
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
	Error    string   // the file could not be read whole
}

// set fills x from e; it shares memory with it.
func (x *Entry) set(e *manifest.Entry) {
	*x = Entry{
		Path: e.Path, Type: e.Type.String(), Mode: e.Mode, UID: e.UID, GID: e.GID, User: e.User, Group: e.Group,
		Mtime: time.Unix(e.Mtime.Sec, int64(e.Mtime.Nsec)).UTC(), Size: e.Size, Hardlink: e.Hardlink, Target: e.Target, Major: e.Major, Minor: e.Minor,
		Xattrs: x.Xattrs[:0], Error: e.Error,
	}
	if !e.Hash.IsZero() {
		x.Hash = hex.EncodeToString(e.Hash[:])
	}
	for i := range e.Xattrs {
		x.Xattrs = append(x.Xattrs, e.Xattrs[i].Name)
	}
}

// Clone returns a copy that shares nothing with x.
func (x *Entry) Clone() *Entry {
	c := *x
	c.Path, c.Hardlink, c.Target = bytes.Clone(x.Path), bytes.Clone(x.Hardlink), bytes.Clone(x.Target)
	c.Xattrs = append([]string(nil), x.Xattrs...)
	return &c
}

// Bytes that views keep in memory of what they have read.
const (
	metaCache = 4 << 20
	dataCache = 24 << 20
)

// View is a snapshot open for reading. Its methods may be called by several goroutines at once.
type View struct {
	Snapshot *snapshot.Snapshot
	Scope    *repo.ScopeState

	ctx   context.Context
	r     *repo.Repository
	cache *repo.ChunkCache
	src   manifest.Source
	m     *manifest.Reader
}

// Open opens a snapshot of a scope, which was loaded with its index. The view works until ctx ends. It fails with repo.ErrWriteOnly.
func Open(ctx context.Context, r *repo.Repository, scope *repo.ScopeState, snap *snapshot.Snapshot) (*View, error) {
	cache, err := r.NewChunkCache(ctx, scope, snap.Epoch, 2, metaCache)
	if err != nil {
		return nil, err
	}
	v := &View{Snapshot: snap, Scope: scope, ctx: ctx, r: r, cache: cache, src: manifest.Source{Get: cache.Get, Prefetch: cache.Prefetch}}
	v.m = manifest.NewReader(v.src, repo.TreeOf(snap))
	return v, nil
}

// Close waits for what is being fetched ahead. The view is not used any more. Who lets the context of Open end, and the repository be, need not call it.
func (v *View) Close() { v.cache.Close() }

// choice is what patterns choose.
type choice struct{ include, exclude *glob.Set }

func (c choice) all() bool { return c.include.Empty() && c.exclude.Empty() }

func (c choice) has(path []byte, dir bool) bool {
	if !c.include.Empty() {
		if in, _ := c.include.Covers(path, dir); !in {
			return false
		}
	}
	out, _ := c.exclude.Covers(path, dir)
	return !out
}

func (c choice) enters(dir []byte) bool {
	if !c.include.Empty() && c.include.Below(dir) == glob.Nothing {
		return false
	}
	return c.exclude.Below(dir) != glob.Everything
}

// walk calls fn for every chosen entry at or below base, in order.
func (c choice) walk(ctx context.Context, m *manifest.Reader, base []byte, fn func(e *manifest.Entry) error) error {
	it := m.Entries(base)
	var behind []byte
	for it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !manifest.Within(it.Path(), base) {
			break
		}
		e, err := it.Entry()
		if err != nil {
			return err
		}
		enter := e.Type != manifest.Dir || c.all() || c.enters(e.Path)
		if !enter {
			behind = manifest.AppendAfter(behind[:0], e.Path)
		}
		if c.all() || c.has(e.Path, e.Type == manifest.Dir) {
			if err := fn(e); err != nil {
				return err
			}
		}
		if !enter {
			if len(behind) == 1 {
				return nil // the source itself
			}
			it.Seek(behind)
		}
	}
	return it.Err()
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
func (v *View) List(o ListOptions, fn func(*Entry) error) error {
	base := bytes.Trim(o.Path, "/")
	c := choice{o.Include, o.Exclude}
	var x Entry
	tell := func(e *manifest.Entry) error {
		if len(e.Path) == len(base) && e.Type == manifest.Dir && !o.Self {
			return nil
		}
		x.set(e)
		return fn(&x)
	}
	isDir := true
	var self manifest.Entry
	found, err := v.m.Lookup(base, &self)
	switch {
	case err != nil:
		return err
	case found:
		isDir = self.Type == manifest.Dir
	case len(base) > 0:
		return fmt.Errorf("%q: %w", base, ErrNotThere)
	}
	if o.Recursive || !isDir {
		return c.walk(v.ctx, v.m, base, tell)
	}
	if found && c.has(base, true) {
		if err := tell(&self); err != nil {
			return err
		}
	}
	return v.m.Children(base, func(e *manifest.Entry) error {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		if !c.has(e.Path, e.Type == manifest.Dir) {
			return nil
		}
		return tell(e)
	})
}

// Stat returns one entry, or fails with ErrNotThere.
func (v *View) Stat(path []byte) (*Entry, error) {
	e, err := v.lookUp(path)
	if err != nil {
		return nil, err
	}
	x := &Entry{}
	x.set(e)
	return x.Clone(), nil
}

func (v *View) lookUp(path []byte) (*manifest.Entry, error) {
	path = bytes.Trim(path, "/")
	e := &manifest.Entry{}
	found, err := v.m.Lookup(path, e)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("%q: %w", path, ErrNotThere)
	}
	return e, nil
}
