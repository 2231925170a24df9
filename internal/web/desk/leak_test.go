package desk_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"firn/internal/job"
	"firn/internal/web"
	"firn/internal/web/desk"
	"firn/internal/web/gate"
	"firn/internal/web/webtest"
)

// TestLeavesNothing: a site that is closed, with streams open and costs being found out, leaves no goroutine.
func TestLeavesNothing(t *testing.T) {
	w, _ := newWorld(t, webtest.Options{})
	w.Write("photos", "a", "x")
	w.Backup("photos", nil)
	place := w.Place
	before := runtime.NumGoroutine()
	for range 5 {
		g := gate.New(gate.Options{})
		s, err := web.New(web.Options{Places: []web.Place{place}, Gate: g})
		if err != nil {
			t.Fatal(err)
		}
		desk.Add(s)
		var cookies []*http.Cookie
		ask := func(ctx context.Context, path string) *http.Response {
			r := httptest.NewRequestWithContext(ctx, "GET", path, nil)
			r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
			for _, c := range cookies {
				r.AddCookie(c)
			}
			h := httptest.NewRecorder()
			s.ServeHTTP(h, r)
			return h.Result()
		}
		cookies = ask(t.Context(), g.Link("/")).Cookies()
		done := make(chan struct{})
		go func() { defer close(done); ask(t.Context(), "/events") }()
		ask(t.Context(), "/")
		s.Close()
		<-done
		if res := ask(t.Context(), "/"); res.StatusCode != http.StatusOK {
			t.Errorf("once it is closed: %d", res.StatusCode)
		}
		s.Close()
	}
	for range 30_000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<20)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}

// BenchmarkOverview renders the overview of 50 sources with a few snapshots each, by jobs.
func BenchmarkOverview(b *testing.B) {
	f := &jobs{by: map[string]job.Status{}}
	w := webtest.New(b, webtest.Options{Jobs: func() web.Jobs { return f }})
	desk.Add(w.Site)
	const sources, snapshots = 50, 2
	for n := range snapshots {
		for i := range sources {
			name := fmt.Sprintf("source-%02d", i)
			w.Write(name, fmt.Sprint(n), strings.Repeat("x", 100*i))
			w.Backup(name, nil)
			if n == 0 {
				f.set(backup(name, w.Dir(name)), job.Status{State: job.OK, Success: &job.Record{End: w.Now()}, Age: time.Hour, Next: w.Now().Add(time.Hour)})
			}
		}
	}
	wait(b, w, "/", "source-49")
	client := w.NewClient()
	for b.Loop() {
		res, err := client.Get(w.URL + "/")
		if err != nil || res.StatusCode != http.StatusOK {
			b.Fatal(err)
		}
		_ = res.Body.Close()
	}
}
