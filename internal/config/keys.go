package config

import (
	"slices"
	"sync"

	"firn/internal/retain"
	"firn/internal/units"
)

// keysOf are all tables, made once.
type keysOf struct {
	source, defaults                                         []key // defaults: those of sources that may stand in [defaults] and, most of them, before the first table
	repository, transition, prune, check, drill, copy        []key
	channel, log, metrics, serve, run, policy, cycle, common []key
}

var tables = sync.OnceValue(func() *keysOf {
	t := &keysOf{
		source: sourceKeys(), channel: channelKeys(), log: logKeys(), metrics: metricsKeys(), serve: serveKeys(), run: runKeys(), policy: policyKeys(), cycle: cycleKeys,
	}
	timing, hooks := timingKeys(func(u *Upkeep) *Timing { return &u.Timing }), hookKeys(func(u *Upkeep) *Hooks { return &u.Hooks })
	t.common = slices.Concat(timing, hooks)
	t.transition = slices.Concat(timing, transitionKeys(), hooks)
	t.prune = slices.Concat(timing, pruneKeys(), hooks)
	t.check = slices.Concat(timing, checkKeys(), hooks)
	t.drill = slices.Concat(timing, drillKeys(), hooks)
	t.copy = slices.Concat(timingKeys(func(c *Copy) *Timing { return &c.Timing }), hookKeys(func(c *Copy) *Hooks { return &c.Hooks }))
	t.repository = repositoryKeys(t)
	for _, k := range t.source {
		if k.top {
			t.defaults = append(t.defaults, k)
		}
	}
	return t
})

func repositoryKeys(t *keysOf) []key {
	return []key{
		{name: "location", form: place, help: "where it is: a folder, or s3://bucket/prefix", example: `"s3://bucket/nas"`, at: of(func(r *Repository) *string { return &r.Location })},
		{name: "endpoint", form: text, top: true, help: "URL of an S3 compatible server", def: "Amazon's", example: `"https://s3.example.net"`, at: of(func(r *Repository) *string { return &r.Endpoint })},
		{name: "get_endpoint", form: text, top: true, help: "URL of a CDN or the like in front of the bucket, from which packs are read", at: of(func(r *Repository) *string { return &r.GetEndpoint })},
		{name: "region", form: text, top: true, help: "region of the bucket", def: "as the environment says", example: `"eu-central-1"`, at: of(func(r *Repository) *string { return &r.Region })},
		{name: "profile", form: text, top: true, help: "profile in ~/.aws with the credentials", def: "as the environment says", at: of(func(r *Repository) *string { return &r.Profile })},
		{name: "path_style", form: word, words: []string{"on", "off"}, top: true, help: "on: the bucket stands in the path of URLs; off: in the host name", def: "as the server needs it", at: of(func(r *Repository) *string { return &r.PathStyle })},
		{name: "connections", form: count, least: 1, most: 1000, top: true, help: "transfers at once in each direction", def: "16 for S3", at: of(func(r *Repository) *int { return &r.Connections })},
		{name: "timeout", form: length, top: true, help: "how long an S3 server may be silent", def: "30s until it has answered once, then 90s", example: `"2m"`, at: func(o any) any { return &o.(*Repository).Timeout }},
		{name: "limit_upload", form: rate, top: true, help: "bytes a second to the store, by the hour if wanted", def: "no limit", example: `"Mon-Fri 08:00-18:00 2M, else off"`, at: func(o any) any { return &o.(*Repository).LimitUpload }},
		{name: "limit_download", form: rate, top: true, help: "bytes a second from the store", def: "no limit", example: `"10M"`, at: func(o any) any { return &o.(*Repository).LimitDownload }},
		{name: "upload_per_month", form: size, top: true, help: "what jobs may send in a calendar month, forced or not", def: "no limit", example: `"500G"`, at: of(func(r *Repository) *units.Size { return &r.UploadPerMonth })},
		{name: "cache_max", form: size, top: true, help: "size of the local cache", def: "4G", at: of(func(r *Repository) *units.Size { return &r.CacheMax })},
		{name: "no_cache", form: yes, top: true, help: "keep no copies of the store's small objects on this machine", def: "false", at: of(func(r *Repository) *bool { return &r.NoCache })},
		{name: "prices", form: file, top: true, help: "TOML file with prices that count before the built-in ones", at: of(func(r *Repository) *string { return &r.Prices })},
		{name: "price_region", form: text, top: true, help: "whose prices count", def: "as the endpoint says", example: `"aws/eu-west-1"`, at: of(func(r *Repository) *string { return &r.PriceRegion })},
		{name: "passphrase", form: secret, top: true, help: "what opens the repository; backups need it the first time only", example: `"/etc/firn/passphrase"`, at: of(func(r *Repository) *Secret { return &r.Passphrase })},
		{name: "identity", form: paths, top: true, help: "files with age identities or SSH private keys that open it", at: of(func(r *Repository) *[]string { return &r.Identity })},
		{name: "host_key", form: file, top: true, help: "write-only key of this host", def: "the one in its state folder", example: `"/etc/firn/host.key"`, at: of(func(r *Repository) *string { return &r.HostKey })},
		{name: "prune_key", form: file, top: true, help: "key of a host that may prune, for the prune job", at: of(func(r *Repository) *string { return &r.PruneKey })},
		{name: "host", form: text, top: true, help: "name of this host", def: "the system's", at: of(func(r *Repository) *string { return &r.Host })},
		{name: "scope", form: text, top: true, help: "hosts with the same scope share what they store", def: "the host's name", at: of(func(r *Repository) *string { return &r.Scope })},
		{name: "also", form: list, help: "names of other repositories to which each backup is copied at once", example: `["disk"]`, at: of(func(r *Repository) *[]string { return &r.Also })},
		{name: "transition", form: upkeep, top: true, parts: t.transition, help: "job that moves content whose hot_for is over to its class then; a text is its schedule", example: `"weekly Sun 04:00"`, at: of(func(r *Repository) **Upkeep { return &r.Transition })},
		{name: "prune", form: upkeep, top: true, parts: t.prune, help: "job that forgets by each source's keep, and deletes; a text is its schedule", example: `"weekly Sun 05:00"`, at: of(func(r *Repository) **Upkeep { return &r.Prune })},
		{name: "check", form: upkeep, top: true, parts: t.check, help: "job that checks the repository; a text is its schedule", example: `{ schedule = "monthly 1 06:00", sums = "10%" }`, at: of(func(r *Repository) **Upkeep { return &r.Check })},
		{name: "drill", form: upkeep, top: true, parts: t.drill, help: "job that restores a sample to prove that it can be done; a text is its schedule", example: `"monthly last 06:00"`, at: of(func(r *Repository) **Upkeep { return &r.Drill })},
	}
}

func transitionKeys() []key {
	return []key{{name: "anyway", form: yes, help: "move also what does not pay for itself within a year", def: "false", at: of(func(u *Upkeep) *bool { return &u.Anyway })}}
}

func pruneKeys() []key {
	return []key{
		{name: "grace", form: length, help: "time between retiring and deleting", def: "24h", at: func(o any) any { return &o.(*Upkeep).Grace }},
		{name: "refresh", form: text, help: "packs of which little is left: auto, never, all, or how much may be sent again", def: "auto", example: `"10G"`, at: of(func(u *Upkeep) *string { return &u.Refresh })},
		{name: "lock", form: ageText, help: "keep what the snapshots need from being deleted for so long, by Object Lock", def: "no lock", example: `"90d"`, at: of(func(u *Upkeep) *string { return &u.Lock })},
	}
}

func checkKeys() []key {
	return []key{
		{name: "sums", form: text, help: "compare the sums that the store keeps: all, or N% of them", example: `"10%"`, at: of(func(u *Upkeep) *string { return &u.Sums })},
		{name: "read_data", form: text, help: "read packs: all, N%, 1/N, a size, or a number of packs", example: `"1/12"`, at: of(func(u *Upkeep) *string { return &u.ReadData })},
		{name: "max_cost", form: money, help: "read packs in cold classes as well, and spend no more than this", def: "cold packs are not read", example: `"2.50"`, at: of(func(u *Upkeep) *string { return &u.MaxCost })},
	}
}

func drillKeys() []key {
	return []key{
		{name: "files", form: count, least: 1, most: 1000000, help: "how many files of each source", at: of(func(u *Upkeep) *int { return &u.Files })},
		{name: "bytes", form: size, help: "how much content of each source", example: `"5G"`, at: of(func(u *Upkeep) *units.Size { return &u.Bytes })},
		{name: "max_cost", form: money, help: "spend no more than this", example: `"2.50"`, at: of(func(u *Upkeep) *string { return &u.MaxCost })},
	}
}

func sourceKeys() []key {
	s := func(f func(*Source) *string) func(any) any { return of(f) }
	l := func(f func(*Source) *[]string) func(any) any { return of(f) }
	return slices.Concat([]key{
		{name: "repository", form: text, top: true, help: "name of the repository; before the first table also the location of the only one", def: "the only one, or that named default", example: `"s3://bucket/nas"`, at: s(func(s *Source) *string { return &s.Repository })},
		{name: "enabled", form: yes, help: "false: it is left out, and nobody is told that it is stale", def: "true"},
		{name: "source", form: text, help: "what it is called in snapshots, instead of its path, which may then change", at: s(func(s *Source) *string { return &s.As })},
		{name: "settings", form: settings, help: "settings of its kind that have the name of a key of all sources, such as keep of zfs", example: `{ keep = 2 }`},
	}, timingKeys(func(s *Source) *Timing { return &s.Timing }), []key{
		{name: "keep", form: policy, top: true, parts: policyKeys(), help: "which snapshots stay when the prune job runs; \"all\" for every one", def: "all", example: `{ daily = 14, weekly = 8, monthly = 24 }`, at: of(func(s *Source) *retain.Policy { return &s.Keep })},
		{name: "cycle", form: cycle, top: true, help: "rotation by which it is backed up and kept, or the name of one of [cycles]", example: `"hanoi discs=5"`, at: of(func(s *Source) *retain.Cycle { return &s.Cycle })},
		{name: "full_every", form: age, top: true, help: "a full backup where the last one is older", def: "never again", example: `"6m"`, at: func(o any) any { return &o.(*Source).FullEvery }},
		{name: "exclude", form: list, top: true, files: true, help: "patterns as gitignore has them; added to those of [defaults]", example: `["*.tmp", "/cache"]`, at: l(func(s *Source) *[]string { return &s.Exclude })},
		{name: "iexclude", form: list, top: true, files: true, help: "likewise, upper and lower case alike", at: l(func(s *Source) *[]string { return &s.ExcludeAnyCase })},
		{name: "exclude_from", form: paths, top: true, files: true, help: "files with such patterns, one a line", at: l(func(s *Source) *[]string { return &s.ExcludeFrom })},
		{name: "exclude_if_present", form: list, top: true, files: true, help: "leave out folders that have a file of this name", example: `[".nobackup"]`, at: l(func(s *Source) *[]string { return &s.ExcludeIfPresent })},
		{name: "exclude_larger_than", form: size, top: true, files: true, help: "leave out files larger than this", example: `"4G"`, at: of(func(s *Source) *units.Size { return &s.ExcludeLargerThan })},
		{name: "exclude_caches", form: yes, top: true, files: true, help: "leave out what lies in folders with a CACHEDIR.TAG", def: "false", at: of(func(s *Source) *bool { return &s.ExcludeCaches })},
		{name: "include", form: list, files: true, help: "patterns of what is taken although exclude names it", at: l(func(s *Source) *[]string { return &s.Include })},
		{name: "one_file_system", form: yes, top: true, files: true, help: "leave out what is mounted inside", def: "false", at: of(func(s *Source) *bool { return &s.OneFileSystem })},
		{name: "detect", form: text, top: true, files: true, help: "what shows that a file is as it was, or always: read every file", def: "size,mtime,ctime,inode", at: s(func(s *Source) *string { return &s.Detect })},
		{name: "max_shrink", form: percent, top: true, help: "by how much of its files or bytes it may shrink before its backup fails", def: "50%", example: `"80%"`, at: of(func(s *Source) *float64 { return &s.MaxShrink })},
		{name: "tags", form: list, top: true, help: "tags of the snapshots; added to those of [defaults]", at: l(func(s *Source) *[]string { return &s.Tags })},
		{name: "class", form: text, top: true, help: "storage class of new content", def: "as in the last snapshot, else as the repository was made", example: `"DEEP_ARCHIVE"`, at: s(func(s *Source) *string { return &s.Class })},
		{name: "then", form: text, top: true, help: "class to which content moves when it is older than hot_for, by the job transition of the repository", at: s(func(s *Source) *string { return &s.Then })},
		{name: "hot_for", form: ageText, top: true, help: "how long content stays in class before it moves to then", example: `"30d"`, at: s(func(s *Source) *string { return &s.HotFor })},
		{name: "parity", form: count, most: 100, top: true, help: "percent of PAR2 recovery data, 0 for none", def: "5 where the class is cold", at: of(func(s *Source) **int { return &s.Parity })},
		{name: "compression", form: word, words: []string{"fastest", "default", "better", "best"}, top: true, help: "how hard to compress", def: "fastest", at: s(func(s *Source) *string { return &s.Compression })},
		{name: "pack_size", form: size, top: true, help: "size of packs, up to 3G", def: "16M; in a cold class what the line sends in 30 s", at: of(func(s *Source) *units.Size { return &s.PackSize })},
		{name: "memory", form: size, top: true, help: "memory to keep to", def: "128M to 320M, by the cores", at: of(func(s *Source) *units.Size { return &s.Memory })},
		{name: "workers", form: count, least: 1, most: 1000, top: true, help: "files read and compressed at once", def: "one a core", at: of(func(s *Source) *int { return &s.Workers })},
		{name: "passphrase", form: secret, help: "in the place of the repository's", at: of(func(s *Source) *Secret { return &s.Passphrase })},
		{name: "identity", form: paths, help: "in the place of the repository's", at: l(func(s *Source) *[]string { return &s.Identity })},
		{name: "notify", form: list, top: true, help: "names of the channels that are told, and no others; added to those of [defaults]", def: "those with all = true", at: l(func(s *Source) *[]string { return &s.Notify })},
		{name: "flags", form: list, top: true, help: "more flags of firn backup, for what has no key", example: `["--no-cache"]`, at: l(func(s *Source) *[]string { return &s.Options })},
	}, hookKeys(func(s *Source) *Hooks { return &s.Hooks }))
}

func channelKeys() []key {
	mail, url := []string{"mail"}, []string{"webhook", "ntfy", "slack", "healthchecks"}
	s := func(f func(*Channel) *string) func(any) any { return of(f) }
	return []key{
		{name: "type", form: word, words: []string{"mail", "webhook", "ntfy", "slack", "healthchecks", "command"}, help: "what it is; has to be said", at: s(func(c *Channel) *string { return &c.Type })},
		{name: "on", form: words, words: []string{"start", "success", "failure", "always", "missed", "recovered"}, help: "what it is told", def: "failure, missed, recovered; healthchecks: always and start", example: `["failure", "missed"]`, at: of(func(c *Channel) *[]string { return &c.On })},
		{name: "after", form: count, least: 1, most: 1000, help: "with missed: how many runs in succession", def: "1", at: of(func(c *Channel) *int { return &c.After })},
		{name: "all", form: yes, help: "true: told of jobs that name no channel; false: only of sources that name it", def: "true", at: of(func(c *Channel) *bool { return &c.All })},
		{name: "to", form: list, only: mail, help: "addresses", example: `["ops@example.org"]`, at: of(func(c *Channel) *[]string { return &c.To })},
		{name: "from", form: text, only: mail, help: "address of the sender", example: `"firn@example.org"`, at: s(func(c *Channel) *string { return &c.From })},
		{name: "server", form: text, only: mail, help: "host:port", example: `"mail.example.org:587"`, at: s(func(c *Channel) *string { return &c.Server })},
		{name: "tls", form: word, words: []string{"starttls", "tls", "none"}, only: mail, help: "how the connection is encrypted", def: "starttls", at: s(func(c *Channel) *string { return &c.TLS })},
		{name: "user", form: text, only: mail, help: "account at the server", at: s(func(c *Channel) *string { return &c.User })},
		{name: "password", form: secret, only: mail, help: "its password", at: of(func(c *Channel) *Secret { return &c.Secret })},
		{name: "url", form: text, only: url, help: "where to; where it is a secret itself, url_file, url_command or url_env says it", example: `"https://hc-ping.com/…"`, at: s(func(c *Channel) *string { return &c.URL })},
		{name: "url", form: secret, only: url, help: "where the URL is to be had", at: of(func(c *Channel) *Secret { return &c.URLFrom })},
		{name: "token", form: secret, only: url, help: "bearer token", at: of(func(c *Channel) *Secret { return &c.Secret })},
		{name: "method", form: word, words: []string{"POST", "PUT", "GET"}, only: []string{"webhook"}, help: "of the request", def: "POST", at: s(func(c *Channel) *string { return &c.Method })},
		{name: "headers", form: lines, only: url, help: "of the request", example: `{ X-Priority = "high" }`, at: of(func(c *Channel) *map[string]string { return &c.Headers })},
		{name: "subject", form: text, help: "template, as Go's text/template has it", at: s(func(c *Channel) *string { return &c.Subject })},
		{name: "body", form: text, help: "template", def: "the channel's own", at: s(func(c *Channel) *string { return &c.Body })},
		{name: "command", form: command, only: []string{"command"}, help: "gets the message as JSON on standard input", at: s(func(c *Channel) *string { return &c.Command })},
		{name: "timeout", form: length, help: "of each try", def: "30s", at: func(o any) any { return &o.(*Channel).Timeout }},
		{name: "tries", form: count, least: 1, most: 20, help: "how often it is tried", def: "3", at: of(func(c *Channel) *int { return &c.Tries })},
	}
}

func logKeys() []key {
	return []key{
		{name: "level", form: word, words: []string{"debug", "info", "warn", "error"}, help: "what is logged", def: "info", at: of(func(l *Log) *string { return &l.Level })},
		{name: "format", form: word, words: []string{"text", "json"}, help: "of lines", def: "text", at: of(func(l *Log) *string { return &l.Format })},
		{name: "file", form: file, help: "log into this file", def: "none", example: `"/var/log/firn.log"`, at: of(func(l *Log) *string { return &l.File })},
		{name: "max_size", form: size, help: "where the file is larger, a new one is begun", def: "10M", at: of(func(l *Log) *units.Size { return &l.MaxSize })},
		{name: "keep", form: count, most: 1000, help: "old files that are kept", def: "5", at: of(func(l *Log) *int { return &l.Keep })},
		{name: "syslog", form: yes, help: "log to syslog", def: "false", at: of(func(l *Log) *bool { return &l.Syslog })},
		{name: "journal", form: yes, help: "log to the journal of systemd", def: "false", at: of(func(l *Log) *bool { return &l.Journal })},
		{name: "stderr", form: yes, help: "log to standard error", def: "true where nothing else is said", at: of(func(l *Log) *bool { return &l.Stderr })},
	}
}

func metricsKeys() []key {
	return []key{{name: "textfile", form: file, help: "file for the textfile collector of node_exporter, written after each run", example: `"/var/lib/node_exporter/firn.prom"`, at: of(func(m *Metrics) *string { return &m.TextFile })}}
}

func serveKeys() []key {
	return []key{
		{name: "listen", form: text, help: "host:port of health and metrics, off for none", def: "on the loopback interface", example: `"127.0.0.1:9137"`, at: of(func(s *Serve) *string { return &s.Listen })},
		{name: "token", form: secret, help: "asked of who is not on this machine", at: of(func(s *Serve) *Secret { return &s.Token })},
		{name: "ui", form: yes, help: "the pages of firn ui as well, for this machine alone; firn ui --link lets a browser in", def: "false", at: of(func(s *Serve) *bool { return &s.UI })},
	}
}

func runKeys() []key {
	return []key{
		{name: "parallel", form: count, least: 1, most: 100, help: "jobs at once", def: "1", at: of(func(r *Run) *int { return &r.Parallel })},
		{name: "priority", form: word, words: []string{"low", "normal"}, help: "priority of scheduled runs for processor and disk", def: "low", at: of(func(r *Run) *string { return &r.Priority })},
		{name: "catch_up", form: yes, help: "what was missed while the machine was off runs once", def: "true", at: of(func(r *Run) *bool { return &r.CatchUp })},
		{name: "reports", form: count, least: 1, most: 100000, help: "JSON reports kept per job", def: "100", at: of(func(r *Run) *int { return &r.Reports })},
	}
}
