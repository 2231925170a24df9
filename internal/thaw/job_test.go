package thaw

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"firn/internal/price"
	"firn/internal/state"
	"firn/internal/store"
)

func openState(t testing.TB) (*state.State, string) {
	t.Helper()
	dir := t.TempDir()
	return state.Open(state.Dirs{State: dir}, [16]byte{1}, func(err error) { t.Errorf("state: %v", err) }), dir
}

func header(key string) Header {
	most := price.Money(12.5)
	return Header{Key: key, Purpose: "restore", Description: json.RawMessage(`{"snapshot":"abc"}`), Host: "nas", Tier: store.Bulk, Days: 2, MaxCost: &most, Provider: "aws", Region: "us-east-1", Route: "direct", Accepted: 11}
}

func create(t testing.TB, s *state.State, h Header, needs []Need, now time.Time) *Job {
	t.Helper()
	j, err := Create(s, h, needs, now)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestJob(t *testing.T) {
	s, _ := openState(t)
	now := time.Unix(1_900_000_000, 0)
	needs := packs(1, 60_000, "DEEP_ARCHIVE", 1e8)
	for i := range needs {
		needs[i].Size += int64(i)
		needs[i].Wanted -= int64(i % 1000)
		needs[i].Gets = int64(i % 3)
		if i%5 == 0 {
			needs[i].Class = "GLACIER"
		}
	}
	j := create(t, s, header("k"), needs, now)
	id := j.Header().ID
	if len(id) != 16 || j.Err() != nil {
		t.Fatal(id, j.Err())
	}
	if size := j.log.(*state.Journal).Size(); size > 60_000*100 {
		t.Errorf("%d bytes for %d needs", size, len(needs))
	} else {
		t.Logf("%.1f bytes a need", float64(size)/float64(len(needs)))
	}
	var busy *BusyError
	if _, err := Load(s, id, now); !errors.As(err, &busy) || busy.ID != id || busy.PID != os.Getpid() {
		t.Error(err)
	}
	j.ask(now, []group{{class: "GLACIER", tier: store.Bulk, days: 2, set: ranges{{5, 9}, {11, 12}}}, {extend: true, class: "X", tier: store.Standard, days: 1, set: ranges{{0, 1}}}})
	j.answer(answers{begun: ranges{{5, 7}}, kept: ranges{{0, 1}}, free: ranges{{8, 9}}})
	j.bring(ranges{{5, 6}})
	j.Brought(needs[77].Object, "unknown")
	j.tell()
	j.Close()

	k, err := Load(s, id[:5], now)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if !reflect.DeepEqual(k.Header(), j.Header()) || !slices.Equal(k.Needs(), needs) {
		t.Errorf("%+v, want %+v", k.Header(), j.Header())
	}
	if !k.Fetched(5) || !k.Fetched(77) || k.Fetched(6) || len(k.fetched.ranges()) != 2 || !k.paid.has(6) || k.paid.has(7) {
		t.Error(k.fetched.ranges(), k.paid.ranges())
	}
	if len(k.pending) != 2 || k.pending[0].i != 7 || k.pending[1].i != 11 || k.pending[0].tier != store.Bulk {
		t.Errorf("%+v", k.pending)
	}
	if !reflect.DeepEqual(k.ledger, j.ledger) || len(k.ledger.Thaws) != 2 || k.ledger.Thaws[1].Extended+k.ledger.Thaws[0].Extended != 1 {
		t.Errorf("%+v, want %+v", k.ledger, j.ledger)
	}
	// Written anew, it is the same.
	k.records = compactAt
	k.compact()
	k.Close()
	again, err := Load(s, id, now)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if !reflect.DeepEqual(again.ledger, k.ledger) || !slices.Equal(again.fetched, k.fetched) || !slices.Equal(again.paid, k.paid) || len(again.pending) != 2 || again.records >= compactAt || again.status != k.status {
		t.Errorf("%+v", again)
	}
}

func TestRegister(t *testing.T) {
	s, dir := openState(t)
	now := time.Unix(1_900_000_000, 0)
	needs := packs(1, 3, "GLACIER", 100)
	if list, err := List(s, now); err != nil || len(list) != 0 {
		t.Fatal(list, err)
	}
	if j, err := Find(s, "a", now); j != nil || err != nil {
		t.Fatal(j, err)
	}
	a := create(t, s, header("a"), needs, now)
	b := create(t, s, header("a"), needs, now.Add(time.Hour))
	c := create(t, s, header("c"), needs, now.Add(2*time.Hour))
	b.Close()
	c.Close()
	list, err := List(s, now)
	if err != nil || len(list) != 3 || list[0].Header.ID != c.header.ID || list[2].PID != os.Getpid() || list[1].PID != 0 || list[0].Status.Left.Objects != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	found, err := Find(s, "a", now)
	if err != nil || found.header.ID != b.header.ID {
		t.Fatal(found, err)
	}
	found.Close()
	e, err := Cancel(s, b.header.ID, now)
	if err != nil || e.Status.State != Cancelled || e.Header.ID != b.header.ID {
		t.Error(e, err)
	}
	if _, err := Cancel(s, b.header.ID, now); !errors.As(err, new(*EndedError)) {
		t.Error(err)
	}
	a.Close()
	if found, err = Find(s, "a", now); err != nil || found.header.ID != a.header.ID {
		t.Error("a cancelled job was found")
	}
	h := found.Header()
	h.Days, h.Tier = 9, store.Standard
	if err := found.Update(h, now); err != nil {
		t.Error(err)
	}
	found.Close()
	if again, err := Load(s, a.header.ID, now); err != nil || again.header.Days != 9 {
		t.Error(err)
	} else {
		again.Close()
	}
	if list, _ = List(s, now); len(list) != 3 || list[2].Header.Days != 9 || list[2].Status.State != Active {
		t.Errorf("%+v", list)
	}
	for _, id := range []string{"", "xyz", "0123456789abcdef0"} {
		if _, err := Load(s, id, now); !errors.As(err, new(*NoJobError)) {
			t.Error(err)
		}
	}
	if list, _ = List(s, now.Add(KeepEnded+time.Hour)); len(list) != 2 {
		t.Errorf("%d jobs", len(list))
	}
	if info, err := os.Stat(journalPath(t, dir, b.header.ID)); err != nil || info.Size() > 100 {
		t.Error(info, err)
	}
}

func journalPath(t *testing.T, dir, id string) string {
	t.Helper()
	m, err := filepath.Glob(filepath.Join(dir, "*", "journals", journalName(id)))
	if err != nil || len(m) != 1 {
		t.Fatal(m, err)
	}
	return m[0]
}

// TestRegisterGrows: it is written anew before it gets large.
func TestRegisterGrows(t *testing.T) {
	s, _ := openState(t)
	now := time.Unix(1_900_000_000, 0)
	j := create(t, s, header("a"), packs(1, 3, "GLACIER", 100), now)
	defer j.Close()
	h := j.Header()
	h.Description = json.RawMessage(`"` + strings.Repeat("x", 400_000) + `"`)
	for range 8 {
		if err := j.Update(h, now); err != nil {
			t.Fatal(err)
		}
	}
	err := withRegister(s, now, func(r *register) {
		if r.log.Size() > registerSize+500_000 || len(r.entries) != 1 {
			t.Errorf("%d bytes, %d entries", r.log.Size(), len(r.entries))
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCreateBad(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	ok := packs(1, 2, "GLACIER", 1)
	for name, h := range map[string]Header{
		"days": {Purpose: "x"}, "purpose": {Days: 1}, "json": {Purpose: "x", Days: 1, Description: json.RawMessage("{")},
		"long": {Purpose: "x", Days: 1, Description: json.RawMessage(`"` + strings.Repeat("x", maxHeader) + `"`)},
	} {
		if _, err := Create(nil, h, ok, now); err == nil {
			t.Error(name)
		}
	}
	if _, err := Create(nil, header(""), []Need{ok[0], ok[0]}, now); err == nil {
		t.Error("an object twice")
	}
	j := create(t, nil, header(""), nil, now)
	if !errors.Is(j.Err(), state.ErrNone) {
		t.Error(j.Err())
	}
	j.Close()
	none := state.Open(state.Dirs{}, [16]byte{}, nil)
	j, err := Create(none, header("x"), ok, now)
	if err != nil || j.Err() == nil {
		t.Error(err)
	}
	j.Close()
}

// TestDamaged: a journal that is cut off anywhere, or has any byte wrong, is read as far as it goes or refused.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	s := state.Open(state.Dirs{State: dir}, [16]byte{1}, nil)
	now := time.Unix(1_900_000_000, 0)
	j := create(t, s, header("a"), packs(1, 20, "GLACIER", 100), now)
	j.ask(now, []group{{class: "GLACIER", days: 2, set: ranges{{0, 9}}}})
	j.answer(answers{begun: ranges{{0, 9}}})
	j.bring(ranges{{0, 4}})
	j.Close()
	path := journalPath(t, dir, j.header.ID)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for at := 0; at < len(whole); at += 9 {
		for _, content := range [][]byte{whole[:at], flipped(whole, at)} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			k, err := Load(s, j.header.ID, now)
			var none *NoJobError
			switch {
			case err == nil:
				good++
				if len(k.needs) != 20 || k.fetched.has(5) {
					t.Fatal("read what was not written")
				}
				k.Close()
			case !errors.As(err, &none) || none.Reason == nil:
				t.Fatal(err)
			}
		}
	}
	if good == 0 {
		t.Error("nothing could be read")
	}
}

// TestFindLost: a job of which nothing can be read does not stand in the way of another one.
func TestFindLost(t *testing.T) {
	for name, harm := range map[string]func(path string, whole []byte) error{
		"removed":  func(path string, _ []byte) error { return os.Remove(path) },
		"empty":    func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"cut off":  func(path string, whole []byte) error { return os.WriteFile(path, whole[:len(whole)/3], 0o600) },
		"foreign":  func(path string, whole []byte) error { return os.WriteFile(path, flipped(whole, 20), 0o600) },
		"no magic": func(path string, whole []byte) error { return os.WriteFile(path, flipped(whole, 0), 0o600) },
	} {
		dir := t.TempDir()
		s := state.Open(state.Dirs{State: dir}, [16]byte{1}, nil)
		now := time.Unix(1_900_000_000, 0)
		needs := packs(1, 20, "GLACIER", 100)
		j := create(t, s, header("a"), needs, now)
		path := journalPath(t, dir, j.header.ID)
		j.Close()
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := harm(path, whole); err != nil {
			t.Fatal(err)
		}
		if k, err := Find(s, "a", now); k != nil || err != nil {
			t.Errorf("%s: %v, %v", name, k, err)
		}
		if list, err := List(s, now); err != nil || len(list) != 1 || list[0].Status.State != Cancelled {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
		b := create(t, s, header("a"), needs, now)
		b.Close()
		if k, err := Find(s, "a", now); err != nil || k == nil || k.header.ID != b.header.ID {
			t.Errorf("%s: %v", name, err)
		} else {
			k.Close()
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// TestCancelWhileRunning cancels a job that is being worked on, through the register.
func TestCancelWhileRunning(t *testing.T) {
	try(t, 50, "DEEP_ARCHIVE", func(w *trial) {
		s, _ := openState(w)
		j := create(w, s, w.h, w.log.needs, time.Now())
		defer j.Close()
		time.AfterFunc(time.Hour, func() {
			list, err := List(s, time.Now())
			if err != nil || len(list) != 1 || list[0].Status.Thawing.Objects != 50 || list[0].PID == 0 {
				w.Errorf("%+v, %v", list, err)
			}
			if e, err := Cancel(s, j.header.ID[:4], time.Now()); err != nil || e.Status.Requested.Objects != 50 || e.Status.Spent == 0 {
				w.Errorf("%+v, %v", e, err)
			}
		})
		res, err := w.run(j)
		var ended *EndedError
		if !errors.As(err, &ended) || ended.State != Cancelled || res.Status.State != Cancelled {
			w.Error(res.Status, err)
		}
		if list, _ := List(s, time.Now()); list[0].Status.State != Cancelled {
			w.Errorf("%+v", list)
		}
	})
}

// TestDone: a job that ran to its end is on the list as done, and is not found any more.
func TestDone(t *testing.T) {
	try(t, 20, "GLACIER", func(w *trial) {
		s, _ := openState(w)
		w.h.Key = "again"
		j := create(w, s, w.h, w.log.needs, time.Now())
		w.must(w.run(j))
		j.Close()
		if found, err := Find(s, "again", time.Now()); found != nil || err != nil {
			w.Error(found, err)
		}
		list, err := List(s, time.Now())
		if err != nil || list[0].Status.State != Done || list[0].Status.Fetched.Objects != 20 {
			w.Errorf("%+v, %v", list, err)
		}
	})
}

// TestNothingKept: a state that cannot be written to, or only looks, does not stop a job.
func TestNothingKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept, _ := openState(t)
		for _, s := range []*state.State{kept.Still(), state.Open(state.Dirs{}, [16]byte{}, nil)} {
			needs := packs(1, 5, "GLACIER", 1e6)
			sim := newSim(1, needs)
			link := &simLink{s: sim, speed: func() float64 { return 1e6 }}
			j := create(t, s, Header{Purpose: "restore", Tier: store.Expedited, Days: 1}, needs, time.Now())
			if res, err := Run(t.Context(), j, RunOptions{Store: sim, Fetch: link.fetch}); err != nil || res.Status.State != Done {
				t.Error(res, err)
			}
			j.Close()
		}
	})
}

func FuzzReplay(f *testing.F) {
	j, err := Create(nil, header("x"), packs(1, 4, "GLACIER", 1000), time.Unix(1e9, 0))
	if err != nil {
		f.Fatal(err)
	}
	j.expect(time.Unix(1e9, 0), []group{{class: "GLACIER", days: 1, set: ranges{{1, 3}}}})
	records, err := j.all()
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range records {
		f.Add(r)
	}
	f.Add(encodeSets(recAnswered, ranges{{0, 1}}, ranges{{2, 3}}, nil))
	f.Add(encodeAsked(time.Unix(1e9, 0), []group{{class: "a", tier: "b", days: 3, set: ranges{{0, 1}, {2, 4}}}}))
	f.Fuzz(func(t *testing.T, record []byte) {
		k := newJob(Header{}, nil)
		want := -1
		_ = k.replay(record, &want)
		want = -1
		for n, r := range records {
			if n == 2 {
				_ = k.replay(record, &want)
			}
			if err := k.replay(r, &want); err != nil {
				return
			}
		}
		if k.replay(record, &want) != nil {
			return
		}
		again, err := k.all()
		if err != nil {
			t.Fatal(err)
		}
		two := newJob(Header{}, nil)
		want = -1
		for _, r := range again {
			if err := two.replay(r, &want); err != nil {
				t.Fatalf("cannot read what was written: %v", err)
			}
		}
		if !slices.Equal(two.fetched, k.fetched) || !slices.Equal(two.paid, k.paid) || len(two.pending) != len(k.pending) {
			t.Fatal("written anew, it is another job")
		}
	})
}

func TestBatchManifest(t *testing.T) {
	var out bytes.Buffer
	n, err := WriteBatchManifest(&out, "my-bucket", slices.Values([]string{"firn/data/ab/abc", "a b,c\"d\n+é", "~x"}))
	want := "my-bucket,firn/data/ab/abc\nmy-bucket,a%20b%2Cc%22d%0A%2B%C3%A9\nmy-bucket,~x\n"
	if err != nil || n != 3 || out.String() != want {
		t.Errorf("%d, %v: %q", n, err, out.String())
	}
	if _, err := WriteBatchManifest(&out, "b", slices.Values([]string{""})); err == nil {
		t.Error("an empty key")
	}
}

func TestMeter(t *testing.T) {
	m := meter{assumed: 1e6, start: 5}
	if speed, over := m.learnt(); speed != 1e6 || over != 5 {
		t.Error(speed, over)
	}
	m.pass(1e9, 500*time.Millisecond) // too short to tell
	m.pass(0, time.Hour)
	if speed, _ := m.learnt(); speed != 1e6 {
		t.Error(speed)
	}
	for _, mb := range []int64{100, 300, 50, 900, 200} { // 2 MB/s and 30 s
		m.pass(mb*1e6, time.Duration(mb/2+30)*time.Second)
	}
	if speed, over := m.learnt(); !near(speed, 2e6, 0.01) || !near(over, 30, 0.01) {
		t.Error(speed, over)
	}
	for range 30 { // slower now, all passes alike
		m.pass(1e8, 1000*time.Second)
	}
	if speed, over := m.learnt(); !near(speed, 1e5, 0.1) || over > 500 {
		t.Error(speed, over)
	}
}

func TestPace(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := pace{rate: 300, most: 1000, at: now}
	sent := 0
	second := func() int {
		n, end := 0, now.Add(time.Second)
		for now.Before(end) {
			if wait := p.take(now); wait > 0 {
				now = now.Add(wait)
				continue
			}
			n++
			p.good()
		}
		sent += n
		return n
	}
	if n := second(); n < 280 || n > 330 {
		t.Errorf("%d in the first second", n)
	}
	for range 60 {
		if n := second(); n > 1010 {
			t.Errorf("%d in a second", n)
		}
	}
	if n := second(); n < 950 {
		t.Errorf("%d in a second, at most", n)
	}
	p.bad(now)
	p.bad(now)
	if second() > 10 {
		t.Error("no pause")
	}
	if n := second(); n < 480 || n > 560 {
		t.Errorf("%d in a second after a complaint", n)
	}
	for range 20 {
		now = now.Add(time.Minute)
		p.bad(now)
	}
	if wait := p.take(now); p.rate != leastRate || wait > time.Minute {
		t.Error(p.rate, wait)
	}
}

func TestMoneyOfLedger(t *testing.T) {
	var l ledger
	for range 1000 {
		l.thawed("DEEP_ARCHIVE", store.Bulk, 1<<30, 1)
	}
	l.extended("DEEP_ARCHIVE", store.Bulk, 1<<30, 2)
	l.fetched(&Need{Class: "DEEP_ARCHIVE", Size: 1 << 30, Wanted: 1 << 30})
	bill := l.bill(aws(t), price.Direct, 100<<30)
	sameMoney(t, "requests", bill.Of(price.WhatThaw), 1001*0.025/1000)
	sameMoney(t, "retrieval", bill.Of(price.WhatRetrieval), 2.5)
	sameMoney(t, "copies", bill.Of(price.WhatCopy), 2003*0.023*24/730)
	sameMoney(t, "egress", bill.Of(price.WhatEgress), 0.09)
	if (&ledger{Thaws: []*use{{Class: "ICE", Objects: 1}}}).bill(aws(t), "", 0)[0].Unknown != true || l.bill(nil, "", 0) != nil {
		t.Error("unknown")
	}
}

// TestMeterNotTooFast: whatever the overhead of passes is, one or more of a kind never make the link look faster than it is.
func TestMeterNotTooFast(t *testing.T) {
	for _, overhead := range []float64{0, 0.5, 3, 60} {
		m := meter{assumed: 1e6, start: 5}
		for range 10 {
			m.pass(4_700_000, seconds(overhead+47))
			if speed, _ := m.learnt(); speed > 1e5*1.0001 {
				t.Fatalf("overhead %v s: %v bytes a second of a link of 100000", overhead, speed)
			}
		}
	}
}
