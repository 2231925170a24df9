package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/retain"
	"firn/internal/source"
	"firn/internal/units"
)

var update = flag.Bool("update", false, "write the golden files anew")

// kinds are like those of wire.
var kinds = []Kind{
	{Name: "dir", Rest: "PATH", Settings: []source.Setting{{Name: "before", Value: "COMMAND"}, {Name: "after", Value: "COMMAND"}, {Name: "read_from", Value: "FOLDER"}}},
	{Name: "command", Rest: "NAME", Settings: []source.Setting{{Name: "command", Value: "COMMAND"}, {Name: "timeout", Value: "DURATION"}, {Name: "use_temp_file", Value: "yes|no"}}},
	{Name: "zfs", Rest: "DATASET", Settings: []source.Setting{
		{Name: "mode", Value: "streams|files"}, {Name: "recursive", Value: "yes|no"}, {Name: "keep", Value: "NUMBER"}, {Name: "raw", Value: "auto|yes|no"}, {Name: "timeout", Value: "DURATION"}, {Name: "pattern", Value: "PATTERN"},
	}},
	{Name: "postgres", Others: []string{"postgresql"}, Rest: "DATABASE|all", Settings: []source.Setting{
		{Name: "host", Value: "HOST"}, {Name: "port", Value: "N"}, {Name: "exclude", Value: "NAME,…"}, {Name: "passfile", Value: "FILE"}, {Name: "globals", Value: "yes|no"}, {Name: "format", Value: "custom|plain"},
		{Name: "dump_options", Value: "OPTIONS"}, {Name: "use_temp_file", Value: "yes|no"},
	}},
	{Name: "svn", Others: []string{"subversion"}, Rest: "PATH", Settings: []source.Setting{{Name: "depth", Value: "N"}, {Name: "exclude", Value: "NAME,…"}}},
}

// world is a Reader of files in memory.
type world struct {
	files map[string]string
	env   map[string]string
}

func (w world) ReadFile(name string) ([]byte, error) {
	text, ok := w.files[filepath.ToSlash(name)]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

func (w world) Glob(pattern string) (all []string, err error) {
	pattern = filepath.ToSlash(pattern)
	for name := range w.files {
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, err
		} else if ok {
			all = append(all, name)
		}
	}
	return all, nil
}

func (w world) Env(name string) (string, bool) { v, ok := w.env[name]; return v, ok }

func env(name string) (string, bool) {
	v, ok := map[string]string{"HOME": "/home/me", "HOST": "nas", "EMPTY": ""}[name]
	return v, ok
}

func parse(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Parse("firn.toml", []byte(text), kinds, env)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const everything = `
repository = "main"
schedule = "daily 02:30 ~30m"
keep = { daily = 14, weekly = 8, monthly = "all", within = "30d", tags = ["a", "b"], min = 3, burst = "0" }
exclude = ["*.tmp"]
tags = ["all"]
passphrase_file = "/etc/firn/passphrase"
region = "eu-central-1"
limit_upload = "Mon-Fri 08:00-18:00 2M, else off"
prune = "weekly Sun 05:00"
check = { schedule = "monthly 1 06:00", sums = "10%", read_data = "1/12", max_cost = 2.50 }

[defaults]
notify = "ops"
max_shrink = "30%"
window = "22:00-06:00"
parity = 10

[repositories.main]
location = "s3://bucket/nas"
passphrase_command = "pass show $$firn ${HOST}"
timeout = "2m"
also = ["disk"]
prune = { every = "1w", grace = "36h", refresh = "10G", lock = "90d", before = "true", window = "Sat-Sun" }
transition = { schedule = "weekly Sat 05:00", anyway = true }
drill = { schedule = "monthly last 06:00", files = 20, bytes = "5G" }
[repositories.main.copies]
disk = "daily 05:00"
[repositories.disk]
location = "~/backup"
check = false
cache_max = 1000000
identity = ["~/.ssh/id", "/etc/x"]
copies.main = { schedule = "weekly", max_duration = "5h", on_failure = "mail" }

[cycles.tapes]
kind = "hanoi"
discs = 5
archive_oldest = true
every = "1d"
tags = ["cycled"]
keep = "all"
[cycles.weekly]
cycle = "simple diffs=6 fulls=4"

[sources.photos]
path = "/srv/photos"
exclude = ["/cache", "${HOST}.*"]
exclude_if_present = ".nobackup"
iexclude = ["*.BAK"]
include = ["keep.tmp"]
exclude_from = ["/etc/firn/exclude"]
exclude_larger_than = "4G"
exclude_caches = true
one_file_system = true
detect = "size,mtime"
max_shrink = 80
class = "STANDARD_IA"
then = "DEEP_ARCHIVE"
hot_for = "30d"
parity = 0
compression = "best"
pack_size = "64M"
memory = "256M"
workers = 2
full_every = "6m"
max_duration = "1h30m"
stale_after = "3d"
before = "a && b"
after = "c"
on_success = "d"
on_failure = "e"
hook_timeout = "30m"
flags = ["--no-cache"]
read_from = "/mnt/snap"
enabled = false

[sources.homes]
paths = ["~/a", "/home/b"]
cycle = "tapes"
window = "00:00-24:00"

[sources.tank]
zfs = "tank/data"
recursive = true
raw = "auto"
settings = { keep = 2 }
cycle = "weekly"
source = "tank"
repository = "disk"
identity = "/x"
schedule = "manual"

[sources.shop]
postgresql = "all"
port = 5433
exclude = ["template*", "test"]
passfile = "~/.pgpass"
every = "6h"
passphrase_env = "SHOP"
keep = { yearly = 3 }

[sources.dump]
command = "echo $$PATH 'x'"
name = "dump.sql"
timeout = "1h"
window = "Sat-Sun"

[notify.ops]
type = "mail"
to = ["a@example.org"]
from = "b@example.org"
server = "mail:587"
user = "u"
password_file = "/etc/firn/mail"
[notify.ping]
type = "healthchecks"
url_env = "PING"
all = false
[notify.hook]
type = "webhook"
url = "https://example.org/x"
headers = { X-A = "b", Authorization = "Bearer ${HOST}" }
on = ["always"]
after = 3
body = "{{.Job}}\n$${x}"
token_command = "cat t"
[log]
file = "/var/log/firn.log"
keep = 0
max_size = "1M"
[metrics]
textfile = "/var/x.prom"
[serve]
listen = "127.0.0.1:9137"
token_file = "/t"
[run]
parallel = 2
catch_up = false
`

func TestEverything(t *testing.T) {
	c := parse(t, everything)
	main, disk := c.DefaultRepository(), c.Repository("disk")
	if main.Name != "main" || main.Region != "eu-central-1" || disk.Region != "eu-central-1" || main.Passphrase != (Secret{Command: "pass show $firn nas"}) || disk.Passphrase != (Secret{File: "/etc/firn/passphrase"}) {
		t.Errorf("%+v\n%+v", main, disk)
	}
	if disk.Location != "/home/me/backup" || disk.Check != nil || main.Check.ReadData != "1/12" || main.Check.MaxCost != "2.50" || main.Prune.Schedule.String() != "every 1w" || disk.Prune.Schedule.String() != "weekly Sun 05:00" || main.Prune.Grace != 36*time.Hour {
		t.Errorf("%+v\n%+v", main.Prune, disk)
	}
	if len(main.Copies) != 1 || main.Copies[0].To != "disk" || disk.Copies[0].Hooks.OnFailure != "mail" || !slices.Equal(disk.Identity, []string{"/home/me/.ssh/id", "/etc/x"}) {
		t.Errorf("%+v", main.Copies)
	}
	p := c.Source("photos")
	if !slices.Equal(p.Exclude, []string{"*.tmp", "/cache", "nas.*"}) || p.MaxShrink != 0.8 || *p.Parity != 0 || p.Keep.Monthly != retain.All || p.Keep.Burst != retain.NoBurst || p.Schedule.String() != "daily 02:30 ~30m" ||
		!p.Off || p.Settings["read_from"] != "/mnt/snap" || !slices.Equal(p.Notify, []string{"ops"}) || p.Hooks.Timeout != 30*time.Minute || p.FullEvery != 180*units.Day || p.PackSize != 64*units.MiB {
		t.Errorf("%+v", p)
	}
	h := c.Source("homes")
	if h.Cycle.Discs != 5 || h.Keep.Daily != 0 || h.Keep.Cycle.Discs != 5 || h.Schedule.String() != "every 1d" || !slices.Equal(h.Tags, []string{"all", "cycled"}) || h.Repository != "main" || h.Paths[0] != "/home/me/a" || *h.Parity != 10 {
		t.Errorf("%+v", h)
	}
	z := c.Source("tank")
	if z.Kind != "zfs" || z.Settings["recursive"] != "yes" || z.Settings["keep"] != "2" || len(z.Exclude) != 0 || z.Keep.Daily != 14 || z.Cycle.Fulls != 4 || z.Repository != "disk" || !z.Schedule.IsZero() {
		t.Errorf("%+v", z)
	}
	s := c.Source("shop")
	if s.Kind != "postgres" || s.Rest != "all" || s.Settings["exclude"] != "template*,test" || s.Settings["passfile"] != "/home/me/.pgpass" || s.Settings["port"] != "5433" || s.Passphrase.Env != "SHOP" || s.Keep.Yearly != 3 || s.Keep.Daily != 0 {
		t.Errorf("%+v", s)
	}
	if d := c.Source("dump"); d.Kind != "command" || d.Rest != "dump.sql" || d.Settings["command"] != "echo $PATH 'x'" || d.Settings["timeout"] != "1h" {
		t.Errorf("%+v", d)
	}
	if n := c.Channel("hook"); n.Body != "{{.Job}}\n${x}" || n.Headers["Authorization"] != "Bearer nas" || n.Method != "POST" || n.Tries != 3 || n.After != 3 || !n.All {
		t.Errorf("%+v", n)
	}
	if n := c.Channel("ping"); n.URLFrom.Env != "PING" || !slices.Equal(n.On, []string{"always", "start"}) || n.All {
		t.Errorf("%+v", n)
	}
	if c.Log.Keep != 0 || c.Log.Stderr || c.Run.CatchUp || c.Run.Reports != 100 || c.Run.Parallel != 2 {
		t.Errorf("%+v, %+v", c.Log, c.Run)
	}
	if strings.Contains(c.Show(), "Bearer nas") {
		t.Error("what a variable holds is shown")
	}
}

// bare takes off what is not said in a file.
func stripped(c *Config) *Config {
	d := *c
	d.Files, d.said = nil, nil
	d.Repositories, d.Sources, d.Notify = nil, nil, nil
	for _, r := range c.Repositories {
		r := *r
		r.Place = Place{}
		for _, u := range []**Upkeep{&r.Transition, &r.Prune, &r.Check, &r.Drill} {
			if *u != nil {
				v := **u
				v.Place = Place{}
				*u = &v
			}
		}
		copies := r.Copies
		r.Copies = nil
		for _, c := range copies {
			c := *c
			c.Place = Place{}
			r.Copies = append(r.Copies, &c)
		}
		d.Repositories = append(d.Repositories, &r)
	}
	for _, s := range c.Sources {
		s := *s
		s.Place = Place{}
		d.Sources = append(d.Sources, &s)
	}
	for _, n := range c.Notify {
		n := *n
		n.Place = Place{}
		d.Notify = append(d.Notify, &n)
	}
	return &d
}

// again holds Show to Parse.
func again(t testing.TB, c *Config) {
	t.Helper()
	shown := c.Show()
	d, err := Parse("shown.toml", []byte(shown), kinds, env)
	if err != nil {
		t.Fatalf("%v in\n%s", err, shown)
	}
	if a, b := stripped(c), stripped(d); !reflect.DeepEqual(a, b) {
		t.Fatalf("shown as\n%s\nshown again as\n%s", shown, d.Show())
	}
}

func TestShow(t *testing.T) {
	for _, text := range []string{everything, Example(), "", "repository = \"/x\"\n[sources.a]\npath = '/$$a\"b\\'\n[log]\nstderr = false\n"} {
		again(t, parse(t, text))
	}
}

func TestExample(t *testing.T) {
	c := parse(t, Example())
	if len(c.Sources) != 3 || c.DefaultRepository() == nil {
		t.Errorf("%+v", c)
	}
	lines := strings.Split(Example(), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "#") && strings.Contains(l, " = ") || strings.HasPrefix(l, "#[") {
			lines[i] = l[1:]
		}
	}
	parse(t, strings.Join(lines, "\n"))
}

// TestBad holds the errors of testdata/bad to golden files.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		w := world{files: map[string]string{}, env: map[string]string{"HOME": "/home/me"}}
		name := "/etc/firn/firn.toml"
		for i, part := range strings.Split(strings.ReplaceAll(string(raw), "\r\n", "\n"), "#### ") {
			if i > 0 {
				first, rest, _ := strings.Cut(part, "\n")
				name, part = first, rest
			}
			w.files[name] = part
		}
		_, err = Load(w, "/etc/firn/firn.toml", kinds)
		var all Errors
		if !errors.As(err, &all) {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, e := range all {
			if e.File != "" && e.Line == 0 {
				t.Errorf("%s: no line: %v", file, e)
			}
		}
		golden := strings.TrimSuffix(file, ".toml") + ".golden"
		got := strings.ReplaceAll(all.Error(), `\`, "/") + "\n"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, _ := os.ReadFile(golden)
		if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", file, got, want)
		}
	}
}

// TestKeepAll: what a source itself says to keep whole no cycle has forgotten, wherever that is said.
func TestKeepAll(t *testing.T) {
	for _, cycle := range []string{
		"[defaults]\ncycle = \"simple diffs=6 fulls=4\"\n[sources.a]\npath = \"/a\"\nkeep = \"all\"\n[sources.b]\npath = \"/b\"\n",
		"[sources.a]\npath = \"/a\"\nkeep = \"all\"\ncycle = \"simple diffs=6 fulls=4\"\n[sources.b]\npath = \"/b\"\ncycle = \"simple diffs=6 fulls=4\"\n",
	} {
		c, err := Load(world{files: map[string]string{"/etc/firn/firn.toml": "repository = \"/x\"\n" + cycle}}, "/etc/firn/firn.toml", kinds)
		if err != nil {
			t.Fatal(err)
		}
		a, b := c.Source("a"), c.Source("b")
		if a.Keep.Check() == nil || a.Cycle.Fulls != 4 || b.Keep.Check() != nil || b.Keep.Cycle.Fulls != 4 {
			t.Errorf("%+v\n%+v", a.Keep, b.Keep)
		}
		again(t, c)
	}
}

func TestIncludes(t *testing.T) {
	w := world{files: map[string]string{
		"/etc/firn/firn.toml":         "repository = \"/x\"\ninclude = [\"conf.d/*.toml\", \"more.toml\"]\n[run]\nparallel = 2\n",
		"/etc/firn/conf.d/b.toml":     "[sources.b]\npath = \"/b\"\n",
		"/etc/firn/conf.d/a.toml":     "[sources.a]\npath = \"/a\"\n[run]\nreports = 5\n",
		"/etc/firn/more.toml":         "include = \"sub/*.toml\"\n[sources.c]\npath = \"/c\"\n",
		"/etc/firn/sub/x.toml":        "include = \"../more.toml\"\n[sources.x]\npath = \"/d\"\n",
		"/etc/firn/conf.d/not.toml.x": "nonsense",
		"/etc/firn/conf.d/.#a.toml":   "nonsense",
	}}
	c, err := Load(w, "/etc/firn/firn.toml", kinds)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range c.Sources {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "c", "x"}) || c.Run.Parallel != 2 || c.Run.Reports != 5 || len(c.Files) != 5 || filepath.ToSlash(c.Source("x").Place.String()) != "/etc/firn/sub/x.toml:2" {
		t.Errorf("%v, %+v, %v", names, c.Run, c.Files)
	}
	again(t, c)
	if _, err := Load(w, "/none", kinds); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	delete(w.files, "/etc/firn/more.toml")
	if _, err := Load(w, "/etc/firn/firn.toml", kinds); err == nil || !strings.Contains(err.Error(), "firn.toml:2: include: there is no file") {
		t.Error(err)
	}
}

func TestManyErrors(t *testing.T) {
	var b strings.Builder
	for i := range 70 {
		fmt.Fprintf(&b, "x%d = 1\n", i)
	}
	_, err := Parse("f", []byte(b.String()), kinds, nil)
	var all Errors
	if !errors.As(err, &all) || len(all) != MaxErrors+1 || all[MaxErrors].Text != "and 20 more" || all[0].Line != 1 || all[49].Line != 50 {
		t.Error(err)
	}
	_, err = Parse("f", []byte(strings.Repeat("[", 5000)), kinds, nil)
	if err == nil {
		t.Error("deep")
	}
	_, err = Parse("f", []byte("a = \"\xff\""), kinds, nil)
	if err == nil || !strings.Contains(err.Error(), "f:1: this is no UTF-8") {
		t.Error(err)
	}
	_, err = Parse("f", make([]byte, MaxFile+1), kinds, nil)
	if err == nil {
		t.Error("long")
	}
}

// TestNamesWithDots: a source whose name has a dot stands in one file, too.
func TestNamesWithDots(t *testing.T) {
	w := world{files: map[string]string{
		"/f.toml":        "repository = \"/x\"\n[sources.\"a.b\"]\npath = \"/a\"\n",
		"/conf.d/x.toml": "[sources.\"a.b\"]\ntags = [\"x\"]\n",
	}}
	if _, err := Load(w, "/f.toml", kinds); err == nil || !strings.Contains(filepath.ToSlash(err.Error()), `/conf.d/x.toml:1: sources."a.b": stands at /f.toml:2 already`) {
		t.Error(err)
	}
	delete(w.files, "/conf.d/x.toml")
	c, err := Load(w, "/f.toml", kinds)
	if err != nil || c.Source("a.b") == nil {
		t.Fatal(err)
	}
	again(t, c)
}

// TestTables holds the rows to what the schema, the page and the errors rely on.
func TestTables(t *testing.T) {
	tabs := tables()
	for name, keys := range map[string][]key{
		"source": tabs.source, "repository": tabs.repository, "transition": tabs.transition, "prune": tabs.prune, "check": tabs.check, "drill": tabs.drill, "copy": tabs.copy, "channel": tabs.channel, "log": tabs.log, "metrics": tabs.metrics, "serve": tabs.serve, "run": tabs.run,
		"policy": tabs.policy, "cycle": tabs.cycle,
	} {
		seen := map[string]bool{}
		for i := range keys {
			k := &keys[i]
			for _, said := range k.names() {
				if seen[said] || strings.Trim(said, "abcdefghijklmnopqrstuvwxyz_") != "" {
					t.Errorf("%s: %q", name, said)
				}
				seen[said] = true
			}
			if k.help == "" || valueOf(k) == "" || (k.form == word || k.form == words) && len(k.words) == 0 {
				t.Errorf("%s: %+v", name, k)
			}
		}
	}
	// A key before the first table is of sources or of repositories.
	for i := range tabs.repository {
		for _, said := range tabs.repository[i].names() {
			if k := find(tabs.defaults, said); tabs.repository[i].top && k != nil {
				t.Errorf("%q is of sources and of repositories", said)
			}
		}
	}
	for _, name := range sections {
		if name != "notify" && name != "repository" && find(tabs.defaults, name) != nil {
			t.Errorf("%q is a key and a table", name)
		}
	}
}

// TestExamplesOfKeys reads the example of each key.
func TestExamplesOfKeys(t *testing.T) {
	heads := map[string]string{
		"source":     "repository = \"/r\"\n[repositories.disk]\nlocation = \"/d\"\n[sources.a]\npath = \"/a\"\nclass = \"A\"\n",
		"repository": "[repositories.disk]\nlocation = \"/d\"\n[repositories.a]\nlocation = \"/r\"\n",
	}
	tabs := tables()
	for i := range tabs.source {
		k := &tabs.source[i]
		if k.example == "" || slices.Contains([]string{"repository", "class", "settings"}, k.name) {
			continue
		}
		text := heads["source"] + k.names()[0] + " = " + k.example + "\n"
		if k.name == "hot_for" {
			text += "then = \"B\"\n"
		}
		again(t, parse(t, text))
	}
	for i := range tabs.repository {
		if k := &tabs.repository[i]; k.example != "" && k.name != "location" {
			again(t, parse(t, heads["repository"]+k.names()[0]+" = "+k.example+"\n"))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(everything)
	f.Add(Example())
	files, _ := filepath.Glob("testdata/bad/*.toml")
	for _, file := range files {
		raw, _ := os.ReadFile(file)
		f.Add(string(raw))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("f", []byte(text), kinds, env)
		if err == nil {
			again(t, c)
			return
		}
		var all Errors
		if !errors.As(err, &all) || len(all) > MaxErrors+1 {
			t.Fatalf("%v", err)
		}
		for _, e := range all {
			if e.Text == "" || e.File != "" && e.Line < 1 && len(text) <= MaxFile {
				t.Fatalf("%+v", e)
			}
		}
	})
}

// TestSchema holds the schema to what Parse reads, by a checker of the few words that it uses.
func TestSchema(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(Schema(kinds), &schema); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{everything, Example()} {
		if err := conforms(schema, plainOf(text), ""); err != nil {
			t.Error(err)
		}
	}
	for _, text := range []string{"x = 1", "[sources.a]\npath = 1", "[run]\nparallel = 0", "[sources.a]\npath = \"/a\"\nzfs = \"b\"", "[notify.a]\ntype = \"fax\"", "[sources.\"a b\"]\npath = \"/a\"", "keep = 3", "no_cache = \"x\""} {
		if conforms(schema, plainOf(text), "") == nil {
			t.Errorf("accepts %q", text)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	text.WriteString("repository = \"/r\"\nschedule = \"daily 02:30 ~30m\"\nwindow = \"22:00-06:00\"\nkeep = { daily = 14 }\nexclude = [\"*.tmp\"]\n")
	for i := range 200 {
		fmt.Fprintf(&text, "[sources.s%d]\npath = \"/srv/%d\"\nexclude = [\"a\", \"b\"]\ntags = [\"x\"]\nclass = \"DEEP_ARCHIVE\"\n", i, i)
	}
	raw := []byte(text.String())
	for b.Loop() {
		if _, err := Parse("f", raw, kinds, env); err != nil {
			b.Fatal(err)
		}
	}
}

// TestURLIsLocation: who writes url, as other programs call it, is told its name here.
func TestURLIsLocation(t *testing.T) {
	_, err := Parse("f", []byte("[repositories.nas]\nurl = \"/srv/backup\"\n"), kinds, nil)
	if err == nil || !strings.Contains(err.Error(), "did you mean location?") {
		t.Error(err)
	}
}
