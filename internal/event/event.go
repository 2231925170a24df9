// Package event is what a verb tells while it runs, so that a terminal, a log, a page and a test can all listen.
package event

import "time"

// Event is one of the types of this package.
type Event interface{ event() }

// Func receives events. It may be called by several goroutines at once and must return quickly. A nil Func is not called: use Emit.
type Func func(Event)

// Emit calls f with e, unless f is nil.
func (f Func) Emit(e Event) {
	if f != nil {
		f(e)
	}
}

// Progress is the state of a verb; counters only grow within one Phase. Totals are 0 while unknown.
type Progress struct {
	Phase                 string // one word: scan, backup, restore, index, …
	FilesDone, FilesTotal int64
	BytesDone, BytesTotal int64 // of content
	BytesSent, BytesGot   int64 // to and from the store
	Problems              int64
	Current               string // path in work, for people
}

// Thaw is how a job stands that has cold objects thawed and fetches them as they come. An object is in one of Thawing, Ready and Fetched, or was not asked for yet.
type Thaw struct {
	Objects, Thawing, Ready, Fetched int64
	BytesTotal, BytesFetched         int64     // of what is wanted of them
	Spent                            float64   // by the price table; 0 also where there is none
	ETA                              time.Time // of the last byte; zero: unknown
}

// Problem is one file, object or entry that could not be dealt with; the verb goes on.
type Problem struct {
	Path string // as the user would write it
	Err  error
}

// Note is something that the user should know and that is no failure, such as a file system left out.
type Note struct{ Text string }

// Decision explains a choice, for -v: why a file was read, a pack was fetched.
type Decision struct{ Text string }

func (Progress) event() {}
func (Thaw) event()     {}
func (Problem) event()  {}
func (Note) event()     {}
func (Decision) event() {}
