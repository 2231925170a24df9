//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"firn/internal/backup"
	"firn/internal/browse"
	"firn/internal/price"
	"firn/internal/prune"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// The steps, in their order.
const (
	stepMake    = "make"
	stepNew     = "backup on a new machine"
	stepAgain   = "unchanged backup"
	stepList    = "list a folder"
	stepRestore = "plan a restore"
	stepPrune   = "plan a prune"
)

func stepNames() []string {
	return []string{stepMake, stepNew, stepAgain, stepList, stepRestore, stepPrune}
}

// figures are what a step took.
type figures struct {
	Seconds, CPU float64
	Peak         int64 // bytes
	Requests     requests
	Cost         price.Money // of the requests
	Holds        holds       // at its end
}

// holds is what lies where.
type holds struct {
	Hot, Index, Meta int64 // bytes of the repository
	Cold             int   // packs
	Local, Table     int64 // bytes on this machine
	Month            price.Money
}

// measure does a step.
func measure(ctx context.Context, w *world, step string) (*figures, error) {
	debug.SetGCPercent(50) // as the program does
	region, err := price.Default().Region("aws", "us-east-1")
	if err != nil {
		return nil, err
	}
	if step != stepMake {
		if err := w.open(ctx, false); err != nil {
			return nil, err
		}
		w.disk.n = requests{}
	}
	start, used := time.Now(), cpu()
	switch step {
	case stepMake:
		err = w.build(ctx)
	case stepNew, stepAgain:
		err = w.backup(ctx)
	case stepList:
		err = w.list(ctx)
	case stepRestore:
		err = w.planRestore(ctx)
	case stepPrune:
		err = w.planPrune(ctx, region)
	default:
		err = fmt.Errorf("there is no step %q", step)
	}
	if err != nil {
		return nil, err
	}
	m := &figures{Seconds: time.Since(start).Seconds(), CPU: cpu() - used, Peak: peak(), Requests: w.disk.n}
	r := m.Requests
	m.Cost = region.List(int64(r.List)).Cost + region.Get("STANDARD", int64(r.Get), 0).Cost + region.Put("STANDARD", int64(r.Put), 0).Cost
	w.holds(m, region)
	return m, nil
}

func (w *world) holds(m *figures, region *price.Region) {
	at := filepath.Join(w.dir, "repo")
	h := holds{Hot: below(at), Index: below(filepath.Join(at, "index")), Meta: below(filepath.Join(at, "meta")), Cold: w.packs(), Local: below(filepath.Join(w.dir, "cache")) + below(filepath.Join(w.dir, "state"))}
	h.Table = below(w.state.ChunkTableDir())
	h.Month = append(region.HoldMonths("STANDARD", 0, h.Hot, 1), region.HoldMonths(coldClass, int64(h.Cold), int64(w.files)*fileSize, 1)...).Total()
	m.Holds = h
}

// backup backs the tree up once more; nothing has changed, and nothing may be read or stored but the snapshot.
func (w *world) backup(ctx context.Context) error {
	scope, err := w.repo.LoadToWrite(ctx, w.access.Host.ScopeID)
	if err != nil {
		return err
	}
	res, err := backup.Run(ctx, backup.Options{Repo: w.repo, Scope: scope, State: w.state, Tree: made{w}, Source: w.origin(), Host: "nas", IsCold: func(class string) bool { return class == coldClass }, Program: "scale"})
	if err != nil {
		return err
	}
	if s := res.Snapshot.Stats; s.Files != int64(w.files) || s.BytesRead != 0 || s.Problems != 0 {
		return fmt.Errorf("the backup was none of an unchanged tree: %+v", s)
	}
	return nil
}

// list looks at one folder of a hundred files, and at those above it.
func (w *world) list(ctx context.Context) error {
	scope, err := w.scope(ctx)
	if err != nil {
		return err
	}
	v, err := browse.Open(ctx, w.repo, scope, newest(scope))
	if err != nil {
		return err
	}
	path, n := name(nil, w.files/2)
	found := 0
	for _, p := range [][]byte{nil, path[:strings.IndexByte(string(path), '/')], path[:n]} {
		found = 0
		if err := v.List(browse.ListOptions{Path: p}, func(*browse.Entry) error { found++; return nil }); err != nil {
			return err
		}
	}
	if found != min(perFolder, w.files) {
		return fmt.Errorf("%d files in a folder of %d", found, perFolder)
	}
	return nil
}

func (w *world) planRestore(ctx context.Context) error {
	scope, err := w.scope(ctx)
	if err != nil {
		return err
	}
	n, err := restore.Plan(ctx, restore.Options{Repo: w.repo, Scope: scope, Snapshot: newest(scope)})
	if err != nil {
		return err
	}
	if n.Files != int64(w.files) || len(n.Packs) != w.packs() || n.Missing != 0 {
		return fmt.Errorf("a plan of %d files in %d packs, with %d chunks missing", n.Files, len(n.Packs), n.Missing)
	}
	return nil
}

func (w *world) planPrune(ctx context.Context, region *price.Region) error {
	w.disk.where = "data/" + w.access.Host.ScopeID.String() + "/"
	w.disk.listCold(w.packs())
	res, err := prune.Run(ctx, prune.Options{Repo: w.repo, Grace: prune.DefaultGrace, Region: region, DryRun: true, Refresh: prune.Refresh{Off: true}})
	if err != nil {
		return err
	}
	if res.Needed.Packs < int64(w.packs()) {
		return fmt.Errorf("%d packs are needed, of %d", res.Needed.Packs, w.packs())
	}
	return nil
}

// cpu is what this process has used, in seconds.
func cpu() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// peak is what this process has held at most; 0 where the system does not tell.
func peak() int64 {
	raw, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	kib, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return kib << 10
}

var counts sync.Mutex

func (c *counting) count(fn func(n *requests)) {
	counts.Lock()
	defer counts.Unlock()
	fn(&c.n)
}

// List implements store.Store.
func (c *counting) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	n := 0
	defer func() { c.count(func(r *requests) { r.List += max(1, (n+999)/1000) }) }()
	told := func(i store.Info) error {
		n++
		return fn(i)
	}
	if len(c.cold) > 0 && strings.HasPrefix(prefix, "data/") {
		for i := range c.cold {
			if info := c.pack(i); hasPrefix(info.Name, prefix, after) {
				if err := told(info); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return c.Store.List(ctx, prefix, after, told)
}

// Get implements store.Store.
func (c *counting) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	c.count(func(r *requests) { r.Get++ })
	return c.Store.Get(ctx, name, offset, length)
}

// Stat implements store.Store.
func (c *counting) Stat(ctx context.Context, name string) (store.Info, error) {
	c.count(func(r *requests) { r.Get++ })
	return c.Store.Stat(ctx, name)
}

// Put implements store.Store.
func (c *counting) Put(ctx context.Context, name string, in io.ReadSeeker, size int64, o store.PutOptions) error {
	c.count(func(r *requests) { r.Put++ })
	return c.Store.Put(ctx, name, in, size, o)
}

// newest is the last snapshot that is done.
func newest(scope *repo.ScopeState) *snapshot.Snapshot {
	var last *snapshot.Snapshot
	for _, it := range scope.Items {
		if it.Status() == snapshot.IsDone && (last == nil || it.Sequence > last.Sequence) {
			last = it.Snapshot
		}
	}
	return last
}
