package inventory

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"firn/internal/bucket"
)

// Limits of rows.
const (
	maxRow    = 64 << 10
	readAhead = 256 << 10 // what readers take at once, and a row
	maxRatio  = 200       // of what is compressed
)

// columns is where a CSV has what counts; −1: nowhere.
type columns struct {
	n                                                   int
	bucket, key, size, modified, etag, class, last, del int
}

// parseColumns reads the fileSchema of a CSV inventory.
func parseColumns(schema string) (c columns, err error) {
	c = columns{bucket: -1, key: -1, size: -1, modified: -1, etag: -1, class: -1, last: -1, del: -1}
	at := map[string]*int{"bucket": &c.bucket, "key": &c.key, "size": &c.size, "lastmodifieddate": &c.modified, "etag": &c.etag, "storageclass": &c.class, "islatest": &c.last, "isdeletemarker": &c.del}
	for name := range strings.SplitSeq(schema, ",") {
		if p := at[strings.ToLower(strings.TrimSpace(name))]; p != nil {
			*p = c.n
		}
		c.n++
	}
	return c, missing(c.key >= 0, c.size >= 0, c.etag >= 0, c.modified >= 0)
}

// missing says which columns a comparison cannot do without.
func missing(key, size, etag, modified bool) error {
	for _, x := range []struct {
		have bool
		name string
	}{{key, "Key"}, {size, "Size"}, {etag, "ETag"}, {modified, "LastModifiedDate"}} {
		if !x.have {
			return fmt.Errorf("%w: the inventory is configured without %s", ErrUnsupported, x.name)
		}
	}
	return nil
}

// csv takes in a gzipped file of rows.
func (l *Listing) csv(ctx context.Context, in io.Reader, size int64, schema string, o *Options) error {
	cols, err := parseColumns(schema)
	if err != nil {
		return err
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	m := &meter{r: z, most: size*maxRatio + 1<<20, ahead: readAhead}
	rows := csv.NewReader(m)
	rows.FieldsPerRecord, rows.ReuseRecord = cols.n, true
	m.offset = rows.InputOffset
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err := l.row(row, &cols, o); err != nil {
			line, _ := rows.FieldPos(0)
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

func (l *Listing) row(row []string, c *columns, o *Options) error {
	field := func(i int) string {
		if i < 0 {
			return ""
		}
		return row[i]
	}
	if b := field(c.bucket); o.Bucket != "" && b != "" && b != o.Bucket {
		return fmt.Errorf("it is %w: %q", ErrOther, b)
	}
	if strings.EqualFold(field(c.last), "false") || strings.EqualFold(field(c.del), "true") {
		return nil
	}
	key, err := url.QueryUnescape(row[c.key])
	if err != nil {
		return fmt.Errorf("%w: key %q: %w", ErrDamaged, row[c.key], err)
	}
	obj := bucket.Object{Key: strings.Clone(key), ETag: strings.Trim(row[c.etag], `"`), Class: class(field(c.class))}
	if obj.Size, err = strconv.ParseInt(row[c.size], 10, 64); err != nil {
		return fmt.Errorf("%w: size of %q: %w", ErrDamaged, key, err)
	}
	if obj.Modified, err = time.Parse(time.RFC3339Nano, row[c.modified]); err != nil {
		return fmt.Errorf("%w: time of %q: %w", ErrDamaged, key, err)
	}
	return l.add(o, &obj)
}

// saved is an object in the JSON of list-objects-v2.
type saved struct {
	Key          *string
	LastModified string
	ETag         string
	Size         *int64
	StorageClass string
}

// Saved reads a saved answer of list-objects-v2: JSON of one page, or of several one after another. at is when it was saved.
func Saved(ctx context.Context, in io.Reader, at time.Time, o Options) (l *Listing, err error) {
	l = &Listing{Created: at, s: Sorter{Dir: o.Temp}}
	m := &meter{r: in, ahead: readAhead + maxRow}
	dec := json.NewDecoder(m)
	m.offset = dec.InputOffset
	pages := 0
	for err == nil {
		if err = l.page(ctx, dec, &o); err == nil {
			pages++
		}
	}
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && pages > 0 {
		return l, nil
	}
	l.Close()
	if ctx.Err() == nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrOther) {
		err = fmt.Errorf("%w: not the JSON of list-objects-v2: %w", ErrDamaged, err)
	}
	return nil, err
}

// page reads one page. io.EOF: there is none.
func (l *Listing) page(ctx context.Context, dec *json.Decoder, o *Options) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return fmt.Errorf("%w: not the JSON of list-objects-v2: %v in the place of an object", ErrDamaged, t)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return unfinished(err)
		}
		if name != "Contents" {
			err = l.member(dec, name, o)
		} else {
			err = l.contents(ctx, dec, o)
		}
		if err != nil {
			return unfinished(err)
		}
	}
	_, err = dec.Token()
	return unfinished(err)
}

func unfinished(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// member skips what is no object, and looks whether it is of the right bucket.
func (l *Listing) member(dec *json.Decoder, name json.Token, o *Options) error {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return err
	}
	var text string
	if name == "Name" && o.Bucket != "" && json.Unmarshal(raw, &text) == nil && text != o.Bucket {
		return fmt.Errorf("the listing is %w: %q", ErrOther, text)
	}
	return nil
}

func (l *Listing) contents(ctx context.Context, dec *json.Decoder, o *Options) error {
	t, err := dec.Token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		return fmt.Errorf("%w: Contents is no list", ErrDamaged)
	}
	for n := 0; dec.More(); n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var s saved
		if err := dec.Decode(&s); err != nil {
			return err
		}
		if s.Key == nil || s.Size == nil {
			return fmt.Errorf("%w: an object without Key or Size", ErrDamaged)
		}
		obj := bucket.Object{Key: *s.Key, Size: *s.Size, ETag: strings.Trim(s.ETag, `"`), Class: class(s.StorageClass)}
		if obj.Modified, err = time.Parse(time.RFC3339Nano, s.LastModified); err != nil {
			return fmt.Errorf("%w: time of %q: %w", ErrDamaged, obj.Key, err)
		}
		if err := l.add(o, &obj); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
