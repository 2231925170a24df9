package repair_test

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/repair"
)

// program finds another program, and skips the test without it, which CI does not allow.
func program(t *testing.T, name string) string {
	t.Helper()
	found, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return found
}

// TestProgram has the par2 program verify what was made again, mend what a repair mends, and make volumes that a repair uses.
func TestProgram(t *testing.T) {
	par2 := program(t, "par2")
	w := threeBackups(t, "", 10)
	packs := w.names("data/", "")
	intact := w.all()
	w.must(w.mem.Delete(ctx, packs[0]+".par2"))
	if _, res := w.repair(w.mem, nil); !res.Well() {
		t.Fatal(outcomes(res))
	}
	dir := t.TempDir()
	pack := filepath.Join(dir, path.Base(packs[0]))
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(par2, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("par2 %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	write := func(name string, raw []byte) { w.must(os.WriteFile(name, raw, 0o600)) }
	write(pack, intact[packs[0]])
	write(pack+".par2", get(t, w.mem, packs[0]+".par2"))
	run("verify", pack+".par2")
	damaged := bytes.Clone(intact[packs[0]])
	clear(damaged[8200:8300])
	write(pack, damaged)
	run("repair", pack+".par2")
	if raw, err := os.ReadFile(pack); err != nil || !bytes.Equal(raw, intact[packs[0]]) {
		t.Errorf("par2 mended something else: %v", err)
	}

	// A volume by the program in the place of ours, in whose stead nobody has the right sum any more.
	for _, name := range []string{pack + ".par2", pack + ".par2.1", pack + ".1"} {
		_ = os.Remove(name)
	}
	write(pack, intact[packs[0]])
	run("create", "-q", "-q", "-r20", "-n1", "x.par2", filepath.Base(pack))
	volumes, err := filepath.Glob(filepath.Join(dir, "x.vol*.par2"))
	if err != nil || len(volumes) != 1 {
		t.Fatal(volumes, err)
	}
	raw, err := os.ReadFile(volumes[0])
	w.must(err)
	w.mem.Replace(packs[0]+".par2", raw)
	w.mem.Replace(packs[0], damaged)
	if _, res := w.repair(w.mem, func(o *repair.Options) { o.ReadData = true }); !res.Well() || res.Count(repair.Mended) == 0 {
		t.Error(outcomes(res))
	}
	w.expectSame(intact)
}
