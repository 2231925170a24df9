package rewrite_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/check"
	"firn/internal/digest"
	"firn/internal/format"
	"firn/internal/glob"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/rewrite"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
)

var ctx = context.Background()

// world is a repository in memory with one host and a folder of files.
type world struct {
	t      testing.TB
	st     store.Store
	mem    *mem.Store
	access repo.Access
	base   string
}

func newWorld(t testing.TB, o mem.Options) *world {
	w := &world{t: t, mem: mem.New(o), base: t.TempDir()}
	w.st = w.mem
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(ctx, w.st, repo.InitOptions{
		Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas",
		Chunk:  &format.Chunk{Min: 64 << 10, Avg: 128 << 10, Max: 512 << 10},
		Bundle: &format.Bundle{Min: 16 << 10, Max: 128 << 10},
	})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(name string, seed uint64, size int) {
	w.t.Helper()
	path := filepath.Join(w.base, "src", name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 7))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	w.must(os.WriteFile(path, b, 0o644))
}

func (w *world) link(old, name string) {
	w.t.Helper()
	path := filepath.Join(w.base, "src", name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.Link(filepath.Join(w.base, "src", old), path))
}

func (w *world) backup() *backup.Result {
	w.t.Helper()
	time.Sleep(12 * time.Millisecond) // times of change can be relied on
	r, err := repo.Open(ctx, w.st, repo.Access{Host: w.access.Host}, repo.Options{})
	w.must(err)
	s, err := r.LoadToWrite(ctx, w.access.Host.ScopeID)
	w.must(err)
	root := filepath.Join(w.base, "src")
	tree, err := dir.Open(root, dir.Options{})
	w.must(err)
	defer func() { _ = tree.Close() }()
	dirs := state.Dirs{Cache: filepath.Join(w.base, "cache"), State: filepath.Join(w.base, "state")}
	res, err := backup.Run(ctx, backup.Options{Repo: r, Scope: s, State: state.Open(dirs, r.ID(), func(error) {}), Tree: tree, Names: tree.Names, Host: "nas", PackSize: 128 << 10,
		Source: snapshot.Origin{ID: snapshot.SourceID(w.access.Host.Scope().SourceKey(), "dir", "nas", "", []byte(root)), Kind: "dir", Path: []byte(root)},
		Detect: backup.DefaultDetect, Program: "test"})
	w.must(err)
	return res
}

// options take what patterns choose out of all snapshots.
func (w *world) options(patterns ...string) rewrite.Options {
	r, err := repo.Open(ctx, w.st, repo.Access{Secrets: w.access.Secrets}, repo.Options{})
	w.must(err)
	return rewrite.Options{Repo: r, Program: "test", Paths: func(o snapshot.Origin) (*glob.Set, error) {
		return glob.Options{Root: string(o.Path)}.Parse(patterns, "test")
	}}
}

func (w *world) rewrite(patterns ...string) (*rewrite.Plan, *rewrite.Result) {
	w.t.Helper()
	o := w.options(patterns...)
	p, err := rewrite.Make(ctx, o)
	w.must(err)
	res, err := rewrite.Run(ctx, o, p)
	w.must(err)
	return p, res
}

// items are the snapshots that are not forgotten, in order of number.
func (w *world) items() []snapshot.Item {
	w.t.Helper()
	r, err := repo.Open(ctx, w.mem, repo.Access{Secrets: w.access.Secrets}, repo.Options{})
	w.must(err)
	s, err := r.Load(ctx, w.access.Host.ScopeID, false)
	w.must(err)
	if len(s.Damaged) > 0 {
		w.t.Errorf("damaged: %v", s.Damaged)
	}
	items := slices.DeleteFunc(slices.Clone(s.Items), func(it snapshot.Item) bool { return it.Status() == snapshot.IsForgotten })
	slices.SortFunc(items, func(a, b snapshot.Item) int { return int(a.Sequence) - int(b.Sequence) })
	for _, h := range snapshot.Histories(items) {
		w.must(h.Verify())
	}
	return items
}

// content reads the whole of a snapshot: each path with what it is and has. Names of one file are told apart from files alike.
func (w *world) content(it snapshot.Item) map[string]string {
	w.t.Helper()
	r, err := repo.Open(ctx, w.mem, repo.Access{Secrets: w.access.Secrets}, repo.Options{})
	w.must(err)
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	cache, err := r.NewChunkCache(ctx, s, it.Epoch, 1, 8<<20)
	w.must(err)
	defer cache.Close()
	packs := map[string]bool{}
	names, err := s.PackNames(ctx, it.Snapshot)
	w.must(err)
	for _, n := range names {
		packs[n.String()] = false
	}
	get := func(id digest.Chunk) ([]byte, error) {
		locs, err := s.Set().All(id)
		w.must(err)
		ok := false
		for _, l := range locs {
			info, err := s.Set().Pack(l.Pack)
			w.must(err)
			if _, named := packs[info.Name.String()]; named {
				packs[info.Name.String()], ok = true, true
			}
		}
		if !ok {
			w.t.Errorf("snapshot %v needs a pack that it does not name", it.ID)
		}
		return cache.Get(id)
	}
	out := map[string]string{}
	src := manifest.Source{Get: get}
	m := manifest.NewReader(src, repo.TreeOf(it.Snapshot))
	var stats snapshot.Stats
	w.must(m.Walk(nil, func(e *manifest.Entry) error {
		switch e.Type {
		case manifest.File:
			stats.Files++
			stats.Bytes += e.Size
		case manifest.Dir:
			stats.Dirs++
		default:
			stats.Others++
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "%v %o %v %s|", e.Type, e.Mode, e.Mtime, e.Target)
		if len(e.Hardlink) > 0 {
			first, ok := out[string(e.Hardlink)]
			if !ok || len(e.Content) > 0 {
				w.t.Errorf("%q is another name of %q, which is not there", e.Path, e.Hardlink)
			}
			b.Reset()
			b.WriteString(first)
		}
		for p := m.Pieces(e); p.Next(); {
			raw, err := get(p.Piece().Chunk)
			w.must(err)
			b.Write(raw[p.Piece().Offset:][:p.Piece().Length])
		}
		out[string(e.Path)] = b.String()
		return nil
	}))
	if stats.Files != it.Stats.Files || stats.Dirs != it.Stats.Dirs || stats.Others != it.Stats.Others || stats.Bytes != it.Stats.Bytes {
		w.t.Errorf("statistics %+v, want %+v", it.Stats, stats)
	}
	for name, used := range packs {
		if !used && len(it.Rewrites) > 0 {
			w.t.Errorf("snapshot %v names pack %.8s, which it does not need", it.ID, name)
		}
	}
	return out
}

// without is what is left of a snapshot.
func without(all map[string]string, chosen func(path string) bool) map[string]string {
	out := map[string]string{}
	for path, what := range all {
		if !chosen(path) {
			out[path] = what
		}
	}
	return out
}

// below chooses folders with all that is in them.
func below(dirs ...string) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(dirs, func(d string) bool { return path == d || strings.HasPrefix(path, d+"/") })
	}
}

// sound runs a check that reads everything.
func (w *world) sound() {
	w.t.Helper()
	c, err := check.Open(ctx, check.Options{Store: w.mem, Access: &repo.Access{Secrets: w.access.Secrets}, Seed: 1})
	w.must(err)
	defer c.Close()
	p, err := c.Plan(ctx, check.Wish{Metadata: true, Read: check.Share{All: true}})
	w.must(err)
	w.must(c.Metadata(ctx))
	w.must(c.Read(ctx, p))
	report, err := c.Report(ctx)
	w.must(err)
	for _, f := range report.Findings {
		w.t.Errorf("check: %s: %v", f.Object, f.Err)
	}
}
