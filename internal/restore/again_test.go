package restore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/store"
	"firn/internal/target"
)

// stopping is a store that ends a context after some reads of content, or answers what it is told.
type stopping struct {
	store.Store
	left   atomic.Int64
	cancel context.CancelFunc
	err    error
}

func (s *stopping) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(name, "data/") && s.left.Add(-1) < 0 {
		if s.err != nil {
			return nil, store.Fail("get", name, s.err)
		}
		s.cancel()
	}
	return s.Store.Get(ctx, name, off, n)
}

func (w *world) through(o *restore.Options, st store.Store) {
	w.t.Helper()
	r, err := repo.Open(context.Background(), st, w.access, repo.Options{})
	w.must(err)
	s, err := r.Load(context.Background(), w.access.Host.ScopeID, true)
	w.must(err)
	o.Repo, o.Scope = r, s
}

func TestStopAndGoOn(t *testing.T) {
	w := newWorld(t)
	w.pack = 256 << 10
	w.plant(11, 150)
	w.write("huge", randomBytes(5, 20<<20))
	w.backup()
	full := w.options("full")
	all := w.clean(full)
	var got int64
	for round := range int64(200) {
		o := w.options("out")
		ctx, cancel := context.WithCancel(context.Background())
		st := &stopping{Store: w.st, cancel: cancel}
		st.left.Store(2 + round)
		w.through(&o, st)
		res, err := restore.Run(ctx, o)
		cancel()
		got += res.BytesGot
		if err == nil {
			if round < 2 {
				t.Errorf("ended in round %d", round)
			}
			sameTree(t, w.src, o.Target)
			w.noTemporaries("out")
			if got > 3*all.BytesGot {
				t.Errorf("fetched %d bytes in %d rounds, %d are enough", got, round+1, all.BytesGot)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	t.Error("never ended")
}

// TestStopAndKeep stops a restore that replaces nothing: folders that it had made, and could give no metadata any more, get theirs from the next one. A folder of somebody else keeps its own.
func TestStopAndKeep(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("folders have no modes")
	}
	w := newWorld(t)
	w.pack = 256 << 10
	w.plant(13, 150)
	w.backup()
	for round := range int64(6) {
		name := fmt.Sprint("out", round)
		for again := range int64(4) {
			o := w.options(name)
			o.Overwrite = target.Never
			ctx, cancel := context.WithCancel(context.Background())
			st := &stopping{Store: w.st, cancel: cancel}
			st.left.Store(round + again)
			if again == 3 {
				st.left.Store(1 << 40)
			}
			w.through(&o, st)
			_, err := restore.Run(ctx, o)
			cancel()
			if err != nil && (again == 3 || !errors.Is(err, context.Canceled)) {
				t.Fatal(err)
			}
		}
		sameTree(t, w.src, filepath.Join(w.base, name))
		w.noTemporaries(name)
	}
	theirs := filepath.Join(w.base, "theirs")
	w.must(os.Mkdir(theirs, 0o750))
	o := w.options("theirs")
	o.Overwrite = target.Never
	w.clean(o)
	if info, err := os.Stat(theirs); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestStoreErrors(t *testing.T) {
	w := newWorld(t)
	w.plant(12, 30)
	w.backup()
	for _, want := range []error{store.ErrCold, store.ErrTimeout, store.ErrDenied} {
		o := w.options("out")
		st := &stopping{Store: w.st, err: want}
		w.through(&o, st)
		if res, err := restore.Run(context.Background(), o); !errors.Is(err, want) || res.Failed > 0 {
			t.Errorf("%v: got %v, %d failed", want, err, res.Failed)
		}
		o.Target, o.Tar = "", io.Discard
		if _, err := restore.Run(context.Background(), o); !errors.Is(err, want) {
			t.Errorf("tar: %v: got %v", want, err)
		}
	}
}

// TestMarkIsForItsOwner: a folder that has the mode of the mark in the snapshot keeps it, and a marked target stays marked for the restore that was interrupted, whatever else is restored there meanwhile.
func TestMarkIsForItsOwner(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("folders have no modes")
	}
	w := newWorld(t)
	w.plant(14, 20)
	w.must(os.WriteFile(filepath.Join(w.src, "one"), []byte("x"), 0o600))
	w.must(os.Chmod(w.src, 0o700|os.ModeSticky))
	w.backup()
	mode := func(name string) os.FileMode {
		info, err := os.Stat(filepath.Join(w.base, name))
		w.must(err)
		return info.Mode() & (os.ModePerm | os.ModeSticky)
	}
	w.clean(w.options("whole"))
	if got := mode("whole"); got != 0o700|os.ModeSticky {
		t.Errorf("%v, want what the snapshot has", got)
	}
	w.must(os.Chmod(w.src, 0o750))
	w.backup()
	w.must(os.Mkdir(filepath.Join(w.base, "cut"), 0o700))
	w.must(os.Chmod(filepath.Join(w.base, "cut"), 0o700|os.ModeSticky))
	o := w.options("cut")
	o.Path = []byte("one")
	w.clean(o)
	if got := mode("cut"); got != 0o700|os.ModeSticky {
		t.Errorf("%v after one file, want that it is still marked", got)
	}
	w.clean(w.options("cut"))
	if got := mode("cut"); got != 0o750 {
		t.Errorf("%v in the end", got)
	}
}
