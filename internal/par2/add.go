package par2

import (
	"sync"

	"firn/internal/par2/gf16"
)

// adder adds slices to recovery slices. Part of the work may be done by hashers on the way, the rest by finish.
type adder struct {
	recovery [][]byte // exponents 0, 1, …
	in       [][]byte // whole slices
	first    int      // number of in[0] in the set
	slice    int64    // size

	at    int   // slices before this are done
	woven int64 // columns of the batch at hand that are done for the first weavable recovery slices
	ahead int   // of which so many have the next 64 columns too
	weave
}

// next goes on to the next batch once all columns of the one at hand are woven.
func (a *adder) next() {
	n := min(weaveBatch, len(a.in)-a.at)
	a.rest(weavable(len(a.recovery)), len(a.recovery), a.at, n, 0, a.slice, 1)
	a.at, a.woven = a.at+n, 0
}

// finish does what is left, on up to that many processors.
func (a *adder) finish(workers int) {
	if a.woven > 0 || a.ahead > 0 {
		n, k := min(weaveBatch, len(a.in)-a.at), weavable(len(a.recovery))
		if a.ahead > 0 {
			a.rest(min(a.ahead, k), k, a.at, n, a.woven, a.woven+64, 1)
			a.ahead, a.woven = 0, a.woven+64
		}
		a.rest(0, k, a.at, n, a.woven, a.slice, workers)
		a.next()
	}
	for n := 0; a.at < len(a.in); a.at += n {
		n = min(64, len(a.in)-a.at)
		a.rest(0, len(a.recovery), a.at, n, 0, a.slice, workers)
	}
}

// rest adds columns off to end of n slices from at on to recovery slices from to to−1.
func (a *adder) rest(from, to, at, n int, off, end int64, workers int) {
	if from >= to || off >= end {
		return
	}
	m := gf16.NewMatrix(to-from, n, factors(to, n, a.first+at)[from*n:])
	inColumns(a.recovery[from:to], a.in[at:at+n], int(off), int(end), workers, m.MulAdd)
}

// factors returns the factor of each slice from first on in each recovery slice, as [recovery][slice].
func factors(recovery, n, first int) []uint16 {
	f := make([]uint16, recovery*n)
	for i := range n {
		base, x := gf16.Base(first+i), uint16(1)
		for e := range recovery {
			f[e*n+i] = x
			x = gf16.Mul(x, base)
		}
	}
	return f
}

// inColumns calls f with columns off to n of the buffers, at once on so many processors.
func inColumns(out, in [][]byte, off, n, workers int, f func(out, in [][]byte)) {
	step := int(up(int64((n-off)/workers)+1, 4096))
	var wg sync.WaitGroup
	for o := off + step; o < n; o += step {
		wg.Go(func() { f(cut(out, o, min(o+step, n)), cut(in, o, min(o+step, n))) })
	}
	f(cut(out, off, min(off+step, n)), cut(in, off, min(off+step, n)))
	wg.Wait()
}

// cut returns the columns from off to end.
func cut(b [][]byte, off, end int) [][]byte {
	c := make([][]byte, len(b))
	for i := range b {
		c[i] = b[i][off:end:end]
	}
	return c
}
