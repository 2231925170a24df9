package logs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// hidden stands where a secret stood.
const hidden = "[secret]"

// leastSecret is the length, in bytes, below which a text is not taken for a secret: it would be found everywhere.
const leastSecret = 4

// Secrets are texts that must not be logged. They may be added at any time, by several goroutines at once. A nil *Secrets has none.
type Secrets struct {
	mu    sync.RWMutex
	texts []string // longest first, in all ways to write them
	hide  *strings.Replacer
}

// NewSecrets begins with these.
func NewSecrets(texts ...string) *Secrets {
	s := &Secrets{}
	s.Add(texts...)
	return s
}

// Add adds secrets: each as it is, and as it stands in JSON, between quotes and in addresses.
func (s *Secrets) Add(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		if text = strings.TrimSpace(text); len(text) < leastSecret {
			continue
		}
		raw, _ := json.Marshal(text)
		quoted := strconv.Quote(text)
		s.texts = append(s.texts, text, string(raw[1:len(raw)-1]), plainJSON.Replace(string(raw[1:len(raw)-1])), quoted[1:len(quoted)-1], url.QueryEscape(text), url.PathEscape(text))
	}
	slices.SortFunc(s.texts, func(a, b string) int {
		if d := len(b) - len(a); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	s.texts = slices.Compact(s.texts)
	pairs := make([]string, 0, 2*len(s.texts))
	for _, text := range s.texts {
		pairs = append(pairs, text, hidden)
	}
	s.hide = strings.NewReplacer(pairs...)
}

// plainJSON undoes what encoding/json does for the sake of web pages, and slog does not.
var plainJSON = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&")

// Hide takes the secrets out of a text.
func (s *Secrets) Hide(text string) string {
	if s == nil {
		return text
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.hide.Replace(text)
}

// redacting takes secrets out of records, before any sink sees them.
type redacting struct {
	next    slog.Handler
	secrets *Secrets
}

// Enabled implements slog.Handler.
func (h *redacting) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *redacting) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.secrets.Hide(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h *redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return &redacting{h.next.WithAttrs(clean), h.secrets}
}

// WithGroup implements slog.Handler.
func (h *redacting) WithGroup(name string) slog.Handler {
	return &redacting{h.next.WithGroup(name), h.secrets}
}

func (h *redacting) attr(a slog.Attr) slog.Attr {
	a.Key = h.secrets.Hide(a.Key)
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(h.secrets.Hide(v.String()))
	case slog.KindGroup:
		clean := make([]slog.Attr, 0, len(v.Group()))
		for _, member := range v.Group() {
			clean = append(clean, h.attr(member))
		}
		a.Value = slog.GroupValue(clean...)
	case slog.KindAny:
		a.Value = h.any(v)
	default: // numbers, times: a secret of digits only counts, too
		a.Value = v
		if text := v.String(); h.secrets.Hide(text) != text {
			a.Value = slog.StringValue(h.secrets.Hide(text))
		}
	}
	return a
}

// any leaves a value as it is unless a secret shows in one of the ways in which a sink may write it.
func (h *redacting) any(v slog.Value) slog.Value {
	switch x := v.Any().(type) {
	case nil:
		return v
	case error:
		return slog.StringValue(h.secrets.Hide(x.Error()))
	case []byte:
		return slog.StringValue(h.secrets.Hide(string(x)))
	}
	text := fmt.Sprintf("%+v", v.Any())
	raw, err := json.Marshal(v.Any())
	if h.secrets.Hide(text) == text && (err != nil || h.secrets.Hide(string(raw)) == string(raw)) {
		return v
	}
	return slog.StringValue(h.secrets.Hide(text))
}
