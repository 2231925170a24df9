package mount

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"firn/internal/browse"
	"firn/internal/snapshot"
)

// node names a file. Those above the snapshots have a number below 1<<lineBits; those of a snapshot have its slot above these bits and, below, 0 for its root, or 1 + the number of their line in the
// manifest. They stay as long as a file system is mounted, and mostly when it is mounted again: inode numbers are these.
type node uint64

const (
	lineBits = 40
	slotBits = 23 // so that node numbers are positive as signed ones
	rootNode = node(1)
)

func (n node) slot() uint32 { return uint32(n >> lineBits) }

// line is the number of the line in the manifest; −1: the root of the snapshot.
func (n node) line() int64 { return int64(n&(1<<lineBits-1)) - 1 }

func lineNode(slot uint32, line int64) node { return node(slot)<<lineBits | node(line+1) }

// place is something above the snapshots.
type place struct {
	id     node
	up     node
	name   string
	target string // of a link
	slot   uint32 // of a snapshot; 0: none, id is a folder's or a link's
	time   time.Time
	inside []*place // of a folder, by name
	byName map[string]*place
}

// shelf is the tree above the snapshots. It does not change: another one takes its place.
type shelf struct {
	root *place
	byID map[node]*place
	ids  *place // accepts beginnings of names
}

// names remembers how sources and snapshots are called, so that they keep their names when others come.
type names struct {
	source map[snapshot.Source]string
	taken  map[string]bool
	date   map[snapshot.ID]string
	dated  map[string]snapshot.ID // source/date
	slots  map[snapshot.ID]uint32
	owners map[uint32]snapshot.ID
}

func newNames() *names {
	return &names{source: map[snapshot.Source]string{}, taken: map[string]bool{}, date: map[snapshot.ID]string{}, dated: map[string]snapshot.ID{}, slots: map[snapshot.ID]uint32{},
		owners: map[uint32]snapshot.ID{}}
}

// slot returns the number of a snapshot, which its id decides unless another one has it.
func (n *names) slot(id snapshot.ID) uint32 {
	if s := n.slots[id]; s != 0 {
		return s
	}
	s := (uint32(id[0])<<16 | uint32(id[1])<<8 | uint32(id[2])) & (1<<slotBits - 1)
	for s == 0 || n.owners[s] != (snapshot.ID{}) {
		s = (s + 1) & (1<<slotBits - 1)
	}
	n.slots[id], n.owners[s] = s, id
	return s
}

// nameSources calls the sources of new snapshots: by their name alone, where several are called so with their host, else with their id.
func (n *names) nameSources(list []browse.Info) {
	wanted := map[string]map[snapshot.Source]bool{}
	for _, i := range list {
		name := sourceName(i.Source)
		if wanted[name] == nil {
			wanted[name] = map[snapshot.Source]bool{}
		}
		wanted[name][i.Source.ID] = true
	}
	for _, i := range list {
		if n.source[i.Source.ID] != "" {
			continue
		}
		name := sourceName(i.Source)
		choices := []string{name, name + "@" + safeName(i.Host), name + "~" + i.Source.ID.String()}
		if len(wanted[name]) > 1 {
			choices = choices[1:]
		}
		for _, c := range choices {
			if len(c) <= 255 && !n.taken[c] {
				n.source[i.Source.ID], n.taken[c] = c, true
				break
			}
		}
	}
}

// dateOf calls a snapshot by its time; one of the same second, and the same source, has its id behind it.
func (n *names) dateOf(i *browse.Info, zone *time.Location) string {
	state := ""
	switch i.State {
	case browse.StatePartial, browse.StateUnconfirmed:
		state = "-" + i.State
	}
	if d := n.date[i.ID]; d != "" {
		return d + state
	}
	d := i.Start.In(zone).Format(dateForm)
	key := n.source[i.Source.ID] + "/" + d
	if _, ok := n.dated[key]; ok {
		d += "_" + hex.EncodeToString(i.ID[:4])
		key = n.source[i.Source.ID] + "/" + d
		if _, ok := n.dated[key]; ok {
			d += hex.EncodeToString(i.ID[4:])
		}
	}
	n.date[i.ID], n.dated[key] = d, i.ID
	return d + state
}

// shelve builds the tree for snapshots, which are sorted by time.
func (n *names) shelve(list []browse.Info, zone *time.Location) *shelf {
	s := &shelf{root: &place{id: rootNode, up: rootNode, byName: map[string]*place{}}, byID: map[node]*place{}}
	s.byID[rootNode] = s.root
	sources, dates, hosts, tags := s.folder(s.root, "sources"), s.folder(s.root, "dates"), s.folder(s.root, "hosts"), s.folder(s.root, "tags")
	s.ids = s.folder(s.root, "ids")
	n.nameSources(list)
	newest := map[snapshot.Source]*browse.Info{}
	for k := range list {
		i := &list[k]
		source, date := n.source[i.Source.ID], n.dateOf(i, zone)
		at := "../../sources/" + source + "/" + date
		s.snapshot(s.folder(sources, source), date, n.slot(i.ID), i.Start)
		s.link(s.folder(dates, i.Start.In(zone).Format(dayForm)), date[len(dayForm)+1:]+"_"+source, at, i.Start)
		s.link(s.folder(hosts, safeName(i.Host)), source, "../../sources/"+source, i.Start)
		for _, t := range i.Tags {
			s.link(s.folder(tags, safeName(t)), date+"_"+source, at, i.Start)
		}
		s.linkID(i.ID, at[len("../"):], i.Start)
		if old := newest[i.Source.ID]; i.State == browse.StateDone && (old == nil || old.Sequence < i.Sequence) {
			newest[i.Source.ID] = i
		}
	}
	for _, i := range newest {
		s.link(s.folder(sources, n.source[i.Source.ID]), "latest", n.dateOf(i, zone), i.Start)
	}
	s.root.settle()
	for _, p := range s.byID {
		slices.SortFunc(p.inside, func(a, b *place) int { return strings.Compare(a.name, b.name) })
	}
	return s
}

// settle gives folders the time of the newest snapshot in them.
func (p *place) settle() time.Time {
	for _, c := range p.inside {
		p.time = later(p.time, c.settle())
	}
	return p.time
}

// linkID links an id: its first digits, as many as it takes.
func (s *shelf) linkID(id snapshot.ID, target string, at time.Time) {
	for digits := 8; digits <= 32; digits += 8 {
		if name := id.String()[:digits]; s.ids.byName[name] == nil {
			s.link(s.ids, name, target, at)
			return
		}
	}
}

// folder finds or makes a folder.
func (s *shelf) folder(in *place, name string) *place {
	if p := in.byName[name]; p != nil {
		return p
	}
	p := &place{name: name, byName: map[string]*place{}}
	s.add(in, p)
	return p
}

func (s *shelf) link(in *place, name, target string, at time.Time) {
	p := in.byName[name]
	if p == nil {
		s.add(in, &place{name: name, target: target, time: at})
	} else {
		p.time = later(p.time, at)
	}
}

func (s *shelf) snapshot(in *place, name string, slot uint32, at time.Time) {
	s.add(in, &place{name: name, slot: slot, time: at})
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// add gives a place its node, which its path and target decide unless another one has it.
func (s *shelf) add(in, p *place) {
	p.up = in.id
	if p.slot != 0 {
		p.id = lineNode(p.slot, -1)
	} else {
		p.id = s.freeNode(p)
	}
	s.byID[p.id] = p
	in.inside, in.byName[p.name] = append(in.inside, p), p
}

func (s *shelf) freeNode(p *place) node {
	h := fnv.New64a()
	var up [8]byte
	for i := range up {
		up[i] = byte(p.up >> (8 * i))
	}
	for _, text := range [][]byte{up[:], []byte(p.name), {0}, []byte(p.target)} {
		_, _ = h.Write(text) // never fails
	}
	id := node(h.Sum64()) & (1<<lineBits - 1)
	for id <= rootNode || s.byID[id] != nil {
		id = (id + 1) & (1<<lineBits - 1)
	}
	return id
}

// find returns what is called so in a folder; nil: nothing is. Ids may be cut short or written out.
func (s *shelf) find(in *place, name string) *place {
	if p := in.byName[name]; p != nil || in != s.ids || len(name) < 4 {
		return p
	}
	at, _ := slices.BinarySearchFunc(in.inside, name, func(p *place, name string) int { return strings.Compare(p.name, name) })
	begins := func(k int) bool { return k < len(in.inside) && strings.HasPrefix(in.inside[k].name, name) }
	if begins(at) && !begins(at+1) {
		return in.inside[at]
	}
	return nil
}

// sameShelf reports whether two trees show the same.
func sameShelf(a, b *shelf) bool {
	if a == nil || b == nil || len(a.byID) != len(b.byID) {
		return a == b
	}
	for id, p := range a.byID {
		q := b.byID[id]
		if q == nil || p.name != q.name || p.target != q.target || p.up != q.up {
			return false
		}
	}
	return true
}

// sortItems puts snapshots in an order that does not depend on how they were listed.
func sortItems(list []browse.Info) {
	slices.SortStableFunc(list, func(a, b browse.Info) int { return cmp.Or(a.Start.Compare(b.Start), bytes.Compare(a.ID[:], b.ID[:])) })
}
