package target

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkTinyFiles writes files of 200 bytes, 100 to a folder, with owner and time, in the folder FIRN_BENCH_DIR. ext4 looks for
// a free inode past those deleted in the last seconds, so a run soon after another is many times slower there.
func BenchmarkTinyFiles(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			dir, err := os.MkdirTemp(os.Getenv("FIRN_BENCH_DIR"), "firn")
			if err != nil {
				b.Fatal(err)
			}
			defer os.RemoveAll(dir)
			tg, err := Open(dir, Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer tg.Close()
			data := make([]byte, 200)
			from := cpuTime()
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					var m FileSpec
					m.Meta = Meta{Mode: 0o644, UID: int64(os.Geteuid()), GID: int64(os.Getegid()), MtimeSec: 1_600_000_000}
					m.Size = int64(len(data))
					for i := w; i < b.N; i += workers {
						if i/workers%100 == 0 {
							if _, err := tg.Mkdir(fmt.Appendf(nil, "%d-%d", w, i/workers/100)); err != nil {
								b.Error(err)
							}
						}
						if _, err := tg.WriteFile(fmt.Appendf(nil, "%d-%d/file%d", w, i/workers/100, i), &m, data); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(cpuTime()-from)/float64(b.N), "cpu-ns/file")
		})
	}
}

func cpuTime() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
