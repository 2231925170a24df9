package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firn/internal/repo"
	"firn/internal/store"
	"firn/internal/wire"
)

func (x *initCommand) registerLike(fl *pflag.FlagSet) {
	fl.StringVar(&x.like, "like", "", "make a copy of this repository, still empty: with its keys and hosts, so that firn copy need not decrypt")
	fl.StringArrayVarP(&x.pass.identities, "identity", "i", nil, "with --like: file with age identities or an SSH private key (FIRN_IDENTITY)")
}

// likeJSON is what init prints with --json and --like.
type likeJSON struct {
	Event      string `json:"event"` // init
	Repository string `json:"repository"`
	Location   string `json:"location"`
	Like       string `json:"like"`
	Copy       string `json:"copy"`
}

// runLike makes an empty copy of a repository.
func (x *initCommand) runLike(cmd *cobra.Command) error {
	ctx := cmd.Context()
	for _, flag := range []string{"recipient", "post-quantum", "padding", "kit", "host", "scope"} {
		if cmd.Flags().Changed(flag) {
			return usage("keys and hosts are added with: firn keys", "with --like it has the keys of %q; --%s is for a repository of its own", x.like, flag)
		}
	}
	location, err := x.store.location()
	if err != nil {
		return err
	}
	from := storeFlags{repo: x.like, noCache: true, cacheMax: defaultCacheMax}
	if isS3(x.like) {
		from.endpoint, from.region, from.profile, from.pathStyle = x.store.endpoint, x.store.region, x.store.profile, x.store.pathStyle
	}
	x.c.resolve(&from)
	s, err := openSession(ctx, x.c, &from)
	if err != nil {
		return err
	}
	defer s.close()
	if !isS3(location) {
		x.store.endpoint, x.store.region, x.store.profile, x.store.pathStyle = "", "", "", ""
	}
	st, err := wire.OpenStore(ctx, location, x.store.options(x.c))
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if err := vacant(ctx, st); err != nil {
		return err
	}
	if err := s.openReader(ctx, &x.pass); err != nil {
		return err
	}
	return x.makeLike(ctx, s, st, location, !cmd.Flags().Changed("class"))
}

// makeLike makes the copy. Where both are of one kind, what is not said is as in the repository that it is like.
func (x *initCommand) makeLike(ctx context.Context, s *session, st store.Store, location string, sameClass bool) error {
	cfg := s.repo.Config()
	if sameClass && isS3(location) == isS3(x.like) {
		x.class = cfg.Class.Data
		if x.hotClass == "" {
			x.hotClass = cfg.Class.Meta
		}
	}
	o := repo.LikeOptions{DataClass: x.class, HotClass: x.hotClass, Parity: cfg.Parity, Now: x.c.now}
	o.Parity.Data, o.Parity.Meta = x.parity.or(o.Parity.Data), x.metaParity.or(o.Parity.Meta)
	if err := x.probe(ctx, st); err != nil {
		return err
	}
	if err := s.repo.InitLike(ctx, st, o); err != nil {
		return err
	}
	to, err := repo.ReadConfig(ctx, st)
	if err != nil {
		return err
	}
	if x.c.json != "" {
		return x.c.object(likeJSON{"init", fmt.Sprintf("%x", s.repo.ID()), st.Location(), s.st.Location(), fmt.Sprintf("%x", to.Copy)})
	}
	if !x.c.quiet {
		x.c.print("made %s, a copy of repository %x, still empty: it opens with the same keys\n", st.Location(), s.repo.ID())
	}
	return nil
}

// notACopy tells who names two repositories that are none of each other what to do.
func notACopy(err error) error {
	var other *repo.DifferentError
	switch {
	case errors.As(err, &other):
		return failure("make another one with: firn init REPO2 --like REPO; snapshots cannot be copied between repositories of different keys or parameters: restore them and back them up there", "%w", err)
	case errors.Is(err, repo.ErrSelf):
		return failure("a copy made with cp or rsync is no second place: make one with: firn init REPO2 --like REPO", "%w", err)
	}
	return err
}
