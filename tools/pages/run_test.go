package pages

import (
	"fmt"
	"strings"
	"testing"
)

// workshop is a small world to begin things in: a source that is backed up at once, one that takes its time, one that fails.
func workshop(t *testing.T) (*world, *pages) {
	t.Helper()
	browserOf(t)
	w := small(t)
	w.write("firn.toml", strings.ReplaceAll(`repository = "disk"
passphrase_file = "DIR/passphrase"
host = "home"
keep = { daily = 14 }
schedule = "daily 02:30"
[repositories.disk]
location = "DIR/disk"
check = "weekly Sun 05:00"
drill = { schedule = "monthly last 06:00", files = 3 }
[sources.letters]
path = "DIR/data/letters"
[repositories.slow]
location = "DIR/slow"
limit_upload = "4M"
[sources.films]
path = "DIR/data/films"
repository = "slow"
[sources.shop]
path = "DIR/data/unplugged"
`, "DIR", w.dir))
	for i := range 5 {
		w.write(fmt.Sprintf("data/letters/letter-%d.txt", i), fmt.Sprintf("letter %d\n", i))
	}
	w.write("data/films/film.mkv", noise(1, 80<<20))
	for _, name := range []string{"disk", "slow"} {
		w.firn("init", w.path(name), "--kit-saved", "--passphrase-file", w.path("passphrase"))
	}
	w.firn("run", "--force", "letters")
	return w, w.ui()
}

// TestRun begins what can be begun, and sees how far it is.
func TestRun(t *testing.T) {
	w, p := workshop(t)
	b := p.tab(t)
	b.visit("/run")
	b.follow("button", "Back up now films")
	b.until("location.pathname.startsWith('/tasks/')")
	task := b.address()
	// The page follows by itself, without being loaded again.
	b.eval("window.stayed = true", nil)
	const sent = "((document.querySelector('#task[data-events]') || {innerText: ''}).innerText.match(/Sent\\s+([\\d.]+ .iB)/) || [])[1]"
	b.until(sent)
	var first string
	b.eval(sent, &first)
	b.until(sent + " && " + sent + " !== " + quote(first))
	b.look("task-running")
	second := b.another(t)
	second.visit("/run")
	second.says("Under way")
	second.look("run-busy")
	second.visit("/")
	second.says("Under way")
	second.clean()
	// It would take a minute, and is stopped; the next one would go on.
	b.until("window.stayed")
	b.follow("button", "Stop")
	b.says("stopped")
	b.look("task-stopped")

	before := len(w.snapshots("disk", "letters"))
	b.visit("/run")
	b.follow("button", "Back up now letters")
	if b.address() == task {
		t.Error("the task of the last time")
	}
	b.until("document.querySelector('.badge.ok')")
	b.look("task-done")
	b.resize(phone)
	b.look("task-done")
	b.resize(desktop)
	if n := len(w.snapshots("disk", "letters")); n != before+1 {
		t.Errorf("%d snapshots, and %d before", n, before)
	}

	// What fails says why.
	b.visit("/run")
	b.follow("button", "Back up now shop")
	b.until("document.querySelector('.badge.bad')")
	b.says("unplugged")
	b.look("task-failed")

	for _, what := range []string{"Check now check", "Drill now drill", "Look whether all is there"} {
		b.visit("/run")
		b.follow("button", what)
		b.until("location.pathname.startsWith('/tasks/') && document.body.innerText.includes('Ended')")
		if !b.has(".badge.ok", "done") {
			t.Errorf("%s: %s", what, b.text())
		}
		b.look("task-" + strings.ToLower(strings.Fields(what)[0]))
	}
	b.visit("/run")
	b.look("run-after")
}

// TestPause pauses jobs from the page and ends that again.
func TestPause(t *testing.T) {
	w, p := workshop(t)
	b := p.tab(t)
	b.visit("/run")
	b.choose("select[name=for]", "2h")
	b.follow("button", "Pause jobs")
	b.until("document.querySelector('.badge.ok')")
	if out := w.firn("run", "letters"); !strings.Contains(out, "paused") {
		t.Errorf("the job runs in a pause: %s", out)
	}
	b.visit("/")
	b.says("no job runs before")
	b.look("overview-paused")
	b.visit("/run")
	b.look("run-paused")
	b.follow("button", "Resume now")
	b.until("document.querySelector('.badge.ok')")
	b.visit("/run")
	b.says("Pause jobs")
	b.clean()
	if out := w.firn("run", "--force", "letters"); strings.Contains(out, "paused") {
		t.Errorf("the pause has not ended: %s", out)
	}
}
