//go:build !purego

package par2

import (
	"crypto/md5"
	"fmt"
	"testing"

	"golang.org/x/sys/cpu"
)

func TestLanes(t *testing.T) {
	widths := []int{8}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW {
		widths = append(widths, 16)
	}
	if !cpu.X86.HasAVX2 {
		t.Skip("no AVX2")
	}
	for _, width := range widths {
		for n := 1; n <= maxLanes; n++ {
			for _, pieces := range [][]int{{}, {1}, {55}, {56}, {63}, {64}, {64, 1}, {128, 64, 119}, {192, 120}, {640, 127}, {4096, 128}} {
				l := newVectorLanes(n, width)
				var whole [maxLanes][]byte
				for p, size := range pieces {
					b := make([][]byte, n)
					for i := range b {
						b[i] = noise(uint64(100*i+p), size+i)[i:]
						whole[i] = append(whole[i], b[i]...)
					}
					l.write(b)
				}
				for i, s := range l.sums() {
					if s != md5.Sum(whole[i]) {
						t.Fatalf("%d of %d lanes, %v: stream %d", n, width, pieces, i)
					}
				}
			}
		}
	}
}

// chainsOfEachKind are what a processor without this or that would use.
func chainsOfEachKind(slice int64) map[string]func() *chains {
	kinds := map[string]func() *chains{
		"plain": func() *chains { c := newChains(slice); c.plain = newPlainChains(); return c },
		"pair":  func() *chains { c := newChains(slice); c.woven = false; return c },
	}
	if canWeave() {
		kinds["woven"] = func() *chains { return newChains(slice) }
	}
	return kinds
}

// TestChains holds all ways of hashing to the one in plain Go, while slices are added and without.
func TestChains(t *testing.T) {
	const slice, slices = 64 * 70, 37
	data := noise(1, slices*slice-1000)
	for _, outs := range []int{0, 1, 3, 10, 11, 23, 50, 57} {
		var want string
		for _, kind := range []string{"plain", "pair", "woven"} {
			make, ok := chainsOfEachKind(slice)[kind]
			if !ok {
				continue
			}
			for _, step := range []int{1, 63, 64, 65, 1000, 4096, 100_000, len(data)} {
				h := &hasher{slice: slice, chains: make()}
				in := makeSlices(slices, slice)
				for i := range in {
					copy(in[i], noise(uint64(i), slice))
				}
				a := &adder{recovery: makeSlices(outs, slice), in: in, first: 3, slice: slice}
				if step < 63 {
					a.in = a.in[:2]
					a.recovery = nil
				}
				copied := makeSlices(1, int64(len(data)))[0]
				for off := 0; off < len(data); off += step {
					end := min(off+step, len(data))
					h.write(data[off:end], copied[off:end], a)
				}
				a.finish(1)
				d, sums := h.finish("x")
				got := fmt.Sprint(d, sums, md5.Sum(copied))
				if step >= 63 {
					for _, r := range a.recovery {
						got += fmt.Sprint(md5.Sum(r))
					}
				}
				if step < 63 {
					continue
				}
				if want == "" {
					want = got
				}
				if got != want {
					t.Fatalf("%s, %d outputs, writes of %d bytes: not the same", kind, outs, step)
				}
			}
		}
	}
}
