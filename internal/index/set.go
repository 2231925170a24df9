package index

import (
	"io"

	"firn/internal/chunk"
	"firn/internal/digest"
)

// NewReader begins to read a body from r: magic and header. It reads no further than the body goes, in small steps, so that a body of the
// greatest size costs no more memory than its largest pack.
func NewReader(r io.Reader) (*Reader, error) { panic("unwritten") }

// Reader reads the packs of a body, one after another.
type Reader struct{}

// Header returns what the index says of itself.
func (r *Reader) Header() Header { panic("unwritten") }

// Next reads the next pack into p, reusing the room of p.Chunks. It returns io.EOF after the last.
func (r *Reader) Next(p *Pack) error { panic("unwritten") }

// Parse calls fn for each pack of a body; p and what it points to are valid until fn returns.
func Parse(body []byte, fn func(h *Header, p *Pack) error) (Header, error) { panic("unwritten") }

// AppendHeader adds the magic and the header of a body to dst. AppendPack then adds its packs.
func AppendHeader(dst []byte, h Header) []byte { panic("unwritten") }

// AppendPack adds p to a body.
func AppendPack(dst []byte, p *Pack) []byte { panic("unwritten") }

// Object is an index object, as far as merging goes.
type Object struct {
	Name   string // <gen>-<sha256>
	Level  int
	Author [16]byte
	Chunks int
}

// Plan chooses which index objects to merge: each group, in order of their names, makes one of the next level.
func Plan(objects []Object) [][]Object { panic("unwritten") }

// Table is a sorted run of chunks, and the packs they lie in, in one file.
type Table struct{}

// OpenTable reads the end of a table: about 0.1 byte of memory for each chunk. It fails with *CorruptError.
func OpenTable(r io.ReaderAt, size int64) (*Table, error) { panic("unwritten") }

// Chunks returns how many entries the table has.
func (t *Table) Chunks() int64 { panic("unwritten") }

// Packs returns how many packs the table has.
func (t *Table) Packs() int { panic("unwritten") }

// Merge writes to w one table with all that the given ones hold, in one pass, with memory of about 64 KiB for each table.
// Set.Replace takes the result.
func Merge(w io.Writer, tables ...*Table) (*Merged, error) { panic("unwritten") }

// Merged tells what Merge did.
type Merged struct {
	Size int64 // bytes written
}

// CorruptError tells of a damaged table. The table has to be built again; nothing is lost.
type CorruptError struct {
	Offset int64
	Err    error
}

func (e *CorruptError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *CorruptError) Unwrap() error { return e.Err }

// Set answers where chunks lie, from stacked tables and what was added since. All methods may be called by many goroutines at once.
type Set struct{}

// NewSet stacks tables. Their readers stay open for as long as the set is used.
func NewSet(tables ...*Table) *Set { panic("unwritten") }

// Lookup finds a chunk for reading: any pack will do, one that is not retired is preferred.
func (s *Set) Lookup(id digest.Chunk) (Location, bool, error) { panic("unwritten") }

// Known finds a chunk for writing: a pack of that kind that is not retired.
func (s *Set) Known(id digest.Chunk, kind chunk.Kind) (Location, bool, error) { panic("unwritten") }

// All finds every place of a chunk, those not retired first.
func (s *Set) All(id digest.Chunk) ([]Location, error) { panic("unwritten") }

// Pack tells about a pack by the number in a Location. Numbers stay valid as long as the set.
func (s *Set) Pack(number int) (Info, error) { panic("unwritten") }

// Find tells about a pack by name.
func (s *Set) Find(name digest.Object) (Info, bool, error) { panic("unwritten") }

// EachPack calls fn for each pack once, in order of name.
func (s *Set) EachPack(fn func(p *Info, retired bool) error) error { panic("unwritten") }

// Add takes in a pack; one that is there already changes nothing and gives false.
func (s *Set) Add(p *Pack, author [16]byte) (bool, error) { panic("unwritten") }

// Pending returns how many chunks were added since the last Spill. One costs about 100 bytes of memory.
func (s *Set) Pending() int { panic("unwritten") }

// Spill writes what was added to w as a table, and goes on to answer from memory until Attach.
func (s *Set) Spill(w io.Writer) (*Spilled, error) { panic("unwritten") }

// Spilled is what Spill wrote.
type Spilled struct {
	Size int64 // bytes written
}

// Attach takes the table that Spill wrote in place of what was spilled.
func (s *Set) Attach(t *Table, sp *Spilled) error { panic("unwritten") }

// Tables returns the tables of the set, the oldest first.
func (s *Set) Tables() []*Table { panic("unwritten") }

// Replace puts the table that Merge wrote in the place of those that it merged. When it returns, they are no longer read.
func (s *Set) Replace(t *Table, m *Merged) error { panic("unwritten") }

// Retire marks a pack: Known no longer finds what lies in it alone. A name that is not there yet is remembered.
func (s *Set) Retire(name digest.Object) error { panic("unwritten") }

// Retired reports whether a pack of that name was retired.
func (s *Set) Retired(name digest.Object) bool { panic("unwritten") }
