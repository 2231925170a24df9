package pages

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestPictures makes the pictures of the guide, with UPDATE=1: of a machine that looks the same whenever that is done.
func TestPictures(t *testing.T) {
	if os.Getenv("UPDATE") == "" {
		t.Skip("UPDATE=1 makes the pictures of the guide")
	}
	browserOf(t)
	const home = "/srv/home" // it shows in the pictures
	if err := os.Mkdir(home, 0o777); err != nil {
		t.Fatal(err)
	}
	w := worldIn(t, home)
	t.Cleanup(w.close)
	w.shift = time.Until(time.Date(2026, 9, 20, 9, 30, 0, 0, time.UTC))
	w.past()
	p := w.ui()
	b := p.tab(t)
	b.visit("/")
	b.until("!document.body.innerText.includes('being read')")
	b.scripts(false) // they tell times by the clock of the browser
	documents, films := w.snapshots("nas", "documents"), w.snapshots("glacier", "films")
	for _, page := range []struct{ name, address, scheme string }{
		{"overview", "/", "light"},
		{"overview-dark", "/", "dark"},
		{"calendar", "/r/nas/calendar", "light"},
		{"cost", "/r/nas/cost", "light"},
		{"browse", "/r/nas/s/" + documents[0] + "/", "light"},
	} {
		b.paint(page.scheme)
		b.visit(page.address)
		b.forBook(page.name)
	}
	b.paint("light")
	b.visit("/r/glacier/s/" + films[0] + "/")
	b.follow("button", "Restore all")
	b.fill("input[name=target]", "/srv/restored")
	b.follow("button", "Show the plan")
	b.forBook("plan")
}

// forBook writes the upper part of the page into the folder of the guide, with as few colours as do.
func (b *tab) forBook(name string) {
	b.t.Helper()
	const most = 150 << 10
	full, err := png.Decode(bytes.NewReader(b.shot(1080)))
	b.must(err)
	var out bytes.Buffer
	b.must((&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, fewColours(full)))
	if out.Len() > most {
		b.t.Errorf("%s has %d bytes", name, out.Len())
	}
	folder := filepath.Join(root(b.t), "docs", "guide", "pictures")
	b.must(os.MkdirAll(folder, 0o777))
	b.must(os.WriteFile(filepath.Join(folder, "page-"+name+".png"), out.Bytes(), 0o666))
}

// fewColours draws a picture again with the 256 colours that it has most of.
func fewColours(m image.Image) *image.Paletted {
	count := map[color.RGBA]int{}
	box := m.Bounds()
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			count[color.RGBAModel.Convert(m.At(x, y)).(color.RGBA)]++
		}
	}
	all := make([]color.RGBA, 0, len(count))
	for c := range count {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var palette color.Palette
	for _, c := range all[:min(len(all), 256)] {
		palette = append(palette, c)
	}
	nearest := make(map[color.RGBA]uint8, len(count))
	for c := range count {
		nearest[c] = uint8(palette.Index(c))
	}
	out := image.NewPaletted(box, palette)
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			out.SetColorIndex(x, y, nearest[color.RGBAModel.Convert(m.At(x, y)).(color.RGBA)])
		}
	}
	return out
}
