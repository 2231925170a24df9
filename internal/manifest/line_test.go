package manifest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"firn/internal/digest"
)

var testChunk = digest.Chunk{0xab, 0xcd, 31: 0xef}

const testHex = "abcd0000000000000000000000000000000000000000000000000000000000ef"

// fullEntries are entries of every type with every member.
func fullEntries() []*Entry {
	file := func() *Entry {
		return &Entry{Path: []byte("a/b"), Type: File, Mode: 0o644, UID: 1000, GID: -1, User: "me", Group: "wheel",
			Mtime: Time{-1, 5}, Size: 105, Hash: Hash{1, 2, 3}, Content: []Piece{{Chunk: testChunk, Offset: 7, Length: 5}, {Length: 100}}}
	}
	tree := file()
	tree.Content, tree.Tree = nil, Tree{Chunk: testChunk, Level: 1, Lines: 70, Bytes: 7000}
	linked := file()
	linked.Content, linked.Hardlink = nil, []byte("a/\xffa")
	linked.Path = []byte("a/\xffb")
	odd := file()
	odd.Path, odd.User, odd.Error = []byte("q\"\\\x01\n é"), "Jos\u00e9", "read \"x\": input/output error"
	odd.Xattrs = []Xattr{{"security.capability", []byte{1, 0, 0, 2}}, {"user.empty", []byte{}}, {"user.\xff", []byte("v")}}
	return []*Entry{
		{Path: []byte{}, Type: Dir, Mode: 0o4755, Mtime: Time{1690000000, 123456789}}, file(), tree, linked, odd,
		{Path: []byte("empty"), Type: File, Mtime: Time{math.MinInt64, 0}},
		{Path: []byte("l"), Type: Symlink, Mode: 0o777, Target: []byte("../x"), Mtime: Time{math.MaxInt64, 999999999}},
		{Path: []byte("l2"), Type: Symlink, Target: []byte("\xfe/"), User: "u"},
		{Path: []byte("null"), Type: Char, Major: 1, Minor: 3}, {Path: []byte("sda"), Type: Block, Major: 8, Minor: math.MaxUint32},
		{Path: []byte("pipe"), Type: FIFO}, {Path: []byte("sock"), Type: Socket, Hardlink: []byte("pipe")},
	}
}

// norm makes nil of empty slices, for comparing.
func norm(e *Entry) *Entry {
	c := e.Clone()
	if len(c.Path) == 0 {
		c.Path = nil
	}
	for _, b := range []*[]byte{&c.Hardlink, &c.Target} {
		if len(*b) == 0 {
			*b = nil
		}
	}
	if len(c.Content) == 0 {
		c.Content = nil
	}
	if len(c.Xattrs) == 0 {
		c.Xattrs = nil
	}
	for i := range c.Xattrs {
		c.Xattrs[i].Value = append([]byte{}, c.Xattrs[i].Value...)
	}
	return c
}

func TestLines(t *testing.T) {
	var back Entry
	for _, e := range fullEntries() {
		if err := e.Check(); err != nil {
			t.Errorf("%q: %v", e.Path, err)
		}
		line := AppendLine(nil, e)
		if line[len(line)-1] != '\n' || bytes.IndexByte(line, '\n') != len(line)-1 || !json.Valid(line) {
			t.Errorf("line %q", line)
		}
		if err := ParseLine(line, &back); err != nil {
			t.Errorf("%s%v", line, err)
			continue
		}
		if !reflect.DeepEqual(norm(&back), norm(e)) {
			t.Errorf("%sread as  %+v\nwritten %+v", line, back, e)
		}
		if path, err := PathOf(line, nil); err != nil || !bytes.Equal(path, e.Path) {
			t.Errorf("path %q, %v", path, err)
		}
	}
}

// TestLineForm fixes the bytes: writers of later versions write the same lines.
func TestLineForm(t *testing.T) {
	e := fullEntries()[4]
	want := `{"path":"q\"\\\u0001\n é","type":"file","mode":"0644","uid":1000,"gid":-1,"user":"José","group":"wheel",` +
		`"mtime":"-1.000000005","size":105,"hash":"010203000000000000000000","content":[["` + testHex + `",7,5],[null,0,100]],` +
		`"xattrs":[["security.capability","AQAAAg=="],["user.empty",""],["","dg==","dXNlci7/"]],"error":"read \"x\": input/output error"}` + "\n"
	if got := string(AppendLine(nil, e)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

const okLine = `{"path":"p","type":"file","mode":"0644","uid":0,"gid":0,"mtime":"1.000000000","size":5,"content":[["` + testHex + `",0,5]]}`

// TestStrict changes a good line.
func TestStrict(t *testing.T) {
	for _, c := range []struct{ old, new, err string }{
		{"", "", ""},
		{`{"path"`, ` { "x" : [1,{"y":null}] , "path"`, ""},
		{`"path"`, `"p\u0061th"`, ""},
		{`"size":5`, `"size":5,"new":{"a":[true,false,-1.5e3]}`, ""},
		{`"p"`, `"\u0070"`, ""},
		{`"path":"p"`, `"path_b64":"cA=="`, ""},
		{`}`, `}}`, "more than one"}, {`}`, ``, "want"}, {`{`, `[`, "want {"},
		{`"size":5`, `"size":5,`, "want a string"}, {`,"size"`, `,,"size"`, "want a string"},
		{`"path":"p",`, ``, "missing"}, {`"mode":"0644",`, ``, "missing"}, {`"uid":0,`, ``, "missing"},
		{`"mtime":"1.000000000",`, ``, "missing"}, {`"size":5,`, ``, "without size"},
		{`"path":"p"`, `"path":"p","path":"p"`, "twice"}, {`"path":"p"`, `"path":"p","path_b64":"cA=="`, "twice"},
		{`"uid":0`, `"uid":0,"uid":0`, "twice"}, {`"size":5`, `"size":5,"content":[]`, "twice"},
		{`"p"`, `"/p"`, "absolute"}, {`"p"`, `"a/../b"`, "unsafe"}, {`"p"`, `"./b"`, "unsafe"}, {`"p"`, `".."`, "unsafe"}, {`"p"`, `"a/."`, "unsafe"},
		{`"p"`, `"a//b"`, "empty component"}, {`"p"`, `"a/"`, "empty component"}, {`"p"`, `"a\u0000"`, "NUL"}, {`"p"`, `""`, "empty path"},
		{`"p"`, `"` + strings.Repeat("x", MaxPath+1) + `"`, "too long"}, {`"p"`, "\"\xff\"", "UTF-8"}, {`"p"`, `"\ud800"`, "escape"},
		{`"file"`, `"directory"`, "unknown type"}, {`"file"`, `"dir"`, "no file"}, {`"file"`, `"symlink"`, "without target"},
		{`"0644"`, `"644"`, "octal"}, {`"0644"`, `"0648"`, "octal"}, {`"0644"`, `420`, "string"},
		{`"uid":0`, `"uid":-2`, "range"}, {`"uid":0`, `"uid":1.5`, "integer"}, {`"uid":0`, `"uid":"0"`, "integer"},
		{`1.000000000`, `1.00000000`, "nine"}, {`1.000000000`, `.000000000`, "nine"}, {`1.000000000`, `01.000000000`, "seconds"},
		{`1.000000000`, `-0.000000000`, "seconds"}, {`1.000000000`, `1.0000000-1`, "nine"}, {`1.000000000`, `9223372036854775808.000000000`, "seconds"},
		{`"size":5`, `"size":6`, "add up"}, {`"size":5`, `"size":-5`, "range"}, {`,"content":[["` + testHex + `",0,5]]`, ``, "add up"},
		{`0,5]`, `0,0]`, "range"}, {`0,5]`, `0,-5]`, "range"}, {`0,5]`, `-1,5]`, "range"}, {`0,5]`, `4294967296,5]`, "range"},
		{`0,5]`, `16777212,5]`, "longer than a chunk"}, {`0,5]`, `16777211,5]`, ""},
		{`0,5]]`, `0,5],[null,0,9223372036854775807]]`, "longer than a file"}, {`0,5]`, `0,5,1]`, "want ]"}, {`0,5]`, `0]`, "want ,"},
		{`"` + testHex + `"`, `null`, ""}, {`"` + testHex + `",0`, `null,1`, "hole with an offset"},
		{`"` + testHex + `"`, `""`, "hex"}, {`"` + testHex + `"`, `"` + strings.Repeat("0", 64) + `"`, "zeros"}, {testHex, strings.ToUpper(testHex), "hex"},
		{`"size":5`, `"size":5,"hash":"00000000000000000000000"`, "hash"}, {`"size":5`, `"size":5,"hash":"FFEE00000000000000000000"`, "hash"}, {`"size":5`, `"size":5,"hash":"ffee00000000000000000000"`, ""},
		{`"size":5`, `"size":5,"hardlink":"a"`, "hard link with content"}, {`"size":5`, `"size":5,"hardlink":"p"`, "no earlier"}, {`"size":5`, `"size":5,"hardlink":"../a"`, "no earlier"},
		{`"size":5`, `"size":5,"target":"x"`, "no link"}, {`"size":5`, `"size":5,"rdev":[1,2]`, "no device"},
		{`"size":5`, `"size":5,"xattrs":[["b",""],["a",""]]`, "order"}, {`"size":5`, `"size":5,"xattrs":[["a",""],["a",""]]`, "order"},
		{`"size":5`, `"size":5,"xattrs":[["",""]]`, "want ,"}, {`"size":5`, `"size":5,"xattrs":[["","",""]]`, "bad name"}, {`"size":5`, `"size":5,"xattrs":[["a","!"]]`, "base64"},
		{`"size":5`, `"size":5,"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000), "too deep"},
	} {
		line := strings.Replace(okLine, c.old, c.new, 1)
		var e Entry
		err := ParseLine([]byte(line), &e)
		var le *LineError
		if c.err == "" && err != nil || c.err != "" && (!errors.As(err, &le) || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%.300s: error %v, want %q", line, err, c.err)
		}
	}
}

// TestReuse parses lines one after another into one entry: nothing of one shows in the next.
func TestReuse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var e Entry
	for range 2000 {
		want := randomEntry(r, []byte("some/path"))
		if err := ParseLine(AppendLine(nil, want), &e); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(norm(&e), norm(want)) {
			t.Fatalf("read %+v\nwant %+v", e, *want)
		}
	}
}

// TestForeignMemory parses into an entry that a caller has filled with slices of its own: they stay as they are.
func TestForeignMemory(t *testing.T) {
	path, link, value, pieces := []byte("some/path"), []byte("some/link"), []byte("value"), []Piece{{Chunk: testChunk, Length: 3}}
	attrs := []Xattr{{"user.x", value}}
	var e Entry
	for _, full := range fullEntries() {
		if err := ParseLine(AppendLine(nil, full), &e); err != nil {
			t.Fatal(err)
		}
		e.Path, e.Hardlink, e.Target, e.Content, e.Xattrs = path, link, link, pieces, attrs
	}
	for _, full := range fullEntries() {
		if err := ParseLine(AppendLine(nil, full), &e); err != nil {
			t.Fatal(err)
		}
	}
	if string(path) != "some/path" || string(link) != "some/link" || string(value) != "value" || pieces[0].Chunk != testChunk || attrs[0].Name != "user.x" {
		t.Errorf("overwritten: %q, %q, %q, %v, %v", path, link, value, pieces, attrs)
	}
}

func TestNoAllocation(t *testing.T) {
	e := fullEntries()[1]
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = AppendLine(buf[:0], e) }); n != 0 {
		t.Errorf("AppendLine allocates %v times", n)
	}
	var back Entry
	if n := testing.AllocsPerRun(100, func() { _ = ParseLine(buf, &back) }); n != 0 {
		t.Errorf("ParseLine allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = PathOf(buf, nil) }); n != 0 {
		t.Errorf("PathOf allocates %v times", n)
	}
}

// reference is ParseLine by encoding/json: what it says of a line, or an error.
func reference(line []byte) (*Entry, error) {
	if !utf8.Valid(line) {
		return nil, errors.New("not UTF-8")
	}
	members, err := objectOf(line)
	if err != nil {
		return nil, err
	}
	e, err := referenceEntry(members)
	if err == nil {
		err = e.refuseAs(members)
	}
	return e, err
}

// objectOf splits an object, refusing names that stand twice (known ones only).
func objectOf(line []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, errors.New("no object")
	}
	m := map[string]json.RawMessage{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := tok.(string)
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil || !ok {
			return nil, errors.New("bad member")
		}
		_, twice := m[name]
		if twice && slices.Contains(knownMembers, name) {
			return nil, errors.New("twice")
		}
		m[name] = raw
	}
	if _, err := dec.Token(); err != nil || !json.Valid(line) {
		return nil, errors.New("bad object")
	}
	return m, nil
}

var knownMembers = strings.Fields("path path_b64 type mode uid gid user group mtime size hash content content_tree hardlink hardlink_b64 target target_b64 rdev xattrs error")

// refuseAs applies the rules about values with the members as encoding/json saw them.
func (e *Entry) refuseAs(m map[string]json.RawMessage) error {
	var seen uint
	for bit, names := range map[uint]string{hasPath: "path", hasType: "type", hasMode: "mode", hasUID: "uid", hasGID: "gid", hasMtime: "mtime",
		hasSize: "size", hasHash: "hash", hasContent: "content", hasHardlink: "hardlink", hasTarget: "target", hasRdev: "rdev", hasError: "error"} {
		for name := range m {
			if strings.TrimSuffix(strings.TrimSuffix(name, "_b64"), "_tree") == names && slices.Contains(knownMembers, name) {
				seen |= bit
			}
		}
	}
	if msg := e.refuse(seen); msg != "" {
		return errors.New(msg)
	}
	return nil
}

func referenceEntry(m map[string]json.RawMessage) (e *Entry, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	e = &Entry{}
	key := func(name string) []byte {
		text, plain := m[name]
		b64, coded := m[name+"_b64"]
		switch {
		case plain && coded:
			panic("twice")
		case plain:
			return []byte(refString(text))
		case coded:
			return refBase64(refString(b64))
		}
		return nil
	}
	text := func(name string) string {
		if raw, ok := m[name]; ok {
			return refString(raw)
		}
		return ""
	}
	number := func(name string, lo int64) int64 {
		if raw, ok := m[name]; ok {
			return refInt(raw, lo, math.MaxInt64)
		}
		return 0
	}
	e.Path, e.Hardlink, e.Target = key("path"), key("hardlink"), key("target")
	e.User, e.Group, e.Error = text("user"), text("group"), text("error")
	e.UID, e.GID, e.Size = number("uid", -1), number("gid", -1), number("size", 0)
	if name := text("type"); m["type"] != nil {
		i := slices.Index(typeNames[:], name)
		if i < 0 {
			panic("type")
		}
		e.Type = Type(i)
	}
	refRest(e, m, text)
	return e, nil
}

func refRest(e *Entry, m map[string]json.RawMessage, text func(string) string) {
	if mode := text("mode"); m["mode"] != nil {
		n, err := strconv.ParseUint(mode, 8, 12)
		if err != nil || len(mode) != 4 {
			panic("mode")
		}
		e.Mode = uint32(n)
	}
	if mtime := text("mtime"); m["mtime"] != nil {
		sec, nsec, _ := strings.Cut(mtime, ".")
		s, err1 := strconv.ParseInt(sec, 10, 64)
		n, err2 := strconv.ParseUint(nsec, 10, 32)
		if err1 != nil || err2 != nil || len(nsec) != 9 || strconv.FormatInt(s, 10) != sec {
			panic("mtime")
		}
		e.Mtime = Time{s, int32(n)}
	}
	if hash := text("hash"); m["hash"] != nil {
		b, err := hex.DecodeString(hash)
		if err != nil || len(hash) != 24 || strings.ToLower(hash) != hash {
			panic("hash")
		}
		e.Hash = Hash(b)
		if e.Size == 0 && !e.Hash.IsZero() {
			panic("hash of nothing")
		}
	}
	if m["content"] != nil && m["content_tree"] != nil {
		panic("twice")
	}
	if raw := m["content_tree"]; raw != nil {
		if err := e.Tree.UnmarshalJSON(raw); err != nil || e.Tree.IsEmpty() {
			panic("content_tree") // tested in linetree
		}
	}
	if raw := m["rdev"]; raw != nil {
		a := refArray(raw, 2)
		e.Major, e.Minor = uint32(refInt(a[0], 0, math.MaxUint32)), uint32(refInt(a[1], 0, math.MaxUint32))
	}
	if raw := m["content"]; raw != nil {
		for _, raw := range refArray(raw, -1) {
			a, p := refArray(raw, 3), Piece{}
			if string(a[0]) != "null" {
				id, err := digest.ParseChunk(refString(a[0]))
				if err != nil || id.IsZero() {
					panic("chunk")
				}
				p.Chunk = id
			}
			p.Offset, p.Length = uint32(refInt(a[1], 0, math.MaxUint32)), refInt(a[2], 1, math.MaxInt64)
			e.Content = append(e.Content, p)
		}
	}
	if raw := m["xattrs"]; raw != nil {
		for _, raw := range refArray(raw, -1) {
			a := refArray(raw, -1)
			x := Xattr{refString(a[0]), refBase64(refString(a[1]))}
			if x.Name == "" {
				x.Name = string(refBase64(refString(a[2])))
				a = a[1:]
			}
			if len(a) != 2 {
				panic("xattr")
			}
			e.Xattrs = append(e.Xattrs, x)
		}
	}
}

func refString(raw json.RawMessage) (s string) {
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		panic("string")
	}
	if strings.ContainsRune(s, utf8.RuneError) && !strings.Contains(strings.ToLower(string(raw)), `\ufffd`) && !bytes.ContainsRune(raw, utf8.RuneError) {
		panic("surrogate")
	}
	return s
}

func refInt(raw json.RawMessage, lo, hi int64) int64 {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < lo || n > hi {
		panic("integer")
	}
	return n
}

func refArray(raw json.RawMessage, n int) (a []json.RawMessage) {
	if raw[0] != '[' || json.Unmarshal(raw, &a) != nil || n >= 0 && len(a) != n {
		panic("array")
	}
	return a
}

func refBase64(s string) []byte {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		panic("base64")
	}
	return b
}

// FuzzParseLine compares ParseLine with encoding/json, and what it read with what is written of it.
func FuzzParseLine(f *testing.F) {
	for _, e := range fullEntries() {
		f.Add(AppendLine(nil, e))
	}
	f.Add([]byte(okLine))
	f.Add([]byte(` { "a" : [ { } ] , "p\u0061th" : "\ud83d\ude00" , "type":"dir","mode":"0000","uid":0,"gid":0,"mtime":"0.000000000" } `))
	f.Fuzz(func(t *testing.T, line []byte) {
		var e Entry
		err := ParseLine(line, &e)
		want, refErr := reference(line)
		deep := bytes.Count(line, []byte("["))+bytes.Count(line, []byte("{")) > 60
		mixed := bytes.Contains(bytes.ToLower(line), []byte(`\ufffd`)) || bytes.ContainsRune(line, utf8.RuneError)
		odd := bytes.Contains(line, []byte(`\u`)) // surrogates in what is skipped
		switch {
		case err == nil && refErr != nil:
			t.Fatalf("%q: accepted, but %v", line, refErr)
		case err != nil && refErr == nil && !deep && !mixed && !odd:
			t.Fatalf("%q: %v, but encoding/json takes it", line, err)
		case err != nil:
			return
		case !reflect.DeepEqual(norm(&e), norm(want)):
			t.Fatalf("%q: read %+v, want %+v", line, e, *want)
		}
		again := AppendLine(nil, &e)
		var back Entry
		if err := ParseLine(again, &back); err != nil || !reflect.DeepEqual(norm(&back), norm(&e)) {
			t.Fatalf("%q written as %q: %v", line, again, err)
		}
		if err := e.Check(); err != nil {
			t.Fatalf("%q: parsed, but %v", line, err)
		}
		if path, err := PathOf(line, nil); err != nil || !bytes.Equal(path, e.Path) {
			t.Fatalf("%q: path %q, %v", line, path, err)
		}
	})
}

// FuzzPathOf reads hostile lines.
func FuzzPathOf(f *testing.F) {
	f.Add([]byte(okLine))
	f.Add([]byte(`{"path_b64":"/w=="}`))
	f.Add([]byte(`{"a":"b","path":"\"x"}`))
	f.Fuzz(func(t *testing.T, line []byte) { _, _ = PathOf(line, nil) })
}
