package sync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/sync/ledger"
	"firn/internal/units"
)

// stays reports whether objects of a class are billed for a least stay.
func (r *run) stays(class string) bool {
	if class == "" || class == price.DefaultClass {
		return false
	}
	if r.o.Region == nil {
		return true
	}
	c, ok := r.o.Region.Class(class)
	return !ok || c.MinDays > 0
}

// rest is what is still to be paid for an object that goes now.
func (r *run) rest(o *object) price.Money {
	if r.o.Region == nil || !r.stays(o.Class) {
		return 0
	}
	return r.o.Region.Early(o.Class, 1, o.Size, max(r.o.Now().Sub(o.Modified), 0)).Total()
}

// owed reports whether an object that goes now is still to be paid for, and how much; 0 where no prices are known, so that somebody is asked about what nobody can tell.
func (r *run) owed(o *object) (price.Money, bool) {
	cost := r.rest(o)
	return cost, cost > 0 || r.o.Region == nil && r.stays(o.Class)
}

// dearReplacement reports whether the object that a job replaces has to be paid for longer, and adds it up.
func (r *run) dearReplacement(j *job) bool {
	cost, owed := r.owed(j.to)
	if !owed {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.early += cost
	return true
}

// agree asks whether something may cost what it costs.
func (r *run) agree(ctx context.Context, d Due) error {
	if r.o.Region != nil {
		d.Currency = r.o.Region.Currency
	}
	if r.o.DryRun || r.o.Agree == nil {
		return nil
	}
	if err := r.o.Agree(ctx, d); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &DueError{d, err}
	}
	return nil
}

// replaceCostly does what would replace objects that have to be paid for longer.
func (r *run) replaceCostly(ctx context.Context) error {
	if r.costly.n == 0 {
		return nil
	}
	if err := r.agree(ctx, Due{Why: "replace", Files: r.costly.n, Bytes: r.costly.bytes, Cost: r.early}); err != nil {
		r.withheld = true
		return err
	}
	r.add(func(res *Result) { res.Early += r.early })
	return r.workers(ctx, func(ctx context.Context, _ *errgroup.Group) error {
		return r.costly.each(func(j *job) error {
			j.agreed = true
			return r.give(ctx, j)
		})
	})
}

// repositoryMark is the object by which a repository of backups is known. Where the source does not have it and the target does, nothing is deleted: somebody mixed up two prefixes.
const repositoryMark = "firn.json"

// isMark reports whether a key or path is that of the mark of a repository, which may lie anywhere below the target.
func isMark(key string) bool {
	return key == repositoryMark || strings.HasSuffix(key, "/"+repositoryMark)
}

// mark notes a repository that only the target has. e is what the ledger knows: what a sync has brought to a place below the target is a file as any other.
func (r *run) mark(key string, e *ledger.Entry) {
	r.ours = r.ours || key == repositoryMark || isMark(key) && e == nil
}

// hide notes a repository whose mark the filter leaves out, though not the folder in which it lies.
func (r *run) hide(folder string) {
	if folder != "" && r.o.Filter.Leaves(strings.TrimSuffix(folder, "/"), true) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hidden = append(r.hidden, folder)
}

// spare notes a folder of the source that is not looked into.
func (r *run) spare(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mounted = append(r.mounted, path+"/")
}

// isSpared reports whether an object stands for something that the source has and that nothing is made of: a symlink that is left out, or what is mounted. Keys come in order, so that what
// a key lies below is at the end of what its first letters fit.
func (r *run) isSpared(key string) bool {
	for len(r.spared) > 0 && !strings.HasPrefix(key, r.spared[len(r.spared)-1]) {
		r.spared = r.spared[:len(r.spared)-1]
	}
	for _, path := range r.spared {
		if strings.HasPrefix(key, path+"/") {
			return true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.mounted, func(folder string) bool { return strings.HasPrefix(key, folder) })
}

// extra notes an object of the target that the source does not have.
func (r *run) extra(o *object, e *ledger.Entry) error {
	if r.isSpared(o.key) {
		return nil
	}
	j := &job{action: Delete, key: o.key, to: o}
	r.compared(j, Alone)
	r.mark(o.key, e)
	if !r.o.Delete {
		r.tellExtra(j)
		return nil
	}
	r.foldersGone += int64(b2i(strings.HasSuffix(o.key, "/")))
	cost, owed := r.owed(o)
	r.earlyExtras += cost
	r.owedExtras = r.owedExtras || owed
	return r.extras.add(j)
}

// extraFile notes a file of the target that the source does not have.
func (r *run) extraFile(l *localFile, e *ledger.Entry) error {
	j := &job{action: Delete, key: l.key, local: l}
	switch {
	case l.isLnk && r.o.Links != KeepLinks:
		return nil // buckets were not asked to hold links
	}
	r.compared(j, Alone)
	r.mark(l.path, e)
	switch {
	case !r.o.Delete:
		r.tellExtra(j)
	case l.dir:
		r.folders = append(r.folders, l.path)
	default:
		return r.extras.add(j)
	}
	return nil
}

func (r *run) tellExtra(j *job) {
	if r.o.Same {
		r.tell(r.removal(j, Extra))
	}
}

// removal is the item of a job that deletes.
func (r *run) removal(j *job, a Action) *Item {
	i := &Item{Action: a, Path: r.pathOf(j.key)}
	if j.to != nil {
		i.Key, i.Size, i.Class = j.to.Key, j.to.Size, j.to.Class
	}
	if j.local != nil {
		i.Path, i.Size, i.Link, i.Folder = j.local.path, j.local.size, j.local.isLnk, j.local.dir
	}
	return i
}

// remove deletes what the source does not have, if that is safe.
func (r *run) remove(ctx context.Context) error {
	n := r.extras.n + int64(len(r.folders))
	if n == 0 {
		return nil
	}
	if r.res.Incomplete() || r.withheld {
		r.add(func(res *Result) { res.Undeleted = n })
		r.o.Events.Emit(event.Note{Text: fmt.Sprintf("nothing is deleted, since not all could be read and written: %s would have been", units.Count(n))})
		return nil
	}
	if ours, err := r.holdsOurs(); err != nil {
		return err
	} else if ours {
		return &PlaceError{Place: r.target(), Doing: "delete in", Err: ErrOurs}
	}
	if err := r.guarded(n); err != nil {
		r.add(func(res *Result) { res.Undeleted = n })
		return err
	}
	if r.owedExtras {
		if err := r.agree(ctx, Due{Why: "delete", Files: n, Bytes: r.extras.bytes, Cost: r.earlyExtras}); err != nil {
			r.add(func(res *Result) { res.Undeleted = n })
			return err
		}
		r.add(func(res *Result) { res.Early += r.earlyExtras })
	}
	if r.dst != nil {
		return r.removeFiles(ctx)
	}
	return r.removeObjects(ctx)
}

// holdsOurs reports whether something of a repository would be deleted.
func (r *run) holdsOurs() (bool, error) {
	if r.ours || len(r.hidden) == 0 {
		return r.ours, nil
	}
	err := r.extras.each(func(j *job) error {
		r.ours = r.ours || slices.ContainsFunc(r.hidden, func(folder string) bool { return strings.HasPrefix(j.key, folder) })
		return nil
	})
	return r.ours, err
}

// guarded fails where more would be deleted than Guard allows. Folders count for themselves alone: they stay where files are lost, and must not make those look few.
func (r *run) guarded(n int64) error {
	g := r.o.Guard
	e := &GuardError{Deletions: n, Of: r.targets, Guard: g}
	files, of := n-int64(len(r.folders))-r.foldersGone, r.targets-r.foldersThere
	switch {
	case !g.Set && (r.res.Files == 0 || r.res.Files == r.foldersHere && files > 0):
		e.Empty = true
		return e
	case g.Set && g.Count >= 0:
		if n > g.Count {
			return e
		}
		return nil
	case !g.Set:
		g.Percent = 50
	}
	if float64(n)*100 > g.Percent*float64(r.targets) || float64(files)*100 > g.Percent*float64(of) {
		return e
	}
	return nil
}

// deleteAtOnce is how many objects one request deletes.
const deleteAtOnce = 1000

func (r *run) removeObjects(ctx context.Context) error {
	var batch []*job
	flush := func() error {
		err := r.removeBatch(ctx, r.still(ctx, batch))
		batch = batch[:0]
		return err
	}
	err := r.extras.each(func(j *job) error {
		if batch = append(batch, j); len(batch) == deleteAtOnce {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return err
}

// removeBatch deletes some objects, copies of which are kept aside first where that is wanted.
func (r *run) removeBatch(ctx context.Context, batch []*job) error {
	gone := make([]bool, len(batch))
	if r.o.BackupDir != "" && !r.o.DryRun {
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(r.o.Connections)
		for i, j := range batch {
			g.Go(func() error {
				if err := r.aside(gctx, j.to); err != nil {
					gone[i] = true
					if gctx.Err() != nil { // it was cut off
						return gctx.Err()
					}
					return r.failed(j.to.Key, err)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	var keys []string
	for i, j := range batch {
		if !gone[i] {
			keys = append(keys, j.to.Key)
		}
	}
	var bad map[string]error
	if !r.o.DryRun && len(keys) > 0 {
		var err error
		if bad, err = r.o.To.Bucket.Delete(ctx, keys); err != nil {
			return &PlaceError{Place: r.target(), Doing: "write", Err: err}
		}
	}
	for i, j := range batch {
		if err := bad[j.to.Key]; err != nil {
			if err := r.failed(j.to.Key, err); err != nil {
				return err
			}
		} else if !gone[i] {
			r.removed(j)
		}
	}
	return nil
}

func (r *run) removed(j *job) {
	r.add(func(res *Result) { res.Deleted++; r.streak = 0 })
	if r.o.Book != nil && !r.o.DryRun {
		r.o.Book.Forget(j.key)
	}
	r.tell(r.removal(j, Delete))
}

// removeFiles deletes files of the target folder, and folders that are empty then.
func (r *run) removeFiles(ctx context.Context) error {
	if r.o.DryRun {
		return r.extras.each(func(j *job) error {
			for _, j := range r.still(ctx, []*job{j}) {
				r.removed(j)
			}
			return nil
		})
	}
	root, err := os.OpenRoot(r.o.To.Folder)
	if err != nil {
		return &PlaceError{Place: r.o.To.Folder, Doing: "write", Err: err}
	}
	defer func() { _ = root.Close() }()
	last := "."
	err = r.extras.each(func(j *job) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(r.still(ctx, []*job{j})) == 0 {
			return nil
		}
		p := j.local.path
		if up := path.Dir(p); up != last {
			r.prune(root, last, up)
			last = up
		}
		if r.o.BackupDir != "" {
			if err := r.moveAside(p); err != nil {
				return r.failed(p, err)
			}
		}
		if err := root.Remove(filepath.FromSlash(p)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return r.failed(p, err)
		}
		r.removed(j)
		return nil
	})
	if err != nil {
		return err
	}
	r.prune(root, last, ".")
	for i := len(r.folders) - 1; i >= 0; i-- {
		if err := root.Remove(filepath.FromSlash(r.folders[i])); err == nil || errors.Is(err, fs.ErrNotExist) {
			r.removed(&job{action: Delete, key: r.folders[i] + "/", local: &localFile{path: r.folders[i], dir: true}})
		} // else it holds what is left out
	}
	return nil
}

// prune removes folders that deletions have emptied, from the one at p upwards, as long as the next deletion is not in them.
func (r *run) prune(root *os.Root, p, next string) {
	for ; p != "." && !r.o.Folders; p = path.Dir(p) {
		if next == p || len(next) > len(p) && next[:len(p)+1] == p+"/" {
			return
		}
		if root.Remove(filepath.FromSlash(p)) != nil {
			return // there is something in it
		}
	}
}

// since is how long ago a time in seconds since 1970 is.
func (r *run) since(sec int64) time.Duration { return r.o.Now().Sub(time.Unix(sec, 0)) }
