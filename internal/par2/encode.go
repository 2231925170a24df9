package par2

import (
	"crypto/md5"
	"fmt"
	"io"
	"sync"

	"firn/internal/par2/gf16"
)

// Encoder makes the volume of one file that is written to it from beginning to end. It keeps the recovery slices and up to a few slices
// of the file in memory (batchBytes, at least one slice). It is not for concurrent use.
type Encoder struct {
	name     string
	params   Params
	limit    int64
	hash     *hasher
	recovery [][]byte
	batch    [][]byte // room for slices that wait to be added
	waiting  int      // slices begun there
	filled   int64    // of the last of them
	done     int      // slices before the batch
}

const batchBytes = 8 << 20

// NewEncoder returns an encoder for a file of that name with up to maxSize bytes, from which the size of slices is derived. The name
// is what other programs will look for beside the volume; it must be neither empty nor longer than 16 KiB.
func NewEncoder(name string, maxSize int64, p Params) (*Encoder, error) {
	if err := checkNew(name, maxSize, p); err != nil {
		return nil, err
	}
	slice := p.SliceSize(maxSize)
	e := &Encoder{name: name, params: p, limit: maxSize, hash: newHasher(slice)}
	e.recovery = makeSlices(p.recovery(int((maxSize+slice-1)/slice)), slice)
	e.batch = make([][]byte, min(64, max(1, batchBytes/slice)))
	return e, nil
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

func makeSlices(n int, size int64) [][]byte {
	s := make([][]byte, n)
	for i := range s {
		s[i] = make([]byte, size)
	}
	return s
}

// Write takes the next bytes of the file. The only error is ErrTooLarge, after which nothing of b was taken.
func (e *Encoder) Write(b []byte) (int, error) {
	if int64(len(b)) > e.limit-e.hash.size {
		return 0, ErrTooLarge
	}
	e.hash.write(b)
	slice := e.hash.slice
	for rest := b; len(rest) > 0; {
		if e.waiting == 0 || e.filled == slice {
			e.nextSlice()
		}
		n := copy(e.batch[e.waiting-1][e.filled:], rest)
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

// addBatch adds what waits to the recovery slices.
func (e *Encoder) addBatch() {
	addSlices(e.recovery, e.batch[:e.waiting], e.done)
	e.done += e.waiting
	e.waiting = 0
}

// addSlices adds slices first, first+1, … of a set to the recovery slices with exponents 0, 1, …
func addSlices(recovery, in [][]byte, first int) {
	gf16.NewMatrix(len(recovery), len(in), factors(len(recovery), len(in), first)).MulAdd(recovery, in)
}

// factors returns the factor of each input slice from first on in each recovery slice.
func factors(recovery, n, first int) []uint16 {
	f := make([]uint16, recovery*n)
	for i := range n {
		base, x := gf16.Base(first+i), uint16(1)
		for e := range recovery {
			f[e*n+i] = x
			x = gf16.Mul(x, base)
		}
	}
	return f
}

// Finish returns the volume. The encoder must not be used afterwards.
func (e *Encoder) Finish() *Volume {
	if e.waiting > 0 {
		clear(e.batch[e.waiting-1][e.filled:])
		e.addBatch()
	}
	e.batch = nil
	d, sums := e.hash.finish(e.name)
	return newVolume(d, e.hash.slice, sums, e.recovery[:e.params.recovery(len(sums))])
}

// Encode makes the volume of a file that lies in memory, on up to that many processors. It allocates the volume and less than 1 MiB more.
func Encode(name string, data []byte, p Params, workers int) (*Volume, error) {
	if err := checkNew(name, int64(len(data)), p); err != nil {
		return nil, err
	}
	slice := p.SliceSize(int64(len(data)))
	n := int((int64(len(data)) + slice - 1) / slice)
	recovery := makeSlices(p.recovery(n), slice)
	h := newHasher(slice)
	var wg sync.WaitGroup
	if workers > 1 {
		wg.Go(func() { h.write(data) })
		addAll(recovery, data, slice, workers-1)
	} else {
		h.write(data)
		addAll(recovery, data, slice, 1)
	}
	wg.Wait()
	d, sums := h.finish(name)
	return newVolume(d, slice, sums, recovery), nil
}

// addAll adds all slices of data to the recovery slices.
func addAll(recovery [][]byte, data []byte, slice int64, workers int) {
	whole := int(int64(len(data)) / slice)
	in := make([][]byte, 0, 64)
	for i := 0; i < whole; i += len(in) {
		in = in[:0]
		for j := i; j < whole && len(in) < cap(in); j++ {
			in = append(in, data[int64(j)*slice:][:slice])
		}
		inColumns(recovery, in, workers, func(r, d [][]byte) { addSlices(r, d, i) })
	}
	if rest := data[int64(whole)*slice:]; len(rest) > 0 {
		n := len(rest) &^ 3
		addSlices(cut(recovery, 0, n), [][]byte{rest[:n]}, whole)
		if n < len(rest) {
			last := append(make([]byte, 0, 4), rest[n:]...)
			addSlices(cut(recovery, n, n+4), [][]byte{last[:4]}, whole)
		}
	}
}

// inColumns calls f with columns of the buffers, at once on so many processors.
func inColumns(out, in [][]byte, workers int, f func(out, in [][]byte)) {
	if len(in) == 0 {
		return
	}
	n := len(in[0])
	step := int(up(int64(n/workers)+1, 4096))
	var wg sync.WaitGroup
	for off := step; off < n; off += step {
		wg.Go(func() { f(cut(out, off, min(off+step, n)), cut(in, off, min(off+step, n))) })
	}
	f(cut(out, 0, min(step, n)), cut(in, 0, min(step, n)))
	wg.Wait()
}

// cut returns the columns from off to end.
func cut(b [][]byte, off, end int) [][]byte {
	c := make([][]byte, len(b))
	for i := range b {
		c[i] = b[i][off:end:end]
	}
	return c
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
	for e, data := range recovery {
		head := recoveryHead(set, uint32(e), slice)
		hash := md5.New()
		hash.Write(head[32:])
		hash.Write(data)
		hash.Sum(head[16:16])
		v.add(head)
		v.add(data)
		// Copies after the first are spread evenly, the last one at the end.
		if (e+1)*(n-1)/len(recovery) > e*(n-1)/len(recovery) {
			v.add(critical)
		}
	}
	return v
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
