// Package sim is a simulated world that tries to make firn lose data. It has tests, and cmd/firn-sim runs it for hours.
//
// A world follows from a seed: a clock that nobody waits for, hosts with trees of files in memory, a repository and a copy of it in memory, a pruner, a thief with
// a write-only key, a provider who cheats. A seed becomes a list of steps before anything happens (Plan), and each step has a seed of its own, so that a list from which steps are
// taken away still does the same in those that are left: a failure is shrunk by leaving steps out (Shrink), and steps are JSON that can be replayed.
//
// What is simulated stands beside each kind of step (steps.go). What happens to a process while it works stands in the step: it dies at its nth request to the store or call
// to its source, by a kill or by a power cut; requests fail by rules of package faultstore; its credentials expire; disks are full; its tree changes while it is read; other processes
// do whole steps between two of its requests.
//
// After each step the world is judged (judge.go) by what lies in the store alone, read with the keys and nothing else: every snapshot that was reported done is there
// and has the tree as the model remembers it, unless a rule that the simulator gave let it go; partial ones have a part of it; the check finds damage where there is some, and none where there is
// none; no object and no local file has a secret; a write-only key reads nothing; nothing cold was read or deleted before its time but where a step asked for it.
//
// # What is not deterministic
//
// Keys, ids and sealed bytes come from the system's randomness, so names of objects differ from run to run; faults go by the kind of request and its number, not by names. The goroutines
// of a verb take turns as the scheduler lets them, so the nth request of a kind may be another one. With one worker and one upload, as most steps have it, a seed nearly always
// does the same; a failure that needs a rare order of goroutines may take several runs to come again.
//
// # What counts
//
// Counts tells three numbers: changes of trees, steps (whole commands of firn and acts of its enemies), and requests to stores. An operation is any of the three. What the judge does is not counted.
package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Step is one thing that happens. Zero members do nothing.
type Step struct {
	Do   string `json:"do"`
	Host int    `json:"host,omitempty"`
	Seed uint64 `json:"seed"` // of all that is random in it

	Kill   int    `json:"kill,omitempty"`   // the process dies at this request to the store or call to the source
	Power  bool   `json:"power,omitempty"`  // since the power fails: local state loses what was written in the step, or some of it
	Stop   int    `json:"stop,omitempty"`   // the process is asked to stop at this request
	Faults string `json:"faults,omitempty"` // rules of package faultstore, with semicolons between
	Late   int    `json:"late,omitempty"`   // the nth put fails and is carried out some steps later
	Twice  int    `json:"twice,omitempty"`  // the nth put is carried out again some steps later
	Full   int    `json:"full,omitempty"`   // from this put on the store is full
	Expire int    `json:"expire,omitempty"` // from this request on the credentials are refused
	Busy   int    `json:"busy,omitempty"`   // every nth request is one too many
	NoDisk bool   `json:"nodisk,omitempty"` // nothing can be written to the local folders

	At     int    `json:"at,omitempty"` // request before which the steps of Beside are done
	Beside []Step `json:"beside,omitempty"`
}

func (s Step) disturbed() bool {
	return s.Kill > 0 || s.Stop > 0 || s.Faults != "" || s.Late > 0 || s.Full > 0 || s.Expire > 0 || s.Busy > 0
}

// Counts says what was done.
type Counts struct {
	Changes  int64            // of trees
	Steps    int64            // commands, acts of enemies, moments that pass
	Requests int64            // to stores, by those who take part; the judge's are not counted
	Judged   int64            // snapshots whose whole content was compared with the model
	Restored int64            // of these, those that were restored into a folder
	By       map[string]int64 // steps by kind; "… disturbed": of them, those that were
}

// Operations is all that counts as one.
func (c *Counts) Operations() int64 { return c.Changes + c.Steps + c.Requests }

// Add adds the counts of another world.
func (c *Counts) Add(o *Counts) {
	c.Changes, c.Steps, c.Requests = c.Changes+o.Changes, c.Steps+o.Steps, c.Requests+o.Requests
	c.Judged, c.Restored = c.Judged+o.Judged, c.Restored+o.Restored
	if c.By == nil {
		c.By = map[string]int64{}
	}
	for k, n := range o.By {
		c.By[k] += n
	}
}

// Violation is an invariant that does not hold.
type Violation struct {
	Seed  uint64
	Steps []Step // what was done, the last one included
	What  error
	Log   []string // what was told, the end of it
}

func (v *Violation) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, step %d: %v\n", v.Seed, len(v.Steps), v.What)
	for _, s := range v.Steps {
		raw, err := json.Marshal(s)
		if err != nil {
			panic("sim: " + err.Error()) // numbers and text only
		}
		fmt.Fprintf(&b, "  %s\n", raw)
	}
	for _, l := range v.Log {
		fmt.Fprintf(&b, "  | %s\n", l)
	}
	return b.String()
}

// Unwrap returns what does not hold.
func (v *Violation) Unwrap() error { return v.What }

// Options of a run.
type Options struct {
	Seed  uint64
	Steps []Step // nil: those that Plan makes of the seed
	Count int    // how many these are; 0: 60
	Bug   Bug    // a mistake to be found
	Dir   string // folder for local state and restores, best in memory; empty: Folder
	Trace func(string)
}

// Folder makes a folder for worlds, in memory where the system has a place for that.
func Folder() (string, error) {
	base := ""
	if runtime.GOOS == "linux" {
		if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
			base = "/dev/shm"
		}
	}
	return os.MkdirTemp(base, "firn-sim-")
}

// Run plays one world. It fails with a *Violation, with ctx's error, or where there is no folder to work in.
func Run(ctx context.Context, o Options) (counts *Counts, err error) {
	dir, err := Folder()
	if o.Dir != "" {
		dir, err = os.MkdirTemp(o.Dir, "world-")
	}
	if err != nil {
		return &Counts{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w, err := newWorld(ctx, o, dir)
	if err != nil {
		return &Counts{}, err
	}
	steps := o.Steps
	if steps == nil {
		steps = plan(o.Seed, max(o.Count, 0), o.Bug.weights())
	}
	for i, s := range steps {
		if err := ctx.Err(); err != nil {
			return &w.counts, err
		}
		err := w.step(s)
		if err == nil {
			err = w.judge(i == len(steps)-1)
		}
		if err != nil && ctx.Err() == nil {
			return &w.counts, &Violation{Seed: o.Seed, Steps: steps[:i+1], What: err, Log: w.lastLog()}
		}
	}
	return &w.counts, ctx.Err()
}

// Shrink looks for a shorter list of steps that still violates an invariant, until ctx ends, and returns the shortest that it has found. The list of v is one.
func Shrink(ctx context.Context, o Options, v *Violation) *Violation {
	best := v
	fails := func(steps []Step) bool {
		o.Steps = steps
		_, err := Run(ctx, o)
		var found *Violation
		if errors.As(err, &found) && len(found.Steps) <= len(best.Steps) {
			best = found
			return true
		}
		return false
	}
	for size := len(best.Steps) / 2; size > 0 && ctx.Err() == nil; {
		shorter := false
		for at := 0; at+size <= len(best.Steps)-1 && ctx.Err() == nil; { // the last one stays: it is where it shows
			rest := append(append([]Step(nil), best.Steps[:at]...), best.Steps[at+size:]...)
			if fails(rest) {
				shorter = true
			} else {
				at += size
			}
		}
		if !shorter || size > len(best.Steps)/2 {
			size /= 2
		}
	}
	for i := 0; i < len(best.Steps) && ctx.Err() == nil; i++ { // then what disturbs them
		for _, calm := range calmer(best.Steps[i]) {
			rest := append([]Step(nil), best.Steps...)
			rest[i] = calm
			fails(rest)
		}
	}
	return best
}

// calmer returns a step with less of what disturbs it.
func calmer(s Step) (out []Step) {
	for _, without := range []func(*Step){
		func(s *Step) { s.Kill, s.Power = 0, false }, func(s *Step) { s.Power = false }, func(s *Step) { s.Stop = 0 }, func(s *Step) { s.Faults = "" }, func(s *Step) { s.Late = 0 },
		func(s *Step) { s.Twice = 0 }, func(s *Step) { s.Full = 0 }, func(s *Step) { s.Expire = 0 }, func(s *Step) { s.Busy = 0 }, func(s *Step) { s.NoDisk = false },
		func(s *Step) { s.At, s.Beside = 0, nil },
	} {
		calm := s
		without(&calm)
		if fmt.Sprint(calm) != fmt.Sprint(s) {
			out = append(out, calm)
		}
	}
	return out
}

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}
