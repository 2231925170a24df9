package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/backup"
	"firn/internal/program"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/source/command"
	"firn/internal/source/stream"
	"firn/internal/units"
	"firn/internal/wire"
)

// streamFlags are about sources that are no plain folders.
type streamFlags struct {
	stdin    bool
	command  string
	name     string
	settings []string

	args   []string          // behind "--": a program
	values map[string]string // settings, taken apart
	input  *os.File          // standard input, where that is the stream
}

func (f *streamFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVarP(&f.settings, "option", "o", nil, "setting of the sources, as NAME=VALUE (repeat for more); firn source kinds lists them")
	fl.StringVar(&f.name, "name", "", "what the output of a command, or standard input, is called in the snapshot")
	fl.StringVar(&f.command, "command", "", "store what a shell command prints, if it ends with status 0")
	fl.BoolVar(&f.stdin, "stdin", false, "store standard input; whether it is whole nobody can tell, so --command is better")
	_ = cmd.RegisterFlagCompletionFunc("option", completeSettings) // fails for unknown flags only
}

// completeSources offers kinds of sources where one is begun, and leaves paths to the shell.
func completeSources(_ *cobra.Command, _ []string, begun string) (offers []string, _ cobra.ShellCompDirective) {
	for _, k := range wire.Kinds() {
		if begun != "" && strings.HasPrefix(k.Name+":", begun) {
			offers = append(offers, k.Name+":")
		}
	}
	if len(offers) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return offers, cobra.ShellCompDirectiveNoSpace
}

// completeSettings offers the settings of the sources that are named already, or all there are.
func completeSettings(_ *cobra.Command, args []string, begun string) (offers []string, _ cobra.ShellCompDirective) {
	for _, k := range wire.Kinds() {
		if len(args) > 0 && !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, k.Name+":") }) {
			continue
		}
		for _, s := range k.Settings {
			if offer := s.Name + "="; strings.HasPrefix(offer, begun) && !slices.Contains(offers, offer) {
				offers = append(offers, offer)
			}
		}
	}
	return offers, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// read takes the flags and arguments apart. dash is how many arguments stand before "--"; -1: there is none.
func (f *streamFlags) read(c *console, args []string, dash int) (specs []string, err error) {
	if f.name != "" && dash >= 0 && !f.stdin && f.command == "" {
		f.args = args[dash:]
		args = args[:dash]
	}
	var own []string
	for text, given := range map[string]bool{"--stdin": f.stdin, "--command": f.command != "", "a program behind --": len(f.args) > 0} {
		if given {
			own = append(own, text)
		}
	}
	slices.Sort(own)
	switch {
	case len(own) > 1:
		return nil, usage("one run stores one such stream", "%s do not go together", strings.Join(own, " and "))
	case len(own) == 1 && len(args) > 0:
		return nil, usage("back them up one after the other; a program and its arguments stand behind --", "%s and %q do not go together", own[0], args[0])
	case len(own) == 1 && f.name == "":
		return nil, usage("such as --name db.sql", "%s needs --name", own[0])
	case len(own) == 0 && f.name != "":
		return nil, usage("such as: firn backup --name db.sql -- pg_dump mydb; --source names a source", "--name is for --stdin, --command and a program behind --, and none is given")
	case len(own) == 0 && len(args) == 0:
		return nil, usage("firn backup --help shows how it is used", "firn backup wants at least one folder or file, or another source")
	case len(own) == 0 && dash == 0 && onlyProgram(args[0]):
		return nil, usage("such as: firn backup --name db.sql -- pg_dump mydb", "there is no folder or file %q; storing what the program of that name prints needs --name", args[0])
	case f.stdin && c.terminal:
		return nil, usage("such as: dump | firn backup --stdin --name db.sql", "--stdin, but standard input is a terminal")
	}
	if f.values, err = settings(f.settings); err != nil {
		return nil, err
	}
	if f.stdin {
		if f.input, err = f.takeInput(c); err != nil {
			return nil, err
		}
	}
	return args, nil
}

// onlyProgram reports whether text names a program, and no file.
func onlyProgram(text string) bool {
	if _, err := os.Lstat(text); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, err := program.Find(text)
	return err == nil
}

// takeInput keeps standard input for the stream: what else may want to read it finds nothing.
func (f *streamFlags) takeInput(c *console) (*os.File, error) {
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	input := c.in
	c.in = nothing
	return input, nil
}

// settings takes -o apart.
func settings(texts []string) (map[string]string, error) {
	values := map[string]string{}
	for _, text := range texts {
		name, value, _ := strings.Cut(text, "=")
		if _, twice := values[name]; twice {
			return nil, usage("", "-o %s is given twice", name)
		}
		values[name] = value
	}
	return values, nil
}

// produced is a source that is asked for what there is to store.
type produced struct {
	kind, path string // for snapshots
	open       func(source.Host) (source.Producer, error)
}

// roots finds out what is to be backed up. Everything that may be wrong with how it was written is told here.
func (f *streamFlags) roots(specs []string) (roots []root, err error) {
	var paths []string
	seen := map[string]bool{}
	for _, text := range specs {
		spec, err := wire.ParseSpec(text, func(path string) bool { _, err := os.Lstat(path); return err == nil })
		if err != nil {
			return nil, asUsage(err)
		}
		if spec.Folder() {
			paths = append(paths, spec.Rest)
			continue
		}
		if seen[spec.String()] {
			return nil, usage("", "%q is given twice", text)
		}
		seen[spec.String()] = true
		made := &produced{spec.Origin(f.values), spec.Rest, func(h source.Host) (source.Producer, error) { return wire.OpenSource(spec, f.values, h) }}
		roots = append(roots, root{given: text, path: spec.Rest, made: made})
	}
	folders, err := findRoots(paths)
	if err != nil {
		return nil, err
	}
	for i, r := range folders {
		if spec := (wire.Spec{Kind: "dir", Rest: r.path}); len(f.values) > 0 {
			folders[i].made = &produced{"dir", r.path, func(h source.Host) (source.Producer, error) { return wire.OpenSource(spec, f.values, h) }}
		}
	}
	roots = append(folders, roots...)
	if made := f.own(); made != nil {
		roots = append(roots, root{given: f.name, path: f.name, made: made})
	}
	for _, r := range roots {
		if r.made == nil {
			continue
		}
		if _, err := r.made.open(source.Host{}); err != nil {
			return nil, asUsage(err)
		}
	}
	return roots, nil
}

// own is the stream that flags name instead of a spec; nil: there is none.
func (f *streamFlags) own() *produced {
	made := &produced{kind: command.Kind, path: f.name}
	switch {
	case f.stdin:
		made.open = func(h source.Host) (source.Producer, error) { return wire.OpenInput(f.name, f.input, f.values, h) }
	case len(f.args) > 0:
		made.open = func(h source.Host) (source.Producer, error) { return wire.OpenExec(f.name, f.args, f.values, h) }
	case f.command != "":
		values := map[string]string{"command": f.command}
		for name, value := range f.values {
			values[name] = value
		}
		made.open = func(h source.Host) (source.Producer, error) {
			return wire.OpenSource(wire.Spec{Kind: command.Kind, Rest: f.name}, values, h)
		}
	default:
		return nil
	}
	return made
}

// asUsage makes an error of what the user wrote one of how the program was called.
func asUsage(err error) error {
	return &advice.Error{Text: err.Error(), Err: err, Hint: advice.Hint(err), Code: advice.Usage}
}

// maxHave is how many snapshots a source is told of to start an increment from.
const maxHave = 8

// candidates are the snapshots that an increment may start from, newest first, and what a source is told of them. Each is sound, and so is all that it needs.
func (x *backupCommand) candidates(ctx context.Context, scope *repo.ScopeState, o *backup.Options) (items []snapshot.Item, have []source.Have, err error) {
	if o.Full || !slices.ContainsFunc(scope.Items, func(it snapshot.Item) bool { return it.Source.ID == o.Source.ID && len(it.Points) > 0 }) {
		return nil, nil, nil
	}
	if err := scope.Refresh(ctx); err != nil { // what was given up meanwhile
		return nil, nil, err
	}
	last := newest(scope.Items, o.Source.ID)
	if last == nil {
		return nil, nil, nil
	}
	var all []snapshot.Item
	for _, it := range scope.Items {
		if it.Source.ID == o.Source.ID && it.Status() == snapshot.IsDone && it.Epoch == last.Epoch && len(it.Points) > 0 {
			all = append(all, it)
		}
	}
	slices.SortFunc(all, func(a, b snapshot.Item) int { return int(min(max(int64(b.Sequence)-int64(a.Sequence), -1), 1)) })
	for _, it := range all {
		if len(items) == maxHave {
			break
		}
		err := sound(ctx, scope, it)
		var base *backup.BaseError
		if errors.As(err, &base) {
			x.c.note("nothing can start from snapshot %s any more: %v", shortID(it.ID), base.Err)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		items, have = append(items, it), append(have, source.Have{Points: points(it.Points)})
	}
	return items, have, nil
}

// sound fails with *backup.BaseError where something is missing of a snapshot or of what it needs.
func sound(ctx context.Context, scope *repo.ScopeState, it snapshot.Item) error {
	chain, err := snapshot.Bases(scope.Items, it)
	if err != nil {
		return &backup.BaseError{Base: it.ID, Err: err}
	}
	for _, link := range chain {
		if link.Status() != snapshot.IsDone {
			return &backup.BaseError{Base: it.ID, Err: fmt.Errorf("snapshot %s, which it needs, is %v", shortID(link.ID), link.Status())}
		}
	}
	return backup.CheckBase(ctx, scope, &it)
}

func points(list []snapshot.Point) []source.Point {
	out := make([]source.Point, len(list))
	for i, p := range list {
		out[i] = source.Point{Stream: p.Stream, Of: p.Of, At: p.At, ID: p.ID, From: p.From, FromAt: p.FromAt, Time: p.Time, Outside: p.Outside}
	}
	return out
}

// holder names who needs what a source keeps for its next increment.
func holder(repository [16]byte, id snapshot.Source) string {
	sum := sha256.Sum256(append(repository[:], id[:]...))
	return hex.EncodeToString(sum[:16])
}

// endLimit bounds what a source does when its backup has ended, such as commands of the user, and endEach what it does for each of its states: bookmarks and holds are a program each. A second signal ends it at once.
const (
	endLimit = 10 * time.Minute
	endEach  = 5 * time.Second
)

// produce backs up a source that is asked for what there is to store. Where its base turns out to be of no use it is asked again, for everything.
func (x *backupCommand) produce(ctx context.Context, s *session, scope *repo.ScopeState, o backup.Options, r root) error {
	started := x.c.now()
	items, have, err := x.candidates(ctx, scope, &o)
	if err == nil {
		err = s.ready(ctx) // before a source does anything
	}
	if err != nil {
		x.show(o, nil, err, 0)
		return err
	}
	host := source.Host{Now: x.c.now, Note: func(text string) { x.c.hearSource(r.given, text) }, Holder: holder(s.header.ID, o.Source.ID), Pretend: x.dryRun}
	for {
		producer, err := r.made.open(host)
		if err != nil {
			x.show(o, nil, err, x.c.now().Sub(started))
			return err
		}
		err = x.produceOnce(ctx, s, scope, o, r, producer, items, have)
		var base *backup.BaseError
		if !errors.As(err, &base) || len(have) == 0 || ctx.Err() != nil {
			return err
		}
		x.c.note("snapshot %s cannot be relied on (%v): everything is stored in full", shortID(base.Base), base.Err)
		items, have = nil, nil
	}
}

// hearSource passes on what a source, or a program that it runs, says.
func (c *console) hearSource(name, text string) {
	c.note("%s: %s", name, text)
	c.emit(map[string]any{"event": "note", "text": name + ": " + text})
}

// produceOnce is one try. What a source did before the backup it hears the end of, also after an interruption.
func (x *backupCommand) produceOnce(ctx context.Context, s *session, scope *repo.ScopeState, o backup.Options, r root, p source.Producer, items []snapshot.Item, have []source.Have) error {
	started := x.c.now()
	batch, err := p.Prepare(ctx, have)
	if err != nil {
		x.show(o, nil, err, x.c.now().Sub(started))
		return x.resumable(ctx, nil, err)
	}
	for _, text := range batch.Notes {
		x.c.hearSource(r.given, text)
	}
	var done bool
	if batch.Folder != "" {
		r.from = batch.Folder
		if r.real == "" { // as people know it, also in patterns
			if r.path = batch.Display; r.path == "" {
				r.path = batch.Folder
			}
		}
		done, err = x.readFolder(ctx, s, scope, o, r)
	} else {
		done, err = x.readStreams(ctx, s, o, r, batch, items, len(have) > 0)
	}
	if batch.End == nil {
		return err
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit+time.Duration(len(batch.Points))*endEach)
	defer cancel()
	if wrong := batch.End(late, done && !x.dryRun); wrong != nil {
		x.c.warn("%s: after the backup: %v", r.given, wrong)
		if err == nil {
			return &advice.Error{Code: advice.Incomplete}
		}
	}
	return err
}

// readStreams stores streams. done tells that the snapshot is in the repository for good.
func (x *backupCommand) readStreams(ctx context.Context, s *session, o backup.Options, r root, batch *source.Batch, items []snapshot.Item, could bool) (done bool, err error) {
	started := x.c.now()
	o.Stream = &backup.Stream{Points: batch.Points}
	switch {
	case batch.Base >= 0 && batch.Base < len(items):
		o.Stream.Base = &items[batch.Base]
		x.c.explain("%s: what changed since snapshot %s", r.given, shortID(o.Stream.Base.ID))
	case could && len(batch.Notes) == 0:
		x.c.note("%s: nothing in the repository is a base for it any more, so everything is stored in full", r.given)
	}
	tree, err := stream.NewTree(ctx, batch.Streams, x.c.now())
	if err != nil {
		x.show(o, nil, err, x.c.now().Sub(started))
		return false, err
	}
	defer func() { _ = tree.Close() }()
	hear := x.c.listen()
	o.Report, o.Tree, o.Expect = hear.hear, tree, expectStreams(batch.Streams)
	res, err := backup.Run(ctx, o)
	if err == nil {
		s.keepHeader(ctx)
	}
	x.c.endLine()
	var base *backup.BaseError
	if errors.As(err, &base) && o.Stream.Base != nil && ctx.Err() == nil {
		return false, err // it is tried again
	}
	x.show(o, res, err, x.c.now().Sub(started))
	if x.limits.stopped(x.c, res, err) {
		return false, nil
	}
	if err == nil && res.Snapshot.Stats.Bytes == 0 && len(batch.Streams) > 0 {
		x.c.warn("%s: there was nothing in it: 0 bytes", r.given)
	}
	return err == nil, named(o.Source, x.resumable(ctx, res, err))
}

// resumable says of a run that was stopped how it goes on.
func (x *backupCommand) resumable(ctx context.Context, res *backup.Result, err error) error {
	if err == nil || ctx.Err() == nil && (res == nil || !res.Partial) {
		return err
	}
	hint := "run the same command again: what was sent is not sent again"
	if x.dryRun {
		hint = ""
	}
	return &advice.Error{Text: stopped(ctx, err), Hint: hint, Err: err}
}

// expectStreams is how much there will be; nil: nobody knows of one of them.
func expectStreams(streams []source.Stream) func() (files, bytes int64) {
	var bytes int64
	for _, s := range streams {
		if s.Size <= 0 {
			return nil
		}
		bytes += s.Size
	}
	return func() (int64, int64) { return int64(len(streams)), bytes }
}

// newSourceKinds lists what can be backed up beside folders.
func newSourceKinds(c *console) *cobra.Command {
	return &cobra.Command{
		Use: "kinds [KIND]", Short: "List kinds of sources, and the settings of each", Args: argsBetween(0, 1, "at most one kind"),
		Long: `Lists what firn backup can store beside folders and files, and which settings (-o NAME=VALUE) each has. A source is written
KIND:REST, such as zfs:tank/home. A folder that is called like one is written with ./ in front.`,
		Example: "  firn source kinds\n  firn source kinds command",
		RunE:    func(_ *cobra.Command, args []string) error { return showKinds(c, args) },
	}
}

// kindJSON is what source kinds prints with --json.
type kindJSON struct {
	Event    string        `json:"event"` // kind
	Kind     string        `json:"kind"`
	Form     string        `json:"form"` // how a source is written
	What     string        `json:"what"`
	Takes    bool          `json:"takes"` // streams can be written back into what they came from
	Settings []settingJSON `json:"settings"`
}

type settingJSON struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Help    string `json:"help"`
}

func showKinds(c *console, args []string) error {
	kinds := append([]wire.Kind{{Name: "dir", What: "a folder or file", Rest: "PATH", Settings: wire.FolderSettings()}}, wire.Kinds()...)
	found := false
	for _, k := range kinds {
		if len(args) > 0 && args[0] != k.Name && !slices.Contains(k.Others, args[0]) {
			continue
		}
		found = true
		if err := showKind(c, k); err != nil {
			return err
		}
	}
	if !found {
		return usage("firn source kinds lists them", "there is no kind of source %q", args[0])
	}
	return nil
}

func showKind(c *console, k wire.Kind) error {
	form := k.Name + ":" + k.Rest
	if k.Name == "dir" {
		form = k.Rest
	}
	j := kindJSON{Event: "kind", Kind: k.Name, Form: form, What: k.What, Takes: k.Takes(), Settings: []settingJSON{}}
	for _, s := range k.Settings {
		j.Settings = append(j.Settings, settingJSON{s.Name, s.Value, s.Default, s.Help})
	}
	if c.json != "" {
		return c.object(j)
	}
	c.print("%s\n  %s\n", form, k.What)
	for _, s := range k.Settings {
		text := s.Help
		if s.Default != "" {
			text += " (default: " + s.Default + ")"
		}
		c.print("  -o %-28s %s\n", s.Name+"="+s.Value, text)
	}
	return nil
}

// streamsText says what streams a snapshot holds.
func streamsText(s *snapshot.Snapshot) string {
	text := fmt.Sprintf("%s of %v", counted(s.Stats.Files, "stream"), units.Size(s.Stats.Bytes))
	switch {
	case !s.Base.IsZero():
		text += ", on top of snapshot " + shortID(s.Base)
	case len(s.Points) > 0 && s.Points[0].Outside:
		text = counted(int64(len(s.Points)), "state") + " stored elsewhere, " + s.Points[0].At
	case len(s.Points) > 0:
		text += ", in full"
	}
	return text
}

// bySpec finds the source that a spec means, such as zfs:tank/home: where there are two, the one that has streams. The kinds that snapshots have are understood, too, such as
// zfs-files:tank/home. It returns its id.
func bySpec(items []snapshot.Item, text string) (id string, ok bool) {
	if kind, rest, cut := strings.Cut(text, ":"); cut {
		for _, it := range items {
			if it.Source.Kind == kind && kind != "dir" && it.Source.Name == "" && string(it.Source.Path) == rest {
				return it.Source.ID.String(), true
			}
		}
	}
	spec, err := wire.ParseSpec(text, nil)
	if err != nil || spec.Folder() {
		return "", false
	}
	for _, kind := range []string{spec.Origin(nil), spec.Origin(map[string]string{"mode": "files"})} {
		for _, it := range items {
			if it.Source.Kind == kind && it.Source.Name == "" && string(it.Source.Path) == spec.Rest {
				return it.Source.ID.String(), true
			}
		}
	}
	return "", false
}

// renamed is what a source is called from now on: as a spec of its kind, by a path if there is a slash in it, else by a name.
func renamed(old snapshot.Origin, to string) (snapshot.Origin, error) {
	origin := snapshot.Origin{Kind: old.Kind, Name: to, Path: old.Path}
	if spec, err := wire.ParseSpec(to, nil); err == nil && !spec.Folder() {
		if old.Kind != spec.Origin(nil) && old.Kind != spec.Origin(map[string]string{"mode": "files"}) {
			return origin, usage("", "%q is of another kind than what it is to go on, which is %s", to, old.Kind)
		}
		origin.Name, origin.Path = "", []byte(spec.Rest)
		return origin, nil
	}
	if !strings.ContainsAny(to, `/\`) {
		return origin, nil
	}
	origin.Name, origin.Path = "", []byte(to)
	if old.Kind == "dir" {
		path, err := filepath.Abs(to)
		if err != nil {
			return origin, err
		}
		origin.Path = []byte(path)
	}
	return origin, nil
}
