package coldtest

import (
	"container/heap"
	"crypto/md5"
	"slices"
	"strings"
	"time"
)

// Storage classes (Amazon S3 User Guide, "Using Amazon S3 storage classes"), each with how far down lifecycle rules have it.
const (
	standard   = "STANDARD"
	glacier    = "GLACIER"
	deep       = "DEEP_ARCHIVE"
	expedited  = "Expedited"
	tierNormal = "Standard"
	bulk       = "Bulk"
)

var classRank = map[string]int{
	standard: 0, "REDUCED_REDUNDANCY": 0, "STANDARD_IA": 1, "INTELLIGENT_TIERING": 2, "ONEZONE_IA": 3, "GLACIER_IR": 4, glacier: 5, deep: 6,
}

// archived tells whether objects of a class have to be thawed.
func archived(class string) bool { return class == glacier || class == deep }

const day = 24 * time.Hour

// midnight is the first one, in UTC, that is later than t.
func midnight(t time.Time) time.Time { return t.UTC().Truncate(day).Add(day) }

// bucket is a bucket. All of it is guarded by Server.mu.
type bucket struct {
	name       string
	region     string
	created    time.Time
	versioning string // "", Enabled, Suspended
	lock       *lockConfiguration
	lifecycle  []lifecycleRule
	keys       index
	uploads    map[string]*upload
	versions   uint64
}

// version is one version of an object, or a delete marker. Content and sums never change.
type version struct {
	ID       string // "null" where the bucket had no versions
	Key      string
	Marker   bool
	Size     int64
	Tag      string // ETag, without quotes
	Class    string
	Modified time.Time // to the second, as S3 keeps it
	Since    time.Time // in this class since
	Sum      checksum  // zero: none was given
	Parts    []*part   // of an object in parts
	Header   map[string]string
	Mode     string // of its lock: "", GOVERNANCE, COMPLIANCE
	Until    time.Time
	Hold     bool // legal hold
	Gone     time.Time
	content  blob
	restore  *restore
	asked    int  // how many copies were asked for
	billed   bool // it stands in the meter
}

// restore is a copy that is there or on its way.
type restore struct {
	tier    string
	days    int
	ready   time.Time
	expires time.Time // zero: not there yet
	number  uint64    // which request made it; a later one makes events of this one void
	fast    bool      // counts among the expedited ones
}

// part is a part of an upload, or of the object that came of it.
type part struct {
	Number   int
	Size     int64
	MD5      [md5.Size]byte
	Sum      checksum
	Modified time.Time
	content  blob
}

// upload is a multipart upload under way.
type upload struct {
	id        string
	key       string
	class     string
	started   time.Time
	algorithm string
	sumType   string
	header    map[string]string
	mode      string
	until     time.Time
	hold      bool
	parts     map[int]*part
}

// current is the version that a request without a version id is about; nil: none, or a delete marker.
func (e *entry) current() *version {
	if v := e.versions[len(e.versions)-1]; !v.Marker {
		return v
	}
	return nil
}

// find is the current version of a key, or nil.
func (b *bucket) find(key string) *version {
	if e := b.keys.find(key); e != nil {
		return e.current()
	}
	return nil
}

// add makes v the newest version of its key and removes what it replaces. s.mu is held.
func (s *Server) add(b *bucket, v *version) {
	e := b.keys.make(v.Key)
	if b.versioning == "Enabled" {
		b.versions++
		v.ID = s.versionID(b)
	} else {
		v.ID = "null"
		if i := slices.IndexFunc(e.versions, func(o *version) bool { return o.ID == "null" }); i >= 0 {
			s.gone(e.versions[i])
			e.versions = slices.Delete(e.versions, i, i+1)
		}
	}
	if n := len(e.versions); n > 0 && e.versions[n-1].Gone.IsZero() {
		e.versions[n-1].Gone = v.Modified
	}
	e.versions = append(e.versions, v)
	if !v.Marker {
		s.enter(v, s.moment)
	}
}

// remove takes one version away for good. s.mu is held.
func (s *Server) remove(b *bucket, e *entry, v *version) {
	e.versions = slices.DeleteFunc(e.versions, func(o *version) bool { return o == v })
	s.gone(v)
	if len(e.versions) == 0 {
		b.keys.remove(e.key)
		return
	}
	e.versions[len(e.versions)-1].Gone = time.Time{}
}

// gone settles the bill of a version that is no more.
func (s *Server) gone(v *version) {
	if !v.Marker {
		s.leave(v)
		v.content.drop()
	}
}

// enter begins the stay of a version in its class.
func (s *Server) enter(v *version, since time.Time) {
	v.Since = since
	v.billed = true
	s.meter.enter(s.billed(s.moment), v.Class, v.Size*s.scale(v.Class))
}

// leave ends it, with the copy that it may have.
func (s *Server) leave(v *version) {
	if !v.billed {
		return
	}
	v.billed = false
	s.endRestore(v)
	s.meter.leave(s.billed(s.moment), v.Class, v.Size*s.scale(v.Class), s.billed(v.Since))
}

// endRestore forgets the copy, or that one was asked for.
func (s *Server) endRestore(v *version) {
	r := v.restore
	if r == nil {
		return
	}
	if !r.expires.IsZero() {
		s.meter.copyEnds(s.billed(s.moment), v.Size*s.scale(v.Class))
	} else if r.fast {
		s.fast--
	}
	v.restore = nil
}

// event is something that happens at a time.
type event struct {
	at time.Time
	do func(at time.Time)
}

type queue []event

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

// at has something happen later. s.mu is held, then as now.
func (s *Server) at(t time.Time, do func(at time.Time)) { heap.Push(&s.queue, event{t, do}) }

// tick lets happen what is due, in its order, and sets moment. s.mu is held.
func (s *Server) tick() {
	now := s.now()
	for len(s.queue) > 0 && !s.queue[0].at.After(now) {
		e := heap.Pop(&s.queue).(event)
		s.moment = e.at
		e.do(e.at)
	}
	s.moment = now
}

// billed is the time by which the bill counts.
func (s *Server) billed(t time.Time) time.Time {
	if s.o.Speed == 1 {
		return t
	}
	return s.begin.Add(time.Duration(float64(t.Sub(s.begin)) * s.o.Speed))
}

// quick is how long a time takes here that takes d at Amazon's.
func (s *Server) quick(d time.Duration) time.Duration { return time.Duration(float64(d) / s.o.Speed) }

// versionID makes ids that do not sort by age, as Amazon's do not.
func (s *Server) versionID(b *bucket) string {
	x := mix(s.o.Seed ^ mix(b.versions))
	id := make([]byte, 32)
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._"
	for i := range id {
		if i%10 == 0 {
			x = mix(x + uint64(i))
		}
		id[i] = letters[x&63]
		x >>= 6
	}
	return string(id)
}

// mix is MurmurHash3's finalizer.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// chance is a number in [0, 1) that depends on the seed and its arguments alone.
func (s *Server) chance(words ...string) float64 {
	x := mix(s.o.Seed)
	for _, c := range []byte(strings.Join(words, "\x00")) {
		x = (x ^ uint64(c)) * 0x100000001b3
	}
	return float64(mix(x)>>11) / (1 << 53)
}
