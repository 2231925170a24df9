//go:build !unix

package mount

func isStale(error) bool { return false }

func isMountPoint(string) bool { return false }
