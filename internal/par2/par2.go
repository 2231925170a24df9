// Package par2 makes, checks and uses PAR 2.0 recovery volumes: parity from which damaged or lost parts of files are computed again, in a format
// that many programs read ("Parity Volume Set Specification 2.0", 2003). It is pure: no disk, no network, no clock.
//
// A set cuts its files into slices of one size and computes recovery slices from them; as many slices can be lost as recovery slices are left.
// A volume is a sequence of packets, each on its own: whatever of a volume is whole can be used.
//
//	packet    "PAR2\0PKT" | length u64 | MD5 of the rest [16] | set id [16] | type [16] | body     length and offsets are multiples of 4
//	main      slice size u64 | files in the set u32 | ids of these files, sorted | ids of files that are only checked
//	FileDesc  file id [16] | MD5 [16] | MD5 of the first 16 KiB [16] | length u64 | name, padded with zeros
//	IFSC      file id [16] | for each slice, the last padded with zeros: MD5 [16], CRC-32 u32
//	RecvSlic  exponent u32 | a slice of parity
//	Creator   text
//
// Numbers are little-endian. The set id is the MD5 of main's body, a file id that of FileDesc's MD5 of 16 KiB, length and name. Recovery slice e is
// the sum of all slices i times base(i)^e in the field of package gf16.
//
// This package writes sets of one file, in one volume: main, FileDesc, IFSC and Creator stand at its head, at its end, and between recovery
// packets. It reads sets of any number of files and volumes, whoever made them, and ignores packets of other types.
//
// A Set and a Report do not change once they are made, and can be used by several goroutines if their sources can.
package par2

import (
	"errors"
	"fmt"
	"math"
)

const (
	// MaxBlocks is the most slices that a set can have.
	MaxBlocks = 32768
	// MaxRecovery is the most recovery slices that are written for one set.
	MaxRecovery = 32768
	// MaxSlice is the largest slice in bytes that is read or written.
	MaxSlice = 1 << 46
	// Extension is what names of volumes end with.
	Extension = ".par2"

	maxName   = 16 << 10
	maxFiles  = 65536
	minSlice  = 4096 // smaller slices would be mostly checksums
	hashStart = 16 << 10
)

// Params say how much parity there is. The zero value is Default.
type Params struct {
	// Blocks is the number of slices into which a file of the largest size is cut, 1 to MaxBlocks. Smaller ones have as many slices less.
	Blocks int
	// Recovery is the number of recovery slices for that many slices, 1 to MaxRecovery. Fewer slices have proportionally fewer, at least one.
	Recovery int
}

// Default is 5 % parity in few, large slices: cheap to make, and a burst is repaired as long as it touches no more than ten of 200 slices.
func Default() Params { return Params{Blocks: 200, Recovery: 10} }

// Percent returns params for that much parity, in percent of the data, in the given number of blocks (0: that of Default).
func Percent(percent float64, blocks int) Params {
	if blocks == 0 {
		blocks = Default().Blocks
	}
	return Params{Blocks: blocks, Recovery: max(1, int(math.Ceil(float64(blocks)*percent/100-1e-9)))}
}

// Check returns an error unless both numbers are within their limits.
func (p Params) Check() error {
	p = p.orDefault()
	if p.Blocks < 1 || p.Blocks > MaxBlocks || p.Recovery < 1 || p.Recovery > MaxRecovery {
		return fmt.Errorf("parity of %d recovery blocks for %d: want 1 to %d for 1 to %d", p.Recovery, p.Blocks, MaxRecovery, MaxBlocks)
	}
	return nil
}

func (p Params) orDefault() Params {
	if p == (Params{}) {
		return Default()
	}
	return p
}

// SliceSize returns the size of slices for files of up to size bytes: a multiple of 64, or of 4 where there is only one small slice.
func (p Params) SliceSize(size int64) int64 {
	if size < minSlice {
		return max(4, up(size, 4))
	}
	s := max(minSlice, up((size+int64(p.orDefault().Blocks)-1)/int64(p.orDefault().Blocks), 64))
	if s > minSlice && s%minSlice == 0 {
		s += 64 // neighbouring slices would fall on the same lines of the processor's caches
	}
	return s
}

// recovery returns the number of recovery slices for n slices.
func (p Params) recovery(n int) int {
	if n == 0 {
		return 0
	}
	p = p.orDefault()
	return max(1, (n*p.Recovery+p.Blocks-1)/p.Blocks)
}

// VolumeSize returns about how many bytes the volume of a file of size bytes has, never less than the truth for a name of 64 bytes.
func (p Params) VolumeSize(size int64) int64 {
	s := p.SliceSize(size)
	n := int((size + s - 1) / s)
	r := p.recovery(n)
	critical := int64(4*headerSize+12+16+56+64+16+20*n) + 64
	return int64(r)*(headerSize+4+s) + critical*int64(copies(r, critical, s))
}

// up rounds n up to a multiple of unit.
func up(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

var (
	// ErrNoSet is the error of Parse where no main packet is whole.
	ErrNoSet = errors.New("no whole main packet of a PAR 2.0 set")
	// ErrTooLarge is the error of an Encoder that is given more than the size it was made for.
	ErrTooLarge = errors.New("more data than the parity was laid out for")
)

// IncompleteError: a set lacks what nothing can be done without.
type IncompleteError struct {
	Files int // files whose description is lost
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("the descriptions of %d files of the set are lost", e.Files)
}

// LimitError: a set or a repair is beyond what this package handles; the volume may have been made to do harm.
type LimitError struct {
	What  string
	Limit int64
}

func (e *LimitError) Error() string { return fmt.Sprintf("%s: more than %d", e.What, e.Limit) }

// FormatError: the packets are whole, but what they say cannot be.
type FormatError struct{ What string }

func (e *FormatError) Error() string { return "impossible PAR 2.0 set: " + e.What }

// BeyondRepairError: more slices are lost than there are recovery slices.
type BeyondRepairError struct {
	Lost     int // slices that are nowhere
	Recovery int // recovery slices that are whole and of use
}

func (e *BeyondRepairError) Error() string {
	return fmt.Sprintf("beyond repair: %d slices are lost, %d recovery slices are left", e.Lost, e.Recovery)
}

// MismatchError: what was put together is not the file that the set describes.
type MismatchError struct{ Name string }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("repaired file %q does not have the MD5 that the set gives", e.Name)
}
