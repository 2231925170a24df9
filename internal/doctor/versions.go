package doctor

import (
	"context"
	"errors"

	"firn/internal/store"
)

// versions looks whether the store keeps what is deleted, and whether it locks what is stored: both protect a repository from a thief, and both cost something that one should
// know of.
func (d *doctor) versions(ctx context.Context) {
	v, ok := store.As[store.Versioner](d.o.Store)
	if !ok {
		return
	}
	var keeping store.Keeping
	err := store.Repeat(ctx, d.o.Store, "versions", "", func() (err error) {
		keeping, err = v.Keeping(ctx)
		return err
	})
	switch {
	case errors.Is(err, store.ErrUnsupported):
		return
	case err != nil:
		d.unknown(CheckVersions, "whether the store keeps versions of what is deleted", err)
		return
	case keeping == store.KeepsNothing:
		d.ok(CheckVersions, "what is deleted is gone, and what is stored can be deleted by whoever has the right to")
		return
	}
	d.kept(ctx, keeping)
	d.locks(ctx)
}

// kept says what becomes of what was deleted.
func (d *doctor) kept(ctx context.Context, keeping store.Keeping) {
	rules, _, err := d.readRules(ctx)
	days := 0
	for _, r := range rules {
		if hot, data := within(r.Prefix); r.Enabled && r.Noncurrent && r.Expires && data && len(hot) == len(areas())-1 {
			days = max(days, r.Days, 1)
		}
	}
	what := "the store keeps versions of what is deleted"
	if keeping == store.KeptVersions {
		what = "the store kept versions of what was deleted for a time"
	}
	switch {
	case days > 0:
		d.ok(CheckVersions, "%s, and removes them after %s", what, counted(days, "day"))
	case err != nil:
		d.unknown(CheckVersions, what+"; whether a rule removes them some time", err)
	default:
		d.add(Finding{Check: CheckVersions, Severity: Note, What: what + ", and no rule removes them",
			Why: "small objects are replaced and deleted all the time, and are billed as long as they are kept; a rule that expires noncurrent versions after some weeks leaves time to undo a deletion"})
	}
}

// locks says what the store locks.
func (d *doctor) locks(ctx context.Context) {
	l, ok := store.As[store.Locker](d.o.Store)
	if !ok {
		return
	}
	var rule store.LockRule
	err := store.Repeat(ctx, d.o.Store, "locks", "", func() (err error) {
		rule, err = l.LockRule(ctx)
		return err
	})
	switch {
	case errors.Is(err, store.ErrUnsupported):
	case err != nil:
		d.unknown(CheckVersions, "whether the store locks what is stored", err)
	case !rule.Enabled:
	case rule.Mode == store.NoLock:
		d.add(Finding{Check: CheckVersions, Severity: Note, What: "objects can be locked, and new ones are not",
			Why: "what is stored can be deleted until somebody locks it; a default retention of the bucket costs nothing"})
	default:
		d.ok(CheckVersions, "new objects are locked for %s (%s): nothing can be freed before that", lockTime(rule), rule.Mode)
	}
}

func lockTime(r store.LockRule) string {
	if r.Years > 0 {
		return counted(r.Years, "year")
	}
	return counted(r.Days, "day")
}
