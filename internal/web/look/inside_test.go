package look

import (
	"mime"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"firn/internal/browse"
	"firn/internal/snapshot"
	"firn/internal/web"
)

func TestPermissions(t *testing.T) {
	for _, c := range []struct {
		kind string
		mode uint32
		want string
	}{{"file", 0o644, "-rw-r--r--"}, {"dir", 0o1777, "drwxrwxrwt"}, {"file", 0o4755, "-rwsr-xr-x"}, {"file", 0o6644, "-rwSr-Sr--"}, {"symlink", 0o777, "lrwxrwxrwx"}, {"char", 0o1660, "crw-rw---T"}, {"file", 0, "----------"}} {
		if got := permissions(&browse.Entry{Type: c.kind, Mode: c.mode}); got != c.want {
			t.Errorf("%s %o: %s, want %s", c.kind, c.mode, got, c.want)
		}
	}
}

func TestTextPreview(t *testing.T) {
	long := strings.Repeat("ä", 100)
	for _, c := range []struct {
		in, charset, text string
		cut               bool
	}{
		{"plain\n", "UTF-8", "plain\n", false}, {"\ufeffmark", "UTF-8", "mark", false}, {long[:151], "UTF-8", strings.Repeat("ä", 75), true}, {"\xff\xfeh\x00i\x00", "UTF-16", "hi", false},
		{"\xfe\xff\x00h\x00i", "UTF-16", "hi", false}, {"a\x00b", "", "", false}, {"na\xefve", "Latin-1", "naïve", false}, {"\x01\x02\x03\x04", "", "", false}, {"\x90\x91\x92\xff", "", "", false},
		{"one\x07 bell and then a lot of text", "UTF-8", "one‹U+0007› bell and then a lot of text", false}, {"a\r\nb\rc", "UTF-8", "a\nb‹U+000D›c", false}, {"x\u2066y\u0085", "UTF-8", "x‹U+2066›y‹U+0085›", false},
	} {
		p := textPreview([]byte(c.in), c.cut)
		if p.Charset != c.charset || p.Text != c.text {
			t.Errorf("%q: %s %q", c.in, p.Charset, p.Text)
		}
	}
}

func TestPictureType(t *testing.T) {
	for head, want := range map[string]string{
		"\x89PNG\r\n\x1a\n....": "image/png", "\xff\xd8\xff\xe0": "image/jpeg", "GIF89a": "image/gif", "RIFF\x00\x00\x00\x00WEBPVP8L": "image/webp",
		"": "", "<svg xmlns=": "", "RIFF\x00\x00\x00\x00WAVEfmt ": "", "BM": "", "%PDF-1.7": "",
	} {
		if got := pictureType([]byte(head)); got != want {
			t.Errorf("%q: %q", head, got)
		}
	}
}

func FuzzTextPreview(f *testing.F) {
	f.Add([]byte("plain"), false)
	f.Add([]byte("\xff\xfeh\x00\x00\xd8"), true)
	f.Add([]byte("gr\xfc\xdfe\x7f"), true)
	f.Fuzz(func(t *testing.T, b []byte, cut bool) {
		p := textPreview(b, cut)
		if !utf8.ValidString(p.Text) {
			t.Errorf("%q: no text", b)
		}
		for _, c := range p.Text {
			if c != '\n' && c != '\t' && (unicode.IsControl(c) || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069) {
				t.Errorf("%q shows %U", b, c)
			}
		}
	})
}

func FuzzContentDisposition(f *testing.F) {
	f.Add([]byte("a.txt"))
	f.Add([]byte("\"\r\nSet-Cookie: x\xff ü"))
	f.Fuzz(func(t *testing.T, name []byte) {
		got := contentDisposition("attachment", name)
		if strings.ContainsAny(got, "\r\n\x00") {
			t.Errorf("%q", got)
		}
		kind, params, err := mime.ParseMediaType(got)
		if err != nil || kind != "attachment" || strings.ContainsAny(params["filename"], "/\\\r\n\x00") {
			t.Errorf("%q: %v, %v", got, params, err)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add("0123456789abcdef.0123456789abcdef0123456789abcdef.YS9i")
	f.Add("0123456789abcdef")
	f.Add("x..y")
	f.Fuzz(func(t *testing.T, text string) {
		c := readCursor(text)
		if d := readCursor(c.String()); d.source != c.source || d.at.Snapshot != c.at.Snapshot || string(d.at.Path) != string(c.at.Path) {
			t.Errorf("%q: %+v, %+v", text, c, d)
		}
	})
}

func TestFilter(t *testing.T) {
	items := manySnapshots(6)
	items[1].Complete = false
	items[2].Marked = false
	items[3].Forgotten = true
	items[5].Source.ID = items[1].Source.ID
	items[5].Voids = []snapshot.ID{items[1].ID}
	st := web.NewState(items, time.Now())
	for query, want := range map[string]string{"": "0 2 4 5", "state=done": "0 4 5", "state=partial": "", "state=unconfirmed": "2", "state=forgotten": "3", "state=replaced": "1", "state=all": "0 1 2 3 4 5", "state=odd": "",
		"host=host04": "4", "tag=daily": "0 2 4 5", "from=2020-09-13&to=2020-09-13": "0 2 4 5", "from=2020-09-14": "", "to=2020-09-12": "", "source=" + items[0].Source.ID.String(): "0"} {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		f := readFilter(v, time.UTC)
		var got []string
		for i := range items {
			if f.has(&st, &items[i]) {
				got = append(got, strconv.Itoa(i))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
}
