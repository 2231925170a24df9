// Package seal makes and opens age files (age-encryption.org/v1, C2SP age.md) quickly: header and payload key once, then
// any number of segments side by side, and any range of them without the rest. What it writes, age reads; opening of headers is age's own.
//
//	prefix:  header   "age-encryption.org/v1", recipient stanzas, "---" and a MAC: text
//	         nonce    16 bytes; payload key = HKDF-SHA256(file key, nonce, "payload")
//	then     segments of 64 KiB of plaintext, the last one shorter or as long, each followed by its 16-byte tag: ChaCha20-Poly1305
//	         with the number of the segment (11 bytes, big-endian) and one byte, 1 in the last segment, as nonce
//
// An empty plaintext has one empty segment.
package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	// SegmentSize is the plaintext of a segment in bytes.
	SegmentSize = 64 << 10
	// SealedSegment is a whole segment as it is stored, in bytes.
	SealedSegment = SegmentSize + tagSize
	// MaxPrefix is the longest prefix that is written or read here, in bytes: about 40 post-quantum recipients or 600 classic ones.
	MaxPrefix = 64 << 10

	tagSize   = chacha20poly1305.Overhead
	nonceSize = 16
	intro     = "age-encryption.org/v1\n"
	macLine   = len("--- ") + 43 + 1 // base64 of 32 bytes, newline
)

var (
	// ErrNoIdentity is matched when none of the identities opens the file.
	ErrNoIdentity = errors.New("no identity opens this object")
	// ErrCorrupt is matched by every error about bytes that are not a whole, authentic age file.
	ErrCorrupt = errors.New("corrupt sealed object")
	// ErrTruncated is matched, besides ErrCorrupt, where more bytes are needed to tell.
	ErrTruncated = fmt.Errorf("%w: ends early", ErrCorrupt)
	// ErrNoRecipient is returned for an empty list of recipients.
	ErrNoRecipient = errors.New("no recipients")
)

// LabelError tells that two recipients must not share a file: a post-quantum one and a classic one, for instance, because the weaker
// decides for the file.
type LabelError struct{ First, Other []string } // labels, sorted

func (e *LabelError) Error() string {
	if slices.Contains(e.First, "postquantum") != slices.Contains(e.Other, "postquantum") {
		return "post-quantum and classic recipients cannot be mixed"
	}
	return fmt.Sprintf("recipients labelled %q and %q cannot be mixed", e.First, e.Other)
}

// Sealer seals one plaintext. Its key must not be used for a second one, so Writer or Seal may be called once: a second call panics.
type Sealer struct {
	prefix []byte
	aead   cipher.AEAD
	used   atomic.Bool
}

// Header makes a fresh file key and wraps it for all recipients. The rule of age holds: recipients with different sets of labels are refused
// with *LabelError.
func Header(recipients ...age.Recipient) (*Sealer, error) {
	var secret [16 + nonceSize]byte
	rand.Read(secret[:]) // never fails: crypto/rand ends the program rather than return an error
	return newSealer(secret[:16], secret[16:], recipients)
}

func newSealer(fileKey, nonce []byte, recipients []age.Recipient) (*Sealer, error) {
	stanzas, err := wrap(fileKey, recipients)
	if err != nil {
		return nil, err
	}
	header := append(make([]byte, 0, 256), intro...)
	for _, s := range stanzas {
		if header, err = appendStanza(header, s); err != nil {
			return nil, err
		}
	}
	header = append(header, "---"...)
	macKey, err := hkdf.Key(sha256.New, fileKey, nil, "header", 32)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, macKey)
	mac.Write(header)
	header = append(header, ' ')
	header = base64.RawStdEncoding.AppendEncode(header, mac.Sum(nil))
	header = append(header, '\n')
	header = append(header, nonce...)
	if len(header) > MaxPrefix {
		return nil, fmt.Errorf("header of %d bytes for %d recipients, want at most %d", len(header), len(recipients), MaxPrefix)
	}
	aead, err := payloadAEAD(fileKey, nonce)
	if err != nil {
		return nil, err
	}
	return &Sealer{prefix: header, aead: aead}, nil
}

// wrap returns the stanzas that give fileKey to the recipients.
func wrap(fileKey []byte, recipients []age.Recipient) ([]*age.Stanza, error) {
	if len(recipients) == 0 {
		return nil, ErrNoRecipient
	}
	var all []*age.Stanza
	var first []string
	for i, r := range recipients {
		var labels []string
		var stanzas []*age.Stanza
		var err error
		if l, ok := r.(age.RecipientWithLabels); ok {
			stanzas, labels, err = l.WrapWithLabels(fileKey)
		} else {
			stanzas, err = r.Wrap(fileKey)
		}
		if err != nil {
			return nil, fmt.Errorf("recipient %d: %w", i+1, err)
		}
		labels = slices.Sorted(slices.Values(labels))
		if i == 0 {
			first = labels
		} else if !slices.Equal(first, labels) {
			return nil, &LabelError{First: first, Other: labels}
		}
		all = append(all, stanzas...)
	}
	if len(all) == 0 {
		return nil, ErrNoRecipient
	}
	return all, nil
}

// appendStanza appends "-> type args" and the body in lines of 64 characters, of which the last is shorter, possibly empty.
func appendStanza(dst []byte, s *age.Stanza) ([]byte, error) {
	dst = append(dst, "->"...)
	for _, arg := range append([]string{s.Type}, s.Args...) {
		if arg == "" || slices.ContainsFunc([]byte(arg), func(c byte) bool { return c < 33 || c > 126 }) {
			return nil, fmt.Errorf("recipient stanza with argument %q", arg)
		}
		dst = append(append(dst, ' '), arg...)
	}
	dst = append(dst, '\n')
	for body := s.Body; ; {
		n := min(len(body), 48)
		dst = base64.RawStdEncoding.AppendEncode(dst, body[:n])
		dst = append(dst, '\n')
		if n < 48 {
			return dst, nil
		}
		body = body[n:]
	}
}

func payloadAEAD(fileKey, nonce []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, fileKey, nonce, "payload", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.New(key)
}

// nonce is that of a segment: 11 bytes counter, 1 byte flag.
type nonce [chacha20poly1305.NonceSize]byte

func (n *nonce) set(segment int64, last bool) {
	binary.BigEndian.PutUint64(n[3:11], uint64(segment))
	n[11] = 0
	if last {
		n[11] = 1
	}
}

// Prefix returns header and nonce, with which the object starts. The caller must not change it.
func (s *Sealer) Prefix() []byte { return s.prefix }

// SealedSize returns the size in bytes of an object with a prefix of that length and plain bytes of plaintext.
func SealedSize(prefixLen int, plain int64) int64 {
	return int64(prefixLen) + plain + tagSize*segments(plain)
}

// segments returns how many segments plain bytes have.
func segments(plain int64) int64 { return max(1, (plain+SegmentSize-1)/SegmentSize) }

func (s *Sealer) use() {
	if s.used.Swap(true) {
		panic("seal: a Sealer was used for a second plaintext")
	}
}

// Seal appends the sealed object to dst: the prefix and all segments, computed by up to workers goroutines, which have ended when Seal returns. The
// result is what Writer writes. plain must not overlap the free space of dst.
func (s *Sealer) Seal(dst, plain []byte, workers int) []byte {
	s.use()
	size := SealedSize(len(s.prefix), int64(len(plain)))
	dst = slices.Grow(dst, int(size))
	start := len(dst) + len(s.prefix)
	dst = append(dst, s.prefix...)[:len(dst)+int(size)]
	body := dst[start:]
	count := int(segments(int64(len(plain))))
	workers = max(1, min(workers, count))
	var wg sync.WaitGroup
	for w := 1; w < workers; w++ {
		wg.Go(func() { s.sealSegments(body, plain, w*count/workers, (w+1)*count/workers) })
	}
	s.sealSegments(body, plain, 0, count/workers)
	wg.Wait()
	return dst
}

// sealSegments seals segments first up to end of plain into their places in body.
func (s *Sealer) sealSegments(body, plain []byte, first, end int) {
	n := new(nonce)
	for i := first; i < end; i++ {
		seg := plain[i*SegmentSize:]
		last := len(seg) <= SegmentSize
		if !last {
			seg = seg[:SegmentSize]
		}
		n.set(int64(i), last)
		s.aead.Seal(body[i*SealedSegment:i*SealedSegment], n[:], seg, nil)
	}
}

// Writer returns a writer that seals what is written to it and writes the object, prefix first, to w, one segment at a time. Close
// writes the last segment; it does not close w. After an error every call returns that error.
func (s *Sealer) Writer(w io.Writer) io.WriteCloser {
	s.use()
	return &writer{s: s, w: w}
}

type writer struct {
	s     *Sealer
	w     io.Writer
	count int64 // segments written
	fill  int   // plaintext bytes that wait in buf
	nonce nonce
	begun bool
	err   error
	buf   [SealedSegment]byte
}

var errClosed = errors.New("sealed object is closed already")

// Write seals whole segments; the last 64 KiB wait, since the last segment is flagged.
func (w *writer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 && w.err == nil {
		if w.fill == SegmentSize {
			w.flush(w.buf[:SegmentSize], false)
			w.fill = 0
			continue
		}
		if w.fill == 0 && len(p) > SegmentSize {
			w.flush(p[:SegmentSize], false)
			p = p[SegmentSize:]
			continue
		}
		n := copy(w.buf[w.fill:SegmentSize], p)
		w.fill += n
		p = p[n:]
	}
	if w.err != nil {
		return 0, w.err
	}
	return total, nil
}

// flush seals plain, in place where it is in the buffer, and writes it.
func (w *writer) flush(plain []byte, last bool) {
	if w.err == nil && !w.begun {
		w.begun = true
		_, w.err = w.w.Write(w.s.prefix)
	}
	if w.err != nil {
		return
	}
	w.nonce.set(w.count, last)
	w.count++
	_, w.err = w.w.Write(w.s.aead.Seal(w.buf[:0], w.nonce[:], plain, nil))
}

// Close writes the last segment.
func (w *writer) Close() error {
	w.flush(w.buf[:w.fill], true)
	if w.err != nil {
		return w.err
	}
	w.err = errClosed
	return nil
}
