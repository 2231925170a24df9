//go:build unix

package state

import (
	"errors"
	"io/fs"
	"syscall"
)

// ownedBy reports whether the file belongs to the user.
func ownedBy(info fs.FileInfo, uid int) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == uid
}

// unsyncable is what file systems say that cannot sync a folder.
func unsyncable(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)
}
