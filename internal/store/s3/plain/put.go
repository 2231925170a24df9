package plain

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
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
	if err := b.awkward(ctx, key); err != nil {
		return bucket.Info{}, err
	}
	if err := b.lookFirst(ctx, key, o, b.unconditional); err != nil {
		return bucket.Info{}, err
	}
	in := &api.PutObjectInput{Bucket: b.name, Key: &key, ContentLength: &size, Metadata: metadata, StorageClass: types.StorageClass(b.classOf(o.Class)), IfMatch: quoted(o.IfMatch)}
	if o.ContentType != "" {
		in.ContentType = &o.ContentType
	}
	if o.IfNone {
		in.IfNoneMatch = aws.String("*")
	}
	p := &putting{b: b, in: in, c: c, o: o}
	err = b.summed(o.Sum, func(level int32) error {
		if p.sums, err = sumsOf(c, level, o.Sum, b.verifies()); err != nil {
			return err
		}
		in.ChecksumCRC64NVME, in.ChecksumSHA256, in.ContentMD5 = p.sums.crc, p.sums.sha, p.sums.md5
		if err := b.do(ctx, b.puts, "put", key, func() error { return p.send(ctx) }); err != nil || level == byMD5 {
			return err
		}
		return p.confirmed(ctx)
	})
	if err == nil {
		err = b.kept(ctx, key)
	}
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

// verifies reports whether the server is known to compare sums, and not only to take them.
func (b *Bucket) verifies() bool { return b.s.Amazon() || b.observed.Load() }

// confirmed looks whether the server tells the sum that it was sent. One that does not ignores it: it is sent MD5s from now on, and what it has by now is compared by its ETag, or sent again.
func (p *putting) confirmed(ctx context.Context) error {
	b := p.b
	if p.info.Sum != nil || b.s.Amazon() {
		b.observed.Store(true)
		return nil
	}
	b.level.Store(byMD5)
	s, err := sumsOf(p.c, byMD5, nil, true)
	if err != nil {
		return err
	}
	if raw, err := base64.StdEncoding.DecodeString(*s.md5); err == nil && p.info.ETag == hex.EncodeToString(raw) || p.in.IfMatch != nil || p.in.IfNoneMatch != nil {
		return nil
	}
	p.in.ChecksumCRC64NVME, p.in.ChecksumSHA256, p.in.ContentMD5 = nil, nil, s.md5
	return b.do(ctx, b.puts, "put", *p.in.Key, func() error { return p.send(ctx) })
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

// ask makes the request.
func (p *putting) ask(ctx context.Context) (*api.PutObjectOutput, error) {
	out, done, err := p.b.direct.put(ctx, p)
	if done {
		return out, err
	}
	var sent *body
	out, err = s3.Ask(ctx, p.b.s, func() (*api.PutObjectOutput, error) {
		if sent != nil {
			_ = sent.detach(nil)
		}
		sent = p.b.body(p.c)
		p.in.Body = sent
		return p.b.c.PutObject(ctx, p.in, unsigned)
	})
	if err == nil && p.c.r == nil {
		p.b.direct.off.Store(true) // there is something that the SDK does better
	}
	return out, sent.detach(err)
}

// send is one try.
func (p *putting) send(ctx context.Context) error {
	out, err := p.ask(ctx)
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
