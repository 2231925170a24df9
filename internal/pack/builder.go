package pack

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"filippo.io/age"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/frame"
	"firn/internal/seal"
	"firn/internal/sign"
)

// Compressor appends content as one zstd frame; *frame.Encoder is one.
type Compressor interface {
	Append(dst, raw []byte) []byte
}

// Builder collects chunks into the plaintext of a pack, in one buffer that it uses again. Not for concurrent use.
type Builder struct {
	kind   chunk.Kind
	scope  [8]byte
	epoch  uint32
	limit  int
	buf    []byte
	chunks []chunk.Ref
	starts []uint32 // offset of each frame
	byID   map[digest.Chunk]int
	sealed bool // Finish was called
}

// NewBuilder returns a builder for packs of at most limit bytes of plaintext without padding; only a single chunk that is longer goes
// past that. It takes no memory before the first chunk, then limit bytes and what one chunk more could need. It panics if limit is not positive.
func NewBuilder(kind chunk.Kind, scope [8]byte, epoch uint32, limit int) *Builder {
	if limit <= 0 || !kind.Valid() {
		panic(fmt.Sprintf("pack: builder of %v, limit %d", kind, limit))
	}
	// Padding grows a pack by an eighth at most; it has to stay a pack.
	limit = int(min(int64(limit), int64(MaxPlain-MaxPlain/8), math.MaxInt-2*chunk.MaxFrame))
	return &Builder{kind: kind, scope: scope, epoch: epoch, limit: limit, byID: make(map[digest.Chunk]int)}
}

// Kind returns what the pack holds.
func (b *Builder) Kind() chunk.Kind { return b.kind }

// Scope returns the scope of the pack.
func (b *Builder) Scope() [8]byte { return b.scope }

// Epoch returns the epoch of the pack.
func (b *Builder) Epoch() uint32 { return b.epoch }

// Fits reports whether a chunk of so many bytes of content surely leaves the pack within its limit. The first chunk always fits.
func (b *Builder) Fits(raw int) bool { return b.fits(frame.Bound(raw)) }

func (b *Builder) fits(frameLen int) bool {
	n := len(b.chunks)
	return n == 0 || n < MaxChunks && b.Len()+frameLen+chunk.EntrySize <= b.limit
}

// Add compresses a chunk into the pack and returns its entry. It panics if the chunk is empty, longer than chunk.MaxRaw, in the
// pack already, or if it does not fit.
func (b *Builder) Add(id digest.Chunk, raw []byte, c Compressor) chunk.Ref {
	if len(raw) > chunk.MaxRaw {
		panic(fmt.Sprintf("pack: content of %d bytes", len(raw)))
	}
	b.room(frame.Bound(len(raw)))
	start := len(b.buf)
	b.buf = c.Append(b.buf, raw)
	return b.enter(chunk.Ref{ID: id, Frame: uint32(len(b.buf) - start), Raw: uint32(len(raw))}, start)
}

// AddFrame copies a finished frame into the pack, which r describes. It panics as Add does, and if r does not have the length of the frame.
func (b *Builder) AddFrame(r chunk.Ref, f []byte) {
	if int64(r.Frame) != int64(len(f)) {
		panic(fmt.Sprintf("pack: frame of %d bytes, entry says %d", len(f), r.Frame))
	}
	b.room(len(f))
	start := len(b.buf)
	b.buf = append(b.buf, f...)
	b.enter(r, start)
}

// room sees that a frame may be added, and that the buffer need not move for it.
func (b *Builder) room(frameLen int) {
	if b.sealed {
		panic("pack: builder is finished")
	}
	if !b.fits(frameLen) {
		panic(fmt.Sprintf("pack: no room for a frame of %d bytes behind %d of at most %d", frameLen, b.Len(), b.limit))
	}
	if b.buf == nil {
		b.buf = make([]byte, 0, max(b.limit, frameLen+tableFixed+chunk.EntrySize))
	}
}

func (b *Builder) enter(r chunk.Ref, start int) chunk.Ref {
	if err := r.Check(); err != nil {
		panic("pack: " + err.Error())
	}
	if _, dup := b.byID[r.ID]; dup {
		panic(fmt.Sprintf("pack: chunk %v twice", r.ID))
	}
	b.byID[r.ID] = len(b.chunks)
	b.chunks = append(b.chunks, r)
	b.starts = append(b.starts, uint32(start))
	return r
}

// Len returns the bytes of plaintext that Finish would make now, without padding; 0 while there is no chunk.
func (b *Builder) Len() int {
	if len(b.chunks) == 0 {
		return 0
	}
	last := len(b.chunks) - 1
	return int(b.starts[last]) + int(b.chunks[last].Frame) + tableFixed + len(b.chunks)*chunk.EntrySize
}

// Count returns the number of chunks.
func (b *Builder) Count() int { return len(b.chunks) }

// Has returns the number of a chunk in this pack.
func (b *Builder) Has(id digest.Chunk) (i int, ok bool) {
	i, ok = b.byID[id]
	return i, ok
}

// Frame returns the frame of chunk i, valid until Reset.
func (b *Builder) Frame(i int) []byte {
	start, n := int(b.starts[i]), int(b.chunks[i].Frame)
	return b.buf[start : start+n : start+n]
}

// Chunks returns the entries in the order of the pack, valid until Reset.
func (b *Builder) Chunks() []chunk.Ref { return b.chunks }

// Finish adds padding, if asked for, and the table. It returns the plaintext, valid until Reset, and the length of the padding
// frame in bytes. It panics if there is no chunk, if the signer is of another scope, or if it was called before.
func (b *Builder) Finish(s *sign.Signer, padding bool) (plain []byte, pad int) {
	if len(b.chunks) == 0 || b.sealed || s.Scope() != b.scope {
		panic("pack: nothing to finish, or not with this signer")
	}
	b.sealed = true
	frames := len(b.buf)
	if padding {
		b.buf = frame.AppendPadding(b.buf, int64(frames), tableFixed+len(b.chunks)*chunk.EntrySize)
	}
	pad = len(b.buf) - frames
	t := Table{Kind: b.kind, Scope: b.scope, Epoch: b.epoch, Chunks: b.chunks}
	b.buf = t.sign(s).append(b.buf)
	return b.buf, pad
}

// Reset empties the builder; its memory stays.
func (b *Builder) Reset() {
	b.buf, b.chunks, b.starts, b.sealed = b.buf[:0], b.chunks[:0], b.starts[:0], false
	clear(b.byID)
}

// Sealed is a pack as it lies in the store.
type Sealed struct {
	Name   digest.Object // SHA-256 of the object
	Size   int64         // bytes
	Prefix []byte        // age header and nonce
}

// Seal writes the object with this plaintext to w while it hashes it: 64 KiB at a time, nothing else is buffered. An error is that of w or of a recipient.
func Seal(w io.Writer, plain []byte, recipients ...age.Recipient) (Sealed, error) {
	s, err := seal.Header(recipients...)
	if err != nil {
		return Sealed{}, err
	}
	sum := sha256.New()
	sw := s.Writer(io.MultiWriter(sum, w))
	if _, err := sw.Write(plain); err != nil {
		return Sealed{}, err
	}
	if err := sw.Close(); err != nil {
		return Sealed{}, err
	}
	return Sealed{
		Name:   digest.Object(sum.Sum(nil)),
		Size:   seal.SealedSize(len(s.Prefix()), int64(len(plain))),
		Prefix: s.Prefix(),
	}, nil
}

// SealBytes appends the object with this plaintext to dst, sealing with up to workers goroutines.
func SealBytes(dst, plain []byte, workers int, recipients ...age.Recipient) ([]byte, Sealed, error) {
	s, err := seal.Header(recipients...)
	if err != nil {
		return dst, Sealed{}, err
	}
	start := len(dst)
	dst = s.Seal(dst, plain, workers)
	return dst, Sealed{Name: digest.SumObject(dst[start:]), Size: int64(len(dst) - start), Prefix: s.Prefix()}, nil
}

// append adds the frame of the table to dst.
func (t *Table) append(dst []byte) []byte {
	n := payloadFixed + len(t.Chunks)*chunk.EntrySize
	dst = binary.LittleEndian.AppendUint32(dst, frame.Magic)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = t.appendSigned(dst)
	dst = t.Proof.Append(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	return append(dst, footTag...)
}
