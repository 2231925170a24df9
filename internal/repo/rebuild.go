package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/index"
	"firn/internal/pack"
	"firn/internal/sign"
	"firn/internal/store"
)

// ReadStray reads from a pack itself what an index says of it: a pack that lies in the store and that no index names. open reads the object, as it lies in the store or as it was
// fetched. It reads the table, with two or three ranges, where the root key certified the author of the table and had not revoked it when the store got the pack. Otherwise the
// MAC alone tells that somebody of the scope made it; then everything is read, and a pack whose every chunk has its id is taken, whoever wrote it: it cannot lie.
//
// The recovery volume is not looked at. Errors: ErrWriteOnly; *pack.CorruptError and *ObjectError for a pack that is damaged or not of this scope; those of open.
func (s *ScopeState) ReadStray(ctx context.Context, info store.Info, open Opener) (*index.Pack, error) {
	ids, err := s.kit.r.dataIdentities()
	if err != nil {
		return nil, err
	}
	o, ok := ParseName(info.Name)
	if !ok || !o.Summed() || o.Scope != s.kit.id || o.Area != chunk.Data.String() && o.Area != chunk.Meta.String() {
		return nil, fmt.Errorf("%q: %w", info.Name, store.ErrName)
	}
	t, err := pack.ReadTable(&rangeReader{ctx: ctx, open: open}, info.Size, ids...)
	if err != nil {
		return nil, err
	}
	check := pack.Check{Repo: s.kit.r.id, Scope: s.kit.id, MAC: &s.kit.mac}
	if err := t.Verify(check); err != nil {
		return nil, &ObjectError{info.Name, err}
	}
	if t.Kind.String() != o.Area {
		return nil, &ObjectError{info.Name, fmt.Errorf("%w: of kind %v", pack.ErrTable, t.Kind)}
	}
	if err := s.provenAuthor(ctx, t, info.Modified); err != nil {
		s.kit.r.decide("pack %s is read whole, since its author is not known: %v", info.Name, err)
		if err := s.provenContent(ctx, info, open); err != nil {
			return nil, err
		}
	}
	return &index.Pack{Name: o.Sum, Kind: t.Kind, Epoch: t.Epoch, Size: info.Size, Class: info.Class, Birth: info.Modified.UTC().Truncate(time.Second),
		Prefix: t.Prefix, Padding: t.Padding, Chunks: t.Chunks}, nil
}

// provenAuthor makes sure that the root key certified the author of a table, and had not revoked it when the pack was stored.
func (s *ScopeState) provenAuthor(ctx context.Context, t *pack.Opened, stored time.Time) error {
	k, author := s.kit, t.Proof.Author
	if !author.IsRoot() {
		if err := k.trust(ctx, author); err != nil {
			return err
		}
		if err := k.inTime(author, stored); err != nil {
			return err
		}
	}
	check := k.check()
	if _, ok := check.Author(author); !ok { // trusted by the MAC, which is enough to read and not to write
		return ErrUntrusted
	}
	return t.Verify(pack.Check{Repo: check.Repo, Scope: check.Scope, Author: check.Author})
}

// provenContent makes sure that every chunk of a pack is what its id says.
func (s *ScopeState) provenContent(ctx context.Context, info store.Info, open Opener) error {
	f, err := s.NewVerifier().Pack(ctx, info.Name, nil, open, info.Size)
	switch {
	case err != nil:
		return err
	case f == nil, !f.Whole && len(f.Chunks) == 0 && errors.Is(f.Err, ErrUntrusted):
		return nil
	}
	return &ObjectError{info.Name, f}
}

// Reindex names packs in new index objects, and takes them into the set. The root key signs, which every reader believes: the packs may be of several hosts, and an index speaks for one
// author. It returns the names of the objects. A pack that is indexed already is named again; of such a one the newest index says which recovery volume it has.
func (s *ScopeState) Reindex(ctx context.Context, packs []index.Pack) (names []string, err error) {
	if s.kit.r.secrets == nil {
		return nil, ErrWriteOnly
	}
	s.pend.Lock()
	defer s.pend.Unlock()
	for len(packs) > 0 {
		n, chunks := 0, 0
		for n < len(packs) && (n == 0 || chunks+len(packs[n].Chunks) <= index.MaxChunks) {
			chunks += len(packs[n].Chunks)
			n++
		}
		name, err := s.putRootIndex(ctx, packs[:n])
		if err != nil {
			return names, err
		}
		names = append(names, name)
		for i := range packs[:n] {
			if _, err := s.set.Add(&packs[i], sign.Root); err != nil {
				return names, err
			}
		}
		packs = packs[n:]
	}
	return names, s.markRetired()
}

// putRootIndex writes one index object that the root key signs.
func (s *ScopeState) putRootIndex(ctx context.Context, packs []index.Pack) (string, error) {
	body, err := index.AppendHeader(nil, index.Header{Author: sign.Root})
	for i := range packs {
		if err != nil {
			return "", err
		}
		body, err = index.AppendPack(body, &packs[i])
	}
	if err != nil {
		return "", err
	}
	object, sum, err := envelope.Seal(sign.Index, body, s.kit.envelopeKeysOf(s.kit.r.secrets.RootSigner(s.kit.id)))
	if err != nil {
		return "", err
	}
	name := indexPrefix(s.kit.id) + genName(s.nextGen(), sum)
	return name, s.kit.r.put(ctx, name, object, s.kit.r.hotClass())
}

// listIndex lists the objects of the index, in order.
func (s *ScopeState) listIndex(ctx context.Context) (objects []store.Info, err error) {
	prefix := indexPrefix(s.kit.id)
	err = s.kit.r.st.List(ctx, prefix, "", func(i store.Info) error {
		if _, _, err := parseGen(strings.TrimPrefix(i.Name, prefix)); err == nil {
			objects = append(objects, i)
		}
		return nil
	})
	return objects, err
}

// EachIndexed calls fn for every pack of every index object that can be read, with its chunks, until fn fails; a pack that several name comes several times, the newest last. p is valid
// until fn returns. It reads the whole index from the store.
func (s *ScopeState) EachIndexed(ctx context.Context, fn func(p *index.Pack) error) error {
	objects, err := s.listIndex(ctx)
	for _, object := range objects {
		if err != nil {
			return err
		}
		body, _, gerr := s.kit.getIndex(ctx, object.Name, object.Modified)
		if gerr != nil {
			if objectFinding(object.Name, gerr) == nil && !errors.Is(gerr, store.ErrCold) {
				return gerr
			}
			continue
		}
		var failed error
		_, perr := index.Parse(body, func(p *index.Pack) error {
			failed = fn(p)
			return failed
		})
		if failed != nil {
			return perr
		}
	}
	return err
}

// Places returns the packs that have a chunk, those that take new references first.
func (s *ScopeState) Places(id digest.Chunk) ([]digest.Object, error) {
	locs, err := s.set.All(id)
	if err != nil {
		return nil, err
	}
	var out []digest.Object
	for _, l := range locs {
		p, err := s.set.Pack(l.Pack)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Name)
	}
	return out, nil
}
