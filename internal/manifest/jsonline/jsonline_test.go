package jsonline

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ in, want, err string }{
		{`""`, "", ""},
		{`"plain"`, "plain", ""},
		{`  "a\"\\\/\b\f\n\r\tz" `, "a\"\\/\b\f\n\r\tz", ""},
		{`"\u0041\u00e9\u20AC\ud83d\ude00"`, "Aé€😀", ""},
		{`"exactly8"`, "exactly8", ""},
		{`"more than eight é and on"`, "more than eight é and on", ""},
		{`"\u0000"`, "\x00", ""},
		{`"\ud83d"`, "", "bad escape"},
		{`"\ud83dx\ude00"`, "", "bad escape"},
		{`"\ude00\ud83d"`, "", "bad escape"},
		{`"\ud83d\u0041"`, "", "bad escape"},
		{`"\u12g4"`, "", "bad escape"},
		{`"\x41"`, "", "bad escape"},
		{`"\"`, "", "without end"},
		{`"\`, "", "bad escape"},
		{`"open`, "", "without end"},
		{"\"tab\there and more\"", "", "control character"},
		{"\"escape\\n then tab\there\"", "", "control character"},
		{"\"\xff and more to come\"", "", "not UTF-8"},
		{"\"\\n\xff\"", "", "not UTF-8"},
		{"\"\xed\xa0\x80\"", "", "not UTF-8"},
		{`x`, "", "want a string"},
		{``, "", "want a string"},
	} {
		var s Scanner
		s.Reset([]byte(c.in))
		got := string(s.Text())
		s.End()
		check(t, c.in, &s, c.err)
		if c.err == "" && got != c.want {
			t.Errorf("%s: got %q, want %q", c.in, got, c.want)
		}
	}
}

func check(t *testing.T, in string, s *Scanner, want string) {
	t.Helper()
	switch err := s.Err(); {
	case err == nil && want != "":
		t.Errorf("%s: no error, want %q", in, want)
	case err != nil && (want == "" || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: error %v, want %q", in, err, want)
	}
}

func TestInt(t *testing.T) {
	const most, least = 1<<63 - 1, -1 << 63
	for _, c := range []struct {
		in   string
		want int64
		err  string
	}{
		{"0", 0, ""}, {"-0", 0, ""}, {" 42 ", 42, ""}, {"-1", -1, ""},
		{"9223372036854775807", most, ""}, {"-9223372036854775808", least, ""},
		{"9223372036854775808", 0, "range"}, {"-9223372036854775809", 0, "range"},
		{"18446744073709551617", 0, "range"}, {"99999999999999999999999", 0, "range"},
		{"01", 0, "integer"}, {"1.0", 0, "integer"}, {"1e3", 0, "integer"}, {"-", 0, "integer"}, {"", 0, "integer"},
		{`"1"`, 0, "integer"}, {"+1", 0, "integer"}, {"1 2", 1, "more than one"},
	} {
		var s Scanner
		s.Reset([]byte(c.in))
		got := s.Int(least, most)
		s.End()
		check(t, c.in, &s, c.err)
		if c.err == "" && got != c.want {
			t.Errorf("%s: got %d, want %d", c.in, got, c.want)
		}
	}
}

func TestSkipLimit(t *testing.T) {
	var s Scanner
	for _, c := range []struct {
		depth int
		err   string
	}{{MaxDepth, ""}, {MaxDepth + 2, "too deep"}, {1 << 20, "too deep"}} {
		s.Reset([]byte(strings.Repeat("[", c.depth) + strings.Repeat("]", c.depth)))
		s.Skip()
		s.End()
		if c.depth < 100 {
			check(t, "nested", &s, c.err)
		} else if s.Err() == nil {
			t.Error("no error for a million levels")
		}
	}
}

// FuzzSkip compares what is JSON with encoding/json, which is laxer about UTF-8 and surrogates, and deeper.
func FuzzSkip(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e+3,true,false,null,"x\u00e9"],"b":{}}`, `[]`, `[1,]`, `{"a"}`, `{,}`, `1.`, `-`, `nul`, `"\ud800"`, "\"\xff\"", ` [ 1 , 2 ] `, `[[[[]]]]`, `1e`, `00`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var s Scanner
		s.Reset(in)
		s.Skip()
		s.End()
		err := s.Err()
		if valid := json.Valid(in); err == nil && !valid {
			t.Fatalf("%q: taken for JSON", in)
		} else if err != nil && valid && utf8.Valid(in) && !bytes.Contains(in, []byte(`\u`)) && bytes.Count(in, []byte("["))+bytes.Count(in, []byte("{")) < MaxDepth {
			t.Fatalf("%q: %v", in, err)
		}
	})
}

// FuzzString writes strings and reads them back, by this package and by encoding/json.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "plain", "\x00\x01\x1f\"\\/\b\f\n\r\t\x7f", "é€😀\u2028", "\xff", "a\xffb\xc3", "\xed\xa0\x80", strings.Repeat("long ", 20)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := AppendString(nil, in)
		var want, ours string
		if err := json.Unmarshal(out, &want); err != nil {
			t.Fatalf("%q written as %q: %v", in, out, err)
		}
		if want != strings.ToValidUTF8(want, "?") || utf8.Valid(in) && want != string(in) {
			t.Fatalf("%q written as %q", in, out)
		}
		var s Scanner
		s.Reset(out)
		ours = string(s.Text())
		s.End()
		if s.Err() != nil || ours != want {
			t.Fatalf("%q read as %q, %v", out, ours, s.Err())
		}
		var back map[string][]byte
		line := AppendKey([]byte{'{'}, "k", in)
		line = append(line, '}')
		if utf8.Valid(in) {
			var text map[string]string
			if err := json.Unmarshal(line, &text); err != nil || text["k"] != string(in) {
				t.Fatalf("%q: %v", line, err)
			}
		} else if err := json.Unmarshal(line, &back); err != nil || !bytes.Equal(back["k_b64"], in) {
			t.Fatalf("%q: %v", line, err)
		}
	})
}

func TestHex(t *testing.T) {
	var id, back [32]byte
	for i := range id {
		id[i] = byte(i*37 + 11)
	}
	text := append(AppendHex32([]byte{'"'}, &id), '"')
	var s Scanner
	s.Reset(text)
	s.Hex32(&back)
	if s.Err() != nil || back != id {
		t.Fatalf("%s: %v", text, s.Err())
	}
	for _, bad := range []string{`"ab"`, string(bytes.ToUpper(text)), strings.Replace(string(text), "0", "g", 1), "12"} {
		s.Reset([]byte(bad))
		if s.Hex32(&back); s.Err() == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestBase64(t *testing.T) {
	for in, ok := range map[string]bool{`""`: true, `"AA=="`: true, `"AAA="`: true, `"AB=="`: false, `"AA"`: false, `"A\nA=="`: false, `"-_=="`: false, `1`: false} {
		var s Scanner
		s.Reset([]byte(in))
		if s.Base64(nil); (s.Err() == nil) != ok {
			t.Errorf("%s: %v", in, s.Err())
		}
	}
}

func BenchmarkText(b *testing.B) {
	line := []byte(`"home/someone/src/project/internal/package/a_file_of_usual_name.go"`)
	b.SetBytes(int64(len(line)))
	var s Scanner
	for b.Loop() {
		s.Reset(line)
		s.Text()
	}
}
