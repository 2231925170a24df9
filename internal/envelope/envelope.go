// Package envelope seals and opens the small objects of a repository (FORMAT §5): age files whose plaintext is zstd frames with the
// body, an optional FIRNPAD1 frame, then a FIRNSIG1 frame:
//
//	0   8  "FIRNSIG1"
//	8 112  proof (package sign) of the SHA-256 of the body
//
// The proof binds the body to its kind, repository and scope, so that an envelope cannot stand in for another. An empty body has one
// frame without content.
//
// A body goes through in frames of FrameSize, so neither sealing nor opening needs it whole in memory.
package envelope

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"

	"firn/internal/digest"
	"firn/internal/frame"
	"firn/internal/seal"
	"firn/internal/sign"
)

// Limits in bytes.
const (
	// MaxBody is the longest body.
	MaxBody = 256 << 20
	// FrameSize is the content of the frames that are written; the last may have less.
	FrameSize = 1 << 20
	// MaxFrame is the most content of a frame that is read (FORMAT §2.1).
	MaxFrame = 16 << 20
)

const (
	sigTag  = "FIRNSIG1"
	sigSize = frame.SkippableHead + len(sigTag) + sign.ProofSize
)

var (
	// ErrFormat tells of a plaintext that is not an envelope's.
	ErrFormat = errors.New("invalid envelope")
	// ErrUnproven tells that neither MAC key nor certificate are at hand to see who wrote an envelope.
	ErrUnproven = errors.New("author of envelope cannot be verified")
	// ErrLimit tells of a body that is longer than its kind or the caller allows.
	ErrLimit = errors.New("body of envelope is too long")
	// ErrKind tells of a kind that has no envelopes.
	ErrKind = errors.New("no kind of envelope")
)

// Limit returns the longest body of a kind, in bytes; 0 for what is no kind of envelope.
func Limit(kind sign.Kind) int64 {
	switch kind {
	case sign.Host, sign.Revoke, sign.Done:
		return 64 << 10
	case sign.Packset:
		return 128 << 10
	case sign.State:
		return 16 << 20
	case sign.Snapshot:
		return 64 << 20
	case sign.Index, sign.Prune:
		return MaxBody
	}
	return 0
}

// Keys are what sealing needs.
type Keys struct {
	Signer     *sign.Signer // also says which repository and scope
	Recipients []age.Recipient
	Padding    bool
	Level      frame.Level
}

// Check is what opening verifies with. MAC or Author has to settle who wrote it; both are checked where both are known.
type Check struct {
	Repo   [16]byte
	Scope  [8]byte
	MAC    *[32]byte                                          // MAC key of the scope; nil: unknown
	Author func(author sign.Author) (ed25519.PublicKey, bool) // root key for sign.Root, if it may sign this kind; false: unknown; nil: none is known
}

// Seal returns the object for a body, and its name. It fails with ErrLimit, ErrKind or the error of a recipient.
func Seal(kind sign.Kind, body []byte, k Keys) ([]byte, digest.Object, error) {
	var out bytes.Buffer
	w, err := NewWriter(kind, &out, k)
	if err != nil {
		return nil, digest.Object{}, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, digest.Object{}, err
	}
	name, _, err := w.Close()
	if err != nil {
		return nil, digest.Object{}, err
	}
	return out.Bytes(), name, nil
}

// Writer seals a body that is written to it piece by piece. After an error every call returns that error.
type Writer struct {
	kind   sign.Kind
	limit  int64
	keys   Keys
	sealed io.WriteCloser
	object *meter // below sealed
	enc    *frame.Encoder
	buf    []byte // content of the frame to come
	out    []byte // the frame
	body   hash.Hash
	length int64 // of the body so far
	plain  int64 // of the plaintext so far
	err    error
}

// meter hashes and counts what goes through it.
type meter struct {
	w    io.Writer
	sum  hash.Hash
	size int64
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.sum.Write(p[:n])
	m.size += int64(n)
	return n, err
}

// NewWriter begins an object on w. It needs a few MiB of memory, however long the body is.
func NewWriter(kind sign.Kind, w io.Writer, k Keys) (*Writer, error) {
	limit := Limit(kind)
	if limit == 0 {
		return nil, fmt.Errorf("%w: %.32q", ErrKind, kind)
	}
	s, err := seal.Header(k.Recipients...)
	if err != nil {
		return nil, err
	}
	m := &meter{w: w, sum: sha256.New()}
	return &Writer{kind: kind, limit: limit, keys: k, sealed: s.Writer(m), object: m, enc: frame.NewEncoder(k.Level), body: sha256.New()}, nil
}

// Write adds to the body.
func (w *Writer) Write(p []byte) (int, error) {
	total := len(p)
	if w.err == nil && w.length+int64(total) > w.limit {
		w.err = fmt.Errorf("%w: over %d bytes", ErrLimit, w.limit)
	}
	for len(p) > 0 && w.err == nil {
		if len(w.buf) == 0 && len(p) >= FrameSize {
			w.flush(p[:FrameSize])
			p = p[FrameSize:]
			continue
		}
		n := min(len(p), FrameSize-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		if len(w.buf) == FrameSize {
			w.flush(w.buf)
			w.buf = w.buf[:0]
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	return total, nil
}

// flush writes one frame of the body.
func (w *Writer) flush(content []byte) {
	w.body.Write(content)
	w.length += int64(len(content))
	w.out = w.enc.Append(w.out[:0], content)
	w.emit(w.out)
}

func (w *Writer) emit(plain []byte) {
	if w.err == nil {
		w.plain += int64(len(plain))
		_, w.err = w.sealed.Write(plain)
	}
}

var errClosed = errors.New("envelope is closed already")

// Close ends the object and returns its name and its size in bytes. It does not close the writer below.
func (w *Writer) Close() (digest.Object, int64, error) {
	if w.err == nil && (len(w.buf) > 0 || w.length == 0) {
		w.flush(w.buf)
	}
	if w.err == nil {
		w.end()
	}
	if w.err == nil {
		w.err = w.sealed.Close()
	}
	if w.err != nil {
		return digest.Object{}, 0, w.err
	}
	w.err = errClosed
	return digest.Object(w.object.sum.Sum(nil)), w.object.size, nil
}

// end writes padding and proof.
func (w *Writer) end() {
	if w.keys.Padding {
		w.emit(frame.AppendPadding(nil, w.plain, sigSize))
	}
	proof := w.keys.Signer.Sign(w.kind, [32]byte(w.body.Sum(nil)))
	w.emit(frame.AppendSkippable(nil, proof.Append([]byte(sigTag))))
}
