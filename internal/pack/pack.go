// Package pack writes and reads packs (FORMAT §6): age files whose plaintext is the zstd frames of chunks, and a table of them at the end.
//
//	zstd frame of chunk 0, of chunk 1, …: from offset 0, with nothing between
//	a skippable frame FIRNPAD1, optional
//	a skippable frame FIRNTAB1, last; its payload:
//	  0   8  "FIRNTAB1"
//	  8   1  kind: 0 data, 1 meta
//	  9   3  zero
//	 12   4  epoch
//	 16   8  scope id
//	 24   4  number of chunks N, 1 … MaxChunks
//	 28  40N entries (package chunk)
//	  …  112 proof (package sign) of the payload before it, with kind "pack"
//	  …   4  payload length, once more
//	  …   8  "FIRNEND1"
//
// All numbers are little-endian. The last FooterSize bytes of the plaintext find the table.
package pack

import (
	"errors"
	"fmt"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/frame"
	"firn/internal/sign"
)

// Limits of a pack.
const (
	// FooterSize is what has to be read of the end of a plaintext to find the table, in bytes.
	FooterSize = 4 + len(footTag)
	// MaxChunks is the most chunks of a pack.
	MaxChunks = 1 << 20
	// MaxPlain is the longest plaintext, in bytes.
	MaxPlain = 4 << 30
	// MaxTable is the longest table with its frame, in bytes.
	MaxTable = tableFixed + MaxChunks*chunk.EntrySize
)

const (
	headTag  = "FIRNTAB1"
	footTag  = "FIRNEND1"
	headSize = 28 // of the payload, up to the entries

	payloadFixed = headSize + sign.ProofSize + FooterSize
	tableFixed   = frame.SkippableHead + payloadFixed
	minPadding   = frame.SkippableHead + len(frame.PadTag)
)

var (
	// ErrTable tells of bytes that are not the table of a pack.
	ErrTable = errors.New("invalid table of pack")
	// ErrUnproven tells that neither MAC key nor certificate are at hand to see who wrote a table.
	ErrUnproven = errors.New("author of pack cannot be verified")
)

// CorruptError tells of a damaged pack, and where.
type CorruptError struct {
	Pack   digest.Object // zero where the reader does not know it
	Offset int64         // of the plaintext, in bytes; −1: of no certain place
	Err    error
}

func (e *CorruptError) Error() string {
	name := "pack"
	if !e.Pack.IsZero() {
		name += " " + e.Pack.String()
	}
	if e.Offset < 0 {
		return fmt.Sprintf("%s is damaged: %v", name, e.Err)
	}
	return fmt.Sprintf("%s is damaged at byte %d: %v", name, e.Offset, e.Err)
}

// Unwrap returns the reason.
func (e *CorruptError) Unwrap() error { return e.Err }
