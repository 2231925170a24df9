// Package packset writes and reads the lists of packs that a snapshot needs (FORMAT §9).
//
// A body is the names of packs, 32 bytes each, in bytewise order, without duplicates, 1 to MaxNames of them. The set of a snapshot
// is cut into parts by the names themselves: a part ends after a name whose last byte is zero once it has at least MinNames names,
// and at MaxNames in any case. So two sets that differ in a few packs share nearly all their parts, and a part whose
// digest is known already is not stored again.
package packset

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"firn/internal/digest"
)

// Limits of a part, in names.
const (
	// MinNames is the number from which on a name can end a part.
	MinNames = 256
	// MaxNames is the most that a part holds.
	MaxNames = 4096
)

// MaxBody is the longest body, in bytes.
const MaxBody = MaxNames * 32

// Part is one object's share of a set.
type Part struct {
	Names []digest.Object // in order; a part of the slice that was split
}

// Body returns the bytes to be sealed.
func (p Part) Body() []byte { return Append(make([]byte, 0, 32*len(p.Names)), p.Names) }

// Digest returns the SHA-256 of the body, by which a part that is stored already is known again.
func (p Part) Digest() [32]byte { return sha256.Sum256(p.Body()) }

// Normalize sorts names in place and returns them without duplicates.
func Normalize(names []digest.Object) []digest.Object {
	slices.SortFunc(names, compare)
	return slices.Compact(names)
}

func compare(a, b digest.Object) int { return bytes.Compare(a[:], b[:]) }

// Split cuts a set into parts. It panics unless names are sorted and without duplicates, as Normalize returns them. An empty set
// has no parts.
func Split(names []digest.Object) []Part {
	for i := 1; i < len(names); i++ {
		if compare(names[i-1], names[i]) >= 0 {
			panic("packset: names are not sorted")
		}
	}
	var parts []Part
	for len(names) > 0 {
		n := cut(names)
		parts = append(parts, Part{names[:n:n]})
		names = names[n:]
	}
	return parts
}

// cut returns how many of names make the first part.
func cut(names []digest.Object) int {
	for n := MinNames; n < len(names) && n < MaxNames; n++ {
		if names[n-1][31] == 0 {
			return n
		}
	}
	return min(len(names), MaxNames)
}

// Append adds the body with these names to dst.
func Append(dst []byte, names []digest.Object) []byte {
	for i := range names {
		dst = append(dst, names[i][:]...)
	}
	return dst
}

// ErrBody tells of a body that is not a part of a pack set.
var ErrBody = errors.New("invalid pack set")

// Parse reads a body. It fails with ErrBody on a wrong length, an order that is not strictly rising, or more than MaxNames names.
func Parse(body []byte) ([]digest.Object, error) {
	if len(body) == 0 || len(body)%32 != 0 || len(body) > MaxBody {
		return nil, fmt.Errorf("%w: %d bytes", ErrBody, len(body))
	}
	names := make([]digest.Object, len(body)/32)
	for i := range names {
		names[i] = digest.Object(body[32*i:])
		if i > 0 && compare(names[i-1], names[i]) >= 0 {
			return nil, fmt.Errorf("%w: name %d is out of order", ErrBody, i)
		}
	}
	return names, nil
}

// Contains reports whether the sorted names have name.
func Contains(names []digest.Object, name digest.Object) bool {
	_, ok := slices.BinarySearchFunc(names, name, compare)
	return ok
}
