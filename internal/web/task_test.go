package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/job"
)

// TestStandIn is what tasks run in these tests in the place of firn: it does what the variable FIRN_STAND_IN says.
func TestStandIn(t *testing.T) {
	mode, isChild := os.LookupEnv("FIRN_STAND_IN")
	if !isChild {
		t.Skip("is for children of other tests")
	}
	if path := os.Getenv("FIRN_STAND_IN_LOG"); path != "" {
		in, _ := io.ReadAll(os.Stdin)
		raw, _ := json.Marshal(map[string]any{"args": os.Args[slices.Index(os.Args, "--")+1:], "env": os.Environ(), "in": string(in), "pid": os.Getpid()})
		if os.WriteFile(path+".part", raw, 0o600) != nil || os.Rename(path+".part", path) != nil {
			os.Exit(99)
		}
	}
	os.Exit(standIn(mode))
}

func standIn(mode string) int {
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt)
	if mode == "ignore" {
		signal.Ignore(os.Interrupt)
	}
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	say(`{"event":"progress","phase":"restore","files_done":1,"files_total":4,"bytes_done":100,"bytes_total":400,"bytes_got":50}`)
	switch mode {
	case "hang", "ignore":
		select {
		case <-stopped:
		case <-time.After(5 * time.Minute):
			return 9
		}
		fmt.Fprintln(os.Stderr, "firn: error: interrupted\nfirn: hint: run the same command again")
		return 1
	case "orphan": // its parent is killed
		_ = os.WriteFile(os.Getenv("FIRN_STAND_IN_LOG")+".ready", nil, 0o600)
		<-stopped
		_ = os.WriteFile(os.Getenv("FIRN_STAND_IN_LOG")+".stopped", nil, 0o600)
		return 1
	case "die":
		p, _ := os.FindProcess(os.Getpid())
		_ = p.Kill()
		select {}
	case "fail":
		fmt.Fprintln(os.Stderr, "firn: warning: careful\nfirn: error: the disk is on fire\nfirn: hint: call the fire brigade")
		return 1
	case "garbage":
		say("Segmentation fault\n\x00\xff{]\n[1]")
		return 0
	case "problems":
		for i := range 1000 {
			say(`{"event":"problem","path":"/a/%d","error":"permission denied"}`, i)
			fmt.Fprintf(os.Stderr, "firn: warning: \"/a/%d\": permission denied\n", i)
		}
		say(`{"event":"thawing","objects":9,"thawing":4,"ready":3,"fetched":2,"spent":0.5,"eta":"2026-03-01T00:00:00Z"}`)
		say(`{"event":"result","files":3,"damaged":[%s{}]}`, strings.Repeat(`{"path":"a/long/path/of/a/file"},`, 20_000))
		return 3
	case "flood":
		line := strings.Repeat("x", 1<<16)
		for range 400 {
			fmt.Print(line)
			fmt.Fprint(os.Stderr, line)
		}
		say("")
		for i := range 5000 {
			say(`{"event":"finding","object":"%d","text":%q}`, i, strings.Repeat("y", 1000))
			fmt.Fprintln(os.Stderr, "firn: note:", i)
		}
		say(`{"event":"checked"}`)
		return 0
	}
	say(`{"event":"result","files":4}`)
	return 0
}

// stage is tasks of stand-ins.
func stage(t *testing.T, mode string) *Tasks {
	t.Helper()
	t.Setenv("FIRN_STAND_IN", mode)
	o := &Options{Now: time.Now, Program: []string{os.Args[0], "-test.run=^TestStandIn$", "--"}}
	tasks := newTasks(o)
	t.Cleanup(tasks.close)
	return tasks
}

// ended waits for the end of a task.
func ended(t *testing.T, tasks *Tasks, id string) *Task {
	t.Helper()
	return until(t, tasks, id, func(k *Task) bool { return !k.Ended.IsZero() })
}

func until(t *testing.T, tasks *Tasks, id string, when func(*Task) bool) *Task {
	t.Helper()
	for {
		k, changed := tasks.Watch(id)
		if k == nil {
			t.Fatal("the task is gone")
		}
		if when(k) {
			return k
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("the test ends")
		}
	}
}

func begin(t *testing.T, tasks *Tasks, spec Spec) *Task {
	t.Helper()
	if spec.Args == nil {
		spec.Args = []string{"restore", "latest"}
	}
	k, err := tasks.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestTaskEnds: however a child ends, its task says so.
func TestTaskEnds(t *testing.T) {
	for _, c := range []struct {
		mode, outcome, err, hint string
		code                     int
	}{
		{"done", "done", "", "", 0},
		{"fail", "failed", "the disk is on fire", "call the fire brigade", 1},
		{"die", "failed", `it was ended by signal "killed", as the system does where memory runs out`, "", -1},
		{"garbage", "done", "", "", 0},
		{"problems", "partly", "not everything could be read or written", "", 3},
		{"flood", "done", "", "", 0},
	} {
		t.Run(c.mode, func(t *testing.T) {
			tasks := stage(t, c.mode)
			told := make(chan Task, 1)
			k := ended(t, tasks, begin(t, tasks, Spec{Ended: func(k Task) { told <- k }}).ID)
			if k.Outcome() != c.outcome || k.Error != c.err || k.Hint != c.hint || k.Code != c.code {
				t.Errorf("%s %d, %q, %q", k.Outcome(), k.Code, k.Error, k.Hint)
			}
			if k.FilesDone != 1 || k.FilesTotal != 4 || k.BytesDone != 100 || k.BytesGot != 50 || k.Phase != "restore" {
				t.Errorf("%+v", k)
			}
			if l := <-told; l.ID != k.ID || l.Ended.IsZero() {
				t.Errorf("told %+v", l)
			}
			size := 0
			for _, r := range k.Results {
				size += len(r)
			}
			if len(k.Notes) > maxNotes || len(k.Problems) > maxNotes || len(k.Results) > maxResults || size > maxAll {
				t.Errorf("%d notes, %d problems, %d results of %d bytes", len(k.Notes), len(k.Problems), len(k.Results), size)
			}
			switch c.mode {
			case "garbage":
				if len(k.Notes) != 1 || !strings.Contains(k.Notes[0], "3 lines") || !strings.Contains(k.Notes[0], "Segmentation fault") {
					t.Errorf("%q", k.Notes)
				}
			case "flood":
				if last := k.Results[len(k.Results)-1]; string(last) != `{"event":"checked"}` {
					t.Errorf("%s", last)
				}
			case "problems":
				var r struct {
					Files   int
					Damaged []struct{ Path string }
					Total   int `json:"damaged_total"`
				}
				if err := json.Unmarshal(k.Results[0], &r); err != nil || r.Files != 3 || len(r.Damaged) != maxList || r.Total != 20_001 {
					t.Errorf("%v, %d of %d", err, len(r.Damaged), r.Total)
				}
				if k.Troubles != 1000 || k.Thaw == nil || k.Thaw.Ready != 3 || k.Thaw.ETA.IsZero() {
					t.Errorf("%d problems, thaw %+v", k.Troubles, k.Thaw)
				}
			}
		})
	}
	tasks := stage(t, "done")
	tasks.o.Program = []string{filepath.Join(t.TempDir(), "nothing")}
	if k := ended(t, tasks, begin(t, tasks, Spec{}).ID); k.Outcome() != "failed" || !strings.Contains(k.Error, "nothing") {
		t.Errorf("%s %q", k.Outcome(), k.Error)
	}
}

// TestTaskLine: what leads to a repository stands before what is no flag for sure, the passphrase only on standard input, and the line that people see is theirs.
func TestTaskLine(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv("FIRN_STAND_IN_LOG", log)
	t.Setenv("FIRN_PASSPHRASE", "of somebody")
	t.Setenv("FIRN_PASSPHRASE_FILE", "/of/somebody")
	secret := []byte("correct horse")
	place := &Place{Name: "nas", Flags: []string{"--repo", "/a b", "--endpoint=http://x"}, Secret: func(context.Context) ([]byte, error) { return secret, nil }}
	tasks := stage(t, "done")
	k := ended(t, tasks, begin(t, tasks, Spec{Place: place, Secret: true, Args: []string{"restore", "latest", "--", "-x"}}).ID)
	if want := "firn restore latest --repo '/a b' --endpoint=http://x -- -x"; k.Line != want {
		t.Errorf("%s, want %s", k.Line, want)
	}
	var said struct {
		Args, Env []string
		In        string
	}
	raw, err := os.ReadFile(log)
	if err == nil {
		err = json.Unmarshal(raw, &said)
	}
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"--config=none", "--json=events", "restore", "latest", "--repo", "/a b", "--endpoint=http://x", "--passphrase-file=-", "--", "-x"}; !slices.Equal(said.Args, want) {
		t.Errorf("%q", said.Args)
	}
	if said.In != "correct horse\n" {
		t.Errorf("standard input %q", said.In)
	}
	for _, v := range said.Env {
		if strings.HasPrefix(v, "FIRN_PASSPHRASE") || strings.Contains(v, "horse") {
			t.Errorf("the environment has %s", v)
		}
	}
	if !bytes.Equal(secret, make([]byte, len(secret))) {
		t.Error("the passphrase was not wiped")
	}
	if raw, err := json.Marshal(k.json(time.Now())); err != nil || bytes.Contains(raw, []byte("horse")) {
		t.Errorf("%s, %v", raw, err)
	}
	place.Secret = func(context.Context) ([]byte, error) { return nil, errors.New("forgotten") }
	if _, err := tasks.Start(t.Context(), Spec{Place: place, Secret: true, Args: []string{"x"}}); err == nil || err.Error() != "forgotten" || len(tasks.List()) != 1 {
		t.Errorf("%v", err)
	}
}

// TestTaskStop: who is told to stop does, or is killed.
func TestTaskStop(t *testing.T) {
	for mode, want := range map[string]string{"hang": "interrupted", "ignore": `it was ended by signal "killed"`} {
		t.Run(mode, func(t *testing.T) {
			tasks := stage(t, mode)
			tasks.grace = time.Minute
			if mode == "ignore" {
				tasks.clock = &hasty{}
			}
			k := begin(t, tasks, Spec{})
			until(t, tasks, k.ID, func(k *Task) bool { return k.Phase != "" }) // it has said something, so it knows about signals
			if !tasks.Stop(k.ID) {
				t.Error("it does not run")
			}
			k = ended(t, tasks, k.ID)
			if k.Outcome() != "stopped" || k.Error != want {
				t.Errorf("%s, %q", k.Outcome(), k.Error)
			}
			if tasks.Stop(k.ID) || tasks.Stop("nothing") {
				t.Error("stopped again")
			}
		})
	}
}

// hasty is a clock for which the first grace is over at once.
type hasty struct {
	job.System
	once sync.Once
}

func (h *hasty) After(d time.Duration) (<-chan time.Time, func()) {
	h.once.Do(func() { d = 0 })
	return h.System.After(d)
}

// TestTaskLimits: no more than some at once, one of a kind where that is wanted, and a history that does not grow.
func TestTaskLimits(t *testing.T) {
	tasks := stage(t, "hang")
	first := begin(t, tasks, Spec{Once: "a"})
	var busy *BusyError
	if _, err := tasks.Start(t.Context(), Spec{Once: "a", Args: []string{"x"}}); !errors.As(err, &busy) || busy.ID != first.ID {
		t.Errorf("%v", err)
	}
	for range maxTasks - 1 {
		begin(t, tasks, Spec{})
	}
	if _, err := tasks.Start(t.Context(), Spec{Args: []string{"x"}}); !errors.As(err, &busy) || busy.ID != "" {
		t.Errorf("%v", err)
	}
	tasks.close()
	for _, k := range tasks.List() {
		if k.Outcome() != "stopped" && k.Outcome() != "failed" { // who had not begun to listen for signals was ended by it
			t.Errorf("%s", k.Outcome())
		}
	}
	if _, err := tasks.Start(t.Context(), Spec{Args: []string{"x"}}); !errors.Is(err, errClosing) {
		t.Errorf("%v", err)
	}

	tasks = newTasks(&Options{Now: time.Now, Program: []string{filepath.Join(t.TempDir(), "nothing")}})
	for i := range maxEnded + 5 {
		ended(t, tasks, begin(t, tasks, Spec{Title: strconv.Itoa(i)}).ID)
	}
	if all := tasks.List(); len(all) != maxEnded || all[0].Spec.Title != strconv.Itoa(maxEnded+4) {
		t.Errorf("%d, %q", len(all), all[0].Spec.Title)
	}
}

// TestTaskStream passes on what a child prints, and stops it where nobody takes it.
func TestTaskStream(t *testing.T) {
	tasks := stage(t, "flood")
	var got int64
	k, err := tasks.Stream(t.Context(), Spec{Args: []string{"restore", "latest", "--tar", "-"}}, writerFunc(func(b []byte) (int, error) {
		got += int64(len(b))
		return len(b), nil
	}))
	if err != nil || k.Outcome() != "done" || got != k.BytesDone || got < 400<<16 {
		t.Errorf("%v, %s, %d bytes of %d", err, k.Outcome(), got, k.BytesDone)
	}
	k, err = tasks.Stream(t.Context(), Spec{Args: []string{"x"}}, writerFunc(func(b []byte) (int, error) { return 0, errors.New("gone") }))
	if err != nil || k.Code == 0 || k.Error == "" {
		t.Errorf("%v, %+v", err, k)
	}
	t.Setenv("FIRN_STAND_IN", "hang")
	ctx, cancel := context.WithCancel(t.Context())
	k, err = tasks.Stream(ctx, Spec{Args: []string{"x"}}, writerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil }))
	if err != nil || k.Outcome() != "stopped" {
		t.Errorf("%v, %s", err, k.Outcome())
	}
}

// deadlines remembers until when an answer may be read for and written.
type deadlines struct {
	http.ResponseWriter
	mu          sync.Mutex
	read, write time.Time
}

func (d *deadlines) Unwrap() http.ResponseWriter { return d.ResponseWriter }

func (d *deadlines) SetReadDeadline(end time.Time) error {
	d.mu.Lock()
	d.read = end
	d.mu.Unlock()
	return http.NewResponseController(d.ResponseWriter).SetReadDeadline(end)
}

func (d *deadlines) SetWriteDeadline(end time.Time) error {
	d.mu.Lock()
	d.write = end
	d.mu.Unlock()
	return http.NewResponseController(d.ResponseWriter).SetWriteDeadline(end)
}

// TestTaskEvents: a browser hears of every change until the end, and nothing hangs where it, or the site, goes.
func TestTaskEvents(t *testing.T) {
	tasks := stage(t, "hang")
	var handlers sync.WaitGroup
	began := time.Now()
	streams := make(chan *deadlines, 4)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		r.SetPathValue("id", strings.TrimPrefix(r.URL.Path, "/"))
		d := &deadlines{ResponseWriter: w, read: began, write: began}
		streams <- d
		if err := tasks.events(d, r); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	}))
	defer server.Close()
	k := begin(t, tasks, Spec{Title: "one"})
	ctx, leave := context.WithCancel(t.Context())
	open := func(ctx context.Context, id string) *http.Response {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/"+id, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	gone := open(ctx, k.ID)
	<-streams
	stays := open(t.Context(), k.ID)
	d := <-streams
	if ct := stays.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Error(ct)
	}
	lines := bufio.NewScanner(stays.Body)
	next := func(event string) taskJSON {
		t.Helper()
		for lines.Scan() {
			if lines.Text() != "event: "+event {
				continue
			}
			lines.Scan()
			var j taskJSON
			if err := json.Unmarshal([]byte(strings.TrimPrefix(lines.Text(), "data: ")), &j); err != nil {
				t.Fatal(err)
			}
			return j
		}
		t.Fatalf("no event %q: %v", event, lines.Err())
		return taskJSON{}
	}
	for next("task").Phase == "" {
	}
	leave()
	_ = gone.Body.Close()
	d.mu.Lock()
	if !d.read.IsZero() || d.write.Before(began.Add(eventLate)) { // a stream outlasts those of the server
		t.Errorf("read for until %v, written until %v", d.read, d.write)
	}
	d.mu.Unlock()
	tasks.Stop(k.ID)
	if j := next("end"); j.Outcome != "stopped" || j.Title != "one" || j.Error != "interrupted" {
		t.Errorf("%+v", j)
	}
	if lines.Scan(); lines.Scan() {
		t.Errorf("goes on: %q", lines.Text())
	}
	_ = stays.Body.Close()
	if res := open(t.Context(), "nothing"); res.StatusCode != http.StatusNotFound {
		t.Error(res.Status)
	}
	last := open(t.Context(), begin(t, tasks, Spec{}).ID)
	tasks.close()
	_, _ = io.Copy(io.Discard, last.Body)
	_ = last.Body.Close()
	handlers.Wait()
}

// TestTaskOrphan: where this process is killed its children are told to stop.
func TestTaskOrphan(t *testing.T) {
	if path := os.Getenv("FIRN_ORPHAN"); path != "" { // the process that is killed
		tasks := stage(t, "orphan")
		begin(t, tasks, Spec{})
		fmt.Println("begun")
		select {}
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("only Linux tells children of the death of their parent")
	}
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command(os.Args[0], "-test.run=^TestTaskOrphan$")
	cmd.Env = append(os.Environ(), "FIRN_ORPHAN=1", "FIRN_STAND_IN_LOG="+log)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if !bufio.NewScanner(out).Scan() {
		t.Fatal("nothing was begun")
	}
	wait := func(path string) {
		for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(path); err == nil {
				return
			}
		}
		t.Fatalf("no %s", path)
	}
	wait(log + ".ready")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	wait(log + ".stopped")
}

func TestLocalAddress(t *testing.T) {
	for address, want := range map[string]string{"/r/nas/restore?x=1": "/r/nas/restore?x=1", "": "/", "//evil": "/", `/\evil`: "/", "http://evil": "/", "/a\nb": "/", "/": "/", "/" + strings.Repeat("x", 100<<10): "/"} {
		if got := LocalAddress(address, "/"); got != want {
			t.Errorf("%.40q: %.40q", address, got)
		}
	}
}

// TestOutcomeOfJobs wants a run of jobs that was stopped, or did nothing, not told as done.
func TestOutcomeOfJobs(t *testing.T) {
	for result, want := range map[string]string{
		`{"event":"run","jobs":{"done":1}}`:                         "done",
		`{"event":"run","jobs":{"partial":1}}`:                      "stopped",
		`{"event":"run","jobs":{"skipped":1}}`:                      "skipped",
		`{"event":"run","jobs":{"skipped":1,"done":1}}`:             "done",
		`{"event":"checked","jobs":{"partial":1}}`:                  "done",
		`{"event":"run","jobs":["partial"]}`:                        "done",
		`not JSON`:                                                  "done",
		`{"event":"run","outcome":"done","missed":0,"not_due":0}`:   "done",
		`{"event":"run","jobs":{"partial":1},"outcome":"whatever"}`: "stopped",
	} {
		k := Task{Ended: time.Unix(1, 0), Results: []json.RawMessage{json.RawMessage(`{"event":"job"}`), json.RawMessage(result)}}
		if got := k.Outcome(); got != want {
			t.Errorf("%s: %s, want %s", result, got, want)
		}
	}
}
