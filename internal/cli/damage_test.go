package cli_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// hurt is a repository with three snapshots, which add one file each, of which a copy is damaged for every case.
type hurt struct {
	*terminal
	ids []string // of the snapshots, oldest first
}

// newHurt makes the repository in the folder "whole".
func newHurt(t *testing.T) *hurt {
	dir := t.TempDir()
	h := &hurt{terminal: &terminal{t, dir, machine(dir, "TZ=UTC")}}
	h.write("key.txt", identity+"\n")
	h.at("whole")
	h.ok("init", "--recipient", recipient, "--kit-saved", "-q")
	for i := range 3 {
		h.write(fmt.Sprintf("src/file%d", i), strings.Repeat(fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i)})), 200+100*i))
		time.Sleep(15 * time.Millisecond) // the ctime can be relied on from then on
		h.ok("backup", "src", "-q")
	}
	for _, line := range strings.Split(strings.TrimSpace(h.ok("snapshots")), "\n")[1:] {
		h.ids = append(h.ids, strings.Fields(line)[0])
	}
	return h
}

func (h *hurt) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// at works with the repository and local state in a folder.
func (h *hurt) at(folder string) {
	for name, sub := range map[string]string{"FIRN_REPO": "repo", "FIRN_CACHE_DIR": "cache", "FIRN_STATE_DIR": "state"} {
		h.terminal = h.set(name, filepath.Join(h.dir, folder, sub))
	}
}

// objects lists the objects of a kind, oldest first.
func (h *hurt) objects(folder, kind string) []string {
	type object struct {
		path string
		at   time.Time
	}
	var found []object
	top, suffix, _ := strings.Cut(kind, "*")
	err := filepath.WalkDir(filepath.Join(h.dir, folder, "repo", top), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && (suffix == "" && filepath.Ext(path) != ".done" || suffix != "" && strings.HasSuffix(path, suffix)) {
			var info fs.FileInfo
			info, err = d.Info()
			found = append(found, object{path, info.ModTime()})
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	slices.SortFunc(found, func(a, b object) int { return a.at.Compare(b.at) })
	var paths []string
	for _, o := range found {
		paths = append(paths, o.path)
	}
	return paths
}

// copyOf copies the whole repository, keeping the times.
func (h *hurt) copyOf(folder string) {
	from, to := filepath.Join(h.dir, "whole"), filepath.Join(h.dir, folder)
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, rel), raw, 0o600); err != nil {
			return err
		}
		return os.Chtimes(filepath.Join(to, rel), info.ModTime(), info.ModTime())
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// expected is what the commands do when the second of three objects of a kind is damaged: exit codes, which may depend on how.
type expected struct {
	kind    string
	list    int
	old     map[any]int // restoring the first snapshot, by how
	mid     map[any]int // restoring the second one, by how; nil is all others
	backup  int
	fresh   map[any]int // restoring what that backup made, by how
	full    bool        // a full backup heals it
	named   string      // in what restoring the second one says, or listing
	unsaid  bool        // it need not be noticed
	putBack bool        // nothing goes without it
}

// Any object may be cut, changed, gone or exchanged for another of its kind: what needs it says so, and names it; all other snapshots
// restore; the next backup works and restores.
var expectations = []expected{
	{kind: "data", mid: map[any]int{nil: 3}, fresh: map[any]int{nil: 3}, full: true, named: "data/"},
	{kind: "meta", mid: map[any]int{nil: 1}, fresh: map[any]int{"exchanged": 1}, full: true, named: "meta/"},
	{kind: "index", mid: map[any]int{nil: 1, "exchanged": 0}, named: "index"},
	{kind: "packset", mid: map[any]int{nil: 0}, unsaid: true},
	{kind: "snapshots", mid: map[any]int{nil: 1}, named: "snapshot"},
	{kind: "snapshots*.done", mid: map[any]int{nil: 0}, named: "unconfirmed"},
	// A certificate that is gone is no reason to lose what the host wrote: the key of the scope proves that, and it is said.
	{kind: "hosts", old: map[any]int{nil: 1, "gone": 0}, mid: map[any]int{nil: 1, "gone": 0}, named: "hosts/"},
	{kind: "keys*.age", old: map[any]int{nil: 1}, mid: map[any]int{nil: 1}, fresh: map[any]int{nil: 1}, named: "keys/"},
	{kind: "firn.json", list: 1, old: map[any]int{nil: 1}, mid: map[any]int{nil: 1}, backup: 1, fresh: map[any]int{nil: 1}, named: "firn.json", putBack: true},
}

func TestDamagedObjects(t *testing.T) {
	h := newHurt(t)
	for _, e := range expectations {
		for _, how := range []string{"cut", "flipped", "gone", "exchanged"} {
			if testing.Short() && how != "flipped" {
				continue
			}
			name := strings.NewReplacer("*.", "-", ".", "-").Replace(e.kind + "-" + how)
			t.Run(name, func(t *testing.T) {
				c := &hurt{terminal: h.terminal, ids: h.ids}
				c.t = t
				c.copyOf(name)
				c.at(name)
				back := c.damage(name, e.kind, how)
				c.check(name, e, how)
				if e.putBack {
					back()
					c.restores(0, "latest", name+"/back")
				}
			})
		}
	}
}

// damage damages the second object of a kind and returns what undoes it.
func (h *hurt) damage(folder, kind, how string) (undo func()) {
	all := h.objects(folder, kind)
	path := all[min(1, len(all)-1)]
	whole, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	put := func(path string, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	switch how {
	case "cut":
		put(path, whole[:len(whole)/2])
	case "flipped":
		raw := bytes.Clone(whole)
		raw[len(raw)/2] ^= 4
		put(path, raw)
	case "gone":
		if err := os.Remove(path); err != nil {
			h.t.Fatal(err)
		}
	case "exchanged":
		other := filepath.Join(h.dir, folder, "repo", "RECOVER.md")
		if len(all) > 2 {
			other = all[2]
		}
		raw, err := os.ReadFile(other)
		if err != nil {
			h.t.Fatal(err)
		}
		put(path, raw)
		if len(all) > 2 {
			put(other, whole)
		}
	}
	return func() { put(path, whole) }
}

// restores restores a snapshot and wants this exit code; where it is 0, everything that the snapshot has, and else a hint.
func (h *hurt) restores(want int, expr, target string) (said string) {
	h.t.Helper()
	out, errs, code := h.run("restore", expr, "--target", target, "--identity", "key.txt")
	if code != want {
		h.t.Errorf("restore %s: code %d, want %d\n%s%s", expr, code, want, out, errs)
	}
	if (code != 0) != strings.Contains(errs, "firn: hint: ") {
		h.t.Errorf("restore %s: code %d: a hint is there, or is not\n%s", expr, code, errs)
	}
	entries, _ := os.ReadDir(filepath.Join(h.dir, target))
	for _, e := range entries {
		got, _ := os.ReadFile(filepath.Join(h.dir, target, e.Name()))
		if from, _ := os.ReadFile(filepath.Join(h.dir, "src", e.Name())); !bytes.Equal(got, from) {
			h.t.Errorf("restore %s: %s differs", expr, e.Name())
		}
	}
	if code == 0 && len(entries) == 0 {
		h.t.Errorf("restore %s: nothing is there", expr)
	}
	return errs
}

func (h *hurt) check(folder string, e expected, how string) {
	t := h.t
	t.Helper()
	_, said, code := h.run("snapshots", "--all")
	if code != e.list {
		t.Errorf("snapshots: code %d\n%s", code, said)
	}
	of := func(codes map[any]int) int {
		if code, ok := codes[how]; ok {
			return code
		}
		return codes[nil]
	}
	mid := of(e.mid)
	said += h.restores(mid, h.ids[1], folder+"/mid")
	if !e.unsaid && (mid+e.list > 0 || e.kind == "hosts") && !strings.Contains(said, e.named) {
		t.Errorf("%q is not named in\n%s", e.named, said)
	}
	h.restores(of(e.old), h.ids[0], folder+"/old")
	if out, errs, code := h.run("backup", "src"); code != e.backup {
		t.Errorf("backup: code %d\n%s%s", code, out, errs)
	}
	h.restores(of(e.fresh), "latest", folder+"/fresh")
	if (e.kind == "hosts" || e.kind == "snapshots") && how != "gone" && !strings.Contains(said, "hint: the snapshots in the warnings do not count") {
		t.Errorf("the hint does not speak of damage\n%s", said)
	}
	if e.kind == "hosts" { // that backup has put it back
		h.restores(0, h.ids[0], folder+"/again")
	}
	if e.full {
		h.ok("backup", "src", "--full")
		h.restores(0, "latest", folder+"/healed")
		if names, _ := os.ReadDir(filepath.Join(h.dir, folder, "healed")); len(names) != 3 {
			t.Errorf("%d files after a full backup", len(names))
		}
	}
}
