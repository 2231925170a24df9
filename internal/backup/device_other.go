//go:build !unix

package backup

// Such systems have no device nodes; the numbers only have to come back as they were.

func splitDevice(rdev uint64) (major, minor uint32) { return uint32(rdev >> 32), uint32(rdev) }

func joinDevice(major, minor uint32) uint64 { return uint64(major)<<32 | uint64(minor) }
