package config

import (
	"firn/internal/retain"
)

// form is how a value is written.
type form string

// The forms.
const (
	text     form = "text"
	word     form = "word"    // one of words
	file     form = "path"    // absolute, or beginning with ~/
	command  form = "command" // a line for the system's shell
	list     form = "list"    // of text; one text is a list of one
	words    form = "words"   // of words
	paths    form = "paths"
	yes      form = "yes"    // true or false
	count    form = "number" // from least to most
	size     form = "size"
	length   form = "time"     // 90s, 2h, 3d
	age      form = "age"      // 36h, 30d, 6w, 3m, 1y
	ageText  form = "age text" // the same, kept as text
	percent  form = "percent"
	rate     form = "rate"
	moments  form = "schedule"
	every    form = "every"
	window   form = "window"
	policy   form = "policy"
	cycle    form = "cycle"
	secret   form = "secret" // NAME_file, NAME_command or NAME_env
	place    form = "location"
	money    form = "money"
	lines    form = "lines" // a table of texts
	upkeep   form = "upkeep"
	settings form = "settings"
)

// key is one row of the table from which everything about a setting comes: how it is read, shown, offered by the schema, and described.
type key struct {
	name    string
	form    form
	help    string // half a line
	def     string // for people: what holds where nothing is said
	example string // as TOML
	words   []string
	least   int
	most    int // 0: no limit but that of numbers
	at      func(o any) any

	top   bool     // of a repository: may stand before the first table, for all of them; of a source: may stand there and in [defaults]
	only  []string // types of a channel that have it; empty: all
	files bool     // of a source: for those that read files
	parts []key    // of an upkeep and a policy
}

// of makes an accessor of a member.
func of[T, F any](f func(*T) *F) func(any) any {
	return func(o any) any { return f(o.(*T)) }
}

// secretParts are the endings of the keys of a secret.
var secretParts = []string{"_file", "_command", "_env"}

// names are the keys that a row stands for.
func (k *key) names() []string {
	if k.form != secret {
		return []string{k.name}
	}
	var all []string
	for _, part := range secretParts {
		all = append(all, k.name+part)
	}
	return all
}

func timingKeys[T any](f func(*T) *Timing) []key {
	t := func(member func(*Timing) any) func(any) any { return func(o any) any { return member(f(o.(*T))) } }
	return []key{
		{name: "schedule", form: moments, top: true, help: "when it runs", def: "only when it is asked for", example: `"daily 02:30"`, at: t(func(t *Timing) any { return &t.Schedule })},
		{name: "every", form: every, top: true, help: "short for schedule = \"every …\"", example: `"6h"`, at: t(func(t *Timing) any { return &t.Schedule })},
		{name: "window", form: window, top: true, help: "when it may run; where the window closes, it stops and goes on the next time", def: "always", example: `"22:00-06:00"`, at: t(func(t *Timing) any { return &t.Window })},
		{name: "max_duration", form: length, top: true, help: "how long it may run; then it stops and goes on the next time", def: "no limit", example: `"5h"`, at: t(func(t *Timing) any { return &t.MaxDuration })},
		{name: "stale_after", form: length, top: true, help: "how old the last success may be", def: "the distance of the schedule's moments, and half of that again", example: `"3d"`, at: t(func(t *Timing) any { return &t.StaleAfter })},
	}
}

func hookKeys[T any](f func(*T) *Hooks) []key {
	h := func(member func(*Hooks) any) func(any) any { return func(o any) any { return member(f(o.(*T))) } }
	return []key{
		{name: "before", form: command, top: true, help: "run before the job, which fails where it fails", example: `"/etc/firn/snap.sh"`, at: h(func(h *Hooks) any { return &h.Before })},
		{name: "after", form: command, top: true, help: "run after the job, always", example: `"/etc/firn/unsnap.sh"`, at: h(func(h *Hooks) any { return &h.After })},
		{name: "on_success", form: command, top: true, help: "run after the job where it succeeded", at: h(func(h *Hooks) any { return &h.OnSuccess })},
		{name: "on_failure", form: command, top: true, help: "run after the job where it failed", at: h(func(h *Hooks) any { return &h.OnFailure })},
		{name: "hook_timeout", form: length, top: true, help: "how long each of these commands may run", def: "10m", example: `"30m"`, at: h(func(h *Hooks) any { return &h.Timeout })},
	}
}

// policyKeys are the members of keep.
func policyKeys() []key {
	n := func(name, help string, f func(*retain.Policy) *int) key {
		return key{name: name, form: count, least: 1, most: retain.All, help: help, words: []string{"all"}, at: of(f)}
	}
	return []key{
		n("last", "the newest N", func(p *retain.Policy) *int { return &p.Last }),
		n("hourly", "the first of each of the newest N hours that have one", func(p *retain.Policy) *int { return &p.Hourly }),
		n("daily", "… N days", func(p *retain.Policy) *int { return &p.Daily }),
		n("weekly", "… N weeks, from Monday on", func(p *retain.Policy) *int { return &p.Weekly }),
		n("monthly", "… N months", func(p *retain.Policy) *int { return &p.Monthly }),
		n("quarterly", "… N quarters of a year", func(p *retain.Policy) *int { return &p.Quarterly }),
		n("yearly", "… N years", func(p *retain.Policy) *int { return &p.Yearly }),
		{name: "within", form: age, help: "what is younger than this; time without backups does not count", example: `"30d"`, at: func(o any) any { return &o.(*retain.Policy).Within }},
		{name: "tags", form: list, help: "what has one of these tags", example: `["release"]`, at: func(o any) any { return &o.(*retain.Policy).Tags }},
		n("min", "at least N, whatever else is said", func(p *retain.Policy) *int { return &p.Min }),
		{name: "burst", form: age, help: "snapshots closer together than this count as one, \"0\" for none", def: "half of how often the source is backed up", example: `"1h"`,
			at: func(o any) any { return &o.(*retain.Policy).Burst }},
	}
}

var cycleKeys = []key{
	{name: "kind", form: word, words: []string{"simple", "hanoi"}, help: "how it goes round"},
	{name: "frequency", form: count, least: 1, most: 3660, help: "days from one backup to the next", def: "1"},
	{name: "phase", form: count, most: 3659, help: "by how many days it is shifted", def: "0"},
	{name: "diffs", form: count, most: 10000, help: "simple: backups between two fulls"},
	{name: "fulls", form: count, least: 1, most: 10000, help: "simple: fulls that are kept, with what builds on them"},
	{name: "discs", form: count, least: 1, most: 16, help: "hanoi: how many discs there are"},
	{name: "archive_oldest", form: yes, help: "hanoi: keep what was on the last disc", def: "false"},
	{name: "full", form: yes, help: "hanoi: each backup is a full", def: "false"},
}
