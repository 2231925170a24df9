//go:build unix && !linux

package cli

import "syscall"

// duplicate makes a file known by another number.
func duplicate(from, to int) error { return syscall.Dup2(from, to) }
