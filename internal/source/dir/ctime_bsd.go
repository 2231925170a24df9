//go:build darwin || freebsd || netbsd

package dir

import "syscall"

func changeTime(st *syscall.Stat_t) (sec int64, nsec int32) {
	return int64(st.Ctimespec.Sec), int32(st.Ctimespec.Nsec)
}
