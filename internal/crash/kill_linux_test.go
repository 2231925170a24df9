package crash

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// verb is a command that is killed, with what was there before and what has to be there in the end.
type verb struct {
	name    string
	remote  bool                     // it needs a bucket
	prepare func(w *world) *scenario // makes the work "base"
}

// scenario is what a verb begins with and ends in.
type scenario struct {
	begin   func() // puts back what lies outside of works; nil: nothing does
	command func(work string) *exec.Cmd
	judge   func(work string) // what there is once it ran to its end
}

// TestKill kills each verb at random moments.
func TestKill(t *testing.T) {
	all := 36
	if n, err := strconv.Atoi(os.Getenv("FIRN_KILLS")); err == nil {
		all = n
	}
	verbs := []verb{{name: "backup", prepare: backupKilled}, {name: "restore", prepare: restoreKilled}, {name: "prune", prepare: pruneKilled}, {name: "repair", prepare: repairKilled},
		{name: "sync", remote: true, prepare: syncKilled}}
	cases := 2*len(verbs) - 1 // sync is for buckets
	for i, v := range verbs {
		for _, remote := range []bool{false, true} {
			place, share := "folder", all/cases
			if remote {
				place = "versitygw"
			} else if v.remote {
				continue
			}
			if i == 0 && !remote {
				share += all % cases
			}
			t.Run(v.name+"/"+place, func(t *testing.T) { v.run(t, remote, share) })
		}
	}
}

func (v *verb) run(t *testing.T, remote bool, kills int) {
	w := newWorld(t, remote)
	s := v.prepare(w)
	w.clone("base", "clean")
	if s.begin != nil {
		s.begin()
	}
	start := time.Now()
	w.must(s.command("clean"))
	whole := time.Since(start)
	s.judge("clean")
	w.drop("clean")
	cut := 0
	for left := kills; left > 0; {
		w.clone("base", "round")
		if s.begin != nil {
			s.begin()
		}
		inARow := min(1+w.rng.IntN(3), left)
		for range inARow {
			after := time.Duration(w.rng.Int64N(int64(whole)))
			t.Logf("%s is killed after %v of about %v", v.name, after, whole)
			if killAfter(t, s.command("round"), after) {
				cut++
			}
			left--
		}
		w.must(s.command("round"))
		s.judge("round")
		w.drop("round")
		if t.Failed() {
			t.Fatalf("FIRN_SEED=%d", w.seed)
		}
	}
	t.Logf("%d times told to die, %d times before it was through, %d times whole in the end", kills, cut, kills)
}

// killAfter starts a command, kills it, and reports whether that came before its end.
func killAfter(t testing.TB, cmd *exec.Cmd, after time.Duration) bool {
	t.Helper()
	must(t, cmd.Start())
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	return cmd.Wait() != nil
}

// backupKilled is a second backup of a tree that has changed.
func backupKilled(w *world) *scenario {
	w.init("base")
	tree := w.path("tree")
	grow(w.t, tree, w.rng)
	before, first := w.look(tree), w.backup("base", tree)
	change(w.t, tree, w.rng)
	after := w.look(tree)
	return &scenario{
		command: func(work string) *exec.Cmd {
			return w.command(work, "backup", "-q", "--pack-size", "1M", "--source", "tree", tree)
		},
		judge: func(work string) {
			w.must(w.command(work, "check", "--read-data", "--yes"))
			w.same("the snapshot of before", w.restored(work, first), before)
			w.same("the snapshot of after", w.restored(work, "latest"), after)
		},
	}
}

// restoreKilled is a restore into a folder.
func restoreKilled(w *world) *scenario {
	w.init("base")
	tree := w.path("tree")
	grow(w.t, tree, w.rng)
	truth := w.look(tree)
	w.backup("base", tree)
	return &scenario{
		command: func(work string) *exec.Cmd {
			return w.command(work, "restore", "latest", "-q", "--target", w.path(work, "target"))
		},
		judge: func(work string) { w.same("what was restored", w.look(w.path(work, "target")), truth) },
	}
}

// pruneKilled forgets all but two of some snapshots, and deletes what only the others need.
func pruneKilled(w *world) *scenario {
	w.init("base")
	tree := w.path("tree")
	grow(w.t, tree, w.rng)
	var ids []string
	var truths []map[string]string
	for i := range 6 {
		if i > 0 {
			change(w.t, tree, w.rng)
		}
		ids, truths = append(ids, w.backup("base", tree)), append(truths, w.look(tree))
	}
	command := func(work string) *exec.Cmd {
		return w.command(work, "prune", "--keep-last", "2", "--burst", "0", "--grace", "0", "--refresh", "never", "--yes", "-q")
	}
	most := int64(0) // bytes that a prune that nobody killed leaves
	return &scenario{command: command, judge: func(work string) {
		w.must(w.command(work, "check", "--read-data", "--yes"))
		if n := w.snapshots(work); n != 2 {
			w.t.Errorf("%d snapshots, want 2", n)
		}
		for i := len(ids) - 2; i < len(ids); i++ {
			w.same("a snapshot that was kept", w.restored(work, ids[i]), truths[i])
		}
		switch n := bytesOf(w.t, filepath.Join(w.folder(work), "data")); {
		case most == 0:
			most = n
		case n > most:
			w.t.Errorf("%d bytes of packs are left, of %d that are needed", n, most)
		}
	}}
}

func (w *world) snapshots(work string) (n int) {
	w.t.Helper()
	for dec := json.NewDecoder(bytes.NewReader(w.must(w.command(work, "snapshots", "--json")))); dec.More(); n++ {
		var any json.RawMessage
		must(w.t, dec.Decode(&any))
	}
	return n
}

// repairKilled mends packs and an index.
func repairKilled(w *world) *scenario {
	w.init("base", "--parity", "20")
	tree := w.path("tree")
	grow(w.t, tree, w.rng)
	truth := w.look(tree)
	w.backup("base", tree)
	hurt := 0
	must(w.t, filepath.WalkDir(filepath.Join(w.folder("base"), "data"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(p) != "" || hurt == 4 {
			return err
		}
		hurt++
		must(w.t, os.Chmod(p, 0o600))
		f, err := os.OpenFile(p, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = f.WriteAt(content(w.rng, 3000), 5000+w.rng.Int64N(400_000))
		return err
	}))
	if hurt == 0 {
		w.t.Fatal("nothing to damage")
	}
	indexes, err := filepath.Glob(filepath.Join(w.folder("base"), "index", "*", "*"))
	if err != nil || len(indexes) == 0 {
		w.t.Fatal("no index to lose", err)
	}
	must(w.t, os.Remove(indexes[0]))
	return &scenario{
		command: func(work string) *exec.Cmd { return w.command(work, "repair", "--read-data", "--yes", "-q") },
		judge: func(work string) {
			w.must(w.command(work, "check", "--read-data", "--yes"))
			w.same("what was restored", w.restored(work, "latest"), truth)
		},
	}
}

// syncKilled mirrors a tree to where another was mirrored before. What the machine remembers goes with the two addresses, so that the mirror has one place.
func syncKilled(w *world) *scenario {
	must(w.t, os.MkdirAll(w.path("base"), 0o755))
	must(w.t, os.MkdirAll(w.folder("mirror"), 0o755))
	tree, back, mirror := w.path("tree"), w.path("back"), w.repo("mirror")
	grow(w.t, tree, w.rng)
	must(w.t, os.Remove(filepath.Join(tree, "n\xc3\xa4me \xff"))) // no name for an object
	sync := func(work, from, to string) *exec.Cmd {
		return w.command(work, "sync", "--metadata", "--folders", "--delete", "--yes", "-q", from, to)
	}
	w.must(sync("base", tree, mirror))
	w.must(sync("base", mirror, back))
	w.copy(w.folder("mirror"), w.folder("mirror.base"))
	w.copy(back, back+".base")
	change(w.t, tree, w.rng)
	truth := single(w.look(tree))
	return &scenario{
		begin: func() {
			for _, dir := range []string{w.folder("mirror"), back} {
				must(w.t, os.RemoveAll(dir))
				w.copy(dir+".base", dir)
			}
		},
		command: func(work string) *exec.Cmd { return sync(work, tree, mirror) },
		judge: func(work string) {
			killAfter(w.t, sync(work, mirror, back), time.Duration(w.rng.Int64N(int64(400*time.Millisecond))))
			w.must(sync(work, mirror, back))
			w.same("what came back", contents(single(w.look(back))), contents(truth))
			fresh := w.path(work, "fresh")
			killAfter(w.t, sync(work, mirror, fresh), time.Duration(w.rng.Int64N(int64(400*time.Millisecond))))
			w.must(sync(work, mirror, fresh))
			w.same("what came to an empty place", single(w.look(fresh)), truth)
		},
	}
}

// single is a description of files without what a mirror does not keep: which names are one file, and the folder at the top.
func single(all map[string]string) map[string]string {
	out := map[string]string{}
	for p, text := range all {
		if p != "." {
			out[p], _, _ = strings.Cut(text, " = ")
		}
	}
	return out
}

// contents leaves out modes and times of folders, which an object that looks the same does not tell.
func contents(all map[string]string) map[string]string {
	out := map[string]string{}
	for p, text := range all {
		if text[0] == 'd' {
			text = "folder"
		}
		out[p] = text
	}
	return out
}
