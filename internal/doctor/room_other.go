//go:build !linux && !darwin && !freebsd && !windows

package doctor

// room: not known on this system.
func room(string) (bytes int64, known bool) { return 0, false }
