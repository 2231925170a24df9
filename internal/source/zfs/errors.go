package zfs

import (
	"errors"
	"fmt"
	"slices"
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
	pool, _, _ := strings.Cut(dataset, "/")
	pool, _, _ = strings.Cut(pool, "@")
	switch {
	case said(err, "permission denied", "insufficient privileges"):
		return &DeniedError{What: command, Err: err}
	case said(err, "no such pool"):
		return &source.MissingError{What: "pool", Name: pool}
	case said(err, "currently suspended"):
		return &PoolError{Pool: pool, Health: "SUSPENDED"}
	case said(err, "dataset does not exist"):
		what := "dataset"
		if strings.ContainsAny(dataset, "@#") {
			what = "snapshot"
		}
		return &source.MissingError{What: what, Name: dataset}
	}
	return err
}

// said reports whether a program failed with one of some texts in what it said, however it broke the lines.
func said(err error, texts ...string) bool {
	var failed *source.ProducerError
	if !errors.As(err, &failed) {
		return false
	}
	all := strings.ToLower(strings.Join(strings.Fields(failed.Stderr), " "))
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(all, t) })
}
