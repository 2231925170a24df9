package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"firn/internal/store"
	"firn/internal/storetest"
	"firn/internal/storetest/versitygw"
)

const testSecret = "verysecretkeythatmustnotbetold"

// against returns a store that talks to handler.
func against(t *testing.T, handler http.HandlerFunc, change func(*Options)) *Store {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	o := Options{Bucket: "bucket", Endpoint: server.URL, Region: "us-east-1", Idle: 5 * time.Minute,
		Credentials: awscredentials.NewStaticCredentialsProvider("AKIATEST", testSecret, "")}
	if change != nil {
		change(&o)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func refuse(status int, code string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		if r.Method != http.MethodHead && code != "" {
			fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>told so</Message><RequestId>r1</RequestId></Error>`, code)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		status    int
		code      string
		want      error
		temporary bool
	}{
		{404, "NoSuchKey", store.ErrNotExist, false}, {404, "NoSuchBucket", store.ErrNoStore, false}, {404, "", store.ErrNotExist, false},
		{403, "AccessDenied", store.ErrDenied, false}, {403, "", store.ErrDenied, false}, {403, "InvalidAccessKeyId", store.ErrAuth, false},
		{403, "SignatureDoesNotMatch", store.ErrAuth, false}, {400, "ExpiredToken", store.ErrAuth, false},
		{403, "RequestTimeTooSkewed", store.ErrClock, false}, {403, "InvalidObjectState", store.ErrCold, false},
		{412, "PreconditionFailed", store.ErrExist, false}, {409, "ConditionalRequestConflict", nil, true}, {503, "SlowDown", nil, true},
		{500, "InternalError", nil, true}, {500, "", nil, true}, {502, "Whatever", nil, true}, {429, "", nil, true}, {501, "NotImplemented", store.ErrUnsupported, false},
		{405, "MethodNotAllowed", store.ErrUnsupported, false}, {405, "", store.ErrUnsupported, false},
		{400, "BadDigest", store.ErrChecksum, false}, {400, "XAmzContentChecksumMismatch", store.ErrChecksum, false},
		{507, "", store.ErrFull, false}, {400, "InvalidStorageClass", nil, false}, {400, "RequestTimeout", nil, true},
	} {
		s := against(t, refuse(c.status, c.code), nil)
		for op, call := range map[string]func() error{
			"get":  func() error { _, err := s.Get(t.Context(), "a", 0, -1); return err },
			"put":  func() error { return s.Put(t.Context(), "a", strings.NewReader("x"), 1, store.PutOptions{}) },
			"list": func() error { _, err := storetest.Names(t.Context(), s, "", ""); return err },
		} {
			err := call()
			if err == nil || c.want != nil && !errors.Is(err, c.want) || store.IsTemporary(err) != c.temporary {
				t.Errorf("%s, %d %s: %v, temporary %v", op, c.status, c.code, err, store.IsTemporary(err))
			}
			if err != nil && (strings.Contains(err.Error(), testSecret) || strings.Contains(err.Error(), "Signature=")) {
				t.Errorf("error tells a secret: %v", err)
			}
			if throttled := c.code == "SlowDown" || c.status == 429; store.IsThrottled(err) != throttled {
				t.Errorf("%s, %d %s: throttled %v", op, c.status, c.code, !throttled)
			}
			for _, other := range []error{store.ErrNotExist, store.ErrExist, store.ErrDenied, store.ErrAuth, store.ErrClock, store.ErrCold} {
				if other != c.want && errors.Is(err, other) {
					t.Errorf("%s, %d %s is %v too", op, c.status, c.code, other)
				}
			}
		}
	}
}

func TestRegion(t *testing.T) {
	for _, h := range []http.HandlerFunc{
		refuse(301, "PermanentRedirect", "x-amz-bucket-region", "eu-central-1"),
		refuse(400, "AuthorizationHeaderMalformed", "x-amz-bucket-region", "eu-central-1"),
		refuse(400, "", "x-amz-bucket-region", "eu-central-1"),
	} {
		s := against(t, h, nil)
		_, err := s.Get(t.Context(), "a", 0, -1)
		var e *Error
		if !errors.Is(err, ErrRegion) || !errors.As(err, &e) || e.Region != "eu-central-1" || !strings.Contains(err.Error(), "eu-central-1") {
			t.Errorf("get: %v", err)
		}
		if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, ErrRegion) {
			t.Errorf("stat: %v", err)
		}
	}
}

func TestNoCredentials(t *testing.T) {
	s := against(t, refuse(500, ""), func(o *Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("none found")
		})
	})
	if _, err := s.Get(t.Context(), "a", 0, -1); !errors.Is(err, store.ErrAuth) || store.IsTemporary(err) {
		t.Errorf("%v", err)
	}
}

// A server that hangs at any point makes every call end in bounded time.
func TestHang(t *testing.T) {
	const idle = 250 * time.Millisecond
	hang := func(_ http.ResponseWriter, _ *http.Request, release chan struct{}) { <-release }
	half := func(w http.ResponseWriter, _ *http.Request, release chan struct{}) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(make([]byte, 500))
		w.(http.Flusher).Flush()
		<-release
	}
	big := make([]byte, 32<<20)
	for name, c := range map[string]struct {
		handler func(http.ResponseWriter, *http.Request, chan struct{})
		call    func(s *Store) error
	}{
		"no answer":   {hang, func(s *Store) error { _, err := s.Stat(t.Context(), "a"); return err }},
		"half a body": {half, func(s *Store) error { _, err := storetest.Get(t.Context(), s, "a", 0, -1); return err }},
		"upload": {hang, func(s *Store) error {
			return s.Put(t.Context(), "a", bytes.NewReader(big), int64(len(big)), store.PutOptions{Sum: sha256.Sum256(big)})
		}},
	} {
		release := make(chan struct{}) // the server does not end before its handlers
		s := against(t, func(w http.ResponseWriter, r *http.Request) { c.handler(w, r, release) }, func(o *Options) { o.Idle = idle })
		err := c.call(s) // ends, or the test does not
		close(release)
		if !errors.Is(err, store.ErrTimeout) || !store.IsTemporary(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is slow but moves is no timeout, however long it takes; what stands still is.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle, n = 600 * time.Millisecond, 1000
		server, client := net.Pipe()
		defer server.Close()
		defer client.Close()
		c := &idleConn{Conn: client, idle: idle, first: idle, answered: new(atomic.Bool)}
		go func() {
			_, _ = server.Read(make([]byte, 1))
			for range n {
				time.Sleep(500 * time.Millisecond)
				_, _ = server.Write([]byte{'x'})
			}
		}()
		if _, err := c.Write([]byte{'x'}); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadFull(c, make([]byte, n)); err != nil {
			t.Errorf("%d bytes, %v", got, err)
		}
		begin := time.Now()
		_, err := c.Read(make([]byte, 1))
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took > idle || took < idle-idle/8 {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := against(t, refuse(500, ""), func(o *Options) { o.Endpoint = "http://" + l.Addr().String() })
	if _, err := s.Stat(t.Context(), "a"); !store.IsTemporary(err) {
		t.Errorf("connection refused: %v", err)
	}
	cut := against(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(make([]byte, 500))
	}, nil)
	if got, err := storetest.Get(t.Context(), cut, "a", 0, -1); !store.IsTemporary(err) || len(got) != 500 {
		t.Errorf("a body that was cut: %d bytes, %v", len(got), err)
	}
}

func TestCertificate(t *testing.T) {
	server := httptest.NewTLSServer(refuse(500, ""))
	defer server.Close()
	server.Config.ErrorLog = nil
	s := against(t, refuse(500, ""), func(o *Options) { o.Endpoint = server.URL })
	if _, err := s.Stat(t.Context(), "a"); err == nil || store.IsTemporary(err) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
}

// The request that creates an object has the condition, the sum and the class, and its payload is not hashed again.
func TestPutHeaders(t *testing.T) {
	var got http.Header
	var path string
	s := against(t, func(w http.ResponseWriter, r *http.Request) {
		got, path = r.Header.Clone(), r.URL.Path
		_, _ = io.Copy(io.Discard, r.Body)
	}, func(o *Options) { o.Class, o.Prefix = "DEEP_ARCHIVE", "a/b" })
	if err := s.Put(t.Context(), "c", strings.NewReader("abc"), 3, store.PutOptions{Sum: sha256.Sum256([]byte("abc"))}); err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"If-None-Match": "*", "X-Amz-Checksum-Sha256": "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", "X-Amz-Storage-Class": "DEEP_ARCHIVE",
		"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD", "Content-Length": "3", "X-Amz-Trailer": "", "X-Amz-Checksum-Crc32": "",
	} {
		if header == "Content-Length" {
			continue // net/http takes it out of the headers
		}
		if got.Get(header) != want {
			t.Errorf("%s: %q", header, got.Get(header))
		}
	}
	if signed := got.Get("Authorization"); !strings.Contains(signed, "x-amz-checksum-sha256") || !strings.Contains(signed, "if-none-match") {
		t.Errorf("not signed: %q", signed)
	}
	if path != "/bucket/a/b/c" {
		t.Errorf("path %q", path)
	}
}

// A server that does not do what it was asked is noticed.
func TestStrangeServers(t *testing.T) {
	whole := against(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("0123456789")) }, nil)
	if got, err := storetest.Get(t.Context(), whole, "a", 5, 2); err == nil {
		t.Errorf("a server that ignores ranges: %q", got)
	}
	if got, err := storetest.Get(t.Context(), whole, "a", 0, 4); err != nil || string(got) != "0123" {
		t.Errorf("%q, %v", got, err)
	}
	page := func(keys ...string) string {
		var b strings.Builder
		for _, k := range keys {
			fmt.Fprintf(&b, "<Contents><Key>%s</Key><Size>1</Size></Contents>", k)
		}
		return `<?xml version="1.0"?><ListBucketResult>` + b.String() + `</ListBucketResult>`
	}
	disorder := against(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, page("b", "a")) }, nil)
	if names, err := storetest.Names(t.Context(), disorder, "", ""); err == nil {
		t.Errorf("a listing out of order: %q", names)
	}
	foreign := against(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, page("a b", "p/", "p//x", "p/ok", "q"))
	},
		func(o *Options) { o.Prefix = "p" })
	if names, err := storetest.Names(t.Context(), foreign, "", ""); err != nil || fmt.Sprint(names) != "[ok]" {
		t.Errorf("%q, %v", names, err)
	}
	cut := against(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Replace(page("a"), "<Contents>", "<IsTruncated>true</IsTruncated><Contents>", 1))
	}, nil)
	if _, err := storetest.Names(t.Context(), cut, "", ""); err == nil {
		t.Error("a listing that is cut without a token")
	}
}

// What is no listing is none of nothing, neither as the first page nor as a later one.
func TestNoListing(t *testing.T) {
	first := `<?xml version="1.0"?><ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>`
	for _, text := range []string{"", " ", `<?xml version="1.0"?>`, "<html><body>Please log in</body></html>", "<!DOCTYPE html><html></html>", `<?xml version="1.0"?><Error><Code>InternalError</Code></Error>`} {
		for _, before := range []string{"", first} {
			s := against(t, func(w http.ResponseWriter, r *http.Request) {
				if before != "" && r.URL.Query().Get("continuation-token") == "" {
					_, _ = io.WriteString(w, before)
					return
				}
				_, _ = io.WriteString(w, text)
			}, nil)
			if names, err := storetest.Names(t.Context(), s, "", ""); err == nil || !store.IsTemporary(err) {
				t.Errorf("%q: %q, %v", text, names, err)
			}
		}
	}
	for _, text := range []string{"<ListBucketResult/>", `<?xml version="1.0"?>` + "\n<!-- x -->\n" + `<s3:ListBucketResult xmlns:s3="x"></s3:ListBucketResult>`} {
		s := against(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, text) }, nil)
		if names, err := storetest.Names(t.Context(), s, "", ""); err != nil || len(names) > 0 {
			t.Errorf("%q: %q, %v", text, names, err)
		}
	}
}

// A right that is missing is named by the probe.
func TestProbeRights(t *testing.T) {
	for _, missing := range []string{"put", "get", "list", "delete"} {
		var mu sync.Mutex
		objects := map[string]bool{}
		s := against(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			kind := map[string]string{"PUT": "put", "GET": "get", "HEAD": "get", "DELETE": "delete"}[r.Method]
			if r.URL.Query().Has("list-type") {
				kind = "list"
			}
			mu.Lock()
			defer mu.Unlock()
			there := objects[r.URL.Path]
			switch {
			case kind == missing:
				refuse(403, "AccessDenied")(w, r)
			case kind == "list":
				_, _ = io.WriteString(w, `<?xml version="1.0"?><ListBucketResult></ListBucketResult>`)
			case kind == "put" && there && r.Header.Get("If-None-Match") == "*":
				refuse(412, "PreconditionFailed")(w, r)
			case kind == "put":
				objects[r.URL.Path] = true
			case kind == "get" && !there:
				refuse(404, "NoSuchKey")(w, r)
			}
		}, nil)
		got, err := store.Probe(t.Context(), s, "")
		if err != nil || len(got.Missing) != 1 || got.Missing[0] != missing || got.CreateOnly != (missing != "put") || got.VerifiesSum {
			t.Errorf("without %s: %+v, %v", missing, got, err)
		}
		if (missing == "delete") != (len(got.LeftOver) > 0) {
			t.Errorf("without %s: left %q", missing, got.LeftOver)
		}
	}
}

func TestTrace(t *testing.T) {
	server := versitygw.Start(t)
	var mu sync.Mutex
	var seen []Request
	s := open(t, server, func(o *Options) {
		o.Trace = func(r Request) { mu.Lock(); defer mu.Unlock(); seen = append(seen, r) }
	})
	content := storetest.Content(1, 1000)
	storetest.Put(t, s, "a", content)
	if _, err := storetest.Get(t.Context(), s, "a", 100, 50); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(t.Context(), "b"); !errors.Is(err, store.ErrNotExist) {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	var lines []string
	for _, r := range seen {
		lines = append(lines, fmt.Sprintf("%s %s %d %d", r.Operation, r.Method, r.Status, r.Sent))
		if strings.Contains(fmt.Sprintf("%+v", r), server.Secret) || strings.Contains(fmt.Sprintf("%+v", r), "ignature") {
			t.Errorf("a secret in %+v", r)
		}
		if r.Operation == "GetObject" && (r.Received != 50 || !strings.HasSuffix(r.Path, "/some/prefix/a")) {
			t.Errorf("%+v", r)
		}
	}
	want := "HeadBucket HEAD 404 0, CreateBucket PUT 200 0, HeadBucket HEAD 200 0, PutObject PUT 200 1000, GetObject GET 206 0, HeadObject HEAD 404 0"
	if got := strings.Join(lines, ", "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if n := s.Requests()["PutObject"]; n != 1 {
		t.Errorf("%d PutObject", n)
	}
}

func TestParts(t *testing.T) {
	server := versitygw.Start(t)
	storetest.Suite{Open: func(t *testing.T) store.Store {
		return open(t, server, func(o *Options) { o.PartsAbove, o.PartSize = 1, minPart })
	}, Objects: 3, Big: 12 << 20}.Run(t)

	s := open(t, server, func(o *Options) { o.PartsAbove, o.PartSize = 6<<20, minPart })
	content := storetest.Content(1, 11<<20)
	storetest.Put(t, s, "big", content)
	if got, err := storetest.Get(t.Context(), s, "big", 5<<20-3, 10); err != nil || !bytes.Equal(got, content[5<<20-3:][:10]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := s.Requests(); n["UploadPart"] != 3 || n["PutObject"] != 0 || n["AbortMultipartUpload"] != 0 {
		t.Errorf("%v", n)
	}
	err := s.Put(t.Context(), "big", bytes.NewReader(content), int64(len(content)), store.PutOptions{})
	if !errors.Is(err, store.ErrExist) || s.Requests()["AbortMultipartUpload"] != 1 {
		t.Errorf("again: %v, %v", err, s.Requests())
	}
}

func TestServerErrors(t *testing.T) {
	server := versitygw.Start(t)
	o := serverOptions(server, randomBucket(), "")
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := storetest.Names(t.Context(), s, "", ""); !errors.Is(err, store.ErrNoStore) {
		t.Errorf("list without a bucket: %v", err)
	}
	if err := s.Put(t.Context(), "a", strings.NewReader("x"), 1, store.PutOptions{}); !errors.Is(err, store.ErrNoStore) {
		t.Errorf("put without a bucket: %v", err)
	}
	for key, secret := range map[string]string{"nobody": server.Secret, server.Access: "wrong"} {
		o.Credentials = awscredentials.NewStaticCredentialsProvider(key, secret, "")
		bad, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer bad.Close()
		if _, err := storetest.Names(t.Context(), bad, "", ""); !errors.Is(err, store.ErrAuth) {
			t.Errorf("wrong credentials: %v", err)
		}
	}
}

// Environment, endpoint and profile are read as the SDK does.
func TestEnvironment(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1/")
	t.Setenv("AWS_REGION", "eu-north-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "y")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	s, err := Open(t.Context(), Options{Bucket: "bucket"})
	if err != nil {
		t.Fatal(err)
	}
	if o := s.client.Options(); o.Region != "eu-north-1" || !o.UsePathStyle || s.Endpoint() != "http://127.0.0.1:1/" {
		t.Errorf("%q, %v, %q", o.Region, o.UsePathStyle, s.Endpoint())
	}
	if _, err := Open(t.Context(), Options{Bucket: "bucket", Profile: "nosuch"}); !errors.Is(err, store.ErrAuth) {
		t.Errorf("a profile that is not there: %v", err)
	}
	for _, o := range []Options{{}, {Bucket: "a/b"}, {Bucket: "abc", Prefix: "/x"}, {Bucket: "abc", Endpoint: "ftp://x"}, {Bucket: "abc", PartSize: 7}} {
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("%+v passes", o)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	content := storetest.Content(1, 64<<20)
	sum := sha256.Sum256(content)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	s, err := Open(b.Context(), Options{Bucket: "bucket", Endpoint: server.URL,
		Credentials: awscredentials.NewStaticCredentialsProvider("x", "y", "")})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Put(b.Context(), "a", bytes.NewReader(content), int64(len(content)), store.PutOptions{Sum: sum}); err != nil {
			b.Fatal(err)
		}
	}
}
