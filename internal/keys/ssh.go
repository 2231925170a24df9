package keys

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"
)

// The SSH recipients and identities are age's own (package agessh); here they only learn not to print themselves.

var errSSHKey = errors.New("ssh key: want ssh-ed25519, or ssh-rsa of at least 2048 bits")

// parseSSHRecipient reads a line of authorized_keys and returns it without its comment.
func parseSSHRecipient(line string) (age.Recipient, string, error) {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(options) > 0 || len(rest) > 0 {
		return nil, "", errors.New("malformed ssh public key")
	}
	public := key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal())
	to, err := agessh.ParseRecipient(public)
	if err != nil {
		return nil, "", errSSHKey
	}
	return to, public, nil
}

// sshIdentity is an SSH private key, open or under a passphrase. It prints as "redacted".
type sshIdentity struct{ id age.Identity }

// newSSHIdentity reads a private key without a passphrase, in PEM.
func newSSHIdentity(pem []byte) (*sshIdentity, error) {
	id, err := agessh.ParseIdentity(pem)
	if err != nil {
		return nil, errSSHKey
	}
	return &sshIdentity{id}, nil
}

// newLockedSSH takes a private key under a passphrase, which is asked for only when a stanza fits.
func newLockedSSH(public ssh.PublicKey, pem []byte, ask func() ([]byte, error)) (*sshIdentity, error) {
	id, err := agessh.NewEncryptedSSHIdentity(public, pem, ask)
	if err != nil {
		return nil, errSSHKey
	}
	return &sshIdentity{id}, nil
}

// Unwrap makes sshIdentity an age.Identity.
func (i *sshIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) { return i.id.Unwrap(stanzas) }

// Format prints "redacted" for every verb.
func (i *sshIdentity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
