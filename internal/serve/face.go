package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/job"
	"firn/internal/job/metrics"
)

// Limits of what strangers can ask for.
const (
	maxHeader   = 16 << 10 // bytes
	maxAsking   = 32       // at once
	leastToken  = 16       // bytes
	headerTime  = 5 * time.Second
	answerTime  = 30 * time.Second
	idleTime    = time.Minute
	shutdownMax = 3 * time.Second
)

// ErrOpen refuses to listen where strangers could ask without a token.
var ErrOpen = errors.New("listening elsewhere than on the loopback interface takes a token")

// ErrShortToken refuses a token that could be guessed.
var ErrShortToken = fmt.Errorf("the token is too short: want at least %d characters", leastToken)

// face answers over HTTP. What it tells is set by the daemon; requests come from anywhere.
type face struct {
	o     Options
	clock job.Clock
	slots chan struct{}

	mu      sync.Mutex
	gen     *generation
	beaten  time.Time
	began   time.Time
	running []string
	refused bool

	address string // as the configuration has it
	server  *http.Server
	done    chan struct{} // closed when it serves no more
	host    string        // of the address, in lower case
	token   [sha256.Size]byte
	hasKey  bool
}

func newFace(o Options) *face {
	return &face{o: o, clock: o.Clock, slots: make(chan struct{}, maxAsking), began: o.Clock.Now(), beaten: o.Clock.Now()}
}

// listen opens what a configuration says, where that differs from what is open, and closes what was. It returns the address; empty: none.
func (f *face) listen(g *generation) (string, error) {
	at := g.cfg.Serve.Listen
	if at == "" {
		at = DefaultAt
	}
	token := g.crew.Token
	if at != "off" {
		if token == "" && !isLoopback(at) {
			return "", ErrOpen
		}
		if token != "" && len(token) < leastToken {
			return "", ErrShortToken
		}
	}
	f.mu.Lock()
	same := at == f.address
	f.mu.Unlock()
	if same {
		f.setToken(token)
		return "", nil
	}
	if at == "off" {
		f.close()
		f.mu.Lock()
		f.address = at
		f.mu.Unlock()
		return "", nil
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return "", err
	}
	f.close()
	f.setToken(token)
	f.serve(l, at)
	return l.Addr().String(), nil
}

func (f *face) setToken(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token, f.hasKey = sha256.Sum256([]byte(token)), token != ""
}

func (f *face) serve(l net.Listener, at string) {
	host, _, _ := net.SplitHostPort(at)
	srv := &http.Server{Handler: f.guarded(f.pages()), ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: answerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: nil}
	done := make(chan struct{})
	f.mu.Lock()
	f.address, f.server, f.host, f.done = at, srv, strings.ToLower(host), done
	f.mu.Unlock()
	go func() {
		defer close(done)
		_ = srv.Serve(l) // always ends with an error: that it was closed
	}()
}

// close ends what is open, and waits a moment for who is being answered.
func (f *face) close() {
	f.mu.Lock()
	srv, done := f.server, f.done
	f.server, f.address = nil, ""
	f.mu.Unlock()
	if srv == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownMax)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		_ = srv.Close()
	}
	<-done
}

// isLoopback reports whether only this machine can reach an address.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackHost(host)
}

// loopbackHost reports whether a host is this machine and nothing else. Names are, as every system has it: those that end in localhost.
func loopbackHost(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// own are the addresses that the daemon answers by itself.
var own = []string{"/healthz", "/readyz", "/metrics", "/status"}

// guarded lets through who may ask. Pages guard themselves.
func (f *face) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gen, _ := f.current(); gen != nil && gen.crew.Pages != nil && !slices.Contains(own, r.URL.Path) {
			gen.crew.Pages.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		select {
		case f.slots <- struct{}{}:
			defer func() { <-f.slots }()
		default:
			http.Error(w, "too many ask at once", http.StatusServiceUnavailable)
			return
		}
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		case f.hasToken(r) || f.isNear(r):
			next.ServeHTTP(w, r)
		case f.wantsToken():
			h.Set("WWW-Authenticate", `Bearer realm="firn"`)
			http.Error(w, "a token is needed", http.StatusUnauthorized)
		default:
			http.Error(w, "asked from elsewhere, or by a name that is not this machine's", http.StatusForbidden)
		}
	})
}

func (f *face) wantsToken() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hasKey
}

// hasToken reports whether a request brings the token. How long that takes tells nothing of it.
func (f *face) hasToken(r *http.Request) bool {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	given := sha256.Sum256([]byte(text))
	f.mu.Lock()
	defer f.mu.Unlock()
	return ok && f.hasKey && subtle.ConstantTimeCompare(given[:], f.token[:]) == 1
}

// isNear reports whether a request comes from this machine and calls it by a name that no other has. A page that a browser got from elsewhere can have its own name lead here, but that name then stands in
// the request.
func (f *face) isNear(r *http.Request) bool {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !loopbackHost(from) {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if net.ParseIP(f.host) != nil && strings.EqualFold(strings.Trim(host, "[]"), f.host) {
		return true
	}
	return loopbackHost(host)
}

// pages are what can be asked for.
func (f *face) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", f.health)
	mux.HandleFunc("/readyz", f.ready)
	mux.HandleFunc("/metrics", f.metrics)
	mux.HandleFunc("/status", f.status)
	return mux
}

func answer(w http.ResponseWriter, code int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "it cannot be told", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(raw, '\n')) // who is gone is gone
}

// healthJSON is what /healthz says.
type healthJSON struct {
	Status  string    `json:"status"` // ok, stuck
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	Jobs    int       `json:"jobs"`
	Busy    []string  `json:"busy"`   // jobs that were begun, or wait their turn
	Config  string    `json:"config"` // ok, refused
}

func (f *face) health(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	j := healthJSON{Status: "ok", Version: f.o.Version, Since: f.began.UTC(), Jobs: len(f.gen.crew.Runner.Jobs()), Busy: append([]string{}, f.running...), Config: word(f.refused)}
	beaten := f.beaten
	f.mu.Unlock()
	code := http.StatusOK
	if f.clock.Now().Sub(beaten) > alive {
		j.Status, code = "stuck", http.StatusServiceUnavailable
	}
	answer(w, code, j)
}

func word(refused bool) string {
	if refused {
		return "refused"
	}
	return "ok"
}

// readyJSON is what /readyz says.
type readyJSON struct {
	Ready  bool     `json:"ready"`
	Stale  []string `json:"stale"`
	Failed []string `json:"failed"`
	Config string   `json:"config"`
}

func (f *face) ready(w http.ResponseWriter, _ *http.Request) {
	gen, refused := f.current()
	j := readyJSON{Ready: !refused, Stale: []string{}, Failed: []string{}, Config: word(refused)}
	for _, s := range gen.crew.Runner.Status(gen.crew.Runner.Jobs(), 0) {
		switch s.State {
		case job.Stale:
			j.Stale, j.Ready = append(j.Stale, s.Job.Name), false
		case job.Failing:
			j.Failed, j.Ready = append(j.Failed, s.Job.Name), false
		}
	}
	code := http.StatusOK
	if !j.Ready {
		code = http.StatusServiceUnavailable
	}
	answer(w, code, j)
}

func (f *face) metrics(w http.ResponseWriter, r *http.Request) {
	if f.o.Metrics == nil {
		http.NotFound(w, r)
		return
	}
	gen, refused := f.current()
	v := f.o.Metrics(gen.crew)
	v.Broken = &refused
	w.Header().Set("Content-Type", metrics.ContentType)
	_ = v.Write(w) // who is gone is gone
}

func (f *face) status(w http.ResponseWriter, r *http.Request) {
	if f.o.Show == nil {
		http.NotFound(w, r)
		return
	}
	gen, _ := f.current()
	all := gen.crew.Runner.Status(gen.crew.Runner.Jobs(), 0)
	for i := range all {
		for _, rec := range []**job.Record{&all[i].Success, &all[i].Last, &all[i].Skip} {
			if *rec != nil {
				silent := **rec
				silent.Error = "" // it may name files
				*rec = &silent
			}
		}
	}
	answer(w, http.StatusOK, f.o.Show(all))
}

func (f *face) current() (*generation, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gen, f.refused
}

func (f *face) use(g *generation) {
	f.mu.Lock()
	f.gen = g
	f.mu.Unlock()
	if g.crew.Use != nil {
		g.crew.Use()
	}
}

// beat notes that the daemon has decided.
func (f *face) beat(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beaten = now
}

func (f *face) setRunning(names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running = names
}

func (f *face) setRefused(refused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = refused
}
