package par2

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	"firn/internal/par2/gf16"
)

// Repair writes the files anew: outs[i] gets Files[i] from beginning to end, unless it is nil or there are fewer outs. The report is that of Check, and its
// sources must not have changed, so no out may write to one of them. Each file is compared with the MD5 that the set has for it.
//
// Memory: that of Options for lost slices, and where these do not fit, all data is read once more for each part of them; 1 MiB a worker.
//
// Errors: *BeyondRepairError before anything is written; *MismatchError, after which what was written is worth nothing; *LimitError if not
// even one slice fits in the memory; and those of reading and writing.
func (s *Set) Repair(r *Report, outs []io.Writer, o Options) error {
	p := &repairer{set: s, report: r, options: o}
	for i, place := range r.places {
		if place.source == 0 {
			p.lost = append(p.lost, i)
		}
	}
	if err := p.prepare(); err != nil {
		return err
	}
	for i, w := range outs {
		if i < len(s.Files) && w != nil {
			if err := p.file(&s.Files[i], w); err != nil {
				return err
			}
		}
	}
	return nil
}

type repairer struct {
	set     *Set
	report  *Report
	options Options
	lost    []int           // slices that have to be computed, in order
	rows    []recoverySlice // from which, one for each
	inverse []uint16        // lost slice j is the sum over k of inverse[j*len(rows)+k] times what row k has left of the lost ones

	ready [][]byte // lost slices from number first on
	first int
	room  int // how many fit in the memory
}

// prepare chooses recovery slices that determine what was lost.
func (p *repairer) prepare() error {
	n, s := len(p.lost), p.set
	if n == 0 {
		return nil
	}
	if n > len(s.recovery) {
		return &BeyondRepairError{Lost: n, Recovery: len(s.recovery)}
	}
	memory := p.options.memory()
	rest := memory - 6*int64(n)*int64(n) // the inverse, and what it takes to find it
	if s.SliceSize > rest {
		return &LimitError{What: fmt.Sprintf("bytes of memory to compute %d slices of %d bytes", n, s.SliceSize), Limit: memory}
	}
	p.room = int(min(int64(n), max(1, rest/(s.SliceSize+int64(gf16.Bytes(1, n))))))
	bases := make([]uint16, n)
	for j, i := range p.lost {
		bases[j] = gf16.Base(i)
	}
	picked, inverse, err := gf16.Select(n, len(s.recovery), func(r int, f []uint16) {
		for j := range f {
			f[j] = gf16.Pow(bases[j], s.recovery[r].exponent)
		}
	})
	if err != nil {
		// Some recovery slices tell the same of the lost ones: a weakness of the format's matrix, rare.
		return &BeyondRepairError{Lost: n, Recovery: n - 1}
	}
	for _, r := range picked {
		p.rows = append(p.rows, s.recovery[r])
	}
	p.inverse = inverse
	return nil
}

// input is one slice that lost ones are computed from.
type input struct {
	src    Source
	offset int64
	length int64 // the rest is padding
	row    int   // of a recovery slice, else -1
	slice  int
}

// inputs lists them: all slices that are there, then the recovery slices.
func (p *repairer) inputs() []input {
	var list []input
	for i, at := range p.report.places {
		if at.source != 0 {
			list = append(list, input{p.report.sources[at.source-1], at.offset, p.set.length(i), -1, i})
		}
	}
	for k, r := range p.rows {
		list = append(list, input{*r.volume, r.offset, p.set.SliceSize, k, 0})
	}
	return list
}

// A batch of inputs is read piece by piece; their factors are computed together.
const (
	batchInputs = 32
	pieceBytes  = 32 << 10
)

// compute makes the next lost slices, from number first on, as many as there is room for.
func (p *repairer) compute(first int) error {
	n := min(p.room, len(p.lost)-first)
	if len(p.ready) < n {
		p.ready = makeSlices(n, p.set.SliceSize)
	}
	p.ready, p.first = p.ready[:n], first
	for _, b := range p.ready {
		clear(b)
	}
	rows := len(p.rows)
	inverse := gf16.NewMatrix(n, rows, p.inverse[first*rows:(first+n)*rows])
	inputs := p.inputs()
	for len(inputs) > 0 {
		batch := inputs[:min(batchInputs, len(inputs))]
		inputs = inputs[len(batch):]
		if err := p.addBatch(gf16.NewMatrix(n, len(batch), p.factors(inverse, n, batch)), batch); err != nil {
			return err
		}
	}
	return nil
}

// factors returns those of the batch's slices in the lost ones: the inverse times the factors that they have in the recovery slices.
func (p *repairer) factors(inverse *gf16.Matrix, n int, batch []input) []uint16 {
	in, out := makeSlices(len(p.rows), int64(2*len(batch))), makeSlices(n, int64(2*len(batch)))
	for b, from := range batch {
		if from.row >= 0 {
			binary.LittleEndian.PutUint16(in[from.row][2*b:], 1)
			continue
		}
		base := gf16.Base(from.slice)
		for k, r := range p.rows {
			binary.LittleEndian.PutUint16(in[k][2*b:], gf16.Pow(base, r.exponent))
		}
	}
	inverse.MulAdd(out, in)
	f := make([]uint16, 0, n*len(batch))
	for _, row := range out {
		for b := range batch {
			f = append(f, binary.LittleEndian.Uint16(row[2*b:]))
		}
	}
	return f
}

// addBatch adds a batch to the lost slices, pieces of columns at once on all workers.
func (p *repairer) addBatch(m *gf16.Matrix, batch []input) error {
	workers := p.options.workers()
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			pieces := makeSlices(len(batch), pieceBytes)
			for off := int64(w) * pieceBytes; off < p.set.SliceSize && errs[w] == nil; off += int64(workers) * pieceBytes {
				end := min(off+pieceBytes, p.set.SliceSize)
				in := cut(pieces, 0, int(end-off))
				for b, from := range batch {
					if err := readPadded(from.src, in[b], from.offset+off, from.length-off); err != nil {
						errs[w] = err
					}
				}
				m.MulAdd(cut(p.ready, int(off), int(end)), in)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// slice returns lost slice i, which is computed now unless it was.
func (p *repairer) slice(i int) ([]byte, error) {
	j, _ := slices.BinarySearch(p.lost, i)
	if j < p.first || j >= p.first+len(p.ready) {
		if err := p.compute(j); err != nil {
			return nil, err
		}
	}
	return p.ready[j-p.first], nil
}

// file writes one file.
func (p *repairer) file(f *File, w io.Writer) error {
	c := newCopier(w)
	err := p.slices(f, c)
	hash, end := c.finish()
	switch {
	case err != nil:
		return err
	case end != nil:
		return end
	case hash != f.MD5:
		return &MismatchError{Name: f.Name}
	}
	return nil
}

func (p *repairer) slices(f *File, c *copier) error {
	for i := f.first; i < f.first+f.slices; i++ {
		n := p.set.length(i)
		at := p.report.places[i]
		if at.source == 0 {
			b, err := p.slice(i)
			if err != nil {
				return err
			}
			if err := c.copy(Source{Data: memory(b), Size: n}, 0, n); err != nil {
				return err
			}
			continue
		}
		if err := c.copy(p.report.sources[at.source-1], at.offset, n); err != nil {
			return err
		}
	}
	return nil
}

// memory is a slice of bytes to be read like a file.
type memory []byte

func (m memory) ReadAt(b []byte, off int64) (int, error) {
	n := copy(b, m[min(off, int64(len(m))):])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// copier reads, hashes and writes at the same time. Its two goroutines end with finish.
type copier struct {
	free   chan []byte
	toHash chan []byte
	toOut  chan []byte
	end    chan error
	hash   sum
	fill   []byte
}

const copyBytes = 256 << 10

func newCopier(w io.Writer) *copier {
	c := &copier{free: make(chan []byte, 4), toHash: make(chan []byte, 4), toOut: make(chan []byte, 4), end: make(chan error, 1)}
	for range cap(c.free) {
		c.free <- make([]byte, 0, copyBytes)
	}
	go func() {
		h := md5.New()
		for b := range c.toHash {
			h.Write(b)
			c.toOut <- b
		}
		h.Sum(c.hash[:0])
		close(c.toOut)
	}()
	go func() {
		var failed error
		for b := range c.toOut {
			if failed == nil {
				_, failed = w.Write(b)
			}
			c.free <- b[:0]
		}
		c.end <- failed
	}()
	return c
}

// copy appends n bytes of src at off.
func (c *copier) copy(src Source, off, n int64) error {
	for n > 0 {
		if c.fill == nil {
			c.fill = <-c.free
		}
		start := len(c.fill)
		m := int(min(n, int64(cap(c.fill)-start)))
		c.fill = c.fill[:start+m]
		if err := readFull(src, c.fill[start:], off); err != nil {
			c.fill = c.fill[:start]
			return err
		}
		if off, n = off+int64(m), n-int64(m); len(c.fill) == cap(c.fill) {
			c.flush()
		}
	}
	return nil
}

func (c *copier) flush() {
	if c.fill != nil {
		c.toHash <- c.fill
		c.fill = nil
	}
}

// finish waits until all is written, and returns the MD5 of it and the error of writing.
func (c *copier) finish() (sum, error) {
	c.flush()
	close(c.toHash)
	err := <-c.end
	return c.hash, err
}
