package par2

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
)

// crafted makes packets of sets that need not make sense.
type crafted struct {
	slice uint64
	count uint32
	files []craftedFile
}

type craftedFile struct {
	name string
	data []byte
	size uint64 // 0: that of data
	sums int    // checksums of slices that are given; −1: as many as there are
}

func (c crafted) set() ([]byte, sum) {
	var ids []sum
	var descs, ifscs [][]byte
	for _, f := range c.files {
		size := f.size
		if size == 0 {
			size = uint64(len(f.data))
		}
		d := description{md5: md5.Sum(f.data), start: md5.Sum(f.data[:min(len(f.data), hashStart)]), size: int64(size), name: f.name}
		id := d.id()
		ids = append(ids, id)
		b := slices.Concat(id[:], d.md5[:], d.start[:])
		b = binary.LittleEndian.AppendUint64(b, size)
		descs = append(descs, pad(append(b, f.name...)))
		ifscs = append(ifscs, c.ifsc(id, f))
	}
	slices.SortFunc(ids, sum.compare)
	main := binary.LittleEndian.AppendUint64(nil, c.slice)
	main = binary.LittleEndian.AppendUint32(main, c.count)
	for _, id := range ids {
		main = append(main, id[:]...)
	}
	set := sum(md5.Sum(main))
	out := appendPacket(nil, set, typeMain, main)
	for i := range descs {
		out = appendPacket(out, set, typeFileDesc, descs[i])
		out = appendPacket(out, set, typeIFSC, ifscs[i])
	}
	return out, set
}

func (c crafted) ifsc(id sum, f craftedFile) []byte {
	b := bytes.Clone(id[:])
	h := newHasher(int64(c.slice &^ 3))
	if f.sums < 0 {
		h.write(f.data, nil, nil)
		_, sums := h.finish(f.name)
		for _, s := range sums {
			b = append(b, s.md5[:]...)
			b = binary.LittleEndian.AppendUint32(b, s.crc)
		}
	}
	return append(b, make([]byte, 20*max(0, f.sums))...)
}

func recoveryPacket(set sum, exponent uint32, slice []byte) []byte {
	return appendPacket(nil, set, typeRecovery, binary.LittleEndian.AppendUint32(nil, exponent), slice)
}

// TestRefused: what cannot be, or would cost too much, is named.
func TestRefused(t *testing.T) {
	one := []craftedFile{{name: "a", data: []byte("abc")}}
	many := make([]craftedFile, 40)
	for i := range many {
		many[i] = craftedFile{name: string(rune('a' + i)), data: []byte{byte(i), 1}}
	}
	limit, format := new(*LimitError), new(*FormatError)
	for _, c := range []struct {
		name string
		set  crafted
		want any
	}{
		{"slice size 0", crafted{0, 1, one}, format},
		{"slice size odd", crafted{6, 1, one}, format},
		{"slice size 2^63", crafted{1 << 63, 1, one}, limit},
		{"slice size 2^64 - 4", crafted{1<<64 - 4, 1, one}, limit},
		{"more files than listed", crafted{4, 2, one}, format},
		{"four thousand million files", crafted{4, 1<<32 - 1, one}, format},
		{"file of 2^63 bytes", crafted{4, 1, []craftedFile{{name: "a", size: 1 << 63}}}, limit},
		{"file of 2^62 bytes", crafted{1 << 46, 1, []craftedFile{{name: "a", size: 1 << 62}}}, limit},
		{"too many slices", crafted{4, 1, []craftedFile{{name: "a", size: 4*MaxBlocks + 1}}}, limit},
		{"padding", crafted{1 << 30, 40, many}, limit},
	} {
		b, _ := c.set.set()
		if _, err := Parse(src(b)); !errors.As(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, b := range [][]byte{nil, []byte("PAR2\x00PKT"), make([]byte, 1000), bytes.Repeat([]byte(magic), 100)} {
		if _, err := Parse(src(b)); err != ErrNoSet {
			t.Errorf("%.20q: %v", b, err)
		}
	}
	if _, err := Parse(Source{}, Source{Data: bytes.NewReader(nil)}); err != ErrNoSet {
		t.Errorf("no volumes: %v", err)
	}
	if _, err := Parse(Source{Data: bytes.NewReader(nil), Size: 100}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("shorter than told: %v", err)
	}
}

// TestOverlapping: packets that each claim the rest of the volume would cost its square.
func TestOverlapping(t *testing.T) {
	b := make([]byte, 2<<20)
	for off := 0; off+headerSize <= len(b); off += headerSize {
		p := recoveryHead(sum{}, 0, int64(len(b)-off-headerSize-4))
		copy(b[off:], p[:headerSize])
	}
	if _, err := Parse(src(b)); !errors.As(err, new(*LimitError)) {
		t.Errorf("overlapping packets: %v", err)
	}
	// Packets whole in themselves, one inside the other, are read once.
	inner, set := crafted{4, 1, []craftedFile{{name: "a", data: []byte("abcd"), sums: -1}}}.set()
	outer := recoveryPacket(set, 0, inner)
	if _, err := Parse(src(outer)); err != ErrNoSet {
		t.Errorf("packets within a packet: %v", err)
	}
}

func TestManySets(t *testing.T) {
	var all []byte
	for i := range maxSets + 1 {
		if s, err := Parse(src(all)); i > 0 && (err != nil || s.Slices != i) {
			t.Errorf("%d sets: the largest was not taken: %v", i, err)
		}
		b, set := crafted{4, 1, []craftedFile{{name: "a", data: make([]byte, 4*(i+1)), sums: -1}}}.set()
		for e := range i {
			b = append(b, recoveryPacket(set, uint32(e), make([]byte, 4))...)
		}
		all = append(all, b...)
	}
	if _, err := Parse(src(all)); !errors.As(err, new(*LimitError)) {
		t.Errorf("%d sets: %v", maxSets+1, err)
	}
}

// TestCriticalLimit: packets that say nothing new are not kept, others are counted.
func TestCriticalLimit(t *testing.T) {
	b, set := crafted{4, 1, []craftedFile{{name: "a", data: []byte("abcd"), sums: -1}}}.set()
	twice := bytes.Clone(b)
	for range 100 {
		twice = append(twice, b...)
	}
	if _, err := Parse(src(twice)); err != nil {
		t.Errorf("a hundred copies: %v", err)
	}
	for i := range maxCritical/maxIFSC + 1 {
		body := make([]byte, maxIFSC)
		body[0], body[1] = byte(i), byte(i>>8)
		b = appendPacket(b, set, typeIFSC, body)
	}
	if _, err := Parse(src(b)); !errors.As(err, new(*LimitError)) {
		t.Errorf("checksums of unknown files: %v", err)
	}
}

// TestOddRecovery: recovery slices of another size, of impossible exponents, and doubles are passed over.
func TestOddRecovery(t *testing.T) {
	b, set := crafted{8, 1, []craftedFile{{name: "a", data: []byte("abcdefgh"), sums: -1}}}.set()
	b = append(b, recoveryPacket(set, 3, make([]byte, 12))...)
	b = append(b, recoveryPacket(set, 65535, make([]byte, 8))...)
	b = append(b, recoveryPacket(set, 1<<31, make([]byte, 8))...)
	b = append(b, recoveryPacket(set, 7, make([]byte, 8))...)
	b = append(b, recoveryPacket(set, 7, make([]byte, 8))...)
	b = append(b, recoveryPacket(set, 1, []byte{})...)
	if s := mustParse(t, b); s.Recovery() != 1 || s.recovery[0].exponent != 7 {
		t.Errorf("%+v", s.recovery)
	}
}

// TestLostDescription: without it nobody knows which slices are whose.
func TestLostDescription(t *testing.T) {
	b, _ := crafted{8, 2, []craftedFile{{name: "aa", data: []byte("abcdefgh"), sums: -1}, {name: "bb", data: []byte("ijkl"), sums: -1}}}.set()
	at := bytes.Index(b, []byte(typeFileDesc))
	b[at+20]++
	var incomplete *IncompleteError
	if _, err := Parse(src(b)); !errors.As(err, &incomplete) || incomplete.Files != 1 {
		t.Errorf("%v", err)
	}
}

// TestFalseParity: recovery slices that are whole packets but not the parity of the file do not pass for a repair.
func TestFalseParity(t *testing.T) {
	b, set := crafted{8, 1, []craftedFile{{name: "a", data: []byte("abcdefghijkl"), sums: -1}}}.set()
	b = append(b, recoveryPacket(set, 0, []byte("nonsense"))...)
	s := mustParse(t, b)
	r := s.Check([]Source{src([]byte("abcdefgh"))}, Options{})
	if err := s.Repair(r, []io.Writer{io.Discard}, Options{}); !errors.As(err, new(*MismatchError)) {
		t.Errorf("%+v: %v", r, err)
	}
}

// TestSets: several files, empty ones, one that is only checked, one whose checksums are lost.
func TestSets(t *testing.T) {
	files := []craftedFile{
		{name: "one", data: noise(1, 1000), sums: -1},
		{name: "empty", sums: -1},
		{name: "two/../zwölf", data: noise(2, 130), sums: -1},
		{name: "unsummed", data: noise(3, 200), sums: 0},
		{name: "also empty", sums: -1},
	}
	b, _ := crafted{64, 4, files}.set()
	s := mustParse(t, b)
	if len(s.Files) != 4 || len(s.Others) != 1 {
		t.Fatalf("%+v", s)
	}
	byName := map[string][]byte{}
	for _, f := range files {
		byName[f.name] = f.data
	}
	var sources []Source
	for _, f := range append(slices.Clone(s.Files), s.Others...) {
		sources = append(sources, src(byName[f.Name]))
	}
	if r := s.Check(sources, Options{}); !r.Whole() || r.Lost != 0 {
		t.Fatalf("%+v", r)
	}
	for i := range sources {
		hurt := slices.Clone(sources)
		hurt[i] = Source{}
		if r := s.Check(hurt, Options{}); r.Whole() {
			t.Errorf("without source %d: %+v", i, r)
		}
		if sources[i].Size > 0 {
			hurt[i] = src(noise(9, int(sources[i].Size)))
			if r := s.Check(hurt, Options{}); r.Whole() {
				t.Errorf("with another source %d: %+v", i, r)
			}
		}
	}
}

// TestFalseMatches: data in which a CRC is found everywhere, and never the slice that it is of.
func TestFalseMatches(t *testing.T) {
	const size = 1 << 10
	zeros := make([]byte, 64*size)
	b, _ := crafted{size, 1, []craftedFile{{name: "a", data: zeros, sums: 64}}}.set()
	s := mustParse(t, b)
	for i := range s.Files[0].sums {
		s.Files[0].sums[i].crc = crcZeros(size)
	}
	if r := s.Check([]Source{src(make([]byte, 1<<18))}, Options{}); r.Lost != 64 {
		t.Errorf("%+v", r)
	}
	// Slices of zeros that are there, at odd places.
	b, _ = crafted{size, 1, []craftedFile{{name: "a", data: slices.Concat(zeros, noise(1, 3*size)), sums: -1}}}.set()
	s = mustParse(t, b)
	for shift := 1; shift < size; shift += 100 {
		if r := s.Check([]Source{src(slices.Concat(zeros[:10*size+shift], noise(1, 3*size)))}, Options{}); r.Lost != 0 {
			t.Errorf("moved by %d: %+v", shift, r)
		}
	}
}

func FuzzParse(f *testing.F) {
	data := noise(1, 300)
	v := mustEncode(f, "pack", data, Params{Blocks: 4, Recovery: 2})
	f.Add(v, data)
	two, set := crafted{16, 2, []craftedFile{{name: "a", data: data[:33], sums: -1}, {name: "b", data: data[40:47], sums: -1}}}.set()
	f.Add(append(two, recoveryPacket(set, 9, data[:16])...), data[1:])
	f.Add([]byte(magic), []byte{})
	f.Fuzz(func(t *testing.T, volume, data []byte) {
		s, err := Parse(src(mendPackets(volume)))
		if err != nil || s.Slices > 2000 || s.SliceSize > 1<<16 {
			return
		}
		r := s.Check([]Source{src(data)}, Options{})
		outs := make([]bytes.Buffer, len(s.Files))
		w := make([]io.Writer, len(s.Files))
		for i := range outs {
			w[i] = &outs[i]
		}
		if err := s.Repair(r, w, Options{Memory: 1 << 20}); err != nil {
			return
		}
		for i, file := range s.Files {
			if md5.Sum(outs[i].Bytes()) != file.MD5 {
				t.Fatalf("file %d is another", i)
			}
		}
	})
}

// mendPackets makes all packets ones of the first set, with the right sums, so that fuzzing gets past them.
func mendPackets(b []byte) []byte {
	b = bytes.Clone(b)
	var set sum
	for _, main := range []bool{true, false} {
		for off := 0; ; off += len(magic) {
			at := bytes.Index(b[off:], []byte(magic))
			if off += at; at < 0 || len(b)-off < headerSize {
				break
			}
			n := binary.LittleEndian.Uint64(b[off+8:])
			if n < headerSize || n > uint64(len(b)-off) {
				continue
			}
			if main && string(b[off+48:off+64]) == typeMain {
				set = md5.Sum(b[off+64 : off+int(n)])
				break
			}
			copy(b[off+32:], set[:])
			hash := md5.Sum(b[off+32 : off+int(n)])
			copy(b[off+16:], hash[:])
		}
	}
	return b
}

func FuzzDamage(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed * 1000)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		if msg := damageCase(seed); msg != "" {
			t.Fatal(msg)
		}
	})
}
