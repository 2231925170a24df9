package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"firn/internal/source"
)

var testSource = SourceID{1, 2, 3}

// testState returns a state in a folder of the test; notes are collected.
func testState(t testing.TB) (*State, *[]error) {
	t.Helper()
	dir := t.TempDir()
	notes := &[]error{}
	return Open(Dirs{filepath.Join(dir, "cache"), filepath.Join(dir, "state")}, [16]byte{7}, func(err error) { *notes = append(*notes, err) }), notes
}

type record struct {
	path string
	st   source.Stat
	line string
}

// makeRecords returns n records as a walk would give them; version changes what is in about a fraction of them.
func makeRecords(n int, r *rand.Rand) []record {
	out := make([]record, n)
	for i := range out {
		st := source.Stat{
			Type: source.Type(r.IntN(3)), Mode: 0o644, UID: uint32(r.IntN(2)), GID: 100, Nlink: 1, Dev: 5,
			Inode: r.Uint64(), Size: r.Int64(), MtimeSec: r.Int64N(1<<33) - 1<<32, MtimeNsec: int32(r.IntN(1e9)),
		}
		st.CtimeSec, st.CtimeNsec = st.MtimeSec, st.MtimeNsec
		if r.IntN(3) == 0 {
			st.CtimeSec++
		}
		path := fmt.Sprintf("dir%03d/sub%02d/file-%07d", i/1000, i/50%20, i)
		if r.IntN(500) == 0 {
			path += string(bytes.Repeat([]byte{'x'}, r.IntN(5000)))
		}
		out[i] = record{path, st, fmt.Sprintf(`{"path":%q,"n":%d}`+"\n", path, r.IntN(1000))}
	}
	return out
}

func (s *State) write(list []record, note string) bool {
	w := s.CreateStats(testSource, []byte("tag"))
	for i := range list {
		w.Add([]byte(list[i].path), &list[i].st, []byte(list[i].line))
	}
	return w.Commit([]byte(note))
}

// readAll checks every line too.
func readAll(t testing.TB, r *StatReader) (list []record) {
	t.Helper()
	for r.Next() {
		line, err := r.Line()
		if err != nil {
			t.Fatalf("line of record %d: %v", len(list), err)
		}
		if len(line) != r.LineLen() {
			t.Fatal("LineLen")
		}
		list = append(list, record{string(r.Path), r.Stat, string(line)})
	}
	if r.Next() {
		t.Fatal("Next after the end")
	}
	return list
}

func compare(t testing.TB, got, want []record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("record %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func TestStatsRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 2, 700, 20_000} {
		s, notes := testState(t)
		want := makeRecords(n, rand.New(rand.NewPCG(1, uint64(n))))
		if s.OpenStats(testSource) != nil {
			t.Fatal("something out of nothing")
		}
		if !s.write(want, "note") {
			t.Fatal(*notes)
		}
		r := s.OpenStats(testSource)
		if !r.Complete() || r.Records() != int64(n) || string(r.Tag()) != "tag" || string(r.Note()) != "note" {
			t.Fatalf("complete %v, %d records, tag %q, note %q", r.Complete(), r.Records(), r.Tag(), r.Note())
		}
		compare(t, readAll(t, r), want)
		if !r.Complete() {
			t.Fatal("not complete at the end")
		}
		r.Close()
		if len(*notes) > 0 {
			t.Fatal(*notes)
		}
	}
}

// TestStatsGenerations changes records at random over many generations, with Keep, Add and CopyBefore, against a plain list.
func TestStatsGenerations(t *testing.T) {
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		s, notes := testState(t)
		model := makeRecords(1+rnd.IntN(8000), rnd)
		if !s.write(model, "") {
			t.Fatal(*notes)
		}
		for gen := range 6 {
			changes := []int{1, 3, 100, 1_000_000}[rnd.IntN(4)] // one in so many
			model = nextGeneration(t, s, model, changes, rnd)
			r := s.OpenStats(testSource)
			compare(t, readAll(t, r), model)
			if !r.Complete() || r.Records() != int64(len(model)) {
				t.Fatalf("seed %d generation %d: complete %v, %d records", seed, gen, r.Complete(), r.Records())
			}
			r.Close()
		}
		if files, _ := os.ReadDir(s.sourceDir(testSource)); len(files) != 2 || len(*notes) > 0 {
			t.Fatal(files, *notes)
		}
	}
}

func nextGeneration(t *testing.T, s *State, old []record, changes int, rnd *rand.Rand) (model []record) {
	r := s.OpenStats(testSource)
	defer r.Close()
	var w *StatWriter
	begin := func() *StatWriter {
		if w == nil {
			w = s.CreateStats(testSource, nil)
			w.CopyBefore(r)
		}
		return w
	}
	first := rnd.IntN(len(old) + 1) // nothing changes before
	for i := range old {
		if !r.Next() {
			t.Fatal("short")
		}
		switch {
		case i >= first && rnd.IntN(changes) == 0:
			if k := rnd.IntN(3); k == 0 { // removed
				begin()
				continue
			} else if k == 1 { // one more before it
				e := record{old[i].path[:len(old[i].path)-1], old[i].st, fmt.Sprintf("new %d\n", rnd.IntN(1e6))}
				begin().Add([]byte(e.path), &e.st, []byte(e.line))
				model = append(model, e)
				w.Keep(r)
				model = append(model, old[i])
				continue
			}
			e := old[i]
			e.st.Size++
			e.line = fmt.Sprintf("changed %d\n", rnd.IntN(1e6))
			begin().Add([]byte(e.path), &e.st, []byte(e.line))
			model = append(model, e)
		default:
			if w != nil {
				w.Keep(r)
			}
			model = append(model, old[i])
		}
	}
	if r.Next() {
		t.Fatal("long")
	}
	begin()
	if len(model) == 0 {
		e := old[0]
		w.Add([]byte(e.path), &e.st, []byte(e.line))
		model = append(model, e)
	}
	if !w.Commit(nil) {
		t.Fatal("commit")
	}
	return model
}

func TestStatsInterrupted(t *testing.T) {
	s, notes := testState(t)
	list := makeRecords(5000, rand.New(rand.NewPCG(1, 2)))
	s.write(list[:100], "old")
	w := s.CreateStats(testSource, []byte("half"))
	for i := range list {
		w.Add([]byte(list[i].path), &list[i].st, []byte(list[i].line))
	}
	w.stat.Close() // killed
	w.lines.Close()
	r := s.OpenInterrupted(testSource)
	got := readAll(t, r)
	if len(got) < 4000 || r.Complete() || string(r.Tag()) != "half" || r.Note() != nil {
		t.Fatalf("%d records, complete %v", len(got), r.Complete())
	}
	compare(t, got, list[:len(got)])
	// The next run takes over what there is, and is killed early.
	w2 := s.CreateStats(testSource, nil)
	w2.CopyBefore(nil)
	w2.Add([]byte("a"), &source.Stat{}, []byte("a\n"))
	w2.Close()
	r.Close()
	if r = s.OpenInterrupted(testSource); len(readAll(t, r)) != len(got) {
		t.Fatal("the longest one is to be kept")
	}
	r.Close()
	if r = s.OpenStats(testSource); len(readAll(t, r)) != 100 {
		t.Fatal("the whole one is to be kept")
	}
	r.Close()
	// The run after goes on from it, and ends.
	r = s.OpenInterrupted(testSource)
	for r.Next() {
	}
	w3 := s.CreateStats(testSource, nil)
	w3.CopyBefore(r)
	for i := len(got); i < len(list); i++ {
		w3.Add([]byte(list[i].path), &list[i].st, []byte(list[i].line))
	}
	if !w3.Commit(nil) {
		t.Fatal(*notes)
	}
	r.Close()
	if s.OpenInterrupted(testSource) != nil {
		t.Fatal("an older interrupted one counts")
	}
	r = s.OpenStats(testSource)
	compare(t, readAll(t, r), list)
	r.Close()
	if files, _ := os.ReadDir(s.sourceDir(testSource)); len(files) != 2 || len(*notes) > 0 {
		t.Fatal(files, *notes)
	}
	s.CreateStats(testSource, nil).Discard()
	if files, _ := os.ReadDir(s.sourceDir(testSource)); len(files) != 2 {
		t.Fatal(files)
	}
}

// TestStatsCrash cuts each of the two files of an interrupted generation at every length: what is read is always a prefix.
func TestStatsCrash(t *testing.T) {
	s, notes := testState(t)
	list := makeRecords(40, rand.New(rand.NewPCG(3, 3)))
	w := s.CreateStats(testSource, nil)
	for i := range list {
		if i%10 == 9 {
			w.flush() // small blocks
		}
		w.Add([]byte(list[i].path), &list[i].st, []byte(list[i].line))
	}
	w.Close()
	dir := s.sourceDir(testSource)
	for _, name := range []string{w.gen.statFile(), w.gen.linesFile()} {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		last := len(list) + 1
		for n := len(whole); n >= 0; n-- {
			if err := os.Truncate(path, int64(n)); err != nil {
				t.Fatal(err)
			}
			*notes = nil
			s.noted = map[string]bool{}
			r := s.OpenInterrupted(testSource)
			got := readAll(t, r)
			compare(t, got, list[:len(got)])
			if len(got) > last || (n == len(whole)) != (len(got) == len(list)) {
				t.Fatalf("%s cut at %d: %d records after %d", name, n, len(got), last)
			}
			last = len(got)
			if len(*notes) > 0 && n >= blocksAt {
				t.Fatalf("%s cut at %d: a short file is no damage: %v", name, n, *notes)
			}
			r.Close()
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStatsDamage flips every byte of both files of a whole generation: records are right, or missing, or their line is refused.
func TestStatsDamage(t *testing.T) {
	s, notes := testState(t)
	list := makeRecords(30, rand.New(rand.NewPCG(4, 3)))
	s.write(list, "note")
	all, _ := generations(s.sourceDir(testSource))
	for _, name := range []string{all[0].statFile(), all[0].linesFile()} {
		path := filepath.Join(s.sourceDir(testSource), name)
		whole, _ := os.ReadFile(path)
		for n := range whole {
			flip(t, path, int64(n), whole[n]^0x41)
			*notes, s.noted = nil, map[string]bool{}
			wrong, i := 0, 0
			r := s.OpenStats(testSource)
			for ; r.Next(); i++ {
				line, err := r.Line()
				if err != nil {
					wrong++
				} else if list[i] != (record{string(r.Path), r.Stat, string(line)}) {
					t.Fatalf("%s byte %d: record %d is wrong", name, n, i)
				}
			}
			if len(*notes) != 1 || wrong > 1 || wrong == 0 && i == len(list) && r.Complete() {
				t.Fatalf("%s byte %d: %d records, %d lines refused, notes %v", name, n, i, wrong, *notes)
			}
			r.Close()
			flip(t, path, int64(n), whole[n])
		}
	}
}

func flip(t *testing.T, path string, at int64, b byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte{b}, at)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestStatsForeign(t *testing.T) {
	s, _ := testState(t)
	s.write(makeRecords(3, rand.New(rand.NewPCG(4, 3))), "")
	other := Open(Dirs{Cache: filepath.Dir(s.cache)}, [16]byte{8}, nil)
	other.cache = s.cache
	if other.OpenStats(testSource) != nil {
		t.Fatal("opened the cache of another repository")
	}
	if err := os.Rename(s.sourceDir(testSource), s.sourceDir(SourceID{9})); err != nil {
		t.Fatal(err)
	}
	if s.OpenStats(SourceID{9}) != nil {
		t.Fatal("opened the cache of another source")
	}
}

func TestStatsNoAllocation(t *testing.T) {
	s, _ := testState(t)
	s.write(makeRecords(3000, rand.New(rand.NewPCG(4, 3))), "")
	r := s.OpenStats(testSource)
	defer r.Close()
	for range 500 {
		r.Next()
	}
	if n := testing.AllocsPerRun(2000, func() { r.Next() }); n != 0 {
		t.Fatalf("%v allocations a record", n)
	}
}

func FuzzStats(f *testing.F) {
	s, _ := testState(f)
	s.write(makeRecords(20, rand.New(rand.NewPCG(5, 3))), "note")
	all, _ := generations(s.sourceDir(testSource))
	stat, _ := os.ReadFile(filepath.Join(s.sourceDir(testSource), all[0].statFile()))
	f.Add(stat[blocksAt:len(stat)-endLen], true)
	f.Add(stat[blocksAt:], false)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, body []byte, fix bool) {
		if fix && len(body) > blockHead { // right head and sum, so that the decoder sees it
			body = bytes.Clone(body)
			le := binary.LittleEndian
			copy(body, "BLK1")
			le.PutUint32(body[4:], uint32(len(body)-blockHead))
			le.PutUint32(body[8:], 1+uint32(body[8]))
			le.PutUint64(body[12:], 0)
			le.PutUint32(body[20:], blockSum(body, body[blockHead:]))
		}
		r := &StatReader{s: s, next: blocksAt, linesSize: 1000, in: blockReader{r: bytes.NewReader(body)}}
		var end int64
		for n := 0; r.Next(); n++ {
			if end += int64(r.LineLen()); end > 1000 || n > len(body) || len(r.Path) > len(body) || r.start >= r.pos || r.pos > len(r.block) {
				t.Fatal("more than there is")
			}
		}
	})
}

func benchRecords(n int) []record {
	r := rand.New(rand.NewPCG(1, 1))
	out := makeRecords(n, r)
	for i := range out {
		out[i].line = fmt.Sprintf(`{"path":%q,"type":"file","mode":"0644","uid":1000,"gid":1000,"user":"anna","group":"anna","mtime":"1700000000.123456789","size":12345,"hash":"AAAAAAAAAAAAAAAA","content":[["%064x",%d,12345]]}`+"\n", out[i].path, i, i)
		out[i].st.Type, out[i].st.UID = 0, 1000
	}
	return out
}

func BenchmarkStatsWrite(b *testing.B) {
	for _, n := range []int{300_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := benchRecords(n)
			s, _ := testState(b)
			b.ResetTimer()
			for b.Loop() {
				s.write(list, "")
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrec/s")
			b.ReportMetric(float64(s.Usage().Sources)/float64(n), "B/rec")
		})
	}
}

func BenchmarkStatsRead(b *testing.B) {
	for _, n := range []int{300_000, 1_000_000} {
		list := benchRecords(n)
		s, _ := testState(b)
		s.write(list, "")
		list = nil
		for _, lines := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/lines=%v", n, lines), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r := s.OpenStats(testSource)
					for r.Next() {
						if lines {
							if _, err := r.Line(); err != nil {
								b.Fatal(err)
							}
						}
					}
					r.Close()
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrec/s")
			})
		}
	}
}

// BenchmarkStatsUpdate makes a new generation of a million records: unchanged but for the last, and with every hundredth changed.
func BenchmarkStatsUpdate(b *testing.B) {
	const n = 1_000_000
	s, _ := testState(b)
	s.write(benchRecords(n), "")
	line := bytes.Repeat([]byte("z"), 250)
	for _, every := range []int{n, 100} {
		b.Run(fmt.Sprintf("one in %d", every), func(b *testing.B) {
			for b.Loop() {
				r := s.OpenStats(testSource)
				var w *StatWriter
				for i := 1; r.Next(); i++ {
					if i%every == 0 {
						if w == nil {
							w = s.CreateStats(testSource, nil)
							w.CopyBefore(r)
						}
						w.Add(r.Path, &r.Stat, line)
					} else if w != nil {
						w.Keep(r)
					}
				}
				if !w.Commit(nil) {
					b.Fatal("commit")
				}
				r.Close()
			}
		})
	}
}
