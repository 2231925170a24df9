package job

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/config"
	"firn/internal/event"
	"firn/internal/notify"
	"firn/internal/schedule"
)

// TestMain makes the test binary a child, or a runner, where it is asked to be one.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("FIRN_FAKE_LOW") != "":
		if err := LowPriority(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		out, err := exec.Command("cat", "/proc/self/stat").Output()
		fmt.Printf("%s", out)
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv("FIRN_FAKE_RUNNER") != "":
		os.Exit(fakeRunner())
	case os.Getenv("FIRN_FAKE") != "":
		os.Exit(fakeChild(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fakeChild does what its last argument says, or for jobs without one FIRN_FAKE_KIND.
func fakeChild(args []string) int {
	mode := filepath.Base(args[len(args)-1])
	if m := os.Getenv("FIRN_FAKE_" + strings.ToUpper(args[0])); m != "" {
		mode = m
	}
	if path := os.Getenv("FIRN_FAKE_LOG"); path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			line, _ := json.Marshal(map[string]any{"args": args, "env": os.Environ(), "pid": os.Getpid()})
			_, _ = f.Write(append(line, '\n'))
			_ = f.Close()
		}
	}
	out := bufio.NewWriter(os.Stdout)
	say := func(format string, a ...any) {
		fmt.Fprintf(out, format+"\n", a...)
		_ = out.Flush()
	}
	event := map[string]string{"backup": "result", "prune": "prune", "check": "checked", "drill": "drill", "copy": "copy"}[args[0]]
	done := func(state, more string) {
		say(`{"event":%q,"state":%q,"snapshot":"%032x","stats":{"files":3,"bytes":300,"bytes_stored":120,"files_new":2,"problems":0},"cost":{"currency":"USD","now":0.5,"monthly":0.01}%s}`, event, state, 77, more)
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt)
	if mode == "ignore" || mode == "die" {
		signal.Ignore(os.Interrupt)
	}
	say(`{"event":"progress","phase":"backup","files_done":1,"bytes_done":10,"bytes_sent":100}`)
	switch mode {
	case "fail":
		fmt.Fprintln(os.Stderr, "firn: error: the disk is on fire")
		fmt.Fprintln(os.Stderr, "firn: hint: call the fire brigade")
		return 1
	case "unread":
		say(`{"event":"problem","path":"/a/b","error":"permission denied"}`)
		done("done", "")
		return 3
	case "hang", "ignore":
		select {
		case <-stopped:
		case <-time.After(2 * time.Minute):
			return 9
		}
		done("partial", `,"error":"interrupted"`)
		fmt.Fprintln(os.Stderr, "firn: error: interrupted")
		return 1
	case "limit":
		done("partial", "")
	case "notdue":
		say(`{"event":"result","state":"not due","next":"2026-03-01T00:00:00Z"}`)
	case "garbage":
		say("Segmentation fault (core dumped)\n\x00\xff{]")
	case "garbageanddone":
		say("warning: something")
		done("done", "")
	case "flood":
		line := strings.Repeat("x", 1<<16)
		for range 100 << 20 >> 16 / 2 {
			_, _ = out.WriteString(line)
			fmt.Fprint(os.Stderr, line)
		}
		fmt.Fprintln(out)
		done("done", "")
	case "events":
		for i := range 3000 {
			say(`{"event":"finding","object":"%d","text":%q}`, i, strings.Repeat("y", 1000))
		}
		done("done", "")
	case "die":
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			_ = p.Kill()
		}
		select {}
	case "leave": // something that holds the output
		done("done", "")
	default:
		done("done", "")
	}
	return 0
}

// clock is a virtual one.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*timer
	graces int // how often somebody began to wait for a child to stop
}

type timer struct {
	at time.Time
	c  chan time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) After(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{c.now.Add(d), make(chan time.Time, 1)}
	c.timers = append(c.timers, t)
	if d == stopGrace {
		c.graces++
	}
	return t.c, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timers = slices.DeleteFunc(c.timers, func(o *timer) bool { return o == t })
	}
}

// passUntil lets time go by until somebody waits for a child to stop for the nth time. What comes then takes no time, and none goes by while nobody waits for it: however slow the machine is, nothing
// that takes seconds by the clock takes hours.
func (c *clock) passUntil(t *testing.T, nth int) {
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); {
		c.mu.Lock()
		there, waited := c.graces >= nth, len(c.timers) > 0
		c.mu.Unlock()
		if there {
			return
		}
		time.Sleep(time.Millisecond)
		if waited {
			c.pass(10 * time.Second)
		}
	}
	t.Fatal("nobody stops the child")
}

// pass lets time go by.
func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.timers = slices.DeleteFunc(c.timers, func(t *timer) bool {
		if t.at.After(c.now) {
			return false
		}
		t.c <- c.now
		return true
	})
}

// heard are the messages that were told.
type heard struct {
	mu   sync.Mutex
	all  []notify.Message
	fail error
}

func (h *heard) Report(_ context.Context, _ *Job, m notify.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, m)
	return h.fail
}

// events are the events of the messages of a job, but for start.
func (h *heard) events(job string) (all []notify.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.all {
		if m.Job == job && m.Event != notify.Start {
			all = append(all, m.Event)
		}
	}
	return all
}

// world is a configuration with a runner, a virtual clock and children that obey the names of their sources.
type world struct {
	t     *testing.T
	c     *config.Config
	clock *clock
	heard *heard
	dir   string
	log   string
	r     *Runner
	at    chan string // jobs that tell progress
}

var start = time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, modes ...string) *world {
	t.Helper()
	w := &world{t: t, c: &config.Config{Repositories: []*config.Repository{{Name: "main", Location: "/repo"}}, Run: config.Run{Parallel: 1, CatchUp: true, Reports: 5}},
		clock: &clock{now: start}, heard: &heard{}, dir: filepath.Join(t.TempDir(), "jobs"), at: make(chan string, 100)}
	for _, mode := range modes {
		w.source(mode, "daily 02:30")
	}
	w.log = filepath.Join(t.TempDir(), "children")
	w.make()
	return w
}

// source adds a source of which the child does what its name says.
func (w *world) source(mode, when string) *config.Source {
	s := &config.Source{Name: mode, Repository: "main", Kind: "dir", Rest: "/fake/" + mode, Timing: config.Timing{Schedule: parse(w.t, when)}}
	w.c.Sources = append(w.c.Sources, s)
	return s
}

func parse(t testing.TB, text string) schedule.Schedule {
	t.Helper()
	s, err := schedule.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parseWindow(t testing.TB, text string) schedule.Window {
	t.Helper()
	s, err := schedule.ParseWindow(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// make makes the runner anew.
func (w *world) make(change ...func(*Options)) {
	o := Options{Config: w.c, Dir: w.dir, Program: []string{os.Args[0]}, Version: "firn test", Host: "nas", Clock: w.clock, Location: time.UTC, Reporter: w.heard,
		Env: func() []string { return append(os.Environ(), "FIRN_FAKE=1", "FIRN_FAKE_LOG="+w.log) },
		Progress: func(job string, _ event.Event) {
			select {
			case w.at <- job:
			default:
			}
		}}
	for _, f := range change {
		f(&o)
	}
	w.r = New(o)
}

// run runs what is due, and returns the outcomes by job.
func (w *world) run(wish Wish, names ...string) map[string]Report {
	w.t.Helper()
	return w.await(w.begin(context.Background(), wish, names...))
}

// begin runs in the background.
func (w *world) begin(ctx context.Context, wish Wish, names ...string) chan *Summary {
	w.t.Helper()
	jobs := w.r.Jobs()
	if len(names) > 0 {
		var err error
		if jobs, err = Find(jobs, names); err != nil {
			w.t.Fatal(err)
		}
	}
	end := make(chan *Summary, 1)
	go func() { end <- w.r.Run(ctx, w.r.Plan(jobs, wish)) }()
	return end
}

func (w *world) await(end chan *Summary) map[string]Report {
	w.t.Helper()
	select {
	case s := <-end:
		all := map[string]Report{}
		for _, r := range s.Results {
			all[r.Job.Name] = r.Report
		}
		return all
	case <-time.After(time.Minute):
		w.t.Fatal("it does not end")
		return nil
	}
}

// working waits until the child of a job works.
func (w *world) working(job string) {
	w.t.Helper()
	for {
		select {
		case at := <-w.at:
			if at == job {
				return
			}
		case <-time.After(time.Minute):
			w.t.Fatalf("%s does not begin", job)
		}
	}
}

// children are the command lines of all children so far.
func (w *world) children() (all []string) {
	w.t.Helper()
	for _, c := range w.started() {
		all = append(all, strings.Join(c.Args, " "))
	}
	return all
}

type startedChild struct {
	Args []string `json:"args"`
	Env  []string `json:"env"`
	PID  int      `json:"pid"`
}

func (w *world) started() (all []startedChild) {
	raw, err := os.ReadFile(w.log)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(raw)) {
		var c startedChild
		if json.Unmarshal([]byte(line), &c) == nil {
			all = append(all, c)
		}
	}
	return all
}

// history of a job.
func (w *world) history(name string) *History {
	for i := range w.r.jobs {
		if w.r.jobs[i].Name == name {
			return w.r.book(&w.r.jobs[i]).read()
		}
	}
	w.t.Fatalf("no job %q", name)
	return nil
}
