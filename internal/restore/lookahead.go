package restore

import (
	"context"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/manifest"
)

const (
	aheadEntries = 512 // of the manifest that one goroutine looks up at a time
	aheadBatches = 8   // that wait for the walk
)

// lookahead goes through the manifest before the walk and has several goroutines look up where content lies.
type lookahead struct {
	ctx context.Context
	set *index.Set
	cur *entries

	idle, work, order chan *entries
}

// entries is a stretch of the manifest. Its memory is used again.
type entries struct {
	list   []manifest.Entry
	chosen []bool
	text   []byte
	pieces []manifest.Piece
	places map[digest.Chunk][]index.Location
	err    error
	ready  chan struct{}
}

// walkAhead calls fn as choice.walk does; sel knows by then where the content of files in few pieces lies.
func (c *choice) walkAhead(ctx context.Context, sel *selection, fn func(e *manifest.Entry, chosen bool) error) error {
	defer func() { sel.places = nil }()
	g, ctx := errgroup.WithContext(ctx)
	a := &lookahead{ctx: ctx, set: sel.set, idle: make(chan *entries, aheadBatches), work: make(chan *entries), order: make(chan *entries, aheadBatches)}
	for range aheadBatches {
		a.idle <- &entries{places: map[digest.Chunk][]index.Location{}, ready: make(chan struct{}, 1)}
	}
	g.Go(func() error {
		defer close(a.work)
		defer close(a.order)
		err := a.next()
		if err == nil {
			err = c.walk(a.add)
		}
		if err != nil {
			return err
		}
		return a.send()
	})
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for b := range a.work {
				b.lookUp(a.set)
				b.ready <- struct{}{}
			}
			return nil
		})
	}
	g.Go(func() error {
		for b := range a.order {
			select {
			case <-b.ready:
			case <-ctx.Done():
				return ctx.Err()
			}
			if b.err != nil {
				return b.err
			}
			sel.places = b.places
			for i := range b.list {
				if err := fn(&b.list[i], b.chosen[i]); err != nil {
					return err
				}
			}
			a.idle <- b
		}
		return nil
	})
	return g.Wait()
}

// next gets an empty stretch.
func (a *lookahead) next() error {
	select {
	case b := <-a.idle:
		b.list, b.chosen, b.text, b.pieces = b.list[:0], b.chosen[:0], b.text[:0], b.pieces[:0]
		clear(b.places)
		a.cur = b
		return nil
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

func (a *lookahead) send() error {
	for _, to := range []chan *entries{a.order, a.work} {
		select {
		case to <- a.cur:
		case <-a.ctx.Done():
			return a.ctx.Err()
		}
	}
	return nil
}

func (a *lookahead) add(e *manifest.Entry, chosen bool) error {
	a.cur.add(e, chosen)
	if len(a.cur.list) < aheadEntries {
		return nil
	}
	if err := a.send(); err != nil {
		return err
	}
	return a.next()
}

// add copies an entry.
func (b *entries) add(e *manifest.Entry, chosen bool) {
	b.list, b.chosen = append(b.list, *e), append(b.chosen, chosen)
	c := &b.list[len(b.list)-1]
	c.Path, c.Hardlink, c.Target = b.keep(e.Path), b.keep(e.Hardlink), b.keep(e.Target)
	from := len(b.pieces)
	b.pieces = append(b.pieces, e.Content...)
	c.Content = b.pieces[from:len(b.pieces):len(b.pieces)]
	if len(e.Xattrs) > 0 {
		c.Xattrs = slices.Clone(e.Xattrs)
		for i := range c.Xattrs {
			c.Xattrs[i].Value = b.keep(c.Xattrs[i].Value)
		}
	}
}

// keep copies a text. What was copied before stays where it is when the memory grows.
func (b *entries) keep(text []byte) []byte {
	from := len(b.text)
	b.text = append(b.text, text...)
	return b.text[from:len(b.text):len(b.text)]
}

func (b *entries) lookUp(set *index.Set) {
	b.err = nil
	for i := range b.pieces {
		id := b.pieces[i].Chunk
		if _, ok := b.places[id]; ok || id.IsZero() {
			continue
		}
		all, err := set.All(id)
		if err != nil {
			b.err = err
			return
		}
		b.places[id] = all
	}
}
