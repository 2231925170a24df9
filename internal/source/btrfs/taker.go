package btrfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"firn/internal/program"
	"firn/internal/source"
)

// Taker gives streams to btrfs receive, which makes of each a read-only subvolume in a folder, called as the snapshot was. It implements source.Taker.
type Taker struct {
	system
	folder string
	force  bool
	steps  map[string]bool // links that were asked for, by path and ID
}

func key(l source.Link) string { return l.Path + "\x00" + l.Point.ID }

// NewTaker returns what restores into the folder that rest names. It looks at nothing yet. It fails with *source.SettingError.
func NewTaker(rest string, o *source.Settings) (*Taker, error) {
	t := &Taker{system: system{idle: program.Timeout(o)}, folder: rest, force: o.Bool("force", false)}
	return t, o.Err()
}

// Missing implements source.Taker.
func (t *Taker) Missing(ctx context.Context, links []source.Link) ([]source.Link, error) {
	if err := t.find(); err != nil {
		return nil, err
	}
	folder, err := filepath.Abs(t.folder)
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(folder); err != nil || !st.IsDir() {
		return nil, &source.MissingError{What: "folder", Name: t.folder}
	}
	t.folder = folder
	there, err := t.states(ctx, folder)
	if err != nil {
		return nil, err
	}
	t.steps = map[string]bool{}
	names, coming := map[string]string{}, map[string]bool{}
	var needed []source.Link
	for _, l := range links {
		if err := t.checkLink(l, names); err != nil {
			return nil, err
		}
		if received(there, l.Point.ID) {
			coming[l.Point.ID] = true
			continue
		}
		if err := t.checkFrom(ctx, l, coming); err != nil {
			return nil, err
		}
		if _, err := os.Lstat(filepath.Join(folder, l.Point.At)); err == nil && !(t.force && isSubvolume(filepath.Join(folder, l.Point.At))) {
			return nil, &source.TargetError{Target: t.folder, Reason: fmt.Sprintf("it holds %q, which is something else, or was not received to the end", l.Point.At), Exists: true}
		}
		coming[l.Point.ID] = true
		t.steps[key(l)] = true
		needed = append(needed, l)
	}
	return needed, nil
}

// checkLink refuses what cannot be received. The stream names what it makes, which has to be in the folder; that it is this name is looked at before it is given to the program.
func (t *Taker) checkLink(l source.Link, names map[string]string) error {
	at := l.Point.At
	if l.Point.ID == "" || parseUUID(l.Point.ID) != l.Point.ID || at == "" || at == "." || at == ".." || strings.ContainsAny(at, "/\x00") {
		return &source.TargetError{Target: t.folder, Reason: fmt.Sprintf("stream %q leads to no state of a subvolume", l.Path)}
	}
	if other, twice := names[at]; twice && other != l.Point.ID {
		return &source.TargetError{Target: t.folder, Reason: fmt.Sprintf("two different snapshots are called %q", at)}
	}
	names[at] = l.Point.ID
	return nil
}

// received reports whether a state was received to its end.
func received(there []*state, id string) bool {
	for _, s := range there {
		if s.received == id && s.readOnly {
			return true
		}
	}
	return false
}

// checkFrom fails where what a link starts from is neither on its way nor anywhere in the file system.
func (t *Taker) checkFrom(ctx context.Context, l source.Link, coming map[string]bool) error {
	if l.Point.From == "" || coming[l.Point.From] {
		return nil
	}
	out, err := t.output(ctx, t.folder, "subvolume", "list", "-u", "-R", t.folder)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		before, _, _ := strings.Cut(line, " path ")
		if strings.Contains(before, "uuid "+l.Point.From) {
			coming[l.Point.From] = true
			return nil
		}
	}
	return &source.TargetError{Target: t.folder, Reason: fmt.Sprintf("snapshot %q (UUID %s) has to be received there first: stream %q starts from it", l.Point.FromAt, l.Point.From, l.Path)}
}

// Take implements source.Taker. What is left of a stream that ended early is deleted.
func (t *Taker) Take(ctx context.Context, l source.Link) error {
	if !t.steps[key(l)] {
		return &source.TargetError{Target: t.folder, Reason: fmt.Sprintf("stream %q was not asked for", l.Path)}
	}
	r, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	in := bufio.NewReaderSize(r, 8<<10)
	begin, err := in.Peek(headerSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if h, ok := parseHeader(begin); !ok || h != (header{l.Point.ID, l.Point.From, l.Point.At}) {
		return &source.ProducerError{Program: fmt.Sprintf("stream %q", l.Path), Err: errStream}
	}
	path := filepath.Join(t.folder, l.Point.At)
	if t.force && isSubvolume(path) {
		if err := t.run(ctx, path, "subvolume", "delete", path); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(path); err == nil { // what is thawed takes days; it would be deleted for a rest of ours
		return &source.TargetError{Target: t.folder, Reason: fmt.Sprintf("%q has come into being meanwhile", l.Point.At), Exists: true}
	}
	err = program.Command{Name: t.btrfs, Args: []string{"receive", t.folder}, Idle: t.idle}.Feed(ctx, in)
	if err != nil {
		return errors.Join(t.explain(err, l), t.clear(context.WithoutCancel(ctx), path))
	}
	s, err := t.show(ctx, path)
	if err == nil && s.received != l.Point.ID {
		err = &source.ProducerError{Program: "btrfs receive", Err: fmt.Errorf("%q is not what was sent", path)}
	}
	return err
}

// clear deletes what was not received to its end. Before, nothing was there.
func (t *Taker) clear(ctx context.Context, path string) error {
	if !isSubvolume(path) {
		return nil
	}
	if s, err := t.show(ctx, path); err != nil || s.received != "" {
		return err
	}
	return t.run(ctx, path, "subvolume", "delete", path)
}

// explain makes what btrfs receive said into what it means.
func (t *Taker) explain(err error, l source.Link) error {
	switch {
	case said(err, "cannot find parent subvolume"), said(err, "could not find parent"):
		return &source.TargetError{Target: t.folder, Reason: fmt.Sprintf("it does not have snapshot %q, from which stream %q starts", l.Point.FromAt, l.Path)}
	case said(err, "file exists"):
		return &source.TargetError{Target: t.folder, Reason: fmt.Sprintf("%q exists already", l.Point.At), Exists: true}
	}
	return explain(err, t.folder, "btrfs receive")
}
