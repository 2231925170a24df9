package price

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// The table that comes with the program, in the form that Parse reads.
//
//go:embed prices.toml
var builtIn []byte

// Limits of a table. Sizes are bytes.
const (
	MaxFile    = 1 << 20
	maxEntries = 1000 // of a map or list
	maxName    = 64
	maxText    = 2000
	maxLike    = 8 // regions that build on one another
)

// anyRegion stands for all regions of a provider that are not named.
const anyRegion = "any"

// Table is the prices of many regions. It does not change once it is made.
type Table struct {
	entries map[string]map[string]*rawRegion // by provider and region
}

// The form of the file: [provider.region], [provider.region.class.NAME], [provider.region.class.NAME.tier.NAME], [provider.region.route.NAME]. What is left
// out is as in the region named by "like", or in the table that this one is laid over.

type rawRegion struct {
	Like     *string              `toml:"like"` // "provider/region"
	Currency *string              `toml:"currency"`
	Date     *string              `toml:"date"`
	Source   *string              `toml:"source"`
	Note     *string              `toml:"note"`
	GB       *int64               `toml:"gb"`
	Least    *float64             `toml:"least"`
	Default  *string              `toml:"default"`
	Without  []string             `toml:"without"` // classes of like that are not there
	Class    map[string]*rawClass `toml:"class"`
	Route    map[string]*rawRoute `toml:"route"`
}

type rawClass struct {
	Aliases     []string            `toml:"aliases"`
	Cold        *bool               `toml:"cold"`
	Storage     *float64            `toml:"storage"`
	Put         *float64            `toml:"put"`
	Get         *float64            `toml:"get"`
	List        *float64            `toml:"list"`
	Retrieval   *float64            `toml:"retrieval"`
	MinDays     *int64              `toml:"min_days"`
	MinBytes    *int64              `toml:"min_bytes"`
	Overhead    *int64              `toml:"overhead"`
	OverheadHot *int64              `toml:"overhead_hot"`
	Parts       *string             `toml:"parts"`
	Note        *string             `toml:"note"`
	Tier        map[string]*rawTier `toml:"tier"`
}

type rawTier struct {
	PerGB   *float64 `toml:"per_gb"`
	Per1000 *float64 `toml:"per_1000"`
	First   *string  `toml:"first"`
	Last    *string  `toml:"last"`
}

type rawRoute struct {
	FreeGB     *float64  `toml:"free_gb"`
	FreeStored *float64  `toml:"free_stored"`
	Steps      []rawStep `toml:"steps"`
	Note       *string   `toml:"note"`
}

type rawStep struct {
	UpToGB float64 `toml:"up_to_gb"`
	PerGB  float64 `toml:"per_gb"`
}

// noTier is how the one tier of a store without tiers is written in a file.
const noTier = "none"

// ParseError tells what is wrong with a file of prices.
type ParseError struct {
	Line, Column int    // 0: unknown
	Key          string // dotted; may be empty
	Err          error
}

func (e *ParseError) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, "%s: ", e.Key)
	}
	return b.String() + e.Err.Error()
}

// Unwrap returns the reason.
func (e *ParseError) Unwrap() error { return e.Err }

// ErrUnknownKey tells of a key that means nothing.
var ErrUnknownKey = errors.New("unknown key")

// Default returns the table that comes with the program. It is parsed anew each time, which takes about a millisecond.
func Default() *Table {
	t, err := Parse(builtIn)
	if err != nil {
		panic("price: built-in table: " + err.Error()) // a test parses it
	}
	return t
}

// Parse reads a table, or a part of one, to be laid over another (With). It fails with *ParseError.
func Parse(text []byte) (*Table, error) {
	if len(text) > MaxFile {
		return nil, &ParseError{Err: fmt.Errorf("%d bytes, want at most %d", len(text), MaxFile)}
	}
	t := &Table{}
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&t.entries)
	var strict *toml.StrictMissingError
	var bad *toml.DecodeError
	switch {
	case errors.As(err, &strict) && len(strict.Errors) > 0:
		first := &strict.Errors[0]
		line, column := first.Position()
		return nil, &ParseError{Line: line, Column: column, Key: strings.Join(first.Key(), "."), Err: ErrUnknownKey}
	case errors.As(err, &bad):
		line, column := bad.Position()
		return nil, &ParseError{Line: line, Column: column, Key: strings.Join(bad.Key(), "."), Err: errors.New(plainly(bad.Error()))}
	case err != nil:
		return nil, &ParseError{Err: errors.New(plainly(err.Error()))}
	}
	return t, t.check()
}

// plainly takes what the TOML package says and leaves out the names of Go types.
func plainly(text string) string {
	text = strings.TrimPrefix(text, "toml: ")
	if rest, ok := strings.CutPrefix(text, "cannot decode TOML "); ok {
		kind, _, _ := strings.Cut(rest, " ")
		return kind + " where something else belongs"
	}
	return text
}

// check looks at everything that can be said without the table that this one may be laid over.
func (t *Table) check() error {
	c := &checker{}
	c.many("", len(t.entries))
	for _, provider := range slices.Sorted(maps.Keys(t.entries)) {
		c.name(provider, provider)
		c.many(provider, len(t.entries[provider]))
		for _, region := range slices.Sorted(maps.Keys(t.entries[provider])) {
			c.name(provider+"."+region, region)
			c.region(provider+"."+region, t.entries[provider][region])
		}
	}
	if c.err != nil {
		return c.err
	}
	return nil
}

// checker keeps the first error.
type checker struct{ err *ParseError }

func (c *checker) fail(key, format string, args ...any) {
	if c.err == nil {
		c.err = &ParseError{Key: key, Err: fmt.Errorf(format, args...)}
	}
}

func (c *checker) many(key string, n int) {
	if n > maxEntries {
		c.fail(key, "%d entries, want at most %d", n, maxEntries)
	}
}

func (c *checker) name(key, name string) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	if name == "" || len(name) > maxName || strings.Trim(name, letters) != "" {
		c.fail(key, "%.70q is no name: want up to %d letters, digits, - and _", name, maxName)
	}
}

func (c *checker) text(key string, s *string) {
	if s != nil && len(*s) > maxText {
		c.fail(key, "%d bytes, want at most %d", len(*s), maxText)
	}
}

func (c *checker) money(key string, v *float64) {
	if v != nil && !(*v >= 0 && *v <= 1e6) {
		c.fail(key, "%v: want a number from 0 to 1000000", *v)
	}
}

func (c *checker) count(key string, v *int64, most int64) {
	if v != nil && (*v < 0 || *v > most) {
		c.fail(key, "%d: want a number from 0 to %d", *v, most)
	}
}

func (c *checker) region(key string, e *rawRegion) {
	if e == nil {
		return
	}
	for name, s := range map[string]*string{"source": e.Source, "note": e.Note, "like": e.Like, "default": e.Default} {
		c.text(key+"."+name, s)
	}
	if e.Date != nil {
		if _, err := time.Parse(time.DateOnly, *e.Date); err != nil {
			c.fail(key+".date", "%.40q: want a date such as 2026-09-30, in quotes", *e.Date)
		}
	}
	if e.Currency != nil && (len(*e.Currency) != 3 || strings.Trim(*e.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		c.fail(key+".currency", "%.40q: want three letters such as USD", *e.Currency)
	}
	if e.GB != nil && *e.GB != 1e9 && *e.GB != 1<<30 {
		c.fail(key+".gb", "%d: want 1000000000 or 1073741824", *e.GB)
	}
	c.money(key+".least", e.Least)
	c.many(key+".without", len(e.Without))
	c.many(key+".class", len(e.Class))
	for _, name := range slices.Sorted(maps.Keys(e.Class)) {
		c.name(key+".class."+name, name)
		c.class(key+".class."+name, e.Class[name])
	}
	c.many(key+".route", len(e.Route))
	for _, name := range slices.Sorted(maps.Keys(e.Route)) {
		c.name(key+".route."+name, name)
		c.route(key+".route."+name, e.Route[name])
	}
}

func (c *checker) class(key string, k *rawClass) {
	if k == nil {
		return
	}
	for _, f := range []struct {
		name string
		v    *float64
	}{{"storage", k.Storage}, {"put", k.Put}, {"get", k.Get}, {"list", k.List}, {"retrieval", k.Retrieval}} {
		c.money(key+"."+f.name, f.v)
	}
	c.count(key+".min_days", k.MinDays, 10000)
	c.count(key+".min_bytes", k.MinBytes, 1<<30)
	c.count(key+".overhead", k.Overhead, 1<<30)
	c.count(key+".overhead_hot", k.OverheadHot, 1<<30)
	c.text(key+".parts", k.Parts)
	c.text(key+".note", k.Note)
	c.many(key+".aliases", len(k.Aliases))
	for _, a := range k.Aliases {
		c.name(key+".aliases", a)
	}
	c.many(key+".tier", len(k.Tier))
	for _, name := range slices.Sorted(maps.Keys(k.Tier)) {
		c.name(key+".tier."+name, name)
		if t := k.Tier[name]; t != nil {
			at := key + ".tier." + name
			c.money(at+".per_gb", t.PerGB)
			c.money(at+".per_1000", t.Per1000)
			c.duration(at+".first", t.First)
			c.duration(at+".last", t.Last)
		}
	}
}

func (c *checker) duration(key string, s *string) {
	if s == nil {
		return
	}
	if d, err := time.ParseDuration(*s); err != nil || d < 0 || d > 1000*time.Hour {
		c.fail(key, "%.40q: want a time such as 12h, at most 1000h", *s)
	}
}

func (c *checker) route(key string, r *rawRoute) {
	if r == nil {
		return
	}
	c.text(key+".note", r.Note)
	for name, v := range map[string]*float64{"free_gb": r.FreeGB, "free_stored": r.FreeStored} {
		if v != nil && !(*v >= 0 && *v <= 1e12) {
			c.fail(key+"."+name, "%v: want a number from 0 to 1e12", *v)
		}
	}
	c.many(key+".steps", len(r.Steps))
	below := 0.0
	for i, s := range r.Steps {
		c.money(key+".steps.per_gb", &s.PerGB)
		last := i == len(r.Steps)-1
		if last && s.UpToGB == 0 {
			continue
		}
		if !(s.UpToGB > below) || math.IsInf(s.UpToGB, 0) {
			c.fail(key+".steps.up_to_gb", "%v: want steps that grow, the last without up_to_gb", s.UpToGB)
		}
		below = s.UpToGB
		if last {
			c.fail(key+".steps", "the last step has an end: leave its up_to_gb out")
		}
	}
}

// With returns t with user laid over it: what user says counts, figure by figure. Regions of t that are like one that user changes stay as they are.
// Either may be nil.
func (t *Table) With(user *Table) *Table {
	out := &Table{entries: map[string]map[string]*rawRegion{}}
	for _, from := range []*Table{t.flat(), user} {
		if from == nil {
			continue
		}
		for provider, regions := range from.entries {
			if out.entries[provider] == nil {
				out.entries[provider] = map[string]*rawRegion{}
			}
			for name, e := range regions {
				if e == nil {
					e = &rawRegion{}
				}
				out.entries[provider][name] = e.over(out.entries[provider][name])
			}
		}
	}
	return out
}

// flat returns t without regions that are like others, as far as those are there.
func (t *Table) flat() *Table {
	if t == nil {
		return nil
	}
	out := &Table{entries: map[string]map[string]*rawRegion{}}
	for provider, regions := range t.entries {
		out.entries[provider] = map[string]*rawRegion{}
		for name, e := range regions {
			if whole, err := t.resolved(provider, name, 0); err == nil {
				e = whole
			}
			out.entries[provider][name] = e
		}
	}
	return out
}
