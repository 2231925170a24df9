package packset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"firn/internal/digest"
)

func randomNames(r *rand.Rand, n int) []digest.Object {
	names := make([]digest.Object, n)
	for i := range names {
		for k := 0; k < 32; k += 8 {
			binary.LittleEndian.PutUint64(names[i][k:], r.Uint64())
		}
	}
	return Normalize(names)
}

func TestSplitRules(t *testing.T) {
	name := func(i int, last byte) (n digest.Object) {
		binary.BigEndian.PutUint32(n[:], uint32(i))
		n[31] = last
		return n
	}
	set := func(n int, zeros ...int) []digest.Object {
		var names []digest.Object
		for i := range n {
			last := byte(1)
			if slices.Contains(zeros, i) {
				last = 0
			}
			names = append(names, name(i, last))
		}
		return names
	}
	for _, c := range []struct {
		names []digest.Object
		want  []int
	}{
		{nil, nil},
		{set(1), []int{1}},
		{set(300, 254), []int{300}},
		{set(300, 255), []int{256, 44}},
		{set(256, 255), []int{256}},
		{set(5000), []int{4096, 904}},
		{set(8192), []int{4096, 4096}},
		{set(5000, 4094), []int{4095, 905}},
		{set(600, 10, 256, 400, 511, 512), []int{257, 256, 87}},
	} {
		var got []int
		for _, p := range Split(c.names) {
			got = append(got, len(p.Names))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d names: parts %v, want %v", len(c.names), got, c.want)
		}
	}
}

func TestSplitSharesParts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	names := randomNames(r, 50_000)
	before := map[[32]byte]bool{}
	var all []digest.Object
	for _, p := range Split(names) {
		before[p.Digest()] = true
		back, err := Parse(p.Body())
		if err != nil || !slices.Equal(back, p.Names) {
			t.Fatalf("round trip of %d names: %v", len(p.Names), err)
		}
		all = append(all, back...)
	}
	if !slices.Equal(all, names) {
		t.Error("parts do not make the set")
	}
	more := Normalize(append(slices.Clone(names), randomNames(r, 10)...))
	fresh := 0
	for _, p := range Split(more) {
		if !before[p.Digest()] {
			fresh++
		}
	}
	if fresh > 25 {
		t.Errorf("ten more names change %d of %d parts", fresh, len(before))
	}
	if !Contains(names, names[777]) || Contains(names, digest.Object{1}) {
		t.Error("Contains")
	}
}

func TestParseRefuses(t *testing.T) {
	a, b := digest.Object{1}, digest.Object{2}
	for name, body := range map[string][]byte{
		"empty":     {},
		"odd":       make([]byte, 33),
		"unsorted":  Append(nil, []digest.Object{b, a}),
		"duplicate": Append(nil, []digest.Object{a, a}),
		"too long":  make([]byte, MaxBody+32),
	} {
		if _, err := Parse(body); !errors.Is(err, ErrBody) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Append(nil, randomNames(rand.New(rand.NewPCG(1, 1)), 3)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		names, err := Parse(body)
		if err == nil && !bytes.Equal(Append(nil, names), body) {
			t.Error("round trip")
		}
	})
}
