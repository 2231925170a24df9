package index

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"firn/internal/chunk"
	"firn/internal/digest"
)

func open(t testing.TB, b []byte) *Table {
	t.Helper()
	tab, err := OpenTable(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func spill(t testing.TB, s *Set) *Table {
	t.Helper()
	var w bytes.Buffer
	sp, err := s.Spill(&w, []byte("note"))
	if err != nil || sp.Size != int64(w.Len()) {
		t.Fatalf("spill: %+v, %v, %d bytes", sp, err, w.Len())
	}
	tab := open(t, w.Bytes())
	if err := tab.Verify(); err != nil {
		t.Fatal(err)
	}
	if err := s.Attach(tab, sp); err != nil {
		t.Fatal(err)
	}
	return tab
}

func merge(t testing.TB, s *Set, tables ...*Table) *Table {
	t.Helper()
	var w bytes.Buffer
	m, err := Merge(&w, []byte("merged"), tables...)
	if err != nil || m.Size != int64(w.Len()) {
		t.Fatalf("merge: %+v, %v", m, err)
	}
	tab := open(t, w.Bytes())
	if err := tab.Verify(); err != nil {
		t.Fatal(err)
	}
	if err := s.Replace(tab, m); err != nil {
		t.Fatal(err)
	}
	return tab
}

// model is what a Set should answer.
type model struct {
	packs   map[digest.Object]*Pack
	places  map[digest.Chunk]map[digest.Object][]Location
	retired map[digest.Object]bool
	numbers map[int]digest.Object // as told before
}

func newModel() *model {
	return &model{map[digest.Object]*Pack{}, map[digest.Chunk]map[digest.Object][]Location{}, map[digest.Object]bool{}, map[int]digest.Object{}}
}

func (m *model) add(p *Pack) {
	m.packs[p.Name] = p
	offset := uint32(0)
	for _, c := range p.Chunks {
		if m.places[c.ID] == nil {
			m.places[c.ID] = map[digest.Object][]Location{}
		}
		m.places[c.ID][p.Name] = append(m.places[c.ID][p.Name], Location{Kind: p.Kind, Offset: offset, Frame: c.Frame, Raw: c.Raw})
		offset += c.Frame
	}
}

func (m *model) check(t *testing.T, s *Set, id digest.Chunk) {
	t.Helper()
	fits := func(l Location) bool {
		p, err := s.Pack(l.Pack)
		if err != nil {
			t.Fatalf("pack %d: %v", l.Pack, err)
		}
		m.numbers[l.Pack] = p.Name
		want := *m.packs[p.Name]
		want.Chunks = nil
		if !reflect.DeepEqual(p.Pack, want) || p.Count != len(m.packs[p.Name].Chunks) || p.Author != [16]byte{7} {
			t.Errorf("pack %+v, want %+v", p, want)
		}
		if l.Retired != m.retired[p.Name] {
			t.Errorf("retired %v", l.Retired)
		}
		l.Pack, l.Retired = 0, false
		for _, w := range m.places[id][p.Name] {
			if w == l {
				return true
			}
		}
		return false
	}
	places, live := 0, map[chunk.Kind]bool{}
	for name, ls := range m.places[id] {
		places += len(ls)
		if !m.retired[name] {
			live[m.packs[name].Kind] = true
		}
	}
	l, ok, err := s.Lookup(id)
	if err != nil || ok != (places > 0) || ok && (!fits(l) || l.Retired == (len(live) > 0)) {
		t.Errorf("lookup %v: %+v, %v, %v", id, l, ok, err)
	}
	for _, k := range []chunk.Kind{chunk.Data, chunk.Meta} {
		l, ok, err := s.Known(id, k)
		if err != nil || ok != live[k] || ok && (!fits(l) || l.Retired || l.Kind != k) {
			t.Errorf("known %v %v: %+v, %v, %v", id, k, l, ok, err)
		}
	}
	all, err := s.All(id)
	if err != nil || len(all) != places {
		t.Errorf("all %v: %d of %d, %v", id, len(all), places, err)
	}
	for i, l := range all {
		if !fits(l) || i > 0 && all[i-1].Retired && !l.Retired {
			t.Errorf("all %v: %+v", id, all)
		}
	}
}

func (m *model) checkAll(t *testing.T, s *Set, r *rand.Rand) {
	t.Helper()
	for id := range m.places {
		m.check(t, s, id)
		m.check(t, s, random32(r))
		near := id
		near[31]++
		m.check(t, s, near)
		if t.Failed() {
			t.FailNow()
		}
	}
	for n, name := range m.numbers {
		if p, err := s.Pack(n); err != nil || p.Name != name {
			t.Fatalf("number %d was %v, is %v, %v", n, name, p.Name, err)
		}
	}
	seen := 0
	var last digest.Object
	if err := s.EachPack(func(p *Info, retired bool) error {
		if bytes.Compare(p.Name[:], last[:]) <= 0 || retired != m.retired[p.Name] || m.packs[p.Name] == nil {
			t.Errorf("pack %v, retired %v", p.Name, retired)
		}
		if q, ok, err := s.Find(p.Name); !ok || err != nil || !reflect.DeepEqual(q, *p) {
			t.Errorf("find %v: %+v, %v, %v", p.Name, q, ok, err)
		}
		last = p.Name
		seen++
		return nil
	}); err != nil || seen != len(m.packs) {
		t.Errorf("%d of %d packs, %v", seen, len(m.packs), err)
	}
	if _, ok, err := s.Find(random32(r)); ok || err != nil {
		t.Error("found a pack that is not there")
	}
}

// TestSetHistories runs random histories against a model.
func TestSetHistories(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 9))
			s, m := NewSet(), newModel()
			var known []digest.Chunk
			var names []digest.Object
			for range 40 {
				switch r.IntN(8) {
				case 0, 1, 2, 3:
					p := randomPack(r, 1+r.IntN(40), known)
					if len(names) > 0 && r.IntN(5) == 0 {
						p.Name = names[r.IntN(len(names))]
						p.Par2 = nil // a volume would be taken over: TestVolumeMadeAgain
						if there, err := s.Add(p, [16]byte{8}); there == (m.packs[p.Name] != nil) || err != nil {
							t.Fatalf("add again: %v, %v", there, err)
						}
						if m.packs[p.Name] != nil {
							continue
						}
						t.Skip("a retired name came to life") // author 8 would confuse the model
					}
					if there, err := s.Add(p, [16]byte{7}); !there || err != nil {
						t.Fatalf("add: %v, %v", there, err)
					}
					m.add(p)
					names = append(names, p.Name)
					for _, c := range p.Chunks {
						known = append(known, c.ID)
					}
				case 4:
					spill(t, s)
					if s.Pending() != 0 {
						t.Error("pending after spill")
					}
				case 5:
					if ts := s.Tables(); len(ts) > 1 {
						i := r.IntN(len(ts) - 1)
						merge(t, s, ts[i:i+2+r.IntN(len(ts)-i-1)]...)
					}
				case 6:
					if len(names) > 0 {
						name := names[r.IntN(len(names))]
						m.retired[name] = true
						if err := s.Retire(name); err != nil || !s.Retired(name) {
							t.Fatal(err)
						}
					}
				case 7:
					p := randomPack(r, 3, known) // retired before it is known
					m.retired[p.Name] = true
					if err := s.Retire(p.Name); err != nil {
						t.Fatal(err)
					}
					if _, err := s.Add(p, [16]byte{7}); err != nil {
						t.Fatal(err)
					}
					m.add(p)
				}
			}
			m.checkAll(t, s, r)
			if ts := s.Tables(); len(ts) > 0 {
				merge(t, s, ts...)
			}
			m.checkAll(t, s, r)
			if note, err := s.Tables()[0].Note(); err != nil || len(note) == 0 {
				t.Errorf("note %q, %v", note, err)
			}
		})
	}
}

// TestVolumeMadeAgain names packs anew with another recovery volume, while they are in memory and in a table: the newest counts, and none makes an older one forgotten.
func TestVolumeMadeAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	s := NewSet()
	p := randomPack(r, 30, nil)
	p.Par2 = nil
	add := func(volume *Par2) {
		t.Helper()
		again := *p
		again.Par2 = volume
		if _, err := s.Add(&again, [16]byte{7}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want *Par2) {
		t.Helper()
		n := 0
		err := s.EachPack(func(p *Info, _ bool) error {
			n++
			if !reflect.DeepEqual(p.Par2, want) {
				t.Errorf("volume %+v, want %+v", p.Par2, want)
			}
			return nil
		})
		found, ok, ferr := s.Find(p.Name)
		if err != nil || ferr != nil || n != 1 || !ok || !reflect.DeepEqual(found.Par2, want) {
			t.Errorf("%d packs, found %v with %+v, %v, %v", n, ok, found.Par2, err, ferr)
		}
	}
	first, second := &Par2{Sum: random32(r), Size: 1}, &Par2{Sum: random32(r), Size: 2}
	add(nil)
	expect(nil)
	add(first)
	expect(first)
	add(nil)
	expect(first)
	spill(t, s)
	expect(first)
	add(first)
	if s.Pending() != 0 {
		t.Error("the same again takes room")
	}
	add(second)
	expect(second)
	spill(t, s)
	expect(second)
	merge(t, s, s.Tables()...)
	expect(second)
}

// TestSamePrefix has ids that share their first eight bytes over several blocks.
func TestSamePrefix(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	s, m := NewSet(), newModel()
	for range 10 {
		p := randomPack(r, 100, nil)
		for i := range p.Chunks {
			copy(p.Chunks[i].ID[:8], "same pre")
			if i%3 == 0 {
				p.Chunks[i].ID = digest.Chunk{8: byte(i), 31: 1}
			}
		}
		if _, err := s.Add(p, [16]byte{7}); err != nil {
			t.Fatal(err)
		}
		m.add(p)
	}
	spill(t, s)
	m.checkAll(t, s, r)
}

func TestSpillFailsAndIsRepeated(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 9))
	s, m := NewSet(), newModel()
	add := func() {
		p := randomPack(r, 200, nil)
		if _, err := s.Add(p, [16]byte{7}); err != nil {
			t.Fatal(err)
		}
		m.add(p)
	}
	add()
	full := errors.New("disk full")
	if _, err := s.Spill(writerFunc(func(p []byte) (int, error) { return 0, full }), nil); !errors.Is(err, full) {
		t.Fatalf("spill: %v", err)
	}
	add()
	m.checkAll(t, s, r)
	if tab := spill(t, s); tab.Packs() != 1 {
		t.Errorf("%d packs in the first table", tab.Packs())
	}
	m.checkAll(t, s, r)
	if tab := spill(t, s); tab.Packs() != 1 {
		t.Errorf("%d packs in the second table", tab.Packs())
	}
	m.checkAll(t, s, r)
	var w bytes.Buffer
	sp, _ := s.Spill(&w, nil)
	if err := s.Attach(s.Tables()[0], sp); err == nil {
		t.Error("another table was attached")
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestDamage flips every byte of a table: no answer is wrong, and what is damaged is told.
func TestDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 9))
	s := NewSet()
	for range 3 {
		if _, err := s.Add(randomPack(r, 60, nil), [16]byte{7}); err != nil {
			t.Fatal(err)
		}
	}
	var w bytes.Buffer
	if _, err := s.Spill(&w, []byte("note")); err != nil {
		t.Fatal(err)
	}
	b := w.Bytes()
	for i := range b {
		b[i] ^= 0x40
		tab, err := OpenTable(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			err = tab.Verify()
		}
		var bad *CorruptError
		if !errors.As(err, &bad) {
			t.Fatalf("byte %d of %d: %v", i, len(b), err)
		}
		b[i] ^= 0x40
	}
	for n := range b {
		var bad *CorruptError
		if _, err := OpenTable(bytes.NewReader(b[:n]), int64(n)); !errors.As(err, &bad) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	// a disk that loses its end after the table was opened
	tab, err := OpenTable(&cutReader{b, 4096}, int64(len(b)))
	var bad *CorruptError
	if err == nil {
		err = tab.Verify()
	}
	if !errors.As(err, &bad) {
		t.Errorf("cut while open: %v", err)
	}
}

type cutReader struct {
	b   []byte
	end int
}

func (c *cutReader) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(c.b))-5000 {
		return bytes.NewReader(c.b).ReadAt(p, off)
	}
	return bytes.NewReader(c.b[:c.end]).ReadAt(p, off)
}

// TestConcurrent adds, retires, spills, merges and looks up at once; for the race detector.
func TestConcurrent(t *testing.T) {
	s := NewSet()
	r := rand.New(rand.NewPCG(5, 9))
	var packs []*Pack
	for range 200 {
		packs = append(packs, randomPack(r, 30, nil))
	}
	var mu sync.Mutex
	var added []*Pack
	var wg sync.WaitGroup
	done := make(chan struct{})
	for g := range 3 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for {
				select {
				case <-done:
					return
				default:
				}
				mu.Lock()
				if len(added) == 0 {
					mu.Unlock()
					continue
				}
				p := added[r.IntN(len(added))]
				mu.Unlock()
				l, ok, err := s.Lookup(p.Chunks[r.IntN(len(p.Chunks))].ID)
				if err != nil || !ok {
					t.Errorf("lookup: %v, %v", ok, err)
					return
				}
				if q, err := s.Pack(l.Pack); err != nil || q.Name != p.Name {
					t.Errorf("pack: %v, %v", q.Name, err)
					return
				}
			}
		})
	}
	for i, p := range packs {
		if _, err := s.Add(p, [16]byte{7}); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		added = append(added, p)
		mu.Unlock()
		if i%20 == 19 {
			spill(t, s)
		}
		if i%60 == 59 {
			merge(t, s, s.Tables()...)
		}
		if i%7 == 0 {
			if err := s.Retire(p.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(done)
	wg.Wait()
}

func FuzzOpenTable(f *testing.F) {
	r := rand.New(rand.NewPCG(6, 9))
	s := NewSet()
	p := randomPack(r, 3, nil)
	_, _ = s.Add(p, [16]byte{7})
	var w bytes.Buffer
	_, _ = s.Spill(&w, []byte("note"))
	f.Add(w.Bytes())
	w.Reset()
	_, _ = NewSet().Spill(&w, nil)
	f.Add(w.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		tab, err := OpenTable(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		_ = tab.Verify()
		s := NewSet(tab)
		if l, ok, err := s.Lookup(p.Chunks[0].ID); ok && err == nil {
			_, _ = s.Pack(l.Pack)
		}
		_, _, _ = s.Find(p.Name)
	})
}
