package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"firn/internal/event"
	"firn/internal/faultstore"
	"firn/internal/repo"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/retry"
)

// Errors that a disturbed process may end with.
var (
	errKilled = errors.New("the process is dead")
	errAsked  = errors.New("the process was asked to stop")
)

type busyError struct{}

func (busyError) Error() string   { return "too many requests" }
func (busyError) Throttled() bool { return true }
func (busyError) Temporary() bool { return true }

// process is one run of firn: its requests are counted, and at some of them something happens.
type process struct {
	w     *world
	who   string
	step  Step
	host  *host // whose local folders it uses; nil: none
	dirs  state.Dirs
	cold  bool   // it may read what is cold
	cheat *cheat // what it sees in the place of the store; nil: the store
	fresh bool   // it has begun a thaw job
	dear  bool   // it may delete what has not served its least stay

	ctx    context.Context
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	rng   *rand.Rand
	ticks int
	puts  int
	dead  bool
	hurt  bool // something was refused
	at    map[int]func()
}

func (w *world) process(s Step, who string, h *host) (*process, error) {
	p := &process{w: w, who: who, step: s, host: h, rng: rand.New(rand.NewPCG(s.Seed, 2)), at: map[int]func(){}}
	p.ctx, p.cancel = context.WithCancelCause(w.ctx)
	if h != nil {
		var err error
		if p.dirs, err = w.dirsOf(h, s.NoDisk); err != nil {
			return nil, err
		}
	}
	if len(s.Beside) > 0 && s.At > 0 {
		p.at[s.At] = func() {
			for _, inner := range s.Beside {
				w.inner++
				err := w.step(inner)
				w.inner--
				if err != nil {
					w.breach(err)
				}
			}
		}
	}
	return p, nil
}

// tick is called before each request to the store and each call to the source.
func (p *process) tick(what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errKilled
	}
	p.ticks++
	if act := p.at[p.ticks]; act != nil {
		act()
	}
	if p.ticks == p.step.Stop {
		p.w.tell("%s is asked to stop at %s", p.who, what)
		p.cancel(errAsked)
	}
	if p.ticks == p.step.Kill {
		p.w.tell("%s dies at %s", p.who, what)
		p.die()
		if p.step.Power {
			p.w.powerFails(p.rng)
		}
		return errKilled
	}
	return nil
}

// die ends the process as a kill does: what it goes on to do to its local folders does not count, since the host goes on with a picture of them.
func (p *process) die() {
	p.dead = true
	if p.host != nil && !p.step.NoDisk {
		p.host.lives++
		base := p.w.path(p.host.name, fmt.Sprint(p.host.lives))
		next := state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}
		copyFolder(p.host.dirs.Cache, next.Cache)
		copyFolder(p.host.dirs.State, next.State)
		p.host.dirs = next
	}
	p.cancel(errKilled)
}

// end is called when the process is over.
func (p *process) end() {
	p.cancel(context.Canceled)
	if p.dead && p.host != nil && p.dirs != p.host.dirs && !p.step.NoDisk {
		_ = os.RemoveAll(filepath.Dir(p.dirs.Cache))
		if p.step.Power {
			p.w.cutPower(p.host, p.rng)
		}
	}
}

func copyFolder(from, to string) {
	if _, err := os.Stat(from); err == nil {
		_ = os.CopyFS(to, os.DirFS(from)) // what goes meanwhile is as after a kill
	}
}

// cutPower loses, of some local files, what was written last or all of it: none of it may be needed, but what repairs keep aside, which they
// sync before they rely on it.
func (w *world) cutPower(h *host, rng *rand.Rand) {
	clear(h.heads)
	for _, dir := range []string{h.dirs.Cache, h.dirs.State} {
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || rng.IntN(3) > 0 || filepath.Base(filepath.Dir(path)) == "aside" {
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			switch size := info.Size(); rng.IntN(4) {
			case 0:
				_ = os.Remove(path)
			case 1:
				_ = os.Truncate(path, 0)
			case 2:
				_ = os.Truncate(path, rng.Int64N(size+1))
			case 3: // the length is there, the content is not
				at := rng.Int64N(size + 1)
				_ = errors.Join(os.Truncate(path, at), os.Truncate(path, size))
			}
			return nil
		})
	}
}

// weather is what befalls a request besides the rules of faultstore.
func (p *process) weather(op, name string) error {
	if err := p.tick(op + " " + name); err != nil {
		return store.Fail(op, name, err)
	}
	p.w.clock.pass(time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w.countRequest()
	var err error
	switch s := p.step; {
	case s.Expire > 0 && p.ticks >= s.Expire:
		err = store.ErrAuth
	case s.Busy > 0 && p.ticks%s.Busy == 0:
		err = busyError{}
	case s.Full > 0 && op == "put" && p.puts+1 >= s.Full:
		err = store.ErrFull
	}
	if op == "put" {
		p.puts++
	}
	if err != nil {
		p.hurt = true
	}
	return store.Fail(op, name, err)
}

// door is a store as one process sees it.
type door struct {
	p *process
	s store.Store
	v *vault
}

// doorTo returns what a process sees of a vault, with the powers that stores of this world have.
func (p *process) doorTo(v *vault) store.Store {
	base := p.w.storeOf(v, p.who)
	if p.cheat != nil {
		return &door{p: p, s: p.cheat, v: v}
	}
	if rules := strings.ReplaceAll(p.step.Faults, ";", "\n"); rules != "" {
		base = faultstore.New(base, p.step.Seed, faultstore.MustParse(rules)...)
	}
	d := &door{p: p, s: base, v: v}
	var out store.Store = d
	switch {
	case p.w.setup.cold:
		out = &thawer{d}
	case p.w.setup.creator:
		out = &creator{d}
	}
	if p.w.setup.retry {
		out = retry.New(out, retry.Options{Tries: 5, Sleep: p.w.clock.Sleep, Now: p.w.clock.Now})
	}
	return out
}

// Weakness implements store.Weak.
func (d *door) Weakness() []string {
	if d.p.w.setup.weak && d.p.w.o.Bug != NoGrace {
		return []string{"late listings"}
	}
	return nil
}

func (d *door) Location() string { return d.s.Location() }
func (d *door) Close() error     { return nil }

func (d *door) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if err := d.p.weather("put", name); err != nil {
		return err
	}
	late, twice := d.p.step.Late == d.p.putNumber(), d.p.step.Twice == d.p.putNumber()
	if !late && !twice {
		return d.s.Put(ctx, name, r, size, o)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(r, size))
	if err != nil {
		return err
	}
	o.Memory = nil
	d.p.w.later(func() { _ = d.v.Put(context.Background(), name, bytes.NewReader(raw), size, o) })
	if late {
		d.p.hurt = true
		return store.Fail("put", name, store.ErrTimeout)
	}
	return d.s.Put(ctx, name, bytes.NewReader(raw), size, o)
}

func (p *process) putNumber() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.puts
}

func (d *door) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := d.p.weather("get", name); err != nil {
		return nil, err
	}
	if !d.p.cold && d.p.w.setup.cold && strings.HasPrefix(name, "data/") {
		d.p.w.breach(violated("%s reads %s, which is cold", d.p.who, name))
	}
	return d.s.Get(ctx, name, off, n)
}

func (d *door) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if err := d.p.weather("list", prefix); err != nil {
		return err
	}
	return d.s.List(ctx, prefix, after, d.late(fn))
}

// late leaves out of a listing some of what was stored just now, where listings may be late.
func (d *door) late(fn func(store.Info) error) func(store.Info) error {
	if !d.p.w.setup.weak {
		return fn
	}
	now := d.p.w.clock.Now()
	return func(i store.Info) error {
		d.p.mu.Lock()
		hidden := now.Sub(i.Modified) < lag && d.p.rng.IntN(3) == 0
		d.p.mu.Unlock()
		if hidden {
			return nil
		}
		return fn(i)
	}
}

func (d *door) Stat(ctx context.Context, name string) (store.Info, error) {
	if err := d.p.weather("stat", name); err != nil {
		return store.Info{}, err
	}
	i, err := d.s.Stat(ctx, name)
	d.forgetCopy(i)
	return i, err
}

// forgetCopy takes away, where that mistake is planted, a copy that was told to be there.
func (d *door) forgetCopy(i store.Info) {
	if d.p.w.o.Bug == ShortThaw && i.Copy.State == store.Thawed {
		d.v.Reclass(i.Name, i.Class)
	}
}

// leastStay is of DEEP_ARCHIVE.
const leastStay = 180 * 24 * time.Hour

func (d *door) Delete(ctx context.Context, name string) error {
	if err := d.p.weather("delete", name); err != nil {
		return err
	}
	if info, err := d.v.Stat(ctx, name); err == nil && !d.p.dear && info.Class == "DEEP_ARCHIVE" && d.p.w.clock.Now().Sub(info.Modified) < leastStay {
		d.p.w.breach(violated("%s deletes %s, which is paid for until %v", d.p.who, name, info.Modified.Add(leastStay)))
	}
	if err := d.s.Delete(ctx, name); err != nil {
		return err
	}
	if !d.p.dear && d.v == d.p.w.main { // what nobody needs any more ails nobody; a repair puts something else in its place
		d.p.w.logMu.Lock()
		defer d.p.w.logMu.Unlock()
		delete(d.p.w.sick, name)
	}
	return nil
}

// creator is a door through which objects are streamed.
type creator struct{ *door }

func (c *creator) Create(ctx context.Context, o store.PutOptions) (store.Pending, error) {
	if err := c.p.weather("create", ""); err != nil {
		return nil, err
	}
	s, _ := store.As[store.Creator](c.s)
	p, err := s.Create(ctx, o)
	if err != nil {
		return nil, err
	}
	return &doorPending{p, c.p}, nil
}

type doorPending struct {
	store.Pending
	p *process
}

func (p *doorPending) Commit(ctx context.Context, name string) error {
	if err := p.p.weather("put", name); err != nil {
		_ = p.Abort()
		return err
	}
	return p.Pending.Commit(ctx, name)
}

// thawer is a door to a store with cold classes.
type thawer struct{ *door }

func (t *thawer) Thaw(ctx context.Context, name string, o store.ThawOptions) (store.Answer, error) {
	if err := t.p.weather("thaw", name); err != nil {
		return 0, err
	}
	if !t.p.cold {
		t.p.w.breach(violated("%s has %s thawed, which nobody asked for", t.p.who, name))
	}
	return t.p.w.thaw(ctx, t.v, name, o)
}

func (t *thawer) ListCopies(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if err := t.p.weather("list", prefix); err != nil {
		return err
	}
	return t.v.ListCopies(ctx, prefix, after, t.late(func(i store.Info) error {
		t.forgetCopy(i)
		return fn(i)
	}))
}

func (w *world) countRequest() {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	w.counts.Requests++
}

// later has something done in one of the next steps.
func (w *world) later(do func()) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	w.due = append(w.due, do)
}

// open opens the repository in a vault for a process.
func (p *process) open(v *vault, a repo.Access) (*repo.Repository, error) {
	o := repo.Options{Now: p.now, Report: p.report}
	if p.host != nil {
		s := state.Open(p.dirs, p.w.access.Secrets.Repository, nil)
		o.Spool = s.Spool()
		if p.w.setup.tables {
			o.IndexDir = s.ChunkTableDir()
		}
	}
	return repo.Open(p.ctx, p.doorTo(v), a, o)
}

// now is the time by the clock of the process's machine.
func (p *process) now() time.Time {
	at := p.w.clock.Now()
	if p.host != nil {
		at = at.Add(p.host.skew)
	}
	return at
}

// report keeps what is told, which must not have secrets.
func (p *process) report(e event.Event) {
	switch e := e.(type) {
	case event.Note:
		p.w.tell("%s notes: %s", p.who, e.Text)
	case event.Problem:
		p.w.tell("%s has a problem with %q: %v", p.who, e.Path, e.Err)
	}
}

// excused reports whether an error is one that a disturbed process may end with.
func (p *process) excused(err error) bool {
	var fault *faultstore.Fault
	var busy busyError
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.dead, errors.Is(err, errKilled), errors.As(err, &fault):
		return true
	case p.step.Stop > 0 && errors.Is(err, context.Canceled):
		return true
	case p.hurt:
		return errors.Is(err, store.ErrAuth) || errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrTimeout) || errors.As(err, &busy)
	}
	return strings.Contains(p.step.Faults, "short") || strings.Contains(p.step.Faults, "flip") // what is read is damaged, and that may be told in many ways
}

// thaw asks for a copy of what is cold.
func (w *world) thaw(ctx context.Context, v *vault, name string, o store.ThawOptions) (store.Answer, error) {
	return v.Thaw(ctx, name, o)
}
