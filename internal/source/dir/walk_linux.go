package dir

import (
	"context"
	"io/fs"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

const (
	stretchEntries = 1024     // a folder with more entries is read in stretches of this many
	aheadEntries   = 32 << 10 // read and not yet delivered, at most, but for what workers have in hand
	checkEntries   = 256      // ctx is looked at once in so many entries
)

// A unit is a piece of reading: a folder, or a stretch of a large one whose names are known.
//
// All units that are not yet read stand in one ring, in the order of the tree. When a unit has been read, what it found (its subfolders,
// or the stretches of a large folder) takes its place in the ring. So the first unit of the ring that nobody reads is always the
// one that the caller will need first, and any number of workers read in the order of the tree.
type unit struct {
	of          *folder
	first, last int  // stretch: the names [first, last) of the folder
	stretch     bool //
	state       state
	prev, next  *unit

	names arena // of the whole folder; a stretch has none of its own
	recs  []record
	refs  []nameRef // of a large folder: all its names in order
	parts []*unit   // of a large folder: its stretches
	whole *unit     // of a stretch: the folder's own unit
	fresh int       // units that take its place
	err   error
	note  Note
}

type state uint8

const (
	pending state = iota
	running
	done
)

// record is an entry that was read: to be delivered, or to be told about.
type record struct {
	stat  source.Stat
	name  nameRef
	bare  bool       // not delivered, only told about
	errno unix.Errno // not 0: a problem
	note  Note       // not zero: a note
	sub   *node      // a folder to go into
}

// node is what a subfolder costs.
type node struct {
	folder
	unit
}

// walker is one Walk. mu guards all of it and the fields prev, next, state of units and fd, pins, … of folders; it is held
// for a few instructions at a time and never during a system call. The rest of a unit belongs to whoever set it running, and once it is
// done, to the goroutine that runs Walk.
type walker struct {
	t    *Tree
	mu   sync.Mutex
	work sync.Cond // there may be something to read
	read sync.Cond // awaited is read
	ring unit      // head of the ring

	awaited *unit
	ahead   int  // records read and not yet delivered, with the room beside them
	full    bool // somebody waits for ahead to shrink
	idle    int  // workers that wait
	stop    bool

	fds    openFolders
	spare  spare
	mounts func() []byte
}

func (t *Tree) walk(ctx context.Context, fn func(*source.Entry) error) error {
	fd, err := openRetry(t.rootFD, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return &fs.PathError{Op: "open", Path: t.root, Err: err}
	}
	defer unix.Close(fd)
	w := &walker{t: t, mounts: sync.OnceValue(readMountinfo)}
	w.work.L, w.read.L = &w.mu, &w.mu
	w.ring.prev, w.ring.next = &w.ring, &w.ring
	w.fds.init()
	root := source.Entry{Path: []byte{}}
	if _, err := statFD(fd, &root.Stat); err != nil {
		return &fs.PathError{Op: "stat", Path: t.root, Err: err}
	}
	n := &node{folder: folder{fd: fd, pins: 1, dev: root.Stat.Dev}}
	n.unit.of = &n.folder
	w.insert(&n.unit, &w.ring)
	stop := w.start(t.workers() - 1)
	defer stop()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := fn(&root); err != nil {
		return err
	}
	d := deliverer{w: w, ctx: ctx, fn: fn, reader: newReader(w)}
	return d.deliver(n)
}

// workers is how many goroutines read. Two more than cores keep disks and networks busy while others wait.
func (t *Tree) workers() int {
	if t.opts.Workers > 0 {
		return t.opts.Workers
	}
	return min(runtime.GOMAXPROCS(0)+2, 16)
}

// start runs n workers; the function that it returns ends them, waits for them and closes what they opened.
func (w *walker) start(n int) func() {
	var wg sync.WaitGroup
	for range n {
		wg.Go(w.readAhead)
	}
	return func() {
		w.mu.Lock()
		w.stop = true
		w.work.Broadcast()
		w.mu.Unlock()
		wg.Wait()
		w.fds.closeAll()
	}
}

// readAhead is a worker.
func (w *walker) readAhead() {
	r := newReader(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		u := w.nextUnit()
		for u == nil && !w.stop {
			w.idle++
			w.work.Wait()
			w.idle--
			u = w.nextUnit()
		}
		if w.stop {
			return
		}
		u.state = running
		w.mu.Unlock()
		r.readUnit(u)
		w.mu.Lock()
		w.finish(u, 1)
	}
}

// nextUnit is the first unit that nobody reads. Those before it are being read, so it looks at no more than there are workers.
func (w *walker) nextUnit() *unit {
	if w.ahead >= aheadEntries {
		w.full = true
		return nil
	}
	for u := w.ring.next; u != &w.ring; u = u.next {
		if u.state == pending {
			return u
		}
	}
	return nil
}

// insert puts u into the ring before at.
func (w *walker) insert(u, at *unit) {
	u.prev, u.next = at.prev, at
	u.prev.next, at.prev = u, u
}

// finish replaces a unit that has been read by what it found, and wakes who can use it; busy of the new units the caller reads itself.
func (w *walker) finish(u *unit, busy int) {
	after := u.next
	u.prev.next, u.next.prev = u.next, u.prev
	u.prev, u.next = nil, nil
	for _, p := range u.parts {
		w.insert(p, after)
	}
	if u.fresh > 0 && u.parts == nil {
		for i := range u.recs {
			if sub := u.recs[i].sub; sub != nil {
				w.insert(&sub.unit, after)
			}
		}
	}
	u.state = done
	w.ahead += cap(u.recs)
	if w.awaited == u {
		w.awaited = nil
		w.read.Signal()
	}
	for range min(w.idle, u.fresh-busy) {
		w.work.Signal()
	}
}

// await returns when u has been read, by this goroutine if nobody has begun.
func (w *walker) await(u *unit, r *reader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.state == pending {
		u.state = running
		w.mu.Unlock()
		r.readUnit(u)
		w.mu.Lock()
		w.finish(u, 0)
		return
	}
	for u.state != done {
		w.awaited = u
		w.read.Wait()
	}
}

// release takes back a unit whose records have been delivered.
func (w *walker) release(u *unit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead -= cap(u.recs)
	if w.full && w.ahead < aheadEntries/2 {
		w.full = false
		w.work.Broadcast()
	}
	w.spare.put(u)
}

// deliverer hands out the records in order; it is the goroutine that runs Walk.
type deliverer struct {
	w      *walker
	ctx    context.Context
	fn     func(*source.Entry) error
	reader *reader
	entry  source.Entry
	path   []byte
	stack  []level
	count  int
}

// level is a folder that is being delivered.
type level struct {
	n    *node
	u    *unit // the folder's unit or the stretch in hand
	part int   // next stretch
	rec  int   // next record
	base int   // length of the folder's path
}

func (d *deliverer) deliver(root *node) error {
	if err := d.enter(root, 0); err != nil {
		return err
	}
	if root.unit.err != nil {
		return &fs.PathError{Op: "read", Path: d.w.t.root, Err: root.unit.err}
	}
	for len(d.stack) > 0 {
		l := &d.stack[len(d.stack)-1]
		if l.rec == len(l.u.recs) {
			if err := d.leave(l); err != nil {
				return err
			}
			continue
		}
		rec := &l.u.recs[l.rec]
		l.rec++
		if err := d.record(l, rec); err != nil {
			return err
		}
	}
	return nil
}

// enter waits for a folder and makes it the one in hand.
func (d *deliverer) enter(n *node, base int) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	d.w.await(&n.unit, d.reader)
	if n.unit.err != nil && base > 0 {
		d.w.t.problem(d.path, n.unit.err)
	}
	if n.unit.note != (Note{}) {
		d.w.t.note(d.path, n.unit.note)
	}
	d.stack = append(d.stack, level{n: n, u: &n.unit, base: base})
	return nil
}

// leave goes on with the next stretch of the folder in hand, or with the folder that it lies in.
func (d *deliverer) leave(l *level) error {
	d.path = d.path[:l.base]
	if l.u != &l.n.unit {
		d.w.release(l.u)
	}
	if l.part < len(l.n.unit.parts) {
		l.u, l.rec = l.n.unit.parts[l.part], 0
		l.part++
		if err := d.ctx.Err(); err != nil {
			return err
		}
		d.w.await(l.u, d.reader)
		if l.u.err != nil {
			d.w.t.problem(d.path, l.u.err)
		}
		return nil
	}
	d.w.retire(&l.n.folder)
	d.w.release(&l.n.unit)
	d.stack = d.stack[:len(d.stack)-1]
	return nil
}

// record delivers one record.
func (d *deliverer) record(l *level, rec *record) error {
	if d.count++; d.count%checkEntries == 0 {
		if err := d.ctx.Err(); err != nil {
			return err
		}
	}
	d.path = d.path[:l.base]
	if l.base > 0 {
		d.path = append(d.path, '/')
	}
	d.path = append(d.path, l.n.names.bytes(rec.name)...)
	if rec.errno != 0 {
		d.w.t.problem(d.path, failed("lstat", rec.errno))
	}
	if !rec.bare {
		d.entry.Path, d.entry.Stat = d.path, rec.stat
		if err := d.fn(&d.entry); err != nil {
			return err
		}
	}
	if rec.note != (Note{}) {
		d.w.t.note(d.path, rec.note)
	}
	if rec.sub == nil {
		return nil
	}
	return d.enter(rec.sub, len(d.path))
}
