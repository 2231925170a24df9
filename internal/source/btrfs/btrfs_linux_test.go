package btrfs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/mounttest"
	"firn/internal/source"
	"firn/internal/source/btrfs"
)

// privately reports whether this is a process of its own for the test that calls it.
func privately(t *testing.T) bool {
	t.Helper()
	return mounttest.Privately(t, "btrfs", "mkfs.btrfs", "mount")
}

// disk is a file system on a file.
type disk struct {
	t    *testing.T
	root string
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	return &disk{t, mounttest.Btrfs(t, 256)}
}

func (d *disk) do(name string, args ...string) string {
	d.t.Helper()
	return mounttest.Do(d.t, name, args...)
}

func (d *disk) write(name, content string) {
	d.t.Helper()
	path := filepath.Join(d.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) names(folder string) (list []string) {
	d.t.Helper()
	entries, err := os.ReadDir(filepath.Join(d.root, folder))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// files reads what lies in a folder.
func (d *disk) files(folder string) map[string]string {
	d.t.Helper()
	root := filepath.Join(d.root, folder)
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, root+"/")] = string(b)
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return all
}

func settings(values map[string]string) *source.Settings {
	return source.NewSettings(btrfs.Settings, values)
}

// shelf stands for a repository.
type shelf struct {
	*disk
	host    source.Host
	batches []*kept // oldest first
}

type kept struct {
	batch   *source.Batch
	content []byte
	base    *kept
}

func (s *shelf) prepare(path string, values map[string]string) (*source.Batch, error) {
	s.t.Helper()
	src, err := btrfs.New(path, settings(values), s.host)
	if err != nil {
		s.t.Fatal(err)
	}
	var have []source.Have
	for _, k := range slices.Backward(s.batches) {
		have = append(have, source.Have{Points: k.batch.Points})
	}
	return src.Prepare(context.Background(), have)
}

func (s *shelf) read(b *source.Batch) []byte {
	s.t.Helper()
	r, err := b.Streams[0].Open(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	content, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return content
}

func (s *shelf) run(path string, values map[string]string) *kept {
	s.t.Helper()
	b, err := s.prepare(path, values)
	if err != nil {
		s.t.Fatal(err)
	}
	k := &kept{batch: b, content: s.read(b)}
	if b.Base >= 0 {
		k.base = s.batches[len(s.batches)-1-b.Base]
	}
	if err := b.End(context.Background(), true); err != nil {
		s.t.Fatal(err)
	}
	s.batches = append(s.batches, k)
	return k
}

func (s *shelf) links() (links []source.Link) {
	for k := s.batches[len(s.batches)-1]; k != nil; k = k.base {
		p, content := k.batch.Points[0], k.content
		links = append([]source.Link{{Path: p.Stream, Point: p, Size: int64(len(content)),
			Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}}, links...)
	}
	return links
}

func (s *shelf) restore(target string, links []source.Link, values map[string]string) (int, error) {
	s.t.Helper()
	taker, err := btrfs.NewTaker(filepath.Join(s.root, target), settings(values))
	if err != nil {
		s.t.Fatal(err)
	}
	missing, err := taker.Missing(context.Background(), links)
	if err != nil {
		return 0, err
	}
	for i, l := range missing {
		if err := taker.Take(context.Background(), l); err != nil {
			return i, err
		}
	}
	return len(missing), nil
}

// TestChain: full, increments, what is kept, a lost base, and all of it received elsewhere, in two steps.
func TestChain(t *testing.T) {
	if !privately(t) {
		return
	}
	d := newDisk(t)
	now := time.Date(2026, 7, 19, 3, 0, 0, 0, time.UTC)
	s := &shelf{disk: d, host: source.Host{Now: func() time.Time { return now }, Holder: "me"}}
	week := func() { now = now.Add(7 * 24 * time.Hour) }
	d.do("btrfs", "subvolume", "create", d.root+"/@home")
	d.do("btrfs", "subvolume", "create", d.root+"/@home/below")
	home := d.root + "/@home"
	d.write("@home/a", "first")
	d.write("@home/dir/b", strings.Repeat("b", 1<<20))
	first := s.run(home, map[string]string{"pattern": "offsite-%Y%m%d"})
	if b := first.batch; b.Base != -1 || !strings.HasPrefix(b.Points[0].Stream, "home-T") || b.Points[0].At != "offsite-20260719" || b.Points[0].Of != home || len(b.Notes) != 1 || !strings.Contains(b.Notes[0], "@home/below") {
		t.Fatalf("%+v", b)
	}
	want := []map[string]string{d.files("@home")}
	for i := range 3 {
		week()
		d.write("@home/a", strings.Repeat("x", i+1))
		if err := os.Rename(filepath.Join(home, "dir"), filepath.Join(home, "dir2")); err == nil {
			d.write("@home/dir/c", "new")
		}
		k := s.run(home, map[string]string{"keep": "2"})
		if b := k.batch; b.Base != 0 || b.Points[0].From != s.batches[i].batch.Points[0].ID || !strings.HasPrefix(b.Points[0].Stream, "home-F") || len(k.content) > 1<<16 {
			t.Fatalf("%d bytes: %+v", len(k.content), b)
		}
		want = append(want, d.files("@home"))
	}
	at := func(i int) string { return s.batches[i].batch.Points[0].At }
	if got := d.names(".firn-snapshots/me"); !slices.Equal(got, []string{at(2), at(2) + ".stored", at(3), at(3) + ".stored"}) {
		t.Fatalf("%q", got)
	}

	other := newDisk(t)
	o := &shelf{disk: other, host: s.host}
	if n, err := o.restore("", s.links()[:2], nil); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := o.restore("", s.links(), nil); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := o.restore("", s.links(), nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	for i, w := range want {
		if got := other.files(at(i)); !mapsEqual(got, w) {
			t.Errorf("%d: %d files, want %d", i, len(got), len(w))
		}
	}
	// On the same file system, the snapshots that are there are no reason to leave anything out.
	if err := os.Mkdir(d.root+"/restored", 0o755); err != nil {
		t.Fatal(err)
	}
	if n, err := s.restore("restored", s.links(), nil); n != 4 || err != nil || !mapsEqual(d.files("restored/"+at(3)), want[3]) {
		t.Fatal(n, err)
	}
	// What was received has the UUID of another; a writable snapshot of it has not, and its files have none.
	var received *btrfs.ReceivedError
	if _, err := o.prepare(other.root+"/"+at(3), nil); !errors.As(err, &received) {
		t.Fatal(err)
	}
	if b, err := o.prepare(other.root+"/"+at(3), map[string]string{"mode": "files"}); err != nil || b.End(context.Background(), true) != nil {
		t.Fatal(err)
	}
	other.do("btrfs", "subvolume", "snapshot", other.root+"/"+at(3), other.root+"/again")
	if o.run(other.root+"/again", nil); !mapsEqual(other.files("again"), want[3]) {
		t.Fatal("the snapshot has other files")
	}
	// What others make while packs are thawed is theirs.
	taker, err := btrfs.NewTaker(other.root+"/late", settings(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(other.root+"/late", 0o755); err != nil {
		t.Fatal(err)
	}
	if missing, err := taker.Missing(context.Background(), s.links()); err != nil || len(missing) != 4 {
		t.Fatal(missing, err)
	}
	other.do("btrfs", "subvolume", "create", other.root+"/late/"+at(0))
	other.write("late/"+at(0)+"/mine", "mine")
	var taken *source.TargetError
	if err := taker.Take(context.Background(), s.links()[0]); !errors.As(err, &taken) || !taken.Exists || len(other.files("late/"+at(0))) == 0 {
		t.Fatal(err)
	}
	// The newest is gone: an older one serves. All are gone: a full stream, and a snapshot of the same name is no base.
	week()
	d.do("btrfs", "subvolume", "delete", d.root+"/.firn-snapshots/me/"+at(3))
	if b := s.run(home, nil).batch; b.Base != 1 || !strings.Contains(b.Notes[0], "older one") {
		t.Fatalf("%+v", b)
	}
	week()
	d.do("btrfs", "subvolume", "delete", d.root+"/.firn-snapshots/me/"+at(4))
	d.do("btrfs", "subvolume", "snapshot", "-r", home, d.root+"/.firn-snapshots/me/"+at(4))
	if b := s.run(home, nil).batch; b.Base != -1 || !strings.Contains(b.Notes[0], "full stream") {
		t.Fatalf("%+v", b)
	}
}

func mapsEqual(a, b map[string]string) bool {
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return len(a) == len(b)
}

// TestStopped: a run that was stopped is gone on with, byte for byte; a dry run leaves nothing; file mode leaves nothing.
func TestStopped(t *testing.T) {
	if !privately(t) {
		return
	}
	d := newDisk(t)
	now := time.Now()
	s := &shelf{disk: d, host: source.Host{Now: func() time.Time { return now }, Holder: "me"}}
	d.write("a", strings.Repeat("a", 1<<20)) // the root is a subvolume, too, mounted by itself
	s.host.Pretend = true
	for _, mode := range []string{"streams", "files"} {
		b, err := s.prepare(d.root, map[string]string{"mode": mode})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.End(context.Background(), false); err != nil {
			t.Fatal(err)
		}
		if got := d.names("."); len(got) != 1 {
			t.Fatalf("a first dry run leaves %q", got)
		}
	}
	s.host.Pretend = false
	b, err := s.prepare(d.root, nil)
	if err != nil {
		t.Fatal(err)
	}
	half := s.read(b)
	if err := b.End(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	d.write("a", "later")
	now = now.Add(20 * 24 * time.Hour)
	k := s.run(d.root, nil)
	if len(k.batch.Notes) != 1 || !strings.Contains(k.batch.Notes[0], "20 days") || !bytes.Equal(k.content, half) || len(half) < 1<<20 {
		t.Fatalf("%d and %d bytes: %+v", len(half), len(k.content), k.batch)
	}
	s.host.Pretend = true
	now = now.Add(time.Minute)
	if b, err = s.prepare(d.root, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.End(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	s.host.Pretend = false
	if got := d.names(".firn-snapshots/me"); len(got) != 2 {
		t.Fatalf("%q", got)
	}
	for range 2 { // the first one is killed
		now = now.Add(time.Minute)
		if b, err = s.prepare(d.root, map[string]string{"mode": "files"}); err != nil {
			t.Fatal(err)
		}
		d.write("a", "later still")
	}
	rel, _ := filepath.Rel(d.root, b.Folder)
	if got := d.files(rel); got["a"] != "later still" || b.Display != d.root || len(b.Streams) != 0 {
		t.Fatalf("%q, %+v", got, b)
	}
	if err := b.End(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	if got := d.names(".firn-snapshots/me.files"); len(got) != 0 {
		t.Fatalf("%q", got)
	}
}

// TestBad: what is wrong is told by its type, and leaves nothing behind.
func TestBad(t *testing.T) {
	if !privately(t) {
		return
	}
	d := newDisk(t)
	now := time.Date(2026, 7, 19, 3, 0, 0, 0, time.UTC)
	s := &shelf{disk: d, host: source.Host{Now: func() time.Time { return now }, Holder: "me"}}
	d.do("btrfs", "subvolume", "create", d.root+"/home")
	d.write("home/a", strings.Repeat("a", 1<<20))
	d.write("folder/a", "a")
	var missing *source.MissingError
	for _, path := range []string{d.root + "/nothing", d.root + "/folder", "/proc"} {
		if _, err := s.prepare(path, nil); !errors.As(err, &missing) || missing.What != "subvolume" {
			t.Fatal(err)
		}
	}
	d.write(".firn-snapshots/me/offsite-20260719/x", "")
	d.write(".firn-snapshots/me/offsite-20260719-030000/x", "")
	var taken *btrfs.TakenError
	if _, err := s.prepare(d.root+"/home", map[string]string{"pattern": "offsite-%Y%m%d"}); !errors.As(err, &taken) {
		t.Fatal(err)
	}
	s.run(d.root+"/home", nil)
	link := s.links()[0]
	content := s.batches[0].content
	if err := os.Mkdir(d.root+"/in", 0o755); err != nil {
		t.Fatal(err)
	}
	with := func(b []byte) []source.Link {
		l := link
		l.Open = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
		return []source.Link{l}
	}
	for name, b := range map[string][]byte{"nothing": nil, "junk": bytes.Repeat([]byte("junk"), 1000), "half": content[:1<<19], "head": content[:100]} {
		if _, err := s.restore("in", with(b), nil); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			t.Log(name, err)
		}
		if got := d.names("in"); len(got) != 0 {
			t.Fatalf("%s: %q is left", name, got)
		}
	}
	var target *source.TargetError
	wrong := link
	wrong.Point.From = "00000000-1111-2222-3333-444444444444"
	if _, err := s.restore("in", []source.Link{wrong}, nil); !errors.As(err, &target) || target.Exists || !strings.Contains(err.Error(), "received there first") {
		t.Fatal(err)
	}
	for _, at := range []string{"", "..", "a/b"} {
		wrong = link
		wrong.Point.At = at
		if _, err := s.restore("in", []source.Link{wrong}, nil); !errors.As(err, &target) {
			t.Fatal(err)
		}
	}
	wrong = link
	wrong.Point.At = "other"
	if _, err := s.restore("in", []source.Link{wrong}, nil); err == nil || len(d.names("in")) != 0 {
		t.Fatal(err)
	}
	d.do("btrfs", "subvolume", "create", d.root+"/in/"+link.Point.At)
	if _, err := s.restore("in", []source.Link{link}, nil); !errors.As(err, &target) || !target.Exists {
		t.Fatal(err)
	}
	if n, err := s.restore("in", []source.Link{link}, map[string]string{"force": "yes"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := s.restore("nothing", []source.Link{link}, nil); !errors.As(err, &missing) {
		t.Fatal(err)
	}
	taker, err := btrfs.NewTaker("/proc", settings(nil))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := taker.Missing(context.Background(), []source.Link{link}); err != nil || len(m) != 1 {
		t.Fatal(err)
	}
	if err := taker.Take(context.Background(), link); !errors.As(err, &missing) {
		t.Fatal(err)
	}
}
