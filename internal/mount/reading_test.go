package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/digest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// TestReading reads a file in order, at random, by several at once, from fewer bytes of memory than it has.
func TestReading(t *testing.T) {
	w := newWorld(t)
	want := noise(1, 40<<20)
	clear(want[5<<20 : 9<<20])
	w.write("big", want)
	w.must(os.Truncate(filepath.Join(w.src, "big"), 0)) // so that the zeros are a hole
	big, err := os.OpenFile(filepath.Join(w.src, "big"), os.O_WRONLY, 0)
	w.must(err)
	_, err1 := big.WriteAt(want[:5<<20], 0)
	_, err2 := big.WriteAt(want[9<<20:], 9<<20)
	w.must(errors.Join(err1, err2, big.Close()))
	s := w.backup()
	f := w.fs(nil)
	n := w.find(f, s, "big")
	var g sync.WaitGroup
	for reader := range 4 {
		g.Go(func() {
			r := rand.New(rand.NewPCG(uint64(reader), 1))
			o, err := f.openFile(n, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer o.close()
			off, buf := 0, make([]byte, 300<<10)
			for range 200 {
				if reader > 1 {
					off = r.IntN(len(want) + 1000)
				}
				b := buf[:1+r.IntN(len(buf)-1)]
				got, err := o.readAt(nil, b, int64(off))
				end := min(off+len(b), len(want))
				if err != nil || !bytes.Equal(b[:got], want[min(off, end):end]) {
					t.Errorf("%d bytes at %d: %d bytes, %v", len(b), off, got, err)
					return
				}
				off += got
			}
		})
	}
	g.Wait()
	if f.data.bytes > f.data.limit || f.readers.Load() != 0 {
		t.Errorf("%d bytes in the cache, %d readers", f.data.bytes, f.readers.Load())
	}
	o, err := f.openFile(n, nil)
	w.must(err)
	for _, c := range []struct {
		off  int64
		hole bool
		want int64
	}{{0, false, 0}, {0, true, 5 << 20}, {6 << 20, true, 6 << 20}, {6 << 20, false, 9 << 20}, {10 << 20, true, 40 << 20}} {
		if at, err := o.seek(nil, c.off, c.hole); at != c.want || err != nil {
			t.Errorf("seek from %d, hole %v: %d, %v", c.off, c.hole, at, err)
		}
	}
	if _, err := o.seek(nil, 40<<20, false); err != errRange {
		t.Error(err)
	}
}

// TestDamaged: what is in a damaged pack fails, and says why; what is elsewhere does not.
func TestDamaged(t *testing.T) {
	w := newWorld(t)
	for i := range 6 {
		w.write(fmt.Sprintf("f%d", i), noise(uint64(i), 900<<10))
	}
	s := w.backup()
	f := w.fs(nil)
	bad := w.holding(f, s, "f3")
	w.st.bad = bad
	for i := range 6 {
		name := fmt.Sprintf("f%d", i)
		shares := false
		for p := range w.holding(f, s, name) {
			shares = shares || bad[p]
		}
		got, err := w.read(f, s, name)
		if !shares && (err != nil || !bytes.Equal(got, noise(uint64(i), 900<<10))) {
			t.Errorf("%s: %v", name, err)
		}
		if name != "f3" {
			continue
		}
		n := w.find(f, s, name)
		if kindOf(err) != isBroken {
			t.Fatalf("kind %d of %v", kindOf(err), err)
		}
		f.explainOnce(n, err)
		why, err := f.xattr(n, attrError, nil)
		if err != nil || !strings.Contains(string(why), `"f3" of `) || !strings.Contains(string(why), "is damaged") || !strings.Contains(w.told(), string(why)) {
			t.Errorf("%s, %v; told: %s", why, err, w.told())
		}
		if names, err := f.xattrNames(n, nil); err != nil || strings.Join(names, ",") != attrError {
			t.Errorf("names %q, %v", names, err)
		}
	}
	w.st.mu.Lock()
	w.st.bad = nil
	w.st.mu.Unlock()
	w.leap(time.Hour)
	if got, err := w.read(f, s, "f3"); err != nil || !bytes.Equal(got, noise(3, 900<<10)) {
		t.Errorf("once it is mended: %v", err)
	}
}

// TestCold: what is cold fails at once and without many requests; what was thawed is read.
func TestCold(t *testing.T) {
	w := newWorld(t)
	w.class = "DEEP_ARCHIVE"
	for i := range 30 {
		w.write(fmt.Sprintf("small%d", i), noise(uint64(i), 1000))
	}
	want := noise(50, 3<<20)
	w.write("large file", want)
	s := w.backup()
	f := w.fs(nil)
	gets := func() int64 { return w.st.Requests()["get"] }
	l, err := f.read(f.names.slot(s.ID), nil)
	w.must(err)
	names, _ := f.namesOf2(lineNode(l.slot, -1))
	if len(names) != 31 {
		t.Fatalf("%d names", len(names))
	}
	before := gets()
	for range 3 {
		for _, name := range names {
			if _, err := w.read(f, s, name); kindOf(err) != isCold {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if made := gets() - before; made > int64(2*len(w.dataPacks())+4) {
		t.Errorf("%d requests for %d packs", made, len(w.dataPacks()))
	}
	n := w.find(f, s, "large file")
	_, err = w.read(f, s, "large file")
	f.explainOnce(n, err)
	why, err := f.xattr(n, attrError, nil)
	if err != nil || !strings.Contains(string(why), "firn restore -r mem '"+s.ID.String()[:8]+":large file' --plan") {
		t.Errorf("%s, %v", why, err)
	}
	if class, err := f.xattr(n, attrClass, nil); string(class) != "DEEP_ARCHIVE" || err != nil {
		t.Errorf("class %s, %v", class, err)
	}
	for _, p := range w.dataPacks() {
		_, err := w.st.Thaw(context.Background(), p, store.ThawOptions{Tier: store.Standard, Days: 5})
		w.must(err)
	}
	w.leap(13 * time.Hour)
	if got, err := w.read(f, s, "large file"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("thawed: %d bytes, %v", len(got), err)
	}
	f.told.works(n)
	if _, err := f.xattr(n, attrError, nil); err != errNone {
		t.Error(err)
	}
}

// namesOf2 lists a folder at once.
func (f *FS) namesOf2(dir node) (names []string, err error) {
	err = f.list(dir).from(-1, nil, func(c *child) bool {
		names = append(names, string(c.name))
		return true
	})
	return names, err
}

// TestStopped: whoever does not wait any more goes, though the store does not answer; so does everybody when it is closed.
func TestStopped(t *testing.T) {
	w := newWorld(t)
	w.write("f", noise(1, 1<<20))
	s := w.backup()
	f := w.fs(nil)
	n := w.find(f, s, "f")
	o, err := f.openFile(n, nil)
	w.must(err)
	free := w.st.stop()
	defer free()
	stop := make(chan struct{})
	failed := make(chan error)
	go func() {
		_, err := o.readAt(stop, make([]byte, 10), 0)
		failed <- err
	}()
	<-w.st.met
	close(stop)
	if err := <-failed; kindOf(err) != isStopped {
		t.Error(err)
	}
	go func() {
		_, err := o.readAt(nil, make([]byte, 10), 0)
		failed <- err
	}()
	f.Close()
	if err := <-failed; err == nil {
		t.Error("read although it is closed")
	}
}

// TestRefresh: new snapshots appear, forgotten ones go, and who reads in those reads on while their packs are there.
func TestRefresh(t *testing.T) {
	w := newWorld(t)
	w.write("f", []byte("one"))
	first := w.backup()
	f := w.fs(nil)
	n := w.find(f, first, "f")
	w.write("f", []byte("two two"))
	second := w.backup()
	if f.find(first) == nil || f.find(second) != nil {
		t.Fatal("shows what it has not looked for")
	}
	w.must(f.Refresh(t.Context()))
	if f.find(second) == nil {
		t.Fatal("a new snapshot does not appear")
	}
	if got, err := w.read(f, second, "f"); string(got) != "two two" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, suffix := range []string{"", ".done"} {
		w.must(w.st.Delete(context.Background(), fmt.Sprintf("snapshots/%v/%v%s", w.access.Host.ScopeID, first.ID, suffix)))
	}
	w.must(f.Refresh(t.Context()))
	if f.find(first) != nil || f.find(second) == nil {
		t.Error("a snapshot that is gone is shown, or one that is not is not")
	}
	o, err := f.openFile(n, nil)
	w.must(err)
	b := make([]byte, 10)
	if got, err := o.readAt(nil, b, 0); string(b[:got]) != "one" || err != nil {
		t.Errorf("%q, %v", b[:got], err)
	}
	for _, p := range w.dataPacks() {
		w.must(w.st.Delete(context.Background(), p))
	}
	f.data = newCache(LeastCache)
	o, err = f.openFile(n, nil)
	w.must(err)
	if _, err = o.readAt(nil, b, 0); kindOf(err) != isBroken || !errors.Is(err, store.ErrNotExist) {
		t.Error(err)
	}
	f.explainOnce(n, err)
	if !strings.Contains(w.told(), "is not in the repository any more") {
		t.Error(w.told())
	}
}

// TestLook: a look at the folders looks for what is new, not more often than it is to, and tells once when that does not work.
func TestLook(t *testing.T) {
	w := newWorld(t)
	w.write("f", []byte("one"))
	w.backup()
	f := w.fs(func(o *Options) { o.Refresh = time.Minute })
	w.write("f", []byte("two"))
	second := w.backup()
	if f.top(nil); f.find(second) != nil {
		t.Error("looked too early")
	}
	w.leap(time.Hour)
	if f.top(nil); f.find(second) == nil {
		t.Error("not looked")
	}
	away := f.o.Repo
	r, err := repo.Open(context.Background(), failing{w.st}, w.access, repo.Options{})
	w.must(err)
	f.o.Repo = r
	for range 3 {
		w.leap(time.Hour)
		if f.top(nil); f.find(second) == nil {
			t.Error("what was there is gone with the store")
		}
	}
	f.o.Repo = away
	w.leap(time.Hour)
	f.top(nil)
	if text := w.told(); strings.Count(text, "cannot be looked for") != 1 || strings.Count(text, "are looked for again") != 1 {
		t.Error(text)
	}
}

// find returns where a snapshot is shown.
func (f *FS) find(s *snapshot.Snapshot) *place {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shelf.byID[lineNode(f.names.slot(s.ID), -1)]
}

// failing is a store that is not reached.
type failing struct{ *meddler }

func (failing) List(context.Context, string, string, func(store.Info) error) error {
	return store.ErrNoStore
}

// TestCache: what is used stays, what is too much goes.
func TestCache(t *testing.T) {
	c := newCache(1000)
	put := func(i int) {
		k, mine := c.find(digest.Chunk{byte(i)})
		if mine {
			c.finish(k, make([]byte, 100), nil)
		}
	}
	for i := range 100 {
		put(i)
		put(0)
	}
	if !c.has(digest.Chunk{}) || c.has(digest.Chunk{80}) || !c.has(digest.Chunk{99}) || c.bytes != 1000 || len(c.held) != 10 {
		t.Errorf("%d chunks of %d bytes", len(c.held), c.bytes)
	}
	k, _ := c.find(digest.Chunk{200})
	c.finish(k, nil, errSilent)
	if _, err := k.wait(nil); err != errSilent || c.has(digest.Chunk{200}) {
		t.Errorf("what failed is kept: %v", err)
	}
	k, _ = c.find(digest.Chunk{201})
	c.finish(k, make([]byte, 5000), nil)
	if !c.has(digest.Chunk{201}) || len(c.held) != 1 {
		t.Error("one that is larger than all has no room")
	}
}
