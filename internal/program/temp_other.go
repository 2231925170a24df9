//go:build !linux

package program

// openTemp makes a file for the owner only.
func openTemp(dir string) (*tempFile, error) { return namedTemp(dir) }
