package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/sim"
)

// TestReplay: a failure is told as lines that can be played again.
func TestReplay(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), []string{"-for", "0", "-seed", "7", "-bug", string(sim.Leaks), "-shrink", "20s"}, &out)
	var v *sim.Violation
	if !errors.As(err, &v) || !strings.Contains(out.String(), "1 worlds") {
		t.Fatalf("%v\n%s", err, out.String())
	}
	var lines bytes.Buffer
	for _, s := range v.Steps {
		if err := json.NewEncoder(&lines).Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "steps.json")
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"-replay", file, "-seed", "7", "-bug", string(sim.Leaks), "-shrink", "0"}, &out); !errors.As(err, &v) {
		t.Errorf("played again: %v", err)
	}
	if err := run(t.Context(), []string{"-for", "0", "-seed", "7", "-steps", "5", "-v"}, &out); err != nil {
		t.Error(err)
	}
}

func TestMany(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-for", "1s", "-workers", "2", "-steps", "10"}, &out); err != nil || !strings.Contains(out.String(), "operations") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
