package gf16

import "sync"

// kernel is one way to multiply and add.
type kernel struct {
	name    string
	size    int // bytes of a prepared factor
	outs    int // most outputs at once
	unit    int // bytes at once
	prepare func(dst []byte, c uint16)
	// mulAdd works on out[.][off:end] and in[.][off:end], whole units, with 1 to kernel.outs outputs and factors laid out as [in][out].
	mulAdd func(out, in [][]byte, coef []byte, off, end int)
}

// plain has no form of its own for factors: it makes tables of them as it goes.
var plain = &kernel{name: "plain Go"}

// kernels are those that this processor can run, the fastest first; plain is the last.
var kernels = sync.OnceValue(func() []*kernel { return append(machineKernels(), plain) })

func best() *kernel { return kernels()[0] }

// Kernel names the kernel in use, for reports of speed.
func Kernel() string { return best().name }
