package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/retain"
	"firn/internal/schedule"
	"firn/internal/units"
)

// Show writes the configuration as it is in effect: one file, with what holds for several written out for each. Of secrets it holds where they come from. Load reads it as c again.
func (c *Config) Show() string {
	w := &writer{said: c.said, t: tables()}
	if c.Default != "" {
		w.line("repository", quote(c.Default))
	}
	w.section("log", w.t.log, &c.Log, &Log{Keep: -1, Stderr: !c.Log.Stderr})
	w.section("metrics", w.t.metrics, &c.Metrics, &Metrics{})
	w.section("serve", w.t.serve, &c.Serve, &Serve{})
	w.section("run", w.t.run, &c.Run, &Run{CatchUp: !c.Run.CatchUp})
	for _, n := range c.Notify {
		w.header("notify", n.Name)
		w.keys(w.t.channel, n, &Channel{All: !n.All})
	}
	for _, r := range c.Repositories {
		w.repository(r)
	}
	for _, s := range c.Sources {
		w.source(s)
	}
	return w.out.String()
}

// writer writes TOML.
type writer struct {
	out  strings.Builder
	said map[string]string
	t    *keysOf
}

func (w *writer) line(name, value string) { fmt.Fprintf(&w.out, "%s = %s\n", join("", name), value) }

func (w *writer) header(names ...string) {
	at := ""
	for _, name := range names {
		at = join(at, name)
	}
	if w.out.Len() > 0 {
		w.out.WriteByte('\n')
	}
	fmt.Fprintf(&w.out, "[%s]\n", at)
}

func (w *writer) section(name string, keys []key, o, fresh any) {
	if !reflect.DeepEqual(o, fresh) {
		w.header(name)
		w.keys(keys, o, fresh)
	}
}

// keys writes the members of o that are not as in fresh.
func (w *writer) keys(keys []key, o, fresh any) {
	for i := range keys {
		k := &keys[i]
		if c, ok := o.(*Channel); ok && len(k.only) > 0 && !slices.Contains(k.only, c.Type) || k.at == nil || k.form == every {
			continue // another key says it
		}
		v, none := k.at(o), k.at(fresh)
		if k.form == upkeep || reflect.DeepEqual(v, none) {
			continue
		}
		if k.form == secret {
			w.secret(k.name, *v.(*Secret))
		} else if text := w.value(k, v); text != "" {
			w.line(k.name, text)
		}
	}
}

func (w *writer) secret(name string, s Secret) {
	for i, value := range []string{s.File, s.Command, s.Env} {
		if value != "" {
			w.line(name+secretParts[i], w.text(value))
		}
	}
}

// text writes what was read from text, with its variables where they stood.
func (w *writer) text(value string) string {
	if said, ok := w.said[value]; ok {
		return quote(said)
	}
	return quote(strings.ReplaceAll(value, "$", "$$"))
}

func (w *writer) list(all []string) string {
	texts := make([]string, len(all))
	for i, text := range all {
		texts[i] = w.text(text)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// value writes what v points to.
func (w *writer) value(k *key, v any) string {
	switch v := v.(type) {
	case *string:
		return w.text(*v)
	case *[]string:
		return w.list(*v)
	case *bool:
		return strconv.FormatBool(*v)
	case *int:
		return number(*v)
	case **int:
		return number(**v)
	case *units.Size:
		return quote(sizeOf(*v))
	case *float64:
		return quote(strconv.FormatFloat(100**v, 'f', -1, 64) + "%")
	case *time.Duration:
		if k.form == age {
			return quote(ageOf(*v))
		}
		return quote(lengthOf(*v))
	case *schedule.Schedule:
		return quote(strings.ReplaceAll(v.String(), "$", "$$"))
	case *schedule.Window:
		return quote(v.String())
	case *schedule.Timetable:
		return quote(v.String())
	case *retain.Cycle:
		return quote(v.String())
	case *retain.Policy:
		return w.policy(*v)
	case *map[string]string:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(*v)) {
			parts = append(parts, join("", name)+" = "+w.text((*v)[name]))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	panic(fmt.Sprintf("config: no text for %T", v)) // a programmer's error
}

func number(n int) string {
	if n == retain.All {
		return `"all"`
	}
	return strconv.Itoa(n)
}

// sizeOf writes a size as units reads it.
func sizeOf(n units.Size) string {
	for _, u := range []struct {
		size units.Size
		name string
	}{{units.TiB, "T"}, {units.GiB, "G"}, {units.MiB, "M"}, {units.KiB, "K"}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(int64(n/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(n), 10)
}

// lengthOf writes a length of time as units reads it.
func lengthOf(d time.Duration) string {
	var b strings.Builder
	for _, u := range []struct {
		size time.Duration
		name string
	}{{units.Day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.size
		}
	}
	return b.String()
}

func ageOf(d time.Duration) string {
	switch {
	case d == retain.NoBurst:
		return "0"
	case d%units.Day == 0:
		return strconv.FormatInt(int64(d/units.Day), 10) + "d"
	}
	return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
}

func (w *writer) policy(p retain.Policy) string {
	p.Cycle = retain.Cycle{}
	if p.Check() != nil {
		return "" // the cycle alone
	}
	var parts []string
	for i := range w.t.policy {
		k := &w.t.policy[i]
		if v := k.at(&p); !reflect.ValueOf(v).Elem().IsZero() {
			parts = append(parts, k.name+" = "+w.value(k, v))
		}
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

func (w *writer) repository(r *Repository) {
	w.header("repositories", r.Name)
	w.keys(w.t.repository, r, &Repository{})
	for i := range w.t.repository {
		k := &w.t.repository[i]
		if k.form != upkeep {
			continue
		}
		if u := *k.at(r).(**Upkeep); u != nil {
			w.header("repositories", r.Name, k.name)
			w.keys(k.parts, u, &Upkeep{})
		}
	}
	for _, c := range r.Copies {
		w.header("repositories", r.Name, "copies", c.To)
		w.keys(w.t.copy, c, &Copy{})
	}
}

func (w *writer) source(s *Source) {
	w.header("sources", s.Name)
	settings := maps.Clone(s.Settings)
	switch {
	case s.Kind == folder && len(s.Paths) > 0:
		w.line("paths", w.list(s.Paths))
	case s.Kind == folder:
		w.line("path", w.text(s.Rest))
	case s.Kind == "command":
		w.line("command", w.text(s.Settings["command"]))
		w.line("name", w.text(s.Rest))
		delete(settings, "command")
	default:
		w.line(s.Kind, w.text(s.Rest))
	}
	if s.Off {
		w.line("enabled", "false")
	}
	w.keys(w.t.source, s, &Source{MaxShrink: 0.5})
	if s.Cycle.Kind != "" && s.Keep.Check() != nil {
		w.line("keep", `"all"`)
	}
	if len(settings) > 0 {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			parts = append(parts, name+" = "+w.text(settings[name]))
		}
		w.line("settings", "{ "+strings.Join(parts, ", ")+" }")
	}
}
