package repo

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"filippo.io/age"

	"firn/internal/chunk"
	"firn/internal/event"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/sign"
	"firn/internal/state"
	"firn/internal/store"
)

// Errors that a caller may want to tell apart.
var (
	ErrNoRepository = errors.New("no repository here")
	ErrExists       = errors.New("a repository is here already")
	ErrNotEmpty     = errors.New("other objects are here already")
	ErrHeadless     = errors.New("firn.json is missing, the rest of a repository is there")
	ErrNoKeys       = errors.New("there is nothing below keys/")
	ErrNoKey        = errors.New("no key of the repository opens with what was given")
	ErrNoScope      = errors.New("no key at hand opens this scope")
	ErrNoHost       = errors.New("no host key at hand to write with")
	ErrWriteOnly    = errors.New("a write-only key cannot read content")
	ErrUntrusted    = errors.New("not certified by the root key")
	ErrUnknownChunk = errors.New("chunk is in no known pack")
	ErrForged       = errors.New("not what its name and its author say")
	ErrAborted      = errors.New("run was given up")
	ErrWrongKey     = errors.New("key belongs to another repository")
)

// errRevoked tells of what is not certified any more, and for that reason does not count.
var errRevoked = fmt.Errorf("its key does not count any more: %w", ErrUntrusted)

// ObjectError tells which object is not what it has to be.
type ObjectError struct {
	Name string
	Err  error
}

func (e *ObjectError) Error() string { return fmt.Sprintf("object %s: %v", e.Name, e.Err) }

// Unwrap returns the reason.
func (e *ObjectError) Unwrap() error { return e.Err }

// Access is what a repository is opened with: everything (Secrets), or what a host needs to write (Host), or both.
type Access struct {
	Secrets *keys.Secrets
	Host    *keys.HostKey
}

// Options of an open repository. The zero value works.
type Options struct {
	Report   event.Func
	Now      func() time.Time // nil: time.Now
	IndexDir string           // folder for the local chunk tables of this repository; empty: they are held in memory
	Spool    *state.Spool     // for packs that wait to be sent and find no room in memory; nil: the system's folder for temporary files
	Header   *Header          // firn.json, where the caller has read it already

	held int // of tests: chunks held in memory while the index is read; 0: heldChunks
}

// Repository is an open repository.
type Repository struct {
	st      store.Store
	cfg     *format.Config
	id      keys.RepoID
	root    ed25519.PublicKey
	secrets *keys.Secrets // nil: write-only
	host    *keys.HostKey // nil: read-only
	o       Options
	copies  *places // nil: packs are read from st alone

	mu          sync.Mutex
	scopes      map[keys.ScopeID]*scopeKit
	uncertified map[sign.Author]bool    // authors that are believed without a certificate, for reading
	opened      map[objectKey]*openPack // payload keys of packs that were read
}

// ReadConfig reads firn.json without any key: it says whether a repository is here and what is needed to open it. Its
// signature is checked only by Open, which knows the root key.
func ReadConfig(ctx context.Context, st store.Store) (*format.Config, error) {
	h, err := ReadHeader(ctx, st)
	if err != nil {
		return nil, err
	}
	return h.Config, nil
}

// Header is firn.json as it lies in the store, and what it says.
type Header struct {
	*format.Config
	raw []byte
}

// Raw returns the bytes of firn.json; the caller does not change them.
func (h *Header) Raw() []byte { return h.raw }

// ParseHeader is ReadHeader for a firn.json that was read before.
func ParseHeader(raw []byte) (*Header, error) {
	cfg, err := format.Parse(raw)
	if err != nil {
		return nil, &ObjectError{configName, err}
	}
	return &Header{cfg, raw}, nil
}

// ReadHeader is ReadConfig for a caller that goes on to Open and need not ask the store twice.
func ReadHeader(ctx context.Context, st store.Store) (*Header, error) {
	raw, cfg, err := readConfig(ctx, st)
	if err != nil {
		return nil, err
	}
	return &Header{cfg, raw}, nil
}

func readConfig(ctx context.Context, st store.Store) (raw []byte, cfg *format.Config, err error) {
	r := &Repository{st: st}
	raw, err = r.fetch(ctx, configName, 1<<20)
	if errors.Is(err, store.ErrNotExist) || errors.Is(err, store.ErrNoStore) {
		none := fmt.Errorf("%s: %w", st.Location(), ErrNoRepository)
		if _, err := st.Stat(ctx, recoverText); err == nil {
			none = fmt.Errorf("%w: %w", none, ErrHeadless)
		}
		return nil, nil, none
	}
	if err != nil {
		return nil, nil, err
	}
	cfg, err = format.Parse(raw)
	if err != nil {
		return nil, nil, &ObjectError{configName, err}
	}
	return raw, cfg, nil
}

// Open opens a repository.
func Open(ctx context.Context, st store.Store, a Access, o Options) (*Repository, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	h := o.Header
	if h == nil {
		var err error
		if h, err = ReadHeader(ctx, st); err != nil {
			return nil, err
		}
	}
	raw, cfg := h.raw, h.Config
	r := &Repository{st: st, cfg: cfg, id: cfg.ID, secrets: a.Secrets, host: a.Host, o: o,
		scopes: map[keys.ScopeID]*scopeKit{}, opened: map[objectKey]*openPack{}}
	switch {
	case a.Secrets != nil:
		r.root = a.Secrets.RootPublic()
		if a.Secrets.Repository != cfg.ID {
			return nil, fmt.Errorf("%s: %w", st.Location(), ErrWrongKey)
		}
	case a.Host != nil:
		r.root = a.Host.Root
	default:
		return nil, ErrNoKey
	}
	if a.Host != nil && (a.Host.Repository != cfg.ID || !a.Host.Root.Equal(r.root)) {
		return nil, fmt.Errorf("%s: host key: %w", st.Location(), ErrWrongKey)
	}
	if err := format.VerifySignature(raw, r.root); err != nil {
		return nil, &ObjectError{configName, err}
	}
	return r, nil
}

// ID returns the repository id.
func (r *Repository) ID() keys.RepoID { return r.id }

// Config returns the public parameters.
func (r *Repository) Config() *format.Config { return r.cfg }

// Store returns where the repository lies.
func (r *Repository) Store() store.Store { return r.st }

// Host returns the host key, nil where the repository is open for reading only.
func (r *Repository) Host() *keys.HostKey { return r.host }

// Secrets returns everything, nil where only a host key is at hand.
func (r *Repository) Secrets() *keys.Secrets { return r.secrets }

// Root returns the public half of the root key.
func (r *Repository) Root() ed25519.PublicKey { return r.root }

// CanRead reports whether content and manifests can be read.
func (r *Repository) CanRead() bool { return r.secrets != nil }

func (r *Repository) dataRecipient() age.Recipient {
	if r.secrets != nil {
		return r.secrets.DataRecipient()
	}
	return r.host.DataRecipient()
}

// dataIdentities fails with ErrWriteOnly where there are none.
func (r *Repository) dataIdentities() ([]age.Identity, error) {
	if r.secrets == nil {
		return nil, ErrWriteOnly
	}
	return r.secrets.DataIdentities(), nil
}

func (r *Repository) note(format string, args ...any) {
	r.o.Report.Emit(event.Note{Text: fmt.Sprintf(format, args...)})
}

func (r *Repository) decide(format string, args ...any) {
	r.o.Report.Emit(event.Decision{Text: fmt.Sprintf(format, args...)})
}

func (r *Repository) padded() bool { return r.cfg.Padding == format.PaddingPadme }

// classOf is the storage class of new packs.
func (r *Repository) classOf(kind chunk.Kind) string {
	if kind == chunk.Data {
		return r.cfg.Class.Data
	}
	return r.cfg.Class.Meta
}

// hotClass is the storage class of everything that has to stay readable at once.
func (r *Repository) hotClass() string { return r.cfg.Class.Meta }
