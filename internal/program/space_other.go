//go:build !linux && !darwin && !freebsd && !windows

package program

// freeSpace returns how many bytes may be written below a folder; -1: nobody knows.
func freeSpace(string) int64 { return -1 }
