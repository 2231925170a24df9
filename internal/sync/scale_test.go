package sync_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"firn/internal/bucket"
	"firn/internal/event"
	"firn/internal/state"
	"firn/internal/sync"
	"firn/internal/sync/ledger"
)

// endless is a bucket that has what it is said to have, without holding it.
type endless struct {
	bucket.Bucket
	folders, files int
	lists          int
}

const emptyTag = "d41d8cd98f00b204e9800998ecf8427e"

func (b *endless) List(_ context.Context, prefix, _ string, fn func(bucket.Object) error) error {
	n := 0
	for d := range b.folders {
		for f := range b.files {
			if n++; n%1000 == 1 {
				b.lists++
			}
			if err := fn(bucket.Object{Key: fmt.Sprintf("%sfolder%05d/file%05d", prefix, d, f), ETag: emptyTag, Modified: time.Unix(1, 0)}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *endless) Put(_ context.Context, key string, _ io.ReadSeeker, size int64, _ bucket.PutOptions) (bucket.Info, error) {
	return bucket.Info{Object: bucket.Object{Key: key, Size: size, ETag: emptyTag}}, nil
}

func (b *endless) Limits() bucket.Limits { return bucket.Limits{MaxParts: 10_000} }
func (b *endless) Location() string      { return "endless" }

// TestMemory syncs very many files, first without, then with a ledger. FIRN_SYNC_FILES says how many (1,000,000 need a million inodes); run alone with it, the memory has to stay in its bounds.
func TestMemory(t *testing.T) {
	files, alone := 2_000, false
	if n, err := strconv.Atoi(os.Getenv("FIRN_SYNC_FILES")); err == nil {
		files, alone = n, true
	}
	root, b := t.TempDir(), &endless{folders: files / 1000, files: 1000}
	if where := os.Getenv("FIRN_SYNC_TREE"); where != "" {
		root = where
	}
	for d := range b.folders {
		folder := filepath.Join(root, fmt.Sprintf("folder%05d", d))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for f := range b.files {
			h, err := os.Create(filepath.Join(folder, fmt.Sprintf("file%05d", f)))
			if err != nil {
				t.Fatal(err)
			}
			_ = h.Close()
		}
	}
	dirs := state.Dirs{State: t.TempDir()}
	for round, o := range []sync.Options{{}, {}, {Compare: sync.BySize}} {
		began := time.Now()
		book, err := ledger.Open(dirs, [16]byte{1}, time.Now(), nil)
		if err != nil {
			t.Fatal(err)
		}
		b.lists = 0
		o.From, o.To, o.Book, o.Events = sync.Place{Folder: root}, sync.Place{Bucket: b}, book, func(event.Event) {}
		res, err := sync.Run(t.Context(), o)
		if err != nil || res.Same != int64(b.folders*b.files) || b.lists > b.folders*b.files/1000+5 {
			t.Fatalf("%v %+v, %d listings", err, res, b.lists)
		}
		book.Close()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("round %d: %d files, %d compared, %v, %d MiB from the system", round, res.Same, res.Compared, time.Since(began).Round(time.Millisecond), m.Sys>>20)
		if alone && m.Sys > 150<<20 {
			t.Errorf("%d bytes from the system", m.Sys)
		}
	}
}
