package browse

import (
	"bytes"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

const (
	lookUps     = 8       // snapshots looked at together
	sharedCache = 8 << 20 // bytes of metadata kept of all snapshots of an epoch
)

// VersionsOptions say which file, and where it is looked for.
type VersionsOptions struct {
	Path      []byte
	Snapshots []snapshot.Item // of one source, in order of sequence; Histories has them so
}

// Versions calls fn for what a path was over time, the newest first; stretches of snapshots that do not have it are a Version whose Type is empty. It looks the path up in each snapshot, and
// reads nothing of one whose manifest is that of its neighbour: where one file is wanted that is far less than Find reads. It fails with repo.ErrWriteOnly, and with errors of fn.
func Versions(ctx context.Context, r *repo.Repository, scope *repo.ScopeState, o VersionsOptions, fn func(*Version) error) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &seeker{ctx: ctx, r: r, scope: scope, path: bytes.Trim(o.Path, "/"), caches: map[uint32]*repo.ChunkCache{}}
	defer func() {
		cancel()
		for _, c := range s.caches {
			c.Close()
		}
	}()
	items := slices.Clone(o.Snapshots)
	slices.Reverse(items)
	var open *Version
	for part := range slices.Chunk(items, lookUps) {
		found, err := s.lookUp(part)
		if err != nil {
			return err
		}
		for i, e := range found {
			it := part[i]
			if open != nil && same(&open.Entry, e, open.First.Epoch == it.Epoch) {
				open.First = it
				open.Count++
				continue
			}
			if open != nil {
				if err := fn(open); err != nil {
					return err
				}
			}
			open = &Version{Entry: *e, Source: it.Source, First: it, Last: it, Count: 1}
		}
	}
	if open == nil {
		return nil
	}
	return fn(open)
}

// seeker looks one path up in many snapshots, which share most of what is read for it.
type seeker struct {
	ctx    context.Context
	r      *repo.Repository
	scope  *repo.ScopeState
	path   []byte
	caches map[uint32]*repo.ChunkCache // by epoch
	last   *Entry                      // of the snapshot before
	tree   manifest.Tree
	epoch  uint32
}

// lookUp returns what the path is in each of some snapshots.
func (s *seeker) lookUp(items []snapshot.Item) ([]*Entry, error) {
	found := make([]*Entry, len(items))
	g, ctx := errgroup.WithContext(s.ctx)
	for i, it := range items {
		tree := repo.TreeOf(it.Snapshot)
		if s.last != nil && tree == s.tree && it.Epoch == s.epoch { // as the one before, which may still be looked for
			found[i] = s.last
			continue
		}
		cache := s.caches[it.Epoch]
		if cache == nil {
			var err error
			if cache, err = s.r.NewChunkCache(s.ctx, s.scope, it.Epoch, 4, sharedCache); err != nil {
				_ = g.Wait()
				return nil, err
			}
			s.caches[it.Epoch] = cache
		}
		x := &Entry{}
		found[i], s.last, s.tree, s.epoch = x, x, tree, it.Epoch
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			var e manifest.Entry
			ok, err := manifest.NewReader(manifest.Source{Get: cache.Get}, tree).Lookup(s.path, &e)
			if ok {
				x.set(&e)
				*x = *x.Clone()
			}
			return err
		})
	}
	return found, g.Wait()
}

// same reports whether two entries of a path tell the same, whatever of their content can be compared.
func same(a, b *Entry, hashes bool) bool {
	return a.Type == b.Type && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.User == b.User && a.Group == b.Group && a.Mtime.Equal(b.Mtime) && a.Size == b.Size &&
		(!hashes || a.Hash == b.Hash) && bytes.Equal(a.Hardlink, b.Hardlink) && bytes.Equal(a.Target, b.Target) && a.Major == b.Major && a.Minor == b.Minor && a.Error == b.Error &&
		slices.Equal(a.Xattrs, b.Xattrs)
}
