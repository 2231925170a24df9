//go:build unix

package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"firn/internal/advice"
)

// hangups are the signals of a terminal that goes away.
func hangups() []os.Signal { return []os.Signal{syscall.SIGHUP} }

// readySign is what a process in the background writes once it is mounted.
const readySign = "mounted\n"

// behind starts this command once more, which asks what it has to ask on this terminal and leaves it once it is mounted. It returns then, or when that failed.
func (x *mountCommand) behind(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	var args []string
	for _, a := range os.Args[1:] {
		if a != "--detach" && !strings.HasPrefix(a, "--detach=") {
			args = append(args, a)
		}
	}
	cmd := exec.CommandContext(ctx, self, append(args, "--ready-fd", strconv.Itoa(firstExtra))...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = x.c.in, os.Stdout, os.Stderr, []*os.File{w}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		return err
	}
	said, err := io.ReadAll(io.LimitReader(r, int64(len(readySign))))
	if err == nil && string(said) == readySign {
		return cmd.Process.Release()
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return &advice.Error{Code: exit.ExitCode()} // it has said why
	}
	if err == nil {
		err = errors.New("it ended before it was mounted")
	}
	return err
}

// firstExtra is the number of the first file that a child inherits beside the standard ones.
const firstExtra = 3

// settle leaves the terminal, and tells who waits that it is mounted.
func (x *mountCommand) settle() error {
	ready := os.NewFile(uintptr(x.readyFD), "ready")
	if ready == nil {
		return usage("", "--ready-fd %d is not open", x.readyFD)
	}
	defer func() { _ = ready.Close() }()
	out := os.DevNull
	if x.log != "" {
		out = x.log
	}
	log, err := os.OpenFile(out, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	x.c.endLine()
	_, _ = syscall.Setsid() // fails for who leads a session already
	for fd, f := range map[int]*os.File{0: null, 1: log, 2: log} {
		if err := duplicate(int(f.Fd()), fd); err != nil {
			return err
		}
	}
	x.c.mu.Lock()
	x.c.live, x.c.terminal = false, false
	x.c.mu.Unlock()
	_, err = io.WriteString(ready, readySign)
	return errors.Join(err, log.Close(), null.Close())
}
