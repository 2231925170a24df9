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

// Abilities is what Probe found out about a store and about the rights that its credentials have.
type Abilities struct {
	CreateOnly  bool     // a second Put of a name is refused
	VerifiesSum bool     // a Put whose content does not have the given sum is refused
	ReportsSum  bool     // Stat tells the SHA-256
	Lists       bool     // List shows what was just put
	Class       string   // class that the store reports for a probe object
	Missing     []string // rights that were refused: put, get, list, delete; what depends on them is reported false
	LeftOver    []string // probe objects that could not be deleted
}

// Probe finds out what a store really does, since some accept what they do not know and ignore it. It stores, reads, lists
// and deletes two small objects of the given class (empty: the default) below "probe/". It fails only for other reasons than a missing right.
func Probe(ctx context.Context, s Store, class string) (Abilities, error) {
	var random [16]byte
	_, _ = rand.Read(random[:])
	p := prober{s: s, name: "probe/" + hex.EncodeToString(random[:]), class: class}
	if err := p.creates(ctx); err != nil {
		return p.found, err
	}
	for _, step := range []func(context.Context) error{p.verifies, p.reads, p.lists} {
		if err := step(ctx); err != nil {
			return p.found, errors.Join(err, p.deletes(ctx))
		}
	}
	return p.found, p.deletes(ctx)
}

type prober struct {
	s      Store
	name   string
	class  string
	stored []string
	found  Abilities
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
	err := p.s.Put(ctx, name, bytes.NewReader(content), int64(len(content)), PutOptions{Sum: sum, Class: p.class})
	if err == nil {
		p.stored = append(p.stored, name)
	}
	return err
}

func (p *prober) creates(ctx context.Context) error {
	content := []byte(p.name)
	if err := p.put(ctx, p.name, content, sha256.Sum256(content)); err != nil {
		return p.refused("put", err)
	}
	second := []byte("second " + p.name)
	switch err := p.s.Put(ctx, p.name, bytes.NewReader(second), int64(len(second)), PutOptions{Class: p.class}); {
	case errors.Is(err, ErrExist):
		p.found.CreateOnly = true
	case err != nil:
		return err
	}
	return nil
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

func (p *prober) deletes(ctx context.Context) error {
	for i, name := range p.stored {
		err := p.s.Delete(ctx, name)
		if err == nil {
			continue
		}
		p.found.LeftOver = p.stored[i:]
		return p.refused("delete", err)
	}
	return nil
}
