package mount

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/store"
)

const (
	maxReaders = 4 // that read packs at once; each holds what it read of one, some 4 MiB
	maxKnown   = 4096
	coldFor    = time.Minute      // how long what the store said of a cold pack is believed
	badFor     = 30 * time.Second // and that a chunk is damaged
)

// origin is where the chunks of one epoch of a scope come from.
type origin struct {
	f     *FS
	scope keys.ScopeID
	epoch uint32
	into  *cache

	mu    sync.Mutex
	state *repo.ScopeState
}

// fetch gets a chunk from a pack that has it.
func (o *origin) fetch(id digest.Chunk) ([]byte, error) {
	if err := o.f.known.of(o.f.o.Now(), id); err != nil {
		return nil, err
	}
	ctx := o.f.ctx
	select {
	case o.f.slots <- struct{}{}:
		defer func() { <-o.f.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	state, rd, err := o.reader()
	if err != nil {
		return nil, err
	}
	if err := o.frozen(state, id); err != nil {
		return nil, err
	}
	raw, err := rd.Chunk(ctx, id)
	o.giveBack(state, rd)
	if err != nil && isDamage(err) {
		raw, err = o.again(ctx, state, id, err)
	}
	o.note(id, err)
	return raw, err
}

// again looks for a chunk in a fresh index: a prune may have moved it.
func (o *origin) again(ctx context.Context, old *repo.ScopeState, id digest.Chunk, failed error) ([]byte, error) {
	state, err := o.f.reload(ctx, o.scope, old)
	if err != nil || state == old {
		return nil, failed
	}
	o.use(state)
	state, rd, err := o.reader()
	if err != nil {
		return nil, err
	}
	defer o.giveBack(state, rd)
	return rd.Chunk(ctx, id)
}

// use takes a fresher state.
func (o *origin) use(state *repo.ScopeState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state = state
}

// idleReader is a reader that nobody uses. It holds some MiB, so few are kept, of whatever origin.
type idleReader struct {
	of    *origin
	state *repo.ScopeState
	rd    *repo.Reader
}

// idleReaders are those used last, the last at the end.
type idleReaders struct {
	mu  sync.Mutex
	all []idleReader
}

// reader returns a reader that nobody else uses, and the state that it reads by.
func (o *origin) reader() (*repo.ScopeState, *repo.Reader, error) {
	o.mu.Lock()
	state := o.state
	o.mu.Unlock()
	idle := &o.f.idle
	idle.mu.Lock()
	for i, r := range slices.Backward(idle.all) {
		if r.of == o && r.state == state {
			idle.all = slices.Delete(idle.all, i, i+1)
			idle.mu.Unlock()
			return state, r.rd, nil
		}
	}
	idle.mu.Unlock()
	rd, err := o.f.o.Repo.NewReader(state, o.epoch)
	return state, rd, err
}

func (o *origin) giveBack(state *repo.ScopeState, rd *repo.Reader) {
	idle := &o.f.idle
	idle.mu.Lock()
	defer idle.mu.Unlock()
	if len(idle.all) >= maxReaders {
		idle.all = slices.Delete(idle.all, 0, 1)
	}
	idle.all = append(idle.all, idleReader{o, state, rd})
}

// frozen returns the error of a chunk all of whose packs are known to be cold.
func (o *origin) frozen(state *repo.ScopeState, id digest.Chunk) error {
	locs, err := state.Set().All(id)
	if err != nil || len(locs) == 0 {
		return err
	}
	var cold error
	for _, l := range locs {
		info, err := state.Set().Pack(l.Pack)
		if err != nil {
			return err
		}
		if cold = o.f.known.of(o.f.o.Now(), repo.PackName(state, &info)); cold == nil {
			return nil
		}
	}
	return cold
}

// note remembers for a while what cannot be read.
func (o *origin) note(id digest.Chunk, err error) {
	var damage *repo.DamageError
	switch {
	case errors.Is(err, store.ErrCold) && errors.As(err, &damage):
		o.f.known.note(damage.Object, err, o.f.o.Now().Add(coldFor))
	case err != nil && isDamage(err):
		o.f.known.note(id, err, o.f.o.Now().Add(badFor))
	}
}

// ahead begins to fetch chunks, those of one pack together, unless all readers are busy.
func (o *origin) ahead(ids []digest.Chunk) {
	select {
	case o.f.slots <- struct{}{}:
	default:
		return
	}
	free := func() { <-o.f.slots }
	ids = slices.DeleteFunc(slices.Clone(ids), o.into.has)
	if len(ids) == 0 {
		free()
		return
	}
	o.f.run(func() {
		defer free()
		o.fetchAll(ids)
	})
}

func (o *origin) fetchAll(ids []digest.Chunk) {
	state, rd, err := o.reader()
	if err != nil {
		return
	}
	defer o.giveBack(state, rd)
	byPack := map[int][]repo.Want{}
	var order []int
	for _, id := range ids {
		loc, ok, err := state.Set().Lookup(id)
		if err != nil || !ok || o.f.known.of(o.f.o.Now(), id) != nil {
			continue
		}
		if byPack[loc.Pack] == nil {
			order = append(order, loc.Pack)
		}
		byPack[loc.Pack] = append(byPack[loc.Pack], repo.Want{ID: id, Loc: loc})
	}
	for _, pack := range order {
		if o.frozen(state, byPack[pack][0].ID) == nil {
			o.fetchPack(rd, byPack[pack])
		}
	}
}

// fetchPack fetches chunks of one pack. What it cannot get, whoever needs it tries alone and hears why.
func (o *origin) fetchPack(rd *repo.Reader, wants []repo.Want) {
	mine := map[digest.Chunk]*kept{}
	wants = slices.DeleteFunc(wants, func(w repo.Want) bool {
		k, first := o.into.find(w.ID)
		if first {
			mine[w.ID] = k
		}
		return !first
	})
	err := rd.ReadPack(o.f.ctx, wants, func(i int, raw []byte) error {
		k := mine[wants[i].ID]
		delete(mine, k.id)
		o.into.finish(k, slices.Clone(raw), nil)
		return nil
	}, func(_ int, err error) error {
		if errors.Is(err, store.ErrCold) {
			return err
		}
		return nil
	})
	for id, k := range mine {
		if err == nil || !errors.Is(err, store.ErrCold) {
			raw, err := rd.Chunk(o.f.ctx, id)
			o.into.finish(k, raw, err)
			continue
		}
		o.note(id, err)
		o.into.finish(k, nil, err)
	}
}

// isDamage reports whether an error says something about what is stored, and would be the same again.
func isDamage(err error) bool {
	var damage *repo.DamageError
	var corrupt *manifest.CorruptError
	var line *manifest.LineError
	var table *index.CorruptError
	if errors.Is(err, store.ErrCold) {
		return false
	}
	return errors.As(err, &damage) || errors.As(err, &corrupt) || errors.As(err, &line) || errors.As(err, &table) || errors.Is(err, repo.ErrUnknownChunk) || errors.Is(err, store.ErrNotExist)
}

// known is what is known for a while of packs (by their names) and chunks that cannot be read.
type known struct {
	mu  sync.Mutex
	why map[any]verdict
}

type verdict struct {
	err   error
	until time.Time
}

func (k *known) of(now time.Time, what any) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if v, ok := k.why[what]; ok && now.Before(v.until) {
		return v.err
	}
	return nil
}

func (k *known) note(what any, err error, until time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.why == nil || len(k.why) >= maxKnown {
		k.why = map[any]verdict{}
	}
	k.why[what] = verdict{err, until}
}
