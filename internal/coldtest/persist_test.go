package coldtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/storetest"
)

// A server goes on where another one ended, in the same folder.
func TestPersist(t *testing.T) {
	clock, folder := virtual(), t.TempDir()
	content := storetest.Content(1, 70_000)
	first, err := Listen(Options{Clock: clock, Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	first.CreateBucket("bucket")
	w := &world{first, client(first, first.User()), t, aws.String("bucket")}
	w.put("plain", "", content)
	w.put("thawing", types.StorageClassDeepArchive, content)
	w.put("thawed", types.StorageClassGlacier, content)
	w.answered("thawed", types.TierExpedited, 3, 202, "")
	w.Advance(time.Hour)
	w.answered("thawing", types.TierBulk, 3, 202, "")
	made, err := w.CreateMultipartUpload(t.Context(), &api.CreateMultipartUploadInput{Bucket: w.bucket, Key: aws.String("parts")})
	if err != nil {
		t.Fatal(err)
	}
	part, err := w.UploadPart(t.Context(), &api.UploadPartInput{Bucket: w.bucket, Key: aws.String("parts"), UploadId: made.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(content)})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.rules(types.LifecycleRule{Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("plain")}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(1)}}); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := Start(t, Options{Clock: clock, Folder: folder})
	w = &world{second, client(second, second.User()), t, aws.String("bucket")}
	for _, key := range []string{"plain", "thawed"} {
		if got, err := w.get(key); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
	}
	w.answered("thawing", types.TierBulk, 3, 409, "RestoreAlreadyInProgress")
	_, err = w.CompleteMultipartUpload(t.Context(), &api.CompleteMultipartUploadInput{Bucket: w.bucket, Key: aws.String("parts"), UploadId: made.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag}}}})
	if err != nil {
		t.Error(err)
	}
	w.Advance(49 * time.Hour)
	for _, key := range []string{"parts", "thawing", "thawed"} {
		if got, err := w.get(key); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
	}
	if n := len(w.listed("plain")); n != 0 {
		t.Error("the rule is forgotten")
	}
	w.Advance(10 * 24 * time.Hour)
	_, err = w.get("thawed")
	refused(t, err, "InvalidObjectState")
}

// The index against a sorted list.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var x index
	var want []string
	for i := range 20_000 {
		key := fmt.Sprint(r.IntN(6000))
		at, there := slices.BinarySearch(want, key)
		if there != (x.find(key) != nil) {
			t.Fatalf("step %d: %q found: %v", i, key, !there)
		}
		if there && r.IntN(3) > 0 {
			x.remove(key)
			want = slices.Delete(want, at, at+1)
		} else if !there {
			x.make(key)
			want = slices.Insert(want, at, key)
		}
		if i%500 != 0 {
			continue
		}
		from := fmt.Sprint(r.IntN(7000))
		at, _ = slices.BinarySearch(want, from)
		var got []string
		x.from(from, func(e *entry) bool { got = append(got, e.key); return true })
		if !slices.Equal(got, want[at:]) || x.n != len(want) {
			t.Fatalf("step %d from %q: %d keys, want %d", i, from, len(got), len(want)-at)
		}
	}
	for _, key := range want {
		x.remove(key)
	}
	if x.n != 0 || x.find("1") != nil {
		t.Error("not empty")
	}
}
