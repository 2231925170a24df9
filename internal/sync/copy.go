package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"firn/internal/bucket"
	"firn/internal/sync/ledger"
)

// across decides about a key on the way from a bucket to a bucket.
func (r *run) across(ctx context.Context, key string, a, b *object, e *ledger.Entry) error {
	if b != nil {
		r.targets++
		r.foldersThere += int64(b2i(strings.HasSuffix(key, "/")))
	}
	switch {
	case a == nil && b == nil:
		r.forget(key, e)
		return nil
	case a == nil:
		return r.extra(b, e)
	}
	r.count(a.Size)
	r.foldersHere += int64(b2i(strings.HasSuffix(key, "/")))
	if err := r.fitting(key); err != nil {
		r.refuse(key, r.o.To.Prefix+key, err)
		return nil
	}
	j := &job{action: Copy, key: key, from: a, to: b}
	if e != nil && e.ETag == a.ETag {
		j.asked = e.Asked
	}
	if e != nil && b != nil && e.Size >= 0 && e.ETag == b.ETag && e.Stored == b.Size && e.From == a.ETag && a.Size == b.Size && r.o.Compare != ByContent || b != nil && r.o.Compare == BySize && a.Size == b.Size {
		r.same(j)
		return nil
	}
	if b != nil {
		if a.Size != b.Size {
			j.change = "s"
		}
		if r.o.Update && b.Modified.After(a.Modified) {
			r.kept(j)
			return nil
		}
		if a.Size == b.Size {
			j.compare = true
			return r.give(ctx, j)
		}
	}
	return r.give(ctx, j)
}

// equalObjects compares two objects of the same size by what the server tells of them: one ETag that is an MD5 for both, or checksums of the same kind.
func (r *run) equalObjects(ctx context.Context, j *job) (bool, *ledger.Entry, error) {
	out := &ledger.Entry{Key: j.key, Size: j.from.Size, From: j.from.ETag, Stored: j.to.Size, ETag: j.to.ETag, Class: j.to.Class}
	if _, ok := parseTag(j.from.ETag); ok && j.from.ETag == j.to.ETag {
		return true, out, nil
	}
	a, err := r.o.From.Bucket.Head(ctx, j.from.Key)
	if err != nil {
		return false, nil, err
	}
	b, err := r.o.To.Bucket.Head(ctx, j.to.Key)
	if err != nil {
		return false, nil, err
	}
	same := a.Sum != nil && b.Sum != nil && a.Sum.Parts == 0 && b.Sum.Parts == 0 && a.Sum.Algorithm == b.Sum.Algorithm && bytes.Equal(a.Sum.Value, b.Sum.Value) &&
		a.ETag == j.from.ETag && b.ETag == j.to.ETag
	return same, out, nil
}

// copy has the server copy one object.
func (r *run) copy(ctx context.Context, j *job) error {
	if j.to != nil && r.o.BackupDir != "" {
		if err := r.aside(ctx, j.to); err != nil {
			return r.failed(r.name(j), err)
		}
	}
	end, err := r.slot(ctx)
	if err != nil {
		return err
	}
	defer end()
	o := bucket.CopyOptions{IfSource: j.from.ETag}
	o.Class = r.o.Classes.Of(j.key, j.from.Size)
	info, err := r.o.To.Bucket.Copy(ctx, r.o.From.Name, j.from.Key, r.o.To.Prefix+j.key, j.from.Size, o)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, bucket.ErrCold):
		return r.freeze(j)
	case errors.Is(err, bucket.ErrPrecondition), errors.Is(err, bucket.ErrNotExist):
		r.unread(r.name(j), fmt.Errorf("%w: %w", ErrChanged, err))
		return nil
	case err != nil:
		return r.failed(r.name(j), err)
	}
	if info.ETag != "" {
		r.put(&ledger.Entry{Key: j.key, Size: j.from.Size, From: j.from.ETag, Stored: j.from.Size, ETag: info.ETag, Class: info.Class})
	}
	r.done(j, j.from.Size)
	return nil
}

// aside copies an object that is about to be replaced or deleted to BackupDir.
func (r *run) aside(ctx context.Context, o *object) error {
	if r.cold(o) {
		return fmt.Errorf("it cannot be kept aside: %w", bucket.ErrCold)
	}
	_, err := r.o.To.Bucket.Copy(ctx, r.o.To.Name, o.Key, r.o.BackupDir+o.key, o.Size, bucket.CopyOptions{PutOptions: bucket.PutOptions{Class: o.Class}, IfSource: o.ETag})
	if errors.Is(err, bucket.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keeping it aside: %w", err)
	}
	return nil
}

// metaDiffers reports whether the object of an equal file bears other metadata than the file has now, as far as the ledger knows.
func (r *run) metaDiffers(j *job) bool {
	return r.o.Metadata && j.entry != nil && j.entry.Meta != 0 && j.entry.Meta != metaSum(r.metadata(j.local))
}

// maxTouch is the largest object that is copied onto itself to change its metadata.
const maxTouch = 5 << 30

// touch gives an object the metadata that its file has now, by a copy onto itself. Objects in a class with a least stay are left as they are: it would be paid for again.
func (r *run) touch(ctx context.Context, j *job, e *ledger.Entry) error {
	j.change = strings.Trim(j.change+"m", "c")
	if r.o.DryRun {
		r.compared(j, Different)
		r.add(func(res *Result) { res.Touched++ })
		r.tell(r.item(j, Touch))
		return nil
	}
	if r.stays(j.to.Class) || j.to.Size > maxTouch {
		r.put(e)
		r.same(j)
		return nil
	}
	r.compared(j, Different)
	o := bucket.CopyOptions{IfSource: j.to.ETag}
	o.Class, o.ContentType, o.Metadata = j.to.Class, ContentType(j.local.path), r.metadata(j.local)
	info, err := r.o.To.Bucket.Copy(ctx, r.o.To.Name, j.to.Key, j.to.Key, j.to.Size, o)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return r.failed(r.name(j), fmt.Errorf("metadata: %w", err))
	}
	if info.ETag != "" && info.ETag != e.ETag {
		e.ETag = info.ETag
		if e.SumBy == "" {
			e.PartSize = 0
		}
	}
	e.Meta = metaSum(o.Metadata)
	r.put(e)
	r.add(func(res *Result) { res.Touched++ })
	r.tell(r.item(j, Touch))
	return nil
}
