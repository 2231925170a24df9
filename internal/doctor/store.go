package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"firn/internal/store"
)

// timed is a store that notes when the probe object was stored, by our clock and by its own.
type timed struct {
	store.Store
	now           func() time.Time
	before, after time.Time // around the first Put
	modified      time.Time // what the store says of it
}

// Unwrap implements store.Wrapper.
func (t *timed) Unwrap() store.Store { return t.Store }

// Put implements store.Store.
func (t *timed) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	before := t.now()
	err := t.Store.Put(ctx, name, r, size, o)
	if err == nil && t.before.IsZero() {
		t.before, t.after = before, t.now()
	}
	return err
}

// Stat implements store.Store.
func (t *timed) Stat(ctx context.Context, name string) (store.Info, error) {
	info, err := t.Store.Stat(ctx, name)
	if err == nil && t.modified.IsZero() {
		t.modified = info.Modified
	}
	return info, err
}

// probe finds out what the store does and what the credentials may.
func (d *doctor) probe(ctx context.Context) {
	if d.o.NoProbe {
		return
	}
	t := &timed{Store: d.o.Store, now: d.o.Now}
	class := ""
	if d.header != nil {
		class = d.header.Class.Data
	}
	found, err := store.Examine(ctx, t, store.ProbeOptions{Class: class, Thaw: d.o.Thorough, Parts: d.o.Thorough})
	if err != nil {
		check := CheckRights
		if errors.Is(err, store.ErrClock) {
			check = CheckClock
		}
		d.add(Finding{Check: check, Severity: Problem, What: err.Error(), Why: "a small object could not be stored, read, listed and deleted", Fix: Fix{Why: err}})
		return
	}
	d.clock(t)
	d.rights(found)
	if slices.Contains(found.Missing, "put") {
		return // nothing else can be known
	}
	d.writing(found)
	d.classes(found, class)
	if weak, ok := store.As[store.Weak](d.o.Store); ok {
		for _, text := range weak.Weakness() {
			d.add(Finding{Check: CheckStore, Severity: Note, What: text})
		}
	}
}

// How far clocks may be apart. Amazon S3 refuses requests that are 15 minutes off (API Reference, RequestTimeTooSkewed).
const (
	clockFine = 5 * time.Second
	clockFair = time.Minute
	clockMax  = 10 * time.Minute
)

// clock compares the store's clock, which may count whole seconds, with ours.
func (d *doctor) clock(t *timed) {
	if t.modified.IsZero() || t.before.IsZero() {
		d.unknown(CheckClock, "the store does not tell when an object was stored", nil)
		return
	}
	var off time.Duration
	switch {
	case t.modified.Before(t.before.Add(-time.Second)):
		off = t.before.Sub(t.modified)
	case t.modified.After(t.after):
		off = t.modified.Sub(t.after)
	}
	f := Finding{Check: CheckClock, What: fmt.Sprintf("this machine's and the store's are %v apart", off.Round(time.Second)),
		Evidence: []string{fmt.Sprintf("stored between %s and %s by this machine, at %s by the store", stamp(t.before), stamp(t.after), stamp(t.modified))}}
	switch {
	case off <= clockFine:
		d.ok(CheckClock, "this machine's and the store's agree")
		return
	case off <= clockFair:
		f.Severity = Note
	case off <= clockMax:
		f.Severity = Warning
	default:
		f.Severity = Problem
	}
	f.Why = "snapshots are dated by this machine, retention and waiting times go by the store; requests that are 15 minutes off are refused"
	f.Fix.Why = store.ErrClock
	d.add(f)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// rights tells what the credentials may not do.
func (d *doctor) rights(found store.Abilities) {
	f := Finding{Check: CheckRights, Fix: Fix{Delete: found.LeftOver}}
	var needed, others []string
	for _, right := range found.Missing {
		if right == "put" || right == "get" || right == "list" {
			needed = append(needed, right)
			continue
		}
		others = append(others, right)
	}
	f.Fix.Grant = needed
	switch {
	case len(needed) > 0:
		f.Severity, f.What = Problem, "the credentials may not "+list(needed)+" objects"
		f.Why = "every backup needs these rights; that they are missing was seen by an object below probe/, where a policy that allows no more than that needs to allow nothing"
		if d.worksAnyway() {
			f.Severity = Note
			f.Why = "seen by an object below probe/, where a policy that allows no more than backups need allows nothing; backups do work"
		}
	case len(others) > 0:
		f.Severity, f.What = Note, "the credentials may not "+list(others)+" objects"
		f.Why = "as it should be for a host that only writes; pruning needs to delete"
	default:
		d.ok(CheckRights, "the credentials may store, read, list and delete objects")
		return
	}
	d.add(f)
}

// worksAnyway reports whether a job of this machine has stored something of late.
func (d *doctor) worksAnyway() bool {
	return d.o.Machine != nil && slices.ContainsFunc(d.o.Machine.Jobs, func(j Job) bool {
		return !j.Failing && j.Stale > 0 && !j.Last.IsZero() && d.o.Now().Sub(j.Last) <= j.Stale
	})
}

// writing tells how the store keeps what is put into it.
func (d *doctor) writing(found store.Abilities) {
	if !found.Lists && !slices.Contains(found.Missing, "list") {
		d.add(Finding{Check: CheckStore, Severity: Problem, What: "listings do not show what was just stored",
			Why: "pruning decides by listings what nobody needs; where they lag behind, data can be lost"})
	}
	if found.CreateOnly {
		d.ok(CheckCreateOnly, "an object that is there cannot be overwritten")
	} else {
		f := Finding{Check: CheckCreateOnly, Severity: Warning, What: "the store lets objects be overwritten, although it is asked not to",
			Why: "a thief of the credentials could destroy backups; versioning or an object lock of the bucket prevents that"}
		if found.Refused(store.Conditions) {
			f.What = "the store refuses to be asked not to overwrite objects"
		}
		d.add(f)
	}
	if found.VerifiesSum {
		d.ok(CheckChecksums, "the store refuses content that does not have its SHA-256")
	} else {
		d.add(Finding{Check: CheckChecksums, Severity: Note, What: "the store does not verify SHA-256 sums", Why: "what is damaged on its way there is noticed when it is checked or read"})
	}
	if found.MaxParts > 0 {
		d.ok(CheckParts, "an upload may have %d parts", found.MaxParts)
	}
}

// classes tells what the store makes of the class of packs.
func (d *doctor) classes(found store.Abilities, class string) {
	switch {
	case class == "" || found.Class == "":
	case !sameClass(found.Class, class):
		d.add(Finding{Check: CheckClass, Severity: Warning, What: fmt.Sprintf("the store keeps objects in class %q, not in %q", found.Class, class),
			Why: "prices and times of restores are those of the class that it really is"})
	default:
		d.ok(CheckClass, "objects stay in %s", class)
	}
	if !found.Cold {
		return
	}
	switch f := (Finding{Check: CheckThaw}); found.Thaws {
	case store.Denied:
		f.Severity, f.What, f.Fix.Grant = Note, "the credentials may not have objects thawed", []string{"restore"}
		f.Why = "as it should be for a host that only writes; a restore needs other ones"
		d.add(f)
	case store.No:
		f.Severity, f.What, f.Why = Problem, "the store does not know how to thaw objects", "packs lie in a class that cannot be read at once: they come back by the provider's own means only"
		d.add(f)
	case store.Unknown:
		d.unknown(CheckThaw, "whether objects can be thawed", nil)
	default:
		d.thaws(found)
	}
}

// thaws tells how objects are thawed.
func (d *doctor) thaws(found store.Abilities) {
	what := "cold objects can be thawed"
	if found.Tiers == store.No {
		what += ", without a choice of tiers"
	}
	if found.Status != store.No {
		d.ok(CheckThaw, "%s", what)
		return
	}
	d.add(Finding{Check: CheckThaw, Severity: Note, What: what + "; listings do not tell which are", Why: "each object is asked after by itself, which takes more requests"})
}
