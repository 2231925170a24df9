package envelope

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"

	"firn/internal/frame"
	"firn/internal/seal"
	"firn/internal/sign"
)

// Open checks an object and returns its body and its author. Errors match seal.ErrNoIdentity where no identity fits; seal.ErrCorrupt, frame.ErrCorrupt
// or ErrFormat where bytes are wrong; sign.ErrMAC, sign.ErrSignature or sign.ErrAuthor where the proof is; ErrUnproven; ErrLimit.
func Open(kind sign.Kind, object []byte, ids []age.Identity, c Check) (body []byte, author sign.Author, err error) {
	r, err := NewReader(kind, bytes.NewReader(object), ids, c)
	if err != nil {
		return nil, author, err
	}
	if body, err = io.ReadAll(r); err != nil {
		return nil, author, err
	}
	return body, r.Author(), nil
}

// Reader opens an object piece by piece. What it reads is not to be trusted before Read returned io.EOF: only then have the end of the
// object, MAC and signature been checked.
type Reader struct {
	kind   sign.Kind
	check  Check
	limit  int64
	plain  *bufio.Reader
	dec    *frame.Decoder
	frame  []byte
	out    []byte // content of frame
	rest   []byte // of out, not yet read
	body   hash.Hash
	length int64
	frames int
	padded bool
	proof  sign.Proof
	long   func() // see BeforeLong
	err    error
}

// longBody is how much of a body is read before it counts as long.
const longBody = 4 << 20

// BeforeLong has fn called once, before room is made for a frame that is longer than what this package writes, or for more of a body than 4 MiB. A few KiB can
// decode to the longest body of their kind: who opens many objects at once lets those wait for one another here.
func (r *Reader) BeforeLong(fn func()) { r.long = fn }

// NewReader begins to open an object. It needs about twice the longest frame of memory: 2 MiB for what this package wrote, 32 MiB at most. Errors as Open.
func NewReader(kind sign.Kind, r io.Reader, ids []age.Identity, c Check) (*Reader, error) {
	limit := Limit(kind)
	if limit == 0 {
		return nil, fmt.Errorf("%w: %.32q", ErrKind, kind)
	}
	plain, err := seal.Open(r, ids...)
	if err != nil {
		return nil, corrupt(err)
	}
	return &Reader{
		kind: kind, check: c, limit: limit,
		plain: bufio.NewReader(plain), dec: frame.NewDecoder(), body: sha256.New(),
	}, nil
}

// corrupt marks what age says of a damaged file.
func corrupt(err error) error {
	if errors.Is(err, seal.ErrNoIdentity) || errors.Is(err, seal.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w: %w", seal.ErrCorrupt, err)
}

// Author returns who wrote it; valid after Read returned io.EOF.
func (r *Reader) Author() sign.Author { return r.proof.Author }

// Read reads of the body. It returns io.EOF only after everything was checked.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.err = r.next()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next reads one frame; io.EOF after the last.
func (r *Reader) next() error {
	head, err := r.plain.Peek(frame.SkippableHead)
	if err != nil && err != io.EOF {
		return corrupt(err) // io.ErrUnexpectedEOF too: age misses its last segment
	}
	if err != nil {
		return r.short(err)
	}
	if binary.LittleEndian.Uint32(head) == frame.Magic {
		return r.skippable(int64(binary.LittleEndian.Uint32(head[4:])))
	}
	if r.padded {
		return fmt.Errorf("%w: content behind padding", ErrFormat)
	}
	size, err := r.content()
	if err != nil {
		return err
	}
	if r.length += size; r.length > r.limit {
		return fmt.Errorf("%w: over %d bytes", ErrLimit, r.limit)
	}
	if r.long != nil && (size > FrameSize || r.length > longBody) {
		r.long()
		r.long = nil
	}
	if r.out, err = r.dec.Append(r.out[:0], r.frame, int(size)); err != nil {
		return err
	}
	r.frames++
	r.body.Write(r.out)
	r.rest = r.out
	return nil
}

// short is the error for a plaintext that ends early, or cannot be read.
func (r *Reader) short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: ends early", ErrFormat)
	}
	return corrupt(err)
}

// content reads one content frame into r.frame and returns the size that it declares. The decoder checks it further.
func (r *Reader) content() (int64, error) {
	r.frame = r.frame[:0]
	if err := r.take(5); err != nil {
		return 0, err
	}
	d := r.frame[4]
	width := 1 << (d >> 6)
	if binary.LittleEndian.Uint32(r.frame) != 0xFD2FB528 || d&0x2f != 0x20 && d&0x2f != 0x24 {
		return 0, fmt.Errorf("%w: frame that starts with %x", ErrFormat, r.frame)
	}
	if err := r.take(width); err != nil {
		return 0, err
	}
	var b [8]byte
	copy(b[:], r.frame[5:])
	size := binary.LittleEndian.Uint64(b[:])
	if width == 2 {
		size += 256
	}
	if size > MaxFrame {
		return 0, fmt.Errorf("%w: frame of %d bytes", ErrLimit, size)
	}
	if err := r.blocks(); err != nil {
		return 0, err
	}
	if d&4 != 0 { // checksum
		return int64(size), r.take(4)
	}
	return int64(size), nil
}

// blocks adds the blocks up to the last to r.frame.
func (r *Reader) blocks() error {
	for {
		at := len(r.frame)
		if err := r.take(3); err != nil {
			return err
		}
		h := uint32(r.frame[at]) | uint32(r.frame[at+1])<<8 | uint32(r.frame[at+2])<<16
		n := int(h >> 3)
		if h>>1&3 == 1 { // one byte, repeated
			n = 1
		}
		if len(r.frame)+n > MaxFrame+1<<20 {
			return fmt.Errorf("%w: frame of more than %d bytes", ErrLimit, MaxFrame)
		}
		if err := r.take(n); err != nil {
			return err
		}
		if h&1 != 0 {
			return nil
		}
	}
}

// take adds n bytes of plaintext to r.frame; it allocates no more than that comes.
func (r *Reader) take(n int) error {
	for n > 0 {
		step := min(n, 128<<10)
		at := len(r.frame)
		r.frame = append(r.frame, make([]byte, step)...)
		if _, err := io.ReadFull(r.plain, r.frame[at:]); err != nil {
			return r.short(err)
		}
		n -= step
	}
	return nil
}

// skippable reads padding, or the proof and the end.
func (r *Reader) skippable(payload int64) error {
	tag, err := r.plain.Peek(frame.SkippableHead + 8)
	if err != nil {
		return r.short(err)
	}
	switch string(tag[frame.SkippableHead:]) {
	case frame.PadTag:
		if r.padded || r.frames == 0 || payload < int64(len(frame.PadTag)) {
			return fmt.Errorf("%w: padding in the wrong place", ErrFormat)
		}
		r.padded = true
		if n, err := r.plain.Discard(int(min(payload, frame.MaxPayload)) + frame.SkippableHead); err != nil {
			return r.short(err)
		} else if int64(n) != payload+frame.SkippableHead {
			return fmt.Errorf("%w: padding of %d bytes", ErrLimit, payload)
		}
		return nil
	case sigTag:
		return r.finish()
	}
	return fmt.Errorf("%w: frame %q", ErrFormat, tag[frame.SkippableHead:])
}

// finish reads the frame of the proof, which has to be the last, and checks it.
func (r *Reader) finish() error {
	r.frame = r.frame[:0]
	if err := r.take(sigSize); err != nil {
		return err
	}
	payload, _, err := frame.Skippable(r.frame)
	if err != nil || len(payload) != len(sigTag)+sign.ProofSize || r.frames == 0 {
		return fmt.Errorf("%w: proof", ErrFormat)
	}
	if _, err := r.plain.ReadByte(); err != io.EOF {
		if err == nil {
			return fmt.Errorf("%w: bytes behind the proof", ErrFormat)
		}
		return corrupt(err)
	}
	if r.proof, err = sign.ParseProof(payload[len(sigTag):]); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := r.check.verify(r.kind, [32]byte(r.body.Sum(nil)), &r.proof); err != nil {
		r.proof = sign.Proof{}
		return err
	}
	return io.EOF
}

// verify checks a proof. Certificates and revocations count by the root key's signature only: the MAC key is known to every host of the scope.
func (c *Check) verify(kind sign.Kind, body [32]byte, p *sign.Proof) error {
	msg := sign.Message(kind, c.Repo, c.Scope, body)
	rootOnly := kind == sign.Host || kind == sign.Revoke
	if rootOnly && !p.Author.IsRoot() {
		return sign.ErrAuthor
	}
	proven := false
	if c.MAC != nil {
		if err := sign.CheckMAC(*c.MAC, msg, p.MAC); err != nil {
			return err
		}
		proven = !rootOnly
	}
	if c.Author != nil {
		if pub, ok := c.Author(p.Author); ok {
			if err := p.CheckSignature(pub, msg); err != nil {
				return err
			}
			proven = true
		}
	}
	if !proven {
		return ErrUnproven
	}
	return nil
}
