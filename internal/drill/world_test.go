package drill_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/drill"
	"firn/internal/event"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/target"
	"firn/internal/thaw"
)

// clock is moved by who sleeps on it.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	return ctx.Err()
}

// world is a repository in memory, with one host, one folder that is backed up, and a machine that drills.
type world struct {
	t      testing.TB
	st     *mem.Store
	clock  *clock
	access repo.Access
	base   string
	src    string
	dirs   state.Dirs
	snap   *snapshot.Snapshot
	notes  []string

	mu     sync.Mutex
	thaws  int
	twice  []string
	die    int // at which request; 0: never
	cancel context.CancelFunc
}

func newWorld(t testing.TB) *world {
	base := t.TempDir()
	w := &world{t: t, base: base, src: filepath.Join(base, "src"), clock: &clock{at: time.Now()}}
	w.dirs = state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}
	w.st = mem.New(mem.Options{Now: w.clock.Now, Watch: w.watch})
	w.must(os.Mkdir(w.src, 0o755))
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(context.Background(), w.st, repo.InitOptions{
		Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas",
		Chunk:  &format.Chunk{Min: 64 << 10, Avg: 128 << 10, Max: 512 << 10}, // many chunks from small files
		Bundle: &format.Bundle{Min: 64 << 10, Max: 256 << 10},
	})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) watch(r mem.Request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.die > 0 {
		if w.die--; w.die == 0 {
			w.cancel()
			w.die = -1
		}
	}
	if w.die < 0 {
		return context.Canceled
	}
	switch {
	case r.Op == "thaw" && r.Copy == store.NoCopy:
		w.thaws++
	case r.Op == "thaw":
		w.twice = append(w.twice, r.Name)
	}
	return nil
}

func (w *world) write(name string, content []byte) {
	w.t.Helper()
	path := filepath.Join(w.src, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, content, 0o640))
	at := time.Unix(1_700_000_000, 123456789)
	w.must(os.Chtimes(path, at, at))
}

// plant makes a tree of small files, files of several chunks, one with holes, empty ones and some with odd names.
func (w *world) plant(seed uint64, small int) {
	r := rand.New(rand.NewPCG(seed, 1))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for i := range small {
		w.write(fmt.Sprintf("d%02d/f%03d", i%17, i), random(r.IntN(20_000)))
	}
	for i := range 8 {
		w.write(fmt.Sprintf("large/l%d", i), random(300_000+r.IntN(900_000)))
	}
	sparse := append(append(random(200_000), make([]byte, 600_000)...), random(100_000)...)
	w.write("large/sparse", sparse)
	w.write("odd/a*b?[c]", random(100))
	w.write("odd/ space ", random(100))
	w.write("odd/#x\\y", random(100))
	w.write("odd/\xff\xfe", random(100))
	w.write("empty", nil)
	w.must(os.Link(filepath.Join(w.src, "empty"), filepath.Join(w.src, "other name")))
	w.must(os.Symlink("empty", filepath.Join(w.src, "link")))
	w.must(os.Chmod(filepath.Join(w.src, "odd/a*b?[c]"), 0o200))
}

func (w *world) open() (*repo.Repository, *repo.ScopeState) {
	w.t.Helper()
	r, err := repo.Open(context.Background(), w.st, w.access, repo.Options{Now: w.clock.Now})
	w.must(err)
	s, err := r.Load(context.Background(), w.access.Host.ScopeID, true)
	w.must(err)
	return r, s
}

func (w *world) state(repo keys.RepoID) *state.State {
	return state.Open(w.dirs, repo, func(err error) { w.t.Error(err) })
}

func (w *world) backup() {
	w.t.Helper()
	time.Sleep(15 * time.Millisecond) // so that times of change can be relied on
	r, s := w.open()
	tree, err := dir.Open(w.src, dir.Options{Problem: func(path []byte, err error) { w.t.Errorf("%q: %v", path, err) }})
	w.must(err)
	defer func() { _ = tree.Close() }()
	key := w.access.Host.Scope().SourceKey()
	res, err := backup.Run(context.Background(), backup.Options{
		Repo: r, Scope: s, State: w.state(r.ID()), Tree: tree, Names: tree.Names, Host: "nas", PackSize: 256 << 10,
		Source: snapshot.Origin{ID: snapshot.SourceID(key, "dir", "nas", "", []byte(w.src)), Kind: "dir", Path: []byte(w.src)},
		Detect: backup.DefaultDetect, Program: "test",
	})
	w.must(err)
	w.snap = res.Snapshot
}

// options of a drill of the last snapshot.
func (w *world) options() drill.Options {
	w.t.Helper()
	r, s := w.open()
	o := drill.Options{
		Repo: r, Scope: s, Snapshot: w.snap, State: w.state(r.ID()), Seed: 1, Scratch: filepath.Join(w.base, "scratch"), By: "tester", Now: w.clock.Now, Source: w.src,
		Report: func(e event.Event) {
			if n, ok := e.(event.Note); ok {
				w.mu.Lock()
				w.notes = append(w.notes, n.Text)
				w.mu.Unlock()
			}
		},
	}
	o.Restore = func(ctx context.Context, t *drill.Trial) (*drill.Restored, error) { return w.restore(ctx, &o, t) }
	return o
}

func told(res *restore.Result) *drill.Restored {
	out := &drill.Restored{}
	if res != nil {
		for _, d := range res.Damaged {
			out.Failures = append(out.Failures, drill.Finding{Path: d.Path, Object: d.Object, Err: d.Err})
		}
		for _, l := range res.Limits {
			out.Limits = append(out.Limits, l.Kind)
		}
	}
	return out
}

// restore is what a face does: at once, or with a job where something is cold.
func (w *world) restore(ctx context.Context, d *drill.Options, t *drill.Trial) (*drill.Restored, error) {
	o := restore.Options{Repo: d.Repo, Scope: d.Scope, Snapshot: t.Snapshot, Include: t.Include, Target: t.Target, Overwrite: target.Changed}
	plan, err := restore.Plan(ctx, o)
	if err != nil {
		return nil, err
	}
	key := restore.ThawKey(&o)
	job, err := thaw.Find(d.State, key, w.clock.Now())
	if err != nil {
		return nil, err
	}
	if job == nil {
		needs, err := restore.Left(d.State, &o, plan)
		if err != nil {
			return nil, err
		}
		look, err := thaw.Look(ctx, w.st, needs, thaw.LookOptions{Clock: w.clock})
		if err != nil {
			return nil, err
		}
		cold := false
		for _, g := range look.Groups {
			cold = cold || g.Cold
		}
		if !cold {
			res, err := restore.Run(ctx, o)
			out := told(res)
			out.Done = err == nil
			return out, err
		}
		if job, err = thaw.Create(d.State, thaw.Header{Key: key, Purpose: "drill", Tier: store.Bulk, Days: 2}, needs, w.clock.Now()); err != nil {
			return nil, err
		}
	}
	defer job.Close()
	res, err := restore.Thaw(ctx, o, restore.ThawOptions{Plan: plan, State: d.State, Job: job,
		Run: thaw.RunOptions{Store: w.st, Link: thaw.Link{Down: 1e9}, Clock: w.clock, Rate: 1e6, MaxRate: 1e6}})
	if res == nil {
		return &drill.Restored{Paid: true}, err
	}
	out := told(res.Result)
	out.Done, out.Paid, out.Cost = res.Done && err == nil, true, 0.5
	return out, err
}

// run drills, in a process that dies at a request; 0: it does not.
func (w *world) run(o drill.Options, die int) (*drill.Result, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.mu.Lock()
	w.die, w.cancel = die, cancel
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.die = 0
		w.mu.Unlock()
	}()
	return drill.Run(ctx, o)
}

// clean is run that proves everything.
func (w *world) clean(o drill.Options) *drill.Result {
	w.t.Helper()
	res, err := w.run(o, 0)
	w.must(err)
	if res.Outcome() != "proven" || res.Compared.Matched != int64(len(res.Sample.Files)) || res.Stored != nil || len(w.notes) > 0 {
		w.t.Fatalf("%s: %+v, stored: %v, notes: %q", res.Outcome(), res.Compared, res.Stored, w.notes)
	}
	w.nothingLeft()
	return res
}

// nothingLeft wants no scratch folder to be there.
func (w *world) nothingLeft() {
	w.t.Helper()
	left, err := os.ReadDir(filepath.Join(w.base, "scratch"))
	if err != nil && !errors.Is(err, os.ErrNotExist) || len(left) > 0 {
		w.t.Errorf("scratch folders are left: %v %v", left, err)
	}
}

func (w *world) packs(prefix string) (names []string) {
	w.must(w.st.List(context.Background(), prefix, "", func(i store.Info) error {
		names = append(names, i.Name)
		return nil
	}))
	sort.Strings(names)
	return names
}

func (w *world) object(name string) []byte {
	rc, err := w.st.Get(context.Background(), name, 0, -1)
	w.must(err)
	defer func() { _ = rc.Close() }()
	var b bytes.Buffer
	_, err = b.ReadFrom(rc)
	w.must(err)
	return b.Bytes()
}

func (w *world) freeze(class string) {
	for _, name := range w.packs("data/") {
		w.st.Reclass(name, class)
	}
}

func contains(list []drill.Finding, path string) bool {
	for _, f := range list {
		if string(f.Path) == path {
			return true
		}
	}
	return false
}

func sampled(res *drill.Result) string {
	var b strings.Builder
	for _, f := range res.Sample.Files {
		fmt.Fprintf(&b, "%q ", f.Path)
	}
	return b.String()
}
