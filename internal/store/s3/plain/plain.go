// Package plain keeps plain objects in a bucket of Amazon S3 or of a compatible server: it is the bucket.Bucket of floor 2, and makes its requests by the client of its parent.
//
// # Requests
//
// Calls that fail for a reason that may pass are repeated, after a random wait that doubles ("full jitter", AWS Architecture Blog, "Exponential Backoff And Jitter", 2015). What may have had
// its effect although no answer came is looked at before it is called a failure: a Put, a copy or a completion whose repetition finds the condition broken compares what is there with what
// was sent. Where the server says that it is asked too much fewer calls are let in at once, and slowly more again.
//
// # Sums
//
// Every content goes with a sum in the header of its request, so that the server refuses what was damaged: the one that the caller gives, else CRC64NVME, which Amazon keeps for objects in
// parts as one of the whole. Servers that refuse it get SHA-256, then Content-MD5; what a server has taught is remembered as long as the Bucket is open. The header is signed, which is why
// the payload is not. Answers to Get are compared with the sum of the whole where the server keeps one and all of the object is read.
//
// # Keys
//
// A key is any UTF-8 of 1 to 1,024 bytes, and is sent and listed as it is: with slashes at both ends, "//", "..", "+", "%" and control characters. What XML cannot carry is listed by
// encoding-type=url and deleted one by one.
//
// # Metadata
//
// Names are in lower case. Values that HTTP cannot carry as they are (outside ASCII, control characters, spaces at an end, a beginning like an encoded word) are sent as encoded words of RFC
// 2047, which Amazon decodes when it stores them and encodes when it tells them (Amazon S3 User Guide, "Working with object metadata"); servers that do neither keep the encoded words, so that
// both are read alike. Other programs show encoded words, or decode them.
package plain

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	api "github.com/aws/aws-sdk-go-v2/service/s3"

	"firn/internal/bucket"
	"firn/internal/store"
	"firn/internal/store/s3"
	"firn/internal/units"
)

// Limits of S3 (Amazon S3 User Guide, "Multipart upload limits"; API Reference, CopyObject).
const (
	maxPut   = 5 * units.GiB
	minPart  = 5 * units.MiB
	maxPart  = 5 * units.GiB
	maxParts = 10_000
	maxCopy  = 5 * units.GiB // of one CopyObject
	copyPart = 512 * units.MiB
)

// Pacer lets bytes pass at some rate, as a *limit.Pacer does.
type Pacer interface {
	WaitN(ctx context.Context, n int) error // waits until n bytes may pass
	Burst() int                             // the largest n, at this moment
}

// Options of a bucket.
type Options struct {
	S3 s3.Options // Prefix must be empty; PartSize, PartsAbove and GetEndpoint are not looked at

	Connections int           // most transfers at once in each direction; 0: 16
	Up, Down    Pacer         // nil: no limit
	Sent        *atomic.Int64 // gets what content was handed on to be sent, in bytes, repetitions included; nil: nobody counts

	Tries    int           // of one call, the first included; 0: 10
	First    time.Duration // longest wait before the second try; 0: 500 ms
	Longest  time.Duration // longest wait of all; 0: 30 s
	Patience time.Duration // no try begins later than this after the first; 0: 10 min

	CopyPart units.Size // of copies above 5 GiB, and size above which copies are made in parts; 0: 512 MiB and 5 GiB

	Sleep  func(context.Context, time.Duration) error // nil: a timer
	Now    func() time.Time                           // nil: time.Now
	Notify func(op, key string, err error, wait time.Duration)
}

// Bucket implements bucket.Bucket, bucket.Thawer and bucket.Counter.
type Bucket struct {
	o    Options
	s    *s3.Store
	c    *api.Client
	name *string

	puts, gets, asks *gate

	level    atomic.Int32 // how contents are summed, see sums
	mute     atomic.Bool  // listings cannot tell of thawed copies
	raw      atomic.Bool  // listings cannot be URL-encoded
	single   atomic.Bool  // objects can be deleted one by one only
	uploads  sync.Map     // ids of uploads, and whether their parts have a CRC64NVME
	observed atomic.Bool  // the server has told a sum that it was sent

	direct        direct
	unconditional bool // the server does not look at conditions
	naming        atomic.Int32
}

var (
	_ bucket.Bucket  = (*Bucket)(nil)
	_ bucket.Thawer  = (*Bucket)(nil)
	_ bucket.Counter = (*Bucket)(nil)
)

// Open returns the bucket. It makes no request, unless the credentials need one.
func Open(ctx context.Context, o Options) (*Bucket, error) {
	if o.S3.Prefix != "" {
		return nil, bucket.Fail("open", "", fmt.Errorf("prefix %q: keys are whole here", o.S3.Prefix))
	}
	o.defaults()
	s, err := s3.Open(ctx, o.S3)
	if err != nil {
		return nil, err
	}
	b := &Bucket{o: o, s: s, c: s.Client(), name: &o.S3.Bucket, puts: newGate(o.Connections), gets: newGate(o.Connections), asks: newGate(2 * o.Connections)}
	b.unconditional = o.S3.Known.Refused(store.Conditions)
	if b.s.Amazon() {
		b.naming.Store(namesKept)
	}
	if o.S3.Known.Refused(store.Sums) {
		b.level.Store(byMD5)
	}
	return b, nil
}

func (o *Options) defaults() {
	if o.Connections <= 0 {
		o.Connections = 16
	}
	if o.S3.Connections <= 0 {
		o.S3.Connections = 4 * o.Connections // all that can be under way, so that none is closed for want of a place
	}
	if o.Tries <= 0 {
		o.Tries = 10
	}
	if o.First <= 0 {
		o.First = 500 * time.Millisecond
	}
	if o.Longest <= 0 {
		o.Longest = 30 * time.Second
	}
	if o.Patience <= 0 {
		o.Patience = 10 * time.Minute
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Make makes the bucket, unless it is there.
func (b *Bucket) Make(ctx context.Context) error { return b.s.Make(ctx) }

// Limits implements bucket.Bucket.
func (b *Bucket) Limits() bucket.Limits {
	l := bucket.Limits{MaxPut: int64(maxPut), MinPart: int64(minPart), MaxPart: int64(maxPart), MaxParts: maxParts}
	if n := b.s.MaxParts(); n > 0 {
		l.MaxParts = min(n, maxParts)
	}
	return l
}

// Location implements bucket.Bucket: s3://bucket.
func (b *Bucket) Location() string { return b.s.Location() }

// Endpoint tells the URL of a server that is not Amazon's, or "".
func (b *Bucket) Endpoint() string { return b.s.Endpoint() }

// Requests implements bucket.Counter.
func (b *Bucket) Requests() map[string]int64 { return b.s.Requests() }

// Close implements bucket.Bucket.
func (b *Bucket) Close() error { return b.s.Close() }

// class is how the parent and this package speak of classes: empty is STANDARD.
func class(name string) string {
	if name == "STANDARD" {
		return ""
	}
	return name
}

// tag is an ETag without its quotes.
func tag(t *string) string {
	if t == nil {
		return ""
	}
	return strings.Trim(strings.TrimPrefix(*t, "W/"), `"`)
}

// quoted is an ETag as conditions want it; nil: none.
func quoted(t string) *string {
	if t == "" {
		return nil
	}
	t = `"` + t + `"`
	return &t
}
