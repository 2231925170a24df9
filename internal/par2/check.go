package par2

import (
	"crypto/md5"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// State of a file.
type State int

const (
	// Whole: what was checked is the file.
	Whole State = iota
	// Damaged: there is something, but not the file.
	Damaged
	// Missing: there is nothing.
	Missing
)

// FileReport is what was found of one file.
type FileReport struct {
	State State
	Lost  int // slices of it that were found nowhere
}

// Report is what Check found.
type Report struct {
	Files    []FileReport // as Set.Files
	Others   []FileReport // as Set.Others
	Lost     int          // slices that were found nowhere
	Recovery int          // recovery slices at hand
	Moved    int          // slices that were found elsewhere than at their place
	// ReadError is the first error of reading, if any: what could not be read counts as damaged.
	ReadError error

	sources []Source
	places  []place // of each slice
}

// place is where a slice was found. The zero value: nowhere.
type place struct {
	source int // 1 and up: number of the source
	offset int64
}

// Whole reports whether no file needs repair.
func (r *Report) Whole() bool {
	for _, files := range [][]FileReport{r.Files, r.Others} {
		for _, f := range files {
			if f.State != Whole {
				return false
			}
		}
	}
	return true
}

// Err returns nil if nothing is lost that the recovery slices cannot replace, as far as their number tells; else a *BeyondRepairError.
func (r *Report) Err() error {
	if r.Lost <= r.Recovery {
		return nil
	}
	return &BeyondRepairError{Lost: r.Lost, Recovery: r.Recovery}
}

// Options say what work may cost. The zero value is one processor and 256 MiB.
type Options struct {
	Workers int   // goroutines at once
	Memory  int64 // bytes for Repair; it takes more only where it cannot do with less: one slice, and 1 MiB a worker
}

func (o Options) workers() int { return max(1, o.Workers) }

func (o Options) memory() int64 {
	if o.Memory <= 0 {
		return 256 << 20
	}
	return o.Memory
}

// Check looks for all slices of the set. sources[i] is what stands where Files[i] should; after these follow those of Others, and after them
// whatever else may hold parts of the files, all of which can be left out. Slices are looked for at their places first, then, in what is left over,
// anywhere; the last, shorter slice of a file only where it was, at the end of what is left of the file, or, if the repair depends on it, anywhere too.
// It reads each source once, and what is out of place again. It never fails: what cannot be read counts as damaged.
func (s *Set) Check(sources []Source, o Options) *Report {
	r := &Report{Recovery: len(s.recovery), sources: sources, places: make([]place, s.Slices)}
	r.Files, r.Others = make([]FileReport, len(s.Files)), make([]FileReport, len(s.Others))
	c := &checker{set: s, report: r, workers: o.workers()}
	for i := range s.Files {
		r.Files[i].State = c.file(i)
	}
	for i := range s.Others {
		r.Others[i].State = c.other(i)
	}
	c.search()
	for i, p := range r.places {
		f := s.fileOf(i)
		switch {
		case p.source == 0:
			r.Lost++
			r.Files[f].Lost++
		case p.source != f+1 || p.offset != int64(i-s.Files[f].first)*s.SliceSize:
			r.Moved++
		}
	}
	return r
}

type checker struct {
	set     *Set
	report  *Report
	workers int
	mu      sync.Mutex // guards report.ReadError
	gaps    []gap
}

// gap is a part of a source in which no slice is at its place.
type gap struct {
	source     int // from 0
	start, end int64
}

// fileOf returns the number of the file that slice i belongs to.
func (s *Set) fileOf(i int) int {
	lo, hi := 0, len(s.Files)-1
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if s.Files[mid].first <= i {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	for s.Files[lo].slices == 0 { // empty files share their number with the next one
		lo--
	}
	return lo
}

// length returns the bytes of slice i before padding.
func (s *Set) length(i int) int64 {
	f := &s.Files[s.fileOf(i)]
	return min(s.SliceSize, f.Size-int64(i-f.first)*s.SliceSize)
}

func (c *checker) source(i int) Source {
	if i >= len(c.report.sources) || c.report.sources[i].Data == nil {
		return Source{}
	}
	return c.report.sources[i]
}

func (c *checker) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.report.ReadError == nil {
		c.report.ReadError = err
	}
}

// file looks for the slices of a file at their places, and notes gaps.
func (c *checker) file(i int) State {
	f, src := &c.set.Files[i], c.source(i)
	if src.Data == nil {
		return Missing
	}
	if f.slices > 0 && f.sums == nil {
		return c.withoutSums(i, src)
	}
	here := int64(f.slices)
	if src.Size < f.Size {
		here = src.Size / c.set.SliceSize
	}
	found := c.inPlace(f, src, int(here))
	state := Whole
	if src.Size != f.Size {
		state = Damaged
	}
	start := int64(-1)
	for n := range f.slices {
		at := int64(n) * c.set.SliceSize
		if n < int(here) && found[n] {
			c.report.places[f.first+n] = place{source: i + 1, offset: at}
			c.addGap(i, start, at)
			start = -1
			continue
		}
		state = Damaged
		if start < 0 {
			start = at
		}
	}
	if start < 0 {
		start = min(src.Size, int64(f.slices)*c.set.SliceSize)
	}
	c.addGap(i, start, src.Size)
	return state
}

func (c *checker) addGap(source int, start, end int64) {
	if start >= 0 && start < end {
		c.gaps = append(c.gaps, gap{source, start, end})
	}
}

// withoutSums checks a file whose slices the set tells nothing of: all of them are there, or none.
func (c *checker) withoutSums(i int, src Source) State {
	f := &c.set.Files[i]
	if !c.same(f, src) {
		c.addGap(i, 0, src.Size)
		return Damaged
	}
	for n := range f.slices {
		c.report.places[f.first+n] = place{source: i + 1, offset: int64(n) * c.set.SliceSize}
	}
	return Whole
}

func (c *checker) other(i int) State {
	n := len(c.set.Files) + i
	src := c.source(n)
	switch {
	case src.Data == nil:
		return Missing
	case c.same(&c.set.Others[i], src):
		return Whole
	}
	c.addGap(n, 0, src.Size)
	return Damaged
}

// same reports whether src is the file, by its MD5.
func (c *checker) same(f *File, src Source) bool {
	if src.Size != f.Size {
		return false
	}
	h := md5.New()
	if _, err := io.Copy(h, io.NewSectionReader(src.Data, 0, src.Size)); err != nil {
		c.failed(err)
		return false
	}
	return sum(h.Sum(nil)) == f.MD5
}

// inPlace reports which of the first n slices of a file are at their places.
func (c *checker) inPlace(f *File, src Source, n int) []bool {
	found := make([]bool, n)
	next := make(chan int, (n+maxLanes-1)/maxLanes)
	for i := 0; i < n; i += maxLanes {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range min(c.workers, cap(next)) {
		wg.Go(func() {
			buf := make([]byte, maxLanes*laneBytes)
			for i := range next {
				end := min(i+maxLanes, n)
				c.group(f, src, i, found[i:end], buf)
			}
		})
	}
	wg.Wait()
	return found
}

const laneBytes = 64 << 10

// group hashes slices first, first+1, … of a file side by side. Past the end of the source there are zeros, which is how a last slice is padded.
func (c *checker) group(f *File, src Source, first int, found []bool, buf []byte) {
	l := newLanes(len(found))
	pieces := make([][]byte, len(found))
	failed := make([]bool, len(found))
	size := c.set.SliceSize
	for off := int64(0); off < size; off += laneBytes {
		n := min(laneBytes, size-off)
		for i := range pieces {
			pieces[i] = buf[i*laneBytes:][:n:n]
			at := int64(first+i)*size + off
			// A last slice ends with its file: what was appended there is none of it.
			if err := readPadded(src, pieces[i], at, f.Size-at); err != nil {
				c.failed(err)
				failed[i] = true
			}
		}
		l.write(pieces)
	}
	for i, s := range l.sums() {
		found[i] = s == f.sums[first+i].md5 && !failed[i]
	}
}

// readPadded reads b at off, of which only the first limit bytes count: the rest of b, and what lies beyond the end of the source, is zeros.
func readPadded(src Source, b []byte, off, limit int64) error {
	n := max(0, min(int64(len(b)), limit, src.Size-off))
	clear(b[n:])
	if n == 0 {
		return nil
	}
	if err := readFull(src, b[:n], off); err != nil {
		return fmt.Errorf("read at %d: %w", off, err)
	}
	return nil
}

// search looks for lost slices: among those found, in the gaps, and in further sources.
func (c *checker) search() {
	for i := len(c.set.Files) + len(c.set.Others); i < len(c.report.sources); i++ {
		c.addGap(i, 0, c.source(i).Size)
	}
	c.twins()
	c.ends()
	size := c.set.SliceSize
	c.seek(size, c.wanted(func(n int64) bool { return n == size }))
	c.tails()
}

// tails looks for last slices of files anywhere: padded only in thought, they lie at their own lengths, each of which costs another reading of all gaps.
// So it is done only where it decides whether there can be a repair.
func (c *checker) tails() {
	size := c.set.SliceSize
	short := c.wanted(func(n int64) bool { return n < size })
	lost := 0
	for _, p := range c.report.places {
		if p.source == 0 {
			lost++
		}
	}
	if lost <= c.report.Recovery || lost-len(short) > c.report.Recovery || len(short) > maxTails {
		return
	}
	for _, i := range short {
		if c.report.places[i].source == 0 {
			n := c.set.length(i)
			c.seek(n, c.wanted(func(m int64) bool { return m == n }))
		}
	}
}

// maxTails is how many last slices are looked for anywhere.
const maxTails = 16

// twins finds lost slices whose content other slices have too.
func (c *checker) twins() {
	known := map[sliceSum]place{}
	lost := c.wanted(func(int64) bool { return true })
	for i, p := range c.report.places {
		if p.source != 0 && len(lost) > 0 && c.set.sum(i) != nil && c.set.length(i) == c.set.SliceSize {
			known[*c.set.sum(i)] = p
		}
	}
	for _, i := range lost {
		if c.set.length(i) == c.set.SliceSize {
			c.report.places[i] = known[*c.set.sum(i)]
		}
	}
}

// ends looks for the last slices of files at the ends of what is left of them: there they are if only the beginning was lost or moved.
func (c *checker) ends() {
	for i := range c.set.Files {
		f, src := &c.set.Files[i], c.source(i)
		last := f.first + f.slices - 1
		if f.slices == 0 || f.sums == nil || c.report.places[last].source != 0 || src.Data == nil {
			continue
		}
		n := c.set.length(last)
		if off := src.Size - n; off >= 0 {
			if hash, err := c.hash(src, off, n); err != nil {
				c.failed(err)
			} else if hash == c.set.sum(last).md5 {
				c.report.places[last] = place{source: i + 1, offset: off}
			}
		}
	}
}

// wanted lists the lost slices of lengths that fit.
func (c *checker) wanted(fits func(int64) bool) []int {
	var list []int
	for i, p := range c.report.places {
		if p.source == 0 && c.set.Files[c.set.fileOf(i)].sums != nil && fits(c.set.length(i)) {
			list = append(list, i)
		}
	}
	return list
}

// seek moves a window of size bytes over all gaps, and notes where the wanted slices are.
func (c *checker) seek(size int64, wanted []int) {
	if len(wanted) == 0 || len(c.gaps) == 0 {
		return
	}
	s := &seeker{checker: c, size: size, byCRC: map[uint32][]int{}}
	keys := make([]uint32, 0, len(wanted))
	full := crcZeros(c.set.SliceSize)
	unpad := crcShift(size - c.set.SliceSize)
	for _, i := range wanted {
		key := crcMul(c.set.sum(i).crc^full, unpad)
		if _, ok := s.byCRC[key]; !ok {
			keys = append(keys, key)
		}
		s.byCRC[key] = append(s.byCRC[key], i)
	}
	s.roller = newRoller(size, keys)
	for _, g := range c.gaps {
		s.gap(g)
	}
}

// sum returns what the set tells of slice i, nil if nothing.
func (s *Set) sum(i int) *sliceSum {
	f := &s.Files[s.fileOf(i)]
	if f.sums == nil {
		return nil
	}
	return &f.sums[i-f.first]
}

// seeker looks for slices in one gap after another.
type seeker struct {
	*checker
	size   int64
	byCRC  map[uint32][]int
	roller *roller
	vain   int64 // bytes of this gap that were hashed, or could not be read, for nothing
}

// gap rolls over one gap.
func (s *seeker) gap(g gap) {
	src := s.source(g.source)
	s.vain = 0
	for at := g.start; at <= g.end-s.size && len(s.byCRC) > 0 && s.vain <= 4*(g.end-g.start); {
		next, err := s.run(src, g.source, at, g.end-s.size)
		if err != nil {
			s.failed(err)
			s.vain += s.size
			next = at + rollBytes
		}
		at = next
	}
}

// run rolls from at on until a slice is found, and returns where to go on.
func (s *seeker) run(src Source, number int, at, last int64) (int64, error) {
	crc, err := s.first(src, at)
	if err != nil {
		return 0, err
	}
	s.roller.crc = crc
	if s.match(src, number, at) {
		return at + s.size, nil
	}
	in, old := make([]byte, rollBytes), make([]byte, rollBytes)
	for at < last {
		n := int(min(rollBytes, last-at))
		if err := readPadded(src, old[:n], at, src.Size); err != nil {
			return 0, err
		}
		if err := readPadded(src, in[:n], at+s.size, src.Size); err != nil {
			return 0, err
		}
		for done := 0; done < n; {
			m, hit := s.roller.roll(in[done:n], old[done:n])
			done += m
			if hit && s.match(src, number, at+int64(done)) {
				return at + int64(done) + s.size, nil
			}
		}
		at += int64(n)
	}
	return last + 1, nil
}

const rollBytes = 64 << 10

// first returns the linear CRC of the window at off.
func (s *seeker) first(src Source, off int64) (uint32, error) {
	buf := make([]byte, min(rollBytes, s.size))
	crc := uint32(0)
	for done := int64(0); done < s.size; done += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), s.size-done)]
		if err := readPadded(src, b, off+done, src.Size); err != nil {
			return 0, err
		}
		crc = crc32.Update(crc, crc32.IEEETable, b)
	}
	return crc ^ crcZeros(s.size), nil
}

// match reports whether the window at off, whose CRC the roller has, holds a slice that was lost until now, and that the search should go on
// behind it.
func (s *seeker) match(src Source, number int, off int64) bool {
	candidates := s.byCRC[s.roller.crc]
	if len(candidates) == 0 {
		return false
	}
	hash, err := s.hash(src, off, s.size)
	if err != nil {
		s.failed(err)
		return false
	}
	rest := candidates[:0]
	for _, i := range candidates {
		if s.set.sum(i).md5 == hash {
			s.report.places[i] = place{source: number + 1, offset: off}
		} else {
			rest = append(rest, i)
		}
	}
	if len(rest) == len(candidates) {
		s.vain += s.set.SliceSize
		return false
	}
	zero := s.roller.crc == 0 // likely of zeros only: the next slice may begin anywhere in a run of them
	if len(rest) == 0 {
		delete(s.byCRC, s.roller.crc)
	} else {
		s.byCRC[s.roller.crc] = rest
	}
	return !zero
}

// hash returns the MD5 of n bytes at off, padded to a whole slice.
func (c *checker) hash(src Source, off, n int64) (sum, error) {
	h := md5.New()
	buf := make([]byte, min(rollBytes, c.set.SliceSize))
	for done := int64(0); done < c.set.SliceSize; done += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), c.set.SliceSize-done)]
		if err := readPadded(src, b, off+done, n-done); err != nil {
			return sum{}, err
		}
		h.Write(b)
	}
	return sum(h.Sum(nil)), nil
}
