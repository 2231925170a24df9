package index

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
)

const bodyTag = "FIRNIDX1"

type headerJSON struct {
	Level    int      `json:"level"`
	Author   string   `json:"author"`
	Replaces []string `json:"replaces,omitempty"`
}

type packJSON struct {
	Pack    string    `json:"pack"`
	Kind    string    `json:"kind"`
	Epoch   uint32    `json:"epoch"`
	Size    int64     `json:"size"`
	Class   string    `json:"class"`
	Birth   int64     `json:"birth"`
	Prefix  string    `json:"prefix"`
	Padding int64     `json:"padding,omitempty"`
	Par2    *par2JSON `json:"par2,omitempty"`
}

type par2JSON struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// AppendHeader adds the magic and the header of a body to dst. AppendPack then adds its packs, at most MaxChunks chunks in all. It
// fails with ErrBody if the header breaks a limit.
func AppendHeader(dst []byte, h Header) ([]byte, error) {
	text, err := json.Marshal(headerJSON{h.Level, hex.EncodeToString(h.Author[:]), h.Replaces})
	if err != nil || len(text) > MaxHeader || h.Level < 0 || h.Level > MaxLevel {
		return dst, fmt.Errorf("%w: header of level %d, %d bytes", ErrBody, h.Level, len(text))
	}
	dst = append(dst, bodyTag...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(text)))
	return append(dst, text...), nil
}

// AppendPack adds p to a body. It fails as Check does and leaves dst as it was.
func AppendPack(dst []byte, p *Pack) ([]byte, error) {
	if err := p.Check(); err != nil {
		return dst, err
	}
	attr := packJSON{
		Pack: p.Name.String(), Kind: p.Kind.String(), Epoch: p.Epoch, Size: p.Size, Class: p.Class, Birth: p.Birth.Unix(),
		Prefix: base64.StdEncoding.EncodeToString(p.Prefix), Padding: p.Padding,
	}
	if p.Par2 != nil {
		attr.Par2 = &par2JSON{p.Par2.Sum.String(), p.Par2.Size}
	}
	text, err := json.Marshal(attr)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrPack, err)
	}
	dst = slices.Grow(dst, 8+len(text)+len(p.Chunks)*chunk.EntrySize)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(text)))
	dst = append(dst, text...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(p.Chunks)))
	for _, r := range p.Chunks {
		dst = chunk.Append(dst, r)
	}
	return dst, nil
}

// Reader reads the packs of a body, one after another. It needs no more memory than the largest pack, and no more than comes.
type Reader struct {
	r      io.Reader
	header Header
	text   []byte
	slab   [256 * chunk.EntrySize]byte
	chunks int // so far
	err    error
}

// NewReader begins to read a body: magic and header. r should be buffered. Errors are those of r, and ErrBody.
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{r: r}
	head := rd.slab[:len(bodyTag)]
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, early(err)
	}
	if string(head) != bodyTag {
		return nil, fmt.Errorf("%w: starts with %q", ErrBody, head)
	}
	if err := rd.readText(MaxHeader); err != nil {
		return nil, early(err)
	}
	var h headerJSON
	if err := json.Unmarshal(rd.text, &h); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrBody, err)
	}
	author, err := hex.DecodeString(h.Author)
	if err != nil || len(author) != 16 || h.Level < 0 || h.Level > MaxLevel {
		return nil, fmt.Errorf("%w: level %d, author %.40q", ErrBody, h.Level, h.Author)
	}
	rd.header = Header{Level: h.Level, Author: [16]byte(author), Replaces: h.Replaces}
	return rd, nil
}

// early turns the end of the data, where there should be more, into ErrBody.
func early(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: ends early", ErrBody)
	}
	return err
}

// Header returns what the index says of itself.
func (r *Reader) Header() Header { return r.header }

// Next reads the next pack into p, reusing the room of p.Chunks. It returns io.EOF after the last; other errors are those of the reader
// below, ErrBody, ErrPack and chunk.ErrEntry, and last.
func (r *Reader) Next(p *Pack) error {
	if r.err == nil {
		r.err = r.next(p)
	}
	return r.err
}

func (r *Reader) next(p *Pack) error {
	if err := r.readText(MaxAttributes); err != nil {
		if err == io.EOF {
			return err // the one place where a body may end
		}
		return early(err)
	}
	if err := p.unmarshal(r.text); err != nil {
		return err
	}
	n, err := r.number()
	if err != nil {
		return early(err)
	}
	if r.chunks += int(min(n, MaxChunks+1)); n > MaxPackChunks || r.chunks > MaxChunks {
		return fmt.Errorf("%w: pack %v of %d chunks", ErrBody, p.Name, n)
	}
	if err := r.readChunks(p, int(n)); err != nil {
		return fmt.Errorf("pack %v: %w", p.Name, early(err))
	}
	return p.Check()
}

func (r *Reader) number() (uint32, error) {
	if _, err := io.ReadFull(r.r, r.slab[:4]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(r.slab[:]), nil
}

// readText reads a length and as many bytes into r.text; io.EOF only if there is nothing at all.
func (r *Reader) readText(limit int) error {
	n, err := r.number()
	if err != nil {
		return err
	}
	if int64(n) > int64(limit) {
		return fmt.Errorf("%w: text of %d bytes", ErrBody, n)
	}
	r.text = r.text[:0]
	for left := int(n); left > 0; {
		step := min(left, 64<<10)
		at := len(r.text)
		r.text = append(r.text, make([]byte, step)...)
		if _, err := io.ReadFull(r.r, r.text[at:]); err != nil {
			return early(err)
		}
		left -= step
	}
	return nil
}

func (r *Reader) readChunks(p *Pack, n int) error {
	p.Chunks = p.Chunks[:0]
	for n > 0 {
		b := r.slab[:min(len(r.slab), n*chunk.EntrySize)]
		if _, err := io.ReadFull(r.r, b); err != nil {
			return err
		}
		for ; len(b) > 0; b = b[chunk.EntrySize:] {
			ref, err := chunk.Parse(b)
			if err != nil {
				return err
			}
			p.Chunks = append(p.Chunks, ref)
			n--
		}
	}
	return nil
}

// unmarshal reads the attributes into p and leaves its chunks.
func (p *Pack) unmarshal(text []byte) error {
	var a packJSON
	if err := json.Unmarshal(text, &a); err != nil {
		return fmt.Errorf("%w: %w", ErrPack, err)
	}
	name, err1 := digest.ParseObject(a.Pack)
	kind, err2 := chunk.ParseKind(a.Kind)
	prefix, err3 := base64.StdEncoding.Strict().DecodeString(a.Prefix)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("%w: %w", ErrPack, err)
	}
	*p = Pack{
		Name: name, Kind: kind, Epoch: a.Epoch, Size: a.Size, Class: a.Class, Birth: time.Unix(a.Birth, 0).UTC(),
		Prefix: prefix, Padding: a.Padding, Chunks: p.Chunks[:0],
	}
	if a.Par2 != nil {
		sum, err := digest.ParseObject(a.Par2.SHA256)
		if err != nil {
			return fmt.Errorf("%w: recovery volume: %w", ErrPack, err)
		}
		p.Par2 = &Par2{Sum: sum, Size: a.Par2.Size}
	}
	return p.checkAttributes()
}

// Parse calls fn for each pack of a body; what p points to is valid until fn returns.
func Parse(body []byte, fn func(p *Pack) error) (Header, error) {
	r, err := NewReader(bytes.NewReader(body))
	if err != nil {
		return Header{}, err
	}
	var p Pack
	for {
		if err := r.Next(&p); err == io.EOF {
			return r.header, nil
		} else if err != nil {
			return r.header, err
		}
		if err := fn(&p); err != nil {
			return r.header, err
		}
	}
}
