//go:build linux && !(386 || arm || mips || mipsle)

package target

import "golang.org/x/sys/unix"

func timespec(sec int64, nsec int32) unix.Timespec {
	return unix.Timespec{Sec: sec, Nsec: int64(nsec)}
}
