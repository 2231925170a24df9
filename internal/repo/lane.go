package repo

import (
	"io"
	"sync"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/frame"
	"firn/internal/index"
	"firn/internal/pack"
)

// lane is one pack that is being filled: in memory, or, where packs are large, streamed into the spool. Where each worker has a lane of its own it compresses straight into
// it; workers that share one compress outside of its lock.
type lane struct {
	mu      sync.Mutex
	streams bool

	b   *pack.Builder
	enc *frame.Encoder

	s   *pack.Stream // nil: no pack is begun
	out *output
	rec *recorder // nil: it gets no parity
}

// coil is what a worker compresses with before it takes the lock of a shared lane.
type coil struct {
	enc *frame.Encoder
	buf []byte
}

// StreamAbove is the size from which on a pack is not held in memory, in bytes.
const StreamAbove = 32 << 20

// maxStreamChunks keeps the table of a streamed pack, which is held in memory, and its record in the journal at a few MiB.
const maxStreamChunks = 1 << 17

// makeLanes makes the lanes that the options ask for.
func (w *Writer) makeLanes() {
	w.coils.New = func() any { return &coil{enc: frame.NewEncoder(w.o.Level)} }
	builder := func(kind chunk.Kind, size int64) *pack.Builder {
		return pack.NewBuilder(kind, w.r.host.ScopeID, w.o.Epoch, int(size))
	}
	if w.o.PackSize > w.o.Streams || w.o.PackTime > 0 && w.o.PackMost > w.o.Streams {
		w.lanes[chunk.Data] = []*lane{{streams: true}}
	} else {
		for range w.o.Lanes {
			w.lanes[chunk.Data] = append(w.lanes[chunk.Data], &lane{b: builder(chunk.Data, w.o.PackSize), enc: frame.NewEncoder(w.o.Level)})
		}
	}
	w.lanes[chunk.Meta] = []*lane{{b: builder(chunk.Meta, min(metaPackSize, w.o.PackSize)), enc: frame.NewEncoder(w.o.MetaLevel)}}
}

func (l *lane) count() int {
	switch {
	case !l.streams:
		return l.b.Count()
	case l.s == nil:
		return 0
	}
	return l.s.Count()
}

// packLimit is how large the next streamed pack is to be.
func (w *Writer) packLimit() int64 {
	up := w.link.rate()
	if up == 0 {
		up = w.o.Up
	}
	if w.o.PackTime <= 0 || up == 0 {
		return w.o.PackSize
	}
	return min(max(int64(up*w.o.PackTime.Seconds()), w.o.PackLeast), w.o.PackMost)
}

// putShared compresses a chunk and adds it to a lane that others use as well. The caller has claimed it.
func (w *Writer) putShared(l *lane, kind chunk.Kind, id digest.Chunk, raw []byte) (int, error) {
	c := w.coils.Get().(*coil)
	defer w.coils.Put(c)
	c.buf = c.enc.Append(c.buf[:0], raw)
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.upCtx.Err() != nil {
		return 0, w.cause()
	}
	if !l.fits(len(raw), len(c.buf)) {
		if err := w.seal(l, kind); err != nil {
			return 0, err
		}
	}
	ref := chunk.Ref{ID: id, Frame: uint32(len(c.buf)), Raw: uint32(len(raw))}
	if err := w.add(l, kind, ref, c.buf); err != nil {
		return 0, w.failed(err)
	}
	w.count(kind, raw, len(c.buf))
	return len(c.buf), nil
}

// fits reports whether a chunk goes into the pack that is being filled.
func (l *lane) fits(raw, frame int) bool {
	if !l.streams {
		return l.b.Fits(raw)
	}
	return l.s == nil || l.s.Count() < maxStreamChunks && l.s.Fits(frame)
}

// add adds a frame to the pack of a lane, whose lock the caller holds, and begins one where none is.
func (w *Writer) add(l *lane, kind chunk.Kind, ref chunk.Ref, frame []byte) error {
	if !l.streams {
		l.b.AddFrame(ref, frame)
		return nil
	}
	if l.s == nil {
		if err := w.beginStream(l, kind, len(frame)); err != nil {
			return err
		}
	}
	return l.s.Add(ref, frame)
}

// beginStream begins a pack, the first frame of which has so many bytes.
func (w *Writer) beginStream(l *lane, kind chunk.Kind, first int) (err error) {
	if l.out, err = w.newOutput(kind, w.classOf(kind), -1); err != nil {
		return err
	}
	limit := w.packLimit()
	if s := w.r.o.Spool; l.out.spooled != nil {
		limit = w.fitting(limit, s.Room)
	}
	to := io.Writer(l.out)
	if l.rec = w.newRecorder(kind, w.sealedMost(max(limit, int64(first)))); l.rec != nil {
		to = io.MultiWriter(l.out, l.rec)
	}
	l.s, err = pack.NewStream(kind, w.r.host.ScopeID, w.o.Epoch, limit, to, w.r.dataRecipient())
	if err != nil {
		w.giveUp(l)
	}
	return err
}

// sealedMost is what the object of a pack of so many bytes of frames and table has at most.
func (w *Writer) sealedMost(plain int64) int64 {
	if w.r.padded() {
		plain += plain / 8
	}
	return plain + plain/1024 + 8192
}

// giveUp leaves nothing of a pack that is streamed.
func (w *Writer) giveUp(l *lane) {
	l.out.abort()
	w.drop(l.rec)
	l.s, l.out, l.rec = nil, nil, nil
}

// leastRoom is how large a pack should be that is made smaller for want of room, in bytes: before a smaller one is begun, those on their way may leave.
const leastRoom = 16 << 20

// fitting returns how large a pack may become in a spool that has so much room: half of that, so that padding fits, and other packs, too.
func (w *Writer) fitting(limit int64, room func() (int64, bool)) int64 {
	for {
		flying, landed := w.underWay()
		free, known := room()
		if !known || free/2 >= limit {
			return limit
		}
		if free/2 >= leastRoom || flying == 0 {
			return min(max(free/2, 1<<20), limit)
		}
		select {
		case <-landed:
		case <-w.upCtx.Done():
			return limit // nothing comes of this pack
		}
	}
}

// finishPack seals what a lane holds, and empties the lane.
func (w *Writer) finishPack(l *lane, kind chunk.Kind) (parcel, index.Pack, error) {
	p := index.Pack{Kind: kind, Epoch: w.o.Epoch, Class: w.classOf(kind), Birth: w.r.o.Now().Truncate(time.Second)}
	var x parcel
	var rec *recorder
	var sealed pack.Sealed
	var pad int
	var err error
	if l.streams {
		x.pack, rec = l.out, l.rec
		p.Chunks = l.s.Chunks()
		sealed, pad, err = l.s.Finish(w.kit.signer(), w.r.padded())
		l.s, l.out, l.rec = nil, nil, nil
	} else {
		var plain []byte
		plain, pad = l.b.Finish(w.kit.signer(), w.r.padded())
		if x.pack, err = w.newOutput(kind, p.Class, len(plain)); err != nil {
			return x, p, err
		}
		to := io.Writer(x.pack)
		if rec = w.newRecorder(kind, int64(len(plain)+len(plain)/1024)+4096); rec != nil {
			to = io.MultiWriter(x.pack, rec)
		}
		sealed, err = pack.Seal(to, plain, w.r.dataRecipient())
		p.Chunks = append([]chunk.Ref(nil), l.b.Chunks()...)
		l.b.Reset()
	}
	if err != nil {
		x.pack.abort()
		w.drop(rec)
		return x, p, err
	}
	p.Name, p.Size, p.Prefix, p.Padding = sealed.Name, sealed.Size, sealed.Prefix, int64(pad)
	x.volume = w.finishVolume(rec, &p, x.pack.buf != nil)
	return x, p, nil
}

// dropStreams gives up the packs that are streamed and not finished.
func (w *Writer) dropStreams() {
	for _, lanes := range w.lanes {
		for _, l := range lanes {
			l.mu.Lock()
			if l.s != nil {
				w.giveUp(l)
			}
			l.mu.Unlock()
		}
	}
}
