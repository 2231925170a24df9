package coldtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"firn/internal/storetest"
)

// client is Amazon's own client of a server, with its defaults, but that it repeats nothing.
func client(s *Server, u User, change ...func(*api.Options)) *api.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	if s.http.TLS != nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(s.Certificate())
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	o := api.Options{BaseEndpoint: aws.String(s.Endpoint()), Region: s.Region(), UsePathStyle: true, Retryer: aws.NopRetryer{}, HTTPClient: &http.Client{Transport: transport},
		Credentials:                awscredentials.NewStaticCredentialsProvider(u.Access, u.Secret, u.Token),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported, ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
		DisableLogOutputChecksumValidationSkipped: true}
	return api.New(o, change...)
}

// world is a server, a client with all rights, and a bucket.
type world struct {
	*Server
	*api.Client
	t      *testing.T
	bucket *string
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	s := Start(t, o)
	s.CreateBucket("bucket")
	return &world{s, client(s, s.User()), t, aws.String("bucket")}
}

// put puts an object.
func (w *world) put(key string, class types.StorageClass, content []byte) *api.PutObjectOutput {
	w.t.Helper()
	out, err := w.PutObject(w.t.Context(), &api.PutObjectInput{Bucket: w.bucket, Key: &key, Body: bytes.NewReader(content), StorageClass: class})
	if err != nil {
		w.t.Fatalf("put %s: %v", key, err)
	}
	return out
}

// get reads an object.
func (w *world) get(key string) ([]byte, error) {
	out, err := w.GetObject(w.t.Context(), &api.GetObjectInput{Bucket: w.bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

func (w *world) head(key string) *api.HeadObjectOutput {
	w.t.Helper()
	out, err := w.HeadObject(w.t.Context(), &api.HeadObjectInput{Bucket: w.bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		w.t.Fatalf("head %s: %v", key, err)
	}
	return out
}

// restore asks for a copy and returns the status.
func (w *world) restore(key string, tier types.Tier, days int32) (int, error) {
	r := &types.RestoreRequest{Days: &days}
	if tier != "" {
		r.GlacierJobParameters = &types.GlacierJobParameters{Tier: tier}
	}
	out, err := w.RestoreObject(w.t.Context(), &api.RestoreObjectInput{Bucket: w.bucket, Key: &key, RestoreRequest: r})
	return statusOf(out, err), err
}

// statusOf is the HTTP status of an answer.
func statusOf(out *api.RestoreObjectOutput, err error) int {
	var failed *smithyhttp.ResponseError
	if errors.As(err, &failed) {
		return failed.HTTPStatusCode()
	}
	if err != nil {
		return 0
	}
	raw, _ := middleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response)
	return raw.StatusCode
}

// refused fails the test unless err is an answer of the server with that code.
func refused(t *testing.T, err error, code string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		t.Errorf("%v, want %s", err, code)
	}
}

func (w *world) listed(prefix string) map[string]types.Object {
	w.t.Helper()
	out := map[string]types.Object{}
	pages := api.NewListObjectsV2Paginator(w, &api.ListObjectsV2Input{Bucket: w.bucket, Prefix: &prefix,
		OptionalObjectAttributes: []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, o := range page.Contents {
			out[*o.Key] = o
		}
	}
	return out
}

// Objects as Amazon's client sees them, over TLS and not, with each kind of checksum and each way to send it.
func TestClientObjects(t *testing.T) {
	for _, secure := range []bool{false, true} {
		w := newWorld(t, Options{TLS: secure})
		content := storetest.Content(1, 150_000)
		for _, a := range types.ChecksumAlgorithm("").Values() {
			if _, known := findAlgorithm(string(a)); !known {
				continue
			}
			key := "sum/" + string(a)
			_, err := w.PutObject(t.Context(), &api.PutObjectInput{Bucket: w.bucket, Key: &key, Body: bytes.NewReader(content), ChecksumAlgorithm: a})
			if err != nil {
				t.Fatalf("%s: %v", a, err)
			}
			head := w.head(key)
			sums := fmt.Sprint(aws.ToString(head.ChecksumSHA256), aws.ToString(head.ChecksumSHA1), aws.ToString(head.ChecksumCRC32), aws.ToString(head.ChecksumCRC32C), aws.ToString(head.ChecksumCRC64NVME))
			want, _ := findAlgorithm(string(a))
			if sum, _ := sumContent(want, bytes.NewReader(content)); sums != sum || head.ChecksumType != types.ChecksumTypeFullObject {
				t.Errorf("%s: %q, %s, want %q", a, sums, head.ChecksumType, sum)
			}
			if got, err := w.get(key); err != nil || !bytes.Equal(got, content) { // the client compares the sum
				t.Errorf("%s: %d bytes, %v", a, len(got), err)
			}
		}
		// a body of unknown length: aws-chunked with a trailer, which the client does over TLS only
		if secure {
			_, err := w.PutObject(t.Context(), &api.PutObjectInput{Bucket: w.bucket, Key: aws.String("stream"), Body: io.LimitReader(bytes.NewReader(content), 1<<30), ContentLength: aws.Int64(150_000)})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := w.get("stream"); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}
		if w.CountFunc(func(r Request) bool { return r.Operation == "PutObject" && r.Status == 200 && r.In == 150_000 }) < 5 {
			t.Errorf("%+v", w.Requests())
		}
	}
}

func TestClientBadContent(t *testing.T) {
	w := newWorld(t, Options{})
	ctx := t.Context()
	put := func(in *api.PutObjectInput) error {
		in.Bucket, in.Key, in.Body = w.bucket, aws.String("x"), strings.NewReader("content")
		_, err := w.PutObject(ctx, in)
		return err
	}
	refused(t, put(&api.PutObjectInput{ChecksumSHA256: aws.String("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")}), "BadDigest")
	refused(t, put(&api.PutObjectInput{ChecksumCRC32: aws.String("AAAAAA==")}), "BadDigest")
	refused(t, put(&api.PutObjectInput{ChecksumCRC64NVME: aws.String("AAAA")}), "InvalidRequest")
	refused(t, put(&api.PutObjectInput{ContentMD5: aws.String("1B2M2Y8AsgTpgAmY7PhCfg==")}), "BadDigest")
	refused(t, put(&api.PutObjectInput{ContentMD5: aws.String("nonsense")}), "InvalidDigest")
	refused(t, put(&api.PutObjectInput{StorageClass: "LUKEWARM"}), "InvalidStorageClass")
	refused(t, put(&api.PutObjectInput{ServerSideEncryption: types.ServerSideEncryptionAes256}), "NotImplemented")
	if n, _ := w.Objects("bucket", ""); n > 0 {
		t.Errorf("%d objects", n)
	}
	_, err := w.PutObject(ctx, &api.PutObjectInput{Bucket: w.bucket, Key: aws.String(strings.Repeat("k", 1025))})
	refused(t, err, "KeyTooLongError")
	_, err = w.PutObject(ctx, &api.PutObjectInput{Bucket: aws.String("nowhere"), Key: aws.String("k")})
	refused(t, err, "NoSuchBucket")
}

func TestClientConditions(t *testing.T) {
	w := newWorld(t, Options{Faults: "PutObject conflict/* conflict times=1"})
	ctx := t.Context()
	put := func(key, none, match string) error {
		in := &api.PutObjectInput{Bucket: w.bucket, Key: &key, Body: strings.NewReader(none + match)}
		if none != "" {
			in.IfNoneMatch = &none
		}
		if match != "" {
			in.IfMatch = &match
		}
		_, err := w.PutObject(ctx, in)
		return err
	}
	refused(t, put("a", "", `"x"`), "NoSuchKey")
	if err := put("a", "*", ""); err != nil {
		t.Fatal(err)
	}
	refused(t, put("a", "*", ""), "PreconditionFailed")
	refused(t, put("a", "", `"00000000000000000000000000000000"`), "PreconditionFailed")
	refused(t, put("a", `"x"`, ""), "NotImplemented")
	if err := put("a", "", *w.head("a").ETag); err != nil {
		t.Error(err)
	}
	refused(t, put("conflict/a", "*", ""), "ConditionalRequestConflict")
	if err := put("conflict/a", "*", ""); err != nil {
		t.Error(err)
	}
	_, err := w.CopyObject(ctx, &api.CopyObjectInput{Bucket: w.bucket, Key: aws.String("a"), CopySource: aws.String("bucket/conflict/a"), IfNoneMatch: aws.String("*")})
	refused(t, err, "PreconditionFailed")
	_, err = w.GetObject(ctx, &api.GetObjectInput{Bucket: w.bucket, Key: aws.String("a"), IfMatch: aws.String("other")})
	refused(t, err, "PreconditionFailed")
}

func TestClientRanges(t *testing.T) {
	w := newWorld(t, Options{})
	content := storetest.Content(3, 1000)
	w.put("r", "", content)
	w.put("empty", "", nil)
	for spec, want := range map[string][2]int{"bytes=0-9": {0, 10}, "bytes=990-": {990, 1000}, "bytes=-5": {995, 1000}, "bytes=500-5000": {500, 1000}, "bytes=9-0": {0, 1000}, "x": {0, 1000}} {
		out, err := w.GetObject(t.Context(), &api.GetObjectInput{Bucket: w.bucket, Key: aws.String("r"), Range: &spec})
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		if got, _ := io.ReadAll(out.Body); !bytes.Equal(got, content[want[0]:want[1]]) || aws.ToInt64(out.ContentLength) != int64(want[1]-want[0]) {
			t.Errorf("%s: %d bytes", spec, len(got))
		}
		out.Body.Close()
	}
	for _, key := range []string{"r", "empty"} {
		_, err := w.GetObject(t.Context(), &api.GetObjectInput{Bucket: w.bucket, Key: &key, Range: aws.String("bytes=1000-")})
		refused(t, err, "InvalidRange")
	}
}

// A list with all that ListObjectsV2 and ListObjects offer.
func TestClientLists(t *testing.T) {
	w := newWorld(t, Options{})
	keys := []string{"a/1", "a/2", "a/b/3", "b", "c d/ü&<>", "c/5", "d"}
	for _, k := range keys {
		w.put(k, "", []byte(k))
	}
	for _, size := range []int32{1, 2, 3, 1000} {
		var got []string
		pages := api.NewListObjectsV2Paginator(w, &api.ListObjectsV2Input{Bucket: w.bucket, MaxKeys: &size})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Contents) > int(size) || int(*page.KeyCount) != len(page.Contents) {
				t.Errorf("%d on a page of %d", len(page.Contents), size)
			}
			for _, o := range page.Contents {
				got = append(got, *o.Key)
			}
		}
		if strings.Join(got, "|") != strings.Join(keys, "|") {
			t.Errorf("pages of %d: %q", size, got)
		}
		var folders []string
		in := &api.ListObjectsV2Input{Bucket: w.bucket, MaxKeys: &size, Delimiter: aws.String("/")}
		for {
			out, err := w.ListObjectsV2(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range out.CommonPrefixes {
				folders = append(folders, *p.Prefix)
			}
			for _, o := range out.Contents {
				folders = append(folders, *o.Key)
			}
			if !*out.IsTruncated {
				break
			}
			in.ContinuationToken = out.NextContinuationToken
		}
		slices.Sort(folders)
		if got := strings.Join(folders, "|"); got != "a/|b|c d/|c/|d" {
			t.Errorf("folders by %d: %q", size, got)
		}
	}
	out, err := w.ListObjectsV2(t.Context(), &api.ListObjectsV2Input{Bucket: w.bucket, StartAfter: aws.String("b"), Prefix: aws.String("c"), EncodingType: types.EncodingTypeUrl})
	if err != nil || len(out.Contents) != 2 || *out.Contents[0].Key != "c%20d/%C3%BC%26%3C%3E" && *out.Contents[0].Key != keys[4] {
		t.Errorf("%+v, %v", out, err)
	}
	old, err := w.ListObjects(t.Context(), &api.ListObjectsInput{Bucket: w.bucket, Marker: aws.String("a/2"), MaxKeys: aws.Int32(2)})
	if err != nil || len(old.Contents) != 2 || *old.Contents[0].Key != "a/b/3" || !*old.IsTruncated {
		t.Errorf("%+v, %v", old, err)
	}
	_, err = w.ListObjectsV2(t.Context(), &api.ListObjectsV2Input{Bucket: w.bucket, ContinuationToken: aws.String("made up")})
	refused(t, err, "InvalidArgument")
}

func TestClientBuckets(t *testing.T) {
	w := newWorld(t, Options{Region: "eu-west-3"})
	ctx := t.Context()
	create := func(name, region string) error {
		in := &api.CreateBucketInput{Bucket: &name}
		if region != "" {
			in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
		}
		_, err := w.Client.CreateBucket(ctx, in)
		return err
	}
	refused(t, create("other", ""), "IllegalLocationConstraintException")
	refused(t, create("Upper", "eu-west-3"), "InvalidBucketName")
	if err := create("other", "eu-west-3"); err != nil {
		t.Fatal(err)
	}
	refused(t, create("other", "eu-west-3"), "BucketAlreadyOwnedByYou")
	all, err := w.ListBuckets(ctx, &api.ListBucketsInput{})
	if err != nil || len(all.Buckets) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	at, err := w.GetBucketLocation(ctx, &api.GetBucketLocationInput{Bucket: aws.String("other")})
	if err != nil || at.LocationConstraint != "eu-west-3" {
		t.Errorf("%+v, %v", at, err)
	}
	head, err := w.HeadBucket(ctx, &api.HeadBucketInput{Bucket: aws.String("other")})
	if err != nil || aws.ToString(head.BucketRegion) != "eu-west-3" {
		t.Errorf("%+v, %v", head, err)
	}
	w.put("k", "", nil)
	_, err = w.DeleteBucket(ctx, &api.DeleteBucketInput{Bucket: w.bucket})
	refused(t, err, "BucketNotEmpty")
	if _, err := w.DeleteBucket(ctx, &api.DeleteBucketInput{Bucket: aws.String("other")}); err != nil {
		t.Error(err)
	}
	_, err = w.GetBucketAcl(ctx, &api.GetBucketAclInput{Bucket: w.bucket})
	refused(t, err, "NotImplemented")
	del, err := w.DeleteObjects(ctx, &api.DeleteObjectsInput{Bucket: w.bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("k")}, {Key: aws.String("nothing")}}}})
	if err != nil || len(del.Deleted) != 2 || len(del.Errors) != 0 {
		t.Errorf("%+v, %v", del, err)
	}
}

// upload sends parts and completes them.
func (w *world) upload(key string, in api.CreateMultipartUploadInput, change func(*api.CompleteMultipartUploadInput), parts ...[]byte) (*api.CompleteMultipartUploadOutput, error) {
	ctx := context.Background()
	in.Bucket, in.Key = w.bucket, &key
	made, err := w.CreateMultipartUpload(ctx, &in)
	if err != nil {
		return nil, err
	}
	done := &api.CompleteMultipartUploadInput{Bucket: w.bucket, Key: &key, UploadId: made.UploadId, MultipartUpload: &types.CompletedMultipartUpload{}}
	for i, p := range parts {
		out, err := w.UploadPart(ctx, &api.UploadPartInput{Bucket: w.bucket, Key: &key, UploadId: made.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(p), ChecksumAlgorithm: in.ChecksumAlgorithm})
		if err != nil {
			return nil, err
		}
		done.MultipartUpload.Parts = append(done.MultipartUpload.Parts, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: out.ETag, ChecksumSHA256: out.ChecksumSHA256,
			ChecksumSHA1: out.ChecksumSHA1, ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C, ChecksumCRC64NVME: out.ChecksumCRC64NVME})
	}
	if change != nil {
		change(done)
	}
	return w.CompleteMultipartUpload(ctx, done)
}

func TestClientParts(t *testing.T) {
	w := newWorld(t, Options{})
	content := storetest.Content(7, 5<<20+1000)
	first, last := content[:5<<20], content[5<<20:]
	for i, in := range []api.CreateMultipartUploadInput{
		{ChecksumAlgorithm: types.ChecksumAlgorithmSha256}, {ChecksumAlgorithm: types.ChecksumAlgorithmCrc32}, {ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme},
		{ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumType: types.ChecksumTypeFullObject}, {},
	} {
		key := fmt.Sprint("parts/", i)
		size := int64(len(content))
		out, err := w.upload(key, in, func(c *api.CompleteMultipartUploadInput) { c.MpuObjectSize = &size }, first, last)
		if err != nil {
			t.Fatalf("%s: %v", in.ChecksumAlgorithm, err)
		}
		if !strings.HasSuffix(*out.ETag, `-2"`) {
			t.Errorf("%s", *out.ETag)
		}
		head := w.head(key)
		if sum := aws.ToString(head.ChecksumSHA256); i == 0 && (!strings.HasSuffix(sum, "-2") || head.ChecksumType != types.ChecksumTypeComposite) {
			t.Errorf("%q, %s", sum, head.ChecksumType)
		}
		if got, err := w.get(key); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		about, err := w.GetObjectAttributes(t.Context(), &api.GetObjectAttributesInput{Bucket: w.bucket, Key: &key,
			ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesObjectParts, types.ObjectAttributesObjectSize, types.ObjectAttributesChecksum}})
		if err != nil || *about.ObjectSize != size || *about.ObjectParts.TotalPartsCount != 2 || about.Checksum == nil {
			t.Errorf("%+v, %v", about, err)
		}
	}
	wrong := int64(7)
	_, err := w.upload("x", api.CreateMultipartUploadInput{}, func(c *api.CompleteMultipartUploadInput) { c.MpuObjectSize = &wrong }, first)
	refused(t, err, "InvalidRequest")
	_, err = w.upload("x", api.CreateMultipartUploadInput{}, nil, last, first)
	refused(t, err, "EntityTooSmall")
	_, err = w.upload("x", api.CreateMultipartUploadInput{}, func(c *api.CompleteMultipartUploadInput) { c.MultipartUpload.Parts[0].ETag = aws.String("x") }, first)
	refused(t, err, "InvalidPart")
	_, err = w.upload("x", api.CreateMultipartUploadInput{}, func(c *api.CompleteMultipartUploadInput) {
		p := c.MultipartUpload.Parts
		p[0], p[1] = p[1], p[0]
	}, first, last)
	refused(t, err, "InvalidPartOrder")
	_, err = w.upload("x", api.CreateMultipartUploadInput{ChecksumAlgorithm: types.ChecksumAlgorithmSha256}, func(c *api.CompleteMultipartUploadInput) {
		c.MultipartUpload.Parts[0].ChecksumSHA256 = nil
	}, first)
	refused(t, err, "InvalidRequest")
	_, err = w.upload("parts/0", api.CreateMultipartUploadInput{}, func(c *api.CompleteMultipartUploadInput) { c.IfNoneMatch = aws.String("*") }, last)
	refused(t, err, "PreconditionFailed")
	_, err = w.upload("x", api.CreateMultipartUploadInput{}, nil)
	refused(t, err, "MalformedXML")
	refused(t, w.wrongSum(last), "InvalidRequest")

	ups, err := w.ListMultipartUploads(t.Context(), &api.ListMultipartUploadsInput{Bucket: w.bucket, Prefix: aws.String("parts/")})
	if err != nil || len(ups.Uploads) != 1 {
		t.Fatalf("%+v, %v", ups, err)
	}
	u := ups.Uploads[0]
	parts, err := w.ListParts(t.Context(), &api.ListPartsInput{Bucket: w.bucket, Key: u.Key, UploadId: u.UploadId})
	if err != nil || len(parts.Parts) != 1 || *parts.Parts[0].Size != 1000 {
		t.Errorf("%+v, %v", parts, err)
	}
	if _, err := w.AbortMultipartUpload(t.Context(), &api.AbortMultipartUploadInput{Bucket: w.bucket, Key: u.Key, UploadId: u.UploadId}); err != nil {
		t.Error(err)
	}
	_, err = w.ListParts(t.Context(), &api.ListPartsInput{Bucket: w.bucket, Key: u.Key, UploadId: u.UploadId})
	refused(t, err, "NoSuchUpload")
}

// wrongSum sends a part with another kind of sum than its upload has.
func (w *world) wrongSum(content []byte) error {
	made, err := w.CreateMultipartUpload(w.t.Context(), &api.CreateMultipartUploadInput{Bucket: w.bucket, Key: aws.String("y"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		return err
	}
	_, err = w.UploadPart(w.t.Context(), &api.UploadPartInput{Bucket: w.bucket, Key: aws.String("y"), UploadId: made.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(content),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	return err
}

func TestClientCopies(t *testing.T) {
	w := newWorld(t, Options{})
	ctx := t.Context()
	content := storetest.Content(8, 6<<20)
	w.put("a b/ü", "", content)
	source := aws.String("bucket/a%20b/%C3%BC")
	if _, err := w.CopyObject(ctx, &api.CopyObjectInput{Bucket: w.bucket, Key: aws.String("c"), CopySource: source, StorageClass: types.StorageClassDeepArchive}); err != nil {
		t.Fatal(err)
	}
	if h := w.head("c"); h.StorageClass != types.StorageClassDeepArchive || *h.ContentLength != 6<<20 {
		t.Errorf("%+v", h)
	}
	_, err := w.CopyObject(ctx, &api.CopyObjectInput{Bucket: w.bucket, Key: aws.String("d"), CopySource: aws.String("bucket/c")})
	refused(t, err, "InvalidObjectState")
	_, err = w.CopyObject(ctx, &api.CopyObjectInput{Bucket: w.bucket, Key: aws.String("a b/ü"), CopySource: source})
	refused(t, err, "InvalidRequest")
	if _, err = w.CopyObject(ctx, &api.CopyObjectInput{Bucket: w.bucket, Key: aws.String("a b/ü"), CopySource: source, StorageClass: types.StorageClassGlacierIr}); err != nil {
		t.Error(err)
	}
	if got, err := w.get("a b/ü"); err != nil || !bytes.Equal(got, content) || w.head("a b/ü").StorageClass != types.StorageClassGlacierIr {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	_, err = w.CopyObject(ctx, &api.CopyObjectInput{Bucket: w.bucket, Key: aws.String("d"), CopySource: aws.String("bucket/nothing")})
	refused(t, err, "NoSuchKey")

	key := aws.String("put together")
	made, err := w.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: w.bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	var done types.CompletedMultipartUpload
	for i, r := range []string{"bytes=0-5242879", "bytes=5242880-6291455"} {
		out, err := w.UploadPartCopy(ctx, &api.UploadPartCopyInput{Bucket: w.bucket, Key: key, UploadId: made.UploadId, PartNumber: aws.Int32(int32(i + 1)), CopySource: source, CopySourceRange: &r})
		if err != nil {
			t.Fatal(err)
		}
		done.Parts = append(done.Parts, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: out.CopyPartResult.ETag, ChecksumSHA256: out.CopyPartResult.ChecksumSHA256})
	}
	if _, err := w.CompleteMultipartUpload(ctx, &api.CompleteMultipartUploadInput{Bucket: w.bucket, Key: key, UploadId: made.UploadId, MultipartUpload: &done}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.get(*key); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
