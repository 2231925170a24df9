package frozen

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"firn/internal/backup"
	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/sign"
	"firn/internal/snapshot"
)

// TestFrozenRecover restores every frozen repository with the recover.py that lies in it, and with the one that is written today.
func TestFrozenRecover(t *testing.T) {
	need(t, "python3", "age", "zstd")
	if !isRoot() {
		t.Skip("owners and device files come back for root only")
	}
	today, err := os.ReadFile("../repo/recovery/recover.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frozenRepositories(t) {
		t.Run(f.name(), func(t *testing.T) {
			root, key := t.TempDir(), filepath.Join(t.TempDir(), "own.key")
			put := func(name string, content []byte) {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, name), content, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			f.each(t, put)
			own := f.read(t, "own.key")
			if err := os.WriteFile(key, own, 0o600); err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(own, []byte("AGE-SECRET-KEY-PQ-")) {
				newerAge(t)
			}
			want := f.expected(t)
			restore := func(key string, n int) {
				target := filepath.Join(t.TempDir(), "target")
				mustRecover(t, root, key, want.Snapshots[n].ID, target)
				sameItems(t, want.Snapshots[n].Tree, readTree(t, target))
			}
			opened := openKey(t, root, key)
			if script, err := os.ReadFile(filepath.Join(root, "recover.py")); err == nil && bytes.Contains(script, []byte("what age -d -i IDENTITY")) {
				key = opened // the first ones took the identity itself
			}
			restore(key, 0)
			put("recover.py", today)
			restore(opened, 0)
			restore(opened, len(want.Snapshots)-1)
		})
	}
}

// TestMain lets the test binary stand in for an age program that knows hybrid keys (1.3 or newer), which many systems do not have yet, and for the AWS program.
func TestMain(m *testing.M) {
	name := filepath.Base(os.Args[0])
	standIn, ok := map[string]func([]string) error{"age": standInForAge, "aws": standInForAWS}[name]
	if !ok {
		os.Exit(m.Run())
	}
	if err := standIn(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// standInForAge does what `age -d -i KEY FILE` does, with the library of that program.
func standInForAge(args []string) error {
	if len(args) != 4 || args[0] != "-d" || args[1] != "-i" {
		return fmt.Errorf("arguments %q", args)
	}
	text, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return err
	}
	f, err := os.Open(args[3])
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := age.Decrypt(f, ids...)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, plain)
	return err
}

// openKey does what RECOVER.md says about a key that was given to somebody's own identity: age -d -i IDENTITY keys/NAME.age.
func openKey(t *testing.T, root, identity string) string {
	t.Helper()
	for _, name := range objects(t, root, "keys") {
		text, err := exec.Command("age", "-d", "-i", identity, filepath.Join(root, name)).Output()
		if err != nil || !strings.HasSuffix(name, ".age") {
			continue
		}
		path := filepath.Join(t.TempDir(), "d.key")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Fatal("no key opens with the identity")
	return ""
}

// newerAge puts the stand-in first in the PATH.
func newerAge(t *testing.T) {
	t.Helper()
	standsIn(t, "age")
}

// standsIn puts the test binary first in the PATH, as another program.
func standsIn(t *testing.T, name string) {
	t.Helper()
	self, err := os.Executable()
	dir := t.TempDir()
	if err == nil {
		err = os.Symlink(self, filepath.Join(dir, name))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// TestMakeFrozenRepositories makes those that are not there yet, where it is asked to:
//
//	go test ./internal/frozen -run TestMakeFrozen -make-missing
//
// as root, on a file system with extended attributes and holes. What is there already is never touched: a new generation of the format gets a
// folder of its own.
func TestMakeFrozenRepositories(t *testing.T) {
	if !*makeMissing {
		t.Skip("not asked to")
	}
	for name, o := range map[string]repo.InitOptions{"v1/plain": {}, "v1/hybrid-padded": {Hybrid: true, Padding: true},
		"v1/parity": {Parity: format.Parity{Data: 5, Meta: 10}}} {
		dir := filepath.Join(testdata, "repositories", filepath.FromSlash(name))
		if _, err := os.Stat(dir); err == nil {
			t.Logf("%s is there already", name)
			continue
		}
		if !isRoot() {
			t.Fatal("only root makes all types of entries")
		}
		w := newWorld(t, t.TempDir(), smallChunks(o))
		want := w.history(!o.Hybrid)
		want.About = "Frozen on " + time.Now().UTC().Format(time.DateOnly) + " by TestMakeFrozenRepositories of firn/internal/frozen: " + name
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		w.freeze(dir, want)
	}
}

// history backs up a tree with all types of entries, an edit with a partial snapshot on the way, a full backup in an epoch of its own, and one that is forgotten.
func (w *world) history(large bool) (want expected) {
	m := &maker{t: w.t, root: w.src, state: 2026}
	m.everyKind()
	for i := range 330 {
		m.file(fmt.Sprintf("many/%02d/number %d", i%20, i), m.random(m.int(60)), 0o644)
	}
	m.extents("large/holes", 40, 4096, 64<<10, 1<<20) // 80 pieces
	m.extents("large/one hole", 0, 0, 0, 3<<20)
	if large {
		m.file("large/thin", m.thin(6_500_000), 0o644) // more than 64 pieces
		m.file("large/random", m.random(100_000), 0o644)
	}
	m.times()
	want.Passphrase = passphrase
	note := func(state string, change func(*backup.Options)) snapshot.ID {
		tree := readTree(w.t, w.src)
		s := w.backup(change).Snapshot
		want.Snapshots = append(want.Snapshots, expectedSnapshot{ID: s.ID.String(), State: state, Sequence: s.Sequence, Epoch: s.Epoch, Tree: tree})
		return s.ID
	}
	note("done", nil)

	m.file("docs/one", []byte("uno\n"), 0o644)
	m.must(os.RemoveAll(m.path("many/07")))
	m.must(os.Rename(m.path("large/one hole"), m.path("large/a hole")))
	for i := range 120 { // several bundles, so that a partial snapshot finds something to keep
		m.file(fmt.Sprintf("new/%03d", i), m.thin(6000), 0o644)
	}
	note("done", func(o *backup.Options) { o.FlushAfter, o.FlushPacks, o.PackSize = 1, 1, 1 })
	second := want.Snapshots[1]
	_, s := w.open()
	for _, it := range s.Items { // a partial snapshot has the head of the tree
		if it.Status() == snapshot.IsPartial {
			part := expectedSnapshot{ID: it.ID.String(), State: "partial", Sequence: it.Sequence, Epoch: it.Epoch, Tree: second.Tree[:it.Manifest.Lines]}
			want.Snapshots = append(want.Snapshots, part)
		}
	}
	if len(want.Snapshots) < 3 {
		w.t.Fatal("no partial snapshot was kept")
	}
	if !large {
		m.must(os.RemoveAll(m.path("many")))
		note("done", func(o *backup.Options) { o.Full = true })
	}
	m.file("mistake", []byte("to be forgotten"), 0o644)
	w.forget(note("forgotten", nil))
	m.must(os.Remove(m.path("mistake")))
	note("done", nil)
	return want
}

// forget writes a prune record.
func (w *world) forget(id snapshot.ID) {
	w.t.Helper()
	ctx := context.Background()
	r, _ := w.open()
	host, err := r.Enroll(ctx, "pruner", "nas", keys.Pruner)
	w.must(err)
	body, err := (&snapshot.Record{Scope: host.ScopeID, Time: time.Now(), Forget: []snapshot.ID{id}}).Marshal()
	w.must(err)
	index, err := host.Scope().IndexIdentity()
	w.must(err)
	object, _, err := envelope.Seal(sign.Prune, body, envelope.Keys{Signer: host.Signer(), Recipients: []age.Recipient{index.Recipient(), host.DataRecipient()}, Padding: r.Config().Padding == "padme"})
	w.must(err)
	name := fmt.Sprintf("prune/%016x-%v", time.Now().UnixMicro(), digest.SumObject(object))
	w.must(os.MkdirAll(filepath.Join(w.root, "prune"), 0o755))
	w.must(os.WriteFile(filepath.Join(w.root, name), object, 0o644))
}

// freeze writes the files of a frozen repository.
func (w *world) freeze(dir string, want expected) {
	w.t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, name := range objects(w.t, w.root, "") {
		raw, err := os.ReadFile(filepath.Join(w.root, name))
		w.must(err)
		w.must(archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(raw)), ModTime: time.Unix(1_700_000_000, 0), Format: tar.FormatUSTAR}))
		_, err = archive.Write(raw)
		w.must(err)
	}
	w.must(archive.Close())
	text := want.marshal(w.t)
	own, err := os.ReadFile(w.own)
	w.must(err)
	host, err := w.access.Host.Marshal()
	w.must(err)
	for name, raw := range map[string][]byte{"repository.tar": out.Bytes(), "expected.json": text, "own.key": own, "host.key": host} {
		w.must(os.WriteFile(filepath.Join(dir, name), raw, 0o644))
	}
}
