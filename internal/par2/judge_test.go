package par2

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// judges are PAR 2.0 programs by other hands. In CI the first must be there.
func judges(t *testing.T) []string {
	t.Helper()
	var found []string
	for i, name := range []string{"par2", "par2cmdline-turbo", "par2turbo"} {
		path, err := exec.LookPath(name)
		switch {
		case err == nil:
			found = append(found, path)
		case i == 0 && os.Getenv("CI") == "true":
			t.Fatal("no par2 program, which CI must have")
		}
	}
	if len(found) == 0 {
		t.Skip("no par2 program")
	}
	return found
}

// judge runs a program in dir and returns its exit code and output.
func judge(t *testing.T, dir, program string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestJudgeOurs: what we made, other programs verify and repair.
func TestJudgeOurs(t *testing.T) {
	name := fmt.Sprintf("%064x", 12345)
	for _, program := range judges(t) {
		for _, c := range []struct {
			size int
			p    Params
		}{{1, Params{}}, {3000, Params{}}, {4097, Params{}}, {100_001, Params{}}, {1_000_003, Params{}}, {500_000, Params{7, 3}}, {2_500_000, Params{500, 25}}, {65_537, Params{20, 20}}} {
			dir, data := t.TempDir(), noise(uint64(c.size), c.size)
			volume := mustEncode(t, name, data, c.p)
			s := mustParse(t, volume)
			write(t, dir, name, data)
			write(t, dir, name+Extension, volume)
			if code, out := judge(t, dir, program, "verify", "-q", name+Extension); code != 0 {
				t.Fatalf("%s verify, %d bytes, %v: %d\n%s", program, c.size, c.p, code, out)
			}
			damaged := bytes.Clone(data)
			for i := range s.Recovery() {
				damaged[int64(i)*s.SliceSize] ^= 0x80
			}
			write(t, dir, name, damaged)
			if code, out := judge(t, dir, program, "repair", "-q", name+Extension); code != 0 {
				t.Fatalf("%s repair, %d bytes, %v: %d\n%s", program, c.size, c.p, code, out)
			}
			if !bytes.Equal(read(t, dir, name), data) {
				t.Fatalf("%s repair, %d bytes, %v: another file", program, c.size, c.p)
			}
		}
	}
}

// TestJudgeOursStreamed: a volume laid out for more than there was.
func TestJudgeOursStreamed(t *testing.T) {
	for _, program := range judges(t) {
		dir, data := t.TempDir(), noise(9, 1_234_567)
		e, err := NewEncoder("pack", 8_000_000, Params{})
		if err != nil {
			t.Fatal(err)
		}
		e.Write(data)
		write(t, dir, "pack"+Extension, e.Finish().Bytes())
		write(t, dir, "pack", data[:1_200_000])
		if code, out := judge(t, dir, program, "repair", "-q", "pack"+Extension); code != 0 || !bytes.Equal(read(t, dir, "pack"), data) {
			t.Fatalf("%s: %d\n%s", program, code, out)
		}
	}
}

// sets of other programs: arguments of create, and files with their sizes.
var foreign = []struct {
	args  []string
	files map[string]int
}{
	{[]string{"-s4", "-c3", "-n1"}, map[string]int{"file a": 9, "file b": 1}},
	{[]string{"-s1000", "-c20", "-n1"}, map[string]int{"one": 100_001}},
	{[]string{"-s444", "-c50", "-n3"}, map[string]int{"file a": 7777, "file b": 0, "file c": 1, "file d": 444, "file e": 445, "file f": 20_000}},
	{[]string{"-b97", "-c13", "-u"}, map[string]int{"häuser über": 50_000, "файл": 12_345, "file 空": 3, "ok": 60_001}},
	{[]string{"-b3", "-r100", "-n1"}, map[string]int{"file x": 30_000}},
	{[]string{"-b2000", "-c100", "-n2"}, map[string]int{"file x": 300_000, "file y": 16_384, "file z": 16_385}},
}

// TestJudgeTheirs: what other programs made, we check and repair.
func TestJudgeTheirs(t *testing.T) {
	for _, program := range judges(t) {
		for _, c := range foreign {
			dir := t.TempDir()
			args := append([]string{"create", "-q"}, append(c.args, "set.par2")...)
			files := map[string][]byte{}
			for name, size := range c.files {
				files[name] = noise(uint64(size), size)
				write(t, dir, name, files[name])
				args = append(args, name)
			}
			if code, out := judge(t, dir, program, args...); code != 0 {
				t.Fatalf("%s %q: %d\n%s", program, args, code, out)
			}
			paths, _ := filepath.Glob(filepath.Join(dir, "*.par2"))
			var volumes [][]byte
			for _, p := range paths {
				volumes = append(volumes, read(t, "", p))
			}
			s := mustParse(t, volumes...)
			full := 0 // some programs leave empty files out
			for _, data := range files {
				full += min(1, len(data))
			}
			if len(s.Files) < full || s.Creator == "" {
				t.Fatalf("%s %q: %d files by %q", program, args, len(s.Files), s.Creator)
			}
			checkTheirs(t, fmt.Sprint(program, args), s, files)
		}
	}
}

func checkTheirs(t *testing.T, what string, s *Set, files map[string][]byte) {
	t.Helper()
	var whole []Source
	for _, f := range s.Files {
		data, ok := files[f.Name]
		if !ok {
			t.Fatalf("%s: file %q in the set", what, f.Name)
		}
		whole = append(whole, src(data))
	}
	if r := s.Check(whole, Options{}); !r.Whole() || r.Lost != 0 {
		t.Fatalf("%s: whole files: %+v", what, r)
	}
	// As much as can be is lost, from the last slice on, and the first file is missing if it is small.
	sources, left := append([]Source{}, whole...), s.Recovery()
	for i := len(s.Files) - 1; i >= 0; i-- {
		f := &s.Files[i]
		if f.slices <= left {
			sources[i], left = Source{}, left-f.slices
			continue
		}
		damaged := bytes.Clone(files[f.Name])
		for n := f.slices - left; n < f.slices; n++ {
			damaged[int64(n)*s.SliceSize] ^= 1
		}
		sources[i], left = src(damaged), 0
	}
	r := s.Check(sources, Options{})
	outs := make([]bytes.Buffer, len(s.Files))
	var w []io.Writer
	for i := range outs {
		w = append(w, &outs[i])
	}
	if err := s.Repair(r, w, Options{Workers: 2}); err != nil {
		t.Fatalf("%s: %v (%+v)", what, err, r)
	}
	for i, f := range s.Files {
		if !bytes.Equal(outs[i].Bytes(), files[f.Name]) {
			t.Fatalf("%s: %q: another file", what, f.Name)
		}
	}
}
