package frozen

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/sys/unix"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// smallWorld is a repository with one snapshot of a few files in several packs.
func smallWorld(t testing.TB) (*world, *snapshot.Snapshot, []item) {
	w := newWorld(t, t.TempDir(), smallChunks(repo.InitOptions{}))
	m := &maker{t: t, root: w.src, state: 7}
	for _, name := range []string{"a", "b", "c", "d"} {
		m.file(name+"/small", []byte(name), 0o644)
		m.file(name+"/large", m.random(300_000), 0o644)
	}
	m.thinFile("thin")
	m.times()
	return w, w.backup(nil).Snapshot, readTree(t, w.src)
}

func (m *maker) thinFile(name string) { m.file(name, m.thin(7_000_000), 0o644) }

// flip changes one byte of an object.
func flip(t testing.TB, path string, at int) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[at] ^= 0x40
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// largest is the largest object below a folder.
func largest(t testing.TB, root, prefix string) (name string, size int64) {
	for _, n := range objects(t, root, prefix) {
		info, err := os.Stat(filepath.Join(root, n))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > size {
			name, size = n, info.Size()
		}
	}
	return name, size
}

// TestRecoverDamaged: what is damaged is named, and the rest comes back.
func TestRecoverDamaged(t *testing.T) {
	need(t, "python3", "age", "zstd", "par2")
	w, snap, want := smallWorld(t)
	id, key := snap.ID.String(), w.dataKey()
	name, size := largest(t, w.root, "data")
	path := filepath.Join(w.root, name)
	whole, err := os.ReadFile(path)
	w.must(err)

	protect(t, path)
	flip(t, path, int(size)/2)

	target := filepath.Join(t.TempDir(), "mended")
	mustRecover(t, w.root, key, id, target)
	sameItems(t, want, readTree(t, target))

	w.must(os.Remove(path + ".par2"))
	target = filepath.Join(t.TempDir(), "damaged")
	_, errs, err := recoverPy(t, w.root, key, id, target)
	if err == nil || !strings.Contains(errs, name) || !strings.Contains(errs, "SHA-256 is wrong") {
		t.Errorf("damage to a pack is not told: %v\n%s", err, errs)
	}
	got := readTree(t, target)
	for i := range got {
		p := string(got[i].path(t))
		if got[i].SHA256 != want[i].SHA256 && !strings.Contains(errs, "PROBLEM with "+p+": not whole") {
			t.Errorf("%q differs and nobody says so:\n%s", p, errs)
		}
	}
	if lost := strings.Count(errs, "not whole"); lost == 0 || lost > len(want)/2 {
		t.Errorf("%d files are not whole of %d", lost, len(want))
	}
	w.must(os.WriteFile(path, whole, 0o644))

	name, _ = largest(t, w.root, "meta")
	w.must(os.Truncate(filepath.Join(w.root, name), 1000))
	if _, errs, err := recoverPy(t, w.root, key, id, filepath.Join(t.TempDir(), "no lists")); err == nil || !strings.Contains(errs, name) || !strings.Contains(errs, "list") {
		t.Errorf("damage to a pack of lists is not told: %v\n%s", err, errs)
	}
}

// protect makes the recovery volume of a pack.
func protect(t *testing.T, path string) {
	t.Helper()
	cmd := exec.Command("par2", "create", "-q", "-q", "-s65536", "-r30", "-n1", path+".par2", path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	volumes, err := filepath.Glob(path + ".vol*")
	if err != nil || len(volumes) != 1 {
		t.Fatal(volumes, err)
	}
	if err := os.Rename(volumes[0], path+".par2"); err != nil {
		t.Fatal(err)
	}
}

// TestMendByHand follows RECOVER.md with the par2 program.
func TestMendByHand(t *testing.T) {
	need(t, "bash", "par2", "sha256sum")
	w, _, _ := smallWorld(t)
	name, size := largest(t, w.root, "data")
	protect(t, filepath.Join(w.root, name))
	flip(t, filepath.Join(w.root, name), int(size)/3)
	script := strings.Replace(block(t, w.root, "par2 repair"), "data/SCOPE/AA/PACKNAME", name, 1)
	if out := shell(t, w.root, script); !strings.Contains(out, "\n"+filepath.Base(name)+"  "+filepath.Base(name)) {
		t.Errorf("not mended: %s", out)
	}
}

// TestRecoverLostIndex: what no index tells any more is named, and the rest comes back.
func TestRecoverLostIndex(t *testing.T) {
	need(t, "python3", "age", "zstd")
	w, _, _ := smallWorld(t)
	m := &maker{t: t, root: w.src, state: 8}
	before := objects(t, w.root, "index")
	m.file("new/large", m.random(300_000), 0o644)
	id := w.backup(nil).Snapshot.ID.String()
	want := readTree(t, w.src)
	for _, name := range before { // that of the first snapshot, which has all but the new file and the lists it stands in
		w.must(os.Remove(filepath.Join(w.root, name)))
	}
	target := filepath.Join(t.TempDir(), "target")
	_, errs, err := recoverPy(t, w.root, w.dataKey(), id, target)
	if err == nil || !strings.Contains(errs, "in no index here") {
		t.Errorf("a lost index is not told: %v\n%s", err, errs)
	}
	sums := func(items []item) map[string]string {
		out := map[string]string{}
		for _, i := range items {
			out[string(i.path(t))] = i.SHA256
		}
		return out
	}
	was, is := sums(want), sums(readTree(t, target))
	if was["new/large"] != is["new/large"] {
		t.Errorf("what the index that is left tells did not come back:\n%s", errs)
	}
	for path, sum := range was {
		if is[path] != sum && !strings.Contains(errs, "PROBLEM with "+path+": ") {
			t.Errorf("%q differs and nobody says so:\n%s", path, errs)
		}
	}
}

// TestRecoverStaysInside: paths that lead out of the target are refused.
func TestRecoverStaysInside(t *testing.T) {
	need(t, "python3", "age", "zstd")
	w := newWorld(t, t.TempDir(), repo.InitOptions{})
	ctx := context.Background()
	r, s := w.open()
	out, err := r.NewWriter(ctx, s, repo.WriterOptions{})
	w.must(err)
	defer out.Abort()
	kit := w.access.Host.Scope()
	hash := digest.NewHasher(kit.ChunkKey(0))
	content := []byte("got out")
	id := hash.Sum(content)
	_, err = out.Put(0, chunk.Data, id, content)
	w.must(err)
	tree := manifest.NewBuilder(cdc.NewTable(kit.GearTable()).Hash, func(raw []byte) (digest.Chunk, error) {
		c := hash.Sum(raw)
		_, err := out.Put(0, chunk.Meta, c, raw)
		return c, err
	})
	outside, base := filepath.Join(t.TempDir(), "outside"), t.TempDir()
	target, victim := filepath.Join(base, "target"), filepath.Join(base, "victim")
	w.must(os.WriteFile(victim, []byte("stays"), 0o600))
	for _, path := range []string{"", outside, "./evil", "../evil", "a/../../evil", "b//evil", "c", "c/evil", "d", "e", "f", "good"} {
		e := &manifest.Entry{Path: []byte(path), Type: manifest.File, Mode: 0o644, Size: 7, Content: []manifest.Piece{{Chunk: id, Length: 7}}}
		switch path {
		case "":
			e = &manifest.Entry{Type: manifest.Dir, Mode: 0o755}
		case "c", "d": // a link that a later file would go through
			e = &manifest.Entry{Path: []byte(path), Type: manifest.Symlink, Mode: 0o777, Target: []byte("..")}
		case "e", "f": // a hard link to what lies outside
			first := map[string]string{"e": "../victim", "f": "d/victim"}[path]
			e = &manifest.Entry{Path: []byte(path), Type: manifest.File, Mode: 0o666, Size: 5, Hardlink: []byte(first)}
		}
		w.must(tree.AddLine(e.Path, manifest.AppendLine(nil, e)))
	}
	named, err := tree.Finish()
	w.must(err)
	w.must(out.SendPacks(ctx))
	names := []digest.Object{}
	for n := 0; ; n++ {
		info, err := s.Set().Pack(n)
		if err != nil {
			break
		}
		names = append(names, info.Name)
	}
	out.ReferencePacks(names)
	snap := &snapshot.Snapshot{ID: snapshot.ID{9}, Start: time.Now(), End: time.Now(), Host: "nas", HostID: [16]byte(w.access.Host.Host), Source: snapshot.Origin{Kind: "dir"},
		Scope: w.access.Host.ScopeID, Sequence: 1, Complete: true, Manifest: snapshot.Tree(named)}
	_, err = out.Publish(ctx, snap)
	w.must(err)
	_, errs, err := recoverPy(t, w.root, w.dataKey(), snap.ID.String(), target)
	if err == nil {
		t.Errorf("nothing was refused:\n%s", errs)
	}
	if raw, err := os.ReadFile(filepath.Join(target, "good")); err != nil || !bytes.Equal(raw, content) {
		t.Errorf("good: %q, %v\n%s", raw, err, errs)
	}
	around, err := os.ReadDir(base)
	w.must(err)
	var st unix.Stat_t
	w.must(unix.Lstat(victim, &st))
	raw, err := os.ReadFile(victim)
	w.must(err)
	if _, err := os.Lstat(outside); err == nil || len(around) != 2 || st.Nlink != 1 || st.Mode&0o777 != 0o600 || string(raw) != "stays" {
		t.Errorf("something got out: %v, %+v, %q", around, st, raw)
	}
}

// TestRecoverAsksForPassphrase gives recover.py a terminal.
func TestRecoverAsksForPassphrase(t *testing.T) {
	need(t, "python3", "age", "zstd")
	w, snap, want := smallWorld(t)
	var key string
	for _, name := range objects(t, w.root, "keys") {
		raw, err := os.ReadFile(filepath.Join(w.root, name))
		w.must(err)
		if bytes.Contains(raw, []byte("-> scrypt ")) {
			key = filepath.Join(w.root, name)
		}
	}
	target := filepath.Join(t.TempDir(), "target")
	const driver = `
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0: os.execvp("python3", ["python3"] + sys.argv[2:])
seen = b""
while True:
    try: part = os.read(terminal, 4096)
    except OSError: break
    if not part: break
    seen += part
    if b"passphrase" in seen.lower() and sys.argv[1]: os.write(terminal, sys.argv[1].encode() + b"\n"); sys.argv[1] = ""
sys.stdout.buffer.write(seen)
sys.exit(os.waitpid(pid, 0)[1] >> 8)
`
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", "-c", driver, passphrase, filepath.Join(w.root, "recover.py"), w.root, key, snap.ID.String(), target)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sameItems(t, want, readTree(t, target))
}

// TestRecoverUsage: mistakes are told in a line.
func TestRecoverUsage(t *testing.T) {
	need(t, "python3", "age", "zstd")
	w, _, _ := smallWorld(t)
	full, key := t.TempDir(), w.dataKey()
	w.must(os.WriteFile(filepath.Join(full, "x"), nil, 0o644))
	stranger := filepath.Join(t.TempDir(), "stranger")
	id, err := age.GenerateX25519Identity()
	w.must(err)
	w.must(os.WriteFile(stranger, []byte(id.String()+"\n"), 0o600))
	for _, c := range []struct {
		say  string
		args []string
	}{
		{"list the snapshots", nil},
		{"0 snapshots are 'ffff'", []string{key, "ffff", t.TempDir()}},
		{"is not empty", []string{key, "latest", full}},
		{"'no/where' is not in this snapshot", []string{key, "latest:no/where", t.TempDir()}},
		{"'age', '-d', '-i'", []string{stranger}},
		{"0 snapshots are 'latest'", []string{stranger, "latest", t.TempDir()}},
		{"No such file", []string{"/no/such/key"}},
	} {
		_, errs, err := recoverPy(t, w.root, c.args...)
		if err == nil || !strings.Contains(errs, c.say) || strings.Contains(errs, "Traceback") {
			t.Errorf("%q: %v: want %q in\n%s", c.args, err, c.say, errs)
		}
	}
}
