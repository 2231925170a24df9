package pack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/frame"
)

// TestStream makes the same pack both ways: what is sealed must be the same, byte for byte, but for the signature, which is the same as well.
func TestStream(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	id := identity(t)
	enc := frame.NewEncoder(frame.Fastest)
	for _, padding := range []bool{false, true} {
		for _, n := range []int{1, 3, 400} {
			var obj bytes.Buffer
			s, err := NewStream(chunk.Data, scope, 3, 1<<20, &obj, id.Recipient())
			if err != nil {
				t.Fatal(err)
			}
			b := NewBuilder(chunk.Data, scope, 3, 1<<20)
			var content [][]byte
			for range n {
				raw := make([]byte, 1+r.IntN(3000))
				for i := range raw {
					raw[i] = byte(r.Uint32N(40))
				}
				f := enc.Append(nil, raw)
				ref := chunk.Ref{ID: digest.Chunk(sha256.Sum256(raw)), Frame: uint32(len(f)), Raw: uint32(len(raw))}
				if s.Fits(len(f)) != b.fits(len(f)) {
					t.Fatal("fits differently")
				}
				if err := s.Add(ref, f); err != nil {
					t.Fatal(err)
				}
				b.AddFrame(ref, f)
				content = append(content, raw)
			}
			if s.Len() != int64(b.Len()) || s.Count() != b.Count() {
				t.Fatalf("%d bytes, %d chunks; the builder has %d and %d", s.Len(), s.Count(), b.Len(), b.Count())
			}
			sealed, pad, err := s.Finish(signer(), padding)
			if err != nil {
				t.Fatal(err)
			}
			plain, bpad := b.Finish(signer(), padding)
			if pad != bpad || sealed.Size != int64(obj.Len()) || sealed.Name != digest.SumObject(obj.Bytes()) || !bytes.HasPrefix(obj.Bytes(), sealed.Prefix) {
				t.Fatalf("%+v of %d bytes, padding %d and %d", sealed, obj.Len(), pad, bpad)
			}
			o, err := ReadTable(bytes.NewReader(obj.Bytes()), sealed.Size, id)
			if err != nil || o.Plain != int64(len(plain)) || !reflect.DeepEqual(o.Chunks, b.Chunks()) {
				t.Fatalf("table differs: %v", err)
			}
			checkChunks(t, o, obj.Bytes(), content)
		}
	}
}

type full struct{ left int }

var errFull = errors.New("full")

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// TestStreamFails fails the writer after every so many bytes: the error comes out, at Finish at the latest.
func TestStreamFails(t *testing.T) {
	id := identity(t)
	raw := make([]byte, 50_000)
	enc := frame.NewEncoder(frame.Fastest)
	for left := 0; left < 300_000; left += 40_000 {
		s, err := NewStream(chunk.Data, scope, 0, 1<<20, &full{left}, id.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(left), 2))
		for range 10 {
			for i := range raw {
				raw[i] = byte(r.Uint32())
			}
			f := enc.Append(nil, raw)
			if err = s.Add(chunk.Ref{ID: digest.Chunk(sha256.Sum256(raw)), Frame: uint32(len(f)), Raw: uint32(len(raw))}, f); err != nil {
				break
			}
		}
		if err == nil {
			_, _, err = s.Finish(signer(), false)
		}
		if !errors.Is(err, errFull) {
			t.Fatalf("%d bytes fit: %v", left, err)
		}
	}
}
