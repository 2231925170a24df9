package transition_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/transition"
)

const day = 24 * time.Hour

// world is a repository in memory whose clock goes as it is told, and folders that are backed up into it.
type world struct {
	t      *testing.T
	now    time.Time
	mem    *mem.Store
	access repo.Access
	dirs   state.Dirs
	base   string
	rng    *rand.Rand
}

func newWorld(t *testing.T, o mem.Options) *world {
	w := &world{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), base: t.TempDir(), rng: rand.New(rand.NewPCG(5, 5))}
	o.Now = func() time.Time { return w.now }
	w.mem = mem.New(o)
	w.dirs = state.Dirs{Cache: filepath.Join(w.base, "cache"), State: filepath.Join(w.base, "state")}
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(t.Context(), w.mem, repo.InitOptions{Keys: []repo.NewKey{{Label: "p", Recipient: pass}}, HostName: "nas", Now: o.Now, DataClass: "STANDARD_IA"})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// write makes a file of n random bytes and returns them.
func (w *world) write(name string, n int) []byte {
	content := make([]byte, n)
	for i := range content {
		content[i] = byte(w.rng.Uint32())
	}
	path := filepath.Join(w.base, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, content, 0o644))
	return content
}

func (w *world) open() (*repo.Repository, *repo.ScopeState) {
	w.t.Helper()
	r, err := repo.Open(w.t.Context(), w.mem, w.access, repo.Options{Now: func() time.Time { return w.now }})
	w.must(err)
	s, err := r.Load(w.t.Context(), w.access.Host.ScopeID, true)
	w.must(err)
	return r, s
}

func (w *world) backup(name string, storage snapshot.Storage) *snapshot.Snapshot {
	w.t.Helper()
	r, s := w.open()
	root := filepath.Join(w.base, name)
	tree, err := dir.Open(root, dir.Options{})
	w.must(err)
	defer tree.Close()
	if storage.Parity == nil && storage.Class != "" {
		storage.Parity = new(int) // else what is going to be cold gets some
	}
	res, err := backup.Run(w.t.Context(), backup.Options{
		Repo: r, Scope: s, State: state.Open(w.dirs, r.ID(), nil), Tree: tree, Names: tree.Names, Host: "nas", Detect: backup.DefaultDetect, Storage: storage,
		Source: snapshot.Origin{ID: snapshot.SourceID(w.access.Host.Scope().SourceKey(), "dir", "nas", "", []byte(root)), Kind: "dir", Path: []byte(root)},
		Now:    func() time.Time { return w.now }, IsCold: func(class string) bool { return class == "DEEP_ARCHIVE" },
	})
	w.must(err)
	return res.Snapshot
}

func (w *world) plan(anyway bool) (*transition.Plan, transition.Options) {
	w.t.Helper()
	r, s := w.open()
	region, err := price.Default().Region("aws", "us-east-1")
	w.must(err)
	o := transition.Options{Repo: r, Scopes: []*repo.ScopeState{s}, Region: region, Now: func() time.Time { return w.now }, Anyway: anyway}
	p, err := transition.Make(w.t.Context(), o)
	w.must(err)
	return p, o
}

// classes counts data objects by class.
func (w *world) classes() map[string]int {
	out := map[string]int{}
	w.must(w.mem.List(w.t.Context(), "data/", "", func(i store.Info) error { out[i.Class]++; return nil }))
	return out
}

// TestTransition lets packs grow old: they move when their time has come, once, and what another source needs in its hot class stays; the rule goes on from
// snapshot to snapshot; what has sunk still restores, once it is thawed.
func TestTransition(t *testing.T) {
	w := newWorld(t, mem.Options{})
	sinks := snapshot.Storage{Class: "STANDARD_IA", Then: "DEEP_ARCHIVE", HotFor: 40 * day}
	big := w.write("old/big", 3<<20)
	w.write("stays/file", 2<<20)
	w.backup("old", sinks)
	w.backup("stays", snapshot.Storage{})
	if p, _ := w.plan(false); p.Rules != 1 || len(p.Moves) != 0 || p.Young != 1 || p.Shared != 1 || !p.Next.Equal(w.now.Add(40*day)) {
		t.Fatalf("at once: %+v", p)
	}
	w.now = w.now.Add(30 * day)
	w.write("old/young", 3<<20)
	if s := w.backup("old", snapshot.Storage{}); s.Storage.Class != sinks.Class || s.Storage.Then != sinks.Then || s.Storage.HotFor != sinks.HotFor || s.Storage.Parity == nil {
		t.Fatalf("the rule is lost: %+v", s.Storage)
	}
	w.now = w.now.Add(11 * day)
	p, o := w.plan(false)
	if len(p.Moves) != 1 || p.Young != 1 || p.Moves[0].From != "STANDARD_IA" || p.Moves[0].To != "DEEP_ARCHIVE" || p.Saves <= 0 || p.Cost.Total() <= 0 {
		t.Fatalf("after 41 days: %+v", p)
	}
	for range 2 { // a second run of the same plan does nothing
		if res, err := transition.Run(t.Context(), o, p); err != nil || res.Moved != 1 || res.Failed != 0 {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if got := w.classes(); got["DEEP_ARCHIVE"] != 1 || got["STANDARD_IA"] != 2 {
		t.Fatalf("classes %v", got)
	}
	if p, _ := w.plan(false); len(p.Moves) != 0 || p.Moved != 1 {
		t.Fatalf("afterwards: %+v", p)
	}
	w.restores(big, p.Moves[0].Object)
}

// restores thaws an object and brings old/big back.
func (w *world) restores(want []byte, object string) {
	w.t.Helper()
	_, err := w.mem.Thaw(w.t.Context(), object, store.ThawOptions{Tier: store.Bulk, Days: 5})
	w.must(err)
	w.now = w.now.Add(49 * time.Hour)
	r, s := w.open()
	target := filepath.Join(w.base, "restored")
	for _, it := range s.Items {
		if bytes.HasSuffix(it.Source.Path, []byte("old")) && it.Sequence == 1 {
			_, err := restore.Run(w.t.Context(), restore.Options{Repo: r, Scope: s, Snapshot: it.Snapshot, Target: target})
			w.must(err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(target, "big")); err != nil || !bytes.Equal(got, want) {
		w.t.Fatalf("restored %d bytes, %v", len(got), err)
	}
}

// TestVolumesMove: the recovery volume of a pack goes where its pack goes.
func TestVolumesMove(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.write("old/big", 3<<20)
	hundred := 100
	w.backup("old", snapshot.Storage{Class: "STANDARD_IA", Then: "DEEP_ARCHIVE", HotFor: 40 * day, Parity: &hundred})
	w.now = w.now.Add(41 * day)
	p, o := w.plan(false)
	if len(p.Moves) != 2 || p.Moves[1].Object != p.Moves[0].Object+".par2" {
		t.Fatalf("%+v", p)
	}
	if res, err := transition.Run(t.Context(), o, p); err != nil || res.Moved != 2 || w.classes()["DEEP_ARCHIVE"] != 2 {
		t.Fatalf("%+v, %v, %v", res, err, w.classes())
	}
}

// TestDoesNotPay: small packs cost more in an archive than they save, unless the user wants them there all the same.
func TestDoesNotPay(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.write("tiny/file", 20_000)
	w.backup("tiny", snapshot.Storage{Class: "STANDARD", Then: "DEEP_ARCHIVE", HotFor: day})
	w.now = w.now.Add(2 * day)
	if p, _ := w.plan(false); len(p.Moves) != 0 || p.Unpaid != 1 {
		t.Fatalf("%+v", p)
	}
	if p, _ := w.plan(true); len(p.Moves) != 1 {
		t.Fatalf("anyway: %+v", p)
	}
}

// TestDenied ends at the first refusal, and a store that cannot move says so.
func TestDenied(t *testing.T) {
	w := newWorld(t, mem.Options{Watch: func(r mem.Request) error {
		if r.Op == "move" {
			return store.ErrDenied
		}
		return nil
	}})
	w.write("a/file", 3<<20)
	w.backup("a", snapshot.Storage{Class: "STANDARD", Then: "DEEP_ARCHIVE", HotFor: day})
	w.now = w.now.Add(2 * day)
	p, o := w.plan(false)
	if len(p.Moves) != 1 {
		t.Fatalf("%+v", p)
	}
	if _, err := transition.Run(context.Background(), o, p); err == nil {
		t.Fatal("moved without the right to")
	}
}

// TestTransitionUndone: a snapshot that was never done, and whose pack set a pruner took while it was written, stops nothing. One that is done and has lost its own
// stops everything: what it needs is not known.
func TestTransitionUndone(t *testing.T) {
	for _, done := range []bool{false, true} {
		w := newWorld(t, mem.Options{})
		sinks := snapshot.Storage{Class: "STANDARD_IA", Then: "DEEP_ARCHIVE", HotFor: 40 * day}
		w.write("old/big", 3<<20)
		first := w.backup("old", sinks)
		w.now = w.now.Add(time.Hour)
		w.write("old/more", 3<<20)
		second := w.backup("old", sinks)
		base := w.access.Host.ScopeID.String() + "/"
		if !done {
			w.must(w.mem.Delete(t.Context(), "snapshots/"+base+second.ID.String()+".done"))
		}
		if first.Packs[0].Object == second.Packs[0].Object {
			t.Fatal("both have one pack set")
		}
		w.must(w.mem.Delete(t.Context(), "packset/"+base+second.Packs[0].Object.String()))
		w.now = w.now.Add(60 * day)
		r, s := w.open()
		region, err := price.Default().Region("aws", "us-east-1")
		w.must(err)
		p, err := transition.Make(t.Context(), transition.Options{Repo: r, Scopes: []*repo.ScopeState{s}, Region: region, Now: func() time.Time { return w.now }})
		if (err != nil) != done {
			t.Fatalf("done %v: %v", done, err)
		}
		if !done && (len(p.Moves) != 1 || p.Unused != 1) {
			t.Fatalf("%+v", p)
		}
	}
}

// TestStopped: a run that is stopped says so, even where no move failed.
func TestStopped(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.write("a/file", 3<<20)
	w.backup("a", snapshot.Storage{Class: "STANDARD", Then: "DEEP_ARCHIVE", HotFor: day})
	w.now = w.now.Add(2 * day)
	p, o := w.plan(false)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if res, err := transition.Run(stopped, o, p); !errors.Is(err, context.Canceled) || res.Moved != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if res, err := transition.Run(t.Context(), o, p); err != nil || res.Moved != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
}
