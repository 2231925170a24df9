package store

import (
	"context"
	"errors"
	"time"
)

// Tier is how fast, and for how much, a store thaws, in the words of S3. Not every class has every tier; a store without
// tiers knows NoTier only.
type Tier string

// The tiers (Amazon S3 User Guide, "Archive retrieval options").
const (
	NoTier    Tier = ""
	Expedited Tier = "Expedited"
	Standard  Tier = "Standard"
	Bulk      Tier = "Bulk"
)

// ThawOptions say what copy is asked for.
type ThawOptions struct {
	Tier Tier
	Days int // how long the copy is kept once it is there, in days; at least 1
}

// Answer is what a store said to Thaw.
type Answer int

// The answers. Only the first costs a retrieval.
const (
	ThawBegun    Answer = iota // the copy will come
	ThawExtended               // the copy is there already; it is kept until Days from now (Amazon S3: also where that is sooner than before; do not ask for less)
)

// CopyState tells about the readable copy of an object in a cold class.
type CopyState int

// The states.
const (
	NoCopy  CopyState = iota // none, or the class needs none
	Thawing                  // asked for, not there yet
	Thawed                   // there, until Copy.Expires
)

// Copy is the readable copy of an object in a cold class.
type Copy struct {
	State   CopyState
	Expires time.Time // by the store's clock; zero: unknown
}

// Thawer is a store with classes from which an object is read only after a copy of it was asked for. Stat fills Info.Copy; List does not.
//
// Thaw is never repeated by a wrapper: who calls it paces and repeats.
type Thawer interface {
	// Thaw asks for a copy, or for one to be kept longer. It fails with ErrThawing where a copy is on its way (a faster tier than the one asked before is
	// taken up, and is ThawBegun), with ErrNotCold where the object can be read as it is, with ErrTier where the class or the store does not have the tier, and with
	// ErrNoCapacity where the store has no room for it now; both cost nothing.
	Thaw(ctx context.Context, name string, o ThawOptions) (Answer, error)
	// ListCopies is List that also fills Info.Copy. Where the store's listings are known not to tell, it fails with ErrNoStatus, as a rule before fn is called. Servers leave
	// out of a listing what they do not know, without a word: the store finds that out for certain once a copy was asked for through it, or a probe did. Until then NoCopy
	// can also mean that nobody knows.
	ListCopies(ctx context.Context, prefix, after string, fn func(Info) error) error
}

// Mover is a store that puts an object into another class, in place, without sending its content.
type Mover interface {
	// Move leaves no version in the old class behind but one that is locked or may not be deleted. It fails with ErrCold where the object would have to be thawed first. Moving to the class that the object is in does nothing. The content stays readable, or cold,
	// all the while; when Move fails the object is in its old class or the new one.
	Move(ctx context.Context, name, class string) error
}

// Rule is a rule by which a store changes or removes objects by itself.
type Rule struct {
	ID       string
	Enabled  bool
	Prefix   string // names that it is about, relative to the store's root; empty: all. Where it begins above the root it is empty, too
	Narrowed bool   // it is about some of these objects only, by tags or size
	Days     int    // age at which it acts, of objects or, where Noncurrent, of versions that were replaced
	Class    string // moves to this class; empty: does not
	Expires  bool   // removes
	Aborts   int    // gives up uploads in parts after so many days; 0: does not
	// Noncurrent rules are about replaced versions, of which firn makes none but by deleting.
	Noncurrent bool
}

// Ruler is a store that may have such rules. A rule that does several things is several Rules of one ID.
type Ruler interface {
	// Rules fails with ErrUnsupported where the store has no rules that could be asked for.
	Rules(ctx context.Context) ([]Rule, error)
}

// UploadMemory remembers, outside of the process, the upload of one object in parts, so that one that was cut off goes on. Methods are called by one
// goroutine at a time.
type UploadMemory interface {
	Upload() string      // what SetUpload was given last; empty: nothing is under way
	SetUpload(id string) // empty: the upload has ended
}

// Errors of thawing.
var (
	ErrThawing    = errors.New("object is being thawed already")
	ErrNotCold    = errors.New("object needs no thawing")
	ErrTier       = errors.New("no such retrieval tier for this object")
	ErrNoCapacity = errors.New("store cannot take more retrievals of this tier now")
	ErrNoStatus   = errors.New("listings of the store do not tell what is thawed")
)
