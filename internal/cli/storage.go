package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/price"
	"firn/internal/snapshot"
)

// storageFlags say in which storage class file content is kept.
type storageFlags struct {
	class  string
	then   string
	hotFor string
	parity optionalPercent
}

// optionalPercent is a flag from 0 to 100 that need not be given.
type optionalPercent struct{ n *int }

// String implements pflag.Value.
func (p *optionalPercent) String() string {
	if p.n == nil {
		return ""
	}
	return strconv.Itoa(*p.n)
}

// Set implements pflag.Value.
func (p *optionalPercent) Set(text string) error {
	n, err := strconv.ParseUint(strings.TrimSuffix(text, "%"), 10, 8)
	if err != nil || n > snapshot.MaxParity {
		return fmt.Errorf("want a percentage from 0 to %d", snapshot.MaxParity)
	}
	at := int(n)
	p.n = &at
	return nil
}

// Type implements pflag.Value.
func (p *optionalPercent) Type() string { return "percent" }

// or returns what was given, else n.
func (p *optionalPercent) or(n int) int {
	if p.n != nil {
		return *p.n
	}
	return n
}

func (f *storageFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.class, "class", "", "storage class of new file content from now on, such as DEEP_ARCHIVE (as in the last snapshot, else as init was told)")
	fl.StringVar(&f.then, "then", "", "class to which content moves when it is older than --hot-for (firn transition)")
	fl.StringVar(&f.hotFor, "hot-for", "", "how long content stays in --class before it moves to --then, such as 30d")
	fl.Var(&f.parity, "parity", "percent of PAR2 recovery data for new file content from now on, 0 for none (as in the last snapshot, else as init was told, "+
		"else 5 where the class is cold)")
	complete(cmd, "class", classNames...)
	complete(cmd, "then", classNames...)
}

// classNames are offered to the shell; any other name is taken as well.
var classNames = []string{"STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"}

// storage returns what the flags say; the zero value: nothing.
func (f *storageFlags) storage() (snapshot.Storage, error) {
	s := snapshot.Storage{Class: f.class, Then: f.then, Parity: f.parity.n}
	switch {
	case (f.then == "") != (f.hotFor == ""):
		return s, usage("such as: --class STANDARD_IA --hot-for 30d --then DEEP_ARCHIVE", "--then and --hot-for belong together")
	case f.then != "" && f.class == "":
		return s, usage("such as: --class STANDARD_IA --hot-for 30d --then DEEP_ARCHIVE", "--then needs --class, the class to begin with")
	}
	if f.hotFor != "" {
		d, err := parseAge(f.hotFor)
		if err != nil {
			return s, usage("", "--hot-for %q: want a number of days, weeks, months or years, such as 30d", f.hotFor)
		}
		s.HotFor = d
	}
	if err := s.Check(); err != nil {
		return s, usage("a class is at most 64 letters, digits and _, and --then another one than --class", "--class, --then: %v", err)
	}
	for _, name := range []string{f.class, f.then} {
		if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return s, usage("", "storage class %q: want letters, digits, _ and -", name)
		}
	}
	return s, nil
}

const day = 24 * time.Hour

// parseAge reads "36h", "30d", "6w", "3m" or "1y"; a month has 30 days and a year 365.
func parseAge(text string) (time.Duration, error) {
	units := map[byte]time.Duration{'h': time.Hour, 'd': day, 'w': 7 * day, 'm': 30 * day, 'y': 365 * day}
	if text == "" {
		return 0, strconv.ErrSyntax
	}
	unit, ok := units[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 16)
	if !ok || err != nil || n == 0 || n > uint64(100*365*day/unit) {
		return 0, strconv.ErrSyntax
	}
	return time.Duration(n) * unit, nil
}

// coldIn returns what tells whether objects of a class have to be thawed before they are read; region may be nil.
func coldIn(region *price.Region) func(class string) bool {
	return func(class string) bool {
		if class == "" {
			return false
		}
		if region != nil {
			if k, ok := region.Class(class); ok {
				return k.Cold
			}
		}
		return strings.EqualFold(class, "GLACIER") || strings.EqualFold(class, "DEEP_ARCHIVE")
	}
}
