package coldtest

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
)

// names of buckets (Amazon S3 User Guide, "General purpose bucket naming rules").
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func (q *request) listBuckets() error {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	p := newPage()
	p.root("ListAllMyBucketsResult")
	p.open("Owner")
	p.put("ID", "coldtest")
	p.end("Owner")
	p.open("Buckets")
	for _, name := range slices.Sorted(maps.Keys(q.s.buckets)) {
		p.open("Bucket")
		p.put("Name", name)
		p.putTime("CreationDate", q.s.buckets[name].created)
		p.end("Bucket")
	}
	p.end("Buckets")
	p.end("ListAllMyBucketsResult")
	return q.xml(http.StatusOK, p)
}

func (q *request) headBucket() error {
	_, err := q.locked()
	defer q.unlock()
	q.w.Header().Set("x-amz-bucket-region", q.s.o.Region)
	if err != nil {
		return err
	}
	q.answer(http.StatusOK)
	return nil
}

func (q *request) createBucket() error {
	var body struct{ LocationConstraint string }
	if err := q.readXML(&body); err != nil {
		return err
	}
	region := body.LocationConstraint
	if region == "" {
		region = "us-east-1"
	}
	if region != q.s.o.Region {
		return fail(http.StatusBadRequest, "IllegalLocationConstraintException",
			"The "+region+" location constraint is incompatible for the region specific endpoint this request was sent to.")
	}
	if !bucketName.MatchString(q.bucket) {
		return fail(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.", [2]string{"BucketName", q.bucket})
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	q.s.tick()
	if q.s.buckets[q.bucket] != nil {
		if region != "us-east-1" {
			return fail(http.StatusConflict, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.", [2]string{"BucketName", q.bucket})
		}
	} else {
		b := q.s.newBucket(q.bucket)
		if q.r.Header.Get("X-Amz-Bucket-Object-Lock-Enabled") == "true" {
			b.versioning, b.lock = "Enabled", &lockConfiguration{ObjectLockEnabled: "Enabled"}
		}
	}
	q.w.Header().Set("Location", "/"+q.bucket)
	q.w.Header().Set("Content-Length", "0")
	q.answer(http.StatusOK)
	return nil
}

// newBucket makes a bucket. s.mu is held.
func (s *Server) newBucket(name string) *bucket {
	b := &bucket{name: name, region: s.o.Region, created: s.moment, uploads: map[string]*upload{}}
	s.buckets[name] = b
	return b
}

// CreateBucket makes a bucket that is not there yet.
func (s *Server) CreateBucket(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
	if s.buckets[name] == nil {
		s.newBucket(name)
	}
}

func (q *request) deleteBucket() error {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	if b.keys.n > 0 {
		return fail(http.StatusConflict, "BucketNotEmpty", "The bucket you tried to delete is not empty", [2]string{"BucketName", q.bucket})
	}
	for _, u := range b.uploads {
		q.s.endUpload(b, u, nil)
	}
	delete(q.s.buckets, q.bucket)
	q.answer(http.StatusNoContent)
	return nil
}

func (q *request) getLocation() error {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	p := newPage()
	region := b.region
	if region == "us-east-1" {
		region = ""
	}
	p.root("LocationConstraint")
	p.WriteString(region)
	p.end("LocationConstraint")
	return q.xml(http.StatusOK, p)
}

func (q *request) getVersioning() error {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	p := newPage()
	p.root("VersioningConfiguration")
	p.putMaybe("Status", b.versioning)
	p.end("VersioningConfiguration")
	return q.xml(http.StatusOK, p)
}

func (q *request) putVersioning() error {
	var body struct{ Status, MfaDelete string }
	if err := q.readXML(&body); err != nil {
		return err
	}
	if body.MfaDelete != "" {
		return notImplemented("MfaDelete")
	}
	if body.Status != "Enabled" && body.Status != "Suspended" {
		return malformedXML()
	}
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	if b.lock != nil && body.Status != "Enabled" {
		return fail(http.StatusConflict, "InvalidBucketState", "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
	}
	b.versioning = body.Status
	q.answer(http.StatusOK)
	return nil
}
