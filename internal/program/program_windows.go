package program

import (
	"os"
	"os/exec"
	"syscall"
)

// systemDirs are where system programs are although PATH may not say so.
var systemDirs []string

// createNoWindow is CREATE_NO_WINDOW of the Windows API: a program without a console cannot ask.
const createNoWindow = 0x08000000

// alone gives a program a process group of its own and no console.
func alone(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP | createNoWindow}
}

// askGroup ends a program: there is no signal for programs without a console.
func askGroup(c *exec.Cmd) { _ = c.Process.Kill() }

// killGroup ends a program.
func killGroup(c *exec.Cmd) { _ = c.Process.Kill() }

// lying is nothing: pipes have no deadlines here.
func lying(*os.File) []byte { return nil }
