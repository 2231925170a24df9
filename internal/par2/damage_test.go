package par2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// harm is damage to bytes: what came of them, and how many slices of the given size can have been lost by it at most.
type harm struct {
	name string
	do   func(rnd *rand.Rand, b []byte, slice int) (after []byte, lost int)
}

func span(from, to, slice int) int {
	if to <= from {
		return 0
	}
	return (to-1)/slice - from/slice + 1
}

func overwrite(rnd *rand.Rand, b []byte, at, n int) {
	for i := at; i < min(at+n, len(b)); i++ {
		b[i] = byte(rnd.Uint32())
	}
}

var harms = []harm{
	{"bit", func(rnd *rand.Rand, b []byte, slice int) ([]byte, int) {
		b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
		return b, 1
	}},
	{"sector of zeros", func(rnd *rand.Rand, b []byte, slice int) ([]byte, int) {
		at := rnd.IntN(len(b)) &^ 511
		end := min(at+512, len(b))
		clear(b[at:end])
		return b, span(at, end, slice)
	}},
	{"burst", func(rnd *rand.Rand, b []byte, slice int) ([]byte, int) {
		at, n := rnd.IntN(len(b)), rnd.IntN(3*slice)
		overwrite(rnd, b, at, n)
		return b, span(at, min(at+n, len(b)), slice)
	}},
	{"head lost", func(rnd *rand.Rand, b []byte, slice int) ([]byte, int) {
		n := rnd.IntN(min(len(b), 3*slice))
		return b[n:], span(0, n, slice)
	}},
	{"head zero", func(rnd *rand.Rand, b []byte, slice int) ([]byte, int) {
		n := rnd.IntN(min(len(b), 3*slice))
		clear(b[:n])
		return b, span(0, n, slice)
	}},
	{"cut off", func(rnd *rand.Rand, b []byte, slice int) ([]byte, int) {
		n := rnd.IntN(min(len(b), 3*slice))
		return b[:len(b)-n], span(len(b)-n, len(b), slice)
	}},
	{"bytes put in", func(rnd *rand.Rand, b []byte, slice int) ([]byte, int) {
		at, more := rnd.IntN(len(b)), make([]byte, rnd.IntN(2*slice))
		overwrite(rnd, more, 0, len(more))
		return slices.Insert(b, at, more...), 1
	}},
	{"bytes taken out", func(rnd *rand.Rand, b []byte, slice int) ([]byte, int) {
		at := rnd.IntN(len(b))
		end := min(at+rnd.IntN(2*slice), len(b))
		return slices.Delete(b, at, end), span(at, end, slice)
	}},
	{"twice", func(rnd *rand.Rand, b []byte, slice int) ([]byte, int) {
		at := rnd.IntN(len(b))
		return slices.Insert(b, at, bytes.Clone(b[at:min(at+rnd.IntN(2*slice), len(b))])...), 1
	}},
	{"appended", func(rnd *rand.Rand, b []byte, slice int) ([]byte, int) {
		return append(b, make([]byte, rnd.IntN(2*slice))...), 0
	}},
	{"prepended", func(rnd *rand.Rand, b []byte, slice int) ([]byte, int) {
		return append(make([]byte, rnd.IntN(2*slice)), b...), 0
	}},
}

// TestDamage does all kinds of harm, alone and together, to files and their volumes. Whatever comes out is the file, or an error with numbers that are so;
// and as long as no more can be lost than there is parity, it is the file.
func TestDamage(t *testing.T) {
	cases := 2000
	if testing.Short() {
		cases = 300
	}
	for seed := range uint64(cases) {
		if msg := damageCase(seed); msg != "" {
			t.Fatalf("seed %d: %s", seed, msg)
		}
	}
}

func damageCase(seed uint64) string {
	rnd := rand.New(rand.NewPCG(seed, 77))
	p := Params{Blocks: 5 + rnd.IntN(40), Recovery: 1 + rnd.IntN(8)}
	data := noise(seed, 1+rnd.IntN(p.Blocks*5000))
	v, err := Encode("pack", data, p, 1)
	if err != nil {
		return err.Error()
	}
	volume, slice := v.Bytes(), int(p.SliceSize(int64(len(data))))
	parity := p.recovery((len(data) + slice - 1) / slice)
	what, damaged, lost := "", bytes.Clone(data), 0
	for i := range 1 + rnd.IntN(3) {
		if len(damaged) == 0 {
			break
		}
		h, n := harms[rnd.IntN(len(harms))], 0
		damaged, n = h.do(rnd, damaged, slice)
		if lost += n; n > 0 && i > 0 {
			lost++ // slices may have moved before, so that it touches one more
		}
		what += h.name + ", "
	}
	hurt := rnd.IntN(3) == 0
	if hurt {
		for range 1 + rnd.IntN(2) {
			h := harms[rnd.IntN(len(harms))]
			if len(volume) > 0 {
				volume, _ = h.do(rnd, volume, slice)
				what += "volume: " + h.name + ", "
			}
		}
	}
	what = fmt.Sprintf("%d bytes, %v, slices of %d: %s", len(data), p, slice, what)
	s, err := Parse(src(volume))
	if err != nil {
		if hurt && (errors.Is(err, ErrNoSet) || errors.As(err, new(*IncompleteError))) {
			return ""
		}
		return what + err.Error()
	}
	return judgeDamage(what, s, data, damaged, lost, parity, hurt, rnd)
}

func judgeDamage(what string, s *Set, data, damaged []byte, lost, parity int, hurt bool, rnd *rand.Rand) string {
	o := Options{Workers: rnd.IntN(3)}
	if rnd.IntN(4) == 0 {
		o.Memory = 2*s.SliceSize + 4000
	}
	got, r, err := mend(s, damaged, o)
	// The last slice may count as lost where it is not needed.
	if !hurt && (s.Recovery() != parity || r.Lost > lost+1 && lost < s.Slices) {
		return fmt.Sprintf("%s%d slices lost, expected %d; %d recovery slices, expected %d", what, r.Lost, lost, s.Recovery(), parity)
	}
	var beyond *BeyondRepairError
	switch {
	case err == nil && !bytes.Equal(got, data):
		return what + "another file"
	case err == nil && (r.Lost > r.Recovery) != (r.Err() != nil):
		return what + "the report contradicts itself"
	case err == nil:
		return ""
	case !errors.As(err, &beyond) || beyond.Lost != r.Lost || beyond.Recovery != s.Recovery() || beyond.Lost <= beyond.Recovery || r.Err() == nil:
		return fmt.Sprintf("%s%v", what, err)
	case !hurt && lost <= parity:
		return fmt.Sprintf("%sgiven up: %v", what, err)
	}
	return ""
}

// TestDamageReported: the numbers of a report, for damage that is known.
func TestDamageReported(t *testing.T) {
	p := Params{Blocks: 20, Recovery: 3}
	data := noise(1, 20*5056)
	s := mustParse(t, mustEncode(t, "pack", data, p))
	n := int(s.SliceSize)
	for _, c := range []struct {
		name        string
		damaged     []byte
		lost, moved int
	}{
		{"whole", data, 0, 0},
		{"one byte in front", append([]byte{1}, data...), 0, 20},
		{"without the first byte", data[1:], 1, 19},
		{"without the last byte", data[:len(data)-1], 1, 0},
		{"a byte put in", slices.Insert(bytes.Clone(data), 5*n+7, 1), 1, 14},
		{"slices out of order", slices.Concat(data[10*n:], data[:10*n]), 0, 20},
		{"turned around in the middle", slices.Concat(data[:3*n], data[5*n:6*n], data[4*n:5*n], data[3*n:4*n], data[6*n:]), 0, 2},
		{"twice", slices.Concat(data, data), 0, 0},
		{"nothing", nil, 20, 0},
	} {
		got, r, err := mend(s, c.damaged, Options{})
		if r.Lost != c.lost || r.Moved != c.moved || r.Files[0].Lost != c.lost || (r.Files[0].State == Whole) != (c.name == "whole") {
			t.Errorf("%s: %+v", c.name, r)
		}
		if r.Lost <= 3 && (err != nil || !bytes.Equal(got, data)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	r := s.Check([]Source{{}, src(data)}, Options{})
	if r.Files[0].State != Missing || r.Lost != 0 || r.Moved != 20 {
		t.Errorf("elsewhere: %+v", r)
	}
	if r := s.Check(nil, Options{}); r.Files[0].State != Missing || r.Lost != 20 || r.Whole() {
		t.Errorf("no source: %+v", r)
	}
}

// flawed fails to read some bytes.
type flawed struct {
	*bytes.Reader
	from, to int64
}

var errFlaw = errors.New("medium error")

func (f flawed) ReadAt(b []byte, off int64) (int, error) {
	if off < f.to && off+int64(len(b)) > f.from {
		return 0, errFlaw
	}
	return f.Reader.ReadAt(b, off)
}

// TestUnreadable: what cannot be read counts as damaged, also where slices have moved.
func TestUnreadable(t *testing.T) {
	data := noise(1, 50*4160)
	s := mustParse(t, mustEncode(t, "pack", data, Params{Blocks: 50, Recovery: 8}))
	for _, shift := range []int{0, 10} {
		moved := append(make([]byte, shift), data...)
		r := s.Check([]Source{{flawed{bytes.NewReader(moved), 100_000, 100_512}, int64(len(moved))}}, Options{})
		if !errors.Is(r.ReadError, errFlaw) || r.Lost == 0 || shift == 0 && r.Lost != 1 {
			t.Fatalf("moved by %d: %d lost, %v", shift, r.Lost, r.ReadError)
		}
		if r.Err() != nil {
			continue
		}
		var out bytes.Buffer
		if err := s.Repair(r, []io.Writer{&out}, Options{}); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("moved by %d: %v", shift, err)
		}
	}
}

// TestRepairErrors: a source that changes, an output that fails, too little memory.
func TestRepairErrors(t *testing.T) {
	data := noise(1, 300_000)
	s := mustParse(t, mustEncode(t, "pack", data, Params{}))
	damaged := bytes.Clone(data)
	damaged[0]++
	r := s.Check([]Source{src(damaged)}, Options{})
	if err := s.Repair(r, []io.Writer{failing{}}, Options{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("failing output: %v", err)
	}
	var limit *LimitError
	if err := s.Repair(r, []io.Writer{io.Discard}, Options{Memory: 100}); !errors.As(err, &limit) {
		t.Errorf("no memory: %v", err)
	}
	if err := s.Repair(r, nil, Options{}); err != nil {
		t.Errorf("nothing wanted: %v", err)
	}
	damaged[100_000]++
	var mismatch *MismatchError
	if err := s.Repair(r, []io.Writer{io.Discard}, Options{}); !errors.As(err, &mismatch) || mismatch.Name != "pack" {
		t.Errorf("changed since: %v", err)
	}
	if err := s.Repair(s.Check(nil, Options{}), []io.Writer{io.Discard}, Options{}); !errors.As(err, new(*BeyondRepairError)) {
		t.Errorf("beyond: %v", err)
	}
	for _, err := range []error{&BeyondRepairError{3, 2}, &LimitError{"things", 3}, &MismatchError{"a"}, &IncompleteError{2}, &FormatError{"that"}} {
		if err.Error() == "" {
			t.Errorf("%T says nothing", err)
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
