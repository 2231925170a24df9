// Package keys makes, derives, wraps and prints the keys of a repository (FORMAT §4).
//
// Two kinds of holders exist. [Secrets] is everything: the master secret M, the root key Z and the data identities D by generation; it lies in the
// store only as keys/<key>.age, wrapped for one passphrase or recipient. [HostKey] is what a write-only host holds: its scope's secret S, the
// public half of D, and keys of its own, certified by Z. Both are text files that age reads as identity files:
//
//	# firn repository <id>, root <base64>             # firn host key, repository <id>, host <name>
//	# firn-secrets: <base64 of JSON>                  # firn-host-key: <base64 of JSON>
//	# generation 1, created <time>                    AGE-SECRET-KEY-1…
//	AGE-SECRET-KEY-1…
//
// All else follows by HKDF (RFC 5869) with SHA-256, salt = repository id:
//
//	scope id        = HKDF(M, "firn/1 scope id" 00 name, 8)           MAC key        = HKDF(S, "firn/1 mac key", 32)
//	scope secret S  = HKDF(M, "firn/1 scope secret" 00 hex id, 32)    source key     = HKDF(S, "firn/1 source key", 32)
//	chunk key       = HKDF(S, "firn/1 chunk key" 00 epoch, 32)        gear table     = HKDF(S, "firn/1 gear table", 2048)
//	list key        = HKDF(S, "firn/1 list key" 00 epoch, 32)         index identity = HKDF(S, "firn/1 index identity", 32)
//
// Values that hold secrets print as "redacted" with every verb of fmt and in JSON. The package touches no disk, no network and no clock: files
// and time are given by the caller. Plugins are the exception: age runs their programs when it wraps or unwraps.
package keys

import (
	"encoding/hex"
	"fmt"
	"io"

	"firn/internal/sign"
)

// Version of the JSON objects in key files, certificates and revocations.
const Version = 1

// RepoID is the random id of a repository, the salt of every derivation.
type RepoID = [16]byte

// Seal is the kind of the data identities of a repository, the member "seal" of firn.json.
type Seal string

// The kinds of data identities.
const (
	X25519 Seal = "x25519" // age X25519
	Hybrid Seal = "hybrid" // age ML-KEM-768 + X25519, safe against quantum computers
)

// Valid reports whether s is a kind that this version knows.
func (s Seal) Valid() bool { return s == X25519 || s == Hybrid }

// ScopeID names a scope: 16 hex digits in text.
type ScopeID [8]byte

// String returns the id as 16 lower-case hex digits.
func (s ScopeID) String() string { return hex.EncodeToString(s[:]) }

// ParseScopeID reads 16 lower-case hex digits.
func ParseScopeID(text string) (id ScopeID, err error) {
	return id, parseHex(id[:], text, "scope id")
}

// HostID names a host: the first 16 bytes of the SHA-256 of its Ed25519 public key. Zero stands for the root key.
type HostID = sign.Author

// KeyID names a wrapped key, keys/<key>.age: 16 random hex digits in text.
type KeyID [8]byte

// NewKeyID returns a random id.
func NewKeyID() (id KeyID) {
	random(id[:])
	return id
}

// String returns the id as 16 lower-case hex digits.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// ParseKeyID reads 16 lower-case hex digits.
func ParseKeyID(text string) (id KeyID, err error) {
	return id, parseHex(id[:], text, "key id")
}

func parseHex(dst []byte, text, what string) error {
	if len(text) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("%s %.80q: want %d hex digits", what, text, hex.EncodedLen(len(dst)))
	}
	raw, err := hex.DecodeString(text)
	if err != nil || hex.EncodeToString(raw) != text {
		return fmt.Errorf("%s %q: want lower-case hex digits", what, text)
	}
	copy(dst, raw)
	return nil
}

// redacted is what every secret prints as.
const redacted = "redacted"

// Secret is a 32-byte secret. It prints as "redacted".
type Secret [32]byte

// NewSecret returns a random secret.
func NewSecret() (s Secret) {
	random(s[:])
	return s
}

// IsZero reports whether s is unset or wiped.
func (s *Secret) IsZero() bool { return *s == Secret{} }

// Wipe overwrites the secret. Copies that the runtime or a caller made stay where they are.
func (s *Secret) Wipe() { Wipe(s[:]) }

// Format prints "redacted" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText keeps the secret out of JSON and of structured logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Wipe overwrites b with zeros.
func Wipe(b []byte) {
	clear(b)
}
