package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/web"
	"firn/internal/web/desk"
	"firn/internal/web/gate"
	"firn/internal/web/history"
	"firn/internal/web/look"
	"firn/internal/web/wizard"
)

// uiCommand serves the local pages.
type uiCommand struct {
	c     *console
	flags uiFlags
	at    string
	quiet bool // --no-open
	link  bool
}

func newUI(c *console) *cobra.Command {
	x := &uiCommand{c: c}
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "Look at backups in a browser, and restore from there",
		Long: `Serves pages on this machine, and opens them in a browser: how every source stands, what snapshots hold, what they cost, a way to
restore, and backups, checks and drills to begin. Nothing can be deleted from them. They need no other program and ask nothing of any
other place.

It works with all repositories and jobs of the configuration, or with one repository alone (--repo). The link that it prints lets one
browser in, once, within ten minutes; firn ui --link prints another one while it runs. Without a passphrase or identity the key of
this host will do: then the pages show which snapshots there are. Ctrl-C ends it; what was begun from it stops so that it can go on.

Under firn serve the same pages are on its address where the configuration says so ([serve] ui = true); firn ui --link prints a link.

From another machine: ssh -L 7458:127.0.0.1:7458 nas firn ui --listen 127.0.0.1:7458, and follow the link there.`,
		Example: `  firn ui
  firn ui --repo /mnt/disk/backup
  firn ui --listen 127.0.0.1:7458 --no-open
  firn ui --link`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.run(cmd.Context()) },
	}
	fl := cmd.Flags()
	fl.StringVar(&x.at, "listen", "127.0.0.1:0", "host:port to answer on; port 0: a free one")
	fl.BoolVar(&x.quiet, "no-open", false, "open no browser, print the link alone")
	fl.BoolVar(&x.link, "link", false, "print a link for a firn ui, or a firn serve with pages, that runs already")
	x.flags.register(cmd)
	fl.Lookup("repo").Usage = "only this repository: a folder, s3://bucket/prefix, or a name in the configuration (default: all of it)"
	return cmd
}

func (x *uiCommand) run(ctx context.Context) error {
	if x.link {
		return x.printLink(ctx)
	}
	cfg, places, err := x.places()
	if err != nil {
		return err
	}
	if err := unlockAll(ctx, x.c, places); err != nil {
		return err
	}
	l, err := net.Listen("tcp", x.at)
	if err != nil {
		return failure("another program may be listening there; --listen 127.0.0.1:0 takes a free port", "%w", err)
	}
	g := gate.New(x.gateOptions(l.Addr()))
	face, err := newFace(x.c, g, cfg, places)
	if err != nil {
		_ = l.Close()
		return err
	}
	defer face.Close()
	if cfg != nil {
		r, err := x.c.runner(cfg, nil)
		if err != nil {
			_ = l.Close()
			return err
		}
		face.runner.Store(r)
	}
	return x.serve(ctx, l, g, face)
}

// serve answers until ctx ends.
func (x *uiCommand) serve(ctx context.Context, l net.Listener, g *gate.Gate, face *face) error {
	srv := gate.Server(face)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	address := browsed(l.Addr().String())
	forget := announce(address)
	defer forget()
	tidy := x.tell(address, g.Link("/"))
	defer tidy()
	var err error
	select {
	case <-ctx.Done():
		x.c.note("ending; what was begun from the pages stops, and goes on when it is begun again")
		face.Close() // streams end by that, too
		end, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if srv.Shutdown(end) != nil {
			_ = srv.Close()
		}
		<-done
	case err = <-done:
	}
	return err
}

// places are the repositories that are meant, and the configuration, where that has them.
func (x *uiCommand) places() (*config.Config, []*uiPlace, error) {
	silent := &console{in: x.c.in, out: bufio.NewWriter(io.Discard), err: io.Discard, now: x.c.now, quiet: true}
	given := cmp.Or(x.flags.read.store.repo, os.Getenv("FIRN_REPO"))
	cfg, err := x.c.config.load()
	if given != "" {
		if cfg != nil && isRepositoryName(given) && !exists(given) {
			if r := cfg.Repository(given); r != nil {
				p, err := uiPlaceOf(silent, cfg, r, &x.flags)
				return cfg, []*uiPlace{p}, err
			}
		}
		x.flags.read.store.repo = given
	}
	if given != "" || err == nil && cfg == nil {
		p, err := uiPlaceAt(silent, &x.flags) // which says what is missing
		return nil, []*uiPlace{p}, err
	}
	if err != nil {
		return nil, nil, err
	}
	all, err := uiPlacesOf(silent, cfg, &x.flags)
	return cfg, all, err
}

// gateOptions say who may ask. Whoever has the pages listen elsewhere than on the loopback interface has said that others may.
func (x *uiCommand) gateOptions(at net.Addr) gate.Options {
	o := gate.Options{Now: x.c.now, Folder: linksDir()}
	tcp, ok := at.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() {
		return o
	}
	o.Far = true
	if host, _, err := net.SplitHostPort(x.at); err == nil && host != "" && !tcp.IP.IsUnspecified() {
		o.Hosts = append(o.Hosts, host)
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		o.Hosts = append(o.Hosts, name, name+".local")
	}
	if all, err := net.InterfaceAddrs(); err == nil {
		for _, a := range all {
			if ip, ok := a.(*net.IPNet); ok {
				o.Hosts = append(o.Hosts, ip.IP.String())
			}
		}
	}
	x.c.warn("other machines can ask, and nothing on the way is encrypted: ssh -L is safer (firn ui --help)")
	return o
}

// uiJSON is what ui prints with --json once it is up.
type uiJSON struct {
	Address string `json:"address"`
	Link    string `json:"link"` // lets one browser in, once
	PID     int    `json:"pid"`
}

// tell prints the link, and opens it where somebody sits at a screen. What it returns removes what that takes.
func (x *uiCommand) tell(address, path string) func() {
	link := address + path
	if x.c.json != "" {
		_ = x.c.objectOf("ui", uiJSON{address, link, os.Getpid()}) // marshals
		x.c.endLine()
	} else {
		x.c.print("%s\n", link)
		x.c.endLine()
		x.c.note("the link lets one browser in, once, within %s; firn ui --link prints another one. Ctrl-C ends", web.Duration(gate.LinkTime))
	}
	if x.quiet || x.c.json != "" || !x.c.live || !hasScreen() {
		return func() {}
	}
	return openBrowser(link)
}

// hasScreen reports whether a browser would show here.
func hasScreen() bool {
	switch runtime.GOOS {
	case "windows":
		return true
	case "darwin":
		return os.Getenv("SSH_CONNECTION") == ""
	}
	return os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}

// openBrowser has the system open a link, by way of a file that only this user can read: arguments of programs can be seen by others. What it returns removes the file.
func openBrowser(link string) func() {
	dir := uiDir()
	if dir == "" || os.MkdirAll(dir, 0o700) != nil {
		return func() {}
	}
	f, err := os.CreateTemp(dir, "open-*.html")
	if err != nil {
		return func() {}
	}
	remove := func() { _ = os.Remove(f.Name()) }
	_, err = fmt.Fprintf(f, "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=\"0;url=%s\"><title>firn</title>", html.EscapeString(link))
	if e := f.Close(); err != nil || e != nil {
		remove()
		return func() {}
	}
	name, args := "xdg-open", []string{f.Name()}
	switch runtime.GOOS {
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", f.Name()}
	case "darwin":
		name = "open"
	}
	cmd := exec.Command(name, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { // what is meant for firn and its store, passphrases and keys among it
		return strings.HasPrefix(v, "FIRN_") || strings.HasPrefix(v, "AWS_")
	})
	if cmd.Start() != nil {
		remove()
		return func() {}
	}
	go func() { _ = cmd.Wait() }() // the link is printed, whatever becomes of it
	return remove
}

// uiDir is where what concerns pages is kept; empty: nowhere.
func uiDir() string {
	if dirs := localDirs(); dirs.State != "" {
		return filepath.Join(dirs.State, "ui")
	}
	return ""
}

// linksDir is where firn ui --link leaves links for who serves pages.
func linksDir() string {
	if dir := uiDir(); dir != "" {
		return filepath.Join(dir, "links")
	}
	return ""
}

// browsed is where a browser on this machine asks for what listens at host:port.
func browsed(at string) string {
	host, port, _ := net.SplitHostPort(at)
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// announced is what a process writes down that serves pages, for firn ui --link.
type announced struct {
	Address string    `json:"address"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
}

const announcedEnding = ".json"

// announce writes down where pages are. What it returns takes that back.
func announce(address string) func() {
	dir := uiDir()
	raw, err := json.Marshal(announced{address, os.Getpid(), time.Now().UTC()})
	if dir == "" || err != nil || os.MkdirAll(dir, 0o700) != nil {
		return func() {}
	}
	path := filepath.Join(dir, strconv.Itoa(os.Getpid())+announcedEnding)
	if os.WriteFile(path, raw, 0o600) != nil {
		return func() {}
	}
	return func() { _ = os.Remove(path) }
}

// printLink prints a link for pages that are served already: the newest ones.
func (x *uiCommand) printLink(ctx context.Context) error {
	all := serving(ctx)
	if len(all) == 0 {
		return failure("firn ui serves them; firn serve does where the configuration says [serve] ui = true", "nobody serves pages for this user on this machine")
	}
	token, err := gate.Leave(linksDir(), x.c.now())
	if err != nil {
		return err
	}
	at := all[0]
	link := at.Address + gate.Address(token, "/")
	if x.c.json != "" {
		return x.c.objectOf("ui", uiJSON{at.Address, link, at.PID})
	}
	x.c.print("%s\n", link)
	return nil
}

// serving are those who serve pages, the newest first. What one has left that is gone is removed.
func serving(ctx context.Context) (all []announced) {
	found, _ := filepath.Glob(filepath.Join(uiDir(), "*"+announcedEnding))
	for _, path := range found {
		raw, err := os.ReadFile(path)
		var a announced
		if err != nil || json.Unmarshal(raw, &a) != nil || a.Address == "" {
			continue
		}
		if !answers(ctx, a.Address) {
			_ = os.Remove(path)
			continue
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b announced) int { return b.Since.Compare(a.Since) })
	return all
}

// answers reports whether somebody serves pages at an address: a link that was never made is answered as one that was used.
func answers(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/enter", nil)
	if err != nil {
		return false
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusGone
}

// face is the pages together with what they are made of.
type face struct {
	*web.Site
	runner atomic.Pointer[job.Runner] // of the configuration in use; nil: there is none
}

// newFace puts the pages together.
func newFace(c *console, g *gate.Gate, cfg *config.Config, all []*uiPlace) (*face, error) {
	places, err := webPlaces(all)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	program := []string{self}
	if cfg != nil && len(cfg.Files) > 0 {
		program = append(program, "--config="+cfg.Files[0])
	}
	f := &face{}
	jobs := func() web.Jobs {
		if r := f.runner.Load(); r != nil {
			return r
		}
		return nil
	}
	f.Site, err = web.New(web.Options{Places: places, Jobs: jobs, Program: program, StateDir: uiDir(), Version: Version, Host: uiHost(cfg), Now: c.now, Location: time.Local, Gate: g,
		Log: func(format string, args ...any) { c.explain("%s", strings.TrimSpace(fmt.Sprintf(format, args...))) }})
	if err != nil {
		return nil, err
	}
	desk.Add(f.Site)
	look.Add(f.Site)
	history.Add(f.Site)
	wizard.Add(f.Site)
	return f, nil
}
