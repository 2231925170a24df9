package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/copy"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// alsoFlags name copies of the repository that a backup fills as well.
type alsoFlags struct {
	copies []string
	place  placeFlags
	opened []*alsoCopy
	failed error // why the repository itself got nothing, and a copy stands in for it
}

// alsoCopy is one of them.
type alsoCopy struct {
	location string
	s        *session // nil: it could not be opened
	err      error
}

func (f *alsoFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.copies, "also", nil, "copy the snapshots of this host to this repository, too, made with init --like (repeat for more); sources are read once")
	f.place.register(cmd, "also-")
}

func (f *alsoFlags) close() {
	for _, a := range f.opened {
		if a.s != nil {
			a.s.close()
		}
	}
}

// open opens the copies, unless that was done, and has new packs sent to them as they are sent to the repository. One that cannot be opened is told of, and the rest goes on.
func (f *alsoFlags) open(ctx context.Context, c *console, s *session, first *storeFlags) error {
	if len(f.copies) == 0 {
		return nil
	}
	if f.opened == nil {
		for _, location := range f.copies {
			a := &alsoCopy{location: location}
			a.s, a.err = openSecond(ctx, c, s, f.place.flags(first, location))
			if errors.As(a.err, new(*repo.DifferentError)) || errors.Is(a.err, repo.ErrSelf) || advice.Code(a.err) == advice.Usage {
				return a.err // no other run will fare better
			}
			if a.err != nil {
				c.warn("%s gets nothing this time: %v", location, a.err)
			}
			f.opened = append(f.opened, a)
		}
	}
	var branches []*copy.Branch
	for _, a := range f.opened {
		if a.s != nil {
			s.copies = append(s.copies, a.s)
			branches = append(branches, &copy.Branch{Store: a.s.st, Config: a.s.header.Config})
		}
	}
	s.st = copy.Tee(s.st, func(b *copy.Branch, err error) {
		c.warn("%s: %v; the rest is copied after the backup", b.Store.Location(), err)
	}, branches...)
	return nil
}

// standIn makes the first copy the repository, where that could not be opened; false: there is none left, or it would not help.
func (f *alsoFlags) standIn(c *console, first *storeFlags, err error) bool {
	if len(f.copies) == 0 || !inCopy(err) || errors.As(err, new(*repo.DifferentError)) || errors.Is(err, repo.ErrSelf) {
		return false
	}
	f.close()
	c.warn("%v; backing up to %s instead", err, f.copies[0])
	f.failed = errors.Join(f.failed, err)
	at := f.place.flags(first, f.copies[0])
	first.repo, first.endpoint, first.region, first.profile, first.pathStyle, first.recall = f.copies[0], at.endpoint, at.region, at.profile, at.pathStyle, false
	f.copies, f.opened = f.copies[1:], nil
	return true
}

// fill brings what this host has made to the copies, also what they have missed before.
func (f *alsoFlags) fill(ctx context.Context, c *console, s *session) (worst error) {
	if f.failed != nil {
		worst = &advice.Error{Err: f.failed, Hint: "the backup is in a copy: firn copy brings it back once the repository is there again"}
	}
	host := s.repo.Host()
	for _, a := range f.opened {
		if a.s == nil {
			worst = worse(worst, &advice.Error{Text: a.location + " has got nothing: " + a.err.Error(), Hint: "the next run, or firn copy, brings what it misses", Err: a.err})
			continue
		}
		x := &copyCommand{c: c}
		err := a.s.open(ctx, repo.Access{Secrets: s.repo.Secrets(), Host: host})
		if err == nil {
			started := c.now()
			o := copy.Options{From: s.repo, To: a.s.repo, Report: c.listen().hear, Choose: func(it *snapshot.Item) bool { return it.HostID == [16]byte(host.Host) }}
			x.failures(&o)
			var res *copy.Result
			res, err = copy.Run(ctx, o)
			err = x.end(ctx, a.s, res, nil, err, c.now().Sub(started))
		}
		worst = worse(worst, err)
		if ctx.Err() != nil {
			break
		}
	}
	return worst
}
