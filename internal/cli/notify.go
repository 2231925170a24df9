package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/notify"
	"firn/internal/source"
)

// newNotify holds the commands about who is told what became of jobs.
func newNotify(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use: "notify", Short: "Show and try the channels by which firn tells what became of jobs",
		Long: `Channels stand in the configuration as [notify.NAME]. Each has a type: mail, webhook, ntfy, slack (also for Mattermost, and Discord at an
address that ends in /slack), healthchecks, command. A job tells the channels that it names and no
others, or where it names none those with all = true, which is the default.

  [notify.ops]
  type = "mail"
  to = ["ops@example.org"]
  from = "firn@example.org"
  server = "mail.example.org:587"
  user = "firn"
  password_file = "/etc/firn/mail.password"

  [notify.phone]
  type = "ntfy"
  url_file = "/etc/firn/ntfy.url"
  on = ["failure", "missed", "recovered"]

What on may name: start, success, failure, missed, recovered, always (all but start). Trouble that lasts is told again after 20
hours, and its end once. With after = 3 it is told from the third run in succession on.

subject and body are templates (text/template of Go) over the message: {{.Title}}, {{.Text}}, {{.Job}}, {{json .Error}},
{{size .Counts.Bytes}}, {{duration .Seconds}}, {{time .Time}} and more; one that fails is replaced by the built-in text. A command gets
the message as JSON on its standard input.`,
		Example: "  firn notify list\n  firn notify test",
	}
	cmd.AddCommand(newNotifyTest(c), newNotifyList(c))
	return asFolder(cmd)
}

func newNotifyTest(c *console) *cobra.Command {
	return &cobra.Command{
		Use: "test [CHANNEL…]", Short: "Send a message over each channel, or those that are named",
		Long: `Sends a message that says that it is a test over each channel of the configuration, side by side, as often as the channel would try for
a real one, and tells how each fared. A check at healthchecks only logs it. Where a channel fails, the exit code is 1.`,
		Example: "  firn notify test\n  firn notify test phone ops",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.channelsOf()
			if err != nil {
				return err
			}
			return c.testChannels(cmd.Context(), cfg, args)
		},
		ValidArgsFunction: c.completeChannels,
	}
}

func newNotifyList(c *console) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the channels, and what each is told", Args: noArgs,
		Example: "  firn notify list --json",
		RunE: func(*cobra.Command, []string) error {
			cfg, err := c.channelsOf()
			if err != nil {
				return err
			}
			return c.listChannels(cfg)
		},
	}
}

// channelsOf reads the configuration, which has to be there.
func (c *console) channelsOf() (*config.Config, error) {
	cfg, err := c.config.load()
	if err == nil && cfg == nil {
		err = usage("give --config FILE, or write one: firn config example shows how it looks", "there is no configuration, so there are no channels")
	}
	return cfg, err
}

// completeChannels offers the names of channels.
func (c *console) completeChannels(_ *cobra.Command, args []string, begun string) (offers []string, _ cobra.ShellCompDirective) {
	cfg, err := c.config.load()
	if err != nil || cfg == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, ch := range cfg.Notify {
		if strings.HasPrefix(ch.Name, begun) && !slices.Contains(args, ch.Name) {
			offers = append(offers, ch.Name)
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// chosenChannels are those that are named, or all.
func chosenChannels(cfg *config.Config, names []string) ([]*config.Channel, error) {
	var known []source.Setting
	for _, ch := range cfg.Notify {
		known = append(known, source.Setting{Name: ch.Name})
	}
	if len(known) == 0 {
		return nil, usage("add one, such as [notify.ops]: firn notify --help shows how", "the configuration has no channels")
	}
	if len(names) == 0 {
		return cfg.Notify, nil
	}
	var chosen []*config.Channel
	for _, name := range names {
		i := slices.IndexFunc(cfg.Notify, func(ch *config.Channel) bool { return ch.Name == name })
		switch {
		case i < 0:
			hint := "firn notify list shows them"
			if near := source.Nearest(known, name); near != "" {
				hint = "was " + near + " meant? " + hint
			}
			return nil, usage(hint, "there is no channel %q", name)
		case !slices.Contains(chosen, cfg.Notify[i]):
			chosen = append(chosen, cfg.Notify[i])
		}
	}
	return chosen, nil
}

// tried is how one channel fared.
type tried struct {
	channel  *config.Channel
	err      error
	place    string
	tries    int
	seconds  float64
	warnings []string
}

// testChannels sends a test over channels, and tells how each fared.
func (c *console) testChannels(ctx context.Context, cfg *config.Config, names []string) error {
	chosen, err := chosenChannels(cfg, names)
	if err != nil {
		return err
	}
	host, err := (&hostFlags{}).orSystem()
	if err != nil {
		return err
	}
	now := c.now()
	m := notify.Message{Event: notify.Test, ID: "test " + host + now.String(), Host: host, Job: "test", Kind: "backup", Program: "firn " + Version, Time: now, Started: now,
		Summary: "This is a test, sent by hand.", Report: []byte(`{"event":"test"}`)}
	results := tryChannels(ctx, job.NewNotifier(cfg, ""), chosen, m)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failed, first := 0, error(nil)
	t := c.table("channel", "type", "where", "result")
	for _, r := range results {
		result := "sent"
		if r.err != nil {
			failed, result = failed+1, "failed"
			if first == nil {
				first = r.err
			}
		}
		for _, text := range r.warnings {
			c.warn("%s", text)
		}
		if r.err != nil && len(results) > 1 {
			c.warn("%s", oneLine(r.err.Error()))
		}
		if c.json != "" {
			if err := c.object(r.json(result)); err != nil {
				return err
			}
		}
		t.row(r.channel.Name, r.channel.Type, r.place, result)
	}
	if c.json == "" && !c.quiet {
		t.print()
	}
	switch {
	case failed > 0 && len(results) == 1:
		return first
	case failed > 0:
		return fmt.Errorf("%d of %d channels failed; the first: %w", failed, len(results), first)
	}
	return nil
}

func (r tried) json(state string) map[string]any {
	o := map[string]any{"event": "notify", "channel": r.channel.Name, "type": r.channel.Type, "place": r.place, "state": state, "tries": r.tries, "seconds": r.seconds}
	if r.err != nil {
		o["error"] = oneLine(r.err.Error())
	}
	if len(r.warnings) > 0 {
		o["warnings"] = r.warnings
	}
	return o
}

// tryChannels opens channels and sends a message over all that can be opened, side by side.
func tryChannels(ctx context.Context, n *job.Notifier, chosen []*config.Channel, m notify.Message) []tried {
	results := make([]tried, len(chosen))
	var open []*notify.Channel
	var index []int
	for i, ch := range chosen {
		results[i] = tried{channel: ch, place: placeOf(ch)}
		channel, err := n.Channel(ctx, ch)
		if err != nil {
			results[i].err = err
			continue
		}
		results[i].place = channel.Place()
		open, index = append(open, channel), append(index, i)
	}
	for k, r := range notify.SendAll(ctx, open, m) {
		to := &results[index[k]]
		to.err, to.tries, to.seconds = r.Err, r.Tries, r.Took.Seconds()
		for _, w := range r.Warnings {
			to.warnings = append(to.warnings, w.Error())
		}
	}
	return results
}

// placeOf is where a channel leads, as far as the configuration shows it, without what is secret.
func placeOf(ch *config.Channel) string {
	switch {
	case ch.Type == "mail":
		return ch.Server
	case ch.URL != "":
		return notify.Place(ch.URL)
	}
	return ""
}

// listChannels prints the channels.
func (c *console) listChannels(cfg *config.Config) error {
	t := c.table("channel", "type", "where", "on", ">after", "jobs")
	for _, ch := range cfg.Notify {
		who := "jobs that name no channel"
		if !ch.All {
			who = ""
		}
		var names []string
		for _, s := range cfg.Sources {
			if slices.Contains(s.Notify, ch.Name) {
				names = append(names, s.Name)
			}
		}
		if c.json != "" {
			o := map[string]any{"event": "channel", "channel": ch.Name, "type": ch.Type, "place": placeOf(ch), "on": ch.On, "after": ch.After, "all": ch.All, "sources": append([]string{}, names...)}
			if len(ch.To) > 0 {
				o["to"] = ch.To
			}
			if err := c.object(o); err != nil {
				return err
			}
			continue
		}
		where := placeOf(ch)
		if len(ch.To) > 0 {
			where = strings.Join(ch.To, ", ")
		}
		if who != "" {
			names = append([]string{who}, names...)
		}
		t.row(ch.Name, ch.Type, where, strings.Join(ch.On, ", "), fmt.Sprint(max(1, ch.After)), strings.Join(names, ", "))
	}
	if c.json == "" {
		t.print()
	}
	return nil
}
