package restore

import (
	"cmp"
	"math"
	"slices"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/source"
)

// window is a stretch of the chosen entries and the chunks that they need. One is being gathered while another one is worked on. It holds no pointers
// for ordinary files: about 80 bytes and the path for each.
type window struct {
	arena   []byte   // paths, relative to the target
	records []record // files in one piece or empty, in order
	xattrs  map[int32][]source.Xattr
	chunks  []wanted
	byID    map[digest.Chunk]int32
	pieces  []piece // of files in several pieces
	larges  []*large
	others  []*special // links, devices and so on
	links   []hardLink
	folders []folder // that the walk has left
	weight  int      // rough bytes held
	entries int
	held    bool // it is all of a walk of a pass that needs packs

	wants []repo.Want // in order of packs and frames
	back  []int32     // chunk of each want
}

// record is a file in one piece.
type record struct {
	path, pathLen uint32 // in the arena
	size, off     uint32 // of the content, in the chunk
	chunk         int32  // noChunk: empty file
	next          int32  // next record with this chunk; noNext
	sec           int64
	nsec          int32
	uid, gid      uint32
	user, group   uint32 // in run.names
	mode          uint16
	flags         uint8
	hash          manifest.Hash
}

const (
	noChunk = -1
	noNext  = -1
)

// Flags of a record.
const (
	hasXattrs = 1 << iota
	isThere   // something stands in its place
	isKept    // what stands there is right
	isSame    // so are its metadata, as far as one stat tells
	isAsked   // whether it is right is to be found out by reading it
)

// wanted is a chunk and who needs it.
type wanted struct {
	id     digest.Chunk
	record int32 // first record, noNext
	tail   int32 // last record
	piece  int32 // first piece, noNext
	last   int32 // last piece

	loc     index.Location // where located
	located bool           // it is known already where it lies
	cold    bool           // it could not be read in this pass
}

// piece is a stretch of a file in several pieces.
type piece struct {
	large  int32 // in window.larges
	next   int32
	off, n uint32 // in the chunk
	at     int64  // in the file
}

// hardLink is a later name of a file that is restored as well.
type hardLink struct {
	path, pathLen   uint32
	first, firstLen uint32
	size            int64
	typ             manifest.Type
}

func newWindow() *window {
	return &window{xattrs: map[int32][]source.Xattr{}, byID: map[digest.Chunk]int32{}}
}

func (w *window) reset() {
	clear(w.xattrs)
	if len(w.byID) > 0 {
		clear(w.byID)
	}
	clear(w.larges)
	clear(w.others)
	clear(w.folders)
	*w = window{arena: w.arena[:0], records: w.records[:0], xattrs: w.xattrs, chunks: w.chunks[:0], byID: w.byID, pieces: w.pieces[:0],
		larges: w.larges[:0], others: w.others[:0], links: w.links[:0], folders: w.folders[:0], wants: w.wants[:0], back: w.back[:0]}
}

// addPath keeps a path.
func (w *window) addPath(p []byte) (at, n uint32) {
	at = uint32(len(w.arena))
	w.arena = append(w.arena, p...)
	w.weight += len(p)
	return at, uint32(len(p))
}

func (w *window) text(at, n uint32) []byte { return w.arena[at : at+n : at+n] }

// chunk returns the number of a chunk.
func (w *window) chunk(id digest.Chunk) int32 {
	if n := len(w.chunks) - 1; n >= 0 && w.chunks[n].id == id {
		return int32(n)
	}
	if n, ok := w.byID[id]; ok {
		return n
	}
	n := int32(len(w.chunks))
	w.chunks = append(w.chunks, wanted{id: id, record: noNext, tail: noNext, piece: noNext, last: noNext})
	w.byID[id] = n
	w.weight += 200
	return n
}

// addPiece notes that a file needs a stretch of a chunk.
func (w *window) addPiece(l int32, p manifest.Piece, at int64) (chunk int32) {
	c := w.chunk(p.Chunk)
	n := int32(len(w.pieces))
	w.pieces = append(w.pieces, piece{large: l, next: noNext, off: p.Offset, n: uint32(p.Length), at: at})
	if k := &w.chunks[c]; k.last == noNext {
		k.piece, k.last = n, n
	} else {
		w.pieces[k.last].next = n
		k.last = n
	}
	w.weight += 32
	return c
}

// link strings together the records that need each chunk.
func (w *window) link() {
	for i := range w.records {
		r := &w.records[i]
		r.next = noNext
		if r.chunk == noChunk || r.flags&isKept != 0 {
			continue
		}
		if k := &w.chunks[r.chunk]; k.tail == noNext {
			k.record, k.tail = int32(i), int32(i)
		} else {
			w.records[k.tail].next = int32(i)
			k.tail = int32(i)
		}
	}
}

// missing is told of a chunk that is in no known pack.
type missing func(chunk int32) error

// locate finds out where the chunks lie that somebody needs, and sorts them by pack, in order of first need, and frame.
func (w *window) locate(scope *repo.ScopeState, miss missing) error {
	order := map[int]int{} // of packs
	rank := make([]int, 0, len(w.chunks))
	w.wants, w.back = w.wants[:0], w.back[:0]
	for i := range w.chunks {
		k := &w.chunks[i]
		if k.record == noNext && k.piece == noNext {
			continue
		}
		loc, ok, err := k.loc, k.located, error(nil)
		if !ok {
			loc, ok, err = scope.Set().Lookup(k.id)
		}
		if err != nil {
			return err
		}
		if !ok {
			if err := miss(int32(i)); err != nil {
				return err
			}
			continue
		}
		n, seen := order[loc.Pack]
		if !seen {
			n = len(order)
			order[loc.Pack] = n
		}
		rank = append(rank, n)
		w.wants = append(w.wants, repo.Want{ID: k.id, Loc: loc})
		w.back = append(w.back, int32(i))
	}
	perm := make([]int32, len(w.wants))
	for i := range perm {
		perm[i] = int32(i)
	}
	slices.SortFunc(perm, func(a, b int32) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(w.wants[a].Loc.Offset, w.wants[b].Loc.Offset))
	})
	wants, back := make([]repo.Want, len(perm)), make([]int32, len(perm))
	for i, p := range perm {
		wants[i], back[i] = w.wants[p], w.back[p]
	}
	w.wants, w.back = wants, back
	return nil
}

// How much one request may bring to one worker, besides what the reader allows.
const (
	taskUses = 4096
	taskRaw  = 16 << 20 // bytes of content
)

// task is wants[from:to]: what one worker fetches with one request.
type task struct {
	w        *window
	from, to int
}

// tasks cuts the wants into requests.
func (w *window) tasks(fn func(task) error) error {
	for from := 0; from < len(w.wants); {
		to := from + 1
		for to < len(w.wants) && w.wants[to].Loc.Pack == w.wants[from].Loc.Pack {
			to++
		}
		for from < to {
			n := w.afford(from, from+repo.OneRequest(w.wants[from:to]))
			if err := fn(task{w, from, n}); err != nil {
				return err
			}
			from = n
		}
	}
	return nil
}

// afford returns how far one worker should go, so that others have something to do.
func (w *window) afford(from, to int) int {
	uses, raw := 0, 0
	for i := from; i < to; i++ {
		k := &w.chunks[w.back[i]]
		for r := k.record; r != noNext && uses < taskUses; r = w.records[r].next {
			uses++
		}
		raw += int(w.wants[i].Loc.Raw)
		if i > from && (uses >= taskUses || raw > taskRaw) {
			return i
		}
	}
	return to
}

// narrow keeps an id in 32 bits; unknown, and what no system has, is unknownID.
func narrow(id int64) uint32 {
	if id < 0 || id >= math.MaxUint32 {
		return unknownID
	}
	return uint32(id)
}

func widen(id uint32) int64 {
	if id == unknownID {
		return -1
	}
	return int64(id)
}

const unknownID = math.MaxUint32
