package wizard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"firn/internal/price"
	"firn/internal/snapshot"
	"firn/internal/web"
)

func good(id string) *record {
	return &record{Version: 1, ID: id, Repo: "nas", Location: "/repo", Snapshot: strings.Repeat("ab", 16), Source: "photos", Paths: 2, First: []byte("a\xff"), To: toFolder, Target: []byte("/out\xfe"), Overwrite: "never",
		Tier: "bulk", MaxCost: "0.25", Currency: "USD", State: stateBegun, Created: time.Unix(1e9, 0).UTC()}
}

// TestRecords: what was written is read, also names that are no text; what makes no sense is left out, and told.
func TestRecords(t *testing.T) {
	told := 0
	b := &book{dir: filepath.Join(t.TempDir(), "restores"), log: func(string, ...any) { told++ }}
	place := &web.Place{Name: "nas", Location: "/repo"}
	if got := b.of(place); len(got) != 0 || told != 0 {
		t.Errorf("%d records, %d told", len(got), told)
	}
	r := good("0123456789abcdef")
	if err := b.put(r, []byte("list\x00")); err != nil {
		t.Fatal(err)
	}
	got, err := b.get(r.ID)
	if err != nil || !bytes.Equal(got.Target, r.Target) || !bytes.Equal(got.First, r.First) || got.What() != "2 items of photos" || got.Where() != `"/out\xfe"` {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*record){
		"version": func(r *record) { r.Version = 2 }, "id": func(r *record) { r.ID = "x" }, "snapshot": func(r *record) { r.Snapshot = "--yes" }, "to": func(r *record) { r.To = "elsewhere" },
		"target": func(r *record) { r.Target = nil }, "nul": func(r *record) { r.Target = []byte("/a\x00b") }, "tier": func(r *record) { r.Tier = "bulk --yes" }, "cost": func(r *record) { r.MaxCost = "NaN" },
		"negative": func(r *record) { r.MaxCost = "-1" }, "download": func(r *record) { r.To = toDownload }, "policy": func(r *record) { r.Overwrite = "=" },
	} {
		bad := good("00000000000000ff")
		change(bad)
		raw, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseRecord("00000000000000ff", raw); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	for i, text := range []string{"", "{", "[]", "null", strings.Repeat(" ", maxRecord+1)} {
		if err := os.WriteFile(filepath.Join(b.dir, fmt.Sprintf("%016x.json", i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.of(place); len(got) != 1 || told != 5 {
		t.Errorf("%d records, %d told", len(got), told)
	}
	if got := b.of(&web.Place{Name: "nas", Location: "/other"}); len(got) != 0 {
		t.Error("records of another repository")
	}
	for i := range maxOver + 5 {
		r := good(fmt.Sprintf("%016x", 0x1000+i))
		r.State, r.Created = stateDone, r.Created.Add(time.Duration(i)*time.Hour)
		if err := b.put(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.of(place); len(got) != maxOver+1 {
		t.Errorf("%d records", len(got))
	}
	if _, err := b.get(fmt.Sprintf("%016x", 0x1000)); err == nil {
		t.Error("the oldest is still there")
	}
	if err := b.drop(r.ID); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(b.path(r.ID, ".list")); err == nil {
		t.Error("the list stays")
	}
	for _, id := range []string{"", "../x", "0123456789ABCDEF", "0123456789abcde", "0123456789abcdef0"} {
		if _, err := b.get(id); err == nil || validID(id) {
			t.Errorf("%q is an id", id)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	raw, _ := json.Marshal(good("0123456789abcdef"))
	f.Add(raw)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := parseRecord("0123456789abcdef", raw)
		if err != nil {
			return
		}
		z := &wizard{book: &book{dir: "/state"}}
		for s := range 3 {
			for _, a := range z.args(r, step(s))[2:] {
				if !strings.HasPrefix(a, "--") {
					t.Errorf("%q is no flag", a)
				}
			}
		}
		_, _, _ = r.What(), r.Where(), archiveName(r)
	})
}

// TestListFile: the command reads from the file what was in the basket, whatever the source is called.
func TestListFile(t *testing.T) {
	k := &basket{paths: [][]byte{[]byte("a\nb"), []byte("c/d")}}
	for root, want := range map[string]string{"/home/eve": "/home/eve/a\nb\x00/home/eve/c/d\x00", "/": "/a\nb\x00/c/d\x00", "": "/a\nb\x00/c/d\x00", "tank/home": "tank/home/a\nb\x00tank/home/c/d\x00", `C:\Users`: "./a\nb\x00./c/d\x00"} {
		if got := string(listFile(k, snapshot.Origin{Path: []byte(root)})); got != want {
			t.Errorf("%q: %q", root, got)
		}
	}
	if listFile(&basket{paths: [][]byte{{}}}, snapshot.Origin{}) != nil {
		t.Error("everything needs a list")
	}
}

// TestBaskets: what is below another is left out, and neither sessions nor baskets nor paths grow without end.
func TestBaskets(t *testing.T) {
	b := newBaskets()
	key := basketKey{"nas", snapshot.ID{1}}
	add := func(s web.SessionID, key basketKey, paths ...string) error {
		var all [][]byte
		for _, p := range paths {
			all = append(all, []byte(p))
		}
		return b.add(s, key, all)
	}
	me := web.SessionID{1}
	for _, c := range []struct{ add, want string }{{"a/b|c", "a/b|c"}, {"a/b/d|a/bc", "a/b|a/bc|c"}, {"a", "a|c"}, {"c|a", "a|c"}, {"", ""}, {"x", ""}} {
		if err := add(me, key, strings.Split(c.add, "|")...); err != nil {
			t.Fatal(err)
		}
		k := b.get(me, key)
		if got := string(bytes.Join(k.paths, []byte("|"))); got != c.want || k.whole() != (c.want == "") {
			t.Errorf("after %q: %q, want %q", c.add, got, c.want)
		}
	}
	one := b.get(me, key)
	b.remove(me, key, [][]byte{{}})
	if k := b.get(me, key); len(k.paths) != 0 || len(b.of(me, "nas")) != 0 || one.sum() == k.sum() {
		t.Error("it is not empty")
	}
	many := make([]string, maxPaths+1)
	for i := range many {
		many[i] = "f" + strconv.Itoa(i)
	}
	if err := add(me, key, many...); err == nil || len(b.of(me, "nas")) != 0 {
		t.Errorf("%v", err)
	}
	if err := add(me, key, strings.Repeat("x", maxBasketBytes+1)); err == nil {
		t.Error("a basket has no bound")
	}
	if err := add(me, key, many[1:]...); err != nil {
		t.Error(err)
	}
	for i := range 2 * maxBaskets {
		_ = add(me, basketKey{"nas", snapshot.ID{2, byte(i)}}, "a")
	}
	if all := b.of(me, "nas"); len(all) != maxBaskets || all[0].snapshot != (snapshot.ID{2, 2*maxBaskets - 1}) || len(b.of(me, "other")) != 0 {
		t.Errorf("%d baskets", len(all))
	}
	for i := range 2 * maxSessions {
		_ = add(web.SessionID{3, byte(i)}, key, "a")
	}
	if len(b.all) != maxSessions || slices.ContainsFunc(b.all, func(s *shelf) bool { return s.session == me }) {
		t.Errorf("%d sessions", len(b.all))
	}
}

// TestLimit: what is confirmed is never less than what was shown, and hardly more.
func TestLimit(t *testing.T) {
	for m, want := range map[price.Money]string{0: "0", 0.12341: "0.1235", 0.1234: "0.1234", 12: "12", 0.00001: "0.0001", 1234.56789: "1234.5679"} {
		if got := limitOf(m); got != want || !validAmount(got) {
			t.Errorf("%v: %s, want %s", float64(m), got, want)
		}
	}
	for _, bad := range []string{"", "-1", "1e3", "NaN", "Inf", "0x1", "--yes", "1,5", strings.Repeat("1", 40)} {
		if validAmount(bad) {
			t.Errorf("%q is an amount", bad)
		}
	}
}

func TestArchiveName(t *testing.T) {
	for source, want := range map[string]string{"/home/eve": "eve-2001-09-09.tar", "photos": "photos-2001-09-09.tar", "a\"\r\n;b": "a____b-2001-09-09.tar", "..": "-2001-09-09.tar", "tank/été": "_t_-2001-09-09.tar"} {
		if got := archiveName(&record{Source: source, Taken: time.Unix(1e9, 0)}); got != want {
			t.Errorf("%q: %s, want %s", source, got, want)
		}
	}
}
