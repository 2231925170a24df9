package coldtest

import (
	"net/http"
	"time"
)

const (
	governance = "GOVERNANCE"
	compliance = "COMPLIANCE"
)

// lockConfiguration is a bucket's (Amazon S3 User Guide, "Locking objects with Object Lock").
type lockConfiguration struct {
	ObjectLockEnabled string
	Rule              *lockRule
}

type lockRule struct {
	DefaultRetention struct {
		Mode  string
		Days  int `xml:",omitempty"`
		Years int `xml:",omitempty"`
	}
}

// retention is that of a version.
type retention struct {
	Mode            string
	RetainUntilDate string
}

func (q *request) getLock() error {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	if b.lock == nil {
		return fail(http.StatusNotFound, "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket", [2]string{"BucketName", q.bucket})
	}
	p := newPage()
	p.root("ObjectLockConfiguration")
	p.put("ObjectLockEnabled", "Enabled")
	if r := b.lock.Rule; r != nil {
		d := r.DefaultRetention
		p.open("Rule")
		p.open("DefaultRetention")
		p.put("Mode", d.Mode)
		if d.Days > 0 {
			p.putInt("Days", int64(d.Days))
		} else {
			p.putInt("Years", int64(d.Years))
		}
		p.end("DefaultRetention")
		p.end("Rule")
	}
	p.end("ObjectLockConfiguration")
	return q.xml(http.StatusOK, p)
}

func (q *request) putLock() error {
	var c lockConfiguration
	if err := q.readXML(&c); err != nil {
		return err
	}
	if c.ObjectLockEnabled != "Enabled" {
		return malformedXML()
	}
	if c.Rule != nil {
		d := c.Rule.DefaultRetention
		if d.Mode != governance && d.Mode != compliance || (d.Days > 0) == (d.Years > 0) {
			return malformedXML()
		}
	}
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	if b.versioning != "Enabled" {
		return fail(http.StatusConflict, "InvalidBucketState", "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
	}
	b.lock = &c
	q.answer(http.StatusOK)
	return nil
}

// lockNew gives a new version the lock that the request asks for, or else the bucket's. s.mu is held.
func (q *request) lockNew(b *bucket, v *version, sawSum bool) error {
	h := q.r.Header
	mode, until, hold := h.Get("X-Amz-Object-Lock-Mode"), h.Get("X-Amz-Object-Lock-Retain-Until-Date"), h.Get("X-Amz-Object-Lock-Legal-Hold")
	if mode+until+hold != "" && b.lock == nil {
		return invalidRequest("Bucket is missing Object Lock Configuration")
	}
	if mode+until != "" {
		if err := q.allowed("s3:PutObjectRetention", q.key); err != nil {
			return err
		}
		if err := q.retain(v, retention{mode, until}); err != nil {
			return err
		}
	} else if b.lock != nil && b.lock.Rule != nil && v.Mode == "" {
		d := b.lock.Rule.DefaultRetention
		v.Mode = d.Mode
		v.Until = q.s.moment.AddDate(d.Years, 0, d.Days)
	}
	switch hold {
	case "", "OFF":
	case "ON":
		v.Hold = true
	default:
		return invalidArgument("Legal Hold must be either of 'ON' or 'OFF'", "x-amz-object-lock-legal-hold", hold)
	}
	if (v.Mode != "" || v.Hold) && !sawSum {
		return invalidRequest("Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")
	}
	return nil
}

// retain reads a retention.
func (q *request) retain(v *version, r retention) error {
	if r.Mode == "" || r.RetainUntilDate == "" {
		return invalidArgument("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied", "x-amz-object-lock-mode", r.Mode)
	}
	if r.Mode != governance && r.Mode != compliance {
		return invalidArgument("Unknown wormMode directive.", "x-amz-object-lock-mode", r.Mode)
	}
	until, err := time.Parse(time.RFC3339, r.RetainUntilDate)
	if err != nil {
		return invalidArgument("The retain until date must be provided in ISO 8601 format", "x-amz-object-lock-retain-until-date", r.RetainUntilDate)
	}
	if !until.After(q.s.moment) {
		return invalidArgument("The retain until date must be in the future!", "x-amz-object-lock-retain-until-date", r.RetainUntilDate)
	}
	v.Mode, v.Until = r.Mode, until.UTC()
	return nil
}

// kept tells whether a version is locked.
func (s *Server) kept(v *version) bool {
	return v.Hold || v.Mode != "" && v.Until.After(s.moment)
}

// mayRemove refuses the removal of a version that is locked. s.mu is held.
func (q *request) mayRemove(v *version) error {
	if !q.s.kept(v) || !v.Hold && v.Mode == governance && q.bypasses() {
		return nil
	}
	return denied("Access Denied because object protected by object lock.")
}

// bypasses tells whether the request asks for, and may have, an exception from governance.
func (q *request) bypasses() bool {
	return q.r.Header.Get("X-Amz-Bypass-Governance-Retention") == "true" && q.allowed("s3:BypassGovernanceRetention", q.key) == nil
}

// lockedVersion finds the version of a lock request. s.mu is held after it, whatever it returns.
func (q *request) lockedVersion() (*version, error) {
	b, err := q.locked()
	if err != nil {
		return nil, err
	}
	if b.lock == nil {
		return nil, invalidRequest("Bucket is missing Object Lock Configuration")
	}
	v, err := q.look(b, q.key, q.query.Get("versionId"))
	if err == nil {
		q.entry.Class = v.Class
	}
	return v, err
}

func (q *request) getRetention() error {
	v, err := q.lockedVersion()
	defer q.unlock()
	if err != nil {
		return err
	}
	if v.Mode == "" {
		return fail(http.StatusNotFound, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")
	}
	p := newPage()
	p.root("Retention")
	p.put("Mode", v.Mode)
	p.putTime("RetainUntilDate", v.Until)
	p.end("Retention")
	return q.xml(http.StatusOK, p)
}

func (q *request) putRetention() error {
	var r retention
	if err := q.readXML(&r); err != nil {
		return err
	}
	v, err := q.lockedVersion()
	defer q.unlock()
	if err != nil {
		return err
	}
	next := version{}
	if r.Mode+r.RetainUntilDate != "" {
		if err := q.retain(&next, r); err != nil {
			return err
		}
	}
	if v.Mode != "" && v.Until.After(q.s.moment) {
		weaker := next.Mode == "" || next.Until.Before(v.Until) || v.Mode == compliance && next.Mode != compliance
		changed := next.Mode != v.Mode
		if (weaker || changed && v.Mode == compliance) && (v.Mode == compliance || !q.bypasses()) || v.Mode == governance && changed && !q.bypasses() {
			return denied("Access Denied because object protected by object lock.")
		}
	}
	v.Mode, v.Until = next.Mode, next.Until
	q.answer(http.StatusOK)
	return nil
}

func (q *request) getHold() error {
	v, err := q.lockedVersion()
	defer q.unlock()
	if err != nil {
		return err
	}
	p := newPage()
	p.root("LegalHold")
	status := "OFF"
	if v.Hold {
		status = "ON"
	}
	p.put("Status", status)
	p.end("LegalHold")
	return q.xml(http.StatusOK, p)
}

func (q *request) putHold() error {
	var body struct{ Status string }
	if err := q.readXML(&body); err != nil {
		return err
	}
	if body.Status != "ON" && body.Status != "OFF" {
		return malformedXML()
	}
	v, err := q.lockedVersion()
	defer q.unlock()
	if err != nil {
		return err
	}
	v.Hold = body.Status == "ON"
	q.answer(http.StatusOK)
	return nil
}

// LockBucket makes a bucket keep versions and lock new objects for some days, as its owner would; mode is GOVERNANCE or COMPLIANCE, days 0 locks none by itself. The bucket is
// there.
func (s *Server) LockBucket(name, mode string, days int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
	b := s.buckets[name]
	b.versioning, b.lock = "Enabled", &lockConfiguration{ObjectLockEnabled: "Enabled"}
	if days > 0 {
		b.lock.Rule = &lockRule{}
		b.lock.Rule.DefaultRetention.Mode, b.lock.Rule.DefaultRetention.Days = mode, days
	}
}

// LockOf tells how the current version of an object is locked; an empty mode: it is not, or not there.
func (s *Server) LockOf(bucketName, key string) (mode string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
	if b := s.buckets[bucketName]; b != nil {
		if v := b.find(key); v != nil {
			return v.Mode, v.Until
		}
	}
	return "", until
}
