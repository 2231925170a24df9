//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSyncBench takes programs that do next to nothing through all phases.
func TestSyncBench(t *testing.T) {
	dir := t.TempDir()
	tool := filepath.Join(dir, "tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	failing := filepath.Join(dir, "failing")
	if err := os.WriteFile(failing, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	args := []string{"--dir", dir, "--firn", tool, "--tool", "s5cmd=" + failing, "--small", "5", "--large", "1", "--large-size", "1", "--unchanged", "5", "--rounds", "2", "--settle", "0s", "--only", "firn,s5cmd/small,s5cmd/large"}
	if err := runSync(t.Context(), args, &out, &log); err != nil {
		t.Fatal(err, log.String())
	}
	for _, want := range []string{"small", "large", "unchanged", "s5cmd failed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "rclone") || strings.Count(log.String(), "unchanged s5cmd") != 0 {
		t.Error(out.String(), log.String())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "sync-work*")); len(left) > 0 {
		t.Error("the folder of servers is still there")
	}
	if _, err := parseSyncOptions([]string{"--server", "other"}, &log); err == nil {
		t.Error("a server that does not exist was taken")
	}
}
