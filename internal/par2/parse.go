package par2

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Source is something to read: a volume, or what is left of a file.
type Source struct {
	Data io.ReaderAt // nil: there is nothing
	Size int64
}

// File is one file of a set.
type File struct {
	Name  string // as the set has it: never use it as a path without looking at it
	Size  int64
	MD5   [md5.Size]byte
	Start [md5.Size]byte // MD5 of the first 16 KiB

	id     sum
	first  int        // number of its first slice
	slices int        // how many it has
	sums   []sliceSum // of its slices, nil where the set lost them
}

// Set is what volumes tell of the files that they protect.
type Set struct {
	ID        [md5.Size]byte
	SliceSize int64
	Slices    int    // of all files together
	Files     []File // those that can be repaired, in the order of their slices
	Others    []File // those that can only be checked
	Creator   string // the program that made it, if that is told

	recovery []recoverySlice // by exponent
	padding  int64           // bytes of all files together
}

type recoverySlice struct {
	exponent     uint32
	volume       *Source
	offset, size int64 // of the slice in the volume
}

// Recovery is the number of whole recovery slices.
func (s *Set) Recovery() int { return len(s.recovery) }

// Limits of what is kept of packets while volumes are read.
const (
	maxCritical = 32 << 20 // bytes of critical packets
	maxSets     = 16
	maxIFSC     = 16 + MaxBlocks*20
	maxMain     = 12 + maxFiles*16
	maxCreator  = 4 << 10
	maxPadding  = 4 << 30 // bytes that are nowhere but have to be hashed
)

// Parse reads volumes of one set; damaged places are skipped. Packets of several sets may be mixed: the set with the most packets is taken.
// It keeps 100 MiB at most, and 100 bytes for each recovery slice, whatever the volumes claim; recovery slices stay where they are.
//
// Errors: ErrNoSet, *IncompleteError, *FormatError, *LimitError, and those of reading.
func Parse(volumes ...Source) (*Set, error) {
	p := &parser{sets: map[sum]*packets{}}
	for _, v := range volumes {
		if err := p.scan(&v); err != nil {
			return nil, err
		}
	}
	var best *packets
	for _, set := range p.sets {
		if set.main != nil && (best == nil || set.count > best.count || set.count == best.count && set.id.compare(best.id) < 0) {
			best = set
		}
	}
	if best == nil {
		return nil, ErrNoSet
	}
	return best.build()
}

type parser struct {
	sets map[sum]*packets
	kept int64
}

// packets are those of one set.
type packets struct {
	id       sum
	count    int
	main     []byte
	desc     map[sum]description
	ifsc     map[sum][]byte
	recovery map[uint32]recoverySlice
	creator  string
}

// window is the part of a volume that is in memory.
type window struct {
	volume *Source
	start  int64
	buf    []byte
	room   []byte
}

const windowBytes = 1 << 20

// at returns n bytes at off, up to windowBytes, all of which the volume must have.
func (w *window) at(off, n int64) ([]byte, error) {
	if off < w.start || off+n > w.start+int64(len(w.buf)) {
		w.start, w.buf = off, w.room[:min(windowBytes, w.volume.Size-off)]
		if err := readFull(*w.volume, w.buf, off); err != nil {
			w.buf = nil
			return nil, err
		}
	}
	return w.buf[off-w.start:][:n], nil
}

// find returns where the next packet may begin, from off on, or the end of the volume.
func (w *window) find(off int64) (int64, error) {
	for w.volume.Size-off >= headerSize {
		if _, err := w.at(off, headerSize); err != nil {
			return 0, err
		}
		b := w.buf[off-w.start:]
		if at := bytes.Index(b, []byte(magic)); at >= 0 {
			return off + int64(at), nil
		}
		off += int64(len(b) - len(magic) + 1)
	}
	return w.volume.Size, nil
}

// scan takes all whole packets from one volume.
func (p *parser) scan(v *Source) error {
	if v.Data == nil {
		return nil
	}
	// Bytes that may be hashed in vain. Damage costs each byte once; only packets that claim to overlap cost more.
	budget := 4*v.Size + windowBytes
	w := &window{volume: v, room: make([]byte, min(windowBytes, v.Size))}
	off, err := w.find(0)
	for err == nil && v.Size-off >= headerSize {
		var n int64
		if n, err = p.packet(w, off, &budget); err == nil {
			off, err = w.find(off + max(n, int64(len(magic))))
		}
	}
	return err
}

// readFull reads all of b. What is missing at the end of a source is an error, since its size was told.
func readFull(v Source, b []byte, off int64) error {
	n, err := v.Data.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// packet looks at what may be a packet at off. It returns the packet's length, or 0 if it is none or not whole.
func (p *parser) packet(w *window, off int64, budget *int64) (int64, error) {
	head, err := w.at(off, headerSize)
	if err != nil {
		return 0, err
	}
	head = bytes.Clone(head)
	length := binary.LittleEndian.Uint64(head[8:])
	if length < headerSize || length%4 != 0 || length > uint64(w.volume.Size-off) {
		return 0, nil
	}
	n := int64(length)
	kind := string(head[48:])
	if !plausible(kind, n-headerSize) {
		return 0, nil
	}
	if *budget -= n; *budget < 0 {
		return 0, &LimitError{What: "bytes of packets that are damaged or claim to overlap", Limit: 4*w.volume.Size + windowBytes}
	}
	if hash, err := w.hash(off+32, n-32); err != nil || hash != sum(head[16:]) {
		return 0, err
	}
	*budget += n
	set := p.set(sum(head[32:]))
	if set == nil {
		return 0, &LimitError{What: "sets in one volume", Limit: maxSets}
	}
	set.count++
	if kind == typeRecovery {
		return n, set.addRecovery(w, off+headerSize, n-headerSize)
	}
	if p.kept += n; p.kept > maxCritical {
		return 0, &LimitError{What: "bytes of critical packets", Limit: maxCritical}
	}
	body := make([]byte, n-headerSize)
	if err := readFull(*w.volume, body, off+headerSize); err != nil {
		return 0, err
	}
	if !set.addCritical(kind, body) {
		p.kept -= n
	}
	return n, nil
}

// hash returns the MD5 of n bytes at off.
func (w *window) hash(off, n int64) (sum, error) {
	h := md5.New()
	for n > 0 {
		step := min(n, windowBytes/4)
		b, err := w.at(off, step)
		if err != nil {
			return sum{}, err
		}
		h.Write(b)
		off, n = off+step, n-step
	}
	return sum(h.Sum(nil)), nil
}

// plausible reports whether a packet of that kind can have a body of n bytes; for kinds that are of no use it is false.
func plausible(kind string, n int64) bool {
	switch kind {
	case typeMain:
		return n >= 12 && n <= maxMain && (n-12)%16 == 0
	case typeFileDesc:
		return n >= 60 && n <= 56+maxName
	case typeIFSC:
		return n >= 16 && n <= maxIFSC && (n-16)%20 == 0
	case typeRecovery:
		return n > 4 && n <= 4+MaxSlice
	case typeCreator:
		return n <= maxCreator
	}
	return false
}

func (p *parser) set(id sum) *packets {
	if set, ok := p.sets[id]; ok {
		return set
	}
	if len(p.sets) == maxSets {
		return nil
	}
	set := &packets{id: id, desc: map[sum]description{}, ifsc: map[sum][]byte{}, recovery: map[uint32]recoverySlice{}}
	p.sets[id] = set
	return set
}

func (s *packets) addRecovery(w *window, off, n int64) error {
	b, err := w.at(off, 4)
	if err != nil {
		return err
	}
	e := binary.LittleEndian.Uint32(b)
	if _, ok := s.recovery[e]; e < 65535 && !ok {
		s.recovery[e] = recoverySlice{exponent: e, volume: w.volume, offset: off + 4, size: n - 4}
	}
	return nil
}

// addCritical keeps a packet unless it is known or makes no sense, and reports whether it did.
func (s *packets) addCritical(kind string, body []byte) bool {
	switch kind {
	case typeMain:
		if s.main != nil || md5.Sum(body) != s.id {
			return false
		}
		s.main = body
		return true
	case typeFileDesc:
		d := description{md5: sum(body[16:]), start: sum(body[32:]), size: int64(binary.LittleEndian.Uint64(body[48:]))}
		d.name = string(bytes.TrimRight(body[56:], "\x00"))
		if _, ok := s.desc[sum(body)]; ok || d.id() != sum(body) {
			return false
		}
		s.desc[sum(body)] = d
		return true
	case typeIFSC:
		if _, ok := s.ifsc[sum(body)]; ok {
			return false
		}
		s.ifsc[sum(body)] = body[16:]
		return true
	}
	if s.creator == "" {
		s.creator = string(bytes.TrimRight(body, "\x00"))
	}
	return false
}

// build makes a set of packets, once all are there.
func (s *packets) build() (*Set, error) {
	size := binary.LittleEndian.Uint64(s.main)
	count := int64(binary.LittleEndian.Uint32(s.main[8:]))
	ids := s.main[12:]
	switch {
	case size == 0 || size%4 != 0:
		return nil, &FormatError{What: fmt.Sprintf("slices of %d bytes", size)}
	case size > MaxSlice:
		return nil, &LimitError{What: "bytes of a slice", Limit: MaxSlice}
	case count > int64(len(ids)/16):
		return nil, &FormatError{What: fmt.Sprintf("%d files, and the names of %d", count, len(ids)/16)}
	}
	set := &Set{ID: s.id, SliceSize: int64(size), Creator: s.creator}
	lost := 0
	for i := range len(ids) / 16 {
		id := sum(ids[16*i:])
		d, ok := s.desc[id]
		switch {
		case !ok && int64(i) < count:
			lost++
		case !ok:
		case d.size < 0 || d.size > MaxSlice*MaxBlocks:
			return nil, &LimitError{What: "bytes of a file", Limit: MaxSlice * MaxBlocks}
		case int64(i) < count:
			if err := set.addFile(id, d, s.ifsc[id]); err != nil {
				return nil, err
			}
		default:
			set.Others = append(set.Others, File{Name: d.name, Size: d.size, MD5: d.md5, Start: d.start, id: id})
		}
	}
	if lost > 0 {
		return nil, &IncompleteError{Files: lost}
	}
	if set.padding > maxPadding {
		return nil, &LimitError{What: "bytes of padding", Limit: maxPadding}
	}
	for _, r := range s.recovery {
		if r.size == set.SliceSize {
			set.recovery = append(set.recovery, r)
		}
	}
	slices.SortFunc(set.recovery, func(a, b recoverySlice) int { return int(a.exponent) - int(b.exponent) })
	return set, nil
}

// addFile appends a file that has slices. The main packet lists files in the order of their ids, and slices are numbered in that order.
func (s *Set) addFile(id sum, d description, ifsc []byte) error {
	n := (d.size + s.SliceSize - 1) / s.SliceSize
	if n > int64(MaxBlocks-s.Slices) {
		return &LimitError{What: "slices of a set", Limit: MaxBlocks}
	}
	f := File{Name: d.name, Size: d.size, MD5: d.md5, Start: d.start, id: id, first: s.Slices, slices: int(n)}
	if int64(len(ifsc)) == 20*n && n > 0 {
		f.sums = make([]sliceSum, n)
		for i := range f.sums {
			f.sums[i] = sliceSum{md5: sum(ifsc[20*i:]), crc: binary.LittleEndian.Uint32(ifsc[20*i+16:])}
		}
	}
	s.Slices += int(n)
	s.padding += n*s.SliceSize - d.size
	s.Files = append(s.Files, f)
	return nil
}
