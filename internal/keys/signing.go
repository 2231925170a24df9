package keys

import (
	"crypto/ed25519"
	"crypto/sha256"

	"firn/internal/sign"
)

// hostMessage and revokeMessage are what the root key signs (FORMAT §5); the same bytes are signed in the envelopes of these bodies.
func hostMessage(repo RepoID, scope ScopeID, body []byte) []byte {
	return sign.Message(sign.Host, repo, scope, sha256.Sum256(body))
}

func revokeMessage(repo RepoID, scope ScopeID, body []byte) []byte {
	return sign.Message(sign.Revoke, repo, scope, sha256.Sum256(body))
}

func signJSON(root ed25519.PrivateKey, doc any) ([]byte, error) {
	return sign.SignJSON([32]byte(root.Seed()), doc)
}

func verifyJSON(root ed25519.PublicKey, raw []byte) error { return sign.VerifyJSON(root, raw) }
