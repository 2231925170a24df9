package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/mounttest"
)

// newLocal is a terminal with a repository in a folder.
func newLocal(t *testing.T) *terminal {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key.txt"), []byte(identity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &terminal{t, dir, machine(dir, "FIRN_REPO="+filepath.Join(dir, "repo"), "FIRN_IDENTITY=key.txt")}
	c.ok("init", "--recipient", recipient, "--kit-saved")
	return c
}

// says wants an exit code and words in what is said.
func (c *terminal) says(code int, words []string, args ...string) {
	c.t.Helper()
	out, errs, got := c.run(args...)
	if got != code {
		c.t.Errorf("firn %q: code %d, want %d", args, got, code)
	}
	for _, w := range words {
		if !strings.Contains(out+errs, w) {
			c.t.Errorf("firn %q: no %q in\n%s%s", args, w, out, errs)
		}
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// bases counts the snapshots that start from another one.
func (c *terminal) bases() (n int) {
	c.t.Helper()
	for line := range strings.Lines(c.ok("snapshots", "--json")) {
		var s struct {
			Chain struct{ Base string }
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			c.t.Fatal(err)
		}
		if s.Chain.Base != "" {
			n++
		}
	}
	return n
}

// TestZFSCommands: chains of two datasets by commands alone, a baseline that another tool has stored, files, and what is said where something is wrong.
func TestZFSCommands(t *testing.T) {
	if !mounttest.Privately(t, "zfs-fuse", "zfs", "zpool") {
		return
	}
	pools := mounttest.StartZFS(t)
	mounttest.Pool(t, pools, "tank", 256)
	mounttest.Do(t, "zfs", "create", "tank/home")
	mounttest.Do(t, "zfs", "create", "tank/home/eve")
	home := filepath.Join(pools, "tank", "home")
	c := newLocal(t)
	put(t, home+"/a", "first")
	put(t, home+"/eve/b", "of eve")
	c.says(0, []string{"2 streams"}, "backup", "zfs:tank/home", "-o", "recursive", "-o", "pattern=offsite-%Y%m%d-%H%M%S", "--dry-run")
	if out := mounttest.Do(t, "zfs", "list", "-H", "-t", "snapshot"); strings.Contains(out, "@") {
		t.Errorf("left by a dry run: %s", out)
	}
	c.says(0, []string{"2 streams", "in full"}, "backup", "zfs:tank/home", "-o", "recursive", "-o", "pattern=one")
	put(t, home+"/a", "second")
	c.says(0, []string{"2 streams", "on top of"}, "backup", "zfs:tank/home", "-o", "recursive", "-o", "pattern=two")
	c.says(0, []string{"home-F"}, "ls", "latest")
	c.says(0, []string{"eve-F"}, "ls", "latest:home")

	c.says(0, []string{"replayed 4 streams"}, "restore", "latest", "--into", "zfs:tank/back")
	if b, err := os.ReadFile(filepath.Join(pools, "tank", "back", "a")); err != nil || string(b) != "second" {
		t.Errorf("%q, %v", b, err)
	}
	c.says(0, []string{"4 there already"}, "restore", "latest", "--zfs", "tank/back")
	c.says(1, []string{"tank/home/eve", "it exists"}, "restore", "latest", "--zfs", "tank/home/eve")

	c.says(1, []string{`dataset "tank/nothing" does not exist`}, "backup", "zfs:tank/nothing")
	c.says(2, []string{"is no dataset", "that is a snapshot"}, "backup", "zfs:tank/home@one")
	c.says(2, []string{"pattern"}, "backup", "zfs:tank/home", "-o", "pattern=a/b")

	mounttest.Do(t, "zfs", "snapshot", "tank/home/eve@theirs")
	c.says(1, []string{`snapshot "tank/home/eve@theirs" exists already`, "-o snapshot=NAME"}, "backup", "zfs:tank/home/eve", "-o", "pattern=theirs", "--source", "other")
	c.says(2, []string{"want a snapshot"}, "import", "zfs-baseline", "tank/home/eve")
	c.says(1, []string{`snapshot "tank/home/eve@no" does not exist`}, "import", "zfs-baseline", "tank/home/eve@no")
	c.says(0, []string{"stored elsewhere", "s3://old/eve"}, "import", "zfs-baseline", "tank/home/eve@theirs", "--source", "eve", "--where", "s3://old/eve")
	put(t, home+"/eve/b", "changed")
	before := c.bases()
	c.says(0, []string{"1 stream", "on top of"}, "backup", "zfs:tank/home/eve", "--source", "eve")
	if got := c.bases(); got != before+1 {
		t.Errorf("%d snapshots with a base, want %d", got, before+1)
	}
	c.says(1, []string{"has snapshots here already"}, "import", "zfs-baseline", "tank/home/eve@theirs", "--source", "eve")
	c.says(1, []string{"s3://old/eve", "theirs"}, "restore", "latest", "--source", "eve", "--into", "zfs:tank/eve")

	c.says(0, []string{"1 file"}, "backup", "zfs:tank/home/eve", "-o", "mode=files", "--source", "files")
	c.ok("restore", "latest", "--source", "files", "--target", "out")
	if b, err := os.ReadFile(filepath.Join(c.dir, "out", "b")); err != nil || string(b) != "changed" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestBtrfsCommands: the same with subvolumes.
func TestBtrfsCommands(t *testing.T) {
	if !mounttest.Privately(t, "btrfs", "mkfs.btrfs", "mount") {
		return
	}
	root := mounttest.Btrfs(t, 256)
	home := filepath.Join(root, "@home")
	mounttest.Do(t, "btrfs", "subvolume", "create", home)
	c := newLocal(t)
	put(t, home+"/a", "first")
	c.says(0, []string{"1 stream", "in full"}, "backup", "btrfs:"+home, "-o", "pattern=one")
	put(t, home+"/a", "second")
	c.says(0, []string{"1 stream", "on top of"}, "backup", "btrfs:"+home, "-o", "pattern=two")
	if err := os.Mkdir(root+"/back", 0o755); err != nil {
		t.Fatal(err)
	}
	c.says(0, []string{"replayed 2 streams"}, "restore", "latest", "--into", "btrfs:"+root+"/back")
	for name, want := range map[string]string{"one": "first", "two": "second"} {
		if b, err := os.ReadFile(filepath.Join(root, "back", name, "a")); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	c.says(0, []string{"2 there already"}, "restore", "latest", "--into", "btrfs:"+root+"/back")
	c.says(1, []string{"subvolume", "does not exist"}, "backup", "btrfs:"+root+"/nothing")
	c.says(1, []string{"that is a folder, not a subvolume"}, "backup", "btrfs:"+root+"/back")
	c.says(1, []string{"does not exist"}, "restore", "latest", "--source", home, "--into", "btrfs:"+root+"/nowhere")
	c.says(0, []string{"1 file"}, "backup", "btrfs:"+home, "-o", "mode=files")
	c.says(1, []string{"choose one with --source: ", "btrfs-files:" + home}, "ls", "latest", "--source", home)
	c.says(0, []string{"btrfs"}, "ls", "latest", "--source", "btrfs:"+home)
	c.says(0, []string{"a\n"}, "ls", "latest", "--source", "btrfs-files:"+home)
}
