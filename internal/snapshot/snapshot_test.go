package snapshot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/digest"
)

func full() *Snapshot {
	return &Snapshot{
		ID: ID{1}, Start: time.Date(2023, 7, 19, 10, 0, 0, 5, time.UTC), End: time.Date(2023, 7, 19, 11, 0, 0, 0, time.UTC),
		Host: "nas", HostID: [16]byte{2}, Source: Origin{ID: Source{3}, Kind: "dir", Name: "<home>", Path: []byte("/home/\xff")},
		Tags: []string{"a", "b"}, Scope: [8]byte{4}, Epoch: 5, Base: ID{6}, Previous: &Link{ID{7}, digest.Object{8}}, Sequence: 9, Complete: true,
		Voids: []ID{{10}}, Renamed: Source{11}, Manifest: Tree{digest.Chunk{12}, 1, 2, 3}, Packs: []Part{{digest.Object{13}, 14, digest.Object{15}}},
		Stats: Stats{Files: 16, Problems: 1}, Storage: Storage{"STANDARD_IA", "DEEP_ARCHIVE", 30 * 24 * time.Hour, new(int)}, Problems: []Problem{{"p", "e"}}, Program: "firn 1",
	}
}

func TestSnapshotRoundTrip(t *testing.T) {
	minimal := &Snapshot{ID: ID{1}, Sequence: 1, Source: Origin{Kind: "dir", Path: []byte("/ü")}, Tags: []string{}}
	for _, s := range []*Snapshot{full(), minimal} {
		body, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(body)
		if err != nil || !reflect.DeepEqual(back, s) {
			t.Errorf("%s\ncomes back as %+v, %v", body, back, err)
		}
	}
}

// TestSnapshotMembers holds the body against FORMAT §10.
func TestSnapshotMembers(t *testing.T) {
	body, err := full().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	x := func(b byte, n int) string { return fmt.Sprintf("%02x", b) + strings.Repeat("0", n-2) }
	want := `{"version":1,"id":"` + x(1, 32) + `","time":"2023-07-19T10:00:00.000000005Z","end":"2023-07-19T11:00:00Z","host":"nas","host_id":"` + x(2, 32) +
		`","source":{"id":"` + x(3, 16) + `","kind":"dir","name":"<home>","path_b64":"L2hvbWUv/w=="},"tags":["a","b"],"scope":"` + x(4, 16) +
		`","epoch":5,"base":"` + x(6, 32) + `","previous":{"id":"` + x(7, 32) + `","sha256":"` + x(8, 64) + `"},"sequence":9,"complete":true,"voids":["` + x(10, 32) +
		`"],"renamed_from":"` + x(11, 16) + `","manifest":{"chunk":"` + x(12, 64) + `","level":1,"lines":2,"bytes":3},"packs":[{"object":"` + x(13, 64) +
		`","packs":14,"digest":"` + x(15, 64) + `"}],"stats":{"files":16,"dirs":0,"others":0,"bytes":0,"files_new":0,"files_changed":0,"files_unchanged":0,` +
		`"bytes_read":0,"bytes_added":0,"bytes_stored":0,"packs_added":0,"problems":1},"storage":{"class":"STANDARD_IA","then":"DEEP_ARCHIVE","hot_for":2592000,"parity":0},"problems":[{"path":"p","error":"e"}],"program":"firn 1"}`
	if string(body) != want {
		t.Errorf("body\n got %s\nwant %s", body, want)
	}
}

func TestSnapshotRefused(t *testing.T) {
	for name, change := range map[string]func(s *Snapshot){
		"no id":            func(s *Snapshot) { s.ID = ID{} },
		"no sequence":      func(s *Snapshot) { s.Sequence = 0 },
		"first with link":  func(s *Snapshot) { s.Sequence = 1 },
		"later without":    func(s *Snapshot) { s.Previous = nil },
		"own predecessor":  func(s *Snapshot) { s.Previous.ID = s.ID },
		"own base":         func(s *Snapshot) { s.Base = s.ID },
		"no kind":          func(s *Snapshot) { s.Source.Kind = "" },
		"empty tag":        func(s *Snapshot) { s.Tags = []string{""} },
		"too many tags":    func(s *Snapshot) { s.Tags = slices.Repeat([]string{"x"}, MaxTags+1) },
		"class":            func(s *Snapshot) { s.Storage.Class = strings.Repeat("x", MaxClass+1) },
		"then at once":     func(s *Snapshot) { s.Storage.HotFor = 0 },
		"then the same":    func(s *Snapshot) { s.Storage.Then = s.Storage.Class },
		"parity":           func(s *Snapshot) { *s.Storage.Parity = MaxParity + 1 },
		"negative parity":  func(s *Snapshot) { *s.Storage.Parity = -1 },
		"problems":         func(s *Snapshot) { s.Problems = make([]Problem, MaxProblems+1) },
		"empty pack set":   func(s *Snapshot) { s.Packs[0].Packs = 0 },
		"level":            func(s *Snapshot) { s.Manifest.Level = MaxLevel + 1 },
		"lines of nothing": func(s *Snapshot) { s.Manifest.Chunk = digest.Chunk{} },
	} {
		s := full()
		change(s)
		if _, err := s.Marshal(); !errors.Is(err, ErrBody) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good, _ := full().Marshal()
	for _, c := range [][2]string{
		{`"id":"01`, `"id":"0`}, {`"id":"01`, `"id":"0X`}, {`"id":"0100`, `"id":"AB00`}, {`"version":1`, `"version":0`}, {`"version":1`, `"version":"1"`},
		{`"path_b64":"L`, `"path":"x","path_b64":"L`}, {`"path_b64":"L`, `"path_b64":"!`}, {`"sequence":9`, `"sequence":-9`}, {`{"version"`, `["version"`},
		{`"time":"2023`, `"time":"x`}, {`"level":1`, `"level":1e9`},
	} {
		bad := strings.Replace(string(good), c[0], c[1], 1)
		if _, err := Parse([]byte(bad)); !errors.Is(err, ErrBody) {
			t.Errorf("%s: %v", c[1], err)
		}
	}
	var newer *VersionError
	if _, err := Parse([]byte(`{"version":2,"id":7}`)); !errors.As(err, &newer) || newer.Version != 2 {
		t.Errorf("newer version: %v", err)
	}
	if _, err := Parse([]byte(strings.Replace(string(good), `{"version"`, `{"unknown":[1],"version"`, 1))); err != nil {
		t.Errorf("unknown member: %v", err)
	}
}

func TestSmallBodies(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d := &Done{ID{1}, digest.Object{2}, now, time.Time{}}
	body, err := d.Marshal()
	if strings.Contains(string(body), "stored") {
		t.Errorf("%s", body)
	}
	if back, err2 := ParseDone(body); err != nil || err2 != nil || !reflect.DeepEqual(back, d) {
		t.Errorf("%s: %+v, %v, %v", body, back, err, err2)
	}
	d.Stored = now.Add(-time.Hour)
	body, err = d.Marshal()
	if back, err2 := ParseDone(body); err != nil || err2 != nil || !reflect.DeepEqual(back, d) {
		t.Errorf("%s: %+v, %v, %v", body, back, err, err2)
	}
	s := &State{[16]byte{1}, now, []Head{{Source{2}, "n", []byte("/p"), ID{3}, 4, digest.Object{5}}, {Source: Source{6}, Path: []byte("\xff")}}, nil}
	body, err = s.Marshal()
	if back, err2 := ParseState(body); err != nil || err2 != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("%s: %+v, %v, %v", body, back, err, err2)
	}
	r := &Record{[8]byte{1}, now, now.Add(-5), 7, []digest.Object{{2}, {3}}, []ID{{4}}}
	body, err = r.Marshal()
	if back, err2 := ParseRecord(body); err != nil || err2 != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("%s: %+v, %v, %v", body, back, err, err2)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(body), "\n"), "\n") {
		if !json.Valid([]byte(line)) || i == 3 && line != `{"forget":"04`+strings.Repeat("0", 30)+`"}` {
			t.Errorf("line %d: %s", i, line)
		}
	}
	for _, bad := range []string{"", "{}", string(body) + "{}", string(body) + "\n\n{", string(body) + `{"retire":"00"}`, string(body) + `{"keep":"all"}`,
		string(body) + `{"retire":"` + strings.Repeat(" ", MaxLine) + `"}`} {
		if _, err := ParseRecord([]byte(bad)); !errors.Is(err, ErrBody) {
			t.Errorf("record %q: %v", bad, err)
		}
	}
	all, err := Compact(now, r, &Record{Scope: [8]byte{1}, Retire: []digest.Object{{3}, {1}}, Forget: []ID{{4}, {9}}})
	want := &Record{[8]byte{1}, now, time.Time{}, 7, []digest.Object{{1}, {2}, {3}}, []ID{{4}, {9}}}
	if err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("compact: %+v, %v", all, err)
	}
	if _, err := Compact(now, r, &Record{}); !errors.Is(err, ErrBody) {
		t.Errorf("two scopes: %v", err)
	}
}

func TestSourceID(t *testing.T) {
	sum := func(s string) string {
		h := hmac.New(sha256.New, make([]byte, 32))
		h.Write([]byte(s))
		return hex.EncodeToString(h.Sum(nil)[:8])
	}
	if got := SourceID([32]byte{}, "dir", "nas", "", []byte("/home")).String(); got != sum("dir\x00nas\x00/home") {
		t.Error(got)
	}
	if got := SourceID([32]byte{}, "dir", "nas", "photos", []byte("/home")).String(); got != sum("dir\x00nas\x00photos") {
		t.Error(got)
	}
}

// history returns done snapshots of one source, one a day from 2023-07-18 at noon UTC on.
func history(source byte, n int) []Item {
	var items []Item
	for i := range n {
		s := &Snapshot{ID: ID{source, byte(i)}, Source: Origin{ID: Source{source}, Kind: "dir"}, Sequence: uint64(i + 1), Complete: true,
			Start: time.Date(2023, 7, 18+i, 12, 0, 30, 0, time.UTC)}
		if i > 0 {
			s.Previous = &Link{items[i-1].ID, items[i-1].Sum}
		}
		items = append(items, Item{Snapshot: s, Sum: digest.Object{source, byte(i)}, Marked: true})
	}
	return items
}

func TestSelect(t *testing.T) {
	items := history(0xab, 5)
	items[4].Marked = false // the 22nd is undone
	zone := time.FixedZone("", 14*3600)
	now := time.Date(2023, 7, 21, 15, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		expr string
		loc  *time.Location
		want int // −1 ErrNone, −2 *ExprError, −3 *AmbiguousError
	}{
		{"latest", time.UTC, 3}, {"latest~0", time.UTC, 3}, {"latest~3", time.UTC, 0}, {"latest~4", time.UTC, -1},
		{"latest~", time.UTC, -2}, {"latest~-1", time.UTC, -2}, {"latest2", time.UTC, -2}, {"latest~99999999999", time.UTC, -2},
		{items[2].ID.String(), time.UTC, 2}, {items[4].ID.String(), time.UTC, 4}, {"ab02", time.UTC, 2}, {"ab", time.UTC, -3}, {"ac", time.UTC, -1},
		{"", time.UTC, -2}, {"AB02", time.UTC, -2}, {"xyz", time.UTC, -2}, {strings.Repeat("a", 33), time.UTC, -2},
		{"@2023-07-19", time.UTC, 1}, {"@2023-07-17", time.UTC, -1}, {"@2023-07", time.UTC, 3}, {"@2023", time.UTC, 3}, {"@2022", time.UTC, -1},
		{"@today", time.UTC, 3}, {"@yesterday", time.UTC, 2}, {"@2023-07-19T10:00", time.UTC, 0}, {"@2023-07-19T12:00", time.UTC, 1},
		{"@2023-07-19T12:00:29", time.UTC, 0}, {"@2023-07-19T12:00:30Z", time.UTC, 1}, {"@2023-07-19T14:00+02:00", time.UTC, 1},
		{"@2023-07-20", zone, 1}, {"@2023-07-19", zone, 0}, {"@yesterday", zone, 2}, // in zone noon is 2 o'clock of the next day
		{"@", time.UTC, -2}, {"@2023-13-01", time.UTC, -2}, {"@2023-02-30", time.UTC, -2}, {"@noon", time.UTC, -2},
	} {
		got, err := Select(items, c.expr, now, c.loc)
		var bad *ExprError
		var many *AmbiguousError
		switch {
		case c.want >= 0 && (err != nil || got.ID != items[c.want].ID):
			t.Errorf("%q: %v, %v, want %d", c.expr, got.Snapshot, err, c.want)
		case c.want == -1 && !errors.Is(err, ErrNone), c.want == -2 && !errors.As(err, &bad), c.want == -3 && !errors.As(err, &many):
			t.Errorf("%q: %v, want %d", c.expr, err, c.want)
		}
	}
	two := append(slices.Clone(items), history(0xcd, 2)...)
	var many *AmbiguousError
	if _, err := Select(two, "latest", now, time.UTC); !errors.As(err, &many) || len(many.Sources) != 2 {
		t.Errorf("latest of two sources: %v", err)
	}
	if _, err := Select(nil, "latest", now, time.UTC); !errors.Is(err, ErrNone) {
		t.Errorf("latest of nothing: %v", err)
	}
}

func TestStatusAndHistories(t *testing.T) {
	items := append(history(2, 6), history(1, 3)...)
	items[5].Snapshot.Complete = false
	items[4].Forgotten = true
	items[3].Marked = false
	var got []string
	for _, it := range items[:6] {
		got = append(got, it.Status().String())
	}
	if want := []string{"done", "done", "done", "undone", "forgotten", "partial"}; !slices.Equal(got, want) {
		t.Errorf("states %v", got)
	}
	slices.Reverse(items)
	hs := Histories(items)
	if len(hs) != 2 || hs[0].Source != (Source{1}) || len(hs[1].Items) != 6 {
		t.Fatalf("histories %+v", hs)
	}
	h := hs[1]
	if it, ok := h.Newest(); !ok || it.Sequence != 3 {
		t.Errorf("newest %+v", it)
	}
	if it, ok := h.Head(); !ok || it.Sequence != 6 {
		t.Errorf("head %+v", it)
	}
	if err := h.Verify(); err != nil || h.Gaps() != nil {
		t.Errorf("%v, gaps %v", err, h.Gaps())
	}
	h.Items = slices.Delete(slices.Clone(h.Items), 2, 4)
	h.Items = h.Items[1:]
	if want := []Gap{{0, 2, ID{2, 0}}, {2, 5, ID{2, 3}}}; !reflect.DeepEqual(h.Gaps(), want) {
		t.Errorf("gaps %+v", h.Gaps())
	}
	h.Items[2].Previous.Sum[5]++
	var bad *ChainError
	if err := h.Verify(); !errors.As(err, &bad) || bad.ID != h.Items[2].ID {
		t.Errorf("verify: %v", err)
	}
}

func TestCheckHead(t *testing.T) {
	h := Histories(history(1, 5))[0]
	last := h.Items[4]
	head := Head{Source: h.Source, Snapshot: last.ID, Sequence: 5, Sum: last.Sum}
	var back *RollbackError
	if err := h.CheckHead(head); err != nil {
		t.Error(err)
	}
	other := head
	other.Sum[3]++
	if err := h.CheckHead(other); !errors.As(err, &back) {
		t.Errorf("other body: %v", err)
	}
	other = head
	other.Snapshot[3]++
	if err := h.CheckHead(other); !errors.As(err, &back) {
		t.Errorf("other snapshot in its place: %v", err)
	}
	last.Voids = []ID{other.Snapshot}
	if err := h.CheckHead(other); err != nil {
		t.Errorf("voided head: %v", err)
	}
	h.Items = h.Items[:4]
	if err := h.CheckHead(head); !errors.As(err, &back) || back.Newest != 4 {
		t.Errorf("rolled back: %v", err)
	}
	head.Snapshot, head.Sequence = ID{99}, 3
	h.Items = slices.Delete(h.Items, 2, 3)
	if err := h.CheckHead(head); err != nil {
		t.Errorf("head forgotten, newer there: %v", err)
	}
}

func TestChainAndVoids(t *testing.T) {
	items := history(1, 6)
	items[2].Base, items[1].Base = items[1].ID, items[0].ID
	chain, err := Chain(items, items[2].ID)
	if err != nil || len(chain) != 3 || chain[0].ID != items[0].ID || chain[2].ID != items[2].ID {
		t.Errorf("chain %v, %v", chain, err)
	}
	items[0].Base = items[2].ID
	if _, err := Chain(items, items[2].ID); !errors.Is(err, ErrBase) {
		t.Errorf("circle: %v", err)
	}
	items[0].Base = ID{99}
	if _, err := Chain(items, items[2].ID); !errors.Is(err, ErrBase) {
		t.Errorf("no base: %v", err)
	}
	if _, err := Chain(items, ID{99}); !errors.Is(err, ErrNone) {
		t.Errorf("no snapshot: %v", err)
	}
	items[3].Complete, items[4].Marked = false, false
	items[5].Voids = []ID{items[3].ID, items[4].ID, items[2].ID, {77}}
	want := map[ID]ID{items[3].ID: items[5].ID, items[4].ID: items[5].ID, {77}: items[5].ID}
	if got := Voided(items); !reflect.DeepEqual(got, want) {
		t.Errorf("voided %v", got)
	}
}

func FuzzBodies(f *testing.F) {
	s, _ := full().Marshal()
	d, _ := (&Done{Snapshot: ID{1}}).Marshal()
	st, _ := (&State{Heads: []Head{{Name: "n", Path: []byte("\xff")}}}).Marshal()
	r, _ := (&Record{Retire: []digest.Object{{1}}, Forget: []ID{{2}}}).Marshal()
	for _, b := range [][]byte{s, d, st, r} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(v, back any, err error) {
			if err != nil || !reflect.DeepEqual(v, back) {
				t.Errorf("%+v comes back as %+v, %v", v, back, err)
			}
		}
		if v, err := Parse(b); err == nil {
			if v.Tags == nil {
				v.Tags = []string{}
			}
			if len(v.Problems) == 0 {
				v.Problems = nil
			}
			if out, err := v.Marshal(); err == nil { // a year past 9999 cannot be written
				back, err := Parse(out)
				check(v, back, err)
			}
		}
		if v, err := ParseDone(b); err == nil {
			if out, err := v.Marshal(); err == nil {
				back, err := ParseDone(out)
				check(v, back, err)
			}
		}
		if v, err := ParseState(b); err == nil {
			if out, err := v.Marshal(); err == nil {
				back, err := ParseState(out)
				check(v, back, err)
			}
		}
		if v, err := ParseRecord(b); err == nil {
			if out, err := v.Marshal(); err == nil {
				back, err := ParseRecord(out)
				check(v, back, err)
			}
		}
	})
}

func FuzzSelect(f *testing.F) {
	for _, s := range []string{"latest~2", "@2023-07-19T10:00", "@yesterday", "ab02"} {
		f.Add(s)
	}
	items := history(0xab, 3)
	f.Fuzz(func(t *testing.T, expr string) {
		it, err := Select(items, expr, items[2].Start, time.UTC)
		if (err == nil) != (it.Snapshot != nil) {
			t.Errorf("%q: %v, %v", expr, it, err)
		}
	})
}

// TestStorageAfter: what is not chosen stays, the classes together.
func TestStorageAfter(t *testing.T) {
	five, zero := 5, 0
	before := Storage{"STANDARD_IA", "DEEP_ARCHIVE", time.Hour, &five}
	for _, c := range []struct{ s, want Storage }{
		{Storage{}, before},
		{Storage{Class: "GLACIER"}, Storage{Class: "GLACIER", Parity: &five}},
		{Storage{Parity: &zero}, Storage{"STANDARD_IA", "DEEP_ARCHIVE", time.Hour, &zero}},
		{Storage{"A", "B", time.Minute, &zero}, Storage{"A", "B", time.Minute, &zero}},
	} {
		if got := c.s.After(before); got != c.want {
			t.Errorf("%+v after %+v is %+v", c.s, before, got)
		}
	}
	if !(Storage{}).After(Storage{}).IsZero() {
		t.Error("nothing after nothing is something")
	}
}
