package cli

import (
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firn/internal/retain"
)

// retentionFlags say which snapshots are kept.
type retentionFlags struct {
	last, hourly, daily, weekly, monthly, quarterly, yearly, least keepCount

	within optionalAge
	tags   []string
	cycle  string
	none   bool
	burst  optionalAge
}

// keepCount is a flag: a number, or all.
type keepCount int

// String implements pflag.Value.
func (k *keepCount) String() string {
	switch *k {
	case 0:
		return ""
	case retain.All:
		return "all"
	}
	return strconv.Itoa(int(*k))
}

// Set implements pflag.Value.
func (k *keepCount) Set(text string) error {
	if text == "all" {
		*k = retain.All
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		return errors.New("want a number from 1 on, or all")
	}
	*k = keepCount(n)
	return nil
}

// Type implements pflag.Value.
func (k *keepCount) Type() string { return "N" }

// optionalAge is a flag such as 30d that need not be given; none where it may be 0.
type optionalAge struct {
	d    time.Duration
	text string
	zero bool
}

// String implements pflag.Value.
func (a *optionalAge) String() string { return a.text }

// Set implements pflag.Value.
func (a *optionalAge) Set(text string) error {
	d, err := parseAge(text)
	if text == "0" && a.zero {
		d, err = retain.NoBurst, nil
	}
	if err != nil {
		return errors.New("want a number of hours, days, weeks, months or years, such as 36h, 30d or 1y")
	}
	a.d, a.text = d, text
	return nil
}

// Type implements pflag.Value.
func (a *optionalAge) Type() string { return "time" }

func (f *retentionFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	f.burst.zero = true
	for _, k := range []struct {
		value      pflag.Value
		name, help string
	}{
		{&f.last, "keep-last", "keep the newest N"},
		{&f.hourly, "keep-hourly", "keep the first of each of the newest N hours that have one"},
		{&f.daily, "keep-daily", "… N days"},
		{&f.weekly, "keep-weekly", "… N weeks, from Monday on"},
		{&f.monthly, "keep-monthly", "… N months"},
		{&f.quarterly, "keep-quarterly", "… N quarters of a year"},
		{&f.yearly, "keep-yearly", "… N years"},
		{&f.within, "keep-within", "keep what is younger than this, such as 30d; time without backups does not count"},
		{&f.least, "keep-min", "keep at least N of a source, whatever else is said"},
	} {
		fl.Var(k.value, k.name, k.help)
	}
	fl.StringArrayVar(&f.tags, "keep-tag", nil, "keep what has this tag (repeat for more)")
	fl.StringVar(&f.cycle, "cycle", "", "keep as a rotation does: \"simple diffs=6 fulls=4\" or \"hanoi discs=5\" (firn retention --help)")
	fl.BoolVar(&f.none, "keep-none", false, "keep nothing")
	fl.Var(&f.burst, "burst", "snapshots closer together than this count as one, 0 for none (half of how often the source is backed up)")
}

// policy returns what the flags say. It fails where they say nothing, or too much.
func (f *retentionFlags) policy() (retain.Policy, error) {
	p := retain.Policy{Last: int(f.last), Hourly: int(f.hourly), Daily: int(f.daily), Weekly: int(f.weekly), Monthly: int(f.monthly), Quarterly: int(f.quarterly),
		Yearly: int(f.yearly), Within: f.within.d, Tags: f.tags, Min: int(f.least), None: f.none, Burst: f.burst.d}
	if f.cycle != "" {
		var err error
		if p.Cycle, err = parseCycle(f.cycle); err != nil {
			return p, err
		}
	}
	var bad *retain.PolicyError
	switch err := p.Check(); {
	case errors.Is(err, retain.ErrEmpty):
		return p, usage("such as --keep-daily 7 --keep-weekly 5 --keep-monthly 12, or --cycle \"hanoi discs=6\"; --keep-none keeps nothing", "which snapshots are to be kept?")
	case errors.As(err, &bad) && f.none:
		return p, usage("leave out one of them", "--keep-none keeps nothing, but another flag keeps something")
	case err != nil:
		return p, usage("", "%v", err)
	}
	return p, nil
}

// parseCycle reads --cycle.
func parseCycle(text string) (retain.Cycle, error) {
	c, err := retain.ParseCycle(text)
	if err != nil {
		return c, usage("such as \"simple frequency=1 diffs=6 fulls=4\" or \"hanoi frequency=1 discs=5 archive-oldest=yes\"", "--cycle: %v", err)
	}
	return c, nil
}
