package cli_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"firn/internal/coldtest"
)

// drilled is what a drill says of a source.
type drilled struct {
	Outcome  string  `json:"outcome"`
	Seed     string  `json:"seed"`
	Files    int64   `json:"files"`
	Matched  int64   `json:"matched"`
	Packs    int64   `json:"packs"`
	TooDear  int64   `json:"too_dear"`
	Cost     float64 `json:"cost"`
	Recorded bool    `json:"recorded"`
}

func (x *cold) drilled(out string) (d drilled) {
	x.t.Helper()
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		x.t.Fatalf("%v in %q", err, out)
	}
	return d
}

// TestDrillCold drills what lies in Deep Archive: nothing is asked for before somebody agreed, never more than the money allows, and the bill is what was said.
func TestDrillCold(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 12)
	x.begin("DEEP_ARCHIVE")
	packs := len(x.packs())
	x.server.ForgetRequests()
	x.refused(1, []string{"--yes"}, "drill", "--files", "2")
	x.refused(1, []string{"no file of the snapshot fits", "raise --bytes or --max-cost"}, "drill", "--files", "2", "--max-cost", "0", "--yes")
	x.untouched("drills that nobody agreed to")
	if thaws := x.requests("RestoreObject"); len(thaws) > 0 {
		t.Errorf("%d thaws", len(thaws))
	}
	x.server.ResetBill()
	d := x.drilled(x.ok("drill", "--files", "3", "--yes", "--poll", "200ms", "--json"))
	if d.Outcome != "proven" || d.Files != 3 || d.Matched != 3 || !d.Recorded {
		t.Errorf("%+v", d)
	}
	asked := len(x.requests("RestoreObject"))
	if asked == 0 || asked >= packs {
		t.Errorf("%d thaws of %d packs", asked, packs)
	}
	x.wants(x.elsewhere("there").ok("snapshots"), "recovery proven", "3 of 17 files (18 %)")
}

// TestDrillMoney: what a sample costs stays below the limit, however many files are asked for.
func TestDrillMoney(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 12)
	x.begin("DEEP_ARCHIVE")
	packs := len(x.packs())
	x.server.ForgetRequests()
	d := x.drilled(x.ok("drill", "--share", "100%", "--yes", "--max-cost", "0.001", "--poll", "200ms", "--json"))
	asked := len(x.requests("RestoreObject"))
	t.Logf("%+v, %d thaws", d, asked)
	if d.Outcome != "proven" || d.Files == 0 || d.Files >= 17 || d.Cost > 0.001 || asked == 0 || asked >= packs || int64(asked) > d.Packs || !d.Recorded {
		t.Errorf("%+v, %d thaws", d, asked)
	}
	x.server.ForgetRequests()
	x.refused(1, []string{"too dear"}, "drill", "--share", "100%", "--yes", "--max-cost", "0", "-q")
	if asked := x.requests("RestoreObject"); len(asked) > 0 {
		t.Errorf("%d thaws for nothing", len(asked))
	}
}

// TestDrillKilled kills the real program at random moments of a drill that has to wait for thaws, and runs the same command again: the sample stays the same, nothing is paid for
// twice, no scratch folder is left.
func TestDrillKilled(t *testing.T) {
	if runtime.GOOS == "windows" || testing.Short() {
		t.Skip("kills processes, for seconds")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	x := newCold(t, coldtest.Options{Hurry: 40_000, Seed: seed}, 10)
	x.begin("DEEP_ARCHIVE")
	x.server.ForgetRequests()
	args := []string{"drill", "--files", "5", "--yes", "--scratch", "scratch", "--tier", "standard", "--poll", "200ms", "--json"}
	for range 4 {
		cmd, errs := x.command(args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(50+rng.IntN(700)) * time.Millisecond)
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err == nil {
			t.Logf("ended before it was killed: %s", errs)
		}
	}
	d := x.drilled(x.ok(args...))
	if d.Outcome != "proven" || d.Matched != 5 {
		t.Errorf("%+v", d)
	}
	if twice, paid := x.paidTwice(); len(twice) > 0 || paid == 0 {
		t.Errorf("%d paid for, twice: %q", paid, twice)
	}
	left, err := filepath.Glob(filepath.Join(x.dir, "scratch", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %q %v", left, err)
	}
}

// TestDrillDetach comes back later: code 3 while packs are being thawed, then 0.
func TestDrillDetach(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 4)
	x.begin("DEEP_ARCHIVE")
	args := []string{"drill", "--files", "2", "--yes", "--detach"}
	x.clock.stop()
	out, _ := x.refused(3, nil, args...)
	x.clock.goOn()
	x.wants(out, "waiting for packs to be thawed; run the same command again")
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		cmd, errs := x.command(args...)
		raw, err := cmd.Output()
		if err == nil {
			x.wants(string(raw), "proven: 2 of 9 files")
			return
		}
		if cmd.ProcessState.ExitCode() != 3 {
			t.Fatalf("%s%s", raw, errs)
		}
	}
	t.Error("never came to an end")
}

// TestDrillSources drills all sources; the worst outcome is that of the command, and each is recorded.
func TestDrillSources(t *testing.T) {
	h := &cold{hurt: newHurt(t)}
	h.terminal = h.set("FIRN_IDENTITY", "key.txt")
	for i := range 3 {
		h.write(fmt.Sprintf("more/%d", i), strings.Repeat("more ", 1000+i))
	}
	h.ok("backup", "more", "-q", "--tag", "x")
	out := h.ok("drill")
	if strings.Count(out, "proven: 3 of 3 files") != 2 {
		t.Error(out)
	}
	out = h.ok("drill", "more", "--snapshot", "latest", "--max-cost", "1")
	if strings.Count(out, "\n") != 1 {
		t.Error(out)
	}
	packs := h.objects("whole", "data")
	if err := os.Remove(packs[len(packs)-1]); err != nil {
		t.Fatal(err)
	}
	out, errs := h.refused(1, []string{"recovery is not proven"}, "drill")
	if !strings.Contains(out, "src: proven") || !strings.Contains(out, "more: NOT PROVEN") || !strings.Contains(errs, "not restorable: pack data/") {
		t.Error(out, errs)
	}
	out = h.ok("snapshots")
	if !strings.Contains(out, "src: recovery proven") || !strings.Contains(out, "more: recovery NOT PROVEN") {
		t.Error(out)
	}
}
