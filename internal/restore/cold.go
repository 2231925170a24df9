package restore

import (
	"context"
	"errors"
	"fmt"

	"firn/internal/repo"
	"firn/internal/store"
)

// ColdError tells that packs have to be thawed before the restore can go on.
type ColdError struct {
	// Objects are packs: the first could not be read; the others are what else the whole restore needs of its class, in order of first need.
	// Some of them may be thawed, or not be needed any more since what they hold is in the target.
	Objects []string
	Class   string // storage class, as the index has it
	Err     error
}

func (e *ColdError) Error() string {
	text := fmt.Sprintf("pack %s lies in a cold class and is not thawed", e.Objects[0])
	if n := len(e.Objects) - 1; n > 0 {
		text += fmt.Sprintf("; %d others that are needed lie in the same class", n)
	}
	return text
}

// Unwrap returns what the store said.
func (e *ColdError) Unwrap() error { return e.Err }

// coldError tells what else is cold, where that is why a run ended.
func coldError(ctx context.Context, o Options, err error) error {
	var damage *repo.DamageError
	if !errors.Is(err, store.ErrCold) || !errors.As(err, &damage) {
		return err
	}
	cold := &ColdError{Objects: []string{damage.Object}, Err: err}
	needs, perr := Plan(ctx, o)
	if perr != nil {
		return cold
	}
	for i := range needs.Packs {
		if needs.Packs[i].Object == damage.Object {
			cold.Class = needs.Packs[i].Class
		}
	}
	for i := range needs.Packs {
		if p := &needs.Packs[i]; p.Class == cold.Class && p.Object != damage.Object {
			cold.Objects = append(cold.Objects, p.Object)
		}
	}
	return cold
}
