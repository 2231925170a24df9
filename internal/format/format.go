// Package format holds firn.json, the public parameters of a repository (FORMAT §3): one JSON object, at most 64 KiB, signed by the root key.
//
//	format    1; a reader refuses a larger number before it looks at anything else
//	id        32 hex digits, random
//	created   RFC 3339 in UTC
//	root      base64 of the Ed25519 public key; whoever holds a key checks against the one in there, not against this
//	features  names of what a reader must know; an unknown one is refused
//	seal      "x25519" or "hybrid"
//	chunk     min, avg, max in bytes: MinChunk ≤ min < avg < max ≤ MaxChunk, avg − min at least MinChunk/2
//	bundle    min, max in bytes: 4 KiB ≤ min ≤ max, chunk.min ≤ max ≤ MaxChunk
//	padding   "none" or "padme"
//	parity    data, meta: percent, 0 … 100
//	class     data, meta: storage class, at most 64 of A-Z a-z 0-9 _ -
//	copy      32 hex digits, random: this is a copy of the repository, with the same id and keys; absent in the first
//	signature base64
package format

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"firn/internal/sign"
)

// Version is the major version of the format that this package writes, and the largest that it reads.
const Version = 1

// Limits, in bytes.
const (
	MaxFile  = 64 << 10 // of firn.json
	MinChunk = 64 << 10 // of chunk.min
	MaxChunk = 16 << 20 // of chunk.max and bundle.max
)

// Values of seal and padding.
const (
	SealX25519   = "x25519"
	SealHybrid   = "hybrid"
	PaddingNone  = "none"
	PaddingPadme = "padme"
)

// Chunk holds the sizes for cutting large files, in bytes.
type Chunk struct {
	Min int64 `json:"min"`
	Avg int64 `json:"avg"`
	Max int64 `json:"max"`
}

// Bundle holds the sizes for chunks of small files, in bytes.
type Bundle struct {
	Min int64 `json:"min"`
	Max int64 `json:"max"`
}

// Parity is in percent of a pack.
type Parity struct {
	Data int `json:"data"`
	Meta int `json:"meta"`
}

// Class names storage classes; empty is the store's default.
type Class struct {
	Data string `json:"data"`
	Meta string `json:"meta"`
}

// Config is firn.json.
type Config struct {
	Format   int
	ID       [16]byte
	Created  time.Time
	Root     ed25519.PublicKey
	Features []string
	Seal     string
	Chunk    Chunk
	Bundle   Bundle
	Padding  string
	Parity   Parity
	Class    Class
	Copy     [16]byte // tells the copies of a repository apart; zero: the first
}

// New returns the parameters of a new repository with the defaults of FORMAT §3.
func New(id [16]byte, root ed25519.PublicKey, seal string, created time.Time) *Config {
	return &Config{
		Format: Version, ID: id, Created: created.UTC().Truncate(time.Second), Root: root, Features: []string{}, Seal: seal,
		Chunk:  Chunk{512 << 10, 768 << 10, 2 << 20},
		Bundle: Bundle{1 << 20, 4 << 20}, Padding: PaddingNone,
	}
}

// NewerFormatError means that a newer firn made the repository.
type NewerFormatError struct{ Format int64 }

func (e *NewerFormatError) Error() string {
	return fmt.Sprintf("repository has format %d, this program knows formats up to %d", e.Format, Version)
}

// UnknownFeatureError names what this program would have to know.
type UnknownFeatureError struct{ Features []string }

func (e *UnknownFeatureError) Error() string {
	return fmt.Sprintf("repository needs features that this program does not know: %s", strings.Join(e.Features, ", "))
}

// FieldError tells which member of firn.json is wrong.
type FieldError struct{ Field, Reason string }

func (e *FieldError) Error() string { return fmt.Sprintf("firn.json: %s: %s", e.Field, e.Reason) }

// features that this program knows; none so far.
var features = map[string]bool{}

// Check reports the first member that is out of its limits, as *FieldError or *UnknownFeatureError.
func (c *Config) Check() error {
	bad := func(field, reason string) error { return &FieldError{field, reason} }
	switch {
	case c.Format != Version:
		return bad("format", fmt.Sprintf("want %d", Version))
	case c.ID == [16]byte{}:
		return bad("id", "is zero")
	case len(c.Root) != ed25519.PublicKeySize:
		return bad("root", "want an Ed25519 public key")
	case c.Created.Year() < 1970 || c.Created.Year() > 9999:
		return bad("created", "year out of range")
	case c.Seal != SealX25519 && c.Seal != SealHybrid:
		return bad("seal", `want "x25519" or "hybrid"`)
	case c.Padding != PaddingNone && c.Padding != PaddingPadme:
		return bad("padding", `want "none" or "padme"`)
	case c.Parity.Data < 0 || c.Parity.Data > 100 || c.Parity.Meta < 0 || c.Parity.Meta > 100:
		return bad("parity", "want 0 to 100 percent")
	case !validClass(c.Class.Data) || !validClass(c.Class.Meta):
		return bad("class", "want at most 64 letters, digits, _ and -")
	}
	if err := c.checkSizes(); err != nil {
		return err
	}
	var unknown []string
	for _, f := range c.Features {
		if !features[f] {
			unknown = append(unknown, f)
		}
	}
	if unknown != nil {
		return &UnknownFeatureError{unknown}
	}
	return nil
}

func (c *Config) checkSizes() error {
	k, b := c.Chunk, c.Bundle
	switch {
	case k.Min < MinChunk || k.Max > MaxChunk:
		return &FieldError{"chunk", fmt.Sprintf("want min of at least %d and max of at most %d bytes", MinChunk, MaxChunk)}
	case k.Avg < k.Min+MinChunk/2 || k.Max <= k.Avg:
		return &FieldError{"chunk", "want min < avg < max, well apart"}
	case b.Min < 4<<10 || b.Max > MaxChunk || b.Min > b.Max:
		return &FieldError{"bundle", fmt.Sprintf("want 4096 ≤ min ≤ max ≤ %d bytes", MaxChunk)}
	case b.Max < k.Min:
		return &FieldError{"bundle", "max is less than chunk.min: the largest small file would not fit"}
	}
	return nil
}

func validClass(s string) bool {
	return len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	})
}

type wire struct {
	Format   int      `json:"format"`
	ID       string   `json:"id"`
	Created  string   `json:"created"`
	Root     []byte   `json:"root"`
	Features []string `json:"features"`
	Seal     string   `json:"seal"`
	Chunk    Chunk    `json:"chunk"`
	Bundle   Bundle   `json:"bundle"`
	Padding  string   `json:"padding"`
	Parity   Parity   `json:"parity"`
	Class    Class    `json:"class"`
	Copy     string   `json:"copy,omitempty"`
}

// Marshal returns firn.json, indented, signed by the root key, whose public half must be c.Root.
func (c *Config) Marshal(rootSeed [32]byte) ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if !ed25519.NewKeyFromSeed(rootSeed[:]).Public().(ed25519.PublicKey).Equal(c.Root) {
		return nil, &FieldError{"root", "is not the public half of the key that signs"}
	}
	list := c.Features
	if list == nil {
		list = []string{}
	}
	number := ""
	if c.Copy != [16]byte{} {
		number = hex.EncodeToString(c.Copy[:])
	}
	return sign.SignJSON(rootSeed, wire{
		c.Format, hex.EncodeToString(c.ID[:]), c.Created.UTC().Truncate(time.Second).Format(time.RFC3339), c.Root, list,
		c.Seal, c.Chunk, c.Bundle, c.Padding, c.Parity, c.Class, number,
	})
}

// VerifySignature checks that the root key signed raw. The caller has the root's public key from a key or from the printed kit.
func VerifySignature(raw []byte, root ed25519.PublicKey) error {
	if len(raw) > MaxFile {
		return fmt.Errorf("firn.json: longer than %d bytes", MaxFile)
	}
	if err := sign.VerifyJSON(root, raw); err != nil {
		return fmt.Errorf("firn.json: %w", err)
	}
	return nil
}

// Parse reads firn.json and checks every member, but not the signature, since the key for that comes later. A larger format number gives
// *NewerFormatError whatever else is in the file, unknown features give *UnknownFeatureError, a wrong member *FieldError.
func Parse(raw []byte) (*Config, error) {
	if len(raw) > MaxFile {
		return nil, fmt.Errorf("firn.json: longer than %d bytes", MaxFile)
	}
	m, err := members(raw)
	if err != nil {
		return nil, err
	}
	var version int64
	if err := m.get("format", &version); err != nil {
		return nil, err
	}
	if version > Version {
		return nil, &NewerFormatError{version}
	}
	c := &Config{Format: int(version)}
	var id, created string
	var root []byte
	for _, f := range []struct {
		name string
		to   any
	}{
		{"id", &id}, {"created", &created}, {"root", &root}, {"features", &c.Features}, {"seal", &c.Seal}, {"chunk", &c.Chunk},
		{"bundle", &c.Bundle}, {"padding", &c.Padding}, {"parity", &c.Parity}, {"class", &c.Class},
	} {
		if err := m.get(f.name, f.to); err != nil {
			return nil, err
		}
	}
	c.Root = root
	if err := sixteen(&c.ID, "id", id); err != nil {
		return nil, err
	}
	if m["copy"] != nil {
		var number string
		if err := m.get("copy", &number); err != nil {
			return nil, err
		}
		if err := sixteen(&c.Copy, "copy", number); err != nil {
			return nil, err
		}
	}
	if c.Created, err = time.Parse(time.RFC3339Nano, created); err != nil || !strings.HasSuffix(created, "Z") {
		return nil, &FieldError{"created", "want RFC 3339 in UTC"}
	}
	c.Created = c.Created.UTC()
	if err := c.Check(); err != nil {
		return nil, err
	}
	return c, nil
}

// sixteen reads 16 bytes that are not all zero.
func sixteen(to *[16]byte, field, text string) error {
	n, err := hex.DecodeString(text)
	if err != nil || len(n) != 16 || hex.EncodeToString(n) != text {
		return &FieldError{field, "want 32 lower-case hex digits"}
	}
	copy(to[:], n)
	if *to == [16]byte{} {
		return &FieldError{field, "is zero"}
	}
	return nil
}

// object holds the members of a JSON object by their exact names; encoding/json alone would take "Format" for "format".
type object map[string]json.RawMessage

// members takes an object apart and refuses a name that stands twice and anything behind the object.
func members(raw []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("firn.json: not a JSON object")
	}
	m := object{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("firn.json: malformed JSON")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errors.New("firn.json: malformed JSON")
		}
		if _, twice := m[name]; twice {
			return nil, &FieldError{fmt.Sprintf("%.40q", name), "stands twice"}
		}
		m[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("firn.json: malformed JSON")
	}
	if rest := raw[dec.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("firn.json: more text behind the object")
	}
	return m, nil
}

// get decodes the member name into the value that to points to; null and absence are errors.
func (m object) get(name string, to any) error {
	raw, ok := m[name]
	if !ok || string(raw) == "null" {
		return &FieldError{name, "is missing"}
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return &FieldError{name, "is of the wrong type"}
	}
	return nil
}
