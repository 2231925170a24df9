package logs

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"firn/internal/mounttest"
)

// TestFull fills the disk of the log, makes room, and takes the right to write. Nobody is held up; it is told each time it begins.
func TestFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
			t.Fatalf("mounting: %v", err)
		}
		t.Skipf("mounting needs root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	var b bytes.Buffer
	var n notes
	name := filepath.Join(dir, "firn.log")
	l, done := open(t, Options{File: name, Stderr: true, Writer: &b, Note: n.note, MaxSize: 1 << 20})
	pad := strings.Repeat("p", 1000)
	for range 40 {
		l.Info("line", "pad", pad)
	}
	if said := n.list(); len(said) != 1 || !strings.Contains(said[0], "no space left") || strings.Count(b.String(), "msg=line") != 40 {
		t.Errorf("%q, %d lines on standard error", said, strings.Count(b.String(), "msg=line"))
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	l.Info("room")
	lines := strings.Split(strings.TrimSpace(read(t, name)), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "time=") || !strings.HasSuffix(last, "msg=room") {
		t.Errorf("the line after the disk was full: %q", last)
	}
	done()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=1m"); err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(dir, "other.log")
	l2, _ := open(t, Options{File: moved, Note: n.note})
	l2.Info("line")
	if said := n.list(); len(said) != 2 || !strings.Contains(said[1], "read-only") {
		t.Errorf("%q", said)
	}
}

// TestJournal has a socket stand where the journal's is.
func TestJournal(t *testing.T) {
	if !mounttest.Privately(t) {
		return
	}
	var n notes
	var b bytes.Buffer
	l, _ := open(t, Options{Journal: true, Writer: &b, Note: n.note})
	l.Info("alone")
	if said := n.list(); len(said) != 1 || !strings.Contains(said[0], "no journal") || !strings.Contains(b.String(), "msg=alone") {
		t.Fatalf("without a journal: %q %q", said, b.String())
	}
	if err := os.MkdirAll("/run/systemd/journal", 0o700); err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/run/systemd/journal/socket", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	l, done := open(t, Options{Journal: true, Secrets: NewSecrets("hunter22"), Note: n.note})
	l.Warn("it is hunter22", "job", "photos", "text", "1\n2")
	done()
	_ = socket.SetReadDeadline(time.Now().Add(time.Minute))
	raw := make([]byte, 64<<10)
	size, err := socket.Read(raw)
	got := string(raw[:size])
	for _, want := range []string{"PRIORITY=4\n", "MESSAGE=it is [secret] job=photos text=\"1\\n2\"\n", "JOB=photos\n", "SYSLOG_IDENTIFIER=firn\n", "FIRN_TEXT\n\x03\x00\x00\x00\x00\x00\x00\x001\n2\n"} {
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("%v: no %q in %q", err, want, got)
		}
	}
}
