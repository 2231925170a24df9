package web

import (
	"net/http"

	"firn/internal/web/gate"
)

// Token returns what forms of the session of a request carry, for parts of a page that are rendered by themselves; Main has it too.
func Token(r *http.Request) string { return gate.Token(r) }
