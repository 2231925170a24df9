//go:build unix

package logs

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSyslog has a socket stand for the system's.
func TestSyslog(t *testing.T) {
	dir, err := os.MkdirTemp("", "log") // names of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	place := filepath.Join(dir, "s")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: place, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	l, done := open(t, Options{Syslog: true, Level: "debug", syslogAt: place, Note: func(text string) { t.Error(text) }})
	l.Error("a\n<0>forged", "job", "photos")
	l.Warn("b")
	l.Info("c")
	l.Debug("d")
	done()
	_ = socket.SetReadDeadline(time.Now().Add(time.Minute))
	raw := make([]byte, 64<<10)
	for _, want := range [][2]string{{"<27>", "]: a <0>forged job=photos\n"}, {"<28>", "]: b\n"}, {"<30>", "]: c\n"}, {"<31>", "]: d\n"}} {
		n, err := socket.Read(raw)
		if got := string(raw[:n]); err != nil || !strings.HasPrefix(got, want[0]) || !strings.HasSuffix(got, want[1]) || !strings.Contains(got, "firn[") {
			t.Errorf("%v: want %q, got %q", err, want, got)
		}
	}
}

// TestNoSyslog is told once, and the others go on.
func TestNoSyslog(t *testing.T) {
	var n notes
	dir := t.TempDir()
	l, done := open(t, Options{Syslog: true, syslogAt: filepath.Join(dir, "none"), File: filepath.Join(dir, "log"), Note: n.note})
	l.Info("a")
	l.Info("b")
	done()
	if said := n.list(); len(said) != 1 || !strings.Contains(said[0], "no syslog answers here") {
		t.Errorf("%q", said)
	}
	if strings.Count(read(t, filepath.Join(dir, "log")), "\n") != 2 {
		t.Error("lines are missing")
	}
}
