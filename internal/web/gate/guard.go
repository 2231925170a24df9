package gate

import (
	"errors"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// Refusal is why a request gets no page.
type Refusal struct {
	Status int
	Text   string
	Hint   string
}

// Refuse answers with a page about a refusal.
type Refuse func(http.ResponseWriter, *http.Request, Refusal)

func plainly(w http.ResponseWriter, _ *http.Request, no Refusal) {
	http.Error(w, no.Text, no.Status)
}

// howToEnter is the hint for those without a session.
const howToEnter = "run firn ui again, or firn ui --link while it is running, and follow the link that it prints"

// Guard answers requests itself or hands them on to next: those with a session, and those below /assets/, which are the same for everybody. refuse, which may be nil, shows why there is no page. GET /enter begins a session and
// POST /leave ends one.
func (g *Gate) Guard(next http.Handler, refuse Refuse) http.Handler {
	if refuse == nil {
		refuse = plainly
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		if no := g.stranger(r); no.Status != 0 {
			if no.Status == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", "GET, HEAD, POST")
			}
			plainly(w, r, no) // a stranger sees no page of ours
			return
		}
		s, ok := g.enter()
		if !ok {
			w.Header().Set("Retry-After", "1")
			plainly(w, r, Refusal{Status: http.StatusServiceUnavailable, Text: "too many ask at once"})
			return
		}
		defer s.end()
		r = withSeen(r, s)
		setDeadlines(w, time.Now().Add(answerTime))
		if strings.HasPrefix(r.Header.Get("Accept"), "text/event-stream") && !Long(w, r) {
			w.Header().Set("Retry-After", "10")
			plainly(w, r, Refusal{Status: http.StatusServiceUnavailable, Text: "too many pages follow what happens"})
			return
		}
		g.admit(w, r, s, next, refuse)
	})
}

// admit looks at the session.
func (g *Gate) admit(w http.ResponseWriter, r *http.Request, s *seen, next http.Handler, refuse Refuse) {
	if strings.HasPrefix(r.URL.Path, "/assets/") {
		next.ServeHTTP(w, r)
		return
	}
	if r.URL.Path == "/enter" {
		g.door(w, r, refuse)
		return
	}
	id := ""
	if c, err := r.Cookie(cookieName(r.Host)); err == nil {
		id = c.Value
		s.csrf = g.find(id)
	}
	if s.csrf == "" {
		refuse(w, r, Refusal{Status: http.StatusUnauthorized, Text: "this browser has no session here, or it has ended", Hint: howToEnter})
		return
	}
	if r.Method == http.MethodPost {
		if no := g.forged(w, r, s.csrf); no.Status != 0 {
			refuse(w, r, no)
			return
		}
		if r.URL.Path == "/leave" {
			g.end(id)
			http.SetCookie(w, &http.Cookie{Name: cookieName(r.Host), Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
			s.csrf = ""
			refuse(w, r, Refusal{Status: http.StatusOK, Text: "the session has ended", Hint: howToEnter})
			return
		}
	}
	next.ServeHTTP(w, r)
}

func setHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer browsers say "Origin: null" of our own forms, and some say nothing else of where these come from (Fetch, "append a request Origin header")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// stranger refuses what no browser on this machine asks for that shows our pages.
func (g *Gate) stranger(r *http.Request) Refusal {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost:
		return Refusal{Status: http.StatusMethodNotAllowed, Text: "only GET, HEAD and POST"}
	case !g.o.Far && !near(r.RemoteAddr):
		return Refusal{Status: http.StatusForbidden, Text: "asked from another machine"}
	case !g.called(r.Host):
		return Refusal{Status: http.StatusForbidden, Text: "asked by a name that is not this machine's"}
	case len(r.URL.Path)+len(r.URL.RawQuery) > maxAddress:
		return Refusal{Status: http.StatusRequestURITooLong, Text: "the address is too long"}
	case r.URL.IsAbs() || r.URL.Host != "" || !plain(r.URL):
		return Refusal{Status: http.StatusBadRequest, Text: "that is no address of a page"}
	}
	return Refusal{}
}

// plain reports whether the path of an address says the same however it is read.
func plain(u *url.URL) bool {
	p := u.Path
	if !strings.HasPrefix(p, "/") || strings.ContainsFunc(p, func(c rune) bool { return c < ' ' || c == '\\' || c == 0x7f }) {
		return false
	}
	raw := strings.ToLower(u.EscapedPath())
	if strings.Contains(raw, "%2f") || strings.Contains(raw, "%5c") || strings.Contains(raw, "%00") {
		return false
	}
	clean := path.Clean(p)
	return clean == p || clean+"/" == p
}

// near reports whether a request comes from this machine.
func near(remote string) bool {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// called reports whether a Host header names this machine. A page that a browser got from elsewhere can have its own name lead here, but that name then stands in the request.
func (g *Gate) called(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(strings.TrimSuffix(strings.ToLower(host), "."), "[]")
	if host == "localhost" {
		return true
	}
	for _, name := range g.o.Hosts {
		if strings.EqualFold(strings.Trim(name, "[]"), host) {
			return true
		}
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// forged refuses forms that no page of this session sent. The form of the others has been read.
func (g *Gate) forged(w http.ResponseWriter, r *http.Request, csrf string) Refusal {
	const hint = "go back, load the page again, and repeat what you did"
	if err := g.origin.Check(r); err != nil {
		return Refusal{Status: http.StatusForbidden, Text: "that was sent by a page from elsewhere", Hint: hint}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return Refusal{Status: http.StatusUnsupportedMediaType, Text: "that is no form"}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return Refusal{Status: http.StatusRequestEntityTooLarge, Text: "the form is too long", Hint: "choose folders in the place of many files"}
		}
		return Refusal{Status: http.StatusBadRequest, Text: "the form cannot be read", Hint: hint}
	}
	if given := r.PostForm["csrf"]; len(given) != 1 || !sameText(given[0], csrf) {
		return Refusal{Status: http.StatusForbidden, Text: "the form is of an older session, or of none", Hint: hint}
	}
	return Refusal{}
}

// door makes a session of a token. The token leaves the address bar, and the history of the browser, by leading on.
func (g *Gate) door(w http.ResponseWriter, r *http.Request, refuse Refuse) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		refuse(w, r, Refusal{Status: http.StatusMethodNotAllowed, Text: "a link is followed with GET"})
		return
	}
	if r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") == "prefetch" {
		plainly(w, r, Refusal{Status: http.StatusServiceUnavailable, Text: "not ahead of time"}) // a browser that guesses must not use the token up
		return
	}
	q := r.URL.Query()
	to := Local(q.Get("to"))
	if !g.spend(q.Get("token")) {
		if c, err := r.Cookie(cookieName(r.Host)); err == nil && g.find(c.Value) != "" {
			http.Redirect(w, r, to, http.StatusSeeOther) // who is in already, and came back to an old link
			return
		}
		refuse(w, r, Refusal{Status: http.StatusGone, Text: "this link was used, or is too old", Hint: howToEnter})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName(r.Host), Value: g.begin(), Path: "/", MaxAge: int(TotalTime / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode})
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		http.Redirect(w, r, to, http.StatusSeeOther)
	default: // a link in a page of another site: the cookie goes along only from a page of our own
		w.Header().Set("Refresh", "0; url="+to)
		refuse(w, r, Refusal{Status: http.StatusOK, Text: "you are in", Hint: "the overview is one click away"})
	}
}
