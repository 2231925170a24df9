package coldtest

import (
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxKey = 1024 // bytes

// kept are headers that an object keeps.
var kept = []string{"Content-Type", "Content-Encoding", "Content-Disposition", "Content-Language", "Cache-Control", "Expires"}

// keep reads them, and the user's metadata.
func (q *request) keep() map[string]string {
	out := map[string]string{}
	for _, name := range kept {
		if v := q.r.Header.Get(name); v != "" {
			if name == "Content-Encoding" {
				v = strings.Trim(strings.ReplaceAll(v, "aws-chunked", ""), ", ") // it is of the transfer, not of the object
			}
			if v != "" {
				out[name] = v
			}
		}
	}
	for name, values := range q.r.Header {
		if strings.HasPrefix(strings.ToLower(name), "x-amz-meta-") {
			out[strings.ToLower(name)] = strings.Join(values, ",")
		}
	}
	return out
}

// class reads the class that is asked for.
func (q *request) class() (string, error) {
	class := q.r.Header.Get("X-Amz-Storage-Class")
	p := q.s.o.Provider
	if class == "" || p.ClassesIgnored {
		return standard, nil
	}
	if _, ok := classRank[class]; ok && len(p.Classes) == 0 || slices.Contains(p.Classes, class) {
		return class, nil
	}
	return "", fail(http.StatusBadRequest, "InvalidStorageClass", "The storage class you specified is not valid", [2]string{"StorageClassRequested", class})
}

// condition compares If-None-Match and If-Match of a write with what is there.
func (q *request) condition(b *bucket) error {
	if q.s.o.Provider.ConditionsIgnored {
		return nil
	}
	none, match := q.r.Header.Get("If-None-Match"), q.r.Header.Get("If-Match")
	if none == "" && match == "" {
		return nil
	}
	if none != "" && none != "*" || match == "*" {
		return notImplemented("If-None-Match, If-Match: only * of the one and an ETag of the other")
	}
	v := b.find(q.key)
	switch {
	case none != "" && v != nil:
		return preconditionFailed("If-None-Match")
	case match != "" && v == nil:
		return noSuchKey(q.key)
	case match != "" && strings.Trim(match, `"`) != v.Tag:
		return preconditionFailed("If-Match")
	}
	return q.fault.conflict()
}

// put is an object about to be made.
func (q *request) putObject() error {
	if len(q.key) > maxKey {
		return fail(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
	}
	class, err := q.class()
	if err != nil {
		return err
	}
	q.entry.Class = class
	b, err := q.locked()
	if err == nil {
		err = q.condition(b) // what will be refused need not be sent: with "Expect: 100-continue" it is not
	}
	q.unlock()
	if err != nil {
		return err
	}
	got, err := q.receive()
	if err != nil {
		return err
	}
	v := &version{Key: q.key, Size: got.size, Tag: q.s.tag(got.md5), Class: class, Sum: got.sum, Header: q.keep(), content: got.content}
	if err := q.create(v, got.sawSum); err != nil {
		got.content.drop()
		return err
	}
	q.putAnswer(v)
	q.w.Header().Set("Content-Length", "0")
	q.answer(http.StatusOK)
	return nil
}

// create makes v the current version, unless a condition or a lock forbids it.
func (q *request) create(v *version, sawSum bool) error {
	b, err := q.locked()
	defer q.unlock()
	if err == nil {
		err = q.condition(b)
	}
	if err == nil {
		err = q.lockNew(b, v, sawSum)
	}
	if err != nil {
		return err
	}
	q.stamp(v)
	q.s.add(b, v)
	return nil
}

// stamp dates a version. s.mu is held.
func (q *request) stamp(v *version) {
	v.Modified = q.s.moment.Truncate(time.Second)
	q.entry.Class = v.Class
}

// putAnswer sets what answers to PUT say of the object.
func (q *request) putAnswer(v *version) {
	h := q.w.Header()
	h.Set("ETag", quoted(v.Tag))
	q.sumHeader(v)
	q.encryption()
	if v.ID != "null" {
		h.Set("x-amz-version-id", v.ID)
	}
}

// tag is the ETag of content by its MD5, where it is one.
func (s *Server) tag(sum [md5.Size]byte) string {
	if s.o.KMS {
		return random(md5.Size)
	}
	return hexOf(sum[:])
}

// encryption tells how an object is encrypted.
func (q *request) encryption() {
	if q.s.o.KMS {
		q.w.Header().Set("x-amz-server-side-encryption", "aws:kms")
		q.w.Header().Set("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:"+q.s.o.Region+":111122223333:key/coldtest")
	}
}

// sumHeader sets the sum; where the client gave none and the server computes one, that.
func (q *request) sumHeader(v *version) {
	sum, err := q.s.sumOf(v)
	if err != nil || sum.Value == "" {
		return
	}
	q.w.Header().Set(sum.a().header(), sum.Value)
	q.w.Header().Set("x-amz-checksum-type", sum.Type)
}

// sumOf is the sum of a version. Amazon computes a CRC64NVME where none was given, which is done here when it is asked for.
func (s *Server) sumOf(v *version) (checksum, error) {
	s.mu.Lock()
	sum, content := v.Sum, v.content
	s.mu.Unlock()
	if sum.Value != "" || s.o.Provider.Checksums != ChecksumsVerified {
		return sum, nil
	}
	a, _ := findAlgorithm(nvme)
	value, err := sumBlob(a, content)
	if err != nil {
		return checksum{}, err
	}
	sum = checksum{Algorithm: nvme, Value: value, Type: full}
	s.mu.Lock()
	v.Sum = sum
	s.mu.Unlock()
	return sum, nil
}

func sumBlob(a algorithm, b blob) (string, error) {
	r, err := b.open(0, b.size())
	if err != nil {
		return "", err
	}
	value, err := sumContent(a, r)
	return value, errors.Join(err, r.Close())
}

// look finds the version that a GET or HEAD is about. s.mu is held.
func (q *request) look(b *bucket, key, id string) (*version, error) {
	e := b.keys.find(key)
	if e == nil {
		return nil, q.missing(key)
	}
	if id == "" {
		v := e.versions[len(e.versions)-1]
		if v.Marker {
			err := noSuchKey(key)
			err.header = http.Header{"X-Amz-Delete-Marker": {"true"}, "X-Amz-Version-Id": {v.ID}}
			return nil, err
		}
		return v, nil
	}
	for _, v := range e.versions {
		if v.ID != id {
			continue
		}
		if v.Marker {
			err := fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
			err.header = http.Header{"X-Amz-Delete-Marker": {"true"}, "X-Amz-Version-Id": {v.ID}, "Allow": {"DELETE"}}
			return nil, err
		}
		return v, nil
	}
	return nil, fail(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist.", [2]string{"Key", key}, [2]string{"VersionId", id})
}

// missing is how a key that is not there is told: who may not list is not told either (API Reference, "GetObject", permissions).
func (q *request) missing(key string) error {
	if q.allowed("s3:ListBucket", "") != nil {
		return denied("Access Denied")
	}
	return noSuchKey(key)
}

// snapshot is what a GET or HEAD tells of a version, taken while s.mu was held.
type snapshot struct {
	version
	restoring string // x-amz-restore
	readable  bool
}

func (q *request) snapshot(key, id string) (*snapshot, *version, error) {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return nil, nil, err
	}
	v, err := q.look(b, key, id)
	if err != nil {
		return nil, nil, err
	}
	q.entry.Class = v.Class
	n := &snapshot{version: *v, readable: q.s.readable(v)}
	if r := v.restore; r != nil {
		n.restoring = `ongoing-request="true"`
		if !r.expires.IsZero() {
			n.restoring = fmt.Sprintf(`ongoing-request="false", expiry-date="%s"`, httpTime(r.expires))
		}
	}
	n.content = slices.Clone(v.content).share()
	return n, v, nil
}

// readable tells whether a version can be read now. s.mu is held.
func (s *Server) readable(v *version) bool {
	return !s.cold(v.Class) || v.restore != nil && !v.restore.expires.IsZero()
}

// cold tells whether objects of a class must be thawed here.
func (s *Server) cold(class string) bool {
	return archived(class) || slices.Contains(s.o.Provider.Cold, class)
}

// describe sets the headers of a version.
func (q *request) describe(n *snapshot, v *version, wholeSum bool) {
	h := q.w.Header()
	h.Set("ETag", quoted(n.Tag))
	h.Set("Last-Modified", httpTime(n.Modified))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Type", "binary/octet-stream")
	for name, value := range n.Header {
		h.Set(name, value)
	}
	if n.Class != standard {
		h.Set("x-amz-storage-class", n.Class)
	}
	if n.restoring != "" {
		h.Set("x-amz-restore", n.restoring)
	}
	q.encryption()
	if n.ID != "null" {
		h.Set("x-amz-version-id", n.ID)
	}
	if n.Mode != "" {
		h.Set("x-amz-object-lock-mode", n.Mode)
		h.Set("x-amz-object-lock-retain-until-date", isoTime(n.Until))
	}
	if n.Hold {
		h.Set("x-amz-object-lock-legal-hold", "ON")
	}
	if wholeSum && strings.EqualFold(q.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") {
		q.sumHeader(v)
	}
}

// fresh compares the conditions of a GET or HEAD.
func (q *request) fresh(n *snapshot) error {
	tags := func(header string) []string {
		var out []string
		for _, t := range strings.Split(q.r.Header.Get(header), ",") {
			out = append(out, strings.Trim(strings.TrimSpace(t), `"`))
		}
		return out
	}
	if q.r.Header.Get("If-Match") != "" && !slices.Contains(tags("If-Match"), n.Tag) && q.r.Header.Get("If-Match") != "*" {
		return preconditionFailed("If-Match")
	}
	if q.r.Header.Get("If-None-Match") != "" && slices.Contains(tags("If-None-Match"), n.Tag) {
		return fail(http.StatusNotModified, "NotModified", "")
	}
	return nil
}

func (q *request) headObject() error {
	n, v, err := q.snapshot(q.key, q.query.Get("versionId"))
	if err != nil {
		return err
	}
	defer n.content.drop()
	if err := q.fresh(n); err != nil {
		return err
	}
	offset, length, part, err := q.stretch(n)
	if err != nil {
		return err
	}
	q.describe(n, v, !part)
	q.answer(q.extent(n, offset, length, part))
	return nil
}

// stretch finds which bytes a GET or HEAD is about: all, a part (partNumber) or a range.
func (q *request) stretch(n *snapshot) (offset, length int64, part bool, err error) {
	text := q.query.Get("partNumber")
	if text == "" {
		return byteRange(q.r.Header.Get("Range"), n.Size)
	}
	if q.r.Header.Get("Range") != "" {
		return 0, 0, false, invalidRequest("Cannot specify both Range header and partNumber query parameter")
	}
	number, bad := strconv.Atoi(text)
	if bad != nil || number < 1 || number > maxParts {
		return 0, 0, false, invalidArgument(fmt.Sprintf("Part number must be an integer between 1 and %d, inclusive", maxParts), "partNumber", text)
	}
	if number > max(1, len(n.Parts)) {
		return 0, 0, false, fail(http.StatusRequestedRangeNotSatisfiable, "InvalidPartNumber", "The requested partnumber is not satisfiable",
			[2]string{"PartNumberRequested", text}, [2]string{"ActualPartCount", strconv.Itoa(max(1, len(n.Parts)))})
	}
	if len(n.Parts) == 0 {
		return 0, n.Size, n.Size > 0, nil
	}
	q.w.Header().Set("x-amz-mp-parts-count", strconv.Itoa(len(n.Parts)))
	for _, p := range n.Parts[:number-1] {
		offset += p.Size
	}
	p := n.Parts[number-1]
	if p.Sum.Value != "" && strings.EqualFold(q.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") {
		q.w.Header().Set(p.Sum.a().header(), p.Sum.Value)
	}
	return offset, p.Size, true, nil
}

// extent sets the headers that tell which bytes follow, and returns the status.
func (q *request) extent(n *snapshot, offset, length int64, part bool) int {
	h := q.w.Header()
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	if !part {
		return http.StatusOK
	}
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, offset+length-1, n.Size))
	return http.StatusPartialContent
}

// unthawed is the answer to whoever reads what is not thawed.
func unthawed(class string) *apiError {
	return fail(http.StatusForbidden, "InvalidObjectState", "The operation is not valid for the object's storage class", [2]string{"StorageClass", class})
}

func (q *request) getObject() error {
	n, v, err := q.snapshot(q.key, q.query.Get("versionId"))
	if err != nil {
		return err
	}
	defer n.content.drop()
	if err := q.fresh(n); err != nil {
		return err
	}
	if !n.readable {
		return unthawed(n.Class)
	}
	offset, length, part, err := q.stretch(n)
	if err != nil {
		return err
	}
	q.describe(n, v, !part)
	status := q.extent(n, offset, length, part)
	r, err := n.content.open(offset, length)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	return q.stream(status, r, length)
}

// stream answers with content.
func (q *request) stream(status int, r io.Reader, length int64) error {
	q.answer(status)
	if q.fault.cutsOut() {
		n, _ := io.CopyN(q.w, r, length/2)
		q.entry.Out = n
		q.flush()
		panic(http.ErrAbortHandler)
	}
	if q.fault.flips() {
		r = &flipper{r: r, at: length / 2}
	}
	n, err := io.CopyN(q.w, r, max(0, length-1))
	q.entry.Out = n
	if err == nil {
		q.entry.Out = length
		q.log()
		_, err = io.Copy(q.w, r)
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// flipper turns one bit.
type flipper struct {
	r  io.Reader
	at int64
}

func (f *flipper) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if f.at >= 0 && f.at < int64(n) {
		p[f.at] ^= 0x10
	}
	f.at -= int64(n)
	return n, err
}

// byteRange reads a Range header of one range (RFC 9110, section 14.2). What is no such header is left out of account, as S3 does.
func byteRange(header string, size int64) (offset, length int64, part bool, err error) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return 0, size, false, nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return 0, size, false, nil
	}
	from, bad := strconv.ParseInt(first, 10, 64)
	to, bad2 := strconv.ParseInt(last, 10, 64)
	switch {
	case first == "" && bad2 == nil: // the last so many
		from, to = max(0, size-to), size-1
		if size == 0 || from >= size {
			from = size
		}
	case bad != nil, last != "" && bad2 != nil, last != "" && to < from:
		return 0, size, false, nil
	case last == "":
		to = size - 1
	}
	if from >= size {
		return 0, 0, false, fail(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable",
			[2]string{"RangeRequested", header}, [2]string{"ActualObjectSize", strconv.FormatInt(size, 10)})
	}
	to = min(to, size-1)
	return from, to - from + 1, true, nil
}

// source finds what a copy is made of.
func (q *request) source() (*snapshot, error) {
	text := strings.TrimPrefix(q.r.Header.Get("X-Amz-Copy-Source"), "/")
	path, query, _ := strings.Cut(text, "?")
	id := ""
	if values, err := url.ParseQuery(query); err == nil {
		id = values.Get("versionId")
	}
	path, err := url.PathUnescape(path)
	name, key, ok := strings.Cut(path, "/")
	if err != nil || !ok || key == "" {
		return nil, invalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey", "x-amz-copy-source", text)
	}
	from := *q
	from.bucket = name
	if err := from.allowed("s3:GetObject", key); err != nil {
		return nil, err
	}
	n, _, err := from.snapshot(key, id)
	if err != nil {
		return nil, err
	}
	if !n.readable {
		n.content.drop()
		return nil, fail(http.StatusForbidden, "InvalidObjectState", "Operation is not valid for the source object's storage class", [2]string{"StorageClass", n.Class})
	}
	for header, holds := range map[string]bool{"X-Amz-Copy-Source-If-Match": true, "X-Amz-Copy-Source-If-None-Match": false} {
		if want := strings.Trim(q.r.Header.Get(header), `"`); want != "" && (want == n.Tag) != holds {
			n.content.drop()
			return nil, preconditionFailed(strings.ToLower(header))
		}
	}
	return n, nil
}

func (q *request) copyObject() error {
	class, err := q.class()
	if err != nil {
		return err
	}
	q.entry.Class = class
	n, err := q.source()
	if err != nil {
		return err
	}
	v := &version{Key: q.key, Size: n.Size, Tag: n.Tag, Class: class, Sum: n.Sum, Header: n.Header, content: n.content}
	if err := q.copyTerms(n, v); err != nil {
		n.content.drop()
		return err
	}
	if strings.Contains(v.Tag, "-") || v.Sum.Type == composite { // a copy is made in one piece
		if err := v.rehash(); err != nil {
			n.content.drop()
			return err
		}
	}
	if q.s.o.KMS {
		v.Tag = random(md5.Size)
	}
	if err := q.create(v, true); err != nil {
		n.content.drop()
		return err
	}
	q.encryption()
	q.s.mu.Lock()
	q.s.meter.read(q.s.billed(q.s.moment), n.Class, n.Size*q.s.scale(n.Class))
	q.s.mu.Unlock()
	if v.ID != "null" {
		q.w.Header().Set("x-amz-version-id", v.ID)
	}
	if n.ID != "null" {
		q.w.Header().Set("x-amz-copy-source-version-id", n.ID)
	}
	if e := q.fault.embedded(); e != nil {
		return q.xml(http.StatusOK, e)
	}
	p := newPage()
	p.root("CopyObjectResult")
	p.putTime("LastModified", v.Modified)
	p.put("ETag", quoted(v.Tag))
	p.sum(v.Sum)
	p.end("CopyObjectResult")
	return q.xml(http.StatusOK, p)
}

// copyTerms reads what is to become of headers and sums, and refuses a copy that changes nothing.
func (q *request) copyTerms(n *snapshot, v *version) error {
	replace := false
	switch d := q.r.Header.Get("X-Amz-Metadata-Directive"); d {
	case "", "COPY":
	case "REPLACE":
		replace = true
		v.Header = q.keep()
	default:
		return invalidArgument("Unknown metadata directive.", "x-amz-metadata-directive", d)
	}
	source, _ := url.PathUnescape(strings.TrimPrefix(q.r.Header.Get("X-Amz-Copy-Source"), "/"))
	if source == q.bucket+"/"+q.key && !replace && v.Class == n.Class {
		return invalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	if n.Size > maxPut {
		return invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: 5368709120")
	}
	if name := q.r.Header.Get("X-Amz-Checksum-Algorithm"); name != "" && !strings.EqualFold(name, n.Sum.Algorithm) {
		a, ok := findAlgorithm(name)
		if !ok {
			return invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
		}
		value, err := sumBlob(a, n.content)
		if err != nil {
			return err
		}
		v.Sum = checksum{Algorithm: a.name, Value: value, Type: full}
	}
	return nil
}

// rehash gives an object that was in parts the ETag and the sum of one that is not.
func (v *version) rehash() error {
	r, err := v.content.open(0, v.Size)
	if err != nil {
		return err
	}
	tag, err := md5Of(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	v.Tag = tag
	if v.Sum.Type == composite {
		if v.Sum.Value, err = sumBlob(v.Sum.a(), v.content); err != nil {
			return err
		}
		v.Sum.Type = full
	}
	return nil
}

// sum writes a checksum.
func (p *page) sum(c checksum) {
	if c.Value != "" {
		p.put(c.a().element(), c.Value)
		p.put("ChecksumType", c.Type)
	}
}

func (q *request) deleteObject() error {
	if q.r.Header.Get("If-Match") != "" {
		return notImplemented("If-Match of DELETE")
	}
	id := q.query.Get("versionId")
	b, err := q.locked()
	var v *version
	if err == nil {
		v, err = q.delete(b, q.key, id)
	}
	q.unlock()
	if err != nil {
		return err
	}
	if v != nil && v.Marker {
		q.w.Header().Set("x-amz-delete-marker", "true")
	}
	if v != nil && v.ID != "null" {
		q.w.Header().Set("x-amz-version-id", v.ID)
	}
	q.answer(http.StatusNoContent)
	return nil
}

// delete removes a version, or puts a delete marker where the bucket has versions. It returns what was removed or put. s.mu is held.
func (q *request) delete(b *bucket, key, id string) (*version, error) {
	e := b.keys.find(key)
	if id == "" && b.versioning != "" {
		v := &version{Key: key, Marker: true}
		q.stamp(v)
		q.s.add(b, v)
		return v, nil
	}
	if e == nil {
		return nil, nil
	}
	i := slices.IndexFunc(e.versions, func(v *version) bool { return v.ID == id || id == "" })
	if i < 0 {
		return &version{ID: id}, nil
	}
	v := e.versions[i]
	if err := q.mayRemove(v); err != nil {
		return nil, err
	}
	q.entry.Class = v.Class
	q.s.remove(b, e, v)
	return v, nil
}

// deletion is the body of DeleteObjects.
type deletion struct {
	Quiet   bool
	Objects []struct {
		Key       string
		VersionId string
		ETag      string
	} `xml:"Object"`
}

func (q *request) deleteObjects() error {
	var d deletion
	if err := q.readXML(&d); err != nil {
		return err
	}
	if len(d.Objects) == 0 || len(d.Objects) > 1000 {
		return malformedXML()
	}
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	p := newPage()
	p.root("DeleteResult")
	for i, o := range d.Objects {
		var v *version
		action := q.op.action
		if o.VersionId != "" {
			action = ofVersion(action)
		}
		err := q.allowed(action, o.Key)
		if err == nil {
			err = q.fault.partly(i)
		}
		if err == nil {
			v, err = q.delete(b, o.Key, o.VersionId)
		}
		q.deleted(p, d.Quiet, o.Key, o.VersionId, v, err)
	}
	p.end("DeleteResult")
	return q.xml(http.StatusOK, p)
}

// deleted writes what became of one of several.
func (q *request) deleted(p *page, quiet bool, key, id string, v *version, err error) {
	var e *apiError
	switch {
	case errors.As(err, &e):
		p.open("Error")
		p.put("Key", key)
		p.putMaybe("VersionId", id)
		p.put("Code", e.code)
		p.put("Message", e.message)
		p.end("Error")
	case !quiet:
		p.open("Deleted")
		p.put("Key", key)
		p.putMaybe("VersionId", id)
		if v != nil && v.Marker {
			p.putBool("DeleteMarker", true)
			p.put("DeleteMarkerVersionId", v.ID)
		}
		p.end("Deleted")
	}
}

func (q *request) getAttributes() error {
	want := q.r.Header.Values("X-Amz-Object-Attributes")
	asked := map[string]bool{}
	for _, line := range want {
		for _, name := range strings.Split(line, ",") {
			asked[strings.TrimSpace(name)] = true
		}
	}
	if len(asked) == 0 {
		return invalidArgument("The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty", "x-amz-object-attributes", "")
	}
	n, v, err := q.snapshot(q.key, q.query.Get("versionId"))
	if err != nil {
		return err
	}
	defer n.content.drop()
	p := newPage()
	p.root("GetObjectAttributesResponse")
	if asked["ETag"] {
		p.put("ETag", n.Tag)
	}
	if sum, err := q.s.sumOf(v); err == nil && sum.Value != "" && asked["Checksum"] {
		p.open("Checksum")
		p.sum(checksum{sum.Algorithm, strings.SplitN(sum.Value, "-", 2)[0], sum.Type})
		p.end("Checksum")
	}
	if asked["ObjectParts"] && len(n.Parts) > 0 {
		p.parts(n.Parts)
	}
	if asked["StorageClass"] {
		p.put("StorageClass", n.Class)
	}
	if asked["ObjectSize"] {
		p.putInt("ObjectSize", n.Size)
	}
	p.end("GetObjectAttributesResponse")
	q.w.Header().Set("Last-Modified", httpTime(n.Modified))
	if n.ID != "null" {
		q.w.Header().Set("x-amz-version-id", n.ID)
	}
	return q.xml(http.StatusOK, p)
}

// parts writes those of an object; S3 tells of each only where it has sums.
func (p *page) parts(parts []*part) {
	p.open("ObjectParts")
	p.putInt("PartsCount", int64(len(parts)))
	p.putBool("IsTruncated", false)
	p.putInt("MaxParts", 1000)
	for _, one := range parts[:min(len(parts), 1000)] {
		if one.Sum.Value == "" {
			break
		}
		p.open("Part")
		p.putInt("PartNumber", int64(one.Number))
		p.putInt("Size", one.Size)
		p.put(one.Sum.a().element(), one.Sum.Value)
		p.end("Part")
	}
	p.end("ObjectParts")
}
