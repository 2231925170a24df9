package frozen

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/par2"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// expected is what a frozen repository holds.
type expected struct {
	About      string
	Passphrase string
	Snapshots  []expectedSnapshot // in the order in which they were made
}

type expectedSnapshot struct {
	ID       string `json:"id"`
	State    string `json:"state"` // done, partial, forgotten
	Sequence uint64 `json:"sequence"`
	Epoch    uint32 `json:"epoch"`
	Entries  []int  `json:"entries"` // numbers of its entries in the list
	Tree     []item `json:"-"`
}

// expectedFile is expected.json, which has every state of an entry once.
type expectedFile struct {
	About      string             `json:"about"`
	Passphrase string             `json:"passphrase"`
	Snapshots  []expectedSnapshot `json:"snapshots"`
	Entries    []json.RawMessage  `json:"entries"`
}

// marshal writes one line for each snapshot and each entry.
func (e *expected) marshal(t testing.TB) []byte {
	t.Helper()
	text := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	var entries, snapshots []string
	number := map[string]int{}
	for _, s := range e.Snapshots {
		s.Entries = []int{}
		for _, i := range s.Tree {
			line := text(i)
			if _, ok := number[line]; !ok {
				number[line] = len(entries)
				entries = append(entries, line)
			}
			s.Entries = append(s.Entries, number[line])
		}
		snapshots = append(snapshots, text(s))
	}
	return fmt.Appendf(nil, "{\"about\":%s,\n\"passphrase\":%s,\n\"snapshots\":[\n%s\n],\n\"entries\":[\n%s\n]}\n", text(e.About), text(e.Passphrase),
		strings.Join(snapshots, ",\n"), strings.Join(entries, ",\n"))
}

// frozenRepository is one below testdata/repositories: repository.tar (its objects), expected.json, own.key (an age identity that opens it), host.key.
type frozenRepository struct{ dir string }

// frozenRepositories are all that are there.
func frozenRepositories(t testing.TB) (all []frozenRepository) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(testdata, "repositories", "*", "*", "repository.tar"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no frozen repository: %v", err)
	}
	for _, d := range dirs {
		all = append(all, frozenRepository{filepath.Dir(d)})
	}
	return all
}

func (f frozenRepository) name() string {
	return filepath.Base(filepath.Dir(f.dir)) + "/" + filepath.Base(f.dir)
}

func (f frozenRepository) read(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (f frozenRepository) expected(t testing.TB) (e expected) {
	t.Helper()
	var file expectedFile
	if err := json.Unmarshal(f.read(t, "expected.json"), &file); err != nil {
		t.Fatal(err)
	}
	e = expected{About: file.About, Passphrase: file.Passphrase, Snapshots: file.Snapshots}
	for n := range e.Snapshots {
		for _, number := range e.Snapshots[n].Entries {
			var i item
			if err := json.Unmarshal(file.Entries[number], &i); err != nil {
				t.Fatal(err)
			}
			e.Snapshots[n].Tree = append(e.Snapshots[n].Tree, i)
		}
	}
	return e
}

// each calls fn for every object.
func (f frozenRepository) each(t testing.TB, fn func(name string, content []byte)) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(f.read(t, "repository.tar")))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		fn(h.Name, content)
	}
}

// listSnapshot lists what a snapshot holds, and reads every byte of it.
func listSnapshot(t testing.TB, r *repo.Repository, s *repo.ScopeState, it snapshot.Item) (items []item) {
	t.Helper()
	cache, err := r.NewChunkCache(context.Background(), s, it.Epoch, 1, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	kit := r.Secrets().Scope(keys.ScopeID(it.Scope))
	whole, list := digest.NewHasher(kit.ChunkKey(it.Epoch)), digest.NewHasher(kit.ListKey(it.Epoch))
	m := manifest.NewReader(manifest.Source{Get: cache.Get}, repo.TreeOf(it.Snapshot))
	err = m.Walk(nil, func(e *manifest.Entry) error {
		i := item{Type: e.Type.String(), Mode: fmt.Sprintf("%04o", e.Mode), UID: e.UID, GID: e.GID, Mtime: mtime(e.Mtime.Sec, e.Mtime.Nsec), Size: e.Size}
		i.setPath(e.Path)
		for _, x := range e.Xattrs {
			i.Xattrs = append(i.Xattrs, [2]string{b64([]byte(x.Name)), b64(x.Value)})
		}
		switch {
		case len(e.Hardlink) > 0:
			i.Hardlink = b64(e.Hardlink)
		case e.Type == manifest.File:
			i.SHA256, i.Holes = readContent(t, m, e, cache.Get, whole, list)
		}
		if e.Type == manifest.Symlink && len(e.Target) > 0 {
			i.Target = b64(e.Target)
		}
		if e.Type == manifest.Char || e.Type == manifest.Block {
			i.Rdev = []uint32{e.Major, e.Minor}
		}
		items = append(items, i)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// readContent reads a file and checks its hash.
func readContent(t testing.TB, m *manifest.Reader, e *manifest.Entry, get func(digest.Chunk) ([]byte, error), whole, list *digest.Hasher) (sum string, holes bool) {
	t.Helper()
	h := sha256.New()
	whole.Reset()
	pieces, n := manifest.NewListHash(list), 0
	p := m.Pieces(e)
	for ; p.Next(); n++ {
		piece := p.Piece()
		pieces.Add(piece)
		if piece.IsHole() {
			holes = true
			h.Write(make([]byte, piece.Length))
			continue
		}
		raw, err := get(piece.Chunk)
		if err != nil {
			t.Fatalf("%q: %v", e.Path, err)
		}
		part := raw[piece.Offset : int64(piece.Offset)+piece.Length]
		h.Write(part)
		_, _ = whole.Write(part)
	}
	if p.Err() != nil {
		t.Fatalf("%q: %v", e.Path, p.Err())
	}
	want := pieces.Sum()
	if n == 1 && !holes {
		want = manifest.ShortHash(whole.Finish())
	}
	if n > 0 && want != e.Hash {
		t.Errorf("%q: hash %x instead of %x", e.Path, e.Hash, want)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), holes
}

// withoutHoles makes what a disk and what a manifest say of holes comparable: a file system may have its own view, but a file that has them on disk has them in the
// manifest. What hard links repeat is left out, too.
func withoutHoles(t testing.TB, want, got []item) ([]item, []item) {
	want, got = slices.Clone(want), slices.Clone(got)
	for n := range want {
		w := &want[n]
		if w.Hardlink != "" {
			w.SHA256, w.Holes, w.Xattrs = "", false, nil
		}
		if n < len(got) && w.Holes && !got[n].Holes {
			t.Errorf("%q: its holes were stored as data", w.path(t))
		}
		w.Holes = false
	}
	for n := range got {
		got[n].Holes = false
		if got[n].Hardlink != "" {
			got[n].Xattrs = nil
		}
	}
	return want, got
}

// TestFrozenRepositories opens every frozen repository in all ways, and reads every byte.
func TestFrozenRepositories(t *testing.T) {
	for _, f := range frozenRepositories(t) {
		t.Run(f.name(), func(t *testing.T) {
			ctx, want, st := context.Background(), f.expected(t), mem.New(mem.Options{})
			f.each(t, func(name string, content []byte) {
				if err := st.Put(ctx, name, bytes.NewReader(content), int64(len(content)), store.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			})
			pass, err := keys.PassphraseIdentity([]byte(want.Passphrase))
			if err != nil {
				t.Fatal(err)
			}
			own, err := keys.ParseIdentities("own.key", keys.Reading{ReadFile: func(string) ([]byte, error) { return f.read(t, "own.key"), nil }})
			if err != nil {
				t.Fatal(err)
			}
			host, err := keys.ParseHostKey(f.read(t, "host.key"))
			if err != nil {
				t.Fatal(err)
			}
			for what, id := range map[string]age.Identity{"passphrase": pass, "own key": own[0]} {
				secrets, err := repo.Unlock(ctx, st, id)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				r, err := repo.Open(ctx, st, repo.Access{Secrets: secrets, Host: host}, repo.Options{})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				s, err := r.Load(ctx, host.ScopeID, true)
				if err != nil || len(s.Damaged) > 0 {
					t.Fatalf("%s: %v, %v", what, err, s.Damaged)
				}
				checkSnapshots(t, r, s, want)
			}
			r, err := repo.Open(ctx, st, repo.Access{Host: host}, repo.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if s, err := r.Load(ctx, host.ScopeID, true); err != nil || len(s.Items) != len(want.Snapshots) {
				t.Fatalf("with the host key: %v", err)
			}
		})
	}
}

// TestFrozenVolumes: each recovery volume of a frozen repository belongs to the pack beside it, and mends it.
func TestFrozenVolumes(t *testing.T) {
	volumes := 0
	for _, f := range frozenRepositories(t) {
		objects := map[string][]byte{}
		f.each(t, func(name string, content []byte) { objects[name] = content })
		for name, volume := range objects {
			pack, ok := strings.CutSuffix(name, par2.Extension)
			if !ok {
				continue
			}
			volumes++
			source := func(b []byte) par2.Source { return par2.Source{Data: bytes.NewReader(b), Size: int64(len(b))} }
			set, err := par2.Parse(source(volume))
			if err != nil || len(set.Files) != 1 || set.Files[0].Name != pack[strings.LastIndexByte(pack, '/')+1:] {
				t.Fatalf("%s %s: %+v, %v", f.name(), name, set, err)
			}
			damaged := bytes.Clone(objects[pack])
			damaged[len(damaged)/2] ^= 1
			var mended bytes.Buffer
			r := set.Check([]par2.Source{source(damaged)}, par2.Options{})
			if err := set.Repair(r, []io.Writer{&mended}, par2.Options{}); err != nil || !bytes.Equal(mended.Bytes(), objects[pack]) || r.Whole() {
				t.Errorf("%s %s: %v", f.name(), name, err)
			}
		}
	}
	if volumes == 0 {
		t.Error("no frozen repository has recovery volumes")
	}
}

func checkSnapshots(t *testing.T, r *repo.Repository, s *repo.ScopeState, want expected) {
	t.Helper()
	if len(s.Items) != len(want.Snapshots) {
		t.Errorf("%d snapshots, want %d", len(s.Items), len(want.Snapshots))
	}
	for _, it := range s.Items {
		n := slices.IndexFunc(want.Snapshots, func(w expectedSnapshot) bool { return w.ID == it.ID.String() })
		if n < 0 {
			t.Errorf("snapshot %v is not expected", it.ID)
			continue
		}
		w := want.Snapshots[n]
		if it.Status().String() != w.State || it.Sequence != w.Sequence || it.Epoch != w.Epoch {
			t.Errorf("snapshot %v is %v, number %d, epoch %d; want %+v", it.ID, it.Status(), it.Sequence, it.Epoch, w)
		}
		a, b := withoutHoles(t, w.Tree, listSnapshot(t, r, s, it))
		sameItems(t, a, b)
	}
	for _, h := range snapshot.Histories(s.Items) {
		if err := h.Verify(); err != nil {
			t.Error(err)
		}
	}
}
