package config

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/retain"
	"firn/internal/schedule"
	"firn/internal/units"
)

// str reads text, with variables put in.
func (b *builder) str(v *node) (string, bool) {
	if v.kind != isText {
		if v.kind == isTable || v.kind == isArray {
			b.bad(v, "", "%s, want text", kindNames[v.kind])
		} else {
			b.hint(v, "write it in quotes", "%s, want text", kindNames[v.kind])
		}
		return "", false
	}
	out, err := expand(v.text, b.env)
	if err == nil && strings.ContainsRune(out, 0) {
		err = errors.New("a NUL in text")
	}
	if err != nil {
		b.bad(v, "", "%s", err)
		return "", false
	}
	b.remember(out, v.text)
	return out, true
}

// remember keeps what stood in the file for what came of it.
func (b *builder) remember(out, said string) {
	if out == said {
		return
	}
	if strings.Contains(strings.ReplaceAll(said, "$$", ""), "${") || strings.HasPrefix(said, "~") {
		if b.cfg.said == nil {
			b.cfg.said = map[string]string{}
		}
		b.cfg.said[out] = said
	}
}

// maxText bounds a text with its variables put in, in bytes.
const maxText = 64 << 10

// expand puts variables in: ${NAME}, ${NAME:-default}, and $ for $$.
func expand(text string, env func(string) (string, bool)) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' || i+1 == len(text) || text[i+1] != '$' && text[i+1] != '{' {
			out.WriteByte(text[i])
			continue
		}
		i++
		if text[i] == '$' {
			out.WriteByte('$')
			continue
		}
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			return "", errors.New("${ without }; $$ is a dollar")
		}
		name, otherwise, has := strings.Cut(text[i+1:i+end], ":-")
		if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return "", fmt.Errorf("%q is no name of a variable; $$ is a dollar", clip(name))
		}
		value, ok := "", false
		if env != nil {
			value, ok = env(name)
		}
		switch {
		case ok && value != "":
			out.WriteString(value)
		case has:
			out.WriteString(otherwise)
		case !ok:
			return "", fmt.Errorf("the variable %s is not set; ${%s:-default} says what holds then", name, name)
		}
		i += end
		if out.Len() > maxText {
			return "", fmt.Errorf("longer than %d bytes with its variables put in", maxText)
		}
	}
	return out.String(), nil
}

// scalar reads text, a number, or true or false, as text.
func (b *builder) scalar(v *node) (string, bool) {
	switch v.kind {
	case isInteger, isFloat, isBool:
		return strings.ReplaceAll(v.text, "_", ""), true
	}
	return b.str(v)
}

// value reads the value of a key into the member of o that belongs to it.
func (b *builder) value(k *key, name string, v *node, o any) {
	if k.at == nil {
		return // who reads the table has read it
	}
	to := k.at(o)
	switch k.form {
	case list, words, paths:
		b.list(k, v, to.(*[]string))
	case yes:
		if v.kind != isBool {
			b.bad(v, "", "%s, want true or false", kindNames[v.kind])
			return
		}
		*to.(*bool) = v.text == "true"
	case count:
		b.count(k, v, to)
	case policy:
		b.policy(k, v, to.(*retain.Policy))
	case cycle:
		b.cycleOf(v, to.(*retain.Cycle))
	case upkeep:
		b.upkeep(k, v, to.(**Upkeep))
	case lines:
		b.lines(v, to.(*map[string]string))
	case percent:
		b.percent(v, to.(*float64))
	case size:
		if said, ok := b.scalar(v); ok {
			if n, err := units.ParseSize(said); err != nil || n == 0 {
				b.bad(v, "", "%q is no size: want one such as 500M or 2G", clip(said))
			} else {
				*to.(*units.Size) = n
			}
		}
	case money:
		if said, ok := b.scalar(v); ok {
			if f, err := strconv.ParseFloat(said, 64); err != nil || f < 0 || math.IsInf(f, 0) || math.IsNaN(f) {
				b.bad(v, "", "%q is no sum of money: want one such as 2.50", clip(said))
			} else {
				*to.(*string) = said
			}
		}
	default:
		if said, ok := b.str(v); ok {
			b.text(k, name, v, said, to)
		}
	}
}

// text reads what is written as text.
func (b *builder) text(k *key, name string, v *node, said string, to any) {
	switch k.form {
	case word:
		if !slices.Contains(k.words, said) {
			b.bad(v, nearest(said, k.words), "%q: want %s", clip(said), strings.Join(k.words, ", "))
			return
		}
		*to.(*string) = said
	case file:
		if p, ok := b.path(v, said); ok {
			*to.(*string) = p
		}
	case place:
		if p, ok := b.location(v, said); ok {
			*to.(*string) = p
		}
	case secret:
		b.secret(k, name, v, said, to.(*Secret))
	case length, age, ageText:
		b.duration(k, v, said, to)
	case moments, every, window, rate:
		b.times(k, v, said, to)
	default:
		if said == "" {
			b.bad(v, "", "empty")
			return
		}
		b.inlined(k, v, said)
		*to.(*string) = said
	}
}

// inlined tells of a secret inside a URL.
func (b *builder) inlined(k *key, v *node, said string) {
	if !strings.Contains(said, "://") || strings.Contains(v.text, "${") {
		return
	}
	if u, err := url.Parse(said); err == nil && u.User != nil {
		if _, has := u.User.Password(); has {
			b.hint(v, "write it into a file, and name that: "+k.name+"_file", "a secret does not stand in the configuration")
		}
	}
}

func (b *builder) duration(k *key, v *node, said string, to any) {
	switch k.form {
	case length:
		d, err := units.ParseDuration(said)
		if err != nil || d < time.Second {
			b.bad(v, "", "%q is no length of time: want one such as 90s, 2h or 3d", clip(said))
			return
		}
		*to.(*time.Duration) = d
	case age, ageText:
		d, ok := parseAge(said)
		if k.name == "burst" && said == "0" {
			d, ok = retain.NoBurst, true
		}
		if !ok {
			b.bad(v, "", "%q is no age: want hours, days, weeks, months or years, such as 36h, 30d, 6w, 3m or 1y", clip(said))
			return
		}
		if k.form == ageText {
			*to.(*string) = said
		} else {
			*to.(*time.Duration) = d
		}
	}
}

// parseAge reads "36h", "30d", "6w", "3m" or "1y"; a month has 30 days and a year 365.
func parseAge(said string) (time.Duration, bool) {
	if said == "" {
		return 0, false
	}
	unit := map[byte]time.Duration{'h': time.Hour, 'd': units.Day, 'w': units.Week, 'm': 30 * units.Day, 'y': 365 * units.Day}[said[len(said)-1]]
	n, err := strconv.ParseUint(said[:len(said)-1], 10, 16)
	if err != nil || unit == 0 || n == 0 || n > uint64(100*365*units.Day/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// moment is what became of a text about times: many sources say the same.
type moment struct {
	schedule schedule.Schedule
	window   schedule.Window
	rate     schedule.Timetable
	err      error
}

func (b *builder) times(k *key, v *node, said string, to any) {
	form := k.form
	if form == every {
		form, said = moments, "every "+said
	}
	m, ok := b.moments[[2]string{string(form), said}]
	if !ok {
		switch form {
		case moments:
			m.schedule, m.err = schedule.Parse(said)
		case window:
			m.window, m.err = schedule.ParseWindow(said)
		case rate:
			m.rate, m.err = schedule.ParseTimetable(said)
		}
		if b.moments == nil {
			b.moments = map[[2]string]moment{}
		}
		b.moments[[2]string{string(form), said}] = m
	}
	var bad *schedule.Error
	if errors.As(m.err, &bad) {
		b.bad(v, bad.Nearest, "%s", bad)
		return
	}
	switch to := to.(type) {
	case *schedule.Schedule:
		*to = m.schedule
	case *schedule.Window:
		*to = m.window
	case *schedule.Timetable:
		*to = m.rate
	}
}

// path reads an absolute path.
func (b *builder) path(v *node, said string) (string, bool) {
	switch {
	case said == "~" || strings.HasPrefix(said, "~/"):
		home := ""
		if b.env != nil {
			for _, name := range []string{"HOME", "USERPROFILE"} {
				if h, ok := b.env(name); ok && home == "" {
					home = h
				}
			}
		}
		if !absolute(home) {
			b.bad(v, "", "%q: no home folder is known here", clip(said))
			return "", false
		}
		out := strings.TrimSuffix(home, "/") + said[1:]
		b.remember(out, v.text)
		return out, true
	case strings.HasPrefix(said, "~"):
		b.bad(v, "", "%q: only ~/ is understood, the home folder of whoever runs", clip(said))
		return "", false
	case absolute(said):
		return said, true
	}
	b.hint(v, "write it whole, from / or ~/ on", "%q is no absolute path", clip(said))
	return "", false
}

func absolute(p string) bool { return strings.HasPrefix(p, "/") || filepath.IsAbs(p) }

// location reads where a repository is.
func (b *builder) location(v *node, said string) (string, bool) {
	scheme, rest, found := strings.Cut(said, "://")
	switch {
	case !found && strings.HasPrefix(said, "s3:"):
		b.bad(v, "s3://", "%q is no location: want a folder or s3://bucket/prefix", clip(said))
		return "", false
	case !found:
		return b.path(v, said)
	case scheme == "s3" && strings.Contains(strings.SplitN(rest, "/", 2)[0], "@"):
		b.hint(v, "they belong into a profile: profile", "credentials do not stand in a location")
	case scheme == "s3" && rest != "" && rest[0] != '/', scheme == "file" && strings.HasPrefix(rest, "/"):
		return said, true
	default:
		b.bad(v, nearest(scheme, []string{"s3", "file"}), "%q is no location: want a folder or s3://bucket/prefix", clip(said))
	}
	return "", false
}

func (b *builder) secret(k *key, name string, v *node, said string, to *Secret) {
	switch name {
	case k.name + "_file":
		if p, ok := b.path(v, said); ok {
			*to = Secret{File: p}
		}
	case k.name + "_command":
		if strings.TrimSpace(said) == "" {
			b.bad(v, "", "empty")
			return
		}
		*to = Secret{Command: said}
	case k.name + "_env":
		if said == "" || strings.ContainsAny(said, "= \t$") {
			b.bad(v, "", "want the name of a variable")
			return
		}
		*to = Secret{Env: said}
	}
}

// joined are the lists of a source that add to those of its defaults.
var joined = []string{"exclude", "iexclude", "tags", "notify"}

func (b *builder) list(k *key, v *node, to *[]string) {
	items := v.items
	if v.kind != isArray {
		items = []*node{v}
	}
	var all []string
	for _, item := range items {
		said, ok := b.str(item)
		switch {
		case !ok:
			continue
		case said == "":
			b.bad(item, "", "empty")
			continue
		case k.form == paths:
			if said, ok = b.path(item, said); !ok {
				continue
			}
		case k.form == words && !slices.Contains(k.words, said):
			b.bad(item, nearest(said, k.words), "%q: want %s", clip(said), strings.Join(k.words, ", "))
			continue
		}
		all = append(all, said)
	}
	if slices.Contains(joined, k.name) {
		all = slices.Concat(*to, all)
	}
	*to = all
}

func (b *builder) count(k *key, v *node, to any) {
	said, ok := b.scalar(v)
	if !ok {
		return
	}
	most := k.most
	if most == 0 {
		most = math.MaxInt32
	}
	n, err := strconv.ParseInt(said, 0, 64)
	if slices.Contains(k.words, said) && said == "all" {
		n, err = retain.All, nil
	}
	if err != nil || n < int64(k.least) || n > int64(most) {
		want := fmt.Sprintf("a number from %d to %d", k.least, most)
		if most == math.MaxInt32 {
			want = fmt.Sprintf("a number from %d on", k.least)
		}
		if slices.Contains(k.words, "all") {
			want += ", or \"all\""
		}
		b.bad(v, "", "%q: want %s", clip(said), want)
		return
	}
	switch p := to.(type) {
	case *int:
		*p = int(n)
	case **int:
		m := int(n)
		*p = &m
	}
}

func (b *builder) percent(v *node, to *float64) {
	said, ok := b.scalar(v)
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(strings.TrimSuffix(said, "%"), 64)
	if err != nil || !(f > 0 && f <= 100) || v.kind == isFloat {
		b.bad(v, "", "%q: want a share from 1%% to 100%%", clip(said))
		return
	}
	*to = f / 100
}

func (b *builder) policy(k *key, v *node, to *retain.Policy) {
	if v.kind == isText {
		if said, ok := b.str(v); ok && said != "all" {
			b.hint(v, "such as { daily = 14, weekly = 8 }", "%q: want a table, or \"all\"", clip(said))
		}
		*to = retain.Policy{}
		return
	}
	if v.kind != isTable {
		b.hint(v, "such as { daily = 14, weekly = 8 }", "%s, want a table, or \"all\"", kindNames[v.kind])
		return
	}
	p := retain.Policy{}
	b.table(v, k.parts, &p, nil)
	if err := p.Check(); errors.Is(err, retain.ErrEmpty) && !slices.ContainsFunc(v.names, func(name string) bool { return name != "burst" }) {
		b.hint(v, "such as { daily = 14, weekly = 8 }; \"all\" keeps everything", "it says of nothing that it is to be kept")
	} else if err != nil && !errors.Is(err, retain.ErrEmpty) { // else what is wrong is told already
		b.bad(v, "", "%s", err)
	}
	*to = p
}

func (b *builder) cycleOf(v *node, to *retain.Cycle) {
	said, ok := b.str(v)
	if !ok {
		return
	}
	if c, ok := b.cycles[said]; ok {
		*to = c
		return
	}
	first := strings.FieldsFunc(said, func(r rune) bool { return strings.ContainsRune(" \t,", r) })
	if len(first) == 0 || first[0] != string(retain.Simple) && first[0] != string(retain.Hanoi) {
		known := []string{string(retain.Simple), string(retain.Hanoi)}
		for name := range b.cycles {
			known = append(known, name)
		}
		slices.Sort(known)
		b.bad(v, nearest(strings.Join(first[:min(1, len(first))], ""), known), "%q: want simple or hanoi and what it needs, or the name of one of [cycles]", clip(said))
		return
	}
	c, err := retain.ParseCycle(said)
	if err != nil {
		b.bad(v, "", "%s", err)
		return
	}
	*to = c
}

// lines reads a table of texts.
func (b *builder) lines(v *node, to *map[string]string) {
	if v.kind != isTable {
		b.bad(v, "", "%s, want a table", kindNames[v.kind])
		return
	}
	*to = map[string]string{}
	for _, name := range v.names {
		item := v.of[name]
		said, ok := b.str(item)
		if !ok {
			continue
		}
		if slices.Contains([]string{"authorization", "proxy-authorization", "cookie", "x-api-key"}, strings.ToLower(name)) && !strings.Contains(item.text, "${") {
			b.hint(item, "write it into a file, and name that: token_file", "a secret does not stand in the configuration")
		}
		if name == "" || strings.ContainsAny(name+said, "\r\n:") && strings.ContainsAny(name, "\r\n: ") || strings.ContainsAny(said, "\r\n") {
			b.bad(item, "", "no header")
		}
		(*to)[name] = said
	}
}
