package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTwiceAtOnce backs one source up by two processes at once. On one machine the second is told to wait; on two that have the same key, as
// cloned containers do, both end well, and what they made restores.
func TestTwiceAtOnce(t *testing.T) {
	h := newHurt(t)
	h.copyOf("one")
	h.copyOf("two")
	if err := os.RemoveAll(filepath.Join(h.dir, "two", "repo")); err != nil {
		t.Fatal(err)
	}
	h.at("one")
	other := h.set("FIRN_STATE_DIR", filepath.Join(h.dir, "two", "state")).set("FIRN_CACHE_DIR", filepath.Join(h.dir, "two", "cache"))
	h.write("src/file3", strings.Repeat("both see this ", 5000))
	for round := range 5 {
		h.write("src/changing", strings.Repeat(string(rune('a'+round)), 5000))
		first, errs1 := h.command("backup", "src", "--force-read")
		second, errs2 := other.command("backup", "src", "--force-read")
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		if err := second.Start(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(first.Wait(), second.Wait()); err != nil {
			t.Fatalf("%v\n%s%s", err, errs1, errs2)
		}
		for _, said := range []string{errs1.String(), errs2.String()} {
			if strings.Contains(said, "error") {
				t.Errorf("round %d: %s", round, said)
			}
		}
		h.restores(0, "latest", "out"+string(rune('a'+round)))
	}
	lines := strings.Split(strings.TrimSpace(h.ok("snapshots")), "\n")[1:]
	if len(lines) != 3+10 {
		t.Errorf("%d snapshots:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		id, _, _ := strings.Cut(line, " ")
		if out, errs, code := h.run("restore", id, "--target", "all/"+id, "--identity", "key.txt"); code != 0 {
			t.Errorf("%s: code %d\n%s%s", id, code, out, errs)
		}
	}
	h.ok("backup", "src")
	other.ok("backup", "src")
}
