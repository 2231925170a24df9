package coldtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/storetest"
)

var begin = time.Date(2026, 3, 10, 10, 30, 0, 0, time.UTC)

func virtual() *Virtual { return NewVirtual(begin, 0) }

// answered fails the test unless a restore was answered so.
func (w *world) answered(key string, tier types.Tier, days int32, status int, code string) {
	w.t.Helper()
	got, err := w.restore(key, tier, days)
	if got != status {
		w.t.Errorf("restore %s (%s, %d days): %d, %v, want %d", key, tier, days, got, err, status)
	}
	if code != "" {
		refused(w.t, err, code)
	}
}

func TestRestore(t *testing.T) {
	w := newWorld(t, Options{Clock: virtual(), Seed: 3})
	content := storetest.Content(1, 10_000)
	w.put("deep", types.StorageClassDeepArchive, content)
	w.put("flexible", types.StorageClassGlacier, content)
	w.put("plain", "", content)
	w.put("instant", types.StorageClassGlacierIr, content)

	w.answered("nothing", "", 1, 404, "NoSuchKey")
	w.answered("plain", types.TierBulk, 1, 403, "InvalidObjectState")
	w.answered("instant", types.TierBulk, 1, 403, "InvalidObjectState")
	w.answered("deep", types.TierExpedited, 1, 400, "InvalidArgument")
	w.answered("deep", types.TierBulk, 0, 400, "InvalidArgument")
	w.answered("deep", "Warp", 1, 400, "MalformedXML")
	_, err := w.RestoreObject(t.Context(), &api.RestoreObjectInput{Bucket: w.bucket, Key: aws.String("deep"), RestoreRequest: &types.RestoreRequest{}})
	refused(t, err, "MalformedXML")
	_, err = w.get("deep")
	var state *types.InvalidObjectState
	if refused(t, err, "InvalidObjectState"); !errors.As(err, &state) || state.StorageClass != types.StorageClassDeepArchive {
		t.Errorf("%+v", state)
	}

	w.answered("deep", types.TierBulk, 3, 202, "")
	w.answered("deep", types.TierBulk, 3, 409, "RestoreAlreadyInProgress")
	if h := w.head("deep"); aws.ToString(h.Restore) != `ongoing-request="true"` || h.StorageClass != types.StorageClassDeepArchive {
		t.Errorf("%q", aws.ToString(h.Restore))
	}
	if s := w.listed("")["deep"].RestoreStatus; s == nil || !*s.IsRestoreInProgress || s.RestoreExpiryDate != nil {
		t.Errorf("%+v", s)
	}
	w.answered("deep", types.TierStandard, 3, 202, "") // faster
	w.answered("deep", types.TierStandard, 3, 409, "RestoreAlreadyInProgress")
	w.answered("deep", types.TierBulk, 3, 409, "RestoreAlreadyInProgress")
	w.Advance(9*time.Hour - time.Second)
	if h := w.head("deep"); aws.ToString(h.Restore) != `ongoing-request="true"` {
		t.Errorf("too early: %q", aws.ToString(h.Restore))
	}
	w.Advance(3*time.Hour + time.Second)
	// it was there between 19:30 and 22:30 of the 10th, and stays until the midnight after the same time of the 13th
	if h := w.head("deep"); aws.ToString(h.Restore) != `ongoing-request="false", expiry-date="Sat, 14 Mar 2026 00:00:00 GMT"` {
		t.Errorf("%q", aws.ToString(h.Restore))
	}
	if s := w.listed("")["deep"].RestoreStatus; s == nil || *s.IsRestoreInProgress || !s.RestoreExpiryDate.Equal(time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", s)
	}
	if s := w.listed("")["plain"].RestoreStatus; s != nil {
		t.Errorf("%+v", s)
	}
	if got, err := w.get("deep"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	w.answered("deep", types.TierStandard, 10, 200, "")
	w.answered("deep", types.TierStandard, 1, 200, "") // Amazon also shortens
	if h := w.head("deep"); !strings.Contains(aws.ToString(h.Restore), "Thu, 12 Mar 2026 00:00:00 GMT") {
		t.Errorf("%q", aws.ToString(h.Restore))
	}
	w.Advance(48 * time.Hour)
	if h := w.head("deep"); h.Restore != nil {
		t.Errorf("%q", *h.Restore)
	}
	_, err = w.get("deep")
	refused(t, err, "InvalidObjectState")
	if w.fast != 0 {
		t.Errorf("%d expedited", w.fast)
	}
}

func TestRestoreTimes(t *testing.T) {
	w := newWorld(t, Options{Clock: virtual()})
	for class, tiers := range spans {
		for tier, took := range tiers {
			for i := range 5 {
				key := fmt.Sprint(class, "/", tier, "/", i)
				w.put(key, types.StorageClass(class), []byte("x"))
				w.answered(key, types.Tier(tier), 1, 202, "")
				b := w.buckets["bucket"]
				if d := b.find(key).restore.ready.Sub(w.now()); d < took.least || d > took.most {
					t.Errorf("%s takes %v", key, d)
				}
			}
		}
	}
}

func TestRestoreCapacity(t *testing.T) {
	w := newWorld(t, Options{Clock: virtual(), Expedited: 2, Faults: "RestoreObject unlucky capacity"})
	for _, k := range []string{"a", "b", "c", "unlucky"} {
		w.put(k, types.StorageClassGlacier, []byte(k))
	}
	w.answered("unlucky", types.TierExpedited, 1, 503, "GlacierExpeditedRetrievalNotAvailable")
	w.answered("unlucky", types.TierBulk, 1, 202, "")
	w.answered("a", types.TierExpedited, 1, 202, "")
	w.answered("b", types.TierStandard, 1, 202, "")
	w.answered("b", types.TierExpedited, 1, 202, "")
	w.answered("c", types.TierExpedited, 1, 503, "GlacierExpeditedRetrievalNotAvailable")
	w.Advance(5 * time.Minute)
	w.answered("c", types.TierExpedited, 1, 202, "")
	w.Advance(5 * time.Minute)
	if w.fast != 0 {
		t.Errorf("%d expedited", w.fast)
	}
	for _, k := range []string{"a", "b", "c"} {
		if _, err := w.get(k); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
}

// What providers answer that are not Amazon.
func TestProviders(t *testing.T) {
	for name, p := range map[string]Provider{"ovh": NoTiers, "scaleway": Scaleway} {
		w := newWorld(t, Options{Provider: p})
		w.put("a", types.StorageClassGlacier, []byte("x"))
		w.answered("a", types.TierStandard, 1, 400, map[string]string{"ovh": "MalformedXML", "scaleway": "InvalidArgument"}[name])
		w.answered("a", "", 1, 202, "")
		w.answered("a", "", 1, 409, "RestoreAlreadyInProgress")
	}
	w := newWorld(t, Options{Provider: Ceph})
	w.put("a", types.StorageClassGlacier, []byte("x"))
	w.answered("a", types.TierBulk, 1, 200, "")
	if s := w.listed("")["a"]; s.RestoreStatus != nil || aws.ToString(w.head("a").Restore) != `ongoing-request="true"` {
		t.Errorf("%+v", s)
	}
	w = newWorld(t, Options{Provider: Versity})
	w.put("a", types.StorageClassGlacier, []byte("x"))
	if h := w.head("a"); h.StorageClass != "" {
		t.Errorf("%s", h.StorageClass)
	}
	w.answered("a", types.TierBulk, 1, 501, "NotImplemented")
	w = newWorld(t, Options{Provider: Provider{Checksums: ChecksumsRefused}})
	_, err := w.PutObject(t.Context(), &api.PutObjectInput{Bucket: w.bucket, Key: aws.String("a"), Body: strings.NewReader("x")})
	refused(t, err, "NotImplemented")
	w = newWorld(t, Options{Provider: Provider{Checksums: ChecksumsInvalid}})
	_, err = w.CreateMultipartUpload(t.Context(), &api.CreateMultipartUploadInput{Bucket: w.bucket, Key: aws.String("a"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	refused(t, err, "InvalidArgument")
	w = newWorld(t, Options{Provider: Provider{Checksums: ChecksumsIgnored, MaxParts: 1000}})
	_, err = w.PutObject(t.Context(), &api.PutObjectInput{Bucket: w.bucket, Key: aws.String("a"), Body: strings.NewReader("x"), ChecksumCRC32: aws.String("AAAAAA==")})
	if err != nil || w.head("a").ChecksumCRC32 != nil {
		t.Error(err)
	}
	_, err = w.UploadPart(t.Context(), &api.UploadPartInput{Bucket: w.bucket, Key: aws.String("a"), UploadId: aws.String("x"), PartNumber: aws.Int32(1001), Body: strings.NewReader("x")})
	refused(t, err, "InvalidArgument")
	w = newWorld(t, Options{Provider: Provider{Classes: []string{standard, "FROST"}, Cold: []string{"FROST"}, Thaw: time.Hour}})
	w.put("a", "FROST", []byte("x"))
	_, err = w.get("a")
	refused(t, err, "InvalidObjectState")
	w.answered("a", "", 1, 202, "")
	w.Advance(time.Hour)
	if _, err := w.get("a"); err != nil {
		t.Error(err)
	}
}

func TestVersions(t *testing.T) {
	w := newWorld(t, Options{Clock: virtual()})
	ctx := t.Context()
	w.put("k", "", []byte("before")) // null
	_, err := w.PutBucketVersioning(ctx, &api.PutBucketVersioningInput{Bucket: w.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		t.Fatal(err)
	}
	one, two := *w.put("k", "", []byte("one")).VersionId, *w.put("k", "", []byte("two")).VersionId
	del, err := w.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: w.bucket, Key: aws.String("k")})
	if err != nil || !*del.DeleteMarker {
		t.Fatal(err)
	}
	_, err = w.get("k")
	refused(t, err, "NoSuchKey")
	_, err = w.PutObject(ctx, &api.PutObjectInput{Bucket: w.bucket, Key: aws.String("other"), IfNoneMatch: aws.String("*")})
	if err != nil {
		t.Error(err)
	}
	out, err := w.GetObject(ctx, &api.GetObjectInput{Bucket: w.bucket, Key: aws.String("k"), VersionId: &one})
	if err != nil || *out.ContentLength != 3 || *out.VersionId != one {
		t.Errorf("%+v, %v", out, err)
	}
	out.Body.Close()
	_, err = w.GetObject(ctx, &api.GetObjectInput{Bucket: w.bucket, Key: aws.String("k"), VersionId: del.VersionId})
	refused(t, err, "MethodNotAllowed")
	for _, size := range []int32{1, 2, 100} {
		var got []string
		in := &api.ListObjectVersionsInput{Bucket: w.bucket, Prefix: aws.String("k"), MaxKeys: &size}
		for {
			page, err := w.ListObjectVersions(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range page.DeleteMarkers {
				got = append(got, fmt.Sprint("marker ", *m.IsLatest))
			}
			for _, v := range page.Versions {
				got = append(got, *v.VersionId)
			}
			if !*page.IsTruncated {
				break
			}
			in.KeyMarker, in.VersionIdMarker = page.NextKeyMarker, page.NextVersionIdMarker
		}
		if strings.Join(got, " ") != strings.Join([]string{"marker true", two, one, "null"}, " ") {
			t.Errorf("by %d: %q", size, got)
		}
	}
	// without the marker the object is back; without any version it is gone
	for _, id := range []string{*del.VersionId, two, one} {
		if _, err := w.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: w.bucket, Key: aws.String("k"), VersionId: &id}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := w.get("k"); err != nil || string(got) != "before" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLock(t *testing.T) {
	clock := virtual()
	s := Start(t, Options{Clock: clock})
	w := &world{s, client(s, s.User()), t, aws.String("locked")}
	ctx := t.Context()
	if _, err := w.Client.CreateBucket(ctx, &api.CreateBucketInput{Bucket: w.bucket, ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	_, err := w.PutObjectLockConfiguration(ctx, &api.PutObjectLockConfigurationInput{Bucket: w.bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{
		ObjectLockEnabled: types.ObjectLockEnabledEnabled, Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(10)}}}})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := w.GetObjectLockConfiguration(ctx, &api.GetObjectLockConfigurationInput{Bucket: w.bucket}); err != nil || *c.ObjectLockConfiguration.Rule.DefaultRetention.Days != 10 {
		t.Errorf("%+v, %v", c, err)
	}
	id := w.put("a", "", []byte("x")).VersionId
	remove := func(bypass bool) error {
		in := &api.DeleteObjectInput{Bucket: w.bucket, Key: aws.String("a"), VersionId: id}
		if bypass {
			in.BypassGovernanceRetention = &bypass
		}
		_, err := w.DeleteObject(ctx, in)
		return err
	}
	refused(t, remove(false), "AccessDenied")
	if h := w.head("a"); h.ObjectLockMode != types.ObjectLockModeGovernance || !h.ObjectLockRetainUntilDate.Equal(begin.AddDate(0, 0, 10)) {
		t.Errorf("%+v", h)
	}
	retain := func(mode types.ObjectLockRetentionMode, until time.Time) error {
		_, err := w.PutObjectRetention(ctx, &api.PutObjectRetentionInput{Bucket: w.bucket, Key: aws.String("a"), VersionId: id,
			Retention: &types.ObjectLockRetention{Mode: mode, RetainUntilDate: &until}})
		return err
	}
	refused(t, retain(types.ObjectLockRetentionModeGovernance, begin.AddDate(0, 0, 5)), "AccessDenied")
	refused(t, retain(types.ObjectLockRetentionModeGovernance, begin), "InvalidArgument")
	if err := retain(types.ObjectLockRetentionModeGovernance, begin.AddDate(0, 0, 20)); err != nil {
		t.Error(err)
	}
	if err := remove(true); err != nil {
		t.Error(err)
	}
	id = w.put("a", "", []byte("y")).VersionId
	_, err = w.PutObjectLegalHold(ctx, &api.PutObjectLegalHoldInput{Bucket: w.bucket, Key: aws.String("a"), LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOn}})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, remove(true), "AccessDenied")
	_, err = w.PutObjectLegalHold(ctx, &api.PutObjectLegalHoldInput{Bucket: w.bucket, Key: aws.String("a"), LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOff}})
	if err != nil {
		t.Fatal(err)
	}
	s.AddUser(User{Access: "limited", Secret: "limited", Policy: Without("s3:BypassGovernanceRetention")})
	_, err = client(s, User{Access: "limited", Secret: "limited"}).DeleteObject(ctx, &api.DeleteObjectInput{Bucket: w.bucket, Key: aws.String("a"), VersionId: id, BypassGovernanceRetention: aws.Bool(true)})
	refused(t, err, "AccessDenied")
	in := &api.PutObjectInput{Bucket: w.bucket, Key: aws.String("c"), Body: strings.NewReader("x"), ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(begin.AddDate(1, 0, 0))}
	made, err := w.PutObject(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: w.bucket, Key: aws.String("c"), VersionId: made.VersionId, BypassGovernanceRetention: aws.Bool(true)})
	refused(t, err, "AccessDenied")
	s.Advance(366 * 24 * time.Hour)
	if _, err = w.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: w.bucket, Key: aws.String("c"), VersionId: made.VersionId}); err != nil {
		t.Error(err)
	}
	bare := client(s, s.User(), func(o *api.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired })
	_, err = bare.PutObject(ctx, &api.PutObjectInput{Bucket: w.bucket, Key: aws.String("bare"), Body: strings.NewReader("x")})
	refused(t, err, "InvalidRequest")
	s.CreateBucket("bucket")
	in.Bucket, in.Body, in.ObjectLockRetainUntilDate = aws.String("bucket"), strings.NewReader("x"), aws.Time(begin.AddDate(5, 0, 0))
	_, err = w.PutObject(ctx, in)
	refused(t, err, "InvalidRequest")
}

func (w *world) rules(rules ...types.LifecycleRule) error {
	_, err := w.PutBucketLifecycleConfiguration(w.t.Context(), &api.PutBucketLifecycleConfigurationInput{Bucket: w.bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: rules}})
	return err
}

func TestLifecycle(t *testing.T) {
	w := newWorld(t, Options{Clock: virtual()})
	ctx := t.Context()
	_, err := w.GetBucketLifecycleConfiguration(ctx, &api.GetBucketLifecycleConfigurationInput{Bucket: w.bucket})
	refused(t, err, "NoSuchLifecycleConfiguration")
	on := types.ExpirationStatusEnabled
	err = w.rules(
		types.LifecycleRule{ID: aws.String("chill"), Status: on, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("data/")},
			Transitions: []types.Transition{{Days: aws.Int32(30), StorageClass: types.TransitionStorageClassStandardIa}, {Days: aws.Int32(60), StorageClass: types.TransitionStorageClassDeepArchive}}},
		types.LifecycleRule{ID: aws.String("end"), Status: on, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("tmp/")}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(2)}},
		types.LifecycleRule{ID: aws.String("abort"), Status: on, Filter: &types.LifecycleRuleFilter{}, AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(7)}},
		types.LifecycleRule{ID: aws.String("off"), Status: types.ExpirationStatusDisabled, Filter: &types.LifecycleRuleFilter{}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(1)}},
		types.LifecycleRule{ID: aws.String("tagged"), Status: on, Filter: &types.LifecycleRuleFilter{Tag: &types.Tag{Key: aws.String("a"), Value: aws.String("b")}}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(1)}},
	)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.GetBucketLifecycleConfiguration(ctx, &api.GetBucketLifecycleConfigurationInput{Bucket: w.bucket})
	if err != nil || len(got.Rules) != 5 || *got.Rules[0].Transitions[1].Days != 60 || got.Rules[4].Filter.Tag == nil {
		t.Errorf("%+v, %v", got, err)
	}
	w.put("data/large", "", storetest.Content(1, 200_000))
	w.put("data/small", "", []byte("x"))
	w.put("tmp/x", "", []byte("x"))
	w.put("keep", "", []byte("x"))
	if _, err := w.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: w.bucket, Key: aws.String("u")}); err != nil {
		t.Fatal(err)
	}
	class := func(key string) string { return string(w.head(key).StorageClass) }
	w.Advance(2*24*time.Hour + 13*time.Hour)
	if len(w.listed("tmp/")) != 1 {
		t.Error("gone before the midnight after its time")
	}
	w.Advance(time.Hour)
	if len(w.listed("tmp/")) != 0 {
		t.Error("not gone at midnight")
	}
	w.Advance(30 * 24 * time.Hour)
	if class("data/large") != "STANDARD_IA" || class("data/small") != "" || class("keep") != "" {
		t.Errorf("%q %q %q", class("data/large"), class("data/small"), class("keep"))
	}
	if ups, err := w.ListMultipartUploads(ctx, &api.ListMultipartUploadsInput{Bucket: w.bucket}); err != nil || len(ups.Uploads) != 0 {
		t.Errorf("%+v, %v", ups, err)
	}
	w.Advance(30 * 24 * time.Hour)
	if class("data/large") != "DEEP_ARCHIVE" {
		t.Errorf("%q", class("data/large"))
	}
	_, err = w.get("data/large")
	refused(t, err, "InvalidObjectState")
	refused(t, w.rules(types.LifecycleRule{Status: on, Filter: &types.LifecycleRuleFilter{}}), "InvalidRequest")
	refused(t, w.rules(types.LifecycleRule{Status: on, Filter: &types.LifecycleRuleFilter{}, Transitions: []types.Transition{{Days: aws.Int32(5), StorageClass: types.TransitionStorageClassStandardIa}}}), "InvalidArgument")
	refused(t, w.rules(types.LifecycleRule{Status: on, Expiration: &types.LifecycleExpiration{Days: aws.Int32(5)}}), "MalformedXML")
}

func TestLifecycleVersions(t *testing.T) {
	w := newWorld(t, Options{Clock: virtual()})
	ctx := t.Context()
	_, err := w.PutBucketVersioning(ctx, &api.PutBucketVersioningInput{Bucket: w.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		t.Fatal(err)
	}
	err = w.rules(types.LifecycleRule{ID: aws.String("old"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{},
		Expiration: &types.LifecycleExpiration{ExpiredObjectDeleteMarker: aws.Bool(true)}, NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(3)}})
	if err != nil {
		t.Fatal(err)
	}
	w.put("a", "", []byte("x"))
	w.put("b", "", []byte("x"))
	w.Advance(100 * 24 * time.Hour)
	if _, err := w.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: w.bucket, Key: aws.String("a")}); err != nil {
		t.Fatal(err)
	}
	versions := func() string {
		out, err := w.ListObjectVersions(ctx, &api.ListObjectVersionsInput{Bucket: w.bucket})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(len(out.Versions), len(out.DeleteMarkers))
	}
	w.Advance(3 * 24 * time.Hour)
	if got := versions(); got != "2 1" {
		t.Error(got)
	}
	w.Advance(48 * time.Hour)
	if got := versions(); got != "1 0" {
		t.Error(got)
	}
}

// Many sleepers, of which each wakes at its time, in the right order, while days go by.
func TestVirtualClock(t *testing.T) {
	v := virtual()
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for range 3 {
				d := time.Duration(i+1) * time.Hour
				before := v.Now()
				if err := v.Sleep(t.Context(), d); err != nil {
					t.Error(err)
				}
				if past := v.Now().Sub(before); past < d {
					t.Errorf("slept %v of %v", past, d)
				}
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(order) != 20 || v.Now().Sub(begin) < 60*time.Hour {
		t.Errorf("%v, %v", order, v.Now())
	}
	release := v.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- v.Sleep(ctx, time.Hour) }()
	cancel()
	if err := <-done; err == nil {
		t.Error("slept though the clock was held and the context ended")
	}
	go func() { done <- v.Sleep(t.Context(), time.Hour) }()
	v.Advance(2 * time.Hour)
	release()
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A whole thaw by polling takes no time that anybody notices.
func TestThreeDays(t *testing.T) {
	v := virtual()
	w := newWorld(t, Options{Clock: v, Latency: 50 * time.Millisecond})
	for i := range 20 {
		w.put(fmt.Sprint("data/", i), types.StorageClassDeepArchive, []byte("x"))
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { w.answered(fmt.Sprint("data/", i), types.TierBulk, 5, 202, "") })
	}
	wg.Wait()
	polls := 0
	for ready := 0; ready < 20; polls++ {
		if err := v.Sleep(t.Context(), 15*time.Minute); err != nil {
			t.Fatal(err)
		}
		ready = 0
		for _, o := range w.listed("data/") {
			if !*o.RestoreStatus.IsRestoreInProgress {
				ready++
			}
		}
	}
	if polls < 36*4-8 || polls > 49*4 {
		t.Errorf("%d polls, %v", polls, v.Now().Sub(begin))
	}
}

func TestFaults(t *testing.T) {
	w := newWorld(t, Options{Faults: `
		PutObject slow/* slowdown times=2
		PutObject in/* cut-in times=1
		PutObject after/* cut-after times=1
		GetObject out/* cut-out times=1
		GetObject flip/* flip times=1
		CopyObject * embedded times=1
		ListObjectsV2 * pages n=1
		HeadObject * denied from=1h until=2h`, Clock: virtual()})
	ctx := t.Context()
	content := storetest.Content(1, 300_000)
	put := func(key string) error {
		_, err := w.PutObject(ctx, &api.PutObjectInput{Bucket: w.bucket, Key: &key, Body: bytes.NewReader(content)})
		return err
	}
	refused(t, put("slow/a"), "SlowDown")
	refused(t, put("slow/b"), "SlowDown")
	if err := put("slow/a"); err != nil {
		t.Error(err)
	}
	if err := put("in/a"); err == nil {
		t.Error("not cut")
	}
	if n, _ := w.Objects("bucket", "in/"); n != 0 {
		t.Error("half an object")
	}
	if err := put("after/a"); err == nil {
		t.Error("not cut")
	}
	if n, _ := w.Objects("bucket", "after/"); n != 1 {
		t.Error("not done")
	}
	for _, key := range []string{"out/a", "flip/a"} {
		if err := put(key); err != nil {
			t.Fatal(err)
		}
		if got, err := w.get(key); err == nil {
			t.Errorf("%s: %d bytes", key, len(got))
		}
		if got, err := w.get(key); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s again: %d bytes, %v", key, len(got), err)
		}
	}
	_, err := w.CopyObject(ctx, &api.CopyObjectInput{Bucket: w.bucket, Key: aws.String("copy"), CopySource: aws.String("bucket/out/a")})
	refused(t, err, "InternalError")
	w.ForgetRequests()
	if n := len(w.listed("")); n != 5 || w.Count("ListObjectsV2") != 5 {
		t.Errorf("%d objects, %d requests", n, w.Count("ListObjectsV2"))
	}
	w.head("copy")
	w.Advance(time.Hour)
	_, err = w.HeadObject(ctx, &api.HeadObjectInput{Bucket: w.bucket, Key: aws.String("copy")})
	if err == nil {
		t.Error("not denied")
	}
	w.Advance(time.Hour)
	w.head("copy")
	for _, bad := range []string{"PutObject *", "Nothing * slow", "any * slow delay=x", "any * burn", "any * slow p=2", "any * slow nth=0"} {
		if _, err := ParseFaults(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// The same seed fails in the same places.
func TestFaultsRepeat(t *testing.T) {
	run := func(seed uint64) string {
		w := newWorld(t, Options{Faults: "PutObject * internal p=0.3", Seed: seed})
		var wg sync.WaitGroup
		failed := make([]bool, 60)
		for i := range failed {
			wg.Go(func() {
				_, err := w.PutObject(t.Context(), &api.PutObjectInput{Bucket: w.bucket, Key: aws.String(fmt.Sprint(i)), Body: strings.NewReader("x")})
				failed[i] = err != nil
			})
		}
		wg.Wait()
		return fmt.Sprint(failed)
	}
	if a, b, c := run(1), run(1), run(2); a != b || a == c || !strings.Contains(a, "true") {
		t.Errorf("%s\n%s\n%s", a, b, c)
	}
}

func TestChange(t *testing.T) {
	w := newWorld(t, Options{})
	w.put("a", "", storetest.Content(1, 1000))
	if err := w.Change("bucket", "a", Change{Corrupt: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.get("a"); err == nil {
		t.Error("the client does not notice")
	}
	if err := w.Change("bucket", "a", Change{Class: deep}); err != nil {
		t.Fatal(err)
	}
	_, err := w.get("a")
	refused(t, err, "InvalidObjectState")
	if err := w.Change("bucket", "b", Change{Class: deep}); err == nil {
		t.Error("nothing changes")
	}
}

// The same seed thaws each object in the same time, in whatever order they are asked for.
func TestThawRepeats(t *testing.T) {
	run := func(seed uint64, keys ...string) string {
		w := newWorld(t, Options{Clock: virtual(), Seed: seed})
		for _, k := range keys {
			w.put(k, types.StorageClassDeepArchive, nil)
			w.answered(k, types.TierBulk, 1, 202, "")
		}
		b := w.buckets["bucket"]
		return fmt.Sprint(b.find("a").restore.ready, b.find("b").restore.ready)
	}
	if x, y, z := run(1, "a", "b", "c"), run(1, "c", "b", "a"), run(2, "a", "b"); x != y || x == z {
		t.Errorf("%s\n%s\n%s", x, y, z)
	}
}
