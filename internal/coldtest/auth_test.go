package coldtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestAuth(t *testing.T) {
	session := User{Access: "session", Secret: "s", Token: "token", Expires: begin.Add(time.Hour)}
	root := NewUser()
	w := newWorld(t, Options{Clock: virtual(), Users: []User{root, session}})
	ctx := t.Context()
	list := func(u User, change ...func(*api.Options)) error {
		_, err := client(w.Server, u, change...).ListObjectsV2(ctx, &api.ListObjectsV2Input{Bucket: w.bucket})
		return err
	}
	if err := list(session); err != nil {
		t.Error(err)
	}
	refused(t, list(User{Access: "nobody", Secret: "x"}), "InvalidAccessKeyId")
	refused(t, list(User{Access: root.Access, Secret: "x"}), "SignatureDoesNotMatch")
	refused(t, list(User{Access: "session", Secret: "s", Token: "other"}), "InvalidToken")
	refused(t, list(User{Access: "session", Secret: "s"}), "InvalidToken")
	refused(t, list(root, func(o *api.Options) { o.Region = "mars-1" }), "AuthorizationHeaderMalformed")
	refused(t, list(root, func(o *api.Options) { o.Credentials = aws.AnonymousCredentials{} }), "AccessDenied")
	w.Advance(time.Hour)
	refused(t, list(session), "ExpiredToken")
	session.Token, session.Expires = "next", time.Time{}
	w.AddUser(session)
	if err := list(session); err != nil {
		t.Error(err)
	}
	late := Start(t, Options{Skew: 20 * time.Minute})
	_, err := client(late, late.User()).ListBuckets(ctx, &api.ListBucketsInput{})
	refused(t, err, "RequestTimeTooSkewed")
}

// A request that was changed on its way is refused.
func TestTampered(t *testing.T) {
	w := newWorld(t, Options{})
	w.put("a", "", []byte("a"))
	w.put("b", "", []byte("b"))
	signer := api.NewPresignClient(w.Client)
	signed, err := signer.PresignGetObject(t.Context(), &api.GetObjectInput{Bucket: w.bucket, Key: aws.String("a")}, api.WithPresignExpires(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	get := func(url string) string {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, " ", string(body[:min(len(body), 200)]))
	}
	if got := get(signed.URL); got != "200 a" {
		t.Errorf("presigned: %s", got)
	}
	for _, url := range []string{strings.Replace(signed.URL, "/a?", "/b?", 1), strings.Replace(signed.URL, "Expires=60", "Expires=600", 1), signed.URL + "&versionId=x"} {
		if got := get(url); !strings.Contains(got, "SignatureDoesNotMatch") {
			t.Errorf("%s: %s", url, got)
		}
	}
	put, err := signer.PresignPutObject(t.Context(), &api.PutObjectInput{Bucket: w.bucket, Key: aws.String("c")})
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodPut, put.URL, strings.NewReader("sent with a link"))
	for name, values := range put.SignedHeader {
		req.Header[name] = values
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%+v, %v", resp, err)
	}
	resp.Body.Close()
	if got, err := w.get("c"); err != nil || string(got) != "sent with a link" {
		t.Errorf("%q, %v", got, err)
	}
	old := Start(t, Options{Skew: time.Hour})
	u := api.NewPresignClient(client(old, old.User()))
	signed, err = u.PresignGetObject(t.Context(), &api.GetObjectInput{Bucket: w.bucket, Key: aws.String("a")}, api.WithPresignExpires(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if got := get(signed.URL); !strings.Contains(got, "Request has expired") {
		t.Errorf("%s", got)
	}
}

// chunked is an example of Amazon's documentation: 65 KiB of "a" in two chunks, at a certain time, by a certain user.
type chunked struct {
	header  map[string]string
	signed  string
	seed    string
	chunks  []string
	trailer string
}

func (c chunked) send(t *testing.T, change func(body string) string) *httptest.ResponseRecorder {
	t.Helper()
	when := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	s, err := New(Options{Skew: time.Until(when), Users: []User{{Access: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.CreateBucket("examplebucket")
	body := fmt.Sprintf("10000;chunk-signature=%s\r\n%s\r\n400;chunk-signature=%s\r\n%s\r\n0;chunk-signature=%s\r\n%s\r\n",
		c.chunks[0], strings.Repeat("a", 65536), c.chunks[1], strings.Repeat("a", 1024), c.chunks[2], c.trailer)
	r := httptest.NewRequest(http.MethodPut, "/examplebucket/chunkObject.txt", strings.NewReader(change(body)))
	r.Host = "s3.amazonaws.com"
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="+c.signed+",Signature="+c.seed)
	out := httptest.NewRecorder()
	s.ServeHTTP(out, r)
	return out
}

func TestSignedChunks(t *testing.T) {
	for name, c := range map[string]chunked{
		"chunks": {
			header: map[string]string{"x-amz-date": "20130524T000000Z", "x-amz-storage-class": "REDUCED_REDUNDANCY", "x-amz-content-sha256": streamSigned,
				"content-encoding": "aws-chunked", "x-amz-decoded-content-length": "66560", "content-length": "66824"},
			signed: "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
			seed:   "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
			chunks: []string{"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648", "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
				"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"},
		},
		"trailer": {
			header: map[string]string{"x-amz-date": "20130524T000000Z", "x-amz-storage-class": "REDUCED_REDUNDANCY", "x-amz-content-sha256": streamTrailer,
				"content-encoding": "aws-chunked", "x-amz-decoded-content-length": "66560", "x-amz-trailer": "x-amz-checksum-crc32c"},
			signed: "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
			seed:   "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
			chunks: []string{"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2", "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
				"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"},
			trailer: "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n",
		},
	} {
		if got := c.send(t, func(b string) string { return b }); got.Code != 200 {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
		if got := c.send(t, func(b string) string { return strings.Replace(b, "aaa", "aba", 1) }); !strings.Contains(got.Body.String(), "SignatureDoesNotMatch") {
			t.Errorf("%s, changed: %d %s", name, got.Code, got.Body)
		}
		if got := c.send(t, func(b string) string { return b[:70000-4000] }); got.Code == 200 {
			t.Errorf("%s, cut: %d", name, got.Code)
		}
	}
}

func TestTrailers(t *testing.T) {
	w := newWorld(t, Options{})
	put := func(trailer string) string {
		r, _ := http.NewRequest(http.MethodPut, w.Endpoint()+"/bucket/k", strings.NewReader("3\r\nabc\r\n0\r\n"+trailer+"\r\n"))
		r.Header.Set("X-Amz-Content-Sha256", streamUnsigned)
		r.Header.Set("X-Amz-Decoded-Content-Length", "3")
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		u := w.User()
		err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: u.Access, SecretAccessKey: u.Secret}, r, streamUnsigned, "s3", w.Region(), time.Now(),
			func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, " ", string(text))
	}
	for trailer, want := range map[string]string{
		"x-amz-checksum-crc32:NSRBwg==\r\n":  "200 ",
		"x-amz-checksum-crc32: NSRBwg==\r\n": "200 ",
		"x-amz-checksum-crc32:AAAAAA==\r\n":  "XAmzContentChecksumMismatch",
		"x-amz-checksum-sha1:AAAAAA==\r\n":   "MalformedTrailerError",
		"":                                   "MalformedTrailerError",
		"x-amz-checksum-crc32:NSRBwg==\r\nx-amz-checksum-crc32:NSRBwg==\r\n": "MalformedTrailerError",
	} {
		if got := put(trailer); !strings.Contains(got, want) {
			t.Errorf("%q: %s", trailer, got)
		}
	}
}

func TestPolicies(t *testing.T) {
	users := map[string]*Policy{"no-restore": Without("s3:RestoreObject"), "no-delete": Without("s3:DeleteObject*"), "create-only": CreateOnly(), "no-list": Without("s3:ListBucket")}
	w := newWorld(t, Options{})
	ctx := t.Context()
	w.put("cold", types.StorageClassGlacier, []byte("x"))
	as := map[string]*world{}
	for name, p := range users {
		u := User{Access: name, Secret: "s", Policy: p}
		w.AddUser(u)
		as[name] = &world{w.Server, client(w.Server, u), t, w.bucket}
	}
	as["no-restore"].answered("cold", types.TierBulk, 1, 403, "AccessDenied")
	as["no-delete"].answered("cold", types.TierBulk, 1, 202, "")
	_, err := as["no-delete"].DeleteObject(ctx, &api.DeleteObjectInput{Bucket: w.bucket, Key: aws.String("cold")})
	refused(t, err, "AccessDenied")
	many, err := as["no-delete"].DeleteObjects(ctx, &api.DeleteObjectsInput{Bucket: w.bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("cold")}}}})
	if err == nil && (len(many.Errors) != 1 || *many.Errors[0].Code != "AccessDenied") || err != nil && !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("%+v, %v", many, err)
	}
	_, err = as["no-list"].get("nothing")
	refused(t, err, "AccessDenied")
	_, err = as["no-delete"].get("nothing")
	refused(t, err, "NoSuchKey")

	c := as["create-only"]
	put := func(none *string) error {
		_, err := c.PutObject(ctx, &api.PutObjectInput{Bucket: w.bucket, Key: aws.String("new"), Body: strings.NewReader("x"), IfNoneMatch: none})
		return err
	}
	refused(t, put(nil), "AccessDenied")
	if err := put(aws.String("*")); err != nil {
		t.Error(err)
	}
	refused(t, put(aws.String("*")), "PreconditionFailed")
	_, err = c.get("new")
	refused(t, err, "AccessDenied")
	_, err = c.upload("parts", api.CreateMultipartUploadInput{}, nil, []byte("x"))
	refused(t, err, "AccessDenied")
	if _, err := c.upload("parts", api.CreateMultipartUploadInput{}, func(in *api.CompleteMultipartUploadInput) { in.IfNoneMatch = aws.String("*") }, []byte("x")); err != nil {
		t.Error(err)
	}
}

func TestParsePolicy(t *testing.T) {
	p, err := ParsePolicy([]byte(`{"Version": "2012-10-17", "Statement": [
		{"Sid": "put", "Effect": "Allow", "Action": "s3:Put*", "Resource": ["arn:aws:s3:::bucket/x/*"]},
		{"Effect": "Deny", "Action": ["s3:PutObject"], "Resource": "*", "Condition": {"StringNotEquals": {"s3:x-amz-storage-class": ["GLACIER", "DEEP_ARCHIVE"]}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, Options{})
	u := User{Access: "u", Secret: "s", Policy: p}
	w.AddUser(u)
	c := client(w.Server, u)
	for key, want := range map[string]string{"x/a GLACIER": "", "x/a STANDARD_IA": "AccessDenied", "y/a GLACIER": "AccessDenied", "x/b": "AccessDenied"} {
		name, class, _ := strings.Cut(key, " ")
		_, err := c.PutObject(t.Context(), &api.PutObjectInput{Bucket: w.bucket, Key: &name, StorageClass: types.StorageClass(class)})
		if want == "" && err != nil {
			t.Errorf("%s: %v", key, err)
		} else if want != "" {
			refused(t, err, want)
		}
	}
	for _, bad := range []string{"", "{}x", `{"Statement": [{}]}`, `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"DateEquals": {"a": "b"}}}]}`,
		`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:Unknown": "b"}}}]}`, `{"Statements": []}`} {
		if _, err := ParsePolicy([]byte(bad)); err == nil {
			t.Errorf("%s passes", bad)
		}
	}
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{{"*", "", true}, {"a*", "abc", true}, {"a?c", "abc", true}, {"a*c*e", "abcde", true}, {"a*d", "abc", false}, {"", "", true}, {"", "a", false}, {"**", "x", true}, {"*a*b", "xaxb", true}} {
		if like(c.pattern, c.text) != c.want {
			t.Errorf("%q like %q", c.text, c.pattern)
		}
	}
}

// Hostile bodies end in a refusal, not in a crash.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n"))
	f.Add([]byte("0\r\n\r\n"))
	f.Add([]byte("ffffffffffffffff\r\n"))
	f.Add([]byte("5;chunk-signature=00\r\nabcde\r\n0;chunk-signature=00\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		for _, signed := range []bool{false, true} {
			c := &chunkReader{r: bufio.NewReader(bytes.NewReader(sent)), b: &body{trailing: "x-amz-checksum-crc32"}}
			if signed {
				c.b.signed = &signature{key: []byte("key")}
			}
			n, err := io.Copy(io.Discard, c)
			if n > int64(len(sent)) || err == nil && !bytes.Contains(sent, []byte("0")) {
				t.Errorf("%d bytes of %d, %v", n, len(sent), err)
			}
		}
	})
}

// Hostile headers, queries and texts, likewise.
func FuzzParsers(f *testing.F) {
	f.Add("bytes=0-5", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=00", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=5")
	f.Add("PutObject * slow delay=1s", "", "a=%zz&restore")
	f.Add(`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}`, "x", "list-type=2")
	f.Fuzz(func(t *testing.T, text, authorization, query string) {
		if offset, length, part, err := byteRange(text, 100); err == nil && (offset < 0 || length < 0 || offset+length > 100 || part && length == 0) {
			t.Errorf("%q: %d+%d", text, offset, length)
		}
		_, _ = ParseFaults(text)
		_, _ = ParsePolicy([]byte(text))
		_ = like(text, query)
		s, err := New(Options{Prices: rates()})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/bucket/key", strings.NewReader(text))
		r.URL.RawQuery = query
		r.Header.Set("Authorization", authorization)
		out := httptest.NewRecorder()
		s.ServeHTTP(out, r)
		if out.Code < 400 || out.Code >= 500 && out.Code != 501 {
			t.Errorf("%d %s", out.Code, out.Body)
		}
	})
}
