package coldtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/price"
	"firn/internal/storetest"
)

// rates are round numbers that are easy to multiply by.
func rates() *price.Region {
	return &price.Region{Provider: "test", Name: "test", Currency: "USD", GB: 1 << 30, Default: standard,
		Classes: []price.Class{
			{Name: standard, Storage: 1, Put: 1000, Get: 100, List: 1000},
			{Name: "STANDARD_IA", Storage: .5, Put: 2000, Get: 200, Retrieval: 8, MinDays: 30, MinBytes: 128 << 10},
			{Name: deep, Cold: true, Storage: .25, Put: 3000, Get: 300, MinDays: 180, Overhead: 32 << 10, OverheadHot: 8 << 10, Parts: standard,
				Tiers: []price.Tier{{Name: bulk, PerGB: 2, Per1000: 500}, {Name: tierNormal, PerGB: 4, Per1000: 1500}}},
		},
		Routes: []price.Route{{Name: price.Direct, FreeGB: 1, Steps: []price.Step{{UpToGB: 2, PerGB: 16}, {PerGB: 32}}}},
	}
}

// expect compares a bill with what it should be: "what class count cost", as far as the bill is about that.
func expect(t *testing.T, bill price.Bill, lines ...string) {
	t.Helper()
	var want []string
	total := 0.0
	for _, line := range lines {
		var count int64
		var cost float64
		what, rest, _ := strings.Cut(line, "|")
		class, rest, _ := strings.Cut(rest, "|")
		if _, err := fmt.Sscan(rest, &count, &cost); err != nil {
			t.Fatal(line, err)
		}
		total += cost
		found := false
		for _, l := range bill {
			if l.What == what && l.Class == class {
				found = true
				if l.Count != count || math.Abs(float64(l.Cost)-cost) > 1e-6*(1+cost) {
					t.Errorf("%s %s: %d, %v, want %d, %v", what, class, l.Count, float64(l.Cost), count, cost)
				}
			}
		}
		if !found {
			t.Errorf("%s %s is not on the bill", what, class)
		}
		want = append(want, what)
	}
	if len(bill) != len(lines) || math.Abs(float64(bill.Total())-total) > 1e-6*(1+total) {
		t.Errorf("%d lines of %d (%q), %v of %v:\n%+v", len(bill), len(lines), want, bill.Total(), total, bill)
	}
}

const gib = 1 << 30

func TestBillStays(t *testing.T) {
	first := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, Options{Clock: NewVirtual(first, 0), Prices: rates(), Scale: 1 << 14})
	content := storetest.Content(1, 64<<10) // that is a GiB
	w.put("hot", "", content)
	w.put("ia", types.StorageClassStandardIa, content)
	w.put("deep", types.StorageClassDeepArchive, content)
	w.put("tiny", types.StorageClassStandardIa, nil)
	w.Advance(30 * 24 * time.Hour) // April
	k := 1 << 10 / float64(gib)
	expect(t, w.Bill(), "put|STANDARD|1 1", "put|STANDARD_IA|2 4", "put|DEEP_ARCHIVE|1 3",
		"storage|STANDARD|1 1", fmt.Sprint("storage|STANDARD_IA|2 ", .5*(1+128*k)), "storage|DEEP_ARCHIVE|1 .25",
		fmt.Sprint("overhead|DEEP_ARCHIVE|1 ", .25*32*k), fmt.Sprint("overhead in hot|STANDARD|1 ", 8*k))

	w.ResetBill()
	for _, key := range []string{"hot", "ia", "deep", "tiny"} {
		if _, err := w.DeleteObject(t.Context(), &api.DeleteObjectInput{Bucket: w.bucket, Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	w.Advance(31 * 24 * time.Hour)
	expect(t, w.Bill(), fmt.Sprint("early deletion|DEEP_ARCHIVE|1 ", .25*(1+32*k)*150*24/730))
}

func TestBillThaw(t *testing.T) {
	first := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, Options{Clock: NewVirtual(first, 0), Prices: rates(), Scale: 1 << 14, Faults: "RestoreObject unlucky internal"})
	content := storetest.Content(1, 64<<10)
	w.put("deep", types.StorageClassDeepArchive, content)
	w.put("unlucky", types.StorageClassDeepArchive, nil)
	w.Advance(200 * 24 * time.Hour)
	w.ResetBill()
	w.answered("unlucky", types.TierBulk, 1, 500, "")
	w.answered("deep", types.TierBulk, 2, 202, "")
	w.answered("deep", types.TierBulk, 2, 409, "")
	w.answered("deep", types.TierStandard, 2, 202, "")
	v := w.buckets["bucket"].find("deep")
	w.Advance(v.restore.ready.Sub(w.now()))
	expires, ready := v.restore.expires, v.restore.ready
	for range 4 {
		if _, err := w.get("deep"); err != nil {
			t.Fatal(err)
		}
	}
	w.Advance(10 * 24 * time.Hour)
	bill := w.Bill()
	stay := expires.Sub(ready).Hours() / (31 * 24) // October
	k := 1 << 10 / float64(gib)
	months := float64(w.now().Sub(first.Add(200*24*time.Hour))) / float64(31*24*time.Hour)
	expect(t, bill, "get|DEEP_ARCHIVE|4 1.2", "retrieval|DEEP_ARCHIVE Bulk|1 2", "retrieval|DEEP_ARCHIVE Standard|1 4", "thaw requests|DEEP_ARCHIVE Bulk|2 1",
		"thaw requests|DEEP_ARCHIVE Standard|1 1.5", fmt.Sprint("temporary copy|STANDARD|0 ", stay), "egress|direct|0 64", // 4 GiB: 1 is free, 2 cost 16 each, and 1 costs 32
		fmt.Sprint("storage|DEEP_ARCHIVE|2 ", .25*months), fmt.Sprint("overhead|DEEP_ARCHIVE|2 ", .25*2*32*k*months), fmt.Sprint("overhead in hot|STANDARD|2 ", 2*8*k*months))
}

func TestBillParts(t *testing.T) {
	first := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, Options{Clock: NewVirtual(first, 0), Prices: rates(), Scale: 256})
	ctx := t.Context()
	in := &api.CreateMultipartUploadInput{Bucket: w.bucket, Key: aws.String("k"), StorageClass: types.StorageClassDeepArchive}
	made, err := w.CreateMultipartUpload(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	body := string(storetest.Content(1, 4<<20))
	var tag *string
	for range 2 { // the second replaces the first
		out, err := w.UploadPart(ctx, &api.UploadPartInput{Bucket: w.bucket, Key: in.Key, UploadId: made.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		tag = out.ETag
	}
	w.Advance(15 * 24 * time.Hour)
	expect(t, w.Bill(), "parts|STANDARD|3 3", "unfinished uploads|STANDARD|1 .5")
	w.ResetBill()
	_, err = w.CompleteMultipartUpload(ctx, &api.CompleteMultipartUploadInput{Bucket: w.bucket, Key: in.Key, UploadId: made.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: tag}}}})
	if err != nil {
		t.Fatal(err)
	}
	w.listed("")
	w.Advance(15 * 24 * time.Hour)
	k := 1 << 10 / float64(gib)
	expect(t, w.Bill(), "put|DEEP_ARCHIVE|1 3", "list|STANDARD|1 1", "storage|DEEP_ARCHIVE|1 .125", fmt.Sprint("overhead|DEEP_ARCHIVE|1 ", .125*32*k),
		fmt.Sprint("overhead in hot|STANDARD|1 ", .5*8*k))
}

func TestBillMoves(t *testing.T) {
	first := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, Options{Clock: NewVirtual(first, 0), Prices: rates(), Scale: 1 << 13})
	content := storetest.Content(1, 128<<10) // a GiB
	w.put("ia", types.StorageClassStandardIa, content)
	w.put("data/a", "", content)
	if err := w.rules(types.LifecycleRule{Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("data/")},
		Transitions: []types.Transition{{Days: aws.Int32(0), StorageClass: types.TransitionStorageClassDeepArchive}}}); err != nil {
		t.Fatal(err)
	}
	w.ResetBill()
	w.Advance(15 * 24 * time.Hour)
	_, err := w.CopyObject(t.Context(), &api.CopyObjectInput{Bucket: w.bucket, Key: aws.String("ia"), CopySource: aws.String("bucket/ia"), StorageClass: types.StorageClassDeepArchive})
	if err != nil {
		t.Fatal(err)
	}
	k := 1 << 10 / float64(gib)
	expect(t, w.Bill(), "put|DEEP_ARCHIVE|1 3", "retrieval|STANDARD_IA|1 8", fmt.Sprint("early deletion|STANDARD_IA|1 ", .5*15*24/730.), "storage|STANDARD_IA|0 .25",
		"transitions|DEEP_ARCHIVE|1 3", fmt.Sprint("storage|STANDARD|0 ", 1/30.), fmt.Sprint("storage|DEEP_ARCHIVE|2 ", .25*14/30), fmt.Sprint("overhead|DEEP_ARCHIVE|2 ", .25*32*k*14/30),
		fmt.Sprint("overhead in hot|STANDARD|2 ", 8*k*14/30))
}

// With a clock that is real and hurries, a month's bill is there in no time.
func TestSpeed(t *testing.T) {
	first := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	v := NewVirtual(first, 0)
	w := newWorld(t, Options{Clock: v, Speed: 720, Prices: rates(), Scale: 1 << 14})
	w.put("deep", types.StorageClassDeepArchive, storetest.Content(1, 64<<10))
	w.answered("deep", types.TierBulk, 1, 202, "")
	v.Advance(4 * time.Minute)
	if _, err := w.get("deep"); err != nil {
		t.Errorf("after two days: %v", err)
	}
	v.Advance(3 * time.Minute)
	_, err := w.get("deep")
	refused(t, err, "InvalidObjectState")
	v.Advance(53 * time.Minute)
	for _, l := range w.Bill() {
		if l.What == price.WhatStorage && math.Abs(float64(l.Cost)-.25) > .001 {
			t.Errorf("%+v", l)
		}
	}
}

// Whatever was done, once all is deleted nothing is billed any more.
func TestBillEnds(t *testing.T) {
	w := newWorld(t, Options{Clock: virtual(), Prices: rates(), Scale: 7, Seed: 5})
	ctx := t.Context()
	r := rand.New(rand.NewPCG(1, 2))
	classes := []types.StorageClass{"", types.StorageClassStandardIa, types.StorageClassGlacierIr, types.StorageClassGlacier, types.StorageClassDeepArchive}
	for range 400 {
		key := aws.String(fmt.Sprint("k", r.IntN(12)))
		class := classes[r.IntN(len(classes))]
		switch r.IntN(7) {
		case 0, 1:
			w.put(*key, class, storetest.Content(1, r.IntN(5000)))
		case 2:
			_, _ = w.CopyObject(ctx, &api.CopyObjectInput{Bucket: w.bucket, Key: key, CopySource: aws.String(fmt.Sprint("bucket/k", r.IntN(12))), StorageClass: class})
		case 3:
			_, _ = w.restore(*key, []types.Tier{types.TierBulk, types.TierStandard, types.TierExpedited}[r.IntN(3)], int32(1+r.IntN(3)))
		case 4:
			_, _ = w.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: w.bucket, Key: key})
		case 5:
			_, _ = w.upload(*key, api.CreateMultipartUploadInput{StorageClass: class}, nil, storetest.Content(2, r.IntN(3000)))
		case 6:
			w.Advance(time.Duration(r.IntN(30)) * time.Hour)
		}
	}
	for key := range w.listed("") {
		if _, err := w.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: w.bucket, Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	w.ResetBill()
	w.Advance(100 * 24 * time.Hour)
	if bill := w.Bill(); len(bill) > 0 || w.fast != 0 {
		t.Errorf("%d expedited, %+v", w.fast, bill)
	}
}
