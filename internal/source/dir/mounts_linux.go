package dir

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pseudo holds the magic numbers (statfs(2), linux/magic.h) of file systems that are windows into the kernel: what they show
// is not on any disk, and reading some of it never ends.
var pseudo = map[uint32]string{
	0x00009fa0: "proc", 0x62656572: "sysfs", 0x64626720: "debugfs", 0x74726163: "tracefs",
	0x73636673: "securityfs", 0x62656570: "configfs", 0x65735543: "fusectl", 0x6165676c: "pstore",
	0xde5e81e4: "efivarfs", 0xcafe4a11: "bpf", 0x0027e0eb: "cgroup", 0x63677270: "cgroup2",
	0x00001cd1: "devpts", 0x19800202: "mqueue", 0x958458f6: "hugetlbfs", 0x42494e4d: "binfmt_misc",
	0xf97cff8c: "selinuxfs", 0x43415d53: "smackfs", 0x6e736673: "nsfs", 0x67596969: "rpc_pipefs",
	0x6e667364: "nfsd", 0x6c6f6f70: "binder", 0x07655821: "resctrl", 0xabba1974: "xenfs",
	0x6b414653: "kafs", 0x5a3c69f0: "aafs", 0x09041934: "anon_inode",
}

const (
	magicAutofs = 0x0187
	magicTmpfs  = 0x01021994
	magicRamfs  = 0x858458f6
	magicFUSE   = 0x65735546
)

// volatile are the places whose tmpfs or ramfs is rebuilt at every boot. A tmpfs elsewhere (/tmp, one that a user mounted) is read.
var volatile = []string{"/dev", "/run", "/sys", "/proc", "/var/run", "/var/lock"}

// portals are FUSE file systems that show files which are stored elsewhere: those of desktops, to one user only, and what is shown of a repository, which would come into itself with every backup.
var portals = map[string]bool{"fuse.firn": true, "fuse.portal": true, "fuse.gvfsd-fuse": true, "fuse.gvfs-fuse-daemon": true, "fuse.lxcfs": true}

// judge says why what is mounted at path (absolute), of this magic number and device, is left out; the zero Note if it is read.
func judge(path string, magic uint32, dev uint64, mountinfo func() []byte) Note {
	if name, ok := pseudo[magic]; ok {
		return Note{PseudoFileSystem, name}
	}
	switch magic {
	case magicAutofs:
		return Note{NotMounted, "autofs"}
	case magicTmpfs, magicRamfs:
		for _, v := range volatile {
			if path == v || strings.HasPrefix(path, v+"/") {
				return Note{PseudoFileSystem, "tmpfs"}
			}
		}
		if mountedType(mountinfo(), dev, "") == "devtmpfs" {
			return Note{PseudoFileSystem, "devtmpfs"}
		}
	case magicFUSE:
		if name := mountedType(mountinfo(), dev, ""); portals[name] {
			return Note{PseudoFileSystem, name}
		}
	}
	return Note{}
}

// readMountinfo reads the kernel's list of mounts; nil where /proc is missing. The kernel bounds it (fs.mount-max).
func readMountinfo() []byte {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return b
}

// mountedType finds the type of a mounted file system by device, or by mount point where path is not empty ("" if there is none).
// Lines as in proc_pid_mountinfo(5): id parent major:minor root mountpoint options [tags…] - type source options.
func mountedType(mountinfo []byte, dev uint64, path string) string {
	want := strconv.FormatUint(uint64(unix.Major(dev)), 10) + ":" + strconv.FormatUint(uint64(unix.Minor(dev)), 10)
	found := ""
	for line := range bytes.Lines(mountinfo) {
		head, tail, ok := bytes.Cut(line, []byte(" - "))
		fields, rest := bytes.Fields(head), bytes.Fields(tail)
		if !ok || len(fields) < 6 || len(rest) < 1 {
			continue
		}
		if path == "" && string(fields[2]) == want {
			return string(rest[0])
		}
		if path != "" && unescapeMount(string(fields[4])) == path {
			found = string(rest[0]) // the last one mounted there is the one that is seen
		}
	}
	return found
}

var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#")

func unescapeMount(s string) string { return mountEscapes.Replace(s) }
