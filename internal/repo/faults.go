package repo

import (
	"errors"

	"filippo.io/age"

	"firn/internal/seal"
	"firn/internal/store"
)

// isNoIdentity reports whether an object was sealed for somebody else.
func isNoIdentity(err error) bool {
	var none *age.NoIdentityMatchError
	return errors.As(err, &none) || errors.Is(err, seal.ErrNoIdentity)
}

// isDamage reports whether an object is gone, cut short, or out of reach for now, as against a store that does not answer.
func isDamage(err error) bool {
	return errors.Is(err, store.ErrNotExist) || errors.Is(err, store.ErrRange) || errors.Is(err, store.ErrCold)
}

// isThere reports whether a Put failed only because the object is there: its name is its sum.
func isThere(err error) bool { return errors.Is(err, store.ErrExist) }
