package frozen

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/check"
	"firn/internal/chunk"
	"firn/internal/envelope"
	"firn/internal/frame"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/manifest/linetree"
	"firn/internal/pack"
	"firn/internal/packset"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/store/local"
	"firn/internal/target"
)

// hostileCase is one snapshot of a hostile repository, and what becomes of it.
type hostileCase struct {
	Case     string   `json:"case"`
	ID       string   `json:"id"`
	Refused  string   `json:"refused,omitempty"`  // why it is no snapshot at all
	Listed   []string `json:"listed,omitempty"`   // paths
	List     string   `json:"list,omitempty"`     // why the list ends early
	Restored []string `json:"restored,omitempty"` // mode, size and path of what a restore makes
	Failed   []string `json:"failed,omitempty"`   // paths that a restore names as failed, and why
	Restore  string   `json:"restore,omitempty"`  // why the restore ends early
	Exit     int      `json:"exit"`               // exit code of the restore
}

// hostileExpected is expected.json of a hostile repository.
type hostileExpected struct {
	About      string        `json:"about"`
	Passphrase string        `json:"passphrase"`
	Damaged    []string      `json:"damaged"`  // why objects are not used, by folder
	Findings   []string      `json:"findings"` // of a check that reads everything: kind and folder
	Check      string        `json:"check,omitempty"`
	Cases      []hostileCase `json:"cases"`
}

// byFileSystem are cases of which file systems take some and refuse others.
var byFileSystem = map[string]bool{"hole of 2^62": true, "data behind 2^62": true}

// why names the kind of an error, not its words.
func why(err error) string {
	var line *manifest.LineError
	var tree *linetree.CorruptError
	var version *snapshot.VersionError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return "time is up"
	case errors.As(err, &line):
		return "manifest line"
	}
	for _, c := range []struct {
		name string
		is   error
	}{
		{"target path", target.ErrPath}, {"in the way", target.ErrInTheWay}, {"not empty", target.ErrNotEmpty}, {"unknown chunk", repo.ErrUnknownChunk}, {"frame limit", frame.ErrLimit}, {"frame", frame.ErrCorrupt},
		{"envelope limit", envelope.ErrLimit}, {"envelope", envelope.ErrFormat}, {"pack table", pack.ErrTable}, {"chunk entry", chunk.ErrEntry}, {"index pack", index.ErrPack}, {"index", index.ErrBody},
		{"pack set", packset.ErrBody}, {"body", snapshot.ErrBody}, {"forged", repo.ErrForged}, {"not there", fs.ErrNotExist}, {"path is too long", syscall.ENAMETOOLONG}, {"no folder", syscall.ENOTDIR},
		{"too large", syscall.EFBIG}, {"value", syscall.EINVAL}, {"not there", restore.ErrNotThere},
	} {
		if errors.Is(err, c.is) {
			return c.name
		}
	}
	switch {
	case errors.As(err, &version):
		return "version"
	case errors.As(err, &tree):
		return "tree"
	}
	return "other"
}

// opened is a hostile repository in a folder.
type opened struct {
	t      *testing.T
	ctx    context.Context
	frozen frozenRepository
	root   string
	store  *local.Store
	access repo.Access
}

func openHostile(t *testing.T, ctx context.Context, f frozenRepository) *opened {
	o := &opened{t: t, ctx: ctx, frozen: f, root: filepath.Join(t.TempDir(), "repository")}
	r := tar.NewReader(bytes.NewReader(f.read(t, "repository.tar")))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		o.must(err)
		raw, err := io.ReadAll(r)
		o.must(err)
		name := filepath.Join(o.root, h.Name)
		o.must(os.MkdirAll(filepath.Dir(name), 0o755))
		o.must(os.WriteFile(name, raw, 0o644))
	}
	var err error
	o.store, err = local.Open(o.root, local.Options{})
	o.must(err)
	host, err := keys.ParseHostKey(f.read(t, "host.key"))
	o.must(err)
	own, err := keys.ParseIdentities("own.key", keys.Reading{ReadFile: func(string) ([]byte, error) { return f.read(t, "own.key"), nil }})
	o.must(err)
	secrets, err := repo.Unlock(ctx, o.store, own[0])
	o.must(err)
	o.access = repo.Access{Secrets: secrets, Host: host}
	return o
}

func (o *opened) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// folder of an object, without what differs.
func folder(name string) string {
	first, _, _ := strings.Cut(name, "/")
	if strings.HasSuffix(name, ".done") {
		first += " mark"
	}
	return first
}

// look does everything that only reads, and restores each snapshot into a folder of its own.
func (o *opened) look(cases []hostileCase) (e hostileExpected) {
	o.t.Helper()
	r, err := repo.Open(o.ctx, o.store, o.access, repo.Options{})
	o.must(err)
	s, err := r.Load(o.ctx, o.access.Host.ScopeID, true)
	o.must(err)
	refused := map[string]string{}
	for _, err := range s.Damaged {
		var object *repo.ObjectError
		if !errors.As(err, &object) {
			o.t.Errorf("nobody says which object: %v", err)
			continue
		}
		e.Damaged = append(e.Damaged, folder(object.Name)+": "+why(err))
		if first, name, ok := strings.Cut(object.Name, "/"); ok && first == "snapshots" {
			refused[name[strings.LastIndexByte(name, '/')+1:]] = why(err)
		}
	}
	for _, h := range snapshot.Histories(s.Items) {
		_ = h.Verify()
	}
	_ = browse.Snapshots(s.Items, browse.Filter{})
	for _, c := range cases {
		n := slices.IndexFunc(s.Items, func(it snapshot.Item) bool { return it.ID.String() == c.ID })
		c = hostileCase{Case: c.Case, ID: c.ID}
		switch {
		case n < 0:
			c.Refused = cmp.Or(refused[c.ID], "not counted")
			c.Exit = advice.Code(snapshot.ErrNone)
		default:
			_, _ = snapshot.Chain(s.Items, s.Items[n].ID)
			o.list(&c, r, s, s.Items[n])
			o.restore(&c, r, s, s.Items[n])
		}
		e.Cases = append(e.Cases, c)
	}
	o.check(&e)
	slices.Sort(e.Damaged)
	return e
}

func (o *opened) list(c *hostileCase, r *repo.Repository, s *repo.ScopeState, it snapshot.Item) {
	v, err := browse.Open(o.ctx, r, s, it.Snapshot)
	if err == nil {
		defer v.Close()
		err = v.List(browse.ListOptions{Recursive: true, Self: true}, func(e *browse.Entry) error {
			c.Listed = append(c.Listed, short(string(e.Path)))
			return nil
		})
	}
	c.List = why(err)
}

// short is a path as expected.json has it.
func short(path string) string {
	if len(path) > 200 {
		return fmt.Sprintf("%.20s… of %d bytes", path, len(path))
	}
	return path
}

// restore restores into a folder beside others that must stay as they are.
func (o *opened) restore(c *hostileCase, r *repo.Repository, s *repo.ScopeState, it snapshot.Item) {
	guard := newGuard(o.t)
	var mu sync.Mutex
	failed := map[string]bool{}
	result, err := restore.Run(o.ctx, restore.Options{Repo: r, Scope: s, Snapshot: it.Snapshot, Target: guard.target, Workers: 2, NoOwner: !isRoot(), Each: func(i restore.Item) {
		if i.Action == restore.Fail {
			mu.Lock()
			defer mu.Unlock()
			failed[short(string(i.Path))] = true
		}
	}})
	c.Restore = why(err)
	if result != nil {
		for _, d := range result.Damaged {
			delete(failed, short(string(d.Path)))
			failed[short(string(d.Path))+": "+why(d.Err)] = true
		}
		if result.Failed > 0 {
			c.Exit = advice.Incomplete
		}
	}
	if err != nil {
		c.Exit = advice.Code(err)
	}
	c.Failed = slices.Sorted(maps.Keys(failed))
	c.Restored = guard.restored()
	guard.unharmed(c.Case)
}

// guard is a folder with a target in it, and with what must not be touched.
type guard struct {
	t              *testing.T
	parent, target string
	before         []string
}

// outside are names that cases try to make.
var outside = []string{"/tmp/firn-hostile-x", "/tmp/firn-hostile-y"}

func newGuard(t *testing.T) *guard {
	t.Helper()
	parent := t.TempDir()
	g := &guard{t: t, parent: parent, target: filepath.Join(parent, "within", "target")}
	for _, f := range []string{"victim", "within/victim"} {
		path := filepath.Join(parent, f)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("stays"), 0o640), os.Chtimes(path, time.Time{}, time.Unix(1_500_000_000, 0))); err != nil {
			t.Fatal(err)
		}
	}
	g.before = g.walk(func(path string) bool { return path == g.target })
	return g
}

// walk tells everything about what is in the folder, but for what skip chooses.
func (g *guard) walk(skip func(path string) bool) (all []string) {
	g.t.Helper()
	err := filepath.WalkDir(g.parent, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if skip(path) {
			return fs.SkipDir
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%s %o %d:%d", path, st.Mode, st.Uid, st.Gid)
		if !d.IsDir() {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d names, %v, %q", st.Nlink, st.Mtim, raw)
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return all
}

// restored is what is in the target now. Files of which a file system may have its own view are left out by the caller.
func (g *guard) restored() (all []string) {
	_ = filepath.WalkDir(g.target, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == g.target {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%v %s", info.Mode(), short(path[len(g.target)+1:]))
		if info.Mode().IsRegular() {
			line += fmt.Sprintf(" %d", info.Size())
		}
		all = append(all, line)
		return nil
	})
	return all
}

// unharmed compares what lies around the target with what was there.
func (g *guard) unharmed(what string) {
	g.t.Helper()
	if now := g.walk(func(path string) bool { return path == g.target }); !slices.Equal(now, g.before) {
		g.t.Errorf("%s: outside of the target there was\n%s\nthere is\n%s", what, strings.Join(g.before, "\n"), strings.Join(now, "\n"))
	}
	for _, name := range outside {
		if _, err := os.Lstat(name); err == nil {
			g.t.Errorf("%s: %s was made", what, name)
		}
	}
}

// check reads everything.
func (o *opened) check(e *hostileExpected) {
	c, err := check.Open(o.ctx, check.Options{Store: o.store, Access: &o.access, Dir: o.t.TempDir(), Seed: 1, Workers: 2})
	if err == nil {
		defer c.Close()
		var p *check.Plan
		if p, err = c.Plan(o.ctx, check.Wish{Metadata: true, Sums: 1, Read: check.Share{All: true}}); err == nil {
			err = errors.Join(c.Sums(o.ctx, p), c.Metadata(o.ctx), c.Read(o.ctx, p))
		}
	}
	if e.Check = why(err); err != nil {
		return
	}
	report, err := c.Report(o.ctx)
	e.Check = why(err)
	if err == nil {
		for _, f := range report.Findings {
			e.Findings = append(e.Findings, string(f.Kind)+" "+folder(f.Object))
		}
	}
	slices.Sort(e.Findings)
}

// hostileRepositories are all that are there.
func hostileRepositories(t testing.TB) (all []frozenRepository) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(testdata, "hostile", "*", "*", "repository.tar"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no hostile repository: %v", err)
	}
	for _, d := range dirs {
		all = append(all, frozenRepository{filepath.Dir(d)})
	}
	return all
}

// memory that the heap may grow by while a hostile repository is looked at: one or two bodies at their limits, and what waits for the collector.
const memory = 600 << 20

// TestHostileRepositories: whatever somebody with the keys of a host writes is refused or comes to nothing, what is good beside it comes back, nothing is
// written outside the target, and neither memory nor time run away.
func TestHostileRepositories(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(50)) // as the program has it
	for _, f := range hostileRepositories(t) {
		t.Run(f.name(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			var want hostileExpected
			if err := json.Unmarshal(f.read(t, "expected.json"), &want); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := openHostile(t, ctx, f).look(want.Cases)
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > memory {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			}
			got.About, got.Passphrase = want.About, want.Passphrase
			if strings.HasSuffix(f.dir, "special") && !isRoot() {
				t.Skip("owners and device files come back for root only")
			}
			sameOutcome(t, want, got)
		})
	}
}

func sameOutcome(t *testing.T, want, got hostileExpected) {
	t.Helper()
	for n, w := range want.Cases {
		g := got.Cases[n]
		if byFileSystem[w.Case] {
			w.Restored, g.Restored, w.Failed, g.Failed, w.Exit, g.Exit = nil, nil, nil, nil, 0, 0
		}
		if a, b := text(t, w), text(t, g); a != b {
			t.Errorf("%s: want\n%s\ngot\n%s", w.Case, a, b)
		}
	}
	want.Cases, got.Cases = nil, nil
	if a, b := text(t, want), text(t, got); a != b {
		t.Errorf("want\n%s\ngot\n%s", a, b)
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestRecoverHostile: recover.py, which checks no signatures, writes nothing outside its target either.
func TestRecoverHostile(t *testing.T) {
	need(t, "python3", "age", "zstd")
	for _, name := range []string{"paths", "order", "links"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := frozenRepository{filepath.Join(testdata, "hostile", "v1", name)}
			var want hostileExpected
			if err := json.Unmarshal(f.read(t, "expected.json"), &want); err != nil {
				t.Fatal(err)
			}
			o := openHostile(t, t.Context(), f)
			script, err := os.ReadFile("../repo/recovery/recover.py")
			o.must(err)
			o.must(os.WriteFile(filepath.Join(o.root, "recover.py"), script, 0o644))
			own := filepath.Join(t.TempDir(), "own.key")
			o.must(os.WriteFile(own, f.read(t, "own.key"), 0o600))
			key := openKey(t, o.root, own)
			for _, c := range want.Cases {
				if c.Refused != "" {
					continue
				}
				g := newGuard(t)
				_, errs, err := recoverPy(t, o.root, key, c.ID, g.target)
				g.unharmed(c.Case)
				if strings.Contains(errs, "Traceback") || c.Case == "good" && err != nil {
					t.Errorf("%s: %v\n%s", c.Case, err, errs)
				}
			}
		})
	}
}

// TestMakeHostileRepositories makes those that are not there yet, where it is asked to, as TestMakeFrozenRepositories does. What is expected of them is what became of them: read it
// before it is kept.
func TestMakeHostileRepositories(t *testing.T) {
	if !*makeMissing {
		t.Skip("not asked to")
	}
	if !isRoot() {
		t.Fatal("only root makes all types of entries")
	}
	for _, name := range slices.Sorted(maps.Keys(themes)) {
		f := frozenRepository{filepath.Join(testdata, "hostile", "v1", name)}
		if _, err := os.Stat(filepath.Join(f.dir, "expected.json")); err == nil {
			t.Logf("%s is there already", name)
			continue
		}
		w := newWorld(t, t.TempDir(), smallChunks(repo.InitOptions{}))
		cases := makeHostile(w, themes[name])
		if err := os.MkdirAll(f.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		w.freeze(f.dir, expected{})
		w.must(os.Remove(filepath.Join(f.dir, "expected.json")))
		e := openHostile(t, t.Context(), f).look(cases)
		e.About, e.Passphrase = "Made on "+time.Now().UTC().Format(time.DateOnly)+" by TestMakeHostileRepositories of firn/internal/frozen: "+name, passphrase
		w.must(os.WriteFile(filepath.Join(f.dir, "expected.json"), e.marshal(t), 0o644))
	}
}

// marshal writes one line for each case.
func (e *hostileExpected) marshal(t *testing.T) []byte {
	cases := make([]string, len(e.Cases))
	for i, c := range e.Cases {
		cases[i] = text(t, c)
	}
	return fmt.Appendf(nil, "{\"about\":%s,\n\"passphrase\":%s,\n\"damaged\":%s,\n\"findings\":%s,\n\"check\":%s,\n\"cases\":[\n%s\n]}\n", text(t, e.About), text(t, e.Passphrase), text(t, e.Damaged),
		text(t, e.Findings), text(t, e.Check), strings.Join(cases, ",\n"))
}
