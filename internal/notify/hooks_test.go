package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

func unmarshal(t testing.TB, text string) (o map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return o
}

func only(t testing.TB, h *hook) taken {
	t.Helper()
	all := h.all()
	if len(all) != 1 {
		t.Fatalf("%d requests", len(all))
	}
	return all[0]
}

func TestWebhook(t *testing.T) {
	h := newHook(t, nil)
	c, _ := open(t, Options{Type: "webhook", URL: h.URL + "/in?a=1", Token: "tok en", Headers: map[string]string{"x-kind": "b ö"}})
	if err := c.Send(t.Context(), failed()); err != nil {
		t.Fatal(err)
	}
	got := only(t, h)
	if got.method != "POST" || got.path != "/in" || got.query != "a=1" || got.header.Get("Authorization") != "Bearer tok en" || got.header.Get("X-Kind") != "b ö" || got.header.Get("Content-Type") != "application/json" || got.header.Get("User-Agent") != "firn" {
		t.Errorf("%+v", got)
	}
	var back Message
	if err := json.Unmarshal([]byte(got.body), &back); err != nil {
		t.Fatal(err)
	}
	want := failed()
	want.Refers = want.Thread()
	for _, m := range []*time.Time{&want.Time, &want.Started, &want.Since, &want.LastSuccess} {
		*m = m.UTC()
	}
	if !reflect.DeepEqual(back, want) || !strings.Contains(got.body, `"time":"2026-11-20T01:30:00Z"`) {
		t.Errorf("%s", got.body)
	}

	h = newHook(t, nil)
	c, _ = open(t, Options{Type: "webhook", URL: h.URL, Method: "put", Headers: map[string]string{"Content-Type": "text/x-own", "Host": "other.example", "User-Agent": "me"}, Body: `{{.Job}} {{json .Error}}`})
	if err := c.Send(t.Context(), failed()); err != nil {
		t.Fatal(err)
	}
	if got := only(t, h); got.method != "PUT" || got.body != `photos "no space left on device"` || got.header.Get("Content-Type") != "text/x-own" || got.header.Get("User-Agent") != "me" {
		t.Errorf("%+v", got)
	}
	h = newHook(t, nil)
	c, _ = open(t, Options{Type: "webhook", URL: h.URL, Method: "GET"})
	if err := c.Send(t.Context(), failed()); err != nil || only(t, h).body != "" || only(t, h).header.Get("Content-Type") != "" {
		t.Errorf("%v %+v", err, h.all())
	}
}

func TestNtfy(t *testing.T) {
	for event, want := range map[Event][2]any{Start: {1.0, "arrow_forward"}, Success: {2.0, "white_check_mark"}, Failure: {4.0, "rotating_light"}, Missed: {4.0, "warning"}, Recovered: {3.0, "white_check_mark"}, Test: {3.0, "information_source"}} {
		h := newHook(t, nil)
		c, _ := open(t, Options{Type: "ntfy", URL: h.URL + "/base/to%20pic?auth=x", Token: "tk"})
		m := failed()
		m.Event, m.Job = event, "Fotos – für\r\nX-Evil: 1"
		if err := c.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		got := only(t, h)
		o := unmarshal(t, got.body)
		if got.path != "/base/" || got.query != "auth=x" || got.header.Get("Authorization") != "Bearer tk" || o["topic"] != "to pic" || o["priority"] != want[0] || fmt.Sprint(o["tags"]) != "["+want[1].(string)+"]" {
			t.Errorf("%s: %+v", event, got)
		}
		if title := o["title"].(string); strings.ContainsAny(title, "\r\n") || event == Failure && title != "backup Fotos – für  X-Evil: 1 on nas failed, 2 times in succession" {
			t.Errorf("%s: %q", event, title)
		}
		if text := o["message"].(string); event == Failure && text != "no space left on device\nHint: make room on that disk\nLast success: Wed 2026-11-18 02:30:00 +0100\nTook 2 min 3 s" {
			t.Errorf("%s: %q", event, text)
		}
	}
	h := newHook(t, nil)
	c, _ := open(t, Options{Type: "ntfy", URL: h.URL + "/t/", Subject: "S {{upper .Job}}", Body: strings.Repeat("ö", 5000)})
	if err := c.Send(t.Context(), failed()); err != nil {
		t.Fatal(err)
	}
	o := unmarshal(t, only(t, h).body)
	if text := o["message"].(string); o["title"] != "S PHOTOS" || len(text) > maxNtfy || !strings.HasSuffix(text, "ö…") {
		t.Errorf("%v", o)
	}
}

func TestSlack(t *testing.T) {
	h := newHook(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	c, _ := open(t, Options{Type: "slack", URL: h.URL + "/services/T/B/x"})
	m := failed()
	m.Job, m.Error = "<!channel> @everyone", "a `b` <@U1> & c\n```\n@here"
	m.Log = []string{strings.Repeat("x", 5000)}
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := only(t, h)
	o := unmarshal(t, got.body)
	text := o["text"].(string)
	if got.path != "/services/T/B/x" || !strings.HasPrefix(text, "❌ backup &lt;!channel&gt; @\u200beveryone on nas failed") || strings.Contains(text, "<@") || strings.Contains(text, "@here") || strings.Count(text, "```") != 2 || len([]rune(text)) > 2000 {
		t.Errorf("%+v", text)
	}
	blocks := o["blocks"].([]any)
	header, section := blocks[0].(map[string]any)["text"].(map[string]any), blocks[1].(map[string]any)["text"].(map[string]any)
	if len(blocks) != 2 || header["type"] != "plain_text" || section["type"] != "plain_text" || len([]rune(header["text"].(string))) > 150 || !strings.HasPrefix(section["text"].(string), "a `b` <@U1> & c") {
		t.Errorf("%v", blocks)
	}
	for body, want := range map[string]string{
		`{"text": {{json .Job}}, "channel": "#x"}`: `{"text": "photos", "channel": "#x"}`,
		`[1]`:  "❌ backup photos on nas failed, 2 times in succession\n```\n[1]\n```",
		`word`: "❌ backup photos on nas failed, 2 times in succession\n```\nword\n```",
	} {
		h = newHook(t, nil)
		c, _ = open(t, Options{Type: "slack", URL: h.URL, Body: body})
		if err := c.Send(t.Context(), failed()); err != nil {
			t.Fatal(err)
		}
		got := only(t, h).body
		if got != want && unmarshal(t, got)["text"] != want {
			t.Errorf("%s: %s", body, got)
		}
	}
}

func TestHealthchecks(t *testing.T) {
	run := func(n string) string { return "rid=" + runID(n) }
	for _, c := range []struct {
		m           Message
		path, query string
	}{
		{Message{Event: Start, Run: "r"}, "/u/start", run("r")},
		{Message{Event: Success, Run: "r"}, "/u", run("r")},
		{Message{Event: Recovered}, "/u", ""},
		{Message{Event: Failure, Run: "r"}, "/u/fail", run("r")},
		{Message{Event: Failure, ExitCode: 3}, "/u/3", ""},
		{Message{Event: Failure, ExitCode: 300}, "/u/fail", ""},
		{Message{Event: Missed, Run: "r"}, "/u/fail", ""},
		{Message{Event: Test, Run: "r"}, "/u/log", ""},
	} {
		h := newHook(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK")) })
		ch, _ := open(t, Options{Type: "healthchecks", URL: h.URL + "/u/"})
		for range 200 {
			c.m.Log = append(c.m.Log, strings.Repeat("ö", 900))
		}
		c.m.Log[199] = "the last line"
		if err := ch.Send(t.Context(), c.m); err != nil {
			t.Fatal(err)
		}
		got := only(t, h)
		if strings.TrimSuffix(got.path, "/") != c.path || got.query != c.query || got.method != "POST" || len(got.body) > maxPing || !strings.HasPrefix(got.body, c.m.Title()) || !strings.HasSuffix(got.body, "the last line\n") {
			t.Errorf("%s: %s?%s, %d bytes, %q", c.m.Event, got.path, got.query, len(got.body), got.body[max(0, len(got.body)-30):])
		}
	}
	if id := runID("r"); len(id) != 36 || id[14] != '8' || id == runID("s") {
		t.Error(id)
	}
	h := newHook(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK (not found)")) })
	ch, _ := open(t, Options{Type: "healthchecks", URL: h.URL + "/slug/x?create=1"})
	if err := ch.Send(t.Context(), Message{Event: Start}); !errors.Is(err, ErrGone) || only(t, h).query != "create=1" || only(t, h).path != "/slug/x/start" {
		t.Errorf("%v %+v", err, h.all())
	}
}

func TestCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are those of a shell")
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	c, _ := open(t, Options{Type: "command", Command: `cat > "` + out + `"; echo "$FIRN_EVENT|$FIRN_JOB|$FIRN_HOST|$FIRN_KIND|$FIRN_SUBJECT" >> "` + out + `"; echo x; echo y >&2`})
	m := failed()
	m.Job = "a\x00b\n$(touch " + filepath.Join(dir, "evil") + ")"
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(out)
	first, rest, _ := strings.Cut(string(raw), "}failure|")
	if o := unmarshal(t, first+"}"); o["job"] != m.Job || !strings.HasPrefix(rest, "a b $(touch ") || !strings.HasSuffix(rest, "|nas|backup|"+m.Title()+"\n") {
		t.Errorf("%s", raw)
	}
	if _, err := os.Stat(filepath.Join(dir, "evil")); err == nil {
		t.Error("a name was run")
	}
	big := failed()
	big.Report, _ = json.Marshal(strings.Repeat("x", 500<<10))
	for line, want := range map[string]struct {
		text  string
		tries int
	}{
		"true":                                   {"", 1}, // reads nothing
		"head -c 1 >/dev/null":                   {"", 1},
		"echo said hunter22 >&2; exit 9":         {`channel "test": the command failed: `, 3},
		"/nonexistent/program":                   {`channel "test": the command failed: `, 1},
		"cat >/dev/null; exit 3; # s3cr3t-stuff": {"exit status 3", 3},
	} {
		c, w := open(t, Options{Type: "command", Command: line, Secrets: []string{"hunter22"}})
		err := c.Send(t.Context(), big)
		if (err == nil) != (want.text == "") || err != nil && (!errors.Is(err, ErrCommand) || !strings.Contains(err.Error(), want.text)) || len(w.list) != want.tries-1 {
			t.Errorf("%s: %v %v", line, err, w.list)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter22") || strings.Contains(err.Error(), "s3cr3t")) {
			t.Error(err)
		}
	}
	c, _ = open(t, Options{Type: "command", Command: "sleep 600", Timeout: time.Millisecond, Tries: 1})
	if err := c.Send(t.Context(), failed()); !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
	c, _ = open(t, Options{Type: "command", Command: "cat > " + out, Body: "{{.Job}}!"})
	if err := c.Send(t.Context(), failed()); err != nil {
		t.Fatal(err)
	}
	if raw, _ := os.ReadFile(out); string(raw) != "photos!" {
		t.Errorf("%q", raw)
	}
}

// TestAnswers has servers answer in all ways, and looks at how often they are asked, how long somebody waits, and what is said.
func TestAnswers(t *testing.T) {
	status := func(codes ...int) func(int, http.ResponseWriter, *http.Request) {
		return func(n int, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(codes[min(n, len(codes))-1])
			_, _ = fmt.Fprintf(w, "said\x1b[31m %s\n", r.URL.Path)
		}
	}
	busy := func(after string) func(int, http.ResponseWriter, *http.Request) {
		return func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				w.Header().Set("Retry-After", after)
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}
	}
	for name, c := range map[string]struct {
		answer func(int, http.ResponseWriter, *http.Request)
		want   error
		text   string
		waits  []time.Duration
	}{
		"created":          {status(201), nil, "", nil},
		"500, then well":   {status(500, 200), nil, "", []time.Duration{time.Second}},
		"500":              {status(500), ErrBusy, `: it is too busy: 500 Internal Server Error: "said [31m [secret]" (after 3 tries)`, []time.Duration{time.Second, 2 * time.Second}},
		"501":              {status(501), ErrRefused, "501 Not Implemented", nil},
		"400":              {status(400), ErrRefused, `it was refused: 400 Bad Request: "said [31m [secret]"`, nil},
		"401":              {status(401), ErrAuth, "401", nil},
		"403":              {status(403), ErrAuth, "403", nil},
		"404":              {status(404), ErrGone, "404", nil},
		"304":              {status(304), ErrRedirect, "304", nil},
		"429, seconds":     {busy("77"), nil, "", []time.Duration{77 * time.Second}},
		"429, date":        {busy(at.Add(time.Minute).UTC().Format(http.TimeFormat)), nil, "", []time.Duration{time.Minute}},
		"429, long ago":    {busy(at.Add(-time.Minute).UTC().Format(http.TimeFormat)), nil, "", []time.Duration{time.Second}},
		"429, nonsense":    {busy("soon"), nil, "", []time.Duration{time.Second}},
		"429, far too far": {busy("86400"), ErrBusy, "429", nil},
		"drops, then well": {func(n int, _ http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				panic(http.ErrAbortHandler)
			}
		}, nil, "", []time.Duration{time.Second}},
		"huge and well": {func(_ int, w http.ResponseWriter, _ *http.Request) { flood(w) }, nil, "", nil},
		"huge and ill":  {func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400); flood(w) }, ErrRefused, `xxx…"`, nil},
		"elsewhere": {func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://other.example/"+r.URL.Path, http.StatusTemporaryRedirect)
		}, ErrRedirect, "to https://other.example, which was not named", nil},
		"without message": {func(_ int, w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there", http.StatusFound) }, ErrRedirect, "without the message", nil},
		"round and round": {func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}, ErrRedirect, "again and again", nil},
		"bad address": {func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://[::1"+r.URL.Path)
			w.WriteHeader(307)
		}, ErrUnreachable, "", []time.Duration{time.Second, 2 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHook(t, c.answer)
			channel, w := open(t, Options{Type: "webhook", URL: h.URL + "/hooks/s3cr3t-t0ken"})
			r := channel.Deliver(t.Context(), failed())
			if !errors.Is(r.Err, c.want) || c.want == nil && r.Err != nil || fmt.Sprint(w.list) != fmt.Sprint(c.waits) {
				t.Fatal(r.Err, w.list)
			}
			if r.Err == nil {
				return
			}
			text := r.Err.Error()
			if !strings.HasPrefix(text, `channel "test" (`+h.URL+`/…): `) || !strings.Contains(text, c.text) || strings.Contains(text, "s3cr3t") || strings.Contains(text, "\x1b") || len(text) > 1000 {
				t.Error(text)
			}
		})
	}
}

func flood(w http.ResponseWriter) {
	for range 100 {
		if _, err := w.Write([]byte(strings.Repeat("x", 64<<10))); err != nil {
			return
		}
	}
}

// TestRedirect follows on the host that was named, with the message and what proves who we are.
func TestRedirect(t *testing.T) {
	h := newHook(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			http.Redirect(w, r, "/there", http.StatusPermanentRedirect)
		}
	})
	c, _ := open(t, Options{Type: "webhook", URL: h.URL + "/here", Token: "tk", Body: "hello"})
	if err := c.Send(t.Context(), failed()); err != nil {
		t.Fatal(err)
	}
	if got := h.all(); len(got) != 2 || got[1].path != "/there" || got[1].body != "hello" || got[1].header.Get("Authorization") != "Bearer tk" {
		t.Errorf("%+v", got)
	}
	other := newHook(t, nil)
	h = newHook(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	c, _ = open(t, Options{Type: "webhook", URL: h.URL, Headers: map[string]string{"X-Token": "tk12345"}})
	if err := c.Send(t.Context(), failed()); !errors.Is(err, ErrRedirect) || len(other.all()) != 0 {
		t.Errorf("%v %v", err, other.all())
	}
}

// TestSlow has a server that does not answer: the time limit ends it, and so does whoever gives up.
func TestSlow(t *testing.T) {
	asked, release := make(chan bool, 10), make(chan bool)
	h := newHook(t, func(int, http.ResponseWriter, *http.Request) { asked <- true; <-release })
	defer close(release)
	c, w := open(t, Options{Type: "webhook", URL: h.URL, Timeout: time.Millisecond, Tries: 2})
	if err := c.Send(t.Context(), failed()); !errors.Is(err, ErrTimeout) || len(w.list) != 1 {
		t.Error(err, w.list)
	}
	c, _ = open(t, Options{Type: "webhook", URL: h.URL})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for len(asked) > 0 {
			<-asked
		}
		cancel()
	}()
	if err := c.Send(ctx, failed()); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
}

// TestHTTPS finds out whom a channel trusts, and that it tells what is wrong.
func TestHTTPS(t *testing.T) {
	_, roots := certificate(t)
	h := startHook(t, nil, (*httptest.Server).StartTLS)
	c, _ := open(t, Options{Type: "webhook", URL: h.URL, Roots: roots})
	if err := c.Send(t.Context(), failed()); err != nil || len(h.all()) != 1 {
		t.Error(err)
	}
	for _, o := range []Options{{URL: h.URL}, {URL: strings.Replace(h.URL, "127.0.0.1", "localhost", 1), Roots: roots}} {
		o.Type = "webhook"
		c, w := open(t, o)
		if err := c.Send(t.Context(), failed()); !errors.Is(err, ErrCertificate) && !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrCertificate) && len(w.list) > 0 {
			t.Error(err, w.list)
		}
	}
	plain := newHook(t, nil)
	c, _ = open(t, Options{Type: "webhook", URL: strings.Replace(plain.URL, "http:", "https:", 1)})
	if err := c.Send(t.Context(), failed()); err == nil || len(plain.all()) > 0 {
		t.Error(err)
	}
	c, w := open(t, Options{Type: "webhook", URL: "http://127.0.0.1:1/s3cr3t-t0ken"}) // where nobody listens
	if err := c.Send(t.Context(), failed()); !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "s3cr3t") || len(w.list) != 2 {
		t.Error(err, w.list)
	}
}

func TestHookOptions(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Type: "webhook"}, "url is missing"},
		{Options{Type: "webhook", URL: "ftp://s3cr3t.example"}, "url does not begin with https:// or http://"},
		{Options{Type: "slack", URL: "https:///s3cr3t"}, "url names no host"},
		{Options{Type: "healthchecks", URL: "https://x/%zzs3cr3t"}, "url is no address"},
		{Options{Type: "healthchecks", URL: "https://x/s3\ncr3t"}, "url is no address"},
		{Options{Type: "ntfy", URL: "https://ntfy.example/"}, "url names no topic: the last part of its path is the topic"},
		{Options{Type: "webhook", URL: "https://x", Method: "GET /"}, "method is none"},
		{Options{Type: "webhook", URL: "https://x", Headers: map[string]string{"a b": "c"}}, `headers has "a b", which is no name of a header`},
		{Options{Type: "webhook", URL: "https://x", Headers: map[string]string{"A": "c\r\nd: s3cr3t"}}, `headers has several lines, or other control characters, in "A"`},
		{Options{Type: "webhook", URL: "https://x", Token: "s3cr3t\nx"}, "token has several lines, or other control characters"},
		{Options{Type: "command", Command: "  "}, "command is missing"},
	} {
		c.o.Name = "n"
		_, err := Open(c.o)
		var own *OptionError
		if !errors.As(err, &own) || err.Error() != `channel "n": `+c.want {
			t.Errorf("want %s, got %v", c.want, err)
		}
	}
}
