package par2

import (
	"fmt"
	"io"
	"sync"
)

// Encoder makes the volume of one file that is written to it from beginning to end. Beside the recovery slices it keeps two batches of slices
// in memory: 8 MiB together, or two slices if these are larger. The zero Encoder waits for Reset. It is not for concurrent use.
type Encoder struct {
	name     string
	params   Params
	limit    int64
	refit    bool // a file that is small gets small slices
	hash     *hasher
	recovery [][]byte
	batch    [][]byte // room for slices
	waiting  int      // slices begun there
	filled   int64    // of the last of them
	done     int      // slices before the batch
	before   [][]byte // room of the batch before, which pending adds
	pending  *adder
	free     [][]byte // room of former files
	small    *Encoder // for files that turn out to be small
}

const batchBytes = 4 << 20

// NewEncoder returns an encoder for a file of that name with up to maxSize bytes, from which the size of slices is derived. The name
// is what other programs will look for beside the volume; it must be neither empty nor longer than 16 KiB. A file much smaller than maxSize has few,
// mostly padded slices: where the size is known, it should be given.
func NewEncoder(name string, maxSize int64, p Params) (*Encoder, error) {
	if err := checkNew(name, maxSize, p); err != nil {
		return nil, err
	}
	return newEncoder(name, maxSize, p.SliceSize(maxSize), p), nil
}

func newEncoder(name string, size, slice int64, p Params) *Encoder {
	e := &Encoder{name: name}
	e.begin(size, slice, p)
	return e
}

// Reset begins a file of up to maxSize bytes whose name FinishAs will tell, in the memory of the one before; a volume of that must not be in use any more. A
// file that turns out to fit into the two batches gets the slices that its size asks for, unless these are hardly smaller. After an error the encoder is as it was.
func (e *Encoder) Reset(maxSize int64, p Params) error {
	if err := checkNew("-", maxSize, p); err != nil {
		return err
	}
	e.name, e.refit = "", true
	e.begin(maxSize, p.SliceSize(maxSize), p)
	return nil
}

func (e *Encoder) begin(size, slice int64, p Params) {
	for _, room := range [][][]byte{e.recovery, e.batch, e.before} {
		for _, b := range room {
			if b != nil {
				e.free = append(e.free, b)
			}
		}
	}
	e.params, e.limit, e.hash = p, size, newHasher(slice)
	e.waiting, e.filled, e.done, e.pending = 0, 0, 0, nil
	e.recovery = make([][]byte, p.recovery(int((size+slice-1)/slice)))
	for i := range e.recovery {
		e.recovery[i] = e.room()
		clear(e.recovery[i]) // new memory, too: see makeSlices
	}
	e.batch = make([][]byte, min(weaveBatch, max(1, batchBytes/slice)))
	e.before = make([][]byte, len(e.batch))
}

// room returns room for a slice, with anything in it. Files that are made one after another often differ a little in size, so there is some to spare.
func (e *Encoder) room() []byte {
	n := int(e.hash.slice)
	for len(e.free) > 0 {
		last := len(e.free) - 1
		b := e.free[last]
		e.free = e.free[:last]
		if cap(b) >= n {
			return b[:n]
		}
	}
	if !e.refit {
		return make([]byte, n)
	}
	return make([]byte, n, n+n/16)
}

// Again returns an encoder for the only file of a set, which makes the same volume again if p is what it was made with.
func (s *Set) Again(p Params) (*Encoder, error) {
	if len(s.Files) != 1 {
		return nil, fmt.Errorf("set of %d files", len(s.Files))
	}
	f := &s.Files[0]
	if err := checkNew(f.Name, f.Size, p); err != nil {
		return nil, err
	}
	return newEncoder(f.Name, f.Size, s.SliceSize, p), nil
}

func checkNew(name string, size int64, p Params) error {
	if err := p.Check(); err != nil {
		return err
	}
	if name == "" || len(name) > maxName {
		return fmt.Errorf("name of %d bytes: want 1 to %d", len(name), maxName)
	}
	if size < 0 || p.SliceSize(size) > MaxSlice {
		return fmt.Errorf("file of %d bytes", size)
	}
	return nil
}

// makeSlices allocates slices and writes to all of them, since memory that is read first and written later costs the system two faults a page.
func makeSlices(n int, size int64) [][]byte {
	s := make([][]byte, n)
	for i := range s {
		s[i] = make([]byte, size)
		clear(s[i])
	}
	return s
}

// Write takes the next bytes of the file. The only error is ErrTooLarge, after which nothing of b was taken.
func (e *Encoder) Write(b []byte) (int, error) {
	if int64(len(b)) > e.limit-e.hash.size {
		return 0, ErrTooLarge
	}
	for rest := b; len(rest) > 0; {
		if e.waiting == 0 || e.filled == e.hash.slice {
			e.nextSlice()
		}
		to := e.batch[e.waiting-1][e.filled:]
		n := min(len(rest), len(to))
		e.hash.write(rest[:n], to[:n], e.pending)
		e.filled += int64(n)
		rest = rest[n:]
	}
	return len(b), nil
}

// nextSlice makes room for one more slice.
func (e *Encoder) nextSlice() {
	if e.waiting == len(e.batch) {
		e.addBatch()
	}
	if e.batch[e.waiting] == nil {
		e.batch[e.waiting] = e.room()
	}
	e.waiting++
	e.filled = 0
}

// addBatch leaves the full batch to an adder and takes the room of the one before.
func (e *Encoder) addBatch() {
	if e.pending != nil {
		e.pending.finish(1)
	}
	e.pending = &adder{recovery: e.recovery, in: e.batch[:e.waiting], first: e.done, slice: e.hash.slice}
	e.done += e.waiting
	e.batch, e.before, e.waiting = e.before, e.batch, 0
}

// Finish returns the volume. The encoder must not be used afterwards, unless it is Reset.
func (e *Encoder) Finish() *Volume {
	v := e.finish()
	e.batch, e.before, e.free = nil, nil, nil
	return v
}

// FinishAs is Finish for a file whose name is known only now; the name is what NewEncoder takes. The volume lies in memory of the encoder: it is gone with the
// next Reset.
func (e *Encoder) FinishAs(name string) (*Volume, error) {
	if err := checkNew(name, e.limit, e.params); err != nil {
		return nil, err
	}
	e.name = name
	if size, slice := e.hash.size, e.hash.slice; e.refit && e.done <= len(e.before) && e.params.SliceSize(size) < slice-slice/16 {
		return e.finishSmall(size)
	}
	return e.finish(), nil
}

// finishSmall makes the volume of a file that lies in the two batches as a whole, with slices of the size that it asks for.
func (e *Encoder) finishSmall(size int64) (*Volume, error) {
	if e.small == nil {
		e.small = new(Encoder)
	}
	if err := e.small.Reset(size, e.params); err != nil {
		return nil, err
	}
	for _, b := range append(e.before[:e.done:e.done], e.batch[:e.waiting]...) {
		n, err := e.small.Write(b[:min(int64(len(b)), size)])
		if err != nil {
			return nil, err
		}
		size -= int64(n)
	}
	return e.small.FinishAs(e.name)
}

func (e *Encoder) finish() *Volume {
	if e.waiting > 0 {
		clear(e.batch[e.waiting-1][e.filled:])
		e.addBatch()
	}
	if e.pending != nil {
		e.pending.finish(1)
	}
	e.pending = nil
	d, sums := e.hash.finish(e.name)
	return newVolume(d, e.hash.slice, sums, e.recovery[:e.params.recovery(len(sums))])
}

// Encode makes the volume of a file that lies in memory, on up to that many processors. It allocates the volume, one slice, and less than 1 MiB more.
func Encode(name string, data []byte, p Params, workers int) (*Volume, error) {
	if err := checkNew(name, int64(len(data)), p); err != nil {
		return nil, err
	}
	slice := p.SliceSize(int64(len(data)))
	var in [][]byte
	for off := int64(0); off < int64(len(data)); off += slice {
		if int64(len(data))-off < slice {
			in = append(in, make([]byte, slice))
			copy(in[len(in)-1], data[off:])
			break
		}
		in = append(in, data[off:off+slice])
	}
	a := &adder{recovery: makeSlices(p.recovery(len(in)), slice), in: in, slice: slice}
	h := newHasher(slice)
	if weaves(slice) && len(a.recovery) <= weavable(len(a.recovery)) || workers < 2 {
		h.write(data, nil, a)
		a.finish(max(1, workers))
	} else {
		var wg sync.WaitGroup
		wg.Go(func() { h.write(data, nil, nil) })
		a.finish(workers - 1)
		wg.Wait()
	}
	d, sums := h.finish(name)
	return newVolume(d, slice, sums, a.recovery), nil
}

// Volume is a finished volume in memory.
type Volume struct {
	parts [][]byte
	ends  []int64 // of each part
}

func newVolume(d *description, slice int64, sums []sliceSum, recovery [][]byte) *Volume {
	critical, set := critical(d, slice, sums)
	v := new(Volume)
	n := copies(len(recovery), int64(len(critical)), slice)
	v.add(critical)
	heads := make([][]byte, len(recovery))
	for e := range heads {
		heads[e] = recoveryHead(set, uint32(e), slice)
	}
	hashRecovery(heads, recovery)
	for e, data := range recovery {
		head := heads[e]
		v.add(head)
		v.add(data)
		// Copies after the first are spread evenly, the last one at the end.
		if (e+1)*(n-1)/len(recovery) > e*(n-1)/len(recovery) {
			v.add(critical)
		}
	}
	return v
}

// hashRecovery fills in the MD5 of recovery packets, which their heads have room for.
func hashRecovery(heads, recovery [][]byte) {
	for first := 0; first < len(heads); first += maxLanes {
		last := min(first+maxLanes, len(heads))
		l := newLanes(last - first)
		begin, rest := make([][]byte, last-first), make([][]byte, last-first)
		n := min(28, len(recovery[first])) // what fits into a block behind the 36 bytes of the head that are hashed
		for i := range begin {
			begin[i] = append(append(make([]byte, 0, 64), heads[first+i][32:]...), recovery[first+i][:n]...)
			rest[i] = recovery[first+i][n:]
		}
		l.write(begin)
		if len(rest[0]) > 0 {
			l.write(rest)
		}
		for i, s := range l.sums() {
			copy(heads[first+i][16:], s[:])
		}
	}
}

func (v *Volume) add(part []byte) {
	v.parts, v.ends = append(v.parts, part), append(v.ends, v.Size()+int64(len(part)))
}

// Size is the length of the volume in bytes.
func (v *Volume) Size() int64 {
	if len(v.ends) == 0 {
		return 0
	}
	return v.ends[len(v.ends)-1]
}

// WriteTo writes the volume to w.
func (v *Volume) WriteTo(w io.Writer) (n int64, err error) {
	for _, part := range v.parts {
		m, err := w.Write(part)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// ReadAt reads from the volume as from a file.
func (v *Volume) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d", off)
	}
	for i, part := range v.parts {
		if start := v.ends[i] - int64(len(part)); off < v.ends[i] && n < len(b) {
			m := copy(b[n:], part[off-start:])
			n, off = n+m, off+int64(m)
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Bytes returns the volume in one piece, newly allocated.
func (v *Volume) Bytes() []byte {
	b := make([]byte, 0, v.Size())
	for _, part := range v.parts {
		b = append(b, part...)
	}
	return b
}
