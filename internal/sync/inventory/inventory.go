// Package inventory reads what is known of the objects of a bucket from files, in the place of asking the bucket: an S3 Inventory, and the saved answer of a listing.
//
// An inventory is a manifest.json and the files that it names: rows of CSV, gzipped, or Parquet. (ORC is refused.) Size and MD5 of each file are compared with the manifest before any of it counts, and
// those of the manifest with manifest.checksum where that lies beside it. What the columns mean is told by the manifest's fileSchema; of versions only the latest counts, and delete markers
// do not. Keys of CSV are URL-encoded. A saved listing is the JSON of list-objects-v2, one page or several one after another.
//
// Neither is sorted, or complete as of one moment: objects that were written or deleted shortly before may be missing or still be there. Source: "Amazon S3 Inventory" in the S3 user guide.
//
// # Limits
//
// A row has at most 64 KiB, a manifest 64 MiB and 100,000 files, a file of rows 200 times the bytes that it has compressed and 1 MiB on top, a page of Parquet 64 MiB and 8 million values, a column
// index and its like 64 MiB. Memory does not grow with the number of objects: they are sorted by way of a temporary file.
package inventory

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"firn/internal/bucket"
)

// Errors, wrapped where there is more to say.
var (
	ErrDamaged     = errors.New("damaged")
	ErrUnsupported = errors.New("of a kind that cannot be read")
	ErrOther       = errors.New("about another bucket")
)

// Files opens what a manifest names.
type Files interface {
	// Manifest opens the manifest, or with sum its checksum file; there need be none.
	Manifest(ctx context.Context, sum bool) (io.ReadCloser, error)
	// Data opens a file of rows by its key in the destination bucket.
	Data(ctx context.Context, bucket, key string) (io.ReadCloser, error)
}

// Options of reading.
type Options struct {
	Bucket string // of which the listing must tell; empty: any
	Prefix string // only keys that begin so
	Temp   string // folder for temporary files; empty: the system's
}

// Listing is what was read, sorted. It implements what package sync wants of a listing.
type Listing struct {
	// Created is when it was begun to be made: what was written later is not in it.
	Created time.Time
	// Objects counts all rows that count, of any prefix.
	Objects int64

	s Sorter
}

// Each calls fn for every object in the order of the keys, once for each, and stops at the first error of fn, which it returns. Of two rows with the same key the one modified later counts.
func (l *Listing) Each(ctx context.Context, fn func(bucket.Object) error) error {
	var last bucket.Object
	some := false
	n := 0
	err := l.s.Each(func(key, value []byte) error {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		o, err := decode(key, value)
		if err != nil {
			return err
		}
		if some && o.Key != last.Key {
			if err := fn(last); err != nil {
				return err
			}
		} else if some && o.Modified.Before(last.Modified) {
			return nil
		}
		last, some = o, true
		return nil
	})
	if err == nil && some {
		err = fn(last)
	}
	return err
}

// Close removes temporary files.
func (l *Listing) Close() { l.s.Close() }

// add takes an object in.
func (l *Listing) add(o *Options, obj *bucket.Object) error {
	l.Objects++
	switch {
	case obj.Key == "" || len(obj.Key) > bucket.MaxKey:
		return fmt.Errorf("%w: a key of %d bytes", ErrDamaged, len(obj.Key))
	case obj.Size < 0:
		return fmt.Errorf("%w: object %q has a size of %d", ErrDamaged, obj.Key, obj.Size)
	case len(obj.ETag) > maxText || len(obj.Class) > maxText:
		return fmt.Errorf("%w: object %q has an ETag or a class of more than %d bytes", ErrDamaged, obj.Key, maxText)
	case !strings.HasPrefix(obj.Key, o.Prefix):
		return nil
	}
	return l.s.Add(obj.Key, encode(obj))
}

// maxText bounds ETags and names of classes, in bytes.
const maxText = 1024

func encode(o *bucket.Object) []byte {
	b := binary.AppendUvarint(nil, uint64(o.Size))
	ms := int64(0)
	if !o.Modified.IsZero() {
		ms = o.Modified.UnixMilli()
	}
	b = binary.AppendVarint(b, ms)
	b = append(binary.AppendUvarint(b, uint64(len(o.ETag))), o.ETag...)
	return append(b, o.Class...)
}

func decode(key, b []byte) (o bucket.Object, err error) {
	o.Key = string(key)
	size, n := binary.Uvarint(b)
	if n <= 0 {
		return o, io.ErrUnexpectedEOF
	}
	b = b[n:]
	ms, n := binary.Varint(b)
	if n <= 0 {
		return o, io.ErrUnexpectedEOF
	}
	b = b[n:]
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag > uint64(len(b)-n) {
		return o, io.ErrUnexpectedEOF
	}
	o.Size, o.Modified = int64(size), time.UnixMilli(ms)
	o.ETag, o.Class = string(b[n:n+int(tag)]), string(b[n+int(tag):])
	return o, nil
}

// class is as bucket.Object has it.
func class(name string) string {
	if name == "STANDARD" {
		return ""
	}
	return name
}

// meter counts what is read of an input, and bounds how far readers may go ahead of what they have understood: a row that never ends.
type meter struct {
	r      io.Reader
	n      int64
	most   int64        // in all; 0: no bound
	offset func() int64 // what was understood; nil: no bound
	ahead  int64
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	if m.offset != nil && m.n-m.offset() > m.ahead {
		return 0, fmt.Errorf("%w: a row or member of more than %d bytes", ErrDamaged, m.ahead)
	}
	if m.most > 0 && m.n > m.most {
		return 0, fmt.Errorf("%w: it becomes more than %d bytes", ErrDamaged, m.most)
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	return n, err
}
