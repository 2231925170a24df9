package doctor

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/repo"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// TestSound: nothing is wrong with a new repository, and nothing is left behind.
func TestSound(t *testing.T) {
	w := newWorld(t, mem.Options{}, "DEEP_ARCHIVE")
	w.use = w.access
	_, err := w.backup()
	w.must(err)
	before, _ := w.mem.Len()
	w.watch = mem.NoColdGet(func(format string, args ...any) {
		if !strings.HasPrefix(args[0].(string), "probe/") { // of its own objects it may ask whether they can be read
			t.Errorf(format, args...)
		}
	})
	findings := w.examine(nil)
	w.watch = nil
	for _, f := range findings {
		if f.Severity > Note || f.Severity == Note && f.Check != CheckUploads || f.What == "" || f.Check == CheckPacks && !strings.HasPrefix(f.What, "1 pack looked at") {
			t.Errorf("%+v", f)
		}
	}
	for _, check := range []string{CheckStore, CheckRepository, CheckClock, CheckRights, CheckCreateOnly, CheckChecksums, CheckClass, CheckThaw, CheckRules, CheckUploads, CheckHot, CheckPacks,
		CheckCache, CheckState, CheckHostKey, CheckPrograms} {
		if len(tell(findings, check)) != 1 {
			t.Errorf("%s: %q", check, tell(findings, check))
		}
	}
	if after, _ := w.mem.Len(); after != before {
		t.Errorf("%d objects, there were %d", after, before)
	}
	if Worst(findings) != Note {
		t.Error(Worst(findings))
	}
	quiet := w.examine(func(o *Options) { o.NoProbe, o.Open = true, nil })
	if len(tell(quiet, CheckRights))+len(tell(quiet, CheckClock))+len(tell(quiet, CheckPacks)) > 0 || len(tell(quiet, CheckHot)) != 1 {
		t.Errorf("%+v", quiet)
	}
	if puts := w.mem.Requests()["put"]; puts == 0 {
		t.Error("requests are not counted")
	}
}

// TestAreas holds the list of areas to what is really stored.
func TestAreas(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.use = w.access
	for range 2 {
		w.write("new", time.Now().String())
		_, err := w.backup()
		w.must(err)
	}
	r, s, err := w.scopes(t.Context(), w.mem, w.access)
	w.must(err)
	_, err = s.Retire(t.Context(), nil, nil)
	w.must(err)
	w.must(r.Revoke(t.Context(), w.access.Host.Host, "test"))
	seen := map[string]bool{}
	w.must(w.mem.List(t.Context(), "", "", func(i store.Info) error {
		hot, data := within(i.Name)
		if len(hot) == 1 {
			seen[hot[0]] = true
		}
		if len(hot) > 1 || data == isHot(i.Name) || data != strings.HasPrefix(i.Name, dataArea) {
			t.Errorf("%s lies in %q, %v", i.Name, hot, data)
		}
		return nil
	}))
	for _, area := range areas() {
		if area != dataArea && !seen[area] {
			t.Errorf("nothing is stored in %s", area)
		}
	}
}

// TestRefusals takes rights and abilities away.
func TestRefusals(t *testing.T) {
	deny := func(ops ...string) func(mem.Request) error {
		return func(r mem.Request) error {
			if strings.HasPrefix(r.Name, "probe/") && slices.Contains(ops, r.Op) {
				return store.ErrDenied
			}
			return nil
		}
	}
	fail := func(err error) func(mem.Request) error {
		return func(mem.Request) error { return err }
	}
	for name, c := range map[string]struct {
		watch func(mem.Request) error
		check string
		want  string
	}{
		"put":         {deny("put"), CheckRights, "problem: the credentials may not put objects"},
		"get":         {deny("get"), CheckRights, "problem: the credentials may not get objects"},
		"list":        {deny("list", "copies"), CheckRights, "problem: the credentials may not list objects"},
		"delete":      {deny("delete"), CheckRights, "note: the credentials may not delete objects"},
		"thaw":        {deny("thaw"), CheckThaw, "note: the credentials may not have objects thawed"},
		"credentials": {fail(store.ErrAuth), CheckStore, "problem: get firn.json: credentials refused"},
		"clock":       {fail(store.ErrClock), CheckClock, "problem: get firn.json: clock differs"},
		"everything":  {fail(store.ErrDenied), CheckRights, "problem: get firn.json: permission denied"},
		"no bucket":   {fail(store.ErrNoStore), CheckRepository, "problem: mem:: no repository here"},
		"network":     {fail(store.ErrTimeout), CheckStore, "problem: get firn.json: store did not answer"},
		"listing": {func(r mem.Request) error {
			if r.Op == "copies" {
				return store.ErrDenied
			}
			return nil
		}, CheckHot, "note: not known: they cannot be listed"},
		"probe": {func(r mem.Request) error {
			if r.Op == "put" {
				return errors.New("hm")
			}
			return nil
		}, CheckRights, "problem: put probe/"},
	} {
		w := newWorld(t, mem.Options{}, "GLACIER")
		w.watch = c.watch
		got := tell(w.examine(nil), c.check)
		if len(got) == 0 || !strings.HasPrefix(got[0], c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestClock(t *testing.T) {
	for off, want := range map[time.Duration]string{
		0: "ok", 800 * time.Millisecond: "ok", -4 * time.Second: "ok", 30 * time.Second: "note", -3 * time.Minute: "warning", 14 * time.Minute: "problem", -14 * time.Minute: "problem",
	} {
		w := newWorld(t, mem.Options{}, "")
		findings := w.examine(func(o *Options) { o.Now = func() time.Time { return time.Now().Add(off) } })
		if got := tell(findings, CheckClock); len(got) != 1 || !strings.HasPrefix(got[0], want+": ") {
			t.Errorf("%v: %q", off, got)
		}
	}
}

// forgetful is a store that ignores what it does not know: classes, conditions and sums.
type forgetful struct{ *mem.Store }

func (f forgetful) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, _ store.PutOptions) error {
	_ = f.Store.Delete(ctx, name)
	return f.Store.Put(ctx, name, r, size, store.PutOptions{Class: "STANDARD"})
}

func TestForgetful(t *testing.T) {
	w := newWorld(t, mem.Options{}, "DEEP_ARCHIVE")
	findings := w.examine(func(o *Options) { o.Store = forgetful{w.mem} })
	for check, want := range map[string]string{CheckCreateOnly: "warning: ", CheckChecksums: "note: ", CheckClass: `warning: the store keeps objects in class "STANDARD", not in "DEEP_ARCHIVE"`} {
		if got := tell(findings, check); len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: %q", check, got)
		}
	}
}

// TestNoTiers is thorough with a store that has no tiers, and whose listings do not tell what is thawed.
func TestNoTiers(t *testing.T) {
	w := newWorld(t, mem.Options{NoTiers: true, NoStatus: true}, "DEEP_ARCHIVE")
	got := tell(w.examine(func(o *Options) { o.Thorough = true }), CheckThaw)
	if len(got) != 1 || got[0] != "note: cold objects can be thawed, without a choice of tiers; listings do not tell which are" {
		t.Errorf("%q", got)
	}
}

// TestPacks finds packs that were moved.
func TestPacks(t *testing.T) {
	w := newWorld(t, mem.Options{}, "STANDARD_IA")
	w.use = w.access
	_, err := w.backup()
	w.must(err)
	w.chill("DEEP_ARCHIVE", func(name string) bool { return strings.HasPrefix(name, dataArea) })
	var found *Finding
	for _, f := range w.examine(nil) {
		if f.Check == CheckPacks {
			found = &f
		}
	}
	if found == nil || found.Severity != Note || !slices.Equal(found.Evidence, []string{"1 pack lie in DEEP_ARCHIVE and were stored in STANDARD_IA"}) {
		t.Errorf("%+v", found)
	}
	broken := w.examine(func(o *Options) {
		o.Open = func(context.Context, *repo.Header) ([]*repo.ScopeState, error) { return nil, errors.New("hm") }
	})
	if got := tell(broken, CheckPacks); len(got) != 1 || !strings.HasPrefix(got[0], "note: not known") {
		t.Errorf("%q", got)
	}
}

// TestLocal looks at folders, the host key and programs.
func TestLocal(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	file := filepath.Join(t.TempDir(), "file")
	w.must(os.WriteFile(file, nil, 0o600))
	local := func(change func(*Options)) func(check string) string {
		findings := w.examine(func(o *Options) { o.NoProbe = true; change(o) })
		return func(check string) string { return strings.Join(tell(findings, check), "\n") }
	}
	got := local(func(o *Options) { o.Dirs = state.Dirs{} })
	if !strings.HasPrefix(got(CheckCache), "warning: there is no folder") || !strings.HasPrefix(got(CheckState), "warning: ") || got(CheckHostKey) != "" {
		t.Errorf("%q", got(CheckCache))
	}
	got = local(func(o *Options) { o.Dirs.Cache = filepath.Join(file, "x") })
	if !strings.HasPrefix(got(CheckCache), "warning: ") {
		t.Errorf("%q", got(CheckCache))
	}
	got = local(func(o *Options) { o.Dirs.State = filepath.Join(t.TempDir(), "a", "b") })
	if !strings.HasPrefix(got(CheckState), "ok: ") || !strings.HasPrefix(got(CheckHostKey), "note: this machine has none") {
		t.Errorf("%q, %q", got(CheckState), got(CheckHostKey))
	}
	keys, err := filepath.Glob(filepath.Join(w.dirs.State, "*", "host.key"))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	if runtime.GOOS != "windows" {
		w.must(os.Chmod(keys[0], 0o644))
		if got = local(func(*Options) {}); !strings.HasPrefix(got(CheckHostKey), "problem: ") || !strings.Contains(got(CheckHostKey), "mode 0644") {
			t.Errorf("%q", got(CheckHostKey))
		}
	}
	w.must(os.Chmod(keys[0], 0o600))
	w.must(os.WriteFile(keys[0], []byte("x"), 0o600))
	if got = local(func(*Options) {}); !strings.HasPrefix(got(CheckHostKey), "problem: ") {
		t.Errorf("%q", got(CheckHostKey))
	}
	got = local(func(o *Options) {
		o.Version = func(_ context.Context, name string) (string, error) {
			if name == "par2" {
				return "", exec.ErrNotFound
			}
			return "1.0", nil
		}
	})
	if got(CheckPrograms) != "note: par2 not found; age 1.0 and zstd 1.0 are here" {
		t.Errorf("%q", got(CheckPrograms))
	}
	if free, known := room(t.TempDir()); known && free <= 0 {
		t.Errorf("%d bytes free", free)
	}
}

// TestVersion asks programs that are there, if they are.
func TestVersion(t *testing.T) {
	if _, err := programVersion(t.Context(), "no such program"); !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
	for _, name := range []string{"age", "zstd", "par2"} {
		version, err := programVersion(t.Context(), name)
		if !errors.Is(err, exec.ErrNotFound) && (err != nil || !strings.Contains(version, ".")) {
			t.Errorf("%s: %q, %v", name, version, err)
		}
	}
	d := &doctor{header: &repo.Header{}}
	w := newWorld(t, mem.Options{}, "")
	d.header = w.header
	if d.tooOld("1.1.1") {
		t.Error("age 1.1.1 opens what is sealed for X25519")
	}
	hybrid := *w.header.Config
	hybrid.Seal = "hybrid"
	d.header = &repo.Header{Config: &hybrid}
	if !d.tooOld("1.2.9") || d.tooOld("1.3.0") || d.tooOld("2.0") || d.tooOld("unknown") {
		t.Error("versions of age")
	}
}

// TestEnd: the end of the context is an error, not a finding.
func TestEnd(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if findings, err := Examine(ctx, w.options()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", findings, err)
	}
}
