package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"firn/internal/advice"
	"firn/internal/program"
	"firn/internal/replay"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/thaw"
	"firn/internal/units"
	"firn/internal/wire"
)

// intoFlags say what takes streams.
type intoFlags struct {
	into     string
	zfs      string
	settings []string
	stdout   bool
	command  string

	spec   wire.Spec // of into or zfs
	values map[string]string
}

func (f *intoFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.into, "into", "", "replay streams into this: zfs:pool/dataset, postgres:mydb, … (firn source kinds lists what can be)")
	fl.StringVar(&f.zfs, "zfs", "", "the same as --into zfs:DATASET")
	fl.StringArrayVarP(&f.settings, "option", "o", nil, "setting of what --into names, as NAME=VALUE (repeat for more)")
	fl.BoolVar(&f.stdout, "stdout", false, "write one stream to standard output")
	fl.StringVar(&f.command, "to-command", "", "give each stream to this command, run once for each in the shell (FIRN_STREAM is its name)")
	_ = cmd.RegisterFlagCompletionFunc("into", completeTakers) // these fail for unknown flags only
	_ = cmd.RegisterFlagCompletionFunc("option", f.completeSettings)
}

// completeTakers offers the kinds of what takes streams.
func completeTakers(_ *cobra.Command, _ []string, begun string) (offers []string, _ cobra.ShellCompDirective) {
	for _, k := range wire.Kinds() {
		if k.Takes() && strings.HasPrefix(k.Name+":", begun) {
			offers = append(offers, k.Name+":")
		}
	}
	return offers, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// completeSettings offers the settings of what is named already, or all there are.
func (f *intoFlags) completeSettings(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	var named []string
	if f.into != "" {
		named = []string{f.into}
	} else if f.zfs != "" {
		named = []string{"zfs:" + f.zfs}
	}
	return completeSettings(cmd, named, begun)
}

// given reports whether something other than files is wanted.
func (f *intoFlags) given() bool { return f.into != "" || f.zfs != "" || f.stdout || f.command != "" }

// check refuses what makes no sense.
func (f *intoFlags) check(x *restoreCommand) error {
	var to []string
	for _, t := range []struct {
		given bool
		flag  string
	}{{x.target != "", "--target"}, {x.tar != "", "--tar"}, {f.into != "", "--into"}, {f.zfs != "", "--zfs"}, {f.stdout, "--stdout"}, {f.command != "", "--to-command"}} {
		if t.given {
			to = append(to, t.flag)
		}
	}
	switch {
	case len(to) > 1:
		return usage("give one of them", "both %s and %s are given", to[0], to[1])
	case len(f.settings) > 0 && f.into == "" && f.zfs == "":
		return usage("", "-o is for --into")
	case !f.given():
		return nil
	case x.remove || x.overwrite != "" || x.dryRun || len(x.include)+len(x.exclude) > 0 || x.list.given() || x.keepPartial:
		return usage("--plan tells what would be done", "--overwrite, --delete, --dry-run, --keep-partial and patterns are for --target, not for %s", to[0])
	case f.stdout && x.c.json != "" && !x.plan:
		return usage("", "standard output cannot hold both a stream and JSON")
	case f.stdout && !x.plan && term.IsTerminal(int(os.Stdout.Fd())):
		return usage("send it on with a pipe, or to a file; firn cat prints files", "a stream does not belong on a terminal")
	}
	return f.parse()
}

// parse reads what --into names.
func (f *intoFlags) parse() (err error) {
	text := f.into
	if f.zfs != "" {
		text = "zfs:" + strings.TrimPrefix(f.zfs, "zfs:")
	}
	if text == "" {
		return nil
	}
	if f.spec, err = wire.ParseSpec(text, nil); err != nil {
		return asUsage(err)
	}
	if f.spec.Folder() {
		return usage("for a folder there is --target", "--into %q: want KIND:REST, such as zfs:pool/dataset", text)
	}
	if f.values, err = settings(f.settings); err != nil {
		return err
	}
	if _, err := wire.OpenTaker(f.spec, f.values); err != nil {
		return asUsage(err)
	}
	return nil
}

// hasFiles reports whether a snapshot is of files, and not of streams.
func hasFiles(o snapshot.Origin) bool { return o.Kind == "dir" || strings.HasSuffix(o.Kind, "-files") }

// fits refuses to give streams of one kind to what takes those of another.
func (f *intoFlags) fits(o snapshot.Origin, path []byte) error {
	if hasFiles(o) && len(path) == 0 {
		return usage("restore it with --target; one of its files is SNAPSHOT:PATH", "the snapshot has files, not streams")
	}
	if f.spec.Kind == "" {
		return nil
	}
	if want := f.spec.Origin(nil); want != o.Kind {
		return usage("give --into of its kind, or write its streams as files with --target", "the snapshot is of the kind %q, and %q takes the kind %q", o.Kind, f.spec.String(), want)
	}
	return nil
}

// replaying is a restore of streams.
type replaying struct {
	x       *restoreCommand
	s       *session
	item    snapshot.Item
	streams *replay.Streams
	taker   source.Taker
	folder  *replay.Folder // of taker; nil: it is none
	into    string         // for people, and for the job
	missing []source.Link
	started time.Time
}

// replay brings streams back.
func (x *restoreCommand) replay(ctx context.Context, l *library, o *restore.Options, args []string) error {
	if len(args) > 1 {
		return usage("one stream is SNAPSHOT:PATH", "patterns choose files, not streams")
	}
	if err := x.to.fits(o.Snapshot.Source, o.Path); err != nil {
		return err
	}
	if x.target != "" {
		if err := x.checkTarget(l.s, snapshot.Origin{}, nil); err != nil {
			return err
		}
	}
	r := &replaying{x: x, s: l.s, started: x.c.now()}
	for _, it := range l.items {
		if it.ID == o.Snapshot.ID {
			r.item = it
		}
	}
	hear := x.c.listen()
	var err error
	r.streams, err = replay.Open(ctx, replay.Options{Repo: o.Repo, Scope: o.Scope, Items: l.items, Item: r.item, Path: o.Path, Workers: x.workers, Report: hear.hear})
	if err != nil {
		return err
	}
	if err := r.target(); err != nil {
		return err
	}
	if r.missing, err = r.streams.Missing(ctx, r.taker); err != nil {
		return r.explain(err)
	}
	if x.plan {
		return r.plan(ctx)
	}
	if x.dryRun {
		return r.dry()
	}
	if _, err := x.thaw.prices.orNone(l.s.st, &x.read.store); err != nil {
		return err
	}
	if len(r.missing) > 0 && mayBeCold(l.s) {
		return r.cold(ctx)
	}
	return r.run(ctx)
}

// target makes what takes the streams.
func (r *replaying) target() (err error) {
	x := r.x
	links := r.streams.Links()
	switch f := &x.to; {
	case f.stdout && len(links) > 1:
		return usage("one of them is SNAPSHOT:PATH; each has to be replayed upon the one before it, see --plan", "--stdout takes one stream, and this needs %d: %s", len(links), namesOf(links))
	case f.stdout:
		r.taker, r.into = pipe{out: x.c.content()}, "standard output"
	case f.command != "":
		r.taker, r.into = pipe{run: x.command}, "a command"
	case f.spec.Kind != "":
		r.taker, err = wire.OpenTaker(f.spec, f.values)
		r.into = f.spec.String()
	case x.target != "":
		r.folder = r.streams.Folder(x.target, x.overwrite == "changed" || x.overwrite == "always")
		r.taker, r.into = r.folder, realPath(x.target)
	default:
		r.taker = pipe{} // of a plan
	}
	return err
}

func namesOf(links []source.Link) string {
	var names []string
	for _, l := range links[:min(len(links), 5)] {
		names = append(names, printable(l.Path))
	}
	if len(links) > 5 {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

// command is what runs the user's command for a stream.
func (x *restoreCommand) command(l source.Link) program.Command {
	c := program.Shell(x.to.command)
	c.Label = "command for " + l.Path
	c.Notes = func(line string) { x.c.note("%s: %s", l.Path, printable(line)) }
	c.Print = x.c.content()
	if x.c.json != "" {
		c.Print = os.Stderr
	}
	c.Env = append(c.Env, "FIRN_STREAM="+l.Path, "FIRN_OF="+l.Point.Of, "FIRN_AT="+l.Point.At, "FIRN_FROM="+l.Point.FromAt)
	return c
}

// pipe takes streams one after another, and has none of them.
type pipe struct {
	run func(source.Link) program.Command
	out io.Writer // instead of run
}

// Missing implements source.Taker.
func (pipe) Missing(_ context.Context, links []source.Link) ([]source.Link, error) { return links, nil }

// Take implements source.Taker.
func (p pipe) Take(ctx context.Context, l source.Link) error {
	from, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	if p.out != nil {
		_, err = io.Copy(p.out, from)
		return err
	}
	return p.run(l).Feed(ctx, from)
}

// explain adds to what a target says how it can be given what it lacks.
func (r *replaying) explain(err error) error {
	var outside *replay.OutsideError
	if errors.As(err, &outside) {
		p := &outside.Points[0]
		return &advice.Error{Err: err, Hint: fmt.Sprintf("first bring %s of %s back from where the other tool has stored it, into the same place", printable(p.At), printable(p.Of))}
	}
	var target *source.TargetError
	if errors.As(err, &target) && target.Exists {
		if way := r.overwriting(); way != "" {
			return &advice.Error{Err: err, Hint: "choose another target, or one that does not exist yet; " + way}
		}
	}
	return err
}

// overwriting says how a target may be made to give way; empty where it cannot, or was asked to already.
func (r *replaying) overwriting() string {
	x := r.x
	if r.folder != nil && x.overwrite != "changed" && x.overwrite != "always" {
		return "--overwrite changed replaces what is something else"
	}
	if _, asked := x.to.values["force"]; asked || r.folder != nil {
		return ""
	}
	for _, k := range wire.Kinds() {
		for _, s := range k.Settings {
			if k.Name == x.to.spec.Kind && s.Name == "force" {
				return "what -o force does: " + strings.TrimPrefix(s.Help, "restoring: ")
			}
		}
	}
	return ""
}

// run replays what can be read as it is.
func (r *replaying) run(ctx context.Context) error {
	res, err := r.streams.Run(ctx, r.taker, r.missing)
	r.x.c.endLine()
	return r.end(ctx, res, nil, nil, err)
}

// cold replays what has to be thawed first, as restoreCold restores it.
func (r *replaying) cold(ctx context.Context) error {
	x := r.x
	needs, err := r.streams.Plan(ctx, r.missing)
	if err != nil {
		return err
	}
	if needs.Missing > 0 {
		x.c.warn("%s chunks are in no known pack: streams that need them cannot be replayed", units.Count(needs.Missing))
	}
	job, look, err := r.goOn(ctx, needs)
	if err == nil && job == nil {
		job, look, err = r.begin(ctx, needs)
	}
	if err != nil {
		return err
	}
	if job == nil {
		return r.run(ctx)
	}
	defer job.Close()
	run := x.thaw.runOptions(r.s, look)
	res, tr, err := r.streams.Thaw(ctx, r.taker, r.missing, replay.ThawOptions{Job: job, Run: run})
	x.c.endLine()
	return r.end(ctx, res, job, tr, err)
}

// goOn takes up the job of an earlier run; nil: there is none that will do.
func (r *replaying) goOn(ctx context.Context, needs *replay.Needs) (*thaw.Job, *outlook, error) {
	x := r.x
	keep := r.s.jobState()
	job, err := thaw.Find(keep, r.streams.ThawKey(r.into), x.c.now())
	if err != nil || job == nil {
		return nil, nil, err
	}
	if !replay.Fits(job, x.from.lacking(ctx, r.s, needs.Objects())) {
		x.c.note("%s lacks what it had: a new job is begun for that, which pays for nothing that is thawed", r.into)
		err := job.End(thaw.Cancelled, x.c.now())
		job.Close()
		return nil, nil, err
	}
	look, err := x.goOn(ctx, r.s, job, keep, nil, nil)
	return job, look, err
}

// begin asks whether the price is right, and makes a job; nil: nothing has to be thawed.
func (r *replaying) begin(ctx context.Context, needs *replay.Needs) (*thaw.Job, *outlook, error) {
	x := r.x
	objects := x.from.lacking(ctx, r.s, needs.Objects())
	look, err := x.thaw.look(ctx, r.s, &x.read.store, objects, false)
	if err != nil || !look.thawed() {
		return nil, nil, err
	}
	offer, err := x.thaw.choose(look)
	if err != nil {
		return nil, nil, err
	}
	if !x.c.quiet && x.c.json == "" && look.cold() && !x.to.stdout {
		x.c.print("%s, %v of content:\n", counted(needs.Links, "stream"), units.Size(needs.Bytes))
		look.show(x.c, offer)
	}
	if err := x.thaw.agree(ctx, x.c, look, offer); err != nil {
		return nil, nil, err
	}
	h, err := x.thaw.header(offer, look, "restore", r.streams.ThawKey(r.into))
	if err != nil {
		return nil, nil, err
	}
	h.Description = describe(r.item.Snapshot, nil, r.into)
	job, err := thaw.Create(r.s.jobState(), h, objects, x.c.now())
	return job, look, err
}

// end tells what was done, and how the command ends.
func (r *replaying) end(ctx context.Context, res *replay.Result, job *thaw.Job, tr *thaw.Result, err error) error {
	if e := r.show(res, job, tr, err); e != nil && err == nil {
		err = e
	}
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled):
		hint := "run the same command again: it goes on with the stream that was cut off, from the start of that"
		return &advice.Error{Text: "interrupted", Hint: hint, Err: err}
	case err != nil:
		return r.explain(err)
	case res.Failed > 0:
		return &advice.Error{Code: advice.Incomplete, Hint: advice.HowToHeal}
	}
	return nil
}

// file is where a stream is written, where there are files.
func (r *replaying) file(l source.Link) string {
	if r.folder == nil {
		return ""
	}
	return filepath.Join(r.x.target, r.folder.Name(l))
}

// wholeChain reports whether all streams of a chain, or of one thing in it, are to be written as files: an increment alone is of little use.
func (x *restoreCommand) wholeChain(o *restore.Options) bool {
	whole := len(o.Path) == 0 || replay.Thing(o.Snapshot, o.Path) != ""
	return !o.Snapshot.Base.IsZero() && whole && o.Include.Empty() && o.Exclude.Empty() && o.Paths == nil && x.tar == "" && !x.remove
}

// tellIncrement says of streams that are restored as files, without their chain, what they need.
func (x *restoreCommand) tellIncrement(o *restore.Options) {
	for i := range o.Snapshot.Points {
		p := &o.Snapshot.Points[i]
		if p.Stream == "" || p.From == "" || len(o.Path) > 0 && p.Stream != strings.Trim(string(o.Path), "/") {
			continue
		}
		x.c.note("%q is an increment: it starts from %q, of snapshot %s or before", p.Stream, p.FromAt, shortID(o.Snapshot.Base))
	}
}
