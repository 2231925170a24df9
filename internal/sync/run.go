package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/bucket"
	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/seal"
	"firn/internal/sync/ledger"
	"firn/internal/target"
)

// run is one sync under way.
type run struct {
	o         *Options
	src, dst  *folder
	to        *target.Target // of a download; nil until something is written
	toOnce    sync.Once
	toErr     error
	prefixLen int // of what is encrypted for the recipients
	slots     chan struct{}
	large     chan struct{}
	jobs      chan *job
	began     time.Time

	uploads map[string][]ledger.Upload // of earlier runs, by key; only read

	extras, costly, frozen, blocked *spill
	folders                         []string // extra ones of the target, in order
	targets                         int64    // files of the target, and folders
	foldersHere, foldersThere       int64    // of the source and of the target, as far as they are objects
	foldersGone                     int64    // of what is to be deleted in a bucket
	early, earlyExtras              price.Money
	owedExtras                      bool // some of what is to be deleted has to be paid for longer
	keep                            clashes
	withheld                        bool      // somebody did not agree to something
	ready                           time.Time // when all that is frozen can be read

	sums    *sums      // of a list
	telling sync.Mutex // Report

	mu      sync.Mutex
	res     Result
	shown   time.Time
	streak  int // writes that failed, one after another
	fresh   []*ledger.Entry
	made    map[string]bool // folders of the target that are there
	finish  []folderMeta
	tried   map[string]bool // keys with an upload in parts that is kept for the next run
	ours    bool            // the target is a repository, or holds one
	hidden  []string        // repositories below the target whose mark the filter leaves out: "" or with a slash at the end
	mounted []string        // folders of the source that lie on other file systems, and are not looked into
	spared  []string        // what there is of the source and nothing is made of; those that a key may lie below
	blind   bool            // listings do not tell what is thawed
	sampled int
}

// folderMeta is what a folder gets when all is in it.
type folderMeta struct {
	path  string
	meta  target.Meta
	entry *ledger.Entry // for the ledger, once the folder has its metadata
}

// Run makes To the same as From. It returns what it did in any case. Errors: ctx's; *PlaceError; *GuardError and *DueError, after all else is done. What concerns single files is an event.Problem each and
// counted in the result.
func Run(ctx context.Context, options Options) (*Result, error) {
	o := &options
	o.defaults()
	r := &run{o: o, began: o.Now(), made: map[string]bool{}, tried: map[string]bool{}, uploads: map[string][]ledger.Upload{}, slots: make(chan struct{}, o.Connections), large: make(chan struct{}, max(2, o.Connections/4))}
	r.res.Classes = map[string]Tally{}
	err := r.all(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return &r.res, err
}

func (r *run) all(ctx context.Context) error {
	if err := r.open(); err != nil {
		return err
	}
	defer r.close()
	if err := r.transfer(ctx); err != nil {
		return err
	}
	var problems []error
	for _, step := range []func(context.Context) error{r.replaceCostly, r.thaw, r.remove, r.unblock} {
		err := step(ctx)
		if err != nil && (ctx.Err() != nil || !errors.As(err, new(*DueError)) && !errors.As(err, new(*GuardError))) {
			return err
		}
		problems = append(problems, err)
	}
	if err := r.settle(); err != nil {
		return err
	}
	r.abandon(ctx)
	r.progress(true)
	return errors.Join(problems...)
}

// open opens both sides.
func (r *run) open() (err error) {
	o := r.o
	if o.From.local() && o.To.local() {
		return errors.New("both sides are folders: one of them must be a bucket")
	}
	if len(o.Recipients) > 0 {
		s, err := seal.Header(o.Recipients...)
		if err != nil {
			return err
		}
		r.prefixLen = len(s.Prefix())
	}
	if o.From.local() {
		if r.src, err = r.openFolder(&o.From, true); err != nil {
			return err
		}
	}
	if o.To.local() {
		if r.dst, err = r.openFolder(&o.To, false); err != nil {
			return err
		}
	}
	if o.Book != nil {
		for _, u := range o.Book.Uploads() {
			r.uploads[u.Key] = append(r.uploads[u.Key], u)
		}
	}
	r.extras, r.costly, r.frozen, r.blocked = &spill{}, &spill{}, &spill{}, &spill{}
	return nil
}

func (r *run) close() {
	for _, f := range []*folder{r.src, r.dst} {
		if f != nil {
			f.close()
		}
	}
	if r.to != nil {
		_ = r.to.Close()
	}
	r.extras.close()
	r.costly.close()
	r.frozen.close()
	r.blocked.close()
}

// transfer merges the streams and does all that can be done at once.
func (r *run) transfer(ctx context.Context) error {
	r.sums = r.o.Sums.open()
	defer r.sums.close()
	return r.workers(ctx, func(ctx context.Context, g *errgroup.Group) error {
		led := &pages{}
		if r.o.Book != nil {
			led.r = r.o.Book.Read()
			defer led.r.Close()
		}
		keyOf, pathOf := func(o *object) string { return o.key }, func(l **localFile) string { return (*l).key }
		objects := func(p *Place) *stream[*object] {
			return produce(ctx, g, func(ctx context.Context, yield func(*object) error) error { return r.list(ctx, p, yield) })
		}
		files := func(f *folder) *stream[*localFile] {
			return produce(ctx, g, func(ctx context.Context, yield func(*localFile) error) error { return f.walk(ctx, yield) })
		}
		of := func(o **object) string { return keyOf(*o) }
		switch {
		case r.src != nil:
			err := join(files(r.src), pathOf, objects(&r.o.To), of, led, func(key string, l **localFile, o **object, e *ledger.Entry) error {
				return r.up(ctx, key, value(l), value(o), e)
			})
			return cmp.Or(err, r.src.same())
		case r.dst != nil:
			return join(objects(&r.o.From), of, files(r.dst), pathOf, led, func(key string, o **object, l **localFile, e *ledger.Entry) error {
				return r.down(ctx, key, value(o), value(l), e)
			})
		}
		return join(objects(&r.o.From), of, objects(&r.o.To), of, led, func(key string, a **object, b **object, e *ledger.Entry) error {
			return r.across(ctx, key, value(a), value(b), e)
		})
	})
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// workers runs fn, whose jobs workers do beside it, and waits for all.
func (r *run) workers(ctx context.Context, fn func(ctx context.Context, g *errgroup.Group) error) error {
	g, ctx := errgroup.WithContext(ctx)
	r.jobs = make(chan *job, 4*r.o.Connections)
	for range r.o.Connections {
		g.Go(func() error {
			for j := range r.jobs {
				if err := r.do(ctx, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(r.jobs)
		return fn(ctx, g)
	})
	return g.Wait()
}

// give hands a job to the workers.
func (r *run) give(ctx context.Context, j *job) error {
	select {
	case r.jobs <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// largeTransfer is from where on a transfer is large, in bytes. A quarter of the connections carry large ones: that fills any link, and a run that is killed loses little of what was under way.
const largeTransfer = 1 << 20

// slot waits until a request that moves little may begin; the function that it returns ends it.
func (r *run) slot(ctx context.Context) (func(), error) { return r.slotFor(ctx, 0) }

// slotFor is slot for a transfer of so many bytes.
func (r *run) slotFor(ctx context.Context, size int64) (func(), error) {
	large := r.large
	if size <= largeTransfer {
		large = nil
	}
	for _, c := range []chan struct{}{large, r.slots} {
		if c == nil {
			continue
		}
		select {
		case c <- struct{}{}:
		case <-ctx.Done():
			if c == r.slots && large != nil {
				<-large
			}
			return nil, ctx.Err()
		}
	}
	return func() {
		<-r.slots
		if large != nil {
			<-large
		}
	}, nil
}

// do deals with one file. Its errors end the sync.
func (r *run) do(ctx context.Context, j *job) error {
	defer r.progress(false)
	if j.compare {
		done, err := r.compareFirst(ctx, j)
		if done || err != nil {
			return err
		}
	}
	if r.o.To.stale() && !j.agreed && !j.again {
		if done, err := r.verify(ctx, j); done || err != nil {
			return err
		}
	}
	r.compared(j, Missing)
	if j.to != nil && !j.agreed && r.dearReplacement(j) {
		return r.costly.add(j)
	}
	return r.act(ctx, j)
}

// act transfers one file.
func (r *run) act(ctx context.Context, j *job) error {
	if j.from != nil && r.cold(j.from) && (j.asked == 0 || !r.thawedAfterAll(ctx, j.from)) {
		return r.freeze(j)
	}
	if r.o.DryRun {
		size := int64(0)
		if j.from != nil {
			size = j.from.Size
		} else if j.local != nil {
			size = j.local.size
		}
		r.done(j, size)
		return nil
	}
	switch j.action {
	case Upload:
		return r.upload(ctx, j)
	case Download:
		return r.download(ctx, j)
	default:
		return r.copy(ctx, j)
	}
}

// up decides about a key on the way into a bucket.
func (r *run) up(ctx context.Context, key string, l *localFile, o *object, e *ledger.Entry) error {
	if o != nil && strings.HasSuffix(key, "/") && !r.o.Folders {
		o = nil // a folder that some program wants to see
	}
	o = r.newest(key, l, o, e)
	if o != nil {
		r.targets++
		r.foldersThere += int64(b2i(strings.HasSuffix(key, "/")))
	}
	switch {
	case l == nil && o == nil:
		r.forget(key, e)
		return nil
	case l == nil:
		return r.extra(o, e)
	case l.left:
		r.isSpared(l.path) // so that no more are kept than lie within one another
		r.spared = append(r.spared, l.path)
		return nil
	}
	r.count(l.size)
	r.foldersHere += int64(b2i(l.dir))
	if err := r.fitting(key); err != nil {
		r.refuse(l.path, r.o.To.Prefix+key, err)
		return nil
	}
	j := &job{action: Upload, key: key, local: l, to: o, known: e}
	if o == nil {
		return r.give(ctx, j)
	}
	e = counts(e, o)
	j.entry = e
	return r.decide(ctx, j, r.sizesFit(e, l, o), l.mtime, o.Modified)
}

// counts returns the entry if it is about this state of the object.
func counts(e *ledger.Entry, o *object) *ledger.Entry {
	if e == nil || e.Size < 0 || e.ETag != o.ETag || e.Stored != o.Size {
		return nil
	}
	return e
}

// fits reports whether the entry is about this state of the file.
func fits(e *ledger.Entry, l *localFile) bool {
	return e != nil && e.Size == l.size && e.Mtime == l.mtime && e.Ctime == l.ctime && !e.Has(ledger.Recent)
}

// decide finds out about a file that both sides have, as far as that needs no reading. j.entry counts for the object.
func (r *run) decide(ctx context.Context, j *job, sameSize bool, from int64, to time.Time) (err error) {
	if j.local.listed, err = r.sums.of(j.local); err != nil {
		return err
	}
	known := fits(j.entry, j.local)
	if !sameSize {
		j.change = "s"
	}
	if j.entry == nil || j.entry.Mtime != j.local.mtime {
		j.change += "t"
	}
	newer := to.UnixNano()
	if e := j.entry; e != nil && j.action == Upload {
		newer = e.Mtime
	} else if e != nil {
		from = e.Mtime
	}
	switch {
	case r.o.Compare == BySize && sameSize, r.o.Compare == ByTimes && known:
		r.same(j)
		return nil
	case r.o.Update && newer > from:
		r.kept(j)
		return nil
	case r.o.Compare == BySize || !sameSize:
		return r.give(ctx, j)
	}
	j.compare = true
	return r.give(ctx, j)
}

// compareFirst compares contents; done: they are equal, or the file cannot be read.
func (r *run) compareFirst(ctx context.Context, j *job) (done bool, err error) {
	same, out, err := r.alike(ctx, j)
	switch {
	case err != nil && ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil && errors.Is(err, ErrChanged):
		return false, nil // the transfer finds out whether it ever stays
	case err != nil && errors.As(err, new(*readError)):
		r.unread(r.name(j), err)
		return true, nil
	case err != nil && errors.Is(err, bucket.ErrNotExist), err == nil && !same:
		if !strings.Contains(j.change, "c") {
			j.change = "c" + j.change
		}
		return false, nil
	case err != nil:
		return true, r.failed(r.name(j), err)
	}
	if j.action == Upload && r.metaDiffers(j) {
		return true, r.touch(ctx, j, out) // and only then remembered: who knows the file asks no more
	}
	if !r.o.DryRun {
		r.put(out)
	}
	r.same(j)
	return true, nil
}

// equal compares the file and the object of a job that are of fitting sizes.
func (r *run) equal(ctx context.Context, j *job) (bool, *ledger.Entry, error) {
	f, o, p := r.src, j.to, &r.o.To
	if j.action == Download {
		f, o, p = r.dst, j.from, &r.o.From
	}
	if j.action == Copy {
		return r.equalObjects(ctx, j)
	}
	c, l, err := f.begin(j.local)
	if err != nil {
		return false, nil, err
	}
	defer func() { _ = c.Close() }()
	if j.local.isLnk != l.isLnk || l.size != j.local.size {
		return false, nil, ErrChanged
	}
	out := r.entry(j.key, l, bucket.Info{Object: o.Object}, j.action == Upload)
	if e := j.entry; e != nil {
		out.Flags |= e.Flags & (ledger.Opaque | ledger.Sealed)
		out.SumBy, out.Sum, out.PartSize, out.Meta, out.At = e.SumBy, e.Sum, e.PartSize, e.Meta, e.At
	}
	r.add(func(res *Result) { res.Compared++ })
	sealed := strings.HasSuffix(j.key, sealedEnd) && len(r.o.Recipients)+len(r.o.Identities) > 0
	if sealed && (j.entry == nil || j.entry.SumBy == "") {
		out.Flags |= ledger.Sealed | ledger.Opaque
		if r.o.Compare == ByContent {
			return false, out, nil // nobody knows what is in it
		}
		same, err := askSealed(ctx, p.Bucket, o, l)
		return same, out, err
	}
	v := &content{r: r, ctx: ctx, file: c, size: l.size, o: o, b: p.Bucket, e: j.entry, mt: l.mtime, out: out}
	same, err := v.equal()
	if err == nil && c.changed() {
		err = ErrChanged
	}
	return same, out, err
}

// name is how the user knows the file of a job.
func (r *run) name(j *job) string {
	if j.action == Copy || r.src == nil && r.dst == nil {
		return r.o.From.Prefix + j.key
	}
	if j.action == Download {
		return r.pathOf(j.key)
	}
	return j.local.path
}

func (r *run) add(fn func(*Result)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn(&r.res)
}

func (r *run) count(size int64) {
	r.add(func(res *Result) { res.Files++; res.Bytes += size })
}

// forget drops an entry of what neither side has any more.
func (r *run) forget(key string, e *ledger.Entry) {
	if e != nil && r.o.Book != nil && !r.o.DryRun && !r.o.Filter.Leaves(strings.TrimSuffix(r.pathOf(key), "/"), strings.HasSuffix(key, "/")) {
		r.o.Book.Forget(key)
	}
}

func (r *run) put(e *ledger.Entry) {
	if r.o.Book != nil && e != nil {
		r.o.Book.Put(e)
	}
}

// unread tells of a file of the source that could not be read.
func (r *run) unread(name string, err error) {
	r.add(func(res *Result) { res.Unread++ })
	r.o.Events.Emit(event.Problem{Path: name, Err: err})
	r.trouble(Unreadable, name, err)
}

// maxStreak is how many writes may fail one after another until the sync is given up.
const maxStreak = 50

// failed tells of a file that could not be written; the error that it returns ends the sync.
func (r *run) failed(name string, err error) error {
	r.mu.Lock()
	r.res.Failed++
	r.streak++
	streak := r.streak
	r.mu.Unlock()
	r.o.Events.Emit(event.Problem{Path: name, Err: err})
	r.trouble(Unwritten, name, err)
	if streak >= maxStreak {
		return &PlaceError{Place: r.target(), Doing: "write", Err: fmt.Errorf("%d files failed one after another, the last one: %w", streak, err)}
	}
	return nil
}

func (r *run) target() string {
	if r.o.To.local() {
		return r.o.To.Folder
	}
	return r.o.To.Bucket.Location()
}

// refuse tells of a name that the other side cannot have.
func (r *run) refuse(path, key string, err error) {
	r.add(func(res *Result) { res.Refused++ })
	r.o.Events.Emit(event.Problem{Path: path, Err: err})
	r.trouble(Refused, path, err)
	r.tell(&Item{Action: Refuse, Path: path, Key: key})
}

// skip leaves out what is no file.
func (r *run) skip(path, what string) {
	r.add(func(res *Result) { res.Skipped++ })
	r.o.Events.Emit(event.Decision{Text: fmt.Sprintf("%q is left out: %s", path, what)})
}

// tell tells of an item.
func (r *run) tell(i *Item) {
	if r.o.Each == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.o.Each(*i)
}

func (r *run) item(j *job, action Action) *Item {
	i := &Item{Action: action, Path: r.pathOf(j.key), Change: j.change}
	if j.local != nil {
		i.Path, i.Size, i.Link, i.Folder = j.local.path, j.local.size, j.local.isLnk, j.local.dir
	}
	if j.from != nil {
		i.Size, i.Class = j.from.Size, j.from.Class
	}
	if j.to != nil {
		i.Replace = j.to.Class
	}
	switch action {
	case Download:
		i.New, i.Key = j.local == nil, r.o.From.Prefix+j.key
	default:
		i.New, i.Key = j.to == nil, r.o.To.Prefix+j.key
	}
	if action == Upload {
		i.Class = r.o.Classes.Of(i.Path, i.Size)
	}
	return i
}

func (r *run) same(j *job) {
	r.add(func(res *Result) { res.Same++ })
	r.compared(j, Alike)
	if r.o.Same {
		r.tell(r.item(j, Equal))
	}
	if r.o.Events != nil {
		r.progress(false)
	}
}

func (r *run) kept(j *job) {
	r.add(func(res *Result) { res.Kept++ })
	r.compared(j, Newer)
	r.tell(r.item(j, Keep))
}

// done counts a transfer of so many bytes.
func (r *run) done(j *job, bytes int64) {
	i := r.item(j, j.action)
	r.mu.Lock()
	if i.New {
		r.res.New++
	} else {
		r.res.Changed++
	}
	switch j.action {
	case Upload:
		r.res.Sent += bytes
		t := r.res.Classes[i.Class]
		t.Objects++
		t.Bytes += i.Size
		r.res.Classes[i.Class] = t
	case Download:
		r.res.Got += bytes
	default:
		r.res.Copied += bytes
	}
	r.streak = 0
	r.mu.Unlock()
	r.tell(i)
}

// progressEvery is the shortest time between two reports.
const progressEvery = 200 * time.Millisecond

func (r *run) progress(last bool) {
	if r.o.Events == nil {
		return
	}
	now := r.o.Now()
	r.mu.Lock()
	if !last && now.Sub(r.shown) < progressEvery {
		r.mu.Unlock()
		return
	}
	r.shown = now
	s := &r.res
	p := event.Progress{Phase: "sync", FilesDone: s.Same + s.New + s.Changed + s.Kept + s.Touched, BytesDone: s.Sent + s.Got + s.Copied, BytesSent: s.Sent, BytesGot: s.Got,
		Problems: s.Unread + s.Failed + s.Refused}
	r.mu.Unlock()
	r.o.Events(p)
}
