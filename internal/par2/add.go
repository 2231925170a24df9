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
	woven int64 // columns of the batch at hand that are done for the first weaveOuts recovery slices
	weave
}

// next goes on to the next batch once all columns of the one at hand are woven.
func (a *adder) next() {
	n := min(weaveBatch, len(a.in)-a.at)
	if len(a.recovery) > weaveOuts {
		a.rest(a.recovery[weaveOuts:], weaveOuts, a.at, n, 0, 1)
	}
	a.at, a.woven = a.at+n, 0
}

// finish does what is left, on up to that many processors.
func (a *adder) finish(workers int) {
	if len(a.recovery) == 0 {
		return
	}
	if a.woven > 0 {
		n := min(weaveBatch, len(a.in)-a.at)
		a.rest(a.recovery[:min(weaveOuts, len(a.recovery))], 0, a.at, n, a.woven, workers)
		a.woven = a.slice
		a.next()
	}
	for ; a.at < len(a.in); a.at += min(64, len(a.in)-a.at) {
		a.rest(a.recovery, 0, a.at, min(64, len(a.in)-a.at), 0, workers)
	}
}

// rest adds n slices from at on, their columns from off on, to recovery slices that begin with an exponent.
func (a *adder) rest(recovery [][]byte, exponent, at, n int, off int64, workers int) {
	m := gf16.NewMatrix(len(recovery), n, factors(exponent+len(recovery), n, a.first+at)[exponent*n:])
	inColumns(recovery, a.in[at:at+n], int(off), workers, m.MulAdd)
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

// inColumns calls f with the columns of the buffers from off on, at once on so many processors.
func inColumns(out, in [][]byte, off, workers int, f func(out, in [][]byte)) {
	n := len(in[0])
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
