package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"firn/internal/advice"
	"firn/internal/glob"
	"firn/internal/price"
	"firn/internal/sync"
	"firn/internal/units"
)

// filter reads the patterns. root is the folder of one side.
func (x *syncCommand) filter(root string) (*sync.Filter, error) {
	o := glob.Options{Root: filepath.ToSlash(root)}
	var sets []*glob.Set
	for _, file := range x.patternFile {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("exclude file: %w", err)
		}
		set, err := o.Parse(strings.Split(string(raw), "\n"), file)
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	set, err := o.Parse(x.patterns, "--exclude")
	if err != nil {
		return nil, err
	}
	o.FoldCase = true
	folded, err := o.Parse(x.anyCase, "--iexclude")
	if err != nil {
		return nil, err
	}
	return sync.NewFilter(glob.Join(append(sets, set)...), folded), nil
}

// free is what may be paid besides requests without asking anybody.
const free = price.Money(0.01)

// agree makes sure that somebody agrees to a price.
func (x *syncCommand) agree(ctx context.Context, d sync.Due) error {
	what := map[string]string{"replace": "replace", "delete": "delete", "thaw": "thaw"}[d.Why]
	cost := "at a price that is not known"
	if x.region != nil {
		cost = "for " + x.region.Format(d.Cost)
	}
	reason := ", the rest of the time that they are billed for at least"
	if x.region == nil {
		reason = ", if they are billed for a least time"
	}
	if d.Why == "thaw" {
		reason = ""
		if d.Last > 0 {
			reason = sprintf(", all of it within %s", longDuration(d.Last))
		}
	}
	text := sprintf("%s %s of %v %s%s", what, counted(d.Files, "file"), units.Size(d.Bytes), cost, reason)
	limit, err := (&thawFlags{maxCost: x.maxCost}).limit()
	switch {
	case err != nil:
		return err
	case limit != nil && x.region == nil:
		return failure("give the prices with --prices or --price-region, or leave --max-cost out", "to %s: --max-cost cannot be kept to", text)
	case limit != nil && x.spent+d.Cost > *limit:
		return failure("--max-cost allows more, or leave it", "to %s: that is more than --max-cost %s", text, x.maxCost)
	case limit != nil, x.yes, x.region != nil && d.Cost < free, x.region == nil && d.Why != "thaw": // a class with a least stay elsewhere may have none here
		x.spent += d.Cost
		x.c.note("to %s", text)
		return nil
	case !x.c.terminal:
		return failure("--max-cost agrees to as much, --yes to anything", "nobody can be asked whether to %s", text)
	}
	x.spent += d.Cost
	return x.c.confirm(ctx, strings.ToUpper(text[:1])+text[1:]+"?")
}

// syncItem is one file in JSON.
type syncItem struct {
	Action   sync.Action `json:"action"`
	Path     string      `json:"path"`
	Key      string      `json:"key"`
	Size     int64       `json:"size"`
	Class    string      `json:"class,omitempty"`
	Replaces string      `json:"replaces,omitempty"`
	New      bool        `json:"new"`
	Change   string      `json:"change,omitempty"`
}

// item prints what is done with one file.
func (x *syncCommand) item(i sync.Item) {
	switch {
	case !x.itemize && x.c.json != "events":
		if x.c.verbose || x.c.debug {
			x.c.explain("%s %q", i.Itemized(), i.Path)
		}
	case x.c.json != "":
		_ = x.c.objectOf("item", syncItem{i.Action, i.Path, i.Key, i.Size, i.Class, i.Replace, i.New, i.Change}) // errors of writing are kept by the console
	default:
		x.c.print("%s %s\n", i.Itemized(), printable(i.Path))
	}
}

// syncJSON is what sync prints with --json.
type syncJSON struct {
	From        string      `json:"from"`
	To          string      `json:"to"`
	DryRun      bool        `json:"dry_run"`
	Files       int64       `json:"files"`
	Bytes       int64       `json:"bytes"`
	Same        int64       `json:"same"`
	New         int64       `json:"new"`
	Changed     int64       `json:"changed"`
	Touched     int64       `json:"touched"`
	Deleted     int64       `json:"deleted"`
	Undeleted   int64       `json:"undeleted"`
	Kept        int64       `json:"kept"`
	Skipped     int64       `json:"skipped"`
	Unread      int64       `json:"unread"`
	Failed      int64       `json:"failed"`
	Refused     int64       `json:"refused"`
	Compared    int64       `json:"compared"`
	Resumed     int64       `json:"resumed"`
	Sent        int64       `json:"bytes_sent"`
	Got         int64       `json:"bytes_got"`
	Copied      int64       `json:"bytes_copied"`
	Frozen      int64       `json:"frozen"`
	FrozenBytes int64       `json:"frozen_bytes"`
	Asked       int64       `json:"asked"`
	Ready       string      `json:"ready,omitempty"`
	Classes     []syncClass `json:"classes"`
	Requests    requests    `json:"requests"`
	Cost        *syncCost   `json:"cost,omitempty"`
	Seconds     float64     `json:"seconds"`
	Error       string      `json:"error,omitempty"`
}

type syncClass struct {
	Class   string `json:"class"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
}

// syncCost is what a sync cost, or would cost.
type syncCost struct {
	Currency string      `json:"currency"`
	Now      price.Money `json:"now"`     // requests and what left the store
	Early    price.Money `json:"early"`   // rests of least stays
	Thaw     price.Money `json:"thaw"`    // at most
	Monthly  price.Money `json:"monthly"` // to keep what was sent
}

// cost is what it cost, where prices are known.
func (x *syncCommand) cost(res *sync.Result, made requests) *syncCost {
	if x.region == nil {
		return nil
	}
	c := &syncCost{Currency: x.region.Currency, Early: res.Early, Thaw: res.ThawCost}
	var sent []price.Sent
	var objects int64
	for class, t := range res.Classes {
		sent = append(sent, price.Sent{Class: class, Objects: t.Objects, Bytes: t.Bytes})
		objects += t.Objects
	}
	if more := made.Put - objects; more > 0 {
		sent = append(sent, price.Sent{Objects: more})
	}
	c.Now = x.region.Backup(sent, made.List, made.Get).Total()
	if res.Got > 0 {
		c.Now += x.region.Egress(price.Direct, res.Got, 0).Cost
	}
	c.Monthly = x.region.Monthly(sent).Total()
	return c
}

// end tells what a sync did, and how it ended.
func (x *syncCommand) end(ctx context.Context, res *sync.Result, err error, from, to string) error {
	made := x.store.made.take()
	cost := x.cost(res, made)
	took := x.c.now().Sub(x.started)
	if x.c.json != "" {
		j := syncJSON{From: from, To: to, DryRun: x.dryRun, Files: res.Files, Bytes: res.Bytes, Same: res.Same, New: res.New, Changed: res.Changed, Touched: res.Touched, Deleted: res.Deleted,
			Undeleted: res.Undeleted, Kept: res.Kept, Skipped: res.Skipped, Unread: res.Unread, Failed: res.Failed, Refused: res.Refused, Compared: res.Compared, Resumed: res.Resumed,
			Sent: res.Sent, Got: res.Got, Copied: res.Copied, Frozen: res.Frozen, FrozenBytes: res.FrozenSize, Asked: res.Asked, Classes: []syncClass{}, Requests: made, Cost: cost, Seconds: seconds(took)}
		for _, class := range slices.Sorted(maps.Keys(res.Classes)) {
			j.Classes = append(j.Classes, syncClass{class, res.Classes[class].Objects, res.Classes[class].Bytes})
		}
		if !res.Ready.IsZero() && res.Frozen > 0 {
			j.Ready = res.Ready.UTC().Format(time.RFC3339)
		}
		if err != nil {
			j.Error = err.Error()
		}
		if e := x.c.objectOf("result", j); e != nil {
			return e
		}
	} else if !x.c.quiet && x.extra.report != "-" {
		x.summary(res, cost, made, took, err)
	}
	return x.verdict(ctx, res, err)
}

// summary is for people.
func (x *syncCommand) summary(res *sync.Result, cost *syncCost, made requests, took time.Duration, err error) {
	verb := ""
	switch {
	case x.dryRun:
		verb = "would be: "
	case err != nil:
		verb = "stopped: "
	}
	var parts []string
	add := func(n int64, what string) {
		if n > 0 {
			parts = append(parts, units.Count(n)+" "+what)
		}
	}
	add(res.New, "new")
	add(res.Changed, "changed")
	add(res.Touched, "with new metadata")
	add(res.Deleted, "deleted")
	add(res.Kept, "newer there")
	add(res.Same, "the same")
	add(res.Frozen, "to be thawed")
	if len(parts) == 0 {
		if err != nil {
			return // which says it all
		}
		parts = append(parts, "nothing to do")
	}
	moved := res.Sent + res.Got + res.Copied
	x.c.print("%s%s; %v in %s, %s\n", verb, strings.Join(parts, ", "), units.Size(moved), duration(took), counted(made.Put+made.Get+made.List, "request"))
	if res.Resumed > 0 {
		x.c.print("  %v of earlier uploads counted\n", units.Size(res.Resumed))
	}
	if res.Skipped > 0 {
		x.c.print("  %s left out: symlinks and special files; --links, -v names them\n", units.Count(res.Skipped))
	}
	if cost != nil && cost.Now+cost.Early+cost.Thaw >= 0.005 {
		text := sprintf("  requests and downloads cost about %s", x.region.Format(cost.Now))
		if cost.Early > 0 {
			text += sprintf(", what was replaced or deleted early %s", x.region.Format(cost.Early))
		}
		if cost.Thaw > 0 {
			text += sprintf(", thawing at most %s", x.region.Format(cost.Thaw))
		}
		if cost.Monthly > 0 {
			text += sprintf("; what was sent costs %s a month", x.region.Format(cost.Monthly))
		}
		x.c.print("%s\n", text)
	}
	if res.Frozen > 0 {
		text := sprintf("  %s of %v in cold classes", counted(res.Frozen, "file"), units.Size(res.FrozenSize))
		switch {
		case res.Ready.IsZero():
		case x.dryRun:
			text += sprintf("; thawing takes up to %s", longDuration(res.Ready.Sub(x.started)))
		default:
			text += sprintf("; run the same command again after %s", res.Ready.Local().Format(timeFormat))
		}
		x.c.print("%s\n", text)
	}
}

// verdict is the error that a sync ends with.
func (x *syncCommand) verdict(ctx context.Context, res *sync.Result, err error) error {
	var guard *sync.GuardError
	var place *sync.PlaceError
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled):
		return &advice.Error{Text: "interrupted", Hint: "run the same command again: it goes on where it stopped", Err: err}
	case errors.As(err, &guard):
		hint := "if that is meant: --max-delete 100%"
		if guard.Empty {
			hint = "is FROM mounted? If it is meant to be empty: --max-delete 100%"
		}
		return &advice.Error{Err: err, Hint: hint}
	case errors.As(err, &place) && errors.Is(err, sync.ErrVanished):
		return &advice.Error{Err: err, Hint: "look what is mounted there, and run it again: nothing was deleted"}
	case err != nil:
		return syncHint(err)
	case res.Incomplete():
		return incomplete()
	case res.Frozen > 0 && !x.dryRun:
		return incomplete()
	}
	return nil
}
