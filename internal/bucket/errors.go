package bucket

import (
	"errors"
	"fmt"
)

// ErrShort is content that ended before the size that was told. What may have been stored of it is nothing.
var ErrShort = errors.New("content is shorter than it was said to be")

// ErrKey is a key that this server does not take, or that no server does: empty, longer than MaxKey, or no UTF-8.
var ErrKey = errors.New("the server takes no object of that name")

// Error is a call that failed.
type Error struct {
	Op  string // list, head, get, put, copy, delete, upload, thaw
	Key string // or the prefix of a listing
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %q: %v", e.Op, e.Key, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Fail returns err as an *Error, unless it is one already or nil.
func Fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(*Error); ok {
		return err
	}
	return &Error{Op: op, Key: key, Err: err}
}

// Counter tells how many requests of each operation of the server's API were made. Found by type assertion.
type Counter interface{ Requests() map[string]int64 }
