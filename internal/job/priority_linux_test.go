package job

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestLowPriority starts a process that steps back, and looks at what that starts.
func TestLowPriority(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FIRN_FAKE_LOW=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if fields := strings.Fields(string(out)); len(fields) < 19 || fields[18] != "10" { // proc(5): nice
		t.Errorf("a child has nice %q", out)
	}
}
