package retry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"firn/internal/faultstore"
	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/storetest"
)

// patient returns options that do not wait, and what would have been waited.
func patient(waits *[]time.Duration) Options {
	return Options{Sleep: func(ctx context.Context, d time.Duration) error {
		if waits != nil {
			*waits = append(*waits, d)
		}
		return ctx.Err()
	}}
}

// The whole suite passes over a store where a third of all calls fail.
func TestSuiteWithFaults(t *testing.T) {
	for seed := range uint64(8) {
		rules := faultstore.MustParse("any * before p=0.2\nany * after p=0.1\nget * torn p=0.2\nlist * torn p=0.3\nput * torn p=0.1")
		storetest.Suite{SameAgain: true, Objects: 60, Big: 1 << 20, Open: func(*testing.T) store.Store {
			o := patient(nil)
			o.Tries = 60
			return New(bare{faultstore.New(mem.New(mem.Options{}), seed, rules...)}, o)
		}}.Run(t)
		if t.Failed() {
			t.Fatalf("seed %d, rules %v", seed, rules)
		}
	}
}

// bare has no optional powers, which are not repeated.
type bare struct{ store.Store }

func TestBackOff(t *testing.T) {
	var waits []time.Duration
	o := patient(&waits)
	o.Tries, o.First, o.Longest = 8, time.Second, 10*time.Second
	s := New(faultstore.New(mem.New(mem.Options{}), 1, faultstore.MustParse("stat * before")...), o)
	_, err := s.Stat(t.Context(), "a")
	var fault *faultstore.Fault
	if !errors.As(err, &fault) || len(waits) != 7 {
		t.Fatalf("%v after %v", err, waits)
	}
	for i, w := range waits {
		if most := min(time.Second<<i, 10*time.Second); w <= 0 || w > most {
			t.Errorf("wait %d is %v, at most %v", i, w, most)
		}
	}
}

func TestPatience(t *testing.T) {
	now := time.Unix(0, 0)
	calls := 0
	s := New(faultstore.New(mem.New(mem.Options{}), 1, faultstore.MustParse("stat * before")...), Options{Tries: 1000, Patience: time.Minute,
		Now: func() time.Time { return now }, Sleep: func(_ context.Context, d time.Duration) error { calls++; now = now.Add(d); return nil }})
	if _, err := s.Stat(t.Context(), "a"); err == nil || now.Sub(time.Unix(0, 0)) > time.Minute || calls < 3 {
		t.Errorf("%v after %v and %d tries", err, now.Sub(time.Unix(0, 0)), calls)
	}
}

func TestNoRetry(t *testing.T) {
	var waits []time.Duration
	s := New(faultstore.New(mem.New(mem.Options{}), 1, faultstore.MustParse("stat * before permanent")...), patient(&waits))
	if _, err := s.Stat(t.Context(), "a"); err == nil || len(waits) > 0 {
		t.Errorf("%v, %v", err, waits)
	}
	if _, err := s.Get(t.Context(), "a", 0, -1); !errors.Is(err, store.ErrNotExist) || len(waits) > 0 {
		t.Errorf("%v, %v", err, waits)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s = New(faultstore.New(mem.New(mem.Options{}), 1, faultstore.MustParse("stat * before")...),
		Options{Notify: func(string, string, error, time.Duration) { cancel() }})
	if _, err := s.Stat(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A Put whose answer was lost is a success if the object there is the one that was put, and no other.
func TestUnclearPut(t *testing.T) {
	content := []byte("content")
	for _, sum := range []bool{true, false} {
		o := store.PutOptions{}
		if sum {
			o.Sum = sha256.Sum256(content)
		}
		base := mem.New(mem.Options{})
		s := New(faultstore.New(base, 1, faultstore.MustParse("put * after nth=1\nput other before")...), patient(nil))
		if err := s.Put(t.Context(), "mine", bytes.NewReader(content), 7, o); err != nil {
			t.Errorf("answer lost: %v", err)
		}
		if err := s.Put(t.Context(), "mine", bytes.NewReader(content), 7, o); !errors.Is(err, store.ErrExist) {
			t.Errorf("a second put that was clear: %v", err)
		}
	}
	for _, other := range []string{"not mine", "CONTENT"} {
		base := mem.New(mem.Options{})
		storetest.Put(t, base, "x", []byte(other))
		s := New(faultstore.New(base, 1, faultstore.MustParse("put * before nth=1")...), patient(nil))
		if err := s.Put(t.Context(), "x", bytes.NewReader(content), 7, store.PutOptions{}); !errors.Is(err, store.ErrExist) {
			t.Errorf("another object is taken for ours: %v", err)
		}
	}
}

// A listing that breaks off again and again shows every object once.
func TestListResumes(t *testing.T) {
	base := mem.New(mem.Options{})
	var want []string
	for i := range 200 {
		want = append(want, fmt.Sprintf("x/%03d", i))
		storetest.Put(t, base, want[i], nil)
	}
	faults := faultstore.New(base, 1, faultstore.MustParse("list * torn times=5")...)
	got, err := storetest.Names(t.Context(), New(faults, patient(nil)), "x/", "")
	if err != nil || !slices.Equal(got, want) || faults.Count("list") != 6 {
		t.Errorf("%d names, %v, %d lists", len(got), err, faults.Count("list"))
	}
}

// A reader that breaks off goes on where it was, and asks for no byte twice.
func TestReaderResumes(t *testing.T) {
	base := mem.New(mem.Options{})
	content := storetest.Content(1, 100_000)
	storetest.Put(t, base, "x", content)
	for _, length := range []int64{-1, 90_000} {
		faults := faultstore.New(base, 1, faultstore.MustParse("get * torn times=4")...)
		got, err := storetest.Get(t.Context(), New(faults, patient(nil)), "x", 1000, length)
		want := content[1000:]
		if length > 0 {
			want = want[:length]
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		log := faults.Log()
		if last := log[len(log)-1]; last.Offset < 1000+int64(len(want))*15/16-1 {
			t.Errorf("the last try began at %d", last.Offset)
		}
	}
}

// The answers of a cold store are final, but for the one that says: not now.
func TestColdErrors(t *testing.T) {
	for _, c := range []struct {
		err   error
		tries int
	}{
		{store.ErrCold, 1}, {store.ErrThawing, 1}, {store.ErrNotCold, 1}, {store.ErrTier, 1}, {store.ErrNoStatus, 1}, {store.ErrUnsupported, 1}, {store.ErrNoCapacity, 4},
	} {
		tries := 0
		o := patient(nil)
		o.Tries = 4
		s := New(mem.New(mem.Options{Watch: func(mem.Request) error { tries++; return c.err }}), o)
		if _, err := s.Get(t.Context(), "a", 0, -1); !errors.Is(err, c.err) || tries != c.tries {
			t.Errorf("get: %v after %d tries", err, tries)
		}
		tries = 0
		thawer, ok := store.As[store.Thawer](s)
		if !ok {
			t.Fatal("no Thawer behind the wrapper")
		}
		if _, err := thawer.Thaw(t.Context(), "a", store.ThawOptions{Days: 1}); !errors.Is(err, c.err) || tries != 1 {
			t.Errorf("thaw: %v after %d tries: it is the caller who paces", err, tries)
		}
	}
}

// memory remembers an upload.
type memory struct{ id string }

func (m *memory) Upload() string      { return m.id }
func (m *memory) SetUpload(id string) { m.id = id }

// passing shows what options a Put was given, and fails the first time.
type passing struct {
	store.Store
	seen []store.PutOptions
}

func (p *passing) Put(_ context.Context, _ string, _ io.ReadSeeker, _ int64, o store.PutOptions) error {
	p.seen = append(p.seen, o)
	if len(p.seen) == 1 {
		return store.ErrTimeout
	}
	return nil
}

func TestPutOptionsPass(t *testing.T) {
	p := &passing{Store: mem.New(mem.Options{})}
	o := store.PutOptions{Class: "GLACIER", Parts: 7, Memory: &memory{"u1"}}
	if err := New(p, patient(nil)).Put(t.Context(), "a", bytes.NewReader(nil), 0, o); err != nil || len(p.seen) != 2 || p.seen[0] != o || p.seen[1] != o {
		t.Errorf("%v, %+v", err, p.seen)
	}
}
