package serve

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/job/metrics"
)

func testFace(t *testing.T, token, listen string) (*face, *fakes) {
	t.Helper()
	f := newFakes("photos", "db")
	o := Options{Clock: job.System{}, Version: "1.2", Show: func(all []job.Status) any { return all },
		Metrics: func(c *Crew) *metrics.View {
			return &metrics.View{Version: "1.2", Statuses: c.Runner.Status(c.Runner.Jobs(), 0)}
		}}
	face := newFace(o)
	face.use(&generation{cfg: &config.Config{Serve: config.Serve{Listen: listen}}, crew: &Crew{Runner: f, Token: token}})
	face.setToken(token)
	face.host, _, _ = net.SplitHostPort(listen)
	return face, f
}

// TestWhoMayAsk: from this machine and by its name, or with the token; to read, and nothing else.
func TestWhoMayAsk(t *testing.T) {
	const token = "0123456789abcdef0123"
	for _, c := range []struct {
		name, token, listen, from, host, method, given string
		want                                           int
	}{
		{name: "near", from: "127.0.0.1:5", host: "localhost:7457", want: 200},
		{name: "near, by number", from: "[::1]:5", host: "[::1]:7457", want: 200},
		{name: "near, other loopback", from: "127.0.0.9:5", host: "127.0.0.9", want: 200},
		{name: "head", from: "127.0.0.1:5", host: "localhost", method: "HEAD", want: 200},
		{name: "rebound name", from: "127.0.0.1:5", host: "evil.example:7457", want: 403},
		{name: "no name", from: "127.0.0.1:5", host: "", want: 403},
		{name: "name that looks like it", from: "127.0.0.1:5", host: "localhost.evil.example", want: 403},
		{name: "rebound name, with a token", token: token, from: "127.0.0.1:5", host: "evil.example", want: 401},
		{name: "far, without", token: token, listen: "0.0.0.0:7457", from: "10.0.0.9:5", host: "10.0.0.1:7457", want: 401},
		{name: "far, with it", token: token, listen: "0.0.0.0:7457", from: "10.0.0.9:5", host: "nas:7457", given: "Bearer " + token, want: 200},
		{name: "far, wrong", token: token, listen: "0.0.0.0:7457", from: "10.0.0.9:5", host: "nas:7457", given: "Bearer " + token + "x", want: 401},
		{name: "far, other scheme", token: token, listen: "0.0.0.0:7457", from: "10.0.0.9:5", host: "nas:7457", given: "Basic " + token, want: 401},
		{name: "far, says it is near", token: token, listen: "0.0.0.0:7457", from: "10.0.0.9:5", host: "localhost", want: 401},
		{name: "empty token", from: "10.0.0.9:5", host: "nas", given: "Bearer ", want: 403},
		{name: "post", from: "127.0.0.1:5", host: "localhost", method: "POST", want: 405},
		{name: "delete with a token", token: token, from: "127.0.0.1:5", host: "localhost", method: "DELETE", given: "Bearer " + token, want: 405},
	} {
		listen := c.listen
		if listen == "" {
			listen = DefaultAt
		}
		f, _ := testFace(t, c.token, listen)
		method := c.method
		if method == "" {
			method = "GET"
		}
		for _, page := range []string{"/healthz", "/metrics", "/status", "/readyz"} {
			r := httptest.NewRequest(method, page, nil)
			r.RemoteAddr, r.Host = c.from, c.host
			if c.given != "" {
				r.Header.Set("Authorization", c.given)
			}
			w := httptest.NewRecorder()
			f.guarded(f.pages()).ServeHTTP(w, r)
			if w.Code != c.want {
				t.Errorf("%s, %s: %d, want %d", c.name, page, w.Code, c.want)
			}
			if strings.Contains(w.Body.String(), "/srv/secret") {
				t.Errorf("%s, %s: names a file", c.name, page)
			}
		}
	}
}

func ask(f *face, page string) (int, string) {
	r := httptest.NewRequest("GET", page, nil)
	r.RemoteAddr, r.Host = "127.0.0.1:5", "localhost"
	w := httptest.NewRecorder()
	f.guarded(f.pages()).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestPages(t *testing.T) {
	f, jobs := testFace(t, "", DefaultAt)
	if code, text := ask(f, "/healthz"); code != 200 || !strings.Contains(text, `"status":"ok"`) || !strings.Contains(text, `"jobs":2`) {
		t.Errorf("%d %s", code, text)
	}
	if code, text := ask(f, "/readyz"); code != 200 || !strings.Contains(text, `"ready":true`) {
		t.Errorf("%d %s", code, text)
	}
	jobs.state["photos"], jobs.state["db"] = job.Stale, job.Failing
	code, text := ask(f, "/readyz")
	var ready readyJSON
	if err := json.Unmarshal([]byte(text), &ready); err != nil || code != 503 || ready.Ready || len(ready.Stale) != 1 || ready.Stale[0] != "photos" || len(ready.Failed) != 1 || ready.Failed[0] != "db" {
		t.Errorf("%d %s", code, text)
	}
	clear(jobs.state)
	f.setRefused(true)
	if code, text := ask(f, "/readyz"); code != 503 || !strings.Contains(text, `"config":"refused"`) {
		t.Errorf("%d %s", code, text)
	}
	if _, text := ask(f, "/metrics"); !strings.Contains(text, "firn_config_valid 0\n") || !strings.Contains(text, `firn_job_stale{job="photos"`) {
		t.Error(text)
	}
	if code, _ := ask(f, "/"); code != 404 {
		t.Errorf("%d", code)
	}
	f.beat(time.Now().Add(-time.Hour))
	if code, text := ask(f, "/healthz"); code != 503 || !strings.Contains(text, "stuck") {
		t.Errorf("%d %s", code, text)
	}
}

// TestBusy: who asks while too many do is sent away, and the others are not.
func TestBusy(t *testing.T) {
	f, _ := testFace(t, "", DefaultAt)
	for range maxAsking {
		f.slots <- struct{}{}
	}
	if code, _ := ask(f, "/healthz"); code != 503 {
		t.Errorf("%d", code)
	}
	<-f.slots
	if code, _ := ask(f, "/healthz"); code != 200 {
		t.Errorf("%d", code)
	}
}

// TestListen: the kernel chooses a port, another address replaces it, the same one stays, and headers have a limit.
func TestListen(t *testing.T) {
	f, jobs := testFace(t, "", "127.0.0.1:0")
	gen := func(listen, token string) *generation {
		return &generation{cfg: &config.Config{Serve: config.Serve{Listen: listen}}, crew: &Crew{Runner: jobs, Token: token}}
	}
	first, err := f.listen(gen("127.0.0.1:0", ""))
	if err != nil || first == "" {
		t.Fatal(err)
	}
	get := func(address, header string) (int, error) {
		r, err := http.NewRequest("GET", "http://"+address+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Long", header)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode, nil
	}
	if code, err := get(first, ""); err != nil || code != 200 {
		t.Errorf("%d, %v", code, err)
	}
	if code, err := get(first, strings.Repeat("x", 1<<20)); err == nil && code == 200 {
		t.Errorf("a header of a megabyte: %d", code)
	}
	if _, err := f.listen(gen("127.0.0.1:0", "0123456789abcdef")); err != nil || !f.hasKey {
		t.Error(err)
	}
	if code, err := get(first, ""); err != nil || code != 200 {
		t.Errorf("after the token changed: %d, %v", code, err)
	}
	for _, c := range []struct {
		at, token string
		want      error
	}{{"0.0.0.0:0", "", ErrOpen}, {":0", "", ErrOpen}, {"nas.example:80", "", ErrOpen}, {"127.0.0.1:0", "short", ErrShortToken}} {
		if _, err := f.listen(gen(c.at, c.token)); err != c.want {
			t.Errorf("%q: %v", c.at, err)
		}
	}
	if code, err := get(first, ""); err != nil || code != 200 {
		t.Errorf("after one that was refused: %d, %v", code, err)
	}
	second, err := f.listen(gen("localhost:0", ""))
	if err != nil || second == first {
		t.Fatalf("%q, %v", second, err)
	}
	http.DefaultClient.CloseIdleConnections()
	if _, err := get(first, ""); err == nil {
		t.Error("the old one still answers")
	}
	if code, err := get(second, ""); err != nil || code != 200 {
		t.Errorf("%d, %v", code, err)
	}
	if _, err := f.listen(gen("off", "")); err != nil {
		t.Error(err)
	}
	if _, err := get(second, ""); err == nil {
		t.Error("it still answers")
	}
	f.close()
}
