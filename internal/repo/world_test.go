package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

var ctx = context.Background()

// clock ticks a second whenever it is asked.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Second)
	return c.at
}

// world is a repository in memory.
type world struct {
	t      testing.TB
	clock  *clock
	mem    *mem.Store
	st     store.Store // mem, or a wrapper around it
	access repo.Access
}

const phrase = "correct horse battery staple"

func passphrase(t testing.TB, text string) *keys.Recipient {
	t.Helper()
	r, err := keys.Passphrase([]byte(text), keys.MinWork)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func bareWorld(t testing.TB) *world {
	c := &clock{at: time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC)}
	m := mem.New(mem.Options{Now: c.now})
	return &world{t: t, clock: c, mem: m, st: m}
}

func newWorld(t testing.TB, o repo.InitOptions) *world {
	t.Helper()
	w := bareWorld(t)
	o.Keys = append(o.Keys, repo.NewKey{Label: "mine", Recipient: passphrase(t, phrase)})
	o.HostName, o.Now = "nas", w.clock.now
	var err error
	w.access, err = repo.Init(ctx, w.st, o)
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open(a repo.Access) *repo.Repository {
	w.t.Helper()
	r, err := repo.Open(ctx, w.st, a, repo.Options{Now: w.clock.now})
	w.must(err)
	return r
}

func (w *world) load(r *repo.Repository) *repo.ScopeState {
	w.t.Helper()
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	return s
}

// run is a small backup: each text is a file in a chunk of its own.
type run struct {
	w    *world
	r    *repo.Repository
	s    *repo.ScopeState
	out  *repo.Writer
	host *keys.HostKey
	hash *digest.Hasher
}

func (w *world) begin(r *repo.Repository, s *repo.ScopeState, o repo.WriterOptions) *run {
	w.t.Helper()
	o.Lanes = 1 // encoders take memory
	out, err := r.NewWriter(ctx, s, o)
	w.must(err)
	return &run{w, r, s, out, r.Host(), digest.NewHasher(r.Host().Scope().ChunkKey(o.Epoch))}
}

func (b *run) put(kind chunk.Kind, content []byte) (digest.Chunk, error) {
	id := b.hash.Sum(content)
	_, err := b.out.Put(0, kind, id, content)
	return id, err
}

// snapshot puts files and their manifest and returns what Publish needs.
func (b *run) snapshot(complete bool, texts ...string) *snapshot.Snapshot {
	b.w.t.Helper()
	tree := manifest.NewBuilder(cdc.NewTable(b.host.Scope().GearTable()).Hash, func(raw []byte) (digest.Chunk, error) {
		id, err := b.put(chunk.Meta, raw)
		if err == nil {
			err = b.out.Reference(id, chunk.Meta)
		}
		return id, err
	})
	for i, text := range texts {
		id, err := b.put(chunk.Data, []byte(text))
		b.w.must(err)
		b.w.must(b.out.Reference(id, chunk.Data))
		b.w.must(tree.Add(&manifest.Entry{Path: []byte(fmt.Sprintf("f%03d", i)), Mode: 0o644, Size: int64(len(text)), Content: []manifest.Piece{{Chunk: id, Length: int64(len(text))}}}))
	}
	named, err := tree.Finish()
	b.w.must(err)
	b.w.must(b.out.SendPacks(ctx))
	now := b.w.clock.now()
	random := b.hash.Sum([]byte(now.String()))
	s := &snapshot.Snapshot{ID: snapshot.ID(random[:16]), Start: now, End: now, Host: b.host.Name, HostID: [16]byte(b.host.Host),
		Source: snapshot.Origin{ID: snapshot.Source{1}, Kind: "dir", Path: []byte("/")}, Scope: b.s.ID(), Sequence: 1, Complete: complete, Manifest: snapshot.Tree(named)}
	for _, it := range b.s.Items {
		if it.Sequence >= s.Sequence {
			s.Sequence, s.Previous = it.Sequence+1, &snapshot.Link{ID: it.ID, Sum: it.Sum}
		}
	}
	return s
}

// backup makes a whole backup of these texts and ends with a done snapshot.
func (w *world) backup(a repo.Access, texts ...string) snapshot.Item {
	w.t.Helper()
	r := w.open(a)
	s, err := r.Load(ctx, a.Host.ScopeID, true)
	w.must(err)
	b := w.begin(r, s, repo.WriterOptions{})
	item, err := b.out.Publish(ctx, b.snapshot(true, texts...))
	w.must(err)
	w.must(b.out.Confirm(ctx, item))
	return item
}

// read returns the texts of a snapshot.
func read(r *repo.Repository, s *repo.ScopeState, item snapshot.Item) (texts []string, err error) {
	cache, err := r.NewChunkCache(ctx, s, item.Epoch, 1, 1<<20)
	if err != nil {
		return nil, err
	}
	m := manifest.NewReader(manifest.Source{Get: cache.Get}, repo.TreeOf(item.Snapshot))
	err = m.Walk(nil, func(e *manifest.Entry) error {
		for _, p := range e.Content {
			raw, err := cache.Get(p.Chunk)
			if err != nil {
				return err
			}
			texts = append(texts, string(raw[p.Offset:int64(p.Offset)+p.Length]))
		}
		return nil
	})
	return texts, err
}

// expect reads a snapshot and compares.
func (w *world) expect(a repo.Access, id snapshot.ID, status snapshot.Status, texts ...string) {
	w.t.Helper()
	r := w.open(a)
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	for _, it := range s.Items {
		if it.ID != id {
			continue
		}
		if it.Status() != status {
			w.t.Errorf("snapshot is %v, want %v", it.Status(), status)
		}
		if got, err := read(r, s, it); err != nil || !slices.Equal(got, texts) {
			w.t.Errorf("read %q, %v; want %q", got, err, texts)
		}
		return
	}
	w.t.Errorf("snapshot %v is not there; damaged: %v", id, s.Damaged)
}

// names lists the objects below a prefix.
func (w *world) names(prefix string) (out []string) {
	w.t.Helper()
	w.must(w.mem.List(ctx, prefix, "", func(i store.Info) error {
		out = append(out, i.Name)
		return nil
	}))
	return out
}

func (w *world) object(name string) []byte {
	w.t.Helper()
	rc, err := w.mem.Get(ctx, name, 0, -1)
	w.must(err)
	raw, err := io.ReadAll(rc)
	w.must(err)
	w.must(rc.Close())
	return raw
}

// add stores an object as an intruder with the right to write would.
func (w *world) add(name string, raw []byte) {
	w.t.Helper()
	w.must(w.mem.Put(ctx, name, strings.NewReader(string(raw)), int64(len(raw)), store.PutOptions{}))
}

// kept reports whether an error is one of those that a caller can tell apart.
func named(err error) bool {
	var object *repo.ObjectError
	var damage *repo.DamageError
	return errors.As(err, &object) || errors.As(err, &damage)
}
