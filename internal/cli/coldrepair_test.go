package cli_test

import (
	"strings"
	"testing"

	"firn/internal/coldtest"
)

// TestRepairCold mends packs in Deep Archive: the price is told before, nothing cold is read unthawed, and the packs lie there again.
func TestRepairCold(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 4)
	x.begin("DEEP_ARCHIVE") // with 5 % of parity
	packs := x.packs()
	if err := x.server.Change(coldBucket, packs[0], coldtest.Change{Corrupt: true}); err != nil {
		t.Fatal(err)
	}
	x.server.ForgetRequests()
	if out := x.ok("repair", "--identity", "key.txt"); !strings.Contains(out, "nothing is damaged") {
		t.Errorf("a listing shows nothing of it: %s", out)
	}
	x.untouched("a look at the listing")
	name := strings.TrimPrefix(packs[0], coldRoot)
	out, _, code := x.run("repair", name, "--identity", "key.txt")
	if code != 1 {
		t.Errorf("a plan ends with %d", code)
	}
	x.wants(out, "mend from parity", "planned", "to be thawed first", "bulk")
	x.untouched("a plan")
	x.refused(1, []string{"more than the limit"}, "repair", name, "--identity", "key.txt", "--yes", "--max-cost", "0.0000001")
	x.thaws()
	out = x.ok("repair", name, "--identity", "key.txt", "--yes", "--tier", "bulk", "--poll", "200ms")
	if !strings.Contains(out, "1 object mended") {
		t.Errorf("%s", out)
	}
	if n := len(x.requests("RestoreObject")); n != 2 {
		t.Errorf("%d requests to thaw, want that of the pack and that of its volume", n)
	}
	x.ok("restore", "latest", "--target", "out", "--identity", "key.txt", "--yes", "--poll", "200ms")
	x.same("out")
}
