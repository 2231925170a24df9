package cli

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"

	"firn/internal/keys"
)

// maxTyped is the longest line that is read from a terminal, in bytes.
const maxTyped = 4096

// askSecret asks for something that is not shown. Only where c.terminal.
func (c *console) askSecret(ctx context.Context, question string) ([]byte, error) {
	return c.ask(ctx, question, func() ([]byte, error) {
		secret, err := term.ReadPassword(int(c.in.Fd()))
		fmt.Fprintln(c.err)
		return secret, err
	})
}

// askNewSecret asks twice.
func (c *console) askNewSecret(ctx context.Context, what string) ([]byte, error) {
	for range 3 {
		first, err := c.askSecret(ctx, what+": ")
		if err != nil {
			return nil, err
		}
		if len(first) == 0 {
			c.warn("it must not be empty")
			continue
		}
		second, err := c.askSecret(ctx, what+" again: ")
		if err != nil {
			return nil, err
		}
		same := subtle.ConstantTimeCompare(first, second) == 1
		keys.Wipe(second)
		if same {
			return first, nil
		}
		keys.Wipe(first)
		c.warn("the two differ")
	}
	return nil, failure("", "no passphrase was given in three tries")
}

// askLine asks for a line of text.
func (c *console) askLine(ctx context.Context, question string) (string, error) {
	line, err := c.ask(ctx, question, func() ([]byte, error) { return readLine(c.in) })
	return strings.TrimSpace(string(line)), err
}

// ask runs read, and puts the terminal back as it was if ctx ends meanwhile. read then goes on waiting; the command is at its end.
func (c *console) ask(ctx context.Context, question string, read func() ([]byte, error)) ([]byte, error) {
	c.endLine()
	before, err := term.GetState(int(c.in.Fd()))
	if err != nil {
		return nil, err
	}
	fmt.Fprint(c.err, question)
	type answer struct {
		text []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := read()
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		if errors.Is(a.err, io.EOF) {
			return nil, failure("", "no answer was given")
		}
		return a.text, a.err
	case <-ctx.Done():
		_ = term.Restore(int(c.in.Fd()), before)
		fmt.Fprintln(c.err)
		return nil, ctx.Err()
	}
}

// readLine reads a line that somebody has typed.
func readLine(r io.Reader) ([]byte, error) { return readUpTo(r, maxTyped) }

// readUpTo reads up to a newline, byte by byte, so that nothing behind it is lost to the next question.
func readUpTo(r io.Reader, most int) ([]byte, error) {
	var line []byte
	var b [1]byte
	for len(line) < most {
		n, err := r.Read(b[:])
		if n == 1 && b[0] == '\n' {
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		line = append(line, b[:n]...)
		if err != nil {
			if len(line) > 0 && errors.Is(err, io.EOF) {
				return line, nil
			}
			return nil, err
		}
	}
	return nil, fmt.Errorf("more than %d bytes in a line", most)
}

// confirm asks whether to go on, and fails unless somebody says yes. Where nobody can be asked it says how to do without.
func (c *console) confirm(ctx context.Context, question string) error {
	if !c.terminal {
		return failure("add --yes", "nobody can be asked: %s", strings.TrimSuffix(question, "?"))
	}
	answer, err := c.askLine(ctx, question+" [y/N] ")
	if err != nil {
		return err
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return nil
	}
	return failure("", "nothing was done")
}
