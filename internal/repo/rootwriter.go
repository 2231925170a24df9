package repo

import (
	"context"
	"time"

	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/snapshot"
)

// AsRoot returns the repository as one whose Writers write in a scope by the root key, instead of a host's: what they make is the work of whoever holds everything. It fails
// with ErrWriteOnly where the secrets are not at hand. States that were loaded before belong to r, and are loaded again.
func (r *Repository) AsRoot(id keys.ScopeID) (*Repository, error) {
	if r.secrets == nil {
		return nil, ErrWriteOnly
	}
	scope := r.secrets.Scope(id)
	host := &keys.HostKey{Repository: r.id, Root: r.root, ScopeID: id, ScopeSecret: scope.Secret}
	host.SignSeed = r.secrets.RootSeed
	host.SetDataRecipients(r.secrets)
	return &Repository{st: r.st, cfg: r.cfg, id: r.id, root: r.root, secrets: r.secrets, host: host, o: r.o, scopes: map[keys.ScopeID]*scopeKit{}, opened: map[objectKey]*openPack{}}, nil
}

// ConfirmAs is Confirm for a snapshot that stands in the place of another: its mark says that the store got it when it got that one. Only what the root key signs is
// believed there.
func (w *Writer) ConfirmAs(ctx context.Context, item snapshot.Item, stored time.Time) error {
	return w.scope.confirm(ctx, item, stored, func() ([]digest.Object, error) { return w.names, nil })
}

// PublishedPacks are the packs that the snapshot which was published last needs, sorted; the caller does not change them.
func (w *Writer) PublishedPacks() []digest.Object { return w.names }
