package migrate

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// duplicityFlags are those of duplicity with a value.
var duplicityFlags = newFlags("include exclude include-filelist exclude-filelist include-globbing-filelist exclude-globbing-filelist include-regexp exclude-regexp exclude-if-present exclude-older-than "+
	"full-if-older-than volsize encrypt-key sign-key encrypt-sign-key hidden-encrypt-key encrypt-secret-keyring gpg-options gpg-binary archive-dir name tempdir max-blocksize verbosity log-file log-fd "+
	"num-retries timeout s3-endpoint-url s3-region-name s3-multipart-chunk-size s3-multipart-max-procs s3-multipart-max-timeout s3-kms-key-id s3-kms-grant ssh-options rsync-options ssh-backend "+
	"scp-command sftp-command file-prefix file-prefix-manifest file-prefix-archive file-prefix-signature backend-retry-delay time-separator rename concurrency mp-segment-size par2-redundancy par2-options "+
	"par2-volumes imap-mailbox imap-full-address ssl-cacert-file ssl-cacert-path cf-backend azure-blob-tier azure-max-connections restore-time time file-to-restore path-to-restore tar-options "+
	"pydevd compare-data-limit max-depth show-changes-in-set swift-storage-policy webdav-headers log-timestamp-format jobs metadata-sync-mode", "v=verbosity t=time r=path-to-restore V=version h=help")

// duplicityPlain mean nothing here, and need no word.
var duplicityPlain = strings.Fields("verbosity log-file log-fd num-retries timeout s3-use-new-style s3-european-buckets s3-unencrypted-connection s3-use-multiprocessing s3-multipart-chunk-size " +
	"s3-multipart-max-procs s3-multipart-max-timeout archive-dir name tempdir backend-retry-delay progress progress-rate force allow-source-mismatch asynchronous-upload time-separator dry-run no-print-statistics " +
	"use-agent version help no-compression gpg-options gpg-binary old-filenames concurrency mp-segment-size par2-options par2-volumes ssl-no-check-certificate extra-clean exclude-device-files null-separator")

// Duplicity reads a script, a crontab or a file of variables in which duplicity is called. Nothing of it is run.
func Duplicity(name string, raw []byte, o ToolOptions) (*Result, error) {
	if err := text(name, raw); err != nil {
		return nil, err
	}
	d := &duplicity{script: newScript("duplicity", name, o)}
	d.read(raw, d.call)
	d.retention()
	return d.finish("want duplicity with a folder and a target that are known")
}

type duplicity struct {
	*script
	older     time.Duration // remove-older-than; 0: none
	fulls     int           // remove-all-but-n-full; 0: none
	fullsLine int
	every     time.Duration // full-if-older-than
}

// The commands of duplicity. Without one it backs up.
var (
	duplicityBackups = []string{"full", "incr", "incremental", "inc", "backup"}
	duplicityOthers  = []string{"restore", "verify", "cleanup", "collection-status", "list-current-files", "replicate", "remove-older-than", "remove-all-but-n-full", "remove-all-inc-of-but-n-full"}
)

// call reads one call.
func (d *duplicity) call(sh *shell, c *command, words []word) {
	all, args, behind := duplicityFlags.parse(words)
	args = append(args, behind...)
	verb := "backup"
	if len(args) > 0 && (slices.Contains(duplicityBackups, args[0].text) || slices.Contains(duplicityOthers, args[0].text)) {
		verb, args = args[0].text, args[1:]
	}
	if slices.ContainsFunc(all, func(f option) bool { return f.name == "version" || f.name == "help" }) {
		return
	}
	for _, name := range []string{"PASSPHRASE", "SIGN_PASSPHRASE"} {
		w, ok := sh.value(c, name)
		switch {
		case !ok || w.text == "" && w.doubt == "":
		case name == "SIGN_PASSPHRASE":
			if !d.said[name] {
				d.said[name] = true
				d.add(c.line, "SIGN_PASSPHRASE: snapshots are signed by a key of the host, which needs none")
			}
		case w.doubt != "":
			d.add(c.line, "PASSPHRASE: %s is known to the shell only: say passphrase_command", clip(w.doubt))
		default:
			d.passphrase(c.line, w.text)
		}
	}
	d.credentials(sh, c)
	switch verb {
	case "remove-older-than":
		d.removeOlder(c, args)
	case "remove-all-but-n-full":
		d.job("prune", d.when(c, "weekly Sun 05:00"))
		if n, err := strconv.Atoi(firstText(args)); err == nil && n > 0 && n < 10_000 {
			d.fulls, d.fullsLine = n, c.line
		} else {
			d.add(c.line, "remove-all-but-n-full: how many is not known: left out")
		}
	case "remove-all-inc-of-but-n-full":
		d.add(c.line, "%s: snapshots need no older ones here: keep = { daily = …, monthly = … } thins them out", verb)
	case "verify":
		d.job("drill", d.when(c, "monthly last 06:00"))
		d.add(c.line, "verify: a drill restores a sample of files and compares them; check looks at what is stored")
	case "restore", "cleanup", "collection-status", "list-current-files", "replicate":
	default:
		d.backup(c, verb, all, args)
	}
}

func firstText(words []word) string {
	if len(words) == 0 || words[0].doubt != "" || words[0].secret {
		return ""
	}
	return words[0].text
}

// duplicityHours are its letters for times; its months have 30 days.
var duplicityHours = map[string]int{"h": 1, "D": 24, "W": 7 * 24, "M": 30 * 24, "Y": 365 * 24}

func (d *duplicity) removeOlder(c *command, args []word) {
	d.job("prune", d.when(c, "weekly Sun 05:00"))
	age, ok := period(firstText(args), duplicityHours)
	if !ok {
		d.add(c.line, "remove-older-than: want such as 6M: left out")
		return
	}
	d.older = max(d.older, age)
}

// retention says what is kept.
func (d *duplicity) retention() {
	span := d.older
	if d.fulls > 0 && d.every > 0 {
		span = max(span, time.Duration(d.fulls)*d.every)
		d.add(d.fullsLine, "remove-all-but-n-full %d: as long as %d fulls of the old script reached back", d.fulls, d.fulls)
	} else if d.fulls > 0 {
		d.add(d.fullsLine, "remove-all-but-n-full %d: snapshots need no older ones here, so fulls are not counted: say what is kept, such as keep = { daily = 14, monthly = 12 }", d.fulls)
	}
	if span > 0 && span < 100*365*24*time.Hour {
		d.keep.set("within", ageText(span))
	}
	if d.every > 0 {
		d.add(0, "full_every is left out on purpose: each snapshot stands for itself, and an old one is never needed by a new one; full_every = %q would send everything again so often", ageText(d.every))
	}
}

// backup makes a source of one backup.
func (d *duplicity) backup(c *command, verb string, all []option, args []word) {
	if len(args) != 2 {
		d.add(c.line, "duplicity: want a folder and a target, found %d: left out", len(args))
		return
	}
	at := place(args[1].text)
	if args[1].doubt != "" || args[1].secret {
		at = "…"
	}
	if verb == "full" {
		d.add(c.line, "full: the first backup is one; full_every makes more, which nothing here needs")
	}
	d.add(c.line, "target %s stays as it is; ours is %q", at, d.o.Repository)
	folder, ok := "", d.sure(c.line, "the folder", args[0])
	if ok {
		folder, ok = d.folder(c.line, strings.TrimPrefix(args[0].text, "file://"))
	}
	if !ok {
		return
	}
	e := &entry{}
	var choices []choice
	for _, f := range all {
		if take := f.name == "include"; take || f.name == "exclude" {
			if p, ok := d.selection(c.line, f, folder); ok {
				choices = append(choices, choice{take, p, c.line})
			}
			continue
		}
		d.flag(e, c.line, f)
	}
	if c.when != "" {
		e.set("schedule", c.when)
	}
	paths, patterns := d.chosen(choices, folder)
	for _, made := range d.files(c.line, paths, patterns) {
		made.settings = append(made.settings, e.settings...)
	}
}

// selection makes a pattern of ours of one of duplicity's, which are held against whole paths.
func (d *duplicity) selection(line int, f option, folder string) (string, bool) {
	if !d.sure(line, "--"+f.name, f.value) {
		return "", false
	}
	said, any := strings.CutPrefix(f.value.text, "ignorecase:")
	if any {
		d.add(line, "--%s %q: upper and lower case differ here, but in iexclude", f.name, clip(f.value.text))
	}
	switch trimmed := strings.TrimRight(said, "/"); {
	case said == "**" || trimmed == folder+"/**" || trimmed == "/**" || said == "/" || said == "*" && folder == "/":
		return "**", true
	case strings.HasPrefix(said, "/") || strings.HasPrefix(said, "**"):
		if inner, ok := strings.CutSuffix(trimmed, "/**"); ok && f.name == "include" && inner != "" {
			trimmed = inner
		}
		return doubleStars(trimmed), trimmed != ""
	case strings.HasPrefix(said, string(homeMark)):
		return said, true
	}
	d.add(line, "--%s %q: want an absolute path, or ** in front: left out", f.name, clip(said))
	return "", false
}

// doubleStars makes ** inside of a name, which reaches over slashes there, one that does here.
func doubleStars(pattern string) string {
	parts := strings.Split(pattern, "/")
	for i, p := range parts {
		if p == "**" || !strings.Contains(p, "**") {
			continue
		}
		if rest, ok := strings.CutPrefix(p, "**"); ok && i == 0 && !strings.Contains(rest, "**") {
			parts[i] = "**/*" + rest // **.o is any name that ends so
			continue
		}
		parts[i] = strings.ReplaceAll(p, "**", "*")
	}
	return strings.Join(parts, "/")
}

// chosen says which folders are backed up, and what of them is not. In duplicity the first pattern that matches decides, and what is above something included is taken, too.
func (d *duplicity) chosen(choices []choice, folder string) (paths, patterns []string) {
	end := slices.IndexFunc(choices, func(c choice) bool { return !c.take && c.pattern == "**" })
	if end < 0 {
		return []string{folder}, reversed(slices.DeleteFunc(choices, func(c choice) bool { return c.pattern == "**" }))
	}
	choices = choices[:end]
	for _, c := range choices {
		if !c.take {
			continue
		}
		p, ok := c.pattern, false
		if !isPattern(p) && (strings.HasPrefix(p, "/") && within(p, folder) || strings.HasPrefix(p, string(homeMark)) && (folder == "/" || within(p, string(homeMark)+strings.TrimPrefix(folder, "~")))) {
			p, ok = d.folder(c.line, p)
		}
		if !ok {
			paths = nil
			break
		}
		paths = append(paths, p)
	}
	if len(paths) == 0 {
		d.add(lineOf(choices), "--include … --exclude '**': all of %q is taken but for what is excluded; name folders in paths to take less", clip(folder))
		paths = []string{folder}
	}
	return paths, reversed(choices)
}

func lineOf(choices []choice) int {
	if len(choices) == 0 {
		return 0
	}
	return choices[0].line
}

// flag reads one that is a key here.
func (d *duplicity) flag(e *entry, line int, f option) {
	what := "--" + clip(f.name)
	if class := map[string]string{"s3-use-deep-archive": "DEEP_ARCHIVE", "s3-use-glacier": "GLACIER", "s3-use-glacier-ir": "GLACIER_IR", "s3-use-ia": "STANDARD_IA", "s3-use-onezone-ia": "ONEZONE_IA"}[f.name]; class != "" {
		e.set("class", class)
		return
	}
	switch f.name {
	case "full-if-older-than":
		if d.sure(line, what, f.value) {
			if age, ok := period(f.value.text, duplicityHours); ok {
				d.every = max(d.every, age)
			} else {
				d.add(line, "%s %q: want such as 1M: left out", what, clip(f.value.text))
			}
		}
	case "exclude-other-filesystems":
		e.set("one_file_system", true)
	case "exclude-if-present":
		if d.sure(line, what, f.value) && !strings.Contains(f.value.text, "/") {
			e.add("exclude_if_present", f.value.text)
		}
	case "volsize":
		d.add(line, "--volsize: packs are as large as the line and the class want them (pack_size sets it by hand)")
	case "encrypt-key", "hidden-encrypt-key", "sign-key", "encrypt-sign-key", "encrypt-secret-keyring":
		d.add(line, "%s: GPG keys are not used. Make a recovery key with age-keygen, keep it elsewhere, and give its public half to firn init --recipient; a passphrase does, too", what)
	case "no-encryption":
		d.add(line, "--no-encryption: here everything is encrypted")
	case "max-blocksize":
		d.add(line, "--max-blocksize: nothing here is the same: content is cut where it changes")
	case "par2-redundancy":
		if n, err := strconv.Atoi(f.value.text); err == nil && n >= 0 && n <= 100 && f.value.doubt == "" {
			e.set("parity", n)
		}
	case "s3-endpoint-url", "s3-region-name":
		if d.sure(line, what, f.value) && !withPassword(f.value.text) {
			d.top.set(map[string]string{"s3-endpoint-url": "endpoint", "s3-region-name": "region"}[f.name], f.value.text)
		}
	case "include-filelist", "exclude-filelist", "include-globbing-filelist", "exclude-globbing-filelist", "include-regexp", "exclude-regexp", "exclude-older-than":
		d.add(line, "%s: say it by paths and by patterns of gitignore: left out", what)
	default:
		if !slices.Contains(duplicityPlain, f.name) {
			d.add(line, "%s: left out", what)
		}
	}
}
