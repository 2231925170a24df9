package zfs

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"firn/internal/program"
)

// Limits of what is read from the programs.
const (
	maxOutput = 512 << 20 // of one listing, bytes
	maxUsage  = 1 << 20   // of what a program says about itself, bytes
	maxArgs   = 64        // names in one command
)

// quickIdle bounds a command that only asks or notes: one about a pool that hangs would wait for ever, and destroying a large snapshot takes minutes on old versions.
const quickIdle = 15 * time.Minute

// system is the installed ZFS.
type system struct {
	zfs  string        // program
	idle time.Duration // user's bound for streams; 0: none
	can  map[string]usage
}

// usage is what a subcommand says it takes.
type usage struct {
	known bool
	flags string // letters
	text  string
	words map[string]bool // of the text: names of properties, for get
}

// has reports whether a subcommand takes a flag of one letter.
func (y *system) has(command string, flag byte) bool {
	return strings.IndexByte(y.can[command].flags, flag) >= 0
}

// find looks for the programs, looks at the pool of a dataset and asks what the subcommands take; get is always among these.
func (y *system) find(ctx context.Context, dataset string, commands ...string) error {
	var err error
	if y.zfs, err = program.Find("zfs"); err != nil {
		return err
	}
	if err := y.checkPool(ctx, dataset); err != nil {
		return err
	}
	y.can = map[string]usage{}
	for _, c := range append(commands, "get") {
		text, err := y.ask(ctx, c)
		if err != nil {
			return err
		}
		y.can[c] = parseUsage(c, text)
	}
	return nil
}

// checkPool fails where the pool is not there, or in a state in which every command would wait for ever.
func (y *system) checkPool(ctx context.Context, dataset string) error {
	zpool, err := program.Find("zpool")
	if err != nil {
		return nil // zfs tells the rest
	}
	pool, _, _ := strings.Cut(dataset, "/")
	out, err := program.Command{Name: zpool, Args: []string{"list", "-H", "-o", "health", pool}, Idle: quickIdle}.Output(ctx, maxUsage)
	if err != nil {
		return explain(err, pool, "zpool list")
	}
	switch health := strings.TrimSpace(string(out)); health {
	case "SUSPENDED", "FAULTED", "UNAVAIL", "OFFLINE", "REMOVED":
		return &PoolError{Pool: pool, Health: health}
	}
	return nil
}

// ask returns what a subcommand without arguments says about how it is used, which it tells by failing.
func (y *system) ask(ctx context.Context, command string) (string, error) {
	var mu sync.Mutex
	var text strings.Builder
	notes := func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if text.Len() < maxUsage {
			text.WriteString(line + "\n")
		}
	}
	_, err := program.Command{Name: y.zfs, Args: []string{command}, Idle: quickIdle, Notes: notes}.Output(ctx, maxUsage)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	mu.Lock()
	defer mu.Unlock()
	if err != nil && !strings.Contains(text.String(), "usage:") {
		return "", explain(err, "", "zfs "+command)
	}
	return text.String(), nil
}

// flagGroup is how usage lines show flags without values: [-RDp].
var flagGroup = regexp.MustCompile(`\[-([A-Za-z0-9]+)\]`)

// parseUsage reads what a subcommand says of itself. Where it has several forms, the first one counts, which is that for snapshots.
func parseUsage(command, text string) usage {
	u := usage{text: text, words: map[string]bool{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		for _, w := range strings.Fields(line) {
			u.words[w] = true
		}
		if !strings.HasPrefix(line, command+" ") || u.known {
			continue
		}
		u.known = true
		for _, m := range flagGroup.FindAllStringSubmatch(line, -1) {
			u.flags += m[1]
		}
	}
	return u
}

// run runs zfs for its effect. about is the dataset or snapshot that errors speak of.
func (y *system) run(ctx context.Context, about string, args ...string) error {
	_, err := y.output(ctx, about, args...)
	return err
}

func (y *system) output(ctx context.Context, about string, args ...string) ([]byte, error) {
	out, err := program.Command{Name: y.zfs, Args: args, Idle: quickIdle}.Output(ctx, maxOutput)
	return out, explain(err, about, "zfs "+strings.Join(args, " "))
}

// dataset is a file system or volume, with its snapshots and bookmarks from old to new.
type dataset struct {
	name       string
	volume     bool
	encrypted  bool
	clone      bool   // made by us, to read its files
	written    int64  // since its newest snapshot, bytes; 0 where the version does not tell
	mountpoint string // empty where it has none
	mounted    bool
	token      string // of a receive that was stopped
	states     []*state
}

// state is a snapshot or a bookmark.
type state struct {
	dataset  string
	name     string // behind the @ or #
	bookmark bool
	guid     string
	txg      uint64
	creation time.Time
	size     int64  // that it refers to, bytes
	held     bool   // by anybody
	source   string // propSource, set on the snapshot itself
	stored   bool
}

// full is its name for the programs.
func (s *state) full() string {
	if s.bookmark {
		return s.dataset + "#" + s.name
	}
	return s.dataset + "@" + s.name
}

// snapshot finds a snapshot by its name; nil: there is none.
func (d *dataset) snapshot(name string) *state {
	for _, s := range d.states {
		if !s.bookmark && s.name == name {
			return s
		}
	}
	return nil
}

// find finds a state by its GUID, a snapshot rather than a bookmark; nil: there is none.
func (d *dataset) find(guid string) *state {
	var found *state
	for _, s := range d.states {
		if s.guid == guid && (found == nil || found.bookmark) {
			found = s
		}
	}
	return found
}

// newest returns the last snapshot; nil: there is none.
func (d *dataset) newest() (last *state) {
	for _, s := range d.states {
		if !s.bookmark {
			last = s
		}
	}
	return last
}

// properties that are asked for, where the installed version has them.
var properties = []string{"type", "guid", "createtxg", "creation", "userrefs", "referenced", "mountpoint", "mounted", "encryption", "receive_resume_token", "written"}

// list asks for a dataset, what lies below it if that is wished, and the states of all these, sorted by name. Clones of ours are left out.
func (y *system) list(ctx context.Context, root string, recursive bool) ([]*dataset, error) {
	u := y.can["get"]
	var names []string
	for _, p := range properties {
		if u.words[p] || p == "createtxg" || p == "guid" {
			names = append(names, p)
		}
	}
	names = append(names, propSource, propStored, propClone)
	args := []string{"get", "-Hp"}
	if strings.Contains(u.text, "-t ") {
		types := "filesystem,volume,snapshot"
		if y.can["bookmark"].known {
			types += ",bookmark"
		}
		args = append(args, "-t", types)
	}
	if recursive {
		args = append(args, "-r")
	} else {
		args = append(args, "-d", "1")
	}
	out, err := y.output(ctx, root, append(args, "-o", "name,property,value,source", strings.Join(names, ","), root)...)
	if err != nil {
		return nil, err
	}
	return parseList(string(out), root, recursive), nil
}

// parseList reads the output of zfs get -H. Lines that cannot be right are passed over.
func parseList(text, root string, recursive bool) []*dataset {
	datasets, states := map[string]*dataset{}, map[string]*state{}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) < 4 {
			continue
		}
		name, prop, value, from := f[0], f[1], strings.Join(f[2:len(f)-1], "\t"), f[len(f)-1]
		of := name
		at := strings.IndexAny(name, "@#")
		if at >= 0 {
			of = name[:at]
		}
		if of != root && !(recursive && strings.HasPrefix(of, root+"/")) {
			continue
		}
		if at < 0 {
			if datasets[name] == nil {
				datasets[name] = &dataset{name: name}
			}
			datasets[name].set(prop, value, from)
			continue
		}
		if states[name] == nil {
			states[name] = &state{dataset: of, name: name[at+1:], bookmark: name[at] == '#'}
		}
		states[name].set(prop, value, from)
	}
	for _, s := range states {
		if d := datasets[s.dataset]; d != nil && s.guid != "" {
			d.states = append(d.states, s)
		}
	}
	var all []*dataset
	for _, d := range datasets {
		if d.clone {
			continue
		}
		slices.SortFunc(d.states, func(a, b *state) int {
			if a.txg != b.txg {
				return compare(a.txg, b.txg)
			}
			return strings.Compare(a.full(), b.full())
		})
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *dataset) int { return slices.Compare(strings.Split(a.name, "/"), strings.Split(b.name, "/")) })
	return all
}

func compare(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

// set notes a property of a dataset.
func (d *dataset) set(prop, value, from string) {
	switch prop {
	case "type":
		d.volume = value == "volume"
	case "encryption":
		d.encrypted = value != "off" && value != "-" && value != ""
	case "written":
		d.written, _ = strconv.ParseInt(value, 10, 64)
	case "mountpoint":
		if strings.HasPrefix(value, "/") {
			d.mountpoint = value
		}
	case "mounted":
		d.mounted = value == "yes"
	case "receive_resume_token":
		if value != "-" {
			d.token = value
		}
	case propClone:
		d.clone = d.clone || from == "local"
	}
}

// set notes a property of a snapshot or bookmark. Properties of ours count only where they were set on it, and not inherited.
func (s *state) set(prop, value, from string) {
	switch prop {
	case "guid":
		if _, err := strconv.ParseUint(value, 10, 64); err == nil {
			s.guid = value
		}
	case "createtxg":
		s.txg, _ = strconv.ParseUint(value, 10, 64)
	case "creation":
		if sec, err := strconv.ParseInt(value, 10, 64); err == nil {
			s.creation = time.Unix(sec, 0)
		}
	case "referenced":
		s.size, _ = strconv.ParseInt(value, 10, 64)
	case "userrefs":
		n, _ := strconv.ParseInt(value, 10, 64)
		s.held = n > 0
	case propSource:
		if from == "local" {
			s.source = value
		}
	case propStored:
		s.stored = s.stored || from == "local" && value == "yes"
	}
}

// each calls fn with at most maxArgs names at once.
func each(names []string, fn func(names []string) error) error {
	for part := range slices.Chunk(names, maxArgs) {
		if err := fn(part); err != nil {
			return err
		}
	}
	return nil
}
