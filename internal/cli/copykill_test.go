package cli_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestCopyKilled kills copies of the real program at random moments, and copies again: packs that were there are not written again, and the copy restores.
func TestCopyKilled(t *testing.T) {
	if runtime.GOOS == "windows" || testing.Short() {
		t.Skip("kills processes, for seconds")
	}
	h := newHurt(t)
	rng := rand.NewChaCha8([32]byte{7})
	content := make([]byte, 1<<20)
	for i := range 24 {
		_, _ = rng.Read(content)
		h.write(fmt.Sprintf("src/large%d", i), string(content))
	}
	h.terminal = h.set("FIRN_IDENTITY", "key.txt")
	h.ok("backup", "src", "-q", "--pack-size", "1M")
	h.ok("init", "second", "--like", filepath.Join("whole", "repo"), "-q")
	copies := func() map[string]time.Time {
		found := map[string]time.Time{}
		for _, area := range []string{"data", "meta"} {
			_ = filepath.WalkDir(filepath.Join(h.dir, "second", area), func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					if info, err := d.Info(); err == nil {
						found[path] = info.ModTime()
					}
				}
				return nil
			})
		}
		return found
	}
	for round := range 8 {
		before := copies()
		cmd, _ := h.command("copy", "second", "-q")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(rand.Int64N(int64(150*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		kill.Stop()
		after := copies()
		for path, at := range before {
			if !after[path].Equal(at) {
				t.Errorf("round %d: %s was written again", round, path)
			}
		}
		for path := range after {
			raw, err := os.ReadFile(path)
			if err != nil || fmt.Sprintf("%x", sha256.Sum256(raw)) != filepath.Base(path) {
				t.Errorf("round %d: %s is not whole: %v", round, path, err)
			}
		}
		t.Logf("round %d: %d packs, then %d; %v", round, len(before), len(after), err)
	}
	h.ok("copy", "second", "-q")
	second := h.set("FIRN_REPO", "second")
	if out := second.ok("check", "--read-data", "--yes"); !strings.Contains(out, "nothing is damaged") {
		t.Error(out)
	}
	second.ok("restore", "latest", "--target", "out")
	for i := range 24 {
		name := fmt.Sprintf("large%d", i)
		a, _ := os.ReadFile(filepath.Join(h.dir, "src", name))
		b, err := os.ReadFile(filepath.Join(h.dir, "out", name))
		if err != nil || string(a) != string(b) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
}
