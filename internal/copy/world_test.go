package copy_test

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
	"firn/internal/copy"
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

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// place is a repository in memory.
type place struct {
	*mem.Store
	mu    sync.Mutex
	puts  map[string]int            // that were carried out, by name
	watch func(r mem.Request) error // asked before each request
	st    store.Store               // the memory, or a wrapper around it
}

// world is a repository and a copy of it.
type world struct {
	t        testing.TB
	clock    *clock
	from, to *place
	access   repo.Access
	texts    map[snapshot.ID][]string // of all snapshots that are done
	count    int
}

func (c *clock) place() *place {
	p := &place{puts: map[string]int{}}
	p.Store = mem.New(mem.Options{Now: c.now, Watch: func(r mem.Request) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.watch != nil {
			if err := p.watch(r); err != nil {
				return err
			}
		}
		if r.Op == "put" {
			p.puts[r.Name]++
		}
		return nil
	}})
	p.st = p.Store
	return p
}

func (p *place) set(watch func(r mem.Request) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = watch
}

func newWorld(t testing.TB, o repo.InitOptions, like repo.LikeOptions) *world {
	t.Helper()
	w := bareWorld(t, o)
	w.must(w.open(w.from, w.access).InitLike(ctx, w.to.st, like))
	return w
}

func bareWorld(t testing.TB, o repo.InitOptions) *world {
	t.Helper()
	c := &clock{at: time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC)}
	w := &world{t: t, clock: c, from: c.place(), to: c.place(), texts: map[snapshot.ID][]string{}}
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	o.Keys = append(o.Keys, repo.NewKey{Label: "mine", Recipient: pass})
	o.HostName, o.Now = "nas", c.now
	w.access, err = repo.Init(ctx, w.from.st, o)
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open(p *place, a repo.Access) *repo.Repository {
	w.t.Helper()
	r, err := repo.Open(ctx, p.st, a, repo.Options{Now: w.clock.now})
	w.must(err)
	return r
}

func (w *world) load(p *place) *repo.ScopeState {
	w.t.Helper()
	s, err := w.open(p, w.access).Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	return s
}

// backup makes a backup of these texts, each a file in a chunk of its own, and ends with a done snapshot.
func (w *world) backup(a repo.Access, source byte, texts ...string) snapshot.Item {
	w.t.Helper()
	r := w.open(w.from, a)
	s, err := r.Load(ctx, a.Host.ScopeID, true)
	w.must(err)
	out, err := r.NewWriter(ctx, s, repo.WriterOptions{Lanes: 1})
	w.must(err)
	item, err := out.Publish(ctx, w.fill(a, s, out, source, texts))
	w.must(err)
	w.must(out.Confirm(ctx, item))
	w.texts[item.ID] = texts
	return item
}

func (w *world) fill(a repo.Access, s *repo.ScopeState, out *repo.Writer, source byte, texts []string) *snapshot.Snapshot {
	w.t.Helper()
	hash := digest.NewHasher(a.Host.Scope().ChunkKey(0))
	put := func(kind chunk.Kind, content []byte) (digest.Chunk, error) {
		id := hash.Sum(content)
		_, err := out.Put(0, kind, id, content)
		if err == nil {
			err = out.Reference(id, kind)
		}
		return id, err
	}
	tree := manifest.NewBuilder(cdc.NewTable(a.Host.Scope().GearTable()).Hash, func(raw []byte) (digest.Chunk, error) { return put(chunk.Meta, raw) })
	for i, text := range texts {
		id, err := put(chunk.Data, []byte(text))
		w.must(err)
		w.must(tree.Add(&manifest.Entry{Path: []byte(fmt.Sprintf("f%03d", i)), Mode: 0o644, Size: int64(len(text)), Content: []manifest.Piece{{Chunk: id, Length: int64(len(text))}}}))
	}
	named, err := tree.Finish()
	w.must(err)
	w.must(out.SendPacks(ctx))
	w.count++
	now := w.clock.now()
	random := hash.Sum([]byte(fmt.Sprint(now, w.count)))
	snap := &snapshot.Snapshot{ID: snapshot.ID(random[:16]), Start: now, End: now, Host: a.Host.Name, HostID: [16]byte(a.Host.Host),
		Source: snapshot.Origin{ID: snapshot.Source{source}, Kind: "dir", Path: []byte("/")}, Scope: s.ID(), Sequence: 1, Complete: true, Manifest: snapshot.Tree(named)}
	for _, it := range s.Items {
		if it.Source.ID == snap.Source.ID && it.Sequence >= snap.Sequence {
			snap.Sequence, snap.Previous = it.Sequence+1, &snapshot.Link{ID: it.ID, Sum: it.Sum}
		}
	}
	return snap
}

// copy copies with the keys of a.
func (w *world) copy(a repo.Access, change ...func(*copy.Options)) (*copy.Result, error) {
	w.t.Helper()
	from, err := repo.Open(ctx, w.from.st, a, repo.Options{Now: w.clock.now})
	if err != nil {
		return &copy.Result{}, err
	}
	to, err := repo.Open(ctx, w.to.st, a, repo.Options{Now: w.clock.now})
	if err != nil {
		return &copy.Result{}, err
	}
	o := copy.Options{From: from, To: to}
	for _, c := range change {
		c(&o)
	}
	return copy.Run(ctx, o)
}

// whole copies, and expects that nothing fails.
func (w *world) whole(change ...func(*copy.Options)) *copy.Result {
	w.t.Helper()
	res, err := w.copy(w.access, change...)
	w.must(err)
	for _, f := range res.Failed {
		w.t.Errorf("snapshot %v: %v", f.Item.ID, f.Err)
	}
	return res
}

// read returns the texts of a snapshot.
func read(r *repo.Repository, s *repo.ScopeState, item snapshot.Item) (texts []string, err error) {
	cache, err := r.NewChunkCache(ctx, s, item.Epoch, 1, 1<<20)
	if err != nil {
		return nil, err
	}
	defer cache.Close()
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

// expect reads every snapshot that is done at a place, by what lies there alone, and returns how many there are.
func (w *world) expect(p *place, a repo.Access) int {
	w.t.Helper()
	r := w.open(p, a)
	ids, err := r.Scopes(ctx)
	w.must(err)
	done := 0
	for _, id := range ids {
		s, err := r.Load(ctx, id, true)
		w.must(err)
		for _, err := range s.Damaged {
			w.t.Errorf("damaged: %v", err)
		}
		for _, it := range s.Items {
			if it.Status() != snapshot.IsDone {
				continue
			}
			done++
			if got, err := read(r, s, it); err != nil || !slices.Equal(got, w.texts[it.ID]) {
				w.t.Errorf("snapshot %v reads %.60q, %v; want %.60q", it.ID, got, err, w.texts[it.ID])
			}
		}
	}
	return done
}

// names lists the objects below a prefix.
func (p *place) names(t testing.TB, prefix string) (out []string) {
	t.Helper()
	err := p.Store.List(ctx, prefix, "", func(i store.Info) error {
		out = append(out, i.Name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (p *place) object(t testing.TB, name string) []byte {
	t.Helper()
	rc, err := p.Store.Get(ctx, name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(rc)
	if err := errors.Join(err, rc.Close()); err != nil {
		t.Fatal(err)
	}
	return raw
}

// honest makes sure that every pack at a place is what its name says, and that no name was stored twice.
func (w *world) honest(p *place) {
	w.t.Helper()
	for _, area := range []string{"data/", "meta/", "packset/"} {
		for _, name := range p.names(w.t, area) {
			if !strings.HasSuffix(name, ".par2") && digest.SumObject(p.object(w.t, name)).String() != name[len(name)-64:] {
				w.t.Errorf("%s is not what its name says", name)
			}
		}
	}
}

type (
	ctxt   = context.Context
	seeker = io.ReadSeeker
	closer = io.ReadCloser
)
