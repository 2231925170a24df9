package mount

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"firn/internal/manifest"
)

// TestHostileEntries: what a host may write that means harm is listed, or fails, and takes nothing else with it.
func TestHostileEntries(t *testing.T) {
	linked := func(kind manifest.Type, name, to string) manifest.Entry {
		e := entry(kind, name)
		if kind == manifest.Symlink {
			e.Target = nil
		}
		e.Hardlink = []byte(to)
		return e
	}
	all := []manifest.Entry{entry(manifest.Dir, ""), entry(manifest.File, "fine"), linked(manifest.File, "one", "fine"), linked(manifest.File, "two", "one"),
		entry(manifest.Dir, "folder"), linked(manifest.File, "to folder", "folder"), linked(manifest.File, "folder/loop", "folder"), linked(manifest.File, "nothing", "absent"), linked(manifest.FIFO, "other kind", "fine"),
		entry(manifest.File, strings.Repeat("n", 3000)), entry(manifest.File, strings.Repeat("d/", 2000)+"deep")}
	big := entry(manifest.File, "huge")
	big.UID, big.GID, big.Mode, big.Size = math.MaxInt64, math.MaxInt64, 0o7777, math.MaxInt64
	big.Content = []manifest.Piece{{Length: math.MaxInt64}}
	big.Mtime = manifest.Time{Sec: math.MaxInt64, Nsec: 999999999}
	old := entry(manifest.File, "old")
	old.Mtime = manifest.Time{Sec: math.MinInt64}
	all = append(all, big, old)
	chunks := chunkMap{}
	f, v := synthetic(t, chunks, chunks.build(t, all))
	l, err := f.read(v.slot, nil)
	if err != nil {
		t.Fatal(err)
	}
	root := lineNode(v.slot, -1)
	names, nodes := f.namesOf(t, root, 2, true)
	for i, name := range names {
		if strings.ContainsAny(name, "/\x00") || name == "." || name == ".." || name == "" {
			t.Errorf("name %q", name)
		}
		c, err := l.child(root, name)
		broken := slices.Contains([]string{"two", "nothing", "other kind", "to folder"}, name)
		if (err != nil) != broken || err == nil && c.node != nodes[i] {
			t.Errorf("%q: %+v, %v", name, c, err)
		}
		if c, err = l.attributes(nodes[i]); (err != nil) != broken {
			t.Errorf("%q: %+v, %v", name, c, err)
		}
	}
	if folder, err := l.child(root, "folder"); err != nil {
		t.Error(err)
	} else if c, err := l.child(folder.node, "loop"); err == nil {
		t.Errorf("a folder in itself: %+v", c)
	}
	for _, name := range []string{".", "..", "", "folder/../fine", "/", "folder//", "fine\x00"} {
		if c, err := l.child(root, name); err == nil && c.node != root {
			t.Errorf("%q: %+v", name, c)
		}
	}
	if _, err := l.child(root, "../x"); !errors.Is(err, errNone) {
		t.Error(err)
	}
}
