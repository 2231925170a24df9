//go:build unix

package cli

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoCore: a process that may leave its memory in a file may not any more.
func TestNoCore(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	if before.Max == 0 {
		t.Skip("core files are forbidden here already")
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &before) }()
	allowed := before
	allowed.Cur = allowed.Max
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &allowed); err != nil {
		t.Fatal(err)
	}
	noCore()
	var after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &after); err != nil || after.Cur != 0 || after.Max != before.Max {
		t.Errorf("%+v, before %+v, %v", after, before, err)
	}
}
