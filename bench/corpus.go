//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// corpusVersion is part of every marker: a corpus that an older harness built is built again.
const corpusVersion = 1

// corpus is a tree to back up.
type corpus struct {
	name  string
	what  string
	files int64 // at full size, at most
	bytes int64 // likewise
	disk  int64 // what it takes on disk with blocks of 4 KiB
	build func(b *builder) error
	edit  func(e *editor) error
}

func corpora() []corpus {
	return []corpus{
		{"src", "source code and documentation of this machine", 138_000, 2500e6, 2800e6, (*builder).src, (*editor).tree},
		{"binaries", "programs and libraries of this machine", 20_000, 1000e6, 1010e6, (*builder).binaries, (*editor).tree},
		{"photos", "incompressible files", 300, 1700e6, 1701e6, (*builder).photos, (*editor).tree},
		{"many", "tiny text files", 300_000, 22e6, 1250e6, (*builder).many, (*editor).tree},
		{"image", "one file of text, programs, random bytes and zeros", 1, 2 << 30, 2 << 30, (*builder).image, (*editor).image},
	}
}

func corpusNames() (out []string) {
	for _, c := range corpora() {
		out = append(out, c.name)
	}
	return out
}

// marker lies beside a finished corpus.
type marker struct {
	Version int     `json:"version"`
	Scale   float64 `json:"scale"`
	Files   int     `json:"files"`
	Bytes   int64   `json:"bytes"`
}

// builder fills one folder. The same machine, scale and name give the same files.
type builder struct {
	dir    string
	scale  float64
	text   []string // folders to take text from
	code   []string // folders to take programs from
	rng    *rand.ChaCha8
	files  int
	bytes  int64
	folder string // the last one that was made
}

func newRand(name string) *rand.ChaCha8 {
	return rand.NewChaCha8(sha256.Sum256([]byte("firn bench " + name)))
}

// ensure builds the corpus under dir unless it is there, and returns its folder and what it holds.
func (c *corpus) ensure(dir string, scale float64) (string, marker, error) {
	path, mark := filepath.Join(dir, c.name), filepath.Join(dir, c.name+".json")
	var have marker
	if b, err := os.ReadFile(mark); err == nil && json.Unmarshal(b, &have) == nil && have.Version == corpusVersion && have.Scale == scale {
		return path, have, nil
	}
	b := &builder{dir: path, scale: scale, text: textRoots(), code: []string{"/usr/bin", "/usr/lib", "/usr/local/lib"}, rng: newRand(c.name)}
	if err := errors.Join(removeAll(path), os.MkdirAll(path, 0o755)); err != nil {
		return "", have, err
	}
	if err := c.build(b); err != nil {
		return "", have, fmt.Errorf("building corpus %s: %w", c.name, err)
	}
	if b.files == 0 {
		return "", have, fmt.Errorf("building corpus %s: this machine has no files for it", c.name)
	}
	have = marker{corpusVersion, scale, b.files, b.bytes}
	out, err := json.Marshal(have)
	if err != nil {
		return "", have, err
	}
	return path, have, os.WriteFile(mark, out, 0o644)
}

// textRoots are the folders where machines keep source code and documentation.
func textRoots() (out []string) {
	if b, err := exec.Command("go", "env", "GOROOT", "GOMODCACHE").Output(); err == nil {
		out = strings.Fields(string(b))
	}
	out = append(out, "/usr/share/doc", "/usr/include", "/usr/lib/python3", "/usr/share/perl", "/usr/src")
	if b, err := exec.Command("python3", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))").Output(); err == nil {
		out = append(out, strings.TrimSpace(string(b)))
	}
	if dirs, err := filepath.Glob(os.ExpandEnv("$HOME/.pyenv/versions/*/lib/python*")); err == nil {
		out = append(out, dirs...)
	}
	return append(out, "/usr/share")
}

func (b *builder) scaled(n float64) int64 { return max(1, int64(n*b.scale)) }

// stamp is a modification time for file i, the same in every build.
func stamp(i int) time.Time { return time.Unix(1_600_000_000+int64(i)*61, int64(i)*1_000_003%1e9) }

// write stores one file; name is relative to the corpus.
func (b *builder) write(name string, content []byte, mode fs.FileMode, mtime time.Time) error {
	path := filepath.Join(b.dir, name)
	if dir := filepath.Dir(path); dir != b.folder {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		b.folder = dir
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return err
	}
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	b.files++
	b.bytes += int64(len(content))
	return os.Chtimes(path, mtime, mtime)
}

// No folder gives more than two fifths of src, so that a module cache full of one generated interface does not make up all of it.
func (b *builder) src() error {
	return b.copyTrees(b.text, quota{b.scaled(138_000), b.scaled(2500e6), 512 << 10, 0.4}, isText)
}

func (b *builder) binaries() error {
	return b.copyTrees(b.code, quota{b.scaled(20_000), b.scaled(1000e6), 16 << 20, 1}, func(c []byte) bool { return !isText(c) })
}

// quota is how much to copy, and how much of that from one folder.
type quota struct {
	files, bytes int64
	largest      int64 // file
	share        float64
}

func isText(content []byte) bool { return bytes.IndexByte(content[:min(len(content), 8000)], 0) < 0 }

// copyTrees copies the files that fit, in order, as far as the quota goes.
func (b *builder) copyTrees(roots []string, q quota, fits func([]byte) bool) error {
	seen := map[string]bool{}
	for i, root := range roots {
		files := min(q.files, int64(b.files)+int64(float64(q.files)*q.share))
		size := min(q.bytes, b.bytes+int64(float64(q.bytes)*q.share))
		err := eachFile(root, func(path string, info fs.FileInfo) error {
			if int64(b.files) >= files || b.bytes >= size {
				return fs.SkipAll
			}
			if info.Size() > q.largest || info.Size() == 0 || seen[path] {
				return nil
			}
			seen[path] = true
			content, err := os.ReadFile(path)
			if err != nil || !fits(content) || b.bytes+int64(len(content)) > size {
				return nil // unreadable to us, or gone
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			name := filepath.Join(fmt.Sprintf("%d-%s", i, filepath.Base(root)), rel)
			return b.write(name, content, info.Mode().Perm()|0o400, info.ModTime())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachFile calls fn for every regular file below root, in order; what cannot be read is left out.
func eachFile(root string, fn func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		return fn(path, info)
	})
}

func (b *builder) photos() error {
	r := rand.New(b.rng)
	for i := range b.scaled(300) {
		content := make([]byte, 2_000_000+r.IntN(7_330_000))
		if _, err := b.rng.Read(content); err != nil {
			return err
		}
		name := fmt.Sprintf("%d/%02d/IMG_%04d.jpg", 2015+i/60, 1+i/5%12, i)
		if err := b.write(name, content, 0o644, stamp(int(i)*977)); err != nil {
			return err
		}
	}
	return nil
}

var vocabulary = strings.Fields(`snow layer ice depth wind north ridge crystal melt water valley stone light winter summit slope drift track
	path house lamp table window river bridge name value size time date owner group status open closed new old red green blue first last count total`)

func (b *builder) many() error {
	r := rand.New(b.rng)
	var text []byte
	for i := range b.scaled(300_000) {
		text = text[:0]
		for n := 20 + r.IntN(100); len(text) < n; {
			text = append(text, vocabulary[r.IntN(len(vocabulary))]...)
			text = append(text, " \n:=,"[r.IntN(5)])
		}
		name := fmt.Sprintf("%02d/%03d/note-%06d.txt", i/10_000, i/100%100, i)
		if err := b.write(name, text, 0o644, stamp(int(i))); err != nil {
			return err
		}
	}
	return nil
}

// image writes runs of up to 8 MiB: text, programs, random bytes and zeros in turn, as a disk of a machine would have them.
func (b *builder) image() error {
	f, err := os.Create(filepath.Join(b.dir, "disk.img"))
	if err != nil {
		return err
	}
	defer f.Close()
	size := b.scaled(2 << 30)
	text, code := newFeed(b.text, isText), newFeed(b.code, func(c []byte) bool { return !isText(c) })
	defer text.stop()
	defer code.stop()
	r := rand.New(b.rng)
	for i := 0; b.bytes < size; i++ {
		run := make([]byte, min(size-b.bytes, int64(64<<10+r.IntN(8<<20))))
		switch i % 4 {
		case 0:
			text.fill(run)
		case 1:
			code.fill(run)
		case 2:
			if _, err := b.rng.Read(run); err != nil {
				return err
			}
		}
		if _, err := f.Write(run); err != nil {
			return err
		}
		b.bytes += int64(len(run))
	}
	b.files = 1
	return errors.Join(f.Close(), os.Chtimes(f.Name(), stamp(0), stamp(0)))
}

// feed gives the content of the files below some folders, one after another; zeros once they are used up.
type feed struct {
	r    *io.PipeReader
	done chan struct{}
}

var errStop = errors.New("enough")

func newFeed(roots []string, fits func([]byte) bool) feed {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, root := range roots {
			err := eachFile(root, func(path string, info fs.FileInfo) error {
				content, err := os.ReadFile(path)
				if info.Size() > 16<<20 || err != nil || !fits(content) {
					return nil
				}
				_, err = w.Write(content)
				return err
			})
			if err != nil {
				break // nobody reads any more
			}
		}
		w.Close()
	}()
	return feed{r, done}
}

// fill reads as much as there is; the rest of p stays zero.
func (f feed) fill(p []byte) { _, _ = io.ReadFull(f.r, p) }

func (f feed) stop() {
	_ = f.r.CloseWithError(errStop)
	<-f.done
}
