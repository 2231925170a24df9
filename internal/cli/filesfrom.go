package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"firn/internal/restore"
	"firn/internal/snapshot"
)

// maxListFile bounds a list of paths, in bytes.
const maxListFile = restore.MaxListedBytes + restore.MaxListed

// maxAbsentTold is how many paths that a snapshot does not have are named.
const maxAbsentTold = 1000

// listFlags name the paths that are wanted, one by one.
type listFlags struct {
	file   string
	null   bool
	raw    []byte   // what was read: a pipe gives it once
	absent []string // the first paths that the snapshot does not have
	lacks  int      // how many there are
}

func (f *listFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.file, "files-from", "", "only what this file lists, one path a line, absolute or relative to the source; - is standard input")
	fl.BoolVar(&f.null, "from0", false, "the paths of --files-from end with NUL, not with the line")
}

// given reports whether there is a list.
func (f *listFlags) given() bool { return f.file != "" }

// check refuses what makes no sense before anything is opened.
func (f *listFlags) check(s *secretFlags) error {
	switch {
	case f.null && f.file == "":
		return usage("", "--from0 is about --files-from, which is missing")
	case f.file == "-" && s.passphraseFile == "-":
		return usage("write one of them to a file", "standard input cannot hold both the passphrase and a list of paths")
	}
	return nil
}

// paths reads the list; nil: there is none.
func (f *listFlags) paths(c *console, o snapshot.Origin) (*restore.Paths, error) {
	if !f.given() {
		return nil, nil
	}
	if f.raw == nil {
		if err := f.read(c); err != nil {
			return nil, err
		}
	}
	end := byte('\n')
	if f.null {
		end = 0
	}
	p := &restore.Paths{}
	for rest := f.raw; len(rest) > 0; {
		line, behind, _ := bytes.Cut(rest, []byte{end})
		rest = behind
		if runtime.GOOS == "windows" && !f.null {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		if len(line) == 0 {
			continue
		}
		if !f.null && bytes.IndexByte(line, 0) >= 0 {
			return nil, usage("add --from0 where paths end with NUL", "--files-from %q: a path with NUL in it", f.file)
		}
		if err := p.Add(pathIn(o, string(line))); err != nil {
			return nil, usage("restore in several parts, or a folder above them", "--files-from %q: %v", f.file, err)
		}
	}
	if p.Len() == 0 {
		return nil, usage("leave --files-from out to restore everything", "--files-from %q lists nothing", f.file)
	}
	return p, nil
}

func (f *listFlags) read(c *console) error {
	in := io.Reader(c.in)
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxListFile+1))
	if err != nil {
		return fmt.Errorf("--files-from %q: %w", f.file, err)
	}
	if len(raw) > maxListFile {
		return usage("restore in several parts, or a folder above them", "--files-from %q: %v", f.file, restore.ErrListed)
	}
	f.raw = append([]byte{}, raw...) // not nil, and no larger than it is
	return nil
}

// lookUp names the paths that the snapshot does not have, and fails where it has none of them.
func (f *listFlags) lookUp(ctx context.Context, c *console, o restore.Options) error {
	if o.Paths == nil {
		return nil
	}
	f.raw = nil
	all := o.Paths.Len()
	absent, err := restore.Absent(ctx, o)
	if err != nil {
		return err
	}
	f.lacks = len(absent)
	for _, path := range absent[:min(len(absent), maxAbsentTold)] {
		f.absent = append(f.absent, string(path))
		c.warn("%s: %v", shownPath(path), restore.ErrNotThere)
		c.emit(map[string]any{"event": "problem", "path": string(path), "error": restore.ErrNotThere.Error()})
	}
	if more := len(absent) - maxAbsentTold; more > 0 {
		c.warn("%s more are not in the snapshot", counted(int64(more), "path"))
	}
	if o.Paths.Len() == 0 {
		return failure("firn ls shows what it has; paths are absolute, or relative to the source", "none of the %s of --files-from %q is in the snapshot", counted(int64(all), "path"), f.file)
	}
	return nil
}

// verdict is the error of a command that did all it could, where some paths were not there.
func (f *listFlags) verdict(err error) error {
	if err == nil && f.lacks > 0 {
		return incomplete()
	}
	return err
}
