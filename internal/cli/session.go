package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"firn/internal/advice"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/wire"
)

// session is a repository that a command works on: its store, its local state and, once a key was found, the repository itself.
type session struct {
	c      *console
	st     store.Store
	header *repo.Header // firn.json
	dirs   state.Dirs
	state  *state.State
	repo   *repo.Repository
	dry    bool       // nothing is stored, and nothing remembered
	copies []*session // of the repository, that are open beside it

	ready func(context.Context) error // waits until the secret that was given has been checked; nothing is stored before it returned nil

	probe    func(context.Context) // finds out what the store can do, if that is not known yet; nil: it is
	place    string                // under which firn.json is remembered; empty: it is not
	recalled bool                  // header was remembered and not read
}

// openSession opens the store and finds the local state of the repository in it. No key is needed yet.
func openSession(ctx context.Context, c *console, f *storeFlags) (*session, error) {
	location, err := f.location()
	if err != nil {
		return nil, err
	}
	l, err := wire.ParseLocation(location)
	if err != nil {
		return nil, &advice.Error{Err: err, Code: advice.Usage}
	}
	st, err := wire.OpenStore(ctx, location, f.options(c))
	if err != nil {
		return nil, err
	}
	s := &session{c: c, st: st, dirs: localDirs(), ready: func(context.Context) error { return nil }}
	if l.Scheme == "s3" {
		s.place = f.place(location)
		s.probe = func(ctx context.Context) { f.probeOnce(ctx, st) }
	}
	if err := s.findHeader(ctx, f.recall); err != nil {
		s.close()
		return nil, err
	}
	s.state = state.OpenCopy(s.dirs, s.header.ID, s.header.Copy, c.without())
	if l.Scheme == "s3" && !f.noCache {
		if dir := s.state.StoreCacheDir(); dir != "" {
			s.st = wire.Cached(st, dir, min(f.cacheMax, defaultCacheMax)/4)
		}
	}
	return s, nil
}

// findHeader finds out which repository this is: from firn.json or, where the caller looks at the scope later (stillThere) and may do without a request, from what
// was there the last time.
func (s *session) findHeader(ctx context.Context, recall bool) (err error) {
	if raw := s.dirs.Place(s.place); recall && s.place != "" && raw != nil {
		if s.header, err = repo.ParseHeader(raw); err == nil {
			s.recalled = true
			return nil
		}
	}
	s.header, err = repo.ReadHeader(ctx, s.st)
	if errors.Is(err, store.ErrCold) && s.place != "" {
		if h, e := repo.ParseHeader(s.dirs.Place(s.place)); e == nil {
			s.c.note("firn.json was moved into a cold class; going by what it said the last time (firn doctor tells more)")
			s.header, err = h, nil
			return nil
		}
	}
	if err == nil && s.place != "" {
		s.dirs.SetPlace(s.place, s.header.Raw())
	}
	return err
}

// errMoved tells that what was remembered of firn.json may not be true any more.
var errMoved = errors.New("another repository may be here now")

// stillThere makes sure that a remembered repository is the one that the store has. Whoever finds objects of the scope there, whose id is random, has found it.
func (s *session) stillThere(scope *repo.ScopeState) error {
	if !s.recalled || scope.Seen() {
		return nil
	}
	s.dirs.SetPlace(s.place, nil)
	return errMoved
}

// keepHeader makes sure, after a backup that stored something, that firn.json is where others look for it.
func (s *session) keepHeader(ctx context.Context) {
	if !s.recalled || s.dry {
		return
	}
	if err := s.repo.KeepHeader(ctx, s.header); err != nil && ctx.Err() == nil {
		s.c.warn("firn.json cannot be looked at: %v", err)
	}
}

// without tells once that local state is not what it should be; of the rest only who wants to know hears, since it has the same cause.
func (c *console) without() func(error) {
	var told atomic.Bool
	return func(err error) {
		if told.CompareAndSwap(false, true) {
			c.note("%v; going on without, which takes longer", err)
			return
		}
		c.explain("%v; going on without", err)
	}
}

func localDirs() state.Dirs {
	return state.FindDirs(state.Here(os.Getenv("FIRN_CACHE_DIR"), os.Getenv("FIRN_STATE_DIR")))
}

// pretend makes sure that nothing is written from now on.
func (s *session) pretend() {
	s.st, s.state, s.dry = wire.Pretending(s.st), s.state.Still(), true
}

func (s *session) close() { _ = s.st.Close() }

// open opens the repository with the keys at hand.
func (s *session) open(ctx context.Context, a repo.Access) (err error) {
	s.repo, err = repo.Open(ctx, s.st, a, repo.Options{
		Report: s.c.report(), Now: s.c.now, IndexDir: s.state.ChunkTableDir(), Spool: s.state.Spool(), Header: s.header,
	})
	return err
}

// openReader opens the repository with its secrets.
func (s *session) openReader(ctx context.Context, f *secretFlags) error {
	cred, err := f.credential(ctx, s.c)
	if err != nil {
		return err
	}
	if cred == nil && !s.c.terminal {
		if _, err := s.state.HostKey(); err == nil || os.Getenv("FIRN_HOST_KEY") != "" {
			return &advice.Error{Err: repo.ErrWriteOnly, Hint: advice.HowToUnlock}
		}
	}
	secrets, err := unlock(ctx, s.c, s.st, cred)
	if err != nil {
		return err
	}
	return s.open(ctx, repo.Access{Secrets: secrets})
}

// openLister opens the repository with whatever is at hand: a host key is enough to list snapshots, those of its scope.
func (s *session) openLister(ctx context.Context, f *secretFlags, h *hostFlags) error {
	cred, err := f.credential(ctx, s.c)
	if err != nil {
		return err
	}
	if cred == nil {
		host, err := s.hostKey(h)
		if err != nil {
			return err
		}
		if host != nil {
			return s.open(ctx, repo.Access{Host: host})
		}
	}
	secrets, err := unlock(ctx, s.c, s.st, cred)
	if err != nil {
		return err
	}
	return s.open(ctx, repo.Access{Secrets: secrets})
}

// hostKey returns the host key that the user names, or that local state keeps; nil if there is none.
func (s *session) hostKey(f *hostFlags) (*keys.HostKey, error) {
	if f.explicit() {
		return state.ReadHostKey(f.path())
	}
	host, err := s.state.HostKey()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return host, err
}

// openWriter opens the repository for writing and loads the scope of this host. A passphrase or identity that is given must open, also where
// the host key alone would do; it is checked while the scope is loaded and the walk begins, and before anything is stored (ready).
func (s *session) openWriter(ctx context.Context, f *secretFlags, h *hostFlags) (*repo.ScopeState, error) {
	cred, err := f.credential(ctx, s.c)
	if err != nil {
		return nil, err
	}
	host, err := s.hostKey(h)
	if cred != nil && err != nil && !errors.As(err, new(*state.ModeError)) && !h.explicit() {
		s.c.note("%v; going on without", err)
		host, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if host == nil && s.recalled {
		return nil, errMoved // no scope is known in which to look, and the certificate is to be stored
	}
	if host == nil {
		return s.enroll(ctx, cred, h)
	}
	if err := s.open(ctx, repo.Access{Host: host}); s.recalled && err != nil {
		return nil, errMoved
	} else if err != nil {
		return nil, err
	}
	s.c.explain("writing as host %q (%v) in scope %q", host.Name, host.Host, host.ScopeName)
	s.verify(ctx, cred)
	var scope *repo.ScopeState
	var revoked, certified bool
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if scope, err = s.repo.LoadToWrite(gctx, host.ScopeID); err != nil {
			return err
		}
		return s.stillThere(scope)
	})
	g.Go(func() (err error) {
		revoked, certified, err = s.repo.Standing(gctx)
		return err
	})
	err = g.Wait()
	if errors.Is(err, errMoved) {
		_ = s.ready(ctx) // nothing goes on in a session that is given up
		return nil, err
	}
	if err == nil && !revoked {
		err = s.repo.KeepCertificate(ctx, certified)
	}
	if err != nil {
		if wrong := s.ready(ctx); wrong != nil {
			return nil, wrong // what the user wants to hear of first
		}
		return nil, err
	}
	if revoked {
		return nil, failure("enroll it anew: take its host.key out of the way, and back up once with a passphrase or identity",
			"the key of host %q was revoked: what it writes does not count", host.Name)
	}
	return scope, nil
}

// verify begins to check the passphrase or identity that was given, while the walk begins. ready waits for the outcome.
func (s *session) verify(ctx context.Context, cred *credential) {
	if cred == nil {
		return
	}
	var secrets *keys.Secrets
	var g errgroup.Group
	g.Go(func() (err error) {
		secrets, err = unlock(ctx, s.c, s.st, cred)
		return err
	})
	s.ready = func(context.Context) error {
		if err := g.Wait(); err != nil {
			return err
		}
		return s.repo.UseSecrets(secrets)
	}
}

// enroll makes a key for this host with the help of the secrets, and keeps it in local state.
func (s *session) enroll(ctx context.Context, cred *credential, h *hostFlags) (*repo.ScopeState, error) {
	if cred == nil && !s.c.terminal {
		return nil, failure(advice.HowToUnlock+", or --host-key for a write-only host", "this host has no key for %s, and nobody can be asked", s.st.Location())
	}
	name, err := h.orSystem()
	if err != nil {
		return nil, err
	}
	secrets, err := unlock(ctx, s.c, s.st, cred)
	if err != nil {
		return nil, err
	}
	if err := s.open(ctx, repo.Access{Secrets: secrets}); err != nil {
		return nil, err
	}
	if s.probe != nil && !s.dry {
		s.probe(ctx)
	}
	scope := h.scope
	if scope == "" {
		scope = name
	}
	host, err := s.repo.Enroll(ctx, name, scope, keys.Writer)
	if err != nil {
		return nil, err
	}
	s.repo.UseHost(host)
	s.keepHostKey(host)
	return s.repo.Load(ctx, host.ScopeID, true)
}

// keepHostKey keeps the key of this host in local state, and says so.
func (s *session) keepHostKey(host *keys.HostKey) {
	if s.dry {
		s.c.note("host %q would be enrolled", host.Name)
		return
	}
	if err := s.state.SetHostKey(host); err != nil {
		s.c.note("host %q has a key for this run only, since it cannot be kept: %v", host.Name, err)
		return
	}
	s.c.note("host %q is enrolled: its write-only key is kept in %q, so backups from here need no passphrase", host.Name, s.dirs.State)
}

// items loads the snapshots of all scopes that the key at hand opens, and says what is damaged.
func (s *session) items(ctx context.Context) ([]snapshot.Item, error) {
	ids, err := s.repo.Scopes(ctx)
	if err != nil {
		return nil, err
	}
	var all []snapshot.Item
	for _, id := range ids {
		scope, err := s.repo.Load(ctx, id, false)
		if err != nil {
			return nil, err
		}
		s.tellDamaged(scope)
		all = append(all, scope.Items...)
	}
	return all, nil
}

func (s *session) tellDamaged(scope *repo.ScopeState) {
	for _, err := range scope.Damaged {
		s.c.warn("%v", err)
	}
}

// shortID is as much of a snapshot's id as people are shown.
func shortID(id snapshot.ID) string { return hex.EncodeToString(id[:4]) }
