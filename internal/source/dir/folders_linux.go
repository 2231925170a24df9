package dir

import (
	"golang.org/x/sys/unix"
)

// maxOpenFolders bounds the folders that a walk holds open; a quarter of what the process may open where that is less.
const maxOpenFolders = 128

// folder is a folder of the walk. Its parent outlives it.
type folder struct {
	parent *folder
	name   []byte // ends with NUL; in the arena of the parent
	dev    uint64
	mount  bool // lies on another file system than its parent
	last   bool // nothing below it is opened: close it when it is read

	fd         int // -1: closed, to be opened again when it is needed
	pins       int // users of fd right now
	prev, next *folder
}

// openFolders are the folders that are open and not in use, in the order of their last use: the first to be closed when there are
// too many. A folder that is needed again is opened by name from its parent, if need be from the root on.
type openFolders struct {
	idle  folder // head of the ring
	open  int
	limit int
}

func (o *openFolders) init() {
	o.idle.prev, o.idle.next = &o.idle, &o.idle
	o.limit = maxOpenFolders
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil && lim.Cur/4 < maxOpenFolders {
		o.limit = max(4, int(lim.Cur/4))
	}
}

func (o *openFolders) remove(f *folder) {
	f.prev.next, f.next.prev = f.next, f.prev
	f.prev, f.next = nil, nil
}

// evict takes the folder out that was not used for the longest time; -1 if all are in use.
func (o *openFolders) evict() int {
	f := o.idle.next
	if f == &o.idle {
		return -1
	}
	o.remove(f)
	fd := f.fd
	f.fd = -1
	o.open--
	return fd
}

// closeAll closes what is open when the workers have ended.
func (o *openFolders) closeAll() {
	for fd := o.evict(); fd >= 0; fd = o.evict() {
		unix.Close(fd)
	}
}

// pin returns the descriptor of a folder, open until unpin.
func (w *walker) pin(f *folder, r *reader) (int, error) {
	w.mu.Lock()
	if f.fd >= 0 {
		if f.pins == 0 {
			w.fds.remove(f)
		}
		f.pins++
		w.mu.Unlock()
		return f.fd, nil
	}
	w.mu.Unlock()
	up, err := w.pin(f.parent, r)
	if err != nil {
		return -1, err
	}
	fd, err := w.openFolder(up, f, r)
	w.unpin(f.parent)
	if err != nil {
		return -1, failed("open", err)
	}
	return w.keep(f, fd), nil
}

// keep notes that f is open as fd and in use, closes it if another was faster, and another folder if there are too many.
func (w *walker) keep(f *folder, fd int) int {
	surplus := -1
	w.mu.Lock()
	if f.fd >= 0 {
		if f.pins == 0 {
			w.fds.remove(f)
		}
		surplus = fd
	} else {
		f.fd = fd
		if w.fds.open++; w.fds.open > w.fds.limit {
			surplus = w.fds.evict()
		}
	}
	f.pins++
	fd = f.fd
	w.mu.Unlock()
	if surplus >= 0 {
		unix.Close(surplus)
	}
	return fd
}

// openFolder opens a folder in its parent. If the process has too many files open it closes idle folders and tries again.
func (w *walker) openFolder(up int, f *folder, r *reader) (int, error) {
	for {
		fd, err := r.openDir(up, f.name)
		if err != unix.EMFILE && err != unix.ENFILE {
			return fd, err
		}
		w.mu.Lock()
		victim := w.fds.evict()
		w.mu.Unlock()
		if victim < 0 {
			return -1, err
		}
		unix.Close(victim)
	}
}

func (w *walker) unpin(f *folder) {
	fd := -1
	w.mu.Lock()
	if f.pins--; f.pins == 0 {
		if f.last {
			fd, f.fd = f.fd, -1
			w.fds.open--
		} else {
			f.prev, f.next = w.fds.idle.prev, &w.fds.idle
			f.prev.next, w.fds.idle.prev = f, f
		}
	}
	w.mu.Unlock()
	if fd >= 0 {
		unix.Close(fd)
	}
}

// retire closes a folder that will not be needed any more.
func (w *walker) retire(f *folder) {
	fd := -1
	w.mu.Lock()
	if f.fd >= 0 && f.pins == 0 {
		w.fds.remove(f)
		fd, f.fd = f.fd, -1
		w.fds.open--
	}
	w.mu.Unlock()
	if fd >= 0 {
		unix.Close(fd)
	}
}
