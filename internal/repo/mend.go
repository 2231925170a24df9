package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/packset"
	"firn/internal/seal"
	"firn/internal/sign"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// Names of objects and folders for those who mend them.
const (
	ConfigName = configName
	KeysPrefix = keysPrefix
)

// VolumeName is the name of the recovery volume of a pack.
func VolumeName(pack string) string { return volumeName(pack) }

// HotClass is the storage class of everything that has to stay readable at once.
func (r *Repository) HotClass() string { return r.hotClass() }

// Culprit returns the name of the object that an error is about in the end: of an index that cannot be believed since its author's certificate is damaged, that certificate's.
func Culprit(err error) string {
	name := ""
	for {
		var object *ObjectError
		if !errors.As(err, &object) {
			return name
		}
		name, err = object.Name, object.Err
	}
}

// VerifyCopy makes sure that content is what belongs under a name: an object that does not change, kept somewhere else. It reads no other object than the certificate of its author. Errors:
// *ObjectError where it is not, or nobody can tell.
func (r *Repository) VerifyCopy(ctx context.Context, name string, content []byte) error {
	o, ok := ParseName(name)
	switch {
	case !ok || o.Volume:
		return &ObjectError{name, store.ErrName}
	case o.Summed():
		if digest.SumObject(content) != o.Sum {
			return &ObjectError{name, store.ErrChecksum}
		}
		return nil
	}
	var err error
	switch o.Area {
	case "":
		err = r.verifyPlain(name, content)
	case "keys":
		if strings.HasSuffix(name, metaSuffix) {
			_, err = keys.ParseMeta(content, r.root)
		} else {
			_, err = seal.PrefixLen(content)
		}
	case "hosts":
		err = r.verifyHost(ctx, name, content)
	case "snapshots":
		err = r.verifySnapshot(ctx, name, o, content)
	default:
		err = store.ErrName
	}
	if err != nil {
		return &ObjectError{name, err}
	}
	return nil
}

func (r *Repository) verifyPlain(name string, content []byte) error {
	if name != configName {
		return ErrForged // texts are made again from this program's own
	}
	if err := format.VerifySignature(content, r.root); err != nil {
		return err
	}
	_, err := format.Parse(content)
	return err
}

// verifyHost checks a certificate or a revocation by the rules of the scopes that are loaded, a revocation also by those of the scope of its host.
func (r *Repository) verifyHost(ctx context.Context, name string, content []byte) error {
	id, revoked := strings.CutSuffix(strings.TrimPrefix(name, hostsPrefix), revokeSuffix)
	if host, err := sign.ParseAuthor(id); err == nil && revoked {
		_, _ = r.hostKit(ctx, host) // loads it
	}
	r.mu.Lock()
	kits := make([]*scopeKit, 0, len(r.scopes))
	for _, k := range r.scopes {
		kits = append(kits, k)
	}
	r.mu.Unlock()
	for _, k := range kits {
		kind := sign.Host
		if revoked {
			kind = sign.Revoke
		}
		body, author, err := k.open(kind, name, content)
		if err != nil || !author.IsRoot() {
			continue
		}
		if revoked {
			if rev, err := keys.ParseRevocation(body); err == nil && rev.Host.String() == id {
				return nil
			}
		} else if cert, err := keys.ParseCertificate(body); err == nil && cert.Host.String() == id && cert.Scope == k.id {
			return nil
		}
	}
	return ErrForged
}

func (r *Repository) verifySnapshot(ctx context.Context, name string, o ObjectName, content []byte) error {
	k, err := r.scope(o.Scope)
	if err != nil {
		return err
	}
	kind := sign.Snapshot
	if o.Done {
		kind = sign.Done
	}
	body, author, err := k.open(kind, name, content)
	if err != nil {
		return err
	}
	if !author.IsRoot() {
		if err := k.trust(ctx, author); err != nil {
			return err
		}
		if body, author, err = k.open(kind, name, content); err != nil {
			return err
		}
	}
	id, _ := strings.CutSuffix(name[strings.LastIndexByte(name, '/')+1:], doneSuffix)
	if o.Done {
		done, err := snapshot.ParseDone(body)
		if err == nil && done.Snapshot.String() != id {
			err = ErrForged
		}
		return err
	}
	snap, err := snapshot.Parse(body)
	if err == nil && (snap.ID.String() != id || snap.Scope != [8]byte(k.id) || snap.HostID != [16]byte(author)) {
		err = ErrForged
	}
	return err
}

// Texts are the plain objects that every repository has for those without this program, by name.
func Texts() map[string][]byte {
	return map[string][]byte{recoverText: recoverTextBody, recoverName: recoverScript}
}

// SealCertificate makes hosts/<host> again from the key of that host, which holds what the root key signed. It fails with ErrNoScope where the key is of another repository.
func (r *Repository) SealCertificate(host *keys.HostKey) (name string, object []byte, err error) {
	if host.Repository != r.id {
		return "", nil, ErrWrongKey
	}
	k, err := r.scope(host.ScopeID)
	if err != nil {
		return "", nil, err
	}
	signer := sign.NewGivenSigner(r.id, k.id, k.mac, [sign.SignatureSize]byte(host.CertificateSignature))
	object, _, err = envelope.Seal(sign.Host, host.Certificate, k.envelopeKeysOf(signer))
	return hostsPrefix + host.Host.String(), object, err
}

// CertificateName is the name of the certificate of a host.
func CertificateName(host [16]byte) string { return hostsPrefix + keys.HostID(host).String() }

// SealKey wraps the secrets once more for the recipient of a key whose description is whole: keys/<key>.age. It fails with ErrNoKey for a passphrase, which nobody remembers.
func (r *Repository) SealKey(meta *keys.Meta) (name string, object []byte, err error) {
	if r.secrets == nil {
		return "", nil, ErrWriteOnly
	}
	if meta.Recipient == "" {
		return "", nil, ErrNoKey
	}
	to, err := keys.ParseRecipient(meta.Recipient, nil)
	if err != nil {
		return "", nil, err
	}
	object, err = keys.Wrap(r.secrets, to)
	return keysPrefix + meta.Key.String() + keySuffix, object, err
}

// SealConfig makes firn.json again with the root key. What only the lost one said has the defaults; like is what an older or damaged one said, or nil.
func SealConfig(secrets *keys.Secrets, like *format.Config) ([]byte, error) {
	created := time.Unix(0, 0)
	if len(secrets.Generations) > 0 {
		created = secrets.Generations[0].Created
	}
	kind := keys.X25519
	for _, g := range secrets.Generations {
		if g.Identity.Seal() == keys.Hybrid {
			kind = keys.Hybrid
		}
	}
	cfg := format.New(secrets.Repository, secrets.RootPublic(), string(kind), created)
	if like != nil {
		cfg.Chunk, cfg.Bundle, cfg.Padding, cfg.Parity, cfg.Class = like.Chunk, like.Bundle, like.Padding, like.Parity, like.Class
	}
	return cfg.Marshal(secrets.RootSeed)
}

// SnapshotName is the name of a snapshot's object, and of its mark.
func (s *ScopeState) SnapshotName(id snapshot.ID) (object, mark string) {
	object = snapshotPrefix(s.kit.id) + id.String()
	return object, object + doneSuffix
}

// SealMark makes the mark of a snapshot again that was done and lost it. It goes by the protocol, as a writer does that goes on after a crash: the snapshot is complete and neither
// it nor anything that it needs is given up. The root key signs. *RetiredError: something is.
func (s *ScopeState) SealMark(ctx context.Context, item snapshot.Item) (name string, object []byte, err error) {
	if s.kit.r.secrets == nil {
		return "", nil, ErrWriteOnly
	}
	broken, err := s.readPrune(ctx)
	if err == nil && len(broken) > 0 {
		err = broken[0]
	}
	if err == nil {
		err = s.markRetired()
	}
	if err != nil {
		return "", nil, err
	}
	names, err := s.PackNames(ctx, item.Snapshot)
	if err != nil {
		return "", nil, err
	}
	lost := &RetiredError{Forgotten: s.forgotten[item.ID], Base: s.ForgottenBase(item.Snapshot), Packs: s.retiredOf(names, item.Packs)}
	if lost.gone() || !item.Complete {
		return "", nil, lost
	}
	body, err := (&snapshot.Done{Snapshot: item.ID, Sum: item.Sum, Time: s.kit.r.o.Now()}).Marshal()
	if err != nil {
		return "", nil, err
	}
	object, err = s.kit.sealRoot(sign.Done, body)
	_, name = s.SnapshotName(item.ID)
	return name, object, err
}

// PartName is the name of an object that holds a part of a pack set.
func (s *ScopeState) PartName(p snapshot.Part) string {
	return packsetPrefix(s.kit.id) + p.Object.String()
}

// ReadPart reads a part of a pack set from the object that the snapshot names, and from no other. Errors as PackNames.
func (s *ScopeState) ReadPart(ctx context.Context, p snapshot.Part) ([]digest.Object, error) {
	return s.readPart(ctx, p, s.PartName(p))
}

func (s *ScopeState) readPart(ctx context.Context, p snapshot.Part, name string) ([]digest.Object, error) {
	body, _, err := s.kit.getTrusted(ctx, sign.Packset, name)
	if errors.Is(err, store.ErrNotExist) {
		return nil, &ObjectError{name, err}
	}
	if err != nil {
		return nil, err
	}
	names, err := packset.Parse(body)
	if err != nil {
		return nil, &ObjectError{name, err}
	}
	if digest.SumObject(body) != p.Digest || len(names) != p.Packs {
		return nil, &ObjectError{name, ErrForged}
	}
	return names, nil
}

// partAgain looks for a part of a pack set whose own object is lost in another object with the same body (FORMAT §9): that of another snapshot, or one that was made again and
// that no snapshot names. nil: there is none. No new snapshot refers to the lost one.
func (s *ScopeState) partAgain(ctx context.Context, p snapshot.Part) []digest.Object {
	s.mu.Lock()
	if s.lostParts == nil {
		s.lostParts = map[digest.Object]bool{}
	}
	s.lostParts[p.Object] = true
	s.mu.Unlock()
	named := map[digest.Object]bool{}
	for _, it := range s.Items {
		for _, other := range it.Packs {
			if other.Digest == p.Digest && !named[other.Object] && other.Object != p.Object {
				if names, err := s.readPart(ctx, p, s.PartName(other)); err == nil {
					return names
				}
			}
			named[other.Object] = true
		}
	}
	var others []string
	err := s.kit.r.st.List(ctx, packsetPrefix(s.kit.id), "", func(i store.Info) error {
		if o, ok := ParseName(i.Name); ok && !named[o.Sum] && o.Sum != p.Object {
			others = append(others, i.Name)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	for _, name := range others {
		if names, err := s.readPart(ctx, p, name); err == nil {
			o, _ := ParseName(name)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.standIns == nil {
				s.standIns = map[digest.Object]bool{}
			}
			s.standIns[o.Sum] = true
			return names
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil
}

// SealPart makes a part of a snapshot's pack set again, by its manifest: which chunks it needs, and where these lie. The object has another name than the lost one, since sealing
// again gives other bytes; readers find it by its body. It fails with ErrUnknownChunk where a chunk is in no index, and with ErrForged where no choice of packs gives the body that the snapshot
// names, as of one whose run was flushed in between: its set has more packs than its manifest needs.
func (s *ScopeState) SealPart(ctx context.Context, snap *snapshot.Snapshot, p snapshot.Part) (name string, object []byte, err error) {
	if s.kit.r.secrets == nil {
		return "", nil, ErrWriteOnly
	}
	needs, err := s.Needs(ctx, snap)
	if err != nil {
		return "", nil, err
	}
	for _, last := range []bool{false, true} {
		var names []digest.Object
		for _, places := range needs {
			if last {
				names = append(names, places[len(places)-1])
			} else {
				names = append(names, places[0])
			}
		}
		for _, part := range packset.Split(packset.Normalize(names)) {
			if digest.Object(part.Digest()) != p.Digest {
				continue
			}
			object, err := s.kit.sealRoot(sign.Packset, part.Body())
			return packsetPrefix(s.kit.id) + digest.SumObject(object).String(), object, err
		}
	}
	return "", nil, &ObjectError{s.PartName(p), ErrForged}
}

// Needs returns, for every chunk that a snapshot needs, the packs that have it; it reads the whole manifest. It fails with ErrUnknownChunk for a chunk that no index has.
func (s *ScopeState) Needs(ctx context.Context, snap *snapshot.Snapshot) (map[digest.Chunk][]digest.Object, error) {
	cache, err := s.kit.r.NewChunkCache(ctx, s, snap.Epoch, 1, 4<<20)
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	needs := map[digest.Chunk][]digest.Object{}
	note := func(id digest.Chunk) error {
		if _, ok := needs[id]; ok {
			return nil
		}
		places, err := s.Places(id)
		if err == nil && len(places) == 0 {
			err = fmt.Errorf("chunk %v: %w", id, ErrUnknownChunk)
		}
		needs[id] = places
		return err
	}
	m := manifest.NewReader(manifest.Source{Get: cache.Get}, TreeOf(snap))
	err = m.Chunks(manifest.Visitor{Meta: func(id digest.Chunk, _ int) (bool, error) { return true, note(id) }, Data: note})
	return needs, err
}

// Hurt is what a snapshot loses with chunks that are lost.
type Hurt struct {
	Snapshot *snapshot.Snapshot
	Files    []string // that lose content, in order, at most MaxHurtFiles of them
	More     int64    // files beyond these
	Entries  int64    // entries of the manifest that are lost themselves
	Err      error    // why the rest of the manifest could not be looked at; nil: it could
}

// MaxHurtFiles is how many files of one snapshot Hurts names.
const MaxHurtFiles = 1000

// Hurts reads the manifest of a snapshot and returns what it loses where these chunks are lost; nil: nothing.
func (s *ScopeState) Hurts(ctx context.Context, snap *snapshot.Snapshot, lost func(digest.Chunk) bool) (*Hurt, error) {
	cache, err := s.kit.r.NewChunkCache(ctx, s, snap.Epoch, 1, 4<<20)
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	h := &Hurt{Snapshot: snap}
	src := manifest.Source{Get: func(id digest.Chunk) ([]byte, error) {
		if lost(id) {
			return nil, &DamageError{Object: "", Chunk: id, Err: ErrUnknownChunk}
		}
		return cache.Get(id)
	}}
	m := manifest.NewReader(src, TreeOf(snap))
	it := m.EntriesPast(nil, func(g manifest.Gap) bool {
		h.Entries += g.Lines
		return ctx.Err() == nil
	})
	for it.Next() {
		e, err := it.Entry()
		if err != nil {
			h.Err = err
			break
		}
		if loses(m, e, lost) {
			if len(h.Files) < MaxHurtFiles {
				h.Files = append(h.Files, string(e.Path))
			} else {
				h.More++
			}
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := it.Err(); err != nil {
		h.Err = err
	}
	if len(h.Files) == 0 && h.Entries == 0 && h.Err == nil {
		return nil, nil
	}
	return h, nil
}

// loses reports whether a file needs a lost chunk, or one of its pieces is not known any more.
func loses(m *manifest.Reader, e *manifest.Entry, lost func(digest.Chunk) bool) bool {
	pieces := m.Pieces(e)
	for pieces.Next() {
		if id := pieces.Piece().Chunk; !id.IsZero() && lost(id) {
			return true
		}
	}
	return pieces.Err() != nil
}
