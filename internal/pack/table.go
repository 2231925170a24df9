package pack

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"filippo.io/age"

	"firn/internal/chunk"
	"firn/internal/frame"
	"firn/internal/seal"
	"firn/internal/sign"
)

// Table is what lies at the end of a pack.
type Table struct {
	Kind   chunk.Kind
	Scope  [8]byte
	Epoch  uint32
	Chunks []chunk.Ref // in the order of the pack
	Proof  sign.Proof  // author, MAC, signature
}

// Check is what a table is checked with.
type Check struct {
	Repo   [16]byte
	Scope  [8]byte
	MAC    *[32]byte                                        // MAC key of the scope; nil: unknown
	Author func(host sign.Author) (ed25519.PublicKey, bool) // false: unknown; nil: none is known
}

// Verify checks who wrote the table. It fails with sign.ErrMAC or sign.ErrSignature where that is not as it says, with ErrUnproven where c has neither the
// MAC key nor the author's public key, with ErrTable where the table is of another scope.
func (t *Table) Verify(c Check) error {
	if t.Scope != c.Scope {
		return fmt.Errorf("%w: scope %x instead of %x", ErrTable, t.Scope, c.Scope)
	}
	msg := sign.Message(sign.Pack, c.Repo, c.Scope, t.sum())
	proven := false
	if c.MAC != nil {
		if err := sign.CheckMAC(*c.MAC, msg, t.Proof.MAC); err != nil {
			return err
		}
		proven = true
	}
	if c.Author != nil {
		if pub, ok := c.Author(t.Proof.Author); ok {
			if err := t.Proof.CheckSignature(pub, msg); err != nil {
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

func (t *Table) sign(s *sign.Signer) *Table {
	t.Proof = s.Sign(sign.Pack, t.sum())
	return t
}

func (t *Table) sum() [32]byte {
	return sha256.Sum256(t.appendSigned(make([]byte, 0, headSize+len(t.Chunks)*chunk.EntrySize)))
}

// appendSigned adds the payload up to the proof.
func (t *Table) appendSigned(dst []byte) []byte {
	dst = append(dst, headTag...)
	dst = append(dst, byte(t.Kind), 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, t.Epoch)
	dst = append(dst, t.Scope[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(t.Chunks)))
	for _, r := range t.Chunks {
		dst = chunk.Append(dst, r)
	}
	return dst
}

// FramesSize returns the bytes of all frames: where padding or table begin.
func (t *Table) FramesSize() int64 {
	var n int64
	for _, r := range t.Chunks {
		n += int64(r.Frame)
	}
	return n
}

// Each calls fn for every chunk with the offset of its frame in the plaintext, until fn fails.
func (t *Table) Each(fn func(i int, r chunk.Ref, offset int64) error) error {
	offset := int64(0)
	for i, r := range t.Chunks {
		if err := fn(i, r, offset); err != nil {
			return err
		}
		offset += int64(r.Frame)
	}
	return nil
}

// TableSize reads the last FooterSize bytes of a plaintext and returns how many bytes at its end are the frame of the table. It fails with ErrTable.
func TableSize(footer []byte) (int64, error) {
	if len(footer) != FooterSize || string(footer[4:]) != footTag {
		return 0, fmt.Errorf("%w: no end mark", ErrTable)
	}
	n := int64(binary.LittleEndian.Uint32(footer)) + frame.SkippableHead
	if n <= int64(tableFixed) || n > int64(MaxTable) || (n-int64(tableFixed))%chunk.EntrySize != 0 {
		return 0, fmt.Errorf("%w: %d bytes", ErrTable, n)
	}
	return n, nil
}

// ParseTable reads the frame of a table, which ends a plaintext of plainSize bytes, and returns also the length of the padding
// frame that this leaves, in bytes. It fails with ErrTable, or chunk.ErrEntry. It does not check who wrote it; Verify does.
func ParseTable(b []byte, plainSize int64) (t *Table, pad int64, err error) {
	size, err := TableSize(b[max(0, len(b)-FooterSize):])
	if err != nil {
		return nil, 0, err
	}
	payload, rest, err := frame.Skippable(b)
	if err != nil || len(rest) > 0 || size != int64(len(b)) || string(payload[:8]) != headTag {
		return nil, 0, fmt.Errorf("%w: head and end do not fit", ErrTable)
	}
	n := int((size - int64(tableFixed)) / chunk.EntrySize)
	t = &Table{
		Kind:   chunk.Kind(payload[8]),
		Epoch:  binary.LittleEndian.Uint32(payload[12:]),
		Scope:  [8]byte(payload[16:]),
		Chunks: make([]chunk.Ref, n),
	}
	if !t.Kind.Valid() || payload[9]|payload[10]|payload[11] != 0 || int64(binary.LittleEndian.Uint32(payload[24:])) != int64(n) {
		return nil, 0, fmt.Errorf("%w: kind %d, %d chunks in room for %d", ErrTable, payload[8], binary.LittleEndian.Uint32(payload[24:]), n)
	}
	entries := payload[headSize:]
	for i := range t.Chunks {
		if t.Chunks[i], err = chunk.Parse(entries[i*chunk.EntrySize:]); err != nil {
			return nil, 0, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	if t.Proof, err = sign.ParseProof(entries[n*chunk.EntrySize : n*chunk.EntrySize+sign.ProofSize]); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrTable, err)
	}
	pad = plainSize - size - t.FramesSize()
	if plainSize > MaxPlain || pad < 0 || pad > 0 && pad < int64(minPadding) {
		return nil, 0, fmt.Errorf("%w: frames of %d bytes in a plaintext of %d", ErrTable, t.FramesSize(), plainSize)
	}
	return t, pad, nil
}

// Opened is a table read from an object.
type Opened struct {
	*Table
	Padding int64     // bytes of the padding frame
	Plain   int64     // bytes of plaintext
	Prefix  []byte    // age header and nonce
	Key     *seal.Key // opens ranges of the object
}

// firstHead and firstTail are what ReadTable reads before it knows more, in bytes: the prefix for a few post-quantum recipients; a
// table of 1,600 to 3,200 chunks.
const (
	firstHead = 4 << 10
	firstTail = 2 * seal.SealedSegment
)

// ReadTable reads the table from an object of size bytes, with two ranged reads; one more where the prefix is longer than 4 KiB, and
// one more where the table is longer than 64 KiB. An object of up to 128 KiB is read at once. Errors are those of r, seal.ErrNoIdentity,
// and *CorruptError (without the name of the pack) for everything that is wrong with the object.
// It does not check who wrote it; Verify does.
func ReadTable(r io.ReaderAt, size int64, ids ...age.Identity) (*Opened, error) {
	head, err := readHead(r, size)
	if err != nil {
		return nil, err
	}
	n, err := seal.PrefixLen(head)
	if err != nil {
		return nil, &CorruptError{Offset: -1, Err: err}
	}
	key, err := seal.OpenPrefix(head[:n:n], ids...)
	if err != nil {
		return nil, err
	}
	plain, err := seal.PlainSize(n, size)
	if err != nil {
		return nil, &CorruptError{Offset: -1, Err: err}
	}
	if plain < int64(tableFixed) || plain > MaxPlain {
		return nil, &CorruptError{Offset: -1, Err: fmt.Errorf("%w: plaintext of %d bytes", ErrTable, plain)}
	}
	o := &Opened{Plain: plain, Prefix: head[:n:n], Key: key}
	return o, o.read(r, size, head)
}

// readHead reads the prefix at least; all of a small object.
func readHead(r io.ReaderAt, size int64) ([]byte, error) {
	n := int64(firstHead)
	if size <= firstTail {
		n = size
	}
	head := make([]byte, n)
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if _, err := seal.PrefixLen(head); err == nil || n == size {
		return head, nil
	}
	head = make([]byte, min(size, seal.MaxPrefix))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return head, nil
}

// read finds and parses the table; head is what is known of the object.
func (o *Opened) read(r io.ReaderAt, size int64, head []byte) error {
	want := min(o.Plain, seal.SegmentSize)
	for {
		tail, err := o.tail(r, size, want, head)
		if err != nil {
			return err
		}
		n, err := TableSize(tail[len(tail)-FooterSize:])
		if err == nil && n > o.Plain {
			err = fmt.Errorf("%w: table of %d bytes in a plaintext of %d", ErrTable, n, o.Plain)
		}
		if err != nil {
			return &CorruptError{Offset: o.Plain - int64(FooterSize), Err: err}
		}
		if n > int64(len(tail)) {
			want = n
			continue
		}
		if o.Table, o.Padding, err = ParseTable(tail[int64(len(tail))-n:], o.Plain); err != nil {
			return &CorruptError{Offset: o.Plain - n, Err: err}
		}
		return nil
	}
}

// tail returns the last n bytes of plaintext, or a few more.
func (o *Opened) tail(r io.ReaderAt, size, n int64, head []byte) ([]byte, error) {
	from := o.Plain - n
	off, length := o.Key.Range(from, n, o.Plain)
	var sealed []byte
	if off+length <= int64(len(head)) {
		sealed = head[off : off+length]
	} else {
		sealed = make([]byte, length)
		if got, err := r.ReadAt(sealed, off); got < len(sealed) {
			if err == nil || err == io.EOF {
				err = &CorruptError{Offset: from, Err: io.ErrUnexpectedEOF}
			}
			return nil, err
		}
	}
	plain, err := o.Key.OpenRange(nil, sealed, from, n, o.Plain)
	if err != nil {
		return nil, &CorruptError{Offset: from, Err: err}
	}
	return plain, nil
}
