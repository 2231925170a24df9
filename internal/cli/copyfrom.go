package cli

import (
	"context"
	"errors"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"firn/internal/advice"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/store"
	"firn/internal/thaw"
)

// copiesFlags name copies of the repository, from which packs are read as well.
type copiesFlags struct {
	copies []string
	place  placeFlags
	opened []*session
}

func (f *copiesFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.copies, "from", nil, "a copy of the repository (firn copy), read instead where it is nearer, or where --repo is damaged, cold or out of reach (repeat for more)")
	f.place.register(cmd, "from-")
}

func (f *copiesFlags) close() {
	for _, s := range f.opened {
		s.close()
	}
}

// open opens the repository and finds the snapshot, in a copy where the repository cannot be reached or does not have it. Packs are read from the nearest of all.
func (x *restoreCommand) open(ctx context.Context, args []string) (*library, restore.Options, error) {
	l, o, err := x.openOne(ctx, args)
	if len(x.from.copies) == 0 {
		return l, o, err
	}
	first, _ := x.read.store.location() // was opened
	for _, location := range x.from.copies {
		if err == nil || !inCopy(err) || ctx.Err() != nil {
			break
		}
		x.c.note("%v; looking at %s", err, location)
		x.moveTo(location)
		var e error
		if l, o, e = x.openOne(ctx, args); e == nil {
			err = nil
		} else {
			x.c.note("%s: %v", location, e)
		}
	}
	if err != nil {
		return nil, o, err
	}
	x.openCopies(ctx, l.s, first)
	return l, o, nil
}

// inCopy reports whether an error says nothing against looking at a copy.
func inCopy(err error) bool {
	return !errors.Is(err, repo.ErrNoKey) && advice.Code(err) != advice.Usage && !errors.Is(err, repo.ErrWriteOnly)
}

// moveTo makes a copy the repository.
func (x *restoreCommand) moveTo(location string) {
	f := x.from.place.flags(&x.read.store, location)
	s := &x.read.store
	s.repo, s.endpoint, s.region, s.profile, s.pathStyle = location, f.endpoint, f.region, f.profile, f.pathStyle
}

func (x *restoreCommand) openOne(ctx context.Context, args []string) (*library, restore.Options, error) {
	l, err := openLibrary(ctx, x.c, &x.read)
	if err != nil {
		return nil, restore.Options{}, err
	}
	o, err := x.options(ctx, l, args)
	if err != nil {
		l.close()
		return nil, o, err
	}
	return l, o, nil
}

// openCopies opens the stores of the copies, and has packs read from them: before the repository's own where they are nearer.
func (x *restoreCommand) openCopies(ctx context.Context, s *session, first string) {
	var near, far []store.Store
	current, _ := x.read.store.location() // was opened
	for _, location := range append([]string{first}, x.from.copies...) {
		if location == current {
			continue
		}
		other, err := openSecond(ctx, x.c, s, x.from.place.flags(&x.read.store, location))
		if err != nil {
			x.c.note("nothing is read from %s: %v", location, err)
			continue
		}
		x.from.opened = append(x.from.opened, other)
		if distance(other) < distance(s) {
			near = append(near, other.st)
		} else {
			far = append(far, other.st)
		}
	}
	s.repo.ReadAlso(near, far)
}

// distance says how far away the packs of a repository are: on this machine, across a network, in a cold class.
func distance(s *session) (d int) {
	if isS3(s.st.Location()) {
		d++
	}
	if coldIn(nil)(s.header.Class.Data) {
		d += 2
	}
	return d
}

// lacking leaves out what a copy can give at once.
func (f *copiesFlags) lacking(ctx context.Context, s *session, needs []thaw.Need) []thaw.Need {
	if len(f.opened) == 0 {
		return needs
	}
	var g errgroup.Group
	g.SetLimit(16)
	var mu sync.Mutex
	has := make(map[string]bool, len(needs))
	for _, n := range needs {
		g.Go(func() error {
			if s.repo.Servable(ctx, n.Object, n.Size) {
				mu.Lock()
				has[n.Object] = true
				mu.Unlock()
			}
			return nil
		})
	}
	_ = g.Wait() // never fails
	var left []thaw.Need
	for _, n := range needs {
		if !has[n.Object] {
			left = append(left, n)
		}
	}
	return left
}
