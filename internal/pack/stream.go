package pack

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/frame"
	"firn/internal/seal"
	"firn/internal/sign"
)

// Stream makes a pack that is sealed and written out as its frames come, for packs that are too large to be held: it keeps 64 KiB and the table, 40 bytes a
// chunk. Not for concurrent use.
type Stream struct {
	table  Table
	limit  int64
	used   int64 // bytes of frames
	byID   map[digest.Chunk]struct{}
	prefix []byte
	sealed io.WriteCloser
	sum    hash.Hash
	err    error
	ended  bool
}

// NewStream begins a pack of at most limit bytes of plaintext without padding, as NewBuilder does, that is written to w. It panics if limit is not positive.
func NewStream(kind chunk.Kind, scope [8]byte, epoch uint32, limit int64, w io.Writer, recipients ...age.Recipient) (*Stream, error) {
	if limit <= 0 || !kind.Valid() {
		panic(fmt.Sprintf("pack: stream of %v, limit %d", kind, limit))
	}
	s, err := seal.Header(recipients...)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	return &Stream{
		table: Table{Kind: kind, Scope: scope, Epoch: epoch}, limit: min(limit, MaxPlain-MaxPlain/8), byID: map[digest.Chunk]struct{}{},
		prefix: s.Prefix(), sealed: s.Writer(io.MultiWriter(sum, w)), sum: sum,
	}, nil
}

// Fits reports whether a frame of so many bytes leaves the pack within its limit. The first one always fits.
func (s *Stream) Fits(frameLen int) bool {
	n := len(s.table.Chunks)
	return n == 0 || n < MaxChunks && s.Len()+int64(frameLen)+chunk.EntrySize <= s.limit
}

// Len returns the bytes of plaintext that Finish would make now, without padding; 0 while there is no chunk.
func (s *Stream) Len() int64 {
	if len(s.table.Chunks) == 0 {
		return 0
	}
	return s.used + int64(tableFixed) + int64(len(s.table.Chunks))*chunk.EntrySize
}

// Count returns the number of chunks.
func (s *Stream) Count() int { return len(s.table.Chunks) }

// Add writes a finished frame, which r describes. It panics as Builder.AddFrame does. An error is that of the writer, and stays.
func (s *Stream) Add(r chunk.Ref, f []byte) error {
	if s.ended || int64(r.Frame) != int64(len(f)) || !s.Fits(len(f)) {
		panic(fmt.Sprintf("pack: frame of %d bytes, entry says %d, behind %d of at most %d", len(f), r.Frame, s.Len(), s.limit))
	}
	if err := r.Check(); err != nil {
		panic("pack: " + err.Error())
	}
	if _, dup := s.byID[r.ID]; dup {
		panic(fmt.Sprintf("pack: chunk %v twice", r.ID))
	}
	if s.err == nil {
		_, s.err = s.sealed.Write(f)
	}
	if s.err != nil {
		return s.err
	}
	s.byID[r.ID] = struct{}{}
	s.table.Chunks = append(s.table.Chunks, r)
	s.used += int64(len(f))
	return nil
}

// Chunks returns the entries in the order of the pack.
func (s *Stream) Chunks() []chunk.Ref { return s.table.Chunks }

// Finish writes padding, if asked for, and the table. It returns what the object is, and the length of the padding frame in bytes. It panics as
// Builder.Finish does.
func (s *Stream) Finish(by *sign.Signer, padding bool) (sealed Sealed, pad int, err error) {
	if len(s.table.Chunks) == 0 || s.ended || by.Scope() != s.table.Scope {
		panic("pack: nothing to finish, or not with this signer")
	}
	s.ended = true
	var tail []byte
	if padding {
		tail = frame.AppendPadding(nil, s.used, tableFixed+len(s.table.Chunks)*chunk.EntrySize)
	}
	pad = len(tail)
	tail = s.table.sign(by).append(tail)
	if s.err == nil {
		_, s.err = s.sealed.Write(tail)
	}
	if s.err == nil {
		s.err = s.sealed.Close()
	}
	if s.err != nil {
		return Sealed{}, 0, s.err
	}
	return Sealed{Name: digest.Object(s.sum.Sum(nil)), Size: seal.SealedSize(len(s.prefix), s.used+int64(len(tail))), Prefix: s.prefix}, pad, nil
}
