package keys

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

// Type is what opens a wrapped key.
type Type string

// The types of wrapped keys, as keys/<key>.json names them.
const (
	TypePassphrase Type = "passphrase"
	TypeX25519     Type = "x25519"
	TypeHybrid     Type = "hybrid"
	TypeSSH        Type = "ssh"
	TypePlugin     Type = "plugin"
)

// Valid reports whether t is one of the known types.
func (t Type) Valid() bool {
	switch t {
	case TypePassphrase, TypeX25519, TypeHybrid, TypeSSH, TypePlugin:
		return true
	}
	return false
}

// Recipient is somebody the secrets can be wrapped for.
type Recipient struct {
	kind Type
	text string
	to   age.Recipient
}

// Type returns what will open the wrapped key.
func (r *Recipient) Type() Type { return r.kind }

// Public returns the recipient as text, empty for a passphrase.
func (r *Recipient) Public() string { return r.text }

// String returns the recipient as text, or the word "passphrase".
func (r Recipient) String() string {
	if r.kind == TypePassphrase {
		return string(TypePassphrase)
	}
	return r.text
}

// Format prints what String returns for every verb, never the passphrase.
func (r Recipient) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// Age returns what seals to the recipient.
func (r *Recipient) Age() age.Recipient { return r.to }

// Errors about recipients.
var (
	ErrSecretGiven = errors.New("a secret key stands where a recipient (public key) belongs")
	ErrURL         = errors.New("recipients are not fetched from the network; store them in a file")
	ErrEmptyList   = errors.New("no recipient in the file")
)

// RecipientError tells which recipient could not be read. Text is not set where it may be a secret.
type RecipientError struct {
	File string // empty: given directly
	Line int    // in File, from 1
	Text string
	Err  error
}

func (e *RecipientError) Error() string {
	where := "recipient"
	if e.File != "" {
		where = fmt.Sprintf("recipient in %q", e.File)
		if e.Line > 0 {
			where += fmt.Sprintf(" line %d", e.Line)
		}
	}
	if e.Text != "" {
		where += fmt.Sprintf(" %.80q", e.Text)
	}
	return where + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *RecipientError) Unwrap() error { return e.Err }

// Reading gives the parsers what they may need. Every field is optional.
type Reading struct {
	// ReadFile reads a file named by the user.
	ReadFile func(path string) ([]byte, error)
	// Passphrase asks for the passphrase of an encrypted SSH key or identity file, only when it is needed.
	Passphrase func(file string) ([]byte, error)
	// Plugin talks to the user for age plugins.
	Plugin *plugin.ClientUI
}

func (r Reading) file(path string) ([]byte, error) {
	if r.ReadFile == nil {
		return nil, errors.New("files are not read here")
	}
	raw, err := r.ReadFile(path)
	if err == nil && len(raw) > maxKeyFile {
		return nil, fmt.Errorf("longer than %d bytes", maxKeyFile)
	}
	return raw, err
}

func (r Reading) ui() *plugin.ClientUI {
	if r.Plugin == nil {
		return &plugin.ClientUI{}
	}
	return r.Plugin
}

// ParseRecipients reads one argument: a recipient ("age1…", "age1pq1…", "ssh-ed25519 …", "ssh-rsa …", a plugin's "age1name1…"), or "@file" or a
// path: a file with one recipient a line, empty lines and "#" comments left out.
func ParseRecipients(arg string, r Reading) ([]*Recipient, error) {
	text := strings.TrimSpace(arg)
	path, isFile := strings.CutPrefix(text, "@")
	switch {
	case isFile:
	case looksSecret(text):
		return nil, &RecipientError{Err: ErrSecretGiven}
	case strings.HasPrefix(text, "age1") || strings.HasPrefix(text, "ssh-"):
		one, err := ParseRecipient(text, r.Plugin)
		if err != nil {
			return nil, &RecipientError{Text: text, Err: err}
		}
		return []*Recipient{one}, nil
	case strings.Contains(text, "://") || strings.HasPrefix(text, "github:"):
		return nil, &RecipientError{Text: text, Err: ErrURL}
	}
	raw, err := r.file(path)
	if err != nil {
		return nil, &RecipientError{File: path, Err: err}
	}
	return parseRecipientFile(path, raw, r)
}

func parseRecipientFile(path string, raw []byte, r Reading) (list []*Recipient, err error) {
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, maxKeyFile)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		if looksSecret(text) {
			return nil, &RecipientError{path, n, "", ErrSecretGiven}
		}
		one, err := ParseRecipient(text, r.Plugin)
		if err != nil {
			return nil, &RecipientError{path, n, "", err}
		}
		if list = append(list, one); len(list) > maxGenerations {
			return nil, &RecipientError{path, n, "", fmt.Errorf("more than %d recipients", maxGenerations)}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, &RecipientError{File: path, Err: err}
	}
	if len(list) == 0 {
		return nil, &RecipientError{File: path, Err: ErrEmptyList}
	}
	return list, nil
}

func looksSecret(text string) bool {
	upper := strings.ToUpper(text)
	return strings.HasPrefix(upper, "AGE-SECRET-KEY-") || strings.HasPrefix(upper, "AGE-PLUGIN-") || strings.HasPrefix(text, "-----BEGIN")
}

// ParseRecipient reads the text of one recipient. ui may be nil.
func ParseRecipient(text string, ui *plugin.ClientUI) (*Recipient, error) {
	if len(text) > 2*maxRecipient {
		return nil, fmt.Errorf("longer than %d bytes", 2*maxRecipient)
	}
	if strings.HasPrefix(text, "ssh-") {
		to, public, err := parseSSHRecipient(text)
		if err != nil {
			return nil, err
		}
		return &Recipient{TypeSSH, public, to}, nil
	}
	if to, err := parseNative(text); err == nil {
		if _, ok := to.(*age.HybridRecipient); ok {
			return &Recipient{TypeHybrid, text, to}, nil
		}
		return &Recipient{TypeX25519, text, to}, nil
	}
	// Plugin recipients have their name between two ones: age1name1…
	if name, _, err := plugin.ParseRecipient(text); err == nil && name != "pq" {
		to, err := plugin.NewRecipient(text, Reading{Plugin: ui}.ui())
		if err != nil {
			return nil, err
		}
		return &Recipient{TypePlugin, text, to}, nil
	}
	return nil, errors.New("malformed or of an unknown kind")
}

// ClassicRecipientError means that a hybrid repository was to be wrapped for a recipient which a quantum computer could open.
type ClassicRecipientError struct{ Type Type }

func (e *ClassicRecipientError) Error() string {
	return fmt.Sprintf("a post-quantum repository takes hybrid recipients and passphrases only, not one of type %q", e.Type)
}

// CheckRecipient refuses recipients that would weaken a repository of this kind.
func CheckRecipient(seal Seal, r *Recipient) error {
	if seal == Hybrid && r.kind != TypeHybrid && r.kind != TypePassphrase {
		return &ClassicRecipientError{r.kind}
	}
	return nil
}
