package mount

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// world is a repository in memory, with one host and one folder that is backed up.
type world struct {
	t       testing.TB
	st      *meddler
	access  repo.Access
	dirs    state.Dirs
	src     string
	class   string
	full    bool
	mu      sync.Mutex
	ahead   time.Duration // of the clock
	reports []Report
}

// meddler is a store that damages what it gives, or does not answer.
type meddler struct {
	*mem.Store
	mu   sync.Mutex
	bad  map[string]bool
	hang chan struct{} // packs of content wait until it is closed; nil: they do not
	met  chan struct{} // told of each that waits
}

// Get implements store.Store.
func (m *meddler) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	m.mu.Lock()
	bad, hang := m.bad[name], m.hang
	m.mu.Unlock()
	if hang != nil && strings.HasPrefix(name, "data/") {
		select {
		case m.met <- struct{}{}:
		default:
		}
		select {
		case <-hang:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	rc, err := m.Store.Get(ctx, name, offset, length)
	if err != nil || !bad {
		return rc, err
	}
	raw, err := io.ReadAll(rc)
	if err != nil {
		return nil, err
	}
	raw = bytes.Clone(raw)
	raw[len(raw)/2] ^= 4
	return io.NopCloser(bytes.NewReader(raw)), nil
}

// stop has packs of content wait.
func (m *meddler) stop() (free func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hang, m.met = make(chan struct{}), make(chan struct{}, 100)
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		close(m.hang)
		m.hang = nil
	})
}

func newWorld(t testing.TB) *world {
	base := t.TempDir()
	w := &world{t: t, src: filepath.Join(base, "src"), dirs: state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}}
	w.st = &meddler{Store: mem.New(mem.Options{Now: w.now}), bad: map[string]bool{}}
	w.must(os.Mkdir(w.src, 0o755))
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(context.Background(), w.st, repo.InitOptions{Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas"})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead)
}

func (w *world) leap(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead += d
}

func (w *world) write(name string, content []byte) {
	w.t.Helper()
	path := filepath.Join(w.src, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, content, 0o644))
}

func (w *world) open() *repo.Repository {
	w.t.Helper()
	r, err := repo.Open(context.Background(), w.st, w.access, repo.Options{})
	w.must(err)
	return r
}

// backup makes a snapshot of w.src.
func (w *world) backup() *snapshot.Snapshot {
	w.t.Helper()
	r := w.open()
	s, err := r.Load(context.Background(), w.access.Host.ScopeID, true)
	w.must(err)
	tree, err := dir.Open(w.src, dir.Options{Problem: func(path []byte, err error) { w.t.Errorf("%q: %v", path, err) }})
	w.must(err)
	defer func() { _ = tree.Close() }()
	st := state.Open(w.dirs, r.ID(), func(err error) { w.t.Log(err) })
	key := w.access.Host.Scope().SourceKey()
	res, err := backup.Run(context.Background(), backup.Options{
		Repo: r, Scope: s, State: st, Tree: tree, Names: tree.Names, Host: "nas", Full: w.full, PackSize: 1 << 20, Storage: snapshot.Storage{Class: w.class},
		Source: snapshot.Origin{ID: snapshot.SourceID(key, "dir", "nas", "", []byte(w.src)), Kind: "dir", Path: []byte(w.src)},
		Detect: backup.DefaultDetect, Program: "test", IsCold: func(class string) bool { return class == "DEEP_ARCHIVE" },
	})
	w.must(err)
	return res.Snapshot
}

// fs opens the repository as a file system.
func (w *world) fs(change func(o *Options)) *FS {
	w.t.Helper()
	o := Options{Repo: w.open(), Refresh: -1, Zone: time.UTC, Now: w.now, Cache: LeastCache, Command: " -r mem", Report: func(r Report) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.reports = append(w.reports, r)
	}}
	if change != nil {
		change(&o)
	}
	f, err := NewFS(context.Background(), o)
	w.must(err)
	w.t.Cleanup(f.Close)
	return f
}

// told returns all that was reported.
func (w *world) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, r := range w.reports {
		b.WriteString(r.Text + "\n")
	}
	return b.String()
}

// find returns the node of a path in a snapshot.
func (w *world) find(f *FS, s *snapshot.Snapshot, path string) node {
	w.t.Helper()
	l, err := f.read(f.names.slot(s.ID), nil)
	w.must(err)
	c := file{node: lineNode(l.slot, -1)}
	for _, name := range strings.Split(path, "/") {
		c, err = l.child(c.node, name)
		w.must(err)
	}
	return c.node
}

// read reads a file of a snapshot whole.
func (w *world) read(f *FS, s *snapshot.Snapshot, path string) ([]byte, error) {
	w.t.Helper()
	o, err := f.openFile(w.find(f, s, path), nil)
	if err != nil {
		return nil, err
	}
	defer o.close()
	b := make([]byte, o.e.Size+10)
	n, err := o.readAt(nil, b, 0)
	return b[:n], err
}

// noise is content that nothing makes smaller.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// dataPacks returns the names of the packs of content.
func (w *world) dataPacks() (names []string) {
	w.t.Helper()
	w.must(w.st.List(context.Background(), "data/", "", func(i store.Info) error {
		if !strings.HasSuffix(i.Name, ".par2") {
			names = append(names, i.Name)
		}
		return nil
	}))
	return names
}

// holding returns the packs that have content of a file.
func (w *world) holding(f *FS, s *snapshot.Snapshot, path string) map[string]bool {
	w.t.Helper()
	n := w.find(f, s, path)
	l, err := f.read(n.slot(), nil)
	w.must(err)
	var ids []digest.Chunk
	w.must(l.entry(n.line(), func(e *manifest.Entry) error {
		p := manifest.NewPieces(l.source(&l.stop), e)
		for p.Next() {
			if !p.Piece().IsHole() {
				ids = append(ids, p.Piece().Chunk)
			}
		}
		return p.Err()
	}))
	from, err := f.originOf(l.item, f.data)
	w.must(err)
	packs := map[string]bool{}
	for _, id := range ids {
		locs, err := from.state.Set().All(id)
		w.must(err)
		for _, loc := range locs {
			info, err := from.state.Set().Pack(loc.Pack)
			w.must(err)
			packs[repo.PackName(from.state, &info)] = true
		}
	}
	return packs
}
