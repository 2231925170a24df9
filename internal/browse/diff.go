package browse

import (
	"bytes"
	"fmt"

	"firn/internal/glob"
	"firn/internal/manifest"
)

// Change is one difference between two snapshots.
type Change struct {
	Kind string `json:"kind"` // added, removed, modified, metadata, type
	Old  *Entry `json:"old,omitempty"`
	New  *Entry `json:"new,omitempty"`
}

// DiffStats sums up a comparison. Sizes are bytes of regular files.
type DiffStats struct {
	Added        int64 `json:"added"`
	Removed      int64 `json:"removed"`
	Modified     int64 `json:"modified"`
	Metadata     int64 `json:"metadata"`
	Type         int64 `json:"type"`
	BytesAdded   int64 `json:"bytes_added"`   // size of added files and, as they are now, of modified ones
	BytesRemoved int64 `json:"bytes_removed"` // size of removed files and, as they were, of modified ones
	Approximate  bool  `json:"approximate"`   // of different scopes or epochs: content was compared by size and time
}

// DiffOptions say what is compared.
type DiffOptions struct {
	Path     []byte // only this file or folder
	Include  *glob.Set
	Exclude  *glob.Set
	Metadata bool // tell changes of metadata alone, too
}

// Diff calls fn for every path that differs, in order. Entries are valid until fn returns. It fails with ErrNotThere where neither has Path.
func Diff(a, b *View, o DiffOptions, fn func(*Change) error) (DiffStats, error) {
	var stats DiffStats
	base := bytes.Trim(o.Path, "/")
	if len(base) > 0 {
		_, errA := a.lookUp(base)
		_, errB := b.lookUp(base)
		if errA != nil && errB != nil {
			return stats, fmt.Errorf("%w", errB)
		}
	}
	eq := equality(a, b)
	stats.Approximate = eq == manifest.ByTime
	c := choice{o.Include, o.Exclude}
	var before, after Entry
	err := manifest.Diff(a.m, b.m, eq, func(d manifest.Change) error {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		e := d.New
		if e == nil {
			e = d.Old
		}
		if !manifest.Within(e.Path, base) || !c.has(e.Path, e.Type == manifest.Dir) {
			return nil
		}
		if d.Kind == manifest.Metadata && !o.Metadata {
			stats.Metadata++
			return nil
		}
		stats.count(&d)
		change := Change{Kind: d.Kind.String()}
		if d.Old != nil {
			before.set(d.Old)
			change.Old = &before
		}
		if d.New != nil {
			after.set(d.New)
			change.New = &after
		}
		return fn(&change)
	})
	return stats, err
}

// equality is how the contents of two snapshots can be compared.
func equality(a, b *View) manifest.Equality {
	if a.Snapshot.Scope == b.Snapshot.Scope && a.Snapshot.Epoch == b.Snapshot.Epoch {
		return manifest.ByHash
	}
	return manifest.ByTime
}

func (s *DiffStats) count(d *manifest.Change) {
	switch d.Kind {
	case manifest.Added:
		s.Added++
	case manifest.Removed:
		s.Removed++
	case manifest.Modified:
		s.Modified++
	case manifest.Metadata:
		s.Metadata++
		return
	case manifest.TypeChanged:
		s.Type++
	}
	if d.New != nil && len(d.New.Hardlink) == 0 {
		s.BytesAdded += d.New.Size
	}
	if d.Old != nil && len(d.Old.Hardlink) == 0 {
		s.BytesRemoved += d.Old.Size
	}
}
