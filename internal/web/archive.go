package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/browse"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// How long what was read of a repository counts, how long pages wait for it to be read, and how long it stays open when nobody asks. What takes long to read counts for longer, so that a large repository is not read all the time.
const (
	fresh     = 30 * time.Second
	freshMost = 10 * time.Minute
	readShare = 20 // what was read counts for so many times as long as reading it took
	patience  = 10 * time.Second
	impatient = time.Second      // after a failure: somebody has waited already
	firstWait = 20 * time.Second // where nothing is known
	retryWait = 10 * time.Second // between two attempts where something is known
	missWait  = 5 * time.Second  // between two attempts for an id that is not known
	idle      = 5 * time.Minute

	maxViews   = 8 // snapshots open at once
	maxIndexes = 4 // scopes with their index
	maxGone    = 1 << 12
	loads      = 4 // scopes read at once
)

var errClosed = errors.New("the pages are being closed")

// Archive is a repository as pages see it: opened when somebody asks, read anew when what is known is old, closed when nobody asks for long. Where it cannot be reached, what was last known stays, with the error beside it.
//
// Whatever asks the store runs as a flight: once for all who want the same at the same time, in a goroutine that close waits for, under a context that does not end when one of them leaves.
type Archive struct {
	place  *Place
	now    func() time.Time
	waits  waits
	ctx    context.Context // of flights
	cancel context.CancelFunc
	work   sync.WaitGroup // flights, and open repositories

	mu      sync.Mutex // guards all below, live and its slots; held for moments, never while the store is asked
	live    *live      // nil: closed
	known   State
	stamps  map[keys.ScopeID]uint64   // what known holds of each scope, in short
	read    int                       // number of the reading that known is of
	reads   int                       // readings that began, of known or of a scope
	tried   time.Time                 // when known was read, or could not be
	took    time.Duration             // how long that was under way
	expired bool                      // known does not count any more
	gone    map[snapshot.ID]time.Time // snapshots that were known once, and when they were missed first
	flights map[string]*flight
	timer   *time.Timer
	closed  bool
}

// waits are the times of an archive, which tests change.
type waits struct{ patience, impatient, first, idle time.Duration }

// live is an open repository. It is shut when it is left and the last user is gone.
type live struct {
	number int
	opened *Opened
	ctx    context.Context // views hang on it
	cancel context.CancelFunc
	scopes map[keys.ScopeID]*indexed
	views  map[snapshot.ID]*slot
	clock  int // of uses
	users  int
	left   bool // not the archive's any more
}

// indexed is a scope with its index.
type indexed struct {
	state *repo.ScopeState
	stamp uint64
	read  int // number of the reading
	used  int
}

// slot is a snapshot that is open. It is closed when it is out and the last user is gone.
type slot struct {
	view  *browse.View
	used  int
	users int
	out   bool // replaced by another one
}

// flight is something under way that several may wait for.
type flight struct {
	begun time.Time
	done  chan struct{}
	err   error // when done
}

func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func newArchive(p *Place, now func() time.Time) *Archive {
	a := &Archive{place: p, now: now, waits: waits{patience, impatient, firstWait, idle}, flights: map[string]*flight{}, gone: map[snapshot.ID]time.Time{}}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// Place returns which repository it is.
func (a *Archive) Place() *Place { return a.place }

// State returns what is known, read anew where that is older than half a minute (longer for a repository that takes long to read). It waits for the store for some seconds at most where anything is known, and fails only where nothing is; else Err
// says what went wrong.
func (a *Archive) State(ctx context.Context) (State, error) {
	known, f := a.renew(false)
	if f == nil {
		return known, nil
	}
	known, err := a.await(ctx, known, f)
	a.mu.Lock()
	again := a.expired // while it was read
	a.mu.Unlock()
	if _, f := a.renew(false); err == nil && again && f != nil {
		return a.await(ctx, known, f)
	}
	return known, err
}

// await waits for a reading for as long as that makes sense.
func (a *Archive) await(ctx context.Context, known State, f *flight) (State, error) {
	most := a.waits.patience
	switch {
	case known.At.IsZero():
		most = a.waits.first
	case known.Err != nil:
		most = a.waits.impatient
	}
	t := time.NewTimer(time.Until(f.begun.Add(most)))
	defer t.Stop()
	var err error
	select {
	case <-f.done:
		err = f.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-t.C:
		err = &StatusError{Code: http.StatusServiceUnavailable, Text: "the repository is still being read", Hint: "the first time takes long where there are many snapshots or the store is slow; reload the page in a while"}
	}
	if known = a.Known(); known.At.IsZero() {
		return State{}, err
	}
	return known, nil
}

// Known returns what is known without asking anybody; At is zero where that is nothing.
func (a *Archive) Known() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known
}

// Glance returns what is known at once, and has it read anew in the background where that is old.
func (a *Archive) Glance() State {
	known, _ := a.renew(false)
	return known
}

// Expire has what is known read anew when it is asked for next, as after a backup.
func (a *Archive) Expire() {
	a.mu.Lock()
	a.expired = true
	a.mu.Unlock()
}

// renew begins to read what is known where that is old, or where it must be; the flight is nil where it counts as it is.
func (a *Archive) renew(must bool) (State, *flight) {
	a.mu.Lock()
	known, since := a.known, a.now().Sub(a.tried)
	old := known.At.IsZero() || since >= min(max(fresh, readShare*a.took), freshMost) || known.Err != nil && since >= retryWait
	old = old || a.expired || must
	a.mu.Unlock()
	if !old {
		return known, nil
	}
	return known, a.begin("state", a.refresh)
}

// begin runs fn, or finds it running.
func (a *Archive) begin(key string, fn func(context.Context) error) *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.flights[key]; f != nil {
		return f
	}
	f := &flight{begun: time.Now(), done: make(chan struct{})}
	if a.closed {
		f.err = errClosed
		close(f.done)
		return f
	}
	a.flights[key] = f
	a.work.Add(1)
	go func() {
		defer a.work.Done()
		err := fn(a.ctx)
		a.mu.Lock()
		delete(a.flights, key)
		a.mu.Unlock()
		f.err = err
		close(f.done)
	}()
	return f
}

// refresh reads which snapshots there are.
func (a *Archive) refresh(ctx context.Context) error {
	a.mu.Lock()
	a.reads++
	read, before := a.reads, a.known
	a.expired = false // what changes from now on may be missed: who expires it then is heard
	a.mu.Unlock()
	begun := time.Now()
	next, err := a.list(ctx, &before)
	var stamps map[keys.ScopeID]uint64
	if err == nil {
		stamps = stampsOf(next.Items)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tried, a.took = a.now(), time.Since(begun)
	if err != nil {
		a.known.Err = err
		return err
	}
	next.At = a.tried
	a.note(&before, &next)
	a.known, a.stamps, a.read = next, stamps, read
	return nil
}

// note remembers which snapshots are not there any more, the latest of them. a.mu is held.
func (a *Archive) note(before, next *State) {
	for i := range before.Items {
		if id := before.Items[i].ID; !next.has(id) {
			a.gone[id] = next.At
		}
	}
	for id := range a.gone {
		if len(a.gone) <= maxGone && !next.has(id) {
			continue
		}
		delete(a.gone, id)
	}
}

// list reads what there is, and takes over from before what has not changed.
func (a *Archive) list(ctx context.Context, before *State) (State, error) {
	l, err := a.hold(ctx)
	if err != nil {
		return State{}, err
	}
	defer a.release(l)
	ids, err := l.opened.Repo.Scopes(ctx)
	if err != nil {
		return State{}, a.failed(l, err)
	}
	found := make([]*repo.ScopeState, len(ids))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(loads)
	for i, id := range ids {
		g.Go(func() (err error) {
			found[i], err = l.opened.Repo.LoadAgain(gctx, id, false, before.Find)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return State{}, a.failed(l, err)
	}
	next := State{Reads: l.opened.Reads}
	for _, scope := range found {
		next.Items = append(next.Items, scope.Items...)
		next.Damaged = append(next.Damaged, scope.Damaged...)
	}
	if len(next.Items) < len(before.Items) { // a folder that is empty since its disk went away is no repository without snapshots
		if _, err := repo.ReadHeader(ctx, l.opened.Store); err != nil {
			return State{}, a.failed(l, err)
		}
	}
	next.share(before)
	next.arrange()
	return next, nil
}

// failed has the repository opened anew by the next one who asks where an error is of a kind that does not pass by itself: a folder that was mounted again is another folder.
func (a *Archive) failed(l *live, err error) error {
	if !store.IsTemporary(err) {
		a.mu.Lock()
		shut := a.live == l && a.leave()
		a.mu.Unlock()
		if shut {
			l.shut(a)
		}
	}
	return err
}

// hold returns the open repository, which stays open until release.
func (a *Archive) hold(ctx context.Context) (*live, error) {
	for {
		a.mu.Lock()
		if l := a.live; l != nil {
			l.users++
			a.mu.Unlock()
			return l, nil
		}
		a.mu.Unlock()
		if err := a.begin("open", a.open).wait(ctx); err != nil {
			return nil, err
		}
	}
}

// release lets go of it. Whoever is the last one of a repository that was left shuts it.
func (a *Archive) release(l *live) {
	a.mu.Lock()
	l.users--
	shut := l.users == 0 && l.left
	if a.live == l {
		a.timer.Reset(a.waits.idle)
	}
	a.mu.Unlock()
	if shut {
		l.shut(a)
	}
}

// open opens the repository.
func (a *Archive) open(ctx context.Context) error {
	a.mu.Lock()
	there := a.live != nil
	a.mu.Unlock()
	if there { // since the caller has looked
		return nil
	}
	o, err := a.place.Open(ctx)
	if err != nil {
		return err
	}
	l := &live{opened: o, scopes: map[keys.ScopeID]*indexed{}, views: map[snapshot.ID]*slot{}}
	l.ctx, l.cancel = context.WithCancel(a.ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		l.cancel()
		o.Close()
		return errClosed
	}
	a.reads++
	l.number = a.reads
	a.live = l
	a.work.Add(1) // until it is shut
	if a.timer == nil {
		a.timer = time.AfterFunc(a.waits.idle, a.rest)
	}
	a.timer.Reset(a.waits.idle)
	return nil
}

// leave parts with the open repository, and reports whether the caller has to shut it, since nobody uses it. a.mu is held.
func (a *Archive) leave() bool {
	l := a.live
	a.live = nil
	l.left = true
	return l.users == 0
}

// rest closes what nobody has asked for in a while. While somebody uses it the timer is set again by release.
func (a *Archive) rest() {
	a.mu.Lock()
	l := a.live
	shut := l != nil && l.users == 0 && a.leave()
	a.mu.Unlock()
	if shut {
		l.shut(a)
	}
}

// shut closes a repository that was left and that nobody uses.
func (l *live) shut(a *Archive) {
	l.cancel()
	for _, s := range l.views {
		s.view.Close()
	}
	l.opened.Close()
	a.work.Done()
}

// close ends all flights, and returns when the last user is gone.
func (a *Archive) close() {
	a.mu.Lock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
	l := a.live
	shut := l != nil && a.leave()
	a.mu.Unlock()
	a.cancel()
	if shut {
		l.shut(a)
	}
	a.work.Wait()
}

// Use calls fn with the open repository, which stays open until it returns.
func (a *Archive) Use(ctx context.Context, fn func(*Opened) error) error {
	l, err := a.hold(ctx)
	if err != nil {
		return err
	}
	defer a.release(l)
	return fn(l.opened)
}

// Scope calls fn with a scope and its index, as new as what is known. Where fn fails since something is missing in the store, the next call reads them anew.
func (a *Archive) Scope(ctx context.Context, id keys.ScopeID, fn func(*Opened, *repo.ScopeState) error) error {
	l, err := a.hold(ctx)
	if err != nil {
		return err
	}
	defer a.release(l)
	scope, err := a.scope(ctx, l, id, func(s *indexed) bool { return s.stamp == a.stamps[id] })
	if err != nil {
		return err
	}
	err = fn(l.opened, scope)
	if Missing(err) {
		a.mu.Lock()
		if s := l.scopes[id]; s != nil && s.state == scope {
			delete(l.scopes, id)
		}
		a.expired = true
		a.mu.Unlock()
	}
	return err
}

// scope returns a scope with its index. One that was read before what is known was, and that good refuses, is read anew; good is called with a.mu held. The caller holds l.
func (a *Archive) scope(ctx context.Context, l *live, id keys.ScopeID, good func(*indexed) bool) (*repo.ScopeState, error) {
	for {
		a.mu.Lock()
		s := l.scopes[id]
		if s != nil && (s.read > a.read || good(s)) {
			l.clock++
			s.used = l.clock
			a.mu.Unlock()
			return s.state, nil
		}
		a.mu.Unlock()
		key := "scope " + strconv.Itoa(l.number) + " " + id.String()
		if err := a.begin(key, func(ctx context.Context) error { return a.load(ctx, l, id) }).wait(ctx); err != nil {
			return nil, err
		}
	}
}

// load reads a scope with its index.
func (a *Archive) load(ctx context.Context, l *live, id keys.ScopeID) error {
	a.mu.Lock()
	a.reads++
	read, known := a.reads, a.known
	l.users++ // who asked may leave before
	a.mu.Unlock()
	defer a.release(l)
	state, err := l.opened.Repo.LoadAgain(ctx, id, true, known.Find)
	if err != nil {
		return a.failed(l, err)
	}
	own := State{Items: state.Items}
	own.share(&known)
	stamp := stampsOf(state.Items)[id]
	a.mu.Lock()
	defer a.mu.Unlock()
	l.clock++
	l.scopes[id] = &indexed{state: state, stamp: stamp, read: read, used: l.clock}
	for len(l.scopes) > maxIndexes {
		oldest := id
		for k, s := range l.scopes {
			if s.used < l.scopes[oldest].used {
				oldest = k
			}
		}
		delete(l.scopes, oldest)
	}
	return nil
}

// Item returns the snapshot of an id. It fails with snapshot.ErrNone, or with a *StatusError where the snapshot was there and is not any more.
func (a *Archive) Item(ctx context.Context, id snapshot.ID) (snapshot.Item, error) {
	st, err := a.State(ctx)
	if err != nil {
		return snapshot.Item{}, err
	}
	it, ok := st.Find(id)
	if ok {
		return it, nil
	}
	if a.now().Sub(st.At) >= missWait {
		if _, f := a.renew(true); f.wait(ctx) == nil {
			st = a.Known()
		}
		if it, ok = st.Find(id); ok {
			return it, nil
		}
	}
	return snapshot.Item{}, a.none(id)
}

// none is why there is no snapshot with an id.
func (a *Archive) none(id snapshot.ID) error {
	a.mu.Lock()
	_, gone := a.gone[id]
	a.mu.Unlock()
	if gone {
		return &StatusError{Code: http.StatusGone, Text: fmt.Sprintf("snapshot %v is not there any more", id), Hint: "it was removed since, as by a prune; choose another one from the list of snapshots"}
	}
	return fmt.Errorf("snapshot %v: %w", id, snapshot.ErrNone)
}

// errBlind tells that the key at hand opens the list of snapshots and no more.
func errBlind() error {
	return &StatusError{Code: http.StatusForbidden, Text: "this key cannot read: it is that of a host, which may only write", Hint: "start the pages with a passphrase or an identity file that opens the repository"}
}

// View calls fn with a snapshot open for reading. Where fn fails since something is missing in the store, what is known is read anew, and the error is that of Item if the snapshot is gone. Otherwise the index was old, as after a prune: another call
// reads a new one.
func (a *Archive) View(ctx context.Context, id snapshot.ID, fn func(*browse.View) error) error {
	it, err := a.Item(ctx, id)
	if err != nil {
		return err
	}
	l, err := a.hold(ctx)
	if err != nil {
		return err
	}
	defer a.release(l)
	if !l.opened.Reads {
		return errBlind()
	}
	s, err := a.view(ctx, l, it)
	if err == nil {
		err = fn(s.view)
		a.put(l, s)
	}
	if err != nil && Missing(err) {
		return a.missing(ctx, l, it, err)
	}
	return err
}

// Missing reports whether an error is of the kind that View looks into.
func Missing(err error) bool {
	return errors.Is(err, repo.ErrUnknownChunk) || errors.Is(err, store.ErrNotExist)
}

// missing finds out whether a snapshot is gone, and drops what was read of it.
func (a *Archive) missing(ctx context.Context, l *live, it snapshot.Item, cause error) error {
	a.mu.Lock()
	if s := l.views[it.ID]; s != nil {
		a.drop(l, it.ID, s)
	}
	delete(l.scopes, it.Scope)
	a.mu.Unlock()
	_, f := a.renew(true)
	if err := f.wait(ctx); err != nil {
		return cause
	}
	if st := a.Known(); !st.has(it.ID) {
		return a.none(it.ID)
	}
	return cause
}

// view finds a view, or makes one; put gives it back. The caller holds l.
func (a *Archive) view(ctx context.Context, l *live, it snapshot.Item) (*slot, error) {
	for {
		a.mu.Lock()
		if s := l.views[it.ID]; s != nil {
			l.clock++
			s.used = l.clock
			s.users++
			a.mu.Unlock()
			return s, nil
		}
		a.mu.Unlock()
		key := "view " + strconv.Itoa(l.number) + " " + it.ID.String()
		if err := a.begin(key, func(ctx context.Context) error { return a.openView(ctx, l, it) }).wait(ctx); err != nil {
			return nil, err
		}
	}
}

// openView opens a snapshot in the place of the one that was not used for longest.
func (a *Archive) openView(ctx context.Context, l *live, it snapshot.Item) error {
	a.mu.Lock()
	l.users++
	there := l.views[it.ID] != nil
	a.mu.Unlock()
	defer a.release(l)
	if there { // since the caller has looked
		return nil
	}
	scope, err := a.scope(ctx, l, it.Scope, func(s *indexed) bool { return holds(s.state, it.ID) })
	if err != nil {
		return err
	}
	v, err := browse.Open(l.ctx, l.opened.Repo, scope, it.Snapshot)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	l.clock++
	l.views[it.ID] = &slot{view: v, used: l.clock}
	for len(l.views) > maxViews {
		oldest := it.ID
		for id, s := range l.views {
			if s.used < l.views[oldest].used {
				oldest = id
			}
		}
		a.drop(l, oldest, l.views[oldest])
	}
	return nil
}

func holds(scope *repo.ScopeState, id snapshot.ID) bool {
	for i := range scope.Items {
		if scope.Items[i].ID == id {
			return true
		}
	}
	return false
}

// drop takes a view out; it is closed when nobody uses it. a.mu is held.
func (a *Archive) drop(l *live, id snapshot.ID, s *slot) {
	delete(l.views, id)
	s.out = true
	if s.users == 0 {
		a.end(l, s)
	}
}

// put gives a view back.
func (a *Archive) put(l *live, s *slot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.users--
	if s.users == 0 && s.out {
		a.end(l, s)
	}
}

// end closes a view in the background, since it waits for what is read ahead; the repository stays open for so long. a.mu is held, by a user of l.
func (a *Archive) end(l *live, s *slot) {
	l.users++
	a.work.Add(1)
	go func() {
		defer a.work.Done()
		s.view.Close()
		a.release(l)
	}()
}
