package repo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/state"
	"firn/internal/store"
)

// output is where a pack is sealed into: the store itself where it takes streams, else memory or a file of the spool.
type output struct {
	w       *Writer
	pending store.Pending
	buf     *bytes.Buffer
	file    *os.File
	spooled *state.SpoolFile // the same file, where a spool is at hand
	kept    string           // its name in the spool
	class   string
	held    int64
}

// newOutput makes the output of a pack of plain bytes; plain < 0: of unknown size, and not to be held in memory.
func (w *Writer) newOutput(kind chunk.Kind, class string, plain int) (*output, error) {
	out := &output{w: w, class: class}
	if c, ok := store.As[store.Creator](w.r.st); ok {
		p, err := c.Create(w.upCtx, store.PutOptions{Class: class})
		out.pending = p
		return out, err
	}
	if plain >= 0 && out.inMemory(int64(plain)+int64(plain)/1024+8192) {
		return out, nil
	}
	if s := w.r.o.Spool; s != nil {
		if f, err := s.Create(); err == nil {
			out.spooled, out.file = f, f.File
			return out, nil
		}
	}
	f, err := os.CreateTemp("", "firn-pack-*")
	if err != nil {
		return nil, fmt.Errorf("spool of %s packs: %w", kind, err)
	}
	_ = os.Remove(f.Name()) // where the system allows it the file has no name from the start, and a kill leaves nothing
	out.file = f
	return out, nil
}

// inMemory takes size bytes of the memory for packs that wait, if they are to be had. One pack always may.
func (o *output) inMemory(size int64) bool {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inMemory > 0 && w.inMemory+size > w.o.Memory {
		return false
	}
	o.take(size)
	return true
}

// hold takes memory for what belongs to a pack that is in memory.
func (o *output) hold(size int64) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	o.take(size)
}

// take is called with the lock of the memory held.
func (o *output) take(size int64) {
	o.w.inMemory += size
	o.held = size
	o.buf = bytes.NewBuffer(make([]byte, 0, size))
}

func (o *output) Write(p []byte) (int, error) {
	switch {
	case o.pending != nil:
		return o.pending.Write(p)
	case o.buf != nil:
		return o.buf.Write(p)
	}
	return o.writeFile(p)
}

// writeFile writes to the spool. Where it is full, packs that are on their way leave it when they are through, so it waits for these before it gives up. (No lock
// keeps them from that: see Writer.)
func (o *output) writeFile(p []byte) (n int, err error) {
	for {
		flying, landed := o.w.underWay()
		m, err := o.file.Write(p[n:])
		n += m
		switch {
		case err == nil:
			return n, nil
		case flying == 0:
			return n, fmt.Errorf("spool of packs: %w", err)
		}
		o.w.r.decide("the spool waits for packs on their way: %v", err)
		select {
		case <-landed:
		case <-o.w.upCtx.Done():
			return n, o.w.cause()
		}
	}
}

// keep gives what is spooled the name by which the next run finds it, if this one does not get it through.
func (o *output) keep(name string) {
	if o.spooled != nil && o.spooled.Keep(name) == nil {
		o.kept = name
	}
}

// parcel is a sealed pack that is to be sent, and its recovery volume, nil where it has none.
type parcel struct{ pack, volume *output }

func (x parcel) keep(name digest.Object) {
	x.pack.keep(name.String())
	if x.volume != nil {
		x.volume.keep(name.String() + volumeSuffix)
	}
}

func (x parcel) leave() {
	x.pack.leave()
	x.volume.leaveIfAny()
}

func (x parcel) abort() {
	x.pack.abort()
	if x.volume != nil {
		x.volume.abort()
	}
}

// commit makes the pack, or volume, an object of the store.
func (o *output) commit(ctx context.Context, name string, size int64, sum digest.Object) error {
	if o.pending != nil {
		return o.pending.Commit(ctx, name)
	}
	var r io.ReadSeeker = o.file
	if o.buf != nil {
		r = bytes.NewReader(o.buf.Bytes())
	}
	put := store.PutOptions{Sum: sum, Class: o.class, Parts: o.w.partSize(size)}
	if o.kept != "" {
		put.Memory = o.w.r.o.Spool.UploadNote(o.kept)
	}
	done := o.w.link.begin(size)
	err := o.w.r.st.Put(ctx, name, r, size, put)
	done(err == nil)
	if err != nil && !isThere(err) {
		o.leave()
		return err
	}
	o.abort()
	return err
}

// leave closes the output of a pack that did not get through; where the spool keeps it, it stays there for the next run.
func (o *output) leave() {
	if o.kept == "" {
		o.abort()
		return
	}
	_ = o.spooled.Close()
}

func (o *output) leaveIfAny() {
	if o != nil {
		o.leave()
	}
}

// abort leaves nothing behind.
func (o *output) abort() {
	switch {
	case o.pending != nil:
		_ = o.pending.Abort()
	case o.spooled != nil:
		o.spooled.Discard()
	case o.file != nil:
		_ = o.file.Close()
		_ = os.Remove(o.file.Name())
	}
	o.buf = nil
	o.w.mu.Lock()
	o.w.inMemory -= o.held
	o.w.mu.Unlock()
	o.held = 0
}

// Bounds of a part of an upload, in bytes.
const (
	minPart = 8 << 20
	maxPart = 1 << 30
)

// partSize is the size of the parts of an object of size bytes, 0 where it is sent as one.
func (w *Writer) partSize(size int64) int64 {
	up := w.link.rate()
	if up == 0 {
		up = w.o.Up
	}
	if w.o.PartTime <= 0 || up == 0 {
		return 0
	}
	part := min(max(int64(up*w.o.PartTime.Seconds())>>20<<20, minPart), maxPart)
	if size < 2*part {
		return 0
	}
	return part
}

// resend sends a pack of an interrupted run that the spool has kept, into the class that this run uses, and reports whether it is in the store now. One that the
// store refuses, such as for its class or size, is dropped, lest every later run stops here: its content is packed again.
func (w *Writer) resend(ctx context.Context, p *index.Pack) (bool, error) {
	s := w.r.o.Spool
	if s == nil {
		return false, nil
	}
	f, err := s.Open(p.Name.String())
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			w.unspool(p.Name) // what is left of it
		}
		return false, nil
	}
	p.Class = w.classOf(p.Kind)
	x := parcel{pack: &output{w: w, file: f.File, spooled: f, kept: p.Name.String(), class: p.Class}, volume: w.keptVolume(p)}
	if !w.isWhole(f, &x, p) {
		x.abort()
		return false, nil
	}
	w.r.decide("pack %v is sent from the spool", p.Name)
	err = x.pack.commit(ctx, packName(p.Kind, w.kit.id, p.Name), p.Size, p.Name)
	if err != nil && !isThere(err) {
		x.volume.leaveIfAny()
		if ctx.Err() != nil || mayPass(err) {
			return false, err
		}
		w.r.decide("pack %v leaves the spool: %v", p.Name, err)
		w.unspool(p.Name)
		return false, nil
	}
	w.wasSent(p)
	return true, w.sendVolume(ctx, x.volume, p)
}

// isWhole reports whether a pack of the spool was not torn by a power cut. Where the volume that it had was, it is made again.
func (w *Writer) isWhole(f *state.SpoolFile, x *parcel, p *index.Pack) bool {
	var rec *recorder
	also := io.Discard
	if x.volume == nil && p.Par2 != nil {
		w.again.Lock() // one takes enough memory
		defer w.again.Unlock()
		if rec = w.newRecorder(p.Kind, p.Size); rec != nil {
			also = rec
		}
	}
	sum, err := sumFile(f.File, also)
	if err != nil || sum != p.Name {
		w.drop(rec)
		return false
	}
	if x.volume == nil {
		x.volume = w.finishVolume(rec, p, false)
	}
	return true
}

// unspool removes what the spool has kept of a pack.
func (w *Writer) unspool(name digest.Object) {
	if s := w.r.o.Spool; s != nil {
		_ = s.Remove(name.String())
		_ = s.Remove(name.String() + volumeSuffix)
	}
}

// mayPass reports whether a store that does not take an object now may take the same object later.
func mayPass(err error) bool {
	return store.IsTemporary(err) || slices.ContainsFunc([]error{store.ErrAuth, store.ErrDenied, store.ErrClock, store.ErrFull, store.ErrReadOnly, store.ErrNoStore},
		func(known error) bool { return errors.Is(err, known) })
}

// sumFile reads a file from its beginning, to also as well.
func sumFile(f *os.File, also io.Writer) (sum digest.Object, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return sum, err
	}
	h := newSummer(also)
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return h.sum(), nil
}

// summer sums what is written through it.
type summer struct {
	io.Writer
	h hash.Hash
}

func newSummer(to io.Writer) summer {
	h := sha256.New()
	return summer{io.MultiWriter(h, to), h}
}

func (s summer) sum() digest.Object { return digest.Object(s.h.Sum(nil)) }

// meter measures how fast objects go to the store, while any is on its way.
type meter struct {
	now func() time.Time

	mu     sync.Mutex
	active int
	since  time.Time
	busy   time.Duration
	bytes  int64
}

// meterLeast is what has to be sent before a rate is believed, in bytes.
const meterLeast = 1 << 20

// begin notes that size bytes begin to be sent; done tells how it ended. A Put that failed may have sent anything, so it counts for the time only.
func (m *meter) begin(size int64) (done func(ok bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.active == 0 {
		m.since = m.now()
	}
	m.active++
	return func(ok bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.active--; m.active == 0 {
			m.busy += max(m.now().Sub(m.since), 0)
		}
		if ok {
			m.bytes += size
		}
	}
}

// rate returns bytes a second, 0 where too little was sent to tell.
func (m *meter) rate() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	busy := m.busy
	if m.active > 0 {
		busy += max(m.now().Sub(m.since), 0)
	}
	if m.bytes < meterLeast || busy <= 0 {
		return 0
	}
	return float64(m.bytes) / busy.Seconds()
}
