package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// kinds are the steps with their weights.
var kinds = []struct {
	do     string
	weight int
}{
	{"work", 26}, {"backup", 26}, {"wait", 14}, {"prune", 10}, {"restore", 6}, {"check", 3}, {"jump", 2}, {"forget-state", 2},
	{"damage", 3}, {"repair", 3}, {"lose", 1}, {"drill", 3}, {"keys", 2}, {"copy", 3}, {"thief", 1}, {"provider", 3}, {"sync", 4},
}

// Plan makes the steps of a seed.
func Plan(seed uint64, count int) []Step { return plan(seed, count, nil) }

// plan is Plan with other weights.
func plan(seed uint64, count int, weights map[string]int) []Step {
	eager := weights != nil && weights["prune"] > 20
	if count == 0 {
		count = 60
	}
	rng := rand.New(rand.NewPCG(seed, 3))
	var steps []Step
	for len(steps) < count {
		if eager {
			steps = append(steps, episode(rng)...)
			continue
		}
		steps = append(steps, newStep(rng, draw(rng, weights), 0))
	}
	return steps
}

// episode is a backup that dies, so that packs are left which nobody names, and one that takes them up while a pruner is about to take them away: for mistakes that show in no other moment.
func episode(rng *rand.Rand) []Step {
	step := func(do string) Step { return Step{Do: do, Seed: rng.Uint64()} }
	dies := step("backup")
	dies.Kill = 15 + rng.IntN(50)
	a, b := step("backup"), step("prune")
	if rng.IntN(2) == 0 {
		a, b = b, a
	}
	a.At, a.Beside = 1+rng.IntN(50), []Step{b}
	return []Step{step("work"), step("work"), dies, step("wait"), a, step("prune")}
}

func draw(rng *rand.Rand, weights map[string]int) string {
	weight := func(i int) int {
		if weights != nil {
			return weights[kinds[i].do]
		}
		return kinds[i].weight
	}
	total := 0
	for i := range kinds {
		total += weight(i)
	}
	n := rng.IntN(total)
	for i := range kinds {
		if n -= weight(i); n < 0 {
			return kinds[i].do
		}
	}
	panic("sim: weights do not add up")
}

// disturbable are the steps in which a process is at work.
var disturbable = map[string]bool{"backup": true, "prune": true, "restore": true, "check": true, "repair": true, "drill": true, "copy": true, "keys": true, "sync": true}

// newStep makes a step of a kind. depth is how deep it is inside of another.
func newStep(rng *rand.Rand, do string, depth int) Step {
	s := Step{Do: do, Host: rng.IntN(3), Seed: rng.Uint64()}
	if do == "sync" {
		return newSync(rng, s)
	}
	if !disturbable[do] {
		return s
	}
	switch rng.IntN(10) {
	case 0, 1:
		s.Kill = 1 + reach(rng)
		s.Power = rng.IntN(3) == 0
	case 2:
		s.Stop = 1 + reach(rng)
	case 3, 4:
		s.Faults = someFaults(rng)
	case 5:
		switch n := 1 + rng.IntN(12); rng.IntN(5) {
		case 0:
			s.Late = n
		case 1:
			s.Twice = n
		case 2:
			s.Full = n
		case 3:
			s.Expire = 1 + reach(rng)
		case 4:
			s.Busy = 2 + rng.IntN(9)
		}
	}
	s.NoDisk = rng.IntN(25) == 0
	if depth == 0 && rng.IntN(5) == 0 && (do == "backup" || do == "prune" || do == "copy" || do == "restore") {
		s.At = 1 + reach(rng)
		for range 1 + rng.IntN(4) {
			inner := []string{"prune", "prune", "wait", "wait", "backup", "work"}[rng.IntN(6)]
			s.Beside = append(s.Beside, newStep(rng, inner, depth+1))
		}
	}
	return s
}

// newSync makes a sync, whose bucket fails by rules of its own (package buckettest).
func newSync(rng *rand.Rand, s Step) Step {
	switch rng.IntN(3) {
	case 0:
		s.Kill = 1 + rng.IntN(25)
	case 1:
		s.Faults = fmt.Sprintf("%s * %s nth=%d", []string{"any", "put", "list", "delete", "head"}[rng.IntN(5)], []string{"broken", "lost", "denied"}[rng.IntN(3)], 1+rng.IntN(6))
	}
	return s
}

// reach is a number of requests: mostly few, sometimes many.
func reach(rng *rand.Rand) int {
	if rng.IntN(3) == 0 {
		return rng.IntN(300)
	}
	return rng.IntN(60)
}

// someFaults makes rules of package faultstore. They go by the number of a call, never by the name of an object, which is another one in each run.
func someFaults(rng *rand.Rand) string {
	var rules []string
	for range 1 + rng.IntN(3) {
		op := []string{"put", "put", "put", "get", "get", "list", "stat", "delete", "any"}[rng.IntN(9)]
		area := []string{"*", "*", "data/*", "meta/*", "index/*", "packset/*", "snapshots/*", "prune/*", "state/*"}[rng.IntN(9)]
		var faults []string
		switch op {
		case "put":
			faults = []string{"before", "after", "torn", "hang delay=1us"}
		case "get":
			faults = []string{"before", "torn", "short", "flip", "hang delay=1us"}
		case "list":
			faults = []string{"before", "torn", "after"}
		default:
			faults = []string{"before", "after", "hang delay=1us"}
		}
		rule := fmt.Sprintf("%s %s %s", op, area, faults[rng.IntN(len(faults))])
		if rng.IntN(6) > 0 {
			rule += fmt.Sprintf(" nth=%d", 1+rng.IntN(12))
		}
		rules = append(rules, rule)
	}
	return strings.Join(rules, "; ")
}
