//go:build unix

package program

import (
	"os"
	"os/exec"
	"syscall"
)

// systemDirs are where system programs are although PATH may not say so.
var systemDirs = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// alone gives a program a session of its own, and with it a process group and no terminal.
func alone(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// askGroup asks a program and all that it started to end. One that was halted has to go on for it.
func askGroup(c *exec.Cmd) {
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGCONT)
}

// killGroup ends a program and all that it started. The number of a group is not given away again while anybody is in it; that it is after the last one left, within the moment that lies
// between, is taken for impossible.
func killGroup(c *exec.Cmd) { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }

// pipeSize is what a pipe holds, in bytes.
const pipeSize = 64 << 10

// lying is what lies in a pipe, whatever its deadline. It waits for nothing.
func lying(pipe *os.File) (found []byte) {
	conn, err := pipe.SyscallConn()
	if err != nil {
		return nil
	}
	buf := make([]byte, 4<<10)
	_ = conn.Control(func(fd uintptr) {
		for len(found) < pipeSize {
			n, err := syscall.Read(int(fd), buf)
			if err == syscall.EINTR {
				continue
			}
			if n <= 0 || err != nil {
				return
			}
			found = append(found, buf[:n]...)
		}
	})
	return found
}
