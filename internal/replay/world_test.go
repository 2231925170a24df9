package replay_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/event"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/replay"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/source/stream"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// world is a repository in memory with snapshots of streams.
type world struct {
	t        testing.TB
	st       *mem.Store
	access   repo.Access
	dirs     state.Dirs
	base     string
	pack     int64
	content  map[string][]byte // by stream path
	mu       sync.Mutex
	problems []string
}

func newWorld(t testing.TB, o mem.Options) *world {
	base := t.TempDir()
	w := &world{t: t, st: mem.New(o), base: base, pack: 128 << 10, content: map[string][]byte{},
		dirs: state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}}
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(context.Background(), w.st, repo.InitOptions{
		Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas",
		Chunk:  &format.Chunk{Min: 64 << 10, Avg: 128 << 10, Max: 512 << 10},
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

func (w *world) open() (*repo.Repository, *repo.ScopeState) {
	w.t.Helper()
	r, err := repo.Open(context.Background(), w.st, w.access, repo.Options{})
	w.must(err)
	s, err := r.Load(context.Background(), w.access.Host.ScopeID, true)
	w.must(err)
	return r, s
}

// point is a state of a thing, whose ID is both; from empty: a full stream; outside: made elsewhere.
func point(of, at, from string) source.Point {
	p := source.Point{Stream: of + "-" + at, Of: of, At: at, ID: of + at, FromAt: from}
	if from != "" {
		p.Stream = of + "-" + from + "-" + at
		p.From = of + from
	}
	return p
}

// backup makes a snapshot of streams; what has no content yet gets none.
func (w *world) backup(base *snapshot.Item, points []source.Point, others ...string) snapshot.Item {
	w.t.Helper()
	r, s := w.open()
	var list []source.Stream
	add := func(path string) {
		list = append(list, source.Stream{Path: path, Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(w.content[path])), nil
		}})
	}
	for _, p := range points {
		if !p.Outside {
			add(p.Stream)
		}
	}
	for _, path := range others {
		add(path)
	}
	slices.SortFunc(list, func(a, b source.Stream) int { return strings.Compare(a.Path, b.Path) })
	tree, err := stream.NewTree(context.Background(), list, time.Now())
	w.must(err)
	key := w.access.Host.Scope().SourceKey()
	res, err := backup.Run(context.Background(), backup.Options{
		Repo: r, Scope: s, State: state.Open(w.dirs, r.ID(), func(err error) { w.t.Log(err) }), Tree: tree, Host: "nas", PackSize: w.pack,
		Source: snapshot.Origin{ID: snapshot.SourceID(key, "zfs", "nas", "", []byte("tank")), Kind: "zfs", Path: []byte("tank")},
		Detect: backup.DefaultDetect, Program: "test", Stream: &backup.Stream{Base: base, Points: points},
	})
	w.must(err)
	_, s = w.open()
	for _, it := range s.Items {
		if it.ID == res.Snapshot.ID {
			return it
		}
	}
	w.t.Fatal("the snapshot is not there")
	return snapshot.Item{}
}

// fill gives streams content.
func (w *world) fill(seed uint64, size int, paths ...string) {
	for i, path := range paths {
		w.content[path] = randomBytes(seed+uint64(i), size)
	}
}

func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// options are for replaying a snapshot.
func (w *world) options(it snapshot.Item) replay.Options {
	r, s := w.open()
	w.problems = nil
	return replay.Options{Repo: r, Scope: s, Items: s.Items, Item: it, Report: func(e event.Event) {
		if p, ok := e.(event.Problem); ok {
			w.mu.Lock()
			w.problems = append(w.problems, p.Path)
			w.mu.Unlock()
		}
	}}
}

func (w *world) streams(it snapshot.Item) *replay.Streams {
	w.t.Helper()
	s, err := replay.Open(w.t.Context(), w.options(it))
	w.must(err)
	return s
}

// packs lists the packs of content.
func (w *world) packs() []string {
	var names []string
	w.must(w.st.List(context.Background(), "data/", "", func(i store.Info) error {
		if !strings.HasSuffix(i.Name, ".par2") {
			names = append(names, i.Name)
		}
		return nil
	}))
	return names
}

func (w *world) object(name string) []byte {
	w.t.Helper()
	rc, err := w.st.Get(context.Background(), name, 0, -1)
	w.must(err)
	defer func() { _ = rc.Close() }()
	b, err := io.ReadAll(rc)
	w.must(err)
	return b
}

// chain plants a full snapshot and increments of two things, and a stream that is no state of anything.
func (w *world) chain(n, size int) []snapshot.Item {
	w.t.Helper()
	var items []snapshot.Item
	for k := range n {
		at, from := fmt.Sprint(k+1), fmt.Sprint(k)
		var base *snapshot.Item
		if k == 0 {
			from = ""
		} else {
			base = &items[k-1]
		}
		points := []source.Point{point("a", at, from), point("b", at, from)}
		w.fill(uint64(100*k), size, points[0].Stream, points[1].Stream)
		if k > 0 { // part of what was there before
			before := w.content[items[k-1].Points[0].Stream]
			copy(w.content[points[0].Stream][size/4:], before[size/4:size/2])
		}
		w.content["globals"] = fmt.Appendf(nil, "globals %d", k)
		items = append(items, w.backup(base, points, "globals"))
	}
	return items
}

// target is a place that takes streams: for each thing, what was replayed.
type target struct {
	mu     sync.Mutex
	has    map[string][]string // IDs of states
	got    map[string][]byte   // content, by path
	took   []string            // paths, in order
	fail   string              // a path whose stream is refused
	stop   func(path string, n int) bool
	before func()
}

func newTarget() *target { return &target{has: map[string][]string{}, got: map[string][]byte{}} }

func (x *target) Missing(_ context.Context, links []source.Link) ([]source.Link, error) {
	var out []source.Link
	for _, l := range links {
		have := x.has[l.Point.Of]
		if l.Point.ID != "" && slices.Contains(have, l.Point.ID) {
			continue
		}
		inList := slices.ContainsFunc(links, func(o source.Link) bool { return o.Point.Of == l.Point.Of && o.Point.ID == l.Point.From })
		if l.Point.From != "" && !slices.Contains(have, l.Point.From) && !inList {
			return nil, &source.TargetError{Target: "target", Reason: fmt.Sprintf("does not have %q", l.Point.FromAt)}
		}
		out = append(out, l)
	}
	return out, nil
}

func (x *target) Take(ctx context.Context, l source.Link) error {
	r, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if l.Path == x.fail {
		return &source.ProducerError{Program: "receive", Err: fmt.Errorf("exit status 1")}
	}
	if l.Point.From != "" && !slices.Contains(x.has[l.Point.Of], l.Point.From) {
		return &source.TargetError{Target: "target", Reason: "does not have " + l.Point.From}
	}
	var b bytes.Buffer
	buf := make([]byte, 100_000)
	for {
		n, err := r.Read(buf)
		b.Write(buf[:n])
		if x.stop != nil && x.stop(l.Path, b.Len()) {
			return context.Canceled
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if x.before != nil {
		x.before()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.got[l.Path] = b.Bytes()
	x.took = append(x.took, l.Path)
	if l.Point.ID != "" {
		x.has[l.Point.Of] = append(x.has[l.Point.Of], l.Point.ID)
	}
	return nil
}

// check compares what was taken with what was backed up.
func (x *target) check(w *world, want ...string) {
	w.t.Helper()
	if !slices.Equal(x.took, want) {
		w.t.Errorf("took %q, want %q", x.took, want)
	}
	for path, b := range x.got {
		if !bytes.Equal(b, w.content[path]) {
			w.t.Errorf("%s: %d bytes differ from %d", path, len(b), len(w.content[path]))
		}
	}
}
