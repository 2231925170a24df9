package btrfs

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"firn/internal/source"
)

const shown = `.firn/abc/s1
	Name: 			s1
	UUID: 			C6c7f267-3abe-b742-a4fc-c5cfeea4bcc3
	Parent UUID: 		21f4eb2c-8d46-124a-9b4b-25ea1250aecc
	Received UUID: 		-
	Creation time: 		2026-11-20 13:08:31 +0100
	Subvolume ID: 		257
	Generation: 		17
	Gen at creation: 	7
	Flags: 			readonly
	Snapshot(s):
`

func TestShow(t *testing.T) {
	s := parseShow(shown)
	if s.uuid != "c6c7f267-3abe-b742-a4fc-c5cfeea4bcc3" || s.received != "" || !s.readOnly || s.generation != 7 || !s.creation.Equal(time.Date(2026, 11, 20, 12, 8, 31, 0, time.UTC)) {
		t.Errorf("%+v", s)
	}
}

// begin makes the first bytes of a stream.
func begin(kind uint16, attrs ...string) []byte {
	var body []byte
	for i := 0; i < len(attrs); i += 2 {
		body = append(body, attrs[i][0], 0)
		body = binary.LittleEndian.AppendUint16(body, uint16(len(attrs[i+1])))
		body = append(body, attrs[i+1]...)
	}
	b := append([]byte(magic), 1, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = append(b, 0, 0, 0, 0)
	return append(b, body...)
}

func TestHeader(t *testing.T) {
	id, from := "0123456789abcdef", "fedcba9876543210"
	if h, ok := parseHeader(begin(2, "\x0f", "name", "\x01", id, "\x14", from)); !ok || h != (header{"30313233-3435-3637-3839-616263646566", "66656463-6261-3938-3736-353433323130", "name"}) {
		t.Errorf("%+v %v", h, ok)
	}
	for name, b := range map[string][]byte{"another command": begin(3, "\x01", id), "no UUID": begin(1, "\x0f", "x"), "cut": begin(1, "\x01", id)[:30], "nothing": nil, "trailing": begin(1, "\x01", id+"xx")} {
		if h, ok := parseHeader(b); ok {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, bad := range []map[string]string{
		{"mode": "both"}, {"keep": "0"}, {"pattern": "a%"}, {"pattern": "a/b"}, {"pattern": ".x"}, {"pattern": "-x"}, {"pattern": "%Y.stored"}, {"snapshots": "here"}, {"resume": "soon"}, {"raw": "yes"},
	} {
		var wrong *source.SettingError
		if _, err := New("/data/@home", source.NewSettings(Settings, bad), source.Host{}); !errors.As(err, &wrong) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{`/a\040b`: "/a b", `\134`: `\`, `\9`: `\9`, `\999`: `\999`, "": ""} {
		if got := unescape(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(begin(1, "\x01", "0123456789abcdef"))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := parseHeader(b); ok && parseUUID(h.to) != h.to {
			t.Errorf("%+v", h)
		}
	})
}

func FuzzShow(f *testing.F) {
	f.Add(shown)
	f.Fuzz(func(t *testing.T, text string) {
		if s := parseShow(text); s.uuid != "" && parseUUID(s.uuid) != s.uuid {
			t.Errorf("%q", s.uuid)
		}
		unescape(text)
	})
}
