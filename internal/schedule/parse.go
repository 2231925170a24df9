package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/units"
)

// maxText bounds what is read, in bytes.
const maxText = 2000

// words are what a schedule may begin with.
var words = []string{"hourly", "daily", "weekly", "monthly", "yearly", "every", "manual"}

// Parse reads a schedule, as the package describes it. It fails with *Error.
func Parse(text string) (Schedule, error) {
	p := &parser{text: text}
	fields := p.fields(text)
	if len(fields) == 0 {
		return Schedule{}, p.fail("empty: want one such as %q", "daily 02:30")
	}
	if len(fields) == 1 && strings.EqualFold(fields[0], "manual") {
		return Schedule{text: text}, nil
	}
	r := &rule{}
	spread := ""
	if last := fields[len(fields)-1]; len(fields) > 1 && strings.HasPrefix(last, "~") {
		spread, fields = last[1:], fields[:len(fields)-1]
	}
	if err := p.rule(r, fields); err != nil {
		return Schedule{}, err
	}
	s := Schedule{text: text, rule: r}
	if spread != "" {
		d, err := units.ParseDuration(spread)
		switch {
		case err != nil || d < time.Second:
			return Schedule{}, p.fail("%q is no spread: want one such as ~30m", "~"+spread)
		case r.every > 0:
			return Schedule{}, p.fail("it is counted from the last run, so a spread moves nothing")
		case s.Longest() > 0 && d > s.Longest():
			return Schedule{}, p.fail("the spread ~%s is longer than the time between two moments", spread)
		}
		r.spread = d
	}
	return s, nil
}

// parser reads one text.
type parser struct{ text string }

func (p *parser) fail(format string, args ...any) error {
	return &Error{Text: clip(p.text), Reason: fmt.Sprintf(format, args...)}
}

// near fails because of a word, with the one that may have been meant.
func (p *parser) near(word string, known []string, format string, args ...any) error {
	if i := strings.IndexAny(word, ",-"); i > 0 {
		word = word[:i]
	}
	return &Error{Text: clip(p.text), Reason: fmt.Sprintf(format, args...), Nearest: nearest(word, known)}
}

func clip(text string) string {
	if len(text) > 100 {
		return strings.ToValidUTF8(text[:100], "") + "…"
	}
	return text
}

// fields cuts a text into words; what stands behind a comma belongs to the word before it.
func (p *parser) fields(text string) []string {
	if len(text) > maxText {
		return nil
	}
	words := strings.Fields(text)
	var out []string
	for _, w := range words {
		if n := len(out); n > 0 && (strings.HasSuffix(out[n-1], ",") || strings.HasPrefix(w, ",")) {
			out[n-1] += w
			continue
		}
		out = append(out, w)
	}
	return out
}

func (p *parser) rule(r *rule, fields []string) error {
	rest := fields[1:]
	switch word := strings.ToLower(fields[0]); {
	case word == "hourly":
		return p.hourly(r, rest)
	case word == "daily":
		return p.at(r, rest)
	case word == "weekly":
		r.weekdays = 1
		return p.weekly(r, rest)
	case word == "monthly":
		return p.monthly(r, rest)
	case word == "yearly":
		return p.yearly(r, rest)
	case word == "every":
		return p.every(r, rest)
	case len(fields) == 5 && strings.Trim(word, "0123456789*,-/") == "":
		return p.cron(r, fields)
	case strings.ContainsAny(word, "*/"):
		return p.fail("want five fields, as cron has them: minute, hour, day of the month, month, day of the week")
	case isDays(word):
		return p.weekly(r, fields)
	default:
		return p.near(word, append(slices.Clone(words), "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
			"%q is no schedule: want one such as \"daily 02:30\", \"Mon-Fri 22:00\", \"every 6h\", five fields as cron has them, or \"manual\"", clip(fields[0]))
	}
}

func (p *parser) hourly(r *rule, rest []string) error {
	minutes := []int{0}
	if len(rest) > 0 {
		minutes = nil
		for m := range strings.SplitSeq(rest[0], ",") {
			n, ok := number(strings.TrimPrefix(m, ":"), 0, 59)
			if !ok || !strings.HasPrefix(m, ":") {
				return p.fail("%q is no minute of the hour: want one such as :15", clip(m))
			}
			minutes = append(minutes, n)
		}
		if len(rest) > 1 {
			return p.fail("%q is too much behind \"hourly :15\"", clip(rest[1]))
		}
	}
	for hour := range 24 {
		for _, m := range minutes {
			r.times = append(r.times, hour*60+m)
		}
	}
	r.times = sorted(r.times)
	return nil
}

// at reads the times of the day, the last thing of most schedules.
func (p *parser) at(r *rule, rest []string) error {
	switch {
	case len(rest) == 0:
		r.times = []int{0}
		return nil
	case len(rest) > 1:
		return p.fail("%q is too much behind the time", clip(rest[1]))
	}
	for text := range strings.SplitSeq(rest[0], ",") {
		m, ok := clock(text)
		if !ok || m == 24*60 {
			return p.fail("%q is no time of the day: want one such as 02:30", clip(text))
		}
		r.times = append(r.times, m)
	}
	r.times = sorted(r.times)
	return nil
}

func (p *parser) weekly(r *rule, rest []string) error {
	if len(rest) > 0 && strings.Trim(rest[0], "0123456789:,") != "" {
		days, err := p.days(rest[0])
		if err != nil {
			return err
		}
		r.weekdays, rest = days, rest[1:]
	}
	return p.at(r, rest)
}

var ordinals = []string{"first", "second", "third", "fourth", "fifth", "last"}

func (p *parser) monthly(r *rule, rest []string) error {
	r.days, r.clamp = 1<<1, true
	if len(rest) == 0 || strings.Contains(rest[0], ":") {
		return p.at(r, rest)
	}
	r.days = 0
	if len(rest) > 1 && isDays(rest[1]) { // monthly first Sun 04:00
		for text := range strings.SplitSeq(strings.ToLower(rest[0]), ",") {
			i := slices.Index(ordinals, text)
			if i < 0 {
				return p.near(text, ordinals, "%q is not first, second, third, fourth, fifth or last", clip(text))
			}
			r.nth |= 1 << (i + 1)
		}
		days, err := p.days(rest[1])
		r.weekdays = days
		if err != nil {
			return err
		}
		return p.at(r, rest[2:])
	}
	for text := range strings.SplitSeq(strings.ToLower(rest[0]), ",") {
		if n, ok := number(text, 1, 31); ok {
			r.days |= 1 << n
			continue
		}
		if text != "last" {
			return p.near(text, ordinals, "%q is no day of the month: want 1 to 31, \"last\", or such as \"first Sun\"", clip(text))
		}
		r.last = true
	}
	return p.at(r, rest[1:])
}

func (p *parser) yearly(r *rule, rest []string) error {
	r.dates, r.clamp = []date{{1, 1}}, true
	if len(rest) == 0 || strings.Contains(rest[0], ":") {
		return p.at(r, rest)
	}
	r.dates = nil
	for text := range strings.SplitSeq(rest[0], ",") {
		month, day, _ := strings.Cut(text, "-")
		m, ok := number(month, 1, 12)
		d, ok2 := number(day, 1, 31)
		if !ok || !ok2 || d > time.Date(2024, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day() {
			return p.fail("%q is no day of the year: want month and day, such as 01-31", clip(text))
		}
		r.dates = append(r.dates, date{m, d})
	}
	return p.at(r, rest[1:])
}

func (p *parser) every(r *rule, rest []string) error {
	if len(rest) != 1 {
		return p.fail("want one length of time behind \"every\", such as \"every 6h\"")
	}
	d, err := units.ParseDuration(rest[0])
	switch {
	case err != nil:
		return p.fail("%s", err)
	case d < time.Minute || d%time.Minute != 0 || d > 10*365*units.Day:
		return p.fail("want whole minutes, from 1m to 10y")
	case units.Day%d != 0:
		r.every = d
		return nil
	}
	for m := 0; m < 24*60; m += int(d / time.Minute) {
		r.times = append(r.times, m)
	}
	return nil
}

var dayNames = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// weekday reads the name of a day, whole or its first three letters (or "tues", "thurs").
func weekday(text string) (int, bool) {
	text = strings.ToLower(text)
	for i, name := range dayNames {
		if len(text) >= 3 && strings.HasPrefix(name, text) {
			return i, true
		}
	}
	return 0, false
}

// isDays reports whether a word is meant as days: it begins with a letter, and its first name, perhaps misspelt, with those of a day.
func isDays(word string) bool {
	first := strings.FieldsFunc(word, func(r rune) bool { return r == ',' || r == '-' })
	if len(first) == 0 {
		return false
	}
	_, ok := weekday(first[0])
	return ok
}

// days reads "Mon-Fri,Sun".
func (p *parser) days(text string) (mask uint8, err error) {
	one := func(name string) (int, error) {
		d, ok := weekday(name)
		if !ok {
			return 0, p.near(name, []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}, "%q is no day of the week: want Mon, Tue, Wed, Thu, Fri, Sat, Sun", clip(name))
		}
		return d, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		a, err := one(from)
		b := a
		if err == nil && ranged {
			b, err = one(to)
		}
		if err != nil {
			return 0, err
		}
		for d := a; ; d = (d + 1) % 7 {
			mask |= 1 << d
			if d == b {
				break
			}
		}
	}
	return mask, nil
}

// clock reads "02:30" as minutes of the day, up to 24:00.
func clock(text string) (int, bool) {
	hour, minute, found := strings.Cut(text, ":")
	h, ok := number(hour, 0, 24)
	m, ok2 := number(minute, 0, 59)
	return h*60 + m, found && ok && ok2 && len(minute) == 2 && h*60+m <= 24*60
}

// number reads one or two digits.
func number(text string, low, high int) (int, bool) {
	if len(text) == 0 || len(text) > 2 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= low && n <= high
}

func sorted(list []int) []int {
	slices.Sort(list)
	return slices.Compact(list)
}

// nearest finds the known word that takes the fewest changes of a letter, at most two, and fewer than half of them.
func nearest(word string, known []string) string {
	best, found := 3, ""
	if len(word) > 40 {
		return ""
	}
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < best && 2*d < len(k)+1 {
			best, found = d, k
		}
	}
	return found
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(before+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
