package ledger_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"firn/internal/bucket"
	"firn/internal/state"
	"firn/internal/sync/ledger"
)

func open(t *testing.T, dir string) *ledger.Book {
	t.Helper()
	b, err := ledger.Open(state.Dirs{State: dir}, [16]byte{7}, time.Unix(1, 0), func(err error) { t.Log(err) })
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func all(t *testing.T, b *ledger.Book) map[string]ledger.Entry {
	t.Helper()
	got := map[string]ledger.Entry{}
	r := b.Read()
	defer r.Close()
	last := ""
	for r.Next() {
		if r.Entry.Key <= last && len(got) > 0 {
			t.Fatalf("%q after %q", r.Entry.Key, last)
		}
		last = r.Entry.Key
		got[last] = r.Entry
	}
	return got
}

func random(rng *rand.Rand, key string) ledger.Entry {
	e := ledger.Entry{Key: key, Size: rng.Int64N(1 << 40), Mtime: rng.Int64() - rng.Int64(), Ctime: rng.Int64(), Inode: rng.Uint64(), Meta: rng.Uint64(), Stored: rng.Int64N(1 << 40), Asked: rng.Int64N(1 << 33)}
	e.ETag = []string{"", "d41d8cd98f00b204e9800998ecf8427e", "D41D8CD98F00B204E9800998ECF8427E", "d41d8cd98f00b204e9800998ecf8427e-12", "odd"}[rng.IntN(5)]
	e.Class = []string{"", "STANDARD", "DEEP_ARCHIVE", "EXOTIC"}[rng.IntN(4)]
	if rng.IntN(2) == 0 {
		e.SumBy, e.Sum, e.PartSize = bucket.CRC64NVME, []byte("12345678"), 16<<20
	}
	e.Flags = []ledger.Flags{0, ledger.Sealed, ledger.Recent | ledger.Opaque, ledger.Link, ledger.Folder}[rng.IntN(5)]
	return e
}

// TestModel puts and forgets at random, over many runs, and compares with a map.
func TestModel(t *testing.T) {
	dir, want := t.TempDir(), map[string]ledger.Entry{}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 12 {
		b := open(t, dir)
		if got := all(t, b); !reflect.DeepEqual(got, want) {
			t.Fatalf("%d entries, want %d", len(got), len(want))
		}
		for range rng.IntN(3000) {
			key := fmt.Sprintf("folder/%d/%d", rng.IntN(20), rng.IntN(200))
			if rng.IntN(4) == 0 {
				b.Forget(key)
				delete(want, key)
				continue
			}
			e := random(rng, key)
			b.Put(&e)
			want[key] = e
		}
		if rng.IntN(3) > 0 { // else it is killed: the lock goes with the process
			b.Close()
		} else {
			b.Drop()
		}
	}
}

// TestLock: one run at a time.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	if _, err := ledger.Open(state.Dirs{State: dir}, [16]byte{7}, time.Now(), nil); err == nil {
		t.Fatal("opened twice")
	}
	b.Close()
	open(t, dir).Close()
}

// TestUploads keeps what was begun and not ended, over runs.
func TestUploads(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	one, two := ledger.Upload{Key: "a", ID: "1", Size: 5, Mtime: -6, Ctime: 7, Inode: 8, PartSize: 9, Meta: 10}, ledger.Upload{Key: "b", ID: "2", PartSize: 1}
	b.Begin(one)
	b.Begin(two)
	b.Put(&ledger.Entry{Key: "x"})
	b.End("2")
	b.Close()
	for range 2 {
		b = open(t, dir)
		if got := b.Uploads(); !slices.Equal(got, []ledger.Upload{one}) {
			t.Fatalf("%+v", got)
		}
		b.Close()
	}
}

// TestDamage flips every byte of a ledger in turn: what is read is a beginning of what was written, or nothing.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range 20 {
		e := random(rng, fmt.Sprint("key", i))
		b.Put(&e)
	}
	b.Close()
	path := filepath.Join(b.Dir(), "ledger")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = open(t, dir)
	defer b.Close()
	want := all(t, b)
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << rng.IntN(8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		got := all(t, b)
		for k, e := range got {
			if !reflect.DeepEqual(e, want[k]) {
				t.Fatalf("byte %d: %+v", i, e)
			}
		}
	}
}

// TestNowhere: without a folder nothing is remembered, and nothing fails.
func TestNowhere(t *testing.T) {
	b, err := ledger.Open(state.Dirs{}, [16]byte{}, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Put(&ledger.Entry{Key: "a"})
	b.Begin(ledger.Upload{Key: "a", ID: "1", PartSize: 1})
	b.End("1")
	if r := b.Read(); r.Next() {
		t.Error("an entry")
	}
	b.Close()
}

func FuzzLedger(f *testing.F) {
	dir := f.TempDir()
	b, err := ledger.Open(state.Dirs{State: dir}, [16]byte{7}, time.Now(), nil)
	if err != nil {
		f.Fatal(err)
	}
	b.Put(&ledger.Entry{Key: "a", ETag: "x", Sum: []byte("s")})
	b.Close()
	raw, err := os.ReadFile(filepath.Join(b.Dir(), "ledger"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:70])
	f.Fuzz(func(t *testing.T, raw []byte) {
		here := t.TempDir()
		b := open(t, here)
		defer b.Close()
		if err := os.MkdirAll(b.Dir(), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(b.Dir(), "ledger"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		all(t, b)
	})
}
