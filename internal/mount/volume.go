package mount

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// errNone tells that a name or a node is not there.
var errNone = errors.New("not there")

// volume is an open snapshot. Its methods may be called by several goroutines at once.
type volume struct {
	slot   uint32
	item   snapshot.Item
	chunks chunkSource
	seed   maphash.Seed

	mu     sync.Mutex
	idle   []*cursor // that nobody uses, the one used last at the end
	hidden noXattrs
	links  linkCounter

	used uint64 // when it was last asked for; guarded by FS.mu
}

// chunkSource has the chunks of a snapshot's manifest.
type chunkSource interface {
	// get fails with errStopped once stop is closed.
	get(stop stopper, id digest.Chunk) ([]byte, error)
	ahead(ids []digest.Chunk)
}

// stopper is closed when whoever asked does not wait any more; nil: they always do.
type stopper <-chan struct{}

// errStopped tells that nobody waits any more.
var errStopped = errors.New("interrupted")

// cursor is a place in a manifest.
type cursor struct {
	it   *manifest.Iterator
	stop stopper // of whoever reads
	line int64   // of the entry at hand; −1: none
	next int64   // number of the entry that Next gives; −1: unknown
}

// source is where a stop belongs to each request.
func (v *volume) source(stop *stopper) manifest.Source {
	return manifest.Source{Get: func(id digest.Chunk) ([]byte, error) { return v.chunks.get(*stop, id) }, Prefetch: v.chunks.ahead}
}

func (v *volume) newCursor() *cursor {
	c := &cursor{line: -1}
	c.it = manifest.NewReader(v.source(&c.stop), repo.TreeOf(v.item.Snapshot)).Entries(nil)
	return c
}

// look is a volume as one request reads it.
type look struct {
	*volume
	stop stopper
}

// cursor returns a place to read from, the one nearest to a line if there is any.
func (v look) cursor(line int64) *cursor {
	v.mu.Lock()
	defer v.mu.Unlock()
	best := -1
	for i, c := range v.idle {
		if best < 0 || distance(c.line, line) <= distance(v.idle[best].line, line) {
			best = i
		}
	}
	if best < 0 {
		c := v.newCursor()
		c.stop = v.stop
		return c
	}
	c := v.idle[best]
	c.stop = v.stop
	v.idle = slices.Delete(v.idle, best, best+1)
	return c
}

func distance(a, b int64) int64 { return max(a-b, b-a) }

// giveBack returns a cursor. One that failed is of no more use.
func (v *volume) giveBack(c *cursor) {
	c.stop = nil
	if c.it.Err() != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.idle = append(v.idle, c)
	if len(v.idle) > maxCursors {
		v.idle = slices.Delete(v.idle, 0, 1)
	}
}

// step goes to the next entry; nil: there is none.
func (c *cursor) step() (*manifest.Entry, error) {
	if !c.it.Next() {
		c.next = -1
		return nil, c.it.Err()
	}
	if c.next < 0 {
		c.next = c.it.Number()
	}
	c.line, c.next = c.next, c.next+1
	return c.it.Entry()
}

// toLine goes to before an entry.
func (c *cursor) toLine(line int64) {
	if c.next != line {
		c.it.SeekNumber(line)
		c.next = line
	}
}

// toPath goes to before the first entry at or after a path.
func (c *cursor) toPath(path []byte) {
	c.it.Seek(path)
	c.next = -1
}

// entry calls fn with the entry of a line, which is valid until fn returns; errNone if there is none.
func (v look) entry(line int64, fn func(e *manifest.Entry) error) error {
	c := v.cursor(line)
	defer v.giveBack(c)
	c.toLine(line)
	e, err := c.step()
	if err != nil {
		return err
	}
	if e == nil || c.line != line {
		return errNone
	}
	return fn(e)
}

// byPath calls fn with the entry of a path and its line; errNone if there is none. near is a line that is perhaps not far away.
func (v look) byPath(path []byte, near int64, fn func(e *manifest.Entry, line int64) error) error {
	c := v.cursor(near)
	defer v.giveBack(c)
	c.toPath(path)
	if !c.it.Next() {
		c.next = -1
		return cmpErr(c.it.Err())
	}
	c.line = c.it.Number()
	c.next = c.line + 1
	if !bytes.Equal(c.it.Path(), path) {
		return errNone
	}
	e, err := c.it.Entry()
	if err != nil {
		return err
	}
	return fn(e, c.line)
}

func cmpErr(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// path returns the path of a folder.
func (v look) path(line int64) (path []byte, err error) {
	if line < 0 {
		return nil, nil
	}
	err = v.entry(line, func(e *manifest.Entry) error {
		path = bytes.Clone(e.Path)
		return nil
	})
	return path, err
}

// file is what the kernel is told of a file.
type file struct {
	node   node
	kind   manifest.Type
	mode   uint32 // 07777
	links  uint32
	uid    int64 // −1: unknown
	gid    int64
	size   int64
	blocks int64 // of 512 bytes
	major  uint32
	minor  uint32
	time   time.Time
	target []byte // of a link, valid as long as the entry
}

// describe tells of an entry; that of a later name of a file is its first one's.
func (v look) describe(e *manifest.Entry, line int64) (file, error) {
	if len(e.Hardlink) > 0 {
		var out file
		err := v.byPath(e.Hardlink, line, func(first *manifest.Entry, at int64) (err error) {
			if len(first.Hardlink) > 0 {
				return fmt.Errorf("%q is a link to %q, which is one itself", e.Path, e.Hardlink)
			}
			if first.Type != e.Type { // a folder, say, and perhaps the one that it lies in
				return fmt.Errorf("%q is a link to %q, which is of another kind", e.Path, e.Hardlink)
			}
			out, err = v.describe(first, at)
			out.target = nil
			return err
		})
		if errors.Is(err, errNone) {
			err = fmt.Errorf("%q is a link to %q, which is not in the snapshot", e.Path, e.Hardlink)
		}
		return out, err
	}
	f := file{node: lineNode(v.slot, line), kind: e.Type, mode: e.Mode, links: 1, uid: e.UID, gid: e.GID, size: e.Size, major: e.Major, minor: e.Minor,
		time: time.Unix(e.Mtime.Sec, int64(e.Mtime.Nsec)), target: e.Target}
	if len(e.Path) == 0 {
		f.node = lineNode(v.slot, -1)
	}
	if e.Type != manifest.Dir {
		f.links = v.links.of(v.seed, e.Path)
	}
	var err error
	switch e.Type {
	case manifest.Symlink:
		f.size = int64(len(e.Target))
	case manifest.File:
		if f.blocks, err = v.blocks(e); err != nil && isDamage(err) {
			f.blocks, err = (e.Size+block-1)/block*(block/512), nil // who reads it hears of it
		}
	}
	v.hidden.note(line, len(e.Xattrs) == 0 && e.Error == "")
	return f, err
}

// root describes the root of the snapshot.
func (v look) root() (file, error) {
	var out file
	err := v.byPath(nil, 0, func(e *manifest.Entry, line int64) (err error) {
		out, err = v.describe(e, line)
		return err
	})
	if errors.Is(err, errNone) || err == nil && out.kind != manifest.Dir { // a single file, or nothing yet
		return file{node: lineNode(v.slot, -1), kind: manifest.Dir, mode: 0o555, links: 1, uid: -1, gid: -1, time: v.item.Start}, nil
	}
	return out, err
}

// attributes describes a node.
func (v look) attributes(n node) (out file, err error) {
	if n.line() < 0 {
		return v.root()
	}
	err = v.entry(n.line(), func(e *manifest.Entry) (err error) {
		out, err = v.describe(e, n.line())
		out.target = bytes.Clone(out.target)
		return err
	})
	return out, err
}

// child finds a name in a folder.
func (v look) child(dir node, name string) (out file, err error) {
	path, err := v.path(dir.line())
	if err != nil {
		return out, err
	}
	if len(path) > 0 {
		path = append(path, '/')
	}
	err = v.byPath(append(path, name...), dir.line(), func(e *manifest.Entry, line int64) (err error) {
		out, err = v.describe(e, line)
		out.target = nil
		return err
	})
	return out, err
}

const (
	block       = 4096    // in which room is counted
	maxTreeScan = 1 << 16 // pieces of a file whose holes are looked for
)

// blocks is how much room a file takes: without its holes. Of a file in very many pieces nobody looks for them.
func (v look) blocks(e *manifest.Entry) (int64, error) {
	data := e.Size
	if e.Tree.IsEmpty() || e.Tree.Lines <= maxTreeScan {
		p := manifest.NewPieces(v.source(&v.stop), e)
		for p.Next() {
			if p.Piece().IsHole() {
				data -= p.Piece().Length
			}
		}
		if err := p.Err(); err != nil {
			return 0, err
		}
	}
	return (data + block - 1) / block * (block / 512), nil
}
