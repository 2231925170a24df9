package metamorphic

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"firn/internal/format"
	"firn/internal/frame"
)

// How long a test goes on with new seeds if nothing else is asked for.
const usualTime = 3 * time.Second

// seeds calls fn with one seed after another until the time is over, or with the one that is asked for.
func seeds(t *testing.T, fn func(t *testing.T, seed uint64)) {
	if text := os.Getenv("FIRN_METAMORPHIC_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		fn(t, seed)
		return
	}
	limit, seed := usualTime, uint64(1)
	if text := os.Getenv("FIRN_METAMORPHIC_TIME"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
		seed = uint64(time.Now().UnixNano())
	}
	for start := time.Now(); time.Since(start) < limit && !t.Failed(); seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { fn(t, seed) })
	}
}

const (
	failures = "put * before p=0.04\nput * after p=0.04\nput * torn p=0.03\nget * before p=0.02\nget * torn p=0.02\nlist * before p=0.03\nlist * torn p=0.03\nstat * before p=0.05"
	rare     = "put * before p=0.01\nput * after p=0.02\nget * before p=0.01\nlist * before p=0.02\nstat * before p=0.02"
)

func variants() []settings {
	small := sizes(64<<10, 128<<10, 512<<10, 16<<10, 128<<10)
	padded := sizes(64<<10, 96<<10, 256<<10, 4<<10, 64<<10)
	padded.Padding = true
	hybrid := sizes(128<<10, 256<<10, 1<<20, 64<<10, 256<<10)
	hybrid.Hybrid = true
	parity := small
	parity.Parity = format.Parity{Data: 20, Meta: 10}
	return []settings{
		{name: "plain", cache: "keep"},
		{name: "small-packs", init: small, pack: 100_000, workers: 1, flush: 1, cache: "keep", tables: true},
		{name: "padded-lost-caches", init: padded, pack: 300_000, workers: 4, cache: "lose", level: frame.Default},
		{name: "hybrid-spooled-nested", init: hybrid, pack: 400_000, workers: 2, spool: true, memory: 1, cache: "keep", nested: true, level: frame.Best},
		{name: "cancelled", init: small, pack: 200_000, workers: 2, flush: 1, cache: "keep", stop: "cancel", tables: true, nested: true},
		{name: "killed", init: small, pack: 150_000, workers: 4, flush: 2, cache: "keep", stop: "kill", tables: true},
		{name: "killed-spooled-full", init: padded, pack: 150_000, workers: 2, cache: "lose", stop: "kill", spool: true, full: true},
		{name: "blind-killed", init: small, pack: 250_000, workers: 2, flush: 1, cache: "none", stop: "kill", blind: true},
		{name: "faults-retried", init: small, pack: 200_000, workers: 4, flush: 1, cache: "keep", spool: true, faults: failures, retry: true},
		{name: "faults", init: small, pack: 120_000, workers: 2, flush: 1, cache: "keep", faults: rare, nested: true, tables: true},
		{name: "faults-two-hosts", init: small, pack: 200_000, workers: 2, flush: 3, cache: "lose", spool: true, faults: rare, hosts: 2},
		{name: "streams-killed", init: small, pack: 300_000, streams: 1, workers: 4, flush: 2, cache: "keep", spool: true, stop: "kill", tables: true},
		{name: "streams-cold-cancelled", init: padded, pack: 0, workers: 2, flush: 1, cache: "keep", spool: true, stop: "cancel", cold: "FROST", nested: true},
		{name: "streams-faults", init: small, pack: 250_000, streams: 1, workers: 3, flush: 1, cache: "lose", spool: true, faults: rare, full: true},
		{name: "streams-into-store", init: small, pack: 400_000, streams: 1, workers: 4, flush: 2, cache: "keep", stop: "kill"},
		{name: "parity-killed", init: parity, pack: 200_000, workers: 2, flush: 1, cache: "keep", stop: "kill", tables: true},
		{name: "parity-spooled-faults", init: parity, pack: 200_000, streams: 1, workers: 2, flush: 2, cache: "lose", spool: true, faults: rare, nested: true},
		{name: "two-hosts-killed", init: padded, pack: 250_000, workers: 1, cache: "keep", stop: "kill", hosts: 2, tables: true, nested: true, full: true},
	}
}

// TestHistories backs the same random history up under all settings; each done snapshot restores to the tree as it was.
func TestHistories(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		base := t.TempDir()
		rng := rand.New(rand.NewPCG(seed, 0))
		x := newTree(t, rng, filepath.Join(base, "src"))
		var worlds []*world
		for _, s := range variants() {
			worlds = append(worlds, newWorld(t, seed, s, base, x.root))
		}
		rounds := 4
		if os.Getenv("FIRN_METAMORPHIC_TIME") != "" {
			rounds = 2 + rng.IntN(10)
		}
		for range rounds {
			for range 5 + rng.IntN(40) {
				x.step()
			}
			if rng.IntN(3) > 0 {
				time.Sleep(15 * time.Millisecond) // else changes fall into the moment of reading
			}
			want, wantSub := describe(t, x.root), describe(t, filepath.Join(x.root, "sub"))
			for _, w := range worlds {
				w.backup(want, wantSub)
				w.check(false)
			}
		}
		for _, w := range worlds {
			w.check(true)
		}
	})
}
