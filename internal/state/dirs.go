package state

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
)

// Dirs are the two folders of local state, shared by all repositories. Empty: none.
type Dirs struct {
	Cache string // may be trimmed and deleted at any time
	State string // host keys, heads, locks, journals
}

// Where tells FindDirs about the process. The zero value of a field means that there is none.
type Where struct {
	CacheDir, StateDir string              // overrides
	Getenv             func(string) string // XDG_CACHE_HOME, XDG_STATE_HOME, HOME, LOCALAPPDATA
	UID                int                 // of the process; root is 0, negative where users have no numbers
}

// Here describes this process, with overrides that may be empty.
func Here(cacheDir, stateDir string) Where {
	return Where{cacheDir, stateDir, os.Getenv, os.Geteuid()}
}

// FindDirs chooses: the overrides; for root /var/cache/firn and /var/lib/firn; else $XDG_CACHE_HOME/firn and $XDG_STATE_HOME/firn, ~/.cache/firn
// and ~/.local/state/firn, on Windows %LOCALAPPDATA%\firn; without a home a folder of this user in the folder for
// temporary files, if it is safely the user's own; else none.
func FindDirs(w Where) Dirs {
	d := Dirs{w.CacheDir, w.StateDir}
	if d.Cache != "" && d.State != "" {
		return d
	}
	found := w.find()
	if d.Cache == "" {
		d.Cache = found.Cache
	}
	if d.State == "" {
		d.State = found.State
	}
	return d
}

func (w Where) find() Dirs {
	get := func(name string) string {
		if w.Getenv == nil {
			return ""
		}
		if v := w.Getenv(name); filepath.IsAbs(v) { // relative ones are to be ignored, says the XDG specification
			return v
		}
		return ""
	}
	if w.UID == 0 {
		return Dirs{"/var/cache/firn", "/var/lib/firn"}
	}
	var d Dirs
	if local := get("LOCALAPPDATA"); runtime.GOOS == "windows" && local != "" {
		return Dirs{filepath.Join(local, "firn", "cache"), filepath.Join(local, "firn", "state")}
	}
	home := get("HOME")
	if x := get("XDG_CACHE_HOME"); x != "" {
		d.Cache = filepath.Join(x, "firn")
	} else if home != "" {
		d.Cache = filepath.Join(home, ".cache", "firn")
	}
	if x := get("XDG_STATE_HOME"); x != "" {
		d.State = filepath.Join(x, "firn")
	} else if home != "" {
		d.State = filepath.Join(home, ".local", "state", "firn")
	}
	if d.Cache == "" || d.State == "" {
		if tmp := w.temporary(); tmp != "" {
			if d.Cache == "" {
				d.Cache = filepath.Join(tmp, "cache")
			}
			if d.State == "" {
				d.State = filepath.Join(tmp, "state")
			}
		}
	}
	return d
}

// temporary returns a folder of this user among the temporary files. Everybody can make a folder of that name there, so it counts
// only if it is a real folder, owned by the user and closed to all others.
func (w Where) temporary() string {
	if w.UID < 0 {
		return ""
	}
	path := filepath.Join(os.TempDir(), "firn-"+strconv.Itoa(w.UID))
	if err := os.Mkdir(path, 0o700); err != nil && !os.IsExist(err) {
		return ""
	}
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ownedBy(info, w.UID) {
		return ""
	}
	return path
}
