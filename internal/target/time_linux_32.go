//go:build linux && (386 || arm || mips || mipsle)

package target

import (
	"math"

	"golang.org/x/sys/unix"
)

// timespec has 32 bits here: times outside 1901-2038 become the nearest that there is.
func timespec(sec int64, nsec int32) unix.Timespec {
	return unix.Timespec{Sec: int32(min(max(sec, math.MinInt32), math.MaxInt32)), Nsec: nsec}
}
