package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"
	"golang.org/x/crypto/ssh"
)

// IdentityError tells which identity file could not be read. It never repeats content.
type IdentityError struct {
	File string
	Line int // from 1; 0: the file as a whole
	Err  error
}

func (e *IdentityError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("identity file %q line %d: %s", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("identity file %q: %s", e.File, e.Err)
}

// Unwrap returns the cause.
func (e *IdentityError) Unwrap() error { return e.Err }

// Errors about identity files.
var (
	ErrNoIdentity      = errors.New("no identity in the file")
	ErrNeedsPassphrase = errors.New("the file is encrypted and nobody can be asked for its passphrase")
	errUnknownIdentity = errors.New("not an age, plugin or ssh secret key")
	errPublicGiven     = errors.New("a recipient (public key) stands where a secret key belongs")
)

// ParseIdentities reads an identity file: lines of age and plugin secret keys, an SSH private key, or either of the first two encrypted with a
// passphrase by age. Passphrases are asked for through r, that of an SSH key only when something is to be opened with it.
func ParseIdentities(path string, r Reading) ([]age.Identity, error) {
	raw, err := r.file(path)
	if err != nil {
		return nil, &IdentityError{File: path, Err: err}
	}
	defer Wipe(raw)
	return parseIdentityFile(path, raw, r)
}

const ageMagic = "age-encryption.org/v1\n"

func parseIdentityFile(path string, raw []byte, r Reading) ([]age.Identity, error) {
	head := bytes.TrimSpace(raw)
	var ids []age.Identity
	var err error
	switch {
	case bytes.HasPrefix(raw, []byte(ageMagic)), bytes.HasPrefix(head, []byte(armor.Header)):
		return parseEncrypted(path, raw, r)
	case bytes.HasPrefix(head, []byte("-----BEGIN")):
		var id age.Identity
		if id, err = parseSSHIdentity(path, raw, r); err == nil {
			ids = []age.Identity{id}
		}
	default:
		return parseIdentityLines(path, raw, r)
	}
	if err != nil {
		return nil, &IdentityError{File: path, Err: err}
	}
	return ids, nil
}

func parseIdentityLines(path string, raw []byte, r Reading) (ids []age.Identity, err error) {
	n := 0
	for line := range strings.Lines(string(raw)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		id, err := parseIdentityLine(line, r)
		if err != nil {
			return nil, &IdentityError{path, n, err}
		}
		if ids = append(ids, id); len(ids) > maxGenerations {
			return nil, &IdentityError{path, n, fmt.Errorf("more than %d identities", maxGenerations)}
		}
	}
	if len(ids) == 0 {
		return nil, &IdentityError{File: path, Err: ErrNoIdentity}
	}
	return ids, nil
}

func parseIdentityLine(line string, r Reading) (age.Identity, error) {
	switch {
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		if _, _, err := plugin.ParseIdentity(line); err != nil {
			return nil, errUnknownIdentity
		}
		return plugin.NewIdentity(line, r.ui())
	case strings.HasPrefix(line, "AGE-SECRET-KEY-"):
		return ParseIdentity(line)
	case strings.HasPrefix(line, "age1"), strings.HasPrefix(line, "ssh-"):
		return nil, errPublicGiven
	}
	return nil, errUnknownIdentity
}

// parseEncrypted opens an identity file that age encrypted with a passphrase.
func parseEncrypted(path string, raw []byte, r Reading) ([]age.Identity, error) {
	if r.Passphrase == nil {
		return nil, &IdentityError{File: path, Err: ErrNeedsPassphrase}
	}
	pass, err := r.Passphrase(path)
	if err != nil {
		return nil, &IdentityError{File: path, Err: err}
	}
	defer Wipe(pass)
	id, err := PassphraseIdentity(pass)
	if err != nil {
		return nil, &IdentityError{File: path, Err: err}
	}
	var in io.Reader = bytes.NewReader(raw)
	if !bytes.HasPrefix(raw, []byte(ageMagic)) {
		in = armor.NewReader(in)
	}
	var plain []byte
	if in, err = age.Decrypt(in, id); err == nil {
		plain, err = io.ReadAll(io.LimitReader(in, maxKeyFile))
		defer Wipe(plain)
	}
	if err != nil {
		return nil, &IdentityError{File: path, Err: err}
	}
	return parseIdentityLines(path, plain, r)
}

// parseSSHIdentity reads a private key in PEM, as ssh-keygen writes it.
func parseSSHIdentity(path string, raw []byte, r Reading) (age.Identity, error) {
	_, err := ssh.ParseRawPrivateKey(raw)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return lockedSSH(path, raw, locked.PublicKey, r)
	}
	if err != nil {
		return nil, errors.New("malformed or unknown ssh private key")
	}
	return newSSHIdentity(raw)
}

func lockedSSH(path string, raw []byte, key ssh.PublicKey, r Reading) (age.Identity, error) {
	if r.Passphrase == nil {
		return nil, ErrNeedsPassphrase
	}
	if key == nil { // the old PEM form keeps its public half in <path>.pub
		pub, err := r.file(path + ".pub")
		if err != nil {
			return nil, fmt.Errorf("public half: %w", err)
		}
		if key, _, _, _, err = ssh.ParseAuthorizedKey(pub); err != nil {
			return nil, errors.New("public half: malformed ssh public key")
		}
	}
	return newLockedSSH(key, bytes.Clone(raw), func() ([]byte, error) { return r.Passphrase(path) })
}
