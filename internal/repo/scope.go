package repo

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"filippo.io/age"

	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/frame"
	"firn/internal/keys"
	"firn/internal/sign"
	"firn/internal/store"
)

// scopeKit is what the repository can do in one scope: open what its hosts wrote, and, on a host of that scope, write.
type scopeKit struct {
	r    *Repository
	id   keys.ScopeID
	keys *keys.Scope
	mac  [32]byte
	ids  []age.Identity // index identity first, then data identities where they are known

	indexRecipient age.Recipient
	authors        map[sign.Author]ed25519.PublicKey // certified by the root key; guarded by r.mu
	revoked        map[sign.Author]time.Time         // when the store got the revocation; guarded by r.mu
	long           sync.Mutex                        // held while a long body is read; nothing else is locked under it but r.mu
}

// scope returns the kit of a scope, or ErrNoScope where no key at hand opens it.
func (r *Repository) scope(id keys.ScopeID) (*scopeKit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.scopes[id]; k != nil {
		return k, nil
	}
	var secret *keys.Scope
	switch {
	case r.secrets != nil:
		secret = r.secrets.Scope(id)
	case r.host != nil && r.host.ScopeID == id:
		secret = r.host.Scope()
	default:
		return nil, fmt.Errorf("scope %v: %w", id, ErrNoScope)
	}
	index, err := secret.IndexIdentity()
	if err != nil {
		return nil, err
	}
	k := &scopeKit{r: r, id: id, keys: secret, mac: secret.MACKey(), indexRecipient: index.Recipient(), authors: map[sign.Author]ed25519.PublicKey{}, revoked: map[sign.Author]time.Time{}}
	k.ids = append(k.ids, index)
	if r.secrets != nil {
		k.ids = append(k.ids, r.secrets.DataIdentities()...)
	}
	if r.host != nil && r.host.ScopeID == id {
		k.authors[r.host.Host] = r.host.SignPublic()
	}
	r.scopes[id] = k
	return k, nil
}

// seal makes an envelope signed by this host.
func (k *scopeKit) seal(kind sign.Kind, body []byte) ([]byte, digest.Object, error) {
	if k.r.host == nil {
		return nil, digest.Object{}, ErrNoHost
	}
	return envelope.Seal(kind, body, k.envelopeKeys())
}

func (k *scopeKit) envelopeKeys() envelope.Keys { return k.envelopeKeysOf(k.signer()) }

func (k *scopeKit) envelopeKeysOf(signer *sign.Signer) envelope.Keys {
	return envelope.Keys{Signer: signer, Recipients: []age.Recipient{k.indexRecipient, k.r.dataRecipient()}, Padding: k.r.padded(), Level: frame.Default}
}

// sealRoot makes an envelope signed by the root key.
func (k *scopeKit) sealRoot(kind sign.Kind, body []byte) ([]byte, error) {
	keys := k.envelopeKeysOf(k.r.secrets.RootSigner(k.id))
	object, _, err := envelope.Seal(kind, body, keys)
	return object, err
}

func (k *scopeKit) check() envelope.Check {
	return envelope.Check{Repo: k.r.id, Scope: k.id, MAC: &k.mac, Author: func(author sign.Author) (ed25519.PublicKey, bool) {
		if author.IsRoot() {
			return k.r.root, true
		}
		k.r.mu.Lock()
		defer k.r.mu.Unlock()
		pub, ok := k.authors[author]
		return pub, ok
	}}
}

// open checks and opens an envelope; long ones one after another.
func (k *scopeKit) open(kind sign.Kind, name string, object []byte) (body []byte, author sign.Author, err error) {
	r, err := envelope.NewReader(kind, bytes.NewReader(object), k.ids, k.check())
	if err != nil {
		return nil, author, &ObjectError{name, err}
	}
	unlock := func() {}
	r.BeforeLong(func() {
		k.long.Lock()
		unlock = k.long.Unlock
	})
	defer func() { unlock() }()
	if body, err = io.ReadAll(r); err != nil {
		return nil, author, &ObjectError{name, err}
	}
	return body, r.Author(), nil
}

// objectLimit is how long an envelope of a kind can be, in bytes: no more is read, whoever has put what in the place of one.
func objectLimit(kind sign.Kind) int64 {
	n := envelope.Limit(kind)
	return n + n/16 + 1<<20 // with padding and headers
}

// tooLong is an *ObjectError where an object is listed with more bytes than an envelope of its kind can have; it need not be read.
func tooLong(kind sign.Kind, name string, size int64) error {
	if limit := objectLimit(kind); size > limit {
		return &ObjectError{name, fmt.Errorf("longer than %d bytes", limit)}
	}
	return nil
}

// get fetches and opens an envelope.
func (k *scopeKit) get(ctx context.Context, kind sign.Kind, name string) (body []byte, author sign.Author, err error) {
	object, err := k.r.fetch(ctx, name, objectLimit(kind))
	if err != nil {
		return nil, author, err
	}
	return k.open(kind, name, object)
}

// getTrusted is get for what only a certified host may have written.
func (k *scopeKit) getTrusted(ctx context.Context, kind sign.Kind, name string) (body []byte, author sign.Author, err error) {
	object, err := k.r.fetch(ctx, name, objectLimit(kind))
	if err != nil {
		return nil, author, err
	}
	body, author, err = k.open(kind, name, object)
	if err != nil {
		return nil, author, err
	}
	k.r.mu.Lock()
	_, known := k.authors[author]
	k.r.mu.Unlock()
	if known || author.IsRoot() {
		return body, author, nil // open has checked the signature
	}
	if err := k.trust(ctx, author); err != nil {
		return nil, author, blame(name, err)
	}
	return k.open(kind, name, object)
}

// blame makes err an *ObjectError about an object where it says something about that object or the certificate of its author, and leaves it as it is
// where the store did not answer: what cannot be asked for now is not damaged.
func blame(name string, err error) error {
	var object *ObjectError
	if errors.Is(err, ErrUntrusted) || errors.Is(err, store.ErrNotExist) || errors.As(err, &object) {
		return &ObjectError{name, err}
	}
	return err
}

// signer signs the tables of packs.
func (k *scopeKit) signer() *sign.Signer {
	if k.r.host.Host == (keys.HostID{}) { // see AsRoot
		return k.r.secrets.RootSigner(k.id)
	}
	return k.r.host.Signer()
}

// trust makes sure that the certificate of an author is at hand, and fails with ErrUntrusted if the root key never certified it for this scope.
func (k *scopeKit) trust(ctx context.Context, author sign.Author) error {
	k.r.mu.Lock()
	_, known := k.authors[author]
	k.r.mu.Unlock()
	if known {
		return nil
	}
	cert, err := k.certificate(ctx, author)
	lost := errors.Is(err, store.ErrNotExist)
	if lost && (k.r.host != nil || k.r.secrets == nil) {
		return fmt.Errorf("%s%v is missing: %w", hostsPrefix, author, ErrUntrusted)
	}
	if err != nil && !lost {
		return err
	}
	since, err := k.revokedSince(ctx, author)
	if err != nil {
		return err
	}
	k.r.mu.Lock()
	if !since.IsZero() {
		k.revoked[author] = since
	}
	if !lost {
		k.authors[author] = cert.Sign
	}
	k.r.mu.Unlock()
	if lost {
		k.r.takeOnMAC(author)
	}
	return nil
}

// revokedSince is when the store got the revocation of an author; zero: there is none. What lies in its place and is none counts for nothing: anybody can put an object there, and a host must not be
// ended by who may only add.
func (k *scopeKit) revokedSince(ctx context.Context, author sign.Author) (time.Time, error) {
	info, err := k.r.lookFor(ctx, hostsPrefix+author.String()+revokeSuffix)
	if err == nil {
		_, err = k.revocation(ctx, author)
	}
	var object *ObjectError
	switch {
	case err == nil:
		return info.Modified, nil
	case errors.Is(err, store.ErrNotExist):
		return time.Time{}, nil
	case errors.As(err, &object):
		k.r.note("the host counts as one that was not revoked: %v", err)
		return time.Time{}, nil
	}
	return time.Time{}, err
}

// takeOnMAC lets a repository that is open for reading only believe what the MAC of the scope proves where the certificate of the author is
// lost: a restore must not fail for that. A revocation counts all the same. Nobody writes, and nothing is deduplicated, on the strength of it. It is told once.
func (r *Repository) takeOnMAC(author sign.Author) {
	r.mu.Lock()
	told := r.uncertified[author]
	if r.uncertified == nil {
		r.uncertified = map[sign.Author]bool{}
	}
	r.uncertified[author] = true
	r.mu.Unlock()
	if !told {
		r.note("%s%v, the certificate of a host, is missing: what it wrote is known by the key of its scope alone", hostsPrefix, author)
	}
}

// inTime fails with ErrUntrusted where an author was revoked before the store got an object of this time.
func (k *scopeKit) inTime(author sign.Author, stored time.Time) error {
	k.r.mu.Lock()
	defer k.r.mu.Unlock()
	if at, ok := k.revoked[author]; ok && stored.After(at) {
		return fmt.Errorf("written after host %v was revoked: %w", author, errRevoked)
	}
	return nil
}

// isRevoked reports whether an author was revoked, as far as it was asked.
func (k *scopeKit) isRevoked(author sign.Author) bool {
	k.r.mu.Lock()
	defer k.r.mu.Unlock()
	_, ok := k.revoked[author]
	return ok
}

// certificate reads and checks hosts/<host>, which lies in this scope.
func (k *scopeKit) certificate(ctx context.Context, host keys.HostID) (*keys.Certificate, error) {
	name := hostsPrefix + host.String()
	body, author, err := k.get(ctx, sign.Host, name)
	if err != nil {
		return nil, err
	}
	if !author.IsRoot() {
		return nil, &ObjectError{name, ErrForged}
	}
	cert, err := keys.ParseCertificate(body)
	if err != nil {
		return nil, &ObjectError{name, err}
	}
	if cert.Host != host || cert.Scope != k.id {
		return nil, &ObjectError{name, fmt.Errorf("certificate of host %v in scope %v stands in its place", cert.Host, cert.Scope)}
	}
	return cert, nil
}

// fetch reads a whole object of at most limit bytes.
func (r *Repository) fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	rc, err := r.st.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(rc, limit+1))
	if err != nil {
		return nil, store.Fail("get", name, err)
	}
	if n > limit {
		return nil, &ObjectError{name, fmt.Errorf("longer than %d bytes", limit)}
	}
	return b.Bytes(), nil
}

// put creates a small object; that it is there already is no error, since names are sums or random.
func (r *Repository) put(ctx context.Context, name string, object []byte, class string) error {
	err := r.st.Put(ctx, name, bytes.NewReader(object), int64(len(object)), store.PutOptions{Sum: digest.SumObject(object), Class: class})
	if errors.Is(err, store.ErrExist) {
		return nil
	}
	return err
}
