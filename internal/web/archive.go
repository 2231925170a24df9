package web

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"firn/internal/browse"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// How long what was read of a repository counts, and how long one stays open that nobody asks for.
const (
	fresh    = 30 * time.Second
	idle     = 5 * time.Minute
	maxViews = 8 // snapshots open at once
)

// Archive is a repository as pages see it: opened when somebody asks, read anew when what is known is old, closed when nobody asks for long. Where it cannot be reached, what was last known stays, with the error beside it.
type Archive struct {
	place *Place
	now   func() time.Time

	mu      sync.Mutex // guards all below; held while the repository is opened and read
	live    *live
	known   State
	timer   *time.Timer
	closing bool
}

// live is an open repository. It is closed when the last user has left.
type live struct {
	opened *Opened
	ctx    context.Context // ends with it: views hang on it
	cancel context.CancelFunc
	scopes map[keys.ScopeID]*repo.ScopeState
	whole  map[keys.ScopeID]bool
	views  map[snapshot.ID]*list.Element
	order  *list.List // of *browse.View, newest first
	users  sync.WaitGroup
}

// State is what is known of a repository.
type State struct {
	Items   []snapshot.Item // of all scopes that the keys open; not to be changed
	Damaged []error
	At      time.Time // when it was read; zero: never
	Err     error     // why it could not be read again since; nil: it could
	Reads   bool      // as Opened.Reads
}

func newArchive(p *Place, now func() time.Time) *Archive { return &Archive{place: p, now: now} }

// Place returns which repository it is.
func (a *Archive) Place() *Place { return a.place }

// State returns what is known, read anew where that is older than half a minute. It fails only where nothing is known; else Err says what went wrong.
func (a *Archive) State(ctx context.Context) (State, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known.At.IsZero() || a.now().Sub(a.known.At) >= fresh {
		if err := a.refresh(ctx); err != nil {
			if a.known.At.IsZero() {
				return State{}, err
			}
			a.known.Err = err
		}
	}
	return a.known, nil
}

// Known returns what is known without asking anybody; At is zero where that is nothing.
func (a *Archive) Known() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known
}

// refresh reads which snapshots there are. a.mu is held.
func (a *Archive) refresh(ctx context.Context) error {
	l, err := a.open(ctx)
	if err != nil {
		return err
	}
	ids, err := l.opened.Repo.Scopes(ctx)
	if err != nil {
		return err
	}
	next := State{Reads: l.opened.Reads}
	for _, id := range ids {
		scope, err := l.opened.Repo.Load(ctx, id, false)
		if err != nil {
			return err
		}
		if old := l.scopes[id]; old == nil || !l.whole[id] {
			l.scopes[id] = scope
		}
		next.Items = append(next.Items, scope.Items...)
		next.Damaged = append(next.Damaged, scope.Damaged...)
	}
	next.At = a.now()
	a.known = next
	return nil
}

// open opens the repository where it is not, and puts its closing off. a.mu is held.
func (a *Archive) open(ctx context.Context) (*live, error) {
	if a.closing {
		return nil, errors.New("the pages are being closed")
	}
	if a.live == nil {
		o, err := a.place.Open(ctx)
		if err != nil {
			return nil, err
		}
		l := &live{opened: o, scopes: map[keys.ScopeID]*repo.ScopeState{}, whole: map[keys.ScopeID]bool{}, views: map[snapshot.ID]*list.Element{}, order: list.New()}
		l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
		a.live = l
	}
	if a.timer == nil {
		a.timer = time.AfterFunc(idle, a.rest)
	}
	a.timer.Reset(idle)
	return a.live, nil
}

// rest closes what nobody has asked for, in a while.
func (a *Archive) rest() {
	a.mu.Lock()
	l := a.live
	a.live = nil
	a.mu.Unlock()
	l.end()
}

func (l *live) end() {
	if l == nil {
		return
	}
	l.users.Wait()
	l.cancel()
	l.opened.Close()
}

func (a *Archive) close() {
	a.mu.Lock()
	a.closing = true
	if a.timer != nil {
		a.timer.Stop()
	}
	l := a.live
	a.live = nil
	a.mu.Unlock()
	l.end()
}

// Use calls fn with the open repository, which stays open until it returns.
func (a *Archive) Use(ctx context.Context, fn func(*Opened) error) error {
	a.mu.Lock()
	l, err := a.open(ctx)
	if err == nil {
		l.users.Add(1)
	}
	a.mu.Unlock()
	if err != nil {
		return err
	}
	defer l.users.Done()
	return fn(l.opened)
}

// Scope returns a scope with its index, for the time that fn takes.
func (a *Archive) Scope(ctx context.Context, id keys.ScopeID, fn func(*Opened, *repo.ScopeState) error) error {
	a.mu.Lock()
	l, err := a.open(ctx)
	var scope *repo.ScopeState
	if err == nil {
		if scope, err = l.scope(ctx, id); err == nil {
			l.users.Add(1)
		}
	}
	a.mu.Unlock()
	if err != nil {
		return err
	}
	defer l.users.Done()
	return fn(l.opened, scope)
}

// scope loads a scope with its index. The mutex of the archive is held.
func (l *live) scope(ctx context.Context, id keys.ScopeID) (*repo.ScopeState, error) {
	if !l.whole[id] {
		scope, err := l.opened.Repo.Load(ctx, id, true)
		if err != nil {
			return nil, err
		}
		l.scopes[id], l.whole[id] = scope, true
	}
	return l.scopes[id], nil
}

// Item returns the snapshot of an id.
func (a *Archive) Item(ctx context.Context, id snapshot.ID) (snapshot.Item, error) {
	st, err := a.State(ctx)
	if err != nil {
		return snapshot.Item{}, err
	}
	for _, it := range st.Items {
		if it.ID == id {
			return it, nil
		}
	}
	return snapshot.Item{}, fmt.Errorf("snapshot %v: %w", id, snapshot.ErrNone)
}

// View calls fn with a snapshot open for reading.
func (a *Archive) View(ctx context.Context, id snapshot.ID, fn func(*browse.View) error) error {
	it, err := a.Item(ctx, id)
	if err != nil {
		return err
	}
	a.mu.Lock()
	l, err := a.open(ctx)
	var v *browse.View
	if err == nil {
		if v, err = l.view(ctx, it); err == nil {
			l.users.Add(1)
		}
	}
	a.mu.Unlock()
	if err != nil {
		return err
	}
	defer l.users.Done()
	return fn(v)
}

// view finds a view, or makes one in the place of the one that was not used for longest. The mutex of the archive is held.
func (l *live) view(ctx context.Context, it snapshot.Item) (*browse.View, error) {
	if e := l.views[it.ID]; e != nil {
		l.order.MoveToFront(e)
		return e.Value.(*browse.View), nil
	}
	scope, err := l.scope(ctx, it.Scope)
	if err != nil {
		return nil, err
	}
	v, err := browse.Open(l.ctx, l.opened.Repo, scope, it.Snapshot)
	if err != nil {
		return nil, err
	}
	l.views[it.ID] = l.order.PushFront(v)
	if l.order.Len() > maxViews {
		last := l.order.Back()
		delete(l.views, last.Value.(*browse.View).Snapshot.ID)
		l.order.Remove(last)
	}
	return v, nil
}
