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

	"firn/internal/backup"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/local"
)

// world is a repository in a folder, with one host and one source.
type world struct {
	t      testing.TB
	root   string // of the repository
	src    string
	own    string // an age identity file that opens it
	store  store.Store
	access repo.Access
	state  state.Dirs
}

// passphrase opens every repository that these tests make.
const passphrase = "correct horse battery staple"

func newWorld(t testing.TB, base string, o repo.InitOptions) *world {
	t.Helper()
	st, err := local.Open(filepath.Join(base, "repository"), local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return newWorldIn(t, base, st, o)
}

// newWorldIn is newWorld in any store.
func newWorldIn(t testing.TB, base string, st store.Store, o repo.InitOptions) *world {
	t.Helper()
	w := &world{t: t, root: filepath.Join(base, "repository"), src: filepath.Join(base, "source"), own: filepath.Join(base, "own.key"),
		state: state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}}
	w.must(os.MkdirAll(w.src, 0o755))
	pass, err := keys.Passphrase([]byte(passphrase), 10)
	w.must(err)
	o.Keys = append(o.Keys, repo.NewKey{Label: "passphrase", Recipient: pass})
	kind := keys.X25519
	if o.Hybrid {
		kind = keys.Hybrid
	}
	own, err := keys.GenerateIdentity(kind)
	w.must(err)
	w.must(os.WriteFile(w.own, []byte("# made by a test\n"+own.Secret()+"\n"), 0o600))
	list, err := keys.ParseRecipients(own.Public(), keys.Reading{})
	w.must(err)
	o.Keys = append(o.Keys, repo.NewKey{Label: "own", Recipient: list[0]})
	o.HostName = "nas"
	w.store = st
	w.access, err = repo.Init(context.Background(), w.store, o)
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() (*repo.Repository, *repo.ScopeState) {
	w.t.Helper()
	r, err := repo.Open(context.Background(), w.store, w.access, repo.Options{})
	w.must(err)
	s, err := r.Load(context.Background(), w.access.Host.ScopeID, true)
	w.must(err)
	return r, s
}

// backup backs the source up; change adapts the options.
func (w *world) backup(change func(o *backup.Options)) *backup.Result {
	w.t.Helper()
	r, s := w.open()
	tree, err := dir.Open(w.src, dir.Options{})
	w.must(err)
	defer tree.Close()
	path := "/srv/tree" // where these tests run says nothing
	o := backup.Options{
		Repo: r, Scope: s, Tree: tree, Names: func(uid, _ uint32) (string, string) { return map[uint32]string{1234: "ada"}[uid], "" }, Host: "nas",
		State:  state.Open(w.state, r.ID(), func(err error) { w.t.Log(err) }),
		Source: snapshot.Origin{ID: snapshot.SourceID(w.access.Host.Scope().SourceKey(), "dir", "nas", "", []byte(path)), Kind: "dir", Path: []byte(path)},
		Detect: backup.DefaultDetect, Program: "firn test", Workers: 2, PackSize: 256 << 10,
	}
	if change != nil {
		change(&o)
	}
	time.Sleep(15 * time.Millisecond) // so that ctimes can be relied on
	res, err := backup.Run(context.Background(), o)
	w.must(err)
	if res.Snapshot.Stats.Problems > 0 {
		w.t.Fatalf("problems: %+v", res.Snapshot.Problems)
	}
	return res
}

// recover runs the recover.py that lies in a repository.
func recoverPy(t testing.TB, root string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.Command("python3", append([]string{"-W", "error", filepath.Join(root, "recover.py"), root}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1")
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// mustRecover fails the test where recover.py fails.
func mustRecover(t testing.TB, root string, args ...string) string {
	t.Helper()
	out, errs, err := recoverPy(t, root, args...)
	if err != nil || strings.Contains(errs, "PROBLEM") {
		t.Fatalf("recover.py %q: %v\n%s", args, err, errs)
	}
	return out
}

// dataKey writes the file that `age -d -i own.key keys/….age` gives.
func (w *world) dataKey() string {
	w.t.Helper()
	var text bytes.Buffer
	w.must(w.store.List(context.Background(), "keys/", "", func(i store.Info) error {
		object, err := w.store.Get(context.Background(), i.Name, 0, -1)
		if err != nil {
			return err
		}
		defer func() { _ = object.Close() }()
		id, err := keys.PassphraseIdentity([]byte(passphrase))
		w.must(err)
		if r, err := age.Decrypt(object, id); err == nil && text.Len() == 0 {
			_, err = text.ReadFrom(r)
			return err
		}
		return nil
	}))
	if text.Len() == 0 {
		w.t.Fatal("no key opens with the passphrase")
	}
	path := filepath.Join(w.t.TempDir(), "d.key")
	w.must(os.WriteFile(path, text.Bytes(), 0o600))
	return path
}

// objects lists the names below a folder of a repository.
func objects(t testing.TB, root, prefix string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, prefix), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.Contains(path, "/.") {
			names = append(names, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return names
}

// smallChunks cuts as small as the format allows.
func smallChunks(o repo.InitOptions) repo.InitOptions {
	o.Chunk = &format.Chunk{Min: 64 << 10, Avg: 96 << 10, Max: 256 << 10}
	o.Bundle = &format.Bundle{Min: 16 << 10, Max: 64 << 10}
	return o
}
