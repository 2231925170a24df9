package price

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// first returns over, or under where over says nothing.
func first[T any](over, under *T) *T {
	if over != nil {
		return over
	}
	return under
}

// or returns what p points to, or a default.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// over returns under with what e says instead.
func (e *rawRegion) over(under *rawRegion) *rawRegion {
	if under == nil {
		return e
	}
	out := &rawRegion{
		Like: first(e.Like, under.Like), Currency: first(e.Currency, under.Currency), Date: first(e.Date, under.Date), Source: first(e.Source, under.Source),
		Note: first(e.Note, under.Note), GB: first(e.GB, under.GB), Least: first(e.Least, under.Least), Default: first(e.Default, under.Default),
		Without: e.Without, Class: maps.Clone(under.Class), Route: maps.Clone(under.Route),
	}
	if e.Without == nil {
		out.Without = under.Without
	}
	if out.Class == nil {
		out.Class = map[string]*rawClass{}
	}
	for name, c := range e.Class {
		if c != nil {
			out.Class[name] = c.over(out.Class[name])
		}
	}
	if out.Route == nil {
		out.Route = map[string]*rawRoute{}
	}
	for name, r := range e.Route {
		if r != nil {
			out.Route[name] = r.over(out.Route[name])
		}
	}
	return out
}

func (c *rawClass) over(under *rawClass) *rawClass {
	if under == nil {
		return c
	}
	out := &rawClass{
		Aliases: c.Aliases, Cold: first(c.Cold, under.Cold), Storage: first(c.Storage, under.Storage), Put: first(c.Put, under.Put), Get: first(c.Get, under.Get),
		List: first(c.List, under.List), Retrieval: first(c.Retrieval, under.Retrieval), MinDays: first(c.MinDays, under.MinDays), MinBytes: first(c.MinBytes, under.MinBytes),
		Overhead: first(c.Overhead, under.Overhead), OverheadHot: first(c.OverheadHot, under.OverheadHot), Parts: first(c.Parts, under.Parts), Note: first(c.Note, under.Note),
		Tier: maps.Clone(under.Tier),
	}
	if c.Aliases == nil {
		out.Aliases = under.Aliases
	}
	if out.Tier == nil {
		out.Tier = map[string]*rawTier{}
	}
	for name, t := range c.Tier {
		if t == nil {
			continue
		}
		if u := out.Tier[name]; u != nil {
			t = &rawTier{first(t.PerGB, u.PerGB), first(t.Per1000, u.Per1000), first(t.First, u.First), first(t.Last, u.Last)}
		}
		out.Tier[name] = t
	}
	return out
}

func (r *rawRoute) over(under *rawRoute) *rawRoute {
	if under == nil {
		return r
	}
	out := &rawRoute{FreeGB: first(r.FreeGB, under.FreeGB), FreeStored: first(r.FreeStored, under.FreeStored), Steps: r.Steps, Note: first(r.Note, under.Note)}
	if r.Steps == nil {
		out.Steps = under.Steps
	}
	return out
}

// Providers lists the providers, sorted.
func (t *Table) Providers() []string { return slices.Sorted(maps.Keys(t.entries)) }

// Regions lists all regions as "provider/region", sorted.
func (t *Table) Regions() []string {
	var all []string
	for provider, regions := range t.entries {
		for name := range regions {
			all = append(all, provider+"/"+name)
		}
	}
	slices.Sort(all)
	return all
}

// Parsed takes "provider/region" apart; a provider alone has an empty region.
func Parsed(key string) (provider, region string) {
	provider, region, _ = strings.Cut(key, "/")
	return provider, region
}

// Region returns the prices of a region. A provider with the same prices everywhere has them for any name; an empty name is the provider's region with the most
// classes, the first of them by name, and us-east-1 of Amazon. It fails with *UnknownError, or with *ParseError where the figures of a region are not all there.
func (t *Table) Region(provider, region string) (*Region, error) {
	provider = strings.ToLower(provider)
	regions := t.entries[provider]
	if len(regions) == 0 {
		return nil, unknown("provider", provider, "", t.Providers())
	}
	names := slices.Sorted(maps.Keys(regions))
	entryName := region
	switch {
	case region == "" && regions[anyRegion] != nil:
		entryName, region = anyRegion, anyRegion
	case region == "" && provider == "aws" && regions["us-east-1"] != nil:
		entryName, region = "us-east-1", "us-east-1"
	case region == "":
		entryName = t.richest(provider, names)
		region = entryName
	}
	if _, ok := regions[entryName]; !ok {
		lower := strings.ToLower(region)
		if _, ok := regions[lower]; ok {
			entryName, region = lower, lower
		} else if _, ok := regions[anyRegion]; ok {
			entryName = anyRegion
		} else {
			return nil, unknown("region", region, provider, names)
		}
	}
	e, err := t.resolved(provider, entryName, 0)
	if err != nil {
		return nil, err
	}
	return e.region(provider, entryName, region)
}

// richest names the region of a provider with the most classes.
func (t *Table) richest(provider string, names []string) string {
	best, most := names[0], -1
	for _, name := range names {
		if e, err := t.resolved(provider, name, 0); err == nil && len(e.Class) > most {
			best, most = name, len(e.Class)
		}
	}
	return best
}

// resolved is an entry laid over those that it is like.
func (t *Table) resolved(provider, name string, depth int) (*rawRegion, error) {
	e := t.entries[provider][name]
	if e == nil {
		e = &rawRegion{}
	}
	if e.Like == nil {
		return e, nil
	}
	key := provider + "." + name + ".like"
	p, n := Parsed(*e.Like)
	switch {
	case depth >= maxLike:
		return nil, (&checker{}).failed(key, "%q: regions are like one another in a circle, or too deep", *e.Like)
	case t.entries[p][n] == nil:
		return nil, (&checker{}).failed(key, "%.80q: no such region; want one such as %q", *e.Like, "aws/us-east-1")
	}
	under, err := t.resolved(p, n, depth+1)
	if err != nil {
		return nil, err
	}
	plain := *under
	plain.Like = nil
	out := e.over(&plain)
	for _, gone := range out.Without {
		delete(out.Class, gone)
	}
	out.Like, out.Without = nil, nil
	return out, nil
}

func (c *checker) failed(key, format string, args ...any) error {
	c.fail(key, format, args...)
	return c.err
}

// region makes the figures of a region whole.
func (e *rawRegion) region(provider, entryName, name string) (*Region, error) {
	key := provider + "." + entryName
	r := &Region{
		Provider: provider, Name: name, Currency: or(e.Currency, "USD"), Date: or(e.Date, ""), Source: or(e.Source, ""), Note: or(e.Note, ""),
		GB: float64(or(e.GB, 1<<30)), Least: Money(or(e.Least, 0)), Default: or(e.Default, DefaultClass),
	}
	for _, n := range slices.Sorted(maps.Keys(e.Class)) {
		if k := e.Class[n]; k != nil {
			c, err := k.class(key+".class."+n, n)
			if err != nil {
				return nil, err
			}
			r.Classes = append(r.Classes, *c)
		}
	}
	slices.SortStableFunc(r.Classes, func(a, b Class) int { return cmp.Compare(b.Storage, a.Storage) })
	if _, ok := r.Class(""); !ok {
		return nil, (&checker{}).failed(key, "there is no class %s, which is the default one", r.Default)
	}
	for i := range r.Classes {
		c := &r.Classes[i]
		if _, ok := r.Class(c.Parts); !ok {
			return nil, (&checker{}).failed(key+".class."+c.Name+".parts", "no such class: %.70q", c.Parts)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(e.Route)) {
		if w := e.Route[n]; w != nil {
			r.Routes = append(r.Routes, w.route(n))
		}
	}
	slices.SortStableFunc(r.Routes, func(a, b Route) int {
		switch {
		case a.Name == b.Name:
			return 0
		case a.Name == Direct:
			return -1
		case b.Name == Direct:
			return 1
		}
		return 0
	})
	return r, nil
}

func (k *rawClass) class(key, name string) (*Class, error) {
	if k.Storage == nil || k.Put == nil || k.Get == nil {
		return nil, (&checker{}).failed(key, "storage, put and get are needed: a price of 0 has to be written")
	}
	c := &Class{
		Name: name, Aliases: k.Aliases, Cold: or(k.Cold, false), Storage: Money(*k.Storage), Put: Money(*k.Put), Get: Money(*k.Get), List: Money(or(k.List, *k.Put)),
		Retrieval: Money(or(k.Retrieval, 0)), MinDays: int(or(k.MinDays, 0)), MinBytes: or(k.MinBytes, 0), Overhead: or(k.Overhead, 0), OverheadHot: or(k.OverheadHot, 0),
		Parts: or(k.Parts, ""), Note: or(k.Note, ""),
	}
	for _, n := range slices.Sorted(maps.Keys(k.Tier)) {
		t := k.Tier[n]
		if t == nil {
			continue
		}
		if n == noTier {
			n = ""
		}
		c.Tiers = append(c.Tiers, Tier{Name: n, PerGB: Money(or(t.PerGB, 0)), Per1000: Money(or(t.Per1000, 0)), First: hours(t.First), Last: max(hours(t.First), hours(t.Last))})
	}
	if c.Cold && len(c.Tiers) == 0 {
		return nil, (&checker{}).failed(key, "a cold class needs a tier; write tier.%s where the store has none", noTier)
	}
	slices.SortStableFunc(c.Tiers, func(a, b Tier) int { return cmp.Compare(a.Last, b.Last) })
	return c, nil
}

// hours reads a time that check has seen.
func hours(s *string) time.Duration {
	d, _ := time.ParseDuration(or(s, "0s"))
	return d
}

func (w *rawRoute) route(name string) Route {
	r := Route{Name: name, FreeGB: or(w.FreeGB, 0), FreeStored: or(w.FreeStored, 0), Note: or(w.Note, "")}
	for _, s := range w.Steps {
		r.Steps = append(r.Steps, Step{UpToGB: s.UpToGB, PerGB: Money(s.PerGB)})
	}
	return r
}

func (r *Region) classNames() (names []string) {
	for _, c := range r.Classes {
		names = append(names, c.Name)
	}
	return names
}

func (c *Class) tierNames() (names []string) {
	for _, t := range c.Tiers {
		names = append(names, t.Name)
	}
	return names
}

// unknown makes an *UnknownError with the likeliest of the names that there are.
func unknown(what, name, of string, known []string) *UnknownError {
	e := &UnknownError{What: what, Name: name, Of: of, Known: known}
	type like struct {
		name     string
		distance int
	}
	var near []like
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d <= max(2, len(k)/2) {
			near = append(near, like{k, d})
		}
	}
	slices.SortStableFunc(near, func(a, b like) int { return cmp.Compare(a.distance, b.distance) })
	for i, n := range near {
		if i == 3 {
			break
		}
		e.Nearest = append(e.Nearest, n.name)
	}
	return e
}

// distance counts the letters to insert, drop or change that make b of a; of long texts it says that they are far apart.
func distance(a, b string) int {
	if len(a) > maxName || len(b) > maxName {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := last
			if a[i] != b[j] {
				change++
			}
			last = row[j+1]
			row[j+1] = min(change, last+1, row[j]+1)
		}
	}
	return row[len(b)]
}
