// Package digest names things by their content: chunks by a keyed hash, so that nobody without the key can tell what
// a chunk holds, and objects by the sum that sha256sum prints.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/zeebo/blake3"
)

// Chunk is the id of a chunk: the BLAKE3 keyed hash of its content (FORMAT §7).
type Chunk [32]byte

// Object is the SHA-256 of a stored object, and its name.
type Object [32]byte

// Key is a 32-byte key of a keyed hash.
type Key [32]byte

// IsZero reports whether c is the zero id, which no content has; it stands for a hole.
func (c Chunk) IsZero() bool { return c == Chunk{} }

// String returns the id as 64 lower-case hex digits.
func (c Chunk) String() string { return hex.EncodeToString(c[:]) }

// IsZero reports whether o is unset.
func (o Object) IsZero() bool { return o == Object{} }

// String returns the sum as 64 lower-case hex digits, as sha256sum does.
func (o Object) String() string { return hex.EncodeToString(o[:]) }

// ParseChunk reads 64 lower-case hex digits.
func ParseChunk(s string) (Chunk, error) {
	b, err := parse32(s)
	return Chunk(b), err
}

// ParseObject reads 64 lower-case hex digits.
func ParseObject(s string) (Object, error) {
	b, err := parse32(s)
	return Object(b), err
}

func parse32(s string) (out [32]byte, err error) {
	if len(s) != 64 {
		return out, fmt.Errorf("digest %.80q: want 64 hex digits", s)
	}
	if _, err := hex.Decode(out[:], []byte(s)); err != nil {
		return [32]byte{}, fmt.Errorf("digest %q: %w", s, err)
	}
	if hex.EncodeToString(out[:]) != s {
		return [32]byte{}, fmt.Errorf("digest %q: want lower-case hex digits", s)
	}
	return out, nil
}

// SumObject returns the name of an object with this content.
func SumObject(b []byte) Object { return sha256.Sum256(b) }

// Hasher computes keyed hashes. It is not safe for concurrent use; each worker has its own.
type Hasher struct{ h *blake3.Hasher }

// NewHasher returns a hasher under key.
func NewHasher(key Key) *Hasher {
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic("digest: " + err.Error()) // only for a key that is not 32 bytes, which the type rules out
	}
	return &Hasher{h}
}

// Sum returns the keyed hash of b.
func (h *Hasher) Sum(b []byte) (c Chunk) {
	h.h.Reset()
	_, _ = h.h.Write(b)
	h.h.Sum(c[:0])
	return c
}

// Reset starts a hash that Write continues and Finish returns.
func (h *Hasher) Reset() { h.h.Reset() }

// Write adds b to the hash; it never fails.
func (h *Hasher) Write(b []byte) (int, error) { return h.h.Write(b) }

// Finish returns the keyed hash of what was written since Reset.
func (h *Hasher) Finish() (c Chunk) {
	h.h.Sum(c[:0])
	return c
}
