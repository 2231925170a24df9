package cli_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestVanishingSource moves the source away in the middle of a backup: what vanished is named, the exit code is 3, and what was read restores.
func TestVanishingSource(t *testing.T) {
	h := newFull(t)
	h.begin()
	for i := range 200 {
		h.write(fmt.Sprintf("many/%03d", i), strings.Repeat(fmt.Sprintf("%d %x\n", i, i*i*i), 2000))
	}
	cmd, errs := h.command("backup", "many", "src", "--limit-upload", "2M", "--workers", "1", "--compression", "fastest")
	before := len(h.objects("world", "data"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for tries := 0; len(h.objects("world", "data")) == before && tries < 30_000; tries++ { // what comes first has been sent
		time.Sleep(10 * time.Millisecond)
	}
	if err := os.Rename(filepath.Join(h.dir, "src"), filepath.Join(h.dir, "gone")); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	code := cmd.ProcessState.ExitCode()
	switch {
	case code == 3 && strings.Contains(errs.String(), "vanished while the backup ran"):
	case code == 1 && strings.Contains(errs.String(), "source") && strings.Contains(errs.String(), "hint: "): // before it was opened
	case code == 0: // it was faster
	default:
		t.Errorf("code %d\n%s", code, errs)
	}
	h.ok("restore", "latest", "--source", "many", "--target", "out")
	if found, _ := os.ReadDir(filepath.Join(h.dir, "out")); len(found) != 200 {
		t.Errorf("%d files", len(found))
	}
	h.fails([]string{"does not exist", "hint: check the path"}, "backup", "src")
	if err := os.Rename(filepath.Join(h.dir, "gone"), filepath.Join(h.dir, "src")); err != nil {
		t.Fatal(err)
	}
	h.ok("backup", "src", "-q")
	h.whole("again")
}

// somebody returns h as a user without rights, whose program and files lie where everybody may go.
func (h *hurt) somebody(uid uint32) func(args ...string) (said string, code int) {
	program, err := exec.LookPath("firn")
	if err != nil {
		h.t.Fatal(err)
	}
	from, err := os.Open(program)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	place := filepath.Join(h.dir, "firn")
	to, err := os.OpenFile(place, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		h.t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chmod(place, 0o755); err != nil { // whatever the umask is
		h.t.Fatal(err)
	}
	for at := h.dir; at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	return func(args ...string) (string, int) {
		cmd := exec.Command(place, args...)
		cmd.Dir, cmd.Env = h.dir, h.env
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			h.t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
}

// TestOtherUser runs firn as a user who may read neither some of the files nor the state folder, and may not write the store.
func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("becoming somebody else needs root")
	}
	const uid = 65534
	h := newFull(t)
	h.begin()
	h.write("mine/readable", "yes\n")
	h.write("mine/secret", "no\n")
	h.write("mine/closed/file", "no\n")
	for path, mode := range map[string]os.FileMode{"mine": 0o755, "mine/readable": 0o644, "mine/closed": 0o700, "before": 0o755, "before/one": 0o644} {
		if err := os.Chmod(filepath.Join(h.dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(h.dir, "key.txt"), uid, uid); err != nil {
		t.Fatal(err)
	}
	run := h.somebody(uid)
	wants := func(want int, said string, code int, words ...string) {
		t.Helper()
		if code != want {
			t.Errorf("code %d\n%s", code, said)
		}
		for _, w := range words {
			if strings.Count(said, w) != 1 {
				t.Errorf("not once %q:\n%s", w, said)
			}
		}
	}
	if err := os.Chmod(filepath.Join(h.dir, "world"), 0o755); err != nil {
		t.Fatal(err)
	}
	said, code := run("backup", "mine")
	wants(1, said, code, "firn: error: ", "permission denied by store", "firn: hint: ")

	err := filepath.WalkDir(filepath.Join(h.dir, "world", "repo"), func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Chown(path, uid, uid)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	said, code = run("backup", "mine") // the state folder is root's
	wants(3, said, code, "going on without, which takes longer", `mine/secret": open: permission denied`, `mine/closed": open: permission denied`, "2 not read")

	if err := os.Mkdir(filepath.Join(h.dir, "out"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(h.dir, "out"), 0o777); err != nil {
		t.Fatal(err)
	}
	said, code = run("restore", "latest", "--source", "before", "--target", "out/before")
	wants(0, said, code, "note: owner: not restored for 2 entries", "restored 1 file, 1 folder")
	said, code = run("restore", "latest", "--source", "mine", "--target", "out/mine")
	wants(0, said, code, "without 2 files that could not be read")
}
