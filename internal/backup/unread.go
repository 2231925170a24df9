package backup

import "sync/atomic"

// Unread brings what the walk of a tree could not read into the run that walks it. Whoever opens the tree has its problem function call Add.
type Unread struct{ run atomic.Pointer[run] }

// Add counts and reports a path, relative to the root. Before Run it does nothing.
func (u *Unread) Add(path []byte, err error) {
	if r := u.run.Load(); r != nil {
		r.tell(path, err, false)
	}
}
