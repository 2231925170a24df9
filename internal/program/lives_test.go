//go:build unix

package program

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// lives reports whether a process runs; one that has ended and whose parent has not noticed does not.
func lives(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil || p.Signal(syscall.Signal(0)) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || !strings.Contains(string(stat), ") Z ")
}
