// Package sign shows who wrote something, and that somebody of the scope did: age authenticates no sender (FORMAT §5).
//
// The message that is signed binds a body to its kind, repository and scope; ASCII, each line ended by 0x0A:
//
//	firn/1
//	kind                  host, revoke, index, packset, snapshot, done, state, prune, pack
//	repository id         32 hex digits
//	scope id              16 hex digits
//	SHA-256 of the body   64 hex digits
//
// The proof that is stored beside the body:
//
//	 0  16  author: first 16 bytes of the SHA-256 of the author's public key; zero for the root key
//	16  32  HMAC-SHA256 of the message under the MAC key of the scope
//	48  64  Ed25519 signature of the message (RFC 8032)
//
// JSON documents in plain (§3) carry their signature in a member; see SignJSON.
package sign

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// Kind is what a signed body is.
type Kind string

// The kinds (FORMAT §5, §6).
const (
	Host     Kind = "host"
	Revoke   Kind = "revoke"
	Index    Kind = "index"
	Packset  Kind = "packset"
	Snapshot Kind = "snapshot"
	Done     Kind = "done"
	State    Kind = "state"
	Prune    Kind = "prune"
	Pack     Kind = "pack"
)

var kinds = []Kind{Host, Revoke, Index, Packset, Snapshot, Done, State, Prune, Pack}

// Valid reports whether k is one of the constants.
func (k Kind) Valid() bool { return slices.Contains(kinds, k) }

// Sizes in bytes.
const (
	MACSize       = sha256.Size
	SignatureSize = ed25519.SignatureSize
	ProofSize     = 16 + MACSize + SignatureSize
)

var (
	// ErrMAC tells that nobody of the scope wrote this.
	ErrMAC = errors.New("message authentication code does not match")
	// ErrSignature tells that the author named did not write this.
	ErrSignature = errors.New("signature does not match")
	// ErrAuthor tells that the proof names another author than the key given.
	ErrAuthor = errors.New("written by another author")
)

// Author names whoever signed: the first 16 bytes of the SHA-256 of the public key. The root key's author is zero.
type Author [16]byte

// Root is the author of what the root key signs.
var Root Author

// AuthorOf returns the name of the owner of a public key.
func AuthorOf(pub ed25519.PublicKey) Author {
	sum := sha256.Sum256(pub)
	return Author(sum[:16])
}

// IsRoot reports whether a is the root key's name.
func (a Author) IsRoot() bool { return a == Root }

// String returns 32 lower-case hex digits.
func (a Author) String() string { return hex.EncodeToString(a[:]) }

// ParseAuthor reads 32 lower-case hex digits.
func ParseAuthor(s string) (a Author, err error) {
	if len(s) != 2*len(a) {
		return Author{}, fmt.Errorf("author %.40q: want 32 hex digits", s)
	}
	if _, err := hex.Decode(a[:], []byte(s)); err != nil || a.String() != s {
		return Author{}, fmt.Errorf("author %q: want 32 lower-case hex digits", s)
	}
	return a, nil
}

// Message returns the bytes that are signed for a body with that SHA-256. It panics if kind is none of the constants.
func Message(kind Kind, repo [16]byte, scope [8]byte, body [32]byte) []byte {
	if !kind.Valid() {
		panic(fmt.Sprintf("sign: kind %q", kind))
	}
	msg := make([]byte, 0, 144)
	msg = append(msg, "firn/1\n"...)
	msg = append(append(msg, kind...), '\n')
	msg = append(hex.AppendEncode(msg, repo[:]), '\n')
	msg = append(hex.AppendEncode(msg, scope[:]), '\n')
	return append(hex.AppendEncode(msg, body[:]), '\n')
}

// MAC returns the HMAC-SHA256 of msg.
func MAC(key [32]byte, msg []byte) (mac [MACSize]byte) {
	h := hmac.New(sha256.New, key[:])
	h.Write(msg)
	h.Sum(mac[:0])
	return mac
}

// CheckMAC returns nil or ErrMAC. It takes the same time wherever the first difference is.
func CheckMAC(key [32]byte, msg []byte, mac [MACSize]byte) error {
	want := MAC(key, msg)
	if !hmac.Equal(want[:], mac[:]) {
		return ErrMAC
	}
	return nil
}

// Proof shows who wrote a body.
type Proof struct {
	Author Author
	MAC    [MACSize]byte
	Sig    [SignatureSize]byte
}

// Append appends the ProofSize bytes of p.
func (p *Proof) Append(dst []byte) []byte {
	dst = append(dst, p.Author[:]...)
	dst = append(dst, p.MAC[:]...)
	return append(dst, p.Sig[:]...)
}

// ParseProof reads exactly ProofSize bytes.
func ParseProof(b []byte) (p Proof, err error) {
	if len(b) != ProofSize {
		return Proof{}, fmt.Errorf("proof of %d bytes instead of %d", len(b), ProofSize)
	}
	n := copy(p.Author[:], b)
	n += copy(p.MAC[:], b[n:])
	copy(p.Sig[:], b[n:])
	return p, nil
}

// CheckSignature returns nil if the owner of pub signed msg; ErrAuthor if the proof names somebody else, else ErrSignature. A proof by the root key names
// nobody: the caller passes the root's public key only where the root must have signed.
func (p *Proof) CheckSignature(pub ed25519.PublicKey, msg []byte) error {
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("public key of %d bytes instead of %d", len(pub), ed25519.PublicKeySize)
	}
	if !p.Author.IsRoot() && p.Author != AuthorOf(pub) {
		return ErrAuthor
	}
	if !ed25519.Verify(pub, msg, p.Sig[:]) {
		return ErrSignature
	}
	return nil
}

// Signer signs for one author in one scope of one repository. It may be used by several goroutines at once.
type Signer struct {
	repo   [16]byte
	scope  [8]byte
	mac    [32]byte
	key    ed25519.PrivateKey
	author Author
	given  *[SignatureSize]byte // instead of a signature by key
}

// NewSigner returns the signer of a host, given the MAC key of the scope and the host's Ed25519 seed.
func NewSigner(repo [16]byte, scope [8]byte, macKey, seed [32]byte) *Signer {
	s := NewRootSigner(repo, scope, macKey, seed)
	s.author = AuthorOf(s.Public())
	return s
}

// NewRootSigner returns the signer of the root key; its author is zero.
func NewRootSigner(repo [16]byte, scope [8]byte, macKey, seed [32]byte) *Signer {
	return &Signer{repo: repo, scope: scope, mac: macKey, key: ed25519.NewKeyFromSeed(seed[:])}
}

// NewGivenSigner returns a signer for one who has a signature of the root key and not that key: Sign repeats it, whatever the body is.
func NewGivenSigner(repo [16]byte, scope [8]byte, macKey [32]byte, signature [SignatureSize]byte) *Signer {
	return &Signer{repo: repo, scope: scope, mac: macKey, given: &signature}
}

// Author returns the author that Sign names.
func (s *Signer) Author() Author { return s.author }

// Public returns the public key that checks the signatures; not for the signer of a given one.
func (s *Signer) Public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// Repo returns the repository id that is part of every message.
func (s *Signer) Repo() [16]byte { return s.repo }

// Scope returns the scope id that is part of every message.
func (s *Signer) Scope() [8]byte { return s.scope }

// Sign proves a body with that SHA-256.
func (s *Signer) Sign(kind Kind, body [32]byte) Proof {
	msg := Message(kind, s.repo, s.scope, body)
	if s.given != nil {
		return Proof{MAC: MAC(s.mac, msg), Sig: *s.given}
	}
	return Proof{Author: s.author, MAC: MAC(s.mac, msg), Sig: [SignatureSize]byte(ed25519.Sign(s.key, msg))}
}
