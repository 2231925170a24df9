// Package chunk holds what the table of a pack and the index both say of a chunk: an entry of 40 bytes (FORMAT §6, §8),
// all numbers little-endian.
//
//	 0 32  id: BLAKE3 keyed hash of the content, never zero
//	32  4  frame length: bytes of its zstd frame, 1 … MaxFrame
//	36  4  content length: 1 … MaxRaw; empty content has no chunk
package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"

	"firn/internal/digest"
)

// Limits of one chunk, in bytes.
const (
	// EntrySize is the length of an entry.
	EntrySize = 40
	// MaxRaw is the most content that a chunk can have (FORMAT §2.1).
	MaxRaw = 16 << 20
	// MaxFrame is the longest frame that a reader accepts. Content that does not compress grows by 3 bytes in 128 KiB; the rest
	// of the mebibyte is room for encoders that flush often.
	MaxFrame = MaxRaw + 1<<20
)

// Kind is what a pack holds. The numbers are those of the table of a pack.
type Kind uint8

// The kinds of packs.
const (
	Data Kind = 0 // file content
	Meta Kind = 1 // chunks of manifests
)

// Valid reports whether k is one of the known kinds.
func (k Kind) Valid() bool { return k <= Meta }

// String returns the word that stands in object names and in the index: "data" or "meta".
func (k Kind) String() string {
	switch k {
	case Data:
		return "data"
	case Meta:
		return "meta"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ErrKind tells of a kind of pack that is neither data nor meta.
var ErrKind = errors.New("unknown kind of pack")

// ParseKind reads what String prints.
func ParseKind(s string) (Kind, error) {
	switch s {
	case "data":
		return Data, nil
	case "meta":
		return Meta, nil
	}
	return 0, fmt.Errorf("%w: %.32q", ErrKind, s)
}

// Ref is one chunk in a pack.
type Ref struct {
	ID    digest.Chunk
	Frame uint32 // bytes of its zstd frame
	Raw   uint32 // bytes of its content
}

// ErrEntry tells of an entry that breaks the limits of this package.
var ErrEntry = errors.New("invalid chunk entry")

// Check fails with ErrEntry if r breaks a limit.
func (r Ref) Check() error {
	switch {
	case r.ID.IsZero():
		return fmt.Errorf("%w: id is zero", ErrEntry)
	case r.Frame == 0 || r.Frame > MaxFrame:
		return fmt.Errorf("%w: frame of %d bytes", ErrEntry, r.Frame)
	case r.Raw == 0 || r.Raw > MaxRaw:
		return fmt.Errorf("%w: content of %d bytes", ErrEntry, r.Raw)
	}
	return nil
}

// Append adds the entry of r to dst. It does not check it.
func Append(dst []byte, r Ref) []byte {
	dst = append(dst, r.ID[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, r.Frame)
	return binary.LittleEndian.AppendUint32(dst, r.Raw)
}

// Parse reads the entry at the start of b and checks it. It fails with ErrEntry, also if b is too short.
func Parse(b []byte) (Ref, error) {
	if len(b) < EntrySize {
		return Ref{}, fmt.Errorf("%w: %d of %d bytes", ErrEntry, len(b), EntrySize)
	}
	r := Ref{
		ID:    digest.Chunk(b[:32]),
		Frame: binary.LittleEndian.Uint32(b[32:]),
		Raw:   binary.LittleEndian.Uint32(b[36:]),
	}
	return r, r.Check()
}
