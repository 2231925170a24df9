package repo

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"firn/internal/digest"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/store"
)

//go:embed recovery/RECOVER.md
var recoverTextBody []byte

//go:embed recovery/recover.py
var recoverScript []byte

// RecoverScriptSum is the SHA-256 of the recover.py that Init stores, for the printed kit.
func RecoverScriptSum() digest.Object { return digest.SumObject(recoverScript) }

// NewKey is one way to open a repository.
type NewKey struct {
	Label     string
	Recipient *keys.Recipient
}

// InitOptions describe a new repository. Keys must not be empty.
type InitOptions struct {
	Keys      []NewKey
	Hybrid    bool // post-quantum data identities
	Padding   bool
	DataClass string // storage class of packs of file content; empty: the store's default
	HotClass  string // of all the rest
	Parity    format.Parity
	HostName  string // the host that makes the repository becomes its first writer
	ScopeName string // empty: HostName
	Chunk     *format.Chunk
	Bundle    *format.Bundle
	Now       func() time.Time
}

// Init makes a repository and returns what opens it. firn.json is written last: without it there is no repository, and what an interrupted
// Init left is removed by the next.
func Init(ctx context.Context, st store.Store, o InitOptions) (Access, error) {
	if m, ok := store.As[store.Maker](st); ok {
		if err := m.Make(ctx); err != nil {
			return Access{}, err
		}
	}
	if err := clearUnfinished(ctx, st); err != nil {
		return Access{}, err
	}
	cfg, secrets, err := newRepository(&o)
	if err != nil {
		return Access{}, err
	}
	r := &Repository{st: st, cfg: cfg, id: cfg.ID, root: secrets.RootPublic(), secrets: secrets, o: Options{Now: o.Now}, scopes: map[keys.ScopeID]*scopeKit{}}
	host, err := r.initObjects(ctx, &o)
	if err != nil {
		return Access{}, err
	}
	raw, err := cfg.Marshal(secrets.RootSeed)
	if err != nil {
		return Access{}, err
	}
	err = st.Put(ctx, configName, strings.NewReader(string(raw)), int64(len(raw)), store.PutOptions{Sum: digest.SumObject(raw), Class: cfg.Class.Meta})
	if errors.Is(err, store.ErrExist) {
		return Access{}, fmt.Errorf("%s: %w", st.Location(), ErrExists)
	}
	return Access{Secrets: secrets, Host: host}, err
}

func newRepository(o *InitOptions) (*format.Config, *keys.Secrets, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ScopeName == "" {
		o.ScopeName = o.HostName
	}
	if len(o.Keys) == 0 {
		return nil, nil, ErrNoKey
	}
	kind := keys.X25519
	if o.Hybrid {
		kind = keys.Hybrid
	}
	for _, k := range o.Keys {
		if err := keys.CheckRecipient(kind, k.Recipient); err != nil {
			return nil, nil, err
		}
	}
	var id keys.RepoID
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	secrets, err := keys.Generate(kind, id, o.Now())
	if err != nil {
		return nil, nil, err
	}
	cfg := format.New(id, secrets.RootPublic(), string(kind), o.Now())
	if o.Padding {
		cfg.Padding = format.PaddingPadme
	}
	cfg.Class = format.Class{Data: o.DataClass, Meta: o.HotClass}
	cfg.Parity = o.Parity
	if o.Chunk != nil {
		cfg.Chunk = *o.Chunk
	}
	if o.Bundle != nil {
		cfg.Bundle = *o.Bundle
	}
	return cfg, secrets, cfg.Check()
}

// initObjects writes everything but firn.json.
func (r *Repository) initObjects(ctx context.Context, o *InitOptions) (*keys.HostKey, error) {
	for _, k := range o.Keys {
		if _, err := r.AddKey(ctx, k.Label, k.Recipient); err != nil {
			return nil, err
		}
	}
	host, err := r.Enroll(ctx, o.HostName, o.ScopeName, keys.Writer)
	if err != nil {
		return nil, err
	}
	if err := r.put(ctx, recoverText, recoverTextBody, r.hotClass()); err != nil {
		return nil, err
	}
	return host, r.put(ctx, recoverName, recoverScript, r.hotClass())
}

// Vacant makes sure that nothing is here but what an Init that never ended has left: else ErrExists or ErrNotEmpty.
func Vacant(ctx context.Context, st store.Store) error {
	_, err := unfinished(ctx, st)
	return err
}

// unfinished returns what an Init that never ended has left, and fails where anything else is.
func unfinished(ctx context.Context, st store.Store) (left []string, err error) {
	err = st.List(ctx, "", "", func(i store.Info) error {
		switch {
		case i.Name == configName:
			return fmt.Errorf("%s: %w", st.Location(), ErrExists)
		case i.Name == recoverText, i.Name == recoverName, strings.HasPrefix(i.Name, keysPrefix), strings.HasPrefix(i.Name, hostsPrefix), strings.HasPrefix(i.Name, "probe/"):
			left = append(left, i.Name)
			return nil
		}
		return fmt.Errorf("%s: %w, such as %q", st.Location(), ErrNotEmpty, i.Name)
	})
	return left, err
}

// clearUnfinished makes sure that nothing is here, and removes what an Init that never ended has left.
func clearUnfinished(ctx context.Context, st store.Store) error {
	left, err := unfinished(ctx, st)
	if err != nil {
		return err
	}
	if _, err := st.Stat(ctx, configName); err == nil {
		return fmt.Errorf("%s: %w", st.Location(), ErrExists)
	}
	for _, name := range left {
		if err := st.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
