package job

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/config"
	"firn/internal/retain"
	"firn/internal/schedule"
	"firn/internal/units"
)

// full is a configuration in which everything is said.
func full(t testing.TB) *config.Config {
	t.Helper()
	five := 5
	timetable := func(text string) (tt schedule.Timetable) {
		if err := tt.Set(text); err != nil {
			t.Fatal(err)
		}
		return tt
	}
	cycle, err := retain.ParseCycle("simple frequency=2 diffs=6 fulls=4")
	if err != nil {
		t.Fatal(err)
	}
	main := &config.Repository{
		Name: "main", Location: "s3://bucket/nas", Endpoint: "https://s3.example", GetEndpoint: "https://cdn.example", Region: "eu-1", Profile: "backup", PathStyle: "on", Connections: 7,
		Timeout: 90 * time.Second, LimitUpload: timetable("Mon-Fri 08:00-18:00 2M, else off"), LimitDownload: timetable("3M"), UploadPerMonth: 500 * units.GB, CacheMax: units.GiB, NoCache: true,
		Prices: "/etc/prices.toml", PriceRegion: "aws/eu-west-1", Passphrase: config.Secret{File: "/etc/pass"}, Identity: []string{"/etc/id"}, HostKey: "/etc/host.key", PruneKey: "/etc/prune.key", Host: "nas",
		Scope: "home", Also: []string{"shelf"},
		Transition: &config.Upkeep{Anyway: true},
		Prune:      &config.Upkeep{Grace: 36*time.Hour + time.Minute, Refresh: "10G", Lock: "90d"},
		Check:      &config.Upkeep{ReadData: "1/12", Sums: "10%", MaxCost: "2"},
		Drill:      &config.Upkeep{Files: 20, Bytes: units.GiB, MaxCost: "1.50"},
		Copies:     []*config.Copy{{To: "shelf"}},
	}
	shelf := &config.Repository{Name: "shelf", Location: "/mnt/shelf", Endpoint: "https://two.example", Region: "r2", Profile: "p2", PathStyle: "off"}
	photos := &config.Source{
		Name: "photos", Repository: "main", Kind: "dir", Rest: "/srv/photos", Settings: map[string]string{"before": "snap $X", "read_from": "/mnt/snap"}, As: "Photos",
		Exclude: []string{"*.tmp", "-odd"}, ExcludeFrom: []string{"/etc/exclude"}, ExcludeIfPresent: []string{".nobackup"}, Include: []string{"keep.tmp"}, ExcludeAnyCase: []string{"*.BAK"},
		ExcludeLargerThan: 4 * units.GiB, OneFileSystem: true, ExcludeCaches: true, Options: []string{"--force-read"}, Tags: []string{"nas", "a b"}, Detect: "size,mtime", Class: "STANDARD_IA",
		Then: "DEEP_ARCHIVE", HotFor: "30d", Parity: &five, Compression: "better", PackSize: 64 * units.MiB, Memory: 256 * units.MiB, Workers: 3, MaxShrink: 0.25, Cycle: cycle, FullEvery: 90 * 24 * time.Hour,
		Keep: retain.Policy{Daily: 7},
	}
	shop := &config.Source{Name: "shop", Repository: "main", Kind: "postgres", Rest: "shop", Passphrase: config.Secret{Env: "SHOP_PASS"}, MaxShrink: 1}
	etc := &config.Source{Name: "etc", Repository: "main", Kind: "dir", Paths: []string{"/etc", "/usr/local/etc"}, Passphrase: config.Secret{Command: "pass show x"}, Identity: []string{"/etc/id2"}, MaxShrink: 0.5,
		Keep: retain.Policy{Monthly: 3}}
	return &config.Config{Repositories: []*config.Repository{main, shelf}, Sources: []*config.Source{photos, shop, etc}}
}

// TestList compares the command lines of all jobs with what was agreed on.
func TestList(t *testing.T) {
	var b strings.Builder
	for _, j := range List(full(t)) {
		b.WriteString("# " + j.Name + " " + string(j.Kind) + "\nfirn " + strings.Join(quoted(j.Args), " \\\n  "))
		if len(j.Specs) > 0 {
			b.WriteString(" \\\n  -- " + strings.Join(quoted(j.Specs), " "))
		}
		b.WriteString("\n")
		for _, k := range j.Keep {
			b.WriteString("# keeps of " + k.Kind + " " + k.Source + " of " + k.Host + "\n")
		}
		if j.Secret.Env != "" {
			b.WriteString("# with $" + j.Secret.Env + "\n")
		}
		b.WriteString("\n")
	}
	path := filepath.Join("testdata", "list.golden")
	if os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("%s; UPDATE=1 writes it anew:\n%s", path, got)
	}
}

func quoted(words []string) (all []string) {
	for _, w := range words {
		all = append(all, Typed([]string{w}))
	}
	return all
}

// TestEveryKey changes each member of a configuration, one by one, and looks whether the jobs, or the way in which they are run, change with it.
func TestEveryKey(t *testing.T) {
	// What is no flag of a child, and where it is used instead.
	elsewhere := map[string]string{
		"Source.Name": "of the job", "Source.Place": "of errors", "Source.Repository": "chosen by name", "Source.Off": "decide", "Source.Timing": "decide, limits", "Source.FullEvery": "asBackup",
		"Source.Hooks": "hook", "Source.Notify": "Notifier", "Source.Keep": "keep file", "Repository.Name": "of the job", "Repository.Place": "of errors", "Repository.UploadPerMonth": "command",
		"Upkeep.Place": "of errors", "Upkeep.Timing": "decide, limits", "Upkeep.Hooks": "hook", "Copy.Place": "of errors", "Copy.Timing": "decide, limits", "Copy.Hooks": "hook",
	}
	c := full(t)
	lines := func() string {
		var b strings.Builder
		for _, j := range List(c) {
			b.WriteString(strings.Join(append(j.Args, j.Specs...), " ") + j.Secret.Env + "\n")
		}
		return b.String()
	}
	before := lines()
	for _, o := range []any{c.Repositories[0], c.Sources[0], c.Sources[2], c.Repositories[0].Transition, c.Repositories[0].Prune, c.Repositories[0].Check, c.Repositories[0].Drill, c.Repositories[0].Copies[0]} {
		v := reflect.ValueOf(o).Elem()
		for i := range v.NumField() {
			name := v.Type().Name() + "." + v.Type().Field(i).Name
			old := reflect.New(v.Field(i).Type()).Elem()
			old.Set(v.Field(i))
			if elsewhere[name] != "" || old.IsZero() {
				continue
			}
			v.Field(i).SetZero()
			if lines() == before {
				t.Errorf("%s reaches no command line", name)
			}
			v.Field(i).Set(old)
		}
	}
	said := map[string]bool{}
	for _, o := range []any{c.Repositories[0], c.Sources[0], c.Sources[2], c.Repositories[0].Transition, c.Repositories[0].Prune, c.Repositories[0].Check, c.Repositories[0].Drill, c.Repositories[0].Copies[0]} {
		v := reflect.ValueOf(o).Elem()
		for i := range v.NumField() {
			name := v.Type().Name() + "." + v.Type().Field(i).Name
			said[name] = said[name] || !v.Field(i).IsZero() || elsewhere[name] != ""
		}
	}
	for name, ok := range said {
		if !ok {
			t.Errorf("%s is new: say in full, or elsewhere, what becomes of it", name)
		}
	}
}

// TestNames looks at the names of jobs, and at finding them.
func TestNames(t *testing.T) {
	c := full(t)
	all := func() (names []string) {
		for _, j := range List(c) {
			names = append(names, j.Name)
		}
		return names
	}
	if got := strings.Join(all(), " "); got != "photos shop etc transition@main prune@main check@main drill@main copy@main:shelf" {
		t.Error(got)
	}
	c.Repositories[0].Copies, c.Repositories[0].Also = nil, nil
	c.Repositories = c.Repositories[:1]
	if got := strings.Join(all(), " "); got != "photos shop etc transition prune check drill" {
		t.Error(got)
	}
	jobs := List(c)
	for pattern, want := range map[string]string{"photos": "photos", "shop photos": "photos shop", "*": "photos shop etc transition prune check drill", "[ps]*": "photos shop prune", "?hop": "shop"} {
		found, err := Find(jobs, strings.Fields(pattern))
		var names []string
		for _, j := range found {
			names = append(names, j.Name)
		}
		if err != nil || strings.Join(names, " ") != want {
			t.Errorf("%q: %v, %v", pattern, names, err)
		}
	}
	for name, near := range map[string]string{"photo": "photos", "Photos": "photos", "pothos": "photos", "shpo": "shop", "zzz": "", "x": "", "[": ""} {
		_, err := Find(jobs, []string{"etc", name})
		var unknown *UnknownError
		if !errors.As(err, &unknown) || unknown.Name != name || unknown.Nearest != near {
			t.Errorf("%q: %v, %+v", name, err, unknown)
		}
	}
	if got := safeName("a/b:c d@x..") + " " + safeName("..") + " " + safeName(".serve"); got != "a%2fb%3ac%20d@x.. %2e. %2eserve" {
		t.Error(got)
	}
	if long := safeName(strings.Repeat("ä", 500)); len(long) > 120 || long == safeName(strings.Repeat("ä", 501)) {
		t.Error(long)
	}
}

// TestKeepFile writes what a prune keeps, for sources of this host only.
func TestKeepFile(t *testing.T) {
	j := List(full(t))
	i := slices.IndexFunc(j, func(j Job) bool { return j.Kind == Prune })
	keep := j[i].Keep
	keep[1].Host = ""
	path, err := writeKeep(t.TempDir(), "here", keep)
	if err != nil {
		t.Fatal(err)
	}
	raw := string(mustRead(t, path))
	if strings.Count(raw, `"host": "nas"`) != 2 || strings.Count(raw, `"host": "here"`) != 1 || !strings.Contains(raw, `"source": "/usr/local/etc"`) || strings.Contains(raw, "shop") {
		t.Error(raw)
	}
}
