package s3

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/s3"

	"firn/internal/coldtest"
	"firn/internal/store"
)

// bay is a server with one object, which CopyObject moves.
type bay struct {
	mu       sync.Mutex
	class    string
	size     int64
	restore  string
	etag     string
	until    time.Time // of its lock
	ignores  bool      // classes
	refuse   string
	status   int // of what is refused: the operation that refuse names
	requests []string
	headers  []http.Header
	ranges   []string
}

func (b *bay) operation(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodHead:
		return "head"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "create"
	case r.Method == http.MethodPost:
		return "complete"
	case r.Method == http.MethodDelete:
		return "abort"
	case q.Has("partNumber"):
		return "part"
	}
	return "copy"
}

// asked is what was asked so far. Requests that were given up, such as other parts once one is refused, may still arrive.
func (b *bay) asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

func (b *bay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	op := b.operation(r)
	b.requests = append(b.requests, op)
	b.headers = append(b.headers, r.Header.Clone())
	if code, ok := strings.CutPrefix(b.refuse, op+" "); ok {
		sayError(w, b.status, code, "told so")
		return
	}
	switch op {
	case "head":
		w.Header().Set("Content-Length", fmt.Sprint(b.size))
		w.Header().Set("x-amz-storage-class", b.class)
		w.Header().Set("x-amz-meta-mine", "kept")
		if b.etag != "" {
			w.Header().Set("ETag", b.etag)
		}
		if !b.until.IsZero() {
			w.Header().Set("x-amz-object-lock-mode", "GOVERNANCE")
			w.Header().Set("x-amz-object-lock-retain-until-date", b.until.UTC().Format(time.RFC3339))
		}
		if b.restore != "" {
			w.Header().Set("x-amz-restore", b.restore)
		}
		sum := sha256.Sum256(nil)
		w.Header().Set("x-amz-checksum-sha256", *encode(sum))
	case "create":
		b.become(r)
		_, _ = io.WriteString(w, `<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>`)
	case "part":
		b.ranges = append(b.ranges, r.URL.Query().Get("partNumber")+" "+r.Header.Get("x-amz-copy-source-range"))
		_, _ = io.WriteString(w, `<CopyPartResult><ETag>"p"</ETag></CopyPartResult>`)
	case "copy":
		b.become(r)
		_, _ = io.WriteString(w, `<CopyObjectResult><ETag>"n"</ETag></CopyObjectResult>`)
	case "complete":
		_, _ = io.WriteString(w, `<CompleteMultipartUploadResult><ETag>"n"</ETag></CompleteMultipartUploadResult>`)
	}
}

func (b *bay) become(r *http.Request) {
	if !b.ignores {
		b.class = r.Header.Get("x-amz-storage-class")
	}
}

func TestMove(t *testing.T) {
	b := &bay{class: "STANDARD_IA", etag: `"e1"`}
	s := against(t, b.ServeHTTP, func(o *Options) { o.Prefix = "a.b/c" })
	if err := s.Move(t.Context(), "data/x", "DEEP_ARCHIVE"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(b.requests, " "); got != "head copy head" || b.class != "DEEP_ARCHIVE" {
		t.Errorf("%s, in %s", got, b.class)
	}
	for header, want := range map[string]string{"x-amz-copy-source": "bucket/a.b/c/data/x", "x-amz-copy-source-if-match": `"e1"`, "x-amz-storage-class": "DEEP_ARCHIVE",
		"x-amz-metadata-directive": "COPY", "x-amz-checksum-algorithm": "SHA256"} {
		if got := b.headers[1].Get(header); got != want {
			t.Errorf("%s: %q", header, got)
		}
	}
	b.requests = nil
	if err := s.Move(t.Context(), "data/x", "DEEP_ARCHIVE"); err != nil || strings.Join(b.requests, " ") != "head" {
		t.Errorf("where it is already: %v, %q", err, b.requests)
	}
	for _, b.restore = range []string{"", headThawing} {
		if err := s.Move(t.Context(), "data/x", "STANDARD"); !errors.Is(err, store.ErrCold) {
			t.Errorf("%q: %v", b.restore, err)
		}
	}
	b.restore = headThawed
	if err := s.Move(t.Context(), "data/x", ""); err != nil || b.class != "STANDARD" {
		t.Errorf("to no class: %v, in %s", err, b.class)
	}
	if err := s.Move(t.Context(), "a//b", "GLACIER"); !errors.Is(err, store.ErrName) {
		t.Error(err)
	}
	amazon := against(t, b.ServeHTTP, func(o *Options) { o.Class = "ONEZONE_IA"; o.Known = &store.Abilities{Refuses: []string{store.Sums}} })
	amazon.amazon = true
	b.requests, b.headers = nil, nil
	if err := amazon.Move(t.Context(), "x", ""); err != nil || strings.Join(b.requests, " ") != "head copy" || b.class != "ONEZONE_IA" {
		t.Errorf("%v, %q, in %s", err, b.requests, b.class)
	}
	if got := b.headers[1].Get("x-amz-checksum-algorithm"); got != "" {
		t.Errorf("a server that refuses sums is asked for %s", got)
	}
}

func TestMoveErrors(t *testing.T) {
	for _, c := range []struct {
		refuse    string
		status    int
		want      error
		temporary bool
	}{
		{"head ", 404, store.ErrNotExist, false}, {"copy AccessDenied", 403, store.ErrDenied, false}, {"copy ObjectNotInActiveTierError", 403, store.ErrCold, false},
		{"copy InvalidObjectState", 403, store.ErrCold, false}, {"copy PreconditionFailed", 412, errChanged, true}, {"copy SlowDown", 503, nil, true},
		{"copy InvalidStorageClass", 400, nil, false}, {"copy NotImplemented", 501, store.ErrUnsupported, false},
	} {
		b := &bay{class: "STANDARD", etag: `"e"`, refuse: c.refuse, status: c.status}
		err := against(t, b.ServeHTTP, nil).Move(t.Context(), "x", "GLACIER")
		if err == nil || c.want != nil && !errors.Is(err, c.want) || store.IsTemporary(err) != c.temporary || errors.Is(err, store.ErrExist) {
			t.Errorf("%s: %v, temporary %v", c.refuse, err, store.IsTemporary(err))
		}
	}
	b := &bay{class: "STANDARD", etag: `"e"`, ignores: true}
	if err := against(t, b.ServeHTTP, nil).Move(t.Context(), "x", "GLACIER"); !errors.Is(err, store.ErrUnsupported) {
		t.Errorf("a server that ignores classes: %v", err)
	}
	if err := against(t, (&bay{class: "STANDARD"}).ServeHTTP, nil).Move(t.Context(), "x", "GLACIER"); err == nil {
		t.Error("an object without ETag is moved")
	}
	// an error that comes with 200 (Amazon S3 API Reference, CopyObject)
	s := against(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("ETag", `"e"`)
			return
		}
		sayError(w, 200, "InternalError", "told so")
	}, nil)
	if err := s.Move(t.Context(), "x", "GLACIER"); !store.IsTemporary(err) {
		t.Errorf("an error that comes with 200: %v", err)
	}
	// what was copied is something else
	s = against(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("x-amz-checksum-sha256", *encode(sha256.Sum256(nil)))
			return
		}
		fmt.Fprintf(w, `<CopyObjectResult><ETag>"n"</ETag><ChecksumSHA256>%s</ChecksumSHA256></CopyObjectResult>`, *encode(sha256.Sum256([]byte("x"))))
	}, nil)
	if err := s.Move(t.Context(), "x", "GLACIER"); !errors.Is(err, store.ErrChecksum) {
		t.Error(err)
	}
}

// Above 5 GiB an object is moved in parts.
func TestMoveInParts(t *testing.T) {
	b := &bay{class: "STANDARD", etag: `"e"`, size: 5<<30 + 7}
	s := against(t, b.ServeHTTP, nil)
	if err := s.Move(t.Context(), "x", "GLACIER"); err != nil {
		t.Fatal(err)
	}
	slices.Sort(b.ranges)
	want := []string{"1 bytes=0-1073741823", "2 bytes=1073741824-2147483647", "3 bytes=2147483648-3221225471", "4 bytes=3221225472-4294967295",
		"5 bytes=4294967296-5368709119", "6 bytes=5368709120-5368709126"}
	if !slices.Equal(b.ranges, want) || b.class != "GLACIER" {
		t.Errorf("%q, in %s", b.ranges, b.class)
	}
	for i, op := range b.requests {
		h := b.headers[i]
		switch {
		case op == "create" && (h.Get("x-amz-meta-mine") != "kept" || h.Get("x-amz-checksum-algorithm") != "SHA256"),
			op == "part" && h.Get("x-amz-copy-source-if-match") != `"e"`, op == "complete" && h.Get("If-Match") != `"e"`:
			t.Errorf("%s: %v", op, h)
		}
	}
	for _, c := range []struct {
		refuse string
		status int
		want   error
		aborts bool
	}{
		{"create AccessDenied", 403, store.ErrDenied, false}, {"part ObjectNotInActiveTierError", 403, store.ErrCold, true}, {"part PreconditionFailed", 412, errChanged, true},
		{"complete PreconditionFailed", 412, errChanged, true}, {"complete InternalError", 500, nil, false},
	} {
		b := &bay{class: "STANDARD", etag: `"e"`, size: 6 << 30, refuse: c.refuse, status: c.status}
		err := against(t, b.ServeHTTP, nil).Move(t.Context(), "x", "GLACIER")
		if got := b.asked(); err == nil || c.want != nil && !errors.Is(err, c.want) || slices.Contains(got, "abort") != c.aborts {
			t.Errorf("%s: %v, %q", c.refuse, err, got)
		}
	}
}

// A lock that holds goes with the object; one that is over would have the server refuse the copy, for ever.
func TestMoveWithLock(t *testing.T) {
	for _, size := range []int64{10, 6 << 30} {
		for _, left := range []time.Duration{-time.Hour, time.Hour} {
			b := &bay{class: "STANDARD", etag: `"e1"`, size: size, until: time.Now().Add(left).Truncate(time.Second)}
			s := against(t, b.ServeHTTP, nil)
			if err := s.Move(t.Context(), "data/x", "DEEP_ARCHIVE"); err != nil {
				t.Fatal(err)
			}
			mode, until := b.headers[1].Get("x-amz-object-lock-mode"), b.headers[1].Get("x-amz-object-lock-retain-until-date")
			if holds := left > 0; holds != (mode == "GOVERNANCE") || holds != (until != "") {
				t.Errorf("%s of %d bytes with %v left: %q until %q", b.requests[1], size, left, mode, until)
			}
		}
	}
}

// The same against a server that heeds locks.
func TestMoveAfterLock(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{Clock: coldtest.NewVirtual(time.Now().AddDate(0, 0, -40), 0)})
	u := server.User()
	s, err := Open(t.Context(), Options{Bucket: randomBucket(), Prefix: "p", Endpoint: server.Endpoint(), Region: server.Region(),
		Credentials: awscredentials.NewStaticCredentialsProvider(u.Access, u.Secret, u.Token)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.CreateBucket(t.Context(), &api.CreateBucketInput{Bucket: s.bucket(), ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	setLockRule(t, s, store.LockRule{Mode: store.Governance, Days: 30})
	if err := s.Put(t.Context(), "a", strings.NewReader("x"), 1, store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	server.Advance(40 * 24 * time.Hour)
	if err := s.Move(t.Context(), "a", "DEEP_ARCHIVE"); err != nil {
		t.Errorf("it stays where it is for ever: %v", err)
	}
}
