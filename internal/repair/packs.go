package repair

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/par2"
	"firn/internal/repo"
	"firn/internal/store"
)

// mendPack puts a pack together again. Where it turns out to be sound, its volume is looked at.
func (x *run) mendPack(s *Step) (Outcome, error) {
	u := s.unit
	o, _ := repo.ParseName(u.object)
	defer x.drop(u)
	whole, err := x.fetchPack(u, o.Sum)
	if err != nil {
		return Failed, err
	}
	if whole {
		delete(x.found, u.object)
		return x.volumeToo(s)
	}
	got, err := x.fetchVolume(u)
	if err != nil {
		return Failed, err
	}
	size, err := x.rebuilt(u, o.Sum)
	if err != nil {
		if x.ctx.Err() != nil {
			return Failed, x.ctx.Err()
		}
		x.beyond[u.object] = &BeyondError{u.object, err}
		if x.found[u.object] == nil {
			x.found[u.object] = &repo.Finding{Object: u.object, Kind: repo.WrongSum, Pack: o.Sum}
		}
		return Left, x.beyond[u.object]
	}
	var volume *par2.Volume
	if u.info != nil && u.info.Par2 != nil && got != u.info.Par2.Sum { // now that the pack is at hand
		if volume, err = x.encode(u, o.Sum.String(), newSuffix); err != nil {
			return Failed, err
		}
	}
	if u.info == nil {
		if s.stray, err = x.readNew(u, size); err != nil {
			return Failed, err
		}
	}
	if err := x.replace(x.ctx, entry{Object: u.object, Class: u.class(), Size: size, sum: o.Sum}); err != nil {
		return Failed, err
	}
	delete(x.found, u.object)
	x.read[u.object] = true
	if volume != nil {
		return done(x.putVolume(u, volume))
	}
	return Mended, nil
}

// readNew reads what the index should say of a pack that was put together and is in no index: now, since it may go back into a cold class.
func (x *run) readNew(u *unit, size int64) (*index.Pack, error) {
	f, err := os.Open(x.aside.base(u.object) + newSuffix)
	if err != nil {
		return nil, errLocal{err}
	}
	defer func() { _ = f.Close() }()
	info := *u.pack
	info.Size = size
	p, err := u.scope.ReadStray(x.ctx, info, repo.OpenBytes(f, size))
	if err == nil {
		p.Par2 = x.strayVolume(u)
	}
	return p, err
}

// volumeToo looks at the volume of a pack that was suspected and is sound.
func (x *run) volumeToo(s *Step) (Outcome, error) {
	u := s.unit
	x.read[u.object] = true
	if u.info == nil || u.info.Par2 == nil {
		return Sound, nil
	}
	f, err := x.verify(u.volumeName(), u.info.Par2.Sum, u.info.Par2.Size)
	if errors.Is(err, store.ErrCold) || err == nil && f == nil {
		return Sound, nil
	}
	if err != nil {
		return Failed, err
	}
	return x.mendVolume(s)
}

// drop forgets what was fetched for a unit, unless an entry of the journal needs it.
func (x *run) drop(u *unit) {
	for _, object := range []string{u.object, u.volumeName()} {
		delete(x.local, object)
		if !x.aside.pending(object) {
			x.aside.forget(object)
		}
	}
}

// fetchPack brings what is left of a pack into its .old file, and reports whether it is whole after all.
func (x *run) fetchPack(u *unit, sum digest.Object) (whole bool, err error) {
	for range 2 { // a connection may flip a bit
		got, err := x.fetch(u.object, u.size())
		if err != nil {
			return false, err
		}
		if got == sum {
			return true, nil
		}
		if x.local[u.object] {
			break // it was fetched before
		}
	}
	return false, nil
}

// fetchVolume brings what is left of a volume into its .old file, and returns the sum of that.
func (x *run) fetchVolume(u *unit) (sum digest.Object, err error) {
	if u.volume == nil {
		return sum, nil
	}
	return x.fetch(u.volumeName(), u.volume.Size)
}

// fetch brings an object into its .old file, as much of it as can be read, and returns the sum of that. size is about how large it is.
func (x *run) fetch(object string, size int64) (sum digest.Object, err error) {
	if x.local[object] {
		f, err := os.Open(x.aside.base(object) + oldSuffix)
		if err != nil {
			return sum, err
		}
		defer func() { _ = f.Close() }()
		sum, _, err = sumOf(f)
		return sum, err
	}
	f, err := x.aside.create(object, oldSuffix)
	if err != nil {
		return sum, err
	}
	defer func() { _ = f.Close() }()
	if err := x.salvage(f, object, size); err != nil {
		return sum, err
	}
	if err := f.Sync(); err != nil {
		return sum, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return sum, err
	}
	sum, _, err = sumOf(f)
	return sum, err
}

// Steps of reading around what cannot be read, in bytes.
const (
	skipBytes = 64 << 10
	maxSkips  = 1 << 10
)

// salvage copies an object to f. Where a medium fails to read on, it goes on behind that, and leaves zeros.
func (x *run) salvage(f *os.File, object string, size int64) error {
	at, skips := int64(0), 0
	for {
		n, err := x.copyFrom(io.NewOffsetWriter(f, at), object, at)
		at += n
		switch {
		case err == nil:
			return nil
		case errors.Is(err, store.ErrNotExist), errors.Is(err, store.ErrRange):
			return nil
		case !unreadable(x.ctx, err):
			return err
		}
		if skips++; skips > maxSkips || at+skipBytes >= size {
			return nil
		}
		at = (at/skipBytes + 1) * skipBytes
	}
}

// errLocal marks errors of this machine's disk.
type errLocal struct{ error }

// Unwrap returns the cause.
func (e errLocal) Unwrap() error { return e.error }

type localWriter struct{ w io.Writer }

func (w localWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	if err != nil {
		err = errLocal{err}
	}
	return n, err
}

func (x *run) copyFrom(w io.Writer, object string, at int64) (int64, error) {
	rc, err := x.st.Get(x.ctx, object, at, -1)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rc.Close() }()
	n, err := io.CopyBuffer(localWriter{w}, struct{ io.Reader }{rc}, make([]byte, 256<<10))
	return n, err
}

// rebuilt puts a pack together in its .new file and returns its size. Its SHA-256 is its name, or it fails with the error of the attempt that came nearest.
func (x *run) rebuilt(u *unit, sum digest.Object) (int64, error) {
	old, err := os.Open(x.aside.base(u.object) + oldSuffix)
	if err != nil {
		return 0, errLocal{err}
	}
	defer func() { _ = old.Close() }()
	out, err := x.aside.create(u.object, newSuffix)
	if err != nil {
		return 0, errLocal{err}
	}
	defer func() { _ = out.Close() }()
	have, err := fileSource(old)
	if err != nil {
		return 0, errLocal{err}
	}
	size, err := int64(0), error(ErrNoVolume)
	if prefixed, ok := u.prefixed(have); ok {
		if size, err = x.attempt(out, sum, func(w io.Writer) error {
			_, err := io.Copy(w, io.NewSectionReader(prefixed.Data, 0, prefixed.Size))
			return err
		}); err == nil {
			return size, nil
		}
	}
	set, volume, perr := x.parse(u)
	if perr != nil {
		return 0, perr
	}
	defer func() { _ = volume.Close() }()
	sources := []par2.Source{have}
	if prefixed, ok := u.prefixed(have); ok {
		sources = append(sources, prefixed)
	}
	for _, src := range sources {
		if size, err = x.attempt(out, sum, func(w io.Writer) error { return x.repair(u, set, src, w) }); err == nil {
			return size, nil
		}
	}
	return 0, err
}

// attempt writes a file and makes sure that it has this sum, and is on the disk.
func (x *run) attempt(out *os.File, sum digest.Object, write func(io.Writer) error) (int64, error) {
	if err := out.Truncate(0); err != nil {
		return 0, errLocal{err}
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return 0, errLocal{err}
	}
	h := sha256.New()
	if err := write(io.MultiWriter(out, h)); err != nil {
		return 0, err
	}
	if digest.Object(h.Sum(nil)) != sum {
		return 0, store.ErrChecksum
	}
	info, err := out.Stat()
	if err == nil {
		err = out.Sync()
	}
	if err != nil {
		return 0, errLocal{err}
	}
	return info.Size(), nil
}

func fileSource(f *os.File) (par2.Source, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return par2.Source{}, err
	}
	return par2.Source{Data: f, Size: info.Size()}, nil
}

// prefixed is what is left of a pack with the beginning that the index knows, where its size is right.
func (u *unit) prefixed(have par2.Source) (par2.Source, bool) {
	if u.info == nil || have.Data == nil || have.Size != u.info.Size || len(u.info.Prefix) == 0 {
		return have, false
	}
	return par2.Source{Data: &overlaid{have.Data, u.info.Prefix}, Size: have.Size}, true
}

type overlaid struct {
	r    io.ReaderAt
	head []byte
}

func (o *overlaid) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.r.ReadAt(p, off)
	if off < int64(len(o.head)) {
		copy(p[:n], o.head[off:])
	}
	return n, err
}

// parse reads the volume that was fetched; the set reads its slices from the file, which the caller closes.
func (x *run) parse(u *unit) (*par2.Set, *os.File, error) {
	if u.volume == nil {
		return nil, nil, ErrNoVolume
	}
	f, err := os.Open(x.aside.base(u.volumeName()) + oldSuffix)
	if err != nil {
		return nil, nil, errLocal{err}
	}
	src, err := fileSource(f)
	if err == nil && src.Data == nil {
		err = ErrNoVolume
	}
	var set *par2.Set
	if err == nil {
		set, err = par2.Parse(src)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return set, f, nil
}

// repair writes the pack that a set describes.
func (x *run) repair(u *unit, set *par2.Set, have par2.Source, w io.Writer) error {
	o, _ := repo.ParseName(u.object)
	at := -1
	for i := range set.Files {
		if set.Files[i].Name == o.Sum.String() || len(set.Files) == 1 {
			at = i
		}
	}
	if at < 0 {
		return fmt.Errorf("the recovery volume is of %d other files", len(set.Files))
	}
	if size := set.Files[at].Size; size <= 0 || size > index.MaxPackSize || u.info != nil && size != u.info.Size {
		return fmt.Errorf("the recovery volume is of a file of %d bytes", size)
	}
	sources, outs := make([]par2.Source, at+1), make([]io.Writer, at+1)
	sources[at], outs[at] = have, w
	options := par2.Options{Workers: x.o.Workers, Memory: x.o.Memory}
	report := set.Check(sources, options)
	return set.Repair(report, outs, options)
}

// mendVolume makes the recovery volume of a sound pack again, and has the index name it.
func (x *run) mendVolume(s *Step) (Outcome, error) {
	u := s.unit
	o, _ := repo.ParseName(u.object)
	defer x.drop(u)
	if whole, err := x.fetchPack(u, o.Sum); err != nil {
		return Failed, err
	} else if !whole {
		x.found[u.object] = &repo.Finding{Object: u.object, Kind: repo.WrongSum, Pack: o.Sum}
		return Left, &BeyondError{u.volumeName(), errors.New("its pack is damaged as well")} // the next look plans for the pack
	}
	if _, err := x.fetchVolume(u); err != nil && !errors.Is(err, store.ErrCold) { // it only helps to make the same again
		return Failed, err
	}
	volume, err := x.encode(u, o.Sum.String(), oldSuffix)
	if err != nil {
		return Failed, err
	}
	return done(x.putVolume(u, volume))
}

// putVolume stores a volume and has the index name it, where that says something else.
func (x *run) putVolume(u *unit, volume *par2.Volume) error {
	out, err := x.aside.create(u.volumeName(), newSuffix)
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = volume.WriteTo(io.MultiWriter(out, h))
	if err == nil {
		err = out.Sync()
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	made := index.Par2{Sum: digest.Object(h.Sum(nil)), Size: volume.Size()}
	if err := x.replace(x.ctx, entry{Object: u.volumeName(), Class: u.class(), Size: made.Size, sum: made.Sum}); err != nil {
		return err
	}
	delete(x.found, u.volumeName())
	if u.info.Par2 != nil && *u.info.Par2 == made {
		return nil
	}
	return x.nameVolume(u, made)
}

// encode makes the volume of the pack that was fetched, the same as before where that can be known.
func (x *run) encode(u *unit, name, suffix string) (*par2.Volume, error) {
	f, err := os.Open(x.aside.base(u.object) + suffix)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var first *par2.Volume
	for _, e := range x.encoders(u, name) {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		if _, err := io.CopyBuffer(e, struct{ io.Reader }{f}, make([]byte, 256<<10)); err != nil {
			return nil, err
		}
		v := e.Finish()
		h := sha256.New()
		_, _ = v.WriteTo(h)
		if u.info.Par2 == nil || digest.Object(h.Sum(nil)) == u.info.Par2.Sum {
			return v, nil
		}
		if first == nil {
			first = v
		}
	}
	return first, nil
}

// encoders are those that may make the volume of a unit as it was: by what is left of it, and by its size.
func (x *run) encoders(u *unit, name string) (out []*par2.Encoder) {
	params := x.params(u)
	if set, f, err := x.parse(u); err == nil {
		_ = f.Close()
		if len(set.Files) == 1 && set.Files[0].Name == name && set.Files[0].Size == u.info.Size {
			if e, err := set.Again(params); err == nil {
				out = append(out, e)
			}
		}
	}
	if e, err := par2.NewEncoder(name, u.info.Size, params); err == nil {
		out = append(out, e)
	}
	return out
}

// params finds out how much parity a pack had, by the size of its volume, or how much it should have.
func (x *run) params(u *unit) par2.Params {
	percent := x.o.Repo.Config().Parity.Data
	if u.info.Kind == chunk.Meta {
		percent = x.o.Repo.Config().Parity.Meta
	}
	size := int64(0)
	switch {
	case u.info.Par2 != nil:
		size = u.info.Par2.Size
	case u.volume != nil:
		size = u.volume.Size
	case x.o.Parity > 0:
		percent = x.o.Parity
	}
	best := par2.Percent(float64(max(percent, 1)), 0)
	if size == 0 {
		return best
	}
	off := func(p par2.Params) int64 {
		d := p.VolumeSize(u.info.Size) - size
		return max(d, -d)
	}
	for percent := 1; percent <= 100; percent++ {
		if p := par2.Percent(float64(percent), 0); off(p) < off(best) {
			best = p
		}
	}
	return best
}

// nameVolume has a new index name the recovery volume of a pack.
func (x *run) nameVolume(u *unit, volume index.Par2) error {
	var named []index.Pack
	err := u.scope.EachIndexed(x.ctx, func(p *index.Pack) error {
		if p.Name == u.info.Name && len(named) == 0 {
			c := *p
			c.Prefix, c.Chunks = append([]byte(nil), p.Prefix...), append(c.Chunks[:0:0], p.Chunks...)
			c.Par2 = &volume
			named = append(named, c)
		}
		return nil
	})
	if err != nil || len(named) == 0 {
		return errors.Join(err, x.ctx.Err())
	}
	_, err = u.scope.Reindex(x.ctx, named)
	return err
}

// readStray reads what the index should say of a pack that no index names. One that is damaged is mended first; the next look finds it then.
func (x *run) readStray(s *Step) (*index.Pack, Outcome, error) {
	u := s.unit
	open := repo.OpenStored(x.st, u.object)
	if x.local[u.object] {
		f, err := os.Open(x.aside.base(u.object) + oldSuffix)
		if err != nil {
			return nil, Failed, err
		}
		defer func() { _ = f.Close() }()
		open = repo.OpenBytes(f, u.pack.Size)
	}
	p, err := u.scope.ReadStray(x.ctx, *u.pack, open)
	switch {
	case err == nil:
		p.Par2 = x.strayVolume(u)
		x.drop(u)
		return p, Mended, nil
	case !isDamage(x.ctx, err):
		return nil, Failed, err
	}
	o, _ := repo.ParseName(u.object)
	x.found[u.object] = &repo.Finding{Object: u.object, Kind: repo.WrongTable, Err: err, Pack: o.Sum}
	if x.beyond[u.object] != nil {
		return nil, Left, err
	}
	outcome, err := x.mendPack(s)
	return s.stray, outcome, err
}

// strayVolume returns what the index should say of the volume of a pack that no index names: nil where there is none, or none that can be read now.
func (x *run) strayVolume(u *unit) *index.Par2 {
	if u.volume == nil {
		return nil
	}
	sum, err := x.fetch(u.volumeName(), u.volume.Size)
	if err != nil {
		return nil
	}
	set, f, err := x.parse(u)
	if err != nil {
		return nil
	}
	_ = f.Close()
	o, _ := repo.ParseName(u.object)
	if len(set.Files) != 1 || set.Files[0].Name != o.Sum.String() || set.Recovery() == 0 {
		return nil
	}
	return &index.Par2{Sum: sum, Size: u.volume.Size}
}
