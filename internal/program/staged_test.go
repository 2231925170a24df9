//go:build unix

package program

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"firn/internal/source"
)

func fixed(r io.Reader, size int64) source.Stream {
	return source.Stream{Path: "x", Size: size, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }}
}

func plenty(string) int64 { return 1 << 40 }

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestStaged(t *testing.T) {
	for _, size := range []int{0, 1, stageBuffer, stageBuffer + 1, 3*stageBuffer + 17} {
		dir := t.TempDir()
		content := bytes.Repeat([]byte("0123456"), size/7+1)[:size]
		s := stagedIn(fixed(iotest.HalfReader(bytes.NewReader(content)), 0), dir, plenty)
		r, err := s.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		empty(t, dir) // it has no name
		if st, err := r.(*tempFile).Stat(); err != nil || st.Mode().Perm() != 0o600 || st.Size() != int64(size) {
			t.Errorf("%v, %v", st, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d of %d bytes, %v", len(got), size, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStagedFails(t *testing.T) {
	dir := t.TempDir()
	why := errors.New("exit status 1")
	var temp *TempError
	var space *SpaceError
	if _, err := stagedIn(fixed(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(why)), 0), dir, plenty).Open(t.Context()); err != why {
		t.Errorf("a producer that fails: %v", err)
	}
	if _, err := stagedIn(fixed(strings.NewReader("x"), 0), filepath.Join(dir, "none"), plenty).Open(t.Context()); !errors.As(err, &temp) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := stagedIn(fixed(strings.NewReader("x"), 1<<30), dir, func(string) int64 { return 1 << 30 }).Open(t.Context()); !errors.As(err, &space) || space.Free != 1<<30 {
		t.Errorf("what is expected does not fit: %v", err)
	}
	looks := 0
	shrinking := func(string) int64 { looks++; return stageSpare + 1 - int64(looks) }
	if _, err := stagedIn(fixed(io.LimitReader(zeros{}, 2*stageEach*stageBuffer), 0), dir, shrinking).Open(t.Context()); !errors.As(err, &space) || space.Size == 0 || space.Dir != dir || !strings.Contains(err.Error(), "64.0 MiB are left to others") {
		t.Errorf("the disk fills up: %v", err)
	}
	empty(t, dir)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestStagedLeft: what a crash left between making a file and taking its name away goes with the next one, and nothing else does.
func TestStagedLeft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{tempPrefix + "123", "dump.sql"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, tempPrefix+"folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := Staged(fixed(strings.NewReader("x"), 0), dir).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	left, _ := os.ReadDir(dir)
	if len(left) != 2 || left[0].Name() != tempPrefix+"folder" || left[1].Name() != "dump.sql" {
		t.Error(left)
	}
	named, err := namedTemp(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Error(left)
	}
}

// fake is a producer that tells what happens to it.
type fake struct {
	batch *source.Batch
	err   error
	ends  []bool
	fails error // of End
}

func (f *fake) Prepare(context.Context, []source.Have) (*source.Batch, error) {
	if f.err != nil {
		return nil, f.err
	}
	f.batch.End = func(_ context.Context, done bool) error { f.ends = append(f.ends, done); return f.fails }
	return f.batch, nil
}

func with(f *fake, values map[string]string, notes *[]string) source.Producer {
	o := source.NewSettings(Common, values)
	return With(f, ReadAround(o, source.Host{Note: func(text string) { *notes = append(*notes, text) }}))
}

func TestHooks(t *testing.T) {
	why := errors.New("no such dataset")
	for name, c := range map[string]struct {
		values map[string]string
		err    error // of the producer
		fails  error // of its End
		done   bool
		notes  string
		wrong  string // what Prepare fails with
		late   string // what End fails with
	}{
		"all is well":           {values: map[string]string{"before": "echo b", "after": "echo a $FIRN_STATUS"}, done: true, notes: "b,a done"},
		"failed":                {values: map[string]string{"after": "echo a $FIRN_STATUS"}, notes: "a failed"},
		"before fails":          {values: map[string]string{"before": "echo b; exit 3", "after": "echo a $FIRN_STATUS"}, notes: "b,a failed", wrong: `command "before": exit status 3: b`},
		"the producer fails":    {values: map[string]string{"after": "echo a $FIRN_STATUS"}, err: why, notes: "a failed", wrong: why.Error()},
		"both fail":             {values: map[string]string{"before": "exit 3", "after": "exit 4"}, notes: `command "after": exit status 4`, wrong: `command "before": exit status 3`},
		"after fails":           {values: map[string]string{"after": "exit 4"}, done: true, late: `command "after": exit status 4`},
		"the end fails":         {values: map[string]string{"after": "echo a $FIRN_STATUS"}, done: true, fails: why, notes: "a done", late: why.Error()},
		"streams in no folder":  {values: map[string]string{"read_from": "/x", "after": "echo a $FIRN_STATUS"}, notes: "a failed", wrong: errNoFolder.Error()},
		"prints a lot, no tail": {values: map[string]string{"before": "echo 1; echo 2 >&2"}, done: true, notes: "1,2"},
	} {
		t.Run(name, func(t *testing.T) {
			goroutines(t)
			var notes []string
			f := &fake{batch: &source.Batch{Streams: []source.Stream{fixed(strings.NewReader("x"), 0)}}, err: c.err, fails: c.fails}
			b, err := with(f, c.values, &notes).Prepare(t.Context(), nil)
			if text(err) != c.wrong {
				t.Fatalf("Prepare: %v", err)
			}
			if err == nil {
				if err := b.End(t.Context(), c.done); text(err) != c.late {
					t.Errorf("End: %v", err)
				}
				if len(f.ends) != 1 || f.ends[0] != c.done {
					t.Errorf("the producer heard %v", f.ends)
				}
			}
			if got := strings.Join(notes, ","); got != c.notes {
				t.Errorf("noted %q, want %q", got, c.notes)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestReadFrom(t *testing.T) {
	var notes []string
	b, err := with(&fake{batch: &source.Batch{Folder: "/data"}}, map[string]string{"read_from": "/snap"}, &notes).Prepare(t.Context(), nil)
	if err != nil || b.Folder != "/snap" || b.Display != "/data" {
		t.Errorf("%+v, %v", b, err)
	}
}

// TestTempDir: the settings lead to a temporary file.
func TestTempDir(t *testing.T) {
	var notes []string
	for _, values := range []map[string]string{{"temp_dir": t.TempDir()}, {"use_temp_file": "yes"}} {
		b, err := with(&fake{batch: &source.Batch{Streams: []source.Stream{fixed(strings.NewReader("abc"), 0)}}}, values, &notes).Prepare(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.Streams[0].Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := r.(*tempFile); !ok {
			t.Errorf("%v: %T", values, r)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	p := &fake{}
	if with(p, map[string]string{"temp_dir": "/x", "use_temp_file": "no"}, &notes) != source.Producer(p) {
		t.Error("use_temp_file=no is not obeyed")
	}
}
