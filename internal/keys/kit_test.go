package keys

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func testKit() *Kit {
	root := make([]byte, 32)
	for i := range root {
		root[i] = byte(i * 7)
	}
	return &Kit{testRepo, `s3://bucket/pre&fix "nas" <1>`, testTime, root, [32]byte{0xab}, Hybrid, []string{"passphrase", "laptop (ssh)"}}
}

func TestKitWords(t *testing.T) {
	if len(kitWords) != 256 {
		t.Fatalf("%d words", len(kitWords))
	}
	seen := map[string]bool{}
	for _, w := range kitWords {
		if seen[w[:min(4, len(w))]] || strings.Trim(w, "0123456789abcdef") == "" || w != strings.ToLower(w) {
			t.Errorf("%q", w)
		}
		seen[w[:min(4, len(w))]] = true
	}
}

func TestKitRoot(t *testing.T) {
	k := testKit()
	text := ""
	for i, g := range k.Groups() {
		text += g.Digits[:4] + " " + strings.ToUpper(g.Digits[4:]) + "\t" + g.Word + "\n"
		if !k.CheckWord(i+1, " "+strings.ToUpper(g.Word)+"\n") || k.CheckWord(i+1, g.Word+"x") {
			t.Fatal("CheckWord")
		}
	}
	if k.CheckWord(0, "x") || k.CheckWord(9, "x") {
		t.Fatal("no such group")
	}
	if root, err := ParseRoot(text); err != nil || !root.Equal(k.Root) {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(text, "\n")
	for i := range KitGroups {
		bad := append([]string{}, lines...)
		bad[i] = strings.Replace("1"+bad[i][1:], "1111", "1112", 1)
		if bad[i] == lines[i] {
			bad[i] = "2" + bad[i][1:]
		}
		var wrong *KitError
		if _, err := ParseRoot(strings.Join(bad, "")); !errors.As(err, &wrong) || wrong.Group < i+1 {
			t.Errorf("group %d: %v", i+1, err)
		}
		short := append(append([]string{}, lines[:i]...), lines[i+1:]...)
		if _, err := ParseRoot(strings.Join(short, "")); err == nil {
			t.Errorf("group %d left out: accepted", i+1)
		}
	}
	if _, err := ParseRoot(text + "abcd"); err == nil {
		t.Error("more text accepted")
	}
}

func FuzzParseRoot(f *testing.F) {
	f.Add("00070e15 acorn")
	f.Fuzz(func(t *testing.T, text string) {
		root, err := ParseRoot(text)
		if err == nil && len(root) != 32 {
			t.Fatal(len(root))
		}
	})
}

func TestKitText(t *testing.T) {
	k := testKit()
	text := k.Text()
	for _, want := range []string{"f12a03", k.Location, "2026-11-20T10:00:00Z", "ab000000", "passphrase", "laptop (ssh)", k.Groups()[7].Word, "age -d"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 101 {
			t.Errorf("long line: %q", line)
		}
	}
	k.Location = "x\nRoot key    forged"
	if strings.Contains(k.Text(), "\nRoot key    forged") {
		t.Error("a location forges a line")
	}
}

func TestKitSVG(t *testing.T) {
	k := testKit()
	k.Location += strings.Repeat("long/", 100)
	k.Keys = append(k.Keys, strings.Repeat("label ", 100))
	svg := k.SVG()
	var text strings.Builder
	for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := token.(xml.CharData); ok {
			text.Write(c)
			text.WriteByte(' ')
		}
	}
	for _, want := range []string{"f12a03", `s3://bucket/pre&fix "nas" <1>`, k.Groups()[7].Word, "Passphrase", "recover.py"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if i := strings.LastIndex(string(svg), ` y="`); i < 0 || svg[i+7] == '.' && string(svg[i+4:i+7]) > "285" {
		t.Errorf("the page is full: last line at %s mm", svg[i+4:i+9])
	}
}
