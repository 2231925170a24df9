package wizard

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"firn/internal/snapshot"
	"firn/internal/web"
)

// Where to.
const (
	toFolder   = "folder"
	toTar      = "tar"
	toDownload = "download"
)

// goal is where a restore goes.
type goal struct {
	To        string // toFolder, toTar, toDownload
	Target    string // absolute; empty: the browser
	Overwrite string // never, changed, always
	Says      string // what becomes of what is there
	Room      int64  // bytes that can be written there; -1: nobody knows
}

// maxTarget bounds the path of a target, in bytes.
const maxTarget = 4096

// aim checks where to, as far as that can be seen before, and says what will happen there.
func aim(p *web.Place, o snapshot.Origin, to, target, overwrite string) (*goal, error) {
	g := &goal{To: to, Target: target, Overwrite: overwrite, Room: -1}
	switch to {
	case toDownload:
		g.Target, g.Overwrite = "", ""
		g.Says = "a tar archive goes to this browser; nothing is written on the machine on which firn runs"
		return g, nil
	case toFolder, toTar:
	default:
		return nil, refused(http.StatusBadRequest, "", "where to? choose a folder, a tar file or a download")
	}
	switch overwrite {
	case "", "never", "changed", "always":
	default:
		return nil, refused(http.StatusBadRequest, "", "what is there already stays, or is replaced where it differs, or always: %q is none of that", overwrite)
	}
	if err := checkTarget(p, target); err != nil {
		return nil, err
	}
	if g.Overwrite == "" {
		g.Overwrite = "never"
	}
	err := unusable(target, g.look(o))
	return g, err
}

func (g *goal) look(o snapshot.Origin) error {
	if g.To == toTar {
		return g.aimTar()
	}
	return g.aimFolder(o)
}

// unusable says that it is the target that the system refuses.
func unusable(target string, err error) error {
	var path *fs.PathError
	if !errors.As(err, &path) {
		return err
	}
	return refused(http.StatusBadRequest, "choose another path, one that this machine can write to", "the target %q cannot be used: %v", target, path.Err)
}

// checkTarget refuses what is no path, or lies where nothing may be written.
func checkTarget(p *web.Place, target string) error {
	const hint = "give the whole path, such as /mnt/disk/restored"
	switch {
	case target == "":
		return refused(http.StatusBadRequest, hint, "where to? no path is given")
	case len(target) > maxTarget || strings.IndexByte(target, 0) >= 0:
		return refused(http.StatusBadRequest, hint, "that is no path")
	case !filepath.IsAbs(target):
		return refused(http.StatusBadRequest, hint, "the path %q is not absolute", target)
	case filepath.Clean(target) != target:
		return refused(http.StatusBadRequest, fmt.Sprintf("is %q meant?", filepath.Clean(target)), "the path %q is not plain", target)
	}
	if own := folderOf(p); own != "" {
		if rel, err := filepath.Rel(realPath(own), realPath(target)); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return refused(http.StatusBadRequest, "choose another folder", "target %q lies in the repository", target)
		}
	}
	return nil
}

// folderOf is where a repository lies on this machine; empty: elsewhere.
func folderOf(p *web.Place) string {
	if strings.Contains(p.Location, "://") {
		return ""
	}
	return p.Location
}

// realPath resolves as much of a path as is there.
func realPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for at := abs; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if at == filepath.Dir(at) {
			return abs
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// standing returns the nearest folder at or above a path that is there.
func standing(path string) string {
	for at := path; ; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && info.IsDir() || at == filepath.Dir(at) {
			return at
		}
	}
}

func (g *goal) aimFolder(o snapshot.Origin) error {
	g.Room = room(standing(g.Target))
	info, err := os.Stat(g.Target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		g.Says = "the folder is not there yet: it is made"
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return refused(http.StatusConflict, "choose another path", "%q is there, and is no folder", g.Target)
	}
	f, err := os.Open(g.Target)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Readdirnames(1); errors.Is(err, io.EOF) {
		g.Says = "the folder is there, and empty"
		return nil
	}
	g.Says = map[string]string{
		"never":   "the folder is there: files in it stay as they are, also where the snapshot has others of the same name",
		"changed": "the folder is there: files in it are replaced where size or time differ from those of the snapshot",
		"always":  "the folder is there: files in it are replaced where their content differs from that of the snapshot",
	}[g.Overwrite]
	if realPath(g.Target) == realPath(string(o.Path)) {
		g.Says = "this is the source itself; " + g.Says
	}
	return nil
}

func (g *goal) aimTar() error {
	g.Room = room(standing(filepath.Dir(g.Target)))
	if info, err := os.Stat(filepath.Dir(g.Target)); err != nil {
		return err
	} else if !info.IsDir() {
		return refused(http.StatusConflict, "choose another path", "%q is no folder", filepath.Dir(g.Target))
	}
	if _, err := os.Lstat(g.Target); err == nil {
		return refused(http.StatusConflict, "choose another name, or remove it first", "the file %q is there already", g.Target)
	}
	g.Says = "the archive appears under this name once it is complete"
	return nil
}
