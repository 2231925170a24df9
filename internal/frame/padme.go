package frame

import (
	"fmt"
	"math/bits"
)

const (
	// PadTag starts the payload of a padding frame.
	PadTag = "FIRNPAD1"
	padMin = SkippableHead + len(PadTag) // the smallest padding frame, in bytes
)

// Padme returns the smallest Padmé size of at least n bytes: at most 12 % more, and far fewer different sizes (Nikitin et al.,
// "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PoPETs 2019, §4). n < 2 is returned as it is. It panics
// if n is past 2^62, where the size might not fit.
func Padme(n int64) int64 {
	if n < 2 {
		return n
	}
	if n > 1<<62 {
		panic(fmt.Sprintf("frame: size %d", n))
	}
	e := bits.Len64(uint64(n)) - 1
	s := bits.Len64(uint64(e))
	mask := int64(1)<<(e-s) - 1
	return (n + mask) &^ mask
}

// PaddingSize returns the length of the padding frame that brings n bytes to a Padmé size: 0 where n is one already, else at least the 16
// bytes of a whole frame (FORMAT §2.3).
func PaddingSize(n int64) int64 {
	if Padme(n) == n {
		return 0
	}
	return Padme(n+int64(padMin)) - n
}

// AppendPadding appends the padding frame that brings the used bytes before it and the tail bytes that will follow it to a Padmé
// size; nothing where they have one already. Negative lengths and paddings over MaxPayload are the caller's error: it panics.
func AppendPadding(dst []byte, used int64, tail int) []byte {
	if used < 0 || tail < 0 {
		panic(fmt.Sprintf("frame: padding after %d and before %d bytes", used, tail))
	}
	n := PaddingSize(used + int64(tail))
	if n == 0 {
		return dst
	}
	if n > MaxPayload {
		panic(fmt.Sprintf("frame: padding of %d bytes", n))
	}
	dst = appendSkippableHead(dst, int(n)-SkippableHead)
	dst = append(dst, PadTag...)
	return append(dst, make([]byte, int(n)-padMin)...)
}
