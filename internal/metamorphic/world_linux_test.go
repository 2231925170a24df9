package metamorphic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/event"
	"firn/internal/faultstore"
	"firn/internal/format"
	"firn/internal/frame"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/store/retry"
)

// settings are one way to run backups.
type settings struct {
	name    string
	init    repo.InitOptions
	pack    int
	workers int
	flush   int // packs after which a partial snapshot is kept; 0: hardly ever
	level   frame.Level
	memory  int64
	spool   bool   // packs are sealed into memory or files before they are sent
	streams int64  // packs that may become larger are streamed into the spool; 0: hardly ever
	cold    string // class of content, of which the backup believes that it has to be thawed
	cache   string // keep, lose (at random, before runs) or none
	tables  bool   // local chunk tables
	blind   bool   // runs have the host key alone
	stop    string // cancel or kill: at a random request of a run; empty: runs end
	faults  string // rules of faultstore; empty: none
	retry   bool
	nested  bool // a folder in the tree is a source of its own, backed up with the same state of the scope
	hosts   int  // that share the scope, each with the same tree; 0: 1
	full    bool // a new epoch now and then
}

// world is a repository in memory under some settings.
type world struct {
	t     testing.TB
	seed  uint64
	rng   *rand.Rand
	s     settings
	mem   *mem.Store
	base  string
	src   string
	hosts []*host
	runs  int
	grace time.Duration // of runs that are cancelled; 0: the usual
	again int           // how often a run started over; guarded by mu

	mu   sync.Mutex
	note []string // what happened, for a test that fails; guarded by mu
}

type host struct {
	access repo.Access
	name   string
	dirs   state.Dirs
	made   []made
}

// made is a snapshot that was reported done, and how its tree was.
type made struct {
	id   snapshot.ID
	tree []string
}

func newWorld(t testing.TB, seed uint64, s settings, base, src string) *world {
	w := &world{t: t, seed: seed, s: s, base: filepath.Join(base, s.name), src: src, mem: mem.New(mem.Options{})}
	s.init.DataClass = s.cold
	w.rng = rand.New(rand.NewPCG(seed, uint64(len(s.name))))
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	if s.init.Hybrid {
		pass, err = keys.Passphrase([]byte("correct horse"), keys.MinWork)
	}
	w.must(err)
	s.init.Keys = []repo.NewKey{{Label: "p", Recipient: pass}}
	s.init.HostName, s.init.ScopeName = "one", "shared"
	access, err := repo.Init(context.Background(), w.mem, s.init)
	w.must(err)
	w.addHost("one", access)
	for i := 1; i < s.hosts; i++ {
		r, err := repo.Open(context.Background(), w.mem, access, repo.Options{})
		w.must(err)
		name := fmt.Sprint("host", i)
		key, err := r.Enroll(context.Background(), name, "shared", keys.Writer)
		w.must(err)
		w.addHost(name, repo.Access{Secrets: access.Secrets, Host: key})
	}
	return w
}

func (w *world) addHost(name string, a repo.Access) {
	h := &host{access: a, name: name}
	h.setDirs(filepath.Join(w.base, name+"-0"))
	w.hosts = append(w.hosts, h)
}

func (h *host) setDirs(dir string) {
	h.dirs = state.Dirs{Cache: filepath.Join(dir, "cache"), State: filepath.Join(dir, "state")}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.fatal("%v", err)
	}
}

func (w *world) tell(lines ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note = append(w.note, lines...)
}

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.note {
		w.t.Log(n)
	}
	w.t.Fatalf("seed %d, %s: %s", w.seed, w.s.name, fmt.Sprintf(format, args...))
}

// errKilled is what a store says to a process that is no more.
var errKilled = errors.New("killed")

// meter counts the requests of a run and does something at one of them.
type meter struct {
	store.Store
	left   atomic.Int64
	strike func()
	dead   atomic.Bool
}

func (m *meter) tick() error {
	if m.left.Add(-1) == 0 {
		m.strike()
	}
	if m.dead.Load() {
		return errKilled
	}
	return nil
}

func (m *meter) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if err := m.tick(); err != nil {
		return err
	}
	return m.Store.Put(ctx, name, r, size, o)
}

func (m *meter) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := m.tick(); err != nil {
		return nil, err
	}
	return m.Store.Get(ctx, name, off, n)
}

func (m *meter) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if err := m.tick(); err != nil {
		return err
	}
	return m.Store.List(ctx, prefix, after, fn)
}

func (m *meter) Stat(ctx context.Context, name string) (store.Info, error) {
	if err := m.tick(); err != nil {
		return store.Info{}, err
	}
	return m.Store.Stat(ctx, name)
}

func (m *meter) Delete(ctx context.Context, name string) error {
	if err := m.tick(); err != nil {
		return err
	}
	return m.Store.Delete(ctx, name)
}

// streams is a meter over a store that takes streams.
type streams struct{ *meter }

func (s streams) Create(ctx context.Context, o store.PutOptions) (store.Pending, error) {
	if err := s.tick(); err != nil {
		return nil, err
	}
	c, _ := store.As[store.Creator](s.Store)
	p, err := c.Create(ctx, o)
	return &pending{p, s.meter}, err
}

type pending struct {
	store.Pending
	m *meter
}

func (p *pending) Commit(ctx context.Context, name string) error {
	if err := p.m.tick(); err != nil {
		_ = p.Abort()
		return err
	}
	return p.Pending.Commit(ctx, name)
}

// bare hides the powers of what it wraps.
type bare struct{ store.Store }

// backup makes one done snapshot of each source for each host, however often it takes.
func (w *world) backup(want, wantSub []string) {
	for _, h := range w.hosts {
		if w.s.cache == "none" || w.s.cache == "lose" && w.rng.IntN(2) == 0 {
			w.must(os.RemoveAll(h.dirs.Cache))
		}
		for attempt := 1; ; attempt++ {
			done := w.attempt(h, attempt <= 4, want, wantSub)
			if done {
				break
			}
		}
	}
}

// attempt runs the backup of all sources of a host once, and reports whether it ended well. Where it is disturbed it may end with the error of the disturbance,
// but with no other.
func (w *world) attempt(h *host, disturb bool, want, wantSub []string) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.runs++
	m := &meter{Store: w.mem}
	st := store.Store(m)
	if !w.s.spool {
		st = streams{m}
	}
	var next *mem.Store
	dirs := h.dirs
	if disturb && w.s.stop != "" {
		m.left.Store(1 + w.rng.Int64N(60))
		m.strike = cancel
		if w.s.stop == "kill" {
			m.strike = func() { // a copy of all that is there goes on
				m.dead.Store(true)
				next = w.mem.Crash()
				h.setDirs(filepath.Join(w.base, fmt.Sprintf("%s-%d", h.name, w.runs)))
				copyDir(dirs.Cache, h.dirs.Cache)
				copyDir(dirs.State, h.dirs.State)
			}
		}
	}
	if disturb && w.s.faults != "" {
		st = faultstore.New(st, w.rng.Uint64(), faultstore.MustParse(w.s.faults)...)
		if w.s.spool {
			st = bare{st}
		}
	}
	if w.s.retry {
		st = retry.New(st, retry.Options{First: time.Microsecond, Longest: time.Millisecond, Tries: 12})
	}
	full := w.s.full && w.rng.IntN(3) == 0
	err := w.run(ctx, st, h, dirs, full, want, wantSub)
	if next != nil {
		w.mem = next
	}
	w.tell(fmt.Sprintf("run %d of %s: %v", w.runs, h.name, err))
	if err == nil {
		return true
	}
	var fault *faultstore.Fault
	if !disturb || !errors.As(err, &fault) && !errors.Is(err, context.Canceled) && !errors.Is(err, errKilled) && !errors.Is(err, mem.ErrCrashed) {
		w.fatal("run %d: %v", w.runs, err)
	}
	return false
}

func copyDir(from, to string) {
	if _, err := os.Stat(from); err == nil {
		_ = os.CopyFS(to, os.DirFS(from)) // files that go meanwhile: as after a kill
	}
}

// run opens the repository and backs the sources up.
func (w *world) run(ctx context.Context, st store.Store, h *host, dirs state.Dirs, full bool, want, wantSub []string) error {
	access := h.access
	if w.s.blind {
		access.Secrets = nil
	}
	o := repo.Options{Spool: state.Open(dirs, h.access.Host.Repository, nil).Spool()}
	if w.s.tables {
		o.IndexDir = filepath.Join(dirs.Cache, "tables")
	}
	r, err := repo.Open(ctx, st, access, o)
	if err != nil {
		return err
	}
	load := r.LoadToWrite
	if w.rng.IntN(4) == 0 {
		load = func(ctx context.Context, id keys.ScopeID) (*repo.ScopeState, error) { return r.Load(ctx, id, true) }
	}
	scope, err := load(ctx, h.access.Host.ScopeID)
	if err != nil {
		return err
	}
	if len(scope.Damaged) > 0 {
		w.fatal("damaged: %v", scope.Damaged)
	}
	sources := []string{w.src}
	if w.s.nested {
		sources = append(sources, filepath.Join(w.src, "sub"))
	}
	var failed error
	for i, src := range sources { // as the command does: one after another, whether or not the one before succeeded
		snap, err := w.runSource(ctx, r, scope, h, dirs, src, full)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		h.made = append(h.made, made{snap.ID, [][]string{want, wantSub}[i]})
	}
	return failed
}

func (w *world) runSource(ctx context.Context, r *repo.Repository, scope *repo.ScopeState, h *host, dirs state.Dirs, src string, full bool) (*snapshot.Snapshot, error) {
	tree, err := dir.Open(src, dir.Options{Problem: func(path []byte, err error) { w.fatal("%q: %v", path, err) }})
	w.must(err)
	defer func() { _ = tree.Close() }()
	var mu sync.Mutex
	var told []string
	key := h.access.Host.Scope().SourceKey()
	flush := w.s.flush
	if flush == 0 {
		flush = 1 << 30
	}
	res, err := backup.Run(ctx, backup.Options{
		Repo: r, Scope: scope, State: state.Open(dirs, r.ID(), func(err error) {}), Tree: tree, Names: tree.Names, Host: h.name,
		Source: snapshot.Origin{ID: snapshot.SourceID(key, "dir", h.name, "", []byte(src)), Kind: "dir", Path: []byte(src)},
		Detect: backup.DefaultDetect, Program: "test", Full: full,
		Workers: w.s.workers, PackSize: int64(w.s.pack), Streams: w.s.streams, IsCold: func(class string) bool { return class != "" && class == w.s.cold }, Level: w.s.level, Memory: w.s.memory, FlushPacks: flush, FlushAfter: time.Hour, Grace: w.grace,
		Report: func(e event.Event) {
			mu.Lock()
			defer mu.Unlock()
			switch e := e.(type) {
			case event.Problem:
				told = append(told, fmt.Sprintf("problem %q: %v", e.Path, e.Err))
			case event.Note:
				told = append(told, "note "+e.Text)
				if strings.HasPrefix(e.Text, "starting over") {
					w.mu.Lock()
					w.again++
					w.mu.Unlock()
				}
			}
		},
	})
	mu.Lock()
	w.tell(told...)
	mu.Unlock()
	if err != nil {
		return nil, err
	}
	if res.Snapshot.Stats.Problems > 0 || !res.Snapshot.Complete || res.Partial {
		w.fatal("run %d: %+v", w.runs, res.Snapshot.Stats)
	}
	return res.Snapshot, nil
}

// check restores the snapshots that were reported done, from what a stranger with the key finds in the store: the last ones, or all.
func (w *world) check(all bool) {
	ctx := context.Background()
	for _, h := range w.hosts {
		r, err := repo.Open(ctx, w.mem, repo.Access{Secrets: h.access.Secrets}, repo.Options{})
		w.must(err)
		scope, err := r.Load(ctx, h.access.Host.ScopeID, true)
		w.must(err)
		if len(scope.Damaged) > 0 {
			w.fatal("damaged: %v", scope.Damaged)
		}
		byID := map[snapshot.ID]snapshot.Item{}
		for _, it := range scope.Items {
			byID[it.ID] = it
		}
		made := h.made
		if !all {
			made = made[len(made)-1:]
		}
		for _, m := range made {
			it, ok := byID[m.id]
			if !ok || it.Status() != snapshot.IsDone {
				w.fatal("snapshot %v was reported done and is not", m.id)
			}
			w.checkPacks(ctx, r, scope, it)
			w.restore(r, scope, it, m.tree)
		}
		for _, history := range snapshot.Histories(scope.Items) {
			if err := history.Verify(); err != nil {
				w.fatal("%v", err)
			}
		}
	}
}

// checkPacks makes sure that each pack of a snapshot's pack set is there and in the index.
func (w *world) checkPacks(ctx context.Context, r *repo.Repository, scope *repo.ScopeState, it snapshot.Item) {
	names, err := scope.PackNames(ctx, it.Snapshot)
	w.must(err)
	for _, name := range names {
		info, ok, err := scope.Set().Find(name)
		if err != nil || !ok {
			w.fatal("snapshot %v needs pack %v, which is in no index (%v)", it.ID, name, err)
		}
		if _, err := r.Store().Stat(ctx, repo.PackName(scope, &info)); err != nil {
			w.fatal("snapshot %v: %v", it.ID, err)
		}
		if w.s.init.Parity.Data > 0 && w.s.faults == "" && info.Par2 == nil {
			w.fatal("snapshot %v: pack %v has no recovery volume", it.ID, name)
		}
		if info.Par2 == nil {
			continue
		}
		if v, err := r.Store().Stat(ctx, repo.PackName(scope, &info)+".par2"); err != nil || v.Size != info.Par2.Size {
			w.fatal("snapshot %v: recovery volume %+v: %v", it.ID, v, err)
		}
	}
}

// restore brings a snapshot back and compares it.
func (w *world) restore(r *repo.Repository, scope *repo.ScopeState, it snapshot.Item, want []string) {
	to := filepath.Join(w.base, "restored")
	w.must(os.RemoveAll(to))
	res, err := restore.Run(context.Background(), restore.Options{Repo: r, Scope: scope, Snapshot: it.Snapshot, Target: to})
	w.must(err)
	for _, d := range res.Damaged {
		w.tell(d.Error())
	}
	if got := describe(w.t, to); res.Failed > 0 || len(differ(want, got)) > 0 {
		w.tell(differ(want, got)...)
		w.fatal("snapshot %v, number %d of %s, restores to something else (%d failed)", it.ID, it.Sequence, it.Source.Path, res.Failed)
	}
	w.must(os.RemoveAll(to))
}

// sizes are chunk sizes for small trees.
func sizes(min, avg, max, bundleMin, bundleMax int64) repo.InitOptions {
	return repo.InitOptions{Chunk: &format.Chunk{Min: min, Avg: avg, Max: max}, Bundle: &format.Bundle{Min: bundleMin, Max: bundleMax}}
}
