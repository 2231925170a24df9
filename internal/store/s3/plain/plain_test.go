package plain

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"firn/internal/bucket"
	"firn/internal/coldtest"
	"firn/internal/store/s3"
	"firn/internal/storetest"
)

// open makes a new bucket of a server.
func open(t testing.TB, server *coldtest.Server, change func(*Options)) *Bucket {
	t.Helper()
	u := server.User()
	o := Options{S3: s3.Options{Bucket: "plain", Endpoint: server.Endpoint(), Region: server.Region(),
		Credentials: awscredentials.NewStaticCredentialsProvider(u.Access, u.Secret, u.Token)},
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
	if change != nil {
		change(&o)
	}
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestSmoke(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{PageKeys: 2})
	b := open(t, server, nil)
	for _, key := range []string{"/lead", "a//b", "a/../b", "../x", "a b+c%20", "trail/", "ü/\x01\r\n\t\ufffe", "&<>\"'"} {
		for _, size := range []int{0, 100, 3 << 20} {
			content := storetest.Content(1, size)
			info, err := b.Put(t.Context(), key, bytes.NewReader(content), int64(size), bucket.PutOptions{ContentType: "text/plain", Metadata: map[string]string{"a": "bär  x "}})
			if err != nil {
				t.Fatal(err)
			}
			if info.Sum == nil || info.ETag == "" {
				t.Errorf("%+v", info)
			}
			r, got, err := b.Get(t.Context(), key, bucket.GetOptions{Length: -1})
			if err != nil {
				t.Fatal(err)
			}
			have, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(have, content) || got.Metadata["a"] != "bär  x " {
				t.Errorf("%q: %v %+v", key, err, got)
			}
			r.Close()
		}
	}
	var keys []string
	if err := b.List(t.Context(), "", "", func(o bucket.Object) error { keys = append(keys, o.Key); t.Logf("%+v", o); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 8 {
		t.Errorf("%q", keys)
	}
	for _, key := range keys {
		if _, err := b.Copy(t.Context(), "", key, key+"copy", 3<<20, bucket.CopyOptions{}); err != nil {
			t.Error(err)
		}
		id, err := b.Begin(t.Context(), key, bucket.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var parts []bucket.Part
		content := storetest.Content(1, 11<<20)
		for n, from := 1, 0; from < len(content); n, from = n+1, from+5<<20 {
			size := min(5<<20, len(content)-from)
			p, err := b.PutPart(t.Context(), key, id, n, bytes.NewReader(content[from:]), int64(size))
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, p)
		}
		again, err := b.Parts(t.Context(), key, id)
		if err != nil || len(again) != 3 {
			t.Errorf("%v %v", again, err)
		}
		info, err := b.Complete(t.Context(), key, id, parts, bucket.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", info)
	}
	failed, err := b.Delete(t.Context(), keys)
	if err != nil || len(failed) > 0 {
		t.Errorf("%v %v", failed, err)
	}
	t.Log(b.Requests())
}
