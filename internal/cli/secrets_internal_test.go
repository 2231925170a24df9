package cli

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"firn/internal/keys"
)

// TestPassphraseFromInput: one line of standard input is the passphrase, whatever ends it; what is behind it is left to others.
func TestPassphraseFromInput(t *testing.T) {
	for _, x := range []struct{ input, want, rest string }{
		{"secret\nanswer\n", "secret", "answer\n"},
		{"secret\r\nanswer", "secret", "answer"},
		{"secret", "secret", ""},
		{" with spaces \n", " with spaces ", ""},
	} {
		c := inputOf(t, x.input)
		got, err := passphraseOf(t.Context(), c, "-", "")
		rest, _ := io.ReadAll(c.in)
		if err != nil || string(got) != x.want || string(rest) != x.rest {
			t.Errorf("%q: %q, %v, and %q is left", x.input, got, err, rest)
		}
	}
	for _, input := range []string{"", "\n", "\nsecret\n"} {
		if got, err := passphraseOf(t.Context(), inputOf(t, input), "-", ""); !errors.Is(err, keys.ErrEmptyPassphrase) {
			t.Errorf("%q: %q, %v", input, got, err)
		}
	}
	if _, err := passphraseOf(t.Context(), inputOf(t, strings.Repeat("x", maxSecret+2)), "-", ""); err == nil || strings.Contains(err.Error(), "xx") {
		t.Errorf("a long line: %v", err)
	}
}

// inputOf is a console that nobody sits at.
func inputOf(t *testing.T, text string) *console {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.WriteString(w, text) // who has read enough closes
		_ = w.Close()
	}()
	t.Cleanup(func() { _ = r.Close(); <-done })
	return &console{in: r}
}
