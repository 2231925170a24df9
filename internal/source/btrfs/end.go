package btrfs

import (
	"context"
	"errors"
	"os"

	"firn/internal/source"
)

// end implements Batch.End. A run that failed leaves its snapshot for the next one; one that only pretended does not.
func (p *plan) end(ctx context.Context, done bool) error {
	if !done {
		if p.host.Pretend && p.taken {
			defer p.unmake()
			return p.remove(ctx, p.target)
		}
		return nil
	}
	errs := []error{os.WriteFile(p.target.path+storedMark, nil, 0o600)}
	kept := 1
	for i := len(p.states) - 1; i >= 0; i-- {
		s := p.states[i]
		switch {
		case s.uuid == p.target.uuid || s.generation > p.target.generation:
		case s.stored && kept < p.keep:
			kept++
		default:
			errs = append(errs, p.remove(ctx, s))
		}
	}
	return errors.Join(errs...)
}

// unmake removes the folders that a run that only pretends has made. One that another run has begun to use is not empty, and stays.
func (p *plan) unmake() {
	for _, dir := range p.made {
		_ = os.Remove(dir)
	}
}

// remove deletes a snapshot of ours, with the mark beside it.
func (p *plan) remove(ctx context.Context, s *state) error {
	if err := p.run(ctx, s.path, "subvolume", "delete", s.path); err != nil {
		return err
	}
	err := os.Remove(s.path + storedMark)
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// prepareFiles takes a snapshot whose files are read, and of which nothing stays.
func (p *plan) prepareFiles(ctx context.Context) (*source.Batch, error) {
	if err := p.take(ctx); err != nil {
		return nil, err
	}
	p.noteBelow(ctx)
	return &source.Batch{Base: -1, Folder: p.target.path, Display: p.path, Notes: p.notes, End: func(ctx context.Context, _ bool) error {
		errs := []error{p.remove(ctx, p.target)}
		for _, s := range p.states { // of runs that were killed
			errs = append(errs, p.remove(ctx, s))
		}
		p.unmake()
		return errors.Join(errs...)
	}}, nil
}
