package crash

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// bytesOf sums up the files below a folder.
func bytesOf(t testing.TB, dir string) (n int64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if i, err := d.Info(); err == nil {
				n += i.Size()
			}
		}
		return err
	}))
	return n
}

const writers = 8

// author is a machine that backs up in a scope that it shares with the others.
type author struct {
	work, tree string
	rng        *rand.Rand
	ids        []string
	truths     []map[string]string
}

// TestCrowd has eight machines of one scope back up to one repository in a bucket, as fast as they can, beside one that prunes without any grace. What each kept last comes back.
func TestCrowd(t *testing.T) {
	times := 4
	if n, err := strconv.Atoi(os.Getenv("FIRN_CROWD")); err == nil {
		times = n
	}
	w := newWorld(t, true)
	w.init("pruner")
	shared := w.path("shared")
	grow(t, shared, w.rng)
	all := make([]*author, writers)
	for i := range all {
		a := &author{work: fmt.Sprint("writer", i), rng: rand.New(rand.NewPCG(w.seed, uint64(i)+2))}
		a.tree = w.path(a.work, "tree")
		must(t, os.MkdirAll(w.path(a.work), 0o755))
		w.copy(shared, a.tree)
		all[i] = a
	}
	errs := make([]error, writers+1)
	done := make(chan struct{})
	var writing, pruning sync.WaitGroup
	for i, a := range all {
		writing.Go(func() { errs[i] = a.write(w, times) })
	}
	prunes := 0
	pruning.Go(func() {
		for errs[writers] == nil {
			select {
			case <-done:
				return
			default:
			}
			_, errs[writers] = run(w.command("pruner", "prune", "--keep-last", "2", "--burst", "0", "--grace", "0", "--yes", "-q"))
			prunes++
		}
	})
	writing.Wait()
	close(done)
	pruning.Wait()
	for _, err := range errs {
		if err != nil {
			t.Errorf("FIRN_SEED=%d: %v", w.seed, err)
		}
	}
	t.Logf("%d writers, %d backups each, beside %d prunes", writers, times, prunes)
	w.must(w.command("pruner", "prune", "--keep-last", "2", "--burst", "0", "--grace", "0", "--yes", "-q"))
	w.must(w.command("pruner", "check", "--read-data", "--yes"))
	for _, a := range all {
		for i := max(0, len(a.ids)-2); i < len(a.ids); i++ {
			w.same(fmt.Sprintf("%s, snapshot %d", a.work, i), w.restored("pruner", a.ids[i]), a.truths[i])
		}
	}
}

func (a *author) write(w *world, times int) error {
	for i := range times {
		if i > 0 {
			change(w.t, a.tree, a.rng)
		}
		truth := w.look(a.tree)
		cmd := w.command("pruner", "backup", "--json", "--pack-size", "1M", "--source", a.work, "--host", a.work, "--scope", "fleet", a.tree)
		cmd.Env = append(cmd.Env, "FIRN_CACHE_DIR="+w.path(a.work, "cache"), "FIRN_STATE_DIR="+w.path(a.work, "state"), "HOME="+w.path(a.work))
		id, err := snapshotOf(run(cmd))
		if err != nil {
			return fmt.Errorf("%s, backup %d: %w", a.work, i, err)
		}
		a.ids, a.truths = append(a.ids, id), append(a.truths, truth)
	}
	return nil
}
