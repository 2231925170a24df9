package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJobsUseFlagsThatExist parses the command lines that package job makes of a configuration in which everything is said.
func TestJobsUseFlagsThatExist(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "job", "testdata", "list.golden"))
	if err != nil {
		t.Fatal(err)
	}
	at := map[string][]string{ // what is added at the moment of the run
		"backup": {"--stop-after=1h30m0s", "--max-upload=123456", "--full", "--force"},
		"prune":  {"--keep-file=/var/lib/firn/jobs/prune/keep.json"},
	}
	count := 0
	for _, text := range strings.Split(string(raw), "\n\n") {
		var args []string
		for _, line := range strings.Split(text, "\n") {
			line = strings.TrimPrefix(strings.TrimSpace(strings.TrimSuffix(line, "\\")), "firn ")
			if line != "" && line[0] != '#' && !strings.HasPrefix(line, "-- ") {
				args = append(args, strings.Trim(line, "'"))
			}
		}
		if len(args) == 0 {
			continue
		}
		count++
		root := newRoot(newConsole(os.Stdin, os.Stdout, os.Stderr))
		cmd, rest, err := root.Find(append(args[:1:1], append(at[args[0]], args[1:]...)...))
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err != nil {
			t.Errorf("firn %s: %v", args[0], err)
		}
	}
	if count != 8 {
		t.Errorf("%d command lines", count)
	}
}
