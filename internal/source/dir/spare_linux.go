package dir

const (
	fewRecords, manyRecords = 16, 128
	fewBytes, manyBytes     = 512, 4096
	maxSpare                = 1024 // of each kind
	maxSpareStretches       = aheadEntries / stretchEntries
	nodeBatch               = 32
)

// spare keeps the memory of units that were delivered for the next ones: a walk of any length allocates for what it has in hand.
type spare struct {
	nodes               []*node
	recsFew, recsMany   [][]record
	stretches           [][]record // of stretchEntries
	bytesFew, bytesMany [][]byte
}

// put takes everything back from a unit.
func (s *spare) put(u *unit) {
	for i := range u.recs {
		if sub := u.recs[i].sub; sub != nil && len(s.nodes) < maxSpare {
			s.nodes = append(s.nodes, sub)
		}
	}
	clear(u.recs)
	switch {
	case cap(u.recs) == fewRecords && len(s.recsFew) < maxSpare:
		s.recsFew = append(s.recsFew, u.recs[:0])
	case cap(u.recs) == manyRecords && len(s.recsMany) < maxSpare:
		s.recsMany = append(s.recsMany, u.recs[:0])
	case cap(u.recs) == stretchEntries && len(s.stretches) < maxSpareStretches:
		s.stretches = append(s.stretches, u.recs[:0])
	}
	for _, b := range u.names.blocks {
		switch {
		case cap(b) == fewBytes && len(s.bytesFew) < maxSpare:
			s.bytesFew = append(s.bytesFew, b[:0])
		case cap(b) == manyBytes && len(s.bytesMany) < maxSpare:
			s.bytesMany = append(s.bytesMany, b[:0])
		}
	}
	u.recs, u.parts = nil, nil
	clear(u.names.blocks)
	u.names.blocks = u.names.blocks[:0]
}

func pop[T any](list *[]T) (T, bool) {
	var zero T
	n := len(*list) - 1
	if n < 0 {
		return zero, false
	}
	got := (*list)[n]
	(*list)[n] = zero
	*list = (*list)[:n]
	return got, true
}

// takeRecords has room for n records.
func (w *walker) takeRecords(n int) []record {
	list, size := &w.spare.recsFew, fewRecords
	switch {
	case n == 0:
		return nil
	case n == stretchEntries:
		list, size = &w.spare.stretches, n
	case n > manyRecords:
		return make([]record, 0, n)
	case n > fewRecords:
		list, size = &w.spare.recsMany, manyRecords
	}
	w.mu.Lock()
	got, ok := pop(list)
	w.mu.Unlock()
	if !ok {
		got = make([]record, 0, size)
	}
	return got
}

// takeBytes has room for n bytes.
func (w *walker) takeBytes(n int) []byte {
	list, size := &w.spare.bytesFew, fewBytes
	switch {
	case n > manyBytes:
		return make([]byte, 0, n)
	case n > fewBytes:
		list, size = &w.spare.bytesMany, manyBytes
	}
	w.mu.Lock()
	got, ok := pop(list)
	w.mu.Unlock()
	if !ok {
		got = make([]byte, 0, size)
	}
	return got
}

// takeNode is an empty node.
func (r *reader) takeNode() *node {
	if len(r.nodes) == 0 {
		r.w.mu.Lock()
		n := min(nodeBatch, len(r.w.spare.nodes))
		from := len(r.w.spare.nodes) - n
		r.nodes = append(r.nodes, r.w.spare.nodes[from:]...)
		r.w.spare.nodes = r.w.spare.nodes[:from]
		r.w.mu.Unlock()
	}
	n, ok := pop(&r.nodes)
	if !ok {
		n = new(node)
	}
	blocks := n.unit.names.blocks // empty
	*n = node{}
	n.unit.names.blocks = blocks
	return n
}
