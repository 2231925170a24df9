package job

import (
	"os/exec"
	"runtime"
	"syscall"
)

// startAndWait starts a child in a process group of its own, so that what a terminal sends to ours does not reach it, and waits for it. Where this process is killed the system asks the child to
// stop, as this one would have done; it goes by the thread that has started it, which therefore does nothing else.
func startAndWait(c *exec.Cmd, started, exited chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	err := c.Start()
	started <- err
	if err == nil {
		exited <- c.Wait()
	}
}
