package job

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/config"
)

// fakeRunner runs a job again and again, in FIRN_FAKE_RUNNER as its folder, until it is killed.
func fakeRunner() int {
	c := &config.Config{Repositories: []*config.Repository{{Name: "main", Location: "/repo"}}, Run: config.Run{Reports: 3},
		Sources: []*config.Source{{Name: "job", Repository: "main", Kind: "dir", Rest: "/fake/" + os.Getenv("FIRN_FAKE_MODE")}}}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FIRN_FAKE_RUNNER=") })
	r := New(Options{Config: c, Dir: os.Getenv("FIRN_FAKE_RUNNER"), Program: []string{os.Args[0]}, Env: func() []string { return append(env, "FIRN_FAKE=1") }})
	for range 200 {
		r.Run(context.Background(), r.Plan(r.Jobs(), Wish{Forced: true}))
	}
	return 0
}

// TestKilled kills a runner at any moment: its ledger can be read, its lock is free, and the next run goes well.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	w.source("job", "daily 02:30").Rest = "/fake/ok"
	w.make()
	dir := filepath.Join(w.dir, "job")
	random := rand.New(rand.NewPCG(7, 7))
	for n := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "FIRN_FAKE_RUNNER="+w.dir, "FIRN_FAKE_MODE=ok")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.IntN(60_000)) * time.Microsecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		l, err := take(dir, "job", time.Now(), time.Sleep)
		for range 300 { // what it was just starting has it for a moment
			if err == nil {
				break
			}
			l, err = take(dir, "job", time.Now(), time.Sleep)
		}
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		l.release()
		b := w.r.book(&w.r.jobs[0])
		b.note = func(err error) { t.Logf("%d: %v", n, err) }
		b.read()
		found, _ := filepath.Glob(filepath.Join(dir, "reports", "*.json"))
		for _, path := range found {
			raw, err := os.ReadFile(path)
			if err != nil || !json.Valid(raw) {
				t.Errorf("%d: %s: %v", n, path, err)
			}
		}
	}
	w.clock.now = time.Now()
	if rep := w.run(Wish{Forced: true})["job"]; rep.Outcome != Done || len(rep.Warnings) != 0 {
		t.Errorf("%+v", rep)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".tmp-*")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// TestCutOff finds a run that never ended.
func TestCutOff(t *testing.T) {
	w := newWorld(t, "ok")
	j := &w.r.jobs[0]
	w.run(Wish{})
	w.r.book(j).add(Record{Line: lineBegin, Start: start, PID: 1})
	s := w.r.Status(w.r.Jobs(), 0)[0]
	if !s.CutOff || s.State != DueNow {
		t.Errorf("%+v", s)
	}
	if rep := w.run(Wish{Scheduled: true})["ok"]; rep.Outcome != Done || rep.Cause != GoesOn {
		t.Errorf("%+v", rep)
	}
	if s := w.r.Status(w.r.Jobs(), 0)[0]; s.CutOff || s.State != OK {
		t.Errorf("%+v", s)
	}
}

// TestDamaged reads ledgers in which lines are torn, foreign or nonsense, and those that were compacted.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	var notes []error
	b := &book{dir: dir, of: "this", note: func(err error) { notes = append(notes, err) }}
	other := &book{dir: dir, of: "that", note: b.note}
	at := func(h int) time.Time { return start.Add(time.Duration(h) * time.Hour) }
	b.add(Record{Line: lineEnd, Start: at(0), End: at(1), Outcome: Done, Amounts: Amounts{Sent: 10}, Repo: "r", Month: "2026-02"})
	other.add(Record{Line: lineEnd, Start: at(2), End: at(3), Outcome: Failed})
	for _, raw := range []string{"{\"v\":1,\"line\":\"end\",\"of\":\"this\",\"sta", "\n\x00\x00\x00\n[1]\nnull\n{\"v\":9,\"line\":\"end\"}\n" + strings.Repeat("z", maxLine*3)} {
		f, err := os.OpenFile(b.current(), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.WriteString(raw)
		_ = f.Close()
		b.add(Record{Line: lineEnd, Start: at(4), End: at(5), Outcome: Done, Amounts: Amounts{Sent: 5}, Repo: "r", Month: "2026-02"})
	}
	h := b.read()
	if h.Runs != 3 || h.Failures != 0 || !h.Served.Equal(at(4)) || len(notes) == 0 || h.Sent[0].Bytes != 20 {
		t.Fatalf("%+v, %v", h, notes)
	}
	b.compact()
	notes = nil
	again := b.read()
	raw, _ := os.ReadFile(b.current())
	if again.Runs != 3 || !again.Served.Equal(h.Served) || len(notes) != 0 || len(raw) > 4<<10 || sentIn(filepath.Dir(dir), "r", "2026-02") != 20 {
		t.Fatalf("%+v, %v, %d bytes", again, notes, len(raw))
	}
	b.add(Record{Line: lineEnd, Start: at(6), End: at(7), Outcome: Failed})
	if err := os.WriteFile(b.current(), append([]byte("damaged"), mustRead(t, b.current())...), 0o600); err != nil {
		t.Fatal(err)
	}
	if h := b.read(); h.Runs != 4 || h.Failures != 1 || !h.Full.Equal(at(0)) {
		t.Errorf("with its sum damaged: %+v", h)
	}
	for n := range 400 {
		b.compact()
		b.add(Record{Line: lineEnd, Start: at(8 + n), End: at(9 + n), Outcome: Done, Error: strings.Repeat("e", 5000)})
	}
	if info, _ := os.Stat(b.current()); info.Size() > compactAbove+4<<10 {
		t.Errorf("%d bytes", info.Size())
	}
	if h := b.read(); h.Runs != 404 {
		t.Errorf("%d runs", h.Runs)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// FuzzLedger reads anything.
func FuzzLedger(f *testing.F) {
	f.Add([]byte(`{"v":1,"line":"end","of":"x","start":"2026-02-03T12:00:00Z","outcome":"done"}` + "\n"))
	f.Add([]byte(`{"v":1,"line":"sum","of":"x","sum":{"runs":3}}` + "\n{"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := t.TempDir()
		b := &book{dir: dir, of: "x", note: func(error) {}}
		if err := os.WriteFile(b.current(), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		c := &clockwork{now: start, loc: time.UTC, catchUp: true}
		j := &Job{Name: "x", Timing: config.Timing{Schedule: parse(t, "daily 02:30")}}
		before := b.read()
		c.decide(j, before, Wish{})
		b.add(Record{Line: lineEnd, Start: start, End: start, Outcome: Done})
		if h := b.read(); h.Runs != before.Runs+1 || !h.Served.Equal(start) {
			t.Errorf("%+v after %+v", h, before)
		}
		sentBy(dir, "x", "2026-02")
	})
}
