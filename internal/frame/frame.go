// Package frame is the plaintext inside every sealed object (FORMAT §2): zstd frames (RFC 8878) one after another, so that
// any zstd decoder reads it.
//
// A content frame is single-segment, has its content size in the header, no dictionary, and, as written here, no checksum:
//
//	4     magic 0xFD2FB528
//	1     descriptor: size of the content size, single-segment bit
//	1-8   content size
//	…     blocks: 3 bytes of header each, at most 128 KiB of content each, the last one flagged
//
// A skippable frame carries firn's own data; zstd decoders ignore it:
//
//	4     magic 0x184D2A57
//	4     length of the payload
//	…     payload; its first 8 bytes tell what it is (FIRNPAD1, FIRNTAB1, FIRNSIG1)
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// Magic is the number that starts firn's skippable frames.
	Magic = 0x184D2A57
	// SkippableHead is the length in bytes of the head of a skippable frame: magic and length.
	SkippableHead = 8
	// MaxPayload is the largest payload of a skippable frame that is read or written here, in bytes: a table of 2^20 chunks is
	// 40 MiB, the padding of a 4 GiB pack less than 128 MiB.
	MaxPayload = 256 << 20

	contentMagic   = 0xFD2FB528
	skippableMask  = 0xFFFFFFF0
	skippableFirst = 0x184D2A50
	blockMax       = 128 << 10 // content of one block, RFC 8878 §3.1.1.2.4
)

var (
	// ErrCorrupt is matched by every error about bytes that are not the frames that they should be.
	ErrCorrupt = errors.New("corrupt frame")
	// ErrTruncated is matched, besides ErrCorrupt, where the bytes end within a frame.
	ErrTruncated = fmt.Errorf("%w: ends early", ErrCorrupt)
	// ErrLimit is matched by errors about frames that declare more content than the caller allows.
	ErrLimit = errors.New("frame is larger than allowed")
)

// AppendSkippable appends payload as a skippable frame. It panics if payload is longer than MaxPayload.
func AppendSkippable(dst, payload []byte) []byte {
	dst = appendSkippableHead(dst, len(payload))
	return append(dst, payload...)
}

func appendSkippableHead(dst []byte, n int) []byte {
	if n > MaxPayload {
		panic(fmt.Sprintf("frame: skippable payload of %d bytes", n))
	}
	dst = binary.LittleEndian.AppendUint32(dst, Magic)
	return binary.LittleEndian.AppendUint32(dst, uint32(n))
}

// Skippable splits b, which starts with one of firn's skippable frames, into the payload and what follows the frame. Both alias b. The
// errors match ErrCorrupt, ErrTruncated or, for a payload over MaxPayload, ErrLimit.
func Skippable(b []byte) (payload, rest []byte, err error) {
	if len(b) < SkippableHead {
		return nil, nil, ErrTruncated
	}
	if m := binary.LittleEndian.Uint32(b); m != Magic {
		return nil, nil, fmt.Errorf("%w: magic %#08x instead of a skippable frame's", ErrCorrupt, m)
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n > MaxPayload {
		return nil, nil, fmt.Errorf("%w: skippable frame of %d bytes", ErrLimit, n)
	}
	b = b[SkippableHead:]
	if uint64(n) > uint64(len(b)) {
		return nil, nil, ErrTruncated
	}
	return b[:n:n], b[n:], nil
}

// extent is what can be told of a frame without decoding it.
type extent struct {
	length    int    // of the whole frame in bytes
	content   uint64 // declared content size in bytes; 0 for a skippable frame
	skippable bool
}

// measure walks over the frame at the start of b and checks its form: that it is complete, and that its blocks can hold what it declares, so
// that a few bytes cannot make a reader allocate much.
func measure(b []byte) (extent, error) {
	if len(b) < 8 {
		return extent{}, ErrTruncated
	}
	m := binary.LittleEndian.Uint32(b)
	if m&skippableMask == skippableFirst {
		n := uint64(binary.LittleEndian.Uint32(b[4:])) + SkippableHead
		if n > uint64(len(b)) {
			return extent{}, ErrTruncated
		}
		return extent{length: int(n), skippable: true}, nil
	}
	if m != contentMagic {
		return extent{}, fmt.Errorf("%w: magic %#08x", ErrCorrupt, m)
	}
	head, size, err := contentHead(b)
	if err != nil {
		return extent{}, err
	}
	n, most, err := walkBlocks(b[head:])
	if err != nil {
		return extent{}, err
	}
	if size > most {
		return extent{}, fmt.Errorf("%w: declares %d bytes, its blocks hold at most %d", ErrCorrupt, size, most)
	}
	n += head
	if b[4]&4 != 0 { // checksum, which the decoder verifies
		n += 4
	}
	if n > len(b) {
		return extent{}, ErrTruncated
	}
	return extent{length: n, content: size}, nil
}

// contentHead returns the length of the header of the content frame b, which has at least 8 bytes, and its content size.
func contentHead(b []byte) (head int, size uint64, err error) {
	d := b[4]
	switch {
	case d&0x20 == 0:
		return 0, 0, fmt.Errorf("%w: not single-segment", ErrCorrupt)
	case d&0x08 != 0:
		return 0, 0, fmt.Errorf("%w: reserved bit set", ErrCorrupt)
	case d&0x03 != 0:
		return 0, 0, fmt.Errorf("%w: needs a dictionary", ErrCorrupt)
	}
	width := 1 << (d >> 6)
	head = 5 + width
	if len(b) < head {
		return 0, 0, ErrTruncated
	}
	switch b = b[5:]; width {
	case 1:
		size = uint64(b[0])
	case 2:
		size = uint64(binary.LittleEndian.Uint16(b)) + 256
	case 4:
		size = uint64(binary.LittleEndian.Uint32(b))
	default:
		size = binary.LittleEndian.Uint64(b)
	}
	return head, size, nil
}

// walkBlocks returns the length of the blocks at the start of b up to the last one, and the most content that they can hold.
func walkBlocks(b []byte) (n int, most uint64, err error) {
	for {
		if len(b)-n < 3 {
			return 0, 0, ErrTruncated
		}
		h := uint32(b[n]) | uint32(b[n+1])<<8 | uint32(b[n+2])<<16
		n += 3
		size := int(h >> 3)
		if size > blockMax {
			return 0, 0, fmt.Errorf("%w: block of %d bytes", ErrCorrupt, size)
		}
		switch h >> 1 & 3 {
		case 0: // raw
			n, most = n+size, most+uint64(size)
		case 1: // one byte, repeated
			n, most = n+1, most+uint64(size)
		case 2: // compressed
			n, most = n+size, most+blockMax
		default:
			return 0, 0, fmt.Errorf("%w: reserved block type", ErrCorrupt)
		}
		if n > len(b) {
			return 0, 0, ErrTruncated
		}
		if h&1 != 0 {
			return n, most, nil
		}
	}
}
