package coldtest

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of uploads in parts (Amazon S3 User Guide, "Multipart upload limits").
const (
	maxParts = 10_000
	minPart  = 5 << 20 // all but the last
)

func md5Of(r io.Reader) (string, error) {
	h := md5.New()
	_, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), err
}

func (q *request) createUpload() error {
	if len(q.key) > maxKey {
		return fail(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
	}
	class, err := q.class()
	if err != nil {
		return err
	}
	u := &upload{id: random(32), key: q.key, class: class, header: q.keep(), parts: map[int]*part{}}
	if err := q.uploadSum(u); err != nil {
		return err
	}
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	terms := &version{}
	if err := q.lockNew(b, terms, true); err != nil {
		return err
	}
	u.mode, u.until, u.hold = terms.Mode, terms.Until, terms.Hold
	u.started = q.s.moment
	b.uploads[u.id] = u
	q.entry.Class = class
	if u.algorithm != "" {
		q.w.Header().Set("x-amz-checksum-algorithm", u.algorithm)
		q.w.Header().Set("x-amz-checksum-type", u.sumType)
	}
	p := newPage()
	p.root("InitiateMultipartUploadResult")
	p.put("Bucket", q.bucket)
	p.put("Key", q.key)
	p.put("UploadId", u.id)
	p.end("InitiateMultipartUploadResult")
	return q.xml(http.StatusOK, p)
}

// uploadSum reads which sums the parts will have.
func (q *request) uploadSum(u *upload) error {
	name, kind := q.r.Header.Get("X-Amz-Checksum-Algorithm"), q.r.Header.Get("X-Amz-Checksum-Type")
	if name == "" {
		if kind != "" {
			return invalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return nil
	}
	switch q.s.o.Provider.Checksums {
	case ChecksumsRefused:
		return notImplemented("x-amz-checksum-algorithm")
	case ChecksumsInvalid:
		return invalidArgument("Unsupported header", "x-amz-checksum-algorithm", "")
	case ChecksumsIgnored:
		return nil
	}
	a, ok := findAlgorithm(name)
	if !ok {
		return invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	}
	u.algorithm, u.sumType = a.name, a.types[0]
	if kind != "" {
		if !slices.Contains(a.types, kind) {
			return invalidRequest(fmt.Sprintf("The %s checksum type cannot be used with the %s checksum algorithm.", kind, strings.ToLower(a.name)))
		}
		u.sumType = kind
	}
	return nil
}

// upload finds the upload of a request. s.mu is held.
func (q *request) upload(b *bucket) (*upload, error) {
	u := b.uploads[q.query.Get("uploadId")]
	if u == nil || u.key != q.key {
		return nil, fail(http.StatusNotFound, "NoSuchUpload",
			"The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.", [2]string{"UploadId", q.query.Get("uploadId")})
	}
	return u, nil
}

// findUpload is upload for those that hold no lock.
func (q *request) findUpload() (*upload, error) {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return nil, err
	}
	return q.upload(b)
}

func (q *request) partNumber() (int, error) {
	limit := maxParts
	if n := q.s.o.Provider.MaxParts; n > 0 {
		limit = n
	}
	n, err := strconv.Atoi(q.query.Get("partNumber"))
	if err != nil || n < 1 || n > limit {
		return 0, invalidArgument(fmt.Sprintf("Part number must be an integer between 1 and %d, inclusive", limit), "partNumber", q.query.Get("partNumber"))
	}
	return n, nil
}

func (q *request) uploadPart() error {
	n, err := q.partNumber()
	if err != nil {
		return err
	}
	u, err := q.findUpload()
	if err != nil {
		return err
	}
	got, err := q.receive()
	if err != nil {
		return err
	}
	if err := q.partSum(u, &got); err != nil {
		got.content.drop()
		return err
	}
	p := &part{Number: n, Size: got.size, MD5: q.s.partTag(got.md5), Sum: got.sum, content: got.content}
	if err := q.keepPart(u, p); err != nil {
		got.content.drop()
		return err
	}
	q.encryption()
	h := q.w.Header()
	h.Set("ETag", quoted(hexOf(p.MD5[:])))
	if p.Sum.Value != "" {
		h.Set(p.Sum.a().header(), p.Sum.Value)
	}
	h.Set("Content-Length", "0")
	q.answer(http.StatusOK)
	return nil
}

// partTag is what a part has as its ETag: its MD5, or nothing that means anything.
func (s *Server) partTag(sum [md5.Size]byte) [md5.Size]byte {
	if s.o.KMS {
		_, _ = rand.Read(sum[:])
	}
	return sum
}

// partSum holds a part to the algorithm of its upload. Where the upload has none, any will do, as Amazon's own client needs it.
func (q *request) partSum(u *upload, got *received) error {
	if q.s.o.Provider.Checksums != ChecksumsVerified {
		return nil
	}
	have, want := strings.ToLower(got.sum.Algorithm), strings.ToLower(u.algorithm)
	if have == want || want == "" || have == "" && u.sumType == full {
		return nil
	}
	if have == "" {
		have = "null"
	}
	return invalidRequest(fmt.Sprintf("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", want, have))
}

// keepPart stores a part in place of one of its number.
func (q *request) keepPart(u *upload, p *part) error {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	if _, err := q.upload(b); err != nil {
		return err
	}
	if old := u.parts[p.Number]; old != nil {
		q.s.meter.partGoes(q.s.billed(q.s.moment), u.class, old.Size*q.s.scale(u.class))
		old.content.drop()
	}
	p.Modified = q.s.moment.Truncate(time.Second)
	u.parts[p.Number] = p
	q.entry.Class = u.class
	q.s.meter.partComes(q.s.billed(q.s.moment), u.class, p.Size*q.s.scale(u.class))
	return nil
}

func (q *request) uploadPartCopy() error {
	number, err := q.partNumber()
	if err != nil {
		return err
	}
	u, err := q.findUpload()
	if err != nil {
		return err
	}
	n, err := q.source()
	if err != nil {
		return err
	}
	defer n.content.drop()
	offset, length := int64(0), n.Size
	if text := q.r.Header.Get("X-Amz-Copy-Source-Range"); text != "" {
		var ok bool
		if offset, length, ok, err = byteRange(text, n.Size); err != nil || !ok || !strings.HasSuffix(text, fmt.Sprintf("%d-%d", offset, offset+length-1)) {
			return invalidArgument("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy", "x-amz-copy-source-range", text)
		}
	}
	p, err := q.copyPart(u, n, offset, length)
	if err != nil {
		return err
	}
	p.Number = number
	if err := q.keepPart(u, p); err != nil {
		p.content.drop()
		return err
	}
	q.s.mu.Lock()
	q.s.meter.read(q.s.billed(q.s.moment), n.Class, length*q.s.scale(n.Class))
	q.s.mu.Unlock()
	out := newPage()
	out.root("CopyPartResult")
	out.putTime("LastModified", p.Modified)
	out.put("ETag", quoted(hexOf(p.MD5[:])))
	if p.Sum.Value != "" {
		out.put(p.Sum.a().element(), p.Sum.Value)
	}
	out.end("CopyPartResult")
	return q.xml(http.StatusOK, out)
}

// copyPart makes a part of a stretch of an object.
func (q *request) copyPart(u *upload, n *snapshot, offset, length int64) (*part, error) {
	r, err := n.content.open(offset, length)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	k, err := q.s.newSink(length)
	if err != nil {
		return nil, err
	}
	tag := md5.New()
	writers := []io.Writer{k, tag}
	p := &part{Size: length}
	var sum hash.Hash
	if a, ok := findAlgorithm(u.algorithm); ok {
		sum = a.new()
		writers = append(writers, sum)
		p.Sum = checksum{Algorithm: a.name, Type: full}
	}
	if _, err := io.Copy(io.MultiWriter(writers...), r); err != nil {
		k.giveUp()
		return nil, err
	}
	if sum != nil {
		p.Sum.Value = encode(sum.Sum(nil))
	}
	tag.Sum(p.MD5[:0])
	p.MD5 = q.s.partTag(p.MD5)
	p.content, err = k.done()
	return p, err
}

// completion is the body of CompleteMultipartUpload.
type completion struct {
	Parts []struct {
		PartNumber        int
		ETag              string
		ChecksumSHA256    string
		ChecksumSHA1      string
		ChecksumCRC32     string
		ChecksumCRC32C    string
		ChecksumCRC64NVME string
	} `xml:"Part"`
}

func (q *request) completeUpload() error {
	u, err := q.findUpload()
	if err != nil {
		return err
	}
	q.entry.Class = u.class
	a, want, err := given(q.r.Header) // of the whole object, not of this body
	if err != nil {
		return err
	}
	if want != "" {
		q.r.Header.Del(a.header())
	}
	var c completion
	if err := q.readXML(&c); err != nil {
		return err
	}
	parts, err := q.chosen(u, &c)
	if err != nil {
		return err
	}
	v := &version{Key: q.key, Tag: composeTag(parts), Class: u.class, Header: u.header, Mode: u.mode, Until: u.until, Hold: u.hold}
	for _, p := range parts {
		v.Size += p.Size
		v.content = append(v.content, p.content...)
		v.Parts = append(v.Parts, &part{Number: p.Number, Size: p.Size, Sum: p.Sum})
	}
	if text := q.r.Header.Get("X-Amz-Mp-Object-Size"); text != "" {
		if n, err := strconv.ParseInt(text, 10, 64); err != nil || n != v.Size {
			return invalidRequest(fmt.Sprintf("The provided 'x-amz-mp-object-size' header value %s does not match what was computed: %d", text, v.Size))
		}
	}
	if err := q.wholeSum(u, v, parts, a, want); err != nil {
		return err
	}
	if e := q.fault.embedded(); e != nil {
		return q.xml(http.StatusOK, e)
	}
	if err := q.finish(u, v, parts); err != nil {
		return err
	}
	q.putAnswer(v)
	q.w.Header().Del("ETag")
	p := newPage()
	p.root("CompleteMultipartUploadResult")
	p.put("Location", "http://"+q.r.Host+"/"+q.bucket+"/"+q.key)
	p.put("Bucket", q.bucket)
	p.put("Key", q.key)
	p.put("ETag", quoted(v.Tag))
	p.sum(v.Sum)
	p.end("CompleteMultipartUploadResult")
	return q.xml(http.StatusOK, p)
}

// chosen finds the parts that are named, and looks that they may be put together.
func (q *request) chosen(u *upload, c *completion) ([]*part, error) {
	if len(c.Parts) == 0 || len(c.Parts) > maxParts {
		return nil, malformedXML()
	}
	for i := range c.Parts[1:] {
		if c.Parts[i+1].PartNumber <= c.Parts[i].PartNumber {
			return nil, fail(http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	var out []*part
	for i, named := range c.Parts {
		p := u.parts[named.PartNumber]
		if p == nil || strings.Trim(named.ETag, `"`) != hexOf(p.MD5[:]) {
			return nil, invalidPart(u, named.PartNumber, named.ETag)
		}
		sums := map[string]string{"SHA256": named.ChecksumSHA256, "SHA1": named.ChecksumSHA1, "CRC32": named.ChecksumCRC32, "CRC32C": named.ChecksumCRC32C, nvme: named.ChecksumCRC64NVME}
		if u.sumType == composite && sums[u.algorithm] == "" {
			return nil, invalidRequest(fmt.Sprintf("The upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request.",
				strings.ToLower(u.algorithm), named.PartNumber))
		}
		for name, value := range sums {
			if value != "" && (p.Sum.Algorithm != name || p.Sum.Value != value) && q.s.o.Provider.Checksums == ChecksumsVerified {
				return nil, invalidPart(u, named.PartNumber, named.ETag)
			}
		}
		if p.Size < minPart && i < len(c.Parts)-1 {
			return nil, fail(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size",
				[2]string{"ProposedSize", strconv.FormatInt(p.Size, 10)}, [2]string{"MinSizeAllowed", strconv.Itoa(minPart)}, [2]string{"PartNumber", strconv.Itoa(named.PartNumber)})
		}
		out = append(out, p)
	}
	return out, nil
}

func invalidPart(u *upload, number int, tag string) error {
	return fail(http.StatusBadRequest, "InvalidPart",
		"One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
		[2]string{"UploadId", u.id}, [2]string{"PartNumber", strconv.Itoa(number)}, [2]string{"ETag", tag})
}

// wholeSum gives the object its sum, and compares it with the one that the client expects.
func (q *request) wholeSum(u *upload, v *version, parts []*part, a algorithm, want string) error {
	if u.algorithm != "" {
		alg, _ := findAlgorithm(u.algorithm)
		v.Sum = checksum{alg.name, "", u.sumType}
		if u.sumType == composite {
			v.Sum.Value = compose(alg, parts)
		} else {
			value, err := sumBlob(alg, v.content)
			if err != nil {
				return err
			}
			v.Sum.Value = value
		}
	}
	if want == "" || q.s.o.Provider.Checksums != ChecksumsVerified {
		return nil
	}
	have := v.Sum
	if u.algorithm == "" && a.name == nvme {
		value, err := sumBlob(a, v.content)
		if err != nil {
			return err
		}
		have = checksum{a.name, value, full}
		v.Sum = have
	}
	if have.Algorithm != a.name {
		return invalidRequest(fmt.Sprintf("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", strings.ToLower(have.Algorithm), strings.ToLower(a.name)))
	}
	if have.Value != want && strings.SplitN(have.Value, "-", 2)[0] != want {
		return fail(http.StatusBadRequest, "BadDigest", "The "+a.name+" you specified did not match the calculated checksum.")
	}
	return nil
}

// finish makes the object and ends the upload.
func (q *request) finish(u *upload, v *version, parts []*part) error {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	if _, err := q.upload(b); err != nil {
		return err
	}
	for _, p := range parts {
		if u.parts[p.Number] != p {
			return invalidPart(u, p.Number, hexOf(p.MD5[:])) // sent again in the meantime
		}
	}
	if err := q.condition(b); err != nil {
		return err
	}
	q.stamp(v)
	q.s.endUpload(b, u, parts)
	q.s.add(b, v)
	return nil
}

// endUpload forgets an upload; the content of the parts in keep lives on. s.mu is held.
func (s *Server) endUpload(b *bucket, u *upload, keep []*part) {
	for _, p := range u.parts {
		s.meter.partGoes(s.billed(s.moment), u.class, p.Size*s.scale(u.class))
		if !slices.Contains(keep, p) {
			p.content.drop()
		}
	}
	delete(b.uploads, u.id)
}

func (q *request) abortUpload() error {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	u, err := q.upload(b)
	if err != nil {
		return err
	}
	q.s.endUpload(b, u, nil)
	q.answer(http.StatusNoContent)
	return nil
}

func (q *request) listParts() error {
	limit, after := maxKeys, 0
	for name, to := range map[string]*int{"max-parts": &limit, "part-number-marker": &after} {
		if text := q.query.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return invalidArgument("Argument "+name+" must be an integer between 0 and 2147483647", name, text)
			}
			*to = n
		}
	}
	limit = min(limit, q.s.o.PageKeys)
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	u, err := q.upload(b)
	if err != nil {
		return err
	}
	p := newPage()
	p.root("ListPartsResult")
	p.put("Bucket", q.bucket)
	p.put("Key", q.key)
	p.put("UploadId", u.id)
	p.put("StorageClass", u.class)
	if u.algorithm != "" {
		p.put("ChecksumAlgorithm", u.algorithm)
		p.put("ChecksumType", u.sumType)
	}
	p.putInt("PartNumberMarker", int64(after))
	numbers := slices.Sorted(maps.Keys(u.parts))
	numbers = slices.DeleteFunc(numbers, func(n int) bool { return n <= after })
	more := len(numbers) > limit
	numbers = numbers[:min(len(numbers), limit)]
	if more && len(numbers) > 0 {
		p.putInt("NextPartNumberMarker", int64(numbers[len(numbers)-1]))
	}
	p.putInt("MaxParts", int64(limit))
	p.putBool("IsTruncated", more)
	for _, n := range numbers {
		one := u.parts[n]
		p.open("Part")
		p.putInt("PartNumber", int64(n))
		p.putTime("LastModified", one.Modified)
		p.put("ETag", quoted(hexOf(one.MD5[:])))
		p.putInt("Size", one.Size)
		if one.Sum.Value != "" {
			p.put(one.Sum.a().element(), one.Sum.Value)
		}
		p.end("Part")
	}
	p.end("ListPartsResult")
	return q.xml(http.StatusOK, p)
}

func (q *request) listUploads() error {
	limit := maxKeys
	if text := q.query.Get("max-uploads"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return invalidArgument("Argument max-uploads must be an integer between 1 and 1000", "max-uploads", text)
		}
		limit = n
	}
	limit = min(limit, q.s.o.PageKeys)
	if q.query.Get("delimiter") != "" {
		return notImplemented("delimiter of ListMultipartUploads")
	}
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	keyMarker, idMarker, prefix := q.query.Get("key-marker"), q.query.Get("upload-id-marker"), q.query.Get("prefix")
	var all []*upload
	for _, u := range b.uploads {
		if strings.HasPrefix(u.key, prefix) && (u.key > keyMarker || u.key == keyMarker && idMarker != "" && u.id > idMarker) {
			all = append(all, u)
		}
	}
	slices.SortFunc(all, func(a, b *upload) int { return strings.Compare(a.key+"\x00"+a.id, b.key+"\x00"+b.id) })
	more := len(all) > limit
	all = all[:min(len(all), limit)]
	p := newPage()
	p.root("ListMultipartUploadsResult")
	p.put("Bucket", q.bucket)
	p.put("KeyMarker", keyMarker)
	p.put("UploadIdMarker", idMarker)
	p.putMaybe("Prefix", prefix)
	p.putInt("MaxUploads", int64(limit))
	p.putBool("IsTruncated", more)
	if more {
		p.put("NextKeyMarker", all[len(all)-1].key)
		p.put("NextUploadIdMarker", all[len(all)-1].id)
	}
	for _, u := range all {
		p.open("Upload")
		p.put("Key", u.key)
		p.put("UploadId", u.id)
		p.put("StorageClass", u.class)
		p.putTime("Initiated", u.started.Truncate(time.Second))
		p.putMaybe("ChecksumAlgorithm", u.algorithm)
		p.putMaybe("ChecksumType", u.sumType)
		p.end("Upload")
	}
	p.end("ListMultipartUploadsResult")
	return q.xml(http.StatusOK, p)
}
