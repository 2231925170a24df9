package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/par2"
	"firn/internal/store"
)

// parityOf is how much parity a new pack gets, in percent.
func (w *Writer) parityOf(kind chunk.Kind) int {
	switch {
	case kind == chunk.Meta:
		return w.r.cfg.Parity.Meta
	case w.o.Parity != nil:
		return *w.o.Parity
	}
	return w.r.cfg.Parity.Data
}

// recorder makes the recovery volume of a pack from the bytes that are written to it, in a goroutine of its own: sealing and parity take about as long as each
// other, and both go through a pack from its beginning to its end. It is used for one pack after another.
type recorder struct {
	enc  par2.Encoder
	buf  []byte // being filled
	in   chan []byte
	free chan []byte
	done chan error // how the goroutine ended
}

// Between sealing and parity wait so many buffers of so many bytes.
const (
	recorderBuffers = 4
	recorderBuffer  = 128 << 10
)

// newRecorder begins the volume of a pack whose object has at most so many bytes. It returns nil where there is to be none.
func (w *Writer) newRecorder(kind chunk.Kind, most int64) *recorder {
	percent := w.parityOf(kind)
	if percent == 0 {
		return nil
	}
	w.mu.Lock()
	var v *recorder
	if last := len(w.recorders) - 1; last >= 0 {
		v, w.recorders = w.recorders[last], w.recorders[:last]
	}
	w.mu.Unlock()
	if v == nil {
		v = &recorder{free: make(chan []byte, recorderBuffers)}
		for range recorderBuffers - 1 {
			v.free <- make([]byte, 0, recorderBuffer)
		}
		v.buf = make([]byte, 0, recorderBuffer)
	}
	if err := v.enc.Reset(most, par2.Percent(float64(percent), 0)); err != nil {
		w.bare("a pack", err)
		return nil
	}
	in, done := make(chan []byte, recorderBuffers), make(chan error, 1)
	v.in, v.done, v.buf = in, done, v.buf[:0]
	go func() {
		var err error
		for b := range in {
			if err == nil {
				_, err = v.enc.Write(b)
			}
			v.free <- b[:0]
		}
		done <- err
	}()
	return v
}

// Write never fails: what goes wrong concerns the volume alone.
func (v *recorder) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), recorderBuffer-len(v.buf))
		v.buf, rest = append(v.buf, rest[:n]...), rest[n:]
		if len(v.buf) == recorderBuffer {
			v.in <- v.buf
			v.buf = <-v.free
		}
	}
	return len(p), nil
}

// end waits for the goroutine.
func (v *recorder) end() error {
	v.in <- v.buf
	close(v.in)
	err := <-v.done
	v.buf = <-v.free
	return err
}

// drop gives up a volume; v may be nil.
func (w *Writer) drop(v *recorder) {
	if v == nil {
		return
	}
	_ = v.end()
	w.keepRecorder(v)
}

func (w *Writer) keepRecorder(v *recorder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recorders = append(w.recorders, v)
}

// finishVolume ends the volume of p, whose name and size are known now, notes it in p, and returns where it waits to be sent, in memory or not: nil where there is none, since
// v is nil or something went wrong, which is no reason to lose the pack.
func (w *Writer) finishVolume(v *recorder, p *index.Pack, inMemory bool) *output {
	p.Par2 = nil
	if v == nil {
		return nil
	}
	defer w.keepRecorder(v)
	err := v.end()
	var out *output
	if err == nil {
		out, err = w.writeVolume(v, p, inMemory)
	}
	if err != nil {
		w.bare("pack "+p.Name.String(), err)
		return nil
	}
	return out
}

func (w *Writer) writeVolume(v *recorder, p *index.Pack, inMemory bool) (*output, error) {
	vol, err := v.enc.FinishAs(p.Name.String())
	if err != nil {
		return nil, err
	}
	out := &output{w: w, class: p.Class}
	if inMemory {
		out.hold(vol.Size())
	} else if out, err = w.newOutput(p.Kind, p.Class, -1); err != nil {
		return nil, err
	}
	sum := newSummer(out)
	if _, err := vol.WriteTo(sum); err != nil {
		out.abort()
		return nil, err
	}
	p.Par2 = &index.Par2{Sum: sum.sum(), Size: vol.Size()}
	return out, nil
}

// bare tells that a pack has no recovery volume, the first time as a note.
func (w *Writer) bare(what string, err error) {
	if w.bares.Add(1) == 1 {
		w.r.note("%s has no recovery volume: %v", what, err)
		return
	}
	w.r.decide("%s has no recovery volume: %v", what, err)
}

// sendVolume stores the volume of p, which lies in the store. Where the store refuses it p goes without; what may pass ends the run, and the next one sends the volume.
func (w *Writer) sendVolume(ctx context.Context, out *output, p *index.Pack) error {
	if out == nil {
		return nil
	}
	err := out.commit(ctx, volumeName(packName(p.Kind, w.kit.id, p.Name)), p.Par2.Size, p.Par2.Sum)
	switch {
	case err == nil || isThere(err):
		w.sent[p.Kind].volumes.Add(1)
		w.sent[p.Kind].volumeBytes.Add(p.Par2.Size)
		return nil
	case ctx.Err() != nil || store.IsTemporary(err):
		return err
	}
	w.bare("pack "+p.Name.String(), err)
	p.Par2 = nil
	if out.kept != "" { // until an index says that there is none, the next run may try again
		w.mu.Lock()
		w.refused = append(w.refused, out.kept)
		w.mu.Unlock()
	}
	return nil
}

// forgetRefused removes from the spool the volumes of packs that are in an index without.
func (w *Writer) forgetRefused() {
	w.mu.Lock()
	names := w.refused
	w.refused = nil
	w.mu.Unlock()
	for _, name := range names {
		_ = w.r.o.Spool.Remove(name)
	}
}

// keptVolume returns the volume that the spool has kept of a pack of an interrupted run, nil where there is none that is whole.
func (w *Writer) keptVolume(p *index.Pack) *output {
	if w.r.o.Spool == nil || p.Par2 == nil {
		return nil
	}
	name := p.Name.String() + volumeSuffix
	f, err := w.r.o.Spool.Open(name)
	if err != nil {
		return nil
	}
	out := &output{w: w, file: f.File, spooled: f, kept: name, class: p.Class}
	sum, err := sumFile(f.File, io.Discard)
	if err != nil || sum != p.Par2.Sum {
		out.abort()
		return nil
	}
	return out
}

// adoptVolume sees that a pack of an interrupted run, which lies in the store, has its volume. What was sealed and not stored is sent from the spool; where that has it
// no more it is made once more, from the pack in the spool, or from that in the store if its class is the usual one. Else the pack goes without.
func (w *Writer) adoptVolume(ctx context.Context, p *index.Pack, class string) error {
	if p.Par2 == nil {
		return nil
	}
	info, err := w.r.lookFor(ctx, volumeName(packName(p.Kind, w.kit.id, p.Name)))
	switch {
	case err == nil && info.Size == p.Par2.Size:
		return nil
	case err == nil:
		w.bare("pack "+p.Name.String(), fmt.Errorf("%s is there, and is another one", info.Name))
		p.Par2 = nil
		return nil
	case !errors.Is(err, store.ErrNotExist):
		return err
	}
	out := w.keptVolume(p)
	if out == nil {
		out = w.volumeAgain(ctx, p, class)
	}
	return w.sendVolume(ctx, out, p)
}

// volumeAgain makes a volume from the pack.
func (w *Writer) volumeAgain(ctx context.Context, p *index.Pack, class string) *output {
	w.again.Lock() // one takes enough memory
	defer w.again.Unlock()
	v := w.newRecorder(p.Kind, p.Size)
	if v == nil {
		p.Par2 = nil
		return nil
	}
	sum, err := w.readPack(ctx, p, class, v)
	if err == nil && sum != p.Name {
		err = store.ErrChecksum
	}
	if err != nil {
		w.drop(v)
		w.bare("pack "+p.Name.String(), err)
		p.Par2 = nil
		return nil
	}
	return w.finishVolume(v, p, false)
}

// readPack writes a whole pack to v and returns its sum.
func (w *Writer) readPack(ctx context.Context, p *index.Pack, class string, v io.Writer) (digest.Object, error) {
	if s := w.r.o.Spool; s != nil {
		if f, err := s.Open(p.Name.String()); err == nil {
			defer func() { _ = f.Close() }()
			return sumFile(f.File, v)
		}
	}
	if class != "" && !strings.EqualFold(class, "STANDARD") {
		return digest.Object{}, store.ErrCold // perhaps
	}
	rc, err := w.r.st.Get(ctx, packName(p.Kind, w.kit.id, p.Name), 0, p.Size)
	if err != nil {
		return digest.Object{}, err
	}
	defer func() { _ = rc.Close() }()
	sum := newSummer(v)
	_, err = io.Copy(sum, rc)
	return sum.sum(), err
}
