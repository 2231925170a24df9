package metamorphic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// stage lets two parties take turns at one store: before each request of the backups some of the pruner's are let through, as the seed has it.
type stage struct {
	mu    sync.Mutex
	rng   *rand.Rand
	often int // how many in a hundred requests of backups let the pruner go on
	grant chan struct{}
	ended chan struct{}
	over  chan struct{} // the pruner has gone
}

func newStage(seed uint64, often int) *stage {
	return &stage{rng: rand.New(rand.NewPCG(seed, 77)), often: often, grant: make(chan struct{}), ended: make(chan struct{}), over: make(chan struct{})}
}

// backups is called before each request of a backup.
func (s *stage) backups() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rng.IntN(100) >= s.often {
		return
	}
	n := 1 + s.rng.IntN(12)
	if s.rng.IntN(8) == 0 {
		n *= 20 // most of a cycle
	}
	for range n {
		select {
		case s.grant <- struct{}{}:
			<-s.ended
		case <-s.over:
			return
		}
	}
}

// gated is the pruner's store.
type gated struct {
	store.Store
	s    *stage
	free chan struct{} // closed: no more turns are taken
}

func (g *gated) turn(do func() error) error {
	select {
	case <-g.s.grant:
		defer func() { g.s.ended <- struct{}{} }()
	case <-g.free:
	}
	return do()
}

func (g *gated) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	return g.turn(func() error { return g.Store.Put(ctx, name, r, size, o) })
}

func (g *gated) Get(ctx context.Context, name string, off, n int64) (rc io.ReadCloser, err error) {
	err = g.turn(func() error { rc, err = g.Store.Get(ctx, name, off, n); return err })
	return rc, err
}

func (g *gated) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	return g.turn(func() error { return g.Store.List(ctx, prefix, after, fn) })
}

func (g *gated) Stat(ctx context.Context, name string) (i store.Info, err error) {
	err = g.turn(func() error { i, err = g.Store.Stat(ctx, name); return err })
	return i, err
}

func (g *gated) Delete(ctx context.Context, name string) error {
	return g.turn(func() error { return g.Store.Delete(ctx, name) })
}

// staged is the backups' store.
type staged struct {
	store.Store
	s *stage
}

func (g *staged) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	g.s.backups()
	return g.Store.Put(ctx, name, r, size, o)
}

func (g *staged) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	g.s.backups()
	return g.Store.Get(ctx, name, off, n)
}

func (g *staged) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	g.s.backups()
	return g.Store.List(ctx, prefix, after, fn)
}

func (g *staged) Stat(ctx context.Context, name string) (store.Info, error) {
	g.s.backups()
	return g.Store.Stat(ctx, name)
}

// pruner prunes as DESIGN has it, without the time of grace: the protocol is safe without it.
type pruner struct {
	rng      *rand.Rand
	key      *keys.HostKey
	secrets  *keys.Secrets
	st       *gated
	log      []string
	retired  map[digest.Object]bool // by this pruner, acknowledged
	deleted  int
	compacts int
}

func (p *pruner) load(ctx context.Context) (*repo.ScopeState, error) {
	r, err := repo.Open(ctx, p.st, repo.Access{Host: p.key, Secrets: p.secrets}, repo.Options{})
	if err != nil {
		return nil, err
	}
	s, err := r.Load(ctx, p.key.ScopeID, false)
	if err == nil && len(s.Damaged) > 0 {
		err = errors.Join(s.Damaged...)
	}
	return s, err
}

// cycle is one prune.
func (p *pruner) cycle(ctx context.Context) error {
	s, err := p.load(ctx)
	if err != nil {
		return err
	}
	if err := p.forget(ctx, s); err != nil {
		return err
	}
	if s, err = p.load(ctx); err != nil {
		return err
	}
	needed, err := p.needed(ctx, s)
	if err != nil {
		return err
	}
	var retire []digest.Object
	for _, prefix := range []string{"data/", "meta/", "packset/"} {
		err := p.st.List(ctx, prefix+p.key.ScopeID.String()+"/", "", func(i store.Info) error {
			name, err := digest.ParseObject(i.Name[strings.LastIndexByte(i.Name, '/')+1:])
			if err == nil && !p.retired[name] && (!needed[name] && p.rng.IntN(2) == 0 || needed[name] && p.rng.IntN(40) == 0) {
				retire = append(retire, name)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(retire) > 0 {
		name, err := s.Retire(ctx, retire, nil)
		if err != nil {
			return err
		}
		p.log = append(p.log, fmt.Sprintf("retire %d: %s", len(retire), name))
		for _, n := range retire {
			p.retired[n] = true
		}
	}
	if err := p.delete(ctx); err != nil || p.rng.IntN(2) == 0 {
		return err
	}
	return p.compact(ctx)
}

// forget takes away done snapshots that are not the newest of their source, and undone and partial ones once a newer one is done.
func (p *pruner) forget(ctx context.Context, s *repo.ScopeState) error {
	var ids []snapshot.ID
	for _, h := range snapshot.Histories(s.Items) {
		newest, ok := h.Newest()
		for _, it := range h.Items {
			if ok && it.ID != newest.ID && it.Sequence <= newest.Sequence && p.rng.IntN(3) == 0 {
				ids = append(ids, it.ID)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	name, err := s.Retire(ctx, nil, ids)
	if err != nil {
		return err
	}
	p.log = append(p.log, fmt.Sprintf("forget %v: %s", ids, name))
	for _, id := range ids {
		base := "snapshots/" + p.key.ScopeID.String() + "/" + id.String()
		if err := errors.Join(p.st.Delete(ctx, base), p.st.Delete(ctx, base+".done")); err != nil {
			return err
		}
	}
	return nil
}

// needed is what the pack sets of the snapshots that are there name, and the pack sets themselves. A snapshot that is not done and whose pack set was
// retired and deleted before the snapshot was listed will never be done, and needs nothing.
func (p *pruner) needed(ctx context.Context, s *repo.ScopeState) (map[digest.Object]bool, error) {
	needed := map[digest.Object]bool{}
	for _, it := range s.Items {
		names, err := s.PackNames(ctx, it.Snapshot)
		if errors.Is(err, store.ErrNotExist) && it.Status() != snapshot.IsDone && p.anyRetired(it.Packs) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%v snapshot %v: %w", it.Status(), it.ID, err)
		}
		for _, n := range names {
			needed[n] = true
		}
		for _, part := range it.Packs {
			needed[part.Object] = true
		}
	}
	return needed, nil
}

func (p *pruner) anyRetired(parts []snapshot.Part) bool {
	return slices.ContainsFunc(parts, func(part snapshot.Part) bool { return p.retired[part.Object] })
}

// delete removes what is retired and in no pack set.
func (p *pruner) delete(ctx context.Context) error {
	s, err := p.load(ctx)
	if err != nil {
		return err
	}
	needed, err := p.needed(ctx, s)
	if err != nil {
		return err
	}
	for _, prefix := range []string{"data/", "meta/", "packset/"} {
		var gone []string
		err := p.st.List(ctx, prefix+p.key.ScopeID.String()+"/", "", func(i store.Info) error {
			name, err := digest.ParseObject(i.Name[strings.LastIndexByte(i.Name, '/')+1:])
			if err == nil && p.retired[name] && !needed[name] {
				gone = append(gone, i.Name)
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, name := range gone {
			if err := p.st.Delete(ctx, name); err != nil {
				return err
			}
			p.deleted++
			p.log = append(p.log, "delete "+name)
		}
	}
	return nil
}

// compact writes one record of all, and deletes these.
func (p *pruner) compact(ctx context.Context) error {
	var names []string
	err := p.st.List(ctx, "prune/", "", func(i store.Info) error {
		names = append(names, i.Name)
		return nil
	})
	if err != nil || len(names) < 2 {
		return err
	}
	s, err := p.load(ctx)
	if err != nil {
		return err
	}
	var forget []snapshot.ID
	for id := range s.Forgotten() {
		forget = append(forget, id)
	}
	var retire []digest.Object
	for n := range p.retired {
		retire = append(retire, n)
	}
	name, err := s.Retire(ctx, retire, forget)
	if err != nil {
		return err
	}
	p.compacts++
	p.log = append(p.log, "compact into "+name)
	for _, old := range names {
		if err := p.st.Delete(ctx, old); err != nil {
			return err
		}
	}
	return nil
}

// TestPruneBesideBackups: whenever the pruner's requests fall between those of backups, a snapshot that is done has all its packs, and restores.
func TestPruneBesideBackups(t *testing.T) {
	var runs, lost, again, deleted, compacts int
	seeds(t, func(t *testing.T, seed uint64) {
		base := t.TempDir()
		rng := rand.New(rand.NewPCG(seed, 5))
		x := newTree(t, rng, filepath.Join(base, "src"))
		init := sizes(64<<10, 128<<10, 512<<10, 16<<10, 64<<10)
		w := newWorld(t, seed, settings{name: "pruned", init: init, pack: 60_000, workers: 2, flush: 1, cache: "keep", nested: rng.IntN(2) == 0,
			hosts: 1 + rng.IntN(2), blind: rng.IntN(3) == 0, full: rng.IntN(4) == 0, tables: rng.IntN(2) == 0,
			spool: rng.IntN(2) == 0, streams: int64(rng.IntN(2))}, base, x.root)
		r, err := repo.Open(context.Background(), w.mem, w.hosts[0].access, repo.Options{})
		w.must(err)
		key, err := r.Enroll(context.Background(), "pruner", "shared", keys.Pruner)
		w.must(err)
		st := newStage(seed, 1+rng.IntN(60))
		p := &pruner{rng: rand.New(rand.NewPCG(seed, 6)), key: key, secrets: w.hosts[0].access.Secrets, retired: map[digest.Object]bool{},
			st: &gated{Store: w.mem, s: st, free: make(chan struct{})}}
		stop := make(chan struct{})
		failed := make(chan error, 1)
		go func() {
			defer close(st.over)
			for {
				select {
				case <-stop:
					failed <- nil
					return
				default:
				}
				if err := p.cycle(context.Background()); err != nil {
					failed <- err
					return
				}
			}
		}()
		for range 3 {
			for range 5 + rng.IntN(20) {
				x.step()
			}
			time.Sleep(12 * time.Millisecond)
			want, wantSub := describe(t, x.root), describe(t, filepath.Join(x.root, "sub"))
			var both sync.WaitGroup
			errs := make([]error, len(w.hosts))
			for i, h := range w.hosts {
				both.Go(func() {
					errs[i] = w.run(context.Background(), &staged{w.mem, st}, h, h.dirs, w.s.full && i == 0, want, wantSub)
				})
			}
			both.Wait()
			for _, err := range errs {
				runs++
				var retired *repo.RetiredError
				if errors.As(err, &retired) {
					lost++ // as often as it may be; the next run fares better
				} else if err != nil {
					close(stop)
					close(p.st.free)
					w.tell(p.log...)
					w.fatal("%v", err)
				}
			}
			w.checkDone(p)
		}
		close(stop)
		close(p.st.free)
		if err := <-failed; err != nil {
			w.fatal("pruner: %v", err)
		}
		w.checkDone(p)
		w.checkLeft(p)
		again, deleted, compacts = again+w.again, deleted+p.deleted, compacts+p.compacts
	})
	t.Logf("%d runs started over %d times, %d lost against the pruner; %d objects deleted, records merged %d times", runs, again, lost, deleted, compacts)
	if deleted == 0 || runs == lost || again == 0 && os.Getenv("FIRN_METAMORPHIC_SEED") == "" {
		t.Error("nothing was tested")
	}
}

// checkDone makes sure, without the pruner moving, that each done snapshot has all that it needs.
func (w *world) checkDone(p *pruner) {
	p.pause(func() {
		ctx := context.Background()
		r, err := repo.Open(ctx, w.mem, repo.Access{Secrets: w.hosts[0].access.Secrets}, repo.Options{})
		w.must(err)
		s, err := r.Load(ctx, p.key.ScopeID, true)
		w.must(err)
		for _, it := range s.Items {
			if it.Status() != snapshot.IsDone {
				continue
			}
			names, err := s.PackNames(ctx, it.Snapshot)
			if err != nil {
				w.tell(p.log...)
				w.fatal("done snapshot %v: %v", it.ID, err)
			}
			for _, n := range names {
				info, ok, err := s.Set().Find(n)
				if err == nil && ok {
					_, err = w.mem.Stat(ctx, repo.PackName(s, &info))
				}
				if err != nil || !ok {
					w.tell(p.log...)
					w.fatal("done snapshot %v (number %d of %s) has lost pack %v: %v", it.ID, it.Sequence, it.Source.Path, n, err)
				}
			}
		}
	})
}

// pause does something while the pruner waits for its turn.
func (p *pruner) pause(do func()) {
	p.st.s.mu.Lock()
	defer p.st.s.mu.Unlock()
	do()
}

// checkLeft restores the done snapshots that were not forgotten.
func (w *world) checkLeft(p *pruner) {
	ctx := context.Background()
	r, err := repo.Open(ctx, w.mem, repo.Access{Secrets: w.hosts[0].access.Secrets}, repo.Options{})
	w.must(err)
	s, err := r.Load(ctx, p.key.ScopeID, true)
	w.must(err)
	byID := map[snapshot.ID]snapshot.Item{}
	for _, it := range s.Items {
		byID[it.ID] = it
	}
	for _, h := range w.hosts {
		for _, m := range h.made {
			it, ok := byID[m.id]
			if !ok && s.Forgotten()[m.id] || it.Snapshot != nil && it.Status() == snapshot.IsForgotten {
				continue
			}
			if !ok || it.Status() != snapshot.IsDone {
				w.fatal("snapshot %v was reported done and is not", m.id)
			}
			w.restore(r, s, it, m.tree)
		}
	}
}
