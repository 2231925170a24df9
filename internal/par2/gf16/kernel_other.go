//go:build !amd64

package gf16

func machineKernels() []*kernel { return nil }
