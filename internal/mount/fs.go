package mount

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// FS is the snapshots of a repository as a tree. Its methods may be called by several goroutines at once.
type FS struct {
	o       Options
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	work    sync.WaitGroup
	seed    maphash.Seed
	meta    *cache
	data    *cache
	slots   chan struct{} // held by who reads packs
	idle    idleReaders
	readers atomic.Int32 // open files that are being read on
	known   known
	told    told

	mu       sync.Mutex
	closed   bool
	names    *names
	shelf    *shelf
	items    map[uint32]snapshot.Item // by slot; also of those that were forgotten since
	volumes  map[uint32]*volume
	uses     uint64
	states   map[keys.ScopeID]*scopeIndex
	origins  map[originKey]*origin
	looked   time.Time     // when it was last looked for new snapshots
	looking  chan struct{} // closed when the look that is under way is over; nil: none is
	lookFail string        // what the last look failed with
}

// scopeIndex is what was loaded of a scope with its index.
type scopeIndex struct {
	mu    sync.Mutex // held while it is loaded
	state *repo.ScopeState
	at    time.Time            // when the index was loaded
	has   map[snapshot.ID]bool // snapshots that were there then
}

type originKey struct {
	scope keys.ScopeID
	epoch uint32
	into  *cache
}

// NewFS loads the snapshots of a repository. It lives as long as ctx, and until Close. It fails with repo.ErrWriteOnly.
func NewFS(ctx context.Context, o Options) (*FS, error) {
	o.setDefaults()
	if !o.Repo.CanRead() {
		return nil, repo.ErrWriteOnly
	}
	f := &FS{o: o, seed: maphash.MakeSeed(), meta: newCache(metaCache), data: newCache(o.Cache), slots: make(chan struct{}, maxReaders), names: newNames(),
		items: map[uint32]snapshot.Item{}, volumes: map[uint32]*volume{}, states: map[keys.ScopeID]*scopeIndex{}, origins: map[originKey]*origin{}}
	f.told.o = &f.o
	f.ctx, f.cancel = context.WithCancel(ctx)
	if err := f.Refresh(ctx); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close ends what is under way and waits for it.
func (f *FS) Close() {
	f.cancel()
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.work.Wait()
}

// run begins what Close waits for.
func (f *FS) run(fn func()) {
	f.mu.Lock()
	if !f.closed {
		f.work.Add(1)
		f.mu.Unlock()
		go func() {
			defer f.work.Done()
			fn()
		}()
		return
	}
	f.mu.Unlock()
	fn() // fails at once: ctx has ended
}

// Snapshots returns how many snapshots are shown, of how many sources.
func (f *FS) Snapshots() (snapshots, sources int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	top := f.shelf.root.byName["sources"]
	for _, s := range top.inside {
		for _, p := range s.inside {
			if p.slot != 0 {
				snapshots++
			}
		}
	}
	return snapshots, len(top.inside)
}

// Refresh looks for new and forgotten snapshots.
func (f *FS) Refresh(ctx context.Context) error {
	ids, err := f.o.Repo.Scopes(ctx)
	if err != nil {
		return err
	}
	var items []snapshot.Item
	for _, id := range ids {
		s, err := f.o.Repo.Load(ctx, id, false)
		if err != nil {
			return err
		}
		for _, damage := range s.Damaged {
			f.told.once("damaged/"+damage.Error(), "%v", damage)
		}
		items = append(items, s.Items...)
	}
	list := f.o.Choose(items)
	sortItems(list)
	f.mu.Lock()
	defer f.mu.Unlock()
	fresh := f.names.shelve(list, f.o.Zone)
	for i := range list {
		slot := f.names.slot(list[i].ID)
		f.items[slot] = list[i].Item
	}
	if !sameShelf(f.shelf, fresh) {
		f.shelf = fresh
	}
	f.looked = f.o.Now()
	return nil
}

// top returns the tree above the snapshots, after a look at what is new where that is due. It does not wait long for one.
func (f *FS) top(stop stopper) *shelf {
	f.mu.Lock()
	s := f.shelf
	if f.closed || f.o.Refresh < 0 || f.o.Now().Sub(f.looked) < f.o.Refresh {
		f.mu.Unlock()
		return s
	}
	begin := f.looking == nil
	if begin {
		f.looking = make(chan struct{})
	}
	done := f.looking
	f.mu.Unlock()
	if begin {
		f.run(f.look)
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	case <-stop:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shelf
}

// look is Refresh, and tells when it does not work and when it does again.
func (f *FS) look() {
	err := f.Refresh(f.ctx)
	text := ""
	if err != nil {
		text = err.Error()
	}
	f.mu.Lock()
	before := f.lookFail
	f.looked, f.lookFail = f.o.Now(), text
	close(f.looking)
	f.looking = nil
	f.mu.Unlock()
	switch {
	case f.ctx.Err() != nil:
	case err != nil && before == "":
		f.told.warn("new snapshots cannot be looked for: %v; what was there stays to be seen, and it is tried again", err)
	case err == nil && before != "":
		f.told.note("new snapshots are looked for again")
	}
}

// volume returns a snapshot by its slot, open. errNone: there is none.
func (f *FS) volume(slot uint32) (*volume, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.uses++
	if v := f.volumes[slot]; v != nil {
		v.used = f.uses
		return v, nil
	}
	item, ok := f.items[slot]
	if !ok {
		return nil, errNone
	}
	if len(f.volumes) >= maxVolumes {
		var oldest *volume
		for _, v := range f.volumes {
			if oldest == nil || v.used < oldest.used {
				oldest = v
			}
		}
		delete(f.volumes, oldest.slot)
	}
	v := &volume{slot: slot, item: item, chunks: &lateSource{f: f, item: item, into: f.meta}, seed: f.seed, used: f.uses}
	f.volumes[slot] = v
	return v, nil
}

// lateSource is an origin that is loaded when it is first needed, since an index may take a while.
type lateSource struct {
	f    *FS
	item snapshot.Item
	into *cache

	mu   sync.Mutex
	from *origin
}

func (l *lateSource) origin() (*origin, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from == nil {
		from, err := l.f.originOf(l.item, l.into)
		if err != nil {
			return nil, err
		}
		l.from = from
	}
	return l.from, nil
}

// get implements chunkSource.
func (l *lateSource) get(stop stopper, id digest.Chunk) ([]byte, error) {
	k, mine := l.into.find(id)
	if mine {
		l.f.run(func() {
			var raw []byte
			from, err := l.origin()
			if err == nil {
				raw, err = from.fetch(id)
			}
			l.into.finish(k, raw, err)
		})
	}
	return k.wait(stop)
}

// ahead implements chunkSource. What is not loaded yet is not waited for.
func (l *lateSource) ahead(ids []digest.Chunk) {
	if !l.mu.TryLock() {
		return
	}
	from := l.from
	l.mu.Unlock()
	if from != nil {
		from.ahead(ids)
	}
}

// patiently does what may wait for the store, as long as somebody waits for it.
func (f *FS) patiently(stop stopper, fn func() error) error {
	k := &kept{ready: make(chan struct{})}
	f.run(func() {
		k.err = fn()
		close(k.ready)
	})
	_, err := k.wait(stop)
	return err
}

// originOf returns where the chunks of a snapshot come from, with an index that is not older than the snapshot.
func (f *FS) originOf(item snapshot.Item, into *cache) (*origin, error) {
	scope := keys.ScopeID(item.Scope)
	x := f.scopeIndex(scope)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.state == nil || !x.has[item.ID] {
		if err := f.loadIndex(f.ctx, scope, x); err != nil {
			return nil, err
		}
		x.has[item.ID] = true // though it may be forgotten since: another look would not help
	}
	k := originKey{scope, item.Epoch, into}
	f.mu.Lock()
	o := f.origins[k]
	if o == nil {
		o = &origin{f: f, scope: scope, epoch: item.Epoch, into: into, state: x.state}
		f.origins[k] = o
	}
	f.mu.Unlock()
	o.use(x.state)
	return o, nil
}

func (f *FS) scopeIndex(id keys.ScopeID) *scopeIndex {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.states[id]
	if x == nil {
		x = &scopeIndex{}
		f.states[id] = x
	}
	return x
}

// loadIndex loads a scope with its index. x.mu is held.
func (f *FS) loadIndex(ctx context.Context, id keys.ScopeID, x *scopeIndex) error {
	state, err := f.o.Repo.Load(ctx, id, true)
	if err != nil {
		return err
	}
	x.state, x.at, x.has = state, f.o.Now(), map[snapshot.ID]bool{}
	for _, i := range state.Items {
		x.has[i.ID] = true
	}
	return nil
}

// reloadEvery is the least time between two loads of an index because something was not found.
const reloadEvery = 10 * time.Second

// reload returns a state that is fresher than one by which something was not found, or that one where it is too soon for another.
func (f *FS) reload(ctx context.Context, id keys.ScopeID, old *repo.ScopeState) (*repo.ScopeState, error) {
	x := f.scopeIndex(id)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.state != old || f.o.Now().Sub(x.at) < reloadEvery {
		return x.state, nil
	}
	return x.state, f.loadIndex(ctx, id, x)
}

// look returns a volume as a request sees it, with the names of its files counted.
func (f *FS) read(slot uint32, stop stopper) (look, error) {
	v, err := f.volume(slot)
	if err != nil {
		return look{}, err
	}
	l := look{v, stop}
	return l, l.countLinks(f.run)
}

// openFile opens a regular file. What is in a cold class fails at once, if its first chunk does.
func (f *FS) openFile(n node, stop stopper) (*open, error) {
	v, err := f.volume(n.slot())
	if err != nil {
		return nil, err
	}
	var e *manifest.Entry
	err = look{v, stop}.entry(n.line(), func(x *manifest.Entry) error {
		e = x.Clone()
		return nil
	})
	if err != nil {
		return nil, err
	}
	if e.Type != manifest.File || len(e.Hardlink) > 0 {
		return nil, fmt.Errorf("%q is no file", e.Path)
	}
	o := v.open(f, n, e, &lateSource{f: f, item: v.item, into: f.data})
	return o, o.thawed(stop)
}

var errClosed = errors.New("is being unmounted")

// explainOnce says why a request about a node failed: to whoever has mounted it, and to who asks for its attribute.
func (f *FS) explainOnce(n node, err error) {
	v, none := f.volume(n.slot())
	if none != nil {
		f.told.once("node/"+err.Error(), "%v", err)
		return
	}
	if f.ctx.Err() != nil {
		return
	}
	path := []byte("?")
	now := make(chan struct{})
	close(now)
	_ = look{v, now}.entryOf(n, func(e *manifest.Entry) error { // where that cannot be read either, the error says what it is about
		path = append(path[:0], e.Path...)
		return nil
	})
	f.told.failed(n, f.o.explain(v.item, path, err))
}
