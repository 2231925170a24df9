package coldtest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// request is one request under way.
type request struct {
	s      *Server
	w      http.ResponseWriter
	r      *http.Request
	query  url.Values
	op     operation
	bucket string
	key    string
	user   *User
	sig    *signature
	fault  *fault
	entry  Request
	began  bool // the answer has begun
	logged bool
	reply  *reply
}

// operation is one of the S3 API.
type operation struct {
	name   string
	action string // of policies
	serve  func(*request) error
}

// operations finds an operation by method, what it is about, and the subresource in the query.
var operations = map[string]operation{
	"GET service": {"ListBuckets", "s3:ListAllMyBuckets", (*request).listBuckets},

	"HEAD bucket":             {"HeadBucket", "s3:ListBucket", (*request).headBucket},
	"PUT bucket":              {"CreateBucket", "s3:CreateBucket", (*request).createBucket},
	"DELETE bucket":           {"DeleteBucket", "s3:DeleteBucket", (*request).deleteBucket},
	"GET bucket":              {"ListObjects", "s3:ListBucket", (*request).listV1},
	"GET bucket list-type":    {"ListObjectsV2", "s3:ListBucket", (*request).listV2},
	"GET bucket versions":     {"ListObjectVersions", "s3:ListBucketVersions", (*request).listVersions},
	"GET bucket uploads":      {"ListMultipartUploads", "s3:ListBucketMultipartUploads", (*request).listUploads},
	"GET bucket location":     {"GetBucketLocation", "s3:GetBucketLocation", (*request).getLocation},
	"GET bucket versioning":   {"GetBucketVersioning", "s3:GetBucketVersioning", (*request).getVersioning},
	"PUT bucket versioning":   {"PutBucketVersioning", "s3:PutBucketVersioning", (*request).putVersioning},
	"GET bucket lifecycle":    {"GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration", (*request).getLifecycle},
	"PUT bucket lifecycle":    {"PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration", (*request).putLifecycle},
	"DELETE bucket lifecycle": {"DeleteBucketLifecycle", "s3:PutLifecycleConfiguration", (*request).deleteLifecycle},
	"GET bucket object-lock":  {"GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration", (*request).getLock},
	"PUT bucket object-lock":  {"PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration", (*request).putLock},
	"POST bucket delete":      {"DeleteObjects", "s3:DeleteObject", (*request).deleteObjects},

	"PUT object":            {"PutObject", "s3:PutObject", (*request).putObject},
	"PUT object copy":       {"CopyObject", "s3:PutObject", (*request).copyObject},
	"GET object":            {"GetObject", "s3:GetObject", (*request).getObject},
	"HEAD object":           {"HeadObject", "s3:GetObject", (*request).headObject},
	"DELETE object":         {"DeleteObject", "s3:DeleteObject", (*request).deleteObject},
	"GET object attributes": {"GetObjectAttributes", "s3:GetObjectAttributes", (*request).getAttributes},
	"POST object restore":   {"RestoreObject", "s3:RestoreObject", (*request).restoreObject},
	"GET object retention":  {"GetObjectRetention", "s3:GetObjectRetention", (*request).getRetention},
	"PUT object retention":  {"PutObjectRetention", "s3:PutObjectRetention", (*request).putRetention},
	"GET object legal-hold": {"GetObjectLegalHold", "s3:GetObjectLegalHold", (*request).getHold},
	"PUT object legal-hold": {"PutObjectLegalHold", "s3:PutObjectLegalHold", (*request).putHold},

	"POST object uploads":      {"CreateMultipartUpload", "s3:PutObject", (*request).createUpload},
	"PUT object uploadId":      {"UploadPart", "s3:PutObject", (*request).uploadPart},
	"PUT object uploadId copy": {"UploadPartCopy", "s3:PutObject", (*request).uploadPartCopy},
	"POST object uploadId":     {"CompleteMultipartUpload", "s3:PutObject", (*request).completeUpload},
	"DELETE object uploadId":   {"AbortMultipartUpload", "s3:AbortMultipartUpload", (*request).abortUpload},
	"GET object uploadId":      {"ListParts", "s3:ListMultipartUploadParts", (*request).listParts},
}

// subresources decide, in this order, which operation a query means.
var subresources = []string{"list-type", "versions", "uploads", "location", "versioning", "lifecycle", "object-lock", "delete", "attributes", "restore", "retention",
	"legal-hold", "uploadId"}

// foreign are subresources that S3 has and this server has not.
var foreign = []string{"acl", "tagging", "policy", "policyStatus", "cors", "website", "logging", "notification", "replication", "encryption", "requestPayment", "accelerate", "analytics",
	"inventory", "metrics", "ownershipControls", "publicAccessBlock", "torrent", "select", "intelligent-tiering", "partNumberMarker", "metadataTable", "session", "append", "renameObject"}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	release := s.hold()
	defer func() { release() }()
	q := &request{s: s, w: w, r: r, query: r.URL.Query()}
	q.address()
	id := fmt.Sprintf("%016X", s.ids.Add(1))
	w.Header().Set("Server", "AmazonS3")
	w.Header().Set("x-amz-request-id", id)
	w.Header().Set("x-amz-id-2", "coldtest")
	defer q.log()
	err := q.find()
	if err == nil {
		q.fault = s.faults.strike(q.op.name, q.key+q.query.Get("prefix"), s.now())
		q.entry.Fault = q.fault.names()
		if wait := s.o.Latency + q.fault.delay(); wait > 0 {
			release()
			s.sleep(r.Context(), wait)
			release = s.hold()
		}
		err = q.serve()
	}
	switch {
	case err != nil:
		q.refuse(err, id)
	case q.reply != nil:
		q.send()
	}
}

// reply is an answer that is sent once no lock is held, since whom it goes to may be slow.
type reply struct {
	status int
	text   string
}

// address splits the path, or the host and the path, into bucket and key.
func (q *request) address() {
	path := strings.TrimPrefix(q.r.URL.Path, "/")
	host := q.r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if name, ok := strings.CutSuffix(host, ".localhost"); ok {
		q.bucket, q.key = name, path
	} else {
		q.bucket, q.key, _ = strings.Cut(path, "/")
	}
	q.entry = Request{Method: q.r.Method, Bucket: q.bucket, Key: q.key, Time: q.s.now()}
	if q.key == "" {
		q.entry.Key = q.query.Get("prefix")
	}
}

// find looks up the operation.
func (q *request) find() error {
	about := "object"
	switch {
	case q.bucket == "":
		about = "service"
	case q.key == "":
		about = "bucket"
	}
	for _, name := range foreign {
		if q.query.Has(name) {
			return notImplemented(name)
		}
	}
	if q.query.Has("versionId") && about == "object" {
		defer func() { q.op.action = ofVersion(q.op.action) }()
	}
	name := q.r.Method + " " + about
	for _, sub := range subresources {
		if q.query.Has(sub) {
			name += " " + sub
			break
		}
	}
	if q.r.Method == http.MethodPut && q.r.Header.Get("X-Amz-Copy-Source") != "" {
		name += " copy"
	}
	var ok bool
	if q.op, ok = operations[name]; !ok {
		return fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.", [2]string{"Method", q.r.Method})
	}
	q.entry.Operation = q.op.name
	return nil
}

// ofVersion is the action for a version that is named (Service Authorization Reference, "Amazon S3").
func ofVersion(action string) string {
	switch action {
	case "s3:GetObject", "s3:DeleteObject":
		return action + "Version"
	case "s3:GetObjectAttributes":
		return "s3:GetObjectVersionAttributes"
	}
	return action
}

// serve does what every operation begins with, and then the operation.
func (q *request) serve() (err error) {
	if q.user, q.sig, err = q.s.authenticate(q.r); err != nil {
		return err
	}
	q.entry.User, q.entry.Action = q.user.Access, q.op.action
	if err := q.fault.refusal(); err != nil {
		return err
	}
	if err := q.unsupported(); err != nil {
		return err
	}
	if q.op.name == "DeleteObjects" {
		return q.op.serve(q) // asks for each object by itself, and refuses one by one (API Reference, "DeleteObjects")
	}
	if err := q.allowed(q.op.action, q.key); err != nil {
		return err
	}
	return q.op.serve(q)
}

// unsupported refuses headers that this server cannot honour; ignoring them would be a lie.
func (q *request) unsupported() error {
	for name := range q.r.Header {
		lower := strings.ToLower(name)
		for _, prefix := range []string{"x-amz-server-side-encryption", "x-amz-tagging", "x-amz-acl", "x-amz-grant-", "x-amz-website", "x-amz-mfa", "x-amz-write-offset"} {
			if strings.HasPrefix(lower, prefix) {
				return notImplemented(lower)
			}
		}
	}
	if want := q.r.Header.Get("X-Amz-Expected-Bucket-Owner"); want != "" {
		return notImplemented("x-amz-expected-bucket-owner")
	}
	return q.s.o.Provider.lacks(q.op.name)
}

// log notes the request, once: before the last byte of the answer, so that who has the answer finds the request in the log, or where the connection is cut.
func (q *request) log() {
	if q.logged {
		return
	}
	q.logged = true
	e := q.entry
	e.Operation = q.op.name
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	q.s.log = append(q.s.log, e)
	q.s.meter.request(q.s.billed(q.s.now()), e, q.s.scale(e.Class))
}

// refuse answers with an error.
func (q *request) refuse(err error, id string) {
	var e *apiError
	if !errors.As(err, &e) {
		e = fail(http.StatusInternalServerError, "InternalError", err.Error())
	}
	if q.began {
		panic(http.ErrAbortHandler)
	}
	q.entry.Status, q.entry.Code = e.status, e.code
	for name, values := range e.header {
		q.w.Header()[name] = values
	}
	p := newPage()
	p.open("Error")
	p.put("Code", e.code)
	p.put("Message", e.message)
	for _, f := range e.fields {
		p.put(f[0], f[1])
	}
	p.put("Resource", q.r.URL.Path)
	p.put("RequestId", id)
	p.end("Error")
	if e.status >= 300 && e.status != http.StatusNotModified {
		q.w.Header().Set("Content-Type", "application/xml")
	}
	if q.r.Body != nil && q.r.ContentLength > 256<<10 {
		q.w.Header().Set("Connection", "close") // what was not read yet is not waited for
	}
	q.w.WriteHeader(e.status)
	if q.r.Method != http.MethodHead {
		_, _ = io.WriteString(q.w, p.String()) // whoever is gone needs no answer
	}
}

// answer begins the answer.
func (q *request) answer(status int) {
	q.fault.cutBefore()
	q.began = true
	q.entry.Status = status
	q.w.WriteHeader(status)
}

// xml answers with a page, later.
func (q *request) xml(status int, p *page) error {
	q.reply = &reply{status, p.String()}
	return nil
}

// send sends the reply.
func (q *request) send() {
	text := q.reply.text
	q.w.Header().Set("Content-Type", "application/xml")
	q.w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	q.answer(q.reply.status)
	if q.fault.cutsOut() {
		_, _ = io.WriteString(q.w, text[:len(text)/2]) // the connection ends here anyway
		q.flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(q.w, text[:len(text)-1]) // whoever is gone needs no answer
	q.log()
	_, _ = io.WriteString(q.w, text[len(text)-1:])
}

func (q *request) flush() {
	if f, ok := q.w.(http.Flusher); ok {
		f.Flush()
	}
}

// readXML reads a body that is XML into v, which may be nil, and verifies it like any other body.
func (q *request) readXML(v any) error {
	b, err := q.readBody()
	if err != nil {
		return err
	}
	if b.size > maxXML {
		return malformedXML()
	}
	k, err := (&Server{}).newSink(b.size)
	if err != nil {
		return err
	}
	got, err := q.fill(b, k)
	if err != nil {
		return err
	}
	q.entry.In = 0
	if q.needsSum() && !got.sawSum {
		return invalidRequest("Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	if v == nil || k.size == 0 && q.op.name == "CreateBucket" {
		return nil
	}
	if err := xml.Unmarshal(k.memory.Bytes(), v); err != nil {
		return malformedXML()
	}
	return nil
}

// needsSum tells whether S3 refuses the operation without a sum of its body (API Reference, of each).
func (q *request) needsSum() bool {
	switch q.op.name {
	case "DeleteObjects", "PutBucketLifecycleConfiguration", "PutObjectLockConfiguration", "PutObjectRetention", "PutObjectLegalHold":
		return q.s.o.Provider.Checksums == ChecksumsVerified
	}
	return false
}

// locked finds the bucket and returns with s.mu held; the caller calls unlock once, whatever happens.
func (q *request) locked() (*bucket, error) {
	q.s.mu.Lock()
	q.s.tick()
	b := q.s.buckets[q.bucket]
	if b == nil {
		return nil, fail(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist", [2]string{"BucketName", q.bucket})
	}
	return b, nil
}

func (q *request) unlock() { q.s.mu.Unlock() }

func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
