package plain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"

	"firn/internal/bucket"
	"firn/internal/bucket/buckettest"
	"firn/internal/coldtest"
	"firn/internal/store"
	"firn/internal/store/s3"
)

var all = bucket.GetOptions{Length: -1}

// Whatever may pass passes, and nothing is there twice or half.
func TestFaultsPass(t *testing.T) {
	content := buckettest.Content(1, 3<<20)
	for _, rule := range []string{
		"any * slowdown times=3", "any * internal times=3", "any * unavailable times=3", "PutObject * cut-in times=2", "PutObject * cut-after times=2", "GetObject * cut-out times=3", "any * cut-out times=2",
		"any * cut-after times=1", "PutObject * conflict times=2", "CopyObject * embedded times=2", "CompleteMultipartUpload * embedded times=2", "CompleteMultipartUpload * cut-after times=1",
		"DeleteObjects * partly times=3", "UploadPart * cut-in times=2", "ListObjectsV2 * cut-out times=2", "HeadObject * internal times=2", "any * slowdown p=0.3", "any * cut-after p=0.2",
	} {
		t.Run(rule, func(t *testing.T) {
			server := coldtest.Start(t, coldtest.Options{Seed: 7})
			b := open(t, server, nil)
			if err := server.SetFaults(rule); err != nil {
				t.Fatal(err)
			}
			for i, o := range []bucket.PutOptions{{}, {IfNone: true}} {
				key := fmt.Sprint("k", i)
				info := buckettest.Put(t, b, key, content, o)
				got, _, err := buckettest.Get(t.Context(), b, key, all)
				if err != nil || !bytes.Equal(got, content) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				replaced := buckettest.Put(t, b, key, content[1:], bucket.PutOptions{IfMatch: info.ETag})
				if head, err := b.Head(t.Context(), key); err != nil || head.ETag != replaced.ETag || head.Size != int64(len(content)-1) {
					t.Fatalf("%+v, %v", head, err)
				}
			}
			if _, err := b.Copy(t.Context(), "", "k0", "copy", int64(len(content)-1), bucket.CopyOptions{PutOptions: bucket.PutOptions{IfNone: true}}); err != nil {
				t.Fatal(err)
			}
			id, err := b.Begin(t.Context(), "parts", bucket.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			p, err := b.PutPart(t.Context(), "parts", id, 1, bytes.NewReader(content), int64(len(content)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Complete(t.Context(), "parts", id, []bucket.Part{p}, bucket.PutOptions{IfNone: true}); err != nil {
				t.Fatal(err)
			}
			if got := buckettest.Keys(t, b, "", ""); strings.Join(got, " ") != "copy k0 k1 parts" {
				t.Errorf("%q", got)
			}
			if failed, err := b.Delete(t.Context(), []string{"copy", "k0", "k1", "parts", "\x01"}); err != nil || len(failed) > 0 {
				t.Errorf("%v, %v", failed, err)
			}
			if n, _ := server.Objects(b.o.S3.Bucket, ""); n != 0 {
				t.Errorf("%d are left", n)
			}
		})
	}
}

// What does not pass is told as what it is.
func TestFaultsStay(t *testing.T) {
	content := buckettest.Content(1, 100_000)
	for _, c := range []struct {
		rule string
		call func(ctx context.Context, b *Bucket) error
		want error
		most int // requests
	}{
		{"ListObjectsV2 * denied", func(ctx context.Context, b *Bucket) error {
			return b.List(ctx, "", "", func(bucket.Object) error { return nil })
		}, bucket.ErrDenied, 1},
		{"PutObject * denied", put(content), bucket.ErrDenied, 1},
		{"PutObject * flip-in", put(content), bucket.ErrChecksum, 1},
		{"GetObject * flip", get, bucket.ErrChecksum, 1},
		{"PutObject * slowdown", put(content), nil, 4},
		{"PutObject * cut-in", put(content), nil, 4},
		{"GetObject * cut-out", get, nil, 40},
		{"any * expired", put(content), store.ErrAuth, 2},
		{"ListObjectsV2 * moved", func(ctx context.Context, b *Bucket) error {
			return b.List(ctx, "", "", func(bucket.Object) error { return nil })
		}, s3.ErrRegion, 1},
		{"DeleteObjects * denied", func(ctx context.Context, b *Bucket) error { _, err := b.Delete(ctx, []string{"k"}); return err }, bucket.ErrDenied, 1},
	} {
		t.Run(c.rule, func(t *testing.T) {
			server := coldtest.Start(t, coldtest.Options{})
			b := open(t, server, func(o *Options) { o.Tries = 4 })
			buckettest.Put(t, b, "k", content, bucket.PutOptions{})
			if err := server.SetFaults(c.rule); err != nil {
				t.Fatal(err)
			}
			server.ForgetRequests()
			err := c.call(t.Context(), b)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if n := server.Count(""); n > c.most {
				t.Errorf("%d requests: %v", n, err)
			}
			var e *bucket.Error
			if !errors.As(err, &e) {
				t.Errorf("%T: %v", err, err)
			}
			if err := server.SetFaults(""); err != nil {
				t.Fatal(err)
			}
			if got, _, err := buckettest.Get(t.Context(), b, "k", all); err != nil || !bytes.Equal(got, content) {
				t.Errorf("afterwards: %d bytes, %v", len(got), err)
			}
		})
	}
}

func put(content []byte) func(context.Context, *Bucket) error {
	return func(ctx context.Context, b *Bucket) error {
		_, err := b.Put(ctx, "k", bytes.NewReader(content), int64(len(content)), bucket.PutOptions{})
		return err
	}
}

func get(ctx context.Context, b *Bucket) error {
	_, _, err := buckettest.Get(ctx, b, "k", all)
	return err
}

// Where it was said of some keys only that they cannot be deleted they alone are told.
func TestDeletePartly(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{Faults: "DeleteObjects * partly"})
	b := open(t, server, func(o *Options) { o.Tries = 3 })
	var keys []string
	for i := range 9 {
		keys = append(keys, fmt.Sprint(i))
		buckettest.Put(t, b, keys[i], nil, bucket.PutOptions{})
	}
	failed, err := b.Delete(t.Context(), keys)
	left := buckettest.Keys(t, b, "", "")
	if err != nil || len(failed) != len(left) || len(left) != 2 { // 9, 5, 3, of which every other stays
		t.Errorf("%v, %v, left %q", failed, err, left)
	}
	for _, key := range left {
		if failed[key] == nil {
			t.Errorf("%q is not told", key)
		}
	}
}

// Two contents never mix: an object that is replaced while it is read is an error.
func TestReplacedWhileRead(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{})
	b := open(t, server, nil)
	buckettest.Put(t, b, "k", buckettest.Content(1, 3<<20), bucket.PutOptions{})
	if err := server.SetFaults("GetObject * cut-out times=1"); err != nil {
		t.Fatal(err)
	}
	r, _, err := b.Get(t.Context(), "k", all)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buckettest.Put(t, b, "k", buckettest.Content(2, 3<<20), bucket.PutOptions{})
	got, err := io.ReadAll(r)
	if !errors.Is(err, bucket.ErrPrecondition) || !bytes.Equal(got, buckettest.Content(1, 3<<20)[:len(got)]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Credentials that end in the middle are asked for anew.
func TestCredentialsExpire(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{})
	users := []coldtest.User{server.User(), coldtest.NewUser()}
	server.AddUser(users[1])
	var turn atomic.Int64
	provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		u := users[turn.Load()]
		return aws.Credentials{AccessKeyID: u.Access, SecretAccessKey: u.Secret}, nil
	})
	b := open(t, server, func(o *Options) { o.S3.Credentials = provider })
	buckettest.Put(t, b, "k", []byte("one"), bucket.PutOptions{})
	turn.Store(1)
	if err := server.SetFaults("PutObject * expired times=1"); err != nil {
		t.Fatal(err)
	}
	buckettest.Put(t, b, "k", []byte("two"), bucket.PutOptions{})
	if got, _, err := buckettest.Get(t.Context(), b, "k", all); err != nil || string(got) != "two" {
		t.Errorf("%q, %v", got, err)
	}
}

// counter counts what passes.
type counter struct {
	n, largest atomic.Int64
}

func (c *counter) WaitN(ctx context.Context, n int) error {
	c.n.Add(int64(n))
	if int64(n) > c.largest.Load() {
		c.largest.Store(int64(n))
	}
	return ctx.Err()
}

func (c *counter) Burst() int { return 1000 }

func TestPaced(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{})
	var up, down counter
	var sent atomic.Int64
	b := open(t, server, func(o *Options) { o.Up, o.Down, o.Sent = &up, &down, &sent })
	for _, size := range []int{100_000, 2 << 20} {
		content := buckettest.Content(1, size)
		up.n.Store(0)
		down.n.Store(0)
		sent.Store(0)
		buckettest.Put(t, b, "k", content, bucket.PutOptions{})
		if got, _, err := buckettest.Get(t.Context(), b, "k", all); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if up.n.Load() != int64(size) || down.n.Load() != int64(size) || sent.Load() != int64(size) || up.largest.Load() > 1000 || down.largest.Load() > 1000 {
			t.Errorf("%d up, %d down, %d sent of %d", up.n.Load(), down.n.Load(), sent.Load(), size)
		}
	}
}

// Where the server says that it is too much, fewer requests are made at once, and everybody gets through.
func TestThrottled(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{Faults: "PutObject * slowdown p=0.3", Seed: 3})
	b := open(t, server, func(o *Options) { o.Connections, o.Tries = 8, 100 })
	var work sync.WaitGroup
	for w := range 8 {
		work.Go(func() {
			for i := range 20 {
				if _, err := b.Put(t.Context(), fmt.Sprint(w, i), strings.NewReader("x"), 1, bucket.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	if b.puts.inside != 0 || len(b.puts.waiting) != 0 || b.puts.turn == 0 || b.puts.allowed < 1 || b.puts.allowed > 8 {
		t.Errorf("%d inside, %d waiting, turn %d, %v allowed", b.puts.inside, len(b.puts.waiting), b.puts.turn, b.puts.allowed)
	}
}

// A reader that is not closed keeps its place; one that failed does not.
func TestGets(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{})
	b := open(t, server, func(o *Options) { o.Connections = 2 })
	buckettest.Put(t, b, "k", []byte("content"), bucket.PutOptions{})
	var open []io.ReadCloser
	for range 2 {
		r, _, err := b.Get(t.Context(), "k", all)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, _, err := b.Get(ctx, "k", all); done <- err }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("a third: %v", err)
	}
	for _, r := range open {
		for range 2 {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for range 3 {
		if _, _, err := b.Get(t.Context(), "nothing", all); !errors.Is(err, bucket.ErrNotExist) {
			t.Error(err)
		}
	}
	if got, _, err := buckettest.Get(t.Context(), b, "k", all); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
}

// A completion whose answer was lost is found out by what is there, also by the next process.
func TestCompletedBefore(t *testing.T) {
	for name, o := range map[string]coldtest.Options{"sums": {}, "tags": {Provider: coldtest.Provider{Checksums: coldtest.ChecksumsRefused}}} {
		t.Run(name, func(t *testing.T) {
			server := coldtest.Start(t, o)
			b := open(t, server, nil)
			content := buckettest.Content(1, 1000)
			id, err := b.Begin(t.Context(), "k", bucket.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			p, err := b.PutPart(t.Context(), "k", id, 1, bytes.NewReader(content), 1000)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				info, err := b.Complete(t.Context(), "k", id, []bucket.Part{p}, bucket.PutOptions{})
				if err != nil || info.Size != 1000 || !strings.HasSuffix(info.ETag, "-1") {
					t.Errorf("%+v, %v", info, err)
				}
			}
			buckettest.Put(t, b, "k", content[1:], bucket.PutOptions{})
			if _, err := b.Complete(t.Context(), "k", id, []bucket.Part{p}, bucket.PutOptions{}); !errors.Is(err, bucket.ErrNoUpload) {
				t.Errorf("replaced since: %v", err)
			}
		})
	}
}

// The size of the first part is asked for where an ETag is all that tells about a content.
func TestPartSize(t *testing.T) {
	for name, c := range map[string]struct {
		o    coldtest.Options
		want int64
	}{"sums": {}, "tags": {coldtest.Options{Provider: coldtest.Provider{Checksums: coldtest.ChecksumsRefused}}, 5 << 20}} {
		server := coldtest.Start(t, c.o)
		b := open(t, server, nil)
		content := buckettest.Content(1, 6<<20)
		id, err := b.Begin(t.Context(), "k", bucket.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var parts []bucket.Part
		for n, piece := range [][]byte{content[:5<<20], content[5<<20:]} {
			p, err := b.PutPart(t.Context(), "k", id, n+1, bytes.NewReader(piece), int64(len(piece)))
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, p)
		}
		if _, err := b.Complete(t.Context(), "k", id, parts, bucket.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		head, err := b.Head(t.Context(), "k")
		if err != nil || head.PartSize != c.want || head.Size != 6<<20 {
			t.Errorf("%s: %+v, %v", name, head, err)
		}
	}
}

// A copy in parts has all that the original has.
func TestCopyInParts(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{})
	b := open(t, server, func(o *Options) { o.CopyPart = 5 << 20 })
	content := buckettest.Content(1, 11<<20)
	first := buckettest.Put(t, b, "from", content, bucket.PutOptions{ContentType: "video/mp4", Metadata: map[string]string{"name": "jürgen"}})
	info, err := b.Copy(t.Context(), "", "from", "to", int64(len(content)), bucket.CopyOptions{IfSource: first.ETag, PutOptions: bucket.PutOptions{IfNone: true}})
	if err != nil {
		t.Fatal(err)
	}
	got, head, err := buckettest.Get(t.Context(), b, "to", all)
	if err != nil || !bytes.Equal(got, content) || head.ContentType != "video/mp4" || head.Metadata["name"] != "jürgen" || head.ETag != info.ETag || !strings.HasSuffix(head.ETag, "-3") ||
		!bytes.Equal(head.Sum.Value, first.Sum.Value) {
		t.Errorf("%+v, %+v, %v", head, info, err)
	}
	if b.Requests()["UploadPartCopy"] != 3 {
		t.Error(b.Requests())
	}
	for _, o := range []bucket.CopyOptions{{IfSource: "0123"}, {PutOptions: bucket.PutOptions{IfNone: true}}} {
		if _, err := b.Copy(t.Context(), "", "from", "to", int64(len(content)), o); !errors.Is(err, bucket.ErrPrecondition) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := b.Copy(t.Context(), "", "from", "to", int64(len(content)+1), bucket.CopyOptions{}); !errors.Is(err, bucket.ErrPrecondition) {
		t.Errorf("another size: %v", err)
	}
	ups, err := b.c.ListMultipartUploads(t.Context(), uploadsOf(b))
	if err != nil || len(ups.Uploads) > 0 {
		t.Errorf("uploads that stay: %+v, %v", ups, err)
	}
}

// KMS's ETags are told as what they are.
func TestKMS(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{KMS: true})
	buckettest.Suite{Open: func(t *testing.T) bucket.Bucket { return open(t, server, nil) }, Objects: 5}.Run(t)
	b := open(t, server, nil)
	info := buckettest.Put(t, b, "k", []byte("x"), bucket.PutOptions{})
	if head, err := b.Head(t.Context(), "k"); err != nil || head.Encryption != "aws:kms" || info.Encryption != "aws:kms" {
		t.Errorf("%+v, %+v, %v", info, head, err)
	}
}

// Waits double, are never longer than they may be, and end.
func TestAgain(t *testing.T) {
	now := time.Unix(0, 0)
	var waits []time.Duration
	b := &Bucket{o: Options{Tries: 6, First: time.Second, Longest: 4 * time.Second, Patience: time.Hour, Now: func() time.Time { return now },
		Sleep: func(_ context.Context, d time.Duration) error { waits = append(waits, d); now = now.Add(d); return nil }}}
	var n tries
	err := iotest.ErrTimeout
	var last error
	for last == nil {
		last = b.again(t.Context(), &n, "put", "k", fmt.Errorf("%w: %w", store.ErrTimeout, err))
	}
	if len(waits) != 5 || !errors.Is(last, err) {
		t.Fatal(waits, last)
	}
	for i, most := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 4 * time.Second, 4 * time.Second} {
		if waits[i] <= 0 || waits[i] > most {
			t.Errorf("wait %d: %v", i, waits[i])
		}
	}
	n, waits, b.o.Patience = tries{}, nil, 0
	if err := b.again(t.Context(), &n, "put", "k", store.ErrTimeout); err != store.ErrTimeout || waits != nil {
		t.Error(err)
	}
}

// No goroutine outlives its call, whatever becomes of the call.
func TestNoLeak(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{PageKeys: 2})
	b := open(t, server, nil)
	for i := range 20 {
		buckettest.Put(t, b, fmt.Sprint(i), nil, bucket.PutOptions{})
	}
	enough := errors.New("enough")
	for range 20 {
		if err := b.List(t.Context(), "", "", func(bucket.Object) error { return enough }); err != enough {
			t.Fatal(err)
		}
	}
	if b.asks.inside != 0 || b.puts.inside != 0 || b.gets.inside != 0 {
		t.Error("somebody is inside")
	}
}

// The sum of a whole is that of its parts, joined.
func TestJoinCRC(t *testing.T) {
	for _, cuts := range [][]int{{0}, {1}, {0, 5}, {5, 0}, {1, 2, 3}, {1000, 1, 70_000, 3}, {1 << 16, 1 << 16}} {
		var parts []bucket.Part
		var whole []byte
		for i, n := range cuts {
			piece := buckettest.Content(uint64(i), n)
			whole = append(whole, piece...)
			h := newHash(byCRC)
			h.Write(piece)
			parts = append(parts, bucket.Part{Size: int64(n), Sum: h.Sum(nil)})
		}
		h := newHash(byCRC)
		h.Write(whole)
		if got, ok := joinCRC(parts); !ok || !bytes.Equal(got, h.Sum(nil)) {
			t.Errorf("%v: %x instead of %x", cuts, got, h.Sum(nil))
		}
	}
	if _, ok := joinCRC([]bucket.Part{{Size: 1}}); ok {
		t.Error("a sum of nothing known")
	}
}

func uploadsOf(b *Bucket) *api.ListMultipartUploadsInput {
	return &api.ListMultipartUploadsInput{Bucket: b.name}
}
