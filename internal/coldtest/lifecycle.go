package coldtest

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lifecycleRule is a rule as it is put and got. S3 knows more; what is not here is refused.
type lifecycleRule struct {
	ID                             string           `xml:",omitempty"`
	Prefix                         *string          `xml:",omitempty"` // in old rules, in place of Filter
	Filter                         *lifecycleFilter `xml:",omitempty"`
	Status                         string
	Expiration                     *expiration  `xml:",omitempty"`
	Transition                     []transition `xml:",omitempty"`
	NoncurrentVersionTransition    []transition `xml:",omitempty"`
	NoncurrentVersionExpiration    *expiration  `xml:",omitempty"`
	AbortIncompleteMultipartUpload *struct{ DaysAfterInitiation int }
}

type lifecycleFilter struct {
	Prefix                *string           `xml:",omitempty"`
	Tag                   *lifecycleTag     `xml:",omitempty"`
	ObjectSizeGreaterThan *int64            `xml:",omitempty"`
	ObjectSizeLessThan    *int64            `xml:",omitempty"`
	And                   *lifecycleFilters `xml:",omitempty"`
}

type lifecycleFilters struct {
	Prefix                *string        `xml:",omitempty"`
	Tag                   []lifecycleTag `xml:",omitempty"`
	ObjectSizeGreaterThan *int64         `xml:",omitempty"`
	ObjectSizeLessThan    *int64         `xml:",omitempty"`
}

type lifecycleTag struct{ Key, Value string }

type transition struct {
	Days                    *int   `xml:",omitempty"`
	Date                    string `xml:",omitempty"`
	NoncurrentDays          *int   `xml:",omitempty"`
	NewerNoncurrentVersions int    `xml:",omitempty"`
	StorageClass            string
}

type expiration struct {
	Days                      *int   `xml:",omitempty"`
	Date                      string `xml:",omitempty"`
	NoncurrentDays            *int   `xml:",omitempty"`
	NewerNoncurrentVersions   int    `xml:",omitempty"`
	ExpiredObjectDeleteMarker bool   `xml:",omitempty"`
}

// lifecycleConfiguration is the body of the requests.
type lifecycleConfiguration struct {
	XMLName xml.Name        `xml:"LifecycleConfiguration"`
	Rule    []lifecycleRule `xml:"Rule"`
}

// smallest is the size below which objects are not moved by rules that say nothing of sizes (User Guide, "Transitioning objects").
const smallest = 128 << 10

func (q *request) getLifecycle() error {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	if len(b.lifecycle) == 0 {
		return fail(http.StatusNotFound, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist", [2]string{"BucketName", q.bucket})
	}
	text, err := xml.Marshal(lifecycleConfiguration{Rule: b.lifecycle})
	if err != nil {
		return err
	}
	p := newPage()
	p.Write(text)
	return q.xml(http.StatusOK, p)
}

func (q *request) deleteLifecycle() error {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	b.lifecycle = nil
	q.answer(http.StatusNoContent)
	return nil
}

func (q *request) putLifecycle() error {
	var c lifecycleConfiguration
	if err := q.readXML(&c); err != nil {
		return err
	}
	if len(c.Rule) == 0 || len(c.Rule) > 1000 {
		return malformedXML()
	}
	seen := map[string]bool{}
	for i := range c.Rule {
		r := &c.Rule[i]
		if r.ID == "" {
			r.ID = random(16)
		}
		if seen[r.ID] {
			return invalidArgument("Rule ID must be unique. Found same ID for more than one rule", "ID", r.ID)
		}
		seen[r.ID] = true
		if err := r.check(); err != nil {
			return err
		}
	}
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	if len(b.lifecycle) == 0 {
		q.s.schedule(b)
	}
	b.lifecycle = c.Rule
	q.answer(http.StatusOK)
	return nil
}

// check refuses what S3 refuses of a rule.
func (r *lifecycleRule) check() error {
	if r.Status != "Enabled" && r.Status != "Disabled" || (r.Prefix == nil) == (r.Filter == nil) {
		return malformedXML()
	}
	if r.Expiration == nil && len(r.Transition) == 0 && len(r.NoncurrentVersionTransition) == 0 && r.NoncurrentVersionExpiration == nil && r.AbortIncompleteMultipartUpload == nil {
		return invalidRequest("At least one action needs to be specified in a rule")
	}
	if len(r.ID) > 255 {
		return invalidArgument("ID length should not exceed allowed limit of 255", "ID", r.ID)
	}
	for _, t := range slices.Concat(r.Transition, r.NoncurrentVersionTransition) {
		if err := t.check(); err != nil {
			return err
		}
	}
	if e := r.Expiration; e != nil {
		if e.Days != nil && *e.Days <= 0 {
			return invalidArgument("'Days' for Expiration action must be a positive integer", "Days", strconv.Itoa(*e.Days))
		}
		if err := checkDate(e.Date); err != nil {
			return err
		}
		if n := btoi(e.Days != nil) + btoi(e.Date != "") + btoi(e.ExpiredObjectDeleteMarker); n != 1 {
			return malformedXML()
		}
	}
	if e := r.NoncurrentVersionExpiration; e != nil && (e.NoncurrentDays == nil || *e.NoncurrentDays <= 0) {
		return malformedXML()
	}
	if a := r.AbortIncompleteMultipartUpload; a != nil && a.DaysAfterInitiation <= 0 {
		return invalidArgument("'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer", "DaysAfterInitiation", strconv.Itoa(a.DaysAfterInitiation))
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (t transition) check() error {
	if rank, ok := classRank[t.StorageClass]; !ok || rank == 0 {
		return malformedXML()
	}
	days := t.Days
	if t.NoncurrentDays != nil {
		days = t.NoncurrentDays
	}
	if (days == nil) == (t.Date == "") {
		return malformedXML()
	}
	if days != nil && *days < 0 {
		return invalidArgument("'Days' for Transition action must be nonnegative", "Days", strconv.Itoa(*days))
	}
	if days != nil && *days < 30 && strings.HasSuffix(t.StorageClass, "_IA") {
		return invalidArgument("'Days' in Transition action must be greater than or equal to 30 for storageClass '"+t.StorageClass+"'", "Days", strconv.Itoa(*days))
	}
	return checkDate(t.Date)
}

func checkDate(text string) error {
	if text == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !t.Equal(t.Truncate(day)) {
		return invalidArgument("'Date' must be at midnight GMT", "Date", text)
	}
	return nil
}

// terms are what a filter comes down to.
type terms struct {
	prefix      string
	least, most int64
	sized, tags bool
}

func (r *lifecycleRule) terms() terms {
	t := terms{least: -1, most: 1 << 62}
	take := func(prefix *string, greater, less *int64) {
		if prefix != nil {
			t.prefix = *prefix
		}
		if greater != nil {
			t.least, t.sized = *greater, true
		}
		if less != nil {
			t.most, t.sized = *less, true
		}
	}
	take(r.Prefix, nil, nil)
	if f := r.Filter; f != nil {
		take(f.Prefix, f.ObjectSizeGreaterThan, f.ObjectSizeLessThan)
		t.tags = f.Tag != nil
		if f.And != nil {
			take(f.And.Prefix, f.And.ObjectSizeGreaterThan, f.And.ObjectSizeLessThan)
			t.tags = t.tags || len(f.And.Tag) > 0
		}
	}
	return t
}

// about tells whether a rule is about a version. No object of this server has tags.
func (t terms) about(v *version) bool {
	return !t.tags && strings.HasPrefix(v.Key, t.prefix) && v.Size > t.least && v.Size < t.most
}

// schedule has the rules of a bucket looked at once a day, at midnight UTC, as long as it has any.
func (s *Server) schedule(b *bucket) {
	next := midnight(s.moment)
	if s.o.Speed != 1 {
		next = s.moment.Add(s.quick(day))
	}
	s.at(next, func(at time.Time) {
		if len(b.lifecycle) == 0 || s.buckets[b.name] != b {
			return
		}
		s.runLifecycle(b, at)
		s.schedule(b)
	})
}

// reached tells whether something that began then and lasts so many days, or until a date, is over.
func (s *Server) reached(began time.Time, days *int, date string, at time.Time) bool {
	if days != nil {
		return !s.due(began, *days).After(at)
	}
	t, err := time.Parse(time.RFC3339, date)
	return err == nil && !t.After(at)
}

// runLifecycle applies all rules to all that is there.
func (s *Server) runLifecycle(b *bucket, at time.Time) {
	var entries []*entry
	b.keys.from("", func(e *entry) bool { entries = append(entries, e); return true })
	for i := range b.lifecycle {
		r := &b.lifecycle[i]
		if r.Status != "Enabled" {
			continue
		}
		t := r.terms()
		for _, e := range entries {
			for _, v := range slices.Clone(e.versions) {
				if t.about(v) || v.Marker && strings.HasPrefix(v.Key, t.prefix) && !t.tags {
					s.applyRule(b, r, t, e, v, at)
				}
			}
		}
		s.applyAborts(b, r, t, at)
	}
}

// applyRule applies one rule to one version.
func (s *Server) applyRule(b *bucket, r *lifecycleRule, t terms, e *entry, v *version, at time.Time) {
	if len(e.versions) == 0 {
		return
	}
	current := e.versions[len(e.versions)-1] == v
	if current {
		if x := r.Expiration; x != nil {
			if v.Marker && len(e.versions) == 1 && (x.ExpiredObjectDeleteMarker || x.Days != nil && s.reached(v.Modified, x.Days, "", at)) {
				s.remove(b, e, v)
				return
			}
			if !v.Marker && !x.ExpiredObjectDeleteMarker && s.reached(v.Modified, x.Days, x.Date, at) {
				s.expire(b, e, v)
				return
			}
		}
		if !v.Marker {
			s.transit(r.Transition, t, v, v.Modified, at)
		}
		return
	}
	newer := 0
	for i, other := range slices.Backward(e.versions) {
		if other == v {
			newer = len(e.versions) - 2 - i
			break
		}
	}
	if x := r.NoncurrentVersionExpiration; x != nil && newer >= x.NewerNoncurrentVersions && s.reached(v.Gone, x.NoncurrentDays, "", at) && !s.kept(v) {
		s.remove(b, e, v)
		return
	}
	if !v.Marker {
		s.transit(r.NoncurrentVersionTransition, t, v, v.Gone, at)
	}
}

// expire removes a current version, or hides it where the bucket has versions.
func (s *Server) expire(b *bucket, e *entry, v *version) {
	if b.versioning == "" {
		s.remove(b, e, v)
		return
	}
	s.add(b, &version{Key: e.key, Marker: true, Modified: s.moment.Truncate(time.Second)})
}

// transit moves a version into the coldest class that is due.
func (s *Server) transit(list []transition, t terms, v *version, began, at time.Time) {
	if v.Size < smallest && !t.sized {
		return
	}
	best := ""
	for _, x := range list {
		days := x.Days
		if x.NoncurrentDays != nil {
			days = x.NoncurrentDays
		}
		if s.reached(began, days, x.Date, at) && classRank[x.StorageClass] > max(classRank[v.Class], classRank[best]) {
			best = x.StorageClass
		}
	}
	if best == "" {
		return
	}
	s.leave(v)
	v.Class = best
	s.enter(v, at)
	s.meter.transition(s.billed(at), best)
}

// applyAborts gives up the uploads that are too old.
func (s *Server) applyAborts(b *bucket, r *lifecycleRule, t terms, at time.Time) {
	a := r.AbortIncompleteMultipartUpload
	if a == nil || t.tags {
		return
	}
	for _, u := range b.uploads {
		if strings.HasPrefix(u.key, t.prefix) && s.reached(u.started, &a.DaysAfterInitiation, "", at) {
			s.endUpload(b, u, nil)
		}
	}
}
