package keys

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"

	"firn/internal/sign"
)

// DataRecipient is the public half of a data identity.
type DataRecipient struct {
	Generation int    `json:"generation"`
	Recipient  string `json:"recipient"`
}

// HostKey is what a write-only host holds: enough to dedup, seal, sign and go on, not enough to read content. It prints as "redacted".
type HostKey struct {
	Repository           RepoID
	Root                 ed25519.PublicKey
	Host                 HostID
	Name                 string
	ScopeID              ScopeID
	ScopeName            string
	ScopeSecret          Secret          // S
	SignSeed             Secret          // Ed25519 (RFC 8032)
	DataRecipients       []DataRecipient // by generation, the newest last; at least one
	Certificate          []byte          // body of hosts/<host>
	CertificateSignature []byte          // by the root key
	Identity             *Identity       // the host's own, for state/
}

// NewHostKey makes the keys of a host and certifies them.
func (s *Secrets) NewHostKey(name, scopeName string, role Role, now time.Time) (*HostKey, error) {
	id, err := GenerateIdentity(s.Seal())
	if err != nil {
		return nil, err
	}
	scope := s.Scope(s.ScopeID(scopeName))
	h := &HostKey{
		Repository: s.Repository, Root: s.RootPublic(), Name: name,
		ScopeID: scope.ID, ScopeName: scopeName, ScopeSecret: scope.Secret,
		SignSeed: NewSecret(), Identity: id,
	}
	h.Host = sign.AuthorOf(h.SignPublic())
	h.SetDataRecipients(s)
	h.Certificate, h.CertificateSignature, err = s.Certify(&Certificate{
		Host: h.Host, Name: name, Scope: scope.ID, ScopeName: scopeName, Role: role,
		Sign: h.SignPublic(), Age: id.Public(), Created: now,
	})
	return h, err
}

// SetDataRecipients takes over the public halves of all generations, after a new one was made.
func (h *HostKey) SetDataRecipients(s *Secrets) {
	h.DataRecipients = nil
	for _, g := range s.Generations {
		h.DataRecipients = append(h.DataRecipients, DataRecipient{g.Number, g.Identity.Public()})
	}
}

// Sign returns the key that signs what the host writes.
func (h *HostKey) Sign() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(h.SignSeed[:]) }

// SignPublic returns its public half.
func (h *HostKey) SignPublic() ed25519.PublicKey { return h.Sign().Public().(ed25519.PublicKey) }

// Seal returns the kind of the newest data recipient.
func (h *HostKey) Seal() Seal {
	if _, ok := h.DataRecipient().(*age.HybridRecipient); ok {
		return Hybrid
	}
	return X25519
}

// DataRecipient is the newest data recipient.
func (h *HostKey) DataRecipient() age.Recipient {
	r, err := parseNative(h.DataRecipients[len(h.DataRecipients)-1].Recipient)
	if err != nil {
		panic("keys: host key that was not checked: " + err.Error())
	}
	return r
}

// Signer signs what the host writes.
func (h *HostKey) Signer() *sign.Signer {
	return sign.NewSigner(h.Repository, h.ScopeID, h.Scope().MACKey(), h.SignSeed)
}

// Scope returns the scope of the host.
func (h *HostKey) Scope() *Scope {
	return &Scope{ID: h.ScopeID, Repo: h.Repository, Seal: h.Seal(), Secret: h.ScopeSecret}
}

// Wipe overwrites the secrets. age's identity cannot be wiped: it is dropped.
func (h *HostKey) Wipe() {
	h.ScopeSecret.Wipe()
	h.SignSeed.Wipe()
	h.Identity = nil
}

// Format prints "redacted" for every verb.
func (h HostKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText keeps the secrets out of JSON and of structured logs.
func (h HostKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

const hostKeyMark = "# firn-host-key: "

type hostKeyJSON struct {
	Version              int             `json:"version"`
	Repository           string          `json:"repository"`
	Root                 []byte          `json:"root"`
	Host                 string          `json:"host"`
	Name                 string          `json:"name"`
	Scope                string          `json:"scope"`
	ScopeName            string          `json:"scope_name"`
	ScopeSecret          []byte          `json:"scope_secret"`
	SignSeed             []byte          `json:"sign_seed"`
	DataRecipients       []DataRecipient `json:"data_recipients"`
	Certificate          []byte          `json:"certificate"`
	CertificateSignature []byte          `json:"certificate_signature"`
}

// Marshal returns the host key file (FORMAT §4.4). The caller wipes it.
func (h *HostKey) Marshal() ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(hostKeyJSON{
		Version, fmt.Sprintf("%x", h.Repository), h.Root, h.Host.String(), h.Name, h.ScopeID.String(), h.ScopeName,
		h.ScopeSecret[:], h.SignSeed[:], h.DataRecipients, h.Certificate, h.CertificateSignature,
	})
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	defer Wipe(raw)
	var b bytes.Buffer
	b.Grow(1024 + 2*len(raw)) // no growing: that would leave copies behind
	fmt.Fprintf(&b, "# firn host key, repository %x, host %s\n%s", h.Repository, h.Name, hostKeyMark)
	b.Write(base64.StdEncoding.AppendEncode(nil, raw))
	fmt.Fprintf(&b, "\n%s\n", h.Identity.Secret())
	return b.Bytes(), nil
}

// ParseHostKey reads a host key file and checks it against its certificate. A text without the mark of one gives ErrNotKeyFile; errors
// never repeat secrets.
func ParseHostKey(text []byte) (*HostKey, error) {
	raw, ids, err := parseKeyFile(text, hostKeyMark)
	if err != nil {
		return nil, err
	}
	defer Wipe(raw)
	var wire hostKeyJSON
	if err := json.Unmarshal(raw, &wire); err != nil {
		return nil, errors.New("host key: malformed")
	}
	defer Wipe(wire.ScopeSecret)
	defer Wipe(wire.SignSeed)
	if wire.Version != Version {
		return nil, &VersionError{"host key", wire.Version}
	}
	if len(wire.ScopeSecret) != 32 || len(wire.SignSeed) != 32 || len(ids) != 1 {
		return nil, errors.New("host key: incomplete")
	}
	h := &HostKey{
		Root: wire.Root, Name: wire.Name, ScopeName: wire.ScopeName,
		ScopeSecret: Secret(wire.ScopeSecret), SignSeed: Secret(wire.SignSeed), DataRecipients: wire.DataRecipients,
		Certificate: wire.Certificate, CertificateSignature: wire.CertificateSignature, Identity: ids[0],
	}
	if err := parseHex(h.Repository[:], wire.Repository, "repository id"); err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	if h.ScopeID, err = ParseScopeID(wire.Scope); err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	if h.Host, err = sign.ParseAuthor(wire.Host); err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	return h, h.check()
}

// check compares the parts of a host key with each other; both Marshal and ParseHostKey call it.
func (h *HostKey) check() error {
	if h.Identity == nil || len(h.DataRecipients) == 0 || len(h.DataRecipients) > maxGenerations {
		return errors.New("host key: incomplete")
	}
	seen := 0
	for _, r := range h.DataRecipients {
		if r.Generation <= seen {
			return fmt.Errorf("host key: generation %d out of order", r.Generation)
		}
		seen = r.Generation
		if _, err := parseNative(r.Recipient); err != nil {
			return fmt.Errorf("host key: %w", err)
		}
	}
	c, err := VerifyCertificate(h.Root, h.Repository, h.Certificate, h.CertificateSignature)
	if err != nil {
		return fmt.Errorf("host key: %w", err)
	}
	if c.Host != h.Host || c.Name != h.Name || c.Scope != h.ScopeID || c.ScopeName != h.ScopeName ||
		!c.Sign.Equal(h.SignPublic()) || c.Age != h.Identity.Public() {
		return errors.New("host key: does not fit its certificate")
	}
	return nil
}
