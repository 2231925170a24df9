package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firn/internal/advice"
	"firn/internal/backup"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
)

// counter is a source that knows its own states by number, as a file system with snapshots does.
type counter struct {
	state int    // it has now
	lost  bool   // what it had before, it has no more
	fails error  // of the stream
	end   error  // of Batch.End
	told  string // notes of the batch

	heard [][]source.Have
	ends  []bool
	mid   func() // called while the stream runs
}

func (p *counter) Prepare(_ context.Context, have []source.Have) (*source.Batch, error) {
	p.heard = append(p.heard, have)
	point := source.Point{Stream: "s", Of: "counter", At: fmt.Sprint("state ", p.state), ID: fmt.Sprint(p.state)}
	b := &source.Batch{Base: -1, End: func(_ context.Context, done bool) error { p.ends = append(p.ends, done); return p.end }}
	if len(have) > 0 && !p.lost {
		b.Base, point.From, point.FromAt = 0, have[0].Points[0].ID, have[0].Points[0].At
	}
	if p.told != "" {
		b.Notes = []string{p.told}
	}
	text := fmt.Sprintf("from %q to %q", point.FromAt, point.At)
	b.Points = []source.Point{point}
	b.Streams = []source.Stream{{Path: "s", Open: func(context.Context) (io.ReadCloser, error) {
		if p.mid != nil {
			p.mid()
		}
		return io.NopCloser(io.MultiReader(strings.NewReader(text), ending{p.fails})), nil
	}}}
	return b, nil
}

// ending ends a stream, well or not.
type ending struct{ err error }

func (e ending) Read([]byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return 0, io.EOF
}

// bench is a repository for the backup command.
type bench struct {
	t    *testing.T
	dir  string
	c    *console
	said func() string
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir()}
	for name, value := range map[string]string{"FIRN_REPO": "repo", "FIRN_CACHE_DIR": "cache", "FIRN_STATE_DIR": "state"} {
		t.Setenv(name, filepath.Join(b.dir, value))
	}
	t.Setenv("FIRN_HOST", "nas")
	key := filepath.Join(b.dir, "key.txt")
	t.Setenv("FIRN_IDENTITY", key)
	const recipient, identity = "age1kmv0u9w79vqqlgtz8ctsfuknazl6ef7zvmct4m76l3dfucn56avsmpv8de", "AGE-SECRET-KEY-17C8P4MUSKXSEDJY04T4F2PVL2AK74ANADX7AY482V2LDWHLMYJSQ9FR5QA"
	if err := os.WriteFile(key, []byte(identity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err, err2 := os.Create(filepath.Join(b.dir, "stderr"))
	if err2 != nil {
		t.Fatal(err2)
	}
	null, err2 := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err2 != nil {
		t.Fatal(err2)
	}
	t.Cleanup(func() { _ = err.Close(); _ = null.Close() })
	b.c = newConsole(null, null, err)
	at := int64(0)
	b.said = func() string {
		raw, wrong := os.ReadFile(err.Name())
		if wrong != nil {
			t.Fatal(wrong)
		}
		text := string(raw[at:])
		at = int64(len(raw))
		return text
	}
	root := newRoot(b.c)
	root.SetArgs([]string{"init", "--recipient", recipient, "--kit-saved", "-q"})
	if wrong := root.ExecuteContext(t.Context()); wrong != nil {
		t.Fatal(wrong)
	}
	b.c.quiet = false
	return b
}

// run makes one backup, with the same steps as the command.
func (b *bench) run(p source.Producer, change ...func(*backupCommand)) error {
	b.t.Helper()
	x := &backupCommand{c: b.c, memory: defaultMemory()}
	for _, fn := range change {
		fn(x)
	}
	r := root{given: "counter:x", path: "x", made: &produced{"counter", "x", func(source.Host) (source.Producer, error) { return p, nil }}}
	plan := plan{detect: backup.DefaultDetect, roots: []root{r}}
	s, scope, err := x.open(b.t.Context(), plan)
	if err != nil {
		b.t.Fatal(err)
	}
	defer s.close()
	return x.backUp(b.t.Context(), s, scope, plan, r)
}

// items are all snapshots, and the scope that they lie in.
func (b *bench) items() (*repo.ScopeState, []snapshot.Item) {
	b.t.Helper()
	x := &backupCommand{c: b.c, memory: defaultMemory()}
	s, scope, err := x.open(b.t.Context(), plan{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(s.close)
	if err := s.ready(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return scope, scope.Items
}

// newest is the last snapshot that is done.
func (b *bench) newest() *snapshot.Item {
	_, items := b.items()
	var last *snapshot.Item
	for i := range items {
		if items[i].Status() == snapshot.IsDone && (last == nil || items[i].Sequence > last.Sequence) {
			last = &items[i]
		}
	}
	return last
}

// TestBaseIsChosen goes through the life of a chain.
func TestBaseIsChosen(t *testing.T) {
	b := newBench(t)
	p := &counter{}
	next := func(want error, change ...func(*backupCommand)) *snapshot.Item {
		t.Helper()
		p.state++
		p.heard, p.ends = nil, nil
		if err := b.run(p, change...); !errors.Is(err, want) {
			t.Fatalf("state %d: %v", p.state, err)
		}
		return b.newest()
	}
	first := next(nil)
	if !first.Base.IsZero() || len(p.heard[0]) != 0 || len(p.ends) != 1 || !p.ends[0] {
		t.Fatalf("the first: %v, heard %v, ended %v", first.Base, p.heard, p.ends)
	}
	second := next(nil)
	third := next(nil)
	if second.Base != first.ID || third.Base != second.ID || len(p.heard[0]) != 2 || p.heard[0][0].Points[0].ID != "2" {
		t.Errorf("a chain: %v, %v; heard %v", second.Base, third.Base, p.heard)
	}

	// A producer that fails: no snapshot, and it hears so.
	p.fails = &source.ProducerError{Program: "counter", Err: errors.New("exit status 1")}
	if last := next(p.fails); last.ID != third.ID || len(p.ends) != 1 || p.ends[0] {
		t.Errorf("after a failure: %v, ended %v", last.ID, p.ends)
	}
	p.fails = nil

	// What comes after fails: the snapshot is there, the exit code says it.
	p.end = errors.New("dataset is busy")
	p.state++
	err := b.run(p)
	fourth := b.newest()
	if advice.Code(err) != advice.Incomplete || fourth.Base != third.ID || !strings.Contains(b.said(), "dataset is busy") {
		t.Errorf("after a failure of the end: %v", err)
	}
	p.end = nil

	// The source has no common state any more.
	p.lost = true
	if full := next(nil); !full.Base.IsZero() || full.Epoch != first.Epoch || !strings.Contains(b.said(), "stored in full") {
		t.Errorf("a lost base: %v", full.Base)
	}
	p.lost = false
	if last := next(nil); last.Base.IsZero() {
		t.Error("the chain does not go on")
	}

	// A new epoch depends on nothing.
	full := next(nil, func(x *backupCommand) { x.full = true })
	if !full.Base.IsZero() || full.Epoch == first.Epoch || len(p.heard[0]) != 0 {
		t.Errorf("--full: %v in epoch %d, heard %v", full.Base, full.Epoch, p.heard)
	}
	if last := next(nil); last.Base != full.ID || last.Epoch != full.Epoch || len(p.heard[0]) != 1 {
		t.Errorf("after --full: %v, heard %v", last.Base, p.heard)
	}

	// Nothing is stored, and the source hears so.
	before := b.newest()
	if last := next(nil, func(x *backupCommand) { x.dryRun = true }); last.ID != before.ID || len(p.ends) != 1 || p.ends[0] {
		t.Errorf("a dry run: %v, ended %v", last.ID, p.ends)
	}
}

// retire gives up the packs of a snapshot.
func (b *bench) retire(it *snapshot.Item) {
	b.t.Helper()
	scope, _ := b.items()
	names, err := scope.PackNames(b.t.Context(), it.Snapshot)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := scope.Retire(b.t.Context(), names, nil); err != nil {
		b.t.Fatal(err)
	}
}

// TestBaseIsLost: what the repository has given up, before or while a backup runs, is no base; everything is stored in full then, which is told.
func TestBaseIsLost(t *testing.T) {
	for _, when := range []string{"before", "meanwhile", "the snapshot itself"} {
		b := newBench(t)
		p := &counter{state: 1}
		if err := b.run(p); err != nil {
			t.Fatal(err)
		}
		first := b.newest()
		p.state, p.heard, p.ends = 2, nil, nil
		if err := b.run(p); err != nil {
			t.Fatal(err)
		}
		p.state, p.heard, p.ends = 3, nil, nil
		tries := []bool{true}
		switch when {
		case "before":
			b.retire(first)
		case "meanwhile":
			p.mid = func() { p.mid = nil; b.retire(first) }
			tries = []bool{false, true}
		case "the snapshot itself":
			for _, name := range []string{first.ID.String(), first.ID.String() + ".done"} {
				gone, err := filepath.Glob(filepath.Join(b.dir, "repo", "snapshots", "*", name))
				if err != nil || len(gone) != 1 {
					t.Fatal(gone, err)
				}
				if err := os.Remove(gone[0]); err != nil {
					t.Fatal(err)
				}
			}
		}
		b.said()
		if err := b.run(p); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if last := b.newest(); !last.Base.IsZero() || last.Points[0].ID != "3" {
			t.Errorf("%s: %v", when, last.Base)
		}
		if fmt.Sprint(p.ends) != fmt.Sprint(tries) {
			t.Errorf("%s: ended %v", when, p.ends)
		}
		if said := b.said(); !strings.Contains(said, "nothing can start from snapshot") && !strings.Contains(said, "cannot be relied on") {
			t.Errorf("%s: said %q", when, said)
		}
	}
}

func TestSettings(t *testing.T) {
	got, err := settings([]string{"a=1", "b", "c=x=y", "d="})
	if err != nil || fmt.Sprint(got) != "map[a:1 b: c:x=y d:]" {
		t.Error(got, err)
	}
	if _, err := settings([]string{"a=1", "a=2"}); advice.Code(err) != advice.Usage {
		t.Error(err)
	}
}

func TestChainText(t *testing.T) {
	at := time.Unix(1, 0)
	point := snapshot.Point{Stream: "s", Of: "x", At: "a", ID: "1"}
	make := func(n byte, base byte, seq uint64) snapshot.Item {
		s := &snapshot.Snapshot{ID: snapshot.ID{n}, Start: at, Sequence: seq, Complete: true, Points: []snapshot.Point{point}}
		if base > 0 {
			s.Base = snapshot.ID{base}
		}
		return snapshot.Item{Snapshot: s, Marked: true}
	}
	full, second, third := make(1, 0, 1), make(2, 1, 2), make(3, 2, 3)
	items := []snapshot.Item{full, second, third}
	for want, c := range map[string]*chainJSON{
		"full": chainOf(items, full), "3, on 02000000": chainOf(items, third), "broken, on 02000000": chainOf(items[2:], third), "": chainOf(items, snapshot.Item{Snapshot: &snapshot.Snapshot{}}),
	} {
		if got := c.text(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
