package job

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLowPriority starts a process that steps back, and looks at what that starts.
func TestLowPriority(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FIRN_FAKE_LOW=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	// These tests may give way already. The system call answers 20 minus the nice value.
	want := max(lowNice, 20-own)
	if fields := strings.Fields(string(out)); len(fields) < 19 || fields[18] != strconv.Itoa(want) { // proc(5): nice
		t.Errorf("a child has nice %q, want %d", out, want)
	}
}
