package keys

import (
	"fmt"
	"strings"
)

// SVG returns the kit as one page of A4 for a printer: black on white, fonts that every system has, nothing fetched, no script.
func (k *Kit) SVG() []byte {
	p := &page{y: 28}
	p.text(20, 9, "sans-serif", "bold", "firn recovery kit")
	p.y += 4
	p.text(20, 3.6, "sans-serif", "", "Print this page and keep it away from the machine. Nothing printed on it is secret.")
	p.y += 5
	p.field("Repository", fmt.Sprintf("%x", k.Repository))
	p.field("Location", wrapText(printable(k.Location), 60, 3)...)
	p.field("Created", formatTime(k.Created))
	p.field("Encryption", string(k.Seal))
	if len(k.Keys) > 0 {
		p.field("Keys", wrapText(printable(strings.Join(k.Keys, ", ")), 60, 3)...)
	}
	p.rule()
	p.text(20, 4.2, "sans-serif", "bold", "Root key (public)")
	p.y += 2
	groups := k.Groups()
	for i := 0; i < KitGroups; i += 2 {
		y := p.y + 7
		for j, x := range []float64{20, 110} {
			g := groups[i+j]
			p.at(x, y, 4, "sans-serif", "", fmt.Sprint(i+j+1))
			p.at(x+8, y, 5.2, "monospace", "", g.Digits[:4]+" "+g.Digits[4:])
			p.at(x+42, y, 5.2, "monospace", "bold", g.Word)
		}
		p.y = y
	}
	p.y += 2
	p.rule()
	p.text(20, 4.2, "sans-serif", "bold", "SHA-256 of recover.py")
	sum := fmt.Sprintf("%x", k.RecoverSum)
	p.text(20, 4.2, "monospace", "", group4(sum[:32]))
	p.text(20, 4.2, "monospace", "", group4(sum[32:]))
	p.rule()
	p.text(20, 4.2, "sans-serif", "bold", "Passphrase (write it by hand, on the printed page only)")
	for range 2 {
		p.y += 13
		fmt.Fprintf(&p.b, `<line x1="20" y1="%.1f" x2="190" y2="%.1f" stroke="#000" stroke-width="0.3"/>`+"\n", p.y, p.y)
	}
	p.y += 3
	p.rule()
	p.text(20, 4.2, "sans-serif", "bold", "How to get everything back")
	for i, s := range kitSteps {
		p.text(20, 3.2, "sans-serif", "", fmt.Sprintf("%d. %s", i+1, s))
	}
	return []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<svg xmlns="http://www.w3.org/2000/svg" width="210mm" height="297mm" viewBox="0 0 210 297">` + "\n" +
		`<rect width="210" height="297" fill="#fff"/>` + "\n" + p.b.String() + "</svg>\n")
}

// page is an A4 page that is filled from the top; lengths in millimetres.
type page struct {
	b strings.Builder
	y float64 // base line of what was written last
}

var escapeXML = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// at writes one line of text of this size.
func (p *page) at(x, y, size float64, family, weight, s string) {
	if weight != "" {
		weight = ` font-weight="` + weight + `"`
	}
	fmt.Fprintf(&p.b, `<text x="%.1f" y="%.1f" font-size="%.1f" font-family="%s"%s xml:space="preserve">%s</text>`+"\n", x, y, size, family, weight, escapeXML.Replace(s))
}

// text writes one line below the last one.
func (p *page) text(x, size float64, family, weight, s string) {
	p.y += size * 1.5
	p.at(x, p.y, size, family, weight, s)
}

// field writes a name and its value, which may take several lines.
func (p *page) field(name string, lines ...string) {
	p.y += 6.5
	p.at(20, p.y, 3.8, "sans-serif", "bold", name)
	for i, l := range lines {
		if i > 0 {
			p.y += 5.5
		}
		p.at(52, p.y, 3.8, "monospace", "", l)
	}
}

func (p *page) rule() {
	p.y += 5
	fmt.Fprintf(&p.b, `<line x1="20" y1="%.1f" x2="190" y2="%.1f" stroke="#888" stroke-width="0.2"/>`+"\n", p.y, p.y)
	p.y += 2
}

// wrapText cuts s into at most limit lines of n characters; what is more is marked as left out.
func wrapText(s string, n, limit int) (lines []string) {
	r := []rune(s)
	for len(r) > n && len(lines) < limit-1 {
		lines = append(lines, string(r[:n]))
		r = r[n:]
	}
	if len(r) > n {
		r = append(r[:n-1:n-1], '…')
	}
	return append(lines, string(r))
}

// group4 puts a space after every fourth character.
func group4(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i += 4 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s[i:min(i+4, len(s))])
	}
	return b.String()
}
