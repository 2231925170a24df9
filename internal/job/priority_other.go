//go:build !unix && !windows

package job

// LowPriority does nothing: there is nothing to be asked here.
func LowPriority() error { return nil }
