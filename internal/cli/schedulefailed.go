package cli

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/notify"
	"firn/internal/timer"
)

func newScheduleFailed(c *console) *cobra.Command {
	x := &scheduleCommand{c: c, system: timer.Here()}
	cmd := &cobra.Command{
		Use: "failed UNIT", Short: "Tell the channels that firn itself could not run", Hidden: true, Args: argsBetween(1, 1, "a unit"),
		Long: `Is started by systemd where a unit of firn has failed. Of jobs that fail firn tells by itself; this is for what it cannot tell: that it was
killed, ran out of memory, or does not start.`,
		Example: "  firn schedule failed firn.service",
		RunE:    func(cmd *cobra.Command, args []string) error { return x.failed(cmd.Context(), args[0]) },
	}
	cmd.Flags().BoolVar(&x.serve, "serve", false, "the unit is the daemon, which no failed job ends")
	return cmd
}

func (x *scheduleCommand) failed(ctx context.Context, unit string) error {
	how := x.how(ctx, unit)
	if how == "" {
		return nil
	}
	cfg, err := x.c.config.load()
	if err != nil {
		x.c.tellRefused(err) // unless firn has told that by itself
		return err
	}
	if cfg == nil {
		return nil
	}
	if how == "exited 1" && !x.serve && x.jobFailed(cfg) {
		x.c.note("%s ended with 1, since a job failed, of which firn has told by itself", unit)
		return nil
	}
	m := notify.Message{Event: notify.Failure, Host: hostName(cfg), Job: unit, Kind: "schedule", Program: "firn " + Version, Time: x.c.now(), Failures: 1,
		Summary: "firn could not run", Error: unit + " has failed (" + how + "), and could not tell why", Hint: "journalctl -u " + unit + " shows what it said last"}
	return job.NewNotifier(cfg, jobsDir()).Report(ctx, &job.Job{Name: unit, Kind: "schedule"}, m)
}

// jobFailed reports whether a job stands as failed: then that is what a run ended with. What else keeps firn from running (no log, no state) ends it with 1 as well.
func (x *scheduleCommand) jobFailed(cfg *config.Config) bool {
	r, err := x.c.runner(cfg, nil)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(r.Status(r.Jobs(), 0), func(s job.Status) bool { return s.Last != nil && s.Last.Outcome == job.Failed })
}

// how is the way in which a unit failed, such as "exited 1" or "killed KILL (oom-kill)"; empty: it did not. Systemd tells it to what it starts because of that since version 251, and to what comes after the end
// of a service (systemd.exec(5), $SERVICE_RESULT); older ones are asked.
func (x *scheduleCommand) how(ctx context.Context, unit string) string {
	if result := os.Getenv("SERVICE_RESULT"); result != "" {
		how := os.Getenv("EXIT_CODE") + " " + os.Getenv("EXIT_STATUS")
		switch result {
		case "success":
			return ""
		case "exit-code":
			return how
		}
		return how + " (" + result + ")"
	}
	if code := os.Getenv("MONITOR_EXIT_CODE"); code != "" {
		how := code + " " + os.Getenv("MONITOR_EXIT_STATUS")
		if result := os.Getenv("MONITOR_SERVICE_RESULT"); result != "exit-code" && result != "" {
			how += " (" + result + ")"
		}
		return how
	}
	args := []string{"show", "--property=Result,ExecMainCode,ExecMainStatus", unit}
	if os.Geteuid() != 0 {
		args = append([]string{"--user"}, args...)
	}
	out, err := x.system.Run(ctx, timer.Call{Name: "systemctl", Args: args})
	if err != nil {
		return "how is not known"
	}
	said := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		said[name] = value
	}
	if said["ExecMainCode"] == "1" { // CLD_EXITED, waitid(2)
		return "exited " + said["ExecMainStatus"]
	}
	return said["Result"]
}
