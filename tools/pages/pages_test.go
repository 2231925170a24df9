package pages

import (
	"testing"
)

// TestPages looks at every page, at a desk and on a phone, by day and by night.
func TestPages(t *testing.T) {
	w, p := house(t)
	documents, strange, films := w.snapshots("nas", "documents"), w.snapshots("usb", "projects"), w.snapshots("glacier", "films")
	photos, mail := w.snapshots("nas", "photos"), w.snapshots("nas", "mail")
	at := func(repo, id, path string) string { return "/r/" + repo + "/s/" + id + "/?p=" + encode(path) }
	list := []struct{ name, address, says string }{
		{"overview", "/", "documents"},
		{"run", "/run", "photos"},
		{"snapshots", "/r/nas/snapshots", "documents"},
		{"calendar", "/r/nas/calendar", "2026"},
		{"calendar-hanoi", "/r/usb/calendar", "2026"},
		{"cost", "/r/nas/cost", "documents"},
		{"cost-cold", "/r/glacier/cost", "DEEP_ARCHIVE"},
		{"browse", at("nas", documents[0], ""), "letters"},
		{"browse-many", at("nas", mail[0], "box"), "000001.eml"},
		{"browse-strange", at("usb", strange[0], ""), "onerror"},
		{"browse-cold", at("glacier", films[0], ""), "film-1.mkv"},
		{"preview-text", "/r/nas/s/" + documents[0] + "/file?p=" + encode("letters/bank.txt"), "please find enclosed"},
		{"preview-html", "/r/nas/s/" + documents[len(documents)-1] + "/file?p=" + encode("notes.md"), "Notes"},
		{"preview-picture", "/r/nas/s/" + photos[0] + "/file?p=" + encode("2026/summer/hills-01.jpg"), "hills-01.jpg"},
		{"preview-cold", "/r/glacier/s/" + films[0] + "/file?p=" + encode("film-1.mkv"), "film-1.mkv"},
		{"search", "/r/nas/search?q=bank", "bank.txt"},
		{"diff", "/r/nas/diff?a=" + documents[1] + "&b=" + documents[0], "insurance.txt"},
		{"restore-empty", "/r/nas/restore", ""},
	}
	b := p.tab(t)
	for _, s := range []size{desktop, phone} {
		b.resize(s)
		for _, page := range list {
			b.paint("light")
			b.visit(page.address)
			b.says(page.says)
			b.until("!document.body.innerText.includes('being read')")
			b.look(page.name)
		}
	}
}

// look checks the page that is shown by day and by night, and keeps pictures of it.
func (b *tab) look(name string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		b.paint(scheme)
		b.usable()
		b.keep(name)
	}
	b.paint("light")
	b.clean()
}
