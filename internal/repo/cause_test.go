package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/repo"
	"firn/internal/store"
)

// meeting is where two requests meet: one of them fails with errDown once the other is under way, which is held until its context ends.
type meeting struct {
	late  bool // the second one fails, not the first
	count atomic.Int32
	other chan struct{} // closed when the one that is held is under way
	once  sync.Once
}

func (m *meeting) meet(ctx context.Context) error {
	return m.play(ctx, (m.count.Add(1) == 1) != m.late)
}

func (m *meeting) play(ctx context.Context, fails bool) error {
	if fails {
		<-m.other
		return store.Fail("put", "", errDown)
	}
	m.once.Do(func() { close(m.other) })
	<-ctx.Done()
	return store.Fail("put", "", ctx.Err())
}

// meetingStore has a meeting of what stores packs of content.
type meetingStore struct {
	store.Store
	m *meeting
}

func (s meetingStore) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if strings.HasPrefix(name, "data/") {
		return s.m.meet(ctx)
	}
	return s.Store.Put(ctx, name, r, size, o)
}

// meetingCreator has one of those who write packs, or of who commits the first and who writes the second, which fails where the meeting is late.
type meetingCreator struct {
	store.Store
	m      *meeting
	commit bool
	begun  *atomic.Int32
}

func (s meetingCreator) Create(ctx context.Context, _ store.PutOptions) (store.Pending, error) {
	return &meetingPending{ctx: ctx, s: s, free: s.commit && s.begun.Add(1) == 1}, nil
}

type meetingPending struct {
	ctx  context.Context
	s    meetingCreator
	free bool // only Commit meets
}

func (p *meetingPending) Write(b []byte) (int, error) {
	switch {
	case p.free:
		return len(b), nil
	case p.s.commit:
		return 0, p.s.m.play(p.ctx, p.s.m.late)
	}
	return 0, p.s.m.meet(p.ctx)
}

func (p *meetingPending) Commit(ctx context.Context, _ string) error {
	return p.s.m.play(ctx, !p.s.m.late)
}

func (p *meetingPending) Abort() error { return nil }

// TestCause: where two packs are stored side by side and one fails, everybody is told why that failed, and nobody that the other was cancelled because of it.
func TestCause(t *testing.T) {
	for _, late := range []bool{false, true} {
		for _, how := range []string{"put", "write"} {
			t.Run(fmt.Sprintf("%s, late %v", how, late), func(t *testing.T) {
				m := &meeting{late: late, other: make(chan struct{})}
				testCause(t, m, how)
			})
		}
	}
}

func testCause(t *testing.T, m *meeting, how string) {
	w := newWorld(t, repo.InitOptions{})
	wrapped := store.Store(meetingStore{w.st, m})
	if how == "write" {
		wrapped = meetingCreator{Store: w.st, m: m}
	}
	r, err := repo.Open(ctx, wrapped, w.access, repo.Options{Now: w.clock.now})
	w.must(err)
	out, err := r.NewWriter(ctx, w.load(r), repo.WriterOptions{Lanes: 2, Workers: 2, PackSize: 64 << 10})
	w.must(err)
	hash := digest.NewHasher(r.Host().Scope().ChunkKey(0))
	var ids [4]digest.Chunk
	var texts [4][]byte
	for i := range ids {
		texts[i] = []byte(noise(uint64(i), 40<<10))
		ids[i] = hash.Sum(texts[i])
	}
	var both sync.WaitGroup
	for lane := range 2 {
		both.Go(func() {
			for i := range 2 { // the second does not fit with the first
				_, err := out.Put(lane, chunk.Data, ids[2*lane+i], texts[2*lane+i])
				if err != nil && !onlyDown(err) || err == nil && how == "write" && i == 1 {
					t.Errorf("lane %d, chunk %d: %v", lane, i, err)
				}
			}
		})
	}
	both.Wait()
	if err := out.SendPacks(ctx); !onlyDown(err) {
		t.Errorf("sending: %v", err)
	}
	out.Abort()
}

func onlyDown(err error) bool { return errors.Is(err, errDown) && !errors.Is(err, context.Canceled) }

// TestCauseOfStream fails the pack that is sent while the next one is streamed, and the other way round.
func TestCauseOfStream(t *testing.T) {
	for _, late := range []bool{false, true} {
		m := &meeting{late: late, other: make(chan struct{})}
		w := newWorld(t, repo.InitOptions{})
		r, err := repo.Open(ctx, meetingCreator{Store: w.st, m: m, commit: true, begun: new(atomic.Int32)}, w.access, repo.Options{Now: w.clock.now})
		w.must(err)
		out, err := r.NewWriter(ctx, w.load(r), repo.WriterOptions{Workers: 1, PackSize: 64 << 10, Streams: 1})
		w.must(err)
		hash := digest.NewHasher(r.Host().Scope().ChunkKey(0))
		for i := range 8 {
			text := []byte(noise(uint64(i), 63<<10))
			if _, err = out.Put(0, chunk.Data, hash.Sum(text), text); err != nil {
				break
			}
		}
		if !onlyDown(err) {
			t.Errorf("late %v: %v", late, err)
		}
		if err := out.SendPacks(ctx); !onlyDown(err) {
			t.Errorf("late %v: sending: %v", late, err)
		}
		out.Abort()
	}
}
