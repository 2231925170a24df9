package cli_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestDrillFull has no room for the sample: that is said before anything is fetched. Then it runs full on the way: nothing is left, nothing is recorded, and with room it goes well.
func TestDrillFull(t *testing.T) {
	h := &cold{hurt: newFull(t)}
	h.hurt.begin()
	h.ok("backup", "src", "-q")
	grow := small(t, filepath.Join(h.dir, "disk"), "17m")
	_, errs := h.refused(1, []string{"hint: name a folder on a larger disk with --scratch"}, "drill", "src", "--scratch", "disk")
	h.wants(errs, "the sample takes")
	grow("size=25m", 0)
	h.wants(h.ok("drill", "src", "--scratch", "disk"), "proven: 6 of 6 files")
	left, err := filepath.Glob(filepath.Join(h.dir, "disk", "*"))
	if err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	if out := h.ok("snapshots"); strings.Count(out, "recovery proven") != 1 {
		t.Error(out)
	}
}
