package migrate

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"firn/internal/retain"
)

var update = flag.Bool("update", false, "write the golden files anew")

// show is a result as the golden files have it.
func show(r *Result) string {
	var b strings.Builder
	b.WriteString(r.TOML)
	fmt.Fprintf(&b, "--- %d sources\n", r.Sources)
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "%d: %s\n", n.Line, n.Text)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := S3napback(filepath.Base(file), raw, S3napbackOptions{Year: 2026})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		golden := strings.TrimSuffix(file, ".conf") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(show(r)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || show(r) != string(want) {
			t.Errorf("%s (%v):\n%s", golden, err, show(r))
		}
		sources(t, r)
	}
}

// sources reads the TOML of a result.
func sources(t *testing.T, r *Result) map[string]map[string]any {
	t.Helper()
	var doc struct {
		Sources map[string]map[string]any `toml:"sources"`
	}
	if err := toml.Unmarshal([]byte(r.TOML), &doc); err != nil {
		t.Fatalf("%v in\n%s", err, r.TOML)
	}
	if len(doc.Sources) != r.Sources {
		t.Errorf("%d sources, said %d", len(doc.Sources), r.Sources)
	}
	return doc.Sources
}

func read(t *testing.T, text string) map[string]map[string]any {
	t.Helper()
	r, err := S3napback("x.conf", []byte(text), S3napbackOptions{Year: 2026, Repository: "/mnt/disk"})
	if err != nil {
		t.Fatal(err)
	}
	return sources(t, r)
}

// TestClosing reads the same blocks with and without closing tags.
func TestClosing(t *testing.T) {
	with := "<Cycle a>\nFulls 3\nDirectory /x\n</Cycle>\n<Directory /y>\nFulls 5\nExclude /y/z\n</Directory>\n<MySQL all>\nFulls 9\n</MySQL>\n<Cycle b>\nDirectory /w\n</Cycle>\n"
	want := fmt.Sprint(read(t, with))
	for _, without := range []string{"</Directory>\n", "</MySQL>\n", "</Cycle>\n"} {
		text := strings.ReplaceAll(with, without, "")
		if got := fmt.Sprint(read(t, text)); got != want {
			t.Errorf("without %q:\n%s\n%s", without, got, want)
		}
		with = text
	}
}

// TestDays compares the days on which s3napback would run with those on which ours is due.
func TestDays(t *testing.T) {
	for frequency := 1; frequency < 40; frequency++ {
		for phase := 0; phase < frequency; phase += 1 + frequency/5 {
			for _, kind := range []string{"SimpleCycle", "HanoiCycle"} {
				got := read(t, fmt.Sprintf("<Directory /x>\nCycleType %s\nFrequency %d\nPhase %d\n</Directory>", kind, frequency, phase))
				c, err := retain.ParseCycle(got["x"]["cycle"].(string))
				if err != nil {
					t.Fatal(err)
				}
				for day := range 365 {
					theirs := (day+phase)%frequency == 0
					if kind == "HanoiCycle" {
						theirs = (20454+day)%frequency == 0 // 1 January 2026 is day 20454 of Unix
					}
					if ours := (9131+day+c.Phase)%c.Frequency == 0; ours != theirs { // and day 9131 from 1 January 2001
						t.Fatalf("%s, frequency %d, phase %d, day %d: %v, want %v (%v)", kind, frequency, phase, day, ours, theirs, c)
					}
				}
			}
		}
	}
}

func TestBadFiles(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "nothing to back up",
		"Directory":                           "x.conf:1: Directory wants a name",
		"<Directory>\n":                       "x.conf:1: <Directory> wants a name",
		"<Directory /x\n":                     "x.conf:1: a block",
		"<>\n":                                "x.conf:1: want <Kind name>",
		"\n</Cycle>\n":                        "x.conf:2: </cycle> closes nothing",
		"Directory \"/x\n":                    "x.conf:1: a quote",
		"<Directory /x>\nFulls many\n":        "x.conf:2: Fulls \"many\": want a number",
		"<Directory /x>\nFulls -1\n":          "x.conf:2: Fulls",
		"<Directory /x>\nFulls 99999999999\n": "x.conf:2: Fulls",
		"<Directory /x>\nCycleType Moon\n":    "x.conf:2: CycleType \"Moon\"",
		"<Directory /x>\nFrequency 3000000\n": "x.conf:1: ",
		"a\x00b":                              "no text",
		"\xff":                                "UTF-8",
		strings.Repeat("x", MaxFile+1):        "longer than",
		strings.Repeat("\n", maxLines+1):      "too many lines",
		strings.Repeat("<Cycle a>\n<b c>\n", 40_0): "too deep",
	} {
		r, err := S3napback("x.conf", []byte(text), S3napbackOptions{Year: 2026, Repository: "/mnt/disk"})
		var typed *Error
		if !errors.As(err, &typed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, %v; want %q", text, r, err, want)
		}
	}
	if _, err := S3napback("x.conf", []byte("Directory /x"), S3napbackOptions{Year: 2026}); err == nil || !strings.Contains(err.Error(), "no Bucket") {
		t.Errorf("no bucket: %v", err)
	}
}

// TestNothingSilent makes sure that each directive that is left out is told.
func TestNothingSilent(t *testing.T) {
	text := "Bucket b-1\nGzipLevel 9\n<Cycle a>\nDirectory /x\nColour blue\n</Cycle>\n<Directory /y>\nShape round\nDirectory /z\n</Directory>\n<Oracle db>\nFulls 2\n</Oracle>\n"
	r, err := S3napback("x.conf", []byte(text), S3napbackOptions{Year: 2026})
	if err != nil {
		t.Fatal(err)
	}
	all := show(r)
	for _, want := range []string{"2: GzipLevel", "5: Colour", "8: Shape", "9: Directory inside", "11: <Oracle db>"} {
		if !strings.Contains(all, "\n"+want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

func TestPasswords(t *testing.T) {
	o := PasswordsOptions{Base: "s3://bucket/", Folder: "/etc/firn/secrets"}
	r, err := Passwords("p.json", []byte(`{"my_dataset_A": {"pass": "a\"\\ü"}, "tank/b": {"pass": "x"}, "tank b": {"pass": "x"}}`), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Secrets) != 2 || r.Secrets[0] != (Secret{"my_dataset_A.pass", `a"\ü`}) || r.Secrets[1] != (Secret{"tank-b.pass", "x"}) {
		t.Errorf("%q", r.Secrets)
	}
	if all := show(r); strings.Contains(all, `ü`) || strings.Contains(all, `"x"`) {
		t.Errorf("a password is printed:\n%s", all)
	}
	got := sources(t, r)
	if got["tank-b-2"]["repository"] != "tank-b" || got["tank-b"]["zfs"] != "tank/b" || got["tank-b-2"]["zfs"] != "tank b" {
		t.Errorf("%v", got)
	}
	for text, want := range map[string]string{
		``: "ends too early", `[]`: "want {", `{`: "ends too early", `{}`: "no dataset", `{"a": "b"}`: `dataset "a": want {`, `{"a": {"pass": 1}}`: "want {", `{"a": {"pass": ""}}`: "want {",
		`{"a": {"pass": "x", "user": "y"}}`: `"user" is not known`, `{"a": {"pass": "x"}, "a": {"pass": "y"}}`: "twice", `{"a": {"pass": "x"}} {}`: "more behind",
		"{\"a\":\n{\"pass\": \"\\q\"}}": "p.json:2: a backslash", `{"a": {"pass": "x\ny"}}`: "more than one line",
	} {
		if _, err := Passwords("p.json", []byte(text), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzS3napback(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.conf")
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("<a \\\n> \"x\\\"\nDirectory $HOME \"\t\x01\""))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := S3napback("x.conf", raw, S3napbackOptions{Year: 2026, Repository: "/mnt/disk"}); err == nil {
			sources(t, r)
		}
	})
}

func FuzzPasswords(f *testing.F) {
	f.Add([]byte(`{"a": {"pass": "x"}, "b/c": {"pass": "y"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := Passwords("p.json", raw, PasswordsOptions{Base: "s3://b", Folder: "/s"})
		if err != nil {
			return
		}
		sources(t, r)
		for _, s := range r.Secrets {
			if s.Name != filepath.Base(s.Name) || strings.HasPrefix(s.Name, ".") {
				t.Errorf("%q is no name of a file", s.Name)
			}
		}
	})
}
