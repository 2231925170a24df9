package cli_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"firn/internal/coldtest"
	"firn/internal/price"
)

// killedJob is a restore that is killed now and then.
type killedJob struct {
	*cold
	speed float64
	days  int
	kills int
	args  []string
}

// TestColdKill kills the real program with SIGKILL at random moments of a thaw and restore that takes about three days of the server's time, in several windows,
// and runs the same command again. What comes out is what went in, and nothing is paid for while its copy is there or on its way. FIRN_KILLS says how often
// (default 6), and then more slowly.
func TestColdKill(t *testing.T) {
	if runtime.GOOS == "windows" || testing.Short() {
		t.Skip("kills processes, for seconds")
	}
	t.Parallel()
	kills, speed := 6, 40_000.0
	if n, err := strconv.Atoi(os.Getenv("FIRN_KILLS")); err == nil {
		kills, speed = n, 13_000
	}
	seed := uint64(time.Now().UnixNano())
	var undisturbed price.Money
	t.Run("undisturbed", func(t *testing.T) {
		j := newKilledJob(t, speed, 40, 0, seed)
		undisturbed = j.live(rand.New(rand.NewPCG(seed, 1)))
	})
	t.Run("killed", func(t *testing.T) {
		for round := 0; kills > 0; round++ {
			n := min(kills, 1+round%4)
			kills -= n
			days := 40
			if round%3 == 2 {
				days = 1 // copies expire before they are fetched
			}
			t.Run(fmt.Sprintf("%d kills %d days %d", round, n, days), func(t *testing.T) {
				t.Parallel()
				j := newKilledJob(t, speed, days, n, seed+uint64(round))
				bill := j.live(rand.New(rand.NewPCG(seed, uint64(round)+2)))
				t.Logf("bill %v, undisturbed %v", bill, undisturbed)
			})
		}
	})
}

func newKilledJob(t *testing.T, speed float64, days, kills int, seed uint64) *killedJob {
	j := &killedJob{cold: newCold(t, coldtest.Options{Hurry: speed, Seed: seed}, 16), speed: speed, days: days, kills: kills}
	j.begin("DEEP_ARCHIVE")
	// A window is what this link brings home in a good half of the days: about a fifth of all.
	link := 3_500_000 * 10 / 7 / 86_400 / days
	j.args = []string{"restore", "latest", "--target", "out", "--yes", "--tier", "standard", "--days", strconv.Itoa(days), "--link", strconv.Itoa(max(link, 1)), "--poll", "200ms", "-q"}
	j.server.ResetBill()
	j.server.ForgetRequests()
	return j
}

// live kills the job at random moments, then lets it end, and returns the bill.
func (j *killedJob) live(rng *rand.Rand) price.Money {
	whole := time.Duration(70 * float64(time.Hour) / j.speed)
	began := time.Now()
	for k := range j.kills {
		cmd, errs := j.command(j.args...)
		if err := cmd.Start(); err != nil {
			j.t.Fatal(err)
		}
		after := time.Duration(rng.Int64N(int64(whole) / int64(j.kills)))
		if k%2 == 1 {
			after /= 5 // in the middle of its beginning
		}
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		if j.days == 1 && k%2 == 0 {
			j.clock.leap(time.Duration(rng.Int64N(int64(90 * time.Hour)))) // copies are kept for a day or two
		}
		j.t.Logf("killed after %v: %s", after, strings.TrimSpace(errs.String()))
	}
	j.ok(j.args...)
	j.t.Logf("took %v", time.Since(began))
	j.same("out")
	j.checkPaid()
	return j.server.Bill().Total()
}

// checkPaid wants whatever was paid for once more to have expired before.
func (j *killedJob) checkPaid() {
	least := time.Duration(float64(9*time.Hour)/j.speed) + time.Duration(j.days)*24*time.Hour
	last := map[string]time.Time{}
	windows, again := 0, 0
	var at time.Time
	for _, r := range j.server.Requests() {
		if r.Operation != "RestoreObject" || r.Status != 202 {
			continue
		}
		if before, ok := last[r.Key]; ok {
			again++
			if r.Time.Sub(before) < least {
				j.t.Errorf("%s was paid for again after %v, and its copy was there for at least %v", r.Key, r.Time.Sub(before), least)
			}
		}
		last[r.Key] = r.Time
		if r.Time.Sub(at) > time.Duration(float64(time.Hour)/j.speed) {
			windows++
		}
		at = r.Time
	}
	if windows < 3 {
		j.t.Errorf("asked for in %d windows", windows)
	}
	paid := []string{}
	for key := range last {
		paid = append(paid, key)
	}
	slices.Sort(paid)
	stored := slices.DeleteFunc(j.keys("data/"), func(key string) bool { return strings.HasSuffix(key, ".par2") })
	if n := len(stored); n != len(paid) {
		j.t.Errorf("%d of %d packs were paid for", len(paid), n)
	}
	j.t.Logf("%d packs in %d windows, %d of them again since they had expired", len(paid), windows, again)
}
