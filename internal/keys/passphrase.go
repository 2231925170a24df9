package keys

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"filippo.io/age"
)

// Work factors of scrypt (RFC 7914, r = 8, p = 1): a run takes 2^n KiB of memory.
const (
	DefaultWork = 16 // 64 MiB, about 0.12 s on a 2020s core
	MinWork     = 10
	MaxWork     = 20 // 1 GiB; the most that opening accepts, so that a hostile store cannot ask for more
)

// ErrEmptyPassphrase means just that.
var ErrEmptyPassphrase = errors.New("the passphrase is empty")

// Passphrase returns the recipient that a passphrase opens. work is MinWork … MaxWork, or 0 for DefaultWork.
func Passphrase(passphrase []byte, work int) (*Recipient, error) {
	if work == 0 {
		work = DefaultWork
	}
	if work < MinWork || work > MaxWork {
		return nil, fmt.Errorf("work factor %d: want %d to %d", work, MinWork, MaxWork)
	}
	if len(passphrase) == 0 {
		return nil, ErrEmptyPassphrase
	}
	to, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, err
	}
	to.SetWorkFactor(work)
	return &Recipient{TypePassphrase, "", scryptRecipient{func() *age.ScryptRecipient { return to }}}, nil
}

// PassphraseIdentity opens what Passphrase wrapped.
func PassphraseIdentity(passphrase []byte) (age.Identity, error) {
	if len(passphrase) == 0 {
		return nil, ErrEmptyPassphrase
	}
	id, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, err
	}
	id.SetMaxWorkFactor(MaxWork)
	return &scryptIdentity{func() *age.ScryptIdentity { return id }}, nil
}

// scryptRecipient gives scrypt's memory back after each run.
// The passphrase is behind a function, since fmt looks through pointers.
type scryptRecipient struct{ to func() *age.ScryptRecipient }

func (r scryptRecipient) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	defer debug.FreeOSMemory()
	return r.to().Wrap(fileKey)
}

func (r scryptRecipient) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	defer debug.FreeOSMemory()
	return r.to().WrapWithLabels(fileKey)
}

func (r scryptRecipient) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// scryptIdentity gives scrypt's memory back after each run, so that several keys cost the memory of one.
type scryptIdentity struct{ id func() *age.ScryptIdentity }

func (i *scryptIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, s := range stanzas {
		if s.Type == "scrypt" {
			defer debug.FreeOSMemory()
			break
		}
	}
	return i.id().Unwrap(stanzas)
}

func (i *scryptIdentity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
