package browse

import (
	"context"
	"fmt"
	"io"

	"firn/internal/digest"
	"firn/internal/manifest"
)

// CatOptions say which bytes of a file.
type CatOptions struct {
	Offset int64 // negative: so many before the end
	Length int64 // 0: to the end
}

// readAhead is how many bytes of a file are fetched before they are asked for.
const readAhead = 12 << 20

// Cat writes a file, or a range of it, to w and returns how many bytes that was. Later names of a hard-linked file are followed. It fails with ErrNotThere,
// ErrNotFile, ErrRange, *repo.DamageError where content is lost, and with errors of w.
func (v *View) Cat(w io.Writer, path []byte, o CatOptions) (int64, error) {
	e, err := v.content(path)
	if err != nil {
		return 0, err
	}
	from, to := o.Offset, e.Size
	if from < 0 {
		from = max(e.Size+from, 0)
	}
	if from > e.Size {
		return 0, fmt.Errorf("%q: %w", path, ErrRange)
	}
	if o.Length > 0 {
		to = min(to, from+o.Length)
	}
	if from >= to {
		return 0, nil
	}
	ctx, cancel := context.WithCancel(v.ctx)
	defer cancel()
	data, err := v.r.NewChunkCache(ctx, v.Scope, v.Snapshot.Epoch, 2, dataCache)
	if err != nil {
		return 0, err
	}
	c := &copier{w: w, from: from, to: to, get: data.Get, prefetch: data.Prefetch, lead: manifest.NewPieces(v.src, e)}
	c.lead.SeekTo(from)
	return c.copy(manifest.NewPieces(v.src, e))
}

// content finds the entry that has the content of a path.
func (v *View) content(path []byte) (*manifest.Entry, error) {
	e, err := v.lookUp(path)
	if err == nil && len(e.Hardlink) > 0 {
		e, err = v.lookUp(e.Hardlink)
	}
	if err != nil {
		return nil, err
	}
	if e.Type != manifest.File || len(e.Hardlink) > 0 {
		return nil, fmt.Errorf("%q: %w", path, ErrNotFile)
	}
	return e, nil
}

// copier writes a range of a file.
type copier struct {
	w        io.Writer
	from, to int64
	get      func(digest.Chunk) ([]byte, error)
	prefetch func([]digest.Chunk)
	lead     *manifest.Pieces // runs ahead of what is written
	leadAt   int64
	ids      []digest.Chunk
	written  int64
}

func (c *copier) copy(it *manifest.Pieces) (int64, error) {
	c.leadAt = c.from
	for it.SeekTo(c.from); it.Next(); {
		p, at := it.Piece(), it.Offset()
		if at >= c.to {
			break
		}
		c.ahead(at)
		start, end := max(c.from-at, 0), min(c.to-at, p.Length)
		if err := c.piece(p, start, end); err != nil {
			return c.written, err
		}
	}
	return c.written, it.Err()
}

// ahead has the chunks fetched that come soon, half of the read-ahead at a time.
func (c *copier) ahead(at int64) {
	if c.leadAt > at+readAhead/2 {
		return
	}
	c.ids = c.ids[:0]
	for c.leadAt < at+readAhead && c.leadAt < c.to && c.lead.Next() {
		p := c.lead.Piece()
		c.leadAt = c.lead.Offset() + p.Length
		if n := len(c.ids); !p.IsHole() && (n == 0 || c.ids[n-1] != p.Chunk) {
			c.ids = append(c.ids, p.Chunk)
		}
	}
	if len(c.ids) > 0 {
		c.prefetch(c.ids)
	}
}

var zeros [64 << 10]byte

// piece writes bytes start up to end of a piece.
func (c *copier) piece(p manifest.Piece, start, end int64) error {
	if p.IsHole() {
		for n := end - start; n > 0; {
			k, err := c.w.Write(zeros[:min(n, int64(len(zeros)))])
			c.written += int64(k)
			if err != nil {
				return err
			}
			n -= int64(k)
		}
		return nil
	}
	raw, err := c.get(p.Chunk)
	if err != nil {
		return err
	}
	from, to := int64(p.Offset)+start, int64(p.Offset)+end
	if to > int64(len(raw)) {
		return &manifest.CorruptError{Chunk: p.Chunk, Err: fmt.Errorf("chunk of %d bytes, %d are asked of it", len(raw), to)}
	}
	n, err := c.w.Write(raw[from:to])
	c.written += int64(n)
	return err
}
