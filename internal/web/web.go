// Package web is the local pages: how backups stand, what snapshots hold, what they cost, and the way back, for those who would rather look than type.
//
// # What it may do
//
// Pages read in this process, by the packages that the commands read by. Whatever acts (a backup, a check, a restore) is a child process of firn itself with the flags that a person would type, and the page shows that
// line. Nothing can be deleted from a page: no prune, no forget, no keys. Secrets stay in this process and go to children on their standard input.
//
// # Who may ask
//
// Package gate lets through who came with a one-time token and has a session since. Requests must call this machine by a name of the loopback interface, and those that change something must come from a page of ours.
//
// # How it is built
//
// Site holds what all pages share: layout (Render), repositories that are opened when asked for and closed when idle (Archive), and children with their progress (Tasks). The pages themselves are children of this package: desk,
// look, history and wizard; each has a function Add that registers its patterns. Everything is rendered here, works without scripts, and asks nothing of any other place.
//
// # Addresses
//
//	/                           how all stands
//	/run  /tasks/{id}           what can be begun, and what was
//	/r/{repo}/…                 what belongs to a repository: calendar, cost, snapshots, s/{snapshot}/…, search, versions, diff, restore
//	/assets/…                   style and script, by the sum of what they say
//
// Paths inside snapshots stand in addresses and forms as base64url of their bytes (EncodePath), since names of files need not be text.
package web

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/job"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/retention"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/thaw"
	"firn/internal/web/gate"
)

// Place is a repository that the pages show.
type Place struct {
	Name     string                                     // in addresses and on pages: of the configuration, or its last part
	Location string                                     // a folder or s3://bucket/prefix
	Flags    []string                                   // that lead a child of firn to it (--repo …, --endpoint …, --identity …), without secrets
	Secret   func(context.Context) ([]byte, error)      // passphrase for the standard input of a child; nil: Flags say where it is, or none is needed
	Open     func(ctx context.Context) (*Opened, error) // opens it with the keys at hand. It is called again after Close
	Monthly  price.Money                                // budget; 0: none
	Keep     retention.Rules                            // what the configuration keeps of which source; empty: it says nothing
}

// Opened is a repository that is open.
type Opened struct {
	Repo   *repo.Repository
	Store  store.Store
	Region *price.Region // whose prices count; nil: unknown
	Reads  bool          // files and their lists can be read; else only which snapshots there are
	Close  func()
}

// Jobs is what pages need of the configuration's jobs; job.Runner has it.
type Jobs interface {
	Jobs() []job.Job
	Status(jobs []job.Job, older time.Duration) []job.Status
}

// Options are what the pages need of the world.
type Options struct {
	Places   []Place
	Jobs     func() Jobs // as the configuration is now; nil, or returning nil: there is none
	Program  []string    // firn itself, with leading arguments, for children
	StateDir string      // where unfinished restores are remembered; empty: they are not
	Version  string
	Host     string // as snapshots of this machine call it; empty: unknown
	Now      func() time.Time
	Location *time.Location
	Link     int64 // bytes a second that the download was measured at; 0: unknown
	Gate     *gate.Gate
	Log      func(format string, args ...any) // problems that no page shows; may be nil
}

// Site is the pages, and what they share. Its methods may be called by several goroutines at once.
type Site struct {
	o     Options
	mux   *http.ServeMux
	guard http.Handler
	Tasks *Tasks

	mu       sync.Mutex
	archives []*Archive // not changed, but replaced
	closed   bool
	work     sync.WaitGroup // of Go

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

// New returns a site without pages. Close ends it.
func New(o Options) (*Site, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Location == nil {
		o.Location = time.Local
	}
	s := &Site{o: o, mux: http.NewServeMux()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	assets, err := newAssets()
	if err != nil {
		return nil, err
	}
	s.UsePlaces(o.Places)
	s.Tasks = newTasks(&s.o)
	s.Tasks.register(s)
	s.mux.Handle("GET /assets/{name}", assets)
	s.Handle("/", func(http.ResponseWriter, *http.Request) error {
		return &StatusError{Code: http.StatusNotFound, Text: "there is no such page"}
	})
	s.guard = o.Gate.Guard(s.mux, s.refuse)
	return s, nil
}

// UsePlaces has the pages show other repositories, after the configuration was read again. Those that are reached as before stay open.
func (s *Site) UsePlaces(places []Place) {
	s.mu.Lock()
	old := s.archives
	var next []*Archive
	for i := range places {
		p := places[i]
		at := slices.IndexFunc(old, func(a *Archive) bool {
			return a.place.Name == p.Name && a.place.Location == p.Location && slices.Equal(a.place.Flags, p.Flags) && a.place.Monthly == p.Monthly && reflect.DeepEqual(a.place.Keep, p.Keep)
		})
		if at >= 0 && !slices.Contains(next, old[at]) {
			next = append(next, old[at])
		} else {
			next = append(next, newArchive(&p, s.o.Now))
		}
	}
	s.archives = next
	closed := s.closed
	s.mu.Unlock()
	for _, a := range append(slices.Clone(old), next...) {
		if closed || !slices.Contains(next, a) {
			a.close()
		}
	}
}

// Close stops what was begun (restores go on with the next call of the same line), and closes the repositories.
func (s *Site) Close() {
	s.Tasks.close()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	for _, a := range s.Archives() {
		a.close()
	}
	s.work.Wait()
}

// Go runs fn beside the pages. Close ends its context and waits for it; once the site is closed nothing is run.
func (s *Site) Go(fn func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Go(func() { fn(s.ctx) })
	}
}

// Closed is closed when the site is.
func (s *Site) Closed() <-chan struct{} { return s.ctx.Done() }

// Options returns what the site was made with.
func (s *Site) Options() *Options { return &s.o }

// ServeHTTP answers who may ask.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.guard.ServeHTTP(w, r)
}

// refuse shows why the gate lets somebody have no page.
func (s *Site) refuse(w http.ResponseWriter, r *http.Request, no gate.Refusal) {
	s.failPage(w, r, no.Status, no.Text, no.Hint)
}

// Handle registers a page. What fn returns as an error becomes a page with the hint of package advice; it must not have written anything by then.
func (s *Site) Handle(pattern string, fn func(http.ResponseWriter, *http.Request) error) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := fn(w, r); err != nil {
			s.Fail(w, r, err)
		}
	})
}

// Archives returns the repositories, in the order of the configuration.
func (s *Site) Archives() []*Archive {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.archives
}

// Archive returns the repository that {repo} in the address of a request names.
func (s *Site) Archive(r *http.Request) (*Archive, error) {
	name := r.PathValue("repo")
	for _, a := range s.Archives() {
		if a.place.Name == name {
			return a, nil
		}
	}
	return nil, &StatusError{Code: http.StatusNotFound, Text: "there is no such repository"}
}

// StatusError is an error with the status that HTTP has for it.
type StatusError struct {
	Code int
	Text string // for people
	Hint string
	Back []Crumb // the way to where it can be put right; nil: none
}

func (e *StatusError) Error() string { return e.Text }

// Fail answers with a page that tells of err and what to do.
func (s *Site) Fail(w http.ResponseWriter, r *http.Request, err error) {
	code, hint := statusOf(err), advice.Hint(err)
	var own *StatusError
	var back []Crumb
	if errors.As(err, &own) {
		code, hint, back = own.Code, own.Hint, own.Back
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // nobody waits for it
	}
	s.failPage(w, r, code, err.Error(), hint, back...)
}

// statusOf is the status for an error of the packages below.
func statusOf(err error) int {
	switch {
	case errors.Is(err, browse.ErrNotThere), errors.Is(err, snapshot.ErrNone), errors.Is(err, fs.ErrNotExist):
		return http.StatusNotFound
	case errors.Is(err, browse.ErrNotFile), errors.Is(err, browse.ErrRange):
		return http.StatusBadRequest
	case errors.Is(err, repo.ErrWriteOnly), errors.Is(err, store.ErrDenied), errors.Is(err, store.ErrAuth):
		return http.StatusForbidden
	case errors.Is(err, store.ErrCold), errors.Is(err, store.ErrThawing), errors.As(err, new(*thaw.BusyError)):
		return http.StatusConflict
	case errors.Is(err, store.ErrTimeout), errors.Is(err, store.ErrNoStore):
		return http.StatusBadGateway
	}
	return http.StatusInternalServerError
}
