package par2

import (
	"fmt"
	"io"
	"sync"
)

// Encoder makes the volume of one file that is written to it from beginning to end. Beside the recovery slices it keeps two batches of slices
// in memory: 8 MiB together, or two slices if these are larger. It is not for concurrent use.
type Encoder struct {
	name     string
	params   Params
	limit    int64
	hash     *hasher
	recovery [][]byte
	batch    [][]byte // room for slices
	waiting  int      // slices begun there
	filled   int64    // of the last of them
	done     int      // slices before the batch
	before   [][]byte // room of the batch before, which pending adds
	pending  *adder
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
	e := &Encoder{name: name, params: p, limit: size, hash: newHasher(slice)}
	e.recovery = makeSlices(p.recovery(int((size+slice-1)/slice)), slice)
	e.batch = make([][]byte, min(weaveBatch, max(1, batchBytes/slice)))
	e.before = make([][]byte, len(e.batch))
	return e
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
		e.batch[e.waiting] = make([]byte, e.hash.slice)
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

// Finish returns the volume. The encoder must not be used afterwards.
func (e *Encoder) Finish() *Volume {
	if e.waiting > 0 {
		clear(e.batch[e.waiting-1][e.filled:])
		e.addBatch()
	}
	if e.pending != nil {
		e.pending.finish(1)
	}
	e.batch, e.before, e.pending = nil, nil, nil
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
