package restore

import (
	"bytes"
	"context"
	"errors"
	"math"

	"firn/internal/manifest"
	"firn/internal/store"
	"firn/internal/target"
)

// How large a window grows. The first one is small, so that the work begins soon.
const (
	firstWindow = 8 << 10
	maxWeight   = 24 << 20 // rough bytes of one window
)

// special is a symlink, device, FIFO or socket.
type special struct {
	rel    []byte
	meta   target.Meta
	target string
	there  bool
}

// gatherer goes through the manifest and fills windows.
type gatherer struct {
	r     *run
	ctx   context.Context
	win   *window
	limit int
	stack []*folder
	quiet bool // folders have been counted and told of by an earlier walk
	full  func(*window) (*window, error)
}

// gather calls full with one window after the other; it gives back an empty one.
func (r *run) gather(ctx context.Context, full func(*window) (*window, error)) error {
	g := &gatherer{r: r, ctx: ctx, win: newWindow(), limit: min(firstWindow, r.o.Window), full: full}
	if err := r.choice.walk(g.entry); err != nil {
		return err
	}
	g.leaveFolders(nil, true)
	return g.flush()
}

// flush hands the window over.
func (g *gatherer) flush() (err error) {
	g.limit = min(2*g.limit, g.r.o.Window)
	g.win, err = g.full(g.win)
	return err
}

// entry takes the next entry of the manifest.
func (g *gatherer) entry(e *manifest.Entry, chosen bool) error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	rel := g.r.choice.rel(e.Path)
	g.leaveFolders(rel, false)
	if g.win.entries >= g.limit || g.win.weight >= maxWeight {
		if err := g.flush(); err != nil {
			return err
		}
	}
	g.win.entries++
	if e.Type == manifest.Dir {
		return g.enterFolder(e, rel, chosen)
	}
	if err := g.makeFolders(); err != nil {
		return err
	}
	if e.Type == manifest.File {
		g.r.total.files.Add(1)
		g.r.total.bytes.Add(e.Size)
	} else {
		g.r.total.others.Add(1)
	}
	if n := len(g.stack); n > 0 && g.stack[n-1].failed != nil {
		return g.r.failed(rel, e.Type.String(), e.Size, g.stack[n-1].failed)
	}
	switch {
	case len(e.Hardlink) > 0:
		return g.hardLink(e, rel)
	case e.Type == manifest.File:
		return g.file(e, rel)
	}
	g.special(e, rel)
	return nil
}

// above reports whether the folder of the current entry was there before, so that something may stand in its place.
func (g *gatherer) above() bool {
	if n := len(g.stack); n > 0 {
		return g.stack[n-1].there
	}
	return g.r.rootThere
}

func (g *gatherer) special(e *manifest.Entry, rel []byte) {
	s := &special{rel: bytes.Clone(rel), meta: metaOf(e), target: string(e.Target)}
	s.there = g.above()
	g.win.others = append(g.win.others, s)
	g.win.weight += 300 + len(rel)
}

// hardLink takes a later name of a file.
func (g *gatherer) hardLink(e *manifest.Entry, rel []byte) error {
	first, real, err := g.r.links.resolve(e, rel)
	switch {
	case err != nil:
		return err
	case first != nil:
		g.addLink(rel, first, e)
		return nil
	case real == nil:
		return g.r.failed(rel, e.Type.String(), e.Size, errNoFirst)
	case real.Type == manifest.File:
		return g.file(real, rel)
	}
	g.special(real, rel)
	return nil
}

func (g *gatherer) addLink(rel, first []byte, e *manifest.Entry) {
	l := hardLink{size: e.Size, typ: e.Type}
	l.path, l.pathLen = g.win.addPath(rel)
	l.first, l.firstLen = g.win.addPath(first)
	g.win.links = append(g.win.links, l)
	g.win.weight += 32
}

// file takes a regular file.
func (g *gatherer) file(e *manifest.Entry, rel []byte) error {
	if e.Tree.IsEmpty() && (len(e.Content) == 0 || len(e.Content) == 1 && !e.Content[0].IsHole()) && e.Size <= math.MaxUint32 {
		return g.small(e, rel)
	}
	return g.large(e, rel)
}

// small takes a file in one piece, or an empty one.
func (g *gatherer) small(e *manifest.Entry, rel []byte) error {
	var flags uint8
	if info, err := g.r.lstat(g.above(), rel); err == nil {
		flags = g.r.judge(info, e)
	}
	g.note(g.win, e, rel, flags)
	return nil
}

// note enters a file in one piece into a window.
func (g *gatherer) note(w *window, e *manifest.Entry, rel []byte, flags uint8) {
	rec := record{
		size: uint32(e.Size), chunk: noChunk, next: noNext, sec: e.Mtime.Sec, nsec: e.Mtime.Nsec, uid: narrow(e.UID), gid: narrow(e.GID),
		user: g.r.name(e.User), group: g.r.name(e.Group), mode: uint16(e.Mode), hash: e.Hash, flags: flags,
	}
	rec.path, rec.pathLen = w.addPath(rel)
	if len(e.Content) > 0 {
		rec.chunk, rec.off = w.chunk(e.Content[0].Chunk), e.Content[0].Offset
	}
	if len(e.Xattrs) > 0 {
		rec.flags |= hasXattrs
		w.xattrs[int32(len(w.records))] = xattrsOf(e)
		w.weight += 300
	}
	w.records = append(w.records, rec)
	w.weight += 100
}

// large takes a file in several pieces. Its pieces may fill several windows.
func (g *gatherer) large(e *manifest.Entry, rel []byte) error {
	l := &large{run: g.r, rel: bytes.Clone(rel), size: e.Size}
	l.spec = target.FileSpec{Meta: metaOf(e), Size: e.Size, Sparse: g.hasHole(e)}
	l.pending.Store(1)
	g.win.weight += 500 + len(rel)
	have := &existing{}
	if info, err := g.r.lstat(g.above(), rel); err == nil {
		kept, err := g.r.judgeLarge(g.ctx, info, e)
		if err != nil {
			return err
		}
		if kept != 0 {
			return g.r.keepLarge(l, kept)
		}
	}
	if g.r.o.DryRun {
		return g.r.dryLarge(l, g.above())
	}
	if g.above() { // an interrupted run may have left a part of it
		have = g.r.resume(l)
	}
	if err := g.pieces(e, l, have); err != nil {
		return err
	}
	return l.release()
}

// pieces notes which chunks a file needs.
func (g *gatherer) pieces(e *manifest.Entry, l *large, have *existing) error {
	number := g.addLarge(l)
	it := g.r.choice.m.Pieces(e)
	for it.Next() {
		p := it.Piece()
		if have.has(g.r, p, it.Offset()) {
			g.r.bytesDone.Add(p.Length)
			continue
		}
		if g.win.weight >= maxWeight {
			if err := g.flush(); err != nil {
				return err
			}
			number = g.addLarge(l)
		}
		l.pending.Add(1)
		g.win.addPiece(number, p, it.Offset())
	}
	if err := it.Err(); err != nil {
		if g.ctx.Err() != nil || errors.Is(err, store.ErrCold) {
			return err
		}
		l.spoil(damageOf(err))
	}
	return nil
}

func (g *gatherer) addLarge(l *large) int32 {
	g.win.larges = append(g.win.larges, l)
	return int32(len(g.win.larges) - 1)
}

// hasHole looks for holes. A file in many pieces is looked through to the first.
func (g *gatherer) hasHole(e *manifest.Entry) bool {
	it := g.r.choice.m.Pieces(e)
	for it.Next() {
		if it.Piece().IsHole() {
			return true
		}
	}
	return false // errors come again
}
