package restore_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/restore"
)

// program returns the path of a program that judges, or skips the test.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", name)
	} else if err != nil {
		t.Skipf("%s is missing", name)
	}
	return path
}

func (w *world) tar(o restore.Options) []byte {
	w.t.Helper()
	var b bytes.Buffer
	o.Target, o.Tar = "", &b
	w.clean(o)
	return b.Bytes()
}

func TestTar(t *testing.T) {
	w := newWorld(t)
	w.pack = 300 << 10
	w.oldest = 0 // bsdtar misreads fractions before 1970
	w.plant(21, 120)
	w.write("huge", randomBytes(1, 20<<20))
	w.write("huge2", randomBytes(1, 20<<20))
	w.backup()
	one, two := w.tar(w.options("")), w.tar(w.options(""))
	if sha256.Sum256(one) != sha256.Sum256(two) {
		t.Error("two tars of one snapshot differ")
	}
	archive := filepath.Join(w.base, "a.tar")
	w.must(os.WriteFile(archive, one, 0o600))
	want := without(describe(t, w.src), "socket")
	for name, args := range map[string][]string{
		"tar":    {"--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "-xf", archive, "-C"},
		"bsdtar": {"--numeric-owner", "-p", "-xf", archive, "-C"},
	} {
		t.Run(name, func(t *testing.T) {
			prog := program(t, name)
			out := filepath.Join(w.base, "out-"+name)
			w.must(os.Mkdir(out, 0o755))
			cmd := exec.Command(prog, append(args, out)...)
			if msg, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, msg)
			}
			sameLines(t, want, describe(t, out))
		})
	}
}

// without leaves out the entries whose name ends so; fifos and devices of other users are told as they are.
func without(lines []string, suffix string) []string {
	var out []string
	for _, l := range lines {
		if !strings.HasSuffix(strings.Split(l, `"`)[1], suffix) {
			out = append(out, l)
		}
	}
	return out
}

func TestTarPaths(t *testing.T) {
	w := newWorld(t)
	w.write("docs/a", []byte("1"))
	w.write("docs/b/c", []byte("2"))
	w.must(os.Link(filepath.Join(w.src, "docs/a"), filepath.Join(w.src, "z")))
	w.must(os.Link(filepath.Join(w.src, "docs/a"), filepath.Join(w.src, "zz")))
	w.backup()
	for _, c := range []struct{ path, include, want string }{
		{"", "", "docs/ docs/a docs/b/ docs/b/c z=docs/a zz=docs/a"},
		{"docs", "", "a b/ b/c"},
		{"docs/b/c", "", "c"},
		{"zz", "", "zz"},
		{"", "z*", "z zz=z"},
		{"", "c", "docs/ docs/b/ docs/b/c"},
	} {
		o := w.options("")
		o.Path = []byte(c.path)
		if c.include != "" {
			o.Include = patterns(t, c.include)
		}
		var got []string
		for tr := tar.NewReader(bytes.NewReader(w.tar(o))); ; {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			w.must(err)
			name := h.Name
			if h.Typeflag == tar.TypeLink {
				name += "=" + h.Linkname
			}
			got = append(got, name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q %q: want %s, got %s", c.path, c.include, c.want, strings.Join(got, " "))
		}
	}
}

func TestTarDamage(t *testing.T) {
	w := newWorld(t)
	plantDamage(w)
	w.write("huge", randomBytes(7, 20<<20))
	w.backup()
	all := w.packs("data/")
	bad := all[len(all)/3]
	harms["flipped"](w, bad)
	o := w.options("")
	var b bytes.Buffer
	o.Target, o.Tar = "", &b
	res, err := restore.Run(context.Background(), o)
	w.must(err)
	if res.Failed == 0 || int64(len(res.Damaged)) != res.Failed {
		t.Fatalf("%+v", res)
	}
	damaged := map[string]bool{} // left out or not
	for _, d := range res.Damaged {
		damaged[string(d.Path)] = d.Kept
	}
	seen := map[string]bool{}
	for tr := tar.NewReader(&b); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		w.must(err)
		seen[h.Name] = true
		got, err := io.ReadAll(tr)
		w.must(err)
		want, err := os.ReadFile(filepath.Join(w.src, h.Name))
		kept, bad := damaged[h.Name]
		switch {
		case h.Typeflag != tar.TypeReg:
		case bad && !kept:
			t.Errorf("%s is damaged and there", h.Name)
		case !bad && (err != nil || !bytes.Equal(got, want)):
			t.Errorf("%s differs: %v", h.Name, err)
		case bad && len(got) != len(want):
			t.Errorf("%s has %d bytes", h.Name, len(got))
		}
	}
	for _, name := range names(t, w.src) {
		if _, bad := damaged[name]; !bad && !seen[name] && !seen[name+"/"] {
			t.Errorf("%s is neither there nor named", name)
		}
	}
}

// failing is a writer that breaks off.
type failing struct{ left int }

var errPipe = fmt.Errorf("pipe is closed")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errPipe
	}
	return len(p), nil
}

func TestTarBroken(t *testing.T) {
	w := newWorld(t)
	w.plant(22, 40)
	w.backup()
	for _, left := range []int{0, 1000, 100_000} {
		o := w.options("")
		o.Target, o.Tar = "", &failing{left}
		if _, err := restore.Run(context.Background(), o); !errors.Is(err, errPipe) {
			t.Errorf("after %d bytes: %v", left, err)
		}
	}
}
