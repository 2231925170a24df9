// Firn-sim plays simulated worlds that try to make firn lose data, one seed after another, until one of them does or the time is over.
//
//	go run ./cmd/firn-sim -for 8h -seed 1 -workers 2
//	go run ./cmd/firn-sim -replay steps.json -seed 17 -v
//
// It prints what was done, and of a failure its seed and the shortest list of steps that it finds, as JSON lines, which -replay plays again.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"time"

	"firn/internal/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "firn-sim:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	seed    uint64
	limit   time.Duration
	workers int
	steps   int
	replay  string
	bug     string
	shrink  time.Duration
	verbose bool
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var f settings
	fl := flag.NewFlagSet("firn-sim", flag.ContinueOnError)
	fl.Uint64Var(&f.seed, "seed", 1, "first seed")
	fl.DurationVar(&f.limit, "for", time.Minute, "how long; 0: one world")
	fl.IntVar(&f.workers, "workers", 1, "worlds at once")
	fl.IntVar(&f.steps, "steps", 0, "steps of a world")
	fl.StringVar(&f.replay, "replay", "", "file with steps, one JSON object a line")
	fl.StringVar(&f.bug, "bug", "", "a mistake to plant")
	fl.DurationVar(&f.shrink, "shrink", 2*time.Minute, "how long a shorter failure is looked for")
	fl.BoolVar(&f.verbose, "v", false, "tell everything")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if f.replay != "" || f.limit == 0 {
		return one(ctx, out, f)
	}
	return many(ctx, out, f)
}

func (f *settings) options(out io.Writer) sim.Options {
	o := sim.Options{Seed: f.seed, Count: f.steps, Bug: sim.Bug(f.bug)}
	if f.verbose {
		o.Trace = func(line string) { _, _ = fmt.Fprintln(out, line) }
	}
	return o
}

// one plays one world.
func one(ctx context.Context, out io.Writer, f settings) error {
	o := f.options(out)
	if f.replay != "" {
		raw, err := os.ReadFile(f.replay)
		if err != nil {
			return err
		}
		for d := json.NewDecoder(bytes.NewReader(raw)); d.More(); {
			var s sim.Step
			if err := d.Decode(&s); err != nil {
				return err
			}
			o.Steps = append(o.Steps, s)
		}
	}
	counts, err := sim.Run(ctx, o)
	tell(out, counts, 1, 0)
	return f.explain(ctx, out, o, err)
}

// explain shrinks a violation.
func (f *settings) explain(ctx context.Context, out io.Writer, o sim.Options, err error) error {
	var v *sim.Violation
	if !errors.As(err, &v) || f.shrink == 0 {
		return err
	}
	_, _ = fmt.Fprintf(out, "seed %d, step %d: %v\nlooking for less that does it\n", v.Seed, len(v.Steps), v.What)
	ctx, cancel := context.WithTimeout(ctx, f.shrink)
	defer cancel()
	o.Trace = nil
	return sim.Shrink(ctx, o, v)
}

// many plays one seed after another, several at once.
func many(ctx context.Context, out io.Writer, f settings) error {
	until, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	begun := time.Now()
	var mu sync.Mutex
	var all sim.Counts
	var worlds int
	var failed error
	var failedAt sim.Options
	next, shown := f.seed, begun
	var workers sync.WaitGroup
	for range max(f.workers, 1) {
		workers.Go(func() {
			for until.Err() == nil {
				mu.Lock()
				o := f.options(out)
				o.Seed = next
				next++
				mu.Unlock()
				counts, err := sim.Run(until, o)
				mu.Lock()
				all.Add(counts)
				worlds++
				if err != nil && until.Err() == nil {
					failed, failedAt = err, o
					cancel()
				}
				if time.Since(shown) > 30*time.Second {
					shown = time.Now()
					tell(out, &all, worlds, time.Since(begun))
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	tell(out, &all, worlds, time.Since(begun))
	return f.explain(ctx, out, failedAt, failed)
}

// tell prints what was done, and how much memory that takes.
func tell(out io.Writer, c *sim.Counts, worlds int, took time.Duration) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	rate := ""
	if took > time.Second {
		rate = fmt.Sprintf(", %.0f a second", float64(c.Operations())/took.Seconds())
	}
	_, _ = fmt.Fprintf(out, "%v: %d worlds, %d operations%s: %d requests, %d changes, %d steps; %d snapshots compared, %d of them restored; heap %d MiB\n", took.Round(time.Second), worlds, c.Operations(), rate,
		c.Requests, c.Changes, c.Steps, c.Judged, c.Restored, m.HeapAlloc>>20)
	raw, err := json.Marshal(c.By)
	if err == nil {
		_, _ = fmt.Fprintf(out, "  %s\n", raw)
	}
}
