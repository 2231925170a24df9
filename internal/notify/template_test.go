package notify

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestTemplates(t *testing.T) {
	for source, want := range map[string]string{
		`{{.Title}}`: "backup photos on nas failed, 2 times in succession",
		`{{.Name}} {{.Event}} {{.Trouble}} {{.Key}}`:         "backup photos failure true run-7",
		`{{json .Error}} {{json .Counts.Files}}`:             `"no space left on device" 138000`,
		`{{json "<a>&\"\n"}}`:                                `"<a>&\"\n"`,
		`{{size .Counts.Bytes}} {{count .Counts.Files}}`:     "1.00 TiB 138,000",
		`{{duration .Seconds}} {{duration .Duration}}`:       "2 min 3 s 2 min 3 s",
		`{{time .Time}}`:                                     "Fri 2026-11-20 02:30:00 +0100",
		`{{time "15:04" .Time}}`:                             "02:30",
		`{{time .Next}}`:                                     "",
		`{{first 3 "äöüß"}} {{last 1 "äöüß"}}`:               "äöü ß",
		`{{first 9 "ab"}} {{first -1 "ab"}}{{last -1 "ab"}}`: "ab ",
		`{{range last 1 .Log}}{{.}}{{end}}`:                  `level=ERROR msg="no space left on device"`,
		`{{len (first -3 .Log)}}`:                            "0",
		`{{upper .Job}} {{lower "ÄB"}} {{trim " x "}}`:       "PHOTOS äb x",
		`{{oneline "a\nb"}}`:                                 "a b",
		`{{join "; " .Log}}`:                                 `level=INFO msg=begin; level=ERROR msg="no space left on device"`,
		`{{replace "o" "0" .Job}}`:                           "ph0t0s",
		`{{indent 2 "a\nb"}}`:                                "  a\n  b",
		`{{default "none" .Summary}} {{default "x" .Job}}`:   "none photos",
		`{{(parse .Report).state}}`:                          "failed",
		`{{with .Problems}}{{(index . 0).Path}}{{end}}`:      "/srv/photos/a",
	} {
		c, _ := open(t, Options{Type: "command", Command: "true", Body: source})
		n := c.prepare(failed())
		if warnings := c.fill(n); len(warnings) > 0 || n.body != want {
			t.Errorf("%s: %q %v", source, n.body, warnings)
		}
		if faults := c.Faults(); len(faults) > 0 {
			t.Errorf("%s: %v", source, faults)
		}
	}
}

// TestBrokenTemplates has all ways in which a template can fail: the notice goes out with the built-in text, and says why.
func TestBrokenTemplates(t *testing.T) {
	for source, want := range map[string]string{
		`{{.Nothing}}`:             "can't evaluate field Nothing",
		`{{`:                       "unclosed action",
		`{{nothing .}}`:            `function "nothing" not defined`,
		`{{(parse .Report).none}}`: "map has no entry",
		`{{parse .Job}}`:           "invalid character",
		`{{parse 3}}`:              "parse wants JSON",
		`{{size "x"}}`:             "no number",
		`{{size 1e300}}`:           "no number",
		`{{duration 1e300}}`:       "are no seconds",
		`{{time 3}}`:               "time wants a time",
		`{{first 1 3}}`:            "neither a text nor a list",
		`{{indent 999 "x"}}`:       "no number of spaces",
		`{{index .Log 9}}`:         "out of range",
		`{{template "x"}}`:         "not defined",
		`{{define "x"}}{{template "x"}}{{end}}{{template "x"}}`:                             "exceeded maximum template depth",
		`{{range $i := .Log}}{{range $j := 1000000}}xxxxxxxxxxxxxxxxxxxxxxxx{{end}}{{end}}`: "it prints more than 1.00 MiB",
		strings.Repeat("x", maxTemplate+1):                                                  "it is longer than 64.0 KiB",
	} {
		h := newHook(t, nil)
		c, _ := open(t, Options{Name: "phone", Type: "webhook", URL: h.URL, Body: source})
		r := c.Deliver(t.Context(), failed())
		var own *TemplateError
		if r.Err != nil || len(r.Warnings) != 1 || !errors.As(r.Warnings[0], &own) || own.Key != "body" || own.Channel != "phone" || !strings.Contains(own.Text, want) {
			t.Errorf("%.50s: %+v", source, r)
			continue
		}
		o := unmarshal(t, only(t, h).body)
		if list := o["warnings"].([]any); len(list) != 1 || list[0] != own.Error() || o["job"] != "photos" {
			t.Errorf("%.50s: %v", source, o)
		}
		if faults := c.Faults(); (len(faults) == 1) == strings.Contains(want, "map has") {
			t.Errorf("%.50s: %v", source, faults)
		}
	}
	for _, c := range []struct{ subject, body, title, text string }{
		{"{{.X}}", "", "backup photos on nas failed, 2 times in succession", "About this notice: channel \"test\": the template \"subject\" failed"},
		{"{{.X}}", "own", "backup photos on nas failed, 2 times in succession", "own\n\nchannel \"test\": the template \"subject\" failed"},
		{"own {{.Job}}\r\nBcc: x", "{{.X}}", "own photos  Bcc: x", "About this notice: channel \"test\": the template \"body\" failed"},
	} {
		s := &smtpd{}
		channel, _ := open(t, Options{Type: "mail", To: []string{"a@example.org"}, Server: s.start(t), Subject: c.subject, Body: c.body})
		r := channel.Deliver(t.Context(), failed())
		if r.Err != nil || len(r.Warnings) != 1 {
			t.Fatal(r)
		}
		if l := takeApart(t, s.got()[0].data); l.subject != c.title || !strings.Contains(l.text, c.text) {
			t.Errorf("%q %q", l.subject, l.text)
		}
	}
}

// TestTemplateSecret keeps the address out of what is said of a template that names it.
func TestTemplateSecret(t *testing.T) {
	c, _ := open(t, Options{Type: "webhook", URL: "https://x.example/s3cr3t-t0ken", Body: `{{parse "s3cr3t-t0ken"}}{{.s3}}`})
	for _, fault := range c.Faults() {
		if strings.Contains(fault.Error(), "s3cr3t") {
			t.Error(fault)
		}
	}
}

func TestSpell(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0.0 s", 0.44: "0.4 s", 9.9: "9.9 s", 59.9: "59 s", 61: "1 min 1 s", 3600: "1 h 0 min", 86399: "23 h 59 min", 200000: "2 d 7 h", -61: "-1 min 1 s"} {
		if got := spell(Message{Seconds: seconds}.Duration()); got != want {
			t.Errorf("%v: %q", seconds, got)
		}
	}
	_ = spell(math.MinInt64)
}

// TestReplaceJSON finds secrets however JSON writes them, and leaves the rest as it was, byte for byte.
func TestReplaceJSON(t *testing.T) {
	r := replacer([]string{`a"b\c`, "<x>&", "1234"})
	for in, want := range map[string]string{
		`{ "k" : "a\"b\\c", "\u003cx>\u0026":[ "x<x>&y", 12345, "\/\u00e9" ] }`: `{ "k" : "[secret]", "[secret]":[ "x[secret]y", 12345, "\/\u00e9" ] }`,
		`"\\"`: `"\\"`, `"\""`: `"\""`, `""`: `""`, `[]`: `[]`, `"12345"`: `"[secret]5"`,
	} {
		if got := string(replaceJSON([]byte(in), r)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
