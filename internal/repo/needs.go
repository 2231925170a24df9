package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/manifest"
	"firn/internal/manifest/linetree"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// group is a set of packs any of which has a chunk, by its number; most have one pack. Group 0 is no pack at all.
type group = uint32

// needs tells which packs the manifests of a scope need: for every chunk of a manifest, of all snapshots, the groups of all chunks that it and what lies below it need. So a part
// that snapshots share is read once, and what a snapshot needs of packs is known without reading on.
type needs struct {
	a      *AuditScope
	packs  []digest.Object          // by number
	number map[digest.Object]uint32 // of a pack
	byLoc  map[int]uint32           // by number in the index set
	ids    map[string]group         // by the numbers of its packs
	groups [][]uint32
	nodes  map[digest.Chunk][]group // sorted; of chunks that could be read, and of content trees
	recent [1 << 12]recentGroup
	buf    []byte
	lines  int64
}

type recentGroup struct {
	id digest.Chunk
	g  group
}

func newNeeds(a *AuditScope) *needs {
	return &needs{a: a, number: map[digest.Object]uint32{}, byLoc: map[int]uint32{}, ids: map[string]group{"": 0}, groups: [][]uint32{nil}, nodes: map[digest.Chunk][]group{}}
}

func (n *needs) numberOf(name digest.Object) uint32 {
	k, ok := n.number[name]
	if !ok {
		k = uint32(len(n.packs))
		n.number[name] = k
		n.packs = append(n.packs, name)
	}
	return k
}

// groupOf returns the group of a chunk.
func (n *needs) groupOf(id digest.Chunk) (group, error) {
	slot := &n.recent[binary.LittleEndian.Uint16(id[:])%uint16(len(n.recent))]
	if slot.id == id {
		return slot.g, nil
	}
	locs, err := n.a.set.All(id)
	if err != nil {
		return 0, err
	}
	var packs []uint32
	for _, l := range locs {
		k, ok := n.byLoc[l.Pack]
		if !ok {
			info, err := n.a.set.Pack(l.Pack)
			if err != nil {
				return 0, err
			}
			k = n.numberOf(info.Name)
			n.byLoc[l.Pack] = k
		}
		packs = append(packs, k)
	}
	slices.Sort(packs)
	packs = slices.Compact(packs)
	n.buf = n.buf[:0]
	for _, p := range packs {
		n.buf = binary.LittleEndian.AppendUint32(n.buf, p)
	}
	g, ok := n.ids[string(n.buf)]
	if !ok {
		g = group(len(n.groups))
		n.ids[string(n.buf)] = g
		n.groups = append(n.groups, packs)
	}
	*slot = recentGroup{id, g}
	return g, nil
}

// visit is what a walk over a manifest hands out.
type visit struct {
	enter func(id digest.Chunk) bool                                  // false: the chunk and what lies below it are passed over
	chunk func(at digest.Chunk, id digest.Chunk) error                // a chunk of file content, or of a content tree; at is the leaf that has the file
	file  func(at digest.Chunk, e *manifest.Entry) (bool, error)      // before the chunks of a file; false: they are not wanted
	gap   func(at digest.Chunk, first []byte, lines int64, err error) // a chunk of the manifest that cannot be read, and what it is below
}

// shape is which chunks of a manifest were read, parents first, and which lie below them.
type shape struct {
	order []digest.Chunk
	below map[digest.Chunk][]digest.Chunk
}

var pathKeys = linetree.Keys{Of: manifest.PathOf, Compare: manifest.Compare}

// walk goes over a manifest as far as v wants. An error about the top of the tree, or in the order of its lines, is returned.
func (a *AuditScope) walk(src manifest.Source, tree manifest.Tree, v visit) (shape, error) {
	s := shape{below: map[digest.Chunk][]digest.Chunk{}}
	var at digest.Chunk // opened last
	hooked := manifest.Source{Prefetch: src.Prefetch, Get: func(id digest.Chunk) ([]byte, error) {
		raw, err := src.Get(id)
		if err == nil {
			at = id
			s.order = append(s.order, id)
		}
		return raw, err
	}}
	it := linetree.NewIterator(hooked, tree, pathKeys, linetree.Options{ReadAhead: linetree.ReadAhead,
		Enter: func(id digest.Chunk, _ int) (bool, error) {
			s.below[at] = append(s.below[at], id)
			return v.enter(id), nil
		},
		Pass: func(g linetree.Gap) bool {
			if objectFinding("", g.Err) == nil && !isDamaged(g.Err) {
				return false
			}
			v.gap(g.Chunk, g.First, g.Lines, g.Err)
			return true
		}})
	var e manifest.Entry
	for it.Next() {
		if err := manifest.ParseLine(it.Line(), &e); err != nil {
			return s, err
		}
		if err := a.content(src, at, &e, v); err != nil {
			return s, err
		}
	}
	return s, it.Err()
}

// isDamaged reports whether an error tells of damage in the repository, as against a store that does not answer.
func isDamaged(err error) bool {
	if errors.Is(err, store.ErrCold) {
		return false // somebody chilled what has to be hot: that is another trouble
	}
	var damage *DamageError
	var corrupt *manifest.CorruptError
	var line *manifest.LineError
	return errors.As(err, &damage) || errors.As(err, &corrupt) || errors.As(err, &line) || errors.Is(err, ErrUnknownChunk)
}

// content tells v the chunks of a file.
func (a *AuditScope) content(src manifest.Source, at digest.Chunk, e *manifest.Entry, v visit) error {
	if len(e.Content) == 0 && e.Tree.IsEmpty() {
		return nil
	}
	if more, err := v.file(at, e); !more || err != nil {
		return err
	}
	for i := range e.Content {
		if p := &e.Content[i]; !p.IsHole() && (i == 0 || p.Chunk != e.Content[i-1].Chunk) {
			if err := v.chunk(at, p.Chunk); err != nil {
				return err
			}
		}
	}
	if e.Tree.IsEmpty() {
		return nil
	}
	err := manifest.ContentChunks(src, e, manifest.Visitor{
		Meta: func(id digest.Chunk, _ int) (bool, error) { return true, v.chunk(at, id) },
		Data: func(id digest.Chunk) error { return v.chunk(at, id) },
	})
	if err != nil && isDamaged(err) {
		v.gap(at, e.Path, 0, err)
		return nil
	}
	return err
}

// Manifests reads the manifests of all live snapshots, each chunk once, and looks whether every chunk that they and the files in them need is in the index and in a pack of the pack sets. It
// fails with ErrWriteOnly where they cannot be read.
func (x *Audit) Manifests(ctx context.Context) error {
	for _, a := range x.Scopes {
		if a.needs != nil {
			continue
		}
		n := newNeeds(a)
		for i, it := range a.Live {
			x.r.o.Report.Emit(event.Progress{Phase: "manifests", FilesDone: n.lines, Current: it.ID.String(), Problems: int64(x.Count())})
			if err := x.manifest(ctx, a, n, &a.Live[i]); err != nil {
				return err
			}
		}
		a.needs = n
	}
	return nil
}

// source opens the chunks of manifests of an epoch.
func (x *Audit) source(ctx context.Context, a *AuditScope, epoch uint32) (manifest.Source, func(), error) {
	cache, err := x.r.NewChunkCache(ctx, a.ScopeState, epoch, parallelGets/2, 32<<20)
	if err != nil {
		return manifest.Source{}, nil, err
	}
	get := func(id digest.Chunk) ([]byte, error) {
		raw, err := cache.Get(id)
		if err != nil {
			err = &chunkError{id, err}
		}
		return raw, err
	}
	return manifest.Source{Get: get, Prefetch: cache.Prefetch}, cache.Close, nil
}

// chunkError tells which chunk of a manifest could not be read.
type chunkError struct {
	id  digest.Chunk
	err error
}

func (e *chunkError) Error() string { return e.err.Error() }
func (e *chunkError) Unwrap() error { return e.err }

// manifest reads what is new in the manifest of one snapshot, and compares what it needs with its pack sets.
func (x *Audit) manifest(ctx context.Context, a *AuditScope, n *needs, it *snapshot.Item) error {
	tree := TreeOf(it.Snapshot)
	if tree.IsEmpty() {
		return nil
	}
	src, end, err := x.source(ctx, a, it.Epoch)
	if err != nil {
		return err
	}
	defer end()
	fresh := map[digest.Chunk]map[group]struct{}{}
	add := func(at, id digest.Chunk) error {
		g, err := n.groupOf(id)
		if fresh[at] == nil {
			fresh[at] = map[group]struct{}{}
		}
		fresh[at][g] = struct{}{}
		return err
	}
	s, err := a.walk(src, tree, visit{
		enter: func(id digest.Chunk) bool { return n.nodes[id] == nil },
		file: func(at digest.Chunk, e *manifest.Entry) (bool, error) {
			n.lines++
			return x.contentTree(n, src, at, e, fresh)
		},
		chunk: add,
		gap:   func(_ digest.Chunk, _ []byte, _ int64, err error) { x.broken(a, err) },
	})
	if err != nil && !isDamaged(err) {
		return err
	}
	if err != nil {
		x.broken(a, err)
	}
	for i := len(s.order) - 1; i >= 0; i-- { // what lies below comes later
		id := s.order[i]
		if err := add(id, id); err != nil {
			return err
		}
		for _, b := range s.below[id] {
			if n.nodes[b] == nil { // a gap
				if err := add(id, b); err != nil {
					return err
				}
			}
			for _, g := range n.nodes[b] {
				fresh[id][g] = struct{}{}
			}
		}
		n.nodes[id] = sortedGroups(fresh[id])
		delete(fresh, id)
	}
	if n.nodes[tree.Chunk] == nil {
		if err := add(tree.Chunk, tree.Chunk); err != nil {
			return err
		}
		n.nodes[tree.Chunk] = sortedGroups(fresh[tree.Chunk])
	}
	return x.contained(a, n, it, n.nodes[tree.Chunk])
}

// contentTree adds what a content tree needs, which snapshots share; false: nothing more is wanted of the file.
func (x *Audit) contentTree(n *needs, src manifest.Source, at digest.Chunk, e *manifest.Entry, fresh map[digest.Chunk]map[group]struct{}) (bool, error) {
	if e.Tree.IsEmpty() {
		return true, nil
	}
	top := e.Tree.Chunk
	if n.nodes[top] == nil {
		all := map[group]struct{}{}
		add := func(id digest.Chunk) error {
			g, err := n.groupOf(id)
			all[g] = struct{}{}
			return err
		}
		err := manifest.ContentChunks(src, e, manifest.Visitor{Meta: func(id digest.Chunk, _ int) (bool, error) { return true, add(id) }, Data: add})
		if err != nil && !isDamaged(err) {
			return false, err
		}
		if err != nil {
			x.broken(n.a, err)
		}
		n.nodes[top] = sortedGroups(all)
	}
	if fresh[at] == nil {
		fresh[at] = map[group]struct{}{}
	}
	for _, g := range n.nodes[top] {
		fresh[at][g] = struct{}{}
	}
	return false, nil
}

func sortedGroups(set map[group]struct{}) []group {
	out := make([]group, 0, len(set))
	for g := range set {
		out = append(out, g)
	}
	slices.Sort(out)
	return out
}

// unknownName is what chunks that no index names are found under, in each scope.
func (a *AuditScope) unknownName() string { return indexPrefix(a.ID()) }

var errUnknown = errors.New("chunks that snapshots need are in no index")

// broken notes a chunk of a manifest that cannot be read.
func (x *Audit) broken(a *AuditScope, err error) {
	var damage *DamageError
	var corrupt *manifest.CorruptError
	switch {
	case errors.As(err, &damage):
		o, _ := ParseName(damage.Object)
		f := objectFinding(damage.Object, damage.Err)
		if f == nil {
			f = &Finding{Object: damage.Object, Kind: WrongChunk, Err: damage.Err}
		}
		f.Pack, f.Whole = o.Sum, f.Kind == Missing
		var which *chunkError
		if errors.As(err, &which) {
			f.Chunks = []LostChunk{{Ref: chunk.Ref{ID: which.id}, Err: damage.Err}}
		}
		x.note(f)
	case errors.Is(err, ErrUnknownChunk):
		x.note(&Finding{Object: a.unknownName(), Kind: Unknown, Err: errUnknown})
	case errors.As(err, &corrupt):
		x.note(&Finding{Object: "manifest " + corrupt.Chunk.String(), Kind: WrongBody, Err: err})
	default:
		x.note(&Finding{Object: "manifest", Kind: WrongBody, Err: err})
	}
}

// contained compares what a snapshot needs with its pack sets.
func (x *Audit) contained(a *AuditScope, n *needs, it *snapshot.Item, want []group) error {
	names, whole := a.PacksOf(it.Snapshot)
	have := make(map[uint32]bool, len(names))
	for _, name := range names {
		have[n.numberOf(name)] = true
	}
	a.packs[it.ID], a.whole[it.ID] = have, whole
	for _, g := range want {
		if g == 0 {
			x.note(&Finding{Object: a.unknownName(), Kind: Unknown, Err: errUnknown})
			continue
		}
		if !whole || slices.ContainsFunc(n.groups[g], func(p uint32) bool { return have[p] }) {
			continue
		}
		p, ok, err := a.FindPack(n.packs[n.groups[g][0]])
		if err != nil {
			return err
		}
		if ok {
			x.note(&Finding{Object: p.Object, Kind: Unlisted, Pack: p.Name, Err: errors.New("snapshot " + it.ID.String() + " needs it, and does not name it")})
		}
	}
	return nil
}

// Harm is what a finding does to a snapshot.
type Harm struct {
	ID       snapshot.ID
	Snapshot *snapshot.Snapshot // nil where it cannot be read
	Files    int64              // that are not whole any more
	Paths    [][]byte           // the first of them
	Entries  int64              // entries of the manifest that cannot be read
	All      bool               // nothing of it can be restored
}

// Harms tells which snapshots and files the findings hurt, with up to first paths for each finding and snapshot. Findings that hurt none are not in the result. It reads
// manifests, and needs Load; where manifests cannot be read (a write-only key) it goes by pack sets and names no files.
func (x *Audit) Harms(ctx context.Context, findings []*Finding, first int) (map[*Finding][]Harm, error) {
	err := x.Manifests(ctx)
	blind := errors.Is(err, ErrWriteOnly)
	if err != nil && !blind {
		return nil, err
	}
	out := map[*Finding][]Harm{}
	for _, a := range x.Scopes {
		h := newHurt(x, a, findings, first)
		for i := range a.Live {
			it := &a.Live[i]
			x.r.o.Report.Emit(event.Progress{Phase: "harm", FilesTotal: int64(len(a.Live)), FilesDone: int64(i), Current: it.ID.String()})
			got := map[*Finding]*Harm{}
			if blind {
				h.byName(it, got)
			} else if err := h.snapshot(ctx, it, got); err != nil {
				return nil, err
			}
			for f, harm := range got {
				out[f] = append(out[f], *harm)
			}
		}
	}
	for _, f := range findings {
		for _, name := range append([]string{f.Object}, f.Behind...) {
			if harm, ok := harmOf(name); ok {
				out[f] = append(out[f], harm)
			}
		}
	}
	return out, nil
}

// harmOf is what it does to a snapshot that it, or its mark, cannot be read.
func harmOf(object string) (Harm, bool) {
	o, ok := ParseName(object)
	if !ok || o.Area != "snapshots" {
		return Harm{}, false
	}
	text := strings.TrimSuffix(object[len(snapshotPrefix(o.Scope)):], doneSuffix)
	id, err := snapshot.ParseID(text)
	return Harm{ID: id, All: !o.Done}, err == nil
}

// hurt finds the files that findings hurt.
type hurt struct {
	x       *Audit
	a       *AuditScope
	first   int
	byPack  map[digest.Object]*Finding
	lost    map[digest.Object]map[digest.Chunk]bool // nil: the whole pack
	unknown *Finding
	others  map[string]*Finding
	bad     map[group]bool
	nodes   map[digest.Chunk]map[*Finding]*Harm
}

func newHurt(x *Audit, a *AuditScope, findings []*Finding, first int) *hurt {
	h := &hurt{x: x, a: a, first: first, byPack: map[digest.Object]*Finding{}, lost: map[digest.Object]map[digest.Chunk]bool{}, others: map[string]*Finding{},
		bad: map[group]bool{}, nodes: map[digest.Chunk]map[*Finding]*Harm{}}
	for _, f := range findings {
		switch {
		case f.Kind == Unknown && f.Object == a.unknownName():
			h.unknown = f
		case f.Pack.IsZero():
			h.others[f.Object] = f
		case f.Volume || f.Kind == Unlisted || f.Kind == Orphan:
		default:
			h.addPack(f)
		}
	}
	if a.needs == nil {
		return h
	}
	for g, packs := range a.needs.groups {
		h.bad[group(g)] = (g > 0 || h.unknown != nil) && !slices.ContainsFunc(packs, func(p uint32) bool { return h.byPack[a.needs.packs[p]] == nil })
	}
	return h
}

func (h *hurt) addPack(f *Finding) {
	gone := f.Whole || f.Kind == Missing || f.Kind == Unreadable || f.Kind == Unindexed
	if !gone && len(f.Chunks) == 0 {
		return // all of its chunks can still be read
	}
	lost := h.lost[f.Pack]
	if h.byPack[f.Pack] == nil {
		h.byPack[f.Pack] = f
		lost = map[digest.Chunk]bool{}
	}
	if gone {
		lost = nil
	} else if lost != nil {
		for _, c := range f.Chunks {
			lost[c.ID] = true
		}
	}
	h.lost[f.Pack] = lost
}

// byName goes by what the pack sets name.
func (h *hurt) byName(it *snapshot.Item, out map[*Finding]*Harm) {
	names, _ := h.a.PacksOf(it.Snapshot)
	for _, n := range names {
		if f := h.byPack[n]; f != nil {
			out[f] = &Harm{ID: it.ID, Snapshot: it.Snapshot}
		}
	}
}

// culprit returns the finding because of which a chunk cannot be read; nil: it can be.
func (h *hurt) culprit(id digest.Chunk) (*Finding, error) {
	g, err := h.a.needs.groupOf(id)
	if err != nil || !h.bad[g] {
		return nil, err
	}
	var found *Finding
	for _, p := range h.a.needs.groups[g] {
		name := h.a.needs.packs[p]
		if lost := h.lost[name]; lost != nil && !lost[id] {
			return nil, nil
		}
		if found == nil {
			found = h.byPack[name]
		}
	}
	if g == 0 {
		found = h.unknown
	}
	return found, nil
}

// snapshot adds up what the findings do to one snapshot.
func (h *hurt) snapshot(ctx context.Context, it *snapshot.Item, out map[*Finding]*Harm) error {
	h.byName(it, out)
	tree := TreeOf(it.Snapshot)
	if !tree.IsEmpty() && h.touches(tree.Chunk) {
		if err := h.tree(ctx, it, tree); err != nil {
			return err
		}
		for f, harm := range h.nodes[tree.Chunk] {
			sum := *harm
			sum.ID, sum.Snapshot = it.ID, it.Snapshot
			out[f] = &sum
		}
	}
	for _, p := range it.Packs {
		if f := h.others[packsetPrefix(h.a.ID())+p.Object.String()]; f != nil {
			out[f] = &Harm{ID: it.ID, Snapshot: it.Snapshot}
		}
	}
	for f, harm := range out { // named by a pack set, and not needed: a pack set may name more
		if harm.Files == 0 && harm.Entries == 0 && !harm.All && !f.Pack.IsZero() && h.a.needs.nodes[tree.Chunk] != nil && f.Kind != Unindexed {
			delete(out, f)
		}
	}
	return nil
}

// touches reports whether something below a chunk of a manifest may be hurt.
func (h *hurt) touches(id digest.Chunk) bool {
	if h.nodes[id] != nil {
		return true
	}
	needs, known := h.a.needs.nodes[id]
	return !known || slices.ContainsFunc(needs, func(g group) bool { return h.bad[g] })
}

// tree finds what is hurt in a manifest, as far as no other snapshot has shown it.
func (h *hurt) tree(ctx context.Context, it *snapshot.Item, tree manifest.Tree) error {
	src, end, err := h.x.source(ctx, h.a, it.Epoch)
	if err != nil {
		return err
	}
	defer end()
	src = h.honest(src)
	var told map[*Finding]bool // of this file
	var path []byte
	s, err := h.a.walk(src, tree, visit{
		enter: func(id digest.Chunk) bool { return h.nodes[id] == nil && h.touches(id) },
		file: func(_ digest.Chunk, e *manifest.Entry) (bool, error) {
			told, path = nil, e.Path
			return true, nil
		},
		chunk: func(node, id digest.Chunk) error {
			f, err := h.culprit(id)
			if f == nil || told[f] {
				return err
			}
			if told == nil {
				told = map[*Finding]bool{}
			}
			told[f] = true
			harm := h.at(node, f)
			harm.Files++
			if len(harm.Paths) < h.first {
				harm.Paths = append(harm.Paths, slices.Clone(path))
			}
			return nil
		},
		gap: func(node digest.Chunk, first []byte, lines int64, err error) {
			f := h.blamed(err)
			if f == nil || lines == 0 && told[f] {
				return
			}
			harm := h.at(node, f)
			harm.Entries += lines
			if lines == 0 {
				harm.Files++ // its list of pieces
			}
			if len(harm.Paths) < h.first {
				harm.Paths = append(harm.Paths, slices.Clone(first))
			}
		},
	})
	if err != nil && !isDamaged(err) {
		return err
	}
	if err != nil {
		if f := h.blamed(err); f != nil {
			h.at(tree.Chunk, f).All = true
		}
	}
	h.merge(s)
	return nil
}

// at is what a finding does below a chunk of a manifest.
func (h *hurt) at(node digest.Chunk, f *Finding) *Harm {
	if h.nodes[node] == nil {
		h.nodes[node] = map[*Finding]*Harm{}
	}
	if h.nodes[node][f] == nil {
		h.nodes[node][f] = &Harm{}
	}
	return h.nodes[node][f]
}

// merge adds up, from the leaves on, what lies below the chunks that were read.
func (h *hurt) merge(s shape) {
	for i := len(s.order) - 1; i >= 0; i-- {
		for _, b := range s.below[s.order[i]] {
			for f, harm := range h.nodes[b] {
				h.at(s.order[i], f).add(harm, h.first)
			}
		}
		if h.nodes[s.order[i]] == nil {
			h.nodes[s.order[i]] = map[*Finding]*Harm{}
		}
	}
}

// honest makes a source fail for chunks that are said to be lost, also where a read beside the check would still bring them.
func (h *hurt) honest(src manifest.Source) manifest.Source {
	get := src.Get
	src.Get = func(id digest.Chunk) ([]byte, error) {
		if f, err := h.culprit(id); f != nil || err != nil {
			return nil, errors.Join(err, &DamageError{Object: nameOf(f), Chunk: id, Err: errLost})
		}
		return get(id)
	}
	src.Prefetch = nil
	return src
}

func nameOf(f *Finding) string {
	if f == nil {
		return ""
	}
	return f.Object
}

// blamed returns the finding that an error about a manifest comes from.
func (h *hurt) blamed(err error) *Finding {
	var damage *DamageError
	if errors.As(err, &damage) {
		o, _ := ParseName(damage.Object)
		if f := h.byPack[o.Sum]; f != nil {
			return f
		}
		if h.unknown != nil && damage.Object == h.unknown.Object {
			return h.unknown
		}
		return nil
	}
	var corrupt *manifest.CorruptError
	if errors.As(err, &corrupt) {
		return h.others["manifest "+corrupt.Chunk.String()]
	}
	if errors.Is(err, ErrUnknownChunk) {
		return h.unknown
	}
	return h.others["manifest"]
}

// add adds what another part of the manifest has.
func (t *Harm) add(o *Harm, first int) {
	t.Files += o.Files
	t.Entries += o.Entries
	t.All = t.All || o.All
	if n := first - len(t.Paths); n > 0 {
		t.Paths = append(t.Paths, o.Paths[:min(n, len(o.Paths))]...)
	}
}
