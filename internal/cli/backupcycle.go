package cli

import (
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/backup"
	"firn/internal/repo"
	"firn/internal/retain"
	"firn/internal/retention"
	"firn/internal/snapshot"
)

// cycleFlags let a rotation say whether a source is to be backed up, and whether that is a full.
type cycleFlags struct {
	text  string
	force bool
	cycle retain.Cycle
}

func (f *cycleFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.text, "cycle", "", "back up where this rotation says so: \"simple diffs=6 fulls=4\" or \"hanoi discs=5\" (firn retention --help)")
	fl.BoolVar(&f.force, "force", false, "with --cycle: back up though none is due")
}

// check reads the flags.
func (f *cycleFlags) check() (err error) {
	switch {
	case f.text != "":
		f.cycle, err = parseCycle(f.text)
	case f.force:
		err = usage("without --cycle every backup is made", "--force needs --cycle")
	}
	return err
}

// own returns the snapshots of a source by which to plan: not those that are newer than the last one that this machine knows of. Whoever has stolen the key of a
// host could keep it from backing up with them.
func (f *cycleFlags) own(c *console, scope *repo.ScopeState, o *backup.Options) []snapshot.Item {
	head, known := o.State.Head(o.Source.ID)
	var items []snapshot.Item
	strange := 0
	for _, it := range snapshot.Standing(scope.Items) {
		if it.Source.ID != o.Source.ID {
			continue
		}
		if known && it.Status() == snapshot.IsDone && it.Sequence > head.Sequence {
			strange++
			continue
		}
		items = append(items, it)
	}
	if strange > 0 {
		c.warn("%s: %s not made from here: the cycle does not count on them", advice.SourceName(o.Source), counted(int64(strange), "newer snapshot"))
	}
	return items
}

// due reports whether a source is to be backed up, and sets whether as a full. Where it is not it says until when.
func (x *backupCommand) due(scope *repo.ScopeState, o *backup.Options) bool {
	if x.cycle.cycle.Kind == "" {
		return true
	}
	items := x.cycle.own(x.c, scope, o)
	due, full, when := x.cycle.cycle.Next(retention.Planned(items), x.c.now(), time.Local)
	if !due && !x.cycle.force {
		if x.c.json != "" {
			utc := when.UTC()
			_ = x.c.object(backupJSON{Event: "result", Source: originJSON(o.Source, o.Host), State: "not due", Next: &utc, Problems: []snapshot.Problem{}}) // marshals
			return false
		}
		x.c.note("%s: the next backup is due on %s; --force makes one now", advice.SourceName(o.Source), when.In(time.Local).Format(timeFormat))
		return false
	}
	if due && full && newest(items, o.Source.ID) != nil && !o.Full { // the first is a full by itself
		o.Full = true
		x.c.note("%s: a full backup, as the cycle plans", advice.SourceName(o.Source))
	}
	return true
}
