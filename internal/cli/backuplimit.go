package cli

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/backup"
	"firn/internal/snapshot"
	"firn/internal/units"
)

// limitFlags bound how long a backup runs and how much it sends, and how much of a source may have gone.
type limitFlags struct {
	after  spanFlag
	upload units.Size
	shrink shareFlag

	until   chan struct{}
	over    func() // closes it
	begun   time.Time
	sent    *atomic.Int64
	told    int64 // of it
	reached backup.Limit
}

// spanFlag is a length of time such as 4h or 90m; zero: not given.
type spanFlag struct{ d time.Duration }

// String implements pflag.Value.
func (s *spanFlag) String() string {
	if s.d == 0 {
		return ""
	}
	return s.d.String()
}

// Set implements pflag.Value.
func (s *spanFlag) Set(text string) error {
	d, err := units.ParseDuration(text)
	if err == nil && d <= 0 {
		err = errors.New("want a time from now on, such as 4h or 90m")
	}
	if err == nil {
		s.d = d
	}
	return err
}

// Type implements pflag.Value.
func (s *spanFlag) Type() string { return "time" }

// shareFlag is a share in percent.
type shareFlag struct {
	share *float64 // 0 to 1; nil: not given
}

// String implements pflag.Value.
func (s *shareFlag) String() string {
	if s.share == nil {
		return ""
	}
	return strconv.FormatFloat(*s.share*100, 'g', -1, 64) + "%"
}

// Set implements pflag.Value.
func (s *shareFlag) Set(text string) error {
	percent, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(percent >= 0 && percent <= 100) {
		return errors.New("want a share from 0% to 100%")
	}
	percent /= 100
	s.share = &percent
	return nil
}

// Type implements pflag.Value.
func (s *shareFlag) Type() string { return "percent" }

func (f *limitFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.Var(&f.after, "stop-after", "end in order after so long, such as 4h: what was sent is kept, and the next run goes on")
	fl.Var(&f.upload, "max-upload", "end in order once so much was sent, such as 50G; the next run goes on")
	fl.Lookup("max-upload").DefValue = ""
	fl.Var(&f.shrink, "max-shrink", "fail where a larger share of the files or bytes is gone since the last snapshot, such as 50% (where all are; 100%: never)")
}

// begin starts the clock. The caller calls stop when the command is over.
func (f *limitFlags) begin(store *storeFlags) (stop func()) {
	if f.upload > 0 {
		f.sent = new(atomic.Int64)
		store.sent = f.sent
	}
	if f.after.d == 0 {
		return func() {}
	}
	f.begun, f.until = time.Now(), make(chan struct{})
	f.over = sync.OnceFunc(func() { close(f.until) })
	t := time.AfterFunc(f.after.d, f.over)
	return func() { t.Stop() }
}

// take returns how many bytes were sent since the last call; 0 also where nobody counts.
func (f *limitFlags) take() int64 {
	if f.sent == nil {
		return 0
	}
	before := f.told
	f.told = f.sent.Load()
	return f.told - before
}

// set puts the limits into the options of a backup.
func (f *limitFlags) set(o *backup.Options, dryRun bool) {
	if f.until != nil && time.Since(f.begun) >= f.after.d {
		f.over()
	}
	o.Until, o.MaxShrink, o.NotEmpty = f.until, f.shrink.share, f.shrink.share == nil
	if f.sent != nil && !dryRun {
		o.MaxUpload, o.Sent = int64(f.upload), f.sent.Load
	}
}

// stopped reports whether a limit ended a backup, and tells of it. What is left belongs to the next run, so it is no failure.
func (f *limitFlags) stopped(c *console, res *backup.Result, err error) bool {
	var limit *backup.LimitError
	if !errors.As(err, &limit) {
		return false
	}
	f.reached = limit.Limit
	text := sprintf("stopped after %s as asked", longDuration(f.after.d))
	if limit.Limit == backup.ByUpload {
		text = sprintf("stopped after %v were sent, as asked", units.Size(f.sent.Load()))
	}
	if res == nil || res.Snapshot == nil {
		text += ", before there was anything to keep"
	}
	c.note("%s; the next run goes on", text)
	return true
}

// leave tells of the sources that were not begun.
func (f *limitFlags) leave(c *console, rest []root) {
	if f.reached == "" || len(rest) == 0 {
		return
	}
	var names []string
	for _, r := range rest {
		names = append(names, r.given)
	}
	c.note("not begun: %s", strings.Join(names, ", "))
}

// named says in which source too much is gone.
func named(source snapshot.Origin, err error) error {
	if errors.As(err, new(*backup.ShrinkError)) {
		return &advice.Error{Text: advice.SourceName(source) + ": " + err.Error(), Err: err}
	}
	return err
}
