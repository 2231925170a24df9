package restore

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"firn/internal/digest"
	"firn/internal/state"
)

// FuzzPassRecord takes records as a damaged journal would have them, and reads what it makes of them as if it had been written.
func FuzzPassRecord(f *testing.F) {
	sum := digest.SumObject([]byte("x"))
	for _, r := range []*passRecord{
		{Head: &passHead{Version: 1, Snapshot: "s", Target: []byte("/t")}},
		{Planned: sum[:], Commit: &passCommit{}},
		{Before: &before{Root: true, Dirs: sum[:16]}, Commit: &passCommit{}},
		{Packs: sum[:], Parts: map[string][]uint32{sum.String(): {1, 2}}, Settled: sum[:16], Again: [][]byte{[]byte("a")}, Commit: &passCommit{Begun: true, End: true, Needed: sum[:]}},
		{Lost: []lostRecord{recordOf("a", nil), recordOf("b", &Damage{Path: []byte("b"), Err: errors.New("gone")})}},
		{Drop: true},
	} {
		raw, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"packs":"AAAA","settled":"AA==","parts":{"zz":[1]},"commit":{"result":{"files":-1}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := &Passes{}
		p.reset()
		var head *passHead
		for line := range bytes.SplitSeq(raw, []byte("\n")) {
			if err := p.replay(line, &head); err != nil {
				t.Fatal(err)
			}
		}
		_ = p.replay([]byte(`{"commit":{}}`), &head)
		for sum := range p.had {
			if !p.Has("data/x/" + sum.String()) {
				t.Error("a pack that is had is not")
			}
		}
	})
}

// TestPassRecords reads back what was entered, also after an entry that was torn off.
func TestPassRecords(t *testing.T) {
	sum := digest.SumObject([]byte("pack"))
	rec := &passRecord{
		Packs: sum[:], Settled: bytes.Repeat([]byte{7}, 32), Lost: []lostRecord{recordOf("f\xff", &Damage{Path: []byte("p"), Object: "o", Chunk: digest.Chunk{1}, Err: errors.New("e"), Kept: true})},
		Commit: &passCommit{Result: Result{Files: 2, Bytes: 3}, Begun: true, Bytes: 3, Limits: []limitRecord{{Kind: "owner", Count: 4, Path: "x", Error: "no"}}},
	}
	raw, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	torn, err := json.Marshal(&passRecord{Lost: []lostRecord{recordOf("torn", nil)}})
	if err != nil {
		t.Fatal(err)
	}
	p := &Passes{}
	p.reset()
	var head *passHead
	for _, r := range [][]byte{raw, torn, []byte(`{"drop":true}`), []byte(`{"commit":{"result":{"files":1}}}`), []byte("garbage")} {
		if err := p.replay(r, &head); err != nil {
			t.Fatal(err)
		}
	}
	d := p.lost["f\xff"]
	if !p.had.has(sum) || len(p.settled) != 1 || len(p.lost) != 1 || d == nil || d.Err.Error() != "e" || !d.Kept || d.Chunk[0] != 1 {
		t.Errorf("%+v", p)
	}
	if res := p.Result(); res.Files != 3 || res.Bytes != 3 || len(res.Damaged) != 1 || len(res.Limits) != 1 || res.Limits[0].Count != 4 || !p.begun {
		t.Errorf("%+v", res)
	}
}

// TestPassesOfAnyTarget: passes are found again whatever bytes the name of the target has, and those of another restore are not touched by who looks.
func TestPassesOfAnyTarget(t *testing.T) {
	st := state.Open(state.Dirs{State: t.TempDir()}, [16]byte{1}, func(err error) { t.Error(err) })
	sum := digest.SumObject([]byte("pack"))
	o := &Options{Target: "/tmp/\xe4\xff", Path: []byte("\xfe")}
	p, err := OpenPasses(st, "x", o, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.commit(&passRecord{Packs: sum[:], Commit: &passCommit{Begun: true}})
	p.Close()
	for _, other := range []*Options{{Target: "/tmp/\xe4\xfe", Path: o.Path}, {Target: o.Target}} {
		if p, err := lookAtPasses(st, "x", other); p != nil || err != nil {
			t.Error("took the passes of another restore for its own", err)
		}
	}
	for range 2 {
		p, err = OpenPasses(st, "x", o, nil)
		if err != nil || !p.Has("data/x/"+sum.String()) || !p.begun {
			t.Fatalf("forgotten: %+v, %v", p, err)
		}
		p.Close()
	}
}

// TestPassesCutOffInTheBeginning: the packs that are waited for are entered with the head, or neither is.
func TestPassesCutOffInTheBeginning(t *testing.T) {
	st := state.Open(state.Dirs{State: t.TempDir()}, [16]byte{1}, func(err error) { t.Error(err) })
	sum := digest.SumObject([]byte("pack"))
	o := &Options{Target: "/t"}
	plan := &Needs{Packs: []PackNeed{{Object: "data/x/" + sum.String()}}}
	j, err := st.OpenJournal("x", nil)
	if err != nil {
		t.Fatal(err)
	}
	head := headOf(o)
	head.ID[0] = 1
	raw, err := json.Marshal(&passRecord{Head: &head})
	if err != nil {
		t.Fatal(err)
	}
	j.Append(raw)
	j.Close()
	for range 2 {
		p, err := OpenPasses(st, "x", o, plan)
		if err != nil || !p.planned.has(sum) {
			t.Fatalf("%+v, %v", p, err)
		}
		p.Close()
		plan = nil
	}
}
