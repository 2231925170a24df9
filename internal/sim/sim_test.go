package sim

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"
)

func removeAll(dir string) { _ = os.RemoveAll(dir) }

func TestWorlds(t *testing.T) {
	limit := 5 * time.Second
	seed := uint64(1)
	if text := os.Getenv("FIRN_SIM_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed, limit = n, 0
	}
	if text := os.Getenv("FIRN_SIM_TIME"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	var all Counts
	for start := time.Now(); ; seed++ {
		o := Options{Seed: seed}
		if testing.Verbose() {
			o.Trace = func(line string) { t.Log(line) }
		}
		counts, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		all.Add(counts)
		if time.Since(start) >= limit {
			break
		}
	}
	t.Logf("up to seed %d: %d operations: %+v", seed, all.Operations(), all)
}
