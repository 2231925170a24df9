package job

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Of the kernel's interface (ioprio_set(2)): one thread, and the lowest level of the usual class, which is never starved.
const (
	ioWhoProcess  = 1
	ioLowest      = 2<<13 | 7
	lowNice       = 10
	priorityLoops = 3
)

// LowPriority makes this process give way to others, for the processor and for disks. Processes that it starts inherit that. Threads have priorities of their own here, and new ones that of the
// thread that makes them, so it goes through all of them until there is no new one.
func LowPriority() error {
	done := map[int]bool{}
	var failed error
	for range priorityLoops {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return unix.Setpriority(unix.PRIO_PROCESS, 0, lowNice)
		}
		fresh := false
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil || done[id] {
				continue
			}
			fresh, done[id] = true, true
			if now, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil && 20-now >= lowNice {
				continue // is lower already; the system call answers 20 minus the nice value
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, id, lowNice); err != nil && err != unix.ESRCH {
				failed = err
			}
		}
		if !fresh {
			break
		}
	}
	for id := range done {
		_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioWhoProcess, uintptr(id), ioLowest) // not every kernel has it
	}
	return failed
}
