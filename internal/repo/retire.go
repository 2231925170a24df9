package repo

import (
	"context"

	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/keys"
	"firn/internal/sign"
	"firn/internal/snapshot"
)

// Retire writes a record (FORMAT §12) that says of packs and pack sets that they take no new references, and of snapshots that they are forgotten. When it
// returns, every backup that lists records after it heeds the record; only then may a pruner list the snapshots which decide what it deletes. It returns
// the name of the record. The author is this host where its role is to prune, else the root key; without either it fails with ErrWriteOnly.
//
// What a pruner has to expect: a pack set can be retired and deleted before the snapshot that names it is there to be listed. Such a snapshot
// is never done, since its writer finds the record; it stays behind without its pack set, and a pruner that takes it for damage would stop for ever.
//
// The state itself marks what is retired when it next reads records.
func (s *ScopeState) Retire(ctx context.Context, packs []digest.Object, forget []snapshot.ID) (name string, err error) {
	signer, err := s.pruneSigner()
	if err != nil {
		return "", err
	}
	rec := &snapshot.Record{Scope: [8]byte(s.kit.id), Time: s.kit.r.o.Now(), Retire: packs, Forget: forget}
	body, err := rec.Marshal()
	if err != nil {
		return "", err
	}
	object, sum, err := envelope.Seal(sign.Prune, body, s.kit.envelopeKeysOf(signer))
	if err != nil {
		return "", err
	}
	s.lastRecord = max(s.lastRecord+1, uint64(s.kit.r.o.Now().UnixMicro()))
	name = prunePrefix + genName(s.lastRecord, sum)
	return name, s.kit.r.put(ctx, name, object, s.kit.r.hotClass())
}

func (s *ScopeState) pruneSigner() (*sign.Signer, error) {
	if h := s.kit.r.host; h != nil && h.ScopeID == s.kit.id {
		if cert, err := keys.ParseCertificate(h.Certificate); err == nil && cert.Role == keys.Pruner {
			return h.Signer(), nil
		}
	}
	if s.kit.r.secrets == nil {
		return nil, ErrWriteOnly
	}
	return s.kit.r.secrets.RootSigner(s.kit.id), nil
}

// Forgotten returns the snapshots that the records read so far forget; the caller does not change it.
func (s *ScopeState) Forgotten() map[snapshot.ID]bool { return s.forgotten }
