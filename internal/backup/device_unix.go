//go:build unix

package backup

import "golang.org/x/sys/unix"

// splitDevice takes apart a device number as the system codes it.
func splitDevice(rdev uint64) (major, minor uint32) { return unix.Major(rdev), unix.Minor(rdev) }

// joinDevice puts it together again.
func joinDevice(major, minor uint32) uint64 { return unix.Mkdev(major, minor) }
