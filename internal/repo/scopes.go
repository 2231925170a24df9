package repo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"firn/internal/chunk"
	"firn/internal/keys"
	"firn/internal/sign"
	"firn/internal/store"
)

// Scopes lists the scopes that have snapshots or packs and that a key at hand opens. Anybody who may add objects can make up names of scopes: one without a host that the root key certified counts
// where something in it opens.
func (r *Repository) Scopes(ctx context.Context) ([]keys.ScopeID, error) {
	if r.secrets == nil {
		return []keys.ScopeID{r.host.ScopeID}, nil
	}
	listed := map[keys.ScopeID][]store.Info{}
	var certified map[keys.ScopeID]bool
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return r.st.List(gctx, "snapshots/", "", func(i store.Info) error {
			if o, ok := ParseName(i.Name); ok {
				listed[o.Scope] = append(listed[o.Scope], i)
			}
			return nil
		})
	})
	g.Go(func() (err error) {
		certified, err = r.certifiedScopes(gctx)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if r.host != nil {
		listed[r.host.ScopeID] = append(listed[r.host.ScopeID], store.Info{})
		certified[r.host.ScopeID] = true
	}
	var out []keys.ScopeID
	for id, infos := range listed {
		ok := certified[id]
		if !ok {
			var err error
			if ok, err = r.opensAny(ctx, id, infos); err != nil {
				return nil, err
			}
		}
		if ok {
			out = append(out, id)
		}
	}
	for id := range certified {
		if _, seen := listed[id]; seen {
			continue
		}
		packs, err := r.hasPacks(ctx, id)
		if err != nil {
			return nil, err
		}
		if packs {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b keys.ScopeID) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

// certifiedScopes returns the scopes of the hosts whose certificates can be read. It takes who holds everything.
func (r *Repository) certifiedScopes(ctx context.Context) (map[keys.ScopeID]bool, error) {
	var hosts []sign.Author
	err := r.st.List(ctx, hostsPrefix, "", func(i store.Info) error {
		if id, err := sign.ParseAuthor(strings.TrimPrefix(i.Name, hostsPrefix)); err == nil {
			hosts = append(hosts, id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	scopes := map[keys.ScopeID]bool{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelGets)
	for _, id := range hosts {
		g.Go(func() error {
			k, err := r.hostKit(gctx, id)
			if err == nil {
				_, err = k.certificate(gctx, id)
			}
			if err != nil {
				if errors.Is(err, store.ErrCold) {
					return nil
				}
				return unlessObject(err)
			}
			mu.Lock()
			scopes[k.id] = true
			mu.Unlock()
			return nil
		})
	}
	return scopes, g.Wait()
}

// opensAny reports whether one of these snapshots and marks was made by somebody who has the key of the scope.
func (r *Repository) opensAny(ctx context.Context, id keys.ScopeID, infos []store.Info) (bool, error) {
	k, err := r.scope(id)
	if err != nil {
		return false, err
	}
	for _, i := range infos {
		kind := sign.Snapshot
		if strings.HasSuffix(i.Name, doneSuffix) {
			kind = sign.Done
		}
		if tooLong(kind, i.Name, i.Size) != nil {
			continue
		}
		_, _, err := k.get(ctx, kind, i.Name)
		if err == nil || errors.Is(err, store.ErrCold) {
			return true, nil
		}
		if unlessObject(err) != nil {
			return false, err
		}
	}
	return false, nil
}

// errEnough ends a listing.
var errEnough = errors.New("enough")

// hasPacks reports whether a scope has packs: those that are left when its last snapshot was forgotten.
func (r *Repository) hasPacks(ctx context.Context, id keys.ScopeID) (bool, error) {
	for _, kind := range []chunk.Kind{chunk.Data, chunk.Meta} {
		err := r.st.List(ctx, kind.String()+"/"+id.String()+"/", "", func(store.Info) error { return errEnough })
		if err != nil {
			return errors.Is(err, errEnough), unlessEnough(err)
		}
	}
	return false, nil
}

func unlessEnough(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
