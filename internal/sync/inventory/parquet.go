package inventory

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"firn/internal/bucket"
)

// Limits of Parquet.
const (
	maxFooter   = 16 << 20
	maxElements = 100_000   // of lists in a footer: row groups times columns, and what they tell
	maxHeader   = 256 << 10 // of a page
	maxPage     = 64 << 20
	maxValues   = 8 << 20 // in a page
	maxPages    = 1 << 20 // in a column of a row group
)

// parquet takes in a file of rows. The library trusts what a file says of itself; so all that it would believe is looked at first, and what it panics of is damage.
func (l *Listing) parquet(ctx context.Context, f io.ReaderAt, size int64, o *Options) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	if err := checkFooter(f, size); err != nil {
		return err
	}
	file, err := parquet.OpenFile(f, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	cols, err := findLeaves(file)
	if err != nil {
		return err
	}
	groups := file.RowGroups()
	if len(groups) != len(file.Metadata().RowGroups) {
		return fmt.Errorf("%w: row groups", ErrDamaged)
	}
	for i, g := range groups {
		chunks := file.Metadata().RowGroups[i].Columns
		for _, c := range cols.all() {
			if c.at < 0 {
				continue
			}
			if c.at >= len(chunks) || c.at >= len(g.ColumnChunks()) {
				return fmt.Errorf("%w: row group %d lacks columns", ErrDamaged, i)
			}
			if err := checkChunk(f, size, &chunks[c.at].MetaData); err != nil {
				return err
			}
		}
		if err := l.group(ctx, g, &cols, o); err != nil {
			return err
		}
	}
	return nil
}

// checkFooter bounds what the footer has the library allocate.
func checkFooter(f io.ReaderAt, size int64) error {
	var end [8]byte
	if size < 12 {
		return fmt.Errorf("%w: %d bytes are no Parquet", ErrDamaged, size)
	}
	if _, err := f.ReadAt(end[:], size-8); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(end[:4]))
	if string(end[4:]) != "PAR1" || n > maxFooter || n > size-12 {
		return fmt.Errorf("%w: no Parquet, or encrypted", ErrDamaged)
	}
	raw := make([]byte, n)
	if _, err := f.ReadAt(raw, size-8-n); err != nil {
		return err
	}
	used, err := (&fields{b: raw, elements: maxElements}).walk()
	if err == nil && int64(used) != n {
		err = errThrift
	}
	return err
}

// checkChunk goes through the pages of a column.
func checkChunk(f io.ReaderAt, size int64, m *format.ColumnMetaData) error {
	off := m.DataPageOffset
	if d := m.DictionaryPageOffset; d > 0 && d < off {
		off = d
	}
	end := off + m.TotalCompressedSize
	if off < 4 || m.TotalCompressedSize < 0 || end > size || end < off {
		return fmt.Errorf("%w: a column lies outside of the file", ErrDamaged)
	}
	buf := make([]byte, 4<<10)
	for pages := 0; off < end; pages++ {
		p, n, err := pageAt(f, off, end, &buf)
		if err != nil {
			return err
		}
		body := off + int64(n)
		switch {
		case p.packed < 0 || p.plain < 0 || p.plain > maxPage || p.packed > maxPage || body+p.packed > end || p.values < 0 || p.values > maxValues || p.levels < 0 || p.levels > p.packed || p.levels > p.plain || pages > maxPages:
			return fmt.Errorf("%w: a page of %d bytes and %d values", ErrDamaged, p.plain, p.values)
		case !p.unpacked:
			if err := checkPacked(io.NewSectionReader(f, body+p.levels, p.packed-p.levels), m.Codec, p.plain-p.levels); err != nil {
				return err
			}
		}
		off = body + p.packed
	}
	return nil
}

// page is what counts of a page's header.
type page struct {
	plain, packed, values int64
	levels                int64 // bytes in front that are never compressed
	unpacked              bool
}

// pageAt reads the header of a page, and how long it is.
func pageAt(f io.ReaderAt, off, end int64, buf *[]byte) (p page, n int, err error) {
	for {
		b := (*buf)[:min(int64(len(*buf)), end-off)]
		if _, err := f.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
			return p, 0, err
		}
		p = page{}
		bad := false
		n, err = (&fields{b: b, elements: 1000, fn: func(outer, id int16, v int64) {
			switch {
			case outer == 0 && id == 2:
				p.plain = v
			case outer == 0 && id == 3:
				p.packed = v
			case (outer == 5 || outer == 7 || outer == 8) && id == 1:
				p.values = max(p.values, v)
			case outer == 8 && (id == 5 || id == 6):
				p.levels += v
				bad = bad || v < 0 || v > maxPage
			case outer == 8 && (id == 2 || id == 3):
				bad = bad || v < 0 || v > maxValues
			}
		}}).walk()
		switch {
		case err == nil && bad:
			return p, n, errThrift
		case err == nil || len(b) < len(*buf) || len(*buf) >= maxHeader:
			return p, n, err
		}
		*buf = make([]byte, 8*len(*buf))
	}
}

// checkPacked fails where compressed content becomes more than it says.
func checkPacked(in *io.SectionReader, codec format.CompressionCodec, plain int64) error {
	var out io.Reader
	switch codec {
	case format.Uncompressed:
		return nil
	case format.Snappy: // says its size in front
		var head [10]byte
		n, _ := in.ReadAt(head[:], 0)
		if n == 0 && plain == 0 {
			return nil
		}
		if v, k := binary.Uvarint(head[:n]); k <= 0 || v > uint64(plain) {
			return fmt.Errorf("%w: a page that is larger than it says", ErrDamaged)
		}
		return nil
	case format.Gzip:
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		out = z
	case format.Zstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxPage))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		defer z.Close()
		out = z
	default:
		return fmt.Errorf("%w: Parquet compressed with %v", ErrUnsupported, codec)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(out, plain+1))
	if err != nil || n > plain {
		return errors.Join(fmt.Errorf("%w: a page that is larger than it says", ErrDamaged), err)
	}
	return nil
}

// leaf is a column; at −1: there is none.
type leaf struct {
	at   int
	kind parquet.Kind
	unit time.Duration
}

// leaves are the columns that count.
type leaves struct {
	bucket, key, size, modified, etag, class, last, del leaf
}

func (s *leaves) all() []*leaf {
	return []*leaf{&s.bucket, &s.key, &s.size, &s.modified, &s.etag, &s.class, &s.last, &s.del}
}

// findLeaves finds the columns by their names, and refuses those of other types than an inventory has.
func findLeaves(file *parquet.File) (s leaves, err error) {
	text, number, flag := parquet.ByteArray, parquet.Int64, parquet.Boolean
	at := map[string]*leaf{"bucket": &s.bucket, "key": &s.key, "size": &s.size, "lastmodifieddate": &s.modified, "etag": &s.etag, "storageclass": &s.class, "islatest": &s.last, "isdeletemarker": &s.del}
	want := map[*leaf]parquet.Kind{&s.bucket: text, &s.key: text, &s.size: number, &s.modified: number, &s.etag: text, &s.class: text, &s.last: flag, &s.del: flag}
	for _, l := range s.all() {
		l.at = -1
	}
	for _, c := range file.Root().Columns() {
		l := at[strings.ReplaceAll(strings.ToLower(c.Name()), "_", "")]
		if l == nil {
			continue
		}
		if !c.Leaf() || c.MaxRepetitionLevel() != 0 || c.MaxDefinitionLevel() > 1 || c.Type().Kind() != want[l] {
			return s, fmt.Errorf("%w: column %q is of another type than in an inventory", ErrUnsupported, c.Name())
		}
		l.at, l.kind, l.unit = c.Index(), c.Type().Kind(), time.Millisecond
		if t := c.Type().LogicalType(); t != nil && t.String() != "" {
			switch name := t.String(); {
			case strings.Contains(name, "MICROS"):
				l.unit = time.Microsecond
			case strings.Contains(name, "NANOS"):
				l.unit = time.Nanosecond
			}
		}
	}
	return s, missing(s.key.at >= 0, s.size.at >= 0, s.etag.at >= 0, s.modified.at >= 0)
}

// cursor goes through a column.
type cursor struct {
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	buf    [256]parquet.Value
	have   []parquet.Value
}

func (c *cursor) close() {
	if c != nil {
		if c.page != nil {
			parquet.Release(c.page)
		}
		_ = c.pages.Close()
	}
}

// next returns the value of the next row; nil cursors have none but null.
func (c *cursor) next() (v parquet.Value, err error) {
	if c == nil {
		return v, nil
	}
	for len(c.have) == 0 {
		if c.values == nil {
			if c.page != nil {
				parquet.Release(c.page)
				c.page = nil
			}
			if c.page, err = c.pages.ReadPage(); err != nil {
				return v, err
			}
			c.values = c.page.Values()
		}
		n, err := c.values.ReadValues(c.buf[:])
		c.have = c.buf[:n]
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			c.values = nil
		} else if err != nil {
			return v, err
		}
		if n > 0 && c.values == nil {
			break
		}
	}
	v, c.have = c.have[0], c.have[1:]
	return v, nil
}

// group takes in a row group.
func (l *Listing) group(ctx context.Context, g parquet.RowGroup, cols *leaves, o *Options) (err error) {
	chunks := g.ColumnChunks()
	cursors := make([]*cursor, len(cols.all()))
	defer func() {
		for _, c := range cursors {
			c.close()
		}
	}()
	for i, c := range cols.all() {
		if c.at >= 0 {
			cursors[i] = &cursor{pages: chunks[c.at].Pages()}
		}
	}
	for n := int64(0); n < g.NumRows(); n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var row [8]parquet.Value
		for i, c := range cursors {
			if row[i], err = c.next(); err != nil {
				return fmt.Errorf("%w: row %d: %w", ErrDamaged, n, err)
			}
		}
		if err := l.parquetRow(&row, cols, o); err != nil {
			return fmt.Errorf("row %d: %w", n, err)
		}
	}
	return nil
}

// parquetRow takes in one row, its values in the order of leaves.all.
func (l *Listing) parquetRow(row *[8]parquet.Value, cols *leaves, o *Options) error {
	text := func(v parquet.Value) string {
		if v.IsNull() {
			return ""
		}
		return string(v.ByteArray())
	}
	if b := row[0]; o.Bucket != "" && !b.IsNull() && !bytes.Equal(b.ByteArray(), []byte(o.Bucket)) {
		return fmt.Errorf("it is %w: %q", ErrOther, b.ByteArray())
	}
	if last, del := row[6], row[7]; !last.IsNull() && !last.Boolean() || !del.IsNull() && del.Boolean() {
		return nil
	}
	if row[1].IsNull() || row[2].IsNull() || row[3].IsNull() {
		return fmt.Errorf("%w: no key, size or time", ErrDamaged)
	}
	at := row[3].Int64()
	sec := int64(time.Second / cols.modified.unit)
	obj := bucket.Object{Key: text(row[1]), Size: row[2].Int64(), ETag: strings.Trim(text(row[4]), `"`), Class: class(text(row[5])), Modified: time.Unix(at/sec, at%sec*int64(cols.modified.unit))}
	return l.add(o, &obj)
}
