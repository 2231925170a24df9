package migrate

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"firn/internal/retain"
)

// S3napbackOptions are what its file does not say.
type S3napbackOptions struct {
	Year       int    // in which to begin: its phases count from New Year's Day, ours go on
	Repository string // where ours will be; empty: a prefix in its bucket
}

// napback reads one file.
type napback struct {
	notes
	doc  document
	file string
	o    S3napbackOptions

	temp  string          // TempDir
	paths map[string]bool // sources that are there already: kind and name
	count int
	said  map[string]bool // notes that are made once
}

// The kinds of sources, as s3napback has them in lower case.
var napbackSources = []string{"directory", "mysql", "postgresql", "subversion", "subversiondir"}

func isNapbackSource(kind string) bool {
	for _, k := range napbackSources {
		if k == kind {
			return true
		}
	}
	return false
}

// S3napback reads a configuration of s3napback (versions up to 1.13). Each directory, database and repository becomes a source with the cycle of its block; a block without closing tag ends
// where the next begins.
func S3napback(name string, raw []byte, o S3napbackOptions) (*Result, error) {
	if err := text(name, raw); err != nil {
		return nil, err
	}
	root, err := apache(name, raw, isNapbackSource)
	if err != nil {
		return nil, err
	}
	n := &napback{file: name, o: o, paths: map[string]bool{}, said: map[string]bool{}}
	if err := n.global(root); err != nil {
		return nil, err
	}
	if err := n.block(root); err != nil {
		return nil, err
	}
	for _, b := range root.blocks {
		if err := n.top(b); err != nil {
			return nil, err
		}
	}
	if n.count == 0 {
		return nil, &Error{name, 0, "nothing to back up in it: want Directory, MySQL, PostgreSQL, Subversion or SubversionDir"}
	}
	n.add(0, "old archives stay where they are and can be deleted when the last of them is not wanted any more; the first backup here stores everything once")
	return &Result{TOML: n.doc.b.String(), Notes: n.sorted(), Sources: n.count}, nil
}

// once makes a note the first time that it is asked for.
func (n *napback) once(line int, text string) {
	if !n.said[text] {
		n.said[text] = true
		n.add(line, "%s", text)
	}
}

// global is what stands outside of blocks.
func (n *napback) global(root *block) error {
	one := func(name string) (string, int) {
		values, line := root.get(name)
		if len(values) == 0 {
			return "", line
		}
		return values[len(values)-1], line
	}
	n.doc.comment("Made from %s, a configuration of s3napback. Read it, then: firn config check\ns3napback -t is firn run --test, and -f is firn run --force.", path.Base(n.file))
	bucket, line := one("bucket")
	location := n.o.Repository
	if location == "" {
		if bucket == "" {
			return &Error{n.file, 0, "it names no Bucket; say where the repository will be"}
		}
		location = "s3://" + bucket + "/firn"
		n.add(line, "Bucket: the repository goes below %s, beside the old archives; another bucket, or a class such as DEEP_ARCHIVE, can be chosen when it is made (firn init)", location)
	}
	n.doc.set("repository", value(location), "")
	n.doc.set("schedule", "daily 03:00", "s3napback ran when cron called it: put the hour of that line here")
	if temp, _ := one("tempdir"); temp != "" {
		n.temp = temp
	}
	for _, d := range root.directives {
		n.globalDirective(d)
	}
	if to, line := one("gpgrecipient"); to == "" {
		n.add(line, "no GpgRecipient: the archives were not encrypted. Here everything is: firn init asks for a passphrase, or takes --recipient")
	}
	return nil
}

func (n *napback) globalDirective(d directive) {
	switch d.name {
	case "bucket", "tempdir", "usetempfile", "cycletype", "frequency", "phase", "diffs", "fulls", "discs", "archiveoldestdisc", "exclude", "mysqloptions":
	case "diffdir":
		n.add(d.line, "DiffDir is not needed: what is remembered between runs lies in firn's state folder and can be lost; tar's files in %q can go when s3napback does", strings.Join(d.values, " "))
	case "gpgrecipient":
		n.add(d.line, "GpgRecipient %s: GPG keys are not used. Make a recovery key with age-keygen, keep it elsewhere, and give its public half to firn init --recipient; a passphrase does, too", strings.Join(d.values, " "))
	case "gpgkeyring":
		n.add(d.line, "GpgKeyring is not needed: hosts hold a key file of their own that can only write")
	case "s3keyfile":
		n.add(d.line, "S3KeyFile %q: put key= and secret= from it into ~/.aws/credentials as aws_access_key_id and aws_secret_access_key, and name that profile (profile = \"…\"), or have them in the environment",
			strings.Join(d.values, " "))
	case "chunksize":
		n.add(d.line, "ChunkSize is chosen by what the line sends and by the storage class (pack_size sets it by hand)")
	case "include":
		n.add(d.line, "Include %s: read that file, too, by another import", strings.Join(d.values, " "))
	default:
		if !isNapbackSource(d.name) {
			n.add(d.line, "%s is nothing that s3napback knows: left out", d.given)
		}
	}
}

// top is a block of the file.
func (n *napback) top(b *block) error {
	switch {
	case b.kind == "cycle":
		n.doc.line()
		n.doc.comment("Cycle %s", b.name)
		if err := n.block(b); err != nil {
			return err
		}
		for _, inner := range b.blocks {
			if isNapbackSource(inner.kind) {
				n.add(inner.line, "<%s %s> inside of <%s %s>: a block has a timing of its own, for s3napback, too; what the cycle says does not count for it", inner.given, inner.name, b.given, b.name)
			}
			if err := n.top(inner); err != nil {
				return err
			}
		}
	case isNapbackSource(b.kind):
		if b.name == "" {
			return &Error{n.file, b.line, "<" + b.given + "> wants a name"}
		}
		for _, d := range b.directives {
			if isNapbackSource(d.name) {
				n.add(d.line, "%s inside of <%s %s>: s3napback passes it over; it is left out here, too (is </%s> missing?)", d.given, b.given, b.name, b.given)
			}
		}
		return n.source(b, b.kind, b.name, b.line)
	default:
		n.add(b.line, "<%s %s> is nothing that s3napback knows: left out with what it holds", b.given, b.name)
	}
	return nil
}

// block makes the sources that a block, or the file itself, names in directives.
func (n *napback) block(b *block) error {
	for _, d := range b.directives {
		switch {
		case isNapbackSource(d.name):
			if len(d.values) == 0 {
				return &Error{n.file, d.line, d.given + " wants a name"}
			}
			for _, v := range d.values {
				if err := n.source(b, d.name, v, d.line); err != nil {
					return err
				}
			}
		case b.kind != "":
			n.known(b, d)
		}
	}
	return nil
}

// known tells of directives in a block that mean nothing.
func (n *napback) known(b *block, d directive) {
	switch d.name {
	case "cycletype", "frequency", "phase", "diffs", "fulls", "discs", "archiveoldestdisc", "exclude", "usetempfile", "mysqloptions":
	default:
		n.add(d.line, "%s in <%s %s> means nothing to s3napback: left out", d.given, b.given, b.name)
	}
}

// source writes one source.
func (n *napback) source(b *block, kind, name string, line int) error {
	if b.kind == kind {
		for _, d := range b.directives {
			if !isNapbackSource(d.name) {
				n.known(b, d)
			}
		}
	}
	cycle, err := n.cycle(b, kind, line)
	if err != nil {
		return err
	}
	label := map[string]string{"directory": "", "mysql": "mysql-", "postgresql": "postgres-", "subversion": "svn-", "subversiondir": "svn-"}[kind]
	who, what := parts(kind, name)
	job := n.doc.name(label + what)
	n.doc.table("sources", job)
	n.count++
	switch kind {
	case "directory":
		n.directory(b, name, line)
	case "mysql":
		n.mysql(b, who, what, line)
	case "postgresql":
		n.doc.set("postgres", value(what), "")
		if who != "" {
			n.doc.set("user", value(who), "")
		}
	default:
		n.doc.set("svn", value(name), "")
	}
	if id := kind + ":" + name; n.paths[id] {
		n.doc.set("source", job, "it is backed up by another cycle, too: this one keeps snapshots of its own")
	} else {
		n.paths[id] = true
	}
	n.doc.set("cycle", cycle.String(), "")
	n.temporary(b, kind)
	return nil
}

// directory writes what a folder has.
func (n *napback) directory(b *block, name string, line int) {
	if !strings.HasPrefix(name, "/") {
		n.add(line, "Directory %q: tar was run in /, so %q is meant", name, "/"+name)
		name = "/" + name
	}
	folder := path.Clean(name)
	n.doc.set("path", value(folder), "")
	patterns, at := b.get("exclude")
	var mine []string
	for _, p := range patterns {
		if strings.HasPrefix(p, "/") && folder != "/" && !strings.ContainsAny(p, "*?[") && p != folder && !strings.HasPrefix(path.Clean(p), folder+"/") {
			continue // lies in another folder of the block
		}
		if strings.Contains(p, "*") && strings.Contains(p, "/") {
			n.add(at, "Exclude %q: in tar * reaches over slashes, here it ends at one (** reaches over them)", p)
		}
		mine = append(mine, value(p))
	}
	if len(mine) > 0 {
		n.doc.set("exclude", mine, "")
	}
}

func (n *napback) mysql(b *block, socket, database string, line int) {
	n.doc.set("mysql", value(database), "")
	if socket != "" {
		n.doc.set("socket", value(socket), "")
	}
	if options, at := b.get("mysqloptions"); len(options) > 0 {
		n.doc.set("dump_options", value(strings.Join(options, " ")), "")
		n.add(at, "MySQLOptions: passed to the dumper as they are; look whether they still make sense, since transactions, routines and triggers are dumped as a matter of course")
	}
	n.once(line, "MySQL and PostgreSQL: passwords come from the client's own files (.my.cnf, .pgpass), as before; HOME has to be that of their owner")
}

// parts takes "socket:database" of MySQL and "user@database" of PostgreSQL apart.
func parts(kind, name string) (who, what string) {
	i := -1
	switch kind {
	case "mysql":
		i = strings.LastIndexByte(name, ':')
	case "postgresql":
		i = strings.LastIndexByte(name, '@')
	}
	return name[:max(i, 0)], name[i+1:]
}

// temporary is about UseTempFile.
func (n *napback) temporary(b *block, kind string) {
	values, line := b.get("usetempfile")
	if len(values) == 0 || !truth(values[len(values)-1]) {
		return
	}
	if kind == "directory" {
		n.add(line, "UseTempFile: folders need none here; what is sealed waits for the line in the cache folder")
		return
	}
	n.doc.set("use_temp_file", true, "")
	if n.temp != "" {
		n.doc.set("temp_dir", value(n.temp), "")
	} else {
		n.add(line, "UseTempFile without TempDir: the system's folder for temporary files is taken")
	}
}

// truth is a boolean as Apache's files have them.
func truth(s string) bool {
	switch strings.ToLower(s) {
	case "1", "on", "yes", "true":
		return true
	}
	return false
}

// hanoiPhase makes slots of ours begin on the days that s3napback takes: it counts days from 1 January 1970, we from 1 January 2001.
const hanoiPhase = 11323

// cycle reads the timing of a block, with s3napback's defaults.
func (n *napback) cycle(b *block, kind string, at int) (retain.Cycle, error) {
	number := func(name string, missing int) (int, error) {
		values, line := b.get(strings.ToLower(name))
		if len(values) == 0 {
			return missing, nil
		}
		v, err := strconv.ParseUint(values[len(values)-1], 10, 31)
		if err != nil {
			return 0, &Error{n.file, line, fmt.Sprintf("%s %q: want a number", name, values[len(values)-1])}
		}
		return int(v), nil
	}
	get := map[string]int{}
	for _, f := range []struct {
		name    string
		missing int
	}{{"Frequency", 1}, {"Phase", 0}, {"Diffs", 6}, {"Fulls", 4}, {"Discs", 5}} {
		v, err := number(f.name, f.missing)
		if err != nil {
			return retain.Cycle{}, err
		}
		get[f.name] = v
	}
	get["Frequency"] = max(get["Frequency"], 1)
	types, line := b.get("cycletype")
	if len(types) == 0 || strings.EqualFold(types[len(types)-1], "SimpleCycle") {
		return n.simple(b, kind, at, get)
	}
	if !strings.EqualFold(types[len(types)-1], "HanoiCycle") {
		return retain.Cycle{}, &Error{n.file, line, fmt.Sprintf("CycleType %q: want SimpleCycle or HanoiCycle", types[len(types)-1])}
	}
	c := retain.Cycle{Kind: retain.Hanoi, Frequency: get["Frequency"], Phase: hanoiPhase % get["Frequency"], Discs: get["Discs"], Full: true}
	if archive, _ := b.get("archiveoldestdisc"); len(archive) > 0 {
		c.Archive = truth(archive[len(archive)-1])
	}
	n.once(at, "HanoiCycle: every backup was a full one, and stays so (full=yes). Without it snapshots share what they have in common: the same ages for a fraction of the space")
	return c, n.checked(c, at)
}

func (n *napback) simple(b *block, kind string, at int, get map[string]int) (retain.Cycle, error) {
	c := retain.Cycle{Kind: retain.Simple, Frequency: get["Frequency"], Phase: get["Phase"], Diffs: get["Diffs"], Fulls: get["Fulls"]}
	if c.Phase >= c.Frequency {
		_, line := b.get("phase")
		n.add(line, "Phase %d is not below Frequency %d: the remainder, %d, is meant", c.Phase, c.Frequency, c.Phase%c.Frequency)
		c.Phase %= c.Frequency
	}
	if kind == "mysql" || kind == "postgresql" {
		c.Diffs = 0
		n.once(at, "databases: every dump was a full one, and stays so. With keep = { daily = 14 } in the place of cycle, dumps share what has not changed")
	} else if values, _ := b.get("diffs"); len(values) == 0 {
		n.add(at, "no Diffs is given: s3napback makes 6 between two fulls")
	}
	if c.Fulls < 2 {
		n.once(at, "Fulls 1 is safe here: the old one goes when the next is done")
	}
	c.Fulls = max(c.Fulls, 1)
	if c.Frequency > 1 {
		c = c.FromYear(n.o.Year)
		n.once(at, fmt.Sprintf("Frequency above 1: the same days as s3napback's in %d; it begins anew each New Year's Day, firn goes on with the same distance", n.o.Year))
	}
	return c, n.checked(c, at)
}

func (n *napback) checked(c retain.Cycle, at int) error {
	if err := c.Check(); err != nil {
		return &Error{n.file, at, err.Error()}
	}
	return nil
}
