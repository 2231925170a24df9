package gate

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzLocal: whatever a browser is told to go to is a page here, however it reads the address.
func FuzzLocal(f *testing.F) {
	for _, s := range []string{"/", "/r/nas/s/ab/?p=YQ#x", "//evil", `/\evil`, "/\t/evil", "/%2f/x", "/..%2fx", "http://evil", "/a\x00", "/\u2028", "/?to=//x", "/enter?token=x"} {
		f.Add(s)
	}
	base, _ := url.Parse("http://localhost:7457/somewhere")
	f.Fuzz(func(t *testing.T, to string) {
		got := Local(to)
		if got != "/" && got != to {
			t.Fatalf("%q became %q", to, got)
		}
		u, err := base.Parse(got)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t\x00") {
			t.Fatalf("%q leads to %v, %v", to, u, err)
		}
	})
}

// FuzzHost: no name but those of the loopback interface is taken for this machine.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"localhost", "localhost:1", "[::1]:1", "127.0.0.1.evil", "evil:80", "", "::1", "[::1", "localhost.", "0x7f.1", "127.1", "[::ffff:127.0.0.1]:1", "LOCALHOST:99999"} {
		f.Add(s)
	}
	g := New(Options{})
	f.Fuzz(func(t *testing.T, host string) {
		if !g.called(host) {
			return
		}
		low := strings.ToLower(host)
		if !strings.HasPrefix(strings.TrimLeft(low, "["), "localhost") && !strings.Contains(low, "127.") && !strings.Contains(low, ":") {
			t.Fatalf("%q is taken for this machine", host)
		}
		if !strings.HasPrefix(cookieName(host), "firn-") {
			t.Fatal(cookieName(host))
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Host = "127.0.0.1:1", host
		if no := g.stranger(r); no.Status != 0 {
			t.Fatalf("%q: %v", host, no)
		}
	})
}
