package cost_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/cost"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/prune"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store/mem"
)

// world is a repository in memory, and folders that are backed up into it.
type world struct {
	t      *testing.T
	now    time.Time
	st     *mem.Store
	access repo.Access
	local  *state.State
	base   string
}

func newWorld(t *testing.T, class string) *world {
	w := &world{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), base: t.TempDir()}
	w.st = mem.New(mem.Options{Now: func() time.Time { return w.now }})
	to, err := keys.Passphrase([]byte("phrase"), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(context.Background(), w.st, repo.InitOptions{Keys: []repo.NewKey{{Label: "k", Recipient: to}}, HostName: "nas", DataClass: class, Now: func() time.Time { return w.now }})
	w.must(err)
	w.local = state.Open(state.Dirs{Cache: filepath.Join(w.base, "cache"), State: filepath.Join(w.base, "state")}, w.open().ID(), func(error) {})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() *repo.Repository {
	r, err := repo.Open(context.Background(), w.st, w.access, repo.Options{Now: func() time.Time { return w.now }})
	w.must(err)
	return r
}

func (w *world) load() *repo.ScopeState {
	s, err := w.open().Load(context.Background(), w.access.Host.ScopeID, true)
	w.must(err)
	return s
}

func (w *world) write(source, name, content string) {
	path := filepath.Join(w.base, "src", source, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, []byte(content), 0o644))
}

func (w *world) backup(source string) *snapshot.Snapshot {
	w.t.Helper()
	path := filepath.Join(w.base, "src", source)
	tree, err := dir.Open(path, dir.Options{})
	w.must(err)
	defer tree.Close()
	r := w.open()
	scope, err := r.Load(context.Background(), w.access.Host.ScopeID, true)
	w.must(err)
	res, err := backup.Run(context.Background(), backup.Options{Repo: r, Scope: scope, State: w.local, Tree: tree, Names: tree.Names, Host: "nas", Detect: backup.Detect{}, Program: "test", Now: func() time.Time { return w.now },
		Source: snapshot.Origin{ID: snapshot.SourceID(w.access.Host.Scope().SourceKey(), "dir", "nas", "", []byte(path)), Kind: "dir", Path: []byte(path)}})
	w.must(err)
	return res.Snapshot
}

// needed is how many bytes of packs snapshots need once some are gone, as the verb that deletes says.
func (w *world) needed(gone ...snapshot.ID) prune.Amount {
	w.t.Helper()
	res, err := prune.Run(context.Background(), prune.Options{Repo: w.open(), Forget: gone, Last: true, DryRun: true, Refresh: prune.Refresh{Off: true}, Now: func() time.Time { return w.now }, Region: w.region()})
	w.must(err)
	return res.Needed
}

func (w *world) region() *price.Region {
	r, err := price.Default().Region("aws", "us-east-1")
	w.must(err)
	return r
}

// TestSharing: what each snapshot and each source would free is what a pruner would find unneeded without them.
func TestSharing(t *testing.T) {
	w := newWorld(t, "GLACIER")
	r := rand.New(rand.NewPCG(7, 7))
	text := func() string { return strings.Repeat(fmt.Sprintf("%x ", r.Uint64()), 1000+r.IntN(4000)) }
	large := make([]byte, 6<<20)
	for i := range large {
		large[i] = byte(r.Uint32())
	}
	shared := string(large)
	for _, s := range []string{"a", "b", "c"} {
		w.write(s, "shared", shared) // one pack of the first source, which the others need, too
	}
	bySource := map[snapshot.Source][]snapshot.ID{}
	for range 6 {
		for _, s := range []string{"a", "b", "c"} {
			if r.IntN(3) == 0 && len(bySource) == 3 {
				continue
			}
			w.write(s, fmt.Sprint(r.IntN(3)), text())
			snap := w.backup(s)
			bySource[snap.Source.ID] = append(bySource[snap.Source.ID], snap.ID)
			w.now = w.now.Add(25 * 24 * time.Hour)
		}
	}
	scope := w.load()
	var sharing cost.Sharing
	w.must(sharing.Add(context.Background(), scope, scope.Items))
	sum := sharing.Sum(w.region(), w.now)
	all := w.needed()
	if len(sharing.Unread) > 0 || sum.All.Bytes != all.Bytes || sum.Nobody.Packs != 0 || sum.Common.Bytes == 0 {
		t.Fatalf("%+v, pruner: %+v", sum, all)
	}
	check := func(what string, f cost.Freed, left prune.Amount) {
		if f.Bytes != all.Bytes-left.Bytes || f.Packs != all.Packs-left.Packs || math.Abs(float64(f.Month-(all.Month-left.Month))) > 1e-12 {
			t.Errorf("%s: %+v, pruner: %+v of %+v left", what, f, left, all)
		}
		if waits := f.Now < f.Bytes; waits != (f.Early > 0) || waits == f.Last.IsZero() || waits && (f.First.Before(w.now) || f.Last.Before(f.First)) {
			t.Errorf("%s: %+v at %v", what, f, w.now)
		}
	}
	some := false
	for source, ids := range bySource {
		check(source.String(), sum.Sources[source], w.needed(ids...))
		for _, id := range ids {
			check(id.String(), sum.Snapshots[id], w.needed(id))
			some = some || sum.Snapshots[id].Early > 0
		}
	}
	if !some {
		t.Error("no least stay is under way")
	}
	later := sharing.Sum(w.region(), w.now.AddDate(1, 0, 0))
	if later.All.Now != later.All.Bytes || later.All.Early != 0 || !later.All.Last.IsZero() {
		t.Errorf("a year later: %+v", later.All)
	}
	// What is forgotten counts as gone.
	items := scope.Items
	for i := range items {
		items[i].Forgotten = items[i].Source.ID == items[0].Source.ID
	}
	var without cost.Sharing
	w.must(without.Add(context.Background(), scope, items))
	if got := without.Sum(w.region(), w.now); got.Nobody.Bytes != sum.Sources[items[0].Source.ID].Bytes || got.Nobody.Bytes == 0 {
		t.Errorf("forgotten: %+v, want %+v", got.Nobody, sum.Sources[items[0].Source.ID])
	}
}

// TestSharingDamaged: a pack set that is gone is told, and the others count.
func TestSharingDamaged(t *testing.T) {
	w := newWorld(t, "STANDARD")
	w.write("a", "x", strings.Repeat("x", 5000))
	first := w.backup("a")
	w.now = w.now.Add(time.Hour)
	w.write("a", "y", strings.Repeat("y", 5000))
	w.backup("a")
	scope := w.load()
	w.must(w.st.Delete(context.Background(), scope.PartName(first.Packs[0])))
	var sharing cost.Sharing
	w.must(sharing.Add(context.Background(), scope, scope.Items))
	if len(sharing.Unread) != 1 || sharing.Sum(w.region(), w.now).All.Packs == 0 {
		t.Errorf("%v", sharing.Unread)
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if err := new(cost.Sharing).Add(stopped, scope, scope.Items); err == nil {
		t.Error("it goes on")
	}
	if got := new(cost.Sharing).Sum(w.region(), w.now); got.All.Packs != 0 {
		t.Errorf("%+v of nothing", got)
	}
}

// TestBirths: what indexes know adds up to what Estimate says, and costs what its time and its class say.
func TestBirths(t *testing.T) {
	w := newWorld(t, "DEEP_ARCHIVE")
	for i := range 3 {
		w.write("a", fmt.Sprint(i), strings.Repeat(fmt.Sprint(i), 50_000))
		w.backup("a")
		w.now = w.now.AddDate(0, 1, 0)
	}
	e := cost.NewEstimator(w.region(), w.now)
	w.must(e.Add(w.load().Set()))
	objects, bytes := e.Inventory().Total()
	months := price.Money(0)
	for i, b := range e.Births() {
		objects, bytes = objects-b.Objects, bytes-b.Bytes
		if i > 0 && e.Births()[i-1].Day.After(b.Day) || !b.Day.Equal(b.Day.Truncate(24*time.Hour)) {
			t.Errorf("%d: %+v", i, b)
		}
		months += w.region().HoldMonths(b.Class, b.Objects, b.Billed, price.Months(b.Day, w.now)).Total() + w.region().Put(b.Class, b.Objects, b.Bytes).Cost
	}
	if objects != 0 || bytes != 0 || len(e.Births()) != 6 {
		t.Errorf("%d objects and %d bytes are missing: %+v", objects, bytes, e.Births())
	}
	if got := cost.ToDate(w.region(), e.Births(), w.now); math.Abs(float64(got-months)) > 1e-12 || got <= 0 {
		t.Errorf("%v, want %v", got, months)
	}
	if got := cost.ToDate(w.region(), e.Births(), w.now.AddDate(-10, 0, 0)); got < 0 {
		t.Errorf("a clock that is behind: %v", got)
	}
}
