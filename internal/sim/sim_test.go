package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"firn/internal/bucket/buckettest"
	"firn/internal/faultstore"
)

// playTime is how long TestWorlds goes on with new seeds; 0: nobody says.
func playTime(t *testing.T) time.Duration {
	if text := os.Getenv("FIRN_SIM_TIME"); text != "" {
		limit, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return limit
	}
	return 0
}

// worlds is how many are played where no time is given: a number, so that a fast machine plays the same as a slow one.
func worlds() uint64 {
	if testing.Short() {
		return 8
	}
	return 40
}

// TestWorlds plays one world after another. FIRN_SIM_SEED plays one seed; FIRN_SIM_TIME (such as 10m) says for how long, with seeds that were not there before.
func TestWorlds(t *testing.T) {
	limit, seed, last := playTime(t), uint64(1), worlds()
	if os.Getenv("FIRN_SIM_TIME") != "" {
		seed = uint64(time.Now().UnixNano())
		last = 0
	}
	if text := os.Getenv("FIRN_SIM_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed, last = n, n
	}
	before := runtime.NumGoroutine()
	var all Counts
	for start := time.Now(); ; seed++ {
		o := Options{Seed: seed}
		if seed == last {
			o.Trace = func(line string) { t.Log(line) }
		}
		counts, err := Run(t.Context(), o)
		all.Add(counts)
		if err != nil {
			t.Fatal(err)
		}
		if seed == last || last == 0 && time.Since(start) >= limit {
			break
		}
	}
	t.Logf("up to seed %d: %d operations: %+v", seed, all.Operations(), all)
	nobodyStays(t, before)
}

// nobodyStays expects goroutines to have ended, and memory to be given back.
func nobodyStays(t *testing.T, before int) {
	t.Helper()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > before {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines were there before, %d are now:\n%s", before, now, buf[:runtime.Stack(buf, true)])
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 256<<20 {
		t.Errorf("%d MiB are still in use", m.HeapAlloc>>20)
	}
}

// TestPlans: the steps of a seed are the same each time, survive as JSON, and have rules that can be read.
func TestPlans(t *testing.T) {
	for seed := range uint64(50) {
		steps := Plan(seed, 0)
		if !reflect.DeepEqual(steps, Plan(seed, 0)) {
			t.Fatalf("seed %d: two plans", seed)
		}
		raw, err := json.Marshal(steps)
		var back []Step
		if err == nil {
			err = json.NewDecoder(bytes.NewReader(raw)).Decode(&back)
		}
		if err != nil || !reflect.DeepEqual(steps, back) {
			t.Fatalf("seed %d: the plan is another one as JSON (%v)", seed, err)
		}
		for _, s := range steps {
			rules := strings.ReplaceAll(s.Faults, ";", "\n")
			if s.Do == "sync" {
				err = buckettest.NewMem(buckettest.MemOptions{}).SetFaults(rules)
			} else {
				_, err = faultstore.Parse(rules)
			}
			if err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
	}
}

// TestShrink: of a world with a mistake few steps are left, and these show it again.
func TestShrink(t *testing.T) {
	o := Options{Bug: Leaks, Seed: 7}
	_, err := Run(t.Context(), o)
	var v *Violation
	if !errors.As(err, &v) {
		t.Fatalf("not found: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	small := Shrink(ctx, o, v)
	if len(small.Steps) > len(v.Steps) || !strings.Contains(small.Error(), fmt.Sprintf("seed %d, step %d", o.Seed, len(small.Steps))) {
		t.Errorf("%v", small)
	}
	o.Steps = small.Steps
	if _, err := Run(t.Context(), o); !errors.As(err, &v) {
		t.Errorf("the steps that are left do nothing: %v", err)
	}
}

// TestHoles: the holes of a file in the model are where its pages are zero.
func TestHoles(t *testing.T) {
	tr := newTree(time.Now, "canary")
	for _, c := range []struct {
		data []int64 // pages that have something
		want [][2]int64
	}{{nil, nil}, {[]int64{0}, [][2]int64{{0, page}}}, {[]int64{1, 2, 4}, [][2]int64{{page, 3 * page}, {4 * page, 5 * page}}}, {[]int64{5}, [][2]int64{{5 * page, 5*page + 100}}}} {
		n := &node{sparse: true, content: make([]byte, 5*page+100)}
		for _, at := range c.data {
			n.content[at*page+50] = 1
		}
		var got [][2]int64
		f := &content{v: &view{t: tr}, n: n}
		for off := int64(0); ; {
			start, end, err := f.NextData(off, int64(len(n.content)))
			if err != nil {
				t.Fatal(err)
			}
			if start >= end {
				break
			}
			got = append(got, [2]int64{start, end})
			off = end
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("data in pages %v: %v, want %v", c.data, got, c.want)
		}
	}
}
