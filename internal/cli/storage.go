package cli

import (
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
}

func (f *storageFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.class, "class", "", "storage class of new file content from now on, such as DEEP_ARCHIVE (as in the last snapshot, else as init was told)")
	fl.StringVar(&f.then, "then", "", "class to which content moves when it is older than --hot-for (firn transition)")
	fl.StringVar(&f.hotFor, "hot-for", "", "how long content stays in --class before it moves to --then, such as 30d")
	complete(cmd, "class", classNames...)
	complete(cmd, "then", classNames...)
}

// classNames are offered to the shell; any other name is taken as well.
var classNames = []string{"STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"}

// storage returns what the flags say; the zero value: nothing.
func (f *storageFlags) storage() (snapshot.Storage, error) {
	s := snapshot.Storage{Class: f.class, Then: f.then}
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
