package browse

import (
	"bytes"
	"errors"
	"fmt"

	"firn/internal/manifest"
)

// PageOptions say which part of a folder is listed.
type PageOptions struct {
	Path  []byte // of the folder; empty: the source itself
	After []byte // name in the folder, there or not; what sorts behind it is listed. Empty: from the first on
	From  []byte // name, or the beginning of one; what sorts at it or behind is listed; where After is empty
	Limit int    // entries; at least 1
}

var errEnough = errors.New("enough")

// Page lists a part of a folder in the order of the manifest, without reading what comes before, and reports whether there is more. The entries are the caller's. It fails with ErrNotThere, and with ErrNotFolder.
func (v *View) Page(o PageOptions) (list []*Entry, more bool, err error) {
	base := bytes.Trim(o.Path, "/")
	if len(base) > 0 {
		self, err := v.lookUp(base)
		if err != nil {
			return nil, false, err
		}
		if self.Type != manifest.Dir {
			return nil, false, fmt.Errorf("%q: %w", base, ErrNotFolder)
		}
	}
	key := base
	switch {
	case len(o.After) > 0:
		key = manifest.AppendAfter(nil, below(base, o.After))
	case len(o.From) > 0:
		key = below(base, o.From)
	}
	err = v.m.ChildrenFrom(base, key, func(e *manifest.Entry) error {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		if len(list) == max(o.Limit, 1) {
			more = true
			return errEnough
		}
		x := &Entry{}
		x.set(e)
		list = append(list, x.Clone())
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return list, more, err
}

// below is the path of a name in a folder; what stands behind a slash is no part of a name.
func below(dir, name []byte) []byte {
	name, _, _ = bytes.Cut(name, []byte("/"))
	if len(dir) == 0 {
		return name
	}
	return append(append(bytes.Clone(dir), '/'), name...)
}
