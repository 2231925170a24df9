//go:build unix && !linux

package job

import "syscall"

// lowNice is how far we step back.
const lowNice = 10

// LowPriority makes this process give way to others. Processes that it starts inherit that.
func LowPriority() error { return syscall.Setpriority(syscall.PRIO_PROCESS, 0, lowNice) }
