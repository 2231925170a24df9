//go:build linux

package dir

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

// benchRoot is a large tree that most machines have; FIRN_BENCH_TREE names another.
func benchRoot() string {
	if p := os.Getenv("FIRN_BENCH_TREE"); p != "" {
		return p
	}
	return "/usr"
}

func BenchmarkWalk(b *testing.B) {
	for _, workers := range []int{1, 2, 4, 8} {
		b.Run("workers="+string(rune('0'+workers)), func(b *testing.B) {
			t, err := Open(benchRoot(), Options{Workers: workers})
			if err != nil {
				b.Skip(err)
			}
			defer t.Close()
			b.ReportAllocs()
			entries, total := 0, 0
			from := cpuTime()
			for b.Loop() {
				entries = 0
				if err := t.Walk(b.Context(), func(*source.Entry) error { entries++; return nil }); err != nil {
					b.Fatal(err)
				}
				total += entries
			}
			b.ReportMetric(float64(entries), "entries")
			b.ReportMetric(float64(cpuTime()-from)/float64(total), "cpu-ns/entry")
		})
	}
}

func BenchmarkWalkDirInfo(b *testing.B) {
	total := 0
	from := cpuTime()
	for b.Loop() {
		_ = filepath.WalkDir(benchRoot(), func(_ string, d fs.DirEntry, err error) error {
			if err == nil {
				_, _ = d.Info()
				total++
			}
			return nil
		})
	}
	b.ReportMetric(float64(cpuTime()-from)/float64(total), "cpu-ns/entry")
}

// cpuTime is what the process has used of all cores, in nanoseconds: on a busy machine a better measure than the clock.
func cpuTime() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
