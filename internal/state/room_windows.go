package state

import (
	"math"

	"golang.org/x/sys/windows"
)

// roomIn returns how many bytes may be written below a folder.
func roomIn(path string) (n int64, ok bool) {
	name, err := windows.UTF16PtrFromString(path)
	var free uint64
	if err != nil || windows.GetDiskFreeSpaceEx(name, &free, nil, nil) != nil {
		return 0, false
	}
	return int64(min(free, math.MaxInt64)), true
}
