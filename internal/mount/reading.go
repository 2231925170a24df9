package mount

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"firn/internal/digest"
	"firn/internal/manifest"
)

// How content is fetched ahead, in bytes.
const (
	maxAhead = 12 << 20
	nearby   = 1 << 20 // that a read may be off and still count as going on: the kernel asks for several stretches at once
	patient  = 2       // reads that go on before anything is fetched ahead
)

// errRange tells of a seek past the end.
var errRange = errors.New("past the end")

// open is an open regular file. Its methods may be called by several goroutines at once.
type open struct {
	f    *FS
	v    *volume
	node node
	e    *manifest.Entry
	data *lateSource

	mu     sync.Mutex
	stop   stopper // of whoever reads the list of pieces
	pieces *manifest.Pieces
	piece  manifest.Piece // at hand
	at     int64          // where it begins
	have   bool
	lead   *manifest.Pieces // runs ahead
	leadAt int64
	next   int64 // where a reader that goes on would read
	run    int   // reads that went on
	counts bool  // among FS.readers
}

func (v *volume) open(f *FS, n node, e *manifest.Entry, data *lateSource) *open {
	return &open{f: f, v: v, node: n, e: e, data: data}
}

// stretch is a part of a read.
type stretch struct {
	id       digest.Chunk // zero: a hole
	from, to int64        // in the chunk, or of the hole
}

// readAt fills b from an offset on, and returns how much that was: less than len(b) at the end of the file only.
func (o *open) readAt(stop stopper, b []byte, off int64) (int, error) {
	list, ids, err := o.plan(stop, off, int64(len(b)))
	if err != nil {
		return 0, err
	}
	if len(ids) > 0 {
		o.data.ahead(ids)
	}
	n := 0
	for _, s := range list {
		size := int(s.to - s.from)
		if s.id.IsZero() {
			clear(b[n : n+size])
			n += size
			continue
		}
		raw, err := o.data.get(stop, s.id)
		if err != nil {
			return 0, err
		}
		if s.to > int64(len(raw)) {
			return 0, &manifest.CorruptError{Chunk: s.id, Err: fmt.Errorf("chunk of %d bytes, %d are asked of it", len(raw), s.to)}
		}
		n += copy(b[n:], raw[s.from:s.to])
	}
	return n, nil
}

// plan finds the pieces of a read, and the chunks that are to be fetched because it goes on.
func (o *open) plan(stop stopper, off, n int64) (list []stretch, ids []digest.Chunk, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stop = stop
	defer func() { o.stop = nil }()
	end := min(off+n, o.e.Size)
	for at := off; at < end; {
		if err := o.toOffset(at); err != nil {
			return nil, nil, err
		}
		from, to := at-o.at, min(end-o.at, o.piece.Length)
		s := stretch{from: from, to: to}
		if !o.piece.IsHole() {
			s = stretch{o.piece.Chunk, from + int64(o.piece.Offset), to + int64(o.piece.Offset)}
		}
		list = append(list, s)
		at = o.at + to
	}
	return list, o.goesOn(off, end), nil
}

// toOffset makes the piece that has a byte the one at hand. Whatever fails is tried anew.
func (o *open) toOffset(at int64) error {
	if o.have && at >= o.at && at < o.at+o.piece.Length {
		return nil
	}
	if o.pieces == nil {
		o.pieces = manifest.NewPieces(o.v.source(&o.stop), o.e)
	}
	if !o.have || at != o.at+o.piece.Length {
		o.pieces.SeekTo(at)
	}
	if o.have = o.pieces.Next(); !o.have {
		err := o.pieces.Err()
		if o.pieces = nil; err == nil {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	o.piece, o.at = o.pieces.Piece(), o.pieces.Offset()
	return nil
}

// goesOn notes a read, and returns the chunks that come soon if it goes on where others ended.
func (o *open) goesOn(off, end int64) []digest.Chunk {
	if distance(off, o.next) > nearby {
		o.run, o.lead = 0, nil
	} else {
		o.run++
	}
	o.next = max(end, off)
	if o.run >= patient && !o.counts {
		o.counts = true
		o.f.readers.Add(1)
	}
	window := o.f.window()
	if o.run < patient || end >= o.e.Size || o.leadAt > end+window/2 && o.lead != nil {
		return nil
	}
	if o.lead == nil {
		o.lead, o.leadAt = manifest.NewPieces(o.v.source(&o.stop), o.e), end
		o.lead.SeekTo(end)
	}
	var ids []digest.Chunk
	for o.leadAt < end+window && o.lead.Next() {
		p := o.lead.Piece()
		o.leadAt = o.lead.Offset() + p.Length
		if n := len(ids); !p.IsHole() && (n == 0 || ids[n-1] != p.Chunk) {
			ids = append(ids, p.Chunk)
		}
	}
	if o.lead.Err() != nil {
		o.lead = nil
	}
	return ids
}

// close ends the use of an open file.
func (o *open) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts {
		o.counts = false
		o.f.readers.Add(-1)
	}
}

// window is how far ahead each of those who read now may fetch.
func (f *FS) window() int64 {
	return min(maxAhead, f.o.Cache/2/max(int64(f.readers.Load()), 1))
}

// seek returns the first byte at or after an offset that is data, or in a hole; the end of the file counts as one.
func (o *open) seek(stop stopper, off int64, hole bool) (int64, error) {
	if off < 0 || off >= o.e.Size {
		return 0, errRange
	}
	p := manifest.NewPieces(o.v.source(&stop), o.e)
	for p.SeekTo(off); p.Next(); {
		if p.Piece().IsHole() == hole {
			return max(off, p.Offset()), nil
		}
	}
	if err := p.Err(); err != nil {
		return 0, err
	}
	if hole {
		return o.e.Size, nil
	}
	return 0, errRange
}

// thawed makes sure that the first chunk of a file that perhaps lies in a cold class can be read, so that who opens it hears at once. Nothing is asked of files in the class of what is hot.
func (o *open) thawed(stop stopper) error {
	id, err := o.firstChunk(stop)
	if err != nil || id.IsZero() {
		return nil // who reads hears of it
	}
	cold := false
	err = o.f.patiently(stop, func() error {
		cold = o.mayBeCold(id)
		return nil
	})
	if err != nil || !cold {
		return err
	}
	_, err = o.data.get(stop, id)
	if kindOf(err) == isCold {
		return err
	}
	return nil
}

func (o *open) firstChunk(stop stopper) (digest.Chunk, error) {
	p := manifest.NewPieces(o.v.source(&stop), o.e)
	for p.Next() {
		if !p.Piece().IsHole() {
			return p.Piece().Chunk, nil
		}
	}
	return digest.Chunk{}, p.Err()
}

// mayBeCold reports whether all packs with a chunk are in another class than what is always hot.
func (o *open) mayBeCold(id digest.Chunk) bool {
	classes, err := o.classes([]digest.Chunk{id})
	hot := o.f.o.Repo.Config().Class.Meta
	return err == nil && len(classes) > 0 && !slices.Contains(classes, "") && !slices.Contains(classes, hot)
}

// classes returns the storage classes of the packs with chunks, by the index.
func (o *open) classes(ids []digest.Chunk) (classes []string, err error) {
	from, err := o.data.origin()
	if err != nil {
		return nil, err
	}
	from.mu.Lock()
	set := from.state.Set()
	from.mu.Unlock()
	for _, id := range ids {
		locs, err := set.All(id)
		if err != nil {
			return nil, err
		}
		for _, l := range locs {
			info, err := set.Pack(l.Pack)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(classes, info.Class) {
				classes = append(classes, info.Class)
			}
		}
	}
	return classes, nil
}
