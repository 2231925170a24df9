package cli_test

import (
	"bytes"
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

// newColdStream is a person who has stored the output of a program, of so many MB, in Deep Archive.
func newColdStream(t *testing.T, o coldtest.Options, size int) (*cold, []byte) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a Unix shell")
	}
	x := newCold(t, o, 0)
	content := make([]byte, size<<20)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(content)
	x.write("dump", string(content))
	x.ok("init", "--recipient", recipient, "--kit-saved", "-q", "--class", "DEEP_ARCHIVE")
	x.ok("backup", "--name", "db.sql", "-q", "--pack-size", "1M", "--", "cat", filepath.Join(x.dir, "dump"))
	x.server.ForgetRequests()
	x.server.ResetBill()
	return x, content
}

// TestColdStream: a stream says what it costs, waits for all its packs, and pays for each once.
func TestColdStream(t *testing.T) {
	t.Parallel()
	x, content := newColdStream(t, coldtest.Options{}, 6)
	to := filepath.Join(x.dir, "restored")
	command := []string{"restore", "latest", "--to-command", "cat >" + to, "--poll", "200ms"}

	plan := x.ok("restore", "latest", "--to-command", "cat", "--plan")
	x.wants(plan, "db.sql", "in DEEP_ARCHIVE: ", "bulk", "standard", "$")
	x.refused(1, []string{"nobody can be asked: Thaw it for $", "hint: add --yes"}, command...)
	x.refused(1, []string{"hint: raise --max-cost"}, append(command, "--yes", "--max-cost", "0.0001")...)
	x.thaws()
	if _, err := os.Stat(to); err == nil {
		t.Error("the command ran though nobody agreed")
	}

	x.clock.stop()
	out, errs, code := x.run(append(command, "--yes", "--detach", "--days", "40")...)
	if code != 0 || !strings.Contains(out+errs, "to come") {
		t.Fatalf("detached: code %d\n%s%s", code, out, errs)
	}
	if _, err := os.Stat(to); err == nil {
		t.Error("the command ran before anything was thawed")
	}
	if list := x.ok("thaw", "list"); !strings.Contains(list, "a command") || !strings.Contains(list, "active") {
		t.Errorf("%s", list)
	}
	x.clock.goOn()
	var result struct {
		Links int
		Thaw  struct {
			Done     bool
			Currency string
			Status   struct{ Spent float64 }
		}
	}
	raw := x.ok(append(command, "--yes", "--json")...)
	if err := json.Unmarshal([]byte(raw), &result); err != nil || result.Links != 1 || !result.Thaw.Done || result.Thaw.Status.Spent <= 0 || result.Thaw.Currency != "USD" {
		t.Errorf("%s: %v", raw, err)
	}
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
	}
	if twice, paid := x.paidTwice(); len(twice) > 0 || paid == 0 {
		t.Errorf("%d paid for, %q twice", paid, twice)
	}
	bill, said := float64(x.server.Bill().Total()), result.Thaw.Status.Spent
	if bill > said*1.05 {
		t.Errorf("it cost %v, and firn said %v", bill, said)
	}
	// What is thawed needs no job.
	x.ok("restore", "latest", "--to-command", "cmp - "+to, "--days", "40", "--poll", "200ms", "--yes")
	if twice, _ := x.paidTwice(); len(twice) > 0 {
		t.Errorf("%q paid for twice", twice)
	}
}

// TestColdStreamKill kills a stream that comes in windows at random moments. What comes out is what went in, whole or not at all, and nothing is paid for while its copy is there.
func TestColdStreamKill(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes, for seconds")
	}
	t.Parallel()
	const speed, days = 40_000.0, 40
	x, content := newColdStream(t, coldtest.Options{Hurry: speed}, 12)
	link := 4_000_000 * 10 / 7 / 86_400 / days
	to := filepath.Join(x.dir, "restored")
	// Whose giver is killed sees the end of its input, as if that were all.
	args := []string{"restore", "latest", "--to-command", fmt.Sprintf("cat >%[1]s.$$ && [ $(wc -c <%[1]s.$$) = %d ] && mv %[1]s.$$ %[1]s", to, len(content)), "--yes", "--tier", "standard", "--days", fmt.Sprint(days), "--link", fmt.Sprint(max(link, 1)), "--poll", "200ms", "-q"}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 4))
	for k := range 4 {
		cmd, errs := x.command(args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(rng.Int64N(int64(60*float64(time.Hour)/speed))) / time.Duration(1+3*(k%2))
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		t.Logf("seed %d: killed after %v: %v %s", seed, after, err, strings.TrimSpace(errs.String()))
		if _, there := os.Stat(to); err != nil && there == nil {
			if got, _ := os.ReadFile(to); !bytes.Equal(got, content) {
				t.Fatalf("%d bytes of %d stand for the whole", len(got), len(content))
			}
		}
	}
	x.ok(args...)
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
	}
	least := time.Duration(float64(9*time.Hour)/speed) + days*24*time.Hour
	last := map[string]time.Time{}
	for _, r := range x.requests("RestoreObject") {
		if before, ok := last[r.Key]; ok && r.Status == 202 && r.Time.Sub(before) < least {
			t.Errorf("%s was paid for again after %v, and its copy was there for at least %v", r.Key, r.Time.Sub(before), least)
		}
		if r.Status == 202 {
			last[r.Key] = r.Time
		}
	}
	if len(last) == 0 {
		t.Error("nothing was thawed")
	}
}
