package timer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/program"
)

// Call is a program that the scheduler brings along, to be run.
type Call struct {
	Name  string
	Args  []string
	Env   []string // added to the environment
	Input []byte   // nil: none
}

// System is a machine. The zero value is not one: see Here.
type System struct {
	OS   string // as runtime.GOOS has it
	UID  int
	Root string // stands before every path; empty but in tests
	// Run runs a program and returns what it prints on standard output.
	Run func(context.Context, Call) ([]byte, error)
	// Lingers reports whether the services of this user run although nobody is logged in; nil: that is not known.
	Lingers func() bool
}

// maxOutput bounds what such a program prints, in bytes: crontabs of thousands of lines.
const maxOutput = 4 << 20

// Here is this machine.
func Here() *System {
	return &System{OS: runtime.GOOS, UID: os.Geteuid(), Run: run}
}

func run(ctx context.Context, c Call) ([]byte, error) {
	p := program.Command{Name: c.Name, Args: c.Args, Env: c.Env, Idle: time.Minute}
	if c.Input == nil {
		return p.Output(ctx, maxOutput)
	}
	var out bytes.Buffer
	p.Print = &out
	err := p.Feed(ctx, bytes.NewReader(c.Input))
	return out.Bytes(), err
}

// Has lists the schedulers that the machine has, the one to be preferred first.
func (s *System) Has(ctx context.Context) (kinds []Kind) {
	switch s.OS {
	case "darwin":
		return []Kind{Launchd}
	case "windows", "plan9", "js", "wasip1":
		return nil
	}
	if s.there("/run/systemd/system") {
		kinds = append(kinds, Systemd)
	}
	// Folders of crontabs are there without cron, too: other packages put files into them.
	if slices.ContainsFunc([]string{"/usr/bin/crontab", "/usr/sbin/cron", "/usr/sbin/crond", "/bin/crontab", "/run/current-system/sw/bin/crontab"}, s.there) {
		kinds = append(kinds, Cron)
	}
	if s.OS == "freebsd" {
		kinds = append(kinds, Periodic)
	}
	return kinds
}

func (s *System) at(name string) string { return filepath.Join(s.Root, filepath.FromSlash(name)) }

func (s *System) there(name string) bool {
	_, err := os.Stat(s.at(name))
	return err == nil
}

// Change is something that was done.
type Change struct {
	Path string // of a file, or "crontab"
	What string // written, removed, unchanged
}

// ForeignError tells of a file that is there and that this package did not write.
type ForeignError struct{ Path string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%q is there already, and was written by somebody else", e.Path)
}

// ActivateError tells that files were written and that the scheduler could not be told of them.
type ActivateError struct {
	Unit string // empty: all of them
	Err  error
}

func (e *ActivateError) Error() string {
	if e.Unit == "" {
		return fmt.Sprintf("the files are in place, but the scheduler does not read them: %v", e.Err)
	}
	return fmt.Sprintf("the files are in place, but %s is not active: %v", e.Unit, e.Err)
}

// Unwrap returns the reason.
func (e *ActivateError) Unwrap() error { return e.Err }

// Install writes the files of a plan and makes them active. What an earlier plan for the same scheduler left, and this one lacks, is removed. Doing it twice is doing it once. A file of
// somebody else's fails with *ForeignError before anything is changed, unless force.
func (s *System) Install(ctx context.Context, o Options, force bool) (done []Change, err error) {
	s.system(&o)
	if err := o.check(); err != nil {
		return nil, err
	}
	files, err := Plan(o)
	if err != nil {
		return nil, err
	}
	if !force {
		for _, f := range files {
			if old, err := s.read(f.Path); err == nil && old != nil && f.Path != "" {
				if _, ours := noteOf(old); !ours {
					return nil, &ForeignError{f.Path}
				}
			}
		}
	}
	var changed []string // units
	for _, f := range files {
		c, err := s.write(ctx, o, f)
		if err != nil {
			return done, err
		}
		done = append(done, c)
		if c.What != "unchanged" {
			changed = append(changed, f.Unit)
		}
	}
	stale, err := s.stale(o, files)
	if err != nil {
		return done, err
	}
	gone, err := s.drop(ctx, o, stale)
	done = append(done, gone...)
	if err != nil {
		return done, err
	}
	return done, s.activate(ctx, o, files, changed)
}

// system says how this machine differs.
func (s *System) system(o *Options) {
	if o.Kind == Cron && !o.User && !s.there("/etc/cron.d") {
		o.Crontab = true
	}
}

// read returns a file; nil where there is none.
func (s *System) read(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(s.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}

// write makes one file what it is to be.
func (s *System) write(ctx context.Context, o Options, f File) (Change, error) {
	if f.Path == "" {
		return s.editCrontab(ctx, o, f.Content)
	}
	old, err := s.read(f.Path)
	if err != nil {
		return Change{}, err
	}
	if old != nil && bytes.Equal(old, f.Content) {
		return Change{f.Path, "unchanged"}, nil
	}
	return Change{f.Path, "written"}, s.replace(f)
}

// replace writes a file under another name and gives it its own in the end.
func (s *System) replace(f File) (err error) {
	name := s.at(f.Path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	// Schedulers read whatever lies in these folders, but for names that begin with a dot.
	tmp, err := os.CreateTemp(filepath.Dir(name), ".firn-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(f.Content)
	if err == nil {
		err = tmp.Chmod(f.Mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// crontab reads the user's; nil where there is none.
func (s *System) crontab(ctx context.Context) ([]byte, error) {
	out, err := s.Run(ctx, Call{Name: "crontab", Args: []string{"-l"}})
	if err != nil && strings.Contains(strings.ToLower(err.Error()), "no crontab") {
		return nil, nil
	}
	return out, err
}

// editCrontab puts our block into the user's crontab; nil takes it out.
func (s *System) editCrontab(ctx context.Context, o Options, block []byte) (Change, error) {
	old, err := s.crontab(ctx)
	if err != nil {
		return Change{}, err
	}
	text, err := splice(old, block, o.begin(), o.end())
	if err != nil {
		return Change{}, err
	}
	c := Change{"crontab", "written"}
	if block == nil {
		c.What = "removed"
	}
	if bytes.Equal(text, old) {
		c.What = "unchanged"
		return c, nil
	}
	args, input := []string{"-"}, text
	if len(text) == 0 {
		args, input = []string{"-r"}, nil
	}
	_, err = s.Run(ctx, Call{Name: "crontab", Args: args, Input: input})
	return c, err
}

// stale are our files of a scheduler that a plan lacks.
func (s *System) stale(o Options, files []File) (stale []File, err error) {
	var dir string
	var match func(name string) bool
	switch all, err := Plan(Options{Kind: o.Kind, Name: o.Name, Program: "/x", User: o.User, Home: o.Home, ConfigHome: o.ConfigHome, Every: o.Every, Crontab: o.Crontab}); {
	case err != nil:
		return nil, err
	case all[0].Path == "":
		return nil, nil
	default:
		dir = path.Dir(all[0].Path)
		match = func(name string) bool {
			return slices.ContainsFunc(all, func(f File) bool { return path.Base(f.Path) == name }) ||
				o.Kind == Systemd && strings.HasPrefix(name, o.Name+"-job-") && (strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".timer"))
		}
	}
	entries, err := os.ReadDir(s.at(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		f := File{Path: path.Join(dir, e.Name())}
		if !match(e.Name()) || slices.ContainsFunc(files, func(g File) bool { return g.Path == f.Path }) {
			continue
		}
		raw, err := s.read(f.Path)
		if err != nil {
			return stale, err
		}
		if _, ours := noteOf(raw); !ours {
			continue
		}
		switch f.Content = raw; {
		case o.Kind == Systemd && !strings.Contains(e.Name(), "@") && (strings.HasSuffix(e.Name(), ".timer") || bytes.Contains(raw, []byte("\n[Install]\n"))):
			f.Unit = e.Name()
		case o.Kind == Launchd:
			f.Unit = strings.TrimSuffix(e.Name(), ".plist")
		}
		stale = append(stale, f)
	}
	return stale, err
}

// drop ends and removes files.
func (s *System) drop(ctx context.Context, o Options, files []File) (done []Change, err error) {
	for _, f := range files {
		if f.Unit != "" {
			// What is not active, or on a machine that was not started by this scheduler cannot be, is as it should be.
			switch o.Kind {
			case Systemd:
				_, _ = s.Run(ctx, o.systemctl("disable", "--now", f.Unit))
			case Launchd:
				_, _ = s.Run(ctx, Call{Name: "launchctl", Args: []string{"bootout", s.domain(o) + "/" + f.Unit}})
			}
		}
		if err := os.Remove(s.at(f.Path)); err != nil {
			return done, err
		}
		done = append(done, Change{f.Path, "removed"})
	}
	if len(done) > 0 && o.Kind == Systemd {
		_, _ = s.Run(ctx, o.systemctl("daemon-reload"))
	}
	return done, nil
}

// systemctl is a call about the units of the system or of the user.
func (o Options) systemctl(args ...string) Call {
	if o.User {
		args = append([]string{"--user"}, args...)
	}
	return Call{Name: "systemctl", Args: args, Env: []string{"TZ=UTC"}}
}

// domain is where launchd keeps what it runs.
func (s *System) domain(o Options) string {
	if o.User {
		return "gui/" + strconv.Itoa(s.UID)
	}
	return "system"
}

// activate tells the scheduler. changed are the units whose files did.
func (s *System) activate(ctx context.Context, o Options, files []File, changed []string) error {
	switch o.Kind {
	case Systemd:
		if _, err := s.Run(ctx, o.systemctl("daemon-reload")); err != nil {
			return &ActivateError{Err: err}
		}
		for _, f := range files {
			if f.Unit == "" {
				continue
			}
			if _, err := s.Run(ctx, o.systemctl("enable", "--now", f.Unit)); err != nil {
				return &ActivateError{f.Unit, err}
			}
			// One that ran already goes on by its old text. A daemon is left to finish its jobs: it is restarted by whoever wants that.
			if slices.Contains(changed, f.Unit) && strings.HasSuffix(f.Unit, ".timer") {
				if _, err := s.Run(ctx, o.systemctl("restart", f.Unit)); err != nil {
					return &ActivateError{f.Unit, err}
				}
			}
		}
	case Launchd:
		for _, f := range files {
			if !slices.Contains(changed, f.Unit) {
				continue
			}
			_, _ = s.Run(ctx, Call{Name: "launchctl", Args: []string{"bootout", s.domain(o) + "/" + f.Unit}}) // fails where it was not loaded
			if _, err := s.Run(ctx, Call{Name: "launchctl", Args: []string{"bootstrap", s.domain(o), f.Path}}); err != nil {
				return &ActivateError{f.Unit, err}
			}
		}
	}
	return nil
}

// Remove takes back what Install did.
func (s *System) Remove(ctx context.Context, o Options) ([]Change, error) {
	o.Jobs, o.Program = nil, "/x"
	s.system(&o)
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Kind == Cron && (o.User || o.Crontab) {
		c, err := s.editCrontab(ctx, o, nil)
		if err != nil || c.What == "unchanged" {
			return nil, err
		}
		return []Change{c}, nil
	}
	stale, err := s.stale(o, nil)
	if err != nil {
		return nil, err
	}
	return s.drop(ctx, o, stale)
}
