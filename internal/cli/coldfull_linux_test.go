package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/coldtest"
)

// TestColdFull fills the disk that is restored to, that a manifest is written to, and that state lies on. The same command goes on once there is room, and pays for nothing again.
func TestColdFull(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 6)
	x.begin("DEEP_ARCHIVE")
	grow := small(t, filepath.Join(x.dir, "disk"), "3m")
	x.write("disk/rest", strings.Repeat("x", 3<<20))
	x.refused(1, []string{"no space left on device", "hint: make room"}, "thaw", "latest", "--batch-manifest", "disk/m.csv")
	if _, err := os.Lstat(filepath.Join(x.dir, "disk/m.csv")); err == nil {
		t.Error("half a manifest is left")
	}
	if err := os.Remove(filepath.Join(x.dir, "disk/rest")); err != nil {
		t.Fatal(err)
	}
	out, errs := x.refused(1, []string{"no space left on device", "hint: make room on that disk, then run the same command again"}, restoreAll("disk/out")...)
	t.Log(out, errs)
	x.wants(x.ok("thaw", "list"), "active")
	x.refused(1, []string{"nothing has to be asked for"}, "thaw", "latest", "--batch-manifest", "m.csv")
	grow("size=40m", 0)
	out, errs = x.refused(0, []string{"going on with job"}, restoreAll("disk/out")...)
	t.Log(out, errs)
	x.same("disk/out")
	if twice, paid := x.paidTwice(); len(twice) > 0 || paid != len(x.packs()) {
		t.Errorf("%d paid for, %q twice", paid, twice)
	}

	// State on a full disk.
	small(t, filepath.Join(x.dir, "state2"), "16k")
	x.write("state2/rest", strings.Repeat("x", 12<<10))
	y := *x
	y.hurt = &hurt{terminal: x.set("FIRN_STATE_DIR", x.dir+"/state2")}
	out, errs = y.refused(0, []string{"going on without"}, restoreAll("out3")...)
	t.Log(out, errs)
	x.same("out3")
}
