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
//	  4  number of chunks N, at most MaxPackChunks
//	40N  entries as in the table of the pack, in the order of the pack
//
// # Local table
//
// See Table. It is a cache: whoever loses it builds it again from the index objects.
package index

import (
	"errors"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
)

// Limits of a body.
const (
	MaxHeader     = 16 << 20  // bytes
	MaxAttributes = 256 << 10 // bytes
	MaxPrefix     = 64 << 10  // bytes of an age header with its nonce
	MaxClass      = 255       // bytes of the name of a storage class
	MaxPackChunks = 1 << 20   // chunks of one pack (FORMAT §6)
	MaxChunks     = 1 << 22   // chunks of one index
	MaxPackSize   = 5 << 30   // bytes of a sealed pack: 4 GiB of plaintext, and the seal
)

// ErrBody tells of a body that is not an index.
var ErrBody = errors.New("invalid index")

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
	Size    int64  // bytes of the object
	Class   string // storage class, in the store's words
	Birth   time.Time
	Prefix  []byte // age header and nonce, with which a range of the object opens
	Padding int64  // length of its padding frame, in bytes; 0: none
	Par2    *Par2  // nil: none
	Chunks  []chunk.Ref
}

// Par2 is the recovery volume of a pack.
type Par2 struct {
	Sum  digest.Object // SHA-256 of the volume
	Size int64         // bytes
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
