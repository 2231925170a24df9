package repo_test

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
	"testing"
	"time"

	"firn/internal/repo"
	"firn/internal/state"
	"firn/internal/store"
)

// down is a store whose line drops: packs of content do not get through as long as it is told so.
type down struct {
	store.Store
	mu    sync.Mutex
	isNow bool
	puts  []store.PutOptions // of packs of content that got through
	sizes []int64
}

var errDown = errors.New("the line is down")

func (d *down) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if strings.HasPrefix(name, "data/") {
		d.mu.Lock()
		isNow := d.isNow
		if !isNow {
			d.puts = append(d.puts, o)
			d.sizes = append(d.sizes, size)
		}
		d.mu.Unlock()
		if isNow {
			if o.Memory != nil {
				o.Memory.SetUpload("under way")
			}
			return errDown
		}
	}
	return d.Store.Put(ctx, name, r, size, o)
}

func noise(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 9))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// TestSpoolKeeps drops the line while streamed packs are sent: what was sealed is sent from the spool by the next run, without its content being put
// again, and nothing stays in the spool.
func TestSpoolKeeps(t *testing.T) {
	for _, torn := range []bool{false, true} {
		t.Run(fmt.Sprintf("torn=%v", torn), func(t *testing.T) {
			w := newWorld(t, repo.InitOptions{DataClass: "DEEP_ARCHIVE"})
			line := &down{Store: w.st, isNow: true}
			w.st = line
			dirs := state.Dirs{Cache: t.TempDir(), State: t.TempDir()}
			spool := state.Open(dirs, w.access.Secrets.Repository, nil).Spool()
			open := func() (*repo.Repository, *repo.ScopeState) {
				r, err := repo.Open(ctx, w.st, w.access, repo.Options{Now: w.clock.now, Spool: spool})
				w.must(err)
				return r, w.load(r)
			}
			log := &journal{}
			o := repo.WriterOptions{PackSize: 40 << 20, Workers: 3, Journal: log, PartTime: time.Minute, Up: 1e6}
			r, s := open()
			b := w.begin(r, s, o)
			for i := range 3 {
				if _, err := b.put(0, []byte(noise(uint64(i), 1<<20))); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.out.SendPacks(ctx); !errors.Is(err, errDown) {
				t.Fatalf("sent through a line that is down: %v", err)
			}
			b.out.Abort()
			kept, err := spool.List()
			if err != nil || len(kept) != 1 || kept[0].Size < 3<<20 {
				t.Fatalf("spool holds %v, %v", kept, err)
			}
			if got := spool.UploadNote(kept[0].Name).Upload(); got != "under way" {
				t.Fatalf("upload %q is remembered", got)
			}
			if torn {
				path := filepath.Join(dirs.Cache, fmt.Sprintf("%x", w.access.Secrets.Repository), "spool", kept[0].Name)
				w.must(os.Truncate(path, kept[0].Size-1))
			}
			line.isNow = false
			r, s = open()
			b = w.begin(r, s, o)
			adopted, err := b.out.Adopt(ctx, log.records)
			w.must(err)
			want := 1
			if torn {
				want = 0
			}
			if adopted != want {
				t.Fatalf("%d packs were taken up, want %d", adopted, want)
			}
			snap := b.snapshot(true, noise(0, 1<<20), noise(1, 1<<20), noise(2, 1<<20))
			if added, _, _ := b.out.Counts(); (added == 0) != (adopted == 1) {
				t.Fatalf("%d bytes were put again", added)
			}
			item, err := b.out.Publish(ctx, snap)
			w.must(err)
			w.must(b.out.Confirm(ctx, item))
			if left, _ := spool.List(); len(left) > 0 {
				t.Errorf("spool still holds %v", left)
			}
			for i, p := range line.puts {
				if p.Class != "DEEP_ARCHIVE" || p.Memory == nil || p.Parts != 0 {
					t.Errorf("pack of %d bytes was put with %+v", line.sizes[i], p)
				}
			}
			if len(w.names("data/")) != 1 {
				t.Errorf("packs %v", w.names("data/"))
			}
		})
	}
}

// picky is a store that does not take content in one class.
type picky struct {
	store.Store
	class string
	err   error
}

func (r *picky) Put(ctx context.Context, name string, c io.ReadSeeker, size int64, o store.PutOptions) error {
	if o.Class == r.class && strings.HasPrefix(name, "data/") {
		return r.err
	}
	return r.Store.Put(ctx, name, c, size, o)
}

// TestSpoolRefused: a pack that the store does not take in the class that was chosen does not stop later runs. It goes into another class where that is chosen; where the store
// refuses it for good it leaves the spool; where that may pass, such as a right that is missing, it stays.
func TestSpoolRefused(t *testing.T) {
	bad := errors.New("InvalidStorageClass")
	for _, c := range []struct {
		name          string
		second        string
		err           error
		adopted, left int
	}{{"other class", "GLACIER", bad, 1, 0}, {"same class", "DEEP_ARCHIV", bad, 0, 0}, {"denied", "DEEP_ARCHIV", store.ErrDenied, 0, 1}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, repo.InitOptions{})
			w.st = &picky{w.st, "DEEP_ARCHIV", c.err}
			spool := state.Open(state.Dirs{Cache: t.TempDir(), State: t.TempDir()}, w.access.Secrets.Repository, nil).Spool()
			log := &journal{}
			begin := func(class string) *run {
				r, err := repo.Open(ctx, w.st, w.access, repo.Options{Now: w.clock.now, Spool: spool})
				w.must(err)
				return w.begin(r, w.load(r), repo.WriterOptions{PackSize: 40 << 20, Class: class, Journal: log})
			}
			b := begin("DEEP_ARCHIV")
			_, err := b.put(0, []byte(noise(1, 1<<20)))
			w.must(err)
			if err := b.out.SendPacks(ctx); !errors.Is(err, c.err) {
				t.Fatalf("first run: %v", err)
			}
			b.out.Abort()
			b = begin(c.second)
			adopted, err := b.out.Adopt(ctx, log.records)
			if adopted != c.adopted || (err != nil) != (c.left > 0) {
				t.Fatalf("%d packs taken up, %v", adopted, err)
			}
			left, err := spool.List()
			w.must(err)
			if len(left) != c.left {
				t.Fatalf("spool holds %v", left)
			}
			if c.adopted > 0 {
				item, err := b.out.Publish(ctx, b.snapshot(true, noise(1, 1<<20)))
				w.must(err)
				w.must(b.out.Confirm(ctx, item))
				for _, name := range w.names("data/") {
					if i, err := w.st.Stat(ctx, name); err != nil || i.Class != c.second {
						t.Errorf("%+v, %v", i, err)
					}
				}
			}
		})
	}
}
