package repo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"filippo.io/age"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/frame"
	"firn/internal/index"
	"firn/internal/pack"
	"firn/internal/seal"
	"firn/internal/sign"
	"firn/internal/store"
)

// PackObject is a pack that an index of a scope names.
type PackObject struct {
	index.Info
	Object  string // its name
	Retired bool   // it takes no new references
}

// Volume returns the name of its recovery volume, empty where there is none.
func (p *PackObject) Volume() string {
	if p.Par2 == nil {
		return ""
	}
	return volumeName(p.Object)
}

// EachPack calls fn for each pack that the index names, once, in order of name, until fn fails. p is valid until fn returns.
func (s *ScopeState) EachPack(fn func(p *PackObject) error) error {
	return s.set.EachPack(func(info *index.Info, retired bool) error {
		return fn(&PackObject{*info, packName(info.Kind, s.kit.id, info.Name), retired})
	})
}

// FindPack returns what the index says of a pack.
func (s *ScopeState) FindPack(name digest.Object) (p PackObject, ok bool, err error) {
	info, ok, err := s.set.Find(name)
	if !ok || err != nil {
		return PackObject{}, false, err
	}
	return PackObject{info, packName(info.Kind, s.kit.id, name), s.set.Retired(name)}, true, nil
}

// ListPacks calls fn for each pack and each recovery volume that the store lists in the scope, in order of name, until fn fails. It needs no key.
func (s *ScopeState) ListPacks(ctx context.Context, fn func(o ObjectName, info store.Info) error) error {
	for _, kind := range []chunk.Kind{chunk.Data, chunk.Meta} {
		err := s.kit.r.st.List(ctx, kind.String()+"/"+s.kit.id.String()+"/", "", func(info store.Info) error {
			if o, ok := ParseName(info.Name); ok {
				return fn(o, info)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Opener opens bytes [offset, offset+length) of an object; length < 0 means to the end. What reaches past the end is cut short, an offset past it is io.EOF or store.ErrRange.
type Opener func(ctx context.Context, offset, length int64) (io.ReadCloser, error)

// OpenStored opens an object of a store.
func OpenStored(st store.Store, name string) Opener {
	return func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
		return st.Get(ctx, name, offset, length)
	}
}

// OpenBytes opens what is at hand: size bytes of r.
func OpenBytes(r io.ReaderAt, size int64) Opener {
	return func(_ context.Context, offset, length int64) (io.ReadCloser, error) {
		n, err := store.Clip(size, offset, length)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(io.NewSectionReader(r, offset, n)), nil
	}
}

// VerifySum reads an object once and compares its SHA-256, and its size where that is known (≥ 0). It needs no key. A nil finding: it is as it was stored. Errors are
// those of a store that does not answer, and store.ErrCold.
func VerifySum(ctx context.Context, name string, open Opener, sum digest.Object, size int64) (*Finding, error) {
	rc, err := open(ctx, 0, -1)
	if err != nil {
		return foundOr(name, err)
	}
	defer func() { _ = rc.Close() }()
	h := sha256.New()
	n, err := io.CopyBuffer(h, rc, make([]byte, 256<<10))
	if err != nil {
		return foundOr(name, store.Fail("get", name, err))
	}
	f := &Finding{Object: name}
	if size >= 0 && n != size {
		f.blame(WrongSize, fmt.Errorf("object has %d bytes instead of %d", n, size))
	}
	if got := digest.Object(h.Sum(nil)); got != sum {
		f.blame(WrongSum, fmt.Errorf("SHA-256 is %v instead of %v", got, sum))
	}
	return f.orNil(), nil
}

// foundOr returns a finding where err says something about the object, else err.
func foundOr(name string, err error) (*Finding, error) {
	if f := objectFinding(name, err); f != nil {
		return f, nil
	}
	return nil, err
}

func (f *Finding) orNil() *Finding {
	if f.Kind == "" {
		return nil
	}
	return f
}

// Verifier verifies packs of a scope, one after another. Each goroutine has its own. It holds one step of segments and one chunk in memory.
type Verifier struct {
	s      *ScopeState
	ids    []age.Identity // nil: sums only
	hashes map[uint32]*digest.Hasher
	dec    *frame.Decoder
	sealed []byte
	plain  []byte
	raw    []byte
}

// NewVerifier returns a verifier. Where content cannot be read (ErrWriteOnly) it compares sums only.
func (s *ScopeState) NewVerifier() *Verifier {
	ids, _ := s.kit.r.dataIdentities()
	return &Verifier{s: s, ids: ids, hashes: map[uint32]*digest.Hasher{}, dec: frame.NewDecoder()}
}

func (v *Verifier) hasher(epoch uint32) *digest.Hasher {
	if v.hashes[epoch] == nil {
		v.hashes[epoch] = digest.NewHasher(v.s.kit.keys.ChunkKey(epoch))
	}
	return v.hashes[epoch]
}

// wholeInMemory is the size up to which an object is fetched with one request and held, in bytes.
const wholeInMemory = 1 << 20

// Stored verifies a pack where it lies. Errors as VerifySum.
func (v *Verifier) Stored(ctx context.Context, p *PackObject) (*Finding, error) {
	return v.Pack(ctx, p.Object, &p.Info, OpenStored(v.s.kit.r.st, p.Object), p.Size)
}

// Pack verifies the bytes of a pack: its SHA-256 is its name, it opens, its table is proven by its author, every frame decompresses and has the id of its chunk, and the index
// says the same of it. name is that of the object; info is nil for a pack that no index names, and size then that of the bytes. The finding tells every chunk and every
// stretch that is lost; chunks that can still be read in spite of the damage are not in it. A nil finding: all is well. Errors as VerifySum.
//
// It reads the table first, then everything in order.
func (v *Verifier) Pack(ctx context.Context, name string, info *index.Info, open Opener, size int64) (*Finding, error) {
	o, ok := ParseName(name)
	if !ok || !o.Summed() {
		return nil, fmt.Errorf("%q: %w", name, store.ErrName)
	}
	if v.ids == nil {
		f, err := VerifySum(ctx, name, open, o.Sum, size)
		if f != nil {
			f.Pack, f.Whole = o.Sum, f.Kind == Missing
		}
		return f, err
	}
	if size <= wholeInMemory {
		raw, err := readOpened(ctx, open, size+1)
		if err != nil {
			return v.lost(ctx, name, o.Sum, info, err)
		}
		open = OpenBytes(bytes.NewReader(raw), int64(len(raw)))
	}
	f := &Finding{Object: name, Pack: o.Sum, read: true}
	sc, err := v.prepare(ctx, f, info, open, size)
	if err != nil {
		return v.lost(ctx, name, o.Sum, info, err)
	}
	rc, err := open(ctx, 0, -1)
	if err != nil {
		return v.lost(ctx, name, o.Sum, info, err)
	}
	defer func() { _ = rc.Close() }()
	if err := sc.run(rc, o.Sum); err != nil {
		return v.lost(ctx, name, o.Sum, info, store.Fail("get", name, err))
	}
	return f.orNil(), nil
}

// lost makes the finding of a pack that cannot be read at all.
func (v *Verifier) lost(ctx context.Context, name string, sum digest.Object, info *index.Info, err error) (*Finding, error) {
	f, err := foundOr(name, err)
	if f == nil {
		return nil, err
	}
	f.Pack, f.Whole = sum, true
	if info == nil {
		return f, nil
	}
	refs, err := v.s.PackChunks(ctx, sum)
	f.Chunks = loseAll(refs, f.Err)
	return f, err
}

func loseAll(refs []chunk.Ref, err error) []LostChunk {
	lost := make([]LostChunk, len(refs))
	offset := int64(0)
	for i, r := range refs {
		lost[i] = LostChunk{r, offset, err}
		offset += int64(r.Frame)
	}
	return lost
}

func readOpened(ctx context.Context, open Opener, limit int64) ([]byte, error) {
	rc, err := open(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	return io.ReadAll(io.LimitReader(rc, limit))
}

// rangeReader reads ranges of an object whose prefix is known, however its own looks now.
type rangeReader struct {
	ctx    context.Context
	open   Opener
	prefix []byte
}

func (r *rangeReader) ReadAt(p []byte, off int64) (int, error) {
	rc, err := r.open(r.ctx, off, int64(len(p)))
	if errors.Is(err, store.ErrRange) {
		return 0, io.EOF
	}
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(rc, p)
	_ = rc.Close()
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	if off < int64(len(r.prefix)) {
		copy(p[:n], r.prefix[off:])
	}
	return n, err
}

// prepare finds the key and the table of a pack, in itself or else in the index. What is wrong with them goes into f.
func (v *Verifier) prepare(ctx context.Context, f *Finding, info *index.Info, open Opener, size int64) (*packScan, error) {
	sc := &packScan{v: v, f: f, size: size}
	at := &rangeReader{ctx: ctx, open: open}
	epoch := uint32(0)
	if info != nil {
		at.prefix, epoch, sc.size = info.Prefix, info.Epoch, info.Size
	}
	opened, err := pack.ReadTable(at, sc.size, v.ids...)
	if err == nil {
		sc.prefix, sc.key, sc.plain, sc.refs, epoch = opened.Prefix, opened.Key, opened.Plain, opened.Chunks, opened.Epoch
		err = v.checkTable(ctx, f.Pack, opened, info)
	} else if info != nil && objectFinding(f.Object, err) != nil && !errors.Is(err, store.ErrNotExist) {
		if sc.key, _ = seal.OpenPrefix(info.Prefix, v.ids...); sc.key != nil {
			sc.prefix = info.Prefix
			if plain, perr := seal.PlainSize(len(info.Prefix), info.Size); perr == nil {
				sc.plain = plain
			}
		}
		var rerr error
		if sc.refs, rerr = v.s.PackChunks(ctx, info.Name); rerr != nil {
			return nil, rerr
		}
	}
	sc.hash = v.hasher(epoch)
	if err == nil {
		return sc, nil
	}
	damage := objectFinding(f.Object, err)
	if damage == nil || damage.Kind == Missing || damage.Kind == Unreadable {
		return nil, err
	}
	f.blame(damage.Kind, err)
	return sc, nil
}

// checkTable compares a table with its proof and with what the index says.
func (v *Verifier) checkTable(ctx context.Context, name digest.Object, t *pack.Opened, info *index.Info) error {
	k := v.s.kit
	if !t.Proof.Author.IsRoot() {
		if err := k.trust(ctx, t.Proof.Author); err != nil {
			return err
		}
	}
	check := k.check()
	if err := t.Verify(pack.Check{Repo: check.Repo, Scope: check.Scope, MAC: check.MAC, Author: check.Author}); err != nil {
		if errors.Is(err, sign.ErrMAC) || errors.Is(err, sign.ErrSignature) || errors.Is(err, sign.ErrAuthor) {
			err = fmt.Errorf("%w: %w", pack.ErrTable, err)
		}
		return err
	}
	if info == nil {
		return nil
	}
	if t.Kind != info.Kind || t.Epoch != info.Epoch || len(t.Chunks) != info.Count || t.FramesSize() != info.Frames || t.Padding != info.Padding || !bytes.Equal(t.Prefix, info.Prefix) {
		return fmt.Errorf("%w: the index says something else of this pack", pack.ErrTable)
	}
	return t.Each(func(i int, r chunk.Ref, offset int64) error {
		locs, err := v.s.set.All(r.ID)
		if err != nil {
			return err
		}
		for _, l := range locs {
			if int64(l.Offset) != offset || l.Frame != r.Frame || l.Raw != r.Raw {
				continue
			}
			if p, err := v.s.set.Pack(l.Pack); err != nil || p.Name == name {
				return err
			}
		}
		return fmt.Errorf("%w: the index does not have chunk %v", pack.ErrTable, r.ID)
	})
}

// PackChunks reads from the index objects which chunks a pack has, in its order; nil where none that can be read names it. It costs as much as reading the whole index
// and is for packs whose own table is gone.
func (s *ScopeState) PackChunks(ctx context.Context, name digest.Object) (refs []chunk.Ref, err error) {
	objects, err := s.listIndex(ctx)
	for _, object := range objects {
		body, _, gerr := s.kit.getIndex(ctx, object.Name, object.Modified)
		if gerr != nil && objectFinding(object.Name, gerr) == nil && !errors.Is(gerr, store.ErrCold) {
			return nil, gerr
		}
		if gerr != nil {
			continue
		}
		_, _ = index.Parse(body, func(p *index.Pack) error {
			if p.Name == name {
				refs = slices.Clone(p.Chunks)
			}
			return nil
		})
		if refs != nil {
			break
		}
	}
	return refs, err
}

// packScan goes through a pack in order.
type packScan struct {
	v      *Verifier
	f      *Finding
	size   int64 // bytes that the object should have
	prefix []byte
	key    *seal.Key // nil: it cannot be opened
	plain  int64
	refs   []chunk.Ref // nil: unknown
	hash   *digest.Hasher

	sum  hash.Hash
	next int   // chunk
	at   int64 // offset of its frame in the plaintext
	done int64 // bytes of plaintext that were seen
	have []byte
	bad  bool // a part of the frame is lost
}

// run reads the object. It fails as r does, but not where r ends early.
func (sc *packScan) run(r io.Reader, want digest.Object) error {
	sc.sum = sha256.New()
	n := int64(0)
	if sc.key != nil {
		var err error
		if n, err = sc.opened(r); err != nil {
			return err
		}
	}
	rest, err := io.CopyBuffer(sc.sum, r, make([]byte, 256<<10))
	if err != nil {
		return err
	}
	n += rest
	if n != sc.size {
		sc.f.blame(WrongSize, fmt.Errorf("object has %d bytes instead of %d", n, sc.size))
		if n < sc.size {
			sc.f.addSpan(n, sc.size-n)
		} else {
			sc.f.addSpan(sc.size, n-sc.size)
		}
	}
	if got := digest.Object(sc.sum.Sum(nil)); got != want {
		sc.f.blame(WrongSum, fmt.Errorf("SHA-256 is %v", got))
	}
	if sc.key == nil || sc.refs == nil {
		sc.f.Whole = true
		sc.f.Chunks = loseAll(sc.refs, sc.f.Err)
	} else {
		sc.f.Whole = len(sc.f.Chunks) == len(sc.refs)
	}
	if len(sc.f.Chunks) > 0 && sc.f.Kind == "" {
		sc.f.blame(WrongChunk, sc.f.Chunks[0].Err)
	}
	return nil
}

// opened reads prefix and segments, and returns how many bytes there were.
func (sc *packScan) opened(r io.Reader) (n int64, err error) {
	head := make([]byte, len(sc.prefix))
	got, err := sc.read(r, head)
	n = int64(got)
	if err != nil {
		return n, err
	}
	if got < len(head) || !bytes.Equal(head, sc.prefix) {
		sc.f.addSpan(0, int64(len(head)))
	}
	for sc.done < sc.plain {
		step := min(openStep, sc.plain-sc.done)
		off, length := sc.key.Range(sc.done, step, sc.plain)
		sc.v.sealed = slices.Grow(sc.v.sealed[:0], int(length))[:length]
		got, err := sc.read(r, sc.v.sealed)
		n += int64(got)
		if err != nil {
			return n, err
		}
		sc.segments(off, step, sc.v.sealed[:got])
	}
	return n, nil
}

// read fills b as far as the object goes.
func (sc *packScan) read(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	_, _ = sc.sum.Write(b[:n])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return n, err
}

// segments opens those of one step, all at once or, where one of them is damaged, one by one. off is where they begin in the object.
func (sc *packScan) segments(off, step int64, sealed []byte) {
	plain, err := sc.v.plain[:0], error(seal.ErrTruncated)
	if int64(len(sealed)) == seal.SealedSize(0, step) {
		plain, err = sc.key.OpenRange(plain, sealed, sc.done, step, sc.plain)
		sc.v.plain = plain[:0]
	}
	if err == nil {
		sc.feed(plain, int64(len(plain)))
		return
	}
	for end := sc.done + step; sc.done < end; {
		one := min(seal.SegmentSize, end-sc.done)
		length := one + seal.SealedSegment - seal.SegmentSize
		if int64(len(sealed)) >= length {
			plain, err = sc.key.OpenRange(sc.v.plain[:0], sealed[:length], sc.done, one, sc.plain)
			sealed = sealed[length:]
		} else {
			plain, err, sealed = nil, seal.ErrTruncated, nil
		}
		if err != nil {
			sc.f.addSpan(off, length)
			plain = nil
		}
		sc.feed(plain, one)
		off += length
	}
}

// feed takes the next n bytes of plaintext; nil: they are lost.
func (sc *packScan) feed(plain []byte, n int64) {
	from := sc.done
	sc.done += n
	for sc.next < len(sc.refs) && from < sc.done {
		ref := &sc.refs[sc.next]
		end := sc.at + int64(ref.Frame)
		take := min(end, sc.done) - from
		if plain == nil {
			sc.bad = true
		} else {
			sc.have = append(sc.have, plain[:take]...)
			plain = plain[take:]
		}
		from += take
		if from < end {
			return
		}
		sc.judge(ref)
		sc.next, sc.at, sc.have, sc.bad = sc.next+1, end, sc.have[:0], false
	}
}

// errLost tells of a frame whose bytes are damaged.
var errLost = errors.New("bytes of this chunk are damaged")

// judge verifies a chunk whose frame is complete.
func (sc *packScan) judge(ref *chunk.Ref) {
	err := errLost
	if !sc.bad {
		var raw []byte
		raw, err = sc.v.dec.Append(sc.v.raw[:0], sc.have, int(ref.Raw))
		if err == nil {
			sc.v.raw = raw
			if sc.hash.Sum(raw) != ref.ID {
				err = errHash
			}
		}
	}
	if err != nil {
		sc.f.Chunks = append(sc.f.Chunks, LostChunk{*ref, sc.at, err})
	}
}
