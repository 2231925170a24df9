package prune_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"firn/internal/backup"
	"firn/internal/coldtest"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/price"
	"firn/internal/prune"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/cache"
	"firn/internal/store/s3"
)

var ctx = context.Background()

// forest is a tree of files in memory. Each has a version, from which its content follows.
type forest struct {
	version []uint32
	mtime   []int64
}

func fileName(i int) string { return fmt.Sprintf("d%02d/f%04d", i/64, i) }

func fileSize(i int, version uint32) int {
	return 1500 + int((uint32(i)*2654435761+version*40503)%3000)
}

func fileContent(i int, version uint32) []byte {
	rng := rand.New(rand.NewPCG(uint64(i)+1<<32, uint64(version)))
	b := make([]byte, fileSize(i, version)+8)
	for at := 0; at < len(b)-7; at += 8 {
		binary.LittleEndian.PutUint64(b[at:], rng.Uint64())
	}
	return b[:fileSize(i, version)]
}

func (f *forest) stat(i int) source.Stat {
	return source.Stat{Type: source.File, Mode: 0o644, Nlink: 1, Inode: uint64(i + 100), Size: int64(fileSize(i, f.version[i])), MtimeSec: f.mtime[i], CtimeSec: f.mtime[i]}
}

func (f *forest) Walk(ctx context.Context, fn func(*source.Entry) error) error {
	dir := source.Stat{Type: source.Dir, Mode: 0o755, Nlink: 2, Inode: 1, MtimeSec: 1, CtimeSec: 1}
	if err := fn(&source.Entry{Path: []byte{}, Stat: dir}); err != nil {
		return err
	}
	for i := range f.version {
		if i%64 == 0 {
			if err := fn(&source.Entry{Path: fmt.Appendf(nil, "d%02d", i/64), Stat: dir}); err != nil {
				return err
			}
		}
		if err := fn(&source.Entry{Path: []byte(fileName(i)), Stat: f.stat(i)}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (f *forest) Details([]byte, *source.Stat) (source.Details, error) { return source.Details{}, nil }
func (f *forest) Close() error                                         { return nil }

func (f *forest) Open(path []byte) (source.Content, error) {
	i, err := strconv.Atoi(string(path[len(path)-4:]))
	if err != nil {
		return nil, err
	}
	return &leaf{bytes.NewReader(fileContent(i, f.version[i])), f.stat(i)}, nil
}

type leaf struct {
	*bytes.Reader
	st source.Stat
}

func (l *leaf) Close() error                                              { return nil }
func (l *leaf) Stat() (source.Stat, error)                                { return l.st, nil }
func (l *leaf) NextData(offset, size int64) (start, end int64, err error) { return offset, size, nil }

// crashing fails every request from some number on.
type crashing struct {
	store.Store
	left atomic.Int64
}

var errCrash = errors.New("crashed")

func (c *crashing) die() error {
	if c.left.Add(-1) < 0 {
		return errCrash
	}
	return nil
}

func (c *crashing) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if err := c.die(); err != nil {
		return err
	}
	err := c.Store.Put(ctx, name, r, size, o)
	return errors.Join(err, c.after())
}

// after fails a request that was carried out.
func (c *crashing) after() error {
	if c.left.Load() == 0 {
		return errCrash
	}
	return nil
}

func (c *crashing) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := c.die(); err != nil {
		return nil, err
	}
	return c.Store.Get(ctx, name, off, n)
}

func (c *crashing) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if err := c.die(); err != nil {
		return err
	}
	return c.Store.List(ctx, prefix, after, fn)
}

func (c *crashing) Delete(ctx context.Context, name string) error {
	if err := c.die(); err != nil {
		return err
	}
	return errors.Join(c.Store.Delete(ctx, name), c.after())
}

// decades is a repository on a server with cold classes and a clock, which a host backs up to every day and prunes every week.
type decades struct {
	t      *testing.T
	rng    *rand.Rand
	server *coldtest.Server
	clock  *coldtest.Virtual
	st     store.Store
	class  string
	access repo.Access
	pruner *keys.HostKey
	dirs   state.Dirs
	tree   *forest
	made   map[snapshot.ID][]uint32 // versions of the files in each snapshot that was reported done
	runs   int
	failed int
	worst  float64 // most bytes stored for each that is needed, packs in their least stay left out
	stored int64
	needed int64
	young  int64
}

func newDecades(t *testing.T, class string, files int) *decades {
	t.Helper()
	clock := coldtest.NewVirtual(time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC), 0)
	w := &decades{t: t, rng: rand.New(rand.NewPCG(7, 7)), clock: clock, class: class, made: map[snapshot.ID][]uint32{}, tree: &forest{}}
	w.server = coldtest.Start(t, coldtest.Options{Clock: clock})
	w.server.CreateBucket("b")
	u := w.server.User()
	raw, err := s3.Open(ctx, s3.Options{Bucket: "b", Endpoint: w.server.Endpoint(), Region: "us-east-1", PathStyle: "on",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: u.Access, SecretAccessKey: u.Secret, SessionToken: u.Token}, nil
		})})
	w.must(err)
	base := t.TempDir()
	w.st = cache.New(raw, cache.Options{Dir: filepath.Join(base, "near"), Max: 64 << 20})
	w.dirs = state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}
	to, err := keys.ParseRecipient("age1kmv0u9w79vqqlgtz8ctsfuknazl6ef7zvmct4m76l3dfucn56avsmpv8de", nil)
	w.must(err)
	w.access, err = repo.Init(ctx, w.st, repo.InitOptions{Keys: []repo.NewKey{{Label: "k", Recipient: to}}, HostName: "nas", DataClass: class, Now: clock.Now,
		Chunk: &format.Chunk{Min: 64 << 10, Avg: 128 << 10, Max: 256 << 10}, Bundle: &format.Bundle{Min: 8 << 10, Max: 64 << 10}})
	w.must(err)
	r, err := repo.Open(ctx, w.st, w.access, repo.Options{Now: clock.Now})
	w.must(err)
	w.pruner, err = r.Enroll(ctx, "pruner", "nas", keys.Pruner)
	w.must(err)
	for range files {
		w.tree.version, w.tree.mtime = append(w.tree.version, 1), append(w.tree.mtime, clock.Now().Unix()-1000)
	}
	return w
}

func (w *decades) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// maybe returns the store, or one that crashes.
func (w *decades) maybe() store.Store {
	if w.rng.IntN(12) > 0 {
		return w.st
	}
	c := &crashing{Store: w.st}
	c.left.Store(int64(1 + w.rng.IntN(30)))
	return c
}

// day changes a file in a hundred and backs up.
func (w *decades) day() {
	for range max(1, len(w.tree.version)/100) {
		i := w.rng.IntN(len(w.tree.version))
		w.tree.version[i]++
		w.tree.mtime[i] = w.clock.Now().Unix() - 1000
	}
	w.runs++
	if err := w.backup(w.maybe()); err != nil {
		w.failed++
		if !errors.Is(err, errCrash) {
			w.t.Fatal(err)
		}
	}
}

func (w *decades) open(st store.Store, a repo.Access) (*repo.Repository, error) {
	s := state.Open(w.dirs, w.access.Host.Repository, nil)
	return repo.Open(ctx, st, a, repo.Options{Now: w.clock.Now, IndexDir: s.ChunkTableDir(), Spool: s.Spool()})
}

func (w *decades) backup(st store.Store) error {
	r, err := w.open(st, w.access)
	if err != nil {
		return err
	}
	scope, err := r.LoadToWrite(ctx, w.access.Host.ScopeID)
	if err != nil {
		return err
	}
	s := state.Open(w.dirs, w.access.Host.Repository, nil)
	res, err := backup.Run(ctx, backup.Options{Repo: r, Scope: scope, State: s, Tree: w.tree, Source: snapshot.Origin{ID: snapshot.Source{1}, Kind: "dir", Path: []byte("/data")}, Host: "nas",
		Workers: 1, PackSize: 256 << 10, Uploads: 2, Memory: 32 << 20, Now: w.clock.Now, Detect: backup.DefaultDetect, Program: "test", IsCold: func(class string) bool { return class == "DEEP_ARCHIVE" }})
	if err != nil {
		return err
	}
	w.made[res.Snapshot.ID] = slices.Clone(w.tree.version)
	return nil
}

func keepNewest(n int) prune.Decide {
	return func(items []snapshot.Item, _ time.Time) (gone []snapshot.ID, err error) {
		done := slices.DeleteFunc(slices.Clone(items), func(it snapshot.Item) bool { return it.Status() != snapshot.IsDone })
		slices.SortFunc(done, func(a, b snapshot.Item) int { return int(a.Sequence) - int(b.Sequence) })
		for _, it := range done[:max(0, len(done)-n)] {
			gone = append(gone, it.ID)
		}
		return gone, nil
	}
}

func (w *decades) prune(refresh prune.Refresh, last bool) {
	st := w.maybe()
	if last {
		st = w.st
	}
	r, err := w.open(st, repo.Access{Secrets: w.access.Secrets, Host: w.pruner})
	if err == nil {
		var region *price.Region
		region, err = price.Default().Region("aws", "us-east-1")
		w.must(err)
		_, err = prune.Run(ctx, prune.Options{Repo: r, Decide: keepNewest(30), Grace: prune.DefaultGrace, Region: region, Refresh: refresh, Now: w.clock.Now})
	}
	if err != nil && !errors.Is(err, errCrash) {
		w.t.Fatal(err)
	}
}

// weigh compares what lies there with what the snapshots that are kept need.
func (w *decades) weigh() {
	r, err := w.open(w.st, repo.Access{Secrets: w.access.Secrets})
	w.must(err)
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	seen := map[uint64]bool{}
	need := int64(0)
	for _, it := range s.Items {
		if it.Status() != snapshot.IsDone {
			continue
		}
		for i, v := range w.made[it.ID] {
			if k := uint64(i)<<32 | uint64(v); !seen[k] {
				seen[k] = true
				need += int64(fileSize(i, v))
			}
		}
		names, err := s.PackNames(ctx, it.Snapshot)
		w.must(err)
		for _, n := range names {
			if _, ok, err := s.FindPack(n); err != nil || !ok {
				w.t.Fatalf("pack %v of snapshot %v is in no index: %v", n, it.ID, err)
			}
		}
	}
	var all, young int64
	there := map[string]bool{}
	w.must(s.ListPacks(ctx, func(o repo.ObjectName, info store.Info) error {
		there[info.Name] = true
		if o.Area == "data" {
			if all += info.Size; w.class == "DEEP_ARCHIVE" && w.clock.Now().Sub(info.Modified) < 180*24*time.Hour {
				young += info.Size
			}
		}
		return nil
	}))
	for _, it := range s.Items {
		names, err := s.PackNames(ctx, it.Snapshot)
		w.must(err)
		for _, n := range names {
			if p, _, _ := s.FindPack(n); it.Status() == snapshot.IsDone && !there[p.Object] {
				w.t.Fatalf("snapshot %v has lost %s", it.ID, p.Object)
			}
		}
	}
	w.stored, w.needed, w.young = all, need, young
	w.worst = max(w.worst, float64(all-young)/float64(need))
}

// restores reads every snapshot that is kept, byte for byte.
func (w *decades) restores() {
	if w.class == "DEEP_ARCHIVE" {
		th, _ := store.As[store.Thawer](w.st)
		w.must(w.st.List(ctx, "data/", "", func(i store.Info) error {
			_, err := th.Thaw(ctx, i.Name, store.ThawOptions{Tier: store.Bulk, Days: 9})
			return err
		}))
		w.server.Advance(50 * time.Hour)
	}
	r, err := w.open(w.st, repo.Access{Secrets: w.access.Secrets})
	w.must(err)
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	done := 0
	for _, it := range s.Items {
		if it.Status() != snapshot.IsDone {
			continue
		}
		done++
		cache, err := r.NewChunkCache(ctx, s, it.Epoch, 2, 256<<20)
		w.must(err)
		m := manifest.NewReader(manifest.Source{Get: cache.Get}, repo.TreeOf(it.Snapshot))
		files := 0
		w.must(m.Walk(nil, func(e *manifest.Entry) error {
			if e.Type != manifest.File {
				return nil
			}
			var got []byte
			for _, p := range e.Content {
				raw, err := cache.Get(p.Chunk)
				if err != nil {
					return err
				}
				got = append(got, raw[p.Offset:int64(p.Offset)+p.Length]...)
			}
			if want := fileContent(files, w.made[it.ID][files]); !bytes.Equal(got, want) {
				return fmt.Errorf("%s of snapshot %v differs", e.Path, it.ID)
			}
			files++
			return nil
		}))
		cache.Close()
		if files != len(w.tree.version) {
			w.t.Fatalf("%d files in snapshot %v", files, it.ID)
		}
	}
	if done < 25 {
		w.t.Errorf("only %d snapshots are left", done)
	}
}

func (w *decades) live(days int, refresh prune.Refresh) {
	for day := range days {
		w.day()
		w.server.Advance(24 * time.Hour)
		if day%7 == 6 {
			w.prune(refresh, false)
			w.server.ForgetRequests()
		}
		if day%60 == 59 && day > 190 {
			w.prune(refresh, true)
			w.weigh()
		}
	}
	w.prune(refresh, true)
	w.server.Advance(25 * time.Hour)
	w.prune(refresh, true)
	w.weigh()
}

// yearsOf is how long the test lives: FIRN_PRUNE_YEARS, else so many days.
func yearsOf(t *testing.T, days int) int {
	if text := os.Getenv("FIRN_PRUNE_YEARS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n * 365
	}
	if testing.Short() {
		return min(days/2, 40)
	}
	return days
}

// TestYears: a backup a day and a prune a week, with crashes. Every snapshot that is kept restores; nothing is paid for deleting early; what lies there stays in bounds.
func TestYears(t *testing.T) {
	for _, c := range []struct {
		class   string
		refresh prune.Refresh
		days    int
		most    float64
	}{
		{"DEEP_ARCHIVE", prune.Refresh{}, 210, 1.5},
		{"STANDARD", prune.Refresh{}, 60, 1.9},         // each refresh keeps what lives twice for a month
		{"STANDARD", prune.Refresh{Off: true}, 0, 100}, // to compare
	} {
		t.Run(fmt.Sprint(c.class, c.refresh.Off), func(t *testing.T) {
			if yearsOf(t, c.days) == 0 {
				t.Skip("FIRN_PRUNE_YEARS is not set: nothing to compare with")
			}
			files := 600
			w := newDecades(t, c.class, files)
			began := time.Now()
			w.live(yearsOf(t, c.days), c.refresh)
			bill := w.server.Bill()
			if early := bill.Of(price.WhatEarly); early != 0 {
				t.Errorf("%v for deleting early", early)
			}
			if w.worst > c.most {
				t.Errorf("%.2f times what is needed", w.worst)
			}
			w.restores()
			t.Logf("%s, refresh %v: %d backups, %d cut off; %d bytes stored (%d in their least stay), %d needed: %.2f, at worst %.2f without those; %v", c.class, !c.refresh.Off, w.runs, w.failed,
				w.stored, w.young, w.needed, float64(w.stored)/float64(w.needed), w.worst, time.Since(began).Round(time.Millisecond))
			if n, _ := w.server.Objects("b", "prune/"); n > 20 {
				t.Errorf("%d prune records", n)
			}
		})
	}
}
