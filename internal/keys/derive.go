package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"firn/internal/digest"
)

// derive is HKDF with SHA-256 (RFC 5869), the only derivation in the format.
func derive(secret []byte, repo RepoID, info string, length int) []byte {
	out, err := hkdf.Key(sha256.New, secret, repo[:], info, length)
	if err != nil {
		panic("keys: " + err.Error()) // only for a length over 8160, and lengths are constants
	}
	return out
}

// Scope holds the secret of one scope and derives what its hosts need. It prints as "redacted".
type Scope struct {
	ID     ScopeID
	Repo   RepoID
	Seal   Seal // kind of the index identity
	Secret Secret
}

// DeriveScopeID returns the id of the scope with this name under the master secret.
func DeriveScopeID(master *Secret, repo RepoID, name string) ScopeID {
	return ScopeID(derive(master[:], repo, "firn/1 scope id\x00"+name, 8))
}

// DeriveScope returns the scope with this id.
func DeriveScope(master *Secret, repo RepoID, seal Seal, id ScopeID) *Scope {
	return &Scope{ID: id, Repo: repo, Seal: seal, Secret: Secret(derive(master[:], repo, "firn/1 scope secret\x00"+id.String(), 32))}
}

func (s *Scope) epochKey(info string, epoch uint32) digest.Key {
	return digest.Key(derive(s.Secret[:], s.Repo, info+"\x00"+string(binary.LittleEndian.AppendUint32(nil, epoch)), 32))
}

// ChunkKey is the key of the chunk ids of an epoch.
func (s *Scope) ChunkKey(epoch uint32) digest.Key { return s.epochKey("firn/1 chunk key", epoch) }

// ListKey is the key of the file hashes over lists of pieces of an epoch.
func (s *Scope) ListKey(epoch uint32) digest.Key { return s.epochKey("firn/1 list key", epoch) }

// GearTable returns the 2,048 bytes of the table for cutting by content.
func (s *Scope) GearTable() []byte { return derive(s.Secret[:], s.Repo, "firn/1 gear table", 2048) }

// MACKey is the key of the MACs in envelopes and pack tables.
func (s *Scope) MACKey() [32]byte { return [32]byte(derive(s.Secret[:], s.Repo, "firn/1 mac key", 32)) }

// SourceKey is the key of the ids of sources.
func (s *Scope) SourceKey() [32]byte {
	return [32]byte(derive(s.Secret[:], s.Repo, "firn/1 source key", 32))
}

// IndexIdentity is the identity that all hosts of the scope share, for indexes, pack sets and snapshots.
func (s *Scope) IndexIdentity() (*Identity, error) {
	secret := derive(s.Secret[:], s.Repo, "firn/1 index identity", 32)
	defer Wipe(secret)
	return identityFromBytes(s.Seal, secret)
}

// Wipe overwrites the secret.
func (s *Scope) Wipe() { s.Secret.Wipe() }

// Format prints the id and "redacted" for every verb.
func (s Scope) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "scope "+s.ID.String()+" "+redacted)
}
