package format

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"firn/internal/sign"
)

var (
	testSeed = [32]byte{1, 2, 3}
	testRoot = ed25519.NewKeyFromSeed(testSeed[:]).Public().(ed25519.PublicKey)
	testTime = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
)

func testConfig() *Config { return New([16]byte{0xf1}, testRoot, SealX25519, testTime) }

func marshal(t testing.TB, c *Config) []byte {
	t.Helper()
	raw, err := c.Marshal(testSeed)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestRoundTrip(t *testing.T) {
	c := testConfig()
	for _, change := range []func(){
		func() {},
		func() { c.Seal, c.Padding = SealHybrid, PaddingPadme },
		func() {
			c.Parity, c.Class = Parity{5, 10}, Class{"DEEP_ARCHIVE", "STANDARD"}
		},
		func() { c.Chunk, c.Bundle = Chunk{64 << 10, 128 << 10, 16 << 20}, Bundle{4096, 64 << 10} },
	} {
		change()
		raw := marshal(t, c)
		got, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, c) {
			t.Fatalf("\n got %+v\nwant %+v", got, c)
		}
		if err := VerifySignature(raw, testRoot); err != nil {
			t.Fatal(err)
		}
		if again := marshal(t, got); !bytes.Equal(raw, again) {
			t.Fatal("other bytes")
		}
	}
}

// TestText freezes the bytes: members in the order of FORMAT §3, indented, and the signature over their canonical form.
func TestText(t *testing.T) {
	raw := marshal(t, testConfig())
	want := []string{"format", "id", "created", "root", "features", "seal", "chunk", "bundle", "padding", "parity", "class", "signature"}
	var got []string
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, `  "`) {
			got = append(got, strings.SplitN(line, `"`, 3)[1])
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("members %v", got)
	}
	// The canonical form, written here by hand.
	canonical := `{"bundle":{"max":4194304,"min":1048576},"chunk":{"avg":786432,"max":2097152,"min":524288},"class":{"data":"","meta":""},` +
		`"created":"2026-11-20T10:00:00Z","features":[],"format":1,"id":"f1000000000000000000000000000000","padding":"none","parity":{"data":0,"meta":0},` +
		`"root":"` + base64Root(t, raw) + `","seal":"x25519"}`
	var doc struct{ Signature []byte }
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(testRoot, []byte("firn/1 json\n"+canonical), doc.Signature) {
		t.Fatal("the signature is not that of FORMAT §3")
	}
}

func base64Root(t *testing.T, raw []byte) string {
	var doc struct{ Root string }
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Root
}

func TestSignature(t *testing.T) {
	raw := marshal(t, testConfig())
	for n := range raw {
		bad := bytes.Clone(raw)
		bad[n] ^= 1
		if err := VerifySignature(bad, testRoot); err == nil {
			if a, _ := Parse(raw); !reflect.DeepEqual(a, mustParse(bad)) {
				t.Fatalf("byte %d changed: accepted with another meaning", n)
			}
		}
	}
	other := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	if err := VerifySignature(raw, other); !errors.Is(err, sign.ErrSignature) {
		t.Fatal(err)
	}
	if VerifySignature(make([]byte, MaxFile+1), testRoot) == nil {
		t.Fatal("too long")
	}
	if _, err := testConfig().Marshal([32]byte{9}); err == nil {
		t.Fatal("signed by a key that is not the root in the file")
	}
}

func mustParse(raw []byte) *Config {
	c, _ := Parse(raw)
	return c
}

func TestLimits(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"format":      func(c *Config) { c.Format = 0 },
		"id":          func(c *Config) { c.ID = [16]byte{} },
		"root":        func(c *Config) { c.Root = nil },
		"created":     func(c *Config) { c.Created = time.Time{} },
		"seal":        func(c *Config) { c.Seal = "rot13" },
		"padding":     func(c *Config) { c.Padding = "" },
		"parity":      func(c *Config) { c.Parity.Data = 101 },
		"parity 2":    func(c *Config) { c.Parity.Meta = -1 },
		"class":       func(c *Config) { c.Class.Data = "A B" },
		"class 2":     func(c *Config) { c.Class.Meta = strings.Repeat("A", 65) },
		"chunk min":   func(c *Config) { c.Chunk.Min = MinChunk - 1 },
		"chunk max":   func(c *Config) { c.Chunk.Max = MaxChunk + 1 },
		"chunk avg":   func(c *Config) { c.Chunk.Avg = c.Chunk.Min },
		"chunk avg 2": func(c *Config) { c.Chunk.Avg = c.Chunk.Max },
		"bundle min":  func(c *Config) { c.Bundle.Min = 100 },
		"bundle max":  func(c *Config) { c.Bundle.Max = MaxChunk + 1 },
		"bundle":      func(c *Config) { c.Bundle.Min = c.Bundle.Max + 1 },
		"bundle fits": func(c *Config) { c.Bundle = Bundle{4096, c.Chunk.Min - 1} },
	} {
		c := testConfig()
		spoil(c)
		var field *FieldError
		if err := c.Check(); !errors.As(err, &field) || !strings.HasPrefix(name, field.Field) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Marshal(testSeed); err == nil {
			t.Errorf("%s: marshalled", name)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(marshal(t, testConfig()))
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not there", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	var newer *NewerFormatError
	if _, err := Parse([]byte(`{"everything":["is",{"else":null}],"format":2}`)); !errors.As(err, &newer) || newer.Format != 2 {
		t.Error(err)
	}
	var unknown *UnknownFeatureError
	if _, err := Parse([]byte(replace(`"features": []`, `"features": ["holograms", "x"]`))); !errors.As(err, &unknown) || len(unknown.Features) != 2 {
		t.Error(err)
	}
	if _, err := Parse([]byte(replace(`"features"`, `"more": {"a": [1]}, "features"`))); err != nil {
		t.Error("members that it does not know are ignored:", err)
	}
	for name, bad := range map[string]string{
		"empty": "", "array": "[]", "null": "null", "cut": good[:len(good)-4], "behind": good + "{}", "long": good + strings.Repeat(" ", MaxFile),
		"twice": replace(`"id"`, `"seal": "x25519", "id"`), "case": replace(`"seal"`, `"Seal"`), "type": replace(`"features": []`, `"features": 7`),
		"null member": replace(`"features": []`, `"features": null`), "fraction": replace(`"format": 1`, `"format": 1.5`),
		"zero": replace(`"format": 1`, `"format": 0`), "negative": replace(`"format": 1`, `"format": -1`), "big": replace(`524288`, `1e300`),
		"id": replace(`"f1000`, `"F1000`), "time": replace(`00Z"`, `00+01:00"`), "root": replace(`"root": "`, `"root": "!`),
	} {
		if c, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%s: accepted as %+v", name, c)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(marshal(f, testConfig()))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`{"format":1,"features":["a"]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_ = VerifySignature(raw, testRoot)
		c, err := Parse(raw)
		if err != nil {
			return
		}
		if err := c.Check(); err != nil {
			t.Fatal("Parse returned what Check refuses:", err)
		}
		if c.Root.Equal(testRoot) {
			again, err := c.Marshal(testSeed)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := Parse(again); err != nil || back.Chunk != c.Chunk || back.ID != c.ID {
				t.Fatal(err)
			}
		}
	})
}

func TestCopyNumber(t *testing.T) {
	seed, c := testSeed, testConfig()
	plain, err := c.Marshal(seed)
	if err != nil || bytes.Contains(plain, []byte(`"copy"`)) {
		t.Fatalf("%s, %v", plain, err)
	}
	c.Copy = [16]byte{7, 1}
	raw, err := c.Marshal(seed)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(raw)
	if err != nil || got.Copy != c.Copy {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := VerifySignature(raw, c.Root); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{`"copy":"00000000000000000000000000000000"`, `"copy":"07"`, `"copy":7`, `"copy":null`, `"copy":"0701000000000000000000000000000G"`} {
		text := strings.Replace(string(plain), `"format"`, bad+`, "format"`, 1)
		var field *FieldError
		if _, err := Parse([]byte(text)); !errors.As(err, &field) || field.Field != "copy" {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
