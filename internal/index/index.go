// Package index writes and reads where chunks lie: the bodies of index objects (FORMAT §8), and the local table made of them.
//
// # Body
//
//	0 8  "FIRNIDX1"
//	8 4  header length H (little-endian, as all numbers here), at most MaxHeader
//	  H  header: {"level":0,"author":"<host>","replaces":["<gen>-<sha256>",…]}
//	then for each pack, to the end:
//	  4  attribute length A, at most MaxAttributes
//	  A  attributes: {"pack":"<sha256>","kind":"data","epoch":0,"size":n,…}
//	  4  number of chunks N, 1 … MaxPackChunks
//	40N  entries as in the table of the pack, in the order of the pack
//
// # Local table
//
// Table, one file, is a cache: whoever loses it builds it again from the index objects. Blocks of 4 KiB end in the number of their
// entries (1 byte) and a CRC32C (4 bytes) of all before it and of the place of the block (8 bytes), so that a damaged disk gives an error and nothing else.
//
//	chunk blocks  87 entries of 47 bytes each, in order of id, then of pack:
//	               0 32  id
//	              32  4  number of the pack in this table
//	              36  4  offset of the frame in the plaintext of the pack
//	              40  4  frame length; the highest bit is set in a pack of kind meta
//	              44  3  content length − 1
//	pack blocks   36 records of 113 bytes each, in order of name; the place of a pack is its number:
//	               0 32  name
//	              32 16  author
//	              48  8  size            56 8  birth, Unix seconds
//	              64  8  bytes of frames 72 8  bytes of content
//	              80  8  padding         88 8  offset of its attributes
//	              96  4  their length   100 4  their CRC32C
//	             104  4  epoch          108 4  number of chunks   112 1  kind
//	attributes    of each pack: 1 byte 1 if it has a recovery volume, its sum (32) and size (8); length of class (1), class; prefix
//	note          of the caller
//	fences        first 8 bytes, big-endian, of the first key of each chunk block, then of each pack block
//	footer         0 8  "FIRNLTB1"       8 8  chunks            16 8  packs
//	              24 8  bytes of attributes                     32 8  bytes of note
//	              40 4  CRC32C of the note                      44 4  CRC32C of the fences   48 4  CRC32C of the footer before
//
// Opening reads footer and fences: about 0.1 byte of memory for each chunk. A look-up is one read of 4 KiB.
package index

import (
	"errors"
	"fmt"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
)

// Limits of a body.
const (
	MaxHeader     = 16 << 20         // bytes
	MaxAttributes = 256 << 10        // bytes
	MaxPrefix     = 64<<10 - 1       // bytes of an age header with its nonce
	MaxClass      = 255              // bytes of the name of a storage class
	MaxPackChunks = 1 << 20          // chunks of one pack (FORMAT §6)
	MaxChunks     = 1 << 22          // chunks of one index (FORMAT §8)
	MaxPlain      = 4 << 30          // bytes of plaintext of a pack (FORMAT §6)
	MaxPackSize   = MaxPlain + 2<<20 // bytes of a sealed pack
	MaxLevel      = 32
)

// ErrBody tells of a body that is not an index.
var ErrBody = errors.New("invalid index")

// ErrPack tells of a pack that cannot be in an index.
var ErrPack = errors.New("invalid pack in index")

// Header is what an index says of itself.
type Header struct {
	Level    int
	Author   [16]byte // host id; the caller compares it with the author of the envelope
	Replaces []string // names, without folders, of the index objects whose packs are all in this one
}

// Pack is one pack in an index.
type Pack struct {
	Name    digest.Object
	Kind    chunk.Kind
	Epoch   uint32
	Size    int64     // bytes of the object
	Class   string    // storage class, in the store's words
	Birth   time.Time // to the second
	Prefix  []byte    // age header and nonce, with which a range of the object opens
	Padding int64     // length of its padding frame, in bytes; 0: none
	Par2    *Par2     // nil: none
	Chunks  []chunk.Ref
}

// Par2 is the recovery volume of a pack.
type Par2 struct {
	Sum  digest.Object // SHA-256 of the volume
	Size int64         // bytes
}

// Check fails with ErrPack or chunk.ErrEntry if p breaks a limit, or if its frames are more than its size.
func (p *Pack) Check() error {
	if err := p.checkAttributes(); err != nil {
		return err
	}
	if len(p.Chunks) == 0 || len(p.Chunks) > MaxPackChunks {
		return fmt.Errorf("%w: %d chunks", ErrPack, len(p.Chunks))
	}
	frames := int64(0)
	for i, r := range p.Chunks {
		if err := r.Check(); err != nil {
			return fmt.Errorf("chunk %d: %w", i, err)
		}
		frames += int64(r.Frame)
	}
	if frames+p.Padding > min(p.Size, MaxPlain) {
		return fmt.Errorf("%w: %d bytes of frames and padding in an object of %d", ErrPack, frames+p.Padding, p.Size)
	}
	return nil
}

func (p *Pack) checkAttributes() error {
	switch {
	case p.Name.IsZero():
		return fmt.Errorf("%w: no name", ErrPack)
	case !p.Kind.Valid():
		return fmt.Errorf("%w: %v", ErrPack, p.Kind)
	case p.Size <= 0 || p.Size > MaxPackSize:
		return fmt.Errorf("%w: size %d", ErrPack, p.Size)
	case p.Padding < 0 || p.Padding > p.Size:
		return fmt.Errorf("%w: padding of %d bytes", ErrPack, p.Padding)
	case len(p.Prefix) > MaxPrefix || len(p.Class) > MaxClass:
		return fmt.Errorf("%w: prefix of %d, class of %d bytes", ErrPack, len(p.Prefix), len(p.Class))
	case p.Par2 != nil && p.Par2.Size < 0:
		return fmt.Errorf("%w: recovery volume of %d bytes", ErrPack, p.Par2.Size)
	}
	return nil
}

// Info is what the local table keeps of a pack.
type Info struct {
	Pack            // without Chunks
	Author [16]byte // host id
	Count  int      // chunks
	Frames int64    // bytes of all frames
	Raw    int64    // bytes of all content
}

// Location is where one chunk lies. The frame is bytes [Offset, Offset+Frame) of the plaintext of the pack.
type Location struct {
	Pack    int // number in the Set that told, for Set.Pack; one pack can have several numbers
	Kind    chunk.Kind
	Retired bool // the pack takes no new references
	Offset  uint32
	Frame   uint32 // bytes
	Raw     uint32 // bytes
}
