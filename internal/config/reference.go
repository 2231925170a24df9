package config

import (
	"fmt"
	"slices"
	"strings"
)

// Example is a configuration that can be read, with comments, to begin with.
func Example() string { return example }

const example = `# firn looks for this file as /etc/firn/firn.toml or ~/.config/firn/firn.toml; firn config check looks it over.

repository = "s3://bucket/nas"             # or a folder: "/mnt/disk/backup"
passphrase_file = "/etc/firn/passphrase"   # readable by its owner only
schedule = "daily 02:30"                   # for every source that does not say otherwise
keep = { daily = 14, weekly = 8, monthly = 24 }
prune = "weekly Sun 05:00"                 # forgets by keep, and deletes
check = "monthly 1 06:00"
#limit_upload = "Mon-Fri 08:00-18:00 2M, else off"

[sources.home]
path = "/home"
exclude = ["*.tmp", ".cache"]

[sources.photos]
path = "/srv/photos"
every = "6h"

[sources.shop]
postgres = "shop"                          # or mysql, zfs, btrfs, svn, command
#stale_after = "2d"

#[notify.ops]
#type = "mail"
#to = ["ops@example.org"]
#from = "firn@example.org"
#server = "mail.example.org:587"
#user = "firn"
#password_file = "/etc/firn/mail"
`

// Reference is the list of all keys as Markdown: made of the tables that read them.
func Reference(kinds []Kind) string {
	t := tables()
	var b strings.Builder
	section := func(title, about string, keys []key) {
		fmt.Fprintf(&b, "\n## %s\n\n", title)
		if about != "" {
			b.WriteString(about + "\n\n")
		}
		b.WriteString("| key | value | default | |\n|---|---|---|---|\n")
		for i := range keys {
			row(&b, &keys[i])
		}
	}
	part := func(keys []key) []key {
		return slices.DeleteFunc(slices.Clone(keys), func(k key) bool { return find(t.common, k.name) != nil })
	}
	section("`[repositories.NAME]`", "Where backups go. All but location and also may stand before the first table, too, and hold for all repositories then. "+
		"`repository = \"LOCATION\"` there is short for one of the name default; `repository = \"NAME\"` names the one of sources that say none.", t.repository)
	fmt.Fprintf(&b, "\n`[repositories.NAME.copies.TO]` copies new snapshots into the repository TO: a schedule, or a table with the keys of jobs below.\n")
	section("Jobs", "What sources, transition, prune, check, drill and copies have in common.", t.common)
	section("`transition`", "In `[repositories.NAME.transition]`, beside the keys of jobs. Its credentials have to be able to overwrite objects.", part(t.transition))
	section("`prune`", "In `[repositories.NAME.prune]`, beside the keys of jobs.", part(t.prune))
	section("`check`", "In `[repositories.NAME.check]`, beside the keys of jobs.", part(t.check))
	section("`drill`", "In `[repositories.NAME.drill]`, beside the keys of jobs.", part(t.drill))
	section("`[sources.NAME]`", "What is backed up, beside the keys of jobs. Those marked • may stand before the first table (but for notify) or in `[defaults]`, and hold for all sources then.", part(t.source))
	kindsTable(&b, kinds)
	section("`keep`", "Which snapshots stay; what no rule names goes. A number, or \"all\".", t.policy)
	section("`[cycles.NAME]`", "A rotation that sources name by `cycle = \"NAME\"`: as a text, `cycle = \"hanoi discs=5\"`, or by these keys. Beside them it may have any key marked • that its sources share.", t.cycle)
	section("`[notify.NAME]`", "Who is told what.", t.channel)
	section("`[log]`", "", t.log)
	section("`[metrics]`", "", t.metrics)
	section("`[serve]`", "", t.serve)
	section("`[run]`", "", t.run)
	return b.String()
}

func row(b *strings.Builder, k *key) {
	name := "`" + k.name + "`"
	if k.form == secret {
		name = "`" + strings.Join(k.names(), "`, `") + "`"
	}
	if k.top && k.at != nil {
		name += " •"
	}
	help := k.help
	if len(k.only) > 0 {
		help = strings.Join(k.only, ", ") + ": " + help
	}
	if k.example != "" {
		help += ", such as `" + k.example + "`"
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, escape(valueOf(k)), escape(k.def), escape(help))
}

func escape(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// valueOf says for people what a value is.
func valueOf(k *key) string {
	switch k.form {
	case word:
		return strings.Join(k.words, ", ")
	case words:
		return "list of " + strings.Join(k.words, ", ")
	case count:
		switch {
		case slices.Contains(k.words, "all"):
			return "number or \"all\""
		case k.most > 0 && k.most < 1<<30:
			return fmt.Sprintf("%d to %d", k.least, k.most)
		}
	}
	return map[form]string{
		text: "text", file: "path", command: "shell command", list: "list", paths: "list of paths", yes: "true, false", count: "number", size: "size", length: "time", age: "age", ageText: "age", percent: "percent",
		rate: "rate, timetable", moments: "schedule", every: "time", window: "window", policy: "table", cycle: "cycle", secret: "origin of a secret", place: "location", money: "money", lines: "table", upkeep: "schedule or table", settings: "table",
	}[k.form]
}

// kindsTable lists the kinds of sources with their settings.
func kindsTable(b *strings.Builder, kinds []Kind) {
	fmt.Fprintf(b, "\n### What a source is\n\nExactly one of these keys says it, and settings of its kind may stand beside it; what stands in [SOURCES.md](SOURCES.md) of them holds here, too.\n\n| key | | settings |\n|---|---|---|\n")
	for _, k := range kinds {
		var names []string
		for _, set := range k.Settings {
			if find(tables().source, set.Name) == nil && !(k.Name == "command" && set.Name == "command") || set.Name == "exclude" {
				names = append(names, "`"+set.Name+"`")
			}
		}
		key, what := "`"+k.Name+"`", k.What
		switch {
		case k.Name == folder:
			key, what = "`path`, `paths`", "a folder or file; several, each with snapshots of its own"
		case k.Name == "command":
			names = append([]string{"`name`"}, names...)
		}
		for _, other := range k.Others {
			key += ", `" + other + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", key, escape(what), strings.Join(names, ", "))
	}
}
