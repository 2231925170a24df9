package sync_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"filippo.io/age"

	"firn/internal/bucket"
	"firn/internal/bucket/buckettest"
	"firn/internal/glob"
	"firn/internal/price"
	"firn/internal/sync"
)

func TestUp(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	w.write("a.txt", "one")
	w.write("a/b", "two")
	w.write("a-b/c.jpg", "three")
	w.write("empty", "")
	if res := w.ok(w.options()); res.New != 4 || res.Sent != 11 {
		t.Fatalf("%+v", res)
	}
	w.equal()
	w.still(w.options())
	w.rewrite("a/b", "TWO")
	if res := w.ok(w.options()); res.Changed != 1 || w.items[0].Itemized() != "<fc.t......" {
		t.Fatalf("%+v %q", res, w.items[0].Itemized())
	}
	w.equal()
	if err := os.Remove(filepath.Join(w.folder, "a.txt")); err != nil {
		t.Fatal(err)
	}
	w.ok(w.options())
	if len(w.objects()) != 4 {
		t.Fatal("deleted without being asked")
	}
	o := w.options()
	o.Delete, o.DryRun = true, true
	if res := w.ok(o); res.Deleted != 1 || len(w.objects()) != 4 {
		t.Fatalf("%+v", res)
	}
	o = w.options()
	o.Delete = true
	if res := w.ok(o); res.Deleted != 1 {
		t.Fatalf("%+v", res)
	}
	w.equal()
}

// TestHistories makes random histories of edits, faults, stops and losses. Whenever a sync succeeds both sides are equal, and the next one costs the listing alone.
func TestHistories(t *testing.T) {
	seeds := 24
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { history(t, uint64(seed)) })
	}
}

func history(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, buckettest.MemOptions{NoSums: seed%4 == 1, KMS: seed%8 == 2, Limits: bucket.Limits{MinPart: 1}})
	up := seed%2 == 0
	for step := range 6 {
		w.edit(rng, 12)
		o := w.options()
		if !up && step > 0 {
			w.meddle(rng)
			o = w.back()
		}
		o.Delete, o.Guard = true, sync.Guard{Set: true, Percent: 100, Count: -1}
		o.Threshold, o.PartSize = 100_000, 64<<10
		if rng.IntN(3) == 0 {
			w.disturb(rng, o)
		}
		switch rng.IntN(5) {
		case 0:
			w.lose(rng)
		}
		w.ok(o)
		w.equal()
		o2 := w.options()
		if !up && step > 0 {
			o2 = w.back()
		}
		o2.Delete, o2.Guard, o2.Threshold, o2.PartSize = o.Delete, o.Guard, o.Threshold, o.PartSize
		w.still(o2)
		if rng.IntN(3) == 0 && seed%8 != 2 && up { // with SSE-KMS an ETag is no MD5, and HEADs are needed
			w.lose(rng)
			w.still2(o2)
		}
	}
}

// still2 wants a sync without a ledger to transfer nothing.
func (w *world) still2(o sync.Options) {
	w.t.Helper()
	if res := w.ok(o); res.New+res.Changed+res.Deleted != 0 {
		w.t.Fatalf("%+v\n%+v", res, w.items)
	}
}

// meddle changes the bucket behind the ledger's back.
func (w *world) meddle(rng *rand.Rand) {
	for range 1 + rng.IntN(5) {
		var parts []string
		for range 1 + rng.IntN(2) {
			parts = append(parts, names[rng.IntN(len(names))])
		}
		key := w.prefix + strings.Join(parts, "/")
		var gone []string
		for k := range w.mem.Content() {
			if strings.HasPrefix(k, key+"/") || strings.HasPrefix(key, k+"/") || rng.IntN(20) == 0 {
				gone = append(gone, k)
			}
		}
		if _, err := w.mem.Delete(w.t.Context(), gone); err != nil {
			w.t.Fatal(err)
		}
		buckettest.Put(w.t, w.mem, key, []byte(text(rng.IntN(50), rng.IntN(3)*70_000)), bucket.PutOptions{})
	}
}

// disturb runs a sync that fails in the middle.
func (w *world) disturb(rng *rand.Rand, o sync.Options) {
	if rng.IntN(2) == 0 {
		ctx, cancel := context.WithCancel(w.t.Context())
		left := rng.IntN(6)
		o.Each = func(sync.Item) {
			if left--; left < 0 {
				cancel()
			}
		}
		old := w.t
		_, _ = w.runIn(ctx, o)
		w.t = old
		cancel()
		return
	}
	op := []string{"put", "get", "part", "complete", "delete", "list", "begin", "copy", "head", "deletes"}[rng.IntN(10)]
	kind := []string{"broken", "lost", "denied"}[rng.IntN(3)]
	if op == "get" {
		kind = []string{"broken", "cut", "flip", "missing", "precondition"}[rng.IntN(5)]
	}
	if err := w.mem.SetFaults(op + fmt.Sprintf(" * %s times=%d", kind, 1+rng.IntN(6))); err != nil {
		w.t.Fatal(err)
	}
	_, _ = w.runIn(w.t.Context(), o)
	if err := w.mem.SetFaults(""); err != nil {
		w.t.Fatal(err)
	}
}

// lose damages or deletes what is remembered.
func (w *world) lose(rng *rand.Rand) {
	found, _ := filepath.Glob(filepath.Join(w.state, "sync", "*", "ledger"))
	more, _ := filepath.Glob(filepath.Join(w.state, "sync", "*", "journals", "*"))
	for _, path := range append(found, more...) {
		raw, err := os.ReadFile(path)
		if err != nil || len(raw) == 0 {
			continue
		}
		switch rng.IntN(3) {
		case 0:
			_ = os.Remove(path)
		case 1:
			_ = os.Truncate(path, int64(rng.IntN(len(raw))))
		default:
			raw[rng.IntN(len(raw))] ^= 1 << rng.IntN(8)
			_ = os.WriteFile(path, raw, 0o600)
		}
	}
}

// TestTorn has a file change while it is sent, once and for ever.
func TestTorn(t *testing.T) {
	for _, size := range []int{1000, 300_000} {
		w := newWorld(t, buckettest.MemOptions{Limits: bucket.Limits{MinPart: 1}})
		w.write("f", text(1, size))
		n := 0
		o := w.options()
		o.Threshold, o.PartSize = 100_000, 64<<10
		o.To.Bucket = &hooked{Bucket: w.mem, before: func() {
			if n++; n <= 2 {
				w.rewrite("f", text(n+1, size))
			}
		}}
		w.ok(o)
		w.equal()
		o = w.options()
		o.Threshold, o.PartSize = 100_000, 64<<10
		o.To.Bucket = &hooked{Bucket: w.mem, before: func() { n++; w.rewrite("f", text(n+100, size)) }}
		w.write("f", text(99, size))
		before := w.objects()["f"]
		res, err := w.run(o)
		if err != nil || res.Unread != 1 || w.objects()["f"] != before || len(w.mem.Uploads()) != 0 {
			t.Fatalf("%v %+v, uploads %v", err, res, w.mem.Uploads())
		}
	}
}

// hooked calls before ahead of each transfer.
type hooked struct {
	bucket.Bucket
	before func()
	one    gosync.Mutex
}

func (h *hooked) hook() {
	h.one.Lock()
	defer h.one.Unlock()
	h.before()
}

func (h *hooked) Put(ctx context.Context, key string, r seeker, size int64, o bucket.PutOptions) (bucket.Info, error) {
	h.hook()
	return h.Bucket.Put(ctx, key, r, size, o)
}

func (h *hooked) PutPart(ctx context.Context, key, id string, n int, r seeker, size int64) (bucket.Part, error) {
	h.hook()
	return h.Bucket.PutPart(ctx, key, id, n, r, size)
}

// TestResume stops an upload in the middle; the next run sends what is missing alone.
func TestResume(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{Limits: bucket.Limits{MinPart: 1}})
	w.write("large", text(1, 1_000_000))
	o := w.options()
	o.Threshold, o.PartSize, o.Connections = 100_000, 64<<10, 1
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	o.To.Bucket = &hooked{Bucket: w.mem, before: func() {
		if n++; n == 10 {
			cancel()
		}
	}}
	if _, err := w.runIn(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	n = 100
	o = w.options()
	o.Threshold, o.PartSize = 100_000, 64<<10
	res := w.ok(o)
	if res.Resumed < 8*64<<10 || res.Sent+res.Resumed != 1_000_000 {
		t.Fatalf("%+v", res)
	}
	w.equal()
	w.still(o)
}

// TestGuards wants deletions to be refused where they look like an accident.
func TestGuards(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	for i := range 10 {
		w.write(fmt.Sprintf("d/f%d", i), "x")
	}
	w.ok(w.options())
	for i := range 6 {
		_ = os.Remove(filepath.Join(w.folder, "d", fmt.Sprintf("f%d", i)))
	}
	o := w.options()
	o.Delete = true
	var guard *sync.GuardError
	if res, err := w.run(o); !errors.As(err, &guard) || guard.Deletions != 6 || guard.Of != 10 || res.Deleted != 0 || len(w.objects()) != 10 {
		t.Fatalf("%v %+v", err, res)
	}
	o.Guard = sync.Guard{Set: true, Count: 5}
	if _, err := w.run(o); !errors.As(err, &guard) {
		t.Fatal(err)
	}
	o.Guard.Count = 6
	w.ok(o)
	w.equal()
	_ = os.RemoveAll(filepath.Join(w.folder, "d"))
	o = w.options()
	o.Delete = true
	if _, err := w.run(o); !errors.As(err, &guard) || !guard.Empty {
		t.Fatal(err)
	}
	_ = os.RemoveAll(w.folder)
	if _, err := w.run(o); !errors.As(err, new(*sync.PlaceError)) {
		t.Fatal(err)
	}
	if len(w.objects()) != 4 {
		t.Fatal(w.objects())
	}
}

// TestRepository wants a repository of backups to survive a sync that was sent to the wrong prefix.
func TestRepository(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	w.write("f", "1")
	buckettest.Put(t, w.mem, "p/firn.json", []byte("{}"), bucket.PutOptions{})
	o := w.options()
	o.Delete, o.Guard = true, sync.Guard{Set: true, Percent: 100, Count: -1}
	if _, err := w.run(o); !errors.Is(err, sync.ErrOurs) || len(w.objects()) != 2 {
		t.Fatal(err)
	}
	o = w.options()
	o.From.Folder = filepath.Join(w.folder, "f")
	if _, err := w.run(o); !errors.Is(err, sync.ErrFile) {
		t.Fatal(err)
	}
}

// TestRepositoryBelow wants one anywhere below the target to survive, whatever the patterns say, and in a folder, too; but not a copy of one that a sync has brought.
func TestRepositoryBelow(t *testing.T) {
	all := sync.Guard{Set: true, Percent: 100, Count: -1}
	for _, pattern := range []string{"", "*.json", "firn.json"} {
		w := newWorld(t, buckettest.MemOptions{})
		w.write("f", "1")
		for _, key := range []string{"p/nas/data/1", "p/nas/firn.json", "p/nas/snapshots/1"} {
			buckettest.Put(t, w.mem, key, []byte("{}"), bucket.PutOptions{})
		}
		o := w.options()
		o.Delete, o.Guard = true, all
		if pattern != "" {
			set, err := glob.Parse([]string{pattern}, "")
			if err != nil {
				t.Fatal(err)
			}
			o.Filter = sync.NewFilter(set, nil)
		}
		if _, err := w.run(o); !errors.Is(err, sync.ErrOurs) || len(w.objects()) != 4 {
			t.Errorf("%q: %v, %q", pattern, err, w.objects())
		}
		set, err := glob.Parse([]string{"/nas"}, "")
		if err != nil {
			t.Fatal(err)
		}
		o.Filter = sync.NewFilter(set, nil)
		if w.ok(o); len(w.objects()) != 4 {
			t.Errorf("left out: %q", w.objects())
		}
	}
	w := newWorld(t, buckettest.MemOptions{})
	w.write("copy/firn.json", "{}")
	w.write("f", "1")
	w.ok(w.options())
	_ = os.RemoveAll(filepath.Join(w.folder, "copy"))
	o := w.options()
	o.Delete = true
	w.ok(o)
	w.equal()
	w.write("nas/firn.json", "{}")
	o = w.back()
	o.Delete, o.Guard = true, all
	if _, err := w.run(o); !errors.Is(err, sync.ErrOurs) || len(w.files()) != 2 {
		t.Errorf("a folder: %v, %q", err, w.files())
	}
}

// TestLeftOutStays wants objects to stay for which the source has a symlink that is left out: a folder that was moved to another disk has not been deleted.
func TestLeftOutStays(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symlinks")
	}
	w := newWorld(t, buckettest.MemOptions{})
	for _, name := range []string{"a", "moved/1", "moved/d/2", "moved-not", "moved.txt", "z"} {
		w.write(name, name)
	}
	w.ok(w.options())
	for _, name := range []string{"moved", "z"} {
		if err := os.Rename(filepath.Join(w.folder, name), filepath.Join(w.state, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(w.state, name), filepath.Join(w.folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Remove(filepath.Join(w.folder, "moved-not"))
	o := w.options()
	o.Delete, o.Guard = true, sync.Guard{Set: true, Percent: 100, Count: -1}
	if res := w.ok(o); res.Deleted != 1 || len(w.objects()) != 5 {
		t.Errorf("%+v, %q", res, w.objects())
	}
	o = w.options()
	o.Delete, o.Guard, o.Links = true, sync.Guard{Set: true, Percent: 100, Count: -1}, sync.FollowLinks
	if res := w.ok(o); res.Deleted+res.New != 0 || len(w.objects()) != 5 {
		t.Errorf("%+v, %q", res, w.objects())
	}
}

// TestChecksumBelievesNoTimes: where nobody knows what an object holds, the same mtime does not make it equal when contents are to be compared.
func TestChecksumBelievesNoTimes(t *testing.T) {
	for _, kms := range []bool{true, false} {
		mem := buckettest.MemOptions{Limits: bucket.Limits{MinPart: 1}}
		if kms {
			mem.KMS, mem.NoSums = true, true
		}
		w := newWorld(t, mem)
		w.rewrite("f", "before")
		o := w.options()
		o.Metadata = true
		if !kms {
			id, err := age.GenerateX25519Identity()
			if err != nil {
				t.Fatal(err)
			}
			o.Recipients = []age.Recipient{id.Recipient()}
		}
		w.ok(o)
		w.tick--
		w.rewrite("f", "after!") // as long, and with the same mtime
		w.pair++                 // and the ledger is lost
		o.Compare = sync.ByContent
		if res := w.ok(o); res.Changed != 1 {
			t.Errorf("kms %v: %+v", kms, res)
		}
	}
}

// TestKeptAside wants nothing of the source to be written where replaced objects are kept.
func TestKeptAside(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	w.write("f", "1")
	w.ok(w.options())
	w.rewrite("f", "22")
	w.write("old/f", "mine")
	o := w.options()
	o.BackupDir = "p/old/"
	res, err := w.run(o)
	if err != nil || res.Refused != 1 || w.objects()["old/f"] != "1" || w.objects()["f"] != "22" {
		t.Errorf("%v, %+v, %q", err, res, w.objects())
	}
}

// TestGuardOfFolders wants files that are gone to be noticed although their folders are there.
func TestGuardOfFolders(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	options := func(o sync.Options) sync.Options {
		o.Metadata, o.Folders, o.Links, o.Delete = true, true, sync.KeepLinks, true
		return o
	}
	for i := range 10 {
		w.write(fmt.Sprintf("d%d/e/f", i), "x")
	}
	w.ok(options(w.options()))
	remove := func(most int) {
		for i := range most {
			_ = os.Remove(filepath.Join(w.folder, fmt.Sprintf("d%d/e/f", i)))
		}
	}
	remove(6)
	var guard *sync.GuardError
	if res, err := w.run(options(w.options())); !errors.As(err, &guard) || guard.Empty || guard.Deletions != 6 || res.Deleted > 0 {
		t.Errorf("%v, %+v", err, res)
	}
	remove(10)
	if res, err := w.run(options(w.options())); !errors.As(err, &guard) || !guard.Empty || res.Deleted > 0 {
		t.Errorf("%v, %+v", err, res)
	}
	w.ok(options(w.back()))
	for i := range 6 {
		if _, err := w.mem.Delete(t.Context(), []string{fmt.Sprintf("p/d%d/e/f", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if res, err := w.run(options(w.back())); !errors.As(err, &guard) || guard.Empty || guard.Deletions != 6 || res.Deleted > 0 {
		t.Errorf("back: %v, %+v", err, res)
	}
}

// TestLinkOverFile wants a file to be kept aside that a symlink replaces.
func TestLinkOverFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symlinks")
	}
	w := newWorld(t, buckettest.MemOptions{})
	w.write("a", "1")
	if err := os.Symlink("a", filepath.Join(w.folder, "f")); err != nil {
		t.Fatal(err)
	}
	o := w.options()
	o.Metadata, o.Links = true, sync.KeepLinks
	w.ok(o)
	_ = os.Remove(filepath.Join(w.folder, "f"))
	w.write("f", "precious")
	o = w.back()
	o.Metadata, o.Links, o.BackupDir = true, sync.KeepLinks, t.TempDir()
	w.ok(o)
	kept, err := os.ReadFile(filepath.Join(o.BackupDir, "f"))
	if err != nil || string(kept) != "precious" {
		t.Errorf("%q, %v", kept, err)
	}
	if to, err := os.Readlink(filepath.Join(w.folder, "f")); err != nil || to != "a" {
		t.Errorf("%q, %v", to, err)
	}
}

// TestUnreadable wants nothing to be deleted when something could not be read.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("nothing is unreadable for root")
	}
	w := newWorld(t, buckettest.MemOptions{})
	for i := range 4 {
		w.write(fmt.Sprintf("f%d", i), "x")
	}
	w.write("sub/g", "y")
	w.ok(w.options())
	_ = os.Remove(filepath.Join(w.folder, "f0"))
	if err := os.Chmod(filepath.Join(w.folder, "sub"), 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(filepath.Join(w.folder, "sub"), 0o700) }()
	o := w.options()
	o.Delete = true
	res, err := w.run(o)
	if err != nil || res.Unread == 0 || res.Deleted != 0 || res.Undeleted != 2 || len(w.objects()) != 5 {
		t.Fatalf("%v %+v", err, res)
	}
}

// TestBroken wants nothing to be deleted when a symlink that is to be followed leads nowhere: that is a file that could not be read, for root, too.
func TestBroken(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symlinks")
	}
	w := newWorld(t, buckettest.MemOptions{})
	w.write("a", "1")
	w.write("b", "2")
	w.write("c", "3")
	w.ok(w.options())
	if err := errors.Join(os.Remove(filepath.Join(w.folder, "a")), os.Symlink("nowhere", filepath.Join(w.folder, "d"))); err != nil {
		t.Fatal(err)
	}
	o := w.options()
	o.Delete, o.Links = true, sync.FollowLinks
	if res, err := w.run(o); err != nil || res.Unread != 1 || res.Undeleted != 1 || len(w.objects()) != 3 {
		t.Fatalf("%v %+v", err, res)
	}
}

// TestVanishing takes the source away while it is walked.
func TestVanishing(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	for i := range 50 {
		w.write(fmt.Sprintf("d%d/f", i), "x")
	}
	w.ok(w.options())
	o := w.options()
	o.Delete, o.Guard = true, sync.Guard{Set: true, Percent: 100, Count: -1}
	o.To.Bucket = &listHook{w.mem, func() { _ = os.RemoveAll(w.folder) }}
	res, err := w.run(o)
	if err == nil && res.Unread == 0 || res.Deleted != 0 || len(w.objects()) != 50 {
		t.Fatalf("%v %+v", err, res)
	}
}

type listHook struct {
	bucket.Bucket
	before func()
}

func (l *listHook) List(ctx context.Context, prefix, after string, fn func(bucket.Object) error) error {
	l.before()
	return l.Bucket.List(ctx, prefix, after, fn)
}

// TestHostileKeys wants every key that cannot be a file to be refused by name, and the others to come.
func TestHostileKeys(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	bad := []string{"../up", "a/../../up", "a//b", "/abs", "dir/", "x/./y", "..", "nul\x00l", strings.Repeat("n", 300), "file/below", ".firn-restore-0123456789abcdef"}
	good := []string{"file", "ok/deep/er", "Ünï", strings.Repeat("d/", 400) + "f", "file.txt"}
	for _, k := range append(slices.Clone(bad), good...) {
		buckettest.Put(t, w.mem, w.prefix+k, []byte(k), bucket.PutOptions{})
	}
	res, err := w.run(w.back())
	if err != nil || res.New != int64(len(good)) || res.Refused != int64(len(bad)) {
		t.Fatalf("%v %+v\n%s", err, res, strings.Join(w.errs, "\n"))
	}
	for _, k := range good {
		if w.files()[k] != k {
			t.Errorf("%q is missing", k)
		}
	}
	if len(w.files()) != len(good) {
		t.Errorf("%q", w.files())
	}
}

// TestSymlinkInTheWay wants nothing to be written outside the folder.
func TestSymlinkInTheWay(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symlinks")
	}
	w := newWorld(t, buckettest.MemOptions{})
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(w.folder, "way")); err != nil {
		t.Fatal(err)
	}
	buckettest.Put(t, w.mem, "p/way/f", []byte("x"), bucket.PutOptions{})
	buckettest.Put(t, w.mem, "p/other", []byte("y"), bucket.PutOptions{})
	res, err := w.run(w.back())
	left, _ := os.ReadDir(outside)
	if err != nil || res.Failed != 1 || res.New != 1 || len(left) != 0 {
		t.Fatalf("%v %+v %v %q", err, res, left, w.errs)
	}
}

// TestFilter wants what is left out to stay, on both sides.
func TestFilter(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	w.write("a.jpg", "1")
	w.write("a.txt", "2")
	w.write("cache/b.jpg", "3")
	w.write("cache/c.txt", "4")
	buckettest.Put(t, w.mem, "p/old.txt", []byte("old"), bucket.PutOptions{})
	buckettest.Put(t, w.mem, "p/old.jpg", []byte("old"), bucket.PutOptions{})
	set, err := glob.Parse([]string{"*", "!*.jpg"}, "test")
	if err != nil {
		t.Fatal(err)
	}
	o := w.options()
	o.Filter, o.Delete, o.Guard = sync.NewFilter(set, nil), true, sync.Guard{Set: true, Count: 1}
	w.ok(o)
	got := w.objects()
	if len(got) != 3 || got["a.jpg"] != "1" || got["cache/b.jpg"] != "3" || got["old.txt"] != "old" {
		t.Fatal(got)
	}
}

// TestBackupDir keeps what is replaced and deleted.
func TestBackupDir(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	w.write("a", "1")
	w.write("b", "2")
	w.write("c", "3")
	w.ok(w.options())
	w.write("a", "one")
	_ = os.Remove(filepath.Join(w.folder, "b"))
	o := w.options()
	o.Delete, o.BackupDir = true, "p/.old/"
	w.ok(o)
	if all := w.mem.Content(); all["p/.old/a"] != "1" || all["p/.old/b"] != "2" || all["p/a"] != "one" || len(all) != 4 {
		t.Fatal(all)
	}
	o = w.back()
	o.BackupDir = t.TempDir()
	w.write("c", "changed here")
	w.prefix = "p/"
	o.Delete = true
	set, _ := glob.Parse([]string{"/.old"}, "test")
	o.Filter = sync.NewFilter(set, nil)
	w.write("extra", "e")
	w.ok(o)
	kept, err := os.ReadFile(filepath.Join(o.BackupDir, "c"))
	if err != nil || string(kept) != "changed here" || w.files()["c"] != "3" {
		t.Fatal(string(kept), err)
	}
	if kept, err := os.ReadFile(filepath.Join(o.BackupDir, "extra")); err != nil || string(kept) != "e" {
		t.Fatal(err)
	}
}

// TestCosts asks before what has to be paid for longer is replaced or deleted.
func TestCosts(t *testing.T) {
	now := time.Now()
	w := newWorld(t, buckettest.MemOptions{})
	for i := range 4 {
		w.write(fmt.Sprintf("f%d", i), text(i, 1<<20))
	}
	region, err := price.Default().Region("aws", "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	classes, err := sync.NewClasses("deep_archive", []string{"size<1K=STANDARD"})
	if err != nil {
		t.Fatal(err)
	}
	classes.Price(region)
	if classes.Least() < 50_000 || classes.Least() > 1<<20 || classes.Of("x", 2000) != "STANDARD" {
		t.Fatal(classes.Least())
	}
	options := func() sync.Options {
		o := w.options()
		o.Classes, o.Region, o.Delete = classes, region, true
		o.Now = func() time.Time { return now.Add(48 * time.Hour) }
		return o
	}
	if res := w.ok(options()); res.Classes["DEEP_ARCHIVE"].Objects != 4 {
		t.Fatalf("%+v", res)
	}
	w.write("f0", text(10, 1<<20))
	_ = os.Remove(filepath.Join(w.folder, "f1"))
	w.write("new", text(11, 1<<20))
	no := errors.New("too dear")
	var asked []sync.Due
	o := options()
	o.Agree = func(_ context.Context, d sync.Due) error { asked = append(asked, d); return no }
	res, err := w.run(o)
	var due *sync.DueError
	if !errors.As(err, &due) || !errors.Is(err, no) || len(asked) != 1 || asked[0].Why != "replace" || asked[0].Cost <= 0 || res.New != 1 || res.Deleted != 0 || len(w.objects()) != 5 {
		t.Fatalf("%v %+v %+v", err, res, asked)
	}
	o = options()
	asked = nil
	o.Agree = func(_ context.Context, d sync.Due) error { asked = append(asked, d); return nil }
	if res := w.ok(o); len(asked) != 2 || res.Early <= 0 || res.Deleted != 1 || res.Changed != 1 {
		t.Fatalf("%+v %+v", res, asked)
	}
	w.equal()
}

// TestUnknownPrices: where nobody knows what replacing and deleting cost, somebody is asked all the same.
func TestUnknownPrices(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	classes, err := sync.NewClasses("deep_archive", []string{"plain*=STANDARD"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c", "plain", "plain2", "plain3"} {
		w.write(name, "1")
	}
	no := errors.New("at no price")
	var asked []string
	options := func() sync.Options {
		asked = nil
		o := w.options()
		o.Classes, o.Delete = classes, true
		o.Agree = func(_ context.Context, d sync.Due) error {
			asked = append(asked, fmt.Sprintf("%s %d %v", d.Why, d.Files, d.Cost == 0))
			return no
		}
		return o
	}
	w.ok(options())
	w.rewrite("plain", "22")
	_ = os.Remove(filepath.Join(w.folder, "plain2"))
	if res := w.ok(options()); len(asked) > 0 || res.Changed+res.Deleted != 2 {
		t.Errorf("%q, %+v", asked, res)
	}
	_ = os.Remove(filepath.Join(w.folder, "b"))
	if res, err := w.run(options()); !errors.Is(err, no) || !slices.Equal(asked, []string{"delete 1 true"}) || res.Deleted != 0 {
		t.Errorf("%v, %q, %+v", err, asked, res)
	}
	w.rewrite("a", "22")
	if res, err := w.run(options()); !errors.Is(err, no) || !slices.Equal(asked, []string{"replace 1 true"}) || res.Changed+res.Deleted != 0 {
		t.Errorf("%v, %q, %+v", err, asked, res)
	}
	o := options()
	o.Agree = nil
	w.ok(o)
	w.equal()
}

// TestAcross copies between buckets, on the server.
func TestAcross(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	for i := range 5 {
		w.write(fmt.Sprintf("d/f%d", i), text(i, 1000))
	}
	w.ok(w.options())
	second := w.mem.Beside(buckettest.MemOptions{Name: "second"})
	across := func() sync.Options {
		o := w.options()
		o.From, o.To = sync.Place{Bucket: w.mem, Name: "mem", Prefix: "p/"}, sync.Place{Bucket: second, Name: "second", Prefix: "q/"}
		o.Delete = true
		return o
	}
	if res := w.ok(across()); res.New != 5 || res.Sent+res.Got != 0 {
		t.Fatalf("%+v", res)
	}
	if res := w.ok(across()); res.Same != 5 {
		t.Fatalf("%+v", res)
	}
	_ = os.RemoveAll(w.state)
	if res := w.ok(across()); res.Same != 5 {
		t.Fatalf("%+v", res)
	}
	if got := second.Content(); len(got) != 5 || got["q/d/f3"] != text(3, 1000) {
		t.Fatal(len(got))
	}
}

// TestNames wants files whose names cannot be keys to be named, and the others to go.
func TestNames(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have no such names")
	}
	w := newWorld(t, buckettest.MemOptions{})
	w.write("good", "1")
	w.write("not\xffutf8", "2")
	w.write("bell\a", "3")
	w.write(strings.Repeat(strings.Repeat("n", 250)+"/", 5)+"f", "4")
	buckettest.Put(t, w.mem, "p/extra", nil, bucket.PutOptions{})
	o := w.options()
	o.Delete = true
	res, err := w.run(o)
	if err != nil || res.Refused != 3 || res.New != 1 || res.Undeleted != 1 || len(w.objects()) != 2 {
		t.Fatalf("%v %+v %q", err, res, w.errs)
	}
}

// TestAcrossHistories makes random histories between two buckets.
func TestAcrossHistories(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, buckettest.MemOptions{NoSums: seed == 1, KMS: seed == 2, Limits: bucket.Limits{MinPart: 1}})
		second := w.mem.Beside(buckettest.MemOptions{Name: "second"})
		for range 6 {
			w.meddle(rng)
			w.pair = 1
			o := w.options()
			o.From, o.To = sync.Place{Bucket: w.mem, Name: "mem", Prefix: "p/"}, sync.Place{Bucket: second, Name: "second"}
			o.Delete, o.Guard = true, sync.Guard{Set: true, Percent: 100, Count: -1}
			if rng.IntN(3) == 0 {
				w.disturb(rng, o)
			}
			if rng.IntN(4) == 0 {
				w.lose(rng)
			}
			w.ok(o)
			if got := second.Content(); fmt.Sprint(got) != fmt.Sprint(w.objects()) {
				t.Fatalf("seed %d: %d and %d objects", seed, len(got), len(w.objects()))
			}
			w.still(o)
		}
	}
}
