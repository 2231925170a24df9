// Package cli is the command line: one file per command, which parses, calls a verb and renders what it says.
//
// Standard output carries what was asked for: tables, file content, JSON. Standard error carries everything else, each line beginning with
// "firn: note:", "firn: warning:" or, last, "firn: error:" and "firn: hint:". Exit codes are those of package advice.
//
// # JSON
//
// With --json every command prints JSON objects on standard output, one a line. Times are RFC 3339 in UTC, sizes bytes, ids lower-case hex. Names of
// members stay; new ones may be added. Each object has the member "event", the type of the line; docs/JSON.md lists the others, and a test
// compares it with what is printed.
//
//	backup        result: one for each source, also of one that failed; with --json=events also progress, problem, note
//	snapshots     snapshot
//	ls            entry: members as in the manifest (FORMAT §7.4)
//	find          version: entry, source, first and last snapshot
//	diff          change, and a last summary
//	restore       result; with --json=events also progress, problem, note; with --plan: plan; with --dry-run: item before the result
//	cost          cost, then cost_class, cost_backup, cost_month, cost_restore, and cost_elsewhere for each --what-if
//	keys, source, cache, init, version: one object for each thing named
package cli

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firn/internal/advice"
)

// Version of the program, set when it is linked.
var Version = "devel"

// Main runs the command line args, without the program's name, and returns the exit code.
func Main(args []string) int {
	noCore()
	debug.SetGCPercent(50) // most of the memory is buffers that stay: garbage is cheap to collect, and small machines thank for it
	c := newConsole(os.Stdin, os.Stdout, os.Stderr)
	ctx, stop := c.watchSignals(context.Background())
	defer stop()
	root := newRoot(c)
	root.SetArgs(args)
	return c.finish(ctx, root.ExecuteContext(ctx))
}

// newRoot makes the tree of commands.
func newRoot(c *console) *cobra.Command {
	root := &cobra.Command{
		Use:   "firn",
		Short: "Back up files to object storage, encrypted, deduplicated, cold storage first",
		Long: `firn backs up the files of a machine or a fleet to a folder or to S3 and compatible storage. Everything is
encrypted before it leaves the machine, in formats that age, zstd and a short script read without firn.`,
		Example: `  firn init /mnt/disk/backup
  firn backup --repo /mnt/disk/backup ~/documents
  firn snapshots --repo /mnt/disk/backup
  firn restore --repo /mnt/disk/backup latest --target /tmp/restored`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       Version,
	}
	root.SetVersionTemplate("firn {{.Version}}\n")
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.CompletionOptions.DisableDescriptions = false
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &advice.Error{Err: err, Code: advice.Usage, Hint: cmd.CommandPath() + " --help shows how it is used"}
	})
	c.register(root.PersistentFlags())
	complete(root, "json", "result", "events")
	root.PersistentPreRunE = c.configure
	cobra.EnableCommandSorting = false // before anybody asks for the commands, which sorts them
	root.AddCommand(newInit(c), newBackup(c), newSnapshots(c), newList(c), newFind(c), newDiff(c), newCat(c), newMount(c), newRestore(c), newThaw(c), newDrill(c), newSync(c),
		newTransition(c), newPrune(c), newForget(c), newCopy(c), newLock(c), newKeys(c), newSource(c), newCache(c), newCheck(c), newCost(c), newDoctor(c), newPolicy(c), newSchedule(c), newServe(c), newUI(c), newRepair(c), newRetention(c), newImport(c), newConfig(c), newNotify(c),
		newRun(c), newStatus(c), newPause(c), newResume(c), newVersion(c), newMan(c))
	root.AddGroup(&cobra.Group{ID: "data", Title: "Backing up and restoring:"}, &cobra.Group{ID: "manage", Title: "Looking after it:"})
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "init", "backup", "snapshots", "ls", "find", "diff", "cat", "mount", "restore", "thaw", "drill", "sync", "ui":
			cmd.GroupID = "data"
		default:
			cmd.GroupID = "manage"
		}
	}
	inOrder(root)
	root.SetHelpCommandGroupID("manage")
	root.SetCompletionCommandGroupID("manage")
	asFolder(root)
	return root
}

// inOrder shows flags as they were registered: a command's own first.
func inOrder(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	cmd.PersistentFlags().SortFlags = false
	for _, sub := range cmd.Commands() {
		inOrder(sub)
	}
}

// asFolder makes a command that only holds others: alone it shows its help, with an unknown word it fails.
func asFolder(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := cmd.CommandPath() + " --help lists the commands"
		if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
			hint = "was " + strings.Join(like, " or ") + " meant?"
		}
		return usage(hint, "unknown command %q for %q", args[0], cmd.CommandPath())
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.SuggestionsMinimumDistance = 2
	return cmd
}

// argsBetween checks how many arguments there are; what names them.
func argsBetween(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		hint := cmd.CommandPath() + " --help shows how it is used"
		switch {
		case len(args) < least:
			return usage(hint, "%s wants %s", cmd.CommandPath(), what)
		case most >= 0 && len(args) > most:
			return usage(hint, "%s wants %s, and nothing after it: %q", cmd.CommandPath(), what, args[most])
		}
		return nil
	}
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd.CommandPath()+" --help shows how it is used", "%s takes no arguments: %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// finish tells of the error that ended the command and returns the exit code.
func (c *console) finish(ctx context.Context, err error) int {
	c.endLine()
	if err == nil {
		err = c.writeError()
	}
	if err == nil {
		return advice.Done
	}
	if errors.Is(err, pflag.ErrHelp) {
		return advice.Done
	}
	code := advice.Code(err)
	if text := oneLine(err.Error()); text != "" {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			text = "interrupted"
		}
		c.say("error", text)
	}
	if hint := advice.Hint(err); hint != "" {
		c.say("hint", hint)
	}
	return code
}

// oneLine joins what errors.Join has put on several lines.
func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }
