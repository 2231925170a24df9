package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// screen is what the program prints, which the test reads while it runs.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &screen{}
	done := make(chan error)
	go func() {
		done <- run(ctx, []string{"--addr", "127.0.0.1:0", "--speed", "1440", "--bill-every", "1ms", "--dir", t.TempDir()}, out, io.Discard)
	}()
	for !strings.Contains(out.String(), "Bill after") {
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, want := range []string{"export AWS_ENDPOINT_URL_S3=http://127.0.0.1:", "export AWS_SECRET_ACCESS_KEY=", "firn init", "take 30s", "total"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	for _, args := range [][]string{{"--speed", "0"}, {"--provider", "nobody"}, {"--prices", "nowhere/x"}, {"x"}, {"--addr", "0.0.0.0:9"}, {"--addr", ":9"}, {"--faults", "/nonexistent"}, {"--what"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q passes", args)
		}
	}
}
