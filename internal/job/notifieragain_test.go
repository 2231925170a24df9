package job

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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

// TestToldInTheEnd: a channel that was down when there was something to be told, such as while a machine starts, hears of it when that is over.
func TestToldInTheEnd(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are for a POSIX shell")
	}
	dir := t.TempDir()
	up, out := filepath.Join(dir, "up"), filepath.Join(dir, "out")
	c := &config.Config{Notify: []*config.Channel{{Name: "n", Type: "command", Command: "test -e " + up + " && cat >> " + out, All: true, Tries: 1, On: []string{"failure", "missed", "recovered"}}}}
	n := NewNotifier(c, filepath.Join(dir, "jobs"))
	tell := func(e notify.Event, failures, missed int) error {
		return n.Report(context.Background(), &Job{Name: "photos"}, notify.Message{Event: e, Job: "photos", Time: start, Failures: failures, Missed: missed})
	}
	if err := tell(notify.Missed, 20, 20); err == nil {
		t.Fatal("it is down")
	}
	if err := os.WriteFile(up, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // once
		if err := tell(notify.Recovered, 20, 0); err != nil {
			t.Error(err)
		}
	}
	if raw, _ := os.ReadFile(out); strings.Count(string(raw), `"event":"recovered"`) != 1 {
		t.Errorf("%s", raw)
	}
}
