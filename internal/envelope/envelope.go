// Package envelope seals and opens the small objects of a repository (FORMAT §5): age files whose plaintext is zstd frames with the
// body, an optional FIRNPAD1 frame, then a FIRNSIG1 frame:
//
//	 0  8  "FIRNSIG1"
//	 8 16  author: host id; zero for the root key
//	24 32  MAC of the message under the MAC key of the scope
//	56 64  signature of the message by the author
//
// The message names kind, repository and scope, and the SHA-256 of the body, so that an envelope cannot stand in for another.
package envelope

import (
	"crypto/ed25519"
	"errors"
	"io"

	"filippo.io/age"

	"firn/internal/digest"
)

// MaxBody is the longest body, in bytes.
const MaxBody = 256 << 20

// Kind is what an envelope holds.
type Kind string

// The kinds of envelopes.
const (
	Host     Kind = "host"
	Revoke   Kind = "revoke"
	Index    Kind = "index"
	Packset  Kind = "packset"
	Snapshot Kind = "snapshot"
	Done     Kind = "done"
	State    Kind = "state"
	Prune    Kind = "prune"
)

// Errors of Open. What age says when no identity fits is passed on (*age.NoIdentityMatchError).
var (
	ErrFormat   = errors.New("invalid envelope")
	ErrForged   = errors.New("envelope is forged")                   // MAC or signature wrong
	ErrUnproven = errors.New("envelope's author cannot be verified") // neither key nor certificate at hand
	ErrLimit    = errors.New("body of envelope is too long")
)

// Keys are what sealing needs.
type Keys struct {
	Repo       [16]byte
	Scope      [8]byte
	MAC        [32]byte           // MAC key of the scope
	Key        ed25519.PrivateKey // of the author
	Root       bool               // Key is the root key: the author is zero
	Recipients []age.Recipient
	Padding    bool
}

// Check is what opening verifies with. At least one of MAC and Author has to settle who wrote it.
type Check struct {
	Repo   [16]byte
	Scope  [8]byte
	MAC    *[32]byte                                       // MAC key of the scope; nil: unknown
	Author func(author [16]byte) (ed25519.PublicKey, bool) // zero author: the root key; false: unknown; nil: none is known
	Limit  int64                                           // of the body in bytes; 0: MaxBody
}

// Seal returns the object for a body, and its name.
func Seal(kind Kind, body []byte, k Keys) ([]byte, digest.Object, error) { panic("unwritten") }

// Open checks an object and returns its body and its author.
func Open(kind Kind, object []byte, ids []age.Identity, c Check) (body []byte, author [16]byte, err error) {
	panic("unwritten")
}

// Writer seals a body that is written to it piece by piece.
type Writer struct{}

// NewWriter begins an object on w. Memory: about 2 MiB, whatever the length of the body.
func NewWriter(kind Kind, w io.Writer, k Keys) (*Writer, error) { panic("unwritten") }

// Write adds to the body.
func (w *Writer) Write(p []byte) (int, error) { panic("unwritten") }

// Close ends the object and returns its name and size. It does not close the writer below.
func (w *Writer) Close() (digest.Object, int64, error) { panic("unwritten") }

// Reader opens an object piece by piece. What it reads is not to be trusted before Read returned io.EOF: only then have MAC and signature been checked.
type Reader struct{}

// NewReader begins to open an object. Memory: about twice the longest frame, 32 MiB at most.
func NewReader(kind Kind, r io.Reader, ids []age.Identity, c Check) (*Reader, error) {
	panic("unwritten")
}

// Read reads of the body. It returns io.EOF only after everything was checked.
func (r *Reader) Read(p []byte) (int, error) { panic("unwritten") }

// Author returns who wrote it; valid after Read returned io.EOF.
func (r *Reader) Author() [16]byte { panic("unwritten") }
