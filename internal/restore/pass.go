package restore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"crypto/sha256"

	"firn/internal/event"
	"firn/internal/index"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/source"
	"firn/internal/target"
)

var errPassOnly = errors.New("neither a dry run nor a tar can be made in passes")

// passRun is what a run knows that is one pass.
type passRun struct {
	r   *run
	p   *Passes
	sel *selection

	mu                  sync.Mutex
	frames              map[int32][]uint32  // that were brought, by slot of their pack
	cold                map[int32]struct{}  // slots of packs that could not be read
	needed              map[int32]struct{}  // slots of packs that are needed once more
	deferred            map[string]struct{} // files of this walk that wait for a later pass after all
	damaged             []*large            // wait for the end of the walk
	settled, settledDue []fileKey
	again               [][]byte
	whole               [][]byte
	hurt                map[string]*Damage

	entered Result // what has been entered
	limits  []target.Limit
	bytes   int64
}

// beginPass prepares a pass and remembers, before the first one, what was there.
func (r *run) beginPass(ctx context.Context) error {
	p, only := r.o.Passes, packSet{}
	for _, name := range r.o.Only {
		sum, err := packSum(name)
		if err != nil {
			return err
		}
		only[sum] = struct{}{}
	}
	r.pass = &passRun{r: r, p: p, sel: newSelection(r.o.Scope, p, only, r.o.Last), cold: map[int32]struct{}{}, needed: map[int32]struct{}{}}
	r.pass.clear()
	if p.begun && !r.rootThere {
		r.o.Report.Emit(event.Note{Text: fmt.Sprintf("%q is gone with all that was restored there; the restore begins anew", r.o.Target)})
		p.restart()
	}
	if p.before == nil {
		b := &before{Root: r.rootKept}
		if err := r.remember(ctx, b); err != nil {
			return err
		}
		p.commit(&passRecord{Before: b, Commit: &passCommit{}})
	}
	r.rootKept = p.before.Root
	return nil
}

// remember notes which folders are there already and are to stay as they are.
func (r *run) remember(ctx context.Context, b *before) error {
	if r.o.Overwrite != target.Never || !r.rootThere {
		return nil
	}
	if f, err := os.Open(r.o.Target); err == nil {
		_, err := f.Readdirnames(1)
		_ = f.Close()
		if err == io.EOF {
			return nil
		}
	}
	return r.choice.walk(func(e *manifest.Entry, _ bool) error {
		if e.Type != manifest.Dir {
			return ctx.Err()
		}
		rel := r.choice.rel(e.Path)
		if info, err := os.Lstat(r.path(rel)); err == nil && info.IsDir() && !target.Unfinished(info) {
			k := keyOf(rel)
			b.Dirs = append(b.Dirs, k[:]...)
		}
		return ctx.Err()
	})
}

// clear forgets what has been entered.
func (s *passRun) clear() {
	s.frames, s.deferred, s.hurt = map[int32][]uint32{}, map[string]struct{}{}, map[string]*Damage{}
	s.settled, s.settledDue, s.again, s.whole = nil, nil, nil, nil
}

// roundMemory is how many bytes of what is held until the end of a walk there may be for each entry of Options.Window.
const roundMemory = 2 << 10

// doPass works on all packs of the pass, as many at a time as their files fit into memory.
func (r *run) doPass(ctx context.Context) (*Result, error) {
	s := r.pass
	for check := r.o.Last && s.p.begun; ; check = false {
		s.sel.begin(min(r.o.Window, 1<<19) * roundMemory) // so that it fits 32 bits
		g := r.newRound(ctx, !s.p.begun, check)
		err := g.walk()
		if err == nil {
			err = r.work(ctx, g.hold)
		}
		if err == nil && !s.sel.more {
			err = r.endPass(ctx)
		}
		if err == nil {
			err = s.enter(!s.sel.more)
		}
		if err != nil {
			r.leaveOpen()
			res := s.entered
			return &res, err
		}
		if !s.sel.more {
			break
		}
	}
	res := r.result()
	res.Cold = s.coldNames()
	return res, nil
}

// endPass does what comes after the last file.
func (r *run) endPass(ctx context.Context) error {
	if !r.o.Last || len(r.pass.cold)+len(r.pass.needed) > 0 || !r.o.Delete || r.choice.single {
		return nil
	}
	return r.removeExtra(ctx)
}

// enter syncs what this walk has done, and makes it known to later passes.
func (s *passRun) enter(end bool) error {
	if err := s.r.to.Sync(); err != nil {
		return err
	}
	now := s.r.result()
	bytes := s.r.bytesDone.Load()
	s.whole = slices.DeleteFunc(s.whole, func(rel []byte) bool { _, left := s.deferred[string(rel)]; return left })
	rec := &passRecord{Again: s.again, Whole: s.whole, Commit: &passCommit{
		Result: now.since(&s.entered), Limits: limitsSince(s.limits, now.Limits), Bytes: bytes - s.bytes, Begun: true,
		Done: end && s.r.o.Last && len(s.cold)+len(s.needed) == 0,
	}}
	if len(s.cold) > 0 {
		s.settled = append(s.settled, s.settledDue...)
	}
	for _, k := range s.settled {
		rec.Settled = append(rec.Settled, k[:]...)
	}
	s.enterPacks(rec, end)
	if rec.Commit.End = end; end {
		rec.Commit.Needed = s.stillNeeded()
	}
	s.r.mu.Lock()
	for rel, d := range s.r.lost {
		rec.Lost = append(rec.Lost, recordOf(rel, d))
	}
	clear(s.r.lost)
	s.r.mu.Unlock()
	for rel, d := range s.hurt {
		rec.Hurt = append(rec.Hurt, recordOf(rel, d))
	}
	s.mu.Lock() // progress is told meanwhile
	defer s.mu.Unlock()
	s.p.commit(rec)
	s.entered, s.limits, s.bytes = *now, now.Limits, bytes
	s.clear()
	return nil
}

// enterPacks tells which packs need not come again: those of this walk, and at the end of the pass those of which nothing is needed. Of packs that could not be
// read to their end it tells how far they were.
func (s *passRun) enterPacks(rec *passRecord, end bool) {
	for slot := range s.sel.packs.infos {
		name := s.sel.packs.infos[slot].name
		if _, cold := s.cold[int32(slot)]; cold {
			if !s.sel.cold.has(name) || len(s.frames[int32(slot)]) > 0 {
				if rec.Parts == nil {
					rec.Parts = map[string][]uint32{}
				}
				rec.Parts[name.String()] = s.frames[int32(slot)]
			}
			s.sel.cold[name] = struct{}{}
			continue
		}
		if s.sel.flag(int32(slot))&packTaken != 0 && !s.p.had.has(name) {
			rec.Packs = append(rec.Packs, name[:]...)
		}
	}
	if !end {
		return
	}
	for name := range s.sel.only {
		at, seen := s.sel.packs.byName[name]
		if s.p.had.has(name) || s.sel.cold.has(name) || seen && s.sel.flag(at)&packTaken != 0 {
			continue
		}
		rec.Packs = append(rec.Packs, name[:]...)
	}
}

// stillNeeded returns the packs that are needed once more: those of this pass, and those of earlier ones that it was not about.
func (s *passRun) stillNeeded() (sums []byte) {
	for slot := range s.needed {
		sums = append(sums, s.sel.packs.infos[slot].name[:]...)
	}
	for name := range s.p.needed {
		at, seen := s.sel.packs.byName[name]
		_, again := s.needed[at]
		if !(seen && again) && (s.sel.cold.has(name) || !s.r.o.Last && !s.sel.only.has(name)) {
			sums = append(sums, name[:]...)
		}
	}
	return sums
}

// coldNames names the packs that have to be thawed for what is left.
func (s *passRun) coldNames() (out []string) {
	for _, set := range []map[int32]struct{}{s.cold, s.needed} {
		for slot := range set {
			info := &s.sel.packs.infos[slot]
			out = append(out, repo.PackName(s.r.o.Scope, &index.Info{Pack: index.Pack{Kind: info.kind, Name: info.name}}))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// progress adds what earlier passes did.
func (s *passRun) progress(p *event.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.FilesDone += s.p.sum.Files - s.entered.Files
	p.BytesDone += s.p.bytes - s.bytes
	p.BytesGot += s.p.sum.BytesGot - s.entered.BytesGot
	p.FilesTotal, p.BytesTotal = s.p.files, s.p.content
}

func (s *passRun) isCold(loc *index.Location) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.cold[s.sel.slotOf(loc)]
	return ok
}

func (s *passRun) isDeferred(rel []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.deferred[string(rel)]
	return ok
}

// fetched notes which chunks of a request came, and defers those that the store keeps cold.
func (s *passRun) fetched(w *window, wants []repo.Want, back []int32, cold []int) error {
	slot := s.sel.slotOf(&wants[0].Loc)
	s.mu.Lock()
	frames, next := s.frames[slot], cold
	for i := range wants {
		if len(next) > 0 && next[0] == i {
			next = next[1:]
			continue
		}
		frames = append(frames, wants[i].Loc.Offset)
	}
	s.frames[slot] = frames
	s.mu.Unlock()
	for _, i := range cold {
		if err := s.postpone(w, wants[i:i+1], back[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// postpone leaves chunks of a cold pack to a later pass.
func (s *passRun) postpone(w *window, wants []repo.Want, back []int32) error {
	s.mu.Lock()
	s.cold[s.sel.slotOf(&wants[0].Loc)] = struct{}{}
	for _, c := range back {
		w.chunks[c].cold = true
		for i := w.chunks[c].record; i != noNext; i = w.records[i].next {
			s.deferred[string(w.text(w.records[i].path, w.records[i].pathLen))] = struct{}{}
		}
	}
	s.mu.Unlock()
	for _, c := range back {
		for i := w.chunks[c].piece; i != noNext; i = w.pieces[i].next {
			l := w.larges[w.pieces[i].large]
			s.r.openMu.Lock()
			l.defers = true
			s.r.openMu.Unlock()
			if err := l.release(); err != nil {
				return err
			}
		}
	}
	return nil
}

// conclude gives up damaged files, and counts those of a walk that are there as they should be. Those that share a chunk with files that wait for a later pass wait with them, so that
// each frame of a pack is dealt with as a whole.
func (s *passRun) conclude(ctx context.Context, w *window) error {
	for _, l := range s.damaged {
		if err := l.release(); err != nil {
			return err
		}
	}
	s.damaged = nil
	var some []int32
	s.mu.Lock()
	for i := range w.records {
		rec := &w.records[i]
		if rec.flags&isKept == 0 {
			continue
		}
		c := &w.chunks[rec.chunk]
		if c.cold {
			s.deferred[string(w.text(rec.path, rec.pathLen))] = struct{}{}
			continue
		}
		if c.record == noNext && c.piece == noNext && c.located {
			slot := s.sel.slotOf(&c.loc)
			s.frames[slot] = append(s.frames[slot], c.loc.Offset)
		}
		some = append(some, int32(i))
	}
	s.mu.Unlock()
	return s.r.spread(ctx, func(send func(job) error) error {
		for part := range slices.Chunk(some, choreSize) {
			if err := send(func(k *worker) error { return k.plain(w, part) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// stays reports whether a file waits for later passes.
func (l *large) stays() bool {
	l.run.openMu.Lock()
	defer l.run.openMu.Unlock()
	return (!l.due || l.defers) && l.fault == nil && !l.kept && (l.damage == nil || l.run.o.KeepPartial)
}

// leave closes a file that waits for later passes.
func (s *passRun) leave(l *large) error {
	r := s.r
	r.openMu.Lock()
	f, damage := l.f, l.damage
	l.f = nil
	delete(r.open, l)
	r.openMu.Unlock()
	if f != nil {
		if err := f.Abort(true); err != nil {
			return r.failed(l.rel, "file", l.size, err)
		}
	}
	if l.begun || l.wrote {
		r.seal(l.rel, sealedPart)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deferred[string(l.rel)] = struct{}{}
	if damage != nil {
		s.hurt[string(l.rel)] = damage
	}
	return nil
}

// waits keeps what is there of a damaged file until the rest of the walk is done: were it given up at once and this pass cut off, it would seem to be lost.
func (s *passRun) waits(l *large) bool {
	r := s.r
	r.openMu.Lock()
	defer r.openMu.Unlock()
	if l.damage == nil || l.last {
		return false
	}
	if l.f != nil {
		delete(r.open, l)
		if err := l.f.Abort(true); err != nil && l.fault == nil {
			l.fault = err
		}
		l.f = nil
		if l.trusted {
			r.seal(l.rel, stoppedPart)
		}
	}
	l.last = true
	l.pending.Store(1)
	s.mu.Lock()
	s.damaged = append(s.damaged, l)
	s.mu.Unlock()
	return true
}

// decided notes that nothing more is to be done for a file, though later passes may meet it again: where not all of its packs have come, or one of them turns out
// to have expired.
func (s *passRun) decided(l *large, kept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.due {
		s.settledDue = append(s.settledDue, keyOf(l.rel))
	} else if kept {
		s.settled = append(s.settled, keyOf(l.rel))
	}
	if _, again := s.p.again[string(l.rel)]; again {
		s.whole = append(s.whole, l.rel)
	}
}

// part is what is there of a large file under its temporary name.
type part uint8

const (
	noPart      part = iota
	strangePart      // nobody knows what is in it
	stoppedPart      // what completed passes wrote, and something of one that was cut off
	sealedPart       // what completed passes wrote
)

// partName is the temporary name of a file (package target).
func partName(rel []byte) []byte {
	at := bytes.LastIndexByte(rel, '/') + 1
	sum := sha256.Sum256(rel[at:])
	return append(bytes.Clone(rel[:at]), ".firn-restore-"+hex.EncodeToString(sum[:8])...)
}

// sealTime is the modification time by which a pass knows what an earlier one has left: nobody else sets it, and who changes the content changes it. It is a multiple
// of 100 ns, which most file systems keep.
func (p *Passes) sealTime(rel []byte, as part) (sec int64, nsec int32) {
	sum := sha256.Sum256(append(p.id[:], rel...))
	sec = 1<<29 + int64(binary.LittleEndian.Uint32(sum[:])>>2) // 1987 to 2021
	return sec, int32(binary.LittleEndian.Uint32(sum[4:])%4_000_000)*200 + 100*int32(sealedPart-as)
}

// seal marks what is left of a file. Where that fails a later pass reads it.
func (r *run) seal(rel []byte, as part) {
	sec, nsec := r.pass.p.sealTime(rel, as)
	_ = r.to.Finish(partName(rel), &target.Meta{Type: source.File, Mode: 0o600, UID: -1, GID: -1, MtimeSec: sec, MtimeNsec: nsec})
}

// lookAtPart finds what is left of a file, and its size in bytes.
func (r *run) lookAtPart(rel []byte) (part, int64) {
	info, err := os.Lstat(r.path(partName(rel)))
	if err != nil {
		return noPart, 0
	}
	if info.Mode().IsRegular() {
		for _, as := range []part{sealedPart, stoppedPart} {
			if sec, nsec := r.pass.p.sealTime(rel, as); info.ModTime().Unix() == sec && int32(info.ModTime().Nanosecond()) == nsec {
				return as, info.Size()
			}
		}
	}
	return strangePart, info.Size()
}
