package source

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxMoment is how long a name made by Moment may be, in bytes.
const maxMoment = 120

// Reasons why a pattern is none.
var (
	errLone  = errors.New("it ends with a lone %")
	errEmpty = errors.New("it is empty")
	errLong  = fmt.Errorf("names have at most %d bytes", maxMoment)
)

// Moment makes the name of a snapshot from a pattern with %Y, %m, %d, %H, %M, %S, %y, %j, %F, %T, %s, %u, %G, %V and %%, as date(1) has them, in the zone of t.
func Moment(pattern string, t time.Time) (string, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' {
			b.WriteByte(pattern[i])
			continue
		}
		if i++; i == len(pattern) {
			return "", errLone
		}
		text, ok := momentField(pattern[i], t)
		if !ok {
			return "", fmt.Errorf("%q means nothing in it", pattern[i-1:i+1])
		}
		b.WriteString(text)
	}
	switch {
	case b.Len() == 0:
		return "", errEmpty
	case b.Len() > maxMoment:
		return "", errLong
	}
	return b.String(), nil
}

// momentLayouts are the words of patterns that package time knows.
var momentLayouts = map[byte]string{'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'j': "002", 'F': time.DateOnly, 'T': time.TimeOnly}

func momentField(c byte, t time.Time) (string, bool) {
	year, week := t.ISOWeek()
	switch c {
	case '%':
		return "%", true
	case 's':
		return strconv.FormatInt(t.Unix(), 10), true
	case 'u':
		return strconv.Itoa((int(t.Weekday())+6)%7 + 1), true
	case 'G':
		return fmt.Sprintf("%04d", year), true
	case 'V':
		return fmt.Sprintf("%02d", week), true
	}
	layout, ok := momentLayouts[c]
	return t.Format(layout), ok
}

// ChainName is how the stream is called that leads to a state of name: name-TYYYYMMDD, or name-FYYYYMMDD-TYYYYMMDD where it starts from another (from is not zero), in the zone of the times. Where the day
// does not tell it from others (sameDay, or from and to share one), times of day are added. ext ends the name.
func ChainName(name string, from, to time.Time, sameDay bool, ext string) string {
	layout := "20060102"
	if sameDay || !from.IsZero() && from.Format(layout) == to.Format(layout) {
		layout = "20060102-150405"
	}
	if !from.IsZero() {
		name += "-F" + from.Format(layout)
	}
	return name + "-T" + to.Format(layout) + ext
}

// Ago is a time span for people, roughly.
func Ago(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return "a moment"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()+12)/24)
}
