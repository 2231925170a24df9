package linetree

// Builder makes a tree from its lines, in order. Memory: levels × 64 KiB (more only for longer lines). Not for concurrent use.
type Builder struct{}

// NewBuilder returns a builder; hash is the gear hash of FORMAT §7.3 (cdc.Table.Hash); compare checks the order, nil: no order.
func NewBuilder(hash func(key []byte) uint64, compare func(a, b []byte) int, sink Sink) *Builder {
	panic("linetree: not built yet")
}

// Add adds a line, which ends with its only newline. It fails with *LineError for a line that breaks the rules, leaving the tree as it was,
// and with the error of the sink, after which the builder is of no more use.
func (b *Builder) Add(key, line []byte) error { panic("linetree: not built yet") }

// AddSized is Add for trees whose node lines tell the sum of sizes below.
func (b *Builder) AddSized(key, line []byte, size int64) error { panic("linetree: not built yet") }

// Flush stores the tree of the lines so far and returns its name. The builder goes on as if it had not been called.
func (b *Builder) Flush() (Tree, error) { panic("linetree: not built yet") }

// Finish stores what is open and returns the name of the tree. The builder is then empty and can be used again.
func (b *Builder) Finish() (Tree, error) { panic("linetree: not built yet") }

// Lines returns how many lines were added.
func (b *Builder) Lines() int64 { panic("linetree: not built yet") }
