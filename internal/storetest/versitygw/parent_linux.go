package versitygw

import (
	"os/exec"
	"syscall"
)

// endWithParent makes the kernel kill the server if the test dies without cleaning up.
func endWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
