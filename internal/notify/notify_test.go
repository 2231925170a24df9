package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// everything makes a channel of each type, and says what went out over all of them, decoded.
func everything(t testing.TB, o Options) (channels []*Channel, out func() string) {
	s := &smtpd{}
	h := newHook(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	file := filepath.Join(t.TempDir(), "out")
	o.Server, o.To, o.URL, o.Command = s.start(t), []string{"a@example.org"}, h.URL+"/hooks/s3cr3t-t0ken", `cat >> "`+file+`"; env | grep FIRN_ >> "`+file+`"`
	for _, o.Type = range Types() {
		if o.Type == "command" && runtime.GOOS == "windows" {
			continue
		}
		o.Name = o.Type
		c, _ := open(t, o)
		channels = append(channels, c)
	}
	return channels, func() string {
		var b strings.Builder
		for _, m := range s.got() {
			b.WriteString(m.data)
			l := takeApart(t, m.data)
			b.WriteString(fmt.Sprint(l))
		}
		for _, r := range h.all() {
			b.WriteString(fmt.Sprint(r.method, r.query, r.header, r.body))
			var o any
			if json.Unmarshal([]byte(r.body), &o) == nil {
				b.WriteString(fmt.Sprint(o))
			}
		}
		raw, _ := os.ReadFile(file)
		b.Write(raw)
		return b.String()
	}
}

// fillStrings puts a text into every text of a message.
func fillStrings(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() != reflect.TypeFor[Event]() {
			v.SetString("before " + text + " after")
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			fillStrings(v.Field(i), text)
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			raw, _ := json.Marshal(map[string]any{"a": "x" + text, text: []string{text}})
			v.SetBytes(raw)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			fillStrings(v.Index(i), text)
		}
	}
}

// TestSecretsStay plants secrets in every text of a message, and looks for them in all that goes out and in all that is said.
func TestSecretsStay(t *testing.T) {
	secrets := []string{"hunter22", `pa"ss\wörd`, "a/b+c d=<&>", "two\nlines", "12345678"}
	for _, own := range []bool{false, true} {
		o := Options{Secrets: secrets, User: "", Token: "t0ken-of-mine"}
		if own {
			o.Subject, o.Body = "{{.Job}} {{.Error}}", "{{json .}} {{.Text}} {{.Run}} {{range .Log}}{{.}}{{end}} {{printf \"%q %s %x\" .Error .Report .Hint}}"
		}
		channels, out := everything(t, o)
		var said []string
		for _, event := range []Event{Start, Failure} {
			for _, s := range secrets {
				m := Message{Event: event, Time: at, Seconds: 12345678}
				fillStrings(reflect.ValueOf(&m).Elem(), s)
				for _, r := range SendAll(t.Context(), channels, m) {
					if r.Err != nil {
						t.Fatal(r.Err)
					}
					said = append(said, fmt.Sprint(r.Warnings))
				}
			}
		}
		text := out()
		if strings.Count(text, hidden) < 500 {
			t.Error("nothing was hidden")
		}
		text = strings.ReplaceAll(text, "Bearer t0ken-of-mine", "")
		text = strings.NewReplacer(`"topic":"s3cr3t-t0ken"`, "", "topic:s3cr3t-t0ken", "").Replace(text) // where these belong
		for _, s := range append(secrets[:4:4], "t0ken-of-mine", "s3cr3t-t0ken") {
			for _, form := range []string{s, quoted(s)} {
				for what, where := range map[string]string{"sent": text, "said": strings.Join(said, "\n")} {
					if i := strings.Index(where, form); i >= 0 {
						t.Errorf("%q is %s: %q", s, what, where[max(0, i-100):min(len(where), i+100)])
					}
				}
			}
		}
	}
}

// TestHeadersStay has names that try to add headers, lines and recipients.
func TestHeadersStay(t *testing.T) {
	for _, evil := range []string{"x\r\nBcc: evil@example.org\r\n\r\nbody", "x\nSubject: evil", "x\r.\r\nMAIL FROM:<evil@example.org>", "\x00\x1b[2J\u2028x\u202ey", "=?utf-8?q?=0D=0ABcc:_evil?="} {
		checkHeaders(t, evil)
	}
}

func checkHeaders(t testing.TB, evil string) {
	m := Message{Event: Failure, Time: at, Seconds: 1}
	fillStrings(reflect.ValueOf(&m).Elem(), evil)
	m.Report, m.Refers = nil, m.Refers+" other"
	c, _ := open(t, Options{Type: "mail", To: []string{"a@example.org"}, Server: "localhost", Subject: "{{.Job}} " + strings.NewReplacer("{", "", "}", "").Replace(evil)})
	n := c.prepare(m)
	n.now = at
	if w := c.fill(n); len(w) > 0 {
		t.Fatal(w)
	}
	made, err := c.sender.(*post).compose(n)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if _, err := made.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	l := takeApart(t, b.String())
	var names []string
	for name, values := range l.header {
		names = append(names, name)
		if len(values) != 1 {
			t.Errorf("%s: %q", name, values)
		}
	}
	slices.Sort(names)
	want := "Auto-Submitted Content-Transfer-Encoding Content-Type Date From Importance In-Reply-To Message-Id Mime-Version Priority References Subject To X-Firn-Event X-Msmail-Priority X-Priority"
	if strings.Join(names, " ") != want || l.header.Get("To") != "<a@example.org>" || strings.ContainsAny(l.subject, "\r\n\x00\x1b\u2028\u202e") {
		t.Errorf("%q: %q\n%s", evil, names, b.String())
	}
	for one := range strings.SplitSeq(b.String(), "\r\n") {
		if strings.ContainsAny(one, "\r\n") || len(one) > 998 {
			t.Errorf("%q: %q", evil, one)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("x\r\nBcc: a")
	f.Add("é\xff\u2028" + strings.Repeat("w", 300))
	f.Fuzz(func(t *testing.T, evil string) { checkHeaders(t, evil) })
}

// TestSendAll has channels that work, fail and hang side by side: none waits for another.
func TestSendAll(t *testing.T) {
	well, asked, release := newHook(t, nil), make(chan bool, 1), make(chan bool)
	ill := newHook(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	silent := newHook(t, func(int, http.ResponseWriter, *http.Request) { asked <- true; <-release })
	var channels []*Channel
	for _, h := range []*hook{silent, ill, well, well} {
		c, _ := open(t, Options{Type: "webhook", URL: h.URL})
		channels = append(channels, c)
	}
	go func() { // who hangs goes on only once all the others were heard
		<-asked
		for tick := time.NewTicker(time.Millisecond); len(well.all()) < 2 || len(ill.all()) < 3; {
			<-tick.C
		}
		close(release)
	}()
	r := SendAll(t.Context(), channels, failed())
	if r[0].Err != nil || !errors.Is(r[1].Err, ErrBusy) || r[1].Channel != channels[1] || r[2].Err != nil || r[3].Err != nil {
		t.Errorf("%+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	free := make(chan bool)
	deaf := newHook(t, func(int, http.ResponseWriter, *http.Request) { cancel(); <-free })
	defer close(free)
	c, _ := open(t, Options{Type: "webhook", URL: deaf.URL})
	if r := SendAll(ctx, []*Channel{c}, failed()); !errors.Is(r[0].Err, ErrStopped) {
		t.Errorf("%+v", r)
	}
	if len(SendAll(ctx, nil, failed())) != 0 {
		t.Error("nobody answered")
	}
}

// TestBackoff doubles what is waited, up to a limit, with a part left to chance.
func TestBackoff(t *testing.T) {
	h := newHook(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	for chance, want := range map[float64]string{1: "[1s 2s 4s 8s 16s 30s 30s]", 0: "[62.5ms 125ms 250ms 500ms 1s 1.875s 1.875s]"} {
		c, w := open(t, Options{Type: "webhook", URL: h.URL, Tries: 8, Rand: func() float64 { return chance }})
		r := c.Deliver(t.Context(), failed())
		if r.Tries != 8 || fmt.Sprint(w.list) != want || !strings.HasSuffix(r.Err.Error(), "(after 8 tries)") {
			t.Errorf("%v %v", w.list, r.Err)
		}
	}
	c, _ := open(t, Options{Type: "webhook", URL: h.URL, Tries: 1000})
	if r := c.Deliver(t.Context(), failed()); r.Tries != maxTries {
		t.Error(r.Tries)
	}
}

// TestLimits sends far too much.
func TestLimits(t *testing.T) {
	long := strings.Repeat("ö", 5000)
	m := Message{Event: Failure, Time: at}
	fillStrings(reflect.ValueOf(&m).Elem(), long)
	m.Log, m.Problems = slices.Repeat([]string{long}, 5000), slices.Repeat([]Problem{{long, long}}, 5000)
	m.Report, _ = json.Marshal(long + strings.Repeat("x", MaxReport))
	channels, out := everything(t, Options{})
	for _, r := range SendAll(t.Context(), channels, m) {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
	if text := out(); len(text) > 20<<20 || !strings.Contains(text, "is too long to be sent") {
		t.Errorf("%d bytes", len(text))
	}
	if len(m.Log) != 5000 || m.Log[0] != long {
		t.Error("the caller's message was changed")
	}
}

// TestStrangeMessages has what JSON cannot say: it goes out all the same.
func TestStrangeMessages(t *testing.T) {
	for name, m := range map[string]Message{
		"empty":       {},
		"no number":   {Event: Failure, Seconds: math.NaN(), Cost: math.Inf(1), Job: "j"},
		"no time":     {Event: Failure, Time: time.Unix(1<<55, 0), Job: "j"},
		"no report":   {Event: Failure, Report: json.RawMessage("{"), Job: "j"},
		"no unicode":  {Event: "\xff", Job: "j\xff", Log: []string{"\xff"}},
		"no such one": {Event: "exploded", Job: "j"},
	} {
		channels, out := everything(t, Options{})
		for _, r := range SendAll(t.Context(), channels, m) {
			if r.Err != nil {
				t.Errorf("%s: %v", name, r.Err)
			}
		}
		if !strings.Contains(out(), `"id":`) {
			t.Errorf("%s: %s", name, out())
		}
	}
}

// TestSideBySide uses one channel from many sides, for the race detector.
func TestSideBySide(t *testing.T) {
	channels, out := everything(t, Options{Subject: "{{.Job}}", Token: "x"})
	done := make(chan []Result)
	for i := range 8 {
		go func() {
			m := failed()
			m.ID, m.Job = fmt.Sprint(i), fmt.Sprint("job", i)
			done <- SendAll(t.Context(), channels, m)
		}()
	}
	for range 8 {
		for _, r := range <-done {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
	}
	text := out()
	for i := range 8 {
		if !strings.Contains(text, fmt.Sprint("job", i)) {
			t.Error(i)
		}
	}
}
