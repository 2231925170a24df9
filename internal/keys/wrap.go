package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// ErrNoKey means that none of the identities opens the object, or that the passphrase is wrong.
var ErrNoKey = errors.New("no identity or passphrase fits")

// Wrap returns the object keys/<key>.age: the secrets for one recipient. It refuses recipients that would weaken a hybrid repository
// (*ClassicRecipientError).
func Wrap(s *Secrets, r *Recipient) ([]byte, error) {
	if err := CheckRecipient(s.strictest(), r); err != nil {
		return nil, err
	}
	plain, err := s.Marshal()
	if err != nil {
		return nil, err
	}
	defer Wipe(plain)
	var object bytes.Buffer
	w, err := age.Encrypt(&object, r.to)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("wrap key for %s: %w", r.kind, err)
	}
	return object.Bytes(), nil
}

// strictest is Hybrid as soon as one generation is.
func (s *Secrets) strictest() Seal {
	for _, g := range s.Generations {
		if g.Identity.Seal() == Hybrid {
			return Hybrid
		}
	}
	return X25519
}

// Unwrap opens a wrapped key of at most 1 MiB. ErrNoKey when no identity fits.
func Unwrap(object []byte, ids ...age.Identity) (*Secrets, error) {
	if len(object) > maxKeyFile {
		return nil, fmt.Errorf("wrapped key: longer than %d bytes", maxKeyFile)
	}
	r, err := age.Decrypt(bytes.NewReader(object), ids...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, fmt.Errorf("wrapped key: %w", ErrNoKey)
	}
	if err != nil {
		return nil, fmt.Errorf("wrapped key: %w", err)
	}
	plain := make([]byte, 0, len(object)) // plaintext is shorter: one buffer, wiped at the end
	defer func() { Wipe(plain[:cap(plain)]) }()
	for {
		n, err := r.Read(plain[len(plain):cap(plain)])
		plain = plain[:len(plain)+n]
		if errors.Is(err, io.EOF) {
			return ParseSecrets(plain)
		}
		if err != nil {
			return nil, fmt.Errorf("wrapped key: %w", err)
		}
	}
}

// Wrapped is one keys/<key>.age.
type Wrapped struct {
	Key    KeyID
	Object []byte
}

// UnwrapAny opens the first of several wrapped keys that an identity fits, those without scrypt before those with, since scrypt is slow by
// intent. A wrong passphrase is tried on every one, whatever the others said, so the time tells nothing about which key is near. An
// object that is damaged does not hide the others; its error comes back only if none opens.
func UnwrapAny(objects []Wrapped, ids ...age.Identity) (*Secrets, KeyID, error) {
	var problems []error
	for _, slow := range []bool{false, true} {
		for _, o := range objects {
			if isScrypt(o.Object) != slow {
				continue
			}
			s, err := Unwrap(o.Object, ids...)
			if err == nil {
				return s, o.Key, nil
			}
			if !errors.Is(err, ErrNoKey) {
				problems = append(problems, fmt.Errorf("key %s: %w", o.Key, err))
			}
		}
	}
	return nil, KeyID{}, errors.Join(append([]error{ErrNoKey}, problems...)...)
}

// isScrypt looks at the first stanza, which stands in the clear.
func isScrypt(object []byte) bool {
	return bytes.HasPrefix(object, []byte("age-encryption.org/v1\n-> scrypt "))
}
