package thaw

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"firn/internal/store"
)

func TestRunDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		needs := packs(1, 300, "DEEP_ARCHIVE", 1e9)
		s := newSim(1, needs)
		s.latency = 50 * time.Millisecond
		link := &simLink{s: s, speed: func() float64 { return 2e6 }, overhead: 20 * time.Second}
		s.allowed = func() int64 { return Window(Link{Down: 2.1e6}, 1) }
		log := &simLog{s: s}
		j := log.write(t, Header{Purpose: "restore", Tier: store.Bulk, Days: 1}, needs)
		begun := time.Now()
		res, err := Run(t.Context(), j, RunOptions{Store: s, Region: aws(t), Link: Link{Down: 2e6}, Fetch: link.fetch})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v: %d passes, calls %v, most %d, spent %v, extended %d, again %d", time.Since(begun), link.passes, s.calls, s.most, res.Status.Spent, res.Extended, len(res.Again))
		if s.overAsks > 0 {
			t.Errorf("%d thaws beyond the window", s.overAsks)
		}
		for _, o := range s.objects {
			if !o.fetched || o.begun != 1 {
				t.Fatalf("%+v", o)
			}
		}
		if res.Status.State != Done || res.Thaws != 300 {
			t.Errorf("%+v", res)
		}
	})
}

var _ = context.Canceled
