package snapshot

import (
	"crypto/hmac"
	"crypto/sha256"
)

// SourceID returns the id of a source: the first 8 bytes of HMAC-SHA256 under the source key of
// kind, 0x00, host, 0x00 and its name, or its path where it has no name (FORMAT §10).
func SourceID(key [32]byte, kind, host, name string, path []byte) Source {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte(kind + "\x00" + host + "\x00" + name))
	if name == "" {
		h.Write(path)
	}
	return Source(h.Sum(nil)[:8])
}
