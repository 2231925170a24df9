package pages

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refused visits a page that is to be refused with a status, in words.
func (b *tab) refused(address string, status int, words ...string) {
	b.t.Helper()
	b.allow(fmt.Sprintf("status %d", status), fmt.Sprintf("status of %d", status))
	b.visit(address)
	b.mu.Lock()
	got := strings.Join(b.got, "\n")
	b.got = nil
	b.mu.Unlock()
	if !strings.Contains(got, fmt.Sprintf("%d /", status)) {
		b.t.Errorf("%s: want status %d, got %s", address, status, got)
	}
	for _, w := range words {
		if text := b.text(); !strings.Contains(text, w) {
			b.t.Errorf("%s: does not say %q: %s", address, w, text)
		}
	}
	b.usable()
	b.clean()
	b.allow()
}

// TestDoor wants every link to open once, and nobody let in without one.
func TestDoor(t *testing.T) {
	w, _ := workshop(t)
	p := w.ui()
	b := open(t, p.origin)
	b.refused("/", 401, "firn ui")
	b.keep("no-session")
	b.refused("/enter?token=stale", 410, "firn ui")
	b.visit(p.link)
	b.says("Sources")
	if a := b.address(); strings.Contains(a, "token") {
		t.Errorf("the token stays in the address bar: %s", a)
	}
	b.look("first-visit")
	other := open(t, p.origin)
	other.refused(p.link, 410, "firn ui")
	other.keep("used-link")
	// The session ends where it is ended.
	b.allow("status 401", "status of 401")
	b.follow("button", "End this session")
	b.refused("/", 401, "firn ui")
}

// TestNowhere asks for what is not there.
func TestNowhere(t *testing.T) {
	_, p := house(t)
	b := p.tab(t)
	for _, address := range []string{"/nothing", "/r/none/snapshots", "/r/nas/s/00000000000000000000000000000000/", "/tasks/0000", "/r/nas/restore/0000000000000000"} {
		b.refused(address, 404)
	}
	b.keep("not-found")
	b.refused("/r/nas/s/zzz/", 404)
	for _, path := range []string{"../../etc/passwd", "/etc/passwd", "a//b", "nothing\x00"} {
		b.refused("/r/nas/s/"+once.w.snapshots("nas", "documents")[0]+"/?p="+encode(path), 404)
	}
}

// TestForged has a page of somebody else send our forms.
func TestForged(t *testing.T) {
	w, p := workshop(t)
	b := p.tab(t)
	b.visit("/run")
	stranger := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(rw, `<!doctype html><title>x</title><link rel="icon" href="data:,"><form method="post" action="%s/run/job"><input name="job" value="letters"><input name="csrf" value=""><button>Win a prize</button></form>`, p.origin)
	}))
	defer stranger.Close()
	before := len(w.snapshots("disk", "letters"))
	b.allow("asks another place", "status 40", "status of 40")
	b.visit(stranger.URL)
	b.follow("button", "Win a prize")
	b.until("document.body.innerText.length > 0")
	b.clean()
	// By another name of the network that leads here, such as an attacker's.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.origin+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example"
	r.AddCookie(p.cookie)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("asked by another name: status %d", resp.StatusCode)
	}
	if n := len(w.snapshots("disk", "letters")); n != before {
		t.Errorf("a forged form has begun a backup: %d snapshots", n)
	}
}

// TestGone takes the repository away while its pages are open, and brings it back.
func TestGone(t *testing.T) {
	w, p := workshop(t)
	b := p.tab(t)
	id := w.snapshots("disk", "letters")[0]
	b.visit("/r/disk/snapshots")
	b.says("letters")
	b.clean()
	move := func(from, to string) { // the folder stays, as that does in which a disk was mounted
		entries, err := os.ReadDir(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	elsewhere := w.mkdir("elsewhere")
	move(w.path("disk"), elsewhere)
	b.allow("status 5", "status of 5", "status 404", "status of 404")
	b.visit("/r/disk/s/" + id + "/") // is remembered
	b.usable()
	b.visit("/r/disk/s/" + id + "/file?p=" + encode("letter-1.txt"))
	b.until("document.querySelector('.notice.error')")
	b.usable()
	b.keep("repository-gone")
	b.visit("/r/disk/snapshots")
	b.usable()
	b.clean()
	b.visit("/")
	b.says("letters")
	b.usable()
	b.keep("overview-gone")
	b.clean()
	move(elsewhere, w.path("disk"))
	b.allow()
	b.visit("/r/disk/s/" + id + "/file?p=" + encode("letter-1.txt"))
	b.says("letter 1")
	b.clean()
}
