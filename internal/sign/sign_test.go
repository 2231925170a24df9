package sign

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
)

var (
	testRepo  = [16]byte{0xAB, 1, 2}
	testScope = [8]byte{0xCD, 3}
	testMAC   = [32]byte{4, 5}
	testSeed  = [32]byte{6, 7}
)

func TestMessage(t *testing.T) {
	body := sha256.Sum256([]byte("body"))
	want := "firn/1\nsnapshot\nab010200000000000000000000000000\ncd03000000000000\n" + hex.EncodeToString(body[:]) + "\n"
	if got := string(Message(Snapshot, testRepo, testScope, body)); got != want {
		t.Errorf("message %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a kind that could be a line break is taken")
		}
	}()
	Message("x\n", testRepo, testScope, body)
}

func TestMAC(t *testing.T) {
	// RFC 4231 §4.2, test case 1: its key of 20 bytes is padded with zeros.
	key := [32]byte(append(bytes.Repeat([]byte{0x0B}, 20), make([]byte, 12)...))
	mac := MAC(key, []byte("Hi There"))
	if got := hex.EncodeToString(mac[:]); got != "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" {
		t.Errorf("MAC %s", got)
	}
	if err := CheckMAC(key, []byte("Hi There"), mac); err != nil {
		t.Error(err)
	}
	mac[31] ^= 1
	if err := CheckMAC(key, []byte("Hi There"), mac); !errors.Is(err, ErrMAC) {
		t.Errorf("a wrong MAC: %v", err)
	}
}

func TestProof(t *testing.T) {
	body := sha256.Sum256([]byte("body"))
	host := NewSigner(testRepo, testScope, testMAC, testSeed)
	root := NewRootSigner(testRepo, testScope, testMAC, [32]byte{9})
	if host.Author() != AuthorOf(host.Public()) || host.Author().IsRoot() || !root.Author().IsRoot() || host.Repo() != testRepo || host.Scope() != testScope {
		t.Error("signers are not who they are")
	}
	for name, s := range map[string]*Signer{"host": host, "root": root} {
		p := s.Sign(Index, body)
		raw := p.Append([]byte("x"))
		back, err := ParseProof(raw[1:])
		if err != nil || back != p || len(raw) != 1+ProofSize {
			t.Fatalf("%s: proof of %d bytes: %v", name, len(raw), err)
		}
		msg := Message(Index, testRepo, testScope, body)
		if err := p.CheckSignature(s.Public(), msg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := CheckMAC(testMAC, msg, p.MAC); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for what, other := range map[string][]byte{
			"kind": Message(Packset, testRepo, testScope, body), "repository": Message(Index, [16]byte{}, testScope, body),
			"scope": Message(Index, testRepo, [8]byte{}, body), "body": Message(Index, testRepo, testScope, [32]byte{}),
		} {
			if err := p.CheckSignature(s.Public(), other); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: another %s: %v", name, what, err)
			}
			if err := CheckMAC(testMAC, other, p.MAC); !errors.Is(err, ErrMAC) {
				t.Errorf("%s: another %s: %v", name, what, err)
			}
		}
	}
	msg := Message(Index, testRepo, testScope, body)
	p := host.Sign(Index, body)
	if err := p.CheckSignature(root.Public(), msg); !errors.Is(err, ErrAuthor) {
		t.Errorf("another key: %v", err)
	}
	forged := root.Sign(Index, body)
	if err := forged.CheckSignature(host.Public(), msg); !errors.Is(err, ErrSignature) {
		t.Errorf("another root: %v", err)
	}
	if p.CheckSignature(host.Public()[:31], msg) == nil {
		t.Error("a short key")
	}
	for _, n := range []int{0, ProofSize - 1, ProofSize + 1} {
		if _, err := ParseProof(make([]byte, n)); err == nil {
			t.Errorf("proof of %d bytes", n)
		}
	}
}

func TestAuthor(t *testing.T) {
	a := AuthorOf(ed25519.NewKeyFromSeed(testSeed[:]).Public().(ed25519.PublicKey))
	if b, err := ParseAuthor(a.String()); err != nil || a != b {
		t.Errorf("%s reads as %s, %v", a, b, err)
	}
	for _, s := range []string{"", "00", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("A", 32), strings.Repeat("g", 32)} {
		if _, err := ParseAuthor(s); err == nil {
			t.Errorf("author %q", s)
		}
	}
}

func TestJCS(t *testing.T) {
	// The first is the example of RFC 8785 §3.2.2 without the numbers and the null that have no place here, the second that of §3.2.3.
	for text, want := range map[string]string{
		`{"numbers": [333333333, 4, -0], "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [true, false]}`:                                                                                                   "",
		`{ "numbers": [333333333, 4], "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [true, false] }`:                                                                                                     `{"literals":[true,false],"numbers":[333333333,4],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		`{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"}`: `{"\r":"Carriage Return","1":"One","` + "\u0080" + `":"Control","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","😀":"Emoji: Grinning Face","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`,
		`{"peach":"This sorting order","péché":"is wrong according to French","pêche":"but canonicalization MUST","sin":"ignore locale"}`:                                                                                         `{"peach":"This sorting order","péché":"is wrong according to French","pêche":"but canonicalization MUST","sin":"ignore locale"}`,
		" [ ] ":                       `[]`,
		"{\t}\n":                      `{}`,
		`"\b\t\n\f\r\u0000\u001F"`:    `"\b\t\n\f\r\u0000\u001f"`,
		`"<>&` + "\u2028\u007f" + `"`: `"<>&` + "\u2028\u007f" + `"`,
		`[9007199254740991,-9007199254740991,0,true,{"b":{},"a":[[]]}]`: `[9007199254740991,-9007199254740991,0,true,{"a":[[]],"b":{}}]`,
		`{"":1,"a":2,"aa":3,"A":4}`:                                     `{"":1,"A":4,"a":2,"aa":3}`,
		`"\uDBFF\uDFFF"`:                                                "\"\U0010FFFF\"",

		``: "", `null`: "", `[null]`: "", `1.5`: "", `1e3`: "", `1.0`: "", `-0`: "", `01`: "", `+1`: "", `-`: "", `9007199254740992`: "", `-9007199254740992`: "", `1E400`: "",
		`{"a":1,"a":1}`: "", `{"a":1,"\u0061":2}`: "", `"\ud800"`: "", `"\udc00\ud800"`: "", `"\ud800\u0041"`: "", `"\x"`: "", `"\u12G4"`: "", `"\u12`: "", "\"\xff\"": "",
		"\"a\nb\"": "", `"a`: "", `[1,]`: "", `[1 2]`: "", `{"a"}`: "", `{"a":}`: "", `{a:1}`: "", `{"a":1,}`: "", `{1:1}`: "", `[`: "", `{`: "", `{} {}`: "", `tru`: "", `"\`: "", "\ufeff{}": "",
	} {
		got, err := JCS(json.RawMessage(text))
		if want == "" {
			if !errors.Is(err, ErrJSON) {
				t.Errorf("%s: taken as %s, %v", text, got, err)
			}
		} else if err != nil || string(got) != want {
			t.Errorf("%s:\n got %s, %v\nwant %s", text, got, err, want)
		}
	}
	if _, err := JCS(json.RawMessage(strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1))); !errors.Is(err, ErrJSON) {
		t.Errorf("too deep: %v", err)
	}
	if _, err := JCS(json.RawMessage(strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth))); err != nil {
		t.Errorf("deep: %v", err)
	}
}

func TestJCSValues(t *testing.T) {
	type doc struct {
		B string         `json:"b"`
		A []int64        `json:"a"`
		M map[string]any `json:"m"`
		S struct{}       `json:"-"`
	}
	got, err := JCS(doc{B: "<&>", A: []int64{1, -2}, M: map[string]any{"y": uint8(3), "x": true, "z": 5.0}})
	if want := `{"a":[1,-2],"b":"<&>","m":{"x":true,"y":3,"z":5}}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
	for name, v := range map[string]any{
		"nil": nil, "nil slice": doc{}, "fraction": 0.5, "large": uint64(math.MaxUint64), "function": func() {}, "not a number": math.NaN(),
	} {
		if got, err := JCS(v); !errors.Is(err, ErrJSON) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestSignJSON(t *testing.T) {
	pub := ed25519.NewKeyFromSeed(testSeed[:]).Public().(ed25519.PublicKey)
	type doc struct {
		Format int    `json:"format"`
		Name   string `json:"a name"`
		Sig    string `json:"signature,omitempty"`
	}
	for name, d := range map[string]any{"struct": doc{Format: 1, Name: "<é\n"}, "map": map[string]any{"z": []string{"a"}, "b": false}, "empty": map[string]int{}, "raw": json.RawMessage(" {\"b\" : 1 }\n ")} {
		raw, err := SignJSON(testSeed, d)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !json.Valid(raw) || !bytes.HasSuffix(raw, []byte("\"\n}\n")) {
			t.Errorf("%s: %s", name, raw)
		}
		if err := VerifyJSON(pub, raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil {
			t.Fatal(err)
		}
		if err := VerifyJSON(pub, compact.Bytes()); err != nil {
			t.Errorf("%s, without white space: %v", name, err)
		}
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(m); err != nil || VerifyJSON(pub, again) != nil {
			t.Errorf("%s, in another order: %v", name, VerifyJSON(pub, again))
		}
		if err := VerifyJSON(pub, bytes.Replace(raw, []byte("{"), []byte(`{"more":1,`), 1)); !errors.Is(err, ErrSignature) {
			t.Errorf("%s, with a member more: %v", name, err)
		}
		other := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
		if err := VerifyJSON(other, raw); !errors.Is(err, ErrSignature) {
			t.Errorf("%s, another key: %v", name, err)
		}
	}
	for name, d := range map[string]any{"signed": doc{Sig: "x"}, "array": []int{}, "string": "x", "fraction": map[string]any{"x": 1.5}, "channel": make(chan int)} {
		if _, err := SignJSON(testSeed, d); !errors.Is(err, ErrJSON) {
			t.Errorf("%s: %v", name, err)
		}
	}
	signed, _ := SignJSON(testSeed, map[string]any{"a": 1})
	for name, raw := range map[string]string{
		"not JSON": "x", "no object": "[]", "unsigned": `{"a":1}`, "number": `{"signature":1}`, "no base64": `{"signature":"?"}`, "short": `{"signature":"AAAA"}`,
		"twice": strings.Replace(string(signed), "{", `{"signature":"",`, 1), "another value": strings.Replace(string(signed), `"a"`, `"b"`, 1), "more": string(signed) + "{}",
	} {
		if err := VerifyJSON(pub, []byte(raw)); err == nil {
			t.Errorf("%s is verified", name)
		}
	}
	if VerifyJSON(pub[:3], signed) == nil {
		t.Error("a short key")
	}
}

// TestSignJSONVector pins what is signed, so that other programs can check theirs.
func TestSignJSONVector(t *testing.T) {
	key := ed25519.NewKeyFromSeed(testSeed[:])
	want := ed25519.Sign(key, []byte("firn/1 json\n{\"a\":[],\"b\":\"é\"}"))
	raw, err := SignJSON(testSeed, json.RawMessage(`{"b":"\u00e9","a":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Signature []byte }
	if err := json.Unmarshal(raw, &m); err != nil || !bytes.Equal(m.Signature, want) {
		t.Errorf("signature % x, %v", m.Signature, err)
	}
}

func FuzzJCS(f *testing.F) {
	for _, s := range []string{`{"a":[1,-5,true,"\u20ac\ud83d\ude00"],"b":{}}`, `[[[["x"]]]]`, `{"a":1,"a":2}`, "\"\xff\"", `1e5`, `{"\n":"\/"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		form, err := JCS(json.RawMessage(raw))
		if err != nil {
			if !errors.Is(err, ErrJSON) {
				t.Fatal(err)
			}
			return
		}
		var a, b any
		if err := json.Unmarshal(raw, &a); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", raw, err)
		}
		if err := json.Unmarshal(form, &b); err != nil {
			t.Fatalf("encoding/json refuses the form %q: %v", form, err)
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if !bytes.Equal(x, y) {
			t.Fatalf("%q means something else than %q", form, raw)
		}
		again, err := JCS(json.RawMessage(form))
		if err != nil || !bytes.Equal(again, form) {
			t.Fatalf("%q is not its own form: %q, %v", form, again, err)
		}
		if viaValue, err := JCS(a); err != nil || !bytes.Equal(viaValue, form) {
			t.Fatalf("as a value %q, as text %q: %v", viaValue, form, err)
		}
	})
}

func FuzzVerifyJSON(f *testing.F) {
	raw, err := SignJSON(testSeed, map[string]any{"a": 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	pub := ed25519.NewKeyFromSeed(testSeed[:]).Public().(ed25519.PublicKey)
	want, _ := JCS(json.RawMessage(raw))
	f.Fuzz(func(t *testing.T, b []byte) {
		if VerifyJSON(pub, b) != nil {
			return
		}
		if got, err := JCS(json.RawMessage(b)); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q is verified", b)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	s := NewSigner(testRepo, testScope, testMAC, testSeed)
	b.ReportAllocs()
	for b.Loop() {
		s.Sign(Pack, [32]byte{1})
	}
}

func BenchmarkCheckSignature(b *testing.B) {
	s := NewSigner(testRepo, testScope, testMAC, testSeed)
	p := s.Sign(Pack, [32]byte{1})
	msg := Message(Pack, testRepo, testScope, [32]byte{1})
	pub := s.Public()
	b.ReportAllocs()
	for b.Loop() {
		if err := p.CheckSignature(pub, msg); err != nil {
			b.Fatal(err)
		}
	}
}
