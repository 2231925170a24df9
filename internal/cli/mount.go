package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/mount"
	"firn/internal/snapshot"
	"firn/internal/units"
)

// mountCommand shows snapshots as a file system.
type mountCommand struct {
	c          *console
	read       readFlags
	filters    filterFlags
	paths      []string
	owner      string
	allowOther bool
	cache      units.Size
	refresh    time.Duration
	grace      time.Duration
	detach     bool
	log        string
	readyFD    int
}

func newMount(c *console) *cobra.Command {
	x := &mountCommand{c: c}
	cmd := &cobra.Command{
		Use:   "mount DIR",
		Short: "Show all snapshots as folders",
		Long: `Mounts the repository on an empty folder, to look around in it and to copy from it, read-only:

  sources/SOURCE/2026-11-20_10-00-00/…   what a snapshot holds, and sources/SOURCE/latest
  dates/2026-11-20/  hosts/HOST/  tags/TAG/  ids/ID   links to the same

Names, sizes, times, owners, attributes and links come from what is always at hand: looking around thaws nothing. Reading a file in
a cold class fails at once ("No medium found"), and the attribute user.firn.error, like the log, says what to do: firn restore …
--plan tells what it costs to have it thawed. What is thawed already can be read. New snapshots appear by themselves.

It stays until ctrl-C, SIGTERM, or umount DIR (fusermount3 -u DIR for users); --detach leaves it in the background. Who still uses it
has a few seconds to leave. Nobody but you can look inside, and you see every file whatever its mode; with --allow-other all users
can, each as far as owner and mode of a file let them. Needs FUSE: Linux (package fuse3), FreeBSD (kldload fusefs), macOS (macFUSE).`,
		Example: `  firn mount /mnt/firn
  cp -a /mnt/firn/sources/home-eve/latest/documents ~/found
  firn mount /mnt/firn --source photos --detach; umount /mnt/firn
  sudo firn mount /mnt/firn --allow-other --owner eve:users
  getfattr -n user.firn.error --only-values /mnt/firn/ids/5f3a/video.mkv`,
		Args: argsBetween(1, 1, "an empty folder"),
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args[0]) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&x.allowOther, "allow-other", false, "other users may look, too, within the rights of files")
	fl.StringVar(&x.owner, "owner", "", "show all files as owned by USER or USER:GROUP, names or numbers")
	fl.BoolVar(&x.detach, "detach", false, "return once it is mounted, and go on in the background")
	fl.StringVar(&x.log, "log", "", "with --detach: append to this file what would be said on the terminal")
	fl.StringArrayVar(&x.paths, "path", nil, "only sources that are this path, hold it, or lie in it (repeat for more)")
	fl.Var(&x.cache, "cache", "content kept in memory (64M)")
	fl.Lookup("cache").DefValue = ""
	fl.DurationVar(&x.refresh, "refresh", mount.DefaultRefresh, "least time between two looks for new snapshots")
	fl.DurationVar(&x.grace, "grace", mount.DefaultGrace, "how long to wait at the end for those who still use it")
	fl.IntVar(&x.readyFD, "ready-fd", -1, "file descriptor to tell that it is mounted")
	_ = fl.MarkHidden("ready-fd") // fails for unknown flags only
	x.filters.register(cmd)
	x.read.register(cmd)
	return cmd
}

func (x *mountCommand) check() error {
	switch {
	case x.refresh < time.Second:
		return usage("", "--refresh %v: want at least 1s", x.refresh)
	case x.grace < 0:
		return usage("", "--grace %v: want 0 or more", x.grace)
	case x.cache != 0 && x.cache < mount.LeastCache:
		return usage("", "--cache %v: want at least %v", x.cache, units.Size(mount.LeastCache))
	case x.log != "" && !x.detach && x.readyFD < 0:
		return usage("without --detach all is said on the terminal: 2>>FILE keeps it", "--log goes with --detach")
	case !mount.Supported:
		return mountError(&mount.PointError{Err: mount.ErrUnsupported})
	}
	return nil
}

func (x *mountCommand) run(ctx context.Context, dir string) error {
	if err := x.check(); err != nil {
		return err
	}
	if err := mount.CheckPoint(dir); err != nil {
		return mountError(err) // before anybody types a passphrase
	}
	if x.detach {
		return x.behind(ctx)
	}
	ctx, stop := signal.NotifyContext(ctx, hangups()...) // a terminal that is closed must not leave a dead folder behind
	defer stop()
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return err
	}
	defer s.close()
	if err := checkMountPoint(s, dir); err != nil {
		return err
	}
	if err := s.openReader(ctx, &x.read.secrets); err != nil {
		return err
	}
	o, err := x.options(ctx, s)
	if err != nil {
		return err
	}
	f, err := mount.NewFS(ctx, o)
	if err != nil {
		return err
	}
	var failed error
	err = mount.Run(ctx, f, dir, func() { failed = x.up(f, dir) })
	if err != nil {
		return mountError(err)
	}
	if failed == nil && !x.c.quiet {
		x.c.note("%q is unmounted", dir)
	}
	return failed
}

// checkMountPoint refuses folders that the repository, or what this machine keeps of it, lies in: what is written there would be hidden, or fail.
func checkMountPoint(s *session, dir string) error {
	goal := realPath(dir)
	for _, one := range []struct{ path, what string }{{s.folder(), "the repository"}, {s.dirs.Cache, "the cache of firn"}, {s.dirs.State, "the local state of firn"}} {
		if one.path == "" {
			continue
		}
		if _, inside := (root{real: realPath(one.path)}).below(goal); inside {
			return failure("choose another folder", "%q lies in %s", dir, one.what)
		}
	}
	return nil
}

// options are those of the file system. What --source means is settled among the snapshots that are there now.
func (x *mountCommand) options(ctx context.Context, s *session) (mount.Options, error) {
	o := mount.Options{Repo: s.repo, Cache: int64(x.cache), Refresh: x.refresh, Grace: x.grace, AllowOther: x.allowOther, Now: x.c.now, Report: x.report, Command: x.command()}
	filter := x.filters.filter()
	if x.filters.source != "" {
		items, err := s.items(ctx)
		if err != nil {
			return o, err
		}
		if filter, err = x.filters.among(x.c, items); err != nil {
			return o, err
		}
	}
	o.Choose = func(items []snapshot.Item) []browse.Info {
		return slices.DeleteFunc(browse.Snapshots(items, filter), func(i browse.Info) bool { return !x.hasPath(i.Source) })
	}
	var err error
	o.Owner, err = ownerOf(x.owner)
	return o, err
}

// hasPath reports whether one of --path is a source, or lies in it, or it lies there.
func (x *mountCommand) hasPath(o snapshot.Origin) bool {
	return len(x.paths) == 0 || slices.ContainsFunc(x.paths, func(p string) bool {
		p = absolute(p)
		_, inside := insideOf(o, p)
		_, around := insideOf(snapshot.Origin{Path: []byte(p)}, string(o.Path))
		return len(o.Path) > 0 && (inside || around)
	})
}

// command is how a person names the repository to a command.
func (x *mountCommand) command() string {
	if x.read.store.repo == "" {
		return ""
	}
	return " -r " + advice.ShellWord(x.read.store.repo)
}

func (x *mountCommand) report(r mount.Report) {
	switch {
	case r.Warning:
		x.c.warn("%s", r.Text)
		x.c.emit(map[string]any{"event": "problem", "path": "", "error": r.Text})
	default:
		x.c.note("%s", r.Text)
		x.c.emit(map[string]any{"event": "note", "text": r.Text})
	}
}

// mountJSON is what mount prints with --json once it is up.
type mountJSON struct {
	Path      string `json:"path"`
	PID       int    `json:"pid"`
	Snapshots int    `json:"snapshots"`
	Sources   int    `json:"sources"`
}

// up tells that it is mounted.
func (x *mountCommand) up(f *mount.FS, dir string) error {
	n, sources := f.Snapshots()
	if x.c.json != "" {
		_ = x.c.objectOf("mount", mountJSON{absolute(dir), os.Getpid(), n, sources}) // marshals
		x.c.endLine()
	}
	text := sprintf("%s of %s on %q", counted(int64(n), "snapshot"), counted(int64(sources), "source"), dir)
	if x.readyFD >= 0 {
		x.c.note("mounted %s; umount %s ends it", text, advice.ShellWord(dir))
		return x.settle()
	}
	x.c.note("mounted %s; ctrl-C ends it, or umount %s", text, advice.ShellWord(dir))
	return nil
}

// ownerOf reads USER or USER:GROUP; nil: files keep their owners.
func ownerOf(text string) (*mount.Owner, error) {
	if text == "" {
		return nil, nil
	}
	name, group, hasGroup := strings.Cut(text, ":")
	o := &mount.Owner{}
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.LookupId(name)
	}
	switch n, bad := strconv.ParseUint(name, 10, 32); {
	case err == nil:
		o.UID, o.GID = number(u.Uid), number(u.Gid)
	case bad != nil:
		return nil, usage("a name that this system knows, or a number", "--owner %q: no such user", text)
	default:
		o.UID, o.GID = uint32(n), uint32(n)
	}
	if !hasGroup {
		return o, nil
	}
	g, err := user.LookupGroup(group)
	switch n, bad := strconv.ParseUint(group, 10, 32); {
	case err == nil:
		o.GID = number(g.Gid)
	case bad != nil:
		return nil, usage("a name that this system knows, or a number", "--owner %q: no such group", text)
	default:
		o.GID = uint32(n)
	}
	return o, nil
}

// number reads an id of the system; what is none (of Windows) is nobody's.
func number(text string) uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 1<<32 - 2
	}
	return uint32(n)
}

// mountError says what can be done about an error.
func mountError(err error) error {
	var p *mount.PointError
	if !errors.As(err, &p) {
		return err
	}
	hint := "" // none for what says it all
	dir := advice.ShellWord(p.Dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		hint = "mkdir -p " + dir + " makes it"
	case errors.Is(err, mount.ErrNotEmpty):
		hint = "give an empty folder: what is in this one could not be reached while it is mounted"
	case errors.Is(err, mount.ErrMounted):
		hint = "look into it, or umount " + dir + " first"
	case errors.Is(err, mount.ErrStale):
		hint = "umount " + dir + ", or fusermount3 -u " + dir + ", frees it"
	case errors.Is(err, mount.ErrNoDevice):
		hint = "modprobe fuse (Linux) or kldload fusefs (FreeBSD) as root; in a container: --device /dev/fuse --cap-add SYS_ADMIN. firn restore and firn cat need none of it"
	case errors.Is(err, mount.ErrDenied):
		hint = "run it as root, or let this user open /dev/fuse"
	case errors.Is(err, mount.ErrNoHelper):
		hint = "install fuse3 (Linux) or macFUSE (macOS), or run it as root"
	case errors.Is(err, mount.ErrUnsupported):
		return &advice.Error{Text: "firn mount is not there on this system: " + mount.ErrUnsupported.Error(), Err: err, Hint: "firn ls, firn find, firn cat and firn restore work everywhere"}
	case errors.Is(err, mount.ErrNotFolder):
	default:
		hint = "is FUSE allowed here? --allow-other of a user who is not root needs user_allow_other in /etc/fuse.conf"
	}
	return &advice.Error{Err: err, Hint: hint}
}
