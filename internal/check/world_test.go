package check_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/check"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
)

var ctx = context.Background()

// world is a repository in memory with two hosts in scopes of their own.
type world struct {
	t      testing.TB
	st     *mem.Store
	access repo.Access
	hosts  map[string]*keys.HostKey
	base   string
	pack   int64
}

func newWorld(t testing.TB, o mem.Options, class string) *world {
	w := &world{t: t, st: mem.New(o), base: t.TempDir(), pack: 256 << 10, hosts: map[string]*keys.HostKey{}}
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(ctx, w.st, repo.InitOptions{
		Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas", DataClass: class, Parity: format.Parity{Data: 10, Meta: 10},
		Chunk:  &format.Chunk{Min: 64 << 10, Avg: 128 << 10, Max: 512 << 10},
		Bundle: &format.Bundle{Min: 32 << 10, Max: 128 << 10},
	})
	w.must(err)
	w.hosts["nas"] = w.access.Host
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// enroll adds a host with a scope of its own.
func (w *world) enroll(name string) {
	r, err := repo.Open(ctx, w.st, w.access, repo.Options{})
	w.must(err)
	w.hosts[name], err = r.Enroll(ctx, name, name, keys.Writer)
	w.must(err)
}

func (w *world) write(source, name string, seed uint64, size int) {
	w.t.Helper()
	path := filepath.Join(w.base, source, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	b := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 7))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	w.must(os.WriteFile(path, b, 0o644))
}

func (w *world) backup(host, source string) *snapshot.Snapshot {
	return w.backupAs(host, source, backup.Options{})
}

func (w *world) backupAs(host, source string, o backup.Options) *snapshot.Snapshot {
	w.t.Helper()
	res, err := w.tryBackup(ctx, w.st, host, source, o)
	w.must(err)
	return res.Snapshot
}

func (w *world) tryBackup(ctx context.Context, st store.Store, host, source string, o backup.Options) (*backup.Result, error) {
	time.Sleep(12 * time.Millisecond) // times of change can be relied on
	a := repo.Access{Secrets: w.access.Secrets, Host: w.hosts[host]}
	r, err := repo.Open(ctx, st, a, repo.Options{})
	if err != nil {
		return nil, err
	}
	s, err := r.LoadToWrite(ctx, a.Host.ScopeID)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(w.base, source)
	tree, err := dir.Open(root, dir.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tree.Close() }()
	dirs := state.Dirs{Cache: filepath.Join(w.base, "cache", host), State: filepath.Join(w.base, "state", host)}
	o.Repo, o.Scope, o.State, o.Tree, o.Names, o.Host, o.PackSize = r, s, state.Open(dirs, r.ID(), func(error) {}), tree, tree.Names, host, w.pack
	o.Source = snapshot.Origin{ID: snapshot.SourceID(a.Host.Scope().SourceKey(), "dir", host, "", []byte(root)), Kind: "dir", Path: []byte(root)}
	o.Detect, o.Program = backup.DefaultDetect, "test"
	return backup.Run(ctx, o)
}

// history fills the repository: two hosts, two sources of the first, several snapshots.
func (w *world) history() {
	w.t.Helper()
	w.enroll("laptop")
	for i := range 3 {
		for k := range 6 {
			w.write("docs", fmt.Sprintf("d%d/small%02d", i, k), uint64(100*i+k), 3000+700*k)
		}
		w.write("docs", fmt.Sprintf("large%d", i), uint64(1000+i), 700<<10)
		w.backup("nas", "docs")
	}
	w.write("films", "one", 5000, 1<<20)
	w.backup("nas", "films")
	w.write("mail", "box", 6000, 400<<10)
	w.backup("laptop", "mail")
	w.write("mail", "box2", 6001, 100<<10)
	w.backup("laptop", "mail")
}

func (w *world) names(prefix, suffix string) (out []string) {
	w.t.Helper()
	w.must(w.st.List(ctx, prefix, "", func(i store.Info) error {
		if strings.HasSuffix(i.Name, suffix) && (suffix != "" || !strings.HasSuffix(i.Name, ".done")) {
			out = append(out, i.Name)
		}
		return nil
	}))
	return out
}

func (w *world) object(name string) []byte {
	w.t.Helper()
	rc, err := w.st.Get(ctx, name, 0, -1)
	w.must(err)
	raw, err := io.ReadAll(rc)
	w.must(err)
	w.must(rc.Close())
	return raw
}

// replace puts other bytes in the place of an object; nil removes it.
func (w *world) replace(name string, raw []byte, class string) {
	w.t.Helper()
	w.must(w.st.Delete(ctx, name))
	if raw != nil {
		w.must(w.st.Put(ctx, name, bytes.NewReader(raw), int64(len(raw)), store.PutOptions{Class: class}))
	}
}

// level is how thoroughly a test checks.
type level struct {
	blind bool
	host  *keys.HostKey // instead of everything
	wish  check.Wish
}

var (
	listing  = level{}
	sums     = level{wish: check.Wish{Sums: 1}}
	metadata = level{wish: check.Wish{Metadata: true}}
	reading  = level{wish: check.Wish{Metadata: true, Read: check.Share{All: true}}}
)

func (w *world) options(l level) check.Options {
	o := check.Options{Store: w.st, Access: &repo.Access{Secrets: w.access.Secrets}, Seed: 1}
	if l.host != nil {
		o.Access = &repo.Access{Host: l.host}
	}
	if l.blind {
		o.Access = nil
	}
	return o
}

// check runs a check.
func (w *world) check(l level) *check.Report {
	w.t.Helper()
	r, err := run(w.options(l), l.wish)
	w.must(err)
	return r
}

func run(o check.Options, wish check.Wish) (*check.Report, error) {
	c, err := check.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	p, err := c.Plan(ctx, wish)
	if err == nil {
		err = c.Sums(ctx, p)
	}
	if err == nil && wish.Metadata {
		err = c.Metadata(ctx)
	}
	if err == nil {
		err = c.Read(ctx, p)
	}
	if err != nil {
		return nil, err
	}
	return c.Report(ctx)
}

// openable reports whether an error is one that says which object is to blame, so that a check needs not go on.
func openable(err error) bool {
	var object *repo.ObjectError
	return errors.As(err, &object) || errors.Is(err, repo.ErrNoRepository)
}
