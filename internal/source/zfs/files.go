package zfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"firn/internal/source"
)

// mountPrefix begins the names of folders where clones are mounted.
const mountPrefix = "firn-zfs-"

// prepareFiles takes a snapshot whose files are read: where ZFS shows them, or, where it does not, in a clone that is mounted for it.
func (s *Source) prepareFiles(ctx context.Context) (*source.Batch, error) {
	all, err := s.list(ctx, s.dataset, false)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, &source.MissingError{What: "dataset", Name: s.dataset}
	}
	d := all[0]
	if d.volume {
		return nil, &NameError{s.dataset, "it is a volume, which has no files of its own"}
	}
	p := &plan{Source: s, base: -1}
	if err := p.take(ctx, d, s.holder+filesMark); err != nil {
		return nil, err
	}
	f := &reading{plan: p, snapshot: d.name + "@" + p.name, left: p.leftovers(d)}
	folder, err := f.open(ctx, d)
	if err != nil {
		return nil, errors.Join(err, f.end(context.WithoutCancel(ctx), false))
	}
	b := &source.Batch{Base: -1, Folder: folder, End: f.end}
	if d.mounted {
		b.Display = d.mountpoint
	}
	return b, nil
}

// reading is a snapshot whose files are read.
type reading struct {
	*plan
	snapshot string
	held     *os.File // keeps it mounted
	clone    string
	mount    string   // folder made for the clone
	left     []*state // by runs that were killed
}

// leftovers are snapshots that earlier runs took for their files.
func (s *Source) leftovers(d *dataset) (left []*state) {
	for _, v := range d.states {
		if !v.bookmark && v.source == s.holder+filesMark {
			left = append(left, v)
		}
	}
	return left
}

// open returns the folder with the files.
func (f *reading) open(ctx context.Context, d *dataset) (string, error) {
	if d.mounted && d.mountpoint != "" {
		path := filepath.Join(d.mountpoint, ".zfs", "snapshot", f.name)
		if f.held = openFolder(path); f.held != nil {
			return path, nil
		}
	}
	mount, err := os.MkdirTemp("", mountPrefix)
	if err != nil {
		return "", err
	}
	f.mount = mount
	clone := d.name + "/" + f.name + ".files"
	err = f.run(ctx, clone, "clone", "-o", propClone+"="+f.holder, "-o", "readonly=on", "-o", "mountpoint="+mount, f.snapshot, clone)
	if err != nil {
		return "", err
	}
	f.clone = clone
	return mount, nil
}

// end implements Batch.End: of the snapshot nothing is needed any more, whatever came of the backup.
func (f *reading) end(ctx context.Context, _ bool) error {
	if f.held != nil {
		_ = f.held.Close()
	}
	var errs []error
	if f.clone != "" {
		errs = append(errs, f.destroy(ctx, f.clone))
	}
	if f.mount != "" {
		errs = append(errs, os.Remove(f.mount))
	}
	errs = append(errs, f.destroy(ctx, f.snapshot))
	for _, v := range f.left {
		errs = append(errs, f.clean(ctx, v))
	}
	return errors.Join(errs...)
}

// clean destroys what a run that was killed has left: a snapshot, and the clone of it, if that is ours.
func (f *reading) clean(ctx context.Context, v *state) error {
	err := f.destroy(ctx, v.full())
	if !said(err, "dependent clones", "is cloned") {
		return err
	}
	clone := v.dataset + "/" + v.name + ".files"
	mark, err := f.output(ctx, clone, "get", "-H", "-o", "value,source", propClone, clone)
	if err != nil || strings.TrimSpace(string(mark)) != f.holder+"\tlocal" {
		return err
	}
	mount, err := f.output(ctx, clone, "get", "-H", "-o", "value", "mountpoint", clone)
	if err != nil {
		return err
	}
	if err := f.destroy(ctx, clone); err != nil {
		return err
	}
	if path := strings.TrimSpace(string(mount)); strings.HasPrefix(filepath.Base(path), mountPrefix) {
		_ = os.Remove(path) // it is empty, or not removed
	}
	return f.destroy(ctx, v.full())
}

// destroy destroys what may still be busy for a moment.
func (f *reading) destroy(ctx context.Context, name string) error {
	err := f.run(ctx, name, "destroy", name)
	for wait := 50 * time.Millisecond; said(err, "busy") && wait < 5*time.Second && ctx.Err() == nil; wait *= 2 {
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		err = f.run(ctx, name, "destroy", name)
	}
	return err
}
