package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestJSONIsDocumented runs commands with --json and looks up each event and each of its members in docs/JSON.md, so that none is added or
// renamed in silence.
func TestJSONIsDocumented(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "JSON.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"event": true}
	for _, m := range regexp.MustCompile("`([a-z_ ]+)`").FindAllStringSubmatch(string(raw), -1) {
		known[m[1]] = true
	}
	h := newHurt(t)
	h.terminal = h.set("FIRN_IDENTITY", "key.txt")
	for _, command := range []string{
		"snapshots --all", "find file*", "find file0 --all-snapshots", "diff latest~1 latest", "restore latest --target out", "restore latest --plan", "restore latest --target out2 --dry-run",
		"cost", "doctor", "transition --dry-run", "retention explain --keep-daily 2", "retention explain --cycle hanoi,discs=2,archive-oldest=yes --price-region aws/us-east-1", "backup src --cycle hanoi,discs=2,frequency=3660", "thaw latest", "backup src", "backup src --dry-run", "backup src --force-read --json=events", "keys list", "keys add --recipient " + recipient2, "keys hosts", "keys kit", "keys write-only --host web --output web.key",
		"keys revoke web --reason test", "keys hosts", "backup --name made --command true", "source kinds", "source list", "source rename src docs", "cache show", "cache trim", "version", "init other --kit-saved --recipient " + recipient,
		"init second --like whole/repo", "copy second --dry-run", "copy second",
	} {
		out := h.ok(append(strings.Fields(command), "--json")...)
		if strings.Contains(command, "events") {
			out = h.ok(strings.Fields(command)...)
		}
		for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
			var o map[string]any
			if err := json.Unmarshal([]byte(line), &o); err != nil {
				t.Errorf("%s: %v in %s", command, err, line)
				continue
			}
			if event, _ := o["event"].(string); !known[event] {
				t.Errorf("%s: event %q", command, event)
			}
			for member := range o {
				if !known[member] && !known[strings.TrimSuffix(member, "_b64")] {
					t.Errorf("%s: member %q", command, member)
				}
			}
		}
	}
}
