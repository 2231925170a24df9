package repo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/sign"
	"firn/internal/store"
)

// When to write what was learned from index objects into a local table, and when to merge local tables.
const (
	spillChunks  = 50_000
	spillObjects = 16
	maxTables    = 6
	heldChunks   = 500_000 // that are held in memory while much is read, about 40 MB
)

const tablesName = "tables.json"

// localTables is the folder in which the index of one scope is kept as sorted tables: a cache that is built again whenever it is
// missing or does not fit the store.
//
//	tables.json   {"version":1,"repository":"…","scope":"…","tables":["…"],"objects":["<gen>-<sha256>",…]}
//	*.table       package index
type localTables struct {
	dir   string
	state tablesFile
	files []*os.File
	fresh []index.Object // read from the store and in no table yet

	refused bool // the disk takes no more
}

type tablesFile struct {
	Version    int            `json:"version"`
	Repository string         `json:"repository"`
	Scope      string         `json:"scope"`
	Tables     []string       `json:"tables"`
	Objects    []index.Object `json:"objects"`
}

// loadIndex makes s.set answer for every index object in the store. An object that is listed and gone was merged into another one, which may have come
// after the listing, so it is listed again.
func (s *ScopeState) loadIndex(ctx context.Context) error {
	tried := map[string]bool{}
	for i := range maxListings {
		vanished, err := s.readIndexes(ctx, tried)
		if err != nil {
			return err
		}
		if !vanished {
			break
		}
		if err := pause(ctx, i); err != nil {
			return err
		}
	}
	return s.saveTables()
}

// readIndexes is one pass of loadIndex; tried has the names that need no second one.
func (s *ScopeState) readIndexes(ctx context.Context, tried map[string]bool) (vanished bool, err error) {
	names := map[string]bool{}
	var order []store.Info
	prefix := indexPrefix(s.kit.id)
	err = s.kit.r.st.List(ctx, prefix, "", func(i store.Info) error {
		name := strings.TrimPrefix(i.Name, prefix)
		gen, _, err := parseGen(name)
		if err != nil {
			return nil // not an index: whoever put it there, it is not read
		}
		s.lastGen = max(s.lastGen, gen)
		names[name] = true
		i.Name = name
		order = append(order, i)
		return nil
	})
	if err != nil {
		return false, err
	}
	if s.tabs == nil {
		s.tabs = s.openTables(names)
		s.objects = append(s.objects, s.tabs.state.Objects...)
		for _, o := range s.objects {
			tried[o.Name] = true
		}
	}
	for _, o := range order {
		if tried[o.Name] {
			continue
		}
		err := s.addIndex(ctx, o)
		if errors.Is(err, store.ErrNotExist) {
			vanished = true
			continue
		}
		if err != nil {
			return false, err
		}
		tried[o.Name] = true
		s.makeRoom()
	}
	return vanished, nil
}

// makeRoom writes what was read so far into a table of its own where there is much of it, so that a repository of any size is read in little memory. Tables are merged in the end, once.
func (s *ScopeState) makeRoom() {
	t := s.tabs
	if t.dir == "" || t.refused || s.set.Pending() < s.kit.r.heldChunks() {
		return
	}
	if err := s.spillTable(); err != nil {
		t.refused = true
		s.kit.r.decide("local chunk table could not be written: %v", err)
	}
}

func (r *Repository) heldChunks() int {
	if r.o.held > 0 {
		return r.o.held
	}
	return heldChunks
}

// Rebuild reads the index from the store again, without the local tables, after one of them turned out to be damaged. No Writer and no Reader may be at work.
func (s *ScopeState) Rebuild(ctx context.Context) error {
	s.pend.Lock()
	defer s.pend.Unlock()
	s.retiring = append(s.retiring, s.set.RetiredNames()...)
	if s.tabs != nil && s.tabs.dir != "" {
		s.tabs.close()
		_ = os.Remove(filepath.Join(s.tabs.dir, tablesName))
	}
	s.set, s.tabs, s.objects = index.NewSet(), nil, nil
	if err := s.loadIndex(ctx); err != nil {
		return err
	}
	for i := range s.pending {
		if _, err := s.set.Add(&s.pending[i], [16]byte(s.kit.r.host.Host)); err != nil {
			return err
		}
	}
	return s.markRetired()
}

// addIndex reads one index object into the set. One that is damaged is noted; one that is gone fails with store.ErrNotExist.
func (s *ScopeState) addIndex(ctx context.Context, info store.Info) error {
	name := info.Name
	full := indexPrefix(s.kit.id) + name
	if err := tooLong(sign.Index, full, info.Size); err != nil {
		s.Damaged = append(s.Damaged, err)
		return nil
	}
	body, author, err := s.kit.getIndex(ctx, full, info.Modified)
	if errors.Is(err, ErrUntrusted) {
		s.kit.r.note("index %s is left out: %v", name, err)
		return nil
	}
	if err != nil {
		var broken *ObjectError
		if errors.As(err, &broken) {
			s.Damaged = append(s.Damaged, err)
			return nil // what it lists is sent again; a check tells more
		}
		return err
	}
	o := index.Object{Name: name, Author: author}
	header, err := index.Parse(body, func(p *index.Pack) error {
		o.Chunks += len(p.Chunks)
		_, err := s.set.Add(p, author)
		return err
	})
	if err != nil {
		s.Damaged = append(s.Damaged, &ObjectError{full, err})
		return nil
	}
	o.Level, o.Author, o.Replaces = header.Level, header.Author, header.Replaces
	s.objects = append(s.objects, o)
	s.tabs.fresh = append(s.tabs.fresh, o)
	return nil
}

// getIndex reads an object of the index that counts: one that the store got before the key of its author was revoked, and that speaks for its author. stored is when the store got it; zero: it is
// asked where it matters. Errors as getTrusted.
func (k *scopeKit) getIndex(ctx context.Context, name string, stored time.Time) (body []byte, author sign.Author, err error) {
	if body, author, err = k.getTrusted(ctx, sign.Index, name); err != nil {
		return nil, author, err
	}
	if stored.IsZero() && k.isRevoked(author) {
		info, err := k.r.st.Stat(ctx, name)
		if err != nil {
			return nil, author, err
		}
		stored = info.Modified
	}
	if err = k.inTime(author, stored); err == nil {
		err = checkAuthor(body, author)
	}
	if err != nil {
		return nil, author, &ObjectError{name, err}
	}
	return body, author, nil
}

// checkAuthor makes sure that an index speaks for its author: what it replaces is deleted.
func checkAuthor(body []byte, author sign.Author) error {
	r, err := index.NewReader(bytes.NewReader(body))
	if err == nil && r.Header().Author != [16]byte(author) {
		err = ErrForged
	}
	return err
}

// openTables opens the local tables if every index object that they hold is still in the store.
func (s *ScopeState) openTables(names map[string]bool) *localTables {
	t := &localTables{}
	if s.kit.r.o.IndexDir == "" {
		return t
	}
	t.dir = filepath.Join(s.kit.r.o.IndexDir, s.kit.id.String())
	raw, err := os.ReadFile(filepath.Join(t.dir, tablesName))
	var f tablesFile
	if err != nil || json.Unmarshal(raw, &f) != nil || f.Version != 1 || f.Scope != s.kit.id.String() || f.Repository != fmt.Sprintf("%x", s.kit.r.id) {
		return t
	}
	for _, o := range f.Objects {
		if !names[o.Name] {
			s.kit.r.decide("local chunk table is built again: index %s is gone from the store", o.Name)
			return t
		}
	}
	var tables []*index.Table
	for _, name := range f.Tables {
		file, table, err := openTable(filepath.Join(t.dir, filepath.Base(name)))
		if err != nil {
			t.close()
			s.kit.r.decide("local chunk table is built again: %v", err)
			return &localTables{dir: t.dir}
		}
		t.files = append(t.files, file)
		tables = append(tables, table)
	}
	t.state = f
	s.set = index.NewSet(tables...)
	return t
}

func openTable(path string) (*os.File, *index.Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil {
		var table *index.Table
		if table, err = index.OpenTable(f, st.Size()); err == nil {
			return f, table, nil
		}
	}
	_ = f.Close()
	return nil, nil, err
}

func (t *localTables) close() {
	for _, f := range t.files {
		_ = f.Close()
	}
	t.files = nil
}

// saveTables writes what was read from the store into a local table once it is worth it. A disk that refuses costs time in the next run and
// nothing else, so failures are only told.
func (s *ScopeState) saveTables() error {
	t := s.tabs
	if t.dir == "" || s.set.Pending() < spillChunks && len(t.fresh) < spillObjects && len(t.state.Tables) <= maxTables {
		return nil
	}
	if err := s.spill(); err != nil {
		s.kit.r.decide("local chunk table could not be written: %v", err)
		return nil
	}
	return nil
}

// spill writes what is in no table into one, and merges tables where there are many.
func (s *ScopeState) spill() error {
	if len(s.tabs.fresh) > 0 || s.set.Pending() > 0 {
		if err := s.spillTable(); err != nil {
			return err
		}
	}
	if len(s.tabs.state.Tables) > maxTables {
		if err := s.mergeTables(); err != nil {
			return err
		}
		return s.tabs.save()
	}
	return nil
}

// spillTable writes what is in no table into one.
func (s *ScopeState) spillTable() error {
	t := s.tabs
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(t.dir, "run-*.table")
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 256<<10)
	spilled, err := s.set.Spill(out, nil)
	if err == nil {
		err = flushAndSync(out, f)
	}
	var table *index.Table
	if err == nil {
		table, err = index.OpenTable(f, spilled.Size)
	}
	if err == nil {
		err = s.set.Attach(table, spilled)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return err
	}
	t.files = append(t.files, f)
	t.state.Version, t.state.Scope, t.state.Repository = 1, s.kit.id.String(), fmt.Sprintf("%x", s.kit.r.id)
	t.state.Tables = append(t.state.Tables, filepath.Base(f.Name()))
	t.state.Objects = append(t.state.Objects, t.fresh...)
	t.fresh = nil
	return t.save()
}

func flushAndSync(out *bufio.Writer, f *os.File) error {
	if err := out.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// mergeTables makes one table of all.
func (s *ScopeState) mergeTables() error {
	t := s.tabs
	f, err := os.CreateTemp(t.dir, "merged-*.table")
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 256<<10)
	merged, err := index.Merge(out, nil, s.set.Tables()...)
	if err == nil {
		err = flushAndSync(out, f)
	}
	var table *index.Table
	if err == nil {
		table, err = index.OpenTable(f, merged.Size)
	}
	if err == nil {
		err = s.set.Replace(table, merged)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return err
	}
	t.close()
	t.files = []*os.File{f}
	t.state.Tables = []string{filepath.Base(f.Name())}
	return nil
}

// save writes tables.json and removes the tables that it does not name.
func (t *localTables) save() error {
	raw, err := json.Marshal(t.state)
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(t.dir, tablesName), raw); err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, name := range t.state.Tables {
		keep[name] = true
	}
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".table") && !keep[e.Name()] {
			_ = os.Remove(filepath.Join(t.dir, e.Name()))
		}
	}
	return nil
}

// nextGen returns a <gen> that sorts after all that were seen in index/.
func (s *ScopeState) nextGen() uint64 {
	s.lastGen = max(s.lastGen+1, uint64(s.kit.r.o.Now().UnixMicro()))
	return s.lastGen
}

// putIndex writes one index object with these packs.
func (s *ScopeState) putIndex(ctx context.Context, h index.Header, packs []index.Pack) (index.Object, error) {
	h.Author = [16]byte(s.kit.r.host.Host)
	body, err := index.AppendHeader(nil, h)
	if err != nil {
		return index.Object{}, err
	}
	o := index.Object{Level: h.Level, Author: h.Author, Replaces: h.Replaces}
	for i := range packs {
		if body, err = index.AppendPack(body, &packs[i]); err != nil {
			return o, err
		}
		o.Chunks += len(packs[i].Chunks)
	}
	object, sum, err := s.kit.seal(sign.Index, body)
	if err != nil {
		return o, err
	}
	o.Name = genName(s.nextGen(), sum)
	if err := s.kit.r.put(ctx, indexPrefix(s.kit.id)+o.Name, object, s.kit.r.hotClass()); err != nil {
		return o, err
	}
	s.objects = append(s.objects, o)
	s.tabs.fresh = append(s.tabs.fresh, o)
	return o, nil
}

// consolidate merges index objects of this host, level by level, where the store lets it delete. It is housekeeping: what fails is told
// and tried again another time.
func (s *ScopeState) consolidate(ctx context.Context) error {
	s.pend.Lock()
	defer s.pend.Unlock()
	if len(s.pending) > 0 {
		return nil // a table must hold nothing that no index names
	}
	var own []index.Object
	for _, o := range s.objects {
		if o.Author == [16]byte(s.kit.r.host.Host) {
			own = append(own, o)
		}
	}
	if len(s.tabs.state.Tables) > 0 && len(s.tabs.fresh) > 0 {
		if err := s.spill(); err != nil { // so that what is merged is in the tables as a whole, or not at all
			return err
		}
	}
	live := index.Live(own)
	if err := s.deleteReplaced(ctx, own, live); err != nil {
		return err
	}
	for _, group := range index.Plan(live) {
		if err := s.mergeIndexes(ctx, group); err != nil {
			return err
		}
	}
	return nil
}

// deleteReplaced ends what a run that was killed while merging has begun.
func (s *ScopeState) deleteReplaced(ctx context.Context, own, live []index.Object) error {
	keep := map[string]bool{}
	for _, o := range live {
		keep[o.Name] = true
	}
	var gone []string
	for _, o := range own {
		if keep[o.Name] {
			continue
		}
		covered, err := s.covered(ctx, o.Name, own)
		if err != nil {
			return err
		}
		if covered {
			gone = append(gone, o.Name)
		}
	}
	return s.deleteIndexes(ctx, gone)
}

// covered reports whether an object of the index is in replaces of one that names all of its packs. Of an object that says so, and leaves some out, somebody with the key of its author has lied.
func (s *ScopeState) covered(ctx context.Context, name string, objects []index.Object) (bool, error) {
	var packs []digest.Object
	read := func(name string, fn func(digest.Object)) error {
		body, _, err := s.kit.getIndex(ctx, indexPrefix(s.kit.id)+name, time.Time{})
		if err == nil {
			_, err = index.Parse(body, func(p *index.Pack) error { fn(p.Name); return nil })
		}
		return err
	}
	if err := read(name, func(n digest.Object) { packs = append(packs, n) }); err != nil {
		return errors.Is(err, store.ErrNotExist), unlessObject(err)
	}
	for _, o := range objects {
		if !slices.Contains(o.Replaces, name) {
			continue
		}
		there := map[digest.Object]bool{}
		if err := read(o.Name, func(n digest.Object) { there[n] = true }); unlessObject(err) != nil {
			return false, err
		} else if err != nil {
			continue
		}
		if !slices.ContainsFunc(packs, func(n digest.Object) bool { return !there[n] }) {
			return true, nil
		}
	}
	return false, nil
}

// unlessObject returns err unless it says that an object is gone or damaged.
func unlessObject(err error) error {
	var object *ObjectError
	if errors.Is(err, store.ErrNotExist) || errors.As(err, &object) {
		return nil
	}
	return err
}

// deleteIndexes deletes objects of the index, with all versions of them as far as it may.
func (s *ScopeState) deleteIndexes(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	purger, err := store.NewPurger(ctx, s.kit.r.st)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := purger.Remove(ctx, indexPrefix(s.kit.id)+name); err != nil {
			return err
		}
	}
	s.dropObjects(names)
	return nil
}

func (s *ScopeState) mergeIndexes(ctx context.Context, group []index.Object) error {
	h := index.Header{}
	var packs []index.Pack
	seen := map[digest.Object]bool{}
	for _, o := range group {
		h.Level = max(h.Level, o.Level+1)
		h.Replaces = append(h.Replaces, o.Name)
		body, _, err := s.kit.getIndex(ctx, indexPrefix(s.kit.id)+o.Name, time.Time{})
		if err != nil {
			return err
		}
		_, err = index.Parse(body, func(p *index.Pack) error {
			if !seen[p.Name] {
				seen[p.Name] = true
				c := clonePack(p)
				if info, ok, err := s.set.Find(p.Name); err == nil && ok && info.Par2 != nil {
					c.Par2 = info.Par2 // perhaps of an index by somebody else, who made it again
				}
				packs = append(packs, c)
			}
			return nil
		})
		if err != nil {
			return &ObjectError{o.Name, err}
		}
	}
	o, err := s.putIndex(ctx, h, packs)
	if err != nil {
		return err
	}
	s.tabs.merged(o)
	return s.deleteIndexes(ctx, h.Replaces)
}

// merged notes that an index object has taken the place of others. Where the tables hold all of these, they hold all that it says, and
// stand and fall with it.
func (t *localTables) merged(o index.Object) {
	have := map[string]bool{}
	for _, old := range t.state.Objects {
		have[old.Name] = true
	}
	for _, name := range o.Replaces {
		if !have[name] {
			return
		}
	}
	t.fresh = slices.DeleteFunc(t.fresh, func(f index.Object) bool { return f.Name == o.Name })
	t.state.Objects = append(t.state.Objects, o)
}

// dropObjects forgets index objects that were merged: the local tables go on to hold their packs under the name of the merged one.
func (s *ScopeState) dropObjects(names []string) {
	if len(names) == 0 {
		return
	}
	gone := map[string]bool{}
	for _, n := range names {
		gone[n] = true
	}
	filter := func(in []index.Object) []index.Object {
		out := in[:0]
		for _, o := range in {
			if !gone[o.Name] {
				out = append(out, o)
			}
		}
		return out
	}
	s.objects = filter(s.objects)
	s.tabs.fresh = filter(s.tabs.fresh)
	s.tabs.state.Objects = filter(s.tabs.state.Objects)
	if s.tabs.dir != "" && len(s.tabs.state.Tables) > 0 {
		if err := s.tabs.save(); err != nil {
			s.kit.r.decide("local chunk table could not be written: %v", err)
		}
	}
}

// clonePack copies a pack out of the memory of a reader.
func clonePack(p *index.Pack) index.Pack {
	c := *p
	c.Prefix = bytes.Clone(p.Prefix)
	c.Chunks = append(c.Chunks[:0:0], p.Chunks...)
	return c
}
