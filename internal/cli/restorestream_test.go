package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/advice"
	"firn/internal/source"
)

// growing is a source whose states have content of some size.
type growing struct {
	state   int
	outside bool // the first state is stored elsewhere
}

func grown(state int) []byte {
	b := make([]byte, 300_000)
	_, _ = rand.NewChaCha8([32]byte{byte(state)}).Read(b)
	return b
}

func (p *growing) Prepare(_ context.Context, have []source.Have) (*source.Batch, error) {
	p.state++
	at := fmt.Sprint("state", p.state)
	point := source.Point{Of: "tank/home", At: at, ID: "id" + at}
	b := &source.Batch{Base: -1}
	if p.outside && p.state == 1 {
		point.Outside = true
		b.Points = []source.Point{point}
		return b, nil
	}
	point.Stream = "home-" + at
	if len(have) > 0 {
		b.Base, point.From, point.FromAt = 0, have[0].Points[0].ID, have[0].Points[0].At
	}
	content := grown(p.state)
	b.Points = []source.Point{point}
	b.Streams = []source.Stream{{Path: point.Stream, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}}
	return b, nil
}

// chain backs up states.
func (b *bench) chain(p *growing, n int) {
	b.t.Helper()
	for range n {
		if err := b.run(p); err != nil {
			b.t.Fatal(err)
		}
	}
	b.said()
}

// firn runs a command and returns what it prints, and its exit code.
func (b *bench) firn(ctx context.Context, args ...string) (out, errs string, code int) {
	b.t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	stdout, err := os.CreateTemp(b.dir, "out")
	if err != nil {
		b.t.Fatal(err)
	}
	stderr, err := os.CreateTemp(b.dir, "err")
	if err != nil {
		b.t.Fatal(err)
	}
	c := newConsole(null, stdout, stderr)
	root := newRoot(c)
	root.SetArgs(args)
	wrong := root.ExecuteContext(ctx)
	if e := c.writeError(); e != nil && wrong == nil {
		wrong = e
	}
	_, _ = stdout.Close(), stderr.Close()
	raw, _ := os.ReadFile(stdout.Name())
	said, _ := os.ReadFile(stderr.Name())
	text := string(said)
	if wrong != nil {
		text += fmt.Sprintf("error: %v\nhint: %s\n", wrong, advice.Hint(wrong))
	}
	return string(raw), text, advice.Code(wrong)
}

// wants runs a command that ends so, and says this.
func (b *bench) wants(code int, words []string, args ...string) string {
	b.t.Helper()
	out, errs, got := b.firn(b.t.Context(), args...)
	if got != code {
		b.t.Errorf("firn %q: code %d, want %d\n%s%s", args, got, code, out, errs)
	}
	for _, w := range words {
		if !strings.Contains(out+errs, w) {
			b.t.Errorf("firn %q: no %q in\n%s%s", args, w, out, errs)
		}
	}
	return out
}

func skipWithoutShell(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a Unix shell")
	}
}

func TestRestoreChain(t *testing.T) {
	skipWithoutShell(t)
	b := newBench(t)
	b.chain(&growing{}, 3)
	dir := filepath.Join(b.dir, "out")
	whole := slices.Concat(grown(1), grown(2), grown(3))

	b.wants(0, []string{"create", "home-state1", "home-state3"}, "restore", "latest", "--target", dir, "--dry-run")
	if _, err := os.Stat(dir); err == nil {
		t.Error("a dry run made the target")
	}
	b.wants(0, []string{"replayed 3 streams", "879 KiB"}, "restore", "latest", "--target", dir)
	for k := 1; k <= 3; k++ {
		if got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint("home-state", k))); err != nil || !bytes.Equal(got, grown(k)) {
			t.Errorf("state %d: %d bytes, %v", k, len(got), err)
		}
	}
	b.wants(0, []string{"replayed 0 streams", "3 there already"}, "restore", "latest", "--target", dir)
	b.wants(0, []string{"replayed 0 streams", "2 there already"}, "restore", "latest~1", "--target", dir)
	b.wants(0, []string{"replayed 0 streams", "3 there already"}, "restore", "latest:tank/home", "--target", dir)
	b.wants(0, []string{"replayed 3 streams"}, "restore", "latest:tank/home", "--to-command", "cat >/dev/null")
	if err := os.WriteFile(filepath.Join(dir, "home-state2"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.wants(1, []string{"is there already", "hint: choose another target", "; --overwrite changed replaces"}, "restore", "latest", "--target", dir)
	b.wants(0, []string{"replayed 1 stream"}, "restore", "latest", "--target", dir, "--overwrite", "changed")
	b.wants(0, []string{`"home-state3" is an increment: it starts from "state2"`}, "restore", "latest:home-state3", "--target", dir+"1")
	b.wants(0, []string{`is an increment`}, "restore", "latest", "--tar", dir+".tar")

	sum := filepath.Join(b.dir, "sum")
	b.wants(0, []string{"replayed 3 streams"}, "restore", "latest", "--to-command", `cat >>`+sum+`; echo "$FIRN_STREAM $FIRN_OF $FIRN_FROM $FIRN_AT" >>`+sum+`.names`)
	if got, err := os.ReadFile(sum); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("%d bytes went to the command, of %d: %v", len(got), len(whole), err)
	}
	if got, _ := os.ReadFile(sum + ".names"); string(got) != "home-state1 tank/home  state1\nhome-state2 tank/home state1 state2\nhome-state3 tank/home state2 state3\n" {
		t.Errorf("%s", got)
	}
	b.wants(1, []string{`stream "home-state2"`, "exit status 7"}, "restore", "latest", "--to-command", `cat >/dev/null; [ $FIRN_AT != state2 ] || exit 7`)

	b.wants(2, []string{"--stdout takes one stream", "home-state1, home-state2"}, "restore", "latest", "--stdout")
	if out := b.wants(0, nil, "restore", "latest~1:home-state2", "--stdout"); out != string(grown(2)) {
		t.Errorf("%d bytes", len(out))
	}
	b.wants(1, []string{"not in the snapshot", "firn ls"}, "restore", "latest:home-state1", "--stdout")
	b.wants(0, []string{"home-state1", "state2", "3 streams, 879 KiB of content"}, "restore", "latest", "--plan", "--to-command", "true")

	var plan struct {
		Event   string
		Links   int
		Streams []struct{ Path, At, Snapshot string }
		Packs   []struct{ Object string }
	}
	if err := json.Unmarshal([]byte(b.wants(0, nil, "restore", "latest", "--plan", "--json", "--target", dir+"2")), &plan); err != nil || plan.Event != "replay_plan" || plan.Links != 3 || plan.Streams[2].At != "state3" || len(plan.Packs) == 0 {
		t.Errorf("%+v, %v", plan, err)
	}
	var res struct {
		Event         string
		Links, Failed int
		Streams       []struct{ File string }
		Lost          []any
	}
	if err := json.Unmarshal([]byte(b.wants(0, nil, "restore", "latest", "--json", "--target", dir+"2")), &res); err != nil || res.Event != "replay" || res.Links != 3 || res.Streams[1].File != filepath.Join(dir+"2", "home-state2") || res.Lost == nil {
		t.Errorf("%+v, %v", res, err)
	}
	// Streams are files to all that looks into snapshots.
	b.wants(0, []string{"home-state3"}, "ls", "latest")
	b.wants(0, []string{"home-state3"}, "find", "home-*")
	if out := b.wants(0, nil, "cat", "latest:home-state3"); out != string(grown(3)) {
		t.Errorf("%d bytes", len(out))
	}
	b.wants(0, []string{"home-state2", "home-state3"}, "diff", "latest~1", "latest")
}

func TestRestoreStreamUsage(t *testing.T) {
	skipWithoutShell(t)
	b := newBench(t)
	b.chain(&growing{}, 2)
	files := filepath.Join(b.dir, "files")
	if err := os.MkdirAll(files, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, "one"), []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.wants(0, nil, "backup", files)
	for _, c := range []struct {
		code  int
		words []string
		args  []string
	}{
		{2, []string{"both --target and --into are given"}, []string{"--target", "x", "--into", "zfs:a/b"}},
		{2, []string{"both --into and --zfs"}, []string{"--zfs", "x", "--into", "zfs:a/b"}},
		{2, []string{"where to?"}, nil},
		{2, []string{"-o is for --into"}, []string{"-o", "a=b", "--stdout"}},
		{2, []string{"want KIND:REST"}, []string{"--into", "./zfs"}},
		{2, []string{"there is no kind of source", "was zfs meant?"}, []string{"--into", "zfd:a"}},
		{2, []string{`there is no setting "nonsense"`}, []string{"--zfs", "a/b", "-o", "nonsense=1"}},
		{2, []string{"nothing that streams can be written back into", "--to-command"}, []string{"--into", "command:x"}},
		{2, []string{`is of the kind "counter", and "zfs:a/b" takes the kind "zfs"`}, []string{"--zfs", "a/b"}},
		{2, []string{"are for --target"}, []string{"--zfs", "a/b", "--overwrite", "always"}},
		{2, []string{"cannot hold both"}, []string{"--stdout", "--json"}},
	} {
		b.wants(c.code, c.words, append([]string{"restore", "latest", "--source", "x"}, c.args...)...)
	}
	for _, c := range []struct{ args, want string }{
		{"--into po", "postgres:\n"}, {"--into ", "zfs:\n"}, {"--into zfs:a -o unm", "unmounted=\n"}, {"--zfs a -o for", "force=\n"}, {"--into svn:/a -o for", ":6\n"},
	} {
		b.wants(0, []string{c.want}, append([]string{"__complete", "restore", "latest"}, strings.Split(c.args, " ")...)...)
	}
	b.wants(2, []string{"patterns choose files"}, "restore", "latest", "*.sql", "--source", "x", "--to-command", "cat")
	b.wants(2, []string{"files, not streams"}, "restore", "latest", "--source", files, "--to-command", "cat")
	if out := b.wants(0, nil, "restore", "latest:one", "--source", files, "--stdout"); out != "one\n" {
		t.Errorf("%q", out)
	}
}

// TestRestoreBrokenChain: what is missing, damaged or elsewhere is said, and what is there nevertheless.
func TestRestoreBrokenChain(t *testing.T) {
	skipWithoutShell(t)
	b := newBench(t)
	b.chain(&growing{}, 1)
	data := func() []string {
		names, _ := filepath.Glob(filepath.Join(b.dir, "repo", "data", "*", "*", "*"))
		return slices.DeleteFunc(names, func(n string) bool { return strings.HasSuffix(n, ".par2") })
	}
	first := data()
	p := &growing{state: 1}
	b.chain(p, 1)
	second := slices.DeleteFunc(data(), func(n string) bool { return slices.Contains(first, n) })
	middle := b.newest().ID
	b.chain(p, 1)
	raw, err := os.ReadFile(second[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := 300; i < len(raw); i += 64 << 10 {
		raw[i] ^= 1
	}
	_ = os.Chmod(second[0], 0o600)
	if err := os.WriteFile(second[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := filepath.Join(b.dir, "sum")
	out := b.wants(3, []string{`"home-state2"`, "it builds upon a stream that is damaged"}, "restore", "latest", "--json", "--to-command", "cat >>"+sum)
	if got, _ := os.ReadFile(sum); !bytes.HasPrefix(got, grown(1)) || len(got) >= 600_000 {
		t.Errorf("%d bytes went to the command", len(got))
	}
	if !strings.Contains(out, `"links":1`) || !strings.Contains(out, `"failed":2`) || !strings.Contains(out, `"until":"state1"`) {
		t.Error(out)
	}
	dir := filepath.Join(b.dir, "out")
	b.wants(3, []string{"2 FAILED", `of "tank/home" all is there up to "state1"`}, "restore", "latest", "--target", dir)
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("%v", list)
	}

	b.wants(1, []string{"1 snapshot built upon that", shortID(b.newest().ID)}, "check", "--read-data")

	// A snapshot in the middle is not there.
	names, _ := filepath.Glob(filepath.Join(b.dir, "repo", "snapshots", "*", middle.String()+"*"))
	for _, n := range names {
		if err := os.Remove(n); err != nil {
			t.Fatal(err)
		}
	}
	b.wants(1, []string{"the chain of \"tank/home\"", "is not there", `hint: up to "state1" all is there: restore snapshot`}, "restore", "latest", "--to-command", "cat")
	b.wants(1, []string{"nothing of it can be restored", "1 snapshot built upon that"}, "check")

	// A base that is stored elsewhere.
	b = newBench(t)
	b.chain(&growing{outside: true}, 2)
	b.wants(0, []string{"  elsewhere  ", "  2, on "}, "snapshots")
	b.wants(0, []string{"starts from state1 of tank/home, which another tool has stored"}, "restore", "latest", "--plan", "--to-command", "cat")
	b.wants(0, []string{"replayed 1 stream"}, "restore", "latest", "--to-command", "cat >/dev/null")
	b.wants(1, []string{"the snapshot has no streams"}, "restore", "latest~1", "--to-command", "cat")
}

// TestRestoreStreamInterrupted: a command that does not end is stopped, and nothing of it stays.
func TestRestoreStreamInterrupted(t *testing.T) {
	skipWithoutShell(t)
	b := newBench(t)
	b.chain(&growing{}, 2)
	begun := filepath.Join(b.dir, "begun")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for range 30_000 {
			if _, err := os.Stat(begun); err == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	_, errs, code := b.firn(ctx, "restore", "latest", "--to-command", "touch "+begun+"; exec sleep 1000")
	if code != 1 || !strings.Contains(errs, "interrupted") || !strings.Contains(errs, "run the same command again") {
		t.Errorf("code %d: %s", code, errs)
	}
	b.wants(0, []string{"replayed 2 streams"}, "restore", "latest", "--to-command", "cat >/dev/null")
}
