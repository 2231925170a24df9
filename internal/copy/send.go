package copy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/par2"
	"firn/internal/repo"
	"firn/internal/store"
)

// tries of one pack where the connection to the store that it comes from breaks off; the stores' own wrappers have waited by then.
const tries = 3

// maxVolume is the largest recovery volume that is held in memory while its pack passes, in bytes. Larger ones are left out where they have to be copied.
const maxVolume = 256 << 20

// send brings one pack to the copy, and its volume. What is wrong with the pack where it comes from is noted in it; an error is one of the copy's store, or of a store that does not answer.
func (x *run) send(ctx context.Context, p *repo.CopyPack) error {
	if p.There {
		x.taken.Add(1)
		p.Sent = true
		return x.volumeOf(ctx, p)
	}
	var err error
	for range tries {
		if err = x.pass(ctx, p); err == nil || ctx.Err() != nil || !store.IsTemporary(err) {
			break
		}
	}
	var damage *repo.DamageError
	if errors.As(err, &damage) {
		p.Err = damage
		if errors.Is(err, store.ErrCold) {
			x.mu.Lock()
			x.res.Cold = append(x.res.Cold, need(p))
			x.mu.Unlock()
		}
		return nil
	}
	p.Sent = err == nil
	return err
}

// pass lets one pack pass from store to store.
func (x *run) pass(ctx context.Context, p *repo.CopyPack) error {
	in := &stream{ctx: ctx, from: x.from, name: p.Object, size: p.Size, sum: p.Name}
	defer in.close()
	if err := in.open(); err != nil { // before anything is begun
		return err
	}
	ready := x.copyVolume(ctx, p)
	if ready == nil && p.Parity > 0 {
		var enc par2.Encoder
		if err := enc.Reset(p.Size, par2.Percent(float64(p.Parity), 0)); err == nil {
			in.also = &enc
		}
	}
	if err := x.put(ctx, in, p.To); err != nil {
		return err
	}
	x.packs.Add(1)
	x.bytes.Add(p.Size)
	if in.also != nil {
		ready = finish(in.also, p)
	}
	return x.putVolume(ctx, p, ready)
}

// put stores what in brings. That it is there already is as good: its name is its sum.
func (x *run) put(ctx context.Context, in *stream, class string) error {
	var err error
	if c, ok := store.As[store.Creator](x.to); ok {
		err = create(ctx, c, in, class)
	} else {
		err = x.to.Put(ctx, in.name, in, in.size, store.PutOptions{Sum: in.sum, Class: class})
	}
	if in.err != nil {
		return in.err // whatever the store makes of it
	}
	if errors.Is(err, store.ErrExist) {
		return nil
	}
	return err
}

func create(ctx context.Context, c store.Creator, in *stream, class string) error {
	p, err := c.Create(ctx, store.PutOptions{Class: class})
	if err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	if _, err = io.CopyBuffer(struct{ io.Writer }{p}, struct{ io.Reader }{in}, buf); err != nil {
		return errors.Join(err, p.Abort())
	}
	return p.Commit(ctx, in.name)
}

// copyVolume fetches the recovery volume of a pack, where the copy wants one and it can be read; nil: there is none to be had.
func (x *run) copyVolume(ctx context.Context, p *repo.CopyPack) []byte {
	if p.Parity == 0 || p.Par2 == nil || p.Par2.Size > maxVolume {
		return nil
	}
	in := &stream{ctx: ctx, from: x.from, name: repo.VolumeName(p.Object), size: p.Par2.Size, sum: p.Par2.Sum}
	defer in.close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, struct{ io.Reader }{in}); err != nil {
		return nil
	}
	return b.Bytes()
}

// finish ends a volume that was made of a passing pack; nil: it could not be.
func finish(enc *par2.Encoder, p *repo.CopyPack) []byte {
	v, err := enc.FinishAs(p.Name.String())
	if err != nil {
		return nil
	}
	b := bytes.NewBuffer(make([]byte, 0, v.Size()))
	if _, err := v.WriteTo(b); err != nil {
		return nil
	}
	return b.Bytes()
}

// putVolume stores the volume of a pack and notes it; raw nil: the pack goes without.
func (x *run) putVolume(ctx context.Context, p *repo.CopyPack, raw []byte) error {
	p.Volume = nil
	if raw == nil {
		return nil
	}
	sum := digest.SumObject(raw)
	err := x.to.Put(ctx, repo.VolumeName(p.Object), bytes.NewReader(raw), int64(len(raw)), store.PutOptions{Sum: sum, Class: p.To})
	switch {
	case errors.Is(err, store.ErrExist):
		return x.knownVolume(ctx, p)
	case err != nil:
		return err
	}
	p.Volume = &index.Par2{Sum: sum, Size: int64(len(raw))}
	x.vols.Add(1)
	x.volume.Add(int64(len(raw)))
	return nil
}

// volumeOf sees to the volume of a pack that lay in the copy already.
func (x *run) volumeOf(ctx context.Context, p *repo.CopyPack) error {
	switch {
	case p.Volume != nil:
		return x.knownVolume(ctx, p)
	case p.Parity == 0:
		return nil
	}
	if raw := x.copyVolume(ctx, p); raw != nil {
		return x.putVolume(ctx, p, raw)
	}
	var enc par2.Encoder
	if enc.Reset(p.Size, par2.Percent(float64(p.Parity), 0)) != nil {
		return nil
	}
	in := &stream{ctx: ctx, from: x.from, name: p.Object, size: p.Size, sum: p.Name, also: &enc}
	defer in.close()
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{in}); err != nil {
		return ctx.Err() // the pack goes without
	}
	return x.putVolume(ctx, p, finish(&enc, p))
}

// knownVolume finds out the sum of a volume that lies in the copy. One that cannot be read, such as in a cold class, is not spoken of in the index.
func (x *run) knownVolume(ctx context.Context, p *repo.CopyPack) error {
	p.Volume = nil
	rc, err := x.to.Get(ctx, repo.VolumeName(p.Object), 0, -1)
	if err != nil {
		return ctx.Err()
	}
	defer func() { _ = rc.Close() }()
	h := sha256.New()
	n, err := io.Copy(h, rc)
	if err != nil {
		return ctx.Err()
	}
	p.Volume = &index.Par2{Sum: digest.Object(h.Sum(nil)), Size: n}
	return nil
}

// stream reads an object once, from its beginning, and lets its last bytes through only where its SHA-256 is right. It goes back to any place, for who
// has to send again, by asking the store again. What is wrong with the object is a *repo.DamageError.
type stream struct {
	ctx  context.Context
	from store.Store
	name string
	size int64
	sum  digest.Object
	also *par2.Encoder // gets what is summed; nil: nobody

	rc     io.ReadCloser
	at     int64 // of the next read
	opened int64 // of rc
	summed int64
	h      hash.Hash
	err    error // why the object cannot be had
}

func (s *stream) close() {
	if s.rc != nil {
		_ = s.rc.Close()
		s.rc = nil
	}
}

// open opens the object where the next read is to be.
func (s *stream) open() (err error) {
	if s.rc != nil && s.opened == s.at {
		return nil
	}
	s.close()
	if s.rc, err = s.from.Get(s.ctx, s.name, s.at, s.size-s.at); err != nil {
		return s.broken(err)
	}
	s.opened = s.at
	if s.h == nil {
		s.h = sha256.New()
	}
	return nil
}

// broken notes why the object cannot be had.
func (s *stream) broken(err error) error {
	s.err = err
	for _, damage := range []error{store.ErrNotExist, store.ErrRange, store.ErrCold, store.ErrChecksum} {
		if errors.Is(err, damage) {
			s.err = &repo.DamageError{Object: s.name, Err: err}
		}
	}
	return s.err
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, s.whole()
	}
	if err := s.open(); err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), s.size-s.at)]
	n, err := s.rc.Read(p)
	if n > 0 {
		s.sumUp(p[:n])
		s.at += int64(n)
		s.opened = s.at
		if s.at == s.size && s.whole() != io.EOF {
			s.at -= int64(n)
			return 0, s.err
		}
		return n, nil
	}
	if err == io.EOF {
		return 0, s.short()
	}
	if err != nil {
		return 0, s.broken(err)
	}
	return 0, nil
}

// sumUp sums what has not been summed yet.
func (s *stream) sumUp(p []byte) {
	if skip := s.summed - s.at; skip >= 0 && skip < int64(len(p)) {
		s.h.Write(p[skip:])
		if s.also != nil {
			_, _ = s.also.Write(p[skip:]) // fails beyond the size that it was told only
		}
		s.summed += int64(len(p)) - skip
	}
}

// whole returns io.EOF where the object was summed and is right.
func (s *stream) whole() error {
	if s.size == 0 && s.h == nil {
		s.h = sha256.New()
	}
	if s.summed != s.size || digest.Object(s.h.Sum(nil)) != s.sum {
		return s.broken(store.ErrChecksum)
	}
	return io.EOF
}

// short judges an object that ends too early: it is shorter than it should be, or only the connection broke off.
func (s *stream) short() error {
	info, err := s.from.Stat(s.ctx, s.name)
	if err != nil {
		return s.broken(err)
	}
	if info.Size != s.size {
		s.err = &repo.DamageError{Object: s.name, Err: fmt.Errorf("object has %d bytes instead of %d", info.Size, s.size)}
		return s.err
	}
	return s.broken(store.Fail("get", s.name, io.ErrUnexpectedEOF))
}

// Seek implements io.Seeker.
func (s *stream) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 || offset > s.summed && offset < s.size {
		return 0, fmt.Errorf("seek to %d of %d summed", offset, s.summed)
	}
	if offset < s.at { // sent again, after something that has passed
		s.err = nil
	}
	s.at = offset
	return offset, nil
}
