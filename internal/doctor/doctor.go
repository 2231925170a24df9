// Package doctor looks for what will go wrong with a store, its rights and its rules, before it does. It states facts with their evidence, and
// what would put them right as data; it changes nothing but two probe objects that it stores and deletes, and never reads an object in a cold class.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"firn/internal/repo"
	"firn/internal/state"
	"firn/internal/store"
)

// Severity says how bad a finding is.
type Severity int

// The severities.
const (
	OK      Severity = iota // as it should be
	Note                    // worth knowing
	Warning                 // will cost money, time or safety
	Problem                 // something does not work, or will not
)

func (s Severity) String() string {
	return [...]string{OK: "ok", Note: "note", Warning: "warning", Problem: "problem"}[s]
}

// The checks. Their names stay.
const (
	CheckStore      = "store"       // it answers, and takes the credentials
	CheckRepository = "repository"  // firn.json is there and whole
	CheckClock      = "clock"       // the store's and ours
	CheckRights     = "rights"      // of the credentials
	CheckCreateOnly = "create-only" // nothing can be overwritten
	CheckChecksums  = "checksums"   // the store verifies them
	CheckClass      = "class"       // objects stay in the class that was asked for
	CheckThaw       = "thaw"        // cold objects can be asked for, and listings tell of it
	CheckParts      = "parts"       // into how many an upload may be cut
	CheckRules      = "rules"       // by which the store moves and deletes objects
	CheckVersions   = "versions"    // what the store keeps of what is deleted, and what it locks
	CheckUploads    = "uploads"     // what is left of uploads that were cut off
	CheckHot        = "hot objects" // that none of them lies in a cold class
	CheckPacks      = "packs"       // that they lie in the class that the index says
	CheckCache      = "cache"       // folder of this machine
	CheckState      = "state"       // folder of this machine
	CheckHostKey    = "host key"    // who can read it, and whether it was revoked
	CheckPrograms   = "programs"    // for getting everything back without firn
	CheckSources    = "sources"     // what the configuration backs up, and the programs that this takes
	CheckConfig     = "configuration"
	CheckSecrets    = "secrets"     // files with secrets, which nobody else may read
	CheckHooks      = "hooks"       // programs that run around jobs
	CheckSchedule   = "schedule"    // what the system's scheduler starts
	CheckNotify     = "notify"      // that somebody hears of trouble
	CheckBackups    = "last backup" // that jobs have run
)

// Finding is the outcome of one check, or one of its outcomes.
type Finding struct {
	Check    string
	Severity Severity
	What     string   // what was found
	Why      string   // what follows from it; empty where it is plain
	Evidence []string // what it was seen by
	Fix      Fix
}

// Fix is what would put things right, as data.
type Fix struct {
	Rules  *RulesFix // other rules for the bucket
	Thaw   *ThawFix  // objects to be thawed and moved back
	Grant  []string  // rights that are missing: put, get, list, delete, restore, rules
	Delete []string  // objects that can be deleted by hand
	Close  string    // file that only its owner may read, or write
	Exec   string    // file that is to be executable
	Start  bool      // an entry for the system's scheduler is to be written, as it should be
	Drop   bool      // one entry too many is to be taken away
	Tell   bool      // a channel is to be added
	Run    string    // job that is to be run, or looked at
	Why    error     // the error behind the finding, of which others know what to do
}

// ThawFix tells of hot objects in cold classes.
type ThawFix struct {
	Objects, Bytes int64
	Classes        []string
	Readable       int64 // of the objects: a copy of them can be read for now
}

// Options say what to look at. Nothing but Store is needed.
type Options struct {
	Store store.Store
	// Header is what firn.json said some time ago, for a store where it cannot be read any more; may be nil.
	Header *repo.Header
	// Root is what stands before the names of firn's objects in the rules of a bucket, such as "nas/".
	Root string
	// Rules are those of the bucket, as JSON of the S3 API, for a store that does not show them; nil: they are asked of the store.
	Rules []byte
	// NoProbe stores no probe objects, and leaves out the checks that need them.
	NoProbe bool
	// Thorough has a probe object thawed where packs lie in a cold class, and counts parts, which costs about a cent (store.ProbeOptions).
	Thorough bool
	// Open loads the scopes that the keys at hand open, and returns nil where there is no key; it may be nil.
	Open func(context.Context, *repo.Header) ([]*repo.ScopeState, error)
	// Dirs are the folders of this machine, where the host key lies, too.
	Dirs state.Dirs
	// Machine is what this machine is to do by itself; nil: that is not looked at.
	Machine *Machine
	// Version tells the version of a program; nil: that in the PATH is asked.
	Version func(ctx context.Context, name string) (string, error)
	Now     func() time.Time // nil: time.Now
}

// doctor is one examination.
type doctor struct {
	o        Options
	header   *repo.Header // nil: not known
	findings []Finding
}

// Examine makes all checks. A check that cannot be made is a finding, too; only the end of ctx is an error.
func Examine(ctx context.Context, o Options) ([]Finding, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Version == nil {
		o.Version = programVersion
	}
	d := &doctor{o: o}
	if d.reach(ctx) {
		for _, check := range []func(context.Context){d.probe, d.rules, d.versions, d.hot, d.packs} {
			check(ctx)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
	}
	d.local(ctx)
	d.machine(ctx)
	return d.findings, ctx.Err()
}

func (d *doctor) add(f Finding) { d.findings = append(d.findings, f) }

func (d *doctor) ok(check, format string, args ...any) {
	d.add(Finding{Check: check, What: fmt.Sprintf(format, args...)})
}

// unknown notes that a check could not be made.
func (d *doctor) unknown(check, what string, err error) {
	f := Finding{Check: check, Severity: Note, What: "not known: " + what, Fix: Fix{Why: err}}
	if err != nil {
		f.Evidence = []string{err.Error()}
	}
	d.add(f)
}

// reach finds out whether the store answers and a repository is there, and reports whether there is any sense in looking further.
func (d *doctor) reach(ctx context.Context) bool {
	var err error
	if d.header, err = repo.ReadHeader(ctx, d.o.Store); err == nil {
		d.ok(CheckStore, "%s answers and takes the credentials", d.o.Store.Location())
		d.ok(CheckRepository, "%x, made %s", d.header.ID, d.header.Created.Format(time.DateOnly))
		return true
	}
	d.header = d.o.Header
	var object *repo.ObjectError
	f := Finding{Check: CheckStore, Severity: Problem, What: err.Error(), Fix: Fix{Why: err}}
	switch {
	case errors.Is(err, store.ErrCold):
		d.ok(CheckStore, "%s answers and takes the credentials", d.o.Store.Location())
		f = Finding{Check: CheckRepository, Severity: Problem, What: "firn.json lies in a cold class and cannot be read", Why: whyHot}
	case errors.As(err, &object):
		f.Check, f.Why = CheckRepository, "firn.json is damaged, or a newer program wrote it"
	case errors.Is(err, store.ErrDenied):
		f.Check, f.Why = CheckRights, "nothing can be read with these credentials"
		f.Fix.Grant = []string{"get"}
	case errors.Is(err, repo.ErrNoRepository):
		f.Check = CheckRepository
		d.add(f)
		return false
	case errors.Is(err, store.ErrClock):
		f.Check, f.Why = CheckClock, "the store refuses requests whose time is more than some minutes off"
		d.add(f)
		return false
	default:
		d.add(f)
		return false
	}
	d.add(f)
	return true
}

// Worst is the highest severity among findings.
func Worst(findings []Finding) (worst Severity) {
	for _, f := range findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// list joins words as people do.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
