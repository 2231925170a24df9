package manifest

// Number returns how many entries stand before the one that Next returned last: its number in the manifest, from 0. It reads nothing.
func (it *Iterator) Number() int64 { return it.tree.Number() }

// SeekNumber goes to before the entry with a number, forward or backward, or to the end, reading no chunk that it has open.
func (it *Iterator) SeekNumber(n int64) { it.tree.SeekNumber(n) }
