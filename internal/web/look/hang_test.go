package look_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"

	"firn/internal/store"
	"firn/internal/web"
	"firn/internal/web/webtest"
)

// stuck is a store whose reads wait until it is let go.
type stuck struct {
	store.Store
	mu   sync.Mutex
	hang chan struct{}
	wait chan struct{} // told of each read that waits
}

func (s *stuck) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	if hang != nil {
		select {
		case s.wait <- struct{}{}:
		default:
		}
		<-hang // it does not even heed ctx
	}
	return s.Store.Get(ctx, name, offset, length)
}

// TestHang: whoever leaves a page about a store that does not answer takes nothing along, and the list of snapshots is shown all the while.
func TestHang(t *testing.T) {
	s := &stuck{wait: make(chan struct{}, 1)}
	place, snap := crowded(t, 10, func(st store.Store) store.Store { s.Store = st; return s })
	w := newWorld(t, webtest.Options{More: []web.Place{place}})
	want(t, w.Get("/r/crowd/snapshots"), 200, snap.ID.String())
	hang := make(chan struct{})
	s.mu.Lock()
	s.hang = hang
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	c, ended := w.NewClient(), make(chan struct{})
	go func() {
		defer close(ended)
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/r/crowd/s/"+snap.ID.String()+"/", nil)
		if err != nil {
			t.Error(err)
			return
		}
		if res, err := c.Do(r); err == nil {
			_ = res.Body.Close()
			t.Error("an answer of a store that hangs")
		}
	}()
	<-s.wait
	want(t, w.Get("/r/crowd/snapshots"), 200, snap.ID.String())
	cancel()
	<-ended
	s.mu.Lock()
	s.hang = nil
	s.mu.Unlock()
	close(hang)
	want(t, w.Get("/r/crowd/s/"+snap.ID.String()+"/"), 200, "many/")
}
