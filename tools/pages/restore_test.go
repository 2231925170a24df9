package pages

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// stock gives a world one source with many kinds of names, whose snapshots are to come back.
func (w *world) stock(location string) {
	w.t.Helper()
	w.write("firn.toml", strings.NewReplacer("DIR", w.dir, "LOCATION", location).Replace(`repository = "store"
passphrase_file = "DIR/passphrase"
host = "home"
[repositories.store]
location = "LOCATION"
price_region = "aws/us-east-1"
[sources.things]
path = "DIR/data/things"
schedule = "daily 02:30"
`))
	w.write("data/things/letters/bank.txt", "to the bank\n")
	w.write("data/things/letters/school.txt", "to the school\n")
	w.write("data/things/photos/hills.jpg", jpegOf(1, 320, 200))
	w.write("data/things/photos/deep/lake.png", pngOf(2, 160, 100))
	for _, name := range []string{htmlName, bidiName, bellName, byteName, longName} {
		w.write("data/things/strange/"+name, "what is in "+name+"\n")
	}
	w.write("data/things/film.mkv", noise(5, 6<<20))
	if err := os.Symlink("letters/bank.txt", w.path("data/things/link")); err != nil {
		w.t.Fatal(err)
	}
}

// local is that world with a folder as its repository.
func local(t *testing.T) (*world, *pages, string) {
	t.Helper()
	browserOf(t)
	w := small(t)
	w.stock(w.path("store"))
	w.firn("init", w.path("store"), "--kit-saved", "--passphrase-file", w.path("passphrase"))
	w.firn("run", "--force", "things")
	return w, w.ui(), w.snapshots("store", "things")[0]
}

// tree is what lies in a folder: paths with what is in them.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		switch {
		case d.IsDir():
			out[rel] = "folder"
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			out[rel] = "link to " + to
			return err
		default:
			b, err := os.ReadFile(path)
			info, e := d.Info()
			if err != nil || e != nil {
				return fmt.Errorf("%v, %v", err, e)
			}
			out[rel] = info.ModTime().UTC().Format(time.RFC3339Nano) + " " + string(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// same compares what was restored with what was backed up.
func same(t *testing.T, want, got map[string]string) {
	t.Helper()
	for name, content := range want {
		if got[name] != content {
			t.Errorf("%q: %.80q, want %.80q", name, got[name], content)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%q was not backed up", name)
		}
	}
}

// fillBasket ticks two folders and a file, and goes to the basket.
func (b *tab) fillBasket(id string) {
	b.t.Helper()
	b.visit("/r/store/s/" + id + "/")
	for _, name := range []string{"letters", "strange", "film.mkv"} {
		b.click("input[name=path][aria-label~="+quote(name)+"], input[name=path][aria-label="+quote("choose "+name)+"], input[name=path][aria-label="+quote("choose "+name+"/")+"]", "")
	}
	b.follow("button", "Put what is chosen into the basket")
	b.follow("main a", "Basket")
	b.says("letters")
	b.says("film.mkv")
}

// TestRestore brings files back into a folder, on a phone as well.
func TestRestore(t *testing.T) {
	w, p, id := local(t)
	b := p.tab(t)
	for _, s := range []size{desktop, phone} {
		b.resize(s)
		b.fillBasket(id)
		b.look("basket")
		target := w.path("back-" + s.name)
		b.fill("input[name=target]", target)
		b.follow("button", "Show the plan")
		b.says(target)
		b.look("plan")
		b.follow("form[action$='/restore/go'] button", "")
		b.until("document.querySelector('.badge.ok')")
		b.look("restored")
		want := tree(t, w.path("data/things"))
		for name := range want {
			if strings.HasPrefix(name, "photos") || name == "link" {
				delete(want, name)
			}
		}
		same(t, want, tree(t, target))
	}
	b.visit("/r/store/restore")
	b.look("restores-ended")
}

// TestWithoutScripts browses and restores in a browser that runs none.
func TestWithoutScripts(t *testing.T) {
	w, p, id := local(t)
	b := p.tab(t)
	b.scripts(false)
	b.visit("/")
	b.visit("/r/store/snapshots")
	b.follow("main tbody th a", "")
	b.follow("main a", "photos")
	b.follow("main a", "deep")
	b.says("lake.png")
	b.usable()
	b.visit("/r/store/search?q=bank")
	b.says("bank.txt")
	b.fillBasket(id)
	target := w.path("back")
	b.fill("input[name=target]", target)
	b.follow("button", "Show the plan")
	b.follow("form[action$='/restore/go'] button", "")
	b.until("document.querySelector('.badge.ok')") // the page loads itself anew
	b.clean()
	if got := tree(t, target); got["letters/bank.txt"] == "" || got["film.mkv"] == "" {
		t.Errorf("restored: %d files", len(got))
	}
}

// TestByKeyboard restores without a mouse.
func TestByKeyboard(t *testing.T) {
	w, p, _ := local(t)
	b := p.tab(t)
	for _, address := range []string{"/", "/run", "/r/store/snapshots", "/r/store/calendar", "/r/store/cost", "/r/store/search", "/r/store/restore"} {
		b.visit(address)
		_, faults := b.walk(300)
		for _, f := range faults {
			t.Errorf("%s: %s", address, f)
		}
		b.clean()
	}
	enter := func() { b.leave(func() { b.press("Enter", 13, 0) }) }
	b.visit("/")
	b.goTo("store")
	enter()
	b.until("location.pathname === '/r/store/snapshots'")
	b.press("Tab", 9, 0)
	b.press("Enter", 13, 0) // past the header
	b.until("location.hash === '#main'")
	b.goTo("Restore all of the snapshot")
	enter()
	b.says("Everything in this snapshot")
	target := w.path("back")
	b.goTo("Path of the folder")
	b.press("a", 65, 2)
	b.fill("input[name=target]", target)
	b.press("Enter", 13, 0)
	b.until("document.querySelector(\"form[action$='/restore/go']\")")
	b.goTo("Restore")
	for !b.has("form[action$='/restore/go'] button:focus", "") {
		b.press("Tab", 9, 0)
	}
	enter()
	b.until("document.querySelector('.badge.ok')")
	b.clean()
	same(t, tree(t, w.path("data/things")), tree(t, target))
}

// downloads has the browser keep what it downloads in a folder, and returns a function that waits for one.
func (b *tab) downloads() (folder string, wait func() string) {
	b.t.Helper()
	folder = b.t.TempDir()
	ctx := b.ctx
	c := chromedp.FromContext(ctx)
	ended := make(chan string, 8)
	b.must(chromedp.ListenBrowser(ctx, func(ev any) {
		if p, ok := ev.(*browser.EventDownloadProgress); ok && p.State != browser.DownloadProgressStateInProgress {
			ended <- string(p.State)
		}
	}))
	_, err := chromedp.CallBrowser(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: folder, EventsEnabled: new(true), BrowserContextID: cdp.BrowserContextID(c.BrowserContextID)})
	b.must(err)
	return folder, func() string {
		select {
		case state := <-ended:
			return state
		case <-time.After(patience):
			return "nothing was downloaded"
		}
	}
}

// TestDownload takes a snapshot home as a tar through the browser.
func TestDownload(t *testing.T) {
	w, p, id := local(t)
	b := p.tab(t)
	folder, wait := b.downloads()
	b.fillBasket(id)
	b.click("input[name=to][value=download]", "")
	b.follow("button", "Show the plan")
	b.follow("form[action$='/restore/go'] button", "")
	b.look("download-ready")
	b.allow("net::ERR_ABORTED") // what becomes a file is no page
	b.click("form[action$='/download'] button", "Download")
	if state := wait(); state != "completed" {
		t.Fatalf("the download: %s\n%s", state, b.text())
	}
	names, err := os.ReadDir(folder)
	if err != nil || len(names) != 1 {
		t.Fatalf("downloaded: %v, %v", names, err)
	}
	body, err := os.ReadFile(filepath.Join(folder, names[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	want := tree(t, w.path("data/things"))
	files := 0
	for r := tar.NewReader(bytes.NewReader(body)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files++
		if !strings.HasSuffix(want[strings.TrimPrefix(h.Name, "./")], " "+string(content)) {
			t.Errorf("%q differs", h.Name)
		}
	}
	if files != 8 {
		t.Errorf("%d files", files)
	}
	b.visit("/r/store/restore")
	b.clean()
}

// TestCold restores what has to be thawed first, at a price that is shown, and sees it thaw.
func TestCold(t *testing.T) {
	browserOf(t)
	w := small(t)
	w.stock(w.cold("60"))
	w.firn("init", "s3://try/repository", "--class", "GLACIER", "--kit-saved", "--passphrase-file", w.path("passphrase"))
	w.firn("run", "--force", "things")
	id := w.snapshots("store", "things")[0]
	p := w.ui()
	b := p.tab(t)
	b.visit("/r/store/s/" + id + "/file?p=" + encode("letters/bank.txt"))
	b.look("preview-glacier") // says what it would take, and reads nothing
	b.fillBasket(id)
	target := w.path("back")
	b.fill("input[name=target]", target)
	b.follow("button", "Show the plan")
	b.says("GLACIER")
	b.look("plan-cold")
	b.resize(phone)
	b.look("plan-cold")
	b.resize(desktop)
	b.leave(func() {
		b.click("tr:has(th) form[action$='/restore/go']:has(input[name=tier][value=expedited]) button", "")
	})
	b.eval("window.stayed = true", nil)
	b.until("window.stayed && /[1-9]\\d* being thawed/.test(document.body.innerText)")
	b.look("thawing")
	b.until("window.stayed && document.querySelector('.badge.ok')")
	b.look("thawed-restored")
	want := tree(t, w.path("data/things"))
	for name := range want {
		if strings.HasPrefix(name, "photos") || name == "link" {
			delete(want, name)
		}
	}
	same(t, want, tree(t, target))
}

// TestTwoTabs changes the basket in one tab while another shows the plan of what it was.
func TestTwoTabs(t *testing.T) {
	w, p, id := local(t)
	b := p.tab(t)
	b.fillBasket(id)
	b.fill("input[name=target]", w.path("back"))
	b.follow("button", "Show the plan")
	other := b.another(t)
	other.visit("/r/store/restore")
	other.follow("button", "Empty the basket")
	other.says("The basket is empty")
	other.clean()
	b.allow("status 409", "status of 409")
	b.follow("form[action$='/restore/go'] button", "")
	b.says("basket")
	b.usable()
	b.keep("basket-changed")
	b.clean()
	if _, err := os.Stat(w.path("back")); err == nil {
		t.Error("something was restored all the same")
	}
}

// TestPruned deletes a snapshot while somebody browses it, and while its plan is shown.
func TestPruned(t *testing.T) {
	w, p, id := local(t)
	w.write("data/things/new.txt", "new\n")
	w.firn("run", "--force", "things")
	b := p.tab(t)
	b.fillBasket(id)
	b.fill("input[name=target]", w.path("back"))
	b.follow("button", "Show the plan")
	second := b.another(t)
	second.visit("/r/store/s/" + id + "/")
	second.says("photos")
	w.firn("forget", id)
	w.firn("prune", "--keep-all")
	b.allow("status 404", "status of 404", "status 409", "status of 409", "status 410", "status of 410")
	b.follow("form[action$='/restore/go'] button", "")
	b.says(id[:8])
	b.usable()
	b.keep("snapshot-pruned")
	b.clean()
	if _, err := os.Stat(w.path("back")); err == nil {
		t.Error("something was restored all the same")
	}
	second.allow("status 404", "status of 404", "status 410", "status of 410")
	second.follow("main a", "photos")
	second.says(id[:8])
	second.usable()
	second.keep("browsing-pruned")
	second.clean()
	second.allow()
	second.visit("/r/store/snapshots")
	second.says("things")
	second.clean()
}

// TestFullDisk restores onto a disk that is too small, and goes on once there is room.
func TestFullDisk(t *testing.T) {
	browserOf(t)
	w := small(t)
	w.stock(w.path("store"))
	w.firn("init", w.path("store"), "--kit-saved", "--passphrase-file", w.path("passphrase"))
	w.firn("run", "--force", "things")
	id := w.snapshots("store", "things")[0]
	disk := w.mkdir("disk")
	// The disk is there for the pages and their children alone, and goes with them.
	var alone, enter []string
	for _, user := range [][]string{nil, {"--map-root-user"}} {
		alone = append([]string{"unshare", "--mount", "--propagation", "private"}, user...)
		out, err := exec.Command(alone[0], append(alone[1:], "mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk)...).CombinedOutput()
		if err == nil {
			enter = []string{"nsenter", "--mount"}
			if user != nil {
				enter = append(enter, "--user", "--preserve-credentials")
			}
			break
		}
		t.Logf("nothing can be mounted: %v: %s", err, out)
	}
	if enter == nil {
		t.Skip("nothing can be mounted here")
	}
	p := w.uiBy(nil, append(alone, "sh", "-c", `mount -t tmpfs -o size=3m tmpfs "$0" && exec "$@"`, disk, w.bin+"/firn")...)
	inside := fmt.Sprintf("/proc/%d/root%s", p.cmd.Process.Pid, disk)
	b := p.tab(t)
	b.fillBasket(id)
	b.fill("input[name=target]", disk+"/back")
	b.follow("button", "Show the plan")
	b.says("too little room")
	b.look("plan-no-room")
	b.follow("form[action$='/restore/go'] button", "")
	b.until("document.querySelector('.badge.bad, .badge.warn')")
	b.says("no space left")
	b.look("disk-full")
	// There is room now.
	if out, err := exec.Command(enter[0], append(enter[1:], "--target", fmt.Sprint(p.cmd.Process.Pid), "mount", "-o", "remount,size=64m", disk)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.follow("form[action$='/on'] button", "")
	b.until("document.querySelector('.badge.ok')")
	b.look("disk-full-gone-on")
	want := tree(t, w.path("data/things"))
	for name := range want {
		if strings.HasPrefix(name, "photos") || name == "link" {
			delete(want, name)
		}
	}
	same(t, want, tree(t, inside+"/back"))
}
