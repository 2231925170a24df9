package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/glob"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// readFlags are what every command has that reads content.
type readFlags struct {
	store   storeFlags
	secrets secretFlags
}

func (f *readFlags) register(cmd *cobra.Command) {
	f.secrets.register(cmd)
	f.store.register(cmd)
}

// filterFlags say which snapshots a command looks at.
type filterFlags struct {
	source, host string
	tags         []string
}

func (f *filterFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.source, "source", "", "only this source: its name, path or id")
	fl.StringVar(&f.host, "host", "", "only of this host")
	fl.StringArrayVar(&f.tags, "tag", nil, "only with this tag (repeat: with all of them)")
}

func (f *filterFlags) filter() browse.Filter {
	return browse.Filter{Host: f.host, Source: f.source, Tags: f.tags}
}

// among is filter for the snapshots that are there: a source that has none is looked for as a path relative to this folder, and is an error
// if that fails too. Last of all it may be what the configuration calls it.
func (f *filterFlags) among(c *console, items []snapshot.Item) (browse.Filter, error) {
	out := f.filter()
	if f.source == "" {
		return out, nil
	}
	for _, text := range append([]string{f.source, absolute(f.source)}, c.config.sourceCalled(f.source)...) {
		if id, ok := bySpec(items, text); ok {
			out.Source = id
			return out, nil
		}
		if anyOf(items, text) {
			out.Source = called(items, text)
			return out, nil
		}
	}
	return out, failure("firn source list shows the sources", "no source %q", f.source)
}

// absolute is the path that text is from this folder on.
func absolute(text string) string {
	if abs, err := filepath.Abs(text); err == nil {
		return abs
	}
	return text
}

// called prefers the one source that is shown to people as text, where that text means others as well, such as one that has a name and this path.
func called(items []snapshot.Item, text string) string {
	found := map[snapshot.Source]bool{}
	for _, i := range items {
		if advice.SourceName(i.Source) == text || advice.SourceName(i.Source) == strings.TrimRight(text, "/") {
			found[i.Source.ID] = true
		}
	}
	if len(found) == 1 {
		for id := range found {
			return id.String()
		}
	}
	return text
}

// anyOf reports whether a snapshot is of the source that text names.
func anyOf(items []snapshot.Item, text string) bool {
	return slices.ContainsFunc(items, func(i snapshot.Item) bool { return browse.IsSource(i.Source, text) })
}

// holding narrows f to the one source in which an absolute path lies, where several are left and only one of them fits.
func holding(items []snapshot.Item, f browse.Filter, text string) browse.Filter {
	if f.Source != "" || !filepath.IsAbs(text) {
		return f
	}
	fits, all := map[snapshot.Source]bool{}, map[snapshot.Source]bool{}
	for _, i := range browse.Snapshots(items, f) {
		all[i.Source.ID] = true
		if _, inside := insideOf(i.Source, text); inside {
			fits[i.Source.ID] = true
		}
	}
	if len(all) > 1 && len(fits) == 1 {
		for id := range fits {
			f.Source = id.String()
		}
	}
	return f
}

// snapshotHelp tells how snapshots are named; it stands in the help of all commands that take one.
const snapshotHelp = `
SNAPSHOT is an id or its beginning, latest, latest~2 (the second before that), or the newest up to a time: @yesterday,
@2026-11-20, @2026-11-20T10:00. Where the repository has several sources, --source says which. A PATH in it is as at the
source: absolute, or relative to it.`

// library is the snapshots of all scopes that the keys at hand open.
type library struct {
	s      *session
	scopes map[keys.ScopeID]*repo.ScopeState
	whole  map[keys.ScopeID]bool // loaded with their index
	items  []snapshot.Item
}

// openLibrary opens the repository for reading, and loads its snapshots.
func openLibrary(ctx context.Context, c *console, f *readFlags) (*library, error) {
	s, err := openSession(ctx, c, &f.store)
	if err != nil {
		return nil, err
	}
	l := &library{s: s, scopes: map[keys.ScopeID]*repo.ScopeState{}, whole: map[keys.ScopeID]bool{}}
	if err := s.openReader(ctx, &f.secrets); err != nil {
		s.close()
		return nil, err
	}
	ids, err := s.repo.Scopes(ctx)
	for _, id := range ids {
		if err != nil {
			break
		}
		err = l.load(ctx, id, len(ids) == 1)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	for _, scope := range l.scopes {
		s.tellDamaged(scope)
		l.items = append(l.items, scope.Items...)
	}
	return l, nil
}

func (l *library) load(ctx context.Context, id keys.ScopeID, withIndex bool) (err error) {
	l.scopes[id], err = l.s.repo.Load(ctx, id, withIndex)
	l.whole[id] = withIndex
	return err
}

func (l *library) close() { l.s.close() }

// scope returns a scope with its index.
func (l *library) scope(ctx context.Context, id keys.ScopeID) (*repo.ScopeState, error) {
	if !l.whole[id] {
		if err := l.load(ctx, id, true); err != nil {
			return nil, err
		}
	}
	return l.scopes[id], nil
}

// pick finds the snapshot that an expression means, and says which it is. An absolute path in it may tell the source.
func (l *library) pick(ctx context.Context, expr, inside string, filters *filterFlags) (*repo.ScopeState, *snapshot.Snapshot, error) {
	f, err := filters.among(l.s.c, l.items)
	if err != nil {
		return nil, nil, err
	}
	item, err := browse.Select(l.items, expr, holding(l.items, f, inside), l.s.c.now(), time.Local)
	if err != nil {
		return nil, nil, l.unread(err)
	}
	if !l.s.c.quiet {
		state := ""
		if st := item.Status(); st != snapshot.IsDone {
			state = ", " + st.String()
		}
		if chain := chainOf(l.items, item); chain != nil {
			state += sprintf(", %s, chain: %s", item.Source.Kind, chain.text())
		}
		if n := item.Stats.Problems; n > 0 {
			state += sprintf(", without %s that could not be read", counted(n, "file"))
		}
		l.s.c.say("note", sprintf("snapshot %s of %s (%s), %s%s", shortID(item.ID), advice.SourceName(item.Source), item.Host, item.Start.Local().Format(timeFormat), state))
	}
	scope, err := l.scope(ctx, item.Scope)
	return scope, item.Snapshot, err
}

// unread says of a snapshot that was not found what may be the cause: objects that cannot be read.
func (l *library) unread(err error) error {
	for _, scope := range l.scopes {
		if len(scope.Damaged) > 0 && errors.Is(err, snapshot.ErrNone) {
			return &advice.Error{Err: err, Hint: "the snapshots in the warnings do not count: get the objects named there back from a copy or an older version of the store; what is missing below hosts/ the next backup of that host stores again"}
		}
	}
	return err
}

// view opens the snapshot that an expression means, and returns the path in it that the user named.
func (l *library) view(ctx context.Context, expr string, filters *filterFlags) (*browse.View, []byte, error) {
	which, text := splitExpr(expr)
	scope, snap, err := l.pick(ctx, which, text, filters)
	if err != nil {
		return nil, nil, err
	}
	v, err := browse.Open(ctx, l.s.repo, scope, snap)
	return v, pathIn(snap.Source, text), err
}

// timeFormat is how times are shown to people.
const timeFormat = "2006-01-02 15:04:05"

var timeExpr = regexp.MustCompile(`^@[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:[0-9]{2})?`)

// splitExpr takes SNAPSHOT:PATH apart. A time in SNAPSHOT may hold colons.
func splitExpr(text string) (which, inside string) {
	if t := timeExpr.FindString(text); t != "" {
		rest, ok := strings.CutPrefix(text[len(t):], ":")
		if ok || text == t {
			return t, rest
		}
	}
	which, inside, _ = strings.Cut(text, ":")
	return which, inside
}

// pathIn makes a path as the user writes it one of the manifest: relative to the source. Absolute paths may lie below the source's
// path, or begin at its root.
func pathIn(o snapshot.Origin, text string) []byte {
	if text == "" {
		return nil
	}
	text, _ = insideOf(o, text)
	text = strings.TrimPrefix(text, "/")
	if text == "." {
		return nil
	}
	return []byte(text)
}

// insideOf cleans a path and, where it lies in the source, takes the path of that off.
func insideOf(o snapshot.Origin, text string) (rest string, inside bool) {
	root := string(o.Path)
	if len(root) > 1 && root[1] == ':' { // of Windows
		root, text = strings.ReplaceAll(root, `\`, "/"), strings.ReplaceAll(text, `\`, "/")
	}
	text = path.Clean(text)
	if rest, ok := strings.CutPrefix(text, strings.TrimSuffix(root, "/")); ok && (rest == "" || rest[0] == '/') {
		return rest, true
	}
	return text, false
}

// patterns compiles what chooses paths in a snapshot.
func patterns(o snapshot.Origin, lines []string, flag string) (*glob.Set, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	return glob.Options{Root: strings.ReplaceAll(string(o.Path), `\`, "/")}.Parse(lines, flag)
}

// tagged marshals v, an object, with the member "event" in front.
func tagged(event string, v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil || len(raw) < 2 || raw[0] != '{' {
		return raw, err
	}
	head := fmt.Sprintf(`{"event":%q`, event)
	if raw[1] != '}' {
		head += ","
	}
	return append([]byte(head), raw[1:]...), nil
}

// objectOf prints v, which marshals to an object, with the member "event" in front.
func (c *console) objectOf(event string, v any) error {
	raw, err := tagged(event, v)
	if err != nil {
		return err
	}
	return c.object(raw)
}
