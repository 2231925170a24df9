package web

import (
	"crypto/sha256"
	"net/http"

	"firn/internal/web/gate"
)

// SessionID names the session of a browser, and tells nothing by which one could come in.
type SessionID [sha256.Size]byte

// Session returns that of a request.
func Session(r *http.Request) SessionID { return sha256.Sum256([]byte("session of " + gate.Token(r))) }
