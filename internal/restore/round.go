package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"math"
	"os"

	"firn/internal/event"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/store"
	"firn/internal/target"
)

// round is one walk of a pass. What needs no pack is worked on as it comes; what needs a pack is held until the walk is over, so that each pack is read
// in one go and each chunk once, whoever needs it.
type round struct {
	*gatherer
	p     *Passes
	sel   *selection
	first bool
	check bool // whether what earlier passes have restored is there
	hold  *window
	seed  maphash.Seed
	due   map[uint64]struct{} // paths of files that this round decides on, for their later names
}

// walk gathers one round.
func (g *round) walk() error {
	if err := g.r.choice.walkAhead(g.ctx, g.sel, g.entry); err != nil {
		return err
	}
	g.leave(nil, true)
	return g.flush()
}

func (g *round) entry(e *manifest.Entry, chosen bool) error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	rel := g.r.choice.rel(e.Path)
	g.leave(rel, false)
	if g.win.entries >= g.limit || g.win.weight >= maxWeight {
		if err := g.flush(); err != nil {
			return err
		}
	}
	switch {
	case e.Type == manifest.Dir:
		g.win.entries++
		g.stack = append(g.stack, &folder{rel: bytes.Clone(rel), meta: metaOf(e)})
		g.win.weight += 300 + len(rel)
		if chosen && g.first {
			return g.open()
		}
		return nil
	case len(e.Hardlink) > 0:
		return g.hardLink(e, rel)
	case e.Type == manifest.File:
		return g.file(e, rel)
	}
	return g.special(e, rel)
}

// leave takes from the stack what does not contain rel.
func (g *round) leave(rel []byte, all bool) {
	for n := len(g.stack); n > 0 && (all || !manifest.Within(rel, g.stack[n-1].rel)); n-- {
		f := g.stack[n-1]
		g.stack = g.stack[:n-1]
		if !f.made || f.failed != nil {
			continue
		}
		if f.late {
			g.hold.folders = append(g.hold.folders, *f)
		} else {
			g.win.folders = append(g.win.folders, *f)
		}
	}
}

// open makes the folders on the way to the current entry, as far as that is left to do.
func (g *round) open() error {
	n := len(g.stack)
	for n > 0 && !g.stack[n-1].made {
		n--
	}
	if err := g.makeFolders(); err != nil {
		return err
	}
	for _, f := range g.stack[n:] {
		if len(f.rel) == 0 {
			f.keep = g.p.before.Root
		} else {
			f.keep = g.r.o.Overwrite == target.Never && g.p.before.has(f.rel)
		}
	}
	return nil
}

// barred returns why nothing can be made in the current folder.
func (g *round) barred() error {
	if n := len(g.stack); n > 0 {
		return g.stack[n-1].failed
	}
	return nil
}

// wait keeps the folders on the way to the current entry open to the end of the walk.
func (g *round) wait() {
	for i := len(g.stack) - 1; i >= 0 && !g.stack[i].late; i-- {
		g.stack[i].late = true
	}
}

func (g *round) decide(rel []byte) { g.due[maphash.Bytes(g.seed, rel)] = struct{}{} }

func (g *round) decides(rel []byte) bool {
	_, ok := g.due[maphash.Bytes(g.seed, rel)]
	return ok
}

// special is for links, devices and so on: they come with the first round.
func (g *round) special(e *manifest.Entry, rel []byte) error {
	if !g.first && !g.gone(rel) {
		return nil
	}
	if err := g.open(); err != nil {
		return err
	}
	g.decide(rel)
	if err := g.barred(); err != nil {
		return g.r.failed(rel, e.Type.String(), e.Size, err)
	}
	g.win.entries++
	g.gatherer.special(e, rel)
	return nil
}

// hardLink takes a later name of a file, in the round that decides on that file.
func (g *round) hardLink(e *manifest.Entry, rel []byte) error {
	first, real, err := g.r.links.resolve(e, rel)
	switch {
	case err != nil:
		return err
	case first == nil && real == nil && !g.first, first != nil && !g.decides(first) && (!g.gone(rel) || g.gone(first)):
		return nil
	case real != nil && real.Type == manifest.File:
		return g.file(real, rel)
	case real != nil:
		return g.special(real, rel)
	}
	if err := g.open(); err != nil {
		return err
	}
	if err := g.barred(); err != nil {
		return g.r.failed(rel, e.Type.String(), e.Size, err)
	}
	if first == nil {
		return g.r.failed(rel, e.Type.String(), e.Size, errNoFirst)
	}
	w := g.win
	g.win = g.hold
	g.addLink(rel, first, e)
	g.win = w
	g.wait()
	return nil
}

// file takes a regular file.
func (g *round) file(e *manifest.Entry, rel []byte) error {
	if !e.Tree.IsEmpty() || len(e.Content) > 1 || len(e.Content) == 1 && e.Content[0].IsHole() || e.Size > math.MaxUint32 {
		return g.large(e, rel)
	}
	f := found{verdict: nowhere}
	if len(e.Content) > 0 {
		var err error
		if f, err = g.sel.look(e.Content[0].Chunk); err != nil {
			return err
		}
	}
	missed := f.verdict == had && g.missed(rel, &f)
	switch {
	case f.verdict == had, f.verdict == later, f.verdict == nowhere && !g.first && (len(e.Content) > 0 || !g.gone(rel)):
		return nil
	case f.verdict == ready && !g.sel.take(f.slot):
		return nil
	}
	if missed {
		g.r.pass.whole = append(g.r.pass.whole, bytes.Clone(rel))
	}
	if err := g.open(); err != nil {
		return err
	}
	g.decide(rel)
	if err := g.barred(); err != nil {
		if _, told := g.p.lost[string(rel)]; told {
			return nil
		}
		return g.r.failed(rel, "file", e.Size, err)
	}
	return g.small(e, rel, f)
}

// gone reports, in the first walk of the last pass, whether what earlier passes have made is not there any more.
func (g *round) gone(rel []byte) bool {
	if !g.check {
		return false
	}
	if _, lost := g.p.lost[string(rel)]; lost {
		return false
	}
	_, err := os.Lstat(g.r.path(rel))
	return errors.Is(err, fs.ErrNotExist)
}

// missed makes a file that came in an earlier pass ready once more, where it is not there any more, and reports whether it did. That is found out by the last pass; there
// and in those that follow, the pack is asked for again.
func (g *round) missed(rel []byte, f *found) bool {
	_, again := g.p.again[string(rel)]
	if !again {
		if !g.gone(rel) {
			return false
		}
		g.r.tellLost(rel)
	}
	if !g.sel.ofPass(f.slot) {
		g.r.pass.needed[f.slot] = struct{}{}
		return false
	}
	f.verdict = ready
	return true
}

// tellLost notes that what earlier passes have restored of a file is not there as they left it.
func (r *run) tellLost(rel []byte) {
	r.pass.again = append(r.pass.again, bytes.Clone(rel))
	r.o.Report.Emit(event.Note{Text: fmt.Sprintf("%q: what was restored of it is gone from the target or was changed; some of it is needed once more", r.choice.full(rel))})
}

// small is gatherer.small, into the window that fits.
func (g *round) small(e *manifest.Entry, rel []byte, f found) error {
	var flags uint8
	if info, err := g.r.lstat(g.above(), rel); err == nil {
		flags = g.r.judge(info, e)
	}
	to := g.win
	if f.verdict == ready || len(e.Content) > 0 && flags&isKept == 0 {
		to = g.hold
		g.wait()
	}
	g.note(to, e, rel, flags)
	to.entries++
	if f.verdict == ready && to == g.hold {
		c := &to.chunks[to.records[len(to.records)-1].chunk]
		c.loc, c.located = f.loc, true
		g.sel.room -= 100 + len(rel)
	}
	return nil
}

// survey is what the pieces of a large file need.
type survey struct{ ready, had, later int }

// survey looks where the pieces of a file lie, and takes packs. again tells that what came in earlier passes does not count.
func (g *round) survey(e *manifest.Entry, again bool) (s survey, err error) {
	it := g.r.choice.m.Pieces(e)
	for it.Next() {
		if it.Piece().IsHole() {
			continue
		}
		f, err := g.lookFor(it.Piece(), again)
		if err != nil {
			return s, err
		}
		switch f.verdict {
		case ready:
			s.ready++
		case had:
			s.had++
		case later:
			s.later++
		}
	}
	return s, g.ctx.Err() // what is wrong with the pieces comes again
}

// lookFor finds a piece of a large file and takes its pack.
func (g *round) lookFor(p manifest.Piece, again bool) (found, error) {
	f, err := g.sel.look(p.Chunk)
	if err != nil {
		return f, err
	}
	if again && f.verdict == had {
		f.verdict = later
		if g.sel.ofPass(f.slot) {
			f.verdict = ready
		}
	}
	if f.verdict == ready && !g.sel.take(f.slot) {
		f.verdict = later
	}
	return f, nil
}

// large takes a file in several pieces.
func (g *round) large(e *manifest.Entry, rel []byte) error {
	if _, ok := g.p.settled[keyOf(rel)]; ok {
		return nil
	}
	_, again := g.p.again[string(rel)]
	s, err := g.survey(e, again)
	if err != nil {
		return err
	}
	if s.had > 0 && s.ready+s.later == 0 && !again && g.gone(rel) {
		g.r.tellLost(rel)
		if s, err = g.survey(e, true); err != nil {
			return err
		}
		again = true
	}
	if s.ready == 0 && (!g.first || s.had+s.later > 0) {
		return nil
	}
	if err := g.open(); err != nil {
		return err
	}
	l := &large{run: g.r, rel: bytes.Clone(rel), size: e.Size, due: s.later == 0, trusted: s.had > 0 && !again, again: again, damage: g.p.hurt[string(rel)]}
	if _, lost := g.p.lost[string(rel)]; lost || g.barred() != nil {
		return g.lostLarge(l, lost)
	}
	l.spec = target.FileSpec{Meta: metaOf(e), Size: e.Size, Sparse: g.hasHole(e)}
	l.pending.Store(1)
	g.wait()
	have, kept, err := g.examine(e, l, s.had > 0, again)
	if err != nil || kept {
		return err
	}
	if err := g.pieces(e, l, have); err != nil {
		return err
	}
	if l.due {
		g.decide(rel)
	}
	return l.release()
}

// lostLarge is for a file that failed in an earlier pass, or whose folder cannot be made.
func (g *round) lostLarge(l *large, told bool) error {
	if !l.due {
		return nil
	}
	g.decide(l.rel)
	if told {
		return nil
	}
	return g.r.failed(l.rel, "file", l.size, g.barred())
}

// examine finds out what is there of a file: what stands in its place, or what earlier passes or an interrupted run have left. kept: there is nothing left to do.
func (g *round) examine(e *manifest.Entry, l *large, judged, again bool) (have *existing, kept bool, err error) {
	r := g.r
	part, size := r.lookAtPart(l.rel)
	if !judged || part == noPart && !again { // nobody has decided yet, or the file was completed by a pass that was cut off then
		kept, err := g.judgeKept(e, l)
		if kept || err != nil {
			return nil, kept, err
		}
	}
	switch {
	case !judged:
		return r.resume(l), false, nil
	case part == sealedPart && !again:
		l.wrote = size > 0 // all that came before may have been damaged
		return &existing{}, false, nil
	}
	have = r.resume(l)
	if again || part == stoppedPart {
		return have, false, nil
	}
	whole := part != noPart || l.damage != nil // all that came before may have been damaged
	if whole {
		if whole, err = g.verify(e, l, have); err != nil {
			return nil, false, err
		}
	}
	if !whole {
		r.tellLost(l.rel)
		l.trusted, l.again = false, true
	}
	return have, false, nil
}

// verify reads what earlier passes have written of a file. Of one that is known to miss something, what is not there becomes a hole.
func (g *round) verify(e *manifest.Entry, l *large, have *existing) (bool, error) {
	it := g.r.choice.m.Pieces(e)
	for it.Next() {
		p := it.Piece()
		if p.IsHole() {
			continue
		}
		f, err := g.sel.look(p.Chunk)
		switch {
		case err != nil:
			return false, err
		case f.verdict != had || have.r != nil && have.holds(g.r, p, it.Offset()):
		case l.damage == nil:
			return false, g.ctx.Err()
		case have.punch != nil:
			_ = have.punch(it.Offset(), p.Length) // it is reported as damaged in any case
		}
	}
	return true, g.ctx.Err()
}

// judgeKept decides whether what stands in the place of a file stays.
func (g *round) judgeKept(e *manifest.Entry, l *large) (bool, error) {
	info, err := g.r.lstat(g.above(), l.rel)
	if err != nil {
		return false, nil
	}
	flags, err := g.r.judgeLarge(g.ctx, info, e)
	if err != nil || flags == 0 {
		return false, err
	}
	g.decide(l.rel)
	g.r.pass.decided(l, true)
	return true, g.r.keepLarge(l, flags)
}

// pieces notes the chunks that are brought now.
func (g *round) pieces(e *manifest.Entry, l *large, have *existing) error {
	number := int32(-1)
	_, again := g.p.again[string(l.rel)]
	if again = again || l.again; again {
		l.due = true
	}
	it := g.r.choice.m.Pieces(e)
	for it.Next() {
		p, at := it.Piece(), it.Offset()
		if p.IsHole() {
			have.has(g.r, p, at)
			continue
		}
		f, err := g.lookFor(p, again)
		if err != nil {
			return err
		}
		switch {
		case f.verdict == nowhere:
			if l.due {
				l.spoil(Damage{Chunk: p.Chunk, Err: repo.ErrUnknownChunk})
			}
		case f.verdict == had:
		case have.has(g.r, p, at):
			g.r.bytesDone.Add(p.Length)
		case f.verdict == ready:
			if number < 0 {
				g.hold.larges = append(g.hold.larges, l)
				number = int32(len(g.hold.larges) - 1)
			}
			l.pending.Add(1)
			c := g.hold.addPiece(number, p, at)
			g.hold.chunks[c].loc, g.hold.chunks[c].located = f.loc, true
			g.sel.room -= 32
		case again:
			l.due = false
			if g.sel.flag(f.slot)&packHad != 0 {
				g.r.pass.needed[f.slot] = struct{}{}
			}
		}
	}
	if err := it.Err(); err != nil {
		if g.ctx.Err() != nil || errors.Is(err, store.ErrCold) {
			return err
		}
		if l.due {
			l.spoil(damageOf(err))
		}
	}
	return nil
}

// newRound prepares a walk.
func (r *run) newRound(ctx context.Context, first, check bool) *round {
	g := &round{
		gatherer: &gatherer{r: r, ctx: ctx, win: newWindow(), limit: r.o.Window, quiet: !first}, p: r.pass.p, sel: r.pass.sel, first: first, check: check,
		hold: newWindow(), seed: maphash.MakeSeed(), due: map[uint64]struct{}{},
	}
	g.hold.held = true
	g.full = func(w *window) (*window, error) {
		err := r.work(ctx, w)
		w.reset()
		return w, err
	}
	r.links = linker{choice: r.choice, stands: map[string]string{}}
	r.names, r.nameIDs = new([maxNames]string), map[string]uint32{}
	return g
}
