// Package pack writes and reads packs (FORMAT §6): age files whose plaintext is the zstd frames of chunks, and a table of them at the end.
//
//	zstd frame of chunk 0, of chunk 1, …: from offset 0, with nothing between
//	a skippable frame FIRNPAD1, optional
//	a skippable frame FIRNTAB1, last:
//	  0   8  "FIRNTAB1"
//	  8   1  kind: 0 data, 1 meta
//	  9   3  zero
//	 12   4  epoch
//	 16   8  scope id
//	 24   4  number of chunks N, at most MaxChunks
//	 28  40N entries (package chunk)
//	  …  16  author: host id
//	  …  32  MAC
//	  …  64  signature
//	  …   4  payload length, once more
//	  …   8  "FIRNEND1"
//
// All numbers are little-endian. The last FooterSize bytes of the plaintext find the table.
package pack

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"firn/internal/chunk"
	"firn/internal/digest"
)

// Limits of a pack.
const (
	FooterSize = 12            // bytes
	MaxChunks  = 1 << 20       // chunks
	MaxPlain   = 4<<30 - 1<<16 // bytes of plaintext that are written; 4 GiB are read
)

// Table is what lies at the end of a pack.
type Table struct {
	Kind   chunk.Kind
	Scope  [8]byte
	Epoch  uint32
	Chunks []chunk.Ref
	Author [16]byte // host id
	MAC    [32]byte
	Sig    [64]byte
}

// Signer says who writes, and proves it.
type Signer struct {
	Repo [16]byte
	MAC  [32]byte // MAC key of the scope
	Key  ed25519.PrivateKey
}

// Check is what a table is checked with. At least one of MAC and Author has to be given.
type Check struct {
	Repo   [16]byte
	Scope  [8]byte
	MAC    *[32]byte                                     // MAC key of the scope
	Author func(host [16]byte) (ed25519.PublicKey, bool) // false: unknown, the signature is not checked
}

// Verify fails with ErrForged if MAC or signature are wrong.
func (t *Table) Verify(c Check) error { panic("unwritten") }

// ErrForged tells that a table was not written by whom it names.
var ErrForged = errors.New("table of pack is forged")

// Builder collects chunks into the plaintext of a pack, in one buffer that it uses again. Not for concurrent use.
type Builder struct{}

// NewBuilder returns a builder for packs of about limit bytes of plaintext.
func NewBuilder(kind chunk.Kind, scope [8]byte, epoch uint32, limit int) *Builder { panic("unwritten") }

// Compressor appends one zstd frame; *frame.Encoder is one.
type Compressor interface {
	Append(dst, raw []byte) []byte
}

// Add compresses a chunk into the pack. It panics if there is no room (Fits) or the chunk is empty or too long.
func (b *Builder) Add(id digest.Chunk, raw []byte, c Compressor) chunk.Ref { panic("unwritten") }

// AddFrame copies a finished frame into the pack.
func (b *Builder) AddFrame(r chunk.Ref, frame []byte) { panic("unwritten") }

// Fits reports whether a chunk of so many bytes of content surely leaves the pack below its limit. The first chunk always fits.
func (b *Builder) Fits(raw int) bool { panic("unwritten") }

// Len returns the bytes of plaintext that Finish would make now, without padding; 0 while empty.
func (b *Builder) Len() int { panic("unwritten") }

// Count returns the number of chunks.
func (b *Builder) Count() int { panic("unwritten") }

// Has returns the number of the chunk in this pack.
func (b *Builder) Has(id digest.Chunk) (int, bool) { panic("unwritten") }

// Frame returns the frame of chunk i, valid until the next call of another method.
func (b *Builder) Frame(i int) []byte { panic("unwritten") }

// Chunks returns the entries, valid until Reset.
func (b *Builder) Chunks() []chunk.Ref { panic("unwritten") }

// Finish adds padding and table and returns the plaintext, valid until Reset, and the length of the padding frame.
func (b *Builder) Finish(s *Signer, padding bool) (plain []byte, pad int) { panic("unwritten") }

// Reset empties the builder; its buffer stays.
func (b *Builder) Reset() { panic("unwritten") }

// Sealed is a pack as it lies in the store.
type Sealed struct {
	Name   digest.Object // SHA-256 of the object
	Size   int64         // bytes
	Prefix []byte        // age header and nonce
}

// Seal writes the object to w while it hashes it.
func Seal(w io.Writer, plain []byte, recipients ...age.Recipient) (Sealed, error) { panic("unwritten") }

// TableSize reads the last FooterSize bytes of a plaintext and returns how many bytes at its end are the frame of the table.
func TableSize(footer []byte) (int64, error) { panic("unwritten") }

// ParseTable reads the frame of a table, which ends a plaintext of plainSize bytes, and returns also the length of the padding frame.
// It does not check who wrote it: Verify.
func ParseTable(frame []byte, plainSize int64) (t *Table, pad int64, err error) { panic("unwritten") }

// Opened is a table read from an object.
type Opened struct {
	*Table
	Padding int64  // bytes
	Prefix  []byte // age header and nonce
}

// ReadTable reads the table from an object of size bytes, with two ranged reads, three where the table is long.
func ReadTable(r io.ReaderAt, size int64, ids ...age.Identity) (*Opened, error) { panic("unwritten") }

// CorruptError tells of a damaged pack, and where.
type CorruptError struct {
	Pack   digest.Object // zero where the reader does not know it
	Offset int64         // of the plaintext
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("pack %v is damaged at byte %d: %v", e.Pack, e.Offset, e.Err)
}

// Unwrap returns the reason.
func (e *CorruptError) Unwrap() error { return e.Err }
