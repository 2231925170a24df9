//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// editor changes a corpus in ways that it can take back. Originals are moved aside and edited copies take their
// place, as most editors do; a journal, written first, tells what to move back, so that a killed run leaves nothing behind.
type editor struct {
	dir  string // the corpus
	undo string // folder for originals and the journal
	rng  *rand.Rand
	src  *rand.ChaCha8
	log  journal
}

type journal struct {
	Moved   []string `json:"moved"`   // the i-th lies in the undo folder under the name i
	Created []string `json:"created"` // had no original
}

func newEditor(dir, undo string) *editor {
	src := newRand("edit " + filepath.Base(dir))
	return &editor{dir: dir, undo: undo, src: src, rng: rand.New(src)}
}

func (e *editor) journalPath() string { return filepath.Join(e.undo, "journal.json") }

// begin writes down what is about to change.
func (e *editor) begin(moved, created []string) error {
	e.log = journal{moved, created}
	b, err := json.Marshal(e.log)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(e.undo, 0o755), os.WriteFile(e.journalPath(), b, 0o644))
}

// revert takes back what a journal tells; without one it does nothing.
func (e *editor) revert() error {
	b, err := os.ReadFile(e.journalPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, &e.log)
	}
	if err != nil {
		return fmt.Errorf("corpus %q is edited and its journal cannot be read, remove it to have it built again: %w", e.dir, err)
	}
	for _, name := range e.log.Created {
		if err := os.Remove(filepath.Join(e.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for i, name := range e.log.Moved {
		err := os.Rename(filepath.Join(e.undo, strconv.Itoa(i)), filepath.Join(e.dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // not moved yet when the run ended
			return err
		}
	}
	return removeAll(e.undo)
}

// aside moves the i-th original into the undo folder and returns where it is now.
func (e *editor) aside(i int) (string, error) {
	to := filepath.Join(e.undo, strconv.Itoa(i))
	return to, os.Rename(filepath.Join(e.dir, e.log.Moved[i]), to)
}

// tree edits one file in a hundred: of ten, eight get some bytes inserted, one is removed and one renamed.
func (e *editor) tree() error {
	var all []string
	err := eachFile(e.dir, func(path string, _ fs.FileInfo) error {
		rel, err := filepath.Rel(e.dir, path)
		all = append(all, rel)
		return err
	})
	if err != nil {
		return err
	}
	e.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	chosen := slices.Sorted(slices.Values(all[:max(1, len(all)/100)]))
	var created []string
	for i, name := range chosen {
		if i%10 == 9 {
			created = append(created, name+".renamed")
		}
	}
	if err := e.begin(chosen, created); err != nil {
		return err
	}
	for i, name := range chosen {
		if err := e.treeFile(i, name); err != nil {
			return err
		}
	}
	return nil
}

func (e *editor) treeFile(i int, name string) error {
	original, err := e.aside(i)
	if err != nil || i%10 == 8 {
		return err
	}
	info, err := os.Stat(original)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	mtime := info.ModTime()
	if i%10 == 9 {
		name += ".renamed"
	} else {
		note := fmt.Appendf(nil, "edited %016x\n", e.rng.Uint64())
		content = slices.Insert(content, e.rng.IntN(len(content)+1), note...)
		mtime = mtime.Add(time.Hour)
	}
	return writeLike(filepath.Join(e.dir, name), content, info.Mode().Perm(), mtime)
}

func writeLike(path string, content []byte, mode fs.FileMode, mtime time.Time) error {
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return err
	}
	return errors.Join(os.Chmod(path, mode), os.Chtimes(path, mtime, mtime))
}

// image writes 200 scattered blocks of 4 KiB and inserts 5,000 bytes at a third.
func (e *editor) image() error {
	const name = "disk.img"
	if err := e.begin([]string{name}, []string{name}); err != nil {
		return err
	}
	original, err := e.aside(0)
	if err != nil {
		return err
	}
	in, err := os.Open(original)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(e.dir, name))
	if err != nil {
		return err
	}
	defer out.Close()
	if err := e.imageContent(in, out, info.Size()); err != nil {
		return err
	}
	mtime := info.ModTime().Add(time.Hour)
	return errors.Join(out.Close(), os.Chmod(out.Name(), info.Mode().Perm()), os.Chtimes(out.Name(), mtime, mtime))
}

func (e *editor) imageContent(in io.Reader, out *os.File, size int64) error {
	block := make([]byte, 5000)
	if _, err := io.CopyN(out, in, size/3); err != nil {
		return err
	}
	_, _ = e.src.Read(block)
	if _, err := out.Write(block); err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	for range 200 {
		block = block[:4096]
		_, _ = e.src.Read(block)
		if _, err := out.WriteAt(block, e.rng.Int64N(max(1, size/4096))*4096); err != nil {
			return err
		}
	}
	return nil
}
