package cli

import (
	"time"

	"github.com/spf13/cobra"

	"firn/internal/job"
	"firn/internal/units"
)

func newPause(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "pause [TIME]",
		Short: "Stop running jobs, and begin none for a while",
		Long: `Stops the jobs of this user on this machine that run, so that they go on later where they stood, and keeps others from beginning:
for TIME, such as 2h or 90m, or until firn resume. It holds for firn run and firn serve; firn run --force and firn backup go on.`,
		Example: `  firn pause 2h
  firn pause && make-movie; firn resume`,
		Args: argsBetween(0, 1, "how long, such as 2h"),
		RunE: func(_ *cobra.Command, args []string) error { return c.pause(args) },
	}
}

func newResume(c *console) *cobra.Command {
	return &cobra.Command{
		Use:     "resume",
		Short:   "End a pause",
		Long:    "Ends what firn pause began. What became due meanwhile is run at the next firn run, or at once by firn serve.",
		Example: "  firn resume",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return c.resume() },
	}
}

// pauseJSON is what pause and resume print with --json.
type pauseJSON struct {
	Until *time.Time `json:"until,omitempty"` // absent: until resumed
	Was   bool       `json:"was"`             // jobs were paused before
}

func (c *console) pause(args []string) error {
	var p job.Pause
	if len(args) == 1 {
		d, err := units.ParseDuration(args[0])
		if err != nil || d <= 0 {
			return usage("such as firn pause 2h; without a time it lasts until firn resume", "%q is no time to pause for", args[0])
		}
		p.Until = c.now().Add(d)
	}
	dir := jobsDir()
	before, err := job.ReadPause(dir, c.now())
	if err != nil {
		c.note("%v; it is replaced", err)
	}
	if err := job.SetPause(dir, p); err != nil {
		return failure("FIRN_STATE_DIR names a folder that can be written to", "pause: %w", err)
	}
	if c.json != "" {
		return c.objectOf("paused", pauseJSON{whenJSON(p.Until), before != nil})
	}
	text := "until firn resume"
	if !p.Until.IsZero() {
		text = "until " + p.Until.Local().Format(timeFormat)
	}
	c.note("jobs are paused %s", text)
	return nil
}

func (c *console) resume() error {
	was, err := job.Resume(jobsDir(), c.now())
	if err != nil {
		return err
	}
	if c.json != "" {
		return c.objectOf("resumed", pauseJSON{Was: was})
	}
	if was {
		c.note("jobs are not paused any more")
	} else {
		c.note("jobs were not paused")
	}
	return nil
}
