//go:build unix

package cli

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestBrowserLearnsNothing: what shows the link gets it by a file of this user alone, and neither that nor a secret in its arguments and environment.
func TestBrowserLearnsNothing(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("the program that opens links has a place of its own there")
	}
	dir := t.TempDir()
	told := filepath.Join(dir, "told")
	if err := syscall.Mkfifo(told, 0o600); err != nil { // reading waits for who writes
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\n{ echo \"args: $*\"; env; echo mode: $(ls -l \"$1\"); cat \"$1\"; } > '"+told+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("FIRN_STATE_DIR", filepath.Join(dir, "state"))
	for _, name := range []string{"FIRN_PASSPHRASE", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		t.Setenv(name, "correct horse")
	}
	done := openBrowser("http://127.0.0.1:1/enter?token=once")
	raw, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	before, page, _ := strings.Cut(string(raw), "mode: ")
	if !strings.HasPrefix(page, "-rw-------") || !strings.Contains(page, "token=once") || !strings.Contains(before, "PATH=") {
		t.Errorf("%s", raw)
	}
	if strings.Contains(before, "horse") || strings.Contains(before, "once") {
		t.Errorf("it was told: %s", before)
	}
	done()
	if left, _ := filepath.Glob(filepath.Join(dir, "state", "ui", "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
