package sync

import (
	"fmt"
	"strings"
	"time"

	"firn/internal/glob"
	"firn/internal/price"
	"firn/internal/units"
)

// Classes choose the storage class of an object by the size and path of its file.
type Classes struct {
	Default string
	rules   []classRule
	least   int64 // files smaller than this are cheaper in the default class of the store
}

type classRule struct {
	class   string
	size    []sizeTest
	pattern *glob.Set
}

type sizeTest struct {
	op string
	n  int64
}

// RuleError tells what is wrong with a rule for classes.
type RuleError struct{ Rule, Reason string }

func (e *RuleError) Error() string { return fmt.Sprintf("rule %q: %s", e.Rule, e.Reason) }

// NewClasses reads rules: "size<128K=STANDARD", "*.jpg=GLACIER_IR", or several conditions with commas between, of which all must hold. Of rules that fit the last counts. It fails with *RuleError.
func NewClasses(class string, rules []string) (*Classes, error) {
	c := &Classes{Default: strings.ToUpper(class)}
	for _, text := range rules {
		rule, err := parseRule(text)
		if err != nil {
			return nil, err
		}
		c.rules = append(c.rules, rule)
	}
	return c, nil
}

func parseRule(text string) (r classRule, err error) {
	i := strings.LastIndexByte(text, '=')
	if i <= 0 || i == len(text)-1 || strings.ContainsAny(text[i-1:i], "<>") {
		return r, &RuleError{text, "want CONDITION=CLASS, such as size<128K=STANDARD or *.jpg=GLACIER_IR"}
	}
	r.class = strings.ToUpper(text[i+1:])
	if strings.Trim(r.class, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" || len(r.class) > 64 {
		return r, &RuleError{text, fmt.Sprintf("%q is no name of a class", text[i+1:])}
	}
	var patterns []string
	for cond := range strings.SplitSeq(text[:i], ",") {
		rest, sized := strings.CutPrefix(strings.TrimSpace(cond), "size")
		if op := operator(rest); sized && op != "" {
			n, err := units.ParseSize(strings.TrimSpace(rest[len(op):]))
			if err != nil {
				return r, &RuleError{text, err.Error()}
			}
			r.size = append(r.size, sizeTest{op, int64(n)})
			continue
		}
		patterns = append(patterns, strings.TrimSpace(cond))
	}
	if len(patterns) > 0 {
		if r.pattern, err = glob.Parse(patterns, text); err != nil {
			return r, &RuleError{text, err.Error()}
		}
	}
	return r, nil
}

func operator(s string) string {
	for _, op := range []string{"<=", ">=", "<", ">"} {
		if strings.HasPrefix(s, op) {
			return op
		}
	}
	return ""
}

func (t sizeTest) holds(size int64) bool {
	switch t.op {
	case "<":
		return size < t.n
	case "<=":
		return size <= t.n
	case ">":
		return size > t.n
	}
	return size >= t.n
}

func (r *classRule) fits(path string, size int64) bool {
	for _, t := range r.size {
		if !t.holds(size) {
			return false
		}
	}
	if r.pattern == nil {
		return true
	}
	chosen, _ := r.pattern.Covers([]byte(path), false)
	return chosen
}

// kept is for how long an object is thought to be kept when prices are compared.
const kept = 365 * units.Day

// Price has small files go to the store's default class where the chosen one costs more over a year: archive classes ask for overheads and dearer requests. Rules count before that.
func (c *Classes) Price(region *price.Region) {
	c.least = 0
	if region == nil || c.Default == "" {
		return
	}
	if _, ok := region.Class(c.Default); !ok || c.Default == region.Default {
		return
	}
	cost := func(class string, size int64) price.Money {
		return region.Put(class, 1, size).Cost + region.Hold(class, 1, size, time.Duration(kept)).Total()
	}
	dearer := func(size int64) bool { return cost(c.Default, size) > cost(region.Default, size) }
	const most = 64 << 20
	if !dearer(0) || dearer(most) {
		return // always, or never
	}
	low, high := int64(0), int64(most)
	for high-low > 1 {
		if mid := (low + high) / 2; dearer(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	c.least = high
}

// Least is the size below which files go to the default class of the store; 0: none does.
func (c *Classes) Least() int64 { return c.least }

// Of returns the class of a file; empty: the store's default.
func (c *Classes) Of(path string, size int64) string {
	if c == nil {
		return ""
	}
	for i := len(c.rules) - 1; i >= 0; i-- {
		if c.rules[i].fits(path, size) {
			return c.rules[i].class
		}
	}
	if size < c.least {
		return price.DefaultClass
	}
	return c.Default
}
