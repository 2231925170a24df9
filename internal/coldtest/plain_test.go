package coldtest

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/storetest"
)

// inParts makes an object of three parts.
func (w *world) inParts(key string, content []byte) *api.CompleteMultipartUploadOutput {
	w.t.Helper()
	made, err := w.CreateMultipartUpload(w.t.Context(), &api.CreateMultipartUploadInput{Bucket: w.bucket, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme})
	if err != nil {
		w.t.Fatal(err)
	}
	var parts []types.CompletedPart
	for n, at := int32(1), 0; at < len(content); n, at = n+1, at+minPart {
		out, err := w.UploadPart(w.t.Context(), &api.UploadPartInput{Bucket: w.bucket, Key: &key, UploadId: made.UploadId, PartNumber: &n, Body: bytes.NewReader(content[at:min(len(content), at+minPart)]),
			ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme})
		if err != nil {
			w.t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: &n, ETag: out.ETag, ChecksumCRC64NVME: out.ChecksumCRC64NVME})
	}
	out, err := w.CompleteMultipartUpload(w.t.Context(), &api.CompleteMultipartUploadInput{Bucket: w.bucket, Key: &key, UploadId: made.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// A part of an object is told of, and read, by its number.
func TestPartNumber(t *testing.T) {
	w := newWorld(t, Options{})
	content := storetest.Content(1, 2*minPart+7)
	w.inParts("k", content)
	w.put("one", "", []byte("whole"))
	for _, c := range []struct {
		key         string
		n           int32
		from, size  int64
		spans       string
		count, code string
	}{
		{"k", 1, 0, minPart, "bytes 0-5242879/10485767", "3", ""}, {"k", 3, 2 * minPart, 7, "bytes 10485760-10485766/10485767", "3", ""}, {"k", 4, 0, 0, "", "", "InvalidPartNumber"},
		{"one", 1, 0, 5, "bytes 0-4/5", "", ""}, {"one", 2, 0, 0, "", "", "InvalidPartNumber"},
	} {
		out, err := w.GetObject(t.Context(), &api.GetObjectInput{Bucket: w.bucket, Key: &c.key, PartNumber: &c.n})
		if c.code != "" {
			refused(t, err, c.code)
			continue
		}
		head, bad := w.HeadObject(t.Context(), &api.HeadObjectInput{Bucket: w.bucket, Key: &c.key, PartNumber: &c.n})
		if err != nil || bad != nil {
			t.Fatal(err, bad)
		}
		var got bytes.Buffer
		_, err = got.ReadFrom(out.Body)
		out.Body.Close()
		whole := content
		if c.key == "one" {
			whole = []byte("whole")
		}
		count := ""
		if head.PartsCount != nil {
			count = string('0' + rune(*head.PartsCount))
		}
		if err != nil || !bytes.Equal(got.Bytes(), whole[c.from:c.from+c.size]) || *head.ContentLength != c.size || aws.ToString(head.ContentRange) != c.spans || *out.ContentRange != c.spans || count != c.count {
			t.Errorf("%s, %d: %d bytes, %q, %s parts, %v", c.key, c.n, got.Len(), aws.ToString(head.ContentRange), count, err)
		}
	}
}

// What KMS encrypts has ETags that tell nothing.
func TestKMS(t *testing.T) {
	w := newWorld(t, Options{KMS: true})
	content := storetest.Content(1, minPart+7)
	sum := md5.Sum(content)
	first, second := w.put("k", "", content), w.put("k", "", content)
	if strings.Contains(*first.ETag, hex.EncodeToString(sum[:])) || *first.ETag == *second.ETag || first.ServerSideEncryption != types.ServerSideEncryptionAwsKms {
		t.Errorf("%s, %s, %s", *first.ETag, *second.ETag, first.ServerSideEncryption)
	}
	if head := w.head("k"); *head.ETag != *second.ETag || head.ServerSideEncryption != types.ServerSideEncryptionAwsKms || *head.SSEKMSKeyId == "" {
		t.Errorf("%+v", head)
	}
	if a, b := w.inParts("k", content), w.inParts("k", content); *a.ETag == *b.ETag || !strings.HasSuffix(*a.ETag, `-2"`) || *a.ChecksumCRC64NVME != *b.ChecksumCRC64NVME {
		t.Errorf("%s, %s", *a.ETag, *b.ETag)
	}
	out, err := w.CopyObject(t.Context(), &api.CopyObjectInput{Bucket: w.bucket, Key: aws.String("copy"), CopySource: aws.String("bucket/k")})
	if err != nil || strings.Contains(*out.CopyObjectResult.ETag, hex.EncodeToString(sum[:])) {
		t.Errorf("%+v, %v", out, err)
	}
	if got, err := w.get("copy"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestPlainFaults(t *testing.T) {
	w := newWorld(t, Options{Faults: "ListObjectsV2 * moved times=1\nDeleteObjects * partly times=1\nPutObject bad flip-in times=1"})
	for _, key := range []string{"a", "b"} {
		w.put(key, "", nil)
	}
	_, err := w.ListObjectsV2(t.Context(), &api.ListObjectsV2Input{Bucket: w.bucket})
	refused(t, err, "PermanentRedirect")
	out, err := w.DeleteObjects(t.Context(), &api.DeleteObjectsInput{Bucket: w.bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("a")}, {Key: aws.String("b")}}}})
	if err != nil || len(out.Errors) != 1 || *out.Errors[0].Key != "a" || *out.Errors[0].Code != "InternalError" || len(w.listed("")) != 1 {
		t.Errorf("%+v, %v, %v", out, err, w.listed(""))
	}
	_, err = w.PutObject(t.Context(), &api.PutObjectInput{Bucket: w.bucket, Key: aws.String("bad"), Body: strings.NewReader("content")})
	refused(t, err, "XAmzContentSHA256Mismatch")
}
