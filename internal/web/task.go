package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"firn/internal/job"
	"firn/internal/keys"
)

// Limits of what is begun from pages.
const (
	maxTasks   = 4        // at once
	maxEnded   = 50       // that are remembered
	maxNotes   = 100      // of one, likewise problems: their number is counted
	maxNote    = 2 << 10  // bytes of one of them
	maxResults = 64       // objects of one
	maxResult  = 16 << 10 // bytes of one of them, else long lists in it are cut
	maxAll     = 1 << 20  // bytes of them together
	maxList    = 100      // entries of a list in one that was cut
	maxObject  = 16 << 20 // bytes of a line that is read at all
	taskGrace  = 30 * time.Second
)

// Spec is what is to be begun.
type Spec struct {
	Title  string   // for people, such as "back up photos"
	Kind   string   // backup, check, drill, restore, pause, …
	Place  *Place   // nil: that of the configuration
	Args   []string // of firn, without --json and without what leads to the repository
	Secret bool     // the child needs the passphrase of Place
	Once   string   // no two unfinished tasks have the same; empty: any number may run

	Ended func(Task) // is told, once, how it ended, by a goroutine of its own; may be nil
}

// Tasks is what was begun from pages: children of firn, with what they tell. Some run at once, those that ended are kept for a while.
//
// A child runs in a process group of its own. It is told to stop (SIGINT) by Stop, when the site closes and, on Linux, when this process is killed; whoever does not stop in half a minute is killed. What firn does can be stopped at
// any point: the same line goes on. Elsewhere than on Linux a child whose site was killed ends when it next tells how far it is, since nobody reads that any more.
//
// A passphrase goes to the standard input of a child, from memory that is wiped once it has ended; the environment of such a child has none of the variables that would name another.
type Tasks struct {
	o     *Options
	clock job.Clock     // of graces
	grace time.Duration // for a child to stop by itself

	mu      sync.Mutex // guards all below, and what is in tasks
	all     []*task    // in the order in which they began
	closing bool
	closed  chan struct{} // once closing
	running sync.WaitGroup
}

// Task is a copy of how one stands.
type Task struct {
	ID         string
	Spec       Spec
	Line       string // what a person would type
	Begun      time.Time
	Ended      time.Time // zero: it runs
	Code       int       // exit code; -1: it did not end by itself
	Phase      string
	FilesDone  int64
	FilesTotal int64 // 0: unknown, as all totals
	BytesDone  int64
	BytesTotal int64
	BytesSent  int64 // to the store
	BytesGot   int64 // from it
	Current    string
	Notes      []string          // warnings and notes, the newest last
	Problems   []job.Problem     // the first of them
	Troubles   int64             // how many there are
	Thaw       *Thaw             // nil: nothing has to be thawed, as far as is known
	Results    []json.RawMessage // JSON objects of its result, the last of them. Long lists in them are cut, with their length in a member of the same name and "_total"
	Error      string
	Hint       string
	Stopping   bool // it was told to stop
}

// Thaw is how far cold objects are.
type Thaw struct {
	Objects int64     `json:"objects"` // in all
	Thawing int64     `json:"thawing"`
	Ready   int64     `json:"ready"`
	Fetched int64     `json:"fetched"`
	Spent   float64   `json:"spent"`
	ETA     time.Time `json:"eta,omitzero"` // of the last byte; zero: unknown
}

// Outcome is how a task stands in a word: running, stopping, done, partly (some files failed), stopped, skipped (a job that was not begun), failed.
func (t *Task) Outcome() string {
	switch {
	case t.Ended.IsZero() && t.Stopping:
		return "stopping"
	case t.Ended.IsZero():
		return "running"
	case t.Code == 0:
		return t.ofJobs()
	case t.Stopping:
		return "stopped"
	case t.Code == 3:
		return "partly"
	}
	return "failed"
}

// ofJobs is the outcome of a run of jobs that has ended well: one that was stopped, or did not begin, is no failure of the run, and not done either.
func (t *Task) ofJobs() string {
	for _, raw := range slices.Backward(t.Results) {
		var run struct {
			Event string
			Jobs  map[job.Outcome]int
		}
		if json.Unmarshal(raw, &run) != nil || run.Event != "run" {
			continue
		}
		switch {
		case run.Jobs[job.Partial] > 0:
			return "stopped"
		case len(run.Jobs) == 1 && run.Jobs[job.Skipped] > 0:
			return "skipped"
		}
		break
	}
	return "done"
}

// Left guesses how long it still takes; 0: nobody knows.
func (t *Task) Left(now time.Time) time.Duration {
	spent := now.Sub(t.Begun)
	if !t.Ended.IsZero() || t.BytesTotal <= t.BytesDone || t.BytesDone <= 0 || spent < 2*time.Second {
		return 0
	}
	left := float64(spent) * float64(t.BytesTotal-t.BytesDone) / float64(t.BytesDone)
	if left > float64(30*24*time.Hour) {
		return 0
	}
	return time.Duration(left).Round(time.Second)
}

// task is one of them. Its fields are guarded by the mutex of Tasks.
type task struct {
	Task
	changed chan struct{} // closed at the next change
	stop    context.CancelFunc
	kept    int // bytes of Results
	tail    job.Tail
}

func newTasks(o *Options) *Tasks {
	return &Tasks{o: o, clock: job.System{}, grace: taskGrace, closed: make(chan struct{})}
}

// close stops all, and waits for them.
func (t *Tasks) close() {
	t.mu.Lock()
	if !t.closing {
		t.closing = true
		close(t.closed)
	}
	for _, k := range t.all {
		if k.Ended.IsZero() {
			t.ask(k)
		}
	}
	t.mu.Unlock()
	t.running.Wait()
}

// ask has a task stop. t.mu is held.
func (t *Tasks) ask(k *task) {
	k.Stopping = true
	k.stop()
	k.tell()
}

// tell wakes who watches. The mutex is held.
func (k *task) tell() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// BusyError tells that a task cannot be begun now.
type BusyError struct{ ID string } // of the one that runs; empty: too many run

func (e *BusyError) Error() string {
	if e.ID == "" {
		return "too much is under way already"
	}
	return "that is under way already"
}

var errClosing = errors.New("the pages are being closed")

// Start begins a task. It fails with *BusyError where one of the same Once runs, or too many do. ctx is for the passphrase alone.
func (t *Tasks) Start(ctx context.Context, spec Spec) (*Task, error) {
	k, c, err := t.begin(ctx, spec, "--json=events")
	if err != nil {
		return nil, err
	}
	c.Object = func(o map[string]json.RawMessage, raw []byte) { t.heard(k, o, raw) }
	run, cancel := context.WithCancel(context.Background())
	out := t.enter(k, cancel)
	go func() {
		defer cancel()
		t.run(run, k, c)
	}()
	return &out, nil
}

// Stream runs a child whose standard output goes to w as it is, and returns when it has ended. ctx ends, or w fails: it is stopped. An error tells that it was not begun; how it ended is in the task. Only where its Code is 0 has w got all.
func (t *Tasks) Stream(ctx context.Context, spec Spec, w io.Writer) (Task, error) {
	k, c, err := t.begin(ctx, spec)
	if err != nil {
		return Task{}, err
	}
	c.Output = writerFunc(func(b []byte) (int, error) {
		n, err := w.Write(b)
		t.mu.Lock()
		k.Phase = "download"
		k.BytesDone += int64(n)
		k.tell()
		t.mu.Unlock()
		return n, err
	})
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	t.enter(k, cancel)
	return t.run(run, k, c), nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// begin makes a task and its child, and enters it as running. Where it returns no error, enter and run must follow.
func (t *Tasks) begin(ctx context.Context, spec Spec, global ...string) (*task, *job.Child, error) {
	if len(t.o.Program) == 0 || len(spec.Args) == 0 {
		return nil, nil, errors.New("there is no program to begin")
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	k := &task{Task: Task{ID: hex.EncodeToString(id[:]), Spec: spec, Begun: t.o.Now()}, changed: make(chan struct{}), stop: func() {}}
	if err := t.admit(k); err != nil {
		return nil, nil, err
	}
	c := &job.Child{Program: t.o.Program, Env: os.Environ(), Grace: t.grace, Clock: t.clock, Longest: maxObject}
	var flags, secret []string
	if p := spec.Place; p != nil {
		flags = p.Flags
		global = append([]string{"--config=none"}, global...)
		if p.Secret != nil {
			c.Env = withoutSecrets(c.Env)
		}
		if spec.Secret && p.Secret != nil {
			pass, err := p.Secret(ctx)
			if err != nil {
				t.drop(k)
				return nil, nil, err
			}
			c.Input = append(append(make([]byte, 0, len(pass)+1), pass...), '\n')
			keys.Wipe(pass)
			secret = []string{"--passphrase-file=-"}
		}
	}
	k.Line = Line(spec.Place, spec.Args)
	c.Args = append(global, joined(spec.Args, flags, secret)...)
	c.Line = func(line string) { t.said(k, line) }
	return k, c, nil
}

// Line is what a person would type for arguments of firn about a repository; nil: that of the configuration.
func Line(p *Place, args []string) string {
	if p != nil {
		args = joined(args, p.Flags)
	}
	return job.Typed(append([]string{"firn"}, args...))
}

// joined adds flags to arguments, before what is no flag for sure.
func joined(args []string, more ...[]string) []string {
	at := slices.Index(args, "--")
	if at < 0 {
		at = len(args)
	}
	out := slices.Clone(args[:at])
	for _, m := range more {
		out = append(out, m...)
	}
	return append(out, args[at:]...)
}

// withoutSecrets is an environment without what names a passphrase.
func withoutSecrets(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "FIRN_PASSPHRASE") })
}

// admit enters a task, if it may run now.
func (t *Tasks) admit(k *task) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return errClosing
	}
	running := 0
	for _, o := range t.all {
		if !o.Ended.IsZero() {
			continue
		}
		running++
		if k.Spec.Once != "" && o.Spec.Once == k.Spec.Once {
			return &BusyError{o.ID}
		}
	}
	if running >= maxTasks {
		return &BusyError{}
	}
	t.all = append(t.all, k)
	t.running.Add(1)
	return nil
}

// drop takes back what was not begun after all.
func (t *Tasks) drop(k *task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = slices.DeleteFunc(t.all, func(o *task) bool { return o == k })
	t.running.Done()
}

// enter says how a task is stopped, and returns how it stands.
func (t *Tasks) enter(k *task, stop context.CancelFunc) Task {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.stop = stop
	if k.Stopping { // the site was closed meanwhile
		stop()
	}
	return k.copy()
}

// run runs the child to its end.
func (t *Tasks) run(ctx context.Context, k *task, c *job.Child) Task {
	defer t.running.Done()
	e := c.Run(ctx)
	keys.Wipe(c.Input)
	t.mu.Lock()
	k.Ended, k.Code = t.o.Now(), e.Code
	k.Stopping = e.Stopped || e.Output != nil // who is to get it has left
	k.Error, k.Hint = k.tail.Last()
	k.judge(&e)
	t.forget()
	out := k.copy()
	k.tell()
	t.mu.Unlock()
	if k.Spec.Ended != nil {
		k.Spec.Ended(out)
	}
	return out
}

// judge says in words how a child ended that did not end well. The mutex is held.
func (k *task) judge(e *job.Ending) {
	if e.Output != nil && e.Code == 0 {
		k.Code = -1 // it ended before it knew that nobody takes what it says
	}
	switch words := e.Words(); {
	case e.Output != nil && k.Error == "":
		k.Error = fmt.Sprintf("what it says could not be passed on: %v", e.Output)
	case k.Code == 0:
		k.Error, k.Hint = "", ""
	case words != "":
		k.Error = clip(words)
	case k.Error == "" && e.Code == 3:
		k.Error = "not everything could be read or written"
	case k.Error == "":
		k.Error = fmt.Sprintf("it ended with status %d", e.Code)
	}
	if e.Garbage > 0 {
		k.note(fmt.Sprintf("it printed %d lines that mean nothing here, the first of them %q", e.Garbage, e.First))
	}
}

// forget drops the oldest of those that ended. t.mu is held.
func (t *Tasks) forget() {
	ended := 0
	for _, k := range t.all {
		if !k.Ended.IsZero() {
			ended++
		}
	}
	t.all = slices.DeleteFunc(t.all, func(k *task) bool {
		old := !k.Ended.IsZero() && ended > maxEnded
		if old {
			ended--
		}
		return old
	})
}

// heard takes an object that a child has printed.
func (t *Tasks) heard(k *task, o map[string]json.RawMessage, raw []byte) {
	var name string
	_ = json.Unmarshal(o["event"], &name) // else it stays unknown
	t.mu.Lock()
	defer t.mu.Unlock()
	switch name {
	case "progress":
		k.progress(raw)
	case "problem":
		k.problem(raw)
	case "thawing":
		var th Thaw
		if json.Unmarshal(raw, &th) == nil {
			k.Thaw = &th
		}
	case "note", "": // they come on standard error as well
	default:
		k.keep(o, raw)
	}
	k.tell()
}

func (k *task) progress(raw []byte) {
	var p struct {
		Phase      string `json:"phase"`
		FilesDone  int64  `json:"files_done"`
		FilesTotal int64  `json:"files_total"`
		BytesDone  int64  `json:"bytes_done"`
		BytesTotal int64  `json:"bytes_total"`
		BytesSent  int64  `json:"bytes_sent"`
		BytesGot   int64  `json:"bytes_got"`
		Current    string `json:"current"`
	}
	if json.Unmarshal(raw, &p) == nil {
		k.Phase, k.Current = clip(p.Phase), clip(p.Current)
		k.FilesDone, k.FilesTotal, k.BytesDone, k.BytesTotal = max(p.FilesDone, 0), max(p.FilesTotal, 0), max(p.BytesDone, 0), max(p.BytesTotal, 0)
		k.BytesSent, k.BytesGot = max(p.BytesSent, 0), max(p.BytesGot, 0)
	}
}

func (k *task) problem(raw []byte) {
	var p job.Problem
	if json.Unmarshal(raw, &p) != nil {
		return
	}
	text := fmt.Sprintf("%q: %s", p.Path, p.Error)
	k.Notes = slices.DeleteFunc(slices.Clone(k.Notes), func(n string) bool { return n == clip(text) })
	k.Troubles++
	if len(k.Problems) < maxNotes {
		k.Problems = append(k.Problems, job.Problem{Path: clip(p.Path), Error: clip(p.Error)})
	}
}

// keep keeps the last objects of a result.
func (k *task) keep(o map[string]json.RawMessage, raw []byte) {
	one := json.RawMessage(slices.Clone(raw))
	if len(one) > maxResult {
		one = cut(o)
	}
	k.Results = append(slices.Clone(k.Results), one)
	k.kept += len(one)
	for len(k.Results) > maxResults || k.kept > maxAll && len(k.Results) > 0 {
		k.kept -= len(k.Results[0])
		k.Results = k.Results[1:]
	}
}

// cut is an object with the first entries of its lists, each with its length beside it.
func cut(o map[string]json.RawMessage) json.RawMessage {
	out := make(map[string]any, len(o))
	for name, raw := range o {
		var list []json.RawMessage
		if len(raw) < maxResult/4 || raw[0] != '[' || json.Unmarshal(raw, &list) != nil || len(list) <= maxList {
			out[name] = raw
			continue
		}
		out[name], out[name+"_total"] = list[:maxList], len(list)
	}
	all, err := json.Marshal(out)
	if err != nil {
		return json.RawMessage(`{}`) // what was read as JSON can be written as such
	}
	return all
}

// said takes a line of standard error.
func (t *Tasks) said(k *task, line string) {
	k.tail.Add(line)
	for _, prefix := range []string{"firn: error: ", "firn: hint: ", "firn: debug: "} {
		if strings.HasPrefix(line, prefix) {
			return
		}
	}
	text := line
	for _, prefix := range []string{"firn: note: ", "firn: warning: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(k.Problems, func(p job.Problem) bool { return clip(fmt.Sprintf("%q: %s", p.Path, p.Error)) == clip(text) }) {
		return // it was told as such
	}
	k.note(text)
	k.tell()
}

// note keeps the last notes. Copies of a task share the memory of earlier ones, which is not written any more.
func (k *task) note(text string) {
	from := max(len(k.Notes)+1-maxNotes, 0)
	k.Notes = append(slices.Clone(k.Notes[from:]), clip(text))
}

// copy returns how a task stands. The mutex is held.
func (k *task) copy() Task {
	out := k.Task
	out.Problems = slices.Clip(out.Problems)
	return out
}

// clip bounds a text.
func clip(s string) string {
	if len(s) <= maxNote {
		return s
	}
	most := maxNote
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// find returns a task; nil: it is not known. t.mu is held.
func (t *Tasks) find(id string) *task {
	for _, k := range t.all {
		if k.ID == id {
			return k
		}
	}
	return nil
}

// Get returns how a task stands; nil: it is not known, perhaps no longer.
func (t *Tasks) Get(id string) *Task {
	k, _ := t.Watch(id)
	return k
}

// Watch returns how a task stands, and a channel that is closed when that has changed; nil: it is not known.
func (t *Tasks) Watch(id string) (*Task, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.find(id)
	if k == nil {
		return nil, nil
	}
	out := k.copy()
	return &out, k.changed
}

// List returns all that run, then those that ended, the newest first.
func (t *Tasks) List() []Task {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Task, 0, len(t.all))
	for _, k := range slices.Backward(t.all) {
		out = append(out, k.copy())
	}
	slices.SortStableFunc(out, func(a, b Task) int {
		if x, y := a.Ended.IsZero(), b.Ended.IsZero(); x != y {
			return cmp.Compare(boolRank(y), boolRank(x))
		}
		return b.Ended.Compare(a.Ended)
	})
	return out
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Stop tells a task to stop, as Ctrl-C does, and reports whether it ran. It does not wait for it.
func (t *Tasks) Stop(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.find(id)
	if k == nil || !k.Ended.IsZero() {
		return false
	}
	t.ask(k)
	return true
}

// Closed returns a channel that is closed when the site is being closed.
func (t *Tasks) Closed() <-chan struct{} { return t.closed }
