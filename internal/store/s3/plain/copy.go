package plain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/crc64nvme"
	"golang.org/x/sync/errgroup"

	"firn/internal/bucket"
	"firn/internal/store"
	"firn/internal/store/s3"
)

// copiesAtOnce is how many parts of one object are copied at once.
const copiesAtOnce = 8

// Copy implements bucket.Bucket. size decides whether one request will do. A condition that fails, on either side, is ErrPrecondition.
func (b *Bucket) Copy(ctx context.Context, fromBucket, from, key string, size int64, o bucket.CopyOptions) (bucket.Info, error) {
	info, err := b.copy(ctx, fromBucket, from, key, size, o)
	return info, bucket.Fail("copy", key, err)
}

func (b *Bucket) copy(ctx context.Context, fromBucket, from, key string, size int64, o bucket.CopyOptions) (bucket.Info, error) {
	for _, k := range []string{from, key} {
		if err := checkKey(k); err != nil {
			return bucket.Info{}, err
		}
	}
	if err := b.awkward(ctx, key); err != nil {
		return bucket.Info{}, err
	}
	if err := b.lookFirst(ctx, key, o.PutOptions, !b.s.Amazon()); err != nil { // few others look at conditions of a copy
		return bucket.Info{}, err
	}
	if fromBucket == "" {
		fromBucket = b.o.S3.Bucket
	}
	metadata, err := toHeaders(o.Metadata)
	if err != nil {
		return bucket.Info{}, err
	}
	c := &copying{b: b, fromBucket: fromBucket, from: from, key: key, size: size, o: o, metadata: metadata, source: aws.String(escapePath(fromBucket + "/" + from))}
	above := int64(maxCopy)
	if b.o.CopyPart > 0 {
		above = int64(b.o.CopyPart)
	}
	if size > above {
		err = c.inParts(ctx)
	} else {
		err = c.whole(ctx)
	}
	if err == nil {
		err = b.kept(ctx, key)
	}
	return c.info, err
}

// copying is a Copy under way.
type copying struct {
	b                     *Bucket
	fromBucket, from, key string
	source                *string
	size                  int64
	o                     bucket.CopyOptions
	metadata              map[string]string // as it is sent
	unclear               bool
	info                  bucket.Info
}

// escapePath encodes what a copy is made of; "+" is a space to some servers.
func escapePath(path string) string {
	const hexadecimal = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(path) {
		c := path[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~/", c) >= 0 {
			out.WriteByte(c)
			continue
		}
		out.WriteByte('%')
		out.WriteByte(hexadecimal[c>>4])
		out.WriteByte(hexadecimal[c&15])
	}
	return out.String()
}

// original asks for the object that is copied.
func (c *copying) original(ctx context.Context) (out *api.HeadObjectOutput, err error) {
	in := &api.HeadObjectInput{Bucket: &c.fromBucket, Key: &c.from, IfMatch: quoted(c.o.IfSource)}
	err = c.b.do(ctx, c.b.asks, "copy", c.from, func() error {
		out, err = s3.Ask(ctx, c.b.s, func() (*api.HeadObjectOutput, error) { return c.b.c.HeadObject(ctx, in, withSums) })
		return err
	})
	return out, err
}

func (c *copying) whole(ctx context.Context) error {
	in := &api.CopyObjectInput{Bucket: c.b.name, Key: &c.key, CopySource: c.source, CopySourceIfMatch: quoted(c.o.IfSource), IfMatch: quoted(c.o.IfMatch),
		StorageClass: types.StorageClass(c.b.classOf(c.o.Class)), MetadataDirective: types.MetadataDirectiveCopy}
	if c.o.IfNone {
		in.IfNoneMatch = aws.String("*")
	}
	if err := c.describe(ctx, in); err != nil {
		return err
	}
	return c.b.do(ctx, c.b.puts, "copy", c.key, func() error {
		out, err := s3.Ask(ctx, c.b.s, func() (*api.CopyObjectOutput, error) { return c.b.c.CopyObject(ctx, in, tolerant) })
		if err != nil {
			return c.failed(ctx, err)
		}
		return c.done(out)
	})
}

// describe says what becomes of metadata and content type. To give one anew means to give both.
func (c *copying) describe(ctx context.Context, in *api.CopyObjectInput) error {
	if c.o.Metadata == nil && c.o.ContentType == "" {
		return nil
	}
	in.MetadataDirective, in.Metadata = types.MetadataDirectiveReplace, c.metadata
	if c.o.ContentType != "" {
		in.ContentType = &c.o.ContentType
	}
	if c.o.Metadata != nil && c.o.ContentType != "" {
		return nil
	}
	old, err := c.original(ctx)
	if err != nil {
		return err
	}
	if c.o.Metadata == nil {
		in.Metadata = old.Metadata
	}
	if c.o.ContentType == "" {
		in.ContentType = old.ContentType
	}
	in.ContentEncoding, in.ContentDisposition, in.ContentLanguage, in.CacheControl = old.ContentEncoding, old.ContentDisposition, old.ContentLanguage, old.CacheControl
	return nil
}

// done takes the answer to a copy, and compares its sum with the one that the caller expects.
func (c *copying) done(out *api.CopyObjectOutput) error {
	r := out.CopyObjectResult
	if r == nil {
		return errors.New("server does not tell what it copied")
	}
	sum := sumOf(r.ChecksumCRC64NVME, r.ChecksumSHA256, r.ChecksumType)
	if want := c.o.Sum; want != nil && sum != nil && sum.Algorithm == want.Algorithm && sum.Parts == want.Parts && !bytes.Equal(sum.Value, want.Value) {
		return bucket.ErrChecksum
	}
	c.info = bucket.Info{Object: bucket.Object{Key: c.key, Size: c.size, ETag: tag(r.ETag), Modified: aws.ToTime(r.LastModified), Class: class(c.b.classOf(c.o.Class))}, Sum: sum,
		ContentType: c.o.ContentType, Metadata: c.o.Metadata, Encryption: string(out.ServerSideEncryption), Version: version(out.VersionId)}
	return nil
}

// failed looks whether a copy that was made before breaks its own condition.
func (c *copying) failed(ctx context.Context, err error) error {
	if c.unclear && (c.o.IfNone || c.o.IfMatch != "") && errors.Is(err, store.ErrExist) {
		if c.made(ctx) {
			return nil
		}
	}
	c.unclear = c.unclear || !final(err)
	return err
}

// made reports whether the copy is there already, by sums, or by ETags where neither is of parts.
func (c *copying) made(ctx context.Context) bool {
	old, err := c.original(ctx)
	if err != nil {
		return false
	}
	now, err := c.b.Head(ctx, c.key)
	if err != nil || now.Size != c.size || c.o.IfMatch != "" && now.ETag == c.o.IfMatch {
		return false
	}
	was := infoOfHead(c.from, old)
	same := was.ETag == now.ETag
	if was.Sum != nil && now.Sum != nil && was.Sum.Algorithm == now.Sum.Algorithm && was.Sum.Parts == now.Sum.Parts {
		same = bytes.Equal(was.Sum.Value, now.Sum.Value)
	}
	if same {
		c.info = now
	}
	return same
}

// inParts is whole for what one request cannot copy.
func (c *copying) inParts(ctx context.Context) error {
	old, err := c.original(ctx)
	if err != nil {
		return err
	}
	o := c.o.PutOptions
	if o.Metadata == nil {
		o.Metadata = fromHeaders(old.Metadata)
	}
	if o.ContentType == "" {
		o.ContentType = aws.ToString(old.ContentType)
	}
	if n := aws.ToInt64(old.ContentLength); n != c.size {
		return fmt.Errorf("%w: %d bytes instead of %d", bucket.ErrPrecondition, n, c.size)
	}
	id, err := c.b.begin(ctx, c.key, o)
	if err != nil {
		return err
	}
	parts, err := c.parts(ctx, id, tag(old.ETag))
	if err == nil {
		if o.Sum == nil {
			if s := sumOf(old.ChecksumCRC64NVME, nil, old.ChecksumType); s != nil {
				o.Sum = s
			}
		}
		c.info, err = c.b.complete(ctx, c.key, id, parts, o)
	}
	if err != nil && !store.IsTemporary(err) && ctx.Err() == nil || err != nil && len(parts) == 0 {
		err = errors.Join(err, c.b.abandon(ctx, c.key, id))
	}
	return err
}

// parts copies them all.
func (c *copying) parts(ctx context.Context, id, etag string) ([]bucket.Part, error) {
	size := int64(copyPart)
	if c.b.o.CopyPart > 0 {
		size = int64(c.b.o.CopyPart)
	}
	size = max(size, (c.size+maxParts-1)/maxParts)
	parts := make([]bucket.Part, (c.size+size-1)/size)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(copiesAtOnce)
	for i := range parts {
		work.Go(func() error {
			at := int64(i) * size
			parts[i] = bucket.Part{N: i + 1, Size: min(size, c.size-at)}
			return c.part(ctx, id, etag, at, &parts[i])
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	return parts, nil
}

// part copies one.
func (c *copying) part(ctx context.Context, id, etag string, at int64, p *bucket.Part) error {
	in := &api.UploadPartCopyInput{Bucket: c.b.name, Key: &c.key, UploadId: &id, PartNumber: aws.Int32(int32(p.N)), CopySource: c.source, CopySourceIfMatch: quoted(etag),
		CopySourceRange: aws.String(byteRange(at, p.Size))}
	return c.b.do(ctx, c.b.puts, "copy", c.key, func() error {
		out, err := s3.Ask(ctx, c.b.s, func() (*api.UploadPartCopyOutput, error) { return c.b.c.UploadPartCopy(ctx, in, tolerant) })
		if err != nil {
			return err
		}
		if out.CopyPartResult == nil {
			return errors.New("server does not tell what it copied")
		}
		p.ETag = tag(out.CopyPartResult.ETag)
		if s := parseSum(bucket.CRC64NVME, out.CopyPartResult.ChecksumCRC64NVME, crc64nvme.Size); s != nil {
			p.Sum = s.Value
		}
		return nil
	})
}
