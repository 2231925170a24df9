// Package config is the format of the configuration file: one TOML document, read strictly. What is unknown, impossible or said twice is an error with its file, its line and
// the nearest valid name; there is no value that is silently ignored.
//
// # The file
//
//	repository = "s3://bucket/nas"          # short for [repositories.default] location = …
//	schedule = "daily 02:30"                # what stands here and in [defaults] holds for every source that does not say otherwise
//	keep = { daily = 14, weekly = 8, monthly = 24 }
//
//	[sources.photos]
//	path = "/srv/photos"
//	[sources.shop]
//	postgres = "shop"
//	every = "6h"
//
// A source is one job of the same name: it is backed up. A repository has jobs of its own, which look after it: transition, prune, check, drill and copies, where they have a schedule.
//
// What stands before the first table holds for all sources, as what stands in [defaults] does, or for all repositories (how they are reached, what opens them, what looks after them).
// A source with cycle = "NAME" also takes what [cycles.NAME] says. Of two that say something the nearer one counts: a source before its cycle, that before [defaults] and the beginning.
//
// include names more files, relative to the file that names them, with * and ? (default "conf.d/*.toml" beside the first file). What an included file says is merged: tables
// are joined, a value that two files give is an error that names both, and so is a source, repository, cycle or channel of which two files speak.
//
// Paths are absolute or begin with ~/. Text may hold ${NAME} and ${NAME:-default}, which stand for variables of the environment where the value is read as text; $$ is a dollar. Secrets never stand in the file: they
// come from a file, a command or the environment (Secret).
package config

import (
	"time"

	"firn/internal/retain"
	"firn/internal/schedule"
	"firn/internal/units"
)

// Config is all that the files say, checked, with defaults applied.
type Config struct {
	Files        []string // absolute paths, in the order in which they were read
	Default      string   // name of the repository of whoever names none; empty: there is none
	Repositories []*Repository
	Sources      []*Source
	Notify       []*Channel
	Log          Log
	Metrics      Metrics
	Serve        Serve
	Run          Run

	said map[string]string // texts that variables or ~ are part of, as they stand in the file
}

// Place is where something was said.
type Place struct {
	File string
	Line int // from 1
}

// Secret says where a secret comes from. At most one member is set.
type Secret struct {
	File    string // its first line
	Command string // what it prints, by the system's shell
	Env     string // name of a variable
}

// Repository is [repositories.NAME]. Its location need not exist when the file is read.
type Repository struct {
	Name  string
	Place Place

	Location                       string
	Endpoint, GetEndpoint          string
	Region, Profile, PathStyle     string
	Connections                    int
	Timeout                        time.Duration // how long the server may be silent; 0: default
	LimitUpload, LimitDownload     schedule.Timetable
	UploadPerMonth                 units.Size // what may be sent in a calendar month; 0: no limit
	CacheMax                       units.Size // 0: default
	NoCache                        bool
	Prices, PriceRegion            string
	Passphrase                     Secret
	Identity                       []string // files
	HostKey, PruneKey, Host, Scope string
	Also                           []string // names of other repositories to which each backup is copied at once

	Transition *Upkeep // nil: no such job
	Prune      *Upkeep
	Check      *Upkeep
	Drill      *Upkeep
	Copies     []*Copy // [repositories.NAME.copies.TO]
}

// Timing says when a job runs and how far.
type Timing struct {
	Schedule    schedule.Schedule // zero: only when it is asked for
	Window      schedule.Window   // zero: always. A run does not begin outside it and stops, resumable, where it closes
	MaxDuration time.Duration     // 0: no limit; a run that reaches it stops, resumable
	StaleAfter  time.Duration     // how old the last success may be; 0: what the schedule says, and half of that again
}

// Upkeep is one of [repositories.NAME.transition], prune, check and drill.
type Upkeep struct {
	Place Place
	Timing
	Hooks Hooks

	Anyway  bool          // transition: also what does not pay for itself within a year
	Grace   time.Duration // prune; 0: default
	Refresh string        // prune
	Lock    string        // prune: Object Lock, such as "90d"

	ReadData string // check: as its flag has it, such as "1/12"
	Sums     string // check
	Files    int    // drill; 0: default
	Bytes    units.Size
	MaxCost  string // drill, check of cold data: never spend more
}

// Copy is one of [repositories.NAME.copies.TO], TO being the name of another repository.
type Copy struct {
	Place Place
	To    string
	Timing
	Hooks Hooks
}

// Source is [sources.NAME]. Members that are lists in TOML are joined to those of [defaults] where the key ends in "exclude", "tags" or "notify", and replace them elsewhere.
type Source struct {
	Name       string
	Place      Place
	Repository string // name
	Off        bool   // enabled = false: neither run nor stale

	Kind     string            // dir, command, zfs, btrfs, postgres, mysql, svn (the key that says what it is: path, command, zfs, …)
	Rest     string            // the path, dataset, database …; of a command the name that its output gets (key "name")
	Paths    []string          // key "paths": several folders, each with snapshots of its own; Rest is empty then
	Settings map[string]string // of the kind (source.Setting), as on the command line; lists are joined by commas
	As       string            // key "source": name of the source in snapshots, in the place of its path; empty: none

	Exclude, ExcludeFrom, ExcludeIfPresent, Include []string
	ExcludeAnyCase                                  []string   // key "iexclude"
	ExcludeLargerThan                               units.Size // 0: no limit
	OneFileSystem                                   bool
	ExcludeCaches                                   bool
	Options                                         []string // key "flags": more flags of backup, each as on the command line, for what has no key

	Tags        []string
	Detect      string
	Class, Then string
	HotFor      string
	Parity      *int // percent; nil: not said
	Compression string
	PackSize    units.Size
	Memory      units.Size
	Workers     int
	Passphrase  Secret   // in the place of the repository's
	Identity    []string // likewise

	Timing
	Cycle     retain.Cycle  // Kind empty: none
	FullEvery time.Duration // a full backup where the last one is older; 0: never again
	Keep      retain.Policy // zero: snapshots of this source are never forgotten by the prune job

	MaxShrink float64 // share of files or bytes, 0 to 1, by which a source may shrink since the last snapshot before its backup fails; default 0.5; 1: any
	Hooks     Hooks
	Notify    []string // names of channels that are told, and no others; empty: those with all = true
}

// Hooks are command lines for the system's shell around a job. Before fails the job where it fails. They find FIRN_JOB, FIRN_KIND, FIRN_STATUS and FIRN_REPORT (path of the JSON report) in
// their environment, those after the job all, the first the first two.
type Hooks struct {
	Before, After, OnSuccess, OnFailure string
	Timeout                             time.Duration // of each; 0: 10 minutes
}

// Channel is [notify.NAME].
type Channel struct {
	Name  string
	Place Place
	Type  string   // mail, webhook, ntfy, slack, healthchecks, command
	On    []string // start, success, failure, always, missed, recovered; default failure, missed, recovered; healthchecks: always and start
	After int      // with missed: how many runs in succession; default 1
	All   bool     // default true: told of jobs that name no channel

	To      []string // mail: addresses
	From    string
	Server  string // mail: host:port
	TLS     string // mail: starttls (default), tls, none
	User    string
	Secret  Secret // mail: password; others: bearer token
	URL     string
	URLFrom Secret            // the URL, where it is the secret itself (url_file, url_command, url_env); URL is empty then
	Method  string            // webhook; default POST
	Headers map[string]string // webhook
	Subject string            // template
	Body    string            // template; empty: the channel's own. text/template over notify.Message
	Command string            // command: gets the message as JSON on standard input
	Timeout time.Duration     // default 30 s
	Tries   int               // default 3
}

// Log is [log]. Several sinks may be on at once.
type Log struct {
	Level   string // debug, info (default), warn, error
	Format  string // text (default), json
	File    string // empty: none
	MaxSize units.Size
	Keep    int // rotated files
	Syslog  bool
	Journal bool
	Stderr  bool // default true where it is a terminal or no other sink is on
}

// Metrics is [metrics].
type Metrics struct {
	TextFile string // for the textfile collector of node_exporter, written after each run
}

// Serve is [serve].
type Serve struct {
	Listen string // host:port of health and metrics, on loopback unless said otherwise; "off": none
	Token  Secret // asked of who is not on loopback
	UI     bool   // pages, for who has a session
}

// Run is [run].
type Run struct {
	Parallel int    // jobs at once; jobs of one repository that delete wait for the others; default 1
	Priority string // low (default in scheduled runs), normal
	CatchUp  bool   // default true: what was missed while the machine was off runs once
	Reports  int    // JSON reports kept per job; default 100
}
