package doctest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"firn/internal/coldtest"
	"firn/internal/dbtest"
	"firn/internal/mounttest"
	"golang.org/x/sys/unix"
)

// shared are the folders of the machine's root that a world sees; all others are its own.
var shared = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt", "dev"}

// enter makes the world around this process, which has mounts, processes and a network of its own already.
func enter(t *testing.T, firn string) {
	t.Helper()
	root := t.TempDir()
	must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	must(t, syscall.Mount("tmpfs", root, "tmpfs", 0, "mode=755"))
	for _, dir := range []string{"etc", "home", "root", "srv", "mnt", "proc", "sys", "run/lock", "run/doc/out", "run/doc/in", "run/doc/built", "var/lib", "var/log", "var/tmp", "tmp"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	must(t, errors.Join(os.Chmod(filepath.Join(root, "tmp"), 0o1777), os.Chmod(filepath.Join(root, "root"), 0o700)))
	for _, name := range shared {
		mirror(t, filepath.Join("/", name), filepath.Join(root, name))
		if name != "dev" && isFolder(filepath.Join(root, name)) {
			must(t, syscall.Mount("", filepath.Join(root, name), "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
		}
	}
	_ = exec.Command("cp", "-a", "/etc/.", filepath.Join(root, "etc")).Run() // what goes meanwhile, or may not be read, is nothing that a page needs
	must(t, syscall.Mount(filepath.Dir(firn), filepath.Join(root, built), "", syscall.MS_BIND, ""))
	local := filepath.Join(root, "usr/local/bin")
	mirror(t, local, filepath.Join(root, "run/doc/local"))
	must(t, syscall.Mount("tmpfs", local, "tmpfs", 0, "mode=755"))
	programs, err := os.ReadDir(filepath.Join(root, "run/doc/local"))
	must(t, err)
	for _, p := range programs {
		must(t, os.Symlink("/run/doc/local/"+p.Name(), filepath.Join(local, p.Name())))
	}
	must(t, errors.Join(os.Symlink("../run", filepath.Join(root, "var/run")), os.Symlink("../run/lock", filepath.Join(root, "var/lock"))))
	must(t, errors.Join(syscall.Chroot(root), os.Chdir(home)))
	must(t, syscall.Mount("proc", "/proc", "proc", 0, ""))
	must(t, errors.Join(os.Setenv("TMPDIR", "/tmp"), os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"), syscall.Sethostname([]byte("nas")), loopback()))
}

// isFolder reports whether there is a folder, and no link to one.
func isFolder(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && info.IsDir()
}

// mirror shows what lies in one place in another, too. What is a link stays one.
func mirror(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	must(t, err)
	if info.Mode()&fs.ModeSymlink != 0 {
		link, err := os.Readlink(from)
		must(t, errors.Join(err, os.Symlink(link, to)))
		return
	}
	must(t, errors.Join(os.MkdirAll(to, 0o755), syscall.Mount(from, to, "", syscall.MS_BIND|syscall.MS_REC, "")))
}

// loopback brings the network of this process up, which ends there.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}

// home is of who reads pages: root.
const home = "/root"

// hurry is so much faster than Amazon that a Bulk thaw of Deep Archive takes half a second. A day stays a day.
const hurry = 300_000

// Buckets of a world.
var buckets = []string{"bucket", "photos", "lists", "other"}

// bucket starts the S3 server and returns the environment that leads to it.
func bucket(t *testing.T) []string {
	t.Helper()
	s := coldtest.Start(t, coldtest.Options{Clock: coldtest.Real{}, Hurry: hurry})
	for _, b := range buckets {
		s.CreateBucket(b)
	}
	return s.Environment()
}

// servers are needs that are more than a program.
var servers = map[string]bool{"zfs": true, "postgres": true, "mariadb": true, "s3": true}

// furnish starts what the page needs and returns its environment.
func furnish(t *testing.T, p *page) (env []string) {
	t.Helper()
	for name, text := range standIns {
		must(t, os.MkdirAll(standIn, 0o755))
		must(t, os.WriteFile(filepath.Join(standIn, name), []byte("#!/bin/sh\n"+text), 0o755))
	}
	for line, content := range p.files {
		must(t, os.WriteFile(fmt.Sprintf("%s/%d", inputs, line), []byte(content), 0o644))
	}
	people(t)
	for need := range p.needs {
		if !servers[need] {
			mounttest.Need(t, need)
		}
	}
	if p.needs["zfs"] {
		mounttest.Need(t, "zfs-fuse", "zfs", "zpool")
		dir := mounttest.StartZFS(t)
		for _, pool := range []string{"tank", "pool"} {
			mounttest.Pool(t, dir, pool, 256)
			mounttest.Do(t, "zfs", "set", "mountpoint=/"+pool, pool)
		}
	}
	if p.needs["postgres"] {
		s := dbtest.Postgres(t)
		env = append(env, "PGHOST="+s.Dir, "PGUSER=postgres")
	}
	if p.needs["mariadb"] {
		s := dbtest.MariaDB(t)
		must(t, os.WriteFile(filepath.Join(home, ".my.cnf"), []byte("[client]\nuser=root\nsocket="+s.Socket+"\n"), 0o600))
	}
	if p.needs["s3"] {
		env = append(append(env, bucket(t)...), "FIRN_PRICE_REGION=aws/us-east-1")
	}
	return env
}

// people have files: alice and eve at home, and what else pages speak of.
func people(t *testing.T) {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{7})
	noise := make([]byte, 100_000)
	for _, dir := range []string{"/home/alice", "/home/eve", "/srv"} {
		for _, name := range []string{"letters/2019/to-bob.txt", "letters/2026/to-carol.txt", "documents/tax.txt", "photos/2019/IMG_1.jpg", "photos/2019/IMG_2.jpg", "photos/2026/IMG_3.jpg"} {
			content := []byte(strings.Repeat("a line of "+name+" in "+dir+"\n", 40))
			if strings.HasSuffix(name, ".jpg") {
				_, _ = rng.Read(noise)
				content = noise
			}
			put(t, filepath.Join(dir, name), content)
		}
	}
}

func put(t *testing.T, name string, content []byte) {
	t.Helper()
	must(t, errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, content, 0o644)))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// standIns are small programs in the place of those that act upon a real machine, and of the person who answers questions.
var standIns = map[string]string{
	// Who reads a page ends what serves until it is told to end; sits at a terminal, types the passphrase and says yes; waits of hours are looked after more often, since they take a moment here.
	"firn": `case $1 in
run | serve | schedule | config | status) ;;
*) [ -n "${FIRN_IDENTITY:-}" ] || export FIRN_PASSPHRASE="$FIRN_PASSPHRASE_TYPED" ;;
esac
case "$1 $* " in
*" --plan "* | *" --dry-run "* | *" -n "*) exec ` + built + `/firn "$@" ;;
esac
case $1 in
init) set -- "$@" --kit-saved ;;
restore | drill | repair | copy) set -- "$@" --yes --poll 100ms ;;
check) set -- "$@" --yes --poll 100ms ;;
prune) set -- "$@" --yes ;;
sync) case "$*" in *--wait*) set -- "$@" --poll 100ms ;; esac ;;
ui)
	said=$(mktemp)
	` + built + `/firn "$@" --no-open >"$said" 2>&1 &
	until grep -q http:// "$said"; do kill -0 $! || { cat "$said"; exit 1; }; sleep 0.05; done
	kill -TERM $!
	wait $! || true
	exec cat "$said"
	;;
thaw) case $2 in list | show | cancel) ;; *) set -- "$@" --yes --poll 100ms ;; esac ;;
esac
exec ` + built + `/firn "$@"
`,
	// All is root's here. The name of a user, and what of the environment is kept, go.
	"sudo": `while :; do case $1 in
-u | -g) shift 2 ;;
-E | -H | -n | -i) shift ;;
*=*) export "$1"; shift ;;
*) exec "$@" ;;
esac; done
`,
	// Another machine: the same files, but a home of its own, and with it other keys and another memory.
	"ssh": `host=$1
shift
mkdir -p "/run/doc/machines/$host"
cd "/run/doc/machines/$host"
HOME=/run/doc/machines/$host FIRN_HOST=$host exec sh -c "$*"
`,
	"make":      "case $1 in build) cp " + built + "/firn firn ;; *) echo \"make $1 is not run here\" >&2; exit 1 ;; esac\n",
	"systemctl": "exit 0\n",
	"crontab":   "case $1 in -l) exit 1 ;; *) cat >/dev/null ;; esac\n",
	"kubectl":   "case $1 in create | apply | get | logs) ;; *) exit 1 ;; esac\n",
	"apt":       "exit 0\n",
	"apt-get":   "exit 0\n",
	"mail":      "cat >/dev/null\n",
	"lpr":       "cat -- \"$1\" >/dev/null\n",
}
