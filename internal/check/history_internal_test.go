package check

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"firn/internal/digest"
	"firn/internal/state"
)

func nameOf(n uint64) (d digest.Object) {
	binary.BigEndian.PutUint64(d[:], n*0x9e3779b97f4a7c15)
	return d
}

// What is remembered is there again, also after the journal was written anew, and it takes little room.
func TestHistory(t *testing.T) {
	keep := state.Open(state.Dirs{Cache: t.TempDir(), State: t.TempDir()}, [16]byte{1}, func(err error) { t.Error(err) })
	at := time.Unix(1_800_000_000, 0)
	want := map[uint64]reading{}
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 5 {
		h := OpenHistory(keep)
		for range 2000 {
			n := random.Uint64N(1000)
			at = at.Add(time.Second)
			want[n] = reading{uint32(at.Unix()), random.IntN(10) == 0}
			h.add(nameOf(n), at, want[n].damaged)
		}
		for n, r := range want {
			if got, damaged := h.last(nameOf(n)); got.Unix() != int64(r.at) || damaged != r.damaged {
				t.Fatalf("round %d: %v %v, want %+v", round, got, damaged, r)
			}
		}
		h.Mended(nameOf(1))
		delete(want, 1)
		h.Close()
	}
	h := OpenHistory(keep)
	defer h.Close()
	if size := h.journal.Size(); size > 120_000 {
		t.Errorf("%d bytes", size)
	}
	var none *History
	none.add(nameOf(1), at, true)
	none.Close()
	if at, _ := none.last(nameOf(1)); !at.IsZero() {
		t.Error("remembered without a history")
	}
}

// A history that is not what it was gives other times and nothing worse.
func FuzzHistory(f *testing.F) {
	f.Add(reading{1, true}.record(keyOf(nameOf(1)), keyOf(nameOf(2))))
	f.Add([]byte{})
	f.Add([]byte{1, 2, 3, 4, 9, 1})
	f.Fuzz(func(t *testing.T, rec []byte) {
		h := &History{seen: map[packKey]reading{}}
		h.replay(rec)
		again := &History{seen: map[packKey]reading{}}
		for _, r := range h.records() {
			again.replay(r)
		}
		if len(again.seen) != len(h.seen) {
			t.Fatalf("%d of %d", len(again.seen), len(h.seen))
		}
		for k, r := range h.seen {
			if again.seen[k] != r {
				t.Fatalf("%v: %v, want %v", k, again.seen[k], r)
			}
		}
	})
}
