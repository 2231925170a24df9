package chunk

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"firn/internal/digest"
)

func TestEntryBytes(t *testing.T) {
	r := Ref{ID: digest.Chunk{0: 0xaa, 31: 0xbb}, Frame: 0x00010203, Raw: 0x00a1b2c3}
	got := hex.EncodeToString(Append(nil, r))
	want := "aa000000000000000000000000000000000000000000000000000000000000bb" + "03020100" + "c3b2a100"
	if got != want {
		t.Errorf("entry\n got %s\nwant %s", got, want)
	}
	back, err := Parse(Append(nil, r))
	if err != nil || back != r {
		t.Errorf("Parse = %+v, %v", back, err)
	}
}

func TestEntryLimits(t *testing.T) {
	id := digest.Chunk{1}
	for _, c := range []struct {
		ref Ref
		ok  bool
	}{
		{Ref{id, 1, 1}, true},
		{Ref{id, MaxFrame, MaxRaw}, true},
		{Ref{digest.Chunk{}, 1, 1}, false},
		{Ref{id, 0, 1}, false},
		{Ref{id, 1, 0}, false},
		{Ref{id, MaxFrame + 1, 1}, false},
		{Ref{id, 1, MaxRaw + 1}, false},
		{Ref{id, 1<<32 - 1, 1<<32 - 1}, false},
	} {
		_, err := Parse(Append(nil, c.ref))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrEntry) {
			t.Errorf("%+v: %v", c.ref, err)
		}
	}
	if _, err := Parse(make([]byte, EntrySize-1)); !errors.Is(err, ErrEntry) {
		t.Errorf("short entry: %v", err)
	}
}

func TestKinds(t *testing.T) {
	for _, k := range []Kind{Data, Meta} {
		back, err := ParseKind(k.String())
		if err != nil || back != k || !k.Valid() {
			t.Errorf("%v: %v, %v", k, back, err)
		}
	}
	if _, err := ParseKind("Data"); !errors.Is(err, ErrKind) {
		t.Errorf("ParseKind of an unknown word: %v", err)
	}
	if Kind(2).Valid() || Kind(2).String() != "kind(2)" {
		t.Error("kind 2 is taken for a kind")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Append(nil, Ref{digest.Chunk{1}, 1, 1}))
	f.Add(make([]byte, EntrySize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := Parse(b); err == nil && !bytes.Equal(Append(nil, r), b[:EntrySize]) {
			t.Errorf("%x comes back as %+v", b, r)
		}
	})
}
