package cli

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/notify"
)

// refusedJob stands for the configuration in what channels are told, and for the folder in which is remembered that they were.
const refusedJob = "configuration"

// tellTime is how long it may take.
const tellTime = 5 * time.Minute

// tellRefused tells the channels, as far as they can be read, that nothing runs since the configuration is refused: nobody looks at what a scheduler starts. What goes on is told once a day.
func (c *console) tellRefused(wrong error) {
	path, err := c.config.find()
	if err != nil || path == "" {
		return
	}
	if cfg := config.Channels(disk{}, path, kindsOfSources()); cfg != nil {
		c.tellOfConfiguration(cfg, notify.Message{Event: notify.Failure, Error: wrong.Error(), Hint: "firn config check tells all", Summary: "nothing runs: the configuration is refused"})
	}
}

// tellAccepted tells them that it is over, where they were told.
func (c *console) tellAccepted(cfg *config.Config) {
	if dir := jobsDir(); dir != "" && exists(filepath.Join(dir, refusedJob, "told.json")) {
		c.tellOfConfiguration(cfg, notify.Message{Event: notify.Recovered, Summary: "the configuration is in order again"})
		_ = os.Remove(filepath.Join(dir, refusedJob, "told.json")) // also where somebody could not be told: the next trouble is another one
	}
}

func (c *console) tellOfConfiguration(cfg *config.Config, m notify.Message) {
	ctx, cancel := context.WithTimeout(context.Background(), tellTime)
	defer cancel()
	m.Host, m.Job, m.Kind, m.Program, m.Time, m.Failures = hostName(cfg), refusedJob, "schedule", "firn "+Version, c.now(), 1
	if err := job.NewNotifier(cfg, jobsDir()).Report(ctx, &job.Job{Name: refusedJob, Repository: &config.Repository{}}, m); err != nil {
		c.note("not everybody could be told: %v", err)
	}
}
