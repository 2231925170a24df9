package plain

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"firn/internal/bucket"
	"firn/internal/bucket/buckettest"
	"firn/internal/store/s3"
)

// sink answers as fast as it goes, and keeps nothing.
type sink struct{ page []byte }

func (k *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPut:
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"9e107d9d372bb6826bd81d3542a419d6"`)
		if v := r.Header.Get("X-Amz-Checksum-Crc64nvme"); v != "" {
			w.Header().Set("X-Amz-Checksum-Crc64nvme", v)
		}
		w.WriteHeader(http.StatusOK)
	case http.MethodHead:
		w.Header().Set("ETag", `"9e107d9d372bb6826bd81d3542a419d6"`)
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Last-Modified", "Fri, 20 Nov 2026 16:00:00 GMT")
		w.Header().Set("X-Amz-Checksum-Crc64nvme", base64.StdEncoding.EncodeToString(make([]byte, 8)))
	case http.MethodGet:
		_, _ = w.Write(k.page)
	}
}

// listing is a page of 1,000 keys, as S3 writes it.
func listing(next string) []byte {
	var p strings.Builder
	p.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><Prefix>photos/</Prefix><KeyCount>1000</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType>`)
	fmt.Fprintf(&p, "<IsTruncated>%v</IsTruncated>", next != "")
	if next != "" {
		p.WriteString("<NextContinuationToken>" + next + "</NextContinuationToken>")
	}
	for i := range 1000 {
		fmt.Fprintf(&p, `<Contents><Key>photos/2019/summer/IMG_%05d.jpg</Key><LastModified>2026-11-20T16:00:00.000Z</LastModified><ETag>&quot;%032x&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>`, i, i*12345, i*999)
	}
	p.WriteString("</ListBucketResult>")
	return []byte(p.String())
}

func sunk(b testing.TB, page []byte) *Bucket {
	b.Helper()
	server := httptest.NewServer(&sink{page: page})
	b.Cleanup(server.Close)
	u, err := Open(context.Background(), Options{S3: s3.Options{Bucket: "bucket", Endpoint: server.URL, Region: "us-east-1", Credentials: awscredentials.NewStaticCredentialsProvider("a", "b", "")}})
	if err != nil {
		b.Fatal(err)
	}
	return u
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size>>10, "K"), func(b *testing.B) {
			u := sunk(b, nil)
			content := buckettest.Content(1, size)
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := u.Put(context.Background(), "photos/2019/summer/IMG_1.jpg", bytes.NewReader(content), int64(size), bucket.PutOptions{ContentType: "image/jpeg"}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkHead(b *testing.B) {
	u := sunk(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := u.Head(context.Background(), "photos/2019/summer/IMG_1.jpg"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkList lists a page of 1,000 keys.
func BenchmarkList(b *testing.B) {
	u := sunk(b, listing(""))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := u.List(context.Background(), "photos/", "", func(bucket.Object) error { n++; return nil }); err != nil || n != 1000 {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkParsePage(b *testing.B) {
	page := listing("")
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		if p, ok := parsePage(page); !ok || len(p.objects) != 1000 {
			b.Fatal(ok)
		}
	}
}
