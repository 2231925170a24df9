package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"firn/internal/digest"
)

// ProbeOptions say what to find out.
type ProbeOptions struct {
	// Class of the probe objects; empty: the store's default. In a cold class a few dozen bytes are billed for its whole minimum stay (Deep Archive: 180 days, with what
	// each object costs on top about a hundredth of a cent).
	Class string
	// Thaw has the probe object thawed, where its class is cold, for a day: the only way to know beforehand which tiers there are and whether listings tell. It costs a
	// request or two and a copy of a few dozen bytes, which the store goes on making after the object is deleted.
	Thaw bool
	// Parts counts into how many parts an object may be cut, by an upload of a few bytes that is given up.
	Parts bool
}

// Probe is Examine without what costs more than two small objects of the given class.
func Probe(ctx context.Context, s Store, class string) (Abilities, error) {
	return Examine(ctx, s, ProbeOptions{Class: class})
}

// Examine finds out what a store really does, since some accept what they do not know and ignore it, and others refuse it. It stores, reads, lists
// and deletes two small objects below "probe/", a third one of the default class where o.Class is cold. A store that is Adaptive is told what was found. It fails only for
// other reasons than a missing right.
func Examine(ctx context.Context, s Store, o ProbeOptions) (Abilities, error) {
	var random [16]byte
	_, _ = rand.Read(random[:])
	p := prober{s: s, name: "probe/" + hex.EncodeToString(random[:]), o: o}
	if err := p.creates(ctx); err != nil {
		return p.found, err
	}
	for _, step := range []func(context.Context) error{p.verifies, p.reads, p.lists, p.thaws, p.rules, p.parts} {
		if err := step(ctx); err != nil {
			return p.found, errors.Join(err, p.deletes(ctx))
		}
	}
	p.adapt(p.found)
	return p.found, p.deletes(ctx)
}

type prober struct {
	s      Store
	name   string
	o      ProbeOptions
	stored []string
	found  Abilities
}

func (p *prober) adapt(a Abilities) bool {
	adaptive, ok := As[Adaptive](p.s)
	if ok {
		adaptive.Adapt(a)
	}
	return ok
}

// refused notes a missing right and swallows the error that tells of it.
func (p *prober) refused(right string, err error) error {
	if errors.Is(err, ErrDenied) {
		p.found.Missing = append(p.found.Missing, right)
		return nil
	}
	return err
}

func (p *prober) put(ctx context.Context, name string, content []byte, sum digest.Object) error {
	err := p.s.Put(ctx, name, bytes.NewReader(content), int64(len(content)), PutOptions{Sum: sum, Class: p.o.Class})
	if err == nil {
		p.stored = append(p.stored, name)
	}
	return err
}

func (p *prober) creates(ctx context.Context) error {
	if err := p.first(ctx); err != nil {
		return p.refused("put", err)
	}
	second := []byte("second " + p.name)
	switch err := p.s.Put(ctx, p.name, bytes.NewReader(second), int64(len(second)), PutOptions{Class: p.o.Class}); {
	case errors.Is(err, ErrExist):
		p.found.CreateOnly = !p.found.Refused(Conditions)
	case err != nil:
		return err
	}
	return nil
}

// first puts the probe object, in the end without what the store may refuse to be asked for.
func (p *prober) first(ctx context.Context) error {
	content := []byte(p.name)
	try := func() error { return p.put(ctx, p.name, content, sha256.Sum256(content)) }
	failed := try()
	if failed == nil || ctx.Err() != nil || explained(failed) {
		return failed
	}
	for _, without := range [][]string{{Conditions}, {Sums}, {Conditions, Sums}} {
		if !p.adapt(Abilities{Refuses: without}) {
			break
		}
		if try() == nil {
			p.found.Refuses = without
			return nil
		}
	}
	p.adapt(Abilities{})
	return failed
}

// explained reports whether it is known why a Put failed, so that going without something is no remedy.
func explained(err error) bool {
	for _, reason := range []error{ErrExist, ErrChecksum, ErrDenied, ErrAuth, ErrClock, ErrFull, ErrReadOnly, ErrTimeout, ErrNoStore, ErrName} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return IsTemporary(err)
}

func (p *prober) verifies(ctx context.Context) error {
	if len(p.stored) == 0 {
		return nil
	}
	content := []byte("not what the sum says")
	switch err := p.put(ctx, p.name+"-sum", content, sha256.Sum256(nil)); {
	case errors.Is(err, ErrChecksum):
		p.found.VerifiesSum = true
	case err != nil:
		return err
	}
	return nil
}

func (p *prober) reads(ctx context.Context) error {
	if len(p.stored) == 0 {
		return nil
	}
	info, err := p.s.Stat(ctx, p.name)
	if err != nil {
		return p.refused("get", err)
	}
	p.found.ReportsSum, p.found.Class = !info.Sum.IsZero(), info.Class
	r, err := p.s.Get(ctx, p.name, 0, -1)
	if errors.Is(err, ErrCold) {
		p.found.Cold = true
		return nil
	}
	if err != nil {
		return p.refused("get", err)
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

func (p *prober) lists(ctx context.Context) error {
	err := p.s.List(ctx, p.name, "", func(i Info) error {
		p.found.Lists = p.found.Lists || i.Name == p.name
		return nil
	})
	return p.refused("list", err)
}

// thaws asks for a copy of a hot object, which a store that thaws refuses as ErrNotCold; of the cold one only where that is wanted.
func (p *prober) thaws(ctx context.Context) error {
	thawer, ok := As[Thawer](p.s)
	if !ok {
		p.found.Thaws = No
		return nil
	}
	if len(p.stored) == 0 {
		return nil
	}
	if p.found.Cold && p.o.Thaw {
		return p.thawsCold(ctx, thawer)
	}
	name := p.name
	if p.found.Cold {
		if name = p.name + "-hot"; !p.hot(ctx, name) {
			return nil
		}
	}
	_, err := thawer.Thaw(ctx, name, ThawOptions{Days: 1})
	p.found.Thaws, err = ability(err, ErrNotCold, ErrThawing)
	return err
}

// hot stores an object of the default class, and reports whether it can be read at once.
func (p *prober) hot(ctx context.Context, name string) bool {
	err := p.s.Put(ctx, name, bytes.NewReader([]byte(name)), int64(len(name)), PutOptions{})
	if err != nil {
		return false
	}
	p.stored = append(p.stored, name)
	info, err := p.s.Stat(ctx, name)
	return err == nil && info.Class != p.found.Class
}

// thawsCold has the probe object thawed.
func (p *prober) thawsCold(ctx context.Context, thawer Thawer) error {
	_, err := thawer.Thaw(ctx, p.name, ThawOptions{Tier: Bulk, Days: 1})
	p.found.Tiers = Yes
	if errors.Is(err, ErrTier) {
		p.found.Tiers = No
		_, err = thawer.Thaw(ctx, p.name, ThawOptions{Days: 1})
	}
	if p.found.Thaws, err = ability(err, ErrThawing); err != nil || p.found.Thaws != Yes {
		p.found.Tiers = Unknown
		return err
	}
	p.found.Status = No
	err = thawer.ListCopies(ctx, p.name, "", func(i Info) error {
		if i.Name == p.name && i.Copy.State != NoCopy {
			p.found.Status = Yes
		}
		return nil
	})
	if errors.Is(err, ErrNoStatus) {
		return nil
	}
	if errors.Is(err, ErrDenied) {
		p.found.Status = Unknown // noted as a missing right already
		return nil
	}
	return err
}

// ability makes an answer of an error. Those of yes prove the ability. An error that says nothing is Unknown, one that may pass is returned.
func ability(err error, yes ...error) (Ability, error) {
	for _, e := range yes {
		if errors.Is(err, e) {
			return Yes, nil
		}
	}
	switch {
	case err == nil:
		return Yes, nil
	case errors.Is(err, ErrUnsupported):
		return No, nil
	case errors.Is(err, ErrDenied):
		return Denied, nil
	case IsTemporary(err), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Unknown, err
	}
	return Unknown, nil
}

func (p *prober) rules(ctx context.Context) error {
	ruler, ok := As[Ruler](p.s)
	if !ok {
		p.found.Rules = No
		return nil
	}
	_, err := ruler.Rules(ctx)
	p.found.Rules, err = ability(err)
	return err
}

func (p *prober) parts(ctx context.Context) error {
	counter, ok := As[PartCounter](p.s)
	if !ok || !p.o.Parts || len(p.stored) == 0 {
		return nil
	}
	n, err := counter.CountParts(ctx, p.name+"-parts")
	if is, failed := ability(err); is != Yes {
		return failed
	}
	p.found.MaxParts = n
	return nil
}

func (p *prober) deletes(ctx context.Context) error {
	purger, err := NewPurger(ctx, p.s)
	if err != nil {
		purger = &Purger{s: p.s} // whatever the server has against the question
	}
	for i, name := range p.stored {
		_, err := purger.Remove(ctx, name) // what a lock keeps some time nobody sees
		if err == nil {
			continue
		}
		p.found.LeftOver = p.stored[i:]
		return p.refused("delete", err)
	}
	return nil
}
