package migrate

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"firn/internal/units"
)

// option is one flag of a command line.
type option struct {
	name  string // without dashes
	value word
}

// flags takes command lines apart. In takes are those with a value, by long name; short has the long names of letters.
type flags struct {
	takes map[string]bool
	short map[byte]string
}

func newFlags(takes, short string) flags {
	f := flags{map[string]bool{}, map[byte]string{}}
	for _, name := range strings.Fields(takes) {
		f.takes[name] = true
	}
	for _, pair := range strings.Fields(short) {
		f.short[pair[0]] = pair[2:]
	}
	return f
}

// parse returns the flags, what stands between them, and what stands behind "--".
func (f flags) parse(words []word) (all []option, args, behind []word) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		value := func() word {
			if i+1 < len(words) {
				i++
				return words[i]
			}
			return word{}
		}
		switch text := w.text; {
		case text == "--" && w.doubt == "":
			return all, args, words[i+1:]
		case strings.HasPrefix(text, "--"):
			name, rest, bound := strings.Cut(text[2:], "=")
			one := option{name, w}
			if one.value.text = rest; !bound && f.takes[name] {
				one.value = value()
			}
			all = append(all, one)
		case len(text) > 1 && text[0] == '-':
			for k := 1; k < len(text); k++ {
				name := f.short[text[k]]
				if name == "" {
					name = text[k : k+1]
				}
				one := option{name, word{}}
				if f.takes[name] {
					if one.value = w; k+1 < len(text) {
						one.value.text = strings.TrimPrefix(text[k+1:], "=")
					} else {
						one.value = value()
					}
					k = len(text)
				}
				all = append(all, one)
			}
		default:
			args = append(args, w)
		}
	}
	return all, args, nil
}

const (
	resticTakes = "exclude iexclude exclude-file iexclude-file exclude-if-present exclude-larger-than files-from files-from-raw files-from-verbatim host parent read-concurrency stdin-filename tag time group-by " +
		"cacert cache-dir compression key-hint limit-download limit-upload option pack-size password-command password-file repo repository-file retry-lock tls-client-cert http-user-agent stuck-request-timeout " +
		"keep-last keep-hourly keep-daily keep-weekly keep-monthly keep-yearly keep-within keep-within-hourly keep-within-daily keep-within-weekly keep-within-monthly keep-within-yearly keep-tag path " +
		"max-unused max-repack-size read-data-subset from-repo from-password-file from-password-command from-repository-file"
	resticShort = "e=exclude f=force x=one-file-system n=dry-run H=host g=group-by h=help o=option p=password-file q=quiet r=repo v=verbose"
)

var (
	resticFlags  = newFlags(resticTakes, resticShort)
	resticForget = newFlags(resticTakes, strings.Replace(resticShort, "H=host", "H=keep-hourly", 1)+" l=keep-last d=keep-daily w=keep-weekly m=keep-monthly y=keep-yearly c=compact")
)

// script is what importers of scripts have in common.
type script struct {
	*draft
	program string
	calls   int
	others  int
	said    map[string]bool
}

func newScript(program, file string, o ToolOptions) *script {
	return &script{draft: newDraft(program, file, o), program: program, said: map[string]bool{}}
}

// read runs a file through the shell, and calls do for each call of the program.
func (s *script) read(raw []byte, do func(sh *shell, c *command, words []word)) {
	scripts(string(raw), func(sh *shell, c *command) {
		words, ok := sh.call(c, s.program)
		switch {
		case len(c.words) == 0: // of a user's name and assignments
		case !ok && (c.words[0].text == "." || c.words[0].text == "source") && len(c.words) > 1:
			s.add(c.line, "%s %s: what that file sets is not known here; import both in one file where it matters", c.words[0].text, clip(c.words[1].text))
		case !ok:
			s.others++
		default:
			s.calls++
			if c.loop {
				s.add(c.line, "%s in a loop: read once, with what is known of it", s.program)
			}
			do(sh, c, words)
		}
	}, s.add)
}

// finish tells of what stands around the calls, and writes the result.
func (s *script) finish(want string) (*Result, error) {
	if s.calls == 0 {
		return nil, &Error{s.file, 0, "it does not call " + s.program}
	}
	if s.others > s.calls {
		s.add(0, "what else the script does is not taken over: before, after, on_success and on_failure are command lines around a source, and [notify.NAME] tells people")
	}
	if !s.top.has("schedule") && !slices.ContainsFunc(s.sources, func(e *entry) bool { return e.has("schedule") }) {
		s.top.set("schedule", "daily 03:00", "the script ran when cron or a timer called it: put its time here")
	}
	return s.result(want)
}

// sure reports whether a value is known, and may be written down.
func (s *script) sure(line int, what string, w word) bool {
	switch {
	case w.doubt != "":
		s.add(line, "%s: %s is known to the shell only: left out", what, clip(w.doubt))
	case w.secret:
		s.add(line, "%s holds a secret: left out", what)
	case w.text == "" || strings.ContainsAny(w.text, "\n\x00"):
		s.add(line, "%s: empty, or of several lines: left out", what)
	default:
		return true
	}
	return false
}

// Restic reads a script, a crontab or a file of variables in which restic is called. Nothing of it is run.
func Restic(name string, raw []byte, o ToolOptions) (*Result, error) {
	if err := text(name, raw); err != nil {
		return nil, err
	}
	r := &restic{script: newScript("restic", name, o), repositories: map[string]bool{}}
	r.read(raw, r.call)
	return r.finish("want restic backup with folders that are known")
}

type restic struct {
	*script
	repositories map[string]bool
}

// resticVerbs are its commands, as far as they are told apart.
var resticVerbs = []string{"backup", "forget", "prune", "check", "copy", "init", "snapshots", "unlock", "restore", "stats", "cache", "ls", "find", "diff", "dump", "mount", "key", "list", "migrate", "rebuild-index",
	"recover", "repair", "rewrite", "self-update", "tag", "version", "cat", "generate", "features", "options", "help"}

// call reads one call.
func (r *restic) call(sh *shell, c *command, words []word) {
	verb := ""
	if i := slices.IndexFunc(words, func(w word) bool { return slices.Contains(resticVerbs, w.text) }); i >= 0 {
		verb = words[i].text
		words = append(slices.Clone(words[:i]), words[i+1:]...)
	}
	parser := resticFlags
	if verb == "forget" {
		parser = resticForget
	}
	all, args, behind := parser.parse(words)
	switch verb {
	case "backup", "forget", "prune", "check":
		all = r.global(sh, c, all)
	}
	switch verb {
	case "backup":
		r.backup(c, all, args, behind)
	case "forget":
		r.forget(c, all)
	case "prune":
		r.job("prune", r.when(c, "weekly Sun 05:00"))
	case "check":
		job := r.job("check", r.when(c, "monthly 1 06:00"))
		for _, f := range all {
			switch {
			case f.name == "read-data":
				job.set("read_data", "all")
			case f.name == "read-data-subset" && r.sure(c.line, "--read-data-subset", f.value):
				job.set("read_data", strings.ToUpper(f.value.text))
			}
		}
	case "copy":
		r.add(c.line, "restic copy: a second repository gets copies by also, or by [repositories.NAME.copies.TO]")
	case "":
		r.add(c.line, "restic without a command that is known: left out")
	}
}

// when is the schedule of a job of the repository.
func (r *script) when(c *command, otherwise string) string {
	if c.when != "" {
		return c.when
	}
	return otherwise
}

// global takes the flags that all commands have, and the variables in their place.
func (r *restic) global(sh *shell, c *command, all []option) (rest []option) {
	for _, name := range []struct{ variable, flag string }{
		{"RESTIC_REPOSITORY", "repo"}, {"RESTIC_PASSWORD_FILE", "password-file"}, {"RESTIC_PASSWORD_COMMAND", "password-command"}, {"RESTIC_COMPRESSION", "compression"}, {"RESTIC_PACK_SIZE", "pack-size"},
	} {
		if w, ok := sh.value(c, name.variable); ok && !slices.ContainsFunc(all, func(f option) bool { return f.name == name.flag }) {
			all = append(all, option{name.flag, w})
		}
	}
	if w, ok := sh.value(c, "RESTIC_PASSWORD"); ok {
		if w.doubt != "" {
			r.add(c.line, "RESTIC_PASSWORD: %s is known to the shell only: say passphrase_command", clip(w.doubt))
		} else {
			r.passphrase(c.line, w.text)
		}
	}
	r.credentials(sh, c)
	for _, f := range all {
		switch f.name {
		case "repo":
			r.repository(c.line, f.value)
		case "repository-file":
			r.add(c.line, "--repository-file: the repository stays as it is; ours is %q", r.o.Repository)
		case "password-file":
			if r.sure(c.line, "the password file", f.value) {
				if file, ok := r.folder(c.line, f.value.text); ok && !r.top.has("passphrase_command") {
					r.top.set("passphrase_file", file)
				}
			}
		case "password-command":
			r.passwordCommand(c.line, f.value)
		case "limit-upload":
			if r.sure(c.line, "--limit-upload", f.value) {
				r.limit(c.line, "--limit-upload", f.value.text)
			}
		case "limit-download":
			if n, err := strconv.ParseUint(f.value.text, 10, 40); err == nil && n > 0 {
				r.top.set("limit_download", strconv.FormatUint(n, 10)+"K")
			}
		case "option":
			if class, ok := strings.CutPrefix(f.value.text, "s3.storage-class="); ok && class != "" && strings.Trim(class, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" {
				r.top.set("class", class)
			} else {
				r.add(c.line, "--option %s: left out", clip(before(f.value.text, "=")))
			}
		case "compression":
			switch f.value.text {
			case "max":
				r.top.set("compression", "best")
			case "better", "fastest":
				r.top.set("compression", f.value.text)
			case "off":
				r.add(c.line, "--compression off: what does not become smaller is stored as it is anyway")
			}
		case "no-cache":
			r.top.set("no_cache", true)
		case "pack-size", "cache-dir", "cacert", "tls-client-cert", "insecure-tls", "insecure-no-password", "key-hint":
			r.add(c.line, "--%s: left out", f.name)
		case "quiet", "verbose", "json", "cleanup-cache", "no-lock", "retry-lock", "dry-run", "no-extra-verify", "http-user-agent", "stuck-request-timeout", "help":
		default:
			rest = append(rest, f)
		}
	}
	return rest
}

func before(text, sep string) string {
	text, _, _ = strings.Cut(text, sep)
	return text
}

// credentials tells of those for the store.
func (s *script) credentials(sh *shell, c *command) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "B2_ACCOUNT_KEY", "B2_ACCOUNT_ID", "AZURE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "FTP_PASSWORD", "SWIFT_PASSWORD"} {
		if _, ok := sh.value(c, name); ok && !s.said[name] {
			s.said[name] = true
			s.add(c.line, "%s: credentials for S3 go into ~/.aws/credentials (profile names one of several), or stay in the environment", name)
		}
	}
	for name, key := range map[string]string{"AWS_DEFAULT_REGION": "region", "AWS_REGION": "region", "AWS_PROFILE": "profile"} {
		if w, ok := sh.value(c, name); ok && w.doubt == "" && w.text != "" && !w.secret && !s.top.has(key) && !strings.ContainsAny(w.text, "\n\x00") {
			s.top.set(key, w.text)
		}
	}
}

// repository tells of the old one.
func (r *restic) repository(line int, w word) {
	at := place(w.text)
	if w.doubt != "" {
		at = w.doubt
	}
	if w.secret {
		at = "…"
	}
	if r.repositories[at] {
		return
	}
	r.repositories[at] = true
	r.add(line, "repository %s stays as it is; ours is %q", at, r.o.Repository)
	if len(r.repositories) == 2 {
		r.add(line, "a second repository: all goes into one here; see also and copies of [repositories.NAME]")
	}
}

// passwordCommand takes the command that prints the password; where it prints what stands in it, that is the password.
func (r *restic) passwordCommand(line int, w word) {
	fields := strings.Fields(w.text)
	if len(fields) > 1 && (path.Base(fields[0]) == "echo" || path.Base(fields[0]) == "printf") && w.doubt == "" {
		if strings.ContainsAny(w.text, "`$|;<>&") {
			r.add(line, "the password command prints a secret that stands in it: left out; write it into a file and name that: passphrase_file")
			return
		}
		given := strings.Join(slices.DeleteFunc(fields[1:], func(f string) bool { return f == "-n" || f == "%s" || f == `%s\n` }), " ")
		r.passphrase(line, strings.Trim(given, `"'`))
		return
	}
	if r.sure(line, "the password command", w) && !r.top.has("passphrase_file") {
		r.top.set("passphrase_command", w.text)
	}
}

// backup makes a source of one restic backup.
func (r *restic) backup(c *command, all []option, args, behind []word) {
	e := &entry{}
	stdin, fromCommand, name := false, false, ""
	var patterns []string
	for _, f := range all {
		switch f.name {
		case "stdin":
			stdin = true
		case "stdin-from-command":
			fromCommand = true
		case "stdin-filename":
			if r.sure(c.line, "--stdin-filename", f.value) {
				name = path.Base(path.Clean("/" + f.value.text))
			}
		case "exclude":
			if r.sure(c.line, "--exclude", f.value) {
				patterns = append(patterns, r.pattern(c.line, f.value.text)...)
			}
		default:
			r.backupFlag(e, c.line, f)
		}
	}
	if c.when != "" {
		e.set("schedule", c.when)
	}
	if stdin || fromCommand {
		r.stream(c, e, name, stdin, append(args, behind...))
		return
	}
	var paths []string
	for _, w := range append(args, behind...) {
		if w.doubt == "" && w.glob {
			r.add(c.line, "%q: the shell chose by a pattern what was backed up: left out; name folders", clip(w.text))
		} else if r.sure(c.line, "a folder", w) {
			if f, ok := r.folder(c.line, w.text); ok {
				paths = append(paths, f)
			}
		}
	}
	if len(paths) == 0 {
		r.add(c.line, "restic backup: nothing that it backs up is known: left out")
		return
	}
	for _, made := range r.files(c.line, paths, patterns) {
		made.settings = append(made.settings, e.settings...)
	}
}

// pattern makes patterns of ours of one of restic's, which without a slash in front are held against any end of a path.
func (r *restic) pattern(line int, said string) []string {
	body, negated := strings.CutPrefix(said, "!")
	if strings.HasPrefix(body, string(homeMark)) || strings.HasPrefix(body, "/") {
		body = path.Clean(body)
	} else if body = path.Clean(body); strings.Contains(body, "/") && !strings.HasPrefix(body, "**/") {
		body = "**/" + body
	}
	if body == "." || body == "/" || strings.HasPrefix(body, "../") {
		r.add(line, "exclude %q names nothing: left out", clip(said))
		return nil
	}
	if negated {
		return []string{"!" + body}
	}
	return []string{body}
}

// backupFlag reads a flag that is a key here.
func (r *restic) backupFlag(e *entry, line int, f option) {
	what := "--" + clip(f.name)
	list := map[string]string{"iexclude": "iexclude", "exclude-if-present": "exclude_if_present", "tag": "tags"}[f.name]
	switch {
	case f.name == "exclude-caches" || f.name == "one-file-system":
		e.set(strings.ReplaceAll(f.name, "-", "_"), true)
	case f.name == "force":
		r.add(line, "--force: detect = \"always\" reads every file each time; firn run --force does so once")
	case f.name == "ignore-ctime":
		e.set("detect", "size,mtime,inode")
	case f.name == "ignore-inode":
		e.set("detect", "size,mtime")
	case f.name == "with-atime" || f.name == "no-scan" || f.name == "skip-if-unchanged" || f.name == "use-fs-snapshot" || f.name == "exclude-cloud-files" || f.name == "read-concurrency" ||
		f.name == "parent" || f.name == "group-by" || f.name == "time":
		r.add(line, "%s: left out, it is not needed or means nothing here", what)
	case strings.HasPrefix(f.name, "files-from") || f.name == "iexclude-file":
		r.add(line, "%s: what that file says is not read: name it in paths or in patterns: left out", what)
	case list == "" && f.name != "exclude-file" && f.name != "exclude-larger-than" && f.name != "host":
		r.add(line, "%s: left out", what)
	case !r.sure(line, what, f.value):
	case f.name == "host":
		if r.top.has("host") && !slices.Contains(r.top, setting{"host", f.value.text, ""}) {
			r.add(line, "--host %q: one name for a machine: the first is taken", clip(f.value.text))
		} else {
			r.top.set("host", f.value.text)
		}
	case f.name == "exclude-file":
		if file, ok := r.folder(line, f.value.text); ok {
			e.add("exclude_from", file)
			r.add(line, "--exclude-file %q: its patterns are read as gitignore has them: one with a slash in its middle begins at the folder (**/ in front finds it anywhere), variables mean nothing",
				clip(f.value.text))
		}
	case f.name == "exclude-larger-than":
		size := strings.ToUpper(strings.TrimSpace(f.value.text))
		if n, err := units.ParseSize(size); err != nil || n <= 0 {
			r.add(line, "--exclude-larger-than %q: no size: left out", clip(f.value.text))
		} else {
			e.set("exclude_larger_than", size)
		}
	case f.name == "iexclude":
		e.add(list, r.pattern(line, f.value.text)...)
	case f.name == "exclude-if-present":
		name, header, has := strings.Cut(f.value.text, ":")
		if has {
			r.add(line, "--exclude-if-present %q: it is enough here that the file is there, %q is not looked for", clip(name), clip(header))
		}
		if name != "" && !strings.Contains(name, "/") {
			e.add(list, name)
		}
	default:
		for tag := range strings.SplitSeq(f.value.text, ",") {
			if tag != "" && len(tag) <= 256 {
				e.add(list, tag)
			}
		}
	}
}

// stream makes a source of what a command writes.
func (r *restic) stream(c *command, e *entry, name string, stdin bool, words []word) {
	line, ok := "", true
	if stdin {
		line, ok = r.pipeline(c)
	} else {
		line, ok = r.typed(c.line, words)
	}
	if !ok || line == "" {
		r.add(c.line, "what is piped into restic cannot be taken over as it is: make it a source, command = \"…\", with secrets in files: left out")
		return
	}
	if name == "" || name == "." || name == "/" || name == "stdin" {
		name = plain(path.Base(before(line, " ")))
	}
	name = strings.ReplaceAll(name, `\`, "-")
	made := r.draft.stream(strings.TrimSuffix(name, path.Ext(name)), "command", line)
	made.set("name", r.free(name))
	for _, s := range e.settings {
		if s.key == "tags" || s.key == "schedule" {
			made.settings = append(made.settings, s)
		} else {
			r.add(c.line, "%s is of folders, and this is a stream: left out", s.key)
		}
	}
}

// pipeline writes the commands in front of a pipe; false: not all of it is known, or may be written down.
func (r *restic) pipeline(c *command) (string, bool) {
	var parts []string
	for at := c.from; at != nil; at = at.from {
		if len(at.sets) > 0 || at.other || len(parts) > 20 {
			return "", false
		}
		one, ok := r.typed(at.line, at.words)
		if !ok {
			return "", false
		}
		parts = append([]string{one}, parts...)
	}
	return strings.Join(parts, " | "), len(parts) > 0
}

// typed writes words for a shell.
func (r *restic) typed(line int, words []word) (string, bool) {
	var out []string
	for _, w := range words {
		lower := strings.ToLower(w.text)
		if w.doubt != "" || w.secret || w.glob || strings.ContainsRune(w.text, homeMark) || strings.Contains(lower, "pass") && strings.Contains(lower, "=") || withPassword(w.text) ||
			strings.HasPrefix(w.text, "-p") && len(w.text) > 2 && strings.HasPrefix(path.Base(words[0].text), "m") {
			return "", false
		}
		out = append(out, shellWord(w.text))
	}
	return strings.Join(out, " "), len(out) > 0
}

// resticHours are restic's letters for times.
var resticHours = map[string]int{"h": 1, "d": 24, "m": 31 * 24, "y": 366 * 24}

// forget becomes what is kept, and the job prune.
func (r *restic) forget(c *command, all []option) {
	var keep settings
	filter, some := "", false
	for _, f := range all {
		what := "--" + clip(f.name)
		rule, isKeep := strings.CutPrefix(f.name, "keep-")
		switch {
		case f.name == "prune" || f.name == "compact" || f.name == "group-by" || strings.HasPrefix(f.name, "repack-") || strings.HasPrefix(f.name, "max-") || f.name == "unsafe-allow-remove-all":
		case f.name == "tag" || f.name == "path" || f.name == "host":
			filter = what
		case !isKeep:
			r.add(c.line, "%s: left out", what)
		case !r.sure(c.line, what, f.value):
		case rule == "tag":
			keep.add("tags", slices.DeleteFunc(strings.Split(f.value.text, ","), func(t string) bool { return t == "" })...)
		case rule == "within":
			if d, ok := period(f.value.text, resticHours); ok {
				keep.set("within", ageText(d))
			} else {
				r.add(c.line, "%s %q: want such as 30d: left out", what, clip(f.value.text))
			}
		case slices.Contains([]string{"last", "hourly", "daily", "weekly", "monthly", "yearly"}, rule):
			if n, ok := r.number(c.line, what, f.value.text); ok {
				keep.set(rule, n)
			}
		default:
			r.add(c.line, "%s: keep has no such rule (within, or a number of them): left out", what)
		}
		some = some || isKeep
	}
	r.job("prune", r.when(c, "weekly Sun 05:00"))
	switch {
	case !some || len(keep) == 0:
		r.add(c.line, "restic forget without a rule that is known: everything is kept")
	case len(r.keep) > 0 && fmt.Sprint(r.keep) != fmt.Sprint(keep):
		r.add(c.line, "restic forget with other rules than before: put them, as keep, into the sources that they are for: left out")
	default:
		r.keep = keep
		if filter != "" {
			r.add(c.line, "%s of restic forget: keep holds for all sources here; move it into those that it is for", filter)
		}
	}
}
