//go:build unix && !linux

package job

import (
	"os/exec"
	"syscall"
)

// startAndWait starts a child in a process group of its own, so that what a terminal sends to ours does not reach it, and waits for it. Where this process is killed the child ends when it tells
// how far it is.
func startAndWait(c *exec.Cmd, started, exited chan<- error) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err := c.Start()
	started <- err
	if err == nil {
		exited <- c.Wait()
	}
}
