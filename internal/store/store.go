// Package store is the contract between firn and whatever keeps its objects: a flat set of named objects that are
// created once, whole, and never overwritten.
//
// A name is at most 512 bytes of [a-z0-9._/-] and upper-case letters, in components of at most 255 bytes that are not empty,
// "." or "..". A prefix is a name or the beginning of one, and may be empty. No object's name followed by "/" begins another
// object's name.
//
// Every method may be called by many goroutines at once. A method returns promptly after its context ends. An object
// that Put reported stored survives a crash of this machine and is seen by every List, Stat and Get that begins after Put
// returned (DESIGN, "Prune, lock-free": the protocol rests on it; a store that cannot promise it says so by Weak).
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"firn/internal/digest"
)

// Store keeps objects.
type Store interface {
	// Put creates the object name from size bytes of r. It fails with ErrExist, storing nothing, if name is there
	// already. Where sum is not zero the store verifies that the content has that SHA-256, if it can, and fails with
	// ErrChecksum. Put reads r from its start. On any error but ErrExist and ErrChecksum the object may or may not be there.
	Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o PutOptions) error
	// Get opens length bytes of the object from offset on; length < 0 means to the end. It fails with ErrNotExist, or
	// with ErrCold if the object lies in a class that has to be thawed first. An offset past the end is ErrRange; a
	// range that starts at the end or has no length is empty; one that reaches past the end is cut short. The caller
	// closes the reader; reads fail after ctx ends. A reader that ends early by any fault says so by an error, never by EOF.
	Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
	// List calls fn for every object whose name starts with prefix, in bytewise order of names, and stops at the first error that fn
	// returns, which it returns. Objects with names that sort at or before after are left out. Half-written objects are never listed.
	List(ctx context.Context, prefix, after string, fn func(Info) error) error
	// Stat tells about one object, or fails with ErrNotExist.
	Stat(ctx context.Context, name string) (Info, error)
	// Delete removes an object. Removing what is not there is no error.
	Delete(ctx context.Context, name string) error
	// Location is how the user writes this store, without secrets.
	Location() string
	// Close releases what the store holds; no method is called after it.
	Close() error
}

// PutOptions tell how to store an object.
type PutOptions struct {
	Sum   digest.Object // SHA-256 of the content; zero: unknown
	Class string        // storage class, in the store's own words; empty: the store's default
	// Parts, where the store can send in parts, is the size of each, in bytes, for objects of more than one; 0: as the store sees fit.
	Parts  int64
	Memory UploadMemory // of this object's upload in parts; nil: one that is cut off is given up
}

// Info is what a store tells about an object.
type Info struct {
	Name     string
	Size     int64
	Modified time.Time     // by the store's clock
	Class    string        // storage class, empty where the store has none
	Sum      digest.Object // stored SHA-256; zero where the store does not tell (List usually does not)
	Copy     Copy          // of an object in a cold class; from Stat and Thawer.ListCopies only
}

// Pending is an object that is being written. Exactly one of Commit and Abort is called, then nothing else.
type Pending interface {
	io.Writer
	// Commit makes the object visible under name, durably and atomically, or fails with ErrExist.
	Commit(ctx context.Context, name string) error
	// Abort leaves nothing behind.
	Abort() error
}

// Creator is a store into which an object can be streamed before its name is known, so that nothing is written twice.
type Creator interface {
	Create(ctx context.Context, o PutOptions) (Pending, error)
}

// Maker is a store whose root (folder, bucket) may have to be made first.
type Maker interface {
	// Make creates the root if it is not there.
	Make(ctx context.Context) error
}

// Weak is a store that does not keep all of the contract; Weakness says in what, in a few words each.
type Weak interface {
	Weakness() []string
}

var (
	ErrExist    = errors.New("object exists already")
	ErrNotExist = errors.New("object does not exist")
	ErrCold     = errors.New("object is in a cold class and not thawed")
	ErrRange    = errors.New("offset is past the end of the object")
	ErrName     = errors.New("not an object name")
	ErrChecksum = errors.New("content does not have the given SHA-256")
	ErrNoStore  = errors.New("store does not exist")         // the folder, the bucket
	ErrDenied   = errors.New("permission denied by store")   // a right is missing
	ErrAuth     = errors.New("credentials refused")          // missing, wrong or expired
	ErrClock    = errors.New("clock differs from store's")   // request time too skewed
	ErrFull     = errors.New("no space left in store")       // disk full, quota
	ErrReadOnly = errors.New("store is read-only")           //
	ErrTimeout  = errors.New("store did not answer in time") // an endpoint that hangs

	ErrUnsupported = errors.New("store does not know this request") // an endpoint that has not all of the protocol
)

// Error is a failed call: what was done to which object. Err matches one of the Err… values by errors.Is where the reason is known.
type Error struct {
	Op   string // put, get, list, stat, delete, make
	Name string // object or prefix
	Err  error
}

func (e *Error) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.Name, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Fail returns err as an *Error about op and name, or nil if err is nil. An err that is an *Error already is returned as it is.
func Fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(*Error); ok {
		return err
	}
	return &Error{Op: op, Name: name, Err: err}
}

// Temporary is implemented by errors that may pass when the call is repeated.
type Temporary interface{ Temporary() bool }

// IsTemporary reports whether the call that failed with err may succeed when it is repeated as it was. Where no error in
// the chain says so by Temporary, only ErrTimeout, ErrNoCapacity and a connection that broke off are.
func IsTemporary(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var t Temporary
	if errors.As(err, &t) {
		return t.Temporary()
	}
	return errors.Is(err, ErrTimeout) || errors.Is(err, ErrNoCapacity) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Throttled is implemented by errors by which a store says that it is asked too much at once.
type Throttled interface{ Throttled() bool }

// IsThrottled reports whether the call that failed with err was one too many. It is temporary, too.
func IsThrottled(err error) bool {
	var t Throttled
	return errors.As(err, &t) && t.Throttled()
}

// Wrapper is a store that adds something to another one.
type Wrapper interface{ Unwrap() Store }

// As finds an optional power (Creator, Maker, Weak, …) in s or, where s is a Wrapper that does not have it, in what
// s wraps.
func As[T any](s Store) (T, bool) {
	for {
		if t, ok := s.(T); ok {
			return t, true
		}
		w, ok := s.(Wrapper)
		if !ok {
			var none T
			return none, false
		}
		s = w.Unwrap()
	}
}

// Clip returns how many bytes a Get of offset and length yields from an object of size bytes, or ErrRange.
func Clip(size, offset, length int64) (int64, error) {
	if offset < 0 || offset > size {
		return 0, ErrRange
	}
	if length < 0 || length > size-offset {
		return size - offset, nil
	}
	return length, nil
}

// ValidName reports whether name can be an object's name.
func ValidName(name string) bool {
	if name == "" || len(name) > 512 {
		return false
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			c := name[i]
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-' {
				continue
			}
			return false
		}
		switch part := name[start:i]; {
		case part == "", part == ".", part == "..", len(part) > 255:
			return false
		}
		start = i + 1
	}
	return true
}
