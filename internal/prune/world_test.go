package prune

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

var ctx = context.Background()

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is a repository in memory with one host that writes and one that prunes.
type world struct {
	t      testing.TB
	now    func() time.Time
	clock  *clock // nil: the bubble's
	mem    *mem.Store
	access repo.Access // everything
	pruner *keys.HostKey
	serial uint64
}

// publicKey is of an identity that nobody has.
const publicKey = "age1kmv0u9w79vqqlgtz8ctsfuknazl6ef7zvmct4m76l3dfucn56avsmpv8de"

func newWorld(t testing.TB, now func() time.Time, class string, watch func(mem.Request) error) *world {
	t.Helper()
	w := &world{t: t, now: now}
	if now == nil {
		w.clock = newClock()
		w.now = w.clock.now
	}
	w.mem = mem.New(mem.Options{Now: w.now, Watch: watch})
	to, err := keys.ParseRecipient(publicKey, nil)
	w.must(err)
	w.access, err = repo.Init(ctx, w.mem, repo.InitOptions{Keys: []repo.NewKey{{Label: "mine", Recipient: to}}, HostName: "nas", Now: w.now, DataClass: class})
	w.must(err)
	w.pruner, err = w.open(w.mem, w.access).Enroll(ctx, "pruner", "nas", keys.Pruner)
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open(st store.Store, a repo.Access) *repo.Repository {
	w.t.Helper()
	r, err := repo.Open(ctx, st, a, repo.Options{Now: w.now})
	w.must(err)
	return r
}

// backup is what one run of a small backup works with. Each text is a file in a chunk of its own.
type backup struct {
	r      *repo.Repository
	s      *repo.ScopeState
	out    *repo.Writer
	hash   *digest.Hasher
	source snapshot.Source
	id     snapshot.ID
	base   snapshot.ID
	epoch  uint32
	now    func() time.Time
}

func begin(st store.Store, a repo.Access, now func() time.Time, source byte, id snapshot.ID, o repo.WriterOptions) (*backup, error) {
	r, err := repo.Open(ctx, st, a, repo.Options{Now: now})
	if err != nil {
		return nil, err
	}
	s, err := r.LoadToWrite(ctx, a.Host.ScopeID)
	if err != nil {
		return nil, err
	}
	o.Lanes, o.Uploads = 1, 1
	out, err := r.NewWriter(ctx, s, o)
	if err != nil {
		return nil, err
	}
	return &backup{r: r, s: s, out: out, hash: digest.NewHasher(a.Host.Scope().ChunkKey(o.Epoch)), source: snapshot.Source{source}, id: id, epoch: o.Epoch, now: now}, nil
}

func (b *backup) put(kind chunk.Kind, content []byte) (digest.Chunk, error) {
	id := b.hash.Sum(content)
	_, err := b.out.Put(0, kind, id, content)
	if err == nil {
		err = b.out.Reference(id, kind)
	}
	return id, err
}

// snapshot puts files and their manifest. split: each text in a pack of its own.
func (b *backup) snapshot(complete, split bool, texts ...string) (*snapshot.Snapshot, error) {
	tree := manifest.NewBuilder(cdc.NewTable(b.r.Host().Scope().GearTable()).Hash, func(raw []byte) (digest.Chunk, error) { return b.put(chunk.Meta, raw) })
	for i, text := range texts {
		id, err := b.put(chunk.Data, []byte(text))
		if err != nil {
			return nil, err
		}
		if split {
			if err := b.out.SendPacks(ctx); err != nil {
				return nil, err
			}
		}
		if err := tree.Add(&manifest.Entry{Path: []byte(fmt.Sprintf("f%03d", i)), Mode: 0o644, Size: int64(len(text)), Content: []manifest.Piece{{Chunk: id, Length: int64(len(text))}}}); err != nil {
			return nil, err
		}
	}
	named, err := tree.Finish()
	if err != nil {
		return nil, err
	}
	if err := b.out.SendPacks(ctx); err != nil {
		return nil, err
	}
	s := &snapshot.Snapshot{ID: b.id, Start: b.now(), End: b.now(), Host: b.r.Host().Name, HostID: [16]byte(b.r.Host().Host), Base: b.base, Epoch: b.epoch,
		Source: snapshot.Origin{ID: b.source, Kind: "dir", Path: []byte{'/', b.source[0]}}, Scope: b.s.ID(), Sequence: 1, Complete: complete, Manifest: snapshot.Tree(named)}
	for _, it := range b.s.Items {
		if it.Source.ID != b.source || it.Status() == snapshot.IsForgotten {
			continue
		}
		if it.Status() != snapshot.IsDone {
			if it.HostID == s.HostID {
				s.Voids = append(s.Voids, it.ID)
			}
		} else if it.Sequence >= s.Sequence {
			s.Sequence, s.Previous = it.Sequence+1, &snapshot.Link{ID: it.ID, Sum: it.Sum}
		}
	}
	return s, nil
}

func (w *world) newID() (id snapshot.ID) {
	w.serial++
	binary.BigEndian.PutUint64(id[:], w.serial)
	id[15] = 1
	return id
}

// backup makes a done snapshot of a source.
func (w *world) backup(source byte, texts ...string) snapshot.Item {
	w.t.Helper()
	return w.backupOn(w.mem, source, snapshot.ID{}, 0, texts...)
}

func (w *world) backupOn(st store.Store, source byte, base snapshot.ID, epoch uint32, texts ...string) snapshot.Item {
	w.t.Helper()
	b, err := begin(st, w.access, w.now, source, w.newID(), repo.WriterOptions{Epoch: epoch})
	w.must(err)
	b.base = base
	s, err := b.snapshot(true, true, texts...)
	w.must(err)
	item, err := b.out.Publish(ctx, s)
	w.must(err)
	w.must(b.out.Confirm(ctx, item))
	item.Marked = true
	return item
}

// keepLast keeps the newest n done snapshots of each source.
func keepLast(n int) Decide {
	return func(items []snapshot.Item, _ time.Time) (gone []snapshot.ID, err error) {
		for _, h := range snapshot.Histories(items) {
			done := slices.DeleteFunc(slices.Clone(h.Items), func(it snapshot.Item) bool { return it.Status() != snapshot.IsDone })
			for _, it := range done[:max(0, len(done)-n)] {
				gone = append(gone, it.ID)
			}
		}
		return gone, nil
	}
}

// options are those of a prune over a store with the pruner's key alone.
func (w *world) options(st store.Store, a repo.Access) Options {
	r, err := repo.Open(ctx, st, a, repo.Options{Now: w.now})
	w.must(err)
	return Options{Repo: r, Now: w.now, Grace: DefaultGrace, Region: amazon(w.t), Decide: keepLast(2)}
}

func (w *world) prunes() repo.Access { return repo.Access{Host: w.pruner} }

func amazon(t testing.TB) *price.Region {
	t.Helper()
	r, err := price.Default().Region("aws", "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// prune runs one and returns what it did.
func (w *world) prune(o Options) *Result {
	w.t.Helper()
	res, err := Run(ctx, o)
	w.must(err)
	return res
}

// sound fails with what is wrong: a done snapshot that lacks a pack, or does not read.
func (w *world) sound(read bool) error {
	r, err := repo.Open(ctx, w.mem, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.now})
	if err != nil {
		return err
	}
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	if err != nil {
		return err
	}
	if len(s.Damaged) > 0 {
		return errors.Join(s.Damaged...)
	}
	for _, it := range s.Items {
		if it.Status() != snapshot.IsDone {
			continue
		}
		names, err := s.PackNames(ctx, it.Snapshot)
		if err != nil {
			return fmt.Errorf("done snapshot %v: %w", it.ID, err)
		}
		for _, n := range names {
			p, ok, err := s.FindPack(n)
			if err == nil && ok {
				_, err = w.mem.Stat(ctx, p.Object)
			}
			if err != nil || !ok {
				return fmt.Errorf("done snapshot %v has lost pack %v: %w", it.ID, n, errors.Join(err, errLost))
			}
		}
		if read {
			if _, err := w.read(r, s, it); err != nil {
				return err
			}
		}
	}
	return nil
}

var errLost = errors.New("lost")

// read returns the texts of a snapshot.
func (w *world) read(r *repo.Repository, s *repo.ScopeState, item snapshot.Item) (texts []string, err error) {
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

// names lists the objects below a prefix.
func (w *world) names(prefix string) (out []string) {
	w.t.Helper()
	w.must(w.mem.List(ctx, prefix, "", func(i store.Info) error {
		out = append(out, i.Name)
		return nil
	}))
	return out
}

func (w *world) packs() int {
	n := 0
	for _, name := range append(w.names("data/"), w.names("meta/")...) {
		if !strings.HasSuffix(name, ".par2") {
			n++
		}
	}
	return n
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

func text(rng *rand.Rand) string { return strings.Repeat(fmt.Sprintf("text %d. ", rng.IntN(5)), 40) }
