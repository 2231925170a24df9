package advice

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"firn/internal/notify"
)

// TestNotifyHints has a hint for each reason why a notice did not get through.
func TestNotifyHints(t *testing.T) {
	for reason, want := range map[error]string{
		notify.ErrPlain: `tls = "none"`, notify.ErrCertificate: "SSL_CERT_FILE", notify.ErrAuth: "password", notify.ErrGone: "deleted", notify.ErrRedirect: "url", notify.ErrRecipient: "to",
		notify.ErrTimeout: "tries", notify.ErrUnreachable: "HTTPS_PROXY", notify.ErrBusy: "later", notify.ErrCommand: "standard input",
	} {
		if hint := Hint(fmt.Errorf("x: %w", &notify.Error{Channel: "ops", Reason: reason})); !strings.Contains(hint, want) || strings.HasSuffix(hint, ".") {
			t.Errorf("%v: %q", reason, hint)
		}
	}
	_, err := notify.Open(notify.Options{Name: "ops", Type: "fax"})
	if hint := Hint(errors.Join(errors.New("x"), err)); hint != "look at type in [notify.ops]" {
		t.Errorf("%v: %q", err, hint)
	}
}
