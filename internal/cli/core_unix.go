//go:build unix

package cli

import "golang.org/x/sys/unix"

// noCore keeps the memory of this process, which may hold keys and content, out of core files; the programs that it runs inherit that. Where it cannot be done nothing else is lost.
func noCore() {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_CORE, &r) != nil {
		return
	}
	r.Cur = 0
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &r)
}
