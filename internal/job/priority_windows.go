package job

import "golang.org/x/sys/windows"

// LowPriority makes this process give way to others. Processes that it starts inherit that.
func LowPriority() error {
	return windows.SetPriorityClass(windows.CurrentProcess(), windows.BELOW_NORMAL_PRIORITY_CLASS)
}
