// Package storetest is the contract of package store as a test suite, which every implementation and every wrapper passes.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/store"
)

// Suite says how to test one kind of store.
type Suite struct {
	Open func(t *testing.T) store.Store // an empty store; the suite closes it

	NoCreateOnly bool // the store is known to let several creators win
	NoSums       bool // the store is known not to verify sums
	SameAgain    bool // the store may take a second Put of the same content for a repetition of the first
	Objects      int  // how many objects the listing test makes; 0: 1,100
	Big          int  // size of the big object; 0: 9 MiB
}

// Run runs the suite.
func (u Suite) Run(t *testing.T) {
	if u.Objects == 0 {
		u.Objects = 1100
	}
	if u.Big == 0 {
		u.Big = 9 << 20
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"PutGet", u.putGet}, {"CreateOnly", u.createOnly}, {"Race", u.race}, {"Ranges", u.ranges}, {"List", u.list}, {"ListMany", u.listMany},
		{"ListEnd", u.listEnd}, {"Missing", u.missing}, {"Names", u.names}, {"Sums", u.sums}, {"Cancel", u.cancel}, {"Reader", u.reader},
		{"Concurrent", u.concurrent}, {"Delete", u.delete}, {"Pending", u.pending}, {"Probe", u.probe},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := u.Open(t)
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			c.test(t, s)
		})
	}
}

// Content returns size bytes that seed decides.
func Content(seed uint64, size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = r.Read(b)
	return b
}

// Put stores content with its sum, or fails the test.
func Put(t testing.TB, s store.Store, name string, content []byte) {
	t.Helper()
	if err := put(t.Context(), s, name, content); err != nil {
		t.Fatalf("put %q: %v", name, err)
	}
}

func put(ctx context.Context, s store.Store, name string, content []byte) error {
	return s.Put(ctx, name, bytes.NewReader(content), int64(len(content)), store.PutOptions{Sum: sha256.Sum256(content)})
}

// Get reads a part of an object.
func Get(ctx context.Context, s store.Store, name string, offset, length int64) ([]byte, error) {
	r, err := s.Get(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

// Names lists names.
func Names(ctx context.Context, s store.Store, prefix, after string) ([]string, error) {
	var names []string
	err := s.List(ctx, prefix, after, func(i store.Info) error {
		names = append(names, i.Name)
		return nil
	})
	return names, err
}

func (u Suite) putGet(t *testing.T, s store.Store) {
	if s.Location() == "" {
		t.Error("no location")
	}
	begin := time.Now()
	for i, size := range []int{0, 1, 100, 64 << 10, u.Big} {
		name := fmt.Sprintf("data/0011223344556677/aa/object-%d", i)
		content := Content(uint64(i), size)
		Put(t, s, name, content)
		got, err := Get(t.Context(), s, name, 0, -1)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("get of %d bytes: %d bytes, %v", size, len(got), err)
		}
		info, err := s.Stat(t.Context(), name)
		if err != nil || info.Name != name || info.Size != int64(size) {
			t.Errorf("stat: %+v, %v", info, err)
		}
		if !info.Sum.IsZero() && info.Sum != sha256.Sum256(content) {
			t.Errorf("stat tells a wrong sum")
		}
		if d := info.Modified.Sub(begin); d < -time.Hour || d > time.Hour {
			t.Errorf("modified %v", info.Modified)
		}
	}
	// no sum, and a reader that stands elsewhere
	r := bytes.NewReader([]byte("0123456789"))
	if _, err := r.Seek(7, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "x", r, 10, store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := Get(t.Context(), s, "x", 0, -1); err != nil || string(got) != "0123456789" {
		t.Errorf("%q, %v", got, err)
	}
	if err := s.Put(t.Context(), "short", bytes.NewReader([]byte("123")), 4, store.PutOptions{}); err == nil {
		t.Error("an object shorter than it was said to be")
	}
	if _, err := s.Stat(t.Context(), "short"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("after a short put: %v", err)
	}
	if err := s.Put(t.Context(), "part", bytes.NewReader([]byte("12345")), 3, store.PutOptions{}); err != nil {
		t.Error(err)
	} else if got, err := Get(t.Context(), s, "part", 0, -1); err != nil || string(got) != "123" {
		t.Errorf("%q, %v", got, err)
	}
}

func (u Suite) createOnly(t *testing.T, s store.Store) {
	if u.NoCreateOnly {
		t.Skip("the store is known to replace objects")
	}
	Put(t, s, "a/b", []byte("first"))
	for _, content := range []string{"second", "first", ""} {
		err := put(t.Context(), s, "a/b", []byte(content))
		if !errors.Is(err, store.ErrExist) && !(u.SameAgain && content == "first" && err == nil) {
			t.Errorf("second put: %v", err)
		}
	}
	if got, err := Get(t.Context(), s, "a/b", 0, -1); err != nil || string(got) != "first" {
		t.Errorf("%q, %v", got, err)
	}
}

func (u Suite) race(t *testing.T, s store.Store) {
	if u.NoCreateOnly {
		t.Skip("the store is known to replace objects")
	}
	const writers = 16
	for round := range 5 {
		name := fmt.Sprintf("race/%d", round)
		var won atomic.Int32
		var winner atomic.Int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		for w := range writers {
			wg.Go(func() {
				<-start
				err := put(t.Context(), s, name, Content(uint64(w), 20_000))
				for try := 0; try < 50 && store.IsTemporary(err); try++ { // a store may answer a race by asking to repeat
					err = put(t.Context(), s, name, Content(uint64(w), 20_000))
				}
				if err == nil {
					won.Add(1)
					winner.Store(int64(w))
				} else if !errors.Is(err, store.ErrExist) {
					t.Errorf("writer %d: %v", w, err)
				}
			})
		}
		close(start)
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d of %d writers created %s", won.Load(), writers, name)
		}
		if got, err := Get(t.Context(), s, name, 0, -1); err != nil || !bytes.Equal(got, Content(uint64(winner.Load()), 20_000)) {
			t.Fatalf("the object is not the winner's: %d bytes, %v", len(got), err)
		}
	}
}

func (u Suite) ranges(t *testing.T, s store.Store) {
	content := Content(1, 1000)
	Put(t, s, "r", content)
	Put(t, s, "empty", nil)
	for _, c := range []struct{ offset, length, want int64 }{
		{0, -1, 1000}, {0, 1000, 1000}, {0, 1, 1}, {1, 1, 1}, {999, 1, 1}, {500, -1, 500}, {500, 10_000, 500}, {0, 1 << 40, 1000},
		{1000, -1, 0}, {1000, 5, 0}, {0, 0, 0}, {500, 0, 0}, {999, 1<<63 - 1, 1},
	} {
		got, err := Get(t.Context(), s, "r", c.offset, c.length)
		if err != nil || !bytes.Equal(got, content[c.offset:c.offset+c.want]) {
			t.Errorf("get %d+%d: %d bytes, %v", c.offset, c.length, len(got), err)
		}
	}
	for _, c := range []struct{ offset, length int64 }{{1001, -1}, {1001, 1}, {5000, 0}, {-1, 5}} {
		if _, err := Get(t.Context(), s, "r", c.offset, c.length); !errors.Is(err, store.ErrRange) {
			t.Errorf("get %d+%d: %v", c.offset, c.length, err)
		}
	}
	for _, length := range []int64{-1, 0, 1} {
		if got, err := Get(t.Context(), s, "empty", 0, length); err != nil || len(got) != 0 {
			t.Errorf("empty object, length %d: %d bytes, %v", length, len(got), err)
		}
	}
	if _, err := Get(t.Context(), s, "empty", 1, -1); !errors.Is(err, store.ErrRange) {
		t.Errorf("empty object, offset 1: %v", err)
	}
}

func (u Suite) list(t *testing.T, s store.Store) {
	names := []string{
		"Z", "a-b/c", "a.b", "a/b", "a/b.done", "a/b0", "a/c/d/e", "a0", "aa/x", "aa/y/z", "b/0", "b/1", "b/10", "b/2", "firn.json", "z_",
	}
	slices.Sort(names)
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(names)) {
		Put(t, s, names[i], []byte(names[i]))
	}
	prefixes := []string{"", "a", "a/", "a/b", "a/c", "a/c/", "a/c/d/e", "a/c/d/e/", "aa", "b/1", "firn.json", "firn.json/", "nothing", "nothing/here", "A", "z"}
	afters := []string{"", "A", "Z", "a", "a/", "a/b", "a/c", "a/c/d", "a/c/d/e", "aa/y", "b/1", "b/1/", "zz", "a-b", "a-b/d"}
	for _, prefix := range prefixes {
		for _, after := range afters {
			var want []string
			for _, name := range names {
				if strings.HasPrefix(name, prefix) && name > after {
					want = append(want, name)
				}
			}
			if got, err := Names(t.Context(), s, prefix, after); err != nil || !slices.Equal(got, want) {
				t.Errorf("list %q after %q: %q, %v; want %q", prefix, after, got, err, want)
			}
		}
	}
	err := s.List(t.Context(), "", "", func(i store.Info) error {
		stat, err := s.Stat(t.Context(), i.Name)
		if err != nil || stat.Size != i.Size || i.Size != int64(len(i.Name)) || stat.Class != i.Class {
			t.Errorf("list tells %+v, stat %+v, %v", i, stat, err)
		}
		if d := stat.Modified.Sub(i.Modified); d > time.Second || d < -time.Second {
			t.Errorf("list tells %v, stat %v", i.Modified, stat.Modified)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func (u Suite) listMany(t *testing.T, s store.Store) {
	want := make([]string, u.Objects)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := range want {
		want[i] = fmt.Sprintf("data/%02x/%06d", i%7, i)
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			if err := put(t.Context(), s, want[i], []byte{byte(i)}); err != nil {
				t.Errorf("put: %v", err)
			}
		}()
	}
	wg.Wait()
	slices.Sort(want)
	got, err := Names(t.Context(), s, "data/", "")
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d names of %d, %v", len(got), len(want), err)
	}
	middle := len(want) / 3
	got, err = Names(t.Context(), s, "", want[middle])
	if err != nil || !slices.Equal(got, want[middle+1:]) {
		t.Errorf("after %q: %d names of %d, %v", want[middle], len(got), len(want)-middle-1, err)
	}
}

func (u Suite) listEnd(t *testing.T, s store.Store) {
	for i := range 5 {
		Put(t, s, fmt.Sprintf("x/%d", i), nil)
	}
	stop, seen := errors.New("enough"), 0
	err := s.List(t.Context(), "x/", "", func(store.Info) error {
		if seen++; seen == 2 {
			return stop
		}
		return nil
	})
	if err != stop || seen != 2 {
		t.Errorf("%v after %d", err, seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = s.List(ctx, "x/", "", func(store.Info) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled list: %v", err)
	}
	// a callback that asks the store itself
	err = s.List(t.Context(), "x/", "", func(i store.Info) error {
		_, err := Get(t.Context(), s, i.Name, 0, -1)
		return err
	})
	if err != nil {
		t.Errorf("get while listing: %v", err)
	}
}

func (u Suite) missing(t *testing.T, s store.Store) {
	Put(t, s, "a/b", []byte("x"))
	for _, name := range []string{"nothing", "a", "a/c", "no/folder/here", "a/b.done"} {
		if _, err := s.Get(t.Context(), name, 0, -1); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("get %q: %v", name, err)
		}
		if _, err := s.Get(t.Context(), name, 5, 5); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("get a part of %q: %v", name, err)
		}
		if _, err := s.Stat(t.Context(), name); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("stat %q: %v", name, err)
		}
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("delete %q: %v", name, err)
		}
	}
	if _, err := s.Stat(t.Context(), "a/b"); err != nil {
		t.Errorf("deleting what is above an object: %v", err)
	}
	if got, err := Names(t.Context(), s, "nothing", ""); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
	var e *store.Error
	if _, err := s.Stat(t.Context(), "nothing"); !errors.As(err, &e) || e.Op != "stat" || e.Name != "nothing" {
		t.Errorf("%v is no *store.Error that tells all", err)
	}
}

func (u Suite) names(t *testing.T, s store.Store) {
	for _, name := range []string{"", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a b", "~tmp/x", "a\\b", "ä", "a\x00b", strings.Repeat("x", 513)} {
		if err := put(t.Context(), s, name, []byte("x")); err == nil {
			t.Errorf("put takes %q", name)
		}
		if _, err := s.Get(t.Context(), name, 0, -1); err == nil {
			t.Errorf("get takes %q", name)
		}
		if _, err := s.Stat(t.Context(), name); err == nil {
			t.Errorf("stat takes %q", name)
		}
	}
	for _, name := range []string{"...", "-", "a.b_c-D/..x", strings.Repeat("d", 200) + "/" + strings.Repeat("n", 200)} {
		Put(t, s, name, []byte(name))
		if got, err := Get(t.Context(), s, name, 0, -1); err != nil || string(got) != name {
			t.Errorf("%.20q: %q, %v", name, got, err)
		}
	}
}

func (u Suite) sums(t *testing.T, s store.Store) {
	if u.NoSums {
		t.Skip("the store is known not to verify sums")
	}
	for i, size := range []int{0, 10, 100_000} {
		name, content := fmt.Sprintf("sum/%d", i), Content(3, size)
		sum := sha256.Sum256([]byte("something else"))
		err := s.Put(t.Context(), name, bytes.NewReader(content), int64(size), store.PutOptions{Sum: sum})
		if !errors.Is(err, store.ErrChecksum) {
			t.Errorf("wrong sum of %d bytes: %v", size, err)
		}
		if _, err := s.Stat(t.Context(), name); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("after a wrong sum: %v", err)
		}
		Put(t, s, name, content)
	}
}

func (u Suite) cancel(t *testing.T, s store.Store) {
	Put(t, s, "x", Content(1, 1<<20))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Get(ctx, "x", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, io.LimitReader(r, 1<<30)); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("reading after the end: %v", err)
	}
	if err := r.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
	if err := put(ctx, s, "y", []byte("y")); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Get(ctx, "x", 0, -1); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
	if _, err := s.Stat(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("stat: %v", err)
	}
	if _, err := Names(ctx, s, "", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("list: %v", err)
	}
	if err := s.Delete(ctx, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	u.cancelPut(t, s)
}

// cancelPut ends a Put in its middle.
func (u Suite) cancelPut(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	content := Content(2, u.Big)
	r := &hook{ReadSeeker: bytes.NewReader(content), at: u.Big / 2, call: cancel}
	err := s.Put(ctx, "z", r, int64(len(content)), store.PutOptions{Sum: sha256.Sum256(content)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("put that is cancelled half way: %v", err)
	}
	if info, err := s.Stat(t.Context(), "z"); err == nil && info.Size != int64(len(content)) {
		t.Errorf("a part of an object was stored: %+v", info)
	}
}

// hook calls back once after at bytes were read.
type hook struct {
	io.ReadSeeker
	at   int
	call func()
}

func (h *hook) Read(p []byte) (int, error) {
	n, err := h.ReadSeeker.Read(p[:min(len(p), 32<<10)])
	if h.at -= n; h.at <= 0 && h.call != nil {
		h.call()
		h.call = nil
	}
	return n, err
}

// failing fails after some bytes, a number of times.
type failing struct {
	io.ReadSeeker
	left, times int
}

var errSource = errors.New("source is damaged")

func (f *failing) Read(p []byte) (int, error) {
	if f.times > 0 && f.left <= 0 {
		f.times--
		return 0, errSource
	}
	n, err := f.ReadSeeker.Read(p[:min(len(p), 1000)])
	f.left -= n
	return n, err
}

func (u Suite) reader(t *testing.T, s store.Store) {
	content := Content(5, 50_000)
	r := &failing{ReadSeeker: bytes.NewReader(content), left: 20_000, times: 1}
	err := s.Put(t.Context(), "x", r, int64(len(content)), store.PutOptions{Sum: sha256.Sum256(content)})
	if err != nil { // a store may try again by itself
		if _, missing := s.Stat(t.Context(), "x"); !errors.Is(missing, store.ErrNotExist) {
			t.Errorf("after a source that failed (%v): %v", err, missing)
		}
		if err := s.Put(t.Context(), "x", r, int64(len(content)), store.PutOptions{Sum: sha256.Sum256(content)}); err != nil {
			t.Fatalf("again: %v", err)
		}
	}
	if got, err := Get(t.Context(), s, "x", 0, -1); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func (u Suite) concurrent(t *testing.T, s store.Store) {
	const workers, each = 8, 12
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(w)))
			for i := range each {
				name, content := fmt.Sprintf("c/%d/%d", w%3, w*1000+i), Content(uint64(w*1000+i), r.IntN(30_000))
				if err := u.turn(t.Context(), s, name, content, i%4 == 3); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
	names, err := Names(t.Context(), s, "c/", "")
	if err != nil || len(names) != workers*each*3/4 {
		t.Errorf("%d names, %v", len(names), err)
	}
}

// turn puts, reads, lists and perhaps deletes one object.
func (u Suite) turn(ctx context.Context, s store.Store, name string, content []byte, remove bool) error {
	if err := put(ctx, s, name, content); err != nil {
		return err
	}
	got, err := Get(ctx, s, name, 0, -1)
	if err != nil || !bytes.Equal(got, content) {
		return fmt.Errorf("%d bytes of %d, %w", len(got), len(content), err)
	}
	names, err := Names(ctx, s, name, "")
	if err != nil || !slices.Contains(names, name) {
		return fmt.Errorf("not in a listing that began after it was put: %w", err)
	}
	if !remove {
		return nil
	}
	if err := s.Delete(ctx, name); err != nil {
		return err
	}
	if names, err = Names(ctx, s, name, ""); err != nil || slices.Contains(names, name) {
		return fmt.Errorf("in a listing that began after it was deleted: %w", err)
	}
	return nil
}

func (u Suite) delete(t *testing.T, s store.Store) {
	Put(t, s, "index/a", []byte("x"))
	Put(t, s, "index/b", []byte("y"))
	for range 2 {
		if err := s.Delete(t.Context(), "index/a"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stat(t.Context(), "index/a"); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("stat: %v", err)
		}
		if _, err := s.Get(t.Context(), "index/a", 0, -1); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("get: %v", err)
		}
	}
	Put(t, s, "index/a", []byte("z"))
	if got, err := Get(t.Context(), s, "index/a", 0, -1); err != nil || string(got) != "z" {
		t.Errorf("%q, %v", got, err)
	}
}

func (u Suite) pending(t *testing.T, s store.Store) {
	creator, ok := store.As[store.Creator](s)
	if !ok {
		t.Skip("no creator")
	}
	content := Content(9, 3_000_000)
	write := func(o store.PutOptions, pieces int) store.Pending {
		p, err := creator.Create(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for part := range slices.Chunk(content, pieces) {
			if n, err := p.Write(part); err != nil || n != len(part) {
				t.Fatalf("write: %d, %v", n, err)
			}
		}
		return p
	}
	for i, pieces := range []int{7777, 65552, len(content)} {
		name := fmt.Sprintf("data/p%d", i)
		p := write(store.PutOptions{Sum: sha256.Sum256(content)}, pieces)
		if names, err := Names(t.Context(), s, "", ""); err != nil || len(names) != i {
			t.Errorf("before commit: %q, %v", names, err)
		}
		if err := p.Commit(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if got, err := Get(t.Context(), s, name, 0, -1); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if err := write(store.PutOptions{}, 65536).Commit(t.Context(), "data/p0"); !errors.Is(err, store.ErrExist) {
		t.Errorf("second creation: %v", err)
	}
	if err := write(store.PutOptions{Sum: sha256.Sum256(nil)}, 65536).Commit(t.Context(), "data/q"); !errors.Is(err, store.ErrChecksum) {
		t.Errorf("wrong sum: %v", err)
	}
	if err := write(store.PutOptions{}, 65536).Commit(t.Context(), "../q"); err == nil {
		t.Error("commit takes a bad name")
	}
	if err := write(store.PutOptions{}, 65536).Abort(); err != nil {
		t.Errorf("abort: %v", err)
	}
	if names, err := Names(t.Context(), s, "", ""); err != nil || len(names) != 3 {
		t.Errorf("in the end: %q, %v", names, err)
	}
}

func (u Suite) probe(t *testing.T, s store.Store) {
	got, err := store.Probe(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	if got.CreateOnly == u.NoCreateOnly || got.VerifiesSum == u.NoSums || !got.Lists || len(got.Missing) > 0 || len(got.LeftOver) > 0 {
		t.Errorf("%+v", got)
	}
	if names, err := Names(t.Context(), s, "", ""); err != nil || len(names) > 0 {
		t.Errorf("the probe left %q, %v", names, err)
	}
}
