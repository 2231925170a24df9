package cli

import (
	"errors"
	"io/fs"

	"firn/internal/advice"
	"firn/internal/bucket"
	"firn/internal/store"
	"firn/internal/sync"
)

// syncHint says what to do about a side as a whole.
func syncHint(err error) error {
	var place *sync.PlaceError
	if !errors.As(err, &place) {
		return err
	}
	hint := ""
	switch {
	case errors.Is(err, store.ErrNoStore):
		hint = "check the bucket's name, --endpoint and --region: firn sync makes no bucket"
	case errors.Is(err, bucket.ErrDenied) && place.Doing == "list":
		hint = "the credentials must allow to list the bucket (s3:ListBucket): without it nobody knows what is there"
	case errors.Is(err, bucket.ErrDenied):
		hint = "the credentials must allow to put, get and, with --delete, delete objects there"
	case errors.Is(err, sync.ErrOurs):
		hint = "choose another prefix for TO, or leave out by --exclude where they lie; backups are removed by firn forget and firn prune"
	case errors.Is(err, sync.ErrFile):
		hint = "give the folder in which it lies, and --exclude '*' --include NAME"
	case errors.Is(err, fs.ErrNotExist):
		hint = "check the path, and that what should be mounted there is"
	}
	if hint == "" {
		return err
	}
	return &advice.Error{Err: err, Hint: hint}
}
