//go:build !unix && !windows

package job

import (
	"os"
	"os/exec"
)

func askChild(c *exec.Cmd)             { _ = c.Process.Kill() }
func killChild(c *exec.Cmd)            { _ = c.Process.Kill() }
func signalOf(*os.ProcessState) string { return "" }

// startAndWait starts a child, and waits for it.
func startAndWait(c *exec.Cmd, started, exited chan<- error) {
	err := c.Start()
	started <- err
	if err == nil {
		exited <- c.Wait()
	}
}
