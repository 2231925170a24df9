package coldtest

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const maxKeys = 1000 // on a page of a listing

// listing is what a request for a page says.
type listing struct {
	prefix, delimiter, after string
	max                      int
	encoded                  bool // keys are URL-encoded
	restores                 bool // RestoreStatus is wanted
}

// listing reads it.
func (q *request) listing() (*listing, error) {
	l := &listing{prefix: q.query.Get("prefix"), delimiter: q.query.Get("delimiter"), max: maxKeys}
	if text := q.query.Get("max-keys"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, invalidArgument("Provided max-keys not an integer or within integer range", "max-keys", text)
		}
		l.max = n
	}
	l.max = min(l.max, q.s.o.PageKeys, maxKeys)
	if n := q.fault.pageKeys(); n > 0 {
		l.max = min(l.max, n)
	}
	switch e := q.query.Get("encoding-type"); e {
	case "":
	case "url":
		l.encoded = true
	default:
		return nil, invalidArgument("Invalid Encoding Method specified in Request", "encoding-type", e)
	}
	for _, line := range q.r.Header.Values("X-Amz-Optional-Object-Attributes") {
		for _, name := range strings.Split(line, ",") {
			if strings.TrimSpace(name) != "RestoreStatus" {
				return nil, invalidArgument("Invalid attribute name specified", "x-amz-optional-object-attributes", name)
			}
			l.restores = !q.s.o.Provider.NoListStatus
		}
	}
	return l, nil
}

// key writes a key as the request wants it.
func (l *listing) key(key string) string {
	if l.encoded {
		return escape(key, true)
	}
	return key
}

// found is a line of a listing: an object, or what several have in common.
type found struct {
	v      *version
	latest bool
	common string
}

// collect gathers a page, and tells the key or common prefix after which the next begins, where there is one. s.mu is held.
func (l *listing) collect(b *bucket, pick func(*entry) *version) (page []found, next string, more bool) {
	if l.max == 0 {
		return nil, "", false
	}
	start := max(l.prefix, l.after)
	b.keys.from(start, func(e *entry) bool {
		if e.key <= l.after && l.after != "" {
			return true
		}
		if !strings.HasPrefix(e.key, l.prefix) {
			return e.key < l.prefix
		}
		v := pick(e)
		if v == nil {
			return true
		}
		f := found{v: v}
		if l.delimiter != "" {
			if i := strings.Index(e.key[len(l.prefix):], l.delimiter); i >= 0 {
				f = found{common: e.key[:len(l.prefix)+i+len(l.delimiter)]}
				if f.common <= l.after && l.after != "" || len(page) > 0 && page[len(page)-1].common == f.common {
					return true
				}
			}
		}
		if len(page) == l.max {
			more = true
			return false
		}
		page = append(page, f)
		next = e.key
		if f.common != "" {
			next = f.common
		}
		return true
	})
	return page, next, more
}

func (q *request) listV2() error {
	if q.query.Get("list-type") != "2" {
		return invalidArgument("Invalid list-type", "list-type", q.query.Get("list-type"))
	}
	if q.query.Get("fetch-owner") == "true" {
		return notImplemented("fetch-owner")
	}
	l, err := q.listing()
	if err != nil {
		return err
	}
	l.after = q.query.Get("start-after")
	if q.query.Has("continuation-token") {
		raw, bad := base64.RawURLEncoding.DecodeString(q.query.Get("continuation-token"))
		after, ok := strings.CutPrefix(string(raw), "1:")
		if bad != nil || !ok {
			return invalidArgument("The continuation token provided is incorrect", "continuation-token", q.query.Get("continuation-token"))
		}
		l.after = after
	}
	p := newPage()
	p.root("ListBucketResult")
	p.put("Name", q.bucket)
	p.put("Prefix", l.key(l.prefix))
	if err := q.objects(p, l, func(more bool, next string, n int) {
		if q.query.Has("start-after") {
			p.put("StartAfter", l.key(q.query.Get("start-after")))
		}
		p.putMaybe("ContinuationToken", q.query.Get("continuation-token"))
		if more {
			p.put("NextContinuationToken", base64.RawURLEncoding.EncodeToString([]byte("1:"+next)))
		}
		p.putInt("KeyCount", int64(n))
	}); err != nil {
		return err
	}
	p.end("ListBucketResult")
	return q.xml(http.StatusOK, p)
}

func (q *request) listV1() error {
	for name := range q.query {
		if !slices.Contains([]string{"prefix", "delimiter", "marker", "max-keys", "encoding-type", "x-id"}, name) && !strings.HasPrefix(name, "X-Amz-") {
			return notImplemented(name)
		}
	}
	l, err := q.listing()
	if err != nil {
		return err
	}
	l.after = q.query.Get("marker")
	p := newPage()
	p.root("ListBucketResult")
	p.put("Name", q.bucket)
	p.put("Prefix", l.key(l.prefix))
	p.put("Marker", l.key(l.after))
	if err := q.objects(p, l, func(more bool, next string, _ int) {
		if more && l.delimiter != "" {
			p.put("NextMarker", l.key(next))
		}
	}); err != nil {
		return err
	}
	p.end("ListBucketResult")
	return q.xml(http.StatusOK, p)
}

// objects writes a page of current objects; head writes what the two kinds of listings do not share.
func (q *request) objects(p *page, l *listing, head func(more bool, next string, n int)) error {
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	page, next, more := l.collect(b, (*entry).current)
	head(more, next, len(page))
	p.putInt("MaxKeys", int64(l.max))
	p.putMaybe("Delimiter", l.key(l.delimiter))
	if l.encoded {
		p.put("EncodingType", "url")
	}
	p.putBool("IsTruncated", more)
	for _, f := range page {
		if f.v != nil {
			p.open("Contents")
			q.object(p, l, f.v)
			p.end("Contents")
		}
	}
	p.commons(l, page)
	return nil
}

func (p *page) commons(l *listing, page []found) {
	for _, f := range page {
		if f.common != "" {
			p.open("CommonPrefixes")
			p.put("Prefix", l.key(f.common))
			p.end("CommonPrefixes")
		}
	}
}

// object writes what a listing tells of one. s.mu is held.
func (q *request) object(p *page, l *listing, v *version) {
	p.put("Key", l.key(v.Key))
	p.putTime("LastModified", v.Modified)
	p.put("ETag", quoted(v.Tag))
	if v.Sum.Value != "" {
		p.put("ChecksumAlgorithm", v.Sum.Algorithm)
		p.put("ChecksumType", v.Sum.Type)
	}
	p.putInt("Size", v.Size)
	p.put("StorageClass", v.Class)
	if r := v.restore; r != nil && l.restores {
		p.open("RestoreStatus")
		p.putBool("IsRestoreInProgress", r.expires.IsZero())
		if !r.expires.IsZero() {
			p.putTime("RestoreExpiryDate", r.expires)
		}
		p.end("RestoreStatus")
	}
}

func (q *request) listVersions() error {
	l, err := q.listing()
	if err != nil {
		return err
	}
	b, err := q.locked()
	defer q.unlock()
	if err != nil {
		return err
	}
	page, next, more := l.versions(b, q.query.Get("key-marker"), q.query.Get("version-id-marker"))
	p := newPage()
	p.root("ListVersionsResult")
	p.put("Name", q.bucket)
	p.put("Prefix", l.key(l.prefix))
	p.put("KeyMarker", l.key(q.query.Get("key-marker")))
	p.put("VersionIdMarker", q.query.Get("version-id-marker"))
	p.putInt("MaxKeys", int64(l.max))
	p.putMaybe("Delimiter", l.key(l.delimiter))
	if l.encoded {
		p.put("EncodingType", "url")
	}
	p.putBool("IsTruncated", more)
	if more {
		p.put("NextKeyMarker", l.key(next))
		if last := page[len(page)-1]; last.v != nil {
			p.put("NextVersionIdMarker", last.v.ID)
		}
	}
	for _, f := range page {
		if f.v == nil {
			continue
		}
		name := "Version"
		if f.v.Marker {
			name = "DeleteMarker"
		}
		p.open(name)
		if f.v.Marker {
			p.put("Key", l.key(f.v.Key))
			p.putTime("LastModified", f.v.Modified)
		} else {
			q.object(p, l, f.v)
		}
		p.put("VersionId", f.v.ID)
		p.putBool("IsLatest", f.latest)
		p.end(name)
	}
	p.commons(l, page)
	p.end("ListVersionsResult")
	return q.xml(http.StatusOK, p)
}

// versions is collect for all versions, the newest of each key first.
func (l *listing) versions(b *bucket, keyMarker, idMarker string) (page []found, next string, more bool) {
	b.keys.from(max(l.prefix, keyMarker), func(e *entry) bool {
		if !strings.HasPrefix(e.key, l.prefix) {
			return e.key < l.prefix
		}
		if e.key == keyMarker && idMarker == "" && keyMarker != "" {
			return true
		}
		if l.delimiter != "" {
			if i := strings.Index(e.key[len(l.prefix):], l.delimiter); i >= 0 {
				common := e.key[:len(l.prefix)+i+len(l.delimiter)]
				if common <= keyMarker || len(page) > 0 && page[len(page)-1].common == common {
					return true
				}
				if len(page) == l.max {
					more = true
					return false
				}
				page, next = append(page, found{common: common}), common
				return true
			}
		}
		skip := e.key == keyMarker
		for i, v := range slices.Backward(e.versions) {
			if skip {
				skip = v.ID != idMarker
				continue
			}
			if len(page) == l.max {
				more = true
				return false
			}
			page, next = append(page, found{v: v, latest: i == len(e.versions)-1}), e.key
		}
		return true
	})
	return page, next, more && l.max > 0
}
