package restore

import (
	"errors"
	"sync/atomic"

	"firn/internal/target"
)

// maxOpen is how many files in several pieces are open at once. Beyond it the one that was used the longest ago is closed and taken up again later.
const maxOpen = 128

// large is a file in several pieces. They come in any order, from several workers.
type large struct {
	run     *run
	rel     []byte
	size    int64
	spec    target.FileSpec
	pending atomic.Int64 // pieces to come; one more until all are known

	// Of a pass.
	due     bool // no piece is left to later passes
	trusted bool // what earlier passes have written counts without being read
	again   bool // this pass has found that it cannot be trusted
	last    bool // nothing else of the walk is to come: see waits

	// Guarded by run.openMu.
	f       *target.File
	begun   bool // CreateFile was called
	wrote   bool // there is content in it
	outcome target.Outcome
	users   int // calls of WriteAt under way
	used    uint64
	kept    bool    // the target decided that it stays
	fault   error   // it could not be written
	defers  bool    // a piece could not be read in this pass
	damage  *Damage // a piece of it is lost
}

// acquire opens the file for one WriteAt; nil: there is nothing to write to.
func (l *large) acquire() *target.File {
	r := l.run
	r.openMu.Lock()
	defer r.openMu.Unlock()
	if l.fault != nil || l.kept {
		return nil
	}
	if l.f == nil {
		l.open()
		if l.f == nil {
			return nil
		}
	}
	l.users++
	r.clock++
	l.used = r.clock
	return l.f
}

// open makes the file, or takes it up again. The caller holds openMu.
func (l *large) open() {
	r := l.run
	for len(r.open) >= maxOpen && r.suspend() {
	}
	l.spec.Resume = true // so that it can be suspended
	f, outcome, err := r.to.CreateFile(l.rel, &l.spec)
	switch {
	case err != nil:
		l.fault = err
	case f == nil:
		l.kept, l.outcome = true, outcome
	case l.wrote && !f.Resumed():
		l.fault = errVanished
		_ = f.Abort(false)
	default:
		l.f = f
		if !l.begun {
			l.outcome = outcome
		}
		l.begun = true
		r.open[l] = struct{}{}
	}
}

// suspend closes the file that was used the longest ago and is not in use. The caller holds openMu.
func (r *run) suspend() bool {
	var oldest *large
	for l := range r.open {
		if l.users == 0 && (oldest == nil || l.used < oldest.used) {
			oldest = l
		}
	}
	if oldest == nil {
		return false
	}
	delete(r.open, oldest)
	if err := oldest.f.Abort(true); err != nil {
		oldest.fault = err
	}
	oldest.f = nil
	return true
}

// write writes one piece.
func (l *large) write(content []byte, at int64) error {
	f := l.acquire()
	var err error
	if f != nil {
		_, err = f.WriteAt(content, at)
		l.run.openMu.Lock()
		l.users--
		l.wrote = true
		if err != nil && l.fault == nil {
			l.fault = err
		}
		l.run.openMu.Unlock()
	}
	l.run.bytesDone.Add(int64(len(content)))
	return l.release()
}

// spoil notes that a piece is lost.
func (l *large) spoil(d Damage) {
	l.run.openMu.Lock()
	if l.damage == nil {
		d.Path = l.run.choice.full(l.rel)
		l.damage = &d
	}
	l.run.openMu.Unlock()
}

// lose is what becomes of a piece that cannot be had.
func (l *large) lose(d Damage, n int64) error {
	l.spoil(d)
	l.run.bytesDone.Add(n)
	return l.release()
}

// release gives up one piece, and finishes the file after the last one.
func (l *large) release() error {
	if l.pending.Add(-1) > 0 {
		return nil
	}
	r := l.run
	if r.pass != nil && l.stays() {
		return r.pass.leave(l)
	}
	if r.pass != nil && r.pass.waits(l) {
		return nil
	}
	r.openMu.Lock()
	if l.fault == nil && l.damage == nil && l.f == nil && !l.kept {
		l.open() // all holes, or all there, or suspended
	}
	if l.damage != nil && r.o.KeepPartial && l.f == nil && l.fault == nil && !l.kept {
		l.open()
	}
	f := l.f
	l.f = nil
	delete(r.open, l)
	r.openMu.Unlock()
	return l.finish(f)
}

// finish gives the file its name, or removes it.
func (l *large) finish(f *target.File) error {
	r := l.run
	keep := l.fault == nil && (l.damage == nil || r.o.KeepPartial)
	if f != nil && keep {
		if err := f.Finish(); err != nil {
			l.fault = err
			keep = false
		}
	} else if f != nil {
		_ = f.Abort(false)
	} else if (l.begun || l.wrote) && !l.kept {
		l.discard()
	}
	if r.pass != nil {
		r.pass.decided(l, l.kept)
	}
	switch {
	case l.damage != nil:
		if l.damage.Kept = keep && f != nil; l.damage.Kept {
			l.markDamaged()
		}
		return r.damaged(l.rel, l.size, *l.damage)
	case l.fault != nil:
		return r.failed(l.rel, "file", l.size, l.fault)
	}
	r.done(l.outcome, "file", l.rel, l.size)
	return nil
}

// markDamaged gives a damaged file a time that its source has not, so that a later run does not take it for whole.
func (l *large) markDamaged() {
	m := l.spec.Meta
	if m.MtimeSec = 0; l.spec.MtimeSec == 0 {
		m.MtimeSec = 1
	}
	if err := l.run.to.Finish(l.rel, &m); err != nil {
		l.damage.Err = errors.Join(l.damage.Err, err)
	}
}

// discard removes what a suspended file has left.
func (l *large) discard() {
	if f, _, err := l.run.to.CreateFile(l.rel, &l.spec); err == nil && f != nil {
		_ = f.Abort(false)
	}
}

// leaveOpen closes what a run that ends early has begun, to be taken up by the next one.
func (r *run) leaveOpen() {
	r.openMu.Lock()
	defer r.openMu.Unlock()
	for l := range r.open {
		if l.f != nil {
			_ = l.f.Abort(true)
			l.f = nil
			if l.trusted {
				r.seal(l.rel, stoppedPart)
			}
		}
	}
	clear(r.open)
}

// keepLarge is for a file that is there as it should be.
func (r *run) keepLarge(l *large, flags uint8) error {
	r.bytesDone.Add(l.size)
	if flags&isSame == 0 && !r.o.DryRun {
		if err := r.to.Finish(l.rel, &l.spec.Meta); err != nil {
			return r.failed(l.rel, "file", l.size, err)
		}
	}
	r.done(target.Kept, "file", l.rel, l.size)
	return nil
}

func (r *run) dryLarge(l *large, above bool) error {
	outcome := target.Created
	if _, err := r.lstat(above, l.rel); err == nil {
		outcome = target.Replaced
	}
	r.bytesDone.Add(l.size)
	r.done(outcome, "file", l.rel, l.size)
	return nil
}

// resume looks for what an interrupted run has left of a file.
func (r *run) resume(l *large) *existing {
	r.openMu.Lock()
	defer r.openMu.Unlock()
	l.open()
	if l.f == nil || !l.f.Resumed() {
		return &existing{}
	}
	l.wrote = true
	return &existing{r: l.f, punch: l.f.Punch}
}
