package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"firn/internal/advice"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/store"
)

// maxSecret bounds a passphrase, in bytes.
const maxSecret = 64 << 10

// credential is what the user gave to open a repository.
type credential struct {
	ids        []age.Identity
	passphrase bool // else identity files
}

// credential returns what flags or the environment give, nil if they give nothing. Flags count before the environment. It reads them once: what a pipe
// gives, or a person who is asked, cannot be had again.
func (f *secretFlags) credential(ctx context.Context, c *console) (cred *credential, err error) {
	if f.given == nil {
		cred, err = f.read(ctx, c)
		f.given = cred
	}
	return f.given, err
}

func (f *secretFlags) read(ctx context.Context, c *console) (*credential, error) {
	pass, err := f.passphrase(ctx, c)
	if err != nil {
		return nil, err
	}
	files := f.identities
	if pass == nil && len(files) == 0 {
		if pass, err = passphraseFromEnv(ctx, c, "FIRN_PASSPHRASE"); err != nil {
			return nil, err
		}
		if file := os.Getenv("FIRN_IDENTITY"); file != "" && pass == nil {
			files = []string{file}
		}
	}
	if pass == nil && len(files) == 0 {
		return nil, nil
	}
	cred := &credential{passphrase: pass != nil}
	if pass != nil {
		defer keys.Wipe(pass)
		id, err := keys.PassphraseIdentity(pass)
		if err != nil {
			return nil, err
		}
		cred.ids = append(cred.ids, id)
	}
	for _, file := range files {
		ids, err := keys.ParseIdentities(file, c.reading(ctx))
		if err != nil {
			return nil, err
		}
		cred.ids = append(cred.ids, ids...)
	}
	return cred, nil
}

// passphrase reads the passphrase that flags tell of, nil if they tell of none.
func (f *secretFlags) passphrase(ctx context.Context, c *console) ([]byte, error) {
	if f.passphraseEnv == "" {
		return passphraseOf(ctx, c, f.passphraseFile, f.passphraseCommand)
	}
	pass := os.Getenv(f.passphraseEnv)
	if pass == "" {
		return nil, failure("set it, or say otherwise where the passphrase is", "the variable %s, which is to hold the passphrase, is empty", f.passphraseEnv)
	}
	return []byte(pass), nil
}

// passphraseOf reads a passphrase from a file or a command, nil if neither is named.
func passphraseOf(ctx context.Context, c *console, file, command string) ([]byte, error) {
	switch {
	case file != "" && command != "":
		return nil, usage("give one of them", "both --passphrase-file and --passphrase-command are given")
	case file == "-":
		return passphraseFromInput(ctx, c)
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("passphrase: %w", err)
		}
		defer func() { _ = f.Close() }()
		raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		if err != nil {
			return nil, fmt.Errorf("passphrase: %w", err)
		}
		return firstLine(raw, fmt.Sprintf("passphrase file %q", file))
	case command != "":
		return passphraseFromCommand(ctx, c, command)
	}
	return nil, nil
}

// passphraseFromInput reads the first line of standard input, and nothing behind it: that may be for somebody else. A terminal is asked without showing what is typed.
func passphraseFromInput(ctx context.Context, c *console) ([]byte, error) {
	if c.terminal {
		return c.askSecret(ctx, "passphrase: ")
	}
	line, err := readUpTo(c.in, maxSecret)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("passphrase on standard input: %w", err)
	}
	return firstLine(line, "passphrase on standard input")
}

// passphraseFromEnv reads NAME, NAME_FILE or NAME_COMMAND, in this order. An empty variable is one that is not set.
func passphraseFromEnv(ctx context.Context, c *console, name string) ([]byte, error) {
	if pass := os.Getenv(name); pass != "" {
		return []byte(pass), nil
	}
	file := os.Getenv(name + "_FILE")
	command := os.Getenv(name + "_COMMAND")
	if file != "" {
		command = ""
	}
	return passphraseOf(ctx, c, file, command)
}

// passphraseFromCommand runs a command line in the system's shell. What it says on standard error is shown as it is.
func passphraseFromCommand(ctx context.Context, c *console, command string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	if runtime.GOOS == "windows" {
		cmd = exec.CommandContext(ctx, "cmd", "/c", command)
	}
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.in, &out, c.err
	if err := cmd.Run(); err != nil {
		return nil, failure("run the command by hand to see why", "passphrase command: %w", err)
	}
	defer keys.Wipe(out.Bytes())
	return firstLine(bytes.Clone(out.Bytes()), "output of the passphrase command")
}

// firstLine returns the only line of raw.
func firstLine(raw []byte, what string) ([]byte, error) {
	if len(raw) > maxSecret {
		return nil, fmt.Errorf("%s: longer than %d bytes", what, maxSecret)
	}
	line, rest, _ := bytes.Cut(raw, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, failure("the first line counts, and there must be no other", "%s: more than one line", what)
	}
	if len(line) == 0 {
		return nil, failure("", "%s: %w", what, keys.ErrEmptyPassphrase)
	}
	return line, nil
}

// reading gives the parsers of package keys what they may need.
func (c *console) reading(ctx context.Context) keys.Reading {
	r := keys.Reading{ReadFile: os.ReadFile, Plugin: plugin.NewTerminalUI(c.note, c.warn)}
	if c.terminal {
		r.Passphrase = func(file string) ([]byte, error) { return c.askSecret(ctx, fmt.Sprintf("passphrase of %q: ", file)) }
	}
	return r
}

// unlock opens the secrets of the repository with what the user gave, or, where that is nil, with a passphrase that is asked for.
func unlock(ctx context.Context, c *console, st store.Store, cred *credential) (*keys.Secrets, error) {
	if cred != nil {
		secrets, err := repo.Unlock(ctx, st, cred.ids...)
		return secrets, wrongSecret(err, st, cred)
	}
	for try := 1; ; try++ {
		cred, err := askCredential(ctx, c, st)
		if err != nil {
			return nil, err
		}
		secrets, err := repo.Unlock(ctx, st, cred.ids...)
		if !errors.Is(err, repo.ErrNoKey) || try == 3 {
			return secrets, wrongSecret(err, st, cred)
		}
		c.warn("wrong passphrase")
	}
}

// askCredential asks for a passphrase.
func askCredential(ctx context.Context, c *console, st store.Store) (*credential, error) {
	if !c.terminal {
		return nil, failure(advice.HowToUnlock, "no passphrase or identity is given, and nobody can be asked")
	}
	pass, err := c.askSecret(ctx, fmt.Sprintf("passphrase of %s: ", st.Location()))
	if err != nil {
		return nil, err
	}
	defer keys.Wipe(pass)
	id, err := keys.PassphraseIdentity(pass)
	return &credential{ids: []age.Identity{id}, passphrase: true}, err
}

// wrongSecret says in the user's words that no key opens.
func wrongSecret(err error, st store.Store, cred *credential) error {
	if !errors.Is(err, repo.ErrNoKey) {
		return err
	}
	e := &advice.Error{Text: "wrong passphrase for " + st.Location(), Hint: "check FIRN_PASSPHRASE or the passphrase's file; or give another key with --identity", Err: err}
	if !cred.passphrase {
		e.Text = "no identity given opens " + st.Location()
		e.Hint = "give the file of the right secret key with --identity, or a passphrase"
	}
	var damaged *repo.ObjectError
	if errors.As(err, &damaged) {
		e.Text += ", but there are keys that could not be tried: " + damaged.Error()
		if errors.Is(err, repo.ErrNoKeys) {
			e.Text = st.Location() + ": " + damaged.Error()
		}
		e.Hint = "get the objects below keys/ back from a copy or an older version of the store"
	}
	return e
}

// newRecipients returns whom the secrets are to be wrapped for: the recipients named, or a new passphrase. env names the variable for that.
func newRecipients(ctx context.Context, c *console, named []string, pass func() ([]byte, error)) ([]*keys.Recipient, error) {
	var all []*keys.Recipient
	for _, arg := range named {
		some, err := keys.ParseRecipients(arg, c.reading(ctx))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	if len(all) > 0 {
		return all, nil
	}
	secret, err := pass()
	if err != nil {
		return nil, err
	}
	defer keys.Wipe(secret)
	one, err := keys.Passphrase(secret, 0)
	return []*keys.Recipient{one}, err
}

// labelOf is what a key is called where the user gives no name.
func labelOf(r *keys.Recipient) string {
	text := r.String()
	if fields := strings.Fields(text); len(fields) > 2 {
		return fields[2] // the comment of an SSH key
	}
	if len(text) > 24 {
		return text[:20] + "…"
	}
	return text
}
