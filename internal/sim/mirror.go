package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"firn/internal/bucket/buckettest"
	"firn/internal/event"
	"firn/internal/state"
	"firn/internal/sync"
	"firn/internal/sync/ledger"
)

// mirror is a real folder, the bucket that mirrors it, and what a host remembers of the two.
type mirror struct {
	folder string
	state  string
	lives  int
	names  int
	bucket *buckettest.Mem
	hook   func() error // asked before each request
	asked  int64        // requests that were counted
}

func (w *world) newMirror() (*mirror, error) {
	m := &mirror{folder: w.path("mirror", "folder"), state: w.path("mirror", "state")}
	m.bucket = buckettest.NewMem(buckettest.MemOptions{Now: w.clock.Now, Hook: func(string, string) error {
		if m.hook == nil {
			return nil
		}
		return m.hook()
	}})
	return m, os.MkdirAll(m.folder, 0o755)
}

// sync changes a folder, mirrors it, however often that takes, and expects the bucket, and what comes back from it, to be the same.
func (w *world) sync(s Step, rng *rand.Rand) (err error) {
	if w.mirror == nil {
		if w.mirror, err = w.newMirror(); err != nil {
			return err
		}
	}
	m := w.mirror
	for range 1 + rng.IntN(6) {
		if err := m.change(rng); err != nil {
			return err
		}
		w.counts.Changes++
	}
	if err := m.bucket.SetFaults(strings.ReplaceAll(s.Faults, ";", "\n")); err != nil {
		return err
	}
	up := sync.Options{From: sync.Place{Folder: m.folder}, To: sync.Place{Bucket: m.bucket, Name: "mem", Prefix: "p/"}}
	first := w.runSync(up, s.Kill, rng)
	if err := m.bucket.SetFaults(""); err != nil {
		return err
	}
	if first != nil && !s.disturbed() {
		return violated("a sync ends with: %w", first)
	}
	if s.disturbed() {
		if err := w.runSync(up, 0, rng); err != nil {
			return violated("a sync that nothing disturbs ends with: %w", err)
		}
	}
	want, err := contentOf(m.folder)
	if err != nil {
		return err
	}
	got := map[string]string{}
	for key, content := range m.bucket.Content() {
		got[strings.TrimPrefix(key, "p/")] = content
	}
	if err := equal(want, got); err != nil {
		return violated("a bucket is not as its folder: %w", err)
	}
	if rng.IntN(3) == 0 {
		err = w.mirrorBack(want, rng)
	}
	w.countBucket(m)
	return err
}

// mirrorBack brings the bucket into another folder, which may have something of it.
func (w *world) mirrorBack(want map[string]string, rng *rand.Rand) error {
	back := w.path("mirror", "back")
	if err := os.MkdirAll(back, 0o755); err != nil {
		return err
	}
	down := sync.Options{From: sync.Place{Bucket: w.mirror.bucket, Name: "mem", Prefix: "p/"}, To: sync.Place{Folder: back}}
	if rng.IntN(2) == 0 {
		_ = w.runSync(down, 1+rng.IntN(20), rng) // it dies
	}
	if err := w.runSync(down, 0, rng); err != nil {
		return violated("a sync into a folder ends with: %w", err)
	}
	got, err := contentOf(back)
	if err != nil {
		return err
	}
	if err := equal(want, got); err != nil {
		return violated("a folder is not as its bucket: %w", err)
	}
	return nil
}

// runSync syncs in a process that dies at a request; 0: it does not.
func (w *world) runSync(o sync.Options, kill int, rng *rand.Rand) error {
	m := w.mirror
	ctx, cancel := context.WithCancelCause(w.ctx)
	defer cancel(nil)
	var asked atomic.Int64
	used := m.state
	m.hook = func() error {
		n := asked.Add(1)
		if n == int64(kill) {
			m.lives++
			next := w.path("mirror", fmt.Sprint("state", m.lives))
			copyFolder(used, next)
			m.state = next
			cancel(errKilled)
		}
		if kill > 0 && n >= int64(kill) {
			return errKilled
		}
		return nil
	}
	defer func() { m.hook = nil }()
	id := [16]byte{1}
	if o.To.Folder != "" {
		id[1] = 1
	}
	book, err := ledger.Open(state.Dirs{State: used}, id, w.clock.Now(), func(error) {})
	if err != nil {
		return err
	}
	defer book.Close()
	o.Book, o.Delete, o.Guard, o.Connections = book, true, sync.Guard{Set: true, Percent: 100, Count: -1}, 1+rng.IntN(3)
	o.PartSize, o.Threshold = 0, 0
	o.Wait = func(ctx context.Context, d time.Duration) error { w.clock.pass(d); return ctx.Err() }
	o.Metadata = rng.IntN(2) == 0
	o.Events = func(e event.Event) {
		if p, ok := e.(event.Problem); ok {
			w.tell("sync has a problem with %q: %v", p.Path, p.Err)
		}
	}
	res, err := sync.Run(ctx, o)
	if err == nil && (res.Incomplete() || res.Undeleted > 0) {
		err = errors.New("something was left out")
	}
	return err
}

// change does one thing to the folder.
func (m *mirror) change(rng *rand.Rand) error {
	var files []string
	err := filepath.WalkDir(m.folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	text := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	op := rng.IntN(10)
	if len(files) == 0 || op < 4 && len(files) < 30 {
		m.names++
		path := filepath.Join(m.folder, fmt.Sprintf("d%d", rng.IntN(4)), fmt.Sprintf("%cä %d", 'a'+rune(rng.IntN(26)), m.names))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, text(rng.IntN(3000)), 0o644)
	}
	file := files[rng.IntN(len(files))]
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	switch op {
	case 4, 5:
		return os.Remove(file)
	case 6:
		m.names++
		return os.Rename(file, filepath.Join(m.folder, fmt.Sprintf("moved %d", m.names)))
	case 7: // what only ctime tells
		return errors.Join(os.WriteFile(file, text(int(st.Size())), 0o644), os.Chtimes(file, st.ModTime(), st.ModTime()))
	}
	return os.WriteFile(file, text(rng.IntN(3000)), 0o644)
}

func contentOf(root string) (map[string]string, error) {
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		out[filepath.ToSlash(rel)] = string(raw)
		return err
	})
	return out, err
}

// equal compares contents by name.
func equal(want, got map[string]string) error {
	for name, content := range want {
		if have, ok := got[name]; !ok || have != content {
			return fmt.Errorf("%q is there: %v, %d bytes of %d", name, ok, len(have), len(content))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			return fmt.Errorf("%q should be gone", name)
		}
	}
	return nil
}

// countBucket counts the requests to the bucket since the last time.
func (w *world) countBucket(m *mirror) {
	total := int64(0)
	for _, n := range m.bucket.Requests() {
		total += n
	}
	w.counts.Requests += total - m.asked
	m.asked = total
}
