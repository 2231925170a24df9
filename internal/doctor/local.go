package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"firn/internal/keys"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/units"
)

// local looks at this machine.
func (d *doctor) local(ctx context.Context) {
	d.folder(CheckCache, d.o.Dirs.Cache, "packs on their way are held in memory, and every run reads anew what the last one knew")
	d.folder(CheckState, d.o.Dirs.State, "this machine cannot keep its key, and a run that was interrupted begins anew")
	d.hostKey(ctx)
	d.programs(ctx)
}

// How much room the folders of this machine want: packs on their way, and 48 bytes for each chunk of a repository.
const (
	roomFine = 2 * units.GiB
	roomFair = 256 * units.MiB
)

// folder makes sure that a folder of this machine can be written, and says how much room there is.
func (d *doctor) folder(check, path, why string) {
	if path == "" {
		d.add(Finding{Check: check, Severity: Warning, What: "there is no folder for it", Why: why})
		return
	}
	there, err := writable(path)
	if err != nil {
		d.add(Finding{Check: check, Severity: Warning, What: err.Error(), Why: why, Fix: Fix{Why: err}})
		return
	}
	free, known := room(there)
	f := Finding{Check: check, What: fmt.Sprintf("%q can be written", path)}
	if known {
		f.What += fmt.Sprintf(", %v free", units.Size(free))
	}
	switch {
	case !known || free >= int64(roomFine) || check == CheckState && free >= int64(roomFair):
	case free >= int64(roomFair):
		f.Severity, f.Why = Note, "packs on their way and the table of chunks lie there"
	default:
		f.Severity, f.Why = Warning, why
	}
	d.add(f)
}

// writable tries to write below the nearest folder above path that is there, and returns that.
func writable(path string) (there string, err error) {
	there = path
	for {
		info, err := os.Stat(there)
		if err == nil && info.IsDir() {
			break
		}
		if err == nil {
			return there, fmt.Errorf("%q is no folder", there)
		}
		up := filepath.Dir(there)
		if !errors.Is(err, fs.ErrNotExist) || up == there {
			return there, err
		}
		there = up
	}
	f, err := os.CreateTemp(there, ".firn-*")
	if err != nil {
		return there, err
	}
	_, err = f.WriteString("firn")
	return there, errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// hostKey looks at the key of this host.
func (d *doctor) hostKey(ctx context.Context) {
	if d.header == nil || d.o.Dirs.State == "" {
		return
	}
	h, err := state.Open(d.o.Dirs, d.header.ID, nil).HostKey()
	var mode *state.ModeError
	switch {
	case err == nil:
		id, name := h.Host.String(), h.Name
		h.Wipe()
		if d.revoked(ctx, id) {
			d.add(Finding{Check: CheckHostKey, Severity: Problem, What: fmt.Sprintf("the key of host %q was revoked", name), Evidence: []string{"hosts/" + id + ".revoked"},
				Why: "what it writes from now on does not count; a backup with a passphrase or identity makes another key, once this one is gone"})
			return
		}
		d.ok(CheckHostKey, "host %q writes with it, and only its owner can read it", name)
	case errors.As(err, &mode):
		d.add(Finding{Check: CheckHostKey, Severity: Problem, What: err.Error(), Why: "it is not used until it is closed to others, who may have copied it",
			Fix: Fix{Close: mode.Path, Why: err}})
	case errors.Is(err, fs.ErrNotExist):
		d.add(Finding{Check: CheckHostKey, Severity: Note, What: "this machine has none for the repository", Why: "the next backup with a passphrase or identity makes one"})
	default:
		d.add(Finding{Check: CheckHostKey, Severity: Problem, What: err.Error(), Why: "backups need a passphrase or identity as long as there is no key", Fix: Fix{Why: err}})
	}
}

// revoked reports whether there is a revocation of a host in the store. That it is genuine, only who opens the repository can say; one that is not is reason to look, too.
func (d *doctor) revoked(ctx context.Context, host string) (there bool) {
	name := "hosts/" + host + ".revoked"
	_ = d.o.Store.List(ctx, name, "", func(i store.Info) error { // who may not list is told so elsewhere
		there = there || i.Name == name
		return nil
	})
	return there
}

// versionTime is how long a program may take to tell its version.
const versionTime = 5 * time.Second

// programs looks for what gets everything back without firn.
func (d *doctor) programs(ctx context.Context) {
	var there, missing []string
	for _, name := range []string{"age", "zstd", "par2"} {
		version, err := d.o.Version(ctx, name)
		if errors.Is(err, exec.ErrNotFound) {
			missing = append(missing, name)
			continue
		}
		if err != nil || version == "" {
			version = "of unknown version"
		}
		there = append(there, name+" "+version)
		if name == "age" && d.tooOld(version) {
			d.add(Finding{Check: CheckPrograms, Severity: Note, What: "age " + version + " does not open this repository, which is sealed against quantum computers",
				Why: "getting everything back without firn takes age 1.3 or newer"})
		}
	}
	if len(missing) == 0 {
		d.ok(CheckPrograms, "%s are here", list(there))
		return
	}
	f := Finding{Check: CheckPrograms, Severity: Note, What: list(missing) + " not found", Evidence: there,
		Why: "firn itself needs none of them; getting everything back without firn does"}
	if len(there) > 0 {
		f.What += "; " + list(there) + " are here"
	}
	d.add(f)
}

// tooOld reports whether a version of age knows no hybrid keys.
func (d *doctor) tooOld(version string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor)
	return d.header != nil && d.header.Seal == string(keys.Hybrid) && n == 2 && (major < 1 || major == 1 && minor < 3)
}

var versionPattern = regexp.MustCompile(`[0-9]+\.[0-9]+(\.[0-9]+)?`)

// programVersion asks the program in the PATH.
func programVersion(ctx context.Context, name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", exec.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		out, err = exec.CommandContext(ctx, path, "-V").CombinedOutput()
	}
	return versionPattern.FindString(strings.ToValidUTF8(string(out), "")), err
}
