package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/job/metrics"
	"firn/internal/notify"
	"firn/internal/serve"
)

// serveCommand runs jobs for as long as it lives.
type serveCommand struct {
	c       *console
	at      string // --listen; empty: as the configuration has it
	lowDone bool
	looked  bool // at a configuration

	pages servedPages
}

func newServe(c *console) *cobra.Command {
	x := &serveCommand{c: c}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the jobs of the configuration when they are due, until it is told to end",
		Long: `Runs jobs by itself, for containers, storage boxes and whatever else has no scheduler of its own; elsewhere firn schedule install has the
system call firn run. What was due while the machine slept or was off is run once. Each job is a process of its own, as in firn run.

The configuration is read again when its files change, and on SIGHUP. One that is refused changes nothing: it is said once, in the log and
to the channels, and firn goes on with the old one. SIGTERM stops what runs, so that the next start goes on where it stood.

It answers over HTTP on 127.0.0.1:7457 ([serve] listen): /healthz while it is alive, /readyz with 503 where a job is stale or failed,
/metrics for Prometheus, /status as firn status --json without paths and errors. Elsewhere than on the loopback interface it takes a
token ([serve] token_file), which who asks from another machine sends as "Authorization: Bearer …". With [serve] ui = true the pages
of firn ui are there as well, for browsers on this machine: firn ui --link prints a link that lets one in.`,
		Example: `  firn serve
  firn serve --config /config/firn.toml --listen 0.0.0.0:7457
  curl -s localhost:7457/readyz`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&x.at, "listen", "", "host:port to answer on, or off (as [serve] says, 127.0.0.1:7457)")
	return cmd
}

func (x *serveCommand) run(ctx context.Context) error {
	again := make(chan struct{})
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	go func() {
		for {
			select {
			case <-hup:
			case <-ctx.Done():
				return
			}
			select {
			case again <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	o := serve.Options{
		Load: x.load, Hire: x.hire, Dir: jobsDir(), Reload: again, Version: Version, Up: x.up, Show: showServed,
		Notify:  func(state string) { _, _ = daemon.SdNotify(false, state) }, // where nobody listens nobody is told
		Metrics: func(crew *serve.Crew) *metrics.View { return metrics.Of(Version, crew.Runner.(*job.Runner)) },
	}
	if d, err := daemon.SdWatchdogEnabled(false); err == nil && d > 0 {
		o.Poll = min(d/3, 20*time.Second)
	}
	o.Moved = x.pages.moved
	defer x.pages.end()
	defer context.AfterFunc(ctx, x.pages.end)() // who follows what happens would hold the end up
	return servedError(serve.Run(ctx, o))
}

// load reads the configuration anew.
func (x *serveCommand) load() (*config.Config, error) {
	fresh := &console{config: configuration{file: x.c.config.file}}
	cfg, err := fresh.jobs()
	if !x.looked { // later ones the daemon tells
		x.looked = true
		if err != nil {
			x.c.tellRefused(err)
		} else {
			x.c.tellAccepted(cfg)
		}
	}
	if err == nil && x.at != "" {
		cfg.Serve.Listen = x.at
	}
	return cfg, err
}

// hire makes what runs the jobs of a configuration.
func (x *serveCommand) hire(cfg *config.Config) (*serve.Crew, error) {
	log, err := x.c.jobLog(cfg, true)
	if err != nil {
		return nil, err
	}
	if cfg.Run.Priority != "normal" && !x.lowDone {
		x.lowDone = true
		if err := job.LowPriority(); err != nil {
			log.log.Warn("other programs do not come first", "error", err)
		}
	}
	token, err := job.ReadSecret(context.Background(), cfg.Serve.Token)
	if err != nil {
		log.Close()
		return nil, &advice.Error{Text: "[serve] token: " + err.Error(), Err: err}
	}
	teller := job.NewNotifier(cfg, jobsDir())
	r, err := x.c.runner(cfg, func(o *job.Options) { o.Log, o.Reporter = log.log, teller })
	if err != nil {
		log.Close()
		return nil, err
	}
	show, use, err := x.pages.of(x.c, cfg, r)
	if err != nil {
		log.Close()
		return nil, err
	}
	host := hostName(cfg)
	alert := func(ctx context.Context, text string, over bool) {
		m := notify.Message{Event: notify.Recovered, Host: host, Job: "configuration", Kind: "serve", Program: "firn " + Version, Time: x.c.now(), Summary: text, Failures: 1}
		if !over {
			m.Event, m.Error, m.Hint = notify.Failure, text, "firn config check tells all"
		}
		if err := teller.Report(ctx, &job.Job{Name: "configuration", Repository: &config.Repository{}}, m); err != nil {
			log.log.Warn("not everybody could be told", "error", err)
		}
	}
	return &serve.Crew{Runner: r, Log: log.log, Token: token, Alert: alert, Close: log.Close, Pages: show, Use: use}, nil
}

// up tells that it answers, and where.
func (x *serveCommand) up(address string) {
	x.pages.moved(address)
	if x.c.json != "" {
		_ = x.c.objectOf("serve", servedJSON{Address: address, PID: os.Getpid()}) // marshals
		x.c.endLine()
		return
	}
	if address != "" {
		x.c.note("answering on http://%s", address)
	}
}

// servedJSON is what serve prints with --json once it is up.
type servedJSON struct {
	Address string `json:"address"` // empty: it does not listen
	PID     int    `json:"pid"`
}

// showServed is what /status says: as firn status does, without paths.
func showServed(all []job.Status) any {
	out := struct {
		Jobs []statusJSON `json:"jobs"`
	}{Jobs: []statusJSON{}}
	for i := range all {
		j := toStatusJSON(&all[i])
		j.Source, j.Error = nil, ""
		out.Jobs = append(out.Jobs, j)
	}
	return out
}

// servedError says what can be done about an error.
func servedError(err error) error {
	var held *job.HeldError
	var stuck *serve.StuckError
	switch {
	case errors.As(err, &held) && held.PID > 0:
		return failure("one is enough; firn status shows how its jobs stand", "process %d serves already, since %s", held.PID, held.Since.Local().Format(timeFormat))
	case errors.As(err, &held):
		return failure("one is enough; firn status shows how its jobs stand", "another process serves already")
	case errors.Is(err, serve.ErrOpen):
		return &advice.Error{Err: err, Code: advice.Usage, Hint: "set [serve] token_file to a file with at least 16 characters, or listen on 127.0.0.1"}
	case errors.Is(err, serve.ErrShortToken):
		return &advice.Error{Err: err, Code: advice.Usage, Hint: "such as what openssl rand -hex 32 prints"}
	case errors.As(err, &stuck):
		return &advice.Error{Err: err, Hint: "they end with this process; the next start goes on with what they had stored"}
	}
	return err
}
