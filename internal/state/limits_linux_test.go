package state

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk runs everything on a file system of 64 KiB, or, where the test may not mount one, with files limited to 64 KiB.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err == nil {
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	} else if os.Getenv("FIRN_TEST_FSIZE") == "" {
		// The limit holds for the whole process, so it is another one.
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		cmd.Env = append(os.Environ(), "FIRN_TEST_FSIZE=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	} else {
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	var notes []string
	s := Open(Dirs{filepath.Join(dir, "cache"), filepath.Join(dir, "state")}, [16]byte{7}, func(err error) { notes = append(notes, err.Error()) })
	exercise(t, s)
	if all := strings.Join(notes, "\n"); !strings.Contains(all, "stat cache") || !strings.Contains(all, "journal") || len(notes) > 8 {
		t.Fatal(all)
	}
	if r := s.OpenStats(testSource); r != nil {
		t.Fatal("half a generation counts as whole")
	}
}

// TestReadOnly reads what is there and tells, once, what cannot be written.
func TestReadOnly(t *testing.T) {
	s, notes := testState(t)
	exercise(t, s)
	s.SetHead(testSource, Head{Sequence: 5})
	j, _ := s.journal(t, "x")
	j.Append([]byte("kept"))
	j.Close()
	if len(*notes) > 0 {
		t.Fatal(*notes)
	}
	root := filepath.Dir(filepath.Dir(s.state))
	if err := syscall.Mount(root, root, "", syscall.MS_BIND, ""); err != nil {
		if os.Geteuid() == 0 {
			t.Skip("root who may not mount: nothing is read-only to it")
		}
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, _ error) error {
			t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
			defer func() { _ = os.Chmod(path, 0o500) }()
			return nil
		})
	} else {
		t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
		if err := syscall.Mount("", root, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	}
	if h, ok := s.Head(testSource); !ok || h.Sequence != 5 {
		t.Fatal("head")
	}
	j, got := s.journal(t, "x")
	if len(got) != 1 || got[0] != "kept" || j.Err() == nil {
		t.Fatalf("%q, %v", got, j.Err())
	}
	exercise(t, s)
	if n := len(*notes); n == 0 || n > 8 {
		t.Fatal(*notes)
	}
}
