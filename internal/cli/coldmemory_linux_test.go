package cli_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"firn/internal/coldtest"
)

// peak runs firn and returns the most memory that it had, in bytes.
func (x *cold) peak(env []string, args ...string) int64 {
	x.t.Helper()
	cmd, errs := x.command(args...)
	cmd.Env = append(cmd.Env, env...)
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	most := int64(0)
	for {
		select {
		case err := <-ended:
			if err != nil || most == 0 {
				x.t.Fatalf("firn %q: %v, %d bytes\n%s", args, err, most, errs)
			}
			return most
		case <-time.After(5 * time.Millisecond): // what wait tells later has the memory of the parent in it
			most = max(most, highWater(cmd.Process.Pid))
		}
	}
}

// highWater is the most memory that a process has had since it began, in bytes.
func highWater(pid int) int64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	var kib int64
	_, _ = fmt.Sscan(rest, &kib)
	return kib << 10
}

// TestColdMemory backs up 300 MB into a cold class and brings them back, with as much memory as is allowed.
func TestColdMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 300 MB, for seconds")
	}
	x := newCold(t, coldtest.Options{Folder: t.TempDir()}, 0)
	rng := rand.NewChaCha8([32]byte{7})
	content := make([]byte, 30<<20)
	for i := range 10 {
		_, _ = rng.Read(content)
		x.write("src/large"+strconv.Itoa(i), string(content))
	}
	content = nil
	for _, c := range []struct {
		name  string
		procs string
		flags []string
		most  int64
	}{
		{"2 cores", "2", nil, 400_000_000},
		{"16 cores", "16", nil, 400_000_000},
		{"16 cores, 256M", "16", []string{"--memory", "256M"}, 256 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			y := *x
			y.hurt = &hurt{terminal: x.set("FIRN_REPO", "s3://"+coldBucket+"/"+strconv.Itoa(len(c.name)))}
			y.t = t
			y.ok("init", "--recipient", recipient, "--kit-saved", "-q", "--class", "DEEP_ARCHIVE")
			env := []string{"GOMAXPROCS=" + c.procs}
			for _, size := range []string{"", "64M"} {
				args := append([]string{"backup", x.src, "-q", "--source", "s" + size}, c.flags...)
				if size != "" {
					args = append(args, "--pack-size", size, "--full")
				}
				got := y.peak(env, args...)
				t.Logf("backup, packs of %q: %d MB", size, got/1_000_000)
				if got > c.most {
					t.Errorf("backup with packs of %q took %d bytes, more than %d", size, got, c.most)
				}
			}
			out := filepath.Join("out", c.procs+c.name[:2])
			got := y.peak(env, "restore", "latest", "--source", "s64M", "--target", out, "--yes", "--tier", "standard", "--days", "60", "--poll", "200ms", "-q")
			t.Logf("restore: %d MB", got/1_000_000)
			if got > 400_000_000 {
				t.Errorf("restore took %d bytes", got)
			}
			if err := os.RemoveAll(filepath.Join(x.dir, "out")); err != nil {
				t.Error(err)
			}
		})
	}
}
