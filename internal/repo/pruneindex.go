package repo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/sign"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// When index objects are written again. Whoever has read an object reads what comes in its place: so it has to be worth it.
const (
	staleShare  = 5                    // where one in so many of its chunks lies in packs that are gone
	smallChunks = index.MaxChunks / 64 // an object with fewer chunks is small,
	manySmall   = 16                   // and so many of them are merged
	freshChunks = index.MaxChunks / 8  // of one object that is written: 20 MiB
)

// indexObject is one object of the index, as far as deciding goes.
type indexObject struct {
	name   string // whole
	level  int
	chunks int // of packs that are there
	gone   int // of others

	stored   time.Time
	replaces []string        // by somebody who may prune
	packs    []digest.Object // that are not gone, of objects that replace others or are replaced
}

// DropFromIndexes writes index objects again without the packs that are gone. The new ones are signed by who prunes; those in whose place they are are deleted by a later run, for which
// the new ones were stored at or before a time: listings of some stores are late. gone must be true only of packs that are retired, that no snapshot needs, and that are not in the
// store. It reads the index objects, unless few of all chunks are gone and few objects are small. It returns how many objects it wrote and deleted.
func (p *Pruning) DropFromIndexes(ctx context.Context, before time.Time, gone func(digest.Object) bool) (written, deleted int, err error) {
	if worth, err := p.worthDropping(gone); err != nil || !worth {
		return 0, 0, err
	}
	objects, err := p.indexObjects(ctx, gone)
	if err != nil {
		return 0, 0, err
	}
	replaced := replacedIndexes(objects, before)
	small := 0
	for _, o := range objects {
		if _, ok := replaced[o.name]; !ok && o.chunks < smallChunks {
			small++
		}
	}
	w := &indexWriter{p: p, gone: gone}
	for _, o := range objects {
		old, covered := replaced[o.name]
		switch {
		case old:
			if err := p.purge(ctx, o.name); err != nil && !errors.Is(err, store.ErrLocked) {
				return w.written, deleted, err
			}
			deleted++
		case covered, o.gone*staleShare < o.gone+o.chunks && (small < manySmall || o.chunks >= smallChunks):
		default:
			if err := w.take(ctx, o); err != nil {
				return w.written, deleted, err
			}
		}
	}
	return w.written, deleted, w.flush(ctx)
}

// replacedIndexes returns the objects in whose place others are that name all of their packs but those that are gone; true: long enough ago. Where one says that it is in the place of another,
// and lacks a pack of it, that stays: whoever has the key of somebody who may prune could make it say so.
func replacedIndexes(objects []indexObject, before time.Time) map[string]bool {
	byName := make(map[string]*indexObject, len(objects))
	for i := range objects {
		byName[objects[i].name] = &objects[i]
	}
	replaced := map[string]bool{}
	for i := range objects {
		o := &objects[i]
		if len(o.replaces) == 0 {
			continue
		}
		names := make(map[digest.Object]struct{}, len(o.packs))
		for _, n := range o.packs {
			names[n] = struct{}{}
		}
		for _, name := range o.replaces {
			old := byName[name]
			if old == nil || old == o || slices.ContainsFunc(old.packs, func(n digest.Object) bool { _, ok := names[n]; return !ok }) {
				continue
			}
			replaced[name] = replaced[name] || !o.stored.After(before)
		}
	}
	return replaced
}

// worthDropping looks at what is known already.
func (p *Pruning) worthDropping(gone func(digest.Object) bool) (bool, error) {
	there := map[string]bool{}
	small := 0
	for _, o := range p.objects {
		if there[o.Name] = true; o.Chunks < smallChunks {
			small++
		}
	}
	if small >= manySmall {
		return true, nil
	}
	for _, o := range p.objects {
		if slices.ContainsFunc(o.Replaces, func(name string) bool { return there[name] }) {
			return true, nil
		}
	}
	var chunks, lost int
	err := p.set.EachPack(func(i *index.Info, retired bool) error {
		chunks += i.Count
		if retired && gone(i.Name) {
			lost += i.Count
		}
		return nil
	})
	return lost > 0 && lost*staleShare >= chunks, err
}

// indexObjects reads the objects of the index. One that cannot be read is left alone.
func (p *Pruning) indexObjects(ctx context.Context, gone func(digest.Object) bool) (all []indexObject, err error) {
	prefix := indexPrefix(p.kit.id)
	involved := map[string]bool{} // replace others, or are replaced: as few as they are, their packs are remembered
	for _, o := range p.objects {
		for _, name := range o.Replaces {
			involved[prefix+o.Name], involved[prefix+name] = true, true
		}
	}
	infos, err := p.listIndex(ctx)
	for _, info := range infos {
		gen, _, _ := parseGen(info.Name)
		p.lastGen = max(p.lastGen, gen)
		o := indexObject{name: info.Name, stored: info.Modified}
		header, perr := p.parseIndex(ctx, info, func(pack *index.Pack) error {
			if p.set.Retired(pack.Name) && gone(pack.Name) {
				o.gone += len(pack.Chunks)
				return nil
			}
			o.chunks += len(pack.Chunks)
			if involved[info.Name] {
				o.packs = append(o.packs, pack.Name)
			}
			return nil
		})
		var broken *ObjectError
		if errors.As(perr, &broken) || errors.Is(perr, store.ErrNotExist) || errors.Is(perr, ErrUntrusted) {
			continue
		}
		if perr != nil {
			return nil, perr
		}
		o.level = header.Level
		if len(header.Replaces) > 0 && involved[info.Name] && p.mayPrune(ctx, header.Author) == nil {
			for _, name := range header.Replaces {
				o.replaces = append(o.replaces, prefix+name)
			}
		}
		all = append(all, o)
	}
	return all, err
}

// parseIndex reads one object of the index; what is wrong with it is an *ObjectError.
func (p *Pruning) parseIndex(ctx context.Context, info store.Info, fn func(*index.Pack) error) (index.Header, error) {
	body, _, err := p.kit.getIndex(ctx, info.Name, info.Modified)
	if err != nil {
		return index.Header{}, err
	}
	h, err := index.Parse(body, fn)
	if err != nil {
		return h, &ObjectError{info.Name, err}
	}
	return h, nil
}

// indexWriter gathers packs until there are enough for an object.
type indexWriter struct {
	p       *Pruning
	gone    func(digest.Object) bool
	packs   []index.Pack
	seen    map[digest.Object]bool
	chunks  int
	from    []indexObject // whose packs are all in packs, or were left out
	written int
}

// take adds what one object names.
func (w *indexWriter) take(ctx context.Context, o indexObject) error {
	if w.chunks+o.chunks > freshChunks {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	if w.seen == nil {
		w.seen = map[digest.Object]bool{}
	}
	n := len(w.packs)
	_, err := w.p.parseIndex(ctx, store.Info{Name: o.name, Modified: o.stored}, func(pack *index.Pack) error {
		if w.seen[pack.Name] || w.p.set.Retired(pack.Name) && w.gone(pack.Name) {
			return nil
		}
		c := clonePack(pack)
		if info, ok, err := w.p.set.Find(pack.Name); err == nil && ok && info.Par2 != nil {
			c.Par2 = info.Par2 // perhaps of a later index
		}
		w.packs = append(w.packs, c)
		return nil
	})
	if errors.Is(err, store.ErrNotExist) {
		w.packs = w.packs[:n] // somebody else has written it again meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	for _, c := range w.packs[n:] {
		w.seen[c.Name] = true
		w.chunks += len(c.Chunks)
	}
	w.from = append(w.from, o)
	return nil
}

// flush stores what was gathered. Objects of which nothing is left go at once: nobody misses what they say.
func (w *indexWriter) flush(ctx context.Context) error {
	if len(w.packs) > 0 {
		if err := w.put(ctx); err != nil {
			return err
		}
	} else {
		for _, o := range w.from {
			if err := w.p.purge(ctx, o.name); err != nil && !errors.Is(err, store.ErrLocked) {
				return err
			}
		}
	}
	w.packs, w.seen, w.chunks, w.from = nil, nil, 0, nil
	return nil
}

func (w *indexWriter) put(ctx context.Context) error {
	signer, err := w.p.pruneSigner()
	if err != nil {
		return err
	}
	h := index.Header{Author: [16]byte(signer.Author())}
	for _, o := range w.from {
		h.Level = min(max(h.Level, o.level+1), index.MaxLevel)
		h.Replaces = append(h.Replaces, o.name[len(indexPrefix(w.p.kit.id)):])
	}
	body, err := index.AppendHeader(nil, h)
	for i := range w.packs {
		if err != nil {
			return err
		}
		body, err = index.AppendPack(body, &w.packs[i])
	}
	if err != nil {
		return err
	}
	object, sum, err := envelope.Seal(sign.Index, body, w.p.kit.envelopeKeysOf(signer))
	if err != nil {
		return err
	}
	w.written++
	return w.p.kit.r.put(ctx, indexPrefix(w.p.kit.id)+genName(w.p.nextGen(), sum), object, w.p.kit.r.hotClass())
}

// parseStateOwner returns the host of a folder below state/.
func parseStateOwner(prefix string) (sign.Author, error) {
	return sign.ParseAuthor(strings.TrimSuffix(strings.TrimPrefix(prefix, "state/"), "/"))
}

// validState reports whether an object below state/ says what it may, signed by whom it is of. It fails only where the store does not answer.
func (p *Pruning) validState(ctx context.Context, prefix string, info store.Info) (bool, error) {
	if tooLong(sign.State, info.Name, info.Size) != nil {
		return false, nil
	}
	body, author, err := p.kit.getTrusted(ctx, sign.State, info.Name)
	if err != nil {
		return false, unlessObject(err)
	}
	owner, err := parseStateOwner(prefix)
	if err != nil {
		return false, nil
	}
	state, err := snapshot.ParseState(body) // one that cannot be parsed a later version may have written
	if err == nil && keys.HostID(state.Host) != keys.HostID(owner) {
		return false, nil
	}
	return author == owner || author.IsRoot() && prefix == proofPrefix(p.kit.id), nil
}
