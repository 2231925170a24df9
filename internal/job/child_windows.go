package job

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// askChild asks a child to stop, where it shares our console; without one it can only be ended.
func askChild(c *exec.Cmd) {
	if windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(c.Process.Pid)) != nil {
		_ = c.Process.Kill()
	}
}

// killChild ends a child.
func killChild(c *exec.Cmd) { _ = c.Process.Kill() }

// signalOf is nothing: there are no signals.
func signalOf(*os.ProcessState) string { return "" }

// startAndWait starts a child in a process group of its own, and waits for it.
func startAndWait(c *exec.Cmd, started, exited chan<- error) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	err := c.Start()
	started <- err
	if err == nil {
		exited <- c.Wait()
	}
}
