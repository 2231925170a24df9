package sync_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"firn/internal/bucket/buckettest"
	"firn/internal/event"
	"firn/internal/state"
	"firn/internal/sync"
	"firn/internal/sync/ledger"
)

// world is a folder, a bucket and what a host remembers.
type world struct {
	t      *testing.T
	folder string
	state  string
	mem    *buckettest.Mem
	prefix string
	items  []sync.Item
	mu     gosync.Mutex
	errs   []string // guarded by mu while a sync is under way
	tick   int64    // how often files were written anew
	pair   byte
}

func newWorld(t *testing.T, o buckettest.MemOptions) *world {
	w := &world{t: t, folder: t.TempDir(), state: t.TempDir(), mem: buckettest.NewMem(o), prefix: "p/"}
	return w
}

// options are those of a sync up.
func (w *world) options() sync.Options {
	w.items, w.errs = nil, nil
	return sync.Options{
		From: sync.Place{Folder: w.folder}, To: sync.Place{Bucket: w.mem, Name: "mem", Prefix: w.prefix}, Connections: 4,
		Each: func(i sync.Item) { w.items = append(w.items, i) },
		Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		Events: func(e event.Event) {
			if p, ok := e.(event.Problem); ok {
				w.mu.Lock() // several goroutines tell events
				defer w.mu.Unlock()
				w.errs = append(w.errs, fmt.Sprintf("%s: %v", p.Path, p.Err))
			}
		},
	}
}

// back are those of a sync into the folder.
func (w *world) back() sync.Options {
	o := w.options()
	o.From, o.To = o.To, o.From
	return o
}

// run syncs with the ledger of the world.
func (w *world) run(o sync.Options) (*sync.Result, error) {
	w.t.Helper()
	return w.runIn(w.t.Context(), o)
}

func (w *world) runIn(ctx context.Context, o sync.Options) (*sync.Result, error) {
	w.t.Helper()
	book, err := ledger.Open(state.Dirs{State: w.state}, [16]byte{1, w.pair}, time.Now(), func(err error) { w.t.Logf("ledger: %v", err) })
	if err != nil {
		w.t.Fatal(err)
	}
	defer book.Close()
	o.Book = book
	return sync.Run(ctx, o)
}

type seeker = io.ReadSeeker

// ok wants a sync to succeed with nothing left out.
func (w *world) ok(o sync.Options) *sync.Result {
	w.t.Helper()
	res, err := w.run(o)
	if err != nil || res.Incomplete() {
		w.t.Fatalf("%v, %+v, %q", err, res, w.errs)
	}
	return res
}

func (w *world) write(path, content string) {
	w.t.Helper()
	full := filepath.Join(w.folder, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(full, 0o644); err != nil { // whatever the umask is
		w.t.Fatal(err)
	}
}

// rewrite writes a file anew so that its times show it: by themselves they may not, within the few milliseconds in which file systems count.
func (w *world) rewrite(path, content string) {
	w.t.Helper()
	w.write(path, content)
	w.tick++
	at := time.Unix(1_700_000_000+w.tick, 0)
	if err := os.Chtimes(filepath.Join(w.folder, filepath.FromSlash(path)), at, at); err != nil {
		w.t.Fatal(err)
	}
}

// files are the regular files of the folder, by path.
func (w *world) files() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(w.folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		rel, _ := filepath.Rel(w.folder, path)
		all[filepath.ToSlash(rel)] = string(raw)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// objects are those below the prefix, by key.
func (w *world) objects() map[string]string {
	all := map[string]string{}
	for k, v := range w.mem.Content() {
		if rel, ok := strings.CutPrefix(k, w.prefix); ok {
			all[rel] = v
		}
	}
	return all
}

// equal wants both sides to be the same.
func (w *world) equal() {
	w.t.Helper()
	a, b := w.files(), w.objects()
	if maps.Equal(a, b) {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if v, ok := b[k]; !ok {
			w.t.Errorf("only a file: %q", k)
		} else if v != a[k] {
			w.t.Errorf("differs: %q", k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[k]; !ok {
			w.t.Errorf("only an object: %q", k)
		}
	}
	w.t.FailNow()
}

// requests since the last call, without listings.
func (w *world) requests() (others, lists int64) {
	for op, n := range w.mem.Requests() {
		if op == "list" || strings.HasPrefix(op, "List") {
			lists += n
		} else {
			others += n
		}
	}
	w.mem.ForgetRequests()
	return others, lists
}

// still wants a sync to do nothing and to cost the listing alone.
func (w *world) still(o sync.Options) {
	w.t.Helper()
	w.requests()
	n := int64(len(w.mem.Content()))
	if o.From.Bucket != nil && o.To.Bucket != nil {
		n += 1000 // another listing
	}
	res := w.ok(o)
	others, lists := w.requests()
	if others != 0 || lists > n/1000+1 || res.New+res.Changed+res.Deleted+res.Touched != 0 {
		w.t.Fatalf("%d requests, %d listings of %d objects: %+v\n%+v", others, lists, n, res, w.items)
	}
}

func text(seed, n int) string {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		s := sha256.Sum256(fmt.Appendf(nil, "%d %d", seed, i))
		b.Write(s[:])
	}
	return b.String()[:n]
}

// names that make the orders of walks and of keys differ.
var names = []string{"a", "a.txt", "a-b", "a0", "ab", "b", "b!", "Ü", "z z", "日本"}

// edit changes the folder at random.
func (w *world) edit(rng *rand.Rand, most int) {
	for range 1 + rng.IntN(most) {
		var parts []string
		for range 1 + rng.IntN(3) {
			parts = append(parts, names[rng.IntN(len(names))])
		}
		full := filepath.Join(w.folder, filepath.Join(parts...))
		switch rng.IntN(6) {
		case 0:
			_ = os.RemoveAll(full)
		case 1: // a file where a folder was, or the other way round
			_ = os.RemoveAll(filepath.Join(w.folder, parts[0]))
			fallthrough
		default:
			size := []int{0, 1, 100, 100, 100, 5000, 300_000}[rng.IntN(7)]
			if os.MkdirAll(filepath.Dir(full), 0o755) == nil {
				_ = os.WriteFile(full, []byte(text(rng.IntN(50), size)), 0o644) // a folder may be there
			}
		}
	}
}
