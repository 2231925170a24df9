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
[sources.films]
path = "DIR/data/films"
limit_upload = "1500K"
[sources.shop]
path = "DIR/data/unplugged"
`, "DIR", w.dir))
	for i := range 5 {
		w.write(fmt.Sprintf("data/letters/letter-%d.txt", i), fmt.Sprintf("letter %d\n", i))
	}
	w.write("data/films/film.mkv", noise(1, 9<<20))
	w.firn("init", w.path("disk"), "--kit-saved", "--passphrase-file", w.path("passphrase"))
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
	b.until("(() => { const p = document.querySelector('progress'); return p && p.max > 1 && p.value > 0 && p.value < p.max })()")
	b.look("task-running")
	second := b.another(t)
	second.visit("/run")
	second.says("Under way")
	second.look("run-busy")
	second.visit("/")
	second.says("Under way")
	second.clean()
	b.until("window.stayed && document.body.innerText.includes('Ended') && document.querySelector('.badge.ok')")
	b.look("task-done")
	b.resize(phone)
	b.look("task-done")
	b.resize(desktop)
	if n := len(w.snapshots("disk", "films")); n != 1 {
		t.Errorf("%d snapshots", n)
	}

	// Stopped, and begun again.
	w.write("data/films/another.mkv", noise(2, 12<<20))
	b.visit("/run")
	b.follow("button", "Back up now films")
	if b.address() == task {
		t.Error("the task of the last time")
	}
	b.until("(() => { const p = document.querySelector('progress'); return p && p.value > 0 })()")
	b.click("button", "Stop")
	b.until("document.body.innerText.includes('stopped')")
	b.look("task-stopped")

	// What fails says why.
	b.visit("/run")
	b.follow("button", "Back up now shop")
	b.until("document.querySelector('.badge.bad')")
	b.says("unplugged")
	b.look("task-failed")

	for _, what := range []string{"Check now check", "Drill now drill", "Look whether all is there"} {
		b.visit("/run")
		b.follow("button", what)
		b.until("document.body.innerText.includes('Ended')")
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
	b.click("button", "Pause jobs")
	b.says("Ended")
	if out := w.firn("run", "letters"); !strings.Contains(out, "paused") {
		t.Errorf("the job runs in a pause: %s", out)
	}
	b.visit("/")
	b.says("no job runs before")
	b.look("overview-paused")
	b.visit("/run")
	b.look("run-paused")
	b.click("button", "Resume now")
	b.says("Ended")
	b.visit("/run")
	b.says("Pause jobs")
	b.clean()
	if out := w.firn("run", "--force", "letters"); strings.Contains(out, "paused") {
		t.Errorf("the pause has not ended: %s", out)
	}
}
