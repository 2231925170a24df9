package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
)

func random32(r *rand.Rand) (b [32]byte) {
	for i := 0; i < 32; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}

// randomPack returns a pack with n chunks, some of them out of known.
func randomPack(r *rand.Rand, n int, known []digest.Chunk) *Pack {
	p := &Pack{
		Name: random32(r), Kind: chunk.Kind(r.IntN(2)), Epoch: r.Uint32N(3), Class: []string{"", "DEEP_ARCHIVE"}[r.IntN(2)],
		Birth: time.Unix(1700000000+r.Int64N(1e6), 0).UTC(), Prefix: bytes.Repeat([]byte{byte(n)}, 184), Size: 1000,
	}
	if r.IntN(2) == 0 {
		p.Par2 = &Par2{Sum: random32(r), Size: r.Int64N(1e6)}
		p.Padding = 16
	}
	for range n {
		c := chunk.Ref{ID: random32(r), Frame: 1 + r.Uint32N(2000), Raw: 1 + r.Uint32N(chunk.MaxRaw)}
		if len(known) > 0 && r.IntN(4) == 0 {
			c.ID = known[r.IntN(len(known))]
		}
		p.Chunks = append(p.Chunks, c)
		p.Size += int64(c.Frame)
	}
	return p
}

func body(t testing.TB, h Header, packs ...*Pack) []byte {
	t.Helper()
	b, err := AppendHeader(nil, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packs {
		if b, err = AppendPack(b, p); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestBodyRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h := Header{Level: 2, Author: [16]byte{1, 2, 3}, Replaces: []string{"000000000000000a-bb", "x"}}
	var packs []*Pack
	for i := range 20 {
		packs = append(packs, randomPack(r, 1+i*50, nil))
	}
	b := body(t, h, packs...)
	var got []*Pack
	back, err := Parse(b, func(p *Pack) error {
		q := *p
		q.Chunks = append([]chunk.Ref(nil), p.Chunks...)
		got = append(got, &q)
		return nil
	})
	if err != nil || !reflect.DeepEqual(back, h) {
		t.Fatalf("header %+v, %v", back, err)
	}
	if !reflect.DeepEqual(got, packs) {
		t.Error("packs differ")
	}
	rd, err := NewReader(iotest.OneByteReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for p := new(Pack); ; n++ {
		if err := rd.Next(p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n != len(packs) {
		t.Errorf("%d packs byte by byte", n)
	}
}

func TestBodyBytes(t *testing.T) {
	p := &Pack{Name: digest.Object{0xab}, Kind: chunk.Meta, Epoch: 7, Size: 500, Class: "GLACIER", Birth: time.Unix(1700000000, 0), Prefix: []byte("age"),
		Chunks: []chunk.Ref{{ID: digest.Chunk{1}, Frame: 10, Raw: 20}}}
	got := string(body(t, Header{Author: [16]byte{0xff}}, p))
	name := "ab" + strings.Repeat("0", 62)
	head := `{"level":0,"author":"ff000000000000000000000000000000"}`
	attr := `{"pack":"` + name + `","kind":"meta","epoch":7,"size":500,"class":"GLACIER","birth":1700000000,"prefix":"YWdl"}`
	want := "FIRNIDX1" + string(byte(len(head))) + "\x00\x00\x00" + head +
		string([]byte{byte(len(attr)), 0, 0, 0}) + attr + "\x01\x00\x00\x00" + "\x01" + strings.Repeat("\x00", 31) + "\x0a\x00\x00\x00\x14\x00\x00\x00"
	if got != want {
		t.Errorf("body\n got %q\nwant %q", got, want)
	}
}

func TestBodyHostile(t *testing.T) {
	good := body(t, Header{}, randomPack(rand.New(rand.NewPCG(3, 4)), 5, nil))
	headEnd := 12 + int(binary.LittleEndian.Uint32(good[8:]))
	attrEnd := headEnd + 4 + int(binary.LittleEndian.Uint32(good[headEnd:]))
	change := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	for name, b := range map[string][]byte{
		"empty":          nil,
		"magic":          append([]byte("FIRNIDX2"), good[8:]...),
		"header length":  change(8, 1<<32-1),
		"header cut":     change(8, MaxHeader),
		"attr length":    change(headEnd, 1<<32-1),
		"attr cut":       change(headEnd, MaxAttributes),
		"chunk count":    change(attrEnd, 1<<32-1),
		"chunk cut":      change(attrEnd, MaxPackChunks),
		"no chunks":      change(attrEnd, 0),
		"frame too long": change(attrEnd+4+32, chunk.MaxFrame),
		"frame lies":     change(attrEnd+4+32, 1<<32-1),
		"cut":            good[:len(good)-1],
		"cut in length":  good[:headEnd+2],
	} {
		_, err := Parse(b, func(*Pack) error { return nil })
		if !errors.Is(err, ErrBody) && !errors.Is(err, ErrPack) && !errors.Is(err, chunk.ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
	allocs := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		lie := change(attrEnd, MaxPackChunks)
		for range b.N {
			_, _ = Parse(lie, func(*Pack) error { return nil })
		}
	}).AllocedBytesPerOp()
	if allocs > 100<<10 {
		t.Errorf("a lying count costs %d bytes", allocs)
	}
}

func TestReadErrorIsPassedOn(t *testing.T) {
	b := body(t, Header{}, randomPack(rand.New(rand.NewPCG(3, 4)), 500, nil))
	bad := errors.New("disk on fire")
	rd, err := NewReader(io.MultiReader(bytes.NewReader(b[:len(b)-100]), iotest.ErrReader(bad)))
	if err != nil {
		t.Fatal(err)
	}
	if err := rd.Next(new(Pack)); !errors.Is(err, bad) {
		t.Errorf("Next: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	f.Add(body(f, Header{}))
	f.Add(body(f, Header{Level: 1, Replaces: []string{"a"}}, randomPack(r, 3, nil), randomPack(r, 1, nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var packs []*Pack
		h, err := Parse(b, func(p *Pack) error {
			q := *p
			q.Chunks = append([]chunk.Ref(nil), p.Chunks...)
			packs = append(packs, &q)
			return nil
		})
		if err != nil {
			return
		}
		again := body(t, h, packs...)
		n := 0
		if _, err := Parse(again, func(p *Pack) error {
			if !reflect.DeepEqual(p, packs[n]) {
				t.Errorf("pack %d: %+v, was %+v", n, p, packs[n])
			}
			n++
			return nil
		}); err != nil || n != len(packs) {
			t.Errorf("%d of %d packs, %v", n, len(packs), err)
		}
	})
}

func TestPlan(t *testing.T) {
	name := func(i int) string { return string([]byte{byte('a' + i/26), byte('a' + i%26)}) }
	var list []Object
	add := func(n, level int, author byte, chunks int) {
		for range n {
			list = append(list, Object{Name: name(len(list)), Level: level, Author: [16]byte{author}, Chunks: chunks})
		}
	}
	add(7, 0, 1, 10)              // too few
	add(20, 0, 2, 10)             // one group
	add(9, 1, 2, MergedMost/8)    // one group of eight
	add(30, 2, 2, MergedMost/8+1) // full
	add(7, 1, 3, 10)              // too few of this level
	add(1, 2, 3, 10)              //
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	groups := Plan(list)
	if len(groups) != 2 || len(groups[0]) != 20 || len(groups[1]) != 8 {
		t.Fatalf("groups %v", groups)
	}
	for _, g := range groups {
		for i := 1; i < len(g); i++ {
			if g[i].Name <= g[i-1].Name || g[i].Author != g[0].Author || g[i].Level != g[0].Level {
				t.Errorf("group %v", g)
			}
		}
	}
	live := Live([]Object{{Name: "c", Replaces: []string{"a", "b", "d"}}, {Name: "a"}, {Name: "b", Author: [16]byte{9}}, {Name: "d"}})
	if len(live) != 3 || live[0].Name != "b" || live[1].Name != "c" || live[2].Name != "d" {
		t.Errorf("live %v", live)
	}
}
