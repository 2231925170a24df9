// Package replay brings streams back: those that a snapshot has, and those of the chain that it needs, into what takes them, in their order.
//
//	lineages → manifests of the chain → links → Taker.Missing → each link: pieces → windows → workers: fetch by pack, verify → in order → Taker.Take
//
// A stream is read ahead in windows of 4 MiB of content. Several workers fetch and verify one window each, so that who reads never waits for one request after another; what windows that
// follow one another share is fetched once. A window's memory is used again when it is read. So memory is bounded, at a few windows more than there are workers, however long a stream is.
//
// What cannot be verified does not reach the taker: Read fails, and the taker, whose contract says so, gives up what it was making. Then nothing that builds upon
// it is replayed either; other streams of the snapshot are.
//
// # Cold classes
//
// A stream is read from its start to its end, while copies come in any order and go again. Plan says in which order the packs are needed first, and Thaw feeds the streams from what a thaw
// job says can be read. A link is begun when all its packs are there or, where they are more than can be asked for at a time, when all that was asked for is there; then it waits in the middle until more
// comes, and the job asks for more as soon as packs are left behind. A link that was cut off is begun anew: nothing tells how much of it a taker has. So packs count as
// fetched, and need not be thawed again, only when the last link is whole that needs them.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"firn/internal/event"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/store"
)

// Errors that a caller may want to tell apart.
var (
	ErrNotThere = errors.New("not in the snapshot")
	ErrNoStream = errors.New("not a stream")
	ErrNothing  = errors.New("the snapshot has no streams")
)

// Options say which streams are meant.
type Options struct {
	Repo  *repo.Repository
	Scope *repo.ScopeState // loaded with its index
	Items []snapshot.Item  // among which the chain is looked for
	Item  snapshot.Item

	// Path chooses one stream, as in the manifest, without what it builds upon; or one thing that the snapshot has a state of, such as a dataset among several, with its chain. Empty: all, with their chains.
	Path []byte

	Workers int        // goroutines that fetch and verify; 0: chosen by the number of cores
	Report  event.Func // Progress with Phase "restore", Note
}

// Streams are the streams that lead to a snapshot.
type Streams struct {
	o       Options
	links   []*link
	byKey   map[string]*link
	outside []snapshot.Point
	fed     progress
}

// link is one stream, and where its content lies.
type link struct {
	source.Link
	item  snapshot.Item
	src   manifest.Source
	entry manifest.Entry
	after *link // that it builds upon; nil: nothing, or what lies outside

	// While it is replayed.
	number int // among those that are missing
	gate   *gate
	failed error // of its content
}

// LinkError tells that a stream could not be brought back whole.
type LinkError struct {
	Path     string      // of the stream
	Snapshot snapshot.ID // that has it
	Point    source.Point
	Lost     bool // its content is damaged or missing; false: it could not be taken, or read for now
	// Until is the link before, up to which all is in the target, or can be; nil: there is none.
	Until *source.Link
	// UntilSnapshot is the snapshot of Until; zero: there is none.
	UntilSnapshot snapshot.ID
	Err           error
}

func (e *LinkError) Error() string {
	return fmt.Sprintf("stream %q of snapshot %v: %v", e.Path, e.Snapshot, e.Err)
}

// Unwrap returns the reason.
func (e *LinkError) Unwrap() error { return e.Err }

// OutsideError tells that streams start from states that were stored by another tool and that the target does not have.
type OutsideError struct {
	Points []snapshot.Point
	Err    error // of the taker
}

func (e *OutsideError) Error() string {
	p := &e.Points[0]
	text := fmt.Sprintf("the chain starts from %q of %q, which was stored by another tool", p.At, p.Of)
	if n := len(e.Points) - 1; n > 0 {
		text += fmt.Sprintf(", as were %d others", n)
	}
	return fmt.Sprintf("%s: %v", text, e.Err)
}

// Unwrap returns what the taker said.
func (e *OutsideError) Unwrap() error { return e.Err }

// Result is what was replayed. Sizes are bytes.
type Result struct {
	Links    int64 `json:"links"`  // replayed
	Had      int64 `json:"had"`    // that the target had already
	Failed   int64 `json:"failed"` // whose content is lost, and those that build upon them
	Bytes    int64 `json:"bytes"`  // of the streams that were replayed
	BytesGot int64 `json:"bytes_got"`
	Requests int64 `json:"requests"`

	Taken []source.Link `json:"-"` // in their order
	Lost  []*LinkError  `json:"-"`
}

// Links returns all streams in the order in which they are replayed: those of older snapshots first, then by path. They can be opened as they are, as long as the context of Open lives.
func (s *Streams) Links() []source.Link { return sourceLinks(s.links) }

// SnapshotOf returns the snapshot that has a link.
func (s *Streams) SnapshotOf(l source.Link) snapshot.Item {
	if own := s.byKey[keyOf(&l)]; own != nil {
		return own.item
	}
	return snapshot.Item{}
}

// Outside returns the states that streams start from and that lie elsewhere.
func (s *Streams) Outside() []snapshot.Point { return s.outside }

func sourceLinks(links []*link) []source.Link {
	out := make([]source.Link, len(links))
	for i, l := range links {
		out[i] = l.Link
	}
	return out
}

// Missing asks a taker what its target needs. It fails as the taker does, with *OutsideError around that where something has to be there that lies elsewhere.
func (s *Streams) Missing(ctx context.Context, t source.Taker) ([]source.Link, error) {
	if len(s.links) == 0 {
		return nil, ErrNothing
	}
	missing, err := t.Missing(ctx, s.Links())
	var unfit *source.TargetError
	if len(s.outside) > 0 && errors.As(err, &unfit) && !unfit.Exists {
		return nil, &OutsideError{s.outside, err}
	}
	if err != nil {
		return nil, err
	}
	_, err = s.own(missing)
	return missing, err
}

// own finds the links that a taker has named.
func (s *Streams) own(list []source.Link) ([]*link, error) {
	out := make([]*link, len(list))
	seen := make(map[*link]bool, len(list))
	for i := range list {
		out[i] = s.byKey[keyOf(&list[i])]
		if out[i] == nil || seen[out[i]] {
			return nil, fmt.Errorf("stream %q is wanted that was not offered, or twice", list[i].Path)
		}
		seen[out[i]] = true
		out[i].number = i
	}
	return out, nil
}

// Run replays what is missing, in that order. Streams whose content is lost, and what builds upon them, are in the result and reported as event.Problem; they are no error.
// When ctx ends, or the taker fails, Run returns what it did so far with a *LinkError.
func (s *Streams) Run(ctx context.Context, t source.Taker, missing []source.Link) (*Result, error) {
	links, err := s.own(missing)
	if err != nil {
		return &Result{}, err
	}
	s.begin(links)
	stop := s.reportProgress()
	defer stop()
	r := s.result(links)
	for _, l := range links {
		if err := s.take(ctx, t, l, r); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (s *Streams) result(links []*link) *Result {
	return &Result{Had: int64(len(s.links) - len(links))}
}

// take replays one link.
func (s *Streams) take(ctx context.Context, t source.Taker, l *link, r *Result) error {
	if l.after != nil && l.after.failed != nil {
		l.failed = errBuilds
		s.lose(l, r)
		return nil
	}
	s.fed.current(l.Path)
	err := t.Take(ctx, l.Link)
	r.BytesGot, r.Requests = s.fed.got.Load(), s.fed.requests.Load()
	switch {
	case err == nil && l.failed == nil:
		r.Links++
		r.Bytes += l.Size
		r.Taken = append(r.Taken, l.Link)
		s.fed.links.Add(1)
		return nil
	case l.failed != nil && isLost(l.failed) && ctx.Err() == nil:
		s.lose(l, r)
		return nil
	case err == nil:
		err = l.failed
	}
	return l.error(err, false)
}

var errBuilds = errors.New("it builds upon a stream that is damaged")

// lose notes that a stream is lost.
func (s *Streams) lose(l *link, r *Result) {
	e := l.error(l.failed, true)
	r.Failed++
	r.Lost = append(r.Lost, e)
	s.o.Report.Emit(event.Problem{Path: l.Path, Err: fmt.Errorf("of snapshot %x: %w", l.item.ID[:4], l.failed)})
}

func (l *link) error(err error, lost bool) *LinkError {
	e := &LinkError{Path: l.Path, Snapshot: l.item.ID, Point: l.Point, Lost: lost, Err: err}
	for at := l.after; at != nil; at = at.after {
		if at.failed == nil {
			e.Until, e.UntilSnapshot = &at.Link, at.item.ID
			break
		}
	}
	return e
}

// isLost reports whether content cannot be had by trying again.
func isLost(err error) bool {
	if errors.Is(err, store.ErrCold) {
		return false
	}
	var damage *repo.DamageError
	var corrupt *manifest.CorruptError
	return errors.As(err, &damage) || errors.As(err, &corrupt) || errors.Is(err, repo.ErrUnknownChunk) || errors.Is(err, errBuilds)
}

func (o *Options) workers() int {
	if o.Workers > 0 {
		return o.Workers
	}
	return min(max(runtime.GOMAXPROCS(0), 4), 6)
}

// open is Link.Open.
func (s *Streams) open(ctx context.Context, l *link) (io.ReadCloser, error) {
	r, err := s.newReader(ctx, l)
	if err != nil {
		return nil, err
	}
	return r, nil
}
