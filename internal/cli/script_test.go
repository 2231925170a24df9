package cli_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"firn/internal/cli"
	"firn/internal/state"
)

// Keys of the scripts, made for them alone.
const (
	recipient  = "age1kmv0u9w79vqqlgtz8ctsfuknazl6ef7zvmct4m76l3dfucn56avsmpv8de"
	identity   = "AGE-SECRET-KEY-17C8P4MUSKXSEDJY04T4F2PVL2AK74ANADX7AY482V2LDWHLMYJSQ9FR5QA"
	recipient2 = "age16n5yjqc3mlqp9hx5z8cuw29se9lazaddhjvnlfzyqayuazk32qrq2x2j92"
	identity2  = "AGE-SECRET-KEY-1T8HJLZ599KYPYAFSN22FTVE8XCVJ720J8T5KMEY7GKKS3ZYHUZHSQZLHAQ"
)

func TestMain(m *testing.M) {
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") != "firn" { // the tests themselves
		forgetMachine()
	}
	testscript.Main(m, map[string]func(){"firn": func() { os.Exit(cli.Main(os.Args[1:])) }})
}

// forgetMachine hides what the environment of this machine says to firn, also from the programs that tests start with it: its configuration, repositories, secrets and accounts.
func forgetMachine() {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		tests := strings.HasPrefix(name, "FIRN_TEST_") || name == "FIRN_KILLS" // what they say to each other, and who runs them
		if strings.HasPrefix(name, "FIRN_") && !tests || strings.HasPrefix(name, "AWS_") {
			_ = os.Unsetenv(name)
		}
	}
	for name, value := range map[string]string{"FIRN_CONFIG": "none", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true"} {
		_ = os.Setenv(name, value)
	}
}

// machine is the environment of a person whose home is dir, and who has no configuration. Nothing is kept elsewhere, not even by root.
func machine(dir string, more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "FIRN_CONFIG=none", "FIRN_CACHE_DIR=" + filepath.Join(dir, ".cache", "firn"), "FIRN_STATE_DIR=" + filepath.Join(dir, ".local", "state", "firn"),
		"FIRN_HOST=nas", "AWS_EC2_METADATA_DISABLED=true"}, more...)
}

// TestScripts runs testdata/script. Beside the commands of testscript there are
//
//	setup            a repository at $FIRN_REPO that opens with key.txt, and a folder src
//	code N CMD…      runs CMD and wants this exit code
//	damage GLOB      flips a bit in the middle of every file that matches
//	untouched GLOB   the files that match are as at the last "remember"
//	remember GLOB    notes the files that match
//	hold             takes the locks of all sources that local state knows
//	replace FILE OLD NEW
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		Setup:         prepare,
		UpdateScripts: os.Getenv("UPDATE") != "",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"setup": setup, "code": code, "damage": damage, "remember": remember, "untouched": untouched, "hold": hold, "replace": replace,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// prepare gives a script an environment in which nothing of the machine is seen.
func prepare(env *testscript.Env) error {
	for name, value := range map[string]string{
		"FIRN_CACHE_DIR": filepath.Join(env.WorkDir, "cache"), "FIRN_STATE_DIR": filepath.Join(env.WorkDir, "state"), "FIRN_REPO": filepath.Join(env.WorkDir, "repo"),
		"FIRN_HOST": "nas", "FIRN_CONFIG": "none", "RECIPIENT": recipient, "RECIPIENT2": recipient2, "TZ": "UTC", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		env.Setenv(name, value)
	}
	env.Values["files"] = map[string]string{}
	for name, content := range map[string]string{"key.txt": identity, "key2.txt": identity2} {
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(content+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func setup(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(ts.Exec("firn", "init", "--recipient", recipient, "--kit-saved", "-q"))
	ts.Check(os.MkdirAll(ts.MkAbs("src/sub"), 0o755))
	for name, text := range map[string]string{"src/one.txt": "one\n", "src/sub/two.txt": "two two\n", "src/sub/three.o": "three\n"} {
		path := ts.MkAbs(name)
		ts.Check(os.WriteFile(path, []byte(text), 0o644))
		ts.Check(os.Chmod(path, 0o644)) // whatever the umask is
		old := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		ts.Check(os.Chtimes(path, old, old))
	}
	time.Sleep(15 * time.Millisecond) // the files' ctime can be relied on from then on
}

func code(ts *testscript.TestScript, _ bool, args []string) {
	want := "exit status " + args[0]
	if args[0] == "0" {
		want = "<nil>"
	}
	if got := fmt.Sprint(ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("ended with %s, want %s", got, want)
	}
}

// matching returns the regular files that a pattern names; "**" at its end means all below.
func matching(ts *testscript.TestScript, pattern string) []string {
	root, below := strings.CutSuffix(pattern, "/**")
	var files []string
	found, err := filepath.Glob(ts.MkAbs(root))
	ts.Check(err)
	for _, f := range found {
		ts.Check(filepath.WalkDir(f, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && (below || path == f) {
				files = append(files, path)
			}
			return err
		}))
	}
	return files
}

func damage(ts *testscript.TestScript, _ bool, args []string) {
	files := matching(ts, args[0])
	if len(files) == 0 {
		ts.Fatalf("no file %q", args[0])
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		ts.Check(err)
		raw[len(raw)/2] ^= 4
		ts.Check(os.WriteFile(f, raw, 0o600))
	}
}

func remember(ts *testscript.TestScript, _ bool, args []string) {
	kept := ts.Value("files").(map[string]string)
	clear(kept)
	for _, f := range matching(ts, args[0]) {
		raw, err := os.ReadFile(f)
		ts.Check(err)
		kept[f] = string(raw)
	}
}

func untouched(ts *testscript.TestScript, _ bool, args []string) {
	kept := ts.Value("files").(map[string]string)
	files := matching(ts, args[0])
	if len(files) != len(kept) {
		ts.Fatalf("%d files, there were %d: %q", len(files), len(kept), files)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		ts.Check(err)
		if before, ok := kept[f]; !ok || before != string(raw) {
			ts.Fatalf("%s was touched", f)
		}
	}
}

func replace(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	raw, err := os.ReadFile(path)
	ts.Check(err)
	if !bytes.Contains(raw, []byte(args[1])) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, bytes.ReplaceAll(raw, []byte(args[1]), []byte(args[2])), 0o600))
}

func hold(ts *testscript.TestScript, _ bool, _ []string) {
	locks := matching(ts, "state/*/locks/*")
	if len(locks) == 0 {
		ts.Fatalf("no locks")
	}
	for _, path := range locks {
		source, err := hex.DecodeString(filepath.Base(path))
		ts.Check(err)
		id, err := hex.DecodeString(filepath.Base(filepath.Dir(filepath.Dir(path))))
		ts.Check(err)
		st := state.Open(state.Dirs{State: ts.Getenv("FIRN_STATE_DIR")}, [16]byte(id), nil)
		lock, err := st.Lock([8]byte(source), time.Now())
		ts.Check(err)
		ts.Defer(lock.Release)
	}
}
