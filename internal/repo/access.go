package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"firn/internal/envelope"
	"firn/internal/frame"
	"firn/internal/keys"
	"firn/internal/seal"
	"firn/internal/sign"
	"firn/internal/store"
)

const (
	keySuffix  = ".age"
	metaSuffix = ".json"
)

// Unlock opens the secrets of a repository with the identities of a user. It tries all wrapped keys; ErrNoKey if none opens.
func Unlock(ctx context.Context, st store.Store, ids ...age.Identity) (*keys.Secrets, error) {
	secrets, _, err := UnlockKey(ctx, st, ids...)
	return secrets, err
}

// UnlockKey is Unlock, and tells which of the wrapped keys opened.
func UnlockKey(ctx context.Context, st store.Store, ids ...age.Identity) (*keys.Secrets, keys.KeyID, error) {
	r := &Repository{st: st}
	var objects []keys.Wrapped
	err := st.List(ctx, keysPrefix, "", func(i store.Info) error {
		text, ok := strings.CutSuffix(strings.TrimPrefix(i.Name, keysPrefix), keySuffix)
		id, err := keys.ParseKeyID(text)
		if !ok || err != nil {
			return nil
		}
		object, err := r.fetch(ctx, i.Name, 1<<20)
		if err != nil {
			return err
		}
		objects = append(objects, keys.Wrapped{Key: id, Object: object})
		return nil
	})
	if errors.Is(err, store.ErrNoStore) {
		return nil, keys.KeyID{}, fmt.Errorf("%s: %w", st.Location(), ErrNoRepository)
	}
	if err != nil {
		return nil, keys.KeyID{}, err
	}
	if len(objects) == 0 {
		return nil, keys.KeyID{}, fmt.Errorf("%s: %w: %w", st.Location(), ErrNoKey, &ObjectError{keysPrefix, ErrNoKeys})
	}
	secrets, key, err := keys.UnwrapAny(objects, ids...)
	if errors.Is(err, keys.ErrNoKey) {
		unopened := fmt.Errorf("%s: %w", st.Location(), ErrNoKey)
		if err.Error() != keys.ErrNoKey.Error() { // others could not even be tried
			unopened = fmt.Errorf("%w: %w", unopened, &ObjectError{keysPrefix, err})
		}
		return nil, key, unopened
	}
	return secrets, key, err
}

// KeyInfo is a wrapped key as it lies in the repository.
type KeyInfo struct {
	*keys.Meta
	Stored time.Time
}

// Keys lists the ways to open the repository.
func (r *Repository) Keys(ctx context.Context) ([]KeyInfo, error) {
	var out []KeyInfo
	err := r.st.List(ctx, keysPrefix, "", func(i store.Info) error {
		if !strings.HasSuffix(i.Name, metaSuffix) {
			return nil
		}
		raw, err := r.fetch(ctx, i.Name, 1<<16)
		if err != nil {
			return err
		}
		meta, err := keys.ParseMeta(raw, r.root)
		if err != nil {
			return &ObjectError{i.Name, err}
		}
		out = append(out, KeyInfo{meta, i.Modified})
		return nil
	})
	return out, err
}

// AddKey wraps the secrets for one more recipient.
func (r *Repository) AddKey(ctx context.Context, label string, to *keys.Recipient) (*keys.Meta, error) {
	if r.secrets == nil {
		return nil, ErrWriteOnly
	}
	object, err := keys.Wrap(r.secrets, to)
	if err != nil {
		return nil, err
	}
	meta := &keys.Meta{Key: keys.NewKeyID(), Label: label, Type: to.Type(), Recipient: to.Public(), Created: r.o.Now()}
	raw, err := meta.Marshal(r.secrets.Root())
	if err != nil {
		return nil, err
	}
	name := keysPrefix + meta.Key.String()
	if err := r.put(ctx, name+keySuffix, object, r.hotClass()); err != nil {
		return nil, err
	}
	return meta, r.put(ctx, name+metaSuffix, raw, r.hotClass())
}

// ErrLastKey tells that without this key nobody could open the repository any more.
var ErrLastKey = errors.New("this is the last key of the repository")

// RemoveKey removes a way to open the repository, with all versions of it that the store keeps; where it may not delete these, it says so. Whoever has used the key before may have kept the
// secrets.
func (r *Repository) RemoveKey(ctx context.Context, id keys.KeyID) error {
	all, err := r.Keys(ctx)
	if err != nil {
		return err
	}
	opens := map[string]bool{} // what is left of a removal that was cut off is a description, and opens nothing
	err = r.st.List(ctx, keysPrefix, "", func(i store.Info) error {
		if base, ok := strings.CutSuffix(i.Name, keySuffix); ok {
			opens[base] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(k KeyInfo) bool { return k.Key == id }) {
		return fmt.Errorf("key %v: %w", id, store.ErrNotExist)
	}
	if opens[keysPrefix+id.String()] && !slices.ContainsFunc(all, func(k KeyInfo) bool { return k.Key != id && opens[keysPrefix+k.Key.String()] }) {
		return ErrLastKey
	}
	name := keysPrefix + id.String()
	purger, err := store.NewPurger(ctx, r.st)
	if err != nil {
		return err
	}
	for _, suffix := range []string{keySuffix, metaSuffix} {
		kept, err := purger.Remove(ctx, name+suffix)
		if err != nil {
			return err
		}
		if kept != nil {
			r.note("a version of it stays in the store, and opens the repository for whoever gets at it: %v", kept)
		}
	}
	return nil
}

// Enroll makes the keys of a host and stores their certificate.
func (r *Repository) Enroll(ctx context.Context, name, scopeName string, role keys.Role) (*keys.HostKey, error) {
	if r.secrets == nil {
		return nil, ErrWriteOnly
	}
	host, err := r.secrets.NewHostKey(name, scopeName, role, r.o.Now())
	if err != nil {
		return nil, err
	}
	kit, err := r.scope(host.ScopeID)
	if err != nil {
		return nil, err
	}
	object, err := kit.sealRoot(sign.Host, host.Certificate)
	if err != nil {
		return nil, err
	}
	return host, r.put(ctx, hostsPrefix+host.Host.String(), object, r.hotClass())
}

// Standing tells by one listing whether the host that writes was revoked, and whether its certificate is there; a copy near by would hide that it is gone.
func (r *Repository) Standing(ctx context.Context) (revoked, certified bool, err error) {
	name := hostsPrefix + r.host.Host.String()
	k, err := r.scope(r.host.ScopeID)
	if err != nil {
		return false, false, err
	}
	err = r.st.List(ctx, name, "", func(i store.Info) error {
		certified = certified || i.Name == name
		revoked = revoked || i.Name == name+revokeSuffix
		return nil
	})
	if err == nil && revoked {
		var object *ObjectError
		if _, err = k.revocation(ctx, r.host.Host); errors.As(err, &object) || errors.Is(err, store.ErrNotExist) {
			revoked, err = false, nil // anybody can put an object there
		}
	}
	return revoked, certified, err
}

// KeepHeader stores firn.json again where it is gone: a backup that goes by what it said the last time would not notice, and nobody else could open the repository.
func (r *Repository) KeepHeader(ctx context.Context, h *Header) error {
	_, err := r.st.Stat(ctx, configName)
	if !errors.Is(err, store.ErrNotExist) {
		return err
	}
	r.note("%s is gone, and stored again", configName)
	return r.put(ctx, configName, h.raw, r.hotClass())
}

// KeepCertificate makes sure that the certificate of the host that writes can be read, and stores it where it is not there: nobody trusts what a host writes whose certificate
// is lost. The host's own key holds a copy, which is stored again; a damaged one is deleted first, which takes the right to.
func (r *Repository) KeepCertificate(ctx context.Context, there bool) error {
	name := hostsPrefix + r.host.Host.String()
	k, err := r.scope(r.host.ScopeID)
	if err != nil {
		return err
	}
	if there {
		if _, err = k.certificate(ctx, r.host.Host); errors.Is(err, store.ErrCold) {
			err = nil // it is there
		}
	} else {
		err = store.Fail("list", name, store.ErrNotExist)
	}
	var broken *ObjectError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &broken):
		if e := r.st.Delete(ctx, name); e != nil {
			return fmt.Errorf("%w, and it cannot be replaced: %w", err, e)
		}
	case !errors.Is(err, store.ErrNotExist):
		return err
	}
	r.note("certificate of this host is stored again: %v", err)
	signer := sign.NewGivenSigner(r.id, k.id, k.mac, [sign.SignatureSize]byte(r.host.CertificateSignature))
	object, _, err := envelope.Seal(sign.Host, r.host.Certificate, k.envelopeKeysOf(signer))
	if err != nil {
		return err
	}
	return r.put(ctx, name, object, r.hotClass())
}

// UseHost makes the repository write as this host.
func (r *Repository) UseHost(host *keys.HostKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.host = host
	if k := r.scopes[host.ScopeID]; k != nil {
		k.authors[host.Host] = host.SignPublic()
	}
}

// UseSecrets gives everything to a repository that was opened with a host key alone. No other method may run meanwhile.
func (r *Repository) UseSecrets(secrets *keys.Secrets) error {
	if secrets.Repository != r.id || !secrets.RootPublic().Equal(r.root) {
		return fmt.Errorf("%s: %w", r.st.Location(), ErrWrongKey)
	}
	r.secrets = secrets
	for _, k := range r.scopes {
		k.ids = append(k.ids, secrets.DataIdentities()...)
	}
	return nil
}

// HostInfo is a host that may write, or might before it was revoked.
type HostInfo struct {
	*keys.Certificate
	Revoked *keys.Revocation
	Stored  time.Time
}

// Hosts lists the hosts whose certificates a key at hand opens.
func (r *Repository) Hosts(ctx context.Context) ([]HostInfo, error) {
	var names []store.Info
	revoked := map[string]bool{}
	err := r.st.List(ctx, hostsPrefix, "", func(i store.Info) error {
		if host, ok := strings.CutSuffix(i.Name, revokeSuffix); ok {
			revoked[host] = true
		} else {
			names = append(names, i)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []HostInfo
	for _, n := range names {
		id, err := sign.ParseAuthor(strings.TrimPrefix(n.Name, hostsPrefix))
		if err != nil {
			continue
		}
		info, err := r.hostInfo(ctx, id, revoked[n.Name])
		if errors.Is(err, ErrNoScope) {
			continue // of another scope than that of the key at hand
		}
		if err != nil && (info.Certificate == nil || unlessObject(err) != nil) {
			return nil, err
		}
		if err != nil {
			r.note("the host counts as one that was not revoked: %v", err)
		}
		info.Stored = n.Modified
		out = append(out, info)
	}
	return out, nil
}

// hostKit finds the scope of a host from its certificate, which is not trusted before it was opened by the rules of that scope.
func (r *Repository) hostKit(ctx context.Context, id keys.HostID) (*scopeKit, error) {
	if r.secrets == nil {
		return r.scope(r.host.ScopeID)
	}
	name := hostsPrefix + id.String()
	object, err := r.fetch(ctx, name, 1<<20)
	if err != nil {
		return nil, err
	}
	plain, err := seal.Open(bytes.NewReader(object), r.secrets.DataIdentities()...)
	if err != nil {
		return nil, &ObjectError{name, err}
	}
	raw, err := io.ReadAll(plain)
	if err != nil {
		return nil, &ObjectError{name, err}
	}
	body, err := frame.DecodeAll(raw, 1<<20)
	if err != nil {
		return nil, &ObjectError{name, err}
	}
	cert, err := keys.ParseCertificate(body)
	if err != nil {
		return nil, &ObjectError{name, err}
	}
	return r.scope(cert.Scope)
}

func (r *Repository) hostInfo(ctx context.Context, id keys.HostID, revoked bool) (HostInfo, error) {
	k, err := r.hostKit(ctx, id)
	if err != nil {
		return HostInfo{}, err
	}
	cert, err := k.certificate(ctx, id)
	if err != nil {
		if r.foreign(err) {
			err = ErrNoScope
		}
		return HostInfo{}, err
	}
	info := HostInfo{Certificate: cert}
	if revoked {
		info.Revoked, err = k.revocation(ctx, id)
	}
	return info, err
}

// revocation reads hosts/<host>.revoked.
func (k *scopeKit) revocation(ctx context.Context, host keys.HostID) (*keys.Revocation, error) {
	name := hostsPrefix + host.String() + revokeSuffix
	body, author, err := k.get(ctx, sign.Revoke, name)
	if err != nil {
		return nil, err
	}
	rev, err := keys.ParseRevocation(body)
	if err != nil {
		return nil, &ObjectError{name, err}
	}
	if !author.IsRoot() || rev.Host != host {
		return nil, &ObjectError{name, ErrForged}
	}
	return rev, nil
}

// Revoke ends a host: what it writes from now on does not count.
func (r *Repository) Revoke(ctx context.Context, host keys.HostID, reason string) error {
	if r.secrets == nil {
		return ErrWriteOnly
	}
	k, err := r.hostKit(ctx, host)
	if err != nil {
		return err
	}
	cert, err := k.certificate(ctx, host)
	if err != nil {
		return err
	}
	body, err := (&keys.Revocation{Host: cert.Host, Time: r.o.Now(), Reason: reason}).Body()
	if err != nil {
		return err
	}
	object, err := k.sealRoot(sign.Revoke, body)
	if err != nil {
		return err
	}
	name := hostsPrefix + host.String() + revokeSuffix
	if err := r.put(ctx, name, object, r.hotClass()); err != nil {
		return err
	}
	var there *ObjectError
	if _, err := k.revocation(ctx, host); !errors.As(err, &there) {
		return err
	}
	if err := r.st.Delete(ctx, name); err != nil { // anybody may have put something there before, so that this is not
		return fmt.Errorf("%w, and it cannot be replaced: %w", there, err)
	}
	return r.put(ctx, name, object, r.hotClass())
}
