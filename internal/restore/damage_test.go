package restore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firn/internal/repo"
	"firn/internal/restore"
)

// harm is a way in which an object can be lost.
var harms = map[string]func(w *world, name string){
	"deleted": func(w *world, name string) { w.must(w.st.Delete(context.Background(), name)) },
	"flipped": func(w *world, name string) {
		b := w.object(name)
		for i := 200; i < len(b); i += 64 << 10 { // every segment
			b[i] ^= 1
		}
		w.st.Replace(name, b)
	},
	"cut short": func(w *world, name string) { w.st.Replace(name, w.object(name)[:300]) },
	"empty":     func(w *world, name string) { w.st.Replace(name, nil) },
}

// pieces plants files that need several chunks each, in several packs, and small ones.
func plantDamage(w *world) {
	w.pack = 128 << 10
	for i := range 12 {
		w.write(fmt.Sprintf("large%02d", i), randomBytes(uint64(3*i+1), 700<<10))
		for j := range 20 {
			w.write(fmt.Sprintf("small%02d/%02d", i, j), randomBytes(uint64(1000+3*(20*i+j)+1), 8<<10))
		}
		w.must(os.Link(filepath.Join(w.src, fmt.Sprintf("large%02d", i)), filepath.Join(w.src, fmt.Sprintf("zlink%02d", i))))
	}
	w.backup()
}

func TestDamage(t *testing.T) {
	for name, harm := range harms {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			plantDamage(w)
			all := w.packs("data/")
			if len(all) < 10 {
				t.Fatalf("only %d packs", len(all))
			}
			bad := []string{all[1], all[len(all)/2], all[len(all)-2]}
			for _, b := range bad {
				harm(w, b)
			}
			o := w.options("out")
			res := w.run(o)
			checkDamage(t, w, o, res, bad)
			if len(w.problems) != len(res.Damaged) || int64(len(res.Damaged)) != res.Failed || res.Failed == 0 {
				t.Errorf("%d problems, %d damaged, %d failed", len(w.problems), len(res.Damaged), res.Failed)
			}
			if int(res.Requests) > 2*len(all)+100 {
				t.Errorf("%d requests for %d packs", res.Requests, len(all))
			}
		})
	}
}

// checkDamage compares what was restored with the source: every file is whole or named, with the object that it needs.
func checkDamage(t *testing.T, w *world, o restore.Options, res *restore.Result, bad []string) {
	t.Helper()
	named := map[string]bool{}
	for _, d := range res.Damaged {
		named[string(d.Path)] = true
		var lost *repo.DamageError
		if !slices.Contains(bad, d.Object) || !errors.As(d.Err, &lost) || d.Chunk.IsZero() {
			t.Errorf("%s: object %q, chunk %v: %v", d.Path, d.Object, d.Chunk, d.Err)
		}
		if got := exists(filepath.Join(o.Target, string(d.Path))); got != d.Kept {
			t.Errorf("%s: damaged, there: %v, kept: %v", d.Path, got, d.Kept)
		}
	}
	var whole, want []string
	for _, line := range describe(t, w.src) {
		if path := strings.Split(line, `"`)[1]; !named[path] {
			want = append(want, line)
		}
	}
	for _, line := range describe(t, o.Target) {
		if path := strings.Split(line, `"`)[1]; !named[path] {
			whole = append(whole, line)
		}
	}
	sameLines(t, want, whole)
	w.noTemporaries(filepath.Base(o.Target))
}

func TestKeepPartial(t *testing.T) {
	w := newWorld(t)
	plantDamage(w)
	o := w.options("out")
	one := o
	one.Path = []byte("large05")
	needs, err := restore.Plan(context.Background(), one)
	w.must(err)
	bad := needs.Packs[0].Object
	harms["flipped"](w, bad)
	o.KeepPartial = true
	res := w.run(o)
	checkDamage(t, w, o, res, []string{bad})
	kept := 0
	for _, d := range res.Damaged {
		if !d.Kept {
			continue
		}
		kept++
		got, err := os.ReadFile(filepath.Join(o.Target, string(d.Path)))
		w.must(err)
		want, err := os.ReadFile(filepath.Join(w.src, string(d.Path)))
		w.must(err)
		right := 0
		for i := range want {
			if got[i] == want[i] {
				right++
			} else if got[i] != 0 {
				t.Fatalf("%s: byte %d is neither right nor zero", d.Path, i)
			}
		}
		if len(got) != len(want) || right < 8<<10 {
			t.Errorf("%s: %d of %d bytes are right", d.Path, right, len(want))
		}
	}
	if kept == 0 {
		t.Error("no damaged file was kept")
	}
	again := w.options("out") // what is damaged does not count as restored
	if res := w.run(again); res.Failed == 0 {
		t.Error("a second run takes damaged files for whole ones")
	}
}

func TestOtherPack(t *testing.T) {
	w := newWorld(t)
	for i := range 8 {
		w.write(fmt.Sprint("f", i), randomBytes(uint64(3*i+1), 300<<10))
	}
	r, s := w.open()
	w.backup()
	first := w.packs("data/")
	w.must(os.RemoveAll(w.dirs.Cache))
	w.backupWith(r, s) // knows nothing of the first: stores all again
	second := w.packs("data/")
	if len(second) != 2*len(first) {
		t.Fatalf("%d packs, then %d", len(first), len(second))
	}
	for round, lost := range [][]string{second[:1], second[1:]} {
		kept := map[string][]byte{}
		for _, p := range lost {
			kept[p] = w.object(p)
			harms["flipped"](w, p)
		}
		o := w.options(fmt.Sprint("out", round))
		w.clean(o)
		sameTree(t, w.src, o.Target)
		o.Target, o.Tar = "", io.Discard
		w.clean(o)
		for p, b := range kept {
			w.st.Replace(p, b)
		}
	}
}

func TestDamagedContentTree(t *testing.T) {
	w := newWorld(t)
	w.write("huge", randomBytes(1, 20<<20)) // more than 64 pieces
	w.write("z-other", []byte("other"))
	w.backup()
	o := w.options("out")
	w.clean(o)
	sameTree(t, w.src, o.Target)
	needs, err := restore.Plan(context.Background(), o)
	w.must(err)
	if needs.Chunks < 65 {
		t.Fatalf("%d chunks make no tree", needs.Chunks)
	}
}
