package plain

import (
	"bytes"
	"context"
	"crypto/md5" // what ETags of parts are
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/crc64nvme"

	"firn/internal/bucket"
	"firn/internal/store"
	"firn/internal/store/s3"
	"firn/internal/units"
)

// Begin implements bucket.Bucket. Conditions are those of Complete.
func (b *Bucket) Begin(ctx context.Context, key string, o bucket.PutOptions) (string, error) {
	id, err := b.begin(ctx, key, o)
	return id, bucket.Fail("upload", key, err)
}

func (b *Bucket) begin(ctx context.Context, key string, o bucket.PutOptions) (id string, err error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	if err := b.awkward(ctx, key); err != nil {
		return "", err
	}
	metadata, err := toHeaders(o.Metadata)
	if err != nil {
		return "", err
	}
	in := &api.CreateMultipartUploadInput{Bucket: b.name, Key: &key, Metadata: metadata, StorageClass: types.StorageClass(b.classOf(o.Class))}
	if o.ContentType != "" {
		in.ContentType = &o.ContentType
	}
	summed := false
	err = b.summed(nil, func(level int32) error {
		if summed = level == byCRC; summed {
			in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeFullObject
		} else {
			in.ChecksumAlgorithm, in.ChecksumType = "", ""
		}
		return b.do(ctx, b.asks, "upload", key, func() error {
			out, err := s3.Ask(ctx, b.s, func() (*api.CreateMultipartUploadOutput, error) { return b.c.CreateMultipartUpload(ctx, in, tolerant) })
			if err == nil {
				id = aws.ToString(out.UploadId)
				summed = summed && (out.ChecksumAlgorithm != "" || b.verifies())
			}
			return err
		})
	})
	if err != nil {
		return "", err
	}
	if id == "" {
		return "", errors.New("server begins an upload and does not name it")
	}
	b.uploads.Store(id, summed)
	return id, nil
}

// summedUpload reports whether the parts of an upload go with a CRC64NVME.
func (b *Bucket) summedUpload(id string) bool {
	if known, ok := b.uploads.Load(id); ok {
		return known.(bool)
	}
	return b.level.Load() == byCRC
}

// PutPart implements bucket.Bucket.
func (b *Bucket) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	part, err := b.putPart(ctx, key, id, n, r, size)
	return part, bucket.Fail("upload", key, err)
}

func (b *Bucket) putPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	part := bucket.Part{N: n, Size: size}
	if err := checkKey(key); err != nil {
		return part, err
	}
	if n < 1 || n > maxParts || size < 0 || size > int64(maxPart) {
		return part, fmt.Errorf("part %d of %v: parts are 1 to %d, of at most %v", n, units.Size(size), maxParts, maxPart)
	}
	c, free, err := load(ctx, r, size)
	if err != nil {
		return part, err
	}
	defer free()
	in := &api.UploadPartInput{Bucket: b.name, Key: &key, UploadId: &id, PartNumber: aws.Int32(int32(n)), ContentLength: &size}
	level := byMD5
	if b.summedUpload(id) {
		level = byCRC
	}
	s, err := sumsOf(c, level, nil, true)
	if err != nil {
		return part, err
	}
	in.ChecksumCRC64NVME, in.ContentMD5 = s.crc, s.md5
	if s.crc != nil {
		part.Sum, _ = base64.StdEncoding.DecodeString(*s.crc)
	}
	err = b.do(ctx, b.puts, "upload", key, func() error {
		var sent *body
		out, err := s3.Ask(ctx, b.s, func() (*api.UploadPartOutput, error) {
			if sent != nil {
				_ = sent.detach(nil)
			}
			sent = b.body(c)
			in.Body = sent
			return b.c.UploadPart(ctx, in, unsigned)
		})
		if err = sent.detach(err); err == nil {
			part.ETag = tag(out.ETag)
		}
		return err
	})
	return part, err
}

// Parts implements bucket.Bucket.
func (b *Bucket) Parts(ctx context.Context, key, id string) ([]bucket.Part, error) {
	if err := checkKey(key); err != nil {
		return nil, bucket.Fail("upload", key, err)
	}
	in := &api.ListPartsInput{Bucket: b.name, Key: &key, UploadId: &id}
	var parts []bucket.Part
	for range maxParts { // pages; a server that never ends is not followed for ever
		var out *api.ListPartsOutput
		err := b.do(ctx, b.asks, "upload", key, func() (err error) {
			out, err = s3.Ask(ctx, b.s, func() (*api.ListPartsOutput, error) { return b.c.ListParts(ctx, in, tolerant) })
			return err
		})
		if err != nil {
			return nil, err
		}
		if out.ChecksumAlgorithm != "" || b.s.Amazon() {
			b.uploads.Store(id, out.ChecksumAlgorithm == types.ChecksumAlgorithmCrc64nvme)
		}
		for _, p := range out.Parts {
			part := bucket.Part{N: int(aws.ToInt32(p.PartNumber)), Size: aws.ToInt64(p.Size), ETag: tag(p.ETag)}
			if s := parseSum(bucket.CRC64NVME, p.ChecksumCRC64NVME, crc64nvme.Size); s != nil {
				part.Sum = s.Value
			}
			parts = append(parts, part)
		}
		if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextPartNumberMarker) == "" {
			break
		}
		in.PartNumberMarker = out.NextPartNumberMarker
	}
	return parts, nil
}

// Complete implements bucket.Bucket. Of o it takes the conditions and the sum, which must be a CRC64NVME; where there is none it is put together from those of the parts.
func (b *Bucket) Complete(ctx context.Context, key, id string, parts []bucket.Part, o bucket.PutOptions) (bucket.Info, error) {
	info, err := b.complete(ctx, key, id, parts, o)
	return info, bucket.Fail("upload", key, err)
}

func (b *Bucket) complete(ctx context.Context, key, id string, parts []bucket.Part, o bucket.PutOptions) (bucket.Info, error) {
	if err := checkKey(key); err != nil {
		return bucket.Info{}, err
	}
	if len(parts) == 0 || len(parts) > maxParts {
		return bucket.Info{}, fmt.Errorf("%d parts are not within 1 and %d", len(parts), maxParts)
	}
	if err := b.lookFirst(ctx, key, o, b.unconditional); err != nil {
		return bucket.Info{}, err
	}
	c := &completion{b: b, o: o, parts: parts}
	c.in = &api.CompleteMultipartUploadInput{Bucket: b.name, Key: &key, UploadId: &id, IfMatch: quoted(o.IfMatch), MpuObjectSize: &c.size,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: make([]types.CompletedPart, len(parts))}}
	if o.IfNone {
		c.in.IfNoneMatch = aws.String("*")
	}
	c.name(b.summedUpload(id))
	err := b.do(ctx, b.puts, "upload", key, func() error { return c.send(ctx) })
	if err != nil {
		return bucket.Info{}, err
	}
	b.uploads.Delete(id)
	return c.info, b.kept(ctx, key)
}

// completion is a Complete under way.
type completion struct {
	b       *Bucket
	in      *api.CompleteMultipartUploadInput
	o       bucket.PutOptions
	parts   []bucket.Part
	size    int64
	sum     []byte // CRC64NVME of the whole; nil: it is not known
	unclear bool   // a try before may have had its effect
	info    bucket.Info
}

// name names the parts, and the sum of the whole.
func (c *completion) name(summed bool) {
	for i, p := range c.parts {
		c.size += p.Size
		one := types.CompletedPart{PartNumber: aws.Int32(int32(p.N)), ETag: quoted(p.ETag)}
		if summed && len(p.Sum) == crc64nvme.Size {
			one.ChecksumCRC64NVME = encode(p.Sum)
		}
		c.in.MultipartUpload.Parts[i] = one
	}
	if o := c.o.Sum; o != nil && o.Algorithm == bucket.CRC64NVME && o.Parts == 0 {
		c.sum = o.Value
	} else if sum, ok := joinCRC(c.parts); ok {
		c.sum = sum
	}
	if summed && c.sum != nil {
		c.in.ChecksumCRC64NVME, c.in.ChecksumType = encode(c.sum), types.ChecksumTypeFullObject
	}
}

func (c *completion) send(ctx context.Context) error {
	out, err := s3.Ask(ctx, c.b.s, func() (*api.CompleteMultipartUploadOutput, error) {
		return c.b.c.CompleteMultipartUpload(ctx, c.in, tolerant)
	})
	if err == nil {
		c.info = bucket.Info{Object: bucket.Object{Key: *c.in.Key, Size: c.size, ETag: tag(out.ETag), Class: class(c.b.classOf(c.o.Class))}, ContentType: c.o.ContentType, Metadata: c.o.Metadata,
			Sum: sumOf(out.ChecksumCRC64NVME, out.ChecksumSHA256, out.ChecksumType), Encryption: string(out.ServerSideEncryption), Version: version(out.VersionId), PartSize: c.parts[0].Size}
		return nil
	}
	var e *s3.Error
	gone := errors.As(err, &e) && e.Code == "NoSuchUpload"
	if gone || c.unclear && errors.Is(err, store.ErrExist) {
		if info, head := c.b.Head(ctx, *c.in.Key); head == nil && c.made(info) {
			c.info = info
			return nil
		}
	}
	if !gone && c.in.IfMatch != nil && errors.Is(err, store.ErrNotExist) {
		err = refusedMatch(err)
	}
	c.unclear = c.unclear || !final(err)
	return err
}

// made reports whether an object is the one of these parts.
func (c *completion) made(info bucket.Info) bool {
	if info.Size != c.size {
		return false
	}
	if s := info.Sum; s != nil && s.Algorithm == bucket.CRC64NVME && c.sum != nil {
		return bytes.Equal(s.Value, c.sum)
	}
	all := md5.New()
	for _, p := range c.parts {
		raw, err := hex.DecodeString(p.ETag)
		if err != nil {
			return false
		}
		all.Write(raw)
	}
	return info.ETag == fmt.Sprintf("%x-%d", all.Sum(nil), len(c.parts))
}

// Abort implements bucket.Bucket.
func (b *Bucket) Abort(ctx context.Context, key, id string) error {
	in := &api.AbortMultipartUploadInput{Bucket: b.name, Key: &key, UploadId: &id}
	err := b.do(ctx, b.asks, "upload", key, func() error {
		_, err := s3.Ask(ctx, b.s, func() (*api.AbortMultipartUploadOutput, error) { return b.c.AbortMultipartUpload(ctx, in) })
		return err
	})
	if errors.Is(err, bucket.ErrNoUpload) || errors.Is(err, bucket.ErrNotExist) {
		err = nil
	}
	if err == nil {
		b.uploads.Delete(id)
	}
	return err
}

// abandon is Abort also after ctx has ended.
func (b *Bucket) abandon(ctx context.Context, key, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return b.Abort(ctx, key, id)
}
