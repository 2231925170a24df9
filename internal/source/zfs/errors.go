package zfs

import (
	"errors"
	"fmt"
	"strings"

	"firn/internal/source"
)

// NameError tells of a name that no dataset can have.
type NameError struct{ Name, Reason string }

func (e *NameError) Error() string { return fmt.Sprintf("%q is no dataset: %s", e.Name, e.Reason) }

// PoolError tells of a pool that cannot be worked with.
type PoolError struct {
	Pool, Health string // as zpool list has it, such as "SUSPENDED"
}

func (e *PoolError) Error() string {
	return fmt.Sprintf("pool %q is %s", e.Pool, strings.ToLower(e.Health))
}

// DeniedError tells that the user may not do what is needed. Rights to single datasets can be given to users (zfs allow).
type DeniedError struct {
	What string // what was tried, as a command line
	Err  error
}

func (e *DeniedError) Error() string { return fmt.Sprintf("not permitted: %v", e.Err) }

// Unwrap returns what the program said.
func (e *DeniedError) Unwrap() error { return e.Err }

// TakenError tells that the snapshot that was to be taken is there already, made by somebody else.
type TakenError struct{ Snapshot string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("snapshot %q exists already and was made by somebody else", e.Snapshot)
}

// errStream tells that what zfs send began to write is not what it was asked for.
var errStream = errors.New("this is not the stream that was asked for")

// explain makes what a program said about a dataset into what it means.
func explain(err error, dataset, command string) error {
	var failed *source.ProducerError
	if !errors.As(err, &failed) {
		return err
	}
	said := strings.ToLower(failed.Stderr)
	pool, _, _ := strings.Cut(dataset, "/")
	pool, _, _ = strings.Cut(pool, "@")
	switch {
	case strings.Contains(said, "permission denied"), strings.Contains(said, "insufficient privileges"):
		return &DeniedError{What: command, Err: err}
	case strings.Contains(said, "no such pool"):
		return &source.MissingError{What: "pool", Name: pool, Err: nil}
	case strings.Contains(said, "currently suspended"):
		return &PoolError{Pool: pool, Health: "SUSPENDED"}
	case strings.Contains(said, "dataset does not exist"):
		what := "dataset"
		if strings.ContainsAny(dataset, "@#") {
			what = "snapshot"
		}
		return &source.MissingError{What: what, Name: dataset}
	}
	return err
}

// said reports whether a program failed with a text in what it said.
func said(err error, text string) bool {
	var failed *source.ProducerError
	return errors.As(err, &failed) && strings.Contains(strings.ToLower(failed.Stderr), text)
}
