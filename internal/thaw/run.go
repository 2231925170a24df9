package thaw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/store"
)

// RunOptions say how to run a job; zero values stand for the defaults, but Store and Fetch have none.
type RunOptions struct {
	Store  store.Store
	Region *price.Region // nil: nothing is priced, and the job must have no MaxCost
	Link   Link
	Clock  Clock // default: WallClock
	// Fetch brings objects home that are readable, in order of need, and returns those that were cold after all, or could not be read as they were; these are looked at and,
	// where they must, thawed again. An object counts as fetched once Fetch returned no error without naming it; after a kill in between it is fetched
	// again. It must not use the job, but for Job.Brought. Nothing else happens while it runs, so passes are kept short (Pass). Jobs that hold (Header.Hold) do without.
	Fetch func(ctx context.Context, objects []string) (cold []string, err error)
	// Feed is for who reads objects in an order of his own and cannot take them one pass after another; it is used instead of Fetch. It is given all objects that are readable, in order of need, and
	// whether more will be if one waits, and returns when somebody waits for another object, has ended, has Brought or Cold to tell, or after a while: copies are looked after only between two calls. He goes on
	// reading meanwhile. Errors end the Run; what is told with them counts.
	Feed func(ctx context.Context, ready []string, more bool) (Fed, error)
	// NoWait returns as soon as all that may be asked for is asked for and all that is ready is fetched.
	NoWait bool
	// Slower lets a slower tier be asked for where the store has no capacity for the tier of the job.
	Slower bool

	Rate     float64       // thaw requests a second at the beginning; default 300. It grows to MaxRate while the store bears it
	MaxRate  float64       // default 1,000
	Workers  int           // requests at once; default MaxRate/8, which is enough where one takes up to 125 ms
	Survey   *Survey       // of all needs of the job, by Look; used instead of a new one if it is no older than surveyAge
	Poll     time.Duration // between two looks at what is thawed; default: 5 s to 10 min, by the tier
	Pass     time.Duration // longest pass of Fetch, by the link's speed; default 1 h, more where passes have much overhead
	Overhead time.Duration // of a pass of Fetch, until it has been measured; default 5 s
	Patience time.Duration // how long throttling and faults that may pass are borne, without anything coming through; default 1 h. ErrNoCapacity is borne for ever
	Total    int64         // how many objects the folders concerned hold; 0: unknown
	Out      int64         // bytes that left the store this month before
	// StoreNow is the store's clock; nil: it goes as Clock does, more or less.
	StoreNow func(ctx context.Context) (time.Time, error)

	Events   event.Func   // Progress of phase "thaw", Note, Problem, Decision
	OnStatus func(Status) // called now and then by the goroutine of Run
}

// Result is what Run did.
type Result struct {
	Status   Status     // of the job, all its runs together
	Missing  []string   // in order of need
	Refused  []Refusal  // likewise
	Bill     price.Bill // what the job cost so far, by the price table: at most, since copies are counted to the end of their last day
	Requests Requests   // listings and heads of this run
	Thaws    int64      // requests of this run that began a thaw
	Extended int64      // of this run
	Passes   int        // of this run
	Again    []string   // objects that this run paid for once more
}

// Refusal is an object that could not be thawed, or not be read though thawed.
type Refusal struct {
	Object string
	Err    error
}

// Run works on a job until all is fetched, then marks it done. It returns what it did in any case. Errors: ctx's, when it ends (the journal is kept, and the next
// Run goes on); *BudgetError, before anything is asked for or when a request would pass the limit; *LeftError when some objects could not be had (the job stays
// active); *EndedError; those of the store and of Fetch.
func Run(ctx context.Context, j *Job, o RunOptions) (*Result, error) {
	e, err := newEngine(j, o)
	if err != nil {
		return &Result{Status: j.Status()}, err
	}
	return e.finish(e.run(ctx))
}

// stage is where an object stands.
type stage uint8

const (
	wanted  stage = iota // to be asked for
	coming               // being thawed
	ready                // to be read now
	brought              // fetched
	gone                 // not in the store
	refused              // the store will not thaw it, or it cannot be read
	stages
)

// item is what an engine knows of a need.
type item struct {
	expires int64 // Unix seconds by the store's clock; 0: unknown, or never
	asked   int64 // when the thaw began, Unix seconds; 0: before this Run
	class   uint16
	stage   stage
	tries   uint8  // how often it could not be read though thawed
	cold    bool   // has to be thawed
	unsure  bool   // asked for, and it is not known whether the store heard
	kept    bool   // its copy cannot be extended
	shown   bool   // the store has shown that it is being thawed
	days    uint16 // asked for by this Run, which began the thaw; 0: somebody else, or nobody
	looked  uint32 // when the store was asked about it last, seconds from the start of the Run
}

// engine is one Run. Everything happens in its goroutine, but for listings, heads and thaw requests.
type engine struct {
	j     *Job
	o     RunOptions
	clock Clock
	look  *looker
	rand  *rand.Rand
	meter meter
	pace  pace

	order  []int32 // indexes by name
	items  []item
	seen   []fact            // what the last look told; meaningful for those that it was about
	tally  [stages][]Tally   // by class
	list   []int32           // room for poll
	first  int32             // no object before it is wanted
	tiers  map[uint16]*tiers // by class
	asked0 Requests          // of earlier runs
	res    *Result

	surveyed   bool
	started    time.Time
	begun      time.Time     // when the last thaw began
	registered time.Time     // when others were told how the job stands
	offset     time.Duration // of the store's clock from ours
	offsetAt   time.Time
	polled     time.Time // last look
	fullLook   time.Time // last look at all that is coming
	cheap      bool      // a full look costs little
	pollBad    time.Time // since when looks fail; zero: they do not
	idle       time.Time // since when something is ready that is not being fetched; zero: nothing is
	told       time.Time // last event
	noted      time.Time // last record of news

	pauseUntil time.Time     // the store has no capacity until then
	pauseNext  time.Duration // the pause after the next
	denials    int           // in a row
	behind     Tally         // of what is ready: copies that were read and are needed once more (Feed)
	awaited    int32         // may be asked for whatever else is under way; -1: none (Feed)
	blocked    error         // nothing more is asked for
	overBudget *BudgetError
	notedOnce  map[string]bool
}

// tiers says how objects of a class are thawed.
type tiers struct {
	now   store.Tier
	tried []store.Tier // that the store does not have
}

func newEngine(j *Job, o RunOptions) (*engine, error) {
	switch {
	case j.status.State != Active:
		return nil, &EndedError{ID: j.header.ID, State: j.status.State}
	case j.header.MaxCost != nil && o.Region == nil:
		return nil, errors.New("a limit on costs needs prices")
	case o.Fetch == nil && o.Feed == nil && !j.header.Hold:
		return nil, errors.New("a job that fetches needs to know how")
	}
	o.fill()
	e := &engine{j: j, o: o, clock: o.Clock, order: j.order, awaited: -1, items: make([]item, len(j.needs)), seen: make([]fact, len(j.needs)), tiers: map[uint16]*tiers{},
		rand: rand.New(rand.NewPCG(1, 2)), res: &Result{}, notedOnce: map[string]bool{}, asked0: j.ledger.Asked}
	e.look = newLooker(o.Store, j.needs, LookOptions{Region: o.Region, Total: o.Total, Clock: o.Clock})
	e.look.set = func(i int32, f fact) { e.seen[i] = f }
	e.meter = meter{assumed: o.Link.down(), start: o.Overhead.Seconds()}
	e.started = e.clock.Now()
	e.begun = e.started
	e.pace = pace{rate: o.Rate, most: o.MaxRate, at: e.started}
	return e, nil
}

func (o *RunOptions) fill() {
	if o.Clock == nil {
		o.Clock = WallClock{}
	}
	if o.MaxRate <= 0 {
		o.MaxRate = 1000
	}
	if o.Rate <= 0 {
		o.Rate = 300
	}
	o.Rate = min(o.Rate, o.MaxRate)
	if o.Workers <= 0 {
		o.Workers = int(min(max(o.MaxRate/8, 1), 1000))
	}
	o.Pass = cmp.Or(max(o.Pass, 0), time.Hour)
	o.Overhead = cmp.Or(max(o.Overhead, 0), 5*time.Second)
	o.Patience = cmp.Or(max(o.Patience, 0), time.Hour)
}

func (e *engine) run(ctx context.Context) error {
	if err := e.survey(ctx); err != nil {
		return err
	}
	e.surveyed = true
	e.settlePending()
	if err := e.priceable(); err != nil {
		return err
	}
	if e.overLimit() && !e.inHand() {
		return e.overBudget
	}
	for {
		if err := e.register(false); err != nil {
			return err
		}
		done, err := e.step(ctx)
		if done || err != nil {
			return err
		}
	}
}

// step does what can be done now, then waits and looks.
func (e *engine) step(ctx context.Context) (done bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := e.syncClock(ctx); err != nil {
		return false, err
	}
	if err := e.extend(ctx); err != nil {
		return false, err
	}
	if err := e.request(ctx); err != nil {
		return false, err
	}
	e.tell()
	if e.o.Feed != nil {
		return e.feedStep(ctx)
	}
	if e.objects(coming)+e.objects(ready) == 0 && (e.objects(wanted) == 0 || e.blocked != nil) {
		return true, nil
	}
	if pass := e.choose(); len(pass) > 0 {
		if err := e.fetch(ctx, pass); err != nil {
			return false, err
		}
		if e.clock.Now().Sub(e.polled) < e.interval() {
			return false, nil
		}
		return false, e.poll(ctx)
	}
	if e.o.NoWait {
		return true, nil
	}
	if err := e.clock.Sleep(ctx, e.untilNext()); err != nil {
		return false, err
	}
	return false, e.poll(ctx)
}

// untilNext is how long nothing needs to be done.
func (e *engine) untilNext() time.Duration {
	now := e.clock.Now()
	d := e.polled.Add(e.interval()).Sub(now)
	if e.objects(coming) == 0 && e.pauseUntil.After(now) {
		d = e.pauseUntil.Sub(now)
	}
	return max(d, min(time.Second, e.interval()))
}

// finish writes down how it ended.
func (e *engine) finish(err error) (*Result, error) {
	at := func(r Refusal) int32 { i, _ := e.j.index(r.Object); return i }
	slices.SortStableFunc(e.res.Refused, func(a, b Refusal) int { return cmp.Compare(at(a), at(b)) })
	for i := range e.items {
		if e.items[i].stage == gone {
			e.res.Missing = append(e.res.Missing, e.j.needs[i].Object)
		}
	}
	if n := len(e.res.Again); n > 0 {
		e.note("%d objects were paid for once more, since their copies expired before they were fetched", n)
	}
	if err == nil {
		err = e.outcome()
	}
	if e.surveyed {
		e.j.status = e.status()
	}
	if e.surveyed && err == nil && e.j.status.Left.Objects == 0 {
		e.j.status.State = Done
	}
	e.j.tell()
	if e.j.log != nil {
		e.j.log.Sync()
	}
	if ended := e.register(true); err == nil && ended != nil {
		err = ended
	}
	e.res.Status, e.res.Requests = e.j.status, e.look.requests()
	e.res.Bill = e.j.ledger.bill(e.o.Region, e.j.header.Route, e.o.Out)
	e.emit(e.progress())
	return e.res, err
}

// outcome is the error of a run that did all it could.
func (e *engine) outcome() error {
	if e.overBudget != nil {
		return e.overBudget
	}
	open := e.objects(coming) + e.objects(ready)
	if e.blocked == nil {
		open += e.objects(wanted)
	}
	lost := &LeftError{Missing: int(e.objects(gone)), Refused: int(e.objects(refused)), First: e.blocked}
	if e.blocked != nil {
		lost.Refused += int(e.objects(wanted))
	}
	if open > 0 || lost.Missing+lost.Refused == 0 {
		return nil
	}
	if lost.First == nil && len(e.res.Refused) > 0 {
		lost.First = e.res.Refused[0].Err
	}
	return lost
}

// put moves an object to another stage.
func (e *engine) put(i int32, s stage) {
	it, n := &e.items[i], &e.j.needs[i]
	one := Tally{}
	one.add(n)
	e.at(it.stage, it.class).leave(one)
	it.stage = s
	e.at(s, it.class).join(one)
	if s == wanted {
		e.first = min(e.first, i)
	}
}

func (e *engine) at(s stage, class uint16) *Tally {
	for len(e.tally[s]) <= int(class) {
		e.tally[s] = append(e.tally[s], Tally{})
	}
	return &e.tally[s][class]
}

func (e *engine) sum(s stage) (t Tally) {
	for _, c := range e.tally[s] {
		t.join(c)
	}
	return t
}

// copies sums up what is thawed, or being thawed, and leaves out what needs no thawing.
func (e *engine) copies(s stage) (t Tally) {
	for class, c := range e.tally[s] {
		if c.Objects > 0 && Cold(e.o.Region, e.name(uint16(class))) {
			t.join(c)
		}
	}
	return t
}

func (e *engine) objects(s stage) int64 { return e.sum(s).Objects }

func (e *engine) emit(ev event.Event) { e.o.Events.Emit(ev) }

func (e *engine) note(format string, args ...any) {
	e.emit(event.Note{Text: fmt.Sprintf(format, args...)})
}

// noteOnce notes what may come a thousand times.
func (e *engine) noteOnce(key, format string, args ...any) {
	if !e.notedOnce[key] {
		e.notedOnce[key] = true
		e.note(format, args...)
	}
}

func (e *engine) refuse(i int32, err error) {
	e.put(i, refused)
	e.res.Refused = append(e.res.Refused, Refusal{e.j.needs[i].Object, err})
	e.emit(event.Problem{Path: e.j.needs[i].Object, Err: err})
}

// status sums up how the job stands.
func (e *engine) status() Status {
	j := e.j
	s := Status{State: j.status.State, At: e.clock.Now().UTC(), Thawing: e.sum(coming), Ready: e.sum(ready), Fetched: e.sum(brought), Again: j.ledger.Again}
	for _, u := range j.ledger.Thaws {
		s.Requested.Objects += u.Objects
		s.Requested.Bytes += u.Bytes
		s.Extended += u.Extended
	}
	s.Failed = e.sum(gone)
	s.Failed.join(e.sum(refused))
	s.Left = e.sum(wanted)
	for _, t := range []Tally{s.Thawing, s.Ready, s.Failed} {
		s.Left.join(t)
	}
	j.ledger.Asked = e.asked0
	asked := e.look.requests()
	j.ledger.Asked.List += asked.List
	j.ledger.Asked.Head += asked.Head
	s.Spent = j.ledger.bill(e.o.Region, j.header.Route, e.o.Out).Total()
	s.Speed, _ = e.meter.learnt()
	s.ETA = e.eta(&s)
	return s
}

// eta is when the last byte will be here, if all goes as it has gone.
func (e *engine) eta(s *Status) time.Time {
	now := e.clock.Now().UTC()
	wait, took := e.longest()
	if e.objects(wanted) > 0 {
		wait = took
	}
	if e.j.header.Hold {
		return now.Add(wait)
	}
	rate := s.Speed
	if t := e.sum(wanted); t.Objects > 0 && took > 0 {
		rate = min(rate, max(float64(e.window())/took.Seconds(), 1))
	}
	bytes := float64(s.Left.Wanted - s.Failed.Wanted)
	return now.Add(max(wait, 0) + seconds(bytes/max(rate, 1))).Truncate(time.Second)
}

// longest returns how long what is coming may take from now, and how long the slowest of the job's tiers takes.
func (e *engine) longest() (rest, whole time.Duration) {
	for class := range e.tally[coming] {
		if e.tally[coming][class].Objects > 0 {
			rest = max(rest, e.times(uint16(class)).Last)
		}
	}
	whole = rest
	for class := range e.tally[wanted] {
		if e.tally[wanted][class].Objects > 0 {
			whole = max(whole, e.times(uint16(class)).Last)
		}
	}
	return max(0, rest-e.clock.Now().Sub(e.begun)), whole
}

func (e *engine) progress() event.Progress {
	done, all := e.sum(brought), Tally{}
	for s := range stages {
		all.join(e.sum(s))
	}
	return event.Progress{Phase: "thaw", FilesDone: done.Objects, FilesTotal: all.Objects, BytesDone: done.Wanted, BytesTotal: all.Wanted, Problems: int64(len(e.res.Refused)) + e.objects(gone)}
}

// tell lets others know how the job stands, not too often.
func (e *engine) tell() {
	now := e.clock.Now()
	if now.Sub(e.told) < time.Second && !e.told.IsZero() {
		return
	}
	e.told = now
	e.emit(e.progress())
	if now.Sub(e.noted) >= 30*time.Second || e.noted.IsZero() {
		e.noted = now
		e.j.status = e.status()
		e.j.tell()
		if e.o.OnStatus != nil {
			e.o.OnStatus(e.j.status)
		}
	}
}

// register puts the job's status where other processes see it, and finds out whether one of them cancelled it.
func (e *engine) register(last bool) error {
	j := e.j
	now := e.clock.Now()
	if j.s == nil || !last && now.Sub(e.registered) < time.Minute {
		return nil
	}
	e.registered = now
	var ended error
	err := withRegister(j.s, now, func(r *register) {
		k := r.find(j.header.ID)
		if k >= 0 && r.entries[k].Status.State != Active {
			j.status.State = r.entries[k].Status.State
			ended = &EndedError{ID: j.header.ID, State: j.status.State}
		}
		r.set(j.header.ID, j.status)
	})
	if err != nil {
		e.noteOnce("register", "the list of thaw jobs is out of date: %v", err)
	}
	return ended
}
