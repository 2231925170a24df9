package notify

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wneessen/go-mail"
)

var update = flag.Bool("update", false, "write the golden files")

// letter is a mail, taken apart by other code than that which made it.
type letter struct {
	header  netmail.Header
	subject string
	text    string
	files   map[string]string
}

func takeApart(t testing.TB, data string) letter {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(data))
	if err != nil {
		t.Fatalf("%v: %q", err, data)
	}
	l := letter{header: m.Header, files: map[string]string{}}
	if l.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		l.text = decoded(t, m.Header.Get("Content-Transfer-Encoding"), m.Body)
		return l
	}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return l
		}
		if err != nil {
			t.Fatal(err)
		}
		content := decoded(t, p.Header.Get("Content-Transfer-Encoding"), p)
		if name := p.FileName(); name != "" {
			l.files[name] = content
		} else {
			l.text = content
		}
	}
}

func decoded(t testing.TB, how string, r io.Reader) string {
	t.Helper()
	switch how {
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(raw), "\r\n", "\n")
}

// TestGoldenMails compares mails with files, byte for byte, and with what they are made of.
func TestGoldenMails(t *testing.T) {
	recovered := failed()
	recovered.ID, recovered.Refers, recovered.Event, recovered.Error, recovered.Hint, recovered.ExitCode, recovered.Log, recovered.Summary = "run-8", "run-7", Recovered, "", "", 0, nil, "12 files new, 1.2 GiB sent"
	missed := Message{ID: "m", Event: Missed, Host: "nas", Job: "prune@main", Kind: "prune", Time: at, Missed: 3, Since: at.AddDate(0, 0, -3), Next: at.AddDate(0, 0, 1)}
	strange := failed()
	strange.Job, strange.Host, strange.Error = "Bücher für Jörg – ein sehr langer Name, der in keine einzelne Zeile eines Kopfes passt 📚", "Häuschen", strings.Repeat("lang ", 100)+"\n.\nEnde"
	for name, m := range map[string]Message{"failure": failed(), "recovered": recovered, "missed": missed, "strange": strange, "success": {ID: "s", Event: Success, Host: "nas", Job: "db", Time: at, Seconds: 0.5}, "test": {ID: "t", Event: Test, Host: "nas", Time: at}} {
		t.Run(name, func(t *testing.T) {
			s := &smtpd{}
			c, _ := open(t, Options{Type: "mail", To: []string{"Ada <ada@example.org>", "bob@example.org"}, From: "Sicherung <firn@example.org>", Server: s.start(t)})
			if r := c.Deliver(t.Context(), m); r.Err != nil || len(r.Warnings) > 0 {
				t.Fatal(r)
			}
			got := s.got()[0]
			if got.from != "firn@example.org" || !slices.Equal(got.to, []string{"ada@example.org", "bob@example.org"}) {
				t.Errorf("%q %q", got.from, got.to)
			}
			file := filepath.Join("testdata", name+".eml")
			if *update {
				if err := os.WriteFile(file, []byte(strings.ReplaceAll(got.data, "\r\n", "\n")), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || strings.ReplaceAll(string(want), "\r\n", "\n") != strings.ReplaceAll(got.data, "\r\n", "\n") {
				t.Errorf("%v\n%s", err, got.data)
			}
			l := takeApart(t, got.data)
			if l.subject != m.Title() || l.text != m.Text() || l.files["report.json"] != string(m.Report) {
				t.Errorf("%q\n%q\n%q", l.subject, l.text, l.files)
			}
			if date, err := l.header.Date(); err != nil || !date.Equal(at) {
				t.Errorf("%v %v", date, err)
			}
			for number, one := range strings.Split(got.data, "\r\n") {
				if len(one) > 300 {
					t.Errorf("line %d has %d bytes", number, len(one))
				}
			}
		})
	}
}

// TestThread has a recovery follow its failure, and a message that is sent again keep its name.
func TestThread(t *testing.T) {
	s := &smtpd{}
	c, _ := open(t, Options{Type: "mail", To: []string{"a@example.org"}, Server: s.start(t)})
	first := failed()
	first.ID, first.Failures = "", 1
	second, missed, then := first, first, first
	second.Failures, second.Time = 2, at.AddDate(0, 0, 1)
	missed.Event, missed.Missed, missed.Failures, missed.Time = Missed, 2, 4, at.AddDate(0, 0, 3)
	then.Event, then.Failures, then.Time = Recovered, 4, at.AddDate(0, 0, 4)
	next := first // trouble of another time
	next.LastSuccess, next.Time = then.Time, at.AddDate(0, 0, 9)
	named := then
	named.ID, named.Refers = "own", first.Key()
	fine := then
	fine.Event = Success
	for _, m := range []Message{first, second, missed, then, next, named, fine, first} {
		if err := c.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	var ids, answers []string
	for _, m := range s.got() {
		l := takeApart(t, m.data)
		ids, answers = append(ids, l.header.Get("Message-Id")), append(answers, l.header.Get("In-Reply-To"))
		if l.header.Get("References") != l.header.Get("In-Reply-To") || !strings.HasSuffix(l.header.Get("Message-Id"), "@example.org>") {
			t.Error(l.header)
		}
	}
	if want := []string{"", ids[0], ids[0], ids[0], "", ids[0], "", ""}; !slices.Equal(answers, want) || ids[7] != ids[0] {
		t.Errorf("%q\n%q", ids, answers)
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 7 {
		t.Errorf("%q", ids)
	}
}

// TestEncryption finds out when a mail goes in the clear, and whom it trusts.
func TestEncryption(t *testing.T) {
	cert, roots := certificate(t)
	for name, c := range map[string]struct {
		s    *smtpd
		tls  string
		know bool
		want error
		safe bool
	}{
		"starttls":               {&smtpd{cert: &cert}, "starttls", true, nil, true},
		"starttls, not offered":  {&smtpd{}, "starttls", true, ErrPlain, false},
		"starttls, refused":      {&smtpd{cert: &cert, act: says("STARTTLS", "454 not now")}, "starttls", true, ErrAuth, false},
		"starttls, unknown cert": {&smtpd{cert: &cert}, "starttls", false, ErrCertificate, false},
		"tls":                    {&smtpd{cert: &cert, implicit: true}, "tls", true, nil, true},
		"tls, unknown cert":      {&smtpd{cert: &cert, implicit: true}, "tls", false, ErrCertificate, false},
		"tls, not spoken":        {&smtpd{}, "tls", true, ErrCertificate, false},
		"none":                   {&smtpd{cert: &cert}, "none", true, nil, false},
		"not said, on loopback":  {&smtpd{cert: &cert}, "", true, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.s
			o := Options{Type: "mail", To: []string{"a@example.org"}, Server: s.start(t), TLS: c.tls, Tries: 1}
			if c.know {
				o.Roots = roots
			}
			channel, _ := open(t, o)
			err := channel.Send(t.Context(), failed())
			if !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Fatal(err)
			}
			if c.want == nil && s.got()[0].tls != c.safe || c.want != nil && len(s.got()) > 0 {
				t.Errorf("%+v", s.got())
			}
		})
	}
}

func says(stage, answer string) func(string, string, int) string {
	return func(s, _ string, _ int) string {
		if s == stage {
			return answer
		}
		return ""
	}
}

// TestLogin has the server choose how, and keeps passwords out of what is not encrypted.
func TestLogin(t *testing.T) {
	cert, roots := certificate(t)
	for name, c := range map[string]struct {
		auth, pass, tls string
		want            error
		how             string
	}{
		"plain":           {"PLAIN LOGIN", "p w", "starttls", nil, "PLAIN"},
		"login":           {"LOGIN", "p w", "starttls", nil, "LOGIN"},
		"unknown ones":    {"GSSAPI LOGIN", "p w", "tls", nil, "LOGIN"},
		"none offered":    {"", "p w", "starttls", ErrAuth, ""},
		"none known":      {"GSSAPI", "p w", "starttls", ErrAuth, ""},
		"wrong":           {"PLAIN", "wrong", "starttls", ErrAuth, ""},
		"in the clear":    {"PLAIN", "p w", "none", nil, "PLAIN"},
		"login, in clear": {"LOGIN", "p w", "", nil, "LOGIN"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &smtpd{cert: &cert, implicit: c.tls == "tls", auth: c.auth, user: "ada", pass: "p w"}
			channel, w := open(t, Options{Type: "mail", To: []string{"a@example.org"}, Server: s.start(t), TLS: c.tls, Roots: roots, User: "ada", Password: c.pass})
			err := channel.Send(t.Context(), failed())
			if !errors.Is(err, c.want) || c.want == nil && err != nil || len(w.list) > 0 {
				t.Fatal(err, w.list)
			}
			if c.want == nil && s.got()[0].auth != c.how {
				t.Errorf("%q", s.got()[0].auth)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if wire := s.wire.String(); c.tls == "starttls" && strings.Contains(wire, "AUTH") && strings.Index(wire, "AUTH") < strings.Index(wire, "STARTTLS") {
				t.Error("logged in before the connection was encrypted")
			}
		})
	}
	far, _ := open(t, Options{Type: "mail", To: []string{"a@example.org"}, Server: "mail.example.org", TLS: "none", User: "ada", Password: "x"})
	for _, m := range far.sender.(*post).mechanisms() {
		if strings.Contains(string(m), "PLAIN") || strings.Contains(string(m), "LOGIN") {
			t.Errorf("%s in the clear, to another machine", m)
		}
	}
	if p := far.sender.(*post); p.port != 25 || p.judge(mail.ErrNoSupportedAuthDiscovered).reason != ErrAuth {
		t.Error(p)
	}
}

// TestRecipients has a server refuse some of them: the others get the mail, once.
func TestRecipients(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string][]string // by address, try by try
		want    string              // the error; "": none
		got     map[string]int
		waits   int
	}{
		"all well":        {nil, "", map[string]int{"a@x": 1, "b@x": 1, "c@x": 1}, 0},
		"one refused":     {map[string][]string{"b@x": {"550 5.1.1 who is b@x?"}}, `a recipient was refused: b@x (2 of 3 got it): "5.1.1 who is b@x?"`, map[string]int{"a@x": 1, "c@x": 1}, 0},
		"all refused":     {map[string][]string{"a@x": {"550 no"}, "b@x": {"550 no"}, "c@x": {"550 no"}}, "0 of 3", nil, 0},
		"one later":       {map[string][]string{"b@x": {"451 later"}}, "", map[string]int{"a@x": 1, "b@x": 1, "c@x": 1}, 1},
		"always later":    {map[string][]string{"b@x": {"451 later", "451 later", "451 later"}}, "b@x (2 of 3 got it): \"later\" (after 3 tries)", map[string]int{"a@x": 1, "c@x": 1}, 2},
		"later and never": {map[string][]string{"b@x": {"451 later"}, "c@x": {"550 no"}}, "c@x (2 of 3 got it)", map[string]int{"a@x": 1, "b@x": 1}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked := map[string]int{}
			s := &smtpd{act: func(stage, args string, _ int) string {
				to := between(args)
				if stage != "RCPT" {
					return ""
				}
				asked[to]++
				if list := c.answers[to]; asked[to] <= len(list) {
					return list[asked[to]-1]
				}
				return ""
			}}
			channel, w := open(t, Options{Type: "mail", To: []string{"a@x", "b@x", "c@x"}, Server: s.start(t)})
			err := channel.Send(t.Context(), failed())
			if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrRecipient)) || len(w.list) != c.waits {
				t.Errorf("%v, %v", err, w.list)
			}
			got := map[string]int{}
			for _, m := range s.got() {
				for _, to := range m.to {
					got[to]++
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.got) {
				t.Errorf("got %v", got)
			}
		})
	}
}

var stages = []string{"connect", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "content", "QUIT"}

// TestDrops has the server hang up, or be too busy, once at each stage: the mail comes with the next try; twice only where the first had been taken without a word.
func TestDrops(t *testing.T) {
	cert, roots := certificate(t)
	for _, stage := range stages {
		for _, what := range []string{"drop", "421 4.3.2 too busy"} {
			t.Run(stage+" "+what[:3], func(t *testing.T) {
				s := &smtpd{cert: &cert, auth: "PLAIN", user: "ada", pass: "pw", act: func(name, _ string, n int) string {
					if name == stage && n == 1 {
						return what
					}
					return ""
				}}
				c, w := open(t, Options{Type: "mail", To: []string{"a@example.org"}, Server: s.start(t), TLS: "starttls", Roots: roots, User: "ada", Password: "pw"})
				r := c.Deliver(t.Context(), failed())
				if r.Err != nil {
					t.Fatal(r.Err)
				}
				tries, mails := 2, 1
				if stage == "QUIT" {
					tries = 1
				}
				if stage == "content" && what == "drop" {
					mails = 2
				}
				if got := s.got(); r.Tries != tries || len(w.list) != tries-1 || len(got) != mails || takeApart(t, got[0].data).header.Get("Message-Id") != takeApart(t, got[mails-1].data).header.Get("Message-Id") {
					t.Errorf("%d tries, %v, %d mails", r.Tries, w.list, len(got))
				}
			})
		}
	}
}

// TestRefusals has the server say no for good at each stage: it is asked once.
func TestRefusals(t *testing.T) {
	for _, stage := range stages {
		if stage == "QUIT" || stage == "STARTTLS" {
			continue
		}
		t.Run(stage, func(t *testing.T) {
			s := &smtpd{auth: "PLAIN", user: "ada", pass: "pass word", act: says(stage, "554 5.7.1 no, pass word")}
			c, w := open(t, Options{Type: "mail", To: []string{"a@example.org"}, Server: s.start(t), User: "ada", Password: "pass word"})
			r := c.Deliver(t.Context(), failed())
			var e *Error
			if !errors.As(r.Err, &e) || e.Temporary || r.Tries != 1 || len(w.list) > 0 || len(s.got()) > 0 {
				t.Fatalf("%+v", r)
			}
			if text := r.Err.Error(); strings.Contains(text, "pass word") || stage != "EHLO" && !strings.Contains(text, "5.7.1 no, [secret]") {
				t.Error(text)
			}
		})
	}
}

// TestHangs has the server fall silent at each stage: whoever gives up is free at once, and so does the time limit end it.
func TestHangs(t *testing.T) {
	cert, roots := certificate(t)
	for _, stage := range stages {
		t.Run(stage, func(t *testing.T) {
			s := &smtpd{cert: &cert, auth: "LOGIN", user: "ada", pass: "pw", act: says(stage, "hang")}
			o := Options{Type: "mail", To: []string{"a@example.org"}, Server: s.start(t), TLS: "starttls", Roots: roots, User: "ada", Password: "pw"}
			c, _ := open(t, o)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-s.hung; cancel() }()
			err := c.Send(ctx, failed())
			if stage == "QUIT" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrStopped) || errors.Is(err, ErrTimeout) {
				t.Error(err)
			}
			o.Timeout, o.Tries = time.Millisecond, 2 // however far it gets in that
			c, w := open(t, o)
			if err = c.Send(t.Context(), failed()); !errors.Is(err, ErrTimeout) || len(w.list) != 1 {
				t.Error(err, w.list)
			}
		})
	}
}

// TestMailOptions has settings that cannot be.
func TestMailOptions(t *testing.T) {
	ok := Options{Name: "m", Type: "mail", To: []string{"a@example.org"}, Server: "mail.example.org"}
	for want, change := range map[string]func(*Options){
		`channel "m": server is missing`:                              func(o *Options) { o.Server = "" },
		`channel "m": server is no host, or host:port`:                func(o *Options) { o.Server = "https://x/" },
		`channel "m": server has no port from 1 to 65535`:             func(o *Options) { o.Server = "x:99999" },
		`channel "m": to wants 1 to 100 addresses`:                    func(o *Options) { o.To = nil },
		`channel "m": to has "a@b\r\nBcc: c", which is no address`:    func(o *Options) { o.To = []string{"a@b\r\nBcc: c"} },
		`channel "m": from is "me", which is no address`:              func(o *Options) { o.From = "me" },
		`channel "m": tls is none of starttls, tls, none`:             func(o *Options) { o.TLS = "ssl" },
		`channel "m": user is missing, though there is a password`:    func(o *Options) { o.Password = "x" },
		`channel "m": type is none of ` + strings.Join(Types(), ", "): func(o *Options) { o.Type = "fax" },
	} {
		o := ok
		change(&o)
		_, err := Open(o)
		var own *OptionError
		if !errors.As(err, &own) || err.Error() != want {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	for server, c := range map[string]struct{ tls, place string }{
		"mail.example.org": {"", "mail.example.org:587"}, "localhost": {"", "localhost:25"}, "::1": {"", "[::1]:25"}, "mail.example.org:2525": {"none", "mail.example.org:2525"},
		"[2001:db8::1]": {"tls", "[2001:db8::1]:465"}, "[2001:db8::1]:26": {"tls", "[2001:db8::1]:26"},
	} {
		o := ok
		o.Server, o.TLS = server, c.tls
		if channel, err := Open(o); err != nil || channel.Place() != c.place {
			t.Errorf("%s: %v", server, err)
		}
	}
	for user, want := range map[string]string{"": "\"firn\" <a@example.org>", "ada": "\"firn\" <a@example.org>", "ada@example.net": "\"firn\" <ada@example.net>"} {
		o := ok
		o.User = user
		c, err := Open(o)
		if err != nil || c.sender.(*post).from.String() != want {
			t.Errorf("%q: %v", user, err)
		}
	}
}

// TestMailDown has nobody listen: it is tried again, and said in the end.
func TestMailDown(t *testing.T) {
	const place = "127.0.0.1:1"
	c, w := open(t, Options{Type: "mail", To: []string{"a@example.org"}, Server: place, User: "ada", Password: "pass word"})
	err := c.Send(t.Context(), failed())
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ErrUnreachable) || !e.Temporary || e.Tries != 3 || e.Place != place || len(w.list) != 2 || !strings.HasSuffix(err.Error(), "(after 3 tries)") {
		t.Error(err, w.list)
	}
}
