package program

import (
	"math"

	"golang.org/x/sys/windows"
)

// freeSpace returns how many bytes may be written below a folder; -1: nobody knows.
func freeSpace(path string) int64 {
	name, err := windows.UTF16PtrFromString(path)
	var free uint64
	if err != nil || windows.GetDiskFreeSpaceEx(name, &free, nil, nil) != nil {
		return -1
	}
	return int64(min(free, math.MaxInt64))
}
