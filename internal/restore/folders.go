package restore

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"

	"firn/internal/manifest"
	"firn/internal/source"
	"firn/internal/target"
)

// folder is a folder of the selection, or on the way to it.
type folder struct {
	rel    []byte
	meta   target.Meta
	made   bool
	there  bool // it was there before
	keep   bool // its metadata stay as they are
	late   bool // something is written into it, or below, at the end of the walk
	failed error
}

// depth is how many folders lie above it.
func (f *folder) depth() int {
	if len(f.rel) == 0 {
		return 0
	}
	return 1 + bytes.Count(f.rel, []byte{'/'})
}

// metaOf is what the target is told of an entry.
func metaOf(e *manifest.Entry) target.Meta {
	return target.Meta{
		Type: source.Type(e.Type), Mode: e.Mode, UID: e.UID, GID: e.GID, User: e.User, Group: e.Group, Major: e.Major, Minor: e.Minor,
		MtimeSec: e.Mtime.Sec, MtimeNsec: e.Mtime.Nsec, Xattrs: xattrsOf(e),
	}
}

// xattrsOf copies the attributes of an entry.
func xattrsOf(e *manifest.Entry) []source.Xattr {
	if len(e.Xattrs) == 0 {
		return nil
	}
	out := make([]source.Xattr, len(e.Xattrs))
	for i, x := range e.Xattrs {
		out[i] = source.Xattr{Name: x.Name, Value: bytes.Clone(x.Value)}
	}
	return out
}

// enterFolder puts a folder on the stack.
func (g *gatherer) enterFolder(e *manifest.Entry, rel []byte, chosen bool) error {
	g.stack = append(g.stack, &folder{rel: bytes.Clone(rel), meta: metaOf(e)})
	g.win.weight += 300 + len(rel)
	if chosen {
		return g.makeFolders()
	}
	return nil
}

// leaveFolders takes from the stack what does not contain rel.
func (g *gatherer) leaveFolders(rel []byte, all bool) {
	for n := len(g.stack); n > 0 && (all || !manifest.Within(rel, g.stack[n-1].rel)); n-- {
		if f := g.stack[n-1]; f.made && f.failed == nil {
			g.win.folders = append(g.win.folders, *f)
		}
		g.stack = g.stack[:n-1]
	}
}

// makeFolders makes the folders on the stack that are not there yet.
func (g *gatherer) makeFolders() error {
	first := len(g.stack)
	for first > 0 && !g.stack[first-1].made {
		first--
	}
	for i := first; i < len(g.stack); i++ {
		f := g.stack[i]
		f.made = true
		outcome := target.Created
		if i > 0 && g.stack[i-1].failed != nil {
			f.failed = g.stack[i-1].failed
		} else {
			outcome, f.failed = g.makeFolder(f, i == 0 || g.stack[i-1].there)
			f.keep = f.there && outcome != target.Resumed && (g.r.o.Overwrite == target.Never || len(f.rel) == 0)
		}
		if g.quiet {
			if f.failed != nil && fatal(f.failed) {
				return f.failed
			}
			continue
		}
		g.r.total.dirs.Add(1)
		if f.failed == nil {
			g.r.done(outcome, "dir", f.rel, 0)
		} else if err := g.r.failed(f.rel, "dir", 0, f.failed); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder makes one folder; above tells that the one above it was there before.
func (g *gatherer) makeFolder(f *folder, above bool) (outcome target.Outcome, err error) {
	r := g.r
	outcome = target.Created
	switch {
	case len(f.rel) == 0:
		if f.there = r.rootThere; r.rootKept {
			outcome = target.Kept
		} else if f.there {
			outcome = target.Resumed
		}
	case r.o.DryRun:
		info, err := r.lstat(above, f.rel)
		switch {
		case err != nil:
		case info.IsDir():
			f.there, outcome = true, target.Kept
		default:
			outcome = target.Replaced
		}
	default:
		if outcome, err = r.to.Mkdir(f.rel); err != nil {
			return 0, err
		}
		f.there = outcome == target.Kept || outcome == target.Resumed
	}
	return outcome, nil
}

// lstat looks at what stands in the target; it fails where nothing can, since the folder above is new.
func (r *run) lstat(above bool, rel []byte) (os.FileInfo, error) {
	if !above {
		return nil, os.ErrNotExist
	}
	return os.Lstat(r.path(rel))
}

// path is a path of the target as the system knows it.
func (r *run) path(rel []byte) string {
	return filepath.Join(r.o.Target, filepath.FromSlash(string(rel)))
}

// finishFolders gives folders their metadata, the deepest first. What was there before keeps its own under the policy Never; the target itself keeps it in any case.
// A folder that several passes write into is finished by each of them.
func (r *run) finishFolders(ctx context.Context, folders []folder) error {
	byDepth := map[int][]int{}
	deepest := 0
	for i := range folders {
		f := &folders[i]
		if f.keep {
			continue
		}
		d := f.depth()
		byDepth[d] = append(byDepth[d], i)
		deepest = max(deepest, d)
	}
	for d := deepest; d >= 0; d-- {
		err := r.spread(ctx, func(send func(job) error) error {
			for part := range slices.Chunk(byDepth[d], choreSize) {
				if err := send(func(*worker) error { return r.finishSome(folders, part) }); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) finishSome(folders []folder, part []int) error {
	for _, i := range part {
		f := &folders[i]
		if err := r.to.Finish(f.rel, &f.meta); err != nil {
			if err := r.failed(f.rel, "dir", 0, err); err != nil {
				return err
			}
		} else if len(f.rel) == 0 {
			r.rootDone = true // one job has it
		}
	}
	return nil
}
