//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// measurement is one tool in one phase of one round.
type measurement struct {
	Corpus  string      `json:"corpus"`
	Phase   string      `json:"phase"`
	Tool    string      `json:"tool"`
	Round   int         `json:"round"`
	Usage   usage       `json:"usage"`
	Stored  int64       `json:"stored_bytes"`
	Added   int64       `json:"added_bytes"`
	Objects int         `json:"objects"`
	Check   *difference `json:"check,omitempty"` // restore only
	Err     string      `json:"error,omitempty"`
}

// bench is one run of the harness.
type bench struct {
	opt     *options
	want    filter
	tools   []*tool
	work    string
	log     io.Writer
	corpora map[string]marker
	results []measurement
	cleaned int // rounds put aside
}

// session is one tool that works its way through the phases on one corpus.
type session struct {
	tool    *tool
	at      place
	backups []string // phases that made a snapshot
	stored  int64
	failed  bool
}

// checkDisk compares what the run will take at most with the limit and with what is free.
func (b *bench) checkDisk() error {
	var all, largest, files int64
	for _, c := range corpora() {
		if !b.want.match("", c.name, "") {
			continue
		}
		all += c.disk
		files += c.files
		largest = max(largest, c.bytes*int64(len(b.tools))+c.disk+2<<30) // a repository each, one restored tree, edits
	}
	need := int64(float64(all+largest) * b.opt.scale)
	if limit := b.opt.maxDisk * 1e9; need > limit {
		return fmt.Errorf("needs up to %d GB of disk, more than --max-disk %d: choose fewer tools, or a smaller --scale", need/1e9+1, b.opt.maxDisk)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(b.opt.dir, &st); err != nil {
		return fmt.Errorf("%q: %w", b.opt.dir, err)
	}
	files = int64(float64(files*int64(len(b.tools)*b.opt.rounds)) * b.opt.scale)
	if st.Files > 0 && uint64(files) > uint64(st.Ffree) { // some file systems have no such limit and say 0
		return fmt.Errorf("%q: %d inodes free, needs up to %d: choose fewer tools or rounds, or a smaller --scale", b.opt.dir, st.Ffree, files)
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < need+1e9 {
		return fmt.Errorf("%q: %d GB free, needs up to %d GB", b.opt.dir, free/1e9, need/1e9+1)
	}
	return nil
}

// all runs every corpus that is wanted. A tool that fails is noted and left out; the others go on.
func (b *bench) all(ctx context.Context) error {
	b.corpora = map[string]marker{}
	failed := 0
	for _, c := range corpora() {
		if !b.want.match("", c.name, "") {
			continue
		}
		fmt.Fprintf(b.log, "%s: %s\n", c.name, c.what)
		dir := filepath.Join(b.opt.dir, "corpora")
		if err := newEditor(filepath.Join(dir, c.name), b.undoDir(c.name)).revert(); err != nil {
			return err
		}
		path, mark, err := c.ensure(dir, b.opt.scale)
		if err != nil {
			return err
		}
		b.corpora[c.name] = mark
		for round := 1; round <= b.opt.rounds; round++ {
			n, err := b.round(ctx, &c, path, round)
			if err != nil {
				return err
			}
			failed += n
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d commands failed or restored something else", failed)
	}
	return nil
}

func (b *bench) undoDir(corpus string) string { return filepath.Join(b.opt.dir, "undo", corpus) }

// round takes all tools through all phases of one corpus and cleans up. It returns how many failed.
func (b *bench) round(ctx context.Context, c *corpus, src string, round int) (failed int, err error) {
	edit := newEditor(src, b.undoDir(c.name))
	defer func() { err = errors.Join(err, edit.revert()) }()
	sessions, err := b.open(ctx, c, src)
	defer func() { err = errors.Join(err, b.clean()) }()
	if err != nil {
		return 0, err
	}
	for _, phase := range phases {
		if phase != first && !b.want.match("", c.name, phase) {
			continue
		}
		if phase == edited {
			if err := c.edit(edit); err != nil {
				return failed, err
			}
		}
		if phase == restore && b.corpora[c.name].Files > 1000 {
			if err := b.rest(ctx); err != nil {
				return failed, err
			}
		}
		if err := warm(src); err != nil {
			return failed, err
		}
		for _, s := range sessions {
			if s.failed || !b.needed(s, c.name, phase) {
				continue
			}
			m := b.phase(ctx, s, phase)
			if ctx.Err() != nil {
				return failed, ctx.Err()
			}
			m.Corpus, m.Round = c.name, round
			if s.failed {
				failed++
			}
			b.record(m)
		}
	}
	return failed, nil
}

// needed reports whether s must go through a phase that some tool goes through: it is wanted, or something wanted rests on it.
func (b *bench) needed(s *session, corpus, phase string) bool {
	switch tool := s.tool.label; phase {
	case first:
		return b.want.match(tool, corpus, "")
	case edited: // what is restored is compared with the edited source
		return b.want.match(tool, corpus, edited) || b.want.match(tool, corpus, restore)
	default:
		return b.want.match(tool, corpus, phase)
	}
}

func (b *bench) record(m measurement) {
	fmt.Fprintf(b.log, "  round %d %-9s %-15s %8.2f s %8.2f s CPU %6d MB", m.Round, m.Phase, m.Tool, m.Usage.Wall, m.Usage.User+m.Usage.System, m.Usage.RSS/1e6)
	if m.Check != nil {
		fmt.Fprintf(b.log, "  %s", m.Check)
		if m.Check.lost() {
			fmt.Fprintf(b.log, " %q", m.Check.Examples)
		}
	}
	if m.Err != "" {
		fmt.Fprintf(b.log, "  failed: %s", m.Err)
	}
	fmt.Fprintln(b.log)
	if b.want.match(m.Tool, m.Corpus, m.Phase) {
		b.results = append(b.results, m)
	}
}

// open gives every wanted tool a new repository.
func (b *bench) open(ctx context.Context, c *corpus, src string) (out []*session, err error) {
	for _, t := range b.tools {
		if !b.want.match(t.label, c.name, "") {
			continue
		}
		root := filepath.Join(b.work, "at", t.label)
		s := &session{tool: t, at: place{bin: t.bin, src: src, repo: filepath.Join(root, "repo"), home: filepath.Join(root, "home"), target: filepath.Join(root, "target")}}
		if err := os.MkdirAll(filepath.Join(s.at.home, "tmp"), 0o755); err != nil {
			return out, err
		}
		for _, cmd := range t.setup(s.at) {
			if _, err := s.execute(ctx, cmd, b.opt.timeout); err != nil {
				return out, fmt.Errorf("%s: %w", t.label, err)
			}
		}
		if s.stored, _, err = measureDir(s.at.repo); err != nil {
			return out, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (s *session) execute(ctx context.Context, c command, timeout time.Duration) (usage, error) {
	c.env = append(s.tool.environment(s.at), c.env...)
	return execute(ctx, c, timeout)
}

// phase runs and measures one command; errors are part of the measurement.
func (b *bench) phase(ctx context.Context, s *session, phase string) (m measurement) {
	m.Tool, m.Phase = s.tool.label, phase
	err := flush()
	if err == nil && phase == restore {
		err = b.restore(ctx, s, &m)
	} else if err == nil {
		m.Usage, err = s.execute(ctx, s.tool.backup(s.at, phase), b.opt.timeout)
		s.backups = append(s.backups, phase)
	}
	if err == nil {
		before := s.stored
		s.stored, m.Objects, err = measureDir(s.at.repo)
		m.Stored, m.Added = s.stored, s.stored-before
	}
	if err != nil {
		m.Err = err.Error()
	}
	s.failed = s.failed || err != nil
	return m
}

func (b *bench) restore(ctx context.Context, s *session, m *measurement) error {
	if err := os.MkdirAll(s.at.target, 0o755); err != nil {
		return err
	}
	if s.tool.reset != nil {
		for _, cmd := range s.tool.reset(s.at) {
			if _, err := s.execute(ctx, cmd, b.opt.timeout); err != nil {
				return err
			}
		}
	}
	var err error
	if m.Usage, err = s.execute(ctx, s.tool.restore(s.at, s.backups), b.opt.timeout); err != nil {
		return err
	}
	if !b.opt.noVerify {
		if err := os.RemoveAll(filepath.Join(s.at.target, ".duplicacy")); err != nil { // its settings, no restored file
			return err
		}
		if m.Check, err = compareTrees(s.at.src, s.at.target); err != nil {
			return err
		}
		s.failed = m.Check.lost()
	}
	return hollow(s.at.target)
}

// hollow gives back the space of a tree and keeps its files. Ext4 without a journal does not use the inodes of removed files again for one to six
// minutes, and looks past each of them: making files takes ten times as long then, and the next tool would pay for what the one before
// it had restored. So nothing is removed before the end of the run.
func hollow(dir string) error {
	return eachFile(dir, func(path string, info fs.FileInfo) error {
		if info.Size() == 0 {
			return nil
		}
		if err := os.Truncate(path, 0); !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 0))
	})
}

// settle is how long removed files slow down a file system, at most.
const settle = 6 * time.Minute

// stampPath is a file whose time is that of the last removal of many files.
func stampPath(dir string) string { return filepath.Join(dir, "removed") }

// removeWork removes the work folder and leaves a stamp if there was much in it.
func removeWork(dir, work string) error {
	_, files, err := measureDir(work)
	if err != nil {
		return err
	}
	if err := removeAll(work); err != nil || files < 10_000 {
		return err
	}
	return os.WriteFile(stampPath(dir), nil, 0o644)
}

// rest waits until an earlier run's removal no longer slows this one down.
func (b *bench) rest(ctx context.Context) error {
	info, err := os.Stat(stampPath(b.opt.dir))
	if err != nil || b.opt.noWait {
		return nil
	}
	wait := time.Until(info.ModTime().Add(settle))
	if wait <= 0 {
		return nil
	}
	fmt.Fprintf(b.log, "  waiting %v, since many files were removed a short while ago (--no-wait: go on)\n", wait.Round(time.Second))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// clean empties what a round left and puts it aside.
func (b *bench) clean() error {
	at := filepath.Join(b.work, "at")
	if _, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	b.cleaned++
	return errors.Join(hollow(at), os.Rename(at, filepath.Join(b.work, fmt.Sprintf("done-%d", b.cleaned))))
}

// flush empties the queue of dirty pages, so that no tool pays for what the one before it wrote.
func flush() error { return exec.Command("sync").Run() }

// warm reads every file once.
func warm(dir string) error {
	buf := make([]byte, 1<<20)
	return eachFile(dir, func(path string, _ fs.FileInfo) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buf)
		return err
	})
}

// measureDir sums up the files of a repository.
func measureDir(dir string) (size int64, files int, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil // some make it with the first backup
	}
	err = eachFile(dir, func(_ string, info fs.FileInfo) error {
		size += info.Size()
		files++
		return nil
	})
	return size, files, err
}
