package job

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"firn/internal/config"
	"firn/internal/notify"
)

// TestChannelComesBack: a channel of which the secret could not be had, or is another one by now, is opened again while the runner lives on.
func TestChannelComesBack(t *testing.T) {
	got := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/old" {
			w.WriteHeader(http.StatusGone)
			return
		}
		got <- r.URL.Path
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "url")
	c := &config.Config{Notify: []*config.Channel{{Name: "hook", Type: "webhook", URLFrom: config.Secret{File: file}, On: []string{"always"}, All: true, Tries: 1}}}
	n := NewNotifier(c, "")
	tell := func() error {
		return n.Report(context.Background(), &Job{Name: "photos"}, notify.Message{Event: notify.Failure, Host: "nas", Job: "photos", Time: start, Failures: 1})
	}
	say := func(text string) {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := tell(); err == nil {
		t.Fatal("there is no secret yet")
	}
	say(server.URL + "/old")
	if err := tell(); err == nil {
		t.Error("it was tried again at once")
	}
	n.open["hook"].at = time.Now().Add(-openAgain)
	if err := tell(); err == nil {
		t.Error("that address is gone")
	}
	say(server.URL + "/new")
	if err := tell(); err != nil {
		t.Error(err)
	}
	if len(got) != 1 || <-got != "/new" {
		t.Error("nothing came")
	}
}
