package migrate

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// databases are those that are dumped.
func (b *borgmatic) databases() {
	for _, kind := range []struct{ option, key, file string }{
		{"postgresql_databases", "postgres", ".pgpass"}, {"mariadb_databases", "mysql", ".my.cnf"}, {"mysql_databases", "mysql", ".my.cnf"},
	} {
		n, _ := b.take(kind.option)
		if n == nil {
			continue
		}
		for _, item := range n.Content {
			if b.left <= 0 {
				return
			}
			f, names := b.fields(item)
			name := ""
			if f["name"] != nil {
				name = b.str(f["name"])
			}
			if name == "" {
				b.add(item.Line, "%s: a database without a name: left out", kind.option)
				continue
			}
			e := b.stream(kind.key+"-"+name, kind.key, name)
			for _, field := range names {
				b.database(e, kind.option, kind.key, kind.file, field, f[field])
			}
		}
	}
	b.otherDatabases()
}

// database reads one field of a database.
func (b *borgmatic) database(e *entry, option, kind, file, field string, n *yaml.Node) {
	said := b.str(n)
	same := map[string]string{"hostname": "host", "port": "port", "username": "user", "options": "dump_options", "socket_path": "socket"}
	switch {
	case field == "name" || said == "" && n.Kind == yaml.ScalarNode:
	case field == "password" || field == "restore_password":
		b.add(n.Line, "%s: passwords come from %s of the user that runs firn; put it there", option, file)
	case field == "format" && kind == "postgres" && (said == "custom" || said == "plain"):
		e.set("format", said)
	case field == "format" && said == "sql":
	case field == "format":
		b.add(n.Line, "%s: format %q is not known here: custom is taken, which restores in parts as well", option, clip(said))
	case field == "port" && (strings.Trim(said, "0123456789") != "" || len(said) > 5):
		b.add(n.Line, "%s: port %q is no number: left out", option, clip(said))
	case same[field] != "" && (field != "socket_path" || kind == "mysql"):
		if field == "options" && strings.Contains(strings.ToLower(said), "pass") {
			b.add(n.Line, "%s: options speak of a password, which comes from %s: left out", option, file)
			return
		}
		e.set(same[field], said)
	case strings.HasSuffix(field, "dump_command") && strings.HasPrefix(said, "/") && !strings.ContainsAny(said, " \t"):
		e.set("programs", path.Dir(said))
	case strings.HasSuffix(field, "_command"):
		b.add(n.Line, "%s: %s: programs are named by their folder (programs = \"/…\"); a database in a container is reached by host and port, or by a source command = \"…\"", option, field)
	case strings.HasPrefix(field, "restore_"), field == "label", field == "no_owner":
		b.add(n.Line, "%s: %s: say it when restoring (firn restore)", option, field)
	default:
		b.add(n.Line, "%s: %s: left out; service files (service = \"…\") and option files (defaults_file) say such things", option, clip(field))
	}
}

// otherDatabases become commands, or notes.
func (b *borgmatic) otherDatabases() {
	if n, _ := b.take("sqlite_databases"); n != nil {
		for _, item := range n.Content {
			f, _ := b.fields(item)
			if f["path"] == nil || !strings.HasPrefix(b.str(f["path"]), "/") {
				b.add(item.Line, "sqlite_databases: want an absolute path: left out")
				continue
			}
			at := b.str(f["path"])
			name := plain(strings.TrimSuffix(path.Base(at), path.Ext(at))) + ".sql"
			b.stream("sqlite-"+path.Base(at), "command", "sqlite3 -readonly "+shellWord(at)+" .dump").set("name", b.free(name))
		}
	}
	if n, line := b.take("mongodb_databases"); n != nil {
		b.add(line, "mongodb_databases: make a source of the dump, such as command = \"mongodump --archive --db NAME\": left out")
	}
}

// free returns a name that no other command's output has.
func (d *draft) free(name string) string {
	got := name
	for n := 2; d.names["output "+got]; n++ {
		got = fmt.Sprintf("%d-%s", n, name)
	}
	d.names["output "+got] = true
	return got
}

// shellWord writes a text as one word for a shell.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,+@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// checks become the jobs check and drill.
func (b *borgmatic) checks() {
	n, _ := b.take("checks")
	if n == nil {
		return
	}
	for _, item := range n.Content {
		name, often := b.str(item), ""
		if f, _ := b.fields(item); f["name"] != nil {
			name = b.str(f["name"])
			if f["frequency"] != nil {
				often = b.str(f["frequency"])
			}
			if f["only_run_on"] != nil {
				b.add(item.Line, "check %q: only_run_on: put the day into its schedule", clip(name))
			}
		}
		when := b.frequency(item.Line, often)
		switch name {
		case "repository", "archives":
			b.job("check", when)
		case "data":
			b.job("check", when).set("read_data", "1/12")
			b.add(item.Line, "check data: a twelfth is read each time; packs in cold classes only where max_cost is said")
		case "extract", "spot":
			b.job("drill", when)
			b.add(item.Line, "check %q: a drill restores a sample of files and compares them", name)
		case "disabled", "":
		default:
			b.add(item.Line, "check %q is not known: left out", clip(name))
		}
	}
}

// frequency makes a schedule of "2 weeks".
func (b *borgmatic) frequency(line int, said string) string {
	number, unit, _ := strings.Cut(strings.TrimSpace(said), " ")
	unit = strings.TrimSuffix(strings.TrimSpace(unit), "s")
	if number == "1" && unit == "month" || said == "" || said == "always" {
		return "monthly 1 06:00"
	}
	if number == "1" && unit == "week" {
		return "weekly Sat 06:00"
	}
	hours := map[string]int{"hour": 1, "day": 24, "week": 7 * 24, "month": 30 * 24, "year": 365 * 24}[unit]
	if d, ok := period(number+"x", map[string]int{"x": hours}); ok {
		return "every " + ageText(d)
	}
	b.add(line, "frequency %q: once a month is taken", clip(said))
	return "monthly 1 06:00"
}

// borgHooks says which hook ours is in the place of an old one, and of which job.
var borgHooks = map[string]struct{ job, hook string }{
	"before_backup": {"", "before"}, "after_backup": {"", "on_success"}, "before_actions": {"", "before"}, "after_actions": {"", "after"}, "before_everything": {"", "before"}, "after_everything": {"", "after"},
	"on_error": {"", "on_failure"}, "before_prune": {"prune", "before"}, "after_prune": {"prune", "on_success"}, "before_check": {"check", "before"}, "after_check": {"check", "on_success"},
	"before_extract": {"none", ""}, "after_extract": {"none", ""}, "before_compact": {"none", ""}, "after_compact": {"none", ""},
}

// hooks are commands around jobs.
func (b *borgmatic) hooks() {
	lines := map[string][]string{} // by job and hook
	var order []string
	put := func(line int, job, hook string, run []phrase) {
		if job == "none" || job != "" && b.upkeep[job] == nil {
			b.add(line, "commands around an action that is no job here: left out")
			return
		}
		for _, r := range run {
			if use := constantUse.FindString(r.text); use != "" && !strings.Contains(r.text, "$"+use) {
				b.add(r.line, "%s in a command is borgmatic's: look at it (FIRN_JOB, FIRN_STATUS and FIRN_REPORT are in the environment)", use)
			}
			at := job + " " + hook
			if lines[at] == nil {
				order = append(order, at)
			}
			lines[at] = append(lines[at], r.text)
		}
	}
	var names []string
	for name := range borgHooks {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, c string) int { return b.lines[a] - b.lines[c] })
	for _, name := range names {
		if n, line := b.take(name); n != nil {
			put(line, borgHooks[name].job, borgHooks[name].hook, b.each(n))
		}
	}
	b.commands(put)
	for _, at := range order {
		job, hook, _ := strings.Cut(at, " ")
		b.hook(job, hook, lines[at])
	}
}

// commands is the list of that name.
func (b *borgmatic) commands(put func(line int, job, hook string, run []phrase)) {
	n, _ := b.take("commands")
	if n == nil {
		return
	}
	for _, item := range n.Content {
		if b.left <= 0 {
			return
		}
		f, _ := b.fields(item)
		hook, point := "before", f["before"]
		if point == nil {
			hook, point = "after", f["after"]
		}
		if point == nil || f["run"] == nil {
			b.add(item.Line, "commands: want before or after, and run: left out")
			continue
		}
		if b.str(point) == "error" {
			hook = "on_failure"
		}
		if states := b.each(f["states"]); len(states) == 1 && hook == "after" {
			hook = map[string]string{"finish": "on_success", "fail": "on_failure"}[states[0].text]
			if hook == "" {
				hook = "after"
			}
		}
		jobs := []string{""}
		if when := b.each(f["when"]); len(when) > 0 {
			jobs = nil
			for _, w := range when {
				job, known := map[string]string{"create": "", "prune": "prune", "check": "check"}[w.text]
				if !known {
					job = "none"
				}
				if !slices.Contains(jobs, job) {
					jobs = append(jobs, job)
				}
			}
		}
		for _, job := range jobs {
			put(item.Line, job, hook, b.each(f["run"]))
		}
	}
}

// hook joins commands to one line for the shell, of which each runs only if those before it went well, as there.
func (b *borgmatic) hook(job, hook string, run []string) {
	line := run[0]
	if len(run) > 1 {
		for i, r := range run {
			if strings.ContainsAny(r, ";|&#\n") {
				run[i] = "(" + r + ")"
				if strings.ContainsAny(r, "#\n") {
					run[i] = "(" + r + "\n)"
				}
			}
		}
		line = strings.Join(run, " && ")
	}
	if job != "" {
		b.upkeep[job].set(hook, line)
		return
	}
	b.top.set(hook, line)
	if len(b.sources) > 1 {
		b.add(0, "%s runs around each source, borgmatic ran it once: move it to the source that needs it where that matters", hook)
	}
}

// monitors are who is told.
func (b *borgmatic) monitors() {
	for _, name := range []string{"healthchecks", "ntfy", "uptime_kuma", "cronitor", "cronhub", "watchgoose", "pagerduty", "pushover", "apprise", "zabbix", "loki", "sentry"} {
		n, line := b.take(name)
		if n == nil {
			continue
		}
		f, _ := b.fields(n)
		get := func(field string) string {
			if f[field] == nil {
				return ""
			}
			return b.str(f[field])
		}
		if n.Kind == yaml.ScalarNode {
			f["ping_url"] = n
		}
		e := &entry{wish: name}
		switch address := get("ping_url"); name {
		case "healthchecks":
			if address != "" && !strings.Contains(address, "://") {
				address = "https://hc-ping.com/" + address
			}
			b.channel(e, line, "healthchecks", address, b.states(f["states"], "always", "start"))
		case "ntfy":
			server, topic := get("server"), get("topic")
			if server == "" {
				server = "https://ntfy.sh"
			}
			if topic != "" {
				b.channel(e, line, "ntfy", strings.TrimRight(server, "/")+"/"+topic, b.states(f["states"], "failure"))
			}
			if f["access_token"] != nil || f["password"] != nil {
				b.add(line, "ntfy: put the token into a file of its own and name that: token_file")
			}
		case "uptime_kuma", "cronitor", "cronhub", "watchgoose":
			if address == "" {
				address = get("push_url")
			}
			b.channel(e, line, "webhook", address, []string{"success"})
			e.set("method", "GET")
			b.add(line, "%s: its address is called after each success, so that it tells where none comes; look whether it wants more in it", name)
		default:
			b.add(line, "%s is not known: a webhook, or a command, may reach it ([notify.NAME]): left out", name)
		}
	}
}

// channel adds one.
func (b *borgmatic) channel(e *entry, line int, kind, address string, on []string) {
	if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || withPassword(address) {
		b.add(line, "%s: want an address without a password in it (url_file names a file with it): left out", e.wish)
		return
	}
	e.set("type", kind)
	e.set("url", address)
	e.set("on", on)
	b.channels = append(b.channels, e)
}

// states are what a channel is told.
func (b *borgmatic) states(n *yaml.Node, otherwise ...string) []string {
	var on []string
	for _, s := range b.each(n) {
		if word := map[string]string{"start": "start", "finish": "success", "fail": "failure"}[s.text]; word != "" && !slices.Contains(on, word) {
			on = append(on, word)
		}
	}
	if len(on) == 0 {
		return otherwise
	}
	return on
}
