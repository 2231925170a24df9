package gate

import (
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// house is a gate with rooms behind it that say what they were asked, and the form's field.
type house struct {
	t *testing.T
	*Gate
	*clock
	h     http.Handler
	asked int
}

func newHouse(t *testing.T, o Options) *house {
	x := &house{t: t, clock: &clock{t: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}}
	o.Now = x.now
	x.Gate = New(o)
	x.h = x.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.asked++
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+" "+Token(r)+" "+r.PostFormValue("do"))
	}), nil)
	return x
}

// ask sends a request from this machine to localhost, changed by change.
func (x *house) ask(method, target string, change func(*http.Request)) *http.Response {
	x.t.Helper()
	r := httptest.NewRequest(method, "http://localhost:7457/", nil)
	r.RequestURI = target
	u, err := url.ParseRequestURI(target)
	if err != nil {
		x.t.Fatal(err)
	}
	r.URL, r.Host, r.RemoteAddr = u, "localhost:7457", "127.0.0.1:5"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	x.h.ServeHTTP(w, r)
	return w.Result()
}

func text(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

// enter follows a link and returns the cookie and what forms carry.
func (x *house) enter(address string) (cookie *http.Cookie, csrf string) {
	x.t.Helper()
	res := x.ask("GET", address, nil)
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 1 {
		x.t.Fatalf("%d, %v", res.StatusCode, res.Cookies())
	}
	cookie = res.Cookies()[0]
	got := strings.Fields(text(x.ask("GET", "/page", with(cookie))))
	if len(got) != 3 {
		x.t.Fatalf("%q", got)
	}
	return cookie, got[2]
}

func with(c *http.Cookie) func(*http.Request) {
	return func(r *http.Request) { r.AddCookie(c) }
}

func form(r *http.Request, body string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
}

// TestEnter: a link is good once and for ten minutes; the token goes out of the address; the cookie is for us alone.
func TestEnter(t *testing.T) {
	x := newHouse(t, Options{})
	if res := x.ask("GET", "/", nil); res.StatusCode != http.StatusUnauthorized || x.asked != 0 {
		t.Errorf("%d without a session", res.StatusCode)
	}
	link := x.Link("/r/nas/snapshots?p=x")
	if head := x.ask("HEAD", link, nil); head.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("%d", head.StatusCode)
	}
	if early := x.ask("GET", link, func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") }); early.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d", early.StatusCode)
	}
	res := x.ask("GET", link, nil)
	c := res.Cookies()[0]
	if at := res.Header.Get("Location"); at != "/r/nas/snapshots?p=x" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Name != "firn-7457" || c.Path != "/" || c.Domain != "" || len(c.Value) < 40 {
		t.Errorf("%q, %v", at, c)
	}
	if again := x.ask("GET", link, nil); again.StatusCode != http.StatusGone || len(again.Cookies()) > 0 || !strings.Contains(text(again), "used") {
		t.Errorf("used twice: %d", again.StatusCode)
	}
	if back := x.ask("GET", link, with(c)); back.StatusCode != http.StatusSeeOther {
		t.Errorf("who is in and comes back: %d", back.StatusCode)
	}
	late := x.Link("/")
	x.pass(LinkTime)
	for _, bad := range []string{late, "/enter", "/enter?token=", "/enter?token=" + strings.Repeat("A", 43), "/enter?token=" + strings.Repeat("x", 9000)} {
		if res := x.ask("GET", bad, nil); res.StatusCode != http.StatusGone || len(res.Cookies()) > 0 {
			t.Errorf("%.40s: %d", bad, res.StatusCode)
		}
	}
	far := x.ask("GET", x.Link("/run"), func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	if far.StatusCode != 200 || far.Header.Get("Refresh") != "0; url=/run" || len(far.Cookies()) != 1 {
		t.Errorf("from a page elsewhere: %d, %v", far.StatusCode, far.Header)
	}
}

// TestSession ends when it was idle or is old, and when it is left; the oldest makes room.
func TestSession(t *testing.T) {
	x := newHouse(t, Options{})
	c, csrf := x.enter(x.Link("/"))
	for range 14 {
		x.pass(IdleTime - time.Second)
		if res := x.ask("GET", "/", with(c)); res.StatusCode != 200 {
			t.Fatalf("%d", res.StatusCode)
		}
	}
	x.pass(time.Minute)
	if res := x.ask("GET", "/", with(c)); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("after a week: %d", res.StatusCode)
	}
	c, _ = x.enter(x.Link("/"))
	x.pass(IdleTime)
	if res := x.ask("GET", "/", with(c)); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("idle: %d", res.StatusCode)
	}
	first, csrf := x.enter(x.Link("/"))
	if res := x.ask("POST", "/leave", func(r *http.Request) { r.AddCookie(first); form(r, "csrf="+csrf) }); res.StatusCode != 200 || res.Cookies()[0].MaxAge >= 0 {
		t.Errorf("%d", res.StatusCode)
	}
	if res := x.ask("GET", "/", with(first)); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("left: %d", res.StatusCode)
	}
	first, _ = x.enter(x.Link("/"))
	second, _ := x.enter(x.Link("/"))
	for range maxSessions - 1 {
		x.pass(time.Second)
		_ = x.ask("GET", "/", with(second))
		x.enter(x.Link("/"))
	}
	if x.ask("GET", "/", with(first)).StatusCode == 200 || x.ask("GET", "/", with(second)).StatusCode != 200 || len(x.sessions) > maxSessions {
		t.Error("the one that was not used for longest has not made room")
	}
	for range 3 * maxLinks {
		x.Link("/")
	}
	if len(x.links) > maxLinks {
		t.Errorf("%d links", len(x.links))
	}
}

// TestStrangers: names that were bent to lead here, other machines, methods and paths that no page of ours has.
func TestStrangers(t *testing.T) {
	x := newHouse(t, Options{})
	c, _ := x.enter(x.Link("/"))
	for name, o := range map[string]struct {
		host, from, method, target string
		want                       int
	}{
		"rebound":            {host: "evil.example:7457", want: 403},
		"rebound, no port":   {host: "evil.example", want: 403},
		"looks like it":      {host: "localhost.evil.example:7457", want: 403},
		"ends like it":       {host: "evil-localhost:7457", want: 403},
		"number in a name":   {host: "127.0.0.1.evil.example", want: 403},
		"no name":            {host: "-", want: 403},
		"any address":        {host: "0.0.0.0:7457", want: 403},
		"address of a net":   {host: "192.168.1.2:7457", want: 403},
		"from afar":          {from: "192.168.1.2:5", want: 403},
		"from nowhere":       {from: "x", want: 403},
		"options":            {method: "OPTIONS", want: 405},
		"put":                {method: "PUT", want: 405},
		"delete":             {method: "DELETE", want: 405},
		"trace":              {method: "TRACE", want: 405},
		"connect":            {method: "CONNECT", want: 405},
		"unheard of":         {method: "BREW", want: 405},
		"lower case":         {method: "get", want: 405},
		"double slash":       {target: "//evil", want: 400},
		"double slash later": {target: "/r//x", want: 400},
		"up":                 {target: "/r/../x", want: 400},
		"up, hidden":         {target: "/..%2f..%2fetc/passwd", want: 400},
		"up, hidden dots":    {target: "/%2e%2e/x", want: 400},
		"backslash":          {target: `/%5cevil`, want: 400},
		"nul":                {target: "/a%00b", want: 400},
		"line feed":          {target: "/a%0ab", want: 400},
		"absolute":           {target: "http://evil.example/", want: 400},
		"long":               {target: "/?q=" + strings.Repeat("x", maxAddress), want: 414},
		"near":               {want: 200},
		"near, by number":    {host: "127.0.0.1:7457", want: 200},
		"near, in v6":        {host: "[::1]:7457", from: "[::1]:9", want: 200},
	} {
		before := x.asked
		res := x.ask("GET", "/", func(r *http.Request) {
			r.AddCookie(c)
			if o.host != "" {
				r.Host = strings.Trim(o.host, "-")
			}
			if o.from != "" {
				r.RemoteAddr = o.from
			}
			if o.method != "" {
				r.Method = o.method
			}
			if o.target != "" {
				u, err := url.ParseRequestURI(o.target)
				if err != nil {
					t.Fatal(err)
				}
				r.URL, r.RequestURI = u, o.target
			}
		})
		if res.StatusCode != o.want || (x.asked > before) != (o.want == 200) {
			t.Errorf("%s: %d, want %d", name, res.StatusCode, o.want)
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || res.Header.Get("X-Content-Type-Options") != "nosniff" ||
			res.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" || res.Header.Get("Referrer-Policy") != "same-origin" || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", name, res.Header)
		}
	}
	named := newHouse(t, Options{Hosts: []string{"nas.lan"}, Far: true})
	if res := named.ask("GET", "/", func(r *http.Request) { r.Host, r.RemoteAddr = "NAS.lan:7457", "192.168.1.2:5" }); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a name that is allowed: %d", res.StatusCode)
	}
	if res := named.ask("GET", "/", func(r *http.Request) { r.Host, r.RemoteAddr = "evil.example", "192.168.1.2:5" }); res.StatusCode != http.StatusForbidden {
		t.Errorf("another name: %d", res.StatusCode)
	}
}

// TestForged: what changes something comes from a page of the session, or changes nothing.
func TestForged(t *testing.T) {
	x := newHouse(t, Options{})
	c, csrf := x.enter(x.Link("/"))
	_, other := x.enter(x.Link("/"))
	for name, o := range map[string]struct {
		body, kind, origin, site string
		query                    string
		want                     int
	}{
		"ours":              {body: "csrf=" + csrf + "&do=it", origin: "http://localhost:7457", site: "same-origin", want: 200},
		"ours, old browser": {body: "csrf=" + csrf + "&do=it", want: 200},
		"other origin":      {body: "csrf=" + csrf, origin: "http://evil.example", want: 403},
		"other port":        {body: "csrf=" + csrf, origin: "http://localhost:8000", want: 403},
		"other site":        {body: "csrf=" + csrf, site: "cross-site", want: 403},
		"same site":         {body: "csrf=" + csrf, site: "same-site", want: 403},
		"no origin":         {body: "csrf=" + csrf, origin: "null", want: 403},
		"without":           {body: "do=it", want: 403},
		"empty":             {body: "csrf=", want: 403},
		"wrong":             {body: "csrf=" + csrf + "x", want: 403},
		"of another":        {body: "csrf=" + other, want: 403},
		"twice":             {body: "csrf=" + csrf + "&csrf=" + csrf, want: 403},
		"in the address":    {body: "do=it", query: "?csrf=" + csrf, want: 403},
		"as text":           {body: "csrf=" + csrf, kind: "text/plain", want: 415},
		"as json":           {body: `{"csrf":"` + csrf + `"}`, kind: "application/json", want: 415},
		"in parts":          {body: "csrf=" + csrf, kind: "multipart/form-data; boundary=x", want: 415},
		"no form":           {body: "csrf=%zz", want: 400},
		"huge":              {body: "csrf=" + csrf + "&x=" + strings.Repeat("x", maxBody), want: 413},
	} {
		before := x.asked
		res := x.ask("POST", "/run"+o.query, func(r *http.Request) {
			r.AddCookie(c)
			form(r, o.body)
			for name, value := range map[string]string{"Content-Type": o.kind, "Origin": o.origin, "Sec-Fetch-Site": o.site} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
		})
		if res.StatusCode != o.want || (x.asked > before) != (o.want == 200) {
			t.Errorf("%s: %d, want %d", name, res.StatusCode, o.want)
		}
	}
	if res := x.ask("POST", "/run", func(r *http.Request) { form(r, "csrf="+csrf) }); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a session: %d", res.StatusCode)
	}
}

// TestLocal: a browser is led nowhere but to pages of ours.
func TestLocal(t *testing.T) {
	for to, want := range map[string]string{
		"": "/", "/": "/", "/run": "/run", "/r/nas/s/ab/?p=YQ": "/r/nas/s/ab/?p=YQ", "/r/nas/#x": "/r/nas/#x",
		"//evil": "/", "///evil": "/", `/\evil`: "/", `\\evil`: "/", "http://evil": "/", "https:evil": "/", "evil": "/", "javascript:alert(1)": "/", "/\t/evil": "/", "/a\nSet-Cookie: x": "/",
		"/%2f/evil": "/", "/..%2fevil": "/", "/../x": "/", "/enter?token=x": "/", "/a%00": "/", "/" + strings.Repeat("x", maxAddress): "/",
	} {
		if got := Local(to); got != want {
			t.Errorf("%.30q leads to %q, want %q", to, got, want)
		}
		u, err := url.Parse(Address("t", to))
		if err != nil || u.Path != "/enter" || u.Query().Get("token") != "t" || Local(u.Query().Get("to")) != want {
			t.Errorf("%.30q: %v, %v", to, u, err)
		}
	}
}

// TestFolder: what another process leaves is taken once, in time, and holds no secret.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "links")
	x := newHouse(t, Options{Folder: dir})
	token, err := Leave(dir, x.now())
	if err != nil {
		t.Fatal(err)
	}
	found, _ := os.ReadDir(dir)
	info, err := os.Stat(filepath.Join(dir, found[0].Name()))
	if err != nil || len(found) != 1 || info.Mode().Perm()&0o077 != 0 || strings.Contains(found[0].Name(), token) {
		t.Errorf("%v, %v", info, err)
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, found[0].Name())); strings.Contains(string(raw), token) {
		t.Error("the file holds the token")
	}
	x.enter(Address(token, "/"))
	if res := x.ask("GET", Address(token, "/"), nil); res.StatusCode != http.StatusGone {
		t.Errorf("twice: %d", res.StatusCode)
	}
	late, _ := Leave(dir, x.now())
	x.pass(LinkTime)
	if res := x.ask("GET", Address(late, "/"), nil); res.StatusCode != http.StatusGone {
		t.Errorf("late: %d", res.StatusCode)
	}
	ahead, _ := Leave(dir, x.now().Add(time.Hour))
	if res := x.ask("GET", Address(ahead, "/"), nil); res.StatusCode != http.StatusGone {
		t.Errorf("ahead: %d", res.StatusCode)
	}
	for range 3 {
		if _, err := Leave(dir, x.now()); err != nil {
			t.Fatal(err)
		}
		x.pass(LinkTime)
	}
	if found, _ := os.ReadDir(dir); len(found) > 1 {
		t.Errorf("%d are left", len(found))
	}
	if _, err := Leave("", x.now()); err != ErrNoFolder {
		t.Error(err)
	}
	for _, token := range []string{"../../x", strings.Repeat(".", 43), strings.Repeat("/", 43)} {
		if x.spend(token) {
			t.Errorf("%q was taken", token)
		}
	}
}

// TestLimits: many askers are sent away, streams do not take their places, and a browser with two tabs is one session.
func TestLimits(t *testing.T) {
	x := &clock{t: time.Now()}
	g := New(Options{Now: x.now})
	begun, end := make(chan struct{}, 4*maxAsking), make(chan struct{})
	long := make(chan bool, 4*maxLong)
	server := httptest.NewServer(g.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			begun <- struct{}{}
			<-end
		case "/download":
			ok := Long(w, r)
			long <- ok
			if ok && !Long(w, r) {
				t.Error("long, and then not")
			}
			<-end
		case "/events":
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}), nil))
	defer server.Close()
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar, Transport: &http.Transport{MaxConnsPerHost: 0}}
	get := func(path, accept string) *http.Response {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+path, nil)
		r.Header.Set("Accept", accept)
		res, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return &http.Response{StatusCode: -1, Body: http.NoBody}
		}
		return res
	}
	_ = get(g.Link("/"), "").Body.Close()
	var streams []*http.Response
	for range maxLong {
		res := get("/events", "text/event-stream")
		if res.StatusCode != 200 {
			t.Fatalf("%d", res.StatusCode)
		}
		streams = append(streams, res)
	}
	if res := get("/events", "text/event-stream"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one stream too many: %d", res.StatusCode)
	}
	go func() { _ = get("/download", "").Body.Close() }()
	if <-long {
		t.Error("a download too many")
	}
	var wg sync.WaitGroup
	for range maxAsking - 1 {
		wg.Go(func() { _ = get("/slow", "").Body.Close() })
	}
	for range maxAsking - 1 {
		<-begun
	}
	if res := get("/", ""); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", res.StatusCode)
	}
	close(end)
	wg.Wait()
	for _, s := range streams {
		_ = s.Body.Close()
	}
	for get("/events", "text/event-stream").StatusCode != 200 { // the server notices in a while that readers have gone
		time.Sleep(time.Millisecond)
	}
	if res := get("/", ""); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
	client.CloseIdleConnections()
	server.CloseClientConnections()
}

// TestHugeHeader: the server that pages are served by takes no header of a megabyte. What it is made with is Server.
func TestHugeHeader(t *testing.T) {
	g := New(Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := Server(g.Guard(http.NotFoundHandler(), nil))
	done := make(chan error)
	go func() { done <- srv.Serve(l) }()
	r, _ := http.NewRequest("GET", "http://"+l.Addr().String()+"/", nil)
	r.Header.Set("X-Long", strings.Repeat("x", 1<<20))
	res, err := http.DefaultClient.Do(r)
	if err == nil {
		_ = res.Body.Close()
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%d", res.StatusCode)
		}
	}
	_ = srv.Close()
	<-done
}
