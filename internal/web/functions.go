package web

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"time"

	"firn/internal/price"
	"firn/internal/units"
)

// functions are what templates may call.
func functions() template.FuncMap {
	return template.FuncMap{
		"size":     func(n any) (string, error) { v, err := whole(n); return units.Size(v).String(), err },
		"count":    func(n any) (string, error) { v, err := whole(n); return units.Count(v), err },
		"counted":  func(n any, noun string) (string, error) { v, err := whole(n); return Counted(v, noun), err },
		"plural":   func(n any, one, many string) (string, error) { v, err := whole(n); return plural(v, one, many), err },
		"percent":  Percent,
		"duration": Duration,
		"age":      Age,
		"money":    Money,
		"path":     EncodePath,
		"show":     ShownPath,
		"when":     timeElement,
		"ago":      agoElement,
		"asset":    assetAddress,
		"short":    shortID,
	}
}

// whole takes any kind of whole number.
func whole(n any) (int64, error) {
	switch v := n.(type) {
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case uint64:
		return int64(min(v, math.MaxInt64)), nil
	case int32:
		return int64(v), nil
	case units.Size:
		return int64(v), nil
	}
	return 0, fmt.Errorf("%T is no whole number", n)
}

// Counted is a number with what it counts, such as "2 files".
func Counted(n int64, noun string) string {
	return units.Count(n) + " " + plural(n, noun, noun+"s")
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Percent is a share of 0 to 1, as people read it. What is not nothing is not shown as 0 %.
func Percent(share float64) string {
	switch p := share * 100; {
	case math.IsNaN(p) || math.IsInf(p, 0):
		return "–"
	case p > 0 && p < 0.1:
		return "< 0.1 %"
	case p < 10 && p > 0:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	case p > 99 && p < 100:
		return "99 %"
	default:
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	}
}

// Duration is a length of time in one or two units, such as "3 days" or "2 h 5 min".
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = d.Abs(); {
	case d < time.Second:
		return "less than a second"
	case d < time.Minute:
		return strconv.FormatInt(int64(d/time.Second), 10) + " s"
	case d < time.Hour:
		return strconv.FormatInt(int64(d/time.Minute), 10) + " min"
	case d < 10*time.Hour && d%time.Hour >= time.Minute:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d < 2*day:
		return strconv.FormatInt(int64(d/time.Hour), 10) + " h"
	case d < 60*day:
		return Counted(int64(d/day), "day")
	case d < 730*day:
		return Counted(int64(d/(30*day)), "month")
	}
	return Counted(int64(d/(365*day)), "year")
}

// Age is Duration of what lies in the past.
func Age(d time.Duration) string {
	if d < time.Minute {
		return "just now"
	}
	return Duration(d) + " ago"
}

// Money is an amount in the currency of a region; nil: it is not known.
func Money(r *price.Region, m price.Money) string {
	if r == nil {
		return "–"
	}
	return r.Format(m)
}

// shortID is as much of an id as people are shown.
func shortID(id fmt.Stringer) string {
	text := id.String()
	return text[:min(len(text), 8)]
}

// timeElement is a moment as people read it, with the exact one for programs.
func timeElement(t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	return template.HTML(`<time datetime="` + t.UTC().Format(time.RFC3339) + `">` + t.Local().Format("2006-01-02 15:04") + `</time>`)
}

// agoElement is a moment as its age, with the exact one for programs and beside it for people.
func agoElement(now, t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	text := Age(now.Sub(t))
	if t.After(now.Add(time.Minute)) {
		text = "in " + Duration(t.Sub(now))
	}
	return template.HTML(`<time class="ago" datetime="` + t.UTC().Format(time.RFC3339) + `" title="` + t.Local().Format("2006-01-02 15:04:05") + `">` + text + `</time>`)
}
