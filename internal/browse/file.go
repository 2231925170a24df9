package browse

import (
	"context"
	"errors"
	"fmt"
	"io"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/manifest"
	"firn/internal/repo"
)

// File is the content of a file, to be read from any place. What is read on end is fetched ahead, the more the longer it goes on. Not for concurrent use.
type File struct {
	v      *View
	e      *manifest.Entry
	data   *repo.ChunkCache
	cancel context.CancelFunc
	pieces *manifest.Pieces
	lead   *manifest.Pieces

	at     int64 // of the next byte
	begun  int64 // where reading on end began
	placed bool  // pieces stands behind piece, which begins at start
	piece  manifest.Piece
	start  int64
	raw    []byte // content of the chunk of piece; nil: not fetched
	leadAt int64  // what lies before was fetched ahead
	ids    []digest.Chunk
}

var errSeek = errors.New("seek to before the beginning")

// OpenFile opens a file for reading until ctx ends; later names of a hard-linked file are followed. It fails with ErrNotThere and ErrNotFile, reads with *repo.DamageError where content is lost, and with
// store.ErrCold in it where it would have to be thawed. Nothing of the content is read before Read.
func (v *View) OpenFile(ctx context.Context, path []byte) (*File, error) {
	e, err := v.content(path)
	if err != nil {
		return nil, err
	}
	f := &File{v: v, e: e}
	ctx, f.cancel = context.WithCancel(ctx)
	if f.data, err = v.r.NewChunkCache(ctx, v.Scope, v.Snapshot.Epoch, 2, dataCache); err != nil {
		f.cancel()
		return nil, err
	}
	f.pieces, f.lead = manifest.NewPieces(v.src, e), manifest.NewPieces(v.src, e)
	return f, nil
}

// Size returns the length of the file in bytes.
func (f *File) Size() int64 { return f.e.Size }

// Close ends what is being fetched, and waits for it.
func (f *File) Close() error {
	f.cancel()
	f.data.Close()
	return nil
}

// Seek implements io.Seeker. It reads nothing.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.e.Size
	}
	if offset < 0 {
		return 0, errSeek
	}
	if offset != f.at {
		f.at, f.begun, f.leadAt = offset, offset, 0
	}
	return offset, nil
}

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	if f.at >= f.e.Size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := f.place(); err != nil {
		return 0, err
	}
	off := f.at - f.start
	n := int(min(int64(len(p)), f.piece.Length-off))
	if f.piece.IsHole() {
		clear(p[:n])
	} else {
		from := int64(f.piece.Offset) + off
		if from+int64(n) > int64(len(f.raw)) {
			return 0, &manifest.CorruptError{Chunk: f.piece.Chunk, Err: fmt.Errorf("chunk of %d bytes, %d are asked of it", len(f.raw), from+int64(n))}
		}
		copy(p[:n], f.raw[from:])
	}
	f.at += int64(n)
	return n, nil
}

// place makes piece the one that has the next byte, and fetches it.
func (f *File) place() error {
	if !f.placed || f.at < f.start || f.at >= f.start+f.piece.Length {
		if !f.placed || f.at != f.start+f.piece.Length {
			f.pieces.SeekTo(f.at)
		}
		f.placed, f.raw = false, nil
		if !f.pieces.Next() {
			if err := f.pieces.Err(); err != nil {
				return err
			}
			return io.ErrUnexpectedEOF // the pieces add up to the size
		}
		f.placed, f.piece, f.start = true, f.pieces.Piece(), f.pieces.Offset()
		f.ahead()
	}
	if f.raw != nil || f.piece.IsHole() {
		return nil
	}
	var err error
	f.raw, err = f.data.Get(f.piece.Chunk)
	return err
}

// ahead has fetched what comes soon: as much as was read on end, up to readAhead.
func (f *File) ahead() {
	window := min(f.at-f.begun, readAhead)
	if window == 0 || f.leadAt > f.at+window/2 {
		return
	}
	if f.leadAt < f.start {
		f.leadAt = f.start
		f.lead.SeekTo(f.start)
	}
	f.ids = f.ids[:0]
	for f.leadAt < f.at+window && f.lead.Next() {
		p := f.lead.Piece()
		f.leadAt = f.lead.Offset() + p.Length
		if n := len(f.ids); !p.IsHole() && (n == 0 || f.ids[n-1] != p.Chunk) {
			f.ids = append(f.ids, p.Chunk)
		}
	}
	if len(f.ids) > 0 {
		f.data.Prefetch(f.ids)
	}
}

// Pack is a pack that a file, or a range of it, lies in.
type Pack struct {
	Object string // name in the store
	Class  string // as the index has it; rules of a bucket, and firn itself, may have moved it since
	Size   int64  // bytes of the object
	Wanted int64  // bytes of it that are wanted
	Chunks int64
}

// Packs returns where the content of a file, or a range of it, is read from, in the order of the file. It asks nothing of the packs themselves. lost is how many chunks are in no known pack. It fails as OpenFile does.
func (v *View) Packs(ctx context.Context, path []byte, o CatOptions) (packs []Pack, lost int64, err error) {
	e, err := v.content(path)
	if err != nil {
		return nil, 0, err
	}
	from, to := max(o.Offset, 0), e.Size
	if o.Length > 0 {
		to = min(to, from+o.Length)
	}
	slots := map[string]int{}
	numbers := map[int]int{} // of the index → slot
	var last digest.Chunk
	it := manifest.NewPieces(v.src, e)
	for it.SeekTo(from); it.Next() && it.Offset() < to; {
		id := it.Piece().Chunk
		if id.IsZero() || id == last {
			continue
		}
		last = id
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		loc, ok, err := v.Scope.Set().Lookup(id)
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			lost++
			continue
		}
		at, ok := numbers[loc.Pack]
		if !ok {
			info, err := v.Scope.Set().Pack(loc.Pack)
			if err != nil {
				return nil, 0, err
			}
			packs, at = slotOf(v.Scope, packs, slots, &info)
			numbers[loc.Pack] = at
		}
		packs[at].Wanted += int64(loc.Frame)
		packs[at].Chunks++
	}
	return packs, lost, it.Err()
}

// slotOf finds or adds a pack, which the index may have under several numbers.
func slotOf(scope *repo.ScopeState, packs []Pack, slots map[string]int, info *index.Info) ([]Pack, int) {
	name := repo.PackName(scope, info)
	if at, ok := slots[name]; ok {
		return packs, at
	}
	slots[name] = len(packs)
	return append(packs, Pack{Object: name, Class: info.Class, Size: info.Size}), len(packs)
}
