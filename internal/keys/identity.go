package keys

import (
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// Identity is a native age identity, X25519 or hybrid. It prints as "redacted".
type Identity struct {
	seal Seal
	age  age.Identity
	to   age.Recipient
}

// GenerateIdentity makes a random identity.
func GenerateIdentity(seal Seal) (*Identity, error) {
	var secret Secret
	random(secret[:])
	defer secret.Wipe()
	return identityFromBytes(seal, secret[:])
}

// ParseIdentity reads "AGE-SECRET-KEY-1…" or "AGE-SECRET-KEY-PQ-1…". Errors never repeat the text.
func ParseIdentity(text string) (*Identity, error) {
	switch {
	case strings.HasPrefix(text, "AGE-SECRET-KEY-PQ-1"):
		id, err := age.ParseHybridIdentity(text)
		if err != nil {
			return nil, fmt.Errorf("hybrid identity: malformed secret key")
		}
		return &Identity{Hybrid, id, id.Recipient()}, nil
	case strings.HasPrefix(text, "AGE-SECRET-KEY-1"):
		id, err := age.ParseX25519Identity(text)
		if err != nil {
			return nil, fmt.Errorf("x25519 identity: malformed secret key")
		}
		return &Identity{X25519, id, id.Recipient()}, nil
	}
	return nil, fmt.Errorf("identity: not a native age secret key")
}

// identityFromBytes makes the identity whose secret is these 32 bytes (FORMAT §4).
func identityFromBytes(seal Seal, secret []byte) (*Identity, error) {
	switch seal {
	case X25519:
		return ParseIdentity(strings.ToUpper(bech32Encode("age-secret-key-", secret)))
	case Hybrid:
		return ParseIdentity(strings.ToUpper(bech32Encode("age-secret-key-pq-", secret)))
	}
	return nil, fmt.Errorf("identity: unknown kind %q", seal)
}

// Seal returns the kind of the identity.
func (i *Identity) Seal() Seal { return i.seal }

// Recipient returns the public half.
func (i *Identity) Recipient() age.Recipient { return i.to }

// Public returns the public half as text: "age1…" or "age1pq1…".
func (i *Identity) Public() string { return i.to.(fmt.Stringer).String() }

// Secret returns the secret key as text; it is meant for key files only.
func (i *Identity) Secret() string { return i.age.(fmt.Stringer).String() }

// Unwrap makes Identity an age.Identity.
func (i *Identity) Unwrap(stanzas []*age.Stanza) ([]byte, error) { return i.age.Unwrap(stanzas) }

// Format prints "redacted" for every verb.
func (i *Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText keeps the secret out of JSON and of structured logs.
func (i *Identity) MarshalText() ([]byte, error) { return []byte(redacted), nil }
