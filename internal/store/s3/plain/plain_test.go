package plain

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"firn/internal/bucket"
	"firn/internal/bucket/buckettest"
	"firn/internal/coldtest"
	"firn/internal/store"
	"firn/internal/store/s3"
	"firn/internal/storetest/versitygw"
)

func randomName() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return "plain-" + hex.EncodeToString(b[:])
}

// atOnce does not wait between tries.
func atOnce(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// made opens a bucket, and makes it.
func made(t testing.TB, o Options) *Bucket {
	t.Helper()
	if o.Sleep == nil {
		o.Sleep = atOnce
	}
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// open makes a new bucket of a server.
func open(t testing.TB, server *coldtest.Server, change func(*Options)) *Bucket {
	t.Helper()
	return made(t, bucketOptions(server, change))
}

func bucketOptions(server *coldtest.Server, change func(*Options)) Options {
	u := server.User()
	o := Options{Sleep: atOnce, S3: s3.Options{Bucket: randomName(), Endpoint: server.Endpoint(), Region: server.Region(),
		Credentials: awscredentials.NewStaticCredentialsProvider(u.Access, u.Secret, u.Token)}}
	if change != nil {
		change(&o)
	}
	return o
}

// The contract, over a server as Amazon's and over those with every weakness that a provider has.
func TestSuite(t *testing.T) {
	for name, c := range map[string]struct {
		o     coldtest.Options
		suite buckettest.Suite
		tune  func(*Options)
	}{
		"amazon":     {suite: buckettest.Suite{Cold: "DEEP_ARCHIVE"}},
		"pages":      {o: coldtest.Options{PageKeys: 7}, suite: buckettest.Suite{Objects: 60}},
		"copies":     {suite: buckettest.Suite{Objects: 5}, tune: func(o *Options) { o.CopyPart = 5 << 20 }},
		"scaleway":   {o: coldtest.Options{Provider: coldtest.Scaleway}, suite: buckettest.Suite{Objects: 5}},
		"ceph":       {o: coldtest.Options{Provider: coldtest.Ceph}, suite: buckettest.Suite{Objects: 5}},
		"versity":    {o: coldtest.Options{Provider: coldtest.Versity}, suite: buckettest.Suite{Objects: 5}},
		"conditions": {o: coldtest.Options{Provider: coldtest.Provider{ConditionsIgnored: true}}, suite: buckettest.Suite{Objects: 5, NoConditions: true, NoCopyConditions: true}},
		"no sums":    {o: coldtest.Options{Provider: coldtest.Provider{Checksums: coldtest.ChecksumsRefused}}, suite: buckettest.Suite{Objects: 5, NoSums: true}},
		"old":        {o: coldtest.Options{Provider: coldtest.Old}, suite: buckettest.Suite{Objects: 5, NoConditions: true, NoCopyConditions: true, NoSums: true}},
	} {
		t.Run(name, func(t *testing.T) {
			server := coldtest.Start(t, c.o)
			c.suite.Open = func(t *testing.T) bucket.Bucket { return open(t, server, c.tune) }
			c.suite.Beside = func(t *testing.T, _ bucket.Bucket) (bucket.Bucket, string) {
				b := open(t, server, nil)
				return b, b.o.S3.Bucket
			}
			c.suite.Wait = server.Advance
			c.suite.Run(t)
		})
	}
}

// The contract, over a real server that keeps its objects as files.
func TestServer(t *testing.T) {
	server := versitygw.Start(t)
	fresh := func(t *testing.T) *Bucket {
		return made(t, Options{S3: s3.Options{Bucket: randomName(), Endpoint: server.Endpoint, Region: server.Region,
			Credentials: awscredentials.NewStaticCredentialsProvider(server.Access, server.Secret, "")}})
	}
	buckettest.Suite{
		Open: func(t *testing.T) bucket.Bucket { return fresh(t) },
		Beside: func(t *testing.T, _ bucket.Bucket) (bucket.Bucket, string) {
			b := fresh(t)
			return b, b.o.S3.Bucket
		},
		Objects: 100, Refuse: noPath, Skip: func(key string) bool { return !inXMLText(key) },
	}.Run(t)
}

// Small contents go without the SDK's middleware, in every way in which a bucket is addressed; and with it where something is odd.
func TestDirect(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{Region: "eu-north-1"})
	session := coldtest.NewUser()
	session.Token = "token/+="
	server.AddUser(session)
	for name, tune := range map[string]func(*Options){
		"path": func(*Options) {}, "token": func(o *Options) {
			o.S3.Credentials = awscredentials.NewStaticCredentialsProvider(session.Access, session.Secret, session.Token)
		},
		"folder": func(o *Options) { o.S3.Endpoint += "/" },
	} {
		b, err := Open(t.Context(), bucketOptions(server, tune))
		if err != nil {
			t.Fatal(err)
		}
		server.CreateBucket(b.o.S3.Bucket)
		for _, key := range []string{"/a b+c%/ä//..", "x"} {
			buckettest.Put(t, b, key, []byte("content"), bucket.PutOptions{Metadata: map[string]string{"a-b_c.d": "x y"}, Class: "STANDARD_IA", ContentType: "text/plain"})
			head, err := b.Head(t.Context(), key)
			if err != nil || head.Metadata["a-b_c.d"] != "x y" || head.Class != "STANDARD_IA" || head.ContentType != "text/plain" || head.Sum == nil {
				t.Errorf("%s: %+v, %v", name, head, err)
			}
		}
		if b.direct.off.Load() {
			t.Errorf("%s: the SDK made the requests", name)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	for endpoint, want := range map[string]string{"": "https://photos.s3.eu-north-1.amazonaws.com eu-north-1", "https://s3.example.com:8443/base": "https://s3.example.com:8443/base/photos eu-north-1"} {
		b, err := Open(t.Context(), Options{S3: s3.Options{Bucket: "photos", Region: "eu-north-1", Endpoint: endpoint, Credentials: awscredentials.NewStaticCredentialsProvider("a", "b", "")}})
		if err != nil {
			t.Fatal(err)
		}
		b.direct.prepare(t.Context(), b)
		if got := b.direct.base.String() + " " + b.direct.region; got != want || b.direct.off.Load() {
			t.Errorf("%q: %s", endpoint, got)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	skewed := coldtest.Start(t, coldtest.Options{Skew: time.Hour})
	b := open(t, skewed, nil)
	_, err := b.Put(t.Context(), "k", strings.NewReader("x"), 1, bucket.PutOptions{})
	if err != nil && !errors.Is(err, store.ErrClock) {
		t.Errorf("a clock that is wrong: %v", err)
	}
}

// What a server would take for another object is left alone, and told.
func TestMappedNames(t *testing.T) {
	server := versitygw.Start(t)
	for _, exists := range []bool{true, false} {
		b := made(t, Options{S3: s3.Options{Bucket: randomName(), Endpoint: server.Endpoint, Region: server.Region,
			Credentials: awscredentials.NewStaticCredentialsProvider(server.Access, server.Secret, "")}})
		if exists {
			buckettest.Put(t, b, "a/b", []byte("mine"), bucket.PutOptions{})
		}
		for range 2 {
			if _, err := b.Put(t.Context(), "a//b", strings.NewReader("other"), 5, bucket.PutOptions{}); !errors.Is(err, bucket.ErrKey) {
				t.Errorf("put: %v", err)
			}
		}
		if _, err := b.Head(t.Context(), "a/../a/b"); !errors.Is(err, bucket.ErrNotExist) {
			t.Errorf("head: %v", err)
		}
		if _, _, err := buckettest.Get(t.Context(), b, "./a/b", all); !errors.Is(err, bucket.ErrNotExist) {
			t.Errorf("get: %v", err)
		}
		if failed, err := b.Delete(t.Context(), []string{"a//b", "/a/b"}); err != nil || len(failed) > 0 {
			t.Errorf("delete: %v, %v", failed, err)
		}
		got, _, err := buckettest.Get(t.Context(), b, "a/b", all)
		if exists && (err != nil || string(got) != "mine") || !exists && !errors.Is(err, bucket.ErrNotExist) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// noPath tells what cannot be a path below a folder.
func noPath(key string) bool {
	for _, part := range strings.Split(key, "/") {
		if part == "" || part == "." || part == ".." || len(part) > 255 {
			return true
		}
	}
	return false
}
