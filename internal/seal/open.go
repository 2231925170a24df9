package seal

import (
	"bytes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"filippo.io/age"
)

// SegmentError tells which segment is not authentic. It matches ErrCorrupt.
type SegmentError struct {
	Segment int64 // counted from 0
	Offset  int64 // of its plaintext, in bytes
}

func (e *SegmentError) Error() string {
	return fmt.Sprintf("%v: segment %d, plaintext offset %d, is not authentic", ErrCorrupt, e.Segment, e.Offset)
}

// Is reports that e is an ErrCorrupt.
func (e *SegmentError) Is(target error) bool { return target == ErrCorrupt }

// Open returns the plaintext of the age file r, authenticated as it is read. It is age's own reader; an error matches ErrNoIdentity if no
// identity fits.
func Open(r io.Reader, ids ...age.Identity) (io.Reader, error) {
	out, err := age.Decrypt(r, ids...)
	if err != nil {
		return nil, openError(err)
	}
	return out, nil
}

func openError(err error) error {
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return fmt.Errorf("%w: %w", ErrNoIdentity, err)
	}
	return err
}

// PrefixLen returns the length of the prefix, header and nonce, of the object that starts with head. The error matches ErrTruncated if head
// is too short to tell, ErrCorrupt if it is no age file or the prefix is longer than MaxPrefix.
func PrefixLen(head []byte) (int, error) {
	if !bytes.HasPrefix(head, []byte(intro)) {
		if bytes.HasPrefix([]byte(intro), head) {
			return 0, ErrTruncated
		}
		return 0, fmt.Errorf("%w: not an age file", ErrCorrupt)
	}
	n := len(intro)
	for n <= MaxPrefix {
		line, _, whole := bytes.Cut(head[n:], []byte{'\n'})
		if !whole {
			break
		}
		n += len(line) + 1
		if !bytes.HasPrefix(line, []byte("---")) {
			continue
		}
		if len(line)+1 != macLine || line[3] != ' ' {
			return 0, fmt.Errorf("%w: header ends in %.60q", ErrCorrupt, line)
		}
		if n += nonceSize; n > MaxPrefix {
			break
		}
		if n > len(head) {
			return 0, ErrTruncated
		}
		return n, nil
	}
	if len(head) >= MaxPrefix {
		return 0, fmt.Errorf("%w: prefix is longer than %d bytes", ErrCorrupt, MaxPrefix)
	}
	return 0, ErrTruncated
}

// PlainSize returns how many bytes of plaintext an object of that size and prefix length has, or ErrCorrupt if no age file has this size.
func PlainSize(prefixLen int, objectSize int64) (int64, error) {
	n := objectSize - int64(prefixLen)
	count := n/SealedSegment + min(1, n%SealedSegment)
	if prefixLen < 0 || n < tagSize || SealedSize(prefixLen, n-count*tagSize) != objectSize {
		return 0, fmt.Errorf("%w: %d bytes behind a prefix of %d", ErrCorrupt, n, prefixLen)
	}
	return n - count*tagSize, nil
}

// Key opens the segments of one object. It may be used by several goroutines at once.
type Key struct {
	aead   cipher.AEAD
	prefix int64
}

// OpenPrefix recovers the payload key of the object with that prefix. The error matches ErrNoIdentity if no identity fits, ErrCorrupt if prefix
// is not exactly a prefix; an identity may fail in its own way.
func OpenPrefix(prefix []byte, ids ...age.Identity) (*Key, error) {
	n, err := PrefixLen(prefix)
	if err != nil {
		return nil, err
	}
	if n != len(prefix) {
		return nil, fmt.Errorf("%w: %d bytes behind the prefix", ErrCorrupt, len(prefix)-n)
	}
	header, nonce := prefix[:n-nonceSize], prefix[n-nonceSize:]
	fileKey, err := age.DecryptHeader(header, ids...)
	if err != nil {
		return nil, openError(err)
	}
	aead, err := payloadAEAD(fileKey, nonce)
	if err != nil {
		return nil, err
	}
	return &Key{aead: aead, prefix: int64(n)}, nil
}

// span returns the segments that cover a range, first and one past the last. A range of no bytes has none, except in
// an empty plaintext, whose one segment shows that it is empty.
func span(off, length, size int64) (first, end int64) {
	if off < 0 || length < 0 || size < 0 || off > size || length > size-off {
		panic(fmt.Sprintf("seal: range of %d bytes at %d of %d", length, off, size))
	}
	if length == 0 && size > 0 {
		return off / SegmentSize, off / SegmentSize
	}
	return off / SegmentSize, segments(off + length)
}

// Range returns where the sealed segments lie that cover plainLen bytes at plainOff of a plaintext of plainSize bytes: offset in the object and
// length. A range that is not within the plaintext is the caller's error: it panics.
func (k *Key) Range(plainOff, plainLen, plainSize int64) (objOff, objLen int64) {
	first, end := span(plainOff, plainLen, plainSize)
	objOff = k.prefix + first*SealedSegment
	if first == end {
		return objOff, 0
	}
	return objOff, min(k.prefix+end*SealedSegment, SealedSize(int(k.prefix), plainSize)) - objOff
}

// scratch holds segments of which only a part is wanted.
var scratch = sync.Pool{New: func() any { return new([SegmentSize]byte) }}

// OpenRange appends plainLen bytes at plainOff to dst, given the sealed bytes that Range names. Every segment is authenticated, its place and
// whether it is the last included. sealed is not changed and must not overlap the free space of dst. The error is a
// *SegmentError, or matches ErrTruncated where sealed has another length; dst is then returned as it was.
func (k *Key) OpenRange(dst, sealed []byte, plainOff, plainLen, plainSize int64) ([]byte, error) {
	first, end := span(plainOff, plainLen, plainSize)
	if _, n := k.Range(plainOff, plainLen, plainSize); n != int64(len(sealed)) {
		return dst, fmt.Errorf("%w: %d sealed bytes instead of %d", ErrTruncated, len(sealed), n)
	}
	out := slices.Grow(dst, int(plainLen))
	n := new(nonce)
	count := segments(plainSize)
	for i := first; i < end; i++ {
		seg := sealed[:min(SealedSegment, len(sealed))]
		sealed = sealed[len(seg):]
		n.set(i, i == count-1)
		from := max(plainOff-i*SegmentSize, 0)
		to := min(plainOff+plainLen-i*SegmentSize, int64(len(seg)-tagSize))
		var err error
		if out, err = k.openSegment(out, seg, n, int(from), int(to)); err != nil {
			return dst, &SegmentError{Segment: i, Offset: i * SegmentSize}
		}
	}
	return out, nil
}

// openSegment appends bytes from up to to of a segment's plaintext to dst.
func (k *Key) openSegment(dst, seg []byte, n *nonce, from, to int) ([]byte, error) {
	if from == 0 && to == len(seg)-tagSize {
		return k.aead.Open(dst, n[:], seg, nil)
	}
	buf := scratch.Get().(*[SegmentSize]byte)
	defer scratch.Put(buf)
	plain, err := k.aead.Open(buf[:0], n[:], seg, nil)
	if err != nil {
		return dst, err
	}
	return append(dst, plain[from:to]...), nil
}
