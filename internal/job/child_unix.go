//go:build unix

package job

import (
	"os"
	"os/exec"
	"syscall"
)

// askChild asks a child to stop: the one process, which stops what it has started in its own way. One that was halted has to go on for it.
func askChild(c *exec.Cmd) {
	_ = c.Process.Signal(os.Interrupt)
	_ = c.Process.Signal(syscall.SIGCONT)
}

// killChild ends a child and its process group.
func killChild(c *exec.Cmd) {
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	_ = c.Process.Kill()
}

// signalOf names the signal that ended a process.
func signalOf(s *os.ProcessState) string {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return status.Signal().String()
	}
	return ""
}
