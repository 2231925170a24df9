package backup_test

import (
	"bytes"
	"context"
	"fmt"

	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"firn/internal/backup"
	"firn/internal/mounttest"
	"firn/internal/replay"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/source/stream"
	"firn/internal/source/zfs"
	"firn/internal/state"
)

// dataset is a file system of zfs-fuse that is backed up into a world.
type dataset struct {
	*world
	pools, root string
	rng         *rand.Rand
	week        int
	now         time.Time
	done        []*snapshot.Snapshot
	have        []source.Have // newest first
}

// fill writes a month of a home folder: text, pictures, small files.
func (d *dataset) fill() {
	d.t.Helper()
	for i := range 200 {
		d.put(fmt.Sprintf("docs/%d/note%d.txt", i%10, i), d.text(1000+d.rng.IntN(20_000)))
	}
	for i := range 10 {
		d.put(fmt.Sprintf("pictures/%d.jpg", i), d.noise(1<<20))
	}
	d.put("database", d.text(8<<20))
	if err := os.Symlink("docs", filepath.Join(d.root, "link")); err != nil {
		d.t.Fatal(err)
	}
}

// change does what a week does.
func (d *dataset) change() {
	d.t.Helper()
	d.week++
	d.now = d.now.Add(7 * 24 * time.Hour)
	for i := range 2 {
		d.put(fmt.Sprintf("pictures/week%d-%d.jpg", d.week, i), d.noise(1<<20))
	}
	for range 20 {
		i := d.rng.IntN(200)
		d.put(fmt.Sprintf("docs/%d/note%d.txt", i%10, i), d.text(1000+d.rng.IntN(20_000)))
	}
	f, err := os.OpenFile(filepath.Join(d.root, "database"), os.O_RDWR, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	for range 10 {
		if _, err := f.WriteAt(d.text(4000), d.rng.Int64N(7<<20)); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		d.t.Fatal(err)
	}
	pictures := filepath.Join(d.root, "pictures")
	if err := os.Rename(filepath.Join(pictures, fmt.Sprintf("%d.jpg", d.week)), filepath.Join(pictures, fmt.Sprintf("best%d.jpg", d.week))); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(pictures, fmt.Sprintf("%d.jpg", d.week+5))); err != nil {
		d.t.Fatal(err)
	}
}

func (d *dataset) put(name string, content []byte) {
	d.t.Helper()
	path := filepath.Join(d.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o640); err != nil {
		d.t.Fatal(err)
	}
}

func (d *dataset) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(d.rng.Uint32())
	}
	return b
}

// text is words, some of which are frequent.
func (d *dataset) text(n int) []byte {
	const syllables = "ka to mi ren sol va le din per us a shon gra in the of te ri lo an"
	parts := strings.Fields(syllables)
	var b bytes.Buffer
	for b.Len() < n {
		word := rand.New(rand.NewPCG(uint64(d.rng.ExpFloat64()*300), 1))
		for range 1 + word.IntN(4) {
			b.WriteString(parts[word.IntN(len(parts))])
		}
		b.WriteByte(' ')
	}
	return b.Bytes()[:n]
}

// stored is how many bytes the repository has.
func (d *dataset) stored() (n int64) {
	d.t.Helper()
	err := filepath.WalkDir(d.world.root, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// backUp stores a snapshot and returns its batch.
func (d *dataset) backUp() *source.Batch {
	d.t.Helper()
	ctx := context.Background()
	src, err := zfs.New("tank/home", source.NewSettings(zfs.Settings, nil), source.Host{Now: func() time.Time { return d.now }, Holder: "me"})
	if err != nil {
		d.t.Fatal(err)
	}
	b, err := src.Prepare(ctx, d.have)
	if err != nil {
		d.t.Fatal(err)
	}
	r, scope, err := d.openToWrite(ctx)
	if err != nil {
		d.t.Fatal(err)
	}
	tree, err := stream.NewTree(ctx, b.Streams, d.now)
	if err != nil {
		d.t.Fatal(err)
	}
	o := backup.Options{
		Repo: r, Scope: scope, State: state.Open(d.dirs, r.ID(), func(err error) { d.t.Log(err) }), Tree: tree, Host: "nas", Program: "test", Stream: &backup.Stream{Points: b.Points},
		Source: snapshot.Origin{ID: snapshot.SourceID(d.access.Host.Scope().SourceKey(), zfs.Kind, "nas", "", []byte("tank/home")), Kind: zfs.Kind, Path: []byte("tank/home")},
	}
	if b.Base >= 0 {
		for i, it := range scope.Items {
			if it.ID == d.done[len(d.done)-1-b.Base].ID {
				o.Stream.Base = &scope.Items[i]
			}
		}
	}
	res, err := backup.Run(ctx, o)
	if err != nil {
		d.t.Fatal(err)
	}
	// The figure to compare with needs the base, of which End may let go.
	if err := b.End(ctx, true); err != nil {
		d.t.Fatal(err)
	}
	d.done = append(d.done, res.Snapshot)
	d.have = append([]source.Have{{Points: b.Points}}, d.have...)
	return b
}

// compressed is how much zstd -1 makes of what zfs send writes.
func (d *dataset) compressed(args ...string) int64 {
	d.t.Helper()
	var n counter
	z, err := zstd.NewWriter(&n, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.Command("zfs", append([]string{"send"}, args...)...)
	cmd.Stdout = z
	if err := cmd.Run(); err != nil {
		d.t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		d.t.Fatal(err)
	}
	return int64(n)
}

type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// image is what can be seen of every file of a tree.
func image(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text := fmt.Sprintf("%v %d", info.Mode(), info.ModTime().UnixNano())
		switch {
		case e.Type().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(b)
		case e.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " " + to
		}
		all[strings.TrimPrefix(path, root)] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestZFS goes the whole way: a dataset with three weekly increments, each no more than a twentieth larger than what zfs send and zstd make; the pool is destroyed, all is received again, and each snapshot is file by
// file as it was.
func TestZFS(t *testing.T) {
	if !mounttest.Privately(t, "zfs-fuse", "zfs", "zpool") {
		return
	}
	d := &dataset{world: newWorld(t), pools: mounttest.StartZFS(t), rng: rand.New(rand.NewPCG(5, 7)), now: time.Date(2026, 7, 19, 3, 0, 0, 0, time.UTC)}
	mounttest.Pool(t, d.pools, "tank", 512)
	mounttest.Do(t, "zfs", "create", "tank/home")
	d.root = filepath.Join(d.pools, "tank", "home")
	d.fill()
	last := ""
	images := []map[string]string{image(t, d.root)}
	for week := range 4 {
		if week > 0 {
			d.change()
			images = append(images, image(t, d.root))
			mounttest.Do(t, "zfs", "hold", "test", last) // to be compared with
		}
		before := d.stored()
		b := d.backUp()
		at := "tank/home@" + b.Points[0].At
		if week == 0 {
			t.Logf("full: %d stored, zfs send | zstd: %d", d.stored()-before, d.compressed(at))
		} else {
			stored, plain := d.stored()-before, d.compressed("-i", last, at)
			t.Logf("week %d: %d stored, zfs send -i | zstd: %d (%.3f)", week, stored, plain, float64(stored)/float64(plain))
			if b.Base != 0 || stored*100 > plain*105 {
				t.Errorf("week %d: %d stored, want at most %d and a twentieth", week, stored, plain)
			}
		}
		last = at
	}
	mounttest.Do(t, "zpool", "destroy", "-f", "tank")
	mounttest.Pool(t, d.pools, "pond", 512)

	ctx := context.Background()
	r, scope := d.open()
	var item snapshot.Item
	for _, it := range scope.Items {
		if it.ID == d.done[3].ID {
			item = it
		}
	}
	streams, err := replay.Open(ctx, replay.Options{Repo: r, Scope: scope, Items: scope.Items, Item: item})
	if err != nil {
		t.Fatal(err)
	}
	taker, err := zfs.NewTaker("pond/back", source.NewSettings(zfs.Settings, nil))
	if err != nil {
		t.Fatal(err)
	}
	missing, err := streams.Missing(ctx, taker)
	if err != nil || len(missing) != 4 {
		t.Fatal(len(missing), err)
	}
	if res, err := streams.Run(ctx, taker, missing); err != nil || res.Links != 4 || res.Failed != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	for week, snap := range d.done {
		name := snap.Points[0].At
		if guid := mounttest.Do(t, "zfs", "get", "-Hp", "-o", "value", "guid", "pond/back@"+name); guid != snap.Points[0].ID {
			t.Errorf("week %d: GUID %s, want %s", week, guid, snap.Points[0].ID)
		}
		clone := fmt.Sprintf("pond/week%d", week)
		mounttest.Do(t, "zfs", "clone", "pond/back@"+name, clone)
		got := image(t, filepath.Join(d.pools, clone))
		for path, want := range images[week] {
			if got[path] != want {
				t.Errorf("week %d: %q differs", week, path)
			}
		}
		if len(got) != len(images[week]) {
			t.Errorf("week %d: %d files, want %d", week, len(got), len(images[week]))
		}
	}
	if missing, err = streams.Missing(ctx, taker); err != nil || len(missing) != 0 {
		t.Fatal(len(missing), err)
	}
}
