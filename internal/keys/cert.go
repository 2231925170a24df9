package keys

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"filippo.io/age"

	"firn/internal/sign"
)

// Role is what a host may do.
type Role string

// The roles of hosts.
const (
	Writer Role = "writer" // backs up
	Pruner Role = "prune"  // backs up, retires, forgets, consolidates
)

// Certificate tells the public keys of a host (FORMAT §4.3), signed by the root key.
type Certificate struct {
	Host      HostID
	Name      string
	Scope     ScopeID
	ScopeName string
	Role      Role
	Sign      ed25519.PublicKey
	Age       string // recipient of the host's own identity: "age1…" or "age1pq1…"
	Created   time.Time
}

// Revocation ends a host: what it writes after the store received this does not count.
type Revocation struct {
	Host   HostID
	Time   time.Time
	Reason string
}

// CertificateError means that a certificate or revocation is not what the root key signed, or does not say what it must.
type CertificateError struct {
	Host   HostID // zero where it could not be read
	Reason string
}

func (e *CertificateError) Error() string {
	if e.Host == (HostID{}) {
		return "host certificate: " + e.Reason
	}
	return fmt.Sprintf("host certificate %s: %s", e.Host, e.Reason)
}

type certificateJSON struct {
	Version   int               `json:"version"`
	Host      string            `json:"host"`
	Name      string            `json:"name"`
	Scope     string            `json:"scope"`
	ScopeName string            `json:"scope_name"`
	Role      Role              `json:"role"`
	Sign      ed25519.PublicKey `json:"sign"`
	Age       string            `json:"age"`
	Created   string            `json:"created"`
}

type revocationJSON struct {
	Version int    `json:"version"`
	Host    string `json:"host"`
	Time    string `json:"time"`
	Reason  string `json:"reason"`
}

// check holds what both sides demand of a certificate.
func (c *Certificate) check() error {
	fail := func(reason string) error { return &CertificateError{c.Host, reason} }
	switch {
	case len(c.Sign) != ed25519.PublicKeySize:
		return fail("public key of wrong length")
	case c.Host != sign.AuthorOf(c.Sign):
		return fail("the id is not that of the public key")
	case checkName(c.Name) != nil:
		return fail(checkName(c.Name).Error())
	case checkName(c.ScopeName) != nil:
		return fail("scope: " + checkName(c.ScopeName).Error())
	case c.Role != Writer && c.Role != Pruner:
		return fail(fmt.Sprintf("unknown role %.40q", c.Role))
	}
	if _, err := parseNative(c.Age); err != nil {
		return fail(err.Error())
	}
	return nil
}

// Body returns the body of hosts/<host>.
func (c *Certificate) Body() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return json.Marshal(certificateJSON{Version, c.Host.String(), c.Name, c.Scope.String(), c.ScopeName, c.Role, c.Sign, c.Age, formatTime(c.Created)})
}

// ParseCertificate reads the body of hosts/<host>, whose signature the caller has checked or checks with VerifyCertificate.
func ParseCertificate(body []byte) (*Certificate, error) {
	var wire certificateJSON
	if len(body) > 1<<16 || json.Unmarshal(body, &wire) != nil {
		return nil, &CertificateError{Reason: "malformed"}
	}
	if wire.Version != Version {
		return nil, &VersionError{"host certificate", wire.Version}
	}
	c := &Certificate{Name: wire.Name, ScopeName: wire.ScopeName, Role: wire.Role, Sign: wire.Sign, Age: wire.Age}
	var err error
	if c.Host, err = sign.ParseAuthor(wire.Host); err != nil {
		return nil, &CertificateError{Reason: err.Error()}
	}
	if c.Scope, err = ParseScopeID(wire.Scope); err != nil {
		return nil, &CertificateError{c.Host, err.Error()}
	}
	if c.Created, err = parseTime(wire.Created); err != nil {
		return nil, &CertificateError{c.Host, err.Error()}
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// Certify checks that the scope's id is that of its name, and returns the body with the root key's signature, which is also the
// signature in the envelope of hosts/<host>.
func (s *Secrets) Certify(c *Certificate) (body, signature []byte, err error) {
	if c.Scope != s.ScopeID(c.ScopeName) {
		return nil, nil, &CertificateError{c.Host, fmt.Sprintf("scope id does not belong to %q", c.ScopeName)}
	}
	if body, err = c.Body(); err != nil {
		return nil, nil, err
	}
	return body, ed25519.Sign(s.Root(), hostMessage(s.Repository, c.Scope, body)), nil
}

// VerifyCertificate checks the signature of the root key and reads the body.
func VerifyCertificate(root ed25519.PublicKey, repo RepoID, body, signature []byte) (*Certificate, error) {
	c, err := ParseCertificate(body)
	if err != nil {
		return nil, err
	}
	if len(root) != ed25519.PublicKeySize || !ed25519.Verify(root, hostMessage(repo, c.Scope, body), signature) {
		return nil, &CertificateError{c.Host, "not signed by the root key of this repository"}
	}
	return c, nil
}

// Body returns the body of hosts/<host>.revoked.
func (r *Revocation) Body() ([]byte, error) {
	if len(r.Reason) > 4096 || !utf8.ValidString(r.Reason) {
		return nil, &CertificateError{r.Host, "reason of a revocation: too long or not UTF-8"}
	}
	return json.Marshal(revocationJSON{Version, r.Host.String(), formatTime(r.Time), r.Reason})
}

// ParseRevocation reads the body of hosts/<host>.revoked, whose signature the caller has checked or checks with VerifyRevocation.
func ParseRevocation(body []byte) (*Revocation, error) {
	var wire revocationJSON
	if len(body) > 1<<16 || json.Unmarshal(body, &wire) != nil || len(wire.Reason) > 4096 {
		return nil, &CertificateError{Reason: "malformed revocation"}
	}
	if wire.Version != Version {
		return nil, &VersionError{"revocation", wire.Version}
	}
	r := &Revocation{Reason: wire.Reason}
	var err error
	if r.Host, err = sign.ParseAuthor(wire.Host); err != nil {
		return nil, &CertificateError{Reason: err.Error()}
	}
	if r.Time, err = parseTime(wire.Time); err != nil {
		return nil, &CertificateError{r.Host, err.Error()}
	}
	return r, nil
}

// Revoke returns the body with the root key's signature; scope is that of the host.
func (s *Secrets) Revoke(scope ScopeID, r *Revocation) (body, signature []byte, err error) {
	if body, err = r.Body(); err != nil {
		return nil, nil, err
	}
	return body, ed25519.Sign(s.Root(), revokeMessage(s.Repository, scope, body)), nil
}

// VerifyRevocation checks the signature of the root key and reads the body; scope is that of the host.
func VerifyRevocation(root ed25519.PublicKey, repo RepoID, scope ScopeID, body, signature []byte) (*Revocation, error) {
	r, err := ParseRevocation(body)
	if err != nil {
		return nil, err
	}
	if len(root) != ed25519.PublicKeySize || !ed25519.Verify(root, revokeMessage(repo, scope, body), signature) {
		return nil, &CertificateError{r.Host, "revocation not signed by the root key of this repository"}
	}
	return r, nil
}

var errName = errors.New("a name has 1 to 255 bytes of UTF-8 without control characters")

// checkName holds for names of hosts and scopes and for labels.
func checkName(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return errName
	}
	return nil
}

// parseNative reads "age1…" or "age1pq1…".
func parseNative(text string) (age.Recipient, error) {
	switch {
	case len(text) > maxRecipient:
	case strings.HasPrefix(text, "age1pq1"):
		if r, err := age.ParseHybridRecipient(text); err == nil {
			return r, nil
		}
	case strings.HasPrefix(text, "age1"):
		if r, err := age.ParseX25519Recipient(text); err == nil {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%.80q is no native age recipient", text)
}
