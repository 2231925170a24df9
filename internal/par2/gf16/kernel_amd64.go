package gf16

func machineKernels() []*kernel { return nil }
