package logs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"firn/internal/units"
)

const child = "FIRN_TEST_LOG_CHILD"

// TestProcesses has several processes write to one file, which rotates all the time, and finds every line whole, once, and those of each process in order.
func TestProcesses(t *testing.T) {
	const processes, each = 4, 300
	if who := os.Getenv(child); who != "" {
		l, done := open(t, Options{File: os.Getenv(child + "_FILE"), MaxSize: 4 * units.KiB, Keep: 1000, Note: func(text string) { t.Error(text) }})
		for i := range each {
			l.Info("line", "who", who, "n", i, "end", "yes")
		}
		done()
		return
	}
	name := filepath.Join(t.TempDir(), "firn.log")
	var running []*exec.Cmd
	for i := range processes {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProcesses$", "-test.count=1")
		cmd.Env = append(os.Environ(), child+"="+strconv.Itoa(i), child+"_FILE="+name)
		out := &strings.Builder{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, cmd.Stdout)
		}
	}
	found, err := filepath.Glob(name + "*")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	files := 0
	for _, f := range found {
		if strings.HasSuffix(f, ".lock") {
			continue
		}
		files++
		last := map[string]int{}
		for one := range strings.SplitSeq(strings.TrimSuffix(read(t, f), "\n"), "\n") {
			var who, n int
			_, rest, ok := strings.Cut(one, " who=")
			if _, err := fmt.Sscanf(rest, "%d n=%d end=yes", &who, &n); !ok || err != nil || !strings.HasPrefix(one, "time=") {
				t.Fatalf("%s: torn: %q", f, one)
			}
			key := strconv.Itoa(who)
			if before, ok := last[key]; ok && n <= before {
				t.Errorf("%s: %d of process %d after %d", f, n, who, before)
			}
			last[key] = n
			seen[key+"-"+strconv.Itoa(n)]++
		}
	}
	if len(seen) != processes*each || files < 2 && runtime.GOOS != "windows" { // where nothing moves that others have open
		t.Errorf("%d lines of %d in %d files", len(seen), processes*each, files)
	}
	for key, n := range seen {
		if n != 1 {
			t.Errorf("%s: %d times", key, n)
		}
	}
}

// TestLocked has somebody hold the lock: lines go on, the file grows, and rotates once the lock is free.
func TestLocked(t *testing.T) {
	name := filepath.Join(t.TempDir(), "firn.log")
	lock, err := os.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if !tryLock(lock) {
		t.Fatal("not locked")
	}
	l, _ := open(t, Options{File: name, MaxSize: 4 * units.KiB, Keep: 1})
	for i := range 200 {
		l.Info("line", "n", i)
	}
	if strings.Count(read(t, name), "\n") != 200 {
		t.Error("lines are missing while it is locked")
	}
	_ = lock.Close()
	l.Info("line")
	if strings.Count(read(t, name), "\n") != 1 || strings.Count(read(t, name+".1"), "\n") != 200 {
		t.Error("not rotated after it was free")
	}
}
