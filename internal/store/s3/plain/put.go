package plain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/bucket"
	"firn/internal/store"
	"firn/internal/store/s3"
	"firn/internal/units"
)

var unsigned = api.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)

// Put implements bucket.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, o bucket.PutOptions) (bucket.Info, error) {
	info, err := b.put(ctx, key, r, size, o)
	return info, bucket.Fail("put", key, err)
}

func (b *Bucket) put(ctx context.Context, key string, r io.ReadSeeker, size int64, o bucket.PutOptions) (bucket.Info, error) {
	if err := checkKey(key); err != nil {
		return bucket.Info{}, err
	}
	if size < 0 || size > int64(maxPut) {
		return bucket.Info{}, fmt.Errorf("%v is not within 0 and %v, which fit into one request", units.Size(size), maxPut)
	}
	metadata, err := toHeaders(o.Metadata)
	if err != nil {
		return bucket.Info{}, err
	}
	c, free, err := load(ctx, r, size)
	if err != nil {
		return bucket.Info{}, err
	}
	defer free()
	in := &api.PutObjectInput{Bucket: b.name, Key: &key, ContentLength: &size, Metadata: metadata, StorageClass: types.StorageClass(b.classOf(o.Class)), IfMatch: quoted(o.IfMatch)}
	if o.ContentType != "" {
		in.ContentType = &o.ContentType
	}
	if o.IfNone {
		in.IfNoneMatch = aws.String("*")
	}
	p := &putting{b: b, in: in, c: c, o: o}
	err = b.summed(o.Sum, func(level int32) error {
		if p.sums, err = sumsOf(c, level, o.Sum); err != nil {
			return err
		}
		in.ChecksumCRC64NVME, in.ChecksumSHA256, in.ContentMD5 = p.sums.crc, p.sums.sha, p.sums.md5
		return b.do(ctx, b.puts, "put", key, func() error { return p.send(ctx) })
	})
	if err != nil {
		return bucket.Info{}, err
	}
	return p.info, nil
}

// classOf is the class that is asked for.
func (b *Bucket) classOf(name string) string {
	if name == "" {
		name = b.o.S3.Class
	}
	return name
}

// summed makes a call with a sum that the server knows. A server that refuses one is asked by the next, and by that from then on if it takes it.
func (b *Bucket) summed(want *bucket.Sum, call func(level int32) error) error {
	level := b.levelOf(want)
	first := call(level)
	if first == nil || level == byMD5 || !b.refuses(first) {
		return first
	}
	for level++; level <= byMD5; level++ {
		err := call(level)
		if err == nil {
			b.level.Store(max(level, b.level.Load()))
			return nil
		}
		if !b.refuses(err) {
			return err
		}
	}
	return first
}

// putting is a Put under way.
type putting struct {
	b       *Bucket
	in      *api.PutObjectInput
	c       content
	o       bucket.PutOptions
	sums    sums
	unclear bool // a try before may have had its effect
	info    bucket.Info
}

func (p *putting) send(ctx context.Context) error {
	var sent *body
	out, err := s3.Ask(ctx, p.b.s, func() (*api.PutObjectOutput, error) {
		if sent != nil {
			_ = sent.detach(nil)
		}
		sent = p.b.body(p.c)
		p.in.Body = sent
		return p.b.c.PutObject(ctx, p.in, unsigned)
	})
	err = sent.detach(err)
	if err == nil {
		p.info = bucket.Info{Object: bucket.Object{Key: *p.in.Key, Size: p.c.size, ETag: tag(out.ETag), Class: class(string(p.in.StorageClass))},
			Sum: sumOf(out.ChecksumCRC64NVME, out.ChecksumSHA256, out.ChecksumType), ContentType: p.o.ContentType, Metadata: p.o.Metadata,
			Encryption: string(out.ServerSideEncryption), Version: aws.ToString(out.VersionId)}
		return nil
	}
	conditional := p.in.IfMatch != nil || p.in.IfNoneMatch != nil
	if p.unclear && conditional && (errors.Is(err, store.ErrExist) || errors.Is(err, store.ErrNotExist)) {
		if info, same := p.b.same(ctx, *p.in.Key, p.c, p.o.IfMatch); same {
			p.info = info
			return nil
		}
	}
	if p.in.IfMatch != nil && errors.Is(err, store.ErrNotExist) {
		err = refusedMatch(err)
	}
	p.unclear = p.unclear || !final(err)
	return err
}

// same reports whether what is there is what was to be put: an answer that was lost makes a condition fail that the object itself broke.
func (b *Bucket) same(ctx context.Context, key string, c content, before string) (bucket.Info, bool) {
	info, err := b.Head(ctx, key)
	if err != nil || info.Size != c.size || before != "" && info.ETag == before {
		return info, false
	}
	if s := info.Sum; s != nil && s.Parts == 0 {
		h := algorithmHash(s.Algorithm)
		return info, c.writeTo(h) == nil && bytes.Equal(h.Sum(nil), s.Value)
	}
	h := newHash(byMD5)
	return info, c.writeTo(h) == nil && info.ETag == fmt.Sprintf("%x", h.Sum(nil))
}

// withReason gives an error of a request another reason.
func withReason(err, reason error) error {
	var e *s3.Error
	if !errors.As(err, &e) {
		return err
	}
	other := *e
	other.Reason = reason
	return &other
}
