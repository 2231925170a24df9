package backup_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"firn/internal/backup"
	"firn/internal/browse"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// TestReadsNothingCold goes through the life of a source in a cold class, with its local state and without: nothing but a restore reads a
// cold object, ever. The store fails the test at any GET of one.
func TestReadsNothingCold(t *testing.T) {
	for _, packSize := range []int64{0, 1 << 20} {
		t.Run(fmt.Sprint(packSize), func(t *testing.T) {
			w := newWorld(t)
			w.st = mem.New(mem.Options{Watch: mem.NoColdGet(t.Errorf)})
			pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
			if err != nil {
				t.Fatal(err)
			}
			w.access, err = repo.Init(t.Context(), w.st, repo.InitOptions{Keys: []repo.NewKey{{Label: "p", Recipient: pass}}, HostName: "nas", DataClass: "DEEP_ARCHIVE"})
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(uint64(packSize), 4))
			noise := func(n int) string {
				b := make([]byte, n)
				for i := range b {
					b[i] = byte(rng.Uint32())
				}
				return string(b)
			}
			full := false
			w.opts = func(o *backup.Options) {
				o.PackSize, o.Full = packSize, full
				o.IsCold = func(class string) bool { return class == "DEEP_ARCHIVE" }
			}
			for i := range 40 {
				w.write(fmt.Sprintf("d%d/f%d", i%5, i), noise(1+rng.IntN(60_000)))
			}
			w.write("large", noise(5<<20))
			for round := range 6 {
				w.settle()
				switch round {
				case 2: // nothing has changed
				case 3: // local state is lost
					if err := os.RemoveAll(w.dirs.Cache); err != nil {
						t.Fatal(err)
					}
				case 4:
					full = true
				default:
					full = false
					w.write(fmt.Sprintf("d1/f%d", round), noise(30_000))
					w.write("large", noise(1<<20)+noise(4<<20))
				}
				res := w.backup()
				if !res.Snapshot.Complete || res.Class != "DEEP_ARCHIVE" {
					t.Fatalf("round %d: %+v", round, res)
				}
			}
			w.look()
		})
	}
}

// look lists, finds and compares.
func (w *world) look() {
	w.t.Helper()
	ctx := w.t.Context()
	r, s := w.open()
	var views []*browse.View
	for _, it := range s.Items {
		v, err := browse.Open(ctx, r, s, it.Snapshot)
		if err != nil {
			w.t.Fatal(err)
		}
		views = append(views, v)
		files := 0
		if err := v.List(browse.ListOptions{Recursive: true}, func(*browse.Entry) error { files++; return nil }); err != nil || files < 41 {
			w.t.Fatalf("%d entries, %v", files, err)
		}
	}
	if _, err := browse.Diff(views[0], views[1], browse.DiffOptions{}, func(*browse.Change) error { return nil }); err != nil {
		w.t.Fatal(err)
	}
	cold := 0
	if err := w.st.List(ctx, "", "", func(i store.Info) error {
		if data := filepath.Dir(filepath.Dir(filepath.Dir(i.Name))) == "data"; data != (i.Class == "DEEP_ARCHIVE") {
			w.t.Errorf("%s lies in class %q", i.Name, i.Class)
		} else if data {
			cold++
		}
		return nil
	}); err != nil || cold == 0 {
		w.t.Fatalf("%d cold objects, %v", cold, err)
	}
}
