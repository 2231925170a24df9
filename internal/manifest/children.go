package manifest

import "firn/internal/manifest/linetree"

// ChildrenFrom is Children from the first path at or after a key on: that of a child of dir, there or not, or AppendAfter of one. What comes before is not read.
func (r *Reader) ChildrenFrom(dir, key []byte, fn func(e *Entry) error) error {
	it := r.within(dir, linetree.Options{HopAhead: linetree.ReadAhead})
	it.Seek(key)
	return children(it, dir, fn)
}
