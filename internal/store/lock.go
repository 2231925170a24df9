package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// LockMode is how hard a lock is, in the words of S3 (Amazon S3 User Guide, "Locking objects with Object Lock").
type LockMode string

// The modes.
const (
	NoLock     LockMode = ""
	Governance LockMode = "GOVERNANCE" // who has a right of its own may lift it; firn never does
	Compliance LockMode = "COMPLIANCE" // nobody may before its end
)

// Lock keeps an object from being deleted for good and from being replaced. The zero value is none.
type Lock struct {
	Mode  LockMode
	Until time.Time // by the store's clock; zero with NoLock
	Hold  bool      // a legal hold: kept without an end that is known
}

// Holds reports whether the lock holds at a time.
func (l Lock) Holds(at time.Time) bool { return l.Hold || l.Mode != NoLock && l.Until.After(at) }

// LockRule is what a store does about locks by itself.
type LockRule struct {
	Enabled bool     // objects can be locked; the rest is without meaning where they cannot
	Mode    LockMode // of new objects; NoLock: they are locked by who asks for it only
	Days    int      // how long new objects are locked; one of Days and Years is 0
	Years   int
}

// Until is until when an object is locked that is made at a time; zero where the rule locks none.
func (r LockRule) Until(made time.Time) time.Time {
	if !r.Enabled || r.Mode == NoLock {
		return time.Time{}
	}
	return made.UTC().AddDate(r.Years, 0, r.Days)
}

// Locker is a store whose objects can be locked. All calls are about the version of an object that Get reads. Calls are not repeated by a wrapper: see Repeat.
type Locker interface {
	// LockRule tells what becomes of new objects. A store that cannot lock fails with ErrUnsupported, or tells that it is not Enabled.
	LockRule(ctx context.Context) (LockRule, error)
	// LockOf tells an object's lock, over or not. It costs one request.
	LockOf(ctx context.Context, name string) (Lock, error)
	// Extend locks an object until a time at least, and tells its lock then. A lock is never shortened and never made softer: one that lasts longer, or is harder, stays so.
	// It fails with ErrUnsupported where nothing can be locked, and with ErrDenied where the right is missing. Amazon S3 bills it as a PUT.
	Extend(ctx context.Context, name string, mode LockMode, until time.Time) (Lock, error)
}

// ErrLocked is what a *LockedError is.
var ErrLocked = errors.New("object is locked")

// LockedError is a deletion that a lock forbids. It is ErrLocked by errors.Is.
type LockedError struct {
	Lock Lock // zero where the store does not tell
}

func (e *LockedError) Error() string {
	switch {
	case e.Lock.Hold:
		return ErrLocked.Error() + " by a legal hold"
	case e.Lock.Mode == NoLock:
		return ErrLocked.Error()
	}
	return fmt.Sprintf("%v until %s (%s)", ErrLocked, e.Lock.Until.UTC().Format(time.RFC3339), e.Lock.Mode)
}

// Is reports whether target is ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Keeping is what a store does with what is deleted or replaced.
type Keeping int

// What it may do.
const (
	KeepsNothing  Keeping = iota // and never kept anything
	KeepsVersions                // Delete hides an object behind a mark of deletion, and what was there stays, billed as before, until its version is deleted
	KeptVersions                 // it did until some time; versions from then may be there
)

// Version is a version of an object, or a mark of its deletion.
type Version struct {
	Info          // of a mark: Name and Modified
	ID     string // never empty
	Latest bool   // what Get reads and List shows, or the mark because of which they do not
	Mark   bool
}

// Versioner is a store that may keep what is deleted or replaced. Calls are not repeated by a wrapper: see Repeat.
type Versioner interface {
	// Keeping fails with ErrUnsupported where the server does not know the question, and with ErrDenied where the right to ask is missing.
	Keeping(ctx context.Context) (Keeping, error)
	// ListVersions calls fn for every version and every mark of names that start with prefix and sort after after, in order of names, the newest of a name first, and stops
	// at the first error that fn returns, which it returns. A store that keeps nothing shows its objects, each as its only version.
	ListVersions(ctx context.Context, prefix, after string, fn func(Version) error) error
	// DeleteVersion removes a version or a mark for good. It fails with *LockedError where it is locked. Removing what is not there is no error.
	DeleteVersion(ctx context.Context, name, id string) error
}

// Repeater is a wrapper that repeats calls which failed for a reason that may pass, also those of powers that it does not have itself.
type Repeater interface {
	// Repeat calls call until it succeeds, fails for good or enough is enough. op and name are those of Error.
	Repeat(ctx context.Context, op, name string, call func() error) error
}

// Repeat makes a call to a power of s, and repeats it where s, or what s wraps, is a Repeater.
func Repeat(ctx context.Context, s Store, op, name string, call func() error) error {
	if r, ok := As[Repeater](s); ok {
		return r.Repeat(ctx, op, name, call)
	}
	return call()
}

// EachVersion is Versioner.ListVersions that is repeated where it breaks off: no version is shown twice.
func EachVersion(ctx context.Context, s Store, v Versioner, prefix string, fn func(Version) error) error {
	var held []Version // those of one name, until they are known to be all
	var failed error
	after := ""
	flush := func() error {
		for _, version := range held {
			if failed = fn(version); failed != nil {
				return failed
			}
			after = version.Name
		}
		held = held[:0]
		return nil
	}
	err := Repeat(ctx, s, "list", prefix, func() error {
		held = held[:0]
		err := v.ListVersions(ctx, prefix, after, func(version Version) error {
			if len(held) > 0 && held[0].Name != version.Name {
				if err := flush(); err != nil {
					return err
				}
			}
			held = append(held, version)
			return nil
		})
		if failed != nil {
			return nil // of fn's making: not to be repeated, whatever it is
		}
		return err
	})
	if failed == nil && err == nil {
		err = flush()
	}
	if failed != nil {
		return failed
	}
	return err
}
