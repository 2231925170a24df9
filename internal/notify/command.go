package notify

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"

	"firn/internal/program"
	"firn/internal/source"
)

// command runs a line in the system's shell. The message is its standard input, as JSON or as a template has it; it need not read it. FIRN_EVENT, FIRN_HOST, FIRN_JOB, FIRN_KIND and
// FIRN_SUBJECT are in its environment.
type command struct{ c *Channel }

func newCommand(c *Channel) (sender, error) {
	if strings.TrimSpace(c.o.Command) == "" {
		return nil, c.wrong("command", "is missing")
	}
	return &command{c}, nil
}

func (w *command) send(ctx context.Context, n *notice) error {
	input := []byte(n.body)
	if n.body == "" {
		input = n.m.JSON()
	}
	cmd := program.Shell(w.c.o.Command)
	cmd.Label = "it"
	for name, value := range map[string]string{"EVENT": string(n.m.Event), "HOST": n.m.Host, "JOB": n.m.Job, "KIND": n.m.Kind, "SUBJECT": n.subject} {
		cmd.Env = append(cmd.Env, "FIRN_"+name+"="+line(value))
	}
	err := cmd.Feed(ctx, bytes.NewReader(input))
	if err == nil || errors.Is(err, program.ErrUnread) {
		return nil
	}
	f := &failure{reason: ErrCommand, err: err, temporary: true}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		f.status = exit.ExitCode()
		f.temporary = f.status != 126 && f.status != 127 // what the shell says of programs that are not there
	}
	var none *source.ProgramError
	if errors.As(err, &none) {
		f.temporary = false
	}
	return f
}
