package thaw

import (
	"context"
	"time"

	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/store"
)

// RunOptions say how to run a job; zero values stand for the defaults, but Store.
type RunOptions struct {
	Store  store.Store
	Region *price.Region // nil: nothing is priced, and the job must have no MaxCost
	Link   Link
	Clock  Clock // default: WallClock
	// Fetch brings objects home that are readable, in order of need, and returns those that were cold after all, or could not be read as they were; these are looked at and,
	// where they must, thawed again. An object counts as fetched once Fetch returned no error without naming it; one that was killed
	// between is fetched again. It must not call the job. nil: objects are made readable, and that is all.
	Fetch func(ctx context.Context, objects []string) (cold []string, err error)
	// NoWait returns as soon as all that may be asked for is asked for and all that is ready is fetched.
	NoWait bool
	// Slower lets a slower tier be asked for where the store has no capacity for the tier of the job.
	Slower bool

	Rate     float64       // thaw requests a second at the beginning; default 300. It grows to MaxRate while the store bears it
	MaxRate  float64       // default 1,000
	Workers  int           // requests at once; default MaxRate/8
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
	Status   Status // of the job, all its runs together
	Missing  []string
	Refused  []Refusal
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
	return run(ctx, j, o)
}
