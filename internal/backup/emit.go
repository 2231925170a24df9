package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/state"
)

// emitter writes the manifest, in tree order, and beside it the new generation of the stat cache. As long as everything is as the last
// run left it, it writes nothing at all.
type emitter struct {
	run     *run
	tree    *manifest.Builder
	stats   *state.StatWriter
	started bool // something differs: what came before has been written
	broken  bool // a line could not be added to tree, which is of no more use
	taken   int64
	line    []byte
	entry   manifest.Entry
	flushed time.Time
	wait    time.Duration // until the next flush
}

// loop takes batches until the planner closes the channel.
func (em *emitter) loop() error {
	for {
		select {
		case batch, ok := <-em.run.batches:
			if !ok {
				return nil
			}
			for i := range batch {
				if err := em.step(&batch[i]); err != nil {
					return err
				}
			}
			if em.started {
				em.stats.Save()
			}
			if err := em.maybeFlush(); err != nil {
				return err
			}
		case <-em.run.ctx.Done():
			return em.run.ctx.Err()
		}
	}
}

func (em *emitter) step(s *step) error {
	switch {
	case s.from != nil:
		return em.keep(s)
	case s.large != nil:
		if err := em.awaitLarge(s.large); err != nil {
			return err
		}
		if s.large.short {
			return em.skip(&s.large.member, s.large)
		}
		return em.member(&s.large.member, s.large)
	}
	if err := em.run.await(s.unit.done); err != nil {
		return err
	}
	if m := &s.unit.members[s.index]; !s.unit.skipped {
		return em.member(m, nil)
	}
	return em.skip(&s.unit.members[s.index], nil)
}

// skip leaves out an entry that the run did not get to before a limit ended it. What there is of a large file the snapshot needs, but does not have.
func (em *emitter) skip(m *member, l *large) error {
	if err := em.start(); err != nil {
		return err
	}
	if m.linked() {
		em.run.lose(m.path)
	}
	if l == nil {
		return nil
	}
	return em.referenceSettled(l)
}

// awaitLarge waits for a large file. That can take weeks, so what was sent meanwhile is named in indexes, and a partial snapshot keeps a prune from taking it.
func (em *emitter) awaitLarge(l *large) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-l.done:
			return em.run.ctx.Err()
		case <-em.run.ctx.Done():
			return em.run.ctx.Err()
		case <-tick.C:
			if em.run.writer.Unindexed() == 0 {
				continue
			}
			if err := em.referenceUnderWay(); err != nil {
				return err
			}
			if err := em.start(); err != nil {
				return err
			}
			if err := em.maybeFlush(); err != nil {
				return err
			}
		}
	}
}

// close leaves the new generation of the stat cache as it is: whole if it was committed, else for the next run to go on with.
func (em *emitter) close() {
	if em.stats != nil {
		em.stats.Close()
	}
}

// unchanged reports whether all steps so far were the head of the last whole generation.
func (em *emitter) unchanged() bool { return !em.started }

// keep takes over records of an earlier run.
func (em *emitter) keep(s *step) error {
	if !em.started && s.from == em.run.base && s.first == em.taken {
		em.taken += s.count
		return nil
	}
	if err := em.start(); err != nil {
		return err
	}
	return em.copyRecords(s.from, s.first, s.count)
}

// start writes what was taken over in silence.
func (em *emitter) start() error {
	if em.started {
		return nil
	}
	if err := em.run.lookForRetired(); err != nil {
		return err
	}
	em.started = true
	em.stats = em.run.o.State.CreateStats(em.run.o.Source.ID, em.run.statTag())
	if em.taken == 0 {
		return nil
	}
	return em.copyRecords(em.run.base, 0, em.taken)
}

// copyRecords writes count records from the first on again.
func (em *emitter) copyRecords(p *previous, first, count int64) error {
	for p.emitted <= first+count-1 {
		if !p.emit.Next() {
			return fmt.Errorf("stat cache ended at record %d while it was read: %w", p.emitted, errCache)
		}
		p.emitted++
		if p.emitted <= first {
			continue
		}
		raw, err := p.emit.Line()
		if err != nil {
			return fmt.Errorf("%w: %w", errCache, err)
		}
		line, extra := splitLine(raw)
		if err := manifest.ParseLine(line, &em.entry); err != nil {
			return fmt.Errorf("%w: %w", errCache, err)
		}
		if len(em.entry.Hardlink) > 0 && em.run.lost(em.entry.Hardlink) {
			em.run.tellFirstGone(em.entry.Path)
			continue
		}
		if err := em.reference(extra); errors.Is(err, repo.ErrUnknownChunk) {
			return fmt.Errorf("%w: %w", errCache, err)
		} else if err != nil {
			return err
		}
		if err := em.addLine(em.entry.Path, line); err != nil {
			return err
		}
		em.stats.Keep(p.emit)
	}
	return nil
}

func (em *emitter) addLine(path, line []byte) error {
	err := em.tree.AddLine(path, line)
	em.broken = em.broken || err != nil
	return err
}

// errCache tells that the local cache failed in the middle of a run; the run is started again without it.
var errCache = errors.New("local cache cannot be relied on")

// reference notes the chunks of em.entry.
func (em *emitter) reference(extra []byte) error {
	ids, err := chunksOf(&em.entry, extra)
	if err != nil {
		return fmt.Errorf("%w: %w", errCache, err)
	}
	for _, c := range ids {
		if err := em.run.writer.Reference(c.id, c.kind); err != nil {
			return err
		}
	}
	return nil
}

// member writes one entry that was looked at in this run; l is the large file that it is, or nil.
func (em *emitter) member(m *member, l *large) error {
	if m.err != nil {
		em.run.problem(m)
	}
	if m.swapped && m.linked() {
		em.run.lose(m.path)
	}
	if m.gone {
		return em.start() // the manifest is no longer that of the last run
	}
	if err := em.start(); err != nil {
		return err
	}
	e := &em.entry
	*e = manifest.Entry{Path: m.path, Content: e.Content[:0], Xattrs: e.Xattrs[:0]}
	extra, err := em.fill(e, m)
	if err != nil {
		return err
	}
	if len(e.Hardlink) > 0 && em.run.lost(e.Hardlink) {
		em.run.tellFirstGone(m.path)
		return nil
	}
	if err := e.Check(); err != nil { // such as attributes longer than a line can be: named, and the rest goes on
		em.run.tell(m.path, err, true)
		return nil
	}
	em.line = manifest.AppendLine(em.line[:0], e)
	if err := em.addLine(m.path, em.line); err != nil {
		return err
	}
	if extra != nil {
		em.line = append(em.line, extra...)
	}
	if em.run.o.Stream != nil && m.large != nil {
		return em.referenceStream(l, m.large) // never unchanged, so the next run need not know it
	}
	if err := em.reference(extra); err != nil {
		return err
	}
	em.stats.Add(m.path, em.record(m), em.line)
	return nil
}

// record is the stat that the next run compares with: without its ctime where a later change might not show in it, and with a ctime that no
// file has where the entry has to be looked at again.
func (em *emitter) record(m *member) *source.Stat {
	st := m.stat
	if m.err != nil || m.job == readContent && racy(&st, m.readAt) || m.large != nil && racy(&st, m.readAt) {
		forget(&st)
	}
	return &st
}

// fill sets everything of e but its path.
func (em *emitter) fill(e *manifest.Entry, m *member) (extra []byte, err error) {
	if m.job == newDetails {
		line, ext := splitLine(m.old)
		if err := manifest.ParseLine(line, e); err != nil {
			return nil, fmt.Errorf("%w: %w", errCache, err)
		}
		extra = ext
		e.Xattrs = e.Xattrs[:0]
	}
	st := &m.stat
	e.Path = m.path
	e.Type = manifest.Type(st.Type)
	e.Mode, e.UID, e.GID = st.Mode, int64(st.UID), int64(st.GID)
	e.User, e.Group = em.run.o.Names(st.UID, st.GID)
	e.Mtime = manifest.Time{Sec: st.MtimeSec, Nsec: st.MtimeNsec}
	for _, x := range m.details.Xattrs {
		e.Xattrs = append(e.Xattrs, manifest.Xattr{Name: x.Name, Value: x.Value})
	}
	switch e.Type {
	case manifest.Symlink:
		e.Target = []byte(m.details.Target)
	case manifest.Char, manifest.Block:
		e.Major, e.Minor = splitDevice(st.Rdev)
	case manifest.File:
		if m.job != newDetails {
			e.Size = st.Size
		}
	}
	if m.job == hardlink {
		e.Hardlink = m.first
		return nil, nil
	}
	if m.err != nil && e.Type == manifest.File {
		e.Error = m.err.Error()
	}
	return em.fillContent(e, m, extra)
}

func (em *emitter) fillContent(e *manifest.Entry, m *member, extra []byte) ([]byte, error) {
	switch {
	case m.large != nil:
		r := m.large
		e.Size, e.Hash, e.Content, e.Tree = r.entry.Size, r.entry.Hash, append(e.Content[:0], r.entry.Content...), r.entry.Tree
		if !e.Tree.IsEmpty() {
			extra = appendExtra(nil, r.ids, r.nodes)
		}
	case m.place.bundle != nil:
		if err := em.run.await(m.place.bundle.done); err != nil {
			return nil, err
		}
		e.Hash = m.hash
		e.Content = append(e.Content[:0], manifest.Piece{Chunk: m.place.bundle.id, Offset: m.place.offset, Length: int64(m.place.length)})
	}
	return extra, nil
}

// sinkMeta stores a chunk of the manifest and notes that it is needed.
func (r *run) sinkMeta(content []byte) (digest.Chunk, error) {
	id, err := r.putMeta(content)
	if err != nil {
		return id, err
	}
	return id, r.writer.Reference(id, chunk.Meta)
}

// maybeFlush publishes a partial snapshot when enough was sent since the last one, or enough time has passed: soon at first, so that even a young
// backup leaves something that restores, then more and more seldom.
func (em *emitter) maybeFlush() error {
	r := em.run
	sent := r.writer.Unindexed()
	if !em.started || sent == 0 || r.ctx.Err() != nil {
		return nil
	}
	if sent < r.o.FlushPacks && r.now().Sub(em.flushed) < em.wait {
		return nil
	}
	em.wait = min(2*em.wait, time.Hour)
	err := em.flush(r.ctx)
	em.flushed = r.now()
	return err
}

// flush publishes what was emitted so far as a partial snapshot.
func (em *emitter) flush(ctx context.Context) error {
	r := em.run
	tree, err := em.tree.Flush()
	if err != nil {
		return err
	}
	if err := r.writer.SendPacks(ctx); err != nil {
		return err
	}
	snap := r.newSnapshot(tree, false)
	if _, err := r.writer.Publish(ctx, snap); err != nil {
		return err
	}
	r.voids = append(r.voids, snap.ID)
	r.o.Report.Emit(event.Decision{Text: "partial snapshot " + snap.ID.String() + " kept"})
	return nil
}

// problem tells what could not be backed up, or not whole.
func (r *run) problem(m *member) {
	r.tell(m.path, m.err, m.gone && m.linked())
}

// tell counts a problem and reports it. lost marks a path that later hard links cannot refer to.
func (r *run) tell(path []byte, err error, lost bool) {
	r.problemMu.Lock()
	r.stats.Problems++
	if len(r.problems) < snapshot.MaxProblems {
		r.problems = append(r.problems, snapshot.Problem{Path: string(path), Error: err.Error()})
	}
	if lost {
		r.lostPaths[string(path)] = true
	}
	r.problemMu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		err = errVanished
	}
	r.o.Report.Emit(event.Problem{Path: r.o.display(path), Err: err})
}

// errFirstGone tells that the entry which was to hold the content of a hard-linked file could not be read.
var errFirstGone = errors.New("the first of its names could not be read")

// tellFirstGone tells of a name of a hard-linked file that has nothing to refer to, unless that is because the run ended early.
func (r *run) tellFirstGone(path []byte) {
	if !r.cutShort.Load() {
		r.tell(path, errFirstGone, false)
	}
}

// errVanished tells that a file was listed and then gone.
var errVanished = errors.New("vanished while the backup ran")

// lose notes that later hard links cannot refer to a path.
func (r *run) lose(path []byte) {
	r.problemMu.Lock()
	r.lostPaths[string(path)] = true
	r.problemMu.Unlock()
}

// lost reports whether the first name of a hard-linked file could not be read, so that its other names have nothing to refer to.
func (r *run) lost(first []byte) bool {
	r.problemMu.Lock()
	defer r.problemMu.Unlock()
	return len(r.lostPaths) > 0 && r.lostPaths[string(first)]
}
