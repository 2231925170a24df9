package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"firn/internal/units"
)

// maxMade is how much a template may print, in bytes.
const maxMade = 1 << 20

// maxTemplate is how long a template may be, in bytes.
const maxTemplate = 64 << 10

// errMade and errTemplate tell of limits.
var (
	errMade     = fmt.Errorf("it prints more than %v", units.Size(maxMade))
	errTemplate = fmt.Errorf("it is longer than %v", units.Size(maxTemplate))
)

// text is a template of a channel. Its data is a Message; its functions are those of text/template and
//
//	json VALUE              as JSON; a text with its quotes
//	parse REPORT            the report as maps and lists, to look into: {{(parse .Report).snapshot}}
//	size N, count N         "1.50 GiB", "138,000"
//	duration N              "2 h 3 min", of seconds or of .Duration
//	time TIME, time LAYOUT TIME   "Mon 2006-01-02 15:04:05 -0700", or as a layout of Go has it
//	first N X, last N X     the first or last N characters of a text, members of a list
//	upper, lower, trim, oneline TEXT
//	join SEPARATOR LIST, replace OLD NEW TEXT, indent N TEXT
//	default VALUE X         X, or VALUE where X is empty
//
// What is not there (a member of Message, a key of a map) is an error.
type text struct {
	c    *Channel
	key  string
	t    *template.Template // nil: there is none
	flaw error              // it is no template
}

func parseText(c *Channel, key, source string) *text {
	t := &text{c: c, key: key}
	if len(source) > maxTemplate {
		t.flaw = errTemplate
	} else if source != "" {
		t.t, t.flaw = template.New(key).Option("missingkey=error").Funcs(functions()).Parse(source)
	}
	return t
}

// render returns what the template makes of a message; nothing where there is none. The error is a *TemplateError.
func (t *text) render(m Message) (made string, err error) {
	if t.flaw != nil {
		return "", t.failed(t.flaw)
	}
	if t.t == nil {
		return "", nil
	}
	defer func() { // a template is input
		if p := recover(); p != nil {
			made, err = "", t.failed(fmt.Errorf("%v", p))
		}
	}()
	var b bounded
	if err := t.t.Execute(&b, m); err != nil {
		return "", t.failed(err)
	}
	return strings.ToValidUTF8(b.String(), string(utf8.RuneError)), nil
}

func (t *text) failed(err error) error {
	said := strings.TrimPrefix(err.Error(), "template: ")
	if errors.Is(err, errMade) {
		said = errMade.Error()
	}
	return &TemplateError{Channel: t.c.o.Name, Key: t.key, Text: cut(line(t.c.veil(said)), 500)}
}

// bounded is a text that may grow up to maxMade.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxMade {
		return 0, errMade
	}
	return b.Builder.Write(p)
}

func functions() template.FuncMap {
	return template.FuncMap{
		"json":     func(v any) (string, error) { raw, err := marshal(v); return string(raw), err },
		"parse":    parse,
		"size":     func(v any) (string, error) { n, err := number(v); return units.Size(n).String(), err },
		"count":    func(v any) (string, error) { n, err := number(v); return units.Count(int64(n)), err },
		"duration": spellAny,
		"time":     formatTime,
		"first": func(n int, v any) (any, error) {
			return part(v, func(length int) (int, int) { return 0, min(n, length) })
		},
		"last": func(n int, v any) (any, error) {
			return part(v, func(length int) (int, int) { return max(0, length-n), length })
		},
		"upper":   strings.ToUpper,
		"lower":   strings.ToLower,
		"trim":    strings.TrimSpace,
		"oneline": line,
		"join":    func(by string, list []string) string { return strings.Join(list, by) },
		"replace": func(old, with, s string) string { return strings.ReplaceAll(s, old, with) },
		"indent":  indent,
		"default": func(other, v any) any {
			if truth, _ := template.IsTrue(v); truth {
				return v
			}
			return other
		},
	}
}

func parse(v any) (any, error) {
	var raw []byte
	switch v := v.(type) {
	case json.RawMessage:
		raw = v
	case string:
		raw = []byte(v)
	default:
		return nil, fmt.Errorf("parse wants JSON, not a %T", v)
	}
	var made any
	err := json.Unmarshal(raw, &made)
	return made, err
}

// number reads any kind of number, within the limits of int64.
func number(v any) (float64, error) {
	f := math.NaN()
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		f = float64(r.Int())
	case r.CanUint():
		f = float64(r.Uint())
	case r.CanFloat():
		f = r.Float()
	}
	if math.IsNaN(f) || math.Abs(f) >= math.MaxInt64 {
		return 0, fmt.Errorf("a %T is no number that can be written", v)
	}
	return f, nil
}

func spellAny(v any) (string, error) {
	if d, ok := v.(time.Duration); ok {
		return spell(d), nil
	}
	seconds, err := number(v)
	if err != nil || math.Abs(seconds) > units.MaxDuration.Seconds() {
		return "", fmt.Errorf("%v are no seconds", v)
	}
	return spell(time.Duration(seconds * float64(time.Second))), nil
}

func formatTime(args ...any) (string, error) {
	switch len(args) {
	case 1:
		if t, ok := args[0].(time.Time); ok {
			return moment(t), nil
		}
	case 2:
		layout, ok := args[0].(string)
		if t, isTime := args[1].(time.Time); ok && isTime {
			return t.Format(layout), nil
		}
	}
	return "", errors.New("time wants a time, and before it, if anything, a layout")
}

// part is a stretch of a text, in characters, or of a list.
func part(v any, where func(length int) (from, to int)) (any, error) {
	if s, ok := v.(string); ok {
		runes := []rune(s)
		from, to := where(len(runes))
		if from > to || to < 0 {
			return "", nil
		}
		return string(runes[from:to]), nil
	}
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Slice {
		return nil, fmt.Errorf("a %T is neither a text nor a list", v)
	}
	from, to := where(r.Len())
	if from > to || to < 0 {
		from, to = 0, 0
	}
	return r.Slice(from, to).Interface(), nil
}

func indent(n int, s string) (string, error) {
	if n < 0 || n > 100 {
		return "", fmt.Errorf("%d is no number of spaces", n)
	}
	space := strings.Repeat(" ", n)
	return space + strings.ReplaceAll(s, "\n", "\n"+space), nil
}
