package store

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// Purger deletes objects so that nothing of them is kept, seen or billed any more. A plain Delete does that only where no versions are kept.
//
// Its methods may be called by many goroutines at once.
type Purger struct {
	s    Store
	v    Versioner // nil: nothing is kept
	keep Keeping
}

// NewPurger asks once whether s keeps versions. Where nobody may ask, a purge finds out for each object; where the server does not know the question nothing is kept.
func NewPurger(ctx context.Context, s Store) (*Purger, error) {
	p := &Purger{s: s}
	v, ok := As[Versioner](s)
	if !ok {
		return p, nil
	}
	err := Repeat(ctx, s, "versions", "", func() (err error) {
		p.keep, err = v.Keeping(ctx)
		return err
	})
	switch {
	case errors.Is(err, ErrUnsupported):
		return p, nil
	case errors.Is(err, ErrDenied):
		p.keep = KeptVersions
	case err != nil:
		return nil, err
	}
	if p.keep != KeepsNothing {
		p.v = v
	}
	return p, nil
}

// Keeping is what the store does with what is deleted; KeptVersions also where nobody may know.
func (p *Purger) Keeping() Keeping { return p.keep }

// Purge deletes one object and all that is kept of it. Where the store keeps versions that is a listing and a request for each version; the oldest go first and the one
// that is seen last, so that after a purge that was cut off the object is there as before, for the next one. So it is where a version is locked, which a *LockedError tells. Purging
// what is not there is no error.
func (p *Purger) Purge(ctx context.Context, name string) error {
	if p.v == nil {
		return p.s.Delete(ctx, name)
	}
	kept, err := p.versions(ctx, name)
	if errors.Is(err, ErrDenied) && p.keep == KeptVersions {
		return p.s.Delete(ctx, name)
	}
	if err != nil {
		return err
	}
	for _, v := range kept {
		if err := p.delete(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// Remove is Purge of what is to be seen no more in any case: where a lock or a missing right forbids to purge it, it is hidden by a plain Delete, and kept tells why versions of it stay.
func (p *Purger) Remove(ctx context.Context, name string) (kept, err error) {
	err = p.Purge(ctx, name)
	if p.v == nil || !errors.Is(err, ErrLocked) && !errors.Is(err, ErrDenied) {
		return nil, err
	}
	return err, p.s.Delete(ctx, name)
}

func (p *Purger) delete(ctx context.Context, v Version) error {
	if c, ok := As[Dropper](p.s); ok {
		c.Drop(v.Name)
	}
	return Repeat(ctx, p.s, "delete", v.Name, func() error { return p.v.DeleteVersion(ctx, v.Name, v.ID) })
}

// Dropper is a wrapper that keeps copies of objects.
type Dropper interface {
	// Drop forgets the copy of an object.
	Drop(name string)
}

// versions are those of an object, the oldest first.
func (p *Purger) versions(ctx context.Context, name string) (kept []Version, err error) {
	err = EachVersion(ctx, p.s, p.v, name, func(v Version) error {
		if v.Name == name {
			kept = append(kept, v)
			return nil
		}
		if strings.HasPrefix(v.Name, name) { // such as its recovery volume
			return errPast
		}
		return nil
	})
	if err == errPast {
		err = nil
	}
	slices.Reverse(kept)
	return kept, err
}

var errPast = errors.New("no further version is of this object")
