package repo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"firn/internal/digest"
	"firn/internal/format"
	"firn/internal/store"
)

// LikeOptions say in what a copy differs from the repository.
type LikeOptions struct {
	DataClass string // storage class of packs of file content; empty: the store's default
	HotClass  string // of all the rest
	Parity    format.Parity
	Now       func() time.Time // nil: time.Now
}

// InitLike makes an empty copy of the repository in st, which opens with the same keys and takes the same hosts: those that there are now. Keys that are added to one later are
// added to the other by hand. It fails with ErrWriteOnly without the secrets, since the root key signs firn.json. As in Init, firn.json is written last.
func (r *Repository) InitLike(ctx context.Context, st store.Store, o LikeOptions) error {
	if r.secrets == nil {
		return ErrWriteOnly
	}
	if m, ok := store.As[store.Maker](st); ok {
		if err := m.Make(ctx); err != nil {
			return err
		}
	}
	if err := clearUnfinished(ctx, st); err != nil {
		return err
	}
	cfg := *r.cfg
	cfg.Class = format.Class{Data: o.DataClass, Meta: o.HotClass}
	cfg.Parity = o.Parity
	_, _ = rand.Read(cfg.Copy[:]) // never fails (crypto/rand)
	raw, err := cfg.Marshal(r.secrets.RootSeed)
	if err != nil {
		return err
	}
	to := &Repository{st: st, cfg: &cfg, id: r.id, root: r.root, secrets: r.secrets, o: r.o}
	if err := r.copyKeys(ctx, to); err != nil {
		return err
	}
	for name, text := range Texts() {
		if err := to.put(ctx, name, text, to.hotClass()); err != nil {
			return err
		}
	}
	err = st.Put(ctx, configName, strings.NewReader(string(raw)), int64(len(raw)), store.PutOptions{Sum: digest.SumObject(raw), Class: cfg.Class.Meta})
	if errors.Is(err, store.ErrExist) {
		return fmt.Errorf("%s: %w", st.Location(), ErrExists)
	}
	return err
}

// copyKeys brings all keys and hosts to an empty copy. A key without its description opens all the same, so the former goes first.
func (r *Repository) copyKeys(ctx context.Context, to *Repository) error {
	opens := 0
	for _, prefix := range []string{keysPrefix, hostsPrefix} {
		var names []string
		err := r.st.List(ctx, prefix, "", func(i store.Info) error {
			names = append(names, i.Name)
			return nil
		})
		if err != nil {
			return err
		}
		for _, name := range names {
			object, err := r.fetch(ctx, name, 1<<20)
			if err != nil {
				return err
			}
			if prefix == keysPrefix {
				if err := r.VerifyCopy(ctx, name, object); err != nil {
					r.note("%v: it is not copied", err)
					continue
				}
				if strings.HasSuffix(name, keySuffix) {
					opens++
				}
			}
			if err := to.put(ctx, name, object, to.hotClass()); err != nil {
				return err
			}
		}
	}
	if opens == 0 {
		return &ObjectError{keysPrefix, ErrNoKeys}
	}
	return nil
}
