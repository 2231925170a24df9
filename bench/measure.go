//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// usage is what one command needed.
type usage struct {
	Wall   float64 `json:"wall_s"`
	User   float64 `json:"user_s"`
	System float64 `json:"system_s"`
	RSS    int64   `json:"rss_bytes"` // largest of the command's processes
}

// measureWord, as the first argument, makes this program a small go-between: Linux counts the memory of whoever starts a
// program to that program's peak, so the harness, which may have grown, never starts them itself.
const measureWord = "measure-child"

// command is a program with its arguments. Env is added to that of the tool.
type command struct {
	args []string
	dir  string
	env  []string
}

// execute runs c and measures it. Its output is shown only in the error.
func execute(ctx context.Context, c command, timeout time.Duration) (usage, error) {
	self, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return usage{}, err
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, append([]string{measureWord}, c.args...)...)
	cmd.Dir, cmd.Env = c.dir, c.env
	cmd.ExtraFiles = []*os.File{w}
	out := &tail{limit: 4 << 10}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Start()
	w.Close()
	if err != nil {
		return usage{}, err
	}
	var u usage
	decodeErr := json.NewDecoder(r).Decode(&u)
	if err := cmd.Wait(); err != nil {
		return u, fmt.Errorf("%q: %w\n%s", c.args, errors.Join(err, ctx.Err()), out.Bytes())
	}
	return u, decodeErr
}

// measureChild runs a program, writes its usage to descriptor 3 and returns its exit code.
func measureChild(args []string) int {
	pipe := os.NewFile(3, "usage")
	syscall.CloseOnExec(3)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 127
	}
	u := usage{Wall: wall.Seconds(), User: cmd.ProcessState.UserTime().Seconds(), System: cmd.ProcessState.SystemTime().Seconds()}
	if ru, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.RSS = int64(ru.Maxrss)
		if runtime.GOOS != "darwin" { // there it is in bytes
			u.RSS *= 1024
		}
	}
	if err := json.NewEncoder(pipe).Encode(u); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 127
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	return 128 // killed
}

// tail keeps the last bytes written to it.
type tail struct {
	bytes.Buffer
	limit int
}

func (t *tail) Write(p []byte) (int, error) {
	t.Buffer.Write(p)
	if n := t.Len() - t.limit; n > 0 {
		t.Next(n)
	}
	return len(p), nil
}
