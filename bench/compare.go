//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// difference counts what is not the same in two trees. The root's own mode and time are left out: it is the caller's folder.
type difference struct {
	Missing int `json:"missing,omitempty"`
	Extra   int `json:"extra,omitempty"`
	Content int `json:"content,omitempty"` // or another type, or another link target
	Mode    int `json:"mode,omitempty"`
	Mtime   int `json:"mtime,omitempty"`
	Frac    int `json:"mtime_fraction,omitempty"` // the same second only

	Files    int64    `json:"files"`
	Bytes    int64    `json:"bytes"`
	Examples []string `json:"examples,omitempty"`
}

// String is "ok", or the counts that are not zero.
func (d *difference) String() string {
	var out []string
	for _, c := range []struct {
		n    int
		what string
	}{{d.Missing, "missing"}, {d.Extra, "extra"}, {d.Content, "content"}, {d.Mode, "mode"}, {d.Mtime, "mtime"}, {d.Frac, "mtime fraction"}} {
		if c.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(out) == 0 {
		return "ok"
	}
	return strings.Join(out, ", ")
}

// lost reports whether more than times and modes differ.
func (d *difference) lost() bool { return d.Missing+d.Extra+d.Content > 0 }

func (d *difference) count(counter *int, what, path string) {
	*counter++
	if len(d.Examples) < 5 {
		d.Examples = append(d.Examples, what+" "+path)
	}
}

// compareTrees compares every file of two trees byte by byte, with mode and modification time. It holds one folder at a time.
func compareTrees(want, got string) (*difference, error) {
	d := &difference{}
	c := comparer{d: d, a: make([]byte, 256<<10), b: make([]byte, 256<<10)}
	return d, c.folder(want, got)
}

type comparer struct {
	d    *difference
	a, b []byte
}

func (c *comparer) folder(want, got string) error {
	left, err := os.ReadDir(want) // sorted by name
	if err != nil {
		return err
	}
	right, err := os.ReadDir(got)
	if err != nil {
		return err
	}
	for len(left) > 0 || len(right) > 0 {
		switch {
		case len(right) == 0 || len(left) > 0 && left[0].Name() < right[0].Name():
			c.d.count(&c.d.Missing, "missing", filepath.Join(want, left[0].Name()))
			left = left[1:]
		case len(left) == 0 || right[0].Name() < left[0].Name():
			c.d.count(&c.d.Extra, "extra", filepath.Join(got, right[0].Name()))
			right = right[1:]
		default:
			if err := c.entry(filepath.Join(want, left[0].Name()), filepath.Join(got, right[0].Name())); err != nil {
				return err
			}
			left, right = left[1:], right[1:]
		}
	}
	return nil
}

func (c *comparer) entry(want, got string) error {
	w, err := os.Lstat(want)
	if err != nil {
		return err
	}
	g, err := os.Lstat(got)
	if err != nil {
		return err
	}
	if w.Mode().Type() != g.Mode().Type() {
		c.d.count(&c.d.Content, "type", got)
		return nil
	}
	if w.Mode() != g.Mode() {
		c.d.count(&c.d.Mode, "mode", got)
	}
	switch wt, gt := w.ModTime(), g.ModTime(); {
	case wt.Unix() != gt.Unix():
		c.d.count(&c.d.Mtime, "mtime", got)
	case !wt.Equal(gt):
		c.d.count(&c.d.Frac, "mtime fraction", got)
	}
	switch {
	case w.IsDir():
		return c.folder(want, got)
	case w.Mode()&os.ModeSymlink != 0:
		return c.link(want, got)
	case !w.Mode().IsRegular():
		return nil
	}
	c.d.Files++
	c.d.Bytes += w.Size()
	same, err := c.sameContent(want, got, w.Size(), g.Size())
	if err == nil && !same {
		c.d.count(&c.d.Content, "content", got)
	}
	return err
}

func (c *comparer) link(want, got string) error {
	w, err := os.Readlink(want)
	if err != nil {
		return err
	}
	g, err := os.Readlink(got)
	if err == nil && w != g {
		c.d.count(&c.d.Content, "target", got)
	}
	return err
}

func (c *comparer) sameContent(want, got string, wantSize, gotSize int64) (bool, error) {
	if wantSize != gotSize {
		return false, nil
	}
	f, err := os.Open(want)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := os.Open(got)
	if err != nil {
		return false, err
	}
	defer g.Close()
	for {
		n, errF := io.ReadFull(f, c.a)
		m, errG := io.ReadFull(g, c.b)
		if !bytes.Equal(c.a[:n], c.b[:m]) {
			return false, nil
		}
		if errF == io.EOF || errF == io.ErrUnexpectedEOF {
			return errG == errF, nil
		}
		if errF != nil {
			return false, errF
		}
		if errG != nil {
			return false, errG
		}
	}
}
