package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"

	"firn/internal/repo"
	"firn/internal/source"
	"firn/internal/store"
	"firn/internal/target"
)

// choreSize is how many entries without content a worker takes at once.
const choreSize = 256

// Errors of single entries.
var (
	errNoFirst  = errors.New("the file that it is another name of is not in the snapshot")
	errVanished = errors.New("vanished from the target while it was written")
	errShort    = errors.New("chunk is shorter than the file says")
)

// worker fetches and writes. It owns its buffers.
type worker struct {
	run  *run
	rd   *repo.Reader
	spec target.FileSpec
	buf  []byte
}

// job is a piece of work for one worker.
type job func(*worker) error

// spread runs all jobs that feed sends, and returns the first error.
func (r *run) spread(ctx context.Context, feed func(send func(job) error) error) error {
	g, ctx := errgroup.WithContext(ctx)
	jobs := make(chan job)
	for _, w := range r.workers {
		g.Go(func() error {
			for j := range jobs {
				if err := j(w); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(jobs)
		return feed(func(j job) error {
			select {
			case jobs <- j:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	return g.Wait()
}

// work does all that a window asks for.
func (r *run) work(ctx context.Context, w *window) error {
	if err := r.compare(ctx, w); err != nil {
		return err
	}
	w.link()
	if r.o.DryRun {
		return r.dry(w)
	}
	if err := w.locate(r.o.Scope, func(c int32) error {
		return r.lose(w, c, Damage{Chunk: w.chunks[c].id, Err: repo.ErrUnknownChunk})
	}); err != nil {
		return err
	}
	err := r.spread(ctx, func(send func(job) error) error {
		if err := r.chores(w, send); err != nil {
			return err
		}
		return w.tasks(func(t task) error {
			return send(func(k *worker) error { return k.fetch(ctx, t) })
		})
	})
	if err != nil {
		return err
	}
	if w.held {
		if err := r.pass.conclude(ctx, w); err != nil {
			return err
		}
	}
	if err := r.makeLinks(ctx, w); err != nil {
		return err
	}
	return r.finishFolders(ctx, w.folders)
}

// compare finds out which files are there already, where only reading them tells.
func (r *run) compare(ctx context.Context, w *window) error {
	var asked []int32
	for i := range w.records {
		if w.records[i].flags&isAsked != 0 {
			asked = append(asked, int32(i))
		}
	}
	if len(asked) == 0 {
		return nil
	}
	return r.spread(ctx, func(send func(job) error) error {
		for part := range slices.Chunk(asked, 64) {
			if err := send(func(k *worker) error { k.compare(w, part); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
}

// chores are the entries that need no chunk: empty files, those that are there already, links and devices.
func (r *run) chores(w *window, send func(job) error) error {
	var some []int32
	for i := range w.records {
		if w.records[i].chunk == noChunk || w.records[i].flags&isKept != 0 && !w.held {
			some = append(some, int32(i))
		}
	}
	for part := range slices.Chunk(some, choreSize) {
		if err := send(func(k *worker) error { return k.plain(w, part) }); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(w.others, choreSize) {
		if err := send(func(k *worker) error { return k.specials(part) }); err != nil {
			return err
		}
	}
	return nil
}

// plain makes empty files and gives kept ones their metadata.
func (k *worker) plain(w *window, part []int32) error {
	for _, i := range part {
		var err error
		if rec := &w.records[i]; rec.flags&isKept != 0 {
			err = k.keep(w, i, rec)
		} else {
			err = k.writeFile(w, i, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *worker) keep(w *window, i int32, rec *record) error {
	rel := w.text(rec.path, rec.pathLen)
	k.run.bytesDone.Add(int64(rec.size))
	if rec.flags&isSame == 0 {
		k.describe(w, i)
		if err := k.run.to.Finish(rel, &k.spec.Meta); err != nil {
			return k.run.failed(rel, "file", int64(rec.size), err)
		}
	}
	k.run.done(target.Kept, "file", rel, int64(rec.size))
	return nil
}

// describe fills k.spec from a record.
func (k *worker) describe(w *window, i int32) {
	rec := &w.records[i]
	k.spec = target.FileSpec{Size: int64(rec.size), Meta: target.Meta{
		Type: source.File, Mode: uint32(rec.mode), UID: widen(rec.uid), GID: widen(rec.gid), User: k.run.names[rec.user], Group: k.run.names[rec.group],
		MtimeSec: rec.sec, MtimeNsec: rec.nsec,
	}}
	if rec.flags&hasXattrs != 0 {
		k.spec.Xattrs = w.xattrs[i]
	}
}

// writeFile writes a file in one piece.
func (k *worker) writeFile(w *window, i int32, content []byte) error {
	rec := &w.records[i]
	k.describe(w, i)
	rel := w.text(rec.path, rec.pathLen)
	outcome, err := k.run.to.WriteFile(rel, &k.spec, content)
	k.run.bytesDone.Add(int64(rec.size))
	if err != nil {
		return k.run.failed(rel, "file", int64(rec.size), err)
	}
	k.run.done(outcome, "file", rel, int64(rec.size))
	return nil
}

// specials makes links, devices, FIFOs and sockets.
func (k *worker) specials(part []*special) error {
	r := k.run
	for _, s := range part {
		typ := typeName(s.meta.Type)
		var outcome target.Outcome
		var err error
		if s.meta.Type == source.Symlink {
			outcome, err = r.to.Symlink(s.rel, s.target)
		} else {
			outcome, err = r.to.Mknod(s.rel, &s.meta)
		}
		if err == nil && outcome != target.Lacking && (outcome != target.Kept || r.o.Overwrite != target.Never) {
			err = r.to.Finish(s.rel, &s.meta)
		}
		if err != nil {
			if err := r.failed(s.rel, typ, 0, err); err != nil {
				return err
			}
			continue
		}
		r.done(outcome, typ, s.rel, 0)
	}
	return nil
}

// fetch brings what one request gets, and writes it. Chunks that are damaged there are looked for in other packs.
func (k *worker) fetch(ctx context.Context, t task) error {
	w, r := t.w, k.run
	wants, back := w.wants[t.from:t.to], w.back[t.from:t.to]
	if r.pass != nil && r.pass.isCold(&wants[0].Loc) {
		return r.pass.postpone(w, wants, back)
	}
	var bad, cold []int
	var reasons []error
	first, last := wants[0].Loc, wants[len(wants)-1].Loc
	r.bytesGot.Add(int64(last.Offset) + int64(last.Frame) - int64(first.Offset))
	r.requests.Add(1)
	err := k.rd.ReadPack(ctx, wants, func(i int, raw []byte) error {
		return k.use(w, back[i], raw)
	}, func(i int, err error) error {
		if errors.Is(err, store.ErrCold) {
			cold = append(cold, i)
			if r.pass == nil {
				return err
			}
			return nil
		}
		bad, reasons = append(bad, i), append(reasons, err)
		return nil
	})
	if err != nil {
		return err
	}
	if r.pass != nil {
		if err := r.pass.fetched(w, wants, back, cold); err != nil {
			return err
		}
	}
	for n, i := range bad {
		if err := k.elsewhere(ctx, w, wants[i], back[i], reasons[n]); err != nil {
			return err
		}
	}
	return nil
}

// elsewhere looks for a chunk in other packs than the one where it is damaged.
func (k *worker) elsewhere(ctx context.Context, w *window, want repo.Want, c int32, reason error) error {
	r := k.run
	all, err := r.o.Scope.Set().All(want.ID)
	if err != nil {
		return err
	}
	for _, loc := range all {
		if loc.Pack == want.Loc.Pack {
			continue
		}
		found := false
		r.requests.Add(1)
		r.bytesGot.Add(int64(loc.Frame))
		err := k.rd.ReadPack(ctx, []repo.Want{{ID: want.ID, Loc: loc}}, func(_ int, raw []byte) error {
			found = true
			return k.use(w, c, raw)
		}, func(int, error) error { return nil })
		if err != nil || found {
			return err
		}
	}
	return r.lose(w, c, damageOf(reason))
}

// use writes a chunk to every place that it belongs to.
func (k *worker) use(w *window, c int32, raw []byte) error {
	chunk := &w.chunks[c]
	for i := chunk.record; i != noNext; i = w.records[i].next {
		rec := &w.records[i]
		if uint64(rec.off)+uint64(rec.size) > uint64(len(raw)) {
			if err := k.run.damaged(w.text(rec.path, rec.pathLen), int64(rec.size), Damage{Chunk: chunk.id, Err: errShort}); err != nil {
				return err
			}
			continue
		}
		if err := k.writeFile(w, i, raw[rec.off:rec.off+rec.size]); err != nil {
			return err
		}
	}
	for i := chunk.piece; i != noNext; i = w.pieces[i].next {
		p := &w.pieces[i]
		l := w.larges[p.large]
		var err error
		if uint64(p.off)+uint64(p.n) > uint64(len(raw)) {
			err = l.lose(Damage{Chunk: chunk.id, Err: errShort}, int64(p.n))
		} else {
			err = l.write(raw[p.off:p.off+p.n], p.at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lose tells every file that needs a chunk that it cannot be had.
func (r *run) lose(w *window, c int32, d Damage) error {
	chunk := &w.chunks[c]
	d.Chunk = chunk.id
	for i := chunk.record; i != noNext; i = w.records[i].next {
		rec := &w.records[i]
		r.bytesDone.Add(int64(rec.size))
		if err := r.damaged(w.text(rec.path, rec.pathLen), int64(rec.size), d); err != nil {
			return err
		}
	}
	for i := chunk.piece; i != noNext; i = w.pieces[i].next {
		p := &w.pieces[i]
		if err := w.larges[p.large].lose(d, int64(p.n)); err != nil {
			return err
		}
	}
	return nil
}

// makeLinks makes the later names of files, which are all there by now.
func (r *run) makeLinks(ctx context.Context, w *window) error {
	return r.spread(ctx, func(send func(job) error) error {
		for part := range slices.Chunk(w.links, choreSize) {
			if err := send(func(k *worker) error { return k.links(w, part) }); err != nil {
				return err
			}
		}
		return nil
	})
}

func (k *worker) links(w *window, part []hardLink) error {
	r := k.run
	for _, l := range part {
		rel, first := w.text(l.path, l.pathLen), w.text(l.first, l.firstLen)
		if r.pass != nil && r.pass.isDeferred(first) {
			continue
		}
		r.bytesDone.Add(l.size)
		var err error
		if d, bad := r.isLost(first); bad {
			if d != nil {
				err = r.linkDamaged(rel, first, l.size, *d)
			} else {
				err = r.failed(rel, l.typ.String(), l.size, errFirstFailed)
			}
		} else if outcome, lerr := r.linkOrCopy(first, rel, &l); lerr != nil {
			err = r.failed(rel, l.typ.String(), l.size, fmt.Errorf("link to %q: %w", first, lerr))
		} else {
			r.done(outcome, l.typ.String(), rel, l.size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// linkDamaged is for another name of a damaged file.
func (r *run) linkDamaged(rel, first []byte, size int64, d Damage) error {
	if d.Kept {
		_, err := r.to.Link(first, rel)
		d.Kept = err == nil
	}
	return r.damaged(rel, size, d)
}

var errFirstFailed = errors.New("the file that it is another name of could not be restored")

// dry tells what would be done with a window.
func (r *run) dry(w *window) error {
	for i := range w.records {
		rec := &w.records[i]
		r.bytesDone.Add(int64(rec.size))
		r.done(dryOutcome(rec.flags&isKept != 0, rec.flags&isThere != 0), "file", w.text(rec.path, rec.pathLen), int64(rec.size))
	}
	for _, s := range w.others {
		_, err := r.lstat(s.there, s.rel)
		r.done(dryOutcome(err == nil && r.o.Overwrite == target.Never, err == nil), typeName(s.meta.Type), s.rel, 0)
	}
	for _, l := range w.links {
		rel := w.text(l.path, l.pathLen)
		_, err := r.lstat(r.rootThere, rel)
		r.bytesDone.Add(l.size)
		r.done(dryOutcome(err == nil && r.o.Overwrite == target.Never, err == nil), l.typ.String(), rel, l.size)
	}
	return nil
}

func dryOutcome(kept, there bool) target.Outcome {
	switch {
	case kept:
		return target.Kept
	case there:
		return target.Replaced
	}
	return target.Created
}

// fatal reports whether no other file can fare better.
func fatal(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS) || errors.Is(err, context.Canceled)
}
