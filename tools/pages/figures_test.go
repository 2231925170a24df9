package pages

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestFigures measures what the pages cost where there is much: it prints and asserts nothing of time, since no machine is like another.
func TestFigures(t *testing.T) {
	w := small(t)
	config := strings.NewReplacer("DIR", w.dir).Replace("repository = \"nas\"\npassphrase_file = \"DIR/passphrase\"\nkeep = { daily = 14 }\nschedule = \"daily 02:30\"\n[repositories.nas]\nlocation = \"DIR/nas\"\n")
	for i := range 49 {
		w.write(fmt.Sprintf("data/source-%02d/file.txt", i), fmt.Sprintf("file %d\n", i))
		config += fmt.Sprintf("[sources.source-%02d]\npath = \"%s/data/source-%02d\"\n", i, w.dir, i)
	}
	const many = 100_000
	folder := w.mkdir("data/large/box")
	for i := range many {
		if err := os.WriteFile(fmt.Sprintf("%s/message-%06d.eml", folder, i), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	w.write("firn.toml", config+fmt.Sprintf("[sources.large]\npath = \"%s/data/large\"\n", w.dir))
	w.firn("init", w.path("nas"), "--kit-saved", "--passphrase-file", w.path("passphrase"))
	w.firn("run", "-q", "--force")
	p := w.ui()
	p.enter()
	started := p.resident(t)
	box := "/r/nas/s/" + w.snapshots("nas", "large")[0] + "/?p=" + encode("box")
	for _, page := range []struct{ what, address string }{
		{"overview of 50 sources", "/"}, {"snapshots", "/r/nas/snapshots"}, {"calendar", "/r/nas/calendar"}, {"storage and cost", "/r/nas/cost"}, {fmt.Sprintf("folder of %d files", many), box},
	} {
		var took []time.Duration
		var bytes int
		for range 7 {
			status, body, first := p.get(page.address)
			if status != 200 {
				t.Fatalf("%s: status %d\n%.2000s", page.address, status, body)
			}
			took, bytes = append(took, first), len(body)
		}
		cold := took[0]
		slices.Sort(took)
		t.Logf("%-25s first byte after %v, the first time %v; %d KiB", page.what, took[len(took)/2].Round(100*time.Microsecond), cold.Round(100*time.Microsecond), bytes>>10)
	}
	t.Logf("firn ui: %d MiB at the beginning, %d MiB after all of that", started>>20, p.resident(t)>>20)
	p.end()
	p = w.serve()
	p.enter()
	p.get("/")
	idle := p.resident(t)
	p.get(box)
	t.Logf("firn serve with pages: %d MiB with the overview open, %d MiB after the folder", idle>>20, p.resident(t)>>20)
}

// serve starts the daemon with pages.
func (w *world) serve() *pages {
	w.t.Helper()
	config, err := os.ReadFile(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	free.Close()
	w.write("firn.toml", string(config)+fmt.Sprintf("[serve]\nlisten = %q\nui = true\n", free.Addr()))
	cmd, lines := w.process(nil, w.bin+"/firn", "serve", "-q")
	go func() {
		for lines.Scan() {
		}
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		out, err := w.try(w.shift, "ui", "--link", "--json")
		var said struct{ Address, Link string }
		at := strings.Index(out, "{")
		if err == nil && at >= 0 && json.NewDecoder(strings.NewReader(out[at:])).Decode(&said) == nil && said.Link != "" {
			return &pages{w: w, link: said.Link, origin: said.Address, cmd: cmd}
		}
	}
	w.t.Fatal("firn serve has no pages")
	return nil
}

// resident is how many bytes of memory the process of the pages takes.
func (p *pages) resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skip("nobody tells here how much memory a process takes")
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
