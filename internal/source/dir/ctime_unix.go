//go:build openbsd || dragonfly || solaris || illumos

package dir

import "syscall"

func changeTime(st *syscall.Stat_t) (sec int64, nsec int32) {
	return int64(st.Ctim.Sec), int32(st.Ctim.Nsec)
}
