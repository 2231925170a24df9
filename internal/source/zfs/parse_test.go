package zfs

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

func TestRoot(t *testing.T) {
	for text, want := range map[string]string{"": "", "tank": "tank", "tank/a": "tank/a", "tank/a tank/a/b": "tank/a", "tank/a tank/ab": "tank", "tank/a/x tank/a/y/z": "tank/a", "a b": ""} {
		if got := root(strings.Fields(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestUsage(t *testing.T) {
	old := parseUsage("send", "missing snapshot argument\nusage:\n\tsend [-RDp] [-[iI] snapshot] <snapshot>\n")
	if !old.known || old.flags != "RDp" {
		t.Errorf("%+v", old)
	}
	if u := parseUsage("bookmark", "unrecognized command 'bookmark'\nusage: zfs command args ...\n\tsend [-RDp] <snapshot>\n"); u.known {
		t.Errorf("%+v", u)
	}
}

func TestHeader(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		b := make([]byte, 312)
		order.PutUint64(b[8:], headerMagic)
		order.PutUint64(b[16:], 1|0x2c<<2)
		order.PutUint64(b[40:], 1<<63+5)
		if h, simple, ok := parseHeader(b); !ok || !simple || h.to != "9223372036854775813" || h.from != "" {
			t.Errorf("%v: %+v %v %v", order, h, simple, ok)
		}
		order.PutUint64(b[16:], 2)
		if _, simple, ok := parseHeader(b); !ok || simple {
			t.Errorf("%v: a package counts as one stream", order)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 60))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _, _ = parseHeader(b) })
}

func FuzzList(f *testing.F) {
	f.Add("tank\ttype\tfilesystem\t-\ntank@a\tguid\t5\t-\ntank@a\tcreatetxg\t9\t-\ntank#a\tguid\t5\t-\ntank/b\tmountpoint\t/a\tb\tlocal\nx\n\t\t\t\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range parseList(text, "tank", true) {
			if d.name != "tank" && !strings.HasPrefix(d.name, "tank/") {
				t.Errorf("%q is not below tank", d.name)
			}
			for i, s := range d.states {
				if s.guid == "" || s.dataset != d.name || i > 0 && s.txg < d.states[i-1].txg {
					t.Errorf("%+v", s)
				}
			}
		}
	})
}

func FuzzUsage(f *testing.F) {
	f.Add("usage:\n\tsend [-RDp] [-[iI] snapshot] <snapshot>\n")
	f.Fuzz(func(_ *testing.T, text string) {
		parseUsage("send", text)
		parseEstimate(text)
	})
}

func FuzzExpand(f *testing.F) {
	f.Add("offsite-%Y%m%d")
	f.Fuzz(func(t *testing.T, pattern string) {
		if name, err := expand(pattern, time.Unix(0, 0)); err == nil && !validComponent(name) {
			t.Errorf("%q makes %q", pattern, name)
		}
	})
}
