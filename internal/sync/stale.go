package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/bucket"
	"firn/internal/event"
	"firn/internal/sync/ledger"
)

// stale reports whether what is known of a bucket may be out of date.
func (p *Place) stale() bool { return p.Listing != nil && !p.AsOf.IsZero() }

// newest returns the object of a key as the ledger has it, where that was written after the listing was made; else the one that was listed.
func (r *run) newest(key string, l *localFile, o *object, e *ledger.Entry) *object {
	p := &r.o.To
	if !p.stale() || e == nil || e.Size < 0 || e.ETag == "" || e.At <= p.AsOf.Unix() || o != nil && (o.ETag == e.ETag || o.Modified.Unix() > e.At) {
		return o
	}
	if l == nil && o == nil && r.o.Filter.Leaves(r.pathOf(key), false) {
		return nil
	}
	return &object{bucket.Object{Key: p.Prefix + key, Size: e.Stored, ETag: e.ETag, Class: e.Class, Modified: time.Unix(e.At, 0)}, key}
}

// sizesFit reports whether the file and the object of an upload are of sizes that fit. The entry counts for the object.
func (r *run) sizesFit(e *ledger.Entry, l *localFile, o *object) bool {
	switch {
	case e != nil && e.Has(ledger.Sealed):
		return e.Size == l.size
	case len(r.o.Recipients) > 0:
		return o.Size == r.sealedSize(l.size)
	}
	return o.Size == l.size
}

// verify asks for the object that a job would write, since the listing that tells of it is old, and decides anew if it is another one. done: nothing is to be transferred.
func (r *run) verify(ctx context.Context, j *job) (done bool, err error) {
	key := r.o.To.Prefix + j.key
	end, err := r.slot(ctx)
	if err != nil {
		return false, err
	}
	info, err := r.o.To.Bucket.Head(ctx, key)
	end()
	switch {
	case errors.Is(err, bucket.ErrNotExist):
		j.to, j.change = nil, ""
		return false, nil
	case err != nil && ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		return true, r.failed(r.name(j), err)
	}
	if info.Object.Key = key; j.to != nil && j.to.ETag == info.ETag && j.to.Size == info.Size {
		j.to.Object = info.Object
		return false, nil
	}
	j.to = &object{info.Object, j.key}
	fit := j.action == Copy && j.from.Size == info.Size
	if j.action == Upload {
		j.entry = counts(j.known, j.to)
		fit = r.sizesFit(j.entry, j.local, j.to)
		j.change = ""
		if !fit {
			j.change = "s"
		}
		if r.o.Compare == ByTimes && fits(j.entry, j.local) {
			r.same(j)
			return true, nil
		}
	}
	switch {
	case r.o.Update && info.Modified.UnixNano() > r.madeAt(j):
		r.kept(j)
		return true, nil
	case fit && r.o.Compare == BySize:
		r.same(j)
		return true, nil
	case fit:
		return r.compareFirst(ctx, j)
	}
	return false, nil
}

// madeAt is when the original of a job was changed last, in nanoseconds since 1970.
func (r *run) madeAt(j *job) int64 {
	if j.action == Upload {
		return j.local.mtime
	}
	return j.from.Modified.UnixNano()
}

// still leaves out of what is to be deleted what may not be: see stillExtra.
func (r *run) still(ctx context.Context, batch []*job) []*job {
	if !r.o.To.stale() && !r.o.From.stale() {
		return batch
	}
	keep := make([]bool, len(batch))
	var g errgroup.Group
	g.SetLimit(r.o.Connections)
	for i, j := range batch {
		g.Go(func() error {
			ok, err := r.stillExtra(ctx, j)
			if err != nil && ctx.Err() == nil {
				return r.failed(r.pathOf(j.key), err)
			}
			keep[i] = ok && err == nil
			return nil
		})
	}
	_ = g.Wait() // what failed was told, and is kept
	var left []*job
	for i, j := range batch {
		if keep[i] {
			left = append(left, j)
		}
	}
	return left
}

// stillExtra looks whether what a job deletes is what the listing told, and whether the source lacks it, where one of the listings is old.
func (r *run) stillExtra(ctx context.Context, j *job) (bool, error) {
	var why string
	if r.o.To.stale() {
		switch info, err := r.o.To.Bucket.Head(ctx, j.to.Key); {
		case errors.Is(err, bucket.ErrNotExist):
			if r.o.Book != nil && !r.o.DryRun {
				r.o.Book.Forget(j.key)
			}
			return false, nil
		case err != nil:
			return false, err
		case info.ETag != j.to.ETag:
			why = "it was written"
		}
	}
	if r.o.From.stale() && why == "" {
		_, err := r.o.From.Bucket.Head(ctx, r.o.From.Prefix+j.key)
		switch {
		case err == nil:
			why = "the source has it"
		case !errors.Is(err, bucket.ErrNotExist):
			return false, err
		}
	}
	if why == "" {
		return true, nil
	}
	r.add(func(res *Result) { res.Undeleted++ })
	r.o.Events.Emit(event.Note{Text: fmt.Sprintf("%q is not deleted: %s since the listing was made", r.pathOf(j.key), why)})
	return false, nil
}
