package keys

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"time"
)

// Meta tells what a wrapped key is, keys/<key>.json (FORMAT §4.2), without its secret.
type Meta struct {
	Key       KeyID
	Label     string
	Type      Type
	Recipient string // public recipient, empty for a passphrase
	Created   time.Time
}

type metaJSON struct {
	Key       string `json:"key"`
	Label     string `json:"label"`
	Type      Type   `json:"type"`
	Recipient string `json:"recipient"`
	Created   string `json:"created"`
}

func (m *Meta) check() error {
	switch {
	case checkName(m.Label) != nil:
		return fmt.Errorf("key %s: label: %w", m.Key, checkName(m.Label))
	case !m.Type.Valid():
		return fmt.Errorf("key %s: unknown type %.40q", m.Key, m.Type)
	case len(m.Recipient) > maxRecipient:
		return fmt.Errorf("key %s: recipient longer than %d bytes", m.Key, maxRecipient)
	case (m.Recipient == "") != (m.Type == TypePassphrase):
		return fmt.Errorf("key %s: recipient does not fit the type %q", m.Key, m.Type)
	}
	return nil
}

// Marshal returns keys/<key>.json, signed by the root key.
func (m *Meta) Marshal(root ed25519.PrivateKey) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	return signJSON(root, metaJSON{m.Key.String(), m.Label, m.Type, m.Recipient, formatTime(m.Created)})
}

// ParseMeta checks the signature of the root key and reads keys/<key>.json, at most 64 KiB. Without a root public key (nil) the signature is not
// checked: good enough to show labels to somebody who is about to open one of the keys.
func ParseMeta(raw []byte, root ed25519.PublicKey) (*Meta, error) {
	if len(raw) > 1<<16 {
		return nil, fmt.Errorf("key description: longer than %d bytes", 1<<16)
	}
	if root != nil {
		if err := verifyJSON(root, raw); err != nil {
			return nil, fmt.Errorf("key description: %w", err)
		}
	}
	var wire metaJSON
	if err := json.Unmarshal(raw, &wire); err != nil {
		return nil, fmt.Errorf("key description: %w", err)
	}
	m := &Meta{Label: wire.Label, Type: wire.Type, Recipient: wire.Recipient}
	var err error
	if m.Key, err = ParseKeyID(wire.Key); err != nil {
		return nil, err
	}
	if m.Created, err = parseTime(wire.Created); err != nil {
		return nil, fmt.Errorf("key %s: %w", m.Key, err)
	}
	return m, m.check()
}
