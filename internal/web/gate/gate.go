// Package gate lets through who may ask for a page.
//
// # Who comes in
//
// Whoever starts firn is given a link with a token: 32 random bytes, good for one use within ten minutes. Following it makes a session, kept by a cookie that scripts cannot read and that browsers do not send along
// with what other pages ask for. A session ends after it was not used for half a day, and in any case after a week; there are at most 32, of which the one that was not used for longest makes room. Another process of the same
// user can leave a token in a folder (Leave), which only that user may read; it holds the sum of the token and not the token.
//
// # What is refused
//
// A browser runs pages of strangers beside ours, and strangers may have their names lead to this machine. So each request must call this machine by a name of the loopback interface (or one that was allowed: Options.Hosts), must
// come from this machine (unless Options.Far), has a method among GET, HEAD and POST, and a path that is plain: no "..", "//", backslash, control character or escaped slash. What changes something must come from a page of
// ours (http.CrossOriginProtection, by what browsers say of origins) and carry the field "csrf" of its session, compared in constant time. Bodies and the number of requests at once are bounded. What takes long (Long, event streams)
// is counted apart, so that it does not keep others waiting.
//
// A Gate may be used by several goroutines at once. It starts none.
package gate

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// How long things are good for, and how many there may be.
const (
	LinkTime  = 10 * time.Minute
	IdleTime  = 12 * time.Hour
	TotalTime = 7 * 24 * time.Hour

	maxSessions = 32
	maxLinks    = 64
	maxAsking   = 64          // requests at once
	maxLong     = 64          // event streams and downloads at once
	maxBody     = 4 << 20     // bytes of a form
	maxAddress  = 96 << 10    // bytes of path and query
	answerTime  = time.Minute // for a request and its answer, whatever server the gate stands in
)

// Options of a gate.
type Options struct {
	Now    func() time.Time // nil: time.Now
	Folder string           // where other processes leave tokens; empty: nowhere
	Hosts  []string         // names besides those of the loopback interface by which this machine may be called
	Far    bool             // other machines may ask
}

// sum is the SHA-256 of a token or of the id of a session: what is compared and remembered, so that how long looking takes tells nothing of the secret.
type sum [sha256.Size]byte

// Gate knows one-time tokens and sessions.
type Gate struct {
	o      Options
	origin *http.CrossOriginProtection
	slots  chan struct{}
	long   chan struct{}

	mu       sync.Mutex
	links    map[sum]time.Time // when they end
	sessions map[sum]*session
}

type session struct {
	csrf       string
	born, seen time.Time
}

// New returns a gate that nobody has come through.
func New(o Options) *Gate {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Gate{o: o, origin: http.NewCrossOriginProtection(), slots: make(chan struct{}, maxAsking), long: make(chan struct{}, maxLong),
		links: map[sum]time.Time{}, sessions: map[sum]*session{}}
}

// random is 32 random bytes as text.
func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func sumOf(text string) sum { return sha256.Sum256([]byte(text)) }

// Address is the path, with its query, that a token is followed at; a browser is led on to the page to.
func Address(token, to string) string {
	q := url.Values{"token": {token}}
	if to = Local(to); to != "/" {
		q.Set("to", to)
	}
	return "/enter?" + q.Encode()
}

// Link makes a token and returns its Address.
func (g *Gate) Link(to string) string {
	token, now := random(), g.o.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	var oldest sum
	for k, end := range g.links {
		if !now.Before(end) {
			delete(g.links, k)
		} else if end.Before(g.links[oldest]) || g.links[oldest].IsZero() {
			oldest = k
		}
	}
	if len(g.links) >= maxLinks {
		delete(g.links, oldest)
	}
	g.links[sumOf(token)] = now.Add(LinkTime)
	return Address(token, to)
}

// spend uses a token up, and reports whether it was good.
func (g *Gate) spend(token string) bool {
	if len(token) != base64.RawURLEncoding.EncodedLen(32) {
		return false
	}
	key, now := sumOf(token), g.o.Now()
	g.mu.Lock()
	end, ok := g.links[key]
	delete(g.links, key)
	g.mu.Unlock()
	if ok {
		return now.Before(end)
	}
	return spendFile(g.o.Folder, key, now)
}

// begin makes a session and returns its id.
func (g *Gate) begin() string {
	id, now := random(), g.o.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.sessions) >= maxSessions {
		var last sum
		for k, s := range g.sessions {
			if g.sessions[last] == nil || s.seen.Before(g.sessions[last].seen) {
				last = k
			}
		}
		delete(g.sessions, last)
	}
	g.sessions[sumOf(id)] = &session{csrf: random(), born: now, seen: now}
	return id
}

// find returns what forms of a session carry, and notes that it is used; empty: there is no such session, or it is over.
func (g *Gate) find(id string) (csrf string) {
	key, now := sumOf(id), g.o.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sessions[key]
	if s == nil {
		return ""
	}
	if now.Sub(s.seen) >= IdleTime || now.Sub(s.born) >= TotalTime {
		delete(g.sessions, key)
		return ""
	}
	s.seen = now
	return s.csrf
}

// end forgets a session.
func (g *Gate) end(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sessions, sumOf(id))
}

// cookieName holds the port by which the browser came: cookies know no ports, and two firns may run on one machine.
func cookieName(host string) string {
	_, port, err := net.SplitHostPort(host)
	if err != nil || port == "" {
		port = "80"
	}
	return "firn-" + port
}

// seen is what a request has behind the gate.
type seen struct {
	csrf   string
	free   func() // gives the place among those who ask back
	length chan struct{}
	mu     sync.Mutex
	isLong bool
}

type seenKey struct{}

// Token returns what forms of the session of a request carry; empty: it has none.
func Token(r *http.Request) string {
	if s, ok := r.Context().Value(seenKey{}).(*seen); ok {
		return s.csrf
	}
	return ""
}

// Long tells that answering takes long: it may, and does not count among those who ask. It returns false where too many such answers are under way; nothing has been written then.
func Long(w http.ResponseWriter, r *http.Request) bool {
	s, ok := r.Context().Value(seenKey{}).(*seen)
	if ok && !s.toLong() {
		return false
	}
	setDeadlines(w, time.Time{})
	return true
}

func (s *seen) toLong() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isLong {
		return true
	}
	select {
	case s.length <- struct{}{}:
	default:
		return false
	}
	s.free()
	s.isLong = true
	s.free = func() { <-s.length }
	return true
}

func (s *seen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free()
}

// enter asks for a place among those who ask. false: there is none.
func (g *Gate) enter() (*seen, bool) {
	select {
	case g.slots <- struct{}{}:
		return &seen{free: func() { <-g.slots }, length: g.long}, true
	default:
		return nil, false
	}
}

// setDeadlines says until when a request may be read and answered; zero: for ever. The server ends the context of a request whose time to be read is over, also where all of it was read. Where there are no deadlines none has to be set.
func setDeadlines(w http.ResponseWriter, end time.Time) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(end)
	_ = c.SetWriteDeadline(end)
}

// sameText compares in constant time.
func sameText(a, b string) bool {
	x, y := sumOf(a), sumOf(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// Local is a place of this site that a browser may be led to: a path and a query. Whatever else it is given becomes the first page.
func Local(to string) string {
	if len(to) > maxAddress || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c == '\\' || c == 0x7f }) {
		return "/"
	}
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !plain(u) || strings.HasPrefix(u.Path, "/enter") {
		return "/"
	}
	return to
}

func withSeen(r *http.Request, s *seen) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), seenKey{}, s))
}
