package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"firn/internal/digest"
	"firn/internal/format"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/sign"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// A copy of a repository has its id, its keys and its parameters, so that packs, pack sets and snapshots are the same objects in both (names are sums, and what is signed
// names the repository). Each has its own firn.json, indexes, prune records, states of hosts and proofs: what lies where, for how long, and who has looked at it, are
// matters of a location. docs/decisions/0011-copies-share-the-id.md tells why.

// DifferentError tells that objects of one repository mean nothing in another.
type DifferentError struct {
	Location string
	What     []string // members of firn.json that differ
}

func (e *DifferentError) Error() string {
	return fmt.Sprintf("%s is no copy of the repository: it has another %s", e.Location, strings.Join(e.What, ", "))
}

// ErrSelf tells that a repository was to be copied to itself.
var ErrSelf = errors.New("is the repository itself, or was copied by other means than a copy's own")

// CheckCopy fails with *DifferentError or ErrSelf unless what lies at location, of which to is the firn.json, can take objects of the repository with this one.
func CheckCopy(from, to *format.Config, location string) error {
	e := &DifferentError{Location: location}
	for what, same := range map[string]bool{
		"format": from.Format == to.Format, "id": from.ID == to.ID, "root key": from.Root.Equal(to.Root), "seal": from.Seal == to.Seal,
		"chunk": from.Chunk == to.Chunk, "bundle": from.Bundle == to.Bundle, "padding": from.Padding == to.Padding,
	} {
		if !same {
			e.What = append(e.What, what)
		}
	}
	slices.Sort(e.What)
	switch {
	case len(e.What) > 0:
		return e
	case from.Copy == to.Copy:
		return fmt.Errorf("%s: %w", location, ErrSelf)
	}
	return nil
}

// CopyHosts brings certificates and revocations of hosts to a copy that lacks them, those of the scopes that were loaded. Revocations come first: what a revoked host wrote
// before counts in a copy where the root key says so (FORMAT §10).
func (r *Repository) CopyHosts(ctx context.Context, to *Repository) error {
	there := map[string]bool{}
	err := to.st.List(ctx, hostsPrefix, "", func(i store.Info) error {
		there[i.Name] = true
		return nil
	})
	if err != nil {
		return err
	}
	var names []string
	err = r.st.List(ctx, hostsPrefix, "", func(i store.Info) error {
		if !there[i.Name] {
			names = append(names, i.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(names, func(a, b string) int {
		if x, y := strings.HasSuffix(a, revokeSuffix), strings.HasSuffix(b, revokeSuffix); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		object, err := r.fetch(ctx, name, 1<<20)
		if errors.Is(err, store.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := r.VerifyCopy(ctx, name, object); err != nil {
			r.decide("%s is not copied: %v", name, err) // damaged, or of a scope that is not copied
			continue
		}
		if err := to.put(ctx, name, object, to.hotClass()); err != nil {
			return err
		}
	}
	return nil
}

// CopyScope is one scope of a repository, and of a copy of it. It is used by one goroutine at a time, but where it says otherwise.
type CopyScope struct {
	From, To *ScopeState

	items   map[snapshot.ID]snapshot.Item // of To
	renewed map[snapshot.ID]bool          // for which others stand in To
	vouch   bool                          // the root key is at hand
	packs   map[digest.Object]listedPack  // that To's store lists
	parts   map[digest.Object]bool        // pack sets that To's store lists
	whole   map[digest.Object]bool        // pack sets all of whose packs are at To, and indexed
	opened  bool
}

// listedPack is a pack that lies in the copy.
type listedPack struct {
	size   int64
	class  string
	volume int64 // size of its recovery volume; 0: there is none
}

// CopyScope loads the snapshots of a scope on both sides, and no more.
func (r *Repository) CopyScope(ctx context.Context, to *Repository, id keys.ScopeID) (*CopyScope, error) {
	if err := CheckCopy(r.cfg, to.cfg, to.st.Location()); err != nil {
		return nil, err
	}
	s := &CopyScope{items: map[snapshot.ID]snapshot.Item{}, renewed: map[snapshot.ID]bool{}, vouch: to.secrets != nil, whole: map[digest.Object]bool{}}
	var err error
	if s.From, err = r.Load(ctx, id, false); err != nil {
		return nil, err
	}
	if s.To, err = to.Load(ctx, id, false); err != nil {
		return nil, err
	}
	if to.secrets == nil && (to.host == nil || to.host.ScopeID != id) {
		return nil, fmt.Errorf("scope %v: %w", id, ErrNoHost)
	}
	for _, it := range s.To.Items {
		s.items[it.ID] = it
	}
	for old := range snapshot.Rewritten(s.To.Items) {
		s.renewed[old] = true
	}
	return s, nil
}

// CopyStatus is how a snapshot stands in a copy.
type CopyStatus int

// The states.
const (
	CopyMissing   CopyStatus = iota
	CopyBegun                // it is there and not yet done
	CopyThere                // it is done, or another one stands in its place
	CopyForgotten            // it was there, and the copy has forgotten it: its id cannot come again
)

// Status tells how a snapshot of From stands in To.
func (s *CopyScope) Status(id snapshot.ID) CopyStatus {
	it, ok := s.items[id]
	switch {
	case s.renewed[id]:
		return CopyThere
	case s.To.forgotten[id]:
		return CopyForgotten
	case !ok:
		return CopyMissing
	case it.Status() == snapshot.IsDone:
		return CopyThere
	}
	return CopyBegun
}

// Prepare reads the indexes of both sides, and lists what the copy has of packs and pack sets.
func (s *CopyScope) Prepare(ctx context.Context) error {
	if s.opened {
		return nil
	}
	for _, side := range []*ScopeState{s.From, s.To} {
		if err := side.openIndex(ctx); err != nil {
			return err
		}
	}
	s.packs, s.parts = map[digest.Object]listedPack{}, map[digest.Object]bool{}
	err := s.To.ListPacks(ctx, func(o ObjectName, i store.Info) error {
		p := s.packs[o.Sum]
		if o.Volume {
			p.volume = i.Size
		} else {
			p.size, p.class = i.Size, i.Class
		}
		s.packs[o.Sum] = p
		return nil
	})
	if err == nil {
		err = s.To.kit.r.st.List(ctx, packsetPrefix(s.To.kit.id), "", func(i store.Info) error {
			if o, ok := ParseName(i.Name); ok {
				s.parts[o.Sum] = true
			}
			return nil
		})
	}
	s.opened = err == nil
	return err
}

// CopyPack is a pack that a copy is to have.
type CopyPack struct {
	Name   digest.Object
	Object string      // its name in both stores
	Size   int64       // bytes
	Class  string      // in the store that it comes from, as its index has it
	To     string      // in the copy
	Parity int         // percent of recovery data that it is to have in the copy; 0: none
	Par2   *index.Par2 // the volume that it has where it comes from; nil: none
	There  bool        // it lies in the copy already, and no index names it

	Sent   bool        // by the caller: it lies in the copy
	Volume *index.Par2 // by the caller: the volume that it has there; nil: none
	Err    error       // by the caller: why it could not be had; snapshots that need it are left out

	indexed bool
}

// CopyBatch is some snapshots, and the packs that they need and the copy lacks.
type CopyBatch struct {
	Items []snapshot.Item
	Errs  []error // of each item: why it cannot be copied; nil: it can, or is copied
	Packs []CopyPack

	s      *CopyScope
	number map[digest.Object]uint32
	needs  map[digest.Object][]uint32 // pack set → Packs
	gone   map[digest.Object]error    // pack sets that cannot be had whole
}

// Limits of a batch: what is held of it in memory is its chunks, when they are named in an index, at 40 bytes each, and about 300 bytes for each pack.
const (
	batchChunks = 1 << 20
	batchPacks  = 1 << 14
	batchBytes  = 64 << 30 // so that a history which takes days is there bit by bit
)

// Batch plans the copy of the first n of items, which are not done in the copy. Prepare comes before it.
func (s *CopyScope) Batch(ctx context.Context, items []snapshot.Item) (b *CopyBatch, n int, err error) {
	b = &CopyBatch{s: s, number: map[digest.Object]uint32{}, needs: map[digest.Object][]uint32{}, gone: map[digest.Object]error{}}
	chunks, bytes, summed := 0, int64(0), 0
	for n < len(items) && (n == 0 || chunks < batchChunks && len(b.Packs) < batchPacks && bytes < batchBytes) {
		more, err := b.add(ctx, items[n])
		if err != nil {
			return nil, 0, err
		}
		chunks += more
		for ; summed < len(b.Packs); summed++ {
			bytes += b.Packs[summed].Size
		}
		n++
	}
	return b, n, nil
}

// add plans one snapshot, and returns how many chunks the packs have that it brings.
func (b *CopyBatch) add(ctx context.Context, it snapshot.Item) (chunks int, err error) {
	if b.s.To.forgotten[it.ID] {
		b.Items, b.Errs = append(b.Items, it), append(b.Errs, &RetiredError{Forgotten: true})
		return 0, nil
	}
	var failed error
	for _, p := range it.Packs {
		if b.s.whole[p.Object] {
			continue
		}
		if _, known := b.needs[p.Object]; !known && b.gone[p.Object] == nil {
			more, err := b.addPart(ctx, p)
			if err != nil {
				return 0, err
			}
			chunks += more
		}
		failed = errors.Join(failed, b.gone[p.Object])
	}
	b.Items, b.Errs = append(b.Items, it), append(b.Errs, failed)
	return chunks, nil
}

// addPart plans the packs of one pack set.
func (b *CopyBatch) addPart(ctx context.Context, p snapshot.Part) (chunks int, err error) {
	names, err := b.s.From.partNames(ctx, p)
	var object *ObjectError
	if errors.As(err, &object) {
		b.gone[p.Object] = err
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	lost := &RetiredError{}
	if b.s.To.set.Retired(p.Object) {
		lost.Packs = append(lost.Packs, p.Object)
	}
	needs := []uint32{}
	for _, name := range names {
		if b.s.To.set.Retired(name) {
			lost.Packs = append(lost.Packs, name)
			continue
		}
		n, known := b.number[name]
		if !known {
			pack, count, err := b.s.lacks(name)
			if errors.As(err, &object) {
				b.gone[p.Object] = err
				return chunks, nil
			}
			if err != nil {
				return chunks, err
			}
			if pack == nil {
				continue
			}
			n = uint32(len(b.Packs))
			b.number[name] = n
			b.Packs = append(b.Packs, *pack)
			chunks += count
		}
		needs = append(needs, n)
	}
	if len(lost.Packs) > 0 {
		b.gone[p.Object] = lost
		return chunks, nil
	}
	b.needs[p.Object] = needs
	return chunks, nil
}

// lacks returns what is to be done about a pack, and how many chunks it has; nil: the copy has it, and an index there names it.
func (s *CopyScope) lacks(name digest.Object) (*CopyPack, int, error) {
	_, indexed, err := s.To.set.Find(name)
	if err != nil {
		return nil, 0, err
	}
	have, listed := s.packs[name]
	listed = listed && have.size > 0
	if indexed && listed {
		return nil, 0, nil
	}
	info, ok, err := s.From.set.Find(name)
	if err != nil {
		return nil, 0, err
	}
	if !ok {
		return nil, 0, &ObjectError{name.String(), errNoIndex}
	}
	to := s.To.kit.r
	p := &CopyPack{Name: name, Object: packName(info.Kind, s.From.kit.id, name), Size: info.Size, Class: info.Class, To: to.classOf(info.Kind), Par2: info.Par2, There: listed}
	if p.Parity = to.cfg.Parity.Data; info.Kind.String() == "meta" {
		p.Parity = to.cfg.Parity.Meta
	}
	if listed && have.size != info.Size {
		return nil, 0, &ObjectError{p.Object, fmt.Errorf("%s has %d bytes of it instead of %d", to.st.Location(), have.size, info.Size)}
	}
	if listed {
		p.To = have.class
	}
	if have.volume > 0 {
		p.Volume = &index.Par2{Size: have.volume} // the caller finds out its sum
	}
	return p, info.Count, nil
}

// errNoIndex is about a pack that a snapshot needs.
var errNoIndex = errors.New("a snapshot needs this pack, and no index names it")

// Class returns in which storage class the copy keeps all but packs.
func (s *CopyScope) Class() string { return s.To.kit.r.hotClass() }

// byHost reports whether the host that writes signs what is new in the copy; else the root key does.
func (s *CopyScope) byHost() bool {
	h := s.To.kit.r.host
	return h != nil && h.ScopeID == s.To.kit.id
}

// authorOf returns the author of what a copy is about to name.
func authorOf(it *snapshot.Item) sign.Author { return sign.Author(it.HostID) }
