package coldtest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Requests by Amazon's client, which does most of the work.
func BenchmarkPut(b *testing.B) {
	s := Start(b, Options{})
	s.CreateBucket("bucket")
	c := client(s, s.User())
	next := make(chan int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range next {
				_, err := c.PutObject(b.Context(), &api.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(fmt.Sprintf("data/%02x/%d", i%256, i)), Body: strings.NewReader("x"), StorageClass: types.StorageClassDeepArchive})
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range b.N {
		next <- i
	}
	close(next)
	wg.Wait()
}

// A listing of 100,000 objects.
func BenchmarkList(b *testing.B) {
	s := Start(b, Options{})
	s.CreateBucket("bucket")
	s.mu.Lock()
	for i := range 100_000 {
		s.add(s.buckets["bucket"], &version{Key: fmt.Sprintf("data/%02x/%064d", i%256, i), Class: deep, Modified: s.moment, Tag: "x"})
	}
	s.mu.Unlock()
	c := client(s, s.User())
	for b.Loop() {
		pages := api.NewListObjectsV2Paginator(c, &api.ListObjectsV2Input{Bucket: aws.String("bucket"), OptionalObjectAttributes: []types.OptionalObjectAttributes{"RestoreStatus"}})
		n := 0
		for pages.HasMorePages() {
			page, err := pages.NextPage(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			n += len(page.Contents)
		}
		if n != 100_000 {
			b.Fatal(n)
		}
	}
}
