package notify

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// at is when everything in these tests happens.
var at = time.Date(2026, 11, 20, 2, 30, 0, 0, time.FixedZone("", 3600))

// waits stands for the clock: it notes how long somebody wanted to sleep, and does not.
type waits struct {
	mu   sync.Mutex
	list []time.Duration
}

func (w *waits) sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, d)
	return ctx.Err()
}

// open makes a channel whose clock stands still and whose waits take no time.
func open(t testing.TB, o Options) (*Channel, *waits) {
	t.Helper()
	w := &waits{}
	if o.Name == "" {
		o.Name = "test"
	}
	o.Now, o.Sleep = func() time.Time { return at }, w.sleep
	if o.Rand == nil {
		o.Rand = func() float64 { return 1 }
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute // nothing here depends on how fast the machine is
	}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return c, w
}

// failed is a failure as it comes.
func failed() Message {
	return Message{
		ID: "run-7", Run: "2026-11-20T02:30", Event: Failure, Host: "nas", Job: "photos", Kind: "backup", Repository: "default", Source: "/srv/photos", Program: "firn 1.0",
		Time: at, Started: at.Add(-123 * time.Second), Seconds: 123, Error: "no space left on device", Hint: "make room on that disk", ExitCode: 1, Failures: 2,
		Counts: Counts{Files: 138000, Bytes: 1 << 40, Problems: 2}, Problems: []Problem{{"/srv/photos/a", "permission denied"}}, Since: at.AddDate(0, 0, -1), LastSuccess: at.AddDate(0, 0, -2),
		Log: []string{"level=INFO msg=begin", "level=ERROR msg=\"no space left on device\""}, Report: []byte(`{"event":"result","state":"failed"}`),
	}
}

// taken is a request as it came.
type taken struct {
	method, path, query, body string
	header                    http.Header
}

// hook is a server that keeps what it gets, and answers as it is told.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	got    []taken
	answer func(n int, w http.ResponseWriter, r *http.Request) // n: of the request, from 1
}

func newHook(t testing.TB, answer func(n int, w http.ResponseWriter, r *http.Request)) *hook {
	return startHook(t, answer, (*httptest.Server).Start)
}

func startHook(t testing.TB, answer func(n int, w http.ResponseWriter, r *http.Request), start func(*httptest.Server)) *hook {
	h := &hook{answer: answer}
	h.Server = httptest.NewUnstartedServer(h)
	h.Config.ErrorLog = nobody()
	start(h.Server)
	t.Cleanup(h.Close)
	return h
}

// ServeHTTP implements http.Handler.
func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	h.got = append(h.got, taken{r.Method, r.URL.Path, r.URL.RawQuery, string(raw), r.Header})
	n := len(h.got)
	h.mu.Unlock()
	if h.answer != nil {
		h.answer(n, w, r)
	}
}

func (h *hook) all() []taken {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]taken(nil), h.got...)
}

// certificate is one for 127.0.0.1 and example.com, and who to trust to believe it.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.TLS.Certificates[0], roots
}

// mailed is a mail as a server has it.
type mailed struct {
	from string
	to   []string
	data string
	tls  bool
	auth string // mechanism
}

// smtpd is a mail server: it does STARTTLS, TLS, AUTH PLAIN and LOGIN, and whatever else act tells it to at a stage: connect, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, content, QUIT. Stages are counted from 1.
type smtpd struct {
	ln         net.Listener
	cert       *tls.Certificate // nil: no STARTTLS
	implicit   bool             // TLS from the begin
	auth       string           // mechanisms
	user, pass string
	act        func(stage, args string, n int) string // "": as usual; drop; hang; else the answer

	all    sync.WaitGroup
	hung   chan string   // stages that hang
	closed chan struct{} // lets them go

	mu     sync.Mutex
	counts map[string]int
	mails  []mailed
	wire   strings.Builder
}

func (s *smtpd) start(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.ln, s.counts, s.hung, s.closed = ln, map[string]int{}, make(chan string, 100), make(chan struct{})
	s.all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.all.Go(func() {
				defer func() { _ = conn.Close() }()
				(&talk{s: s, raw: conn}).run()
			})
		}
	})
	t.Cleanup(func() {
		close(s.closed)
		_ = ln.Close()
		s.all.Wait()
	})
	return ln.Addr().String()
}

func (s *smtpd) got() []mailed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]mailed(nil), s.mails...)
}

// talk is one connection.
type talk struct {
	s    *smtpd
	raw  net.Conn
	conn net.Conn
	r    *bufio.Reader
	m    mailed
	dead bool // the connection is to end
}

// stage does what act wants, and reports whether that is what is usual.
func (c *talk) stage(name, args, usual string) bool {
	c.s.mu.Lock()
	c.s.counts[name]++
	n := c.s.counts[name]
	c.s.mu.Unlock()
	what := ""
	if c.s.act != nil {
		what = c.s.act(name, args, n)
	}
	switch what {
	case "":
		what = usual
	case "drop":
		c.dead = true
		return false
	case "hang":
		c.s.hung <- name
		<-c.s.closed
		c.dead = true
		return false
	}
	_, _ = fmt.Fprintf(c.conn, "%s\r\n", what)
	return strings.HasPrefix(what, usual[:1])
}

func (c *talk) use(conn net.Conn) { c.conn, c.r = conn, bufio.NewReader(conn) }

func (c *talk) secure() bool {
	conn := tls.Server(c.raw, &tls.Config{Certificates: []tls.Certificate{*c.s.cert}})
	c.use(conn)
	c.m.tls = true
	return conn.Handshake() == nil
}

func (c *talk) line() (string, bool) {
	text, err := c.r.ReadString('\n')
	c.s.mu.Lock()
	c.s.wire.WriteString(text)
	c.s.mu.Unlock()
	return strings.TrimRight(text, "\r\n"), err == nil
}

func (c *talk) run() {
	c.use(c.raw)
	if c.s.implicit && !c.secure() {
		return
	}
	if !c.stage("connect", "", "220 here ESMTP") {
		return
	}
	for !c.dead {
		text, ok := c.line()
		if !ok {
			return
		}
		c.command(text)
	}
}

func (c *talk) command(text string) {
	word, args, _ := strings.Cut(text, " ")
	switch word = strings.ToUpper(word); word {
	case "EHLO":
		offer := "250-here\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
		if c.s.cert != nil && !c.m.tls {
			offer += "250-STARTTLS\r\n"
		}
		if c.s.auth != "" {
			offer += "250-AUTH " + c.s.auth + "\r\n"
		}
		c.stage("EHLO", args, offer+"250 SIZE 10000000")
	case "STARTTLS":
		if c.stage("STARTTLS", args, "220 go") && !c.secure() {
			c.dead = true
		}
	case "AUTH":
		c.login(args)
	case "MAIL":
		c.m.from, c.m.to = between(args), nil
		c.stage("MAIL", args, "250 ok")
	case "RCPT":
		if c.stage("RCPT", args, "250 ok") {
			c.m.to = append(c.m.to, between(args))
		}
	case "DATA":
		c.data()
	case "QUIT":
		c.stage("QUIT", args, "221 bye")
		c.dead = true
	default:
		_, _ = fmt.Fprintf(c.conn, "502 what is %s\r\n", word)
	}
}

func between(s string) string {
	_, s, _ = strings.Cut(s, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}

func (c *talk) data() {
	if !c.stage("DATA", "", "354 go") {
		return
	}
	var b strings.Builder
	for {
		text, ok := c.line()
		if !ok {
			c.dead = true
			return
		}
		if text == "." {
			break
		}
		b.WriteString(strings.TrimPrefix(text, ".") + "\r\n")
	}
	c.m.data = b.String()
	if c.stage("content", "", "250 queued") || c.dead { // one that is dropped here was taken all the same
		c.s.mu.Lock()
		c.s.mails = append(c.s.mails, c.m)
		c.s.mu.Unlock()
	}
}

// login checks a name and a password.
func (c *talk) login(args string) {
	mechanism, first, _ := strings.Cut(args, " ")
	decode := func(s string) string { raw, _ := base64.StdEncoding.DecodeString(s); return string(raw) }
	ask := func(what string) string {
		_, _ = fmt.Fprintf(c.conn, "334 %s\r\n", base64.StdEncoding.EncodeToString([]byte(what)))
		text, _ := c.line()
		return decode(text)
	}
	ok := false
	switch mechanism {
	case "PLAIN":
		ok = decode(first) == "\x00"+c.s.user+"\x00"+c.s.pass
	case "LOGIN":
		name := decode(first)
		if first == "" {
			name = ask("Username:")
		}
		ok = name == c.s.user && ask("Password:") == c.s.pass
	}
	if !ok {
		_, _ = fmt.Fprintf(c.conn, "535 5.7.8 no: %s\r\n", c.s.pass)
		return
	}
	c.m.auth = mechanism
	c.stage("AUTH", args, "235 ok")
}
