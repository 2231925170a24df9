//go:build unix

package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKillStream kills the real program with SIGKILL in the middle of a stream. The same stream, produced again, is not sent again; what comes out is what went in.
func TestKillStream(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes, for seconds")
	}
	k := newKilled(t)
	if err := os.WriteFile(filepath.Join(k.dir, "key"), []byte(killIdentity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const work, dump = "stream", `cat "$SRC"/*/*`
	k.init(t, work)
	fifo := k.path("fifo") // nobody writes into it: the stream does not end
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(command string, more ...string) *exec.Cmd {
		cmd := k.command(work, append([]string{"backup", "--pack-size", "2M", "--name", "dump", "--command", command}, more...)...)
		cmd.Env = append(cmd.Env, "SRC="+k.src, "FIFO="+fifo)
		return cmd
	}
	first := run(dump+`; cat "$FIFO"`, "-q")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- first.Wait() }()
	for dataSize(k.path(work+"/repo")) < k.size/2 {
		select {
		case err := <-ended:
			t.Fatalf("it ended before its stream did: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	_ = first.Process.Kill()
	<-ended
	if f, err := os.OpenFile(fifo, os.O_RDWR, 0); err == nil { // what is left of the producer ends
		_ = f.Close()
	}
	sent := dataSize(k.path(work + "/repo"))
	var res struct {
		Snapshot string
		Resumed  int
		Stats    struct {
			Bytes      int64 `json:"bytes"`
			BytesAdded int64 `json:"bytes_added"`
		}
	}
	out := k.must(t, run(dump, "--json"))
	if err := json.Unmarshal(out, &res); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	const loss = 24 << 20 // packs that were not full, and what was in work
	if res.Stats.Bytes != k.size || res.Stats.BytesAdded+sent-k.size > loss {
		t.Errorf("%d bytes were in the store, and %d of %d were sent all the same", sent, res.Stats.BytesAdded, res.Stats.Bytes)
	}
	if list := k.must(t, k.command(work, "snapshots")); strings.Count(string(list), "command") != 1 {
		t.Errorf("one is done:\n%s", list)
	}
	want := exec.Command("sh", "-c", dump)
	want.Env = append(os.Environ(), "SRC="+k.src)
	if got := k.must(t, k.command(work, "cat", "latest:dump")); !bytes.Equal(got, k.must(t, want)) {
		t.Error("content differs")
	}
}
