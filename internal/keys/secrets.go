package keys

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"

	"firn/internal/sign"
)

// Limits of key files. They keep a hostile file from costing more than it weighs.
const (
	maxKeyFile     = 1 << 20 // bytes of a key file
	maxGenerations = 1000
	maxName        = 255 // bytes of the name of a host, a scope or a label
	maxRecipient   = 4096
)

// Generation is one data identity D with its number, from 1.
type Generation struct {
	Number   int
	Created  time.Time
	Identity *Identity
}

// Secrets is everything that opens and signs for a repository. It prints as "redacted".
type Secrets struct {
	Repository  RepoID
	Master      Secret       // M
	RootSeed    Secret       // seed of Z, Ed25519 (RFC 8032)
	Generations []Generation // D₁, D₂, …; at least one, the newest last
}

// ErrNotKeyFile means that a text is no key file of the kind that was asked for.
var ErrNotKeyFile = errors.New("not a firn key file")

// Generate makes the secrets of a new repository, with a first data identity of this kind.
func Generate(seal Seal, repo RepoID, now time.Time) (*Secrets, error) {
	s := &Secrets{Repository: repo, Master: NewSecret(), RootSeed: NewSecret()}
	if err := s.AddGeneration(seal, now); err != nil {
		return nil, err
	}
	return s, nil
}

// AddGeneration makes a new data identity, to which new objects are sealed from then on.
func (s *Secrets) AddGeneration(seal Seal, now time.Time) error {
	if len(s.Generations) >= maxGenerations {
		return fmt.Errorf("keys: more than %d generations", maxGenerations)
	}
	id, err := GenerateIdentity(seal)
	if err != nil {
		return err
	}
	number := 1
	if n := len(s.Generations); n > 0 {
		number = s.Generations[n-1].Number + 1
	}
	s.Generations = append(s.Generations, Generation{number, now.UTC().Truncate(time.Second), id})
	return nil
}

// Root returns the root key Z.
func (s *Secrets) Root() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(s.RootSeed[:]) }

// RootPublic returns the public half of Z.
func (s *Secrets) RootPublic() ed25519.PublicKey { return s.Root().Public().(ed25519.PublicKey) }

// Newest returns the data identity whose recipient new objects are sealed to.
func (s *Secrets) Newest() *Identity { return s.Generations[len(s.Generations)-1].Identity }

// Seal returns the kind of the newest data identity.
func (s *Secrets) Seal() Seal { return s.Newest().Seal() }

// DataRecipient is the newest data recipient.
func (s *Secrets) DataRecipient() age.Recipient { return s.Newest().Recipient() }

// DataIdentities returns all data identities, the newest first.
func (s *Secrets) DataIdentities() []age.Identity {
	out := make([]age.Identity, 0, len(s.Generations))
	for i := len(s.Generations) - 1; i >= 0; i-- {
		out = append(out, s.Generations[i].Identity)
	}
	return out
}

// ScopeID returns the id of the scope with this name.
func (s *Secrets) ScopeID(name string) ScopeID {
	return DeriveScopeID(&s.Master, s.Repository, name)
}

// Scope returns the scope with this id.
func (s *Secrets) Scope(id ScopeID) *Scope {
	return DeriveScope(&s.Master, s.Repository, s.Seal(), id)
}

// RootSigner signs for the root key in one scope: the envelopes of hosts/.
func (s *Secrets) RootSigner(scope ScopeID) *sign.Signer {
	return sign.NewRootSigner(s.Repository, scope, s.Scope(scope).MACKey(), s.RootSeed)
}

// Wipe overwrites M and Z. age's identities cannot be wiped: they are dropped.
func (s *Secrets) Wipe() {
	s.Master.Wipe()
	s.RootSeed.Wipe()
	s.Generations = nil
}

// Format prints "redacted" for every verb.
func (s Secrets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText keeps the secrets out of JSON and of structured logs.
func (s Secrets) MarshalText() ([]byte, error) { return []byte(redacted), nil }

const secretsMark = "# firn-secrets: "

type secretsJSON struct {
	Version     int              `json:"version"`
	Repository  string           `json:"repository"`
	Master      []byte           `json:"master"`
	RootSeed    []byte           `json:"root_seed"`
	Generations []generationJSON `json:"generations"`
}

type generationJSON struct {
	Generation int    `json:"generation"`
	Created    string `json:"created"`
}

// Marshal returns the key file (FORMAT §4.1). The caller wipes it.
func (s *Secrets) Marshal() ([]byte, error) {
	if len(s.Generations) == 0 || s.Master.IsZero() || s.RootSeed.IsZero() {
		return nil, errors.New("keys: incomplete secrets")
	}
	wire := secretsJSON{Version, fmt.Sprintf("%x", s.Repository), s.Master[:], s.RootSeed[:], nil}
	for _, g := range s.Generations {
		wire.Generations = append(wire.Generations, generationJSON{g.Number, formatTime(g.Created)})
	}
	raw, err := json.Marshal(wire)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer Wipe(raw)
	var b bytes.Buffer
	b.Grow(256 + 2*len(raw) + 256*len(s.Generations)) // no growing: that would leave copies behind
	fmt.Fprintf(&b, "# firn repository %x, root %s\n", s.Repository, base64.StdEncoding.EncodeToString(s.RootPublic()))
	b.WriteString(secretsMark)
	b.Write(base64.StdEncoding.AppendEncode(nil, raw))
	b.WriteByte('\n')
	for _, g := range s.Generations {
		fmt.Fprintf(&b, "# generation %d, created %s\n%s\n", g.Number, formatTime(g.Created), g.Identity.Secret())
	}
	return b.Bytes(), nil
}

// ParseSecrets reads a key file. A text without the mark of one gives ErrNotKeyFile; errors never repeat content.
func ParseSecrets(text []byte) (*Secrets, error) {
	raw, identities, err := parseKeyFile(text, secretsMark)
	if err != nil {
		return nil, err
	}
	defer Wipe(raw)
	var wire secretsJSON
	if err := json.Unmarshal(raw, &wire); err != nil {
		return nil, errors.New("key file: malformed secrets")
	}
	defer Wipe(wire.Master)
	defer Wipe(wire.RootSeed)
	if wire.Version != Version {
		return nil, &VersionError{"key file", wire.Version}
	}
	if len(wire.Master) != 32 || len(wire.RootSeed) != 32 {
		return nil, errors.New("key file: secret of wrong length")
	}
	if len(wire.Generations) == 0 || len(wire.Generations) > maxGenerations || len(wire.Generations) != len(identities) {
		return nil, fmt.Errorf("key file: %d generations and %d identities", len(wire.Generations), len(identities))
	}
	s := &Secrets{Master: Secret(wire.Master), RootSeed: Secret(wire.RootSeed)}
	if err := parseHex(s.Repository[:], wire.Repository, "repository id"); err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	for i, g := range wire.Generations {
		created, err := parseTime(g.Created)
		if err != nil {
			return nil, fmt.Errorf("key file: %w", err)
		}
		if g.Generation < 1 || g.Generation > 1<<30 || i > 0 && g.Generation <= s.Generations[i-1].Number {
			return nil, fmt.Errorf("key file: generation %d out of order", g.Generation)
		}
		s.Generations = append(s.Generations, Generation{g.Generation, created, identities[i]})
	}
	return s, nil
}

// VersionError means that a newer firn wrote this.
type VersionError struct {
	What    string
	Version int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: version %d, this program knows version %d", e.What, e.Version, Version)
}

// parseKeyFile finds the JSON behind mark in the comments, and the native identities of the other lines.
func parseKeyFile(text []byte, mark string) (raw []byte, ids []*Identity, err error) {
	if len(text) > maxKeyFile {
		return nil, nil, fmt.Errorf("key file: longer than %d bytes", maxKeyFile)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, mark):
			if raw != nil {
				return nil, nil, errors.New("key file: two lines of secrets")
			}
			raw, err = base64.StdEncoding.Strict().DecodeString(line[len(mark):])
			if err != nil {
				return nil, nil, errors.New("key file: malformed base64")
			}
		case line == "" || line[0] == '#':
		case raw == nil:
			return nil, nil, ErrNotKeyFile // the mark stands before the first identity
		default:
			id, err := ParseIdentity(line)
			if err != nil {
				return nil, nil, fmt.Errorf("key file: %w", err)
			}
			if ids = append(ids, id); len(ids) > maxGenerations {
				return nil, nil, fmt.Errorf("key file: more than %d identities", maxGenerations)
			}
		}
	}
	if raw == nil {
		return nil, nil, ErrNotKeyFile
	}
	return raw, ids, nil
}

// formatTime prints RFC 3339 in UTC with whole seconds.
func formatTime(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

// parseTime reads RFC 3339 in UTC, years 1970 to 9999.
func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !strings.HasSuffix(text, "Z") || t.Year() < 1970 {
		return time.Time{}, fmt.Errorf("time %.40q: want RFC 3339 in UTC", text)
	}
	return t.UTC(), nil
}
