//go:build !amd64 || purego

package gf16

func machineKernels() []*kernel { return nil }
