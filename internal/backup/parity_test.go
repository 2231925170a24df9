package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/backup"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/format"
	"firn/internal/index"
	"firn/internal/par2"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// percent is what Storage.Parity points to.
func percent(n int) *int { return &n }

func (w *world) object(name string) []byte {
	w.t.Helper()
	rc, err := w.st.Get(w.t.Context(), name, 0, -1)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = rc.Close() }()
	raw, err := io.ReadAll(rc)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// checkVolumes reads every pack that an index names: those of a kind that has parity have a volume beside them, which is what the index says, belongs to the pack
// under the pack's name, and finds it whole. It returns how many packs of that kind there are.
func (w *world) checkVolumes(kind chunk.Kind, want bool) (packs int) {
	w.t.Helper()
	_, s := w.open()
	err := s.Set().EachPack(func(info *index.Info, _ bool) error {
		if info.Kind != kind {
			return nil
		}
		packs++
		if (info.Par2 != nil) != want {
			w.t.Errorf("%v pack %v of %d bytes: recovery volume %v", kind, info.Name, info.Size, info.Par2)
			return nil
		}
		name := repo.PackName(s, info)
		if !want {
			if _, err := w.st.Stat(w.t.Context(), name+".par2"); !errors.Is(err, store.ErrNotExist) {
				w.t.Errorf("%s has a recovery volume that no index knows: %v", name, err)
			}
			return nil
		}
		content, volume := w.object(name), w.object(name+".par2")
		if int64(len(volume)) != info.Par2.Size || digest.SumObject(volume) != info.Par2.Sum {
			w.t.Errorf("%s.par2 is not what the index says", name)
		}
		set, err := par2.Parse(par2.Source{Data: bytes.NewReader(volume), Size: int64(len(volume))})
		if err != nil || len(set.Files) != 1 || set.Files[0].Name != info.Name.String() || set.Recovery() == 0 {
			w.t.Fatalf("%s.par2: %+v, %v", name, set, err)
		}
		if r := set.Check([]par2.Source{{Data: bytes.NewReader(content), Size: int64(len(content))}}, par2.Options{}); !r.Whole() {
			w.t.Errorf("%s is not what its recovery volume says: %v", name, r.Err())
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return packs
}

// TestParity: packs have volumes or none as the repository says, or the source, for which it goes on from snapshot to snapshot; what goes into a cold class of a repository
// for content at hand has 5 %. The real program verifies them all.
func TestParity(t *testing.T) {
	for _, c := range []struct {
		name    string
		init    format.Parity
		storage snapshot.Storage
		data    bool
	}{
		{"none", format.Parity{}, snapshot.Storage{}, false},
		{"repository", format.Parity{Data: 7, Meta: 10}, snapshot.Storage{}, true},
		{"source", format.Parity{Meta: 3}, snapshot.Storage{Parity: percent(100)}, true},
		{"not this source", format.Parity{Data: 5}, snapshot.Storage{Parity: percent(0)}, false},
		{"cold source", format.Parity{}, snapshot.Storage{Class: "COLD"}, true},
		{"cold in the end", format.Parity{}, snapshot.Storage{Class: "WARM", Then: "COLD", HotFor: 1e9}, true},
		{"warm source", format.Parity{}, snapshot.Storage{Class: "WARM"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, repo.InitOptions{Parity: c.init})
			storage := c.storage
			w.opts = func(o *backup.Options) {
				o.PackSize, o.Storage, o.Streams = 300_000, storage, 400_000
				o.IsCold = func(class string) bool { return class == "COLD" }
			}
			w.grow(1, 60)
			w.settle()
			w.backup()
			storage = snapshot.Storage{} // as in the last snapshot
			w.grow(2, 60)
			w.settle()
			res := w.backup()
			w.verify(res.Snapshot)
			if n := w.checkVolumes(chunk.Data, c.data); n < 4 || c.data != (res.Volumes == res.Packs && res.Parity > 0) || res.Packs == 0 {
				t.Errorf("%d packs; %+v", n, res)
			}
			w.checkVolumes(chunk.Meta, c.init.Meta > 0)
			w.judge()
		})
	}
}

// judge lets the real program verify every volume, where pack and volume lie side by side in the repository.
func (w *world) judge() {
	w.t.Helper()
	program, err := exec.LookPath("par2")
	switch {
	case err != nil && os.Getenv("CI") == "true":
		w.t.Fatal("no par2 program, which CI must have")
	case err != nil:
		w.t.Log("no par2 program") // the rest of the test has its worth without
		return
	}
	volumes, err := filepath.Glob(filepath.Join(w.root, "*", "*", "*", "*.par2"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, v := range volumes {
		cmd := exec.Command(program, "verify", "-q", filepath.Base(v))
		cmd.Dir = filepath.Dir(v)
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("repair is not required")) {
			w.t.Errorf("%s: %v\n%s", v, err, out)
		}
	}
}

// choosy is a store that does not take recovery volumes.
type choosy struct {
	store.Store
	err error
}

func (c *choosy) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if c.err != nil && strings.HasSuffix(name, ".par2") {
		return c.err
	}
	return c.Store.Put(ctx, name, r, size, o)
}

type passing struct{}

func (passing) Error() string   { return "slow down" }
func (passing) Temporary() bool { return true }

// TestVolumesRefused: volumes that the store refuses for good are told of and left out; where that may pass the run ends, and the next one stores them without reading
// anything again.
func TestVolumesRefused(t *testing.T) {
	for _, streams := range []int64{0, 1} {
		w := newWorld(t, repo.InitOptions{Parity: format.Parity{Data: 5, Meta: 10}})
		c := &choosy{w.st, errors.New("no such names")}
		w.st = c
		notes := 0
		w.opts = func(o *backup.Options) {
			o.PackSize, o.Streams, o.Workers = 20_000, streams, 1
		}
		w.report = func(e event.Event) {
			if n, ok := e.(event.Note); ok && strings.Contains(n.Text, "has no recovery volume: no such names") {
				notes++
			}
		}
		w.grow(1, 60)
		w.settle()
		res := w.backup()
		w.verify(res.Snapshot)
		if w.checkVolumes(chunk.Data, false); notes != 1 || res.Volumes != 0 || res.Packs == 0 {
			t.Errorf("%d notes; %+v", notes, res)
		}
		w.checkVolumes(chunk.Meta, false)
		w.spoolIsEmpty()
		other := newWorld(t, repo.InitOptions{Parity: format.Parity{Data: 5, Meta: 10}})
		c = &choosy{other.st, passing{}}
		other.st, other.src, other.opts = c, w.src, w.opts
		if _, err := other.try(t.Context()); !errors.Is(err, passing{}) {
			t.Fatal(err)
		}
		c.err = nil
		again := other.backup()
		other.verify(again.Snapshot)
		if other.checkVolumes(chunk.Data, true); again.Resumed == 0 {
			t.Error("nothing was taken up")
		}
		other.checkVolumes(chunk.Meta, true)
		other.spoolIsEmpty()
	}
}
