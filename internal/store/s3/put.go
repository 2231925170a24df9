package s3

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/digest"
	"firn/internal/store"
	"firn/internal/units"
)

var unsigned = api.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if !store.ValidName(name) {
		return store.Fail("put", name, store.ErrName)
	}
	if o.Class == "" {
		o.Class = s.o.Class
	}
	put := s.putWhole
	if size > int64(maxPut) || s.o.PartsAbove > 0 && size > int64(s.o.PartsAbove) {
		put = s.putParts
	}
	return store.Fail("put", name, put(ctx, name, r, size, o))
}

func (s *Store) putWhole(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if o.Sum.IsZero() {
		var err error
		if o.Sum, err = sumOf(ctx, &section{r: r, size: size}); err != nil {
			return err
		}
	}
	_, err := s.client.PutObject(ctx, &api.PutObjectInput{
		Bucket: s.bucket(), Key: s.key(name),
		Body: &section{r: r, size: size}, ContentLength: &size,
		ChecksumSHA256: encode(o.Sum), IfNoneMatch: aws.String("*"), StorageClass: types.StorageClass(o.Class),
	}, unsigned)
	return s.fail(ctx, err)
}

func encode(sum [32]byte) *string { return aws.String(base64.StdEncoding.EncodeToString(sum[:])) }

func sumOf(ctx context.Context, r io.ReadSeeker) (digest.Object, error) {
	h := sha256.New()
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return digest.Object{}, err
	}
	if _, err := io.Copy(h, ctxReader{ctx, r}); err != nil {
		return digest.Object{}, err
	}
	return digest.Object(h.Sum(nil)), nil
}

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// putParts sends an object in parts. What was sent is given up if the upload fails, so that nothing is billed for it.
func (s *Store) putParts(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	part, err := s.partSize(size)
	if err != nil {
		return err
	}
	made, err := s.client.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: s.bucket(), Key: s.key(name),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, StorageClass: types.StorageClass(o.Class)})
	if err != nil {
		return s.fail(ctx, err)
	}
	u := upload{s: s, name: name, id: made.UploadId, r: r, size: size, part: part}
	sum, err := u.send(ctx)
	if err == nil && !o.Sum.IsZero() && sum != o.Sum {
		err = store.ErrChecksum
	}
	if err == nil {
		err = u.complete(ctx)
	}
	if err != nil && !unclear(err) {
		return errors.Join(err, u.abort(ctx))
	}
	return err
}

// partSize returns the size of the parts of an object, all but the last.
func (s *Store) partSize(size int64) (int64, error) {
	if size > int64(maxObject) {
		return 0, fmt.Errorf("object of %v is larger than %v", units.Size(size), maxObject)
	}
	part := int64(s.o.PartSize)
	if part == 0 {
		part = int64(defaultPart)
	}
	if least := (size + maxParts - 1) / maxParts; part < least {
		part = (least + 1<<20 - 1) >> 20 << 20
	}
	return part, nil
}

// upload is a multipart upload under way.
type upload struct {
	s    *Store
	name string
	id   *string
	r    io.ReadSeeker
	size int64
	part int64
	done []types.CompletedPart
}

// send sends the parts one after another and returns the sum of them all.
func (u *upload) send(ctx context.Context) (digest.Object, error) {
	whole := sha256.New()
	for offset, number := int64(0), int32(1); offset < u.size || number == 1; number++ {
		body := &section{r: u.r, base: offset, size: min(u.part, u.size-offset)}
		one := sha256.New()
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return digest.Object{}, err
		}
		if _, err := io.Copy(io.MultiWriter(one, whole), ctxReader{ctx, body}); err != nil {
			return digest.Object{}, err
		}
		if _, err := body.Seek(0, io.SeekStart); err != nil { // the SDK sends from where a body stands
			return digest.Object{}, err
		}
		sum := encode([32]byte(one.Sum(nil)))
		out, err := u.s.client.UploadPart(ctx, &api.UploadPartInput{Bucket: u.s.bucket(), Key: u.s.key(u.name), UploadId: u.id,
			PartNumber: aws.Int32(number), Body: body, ContentLength: &body.size, ChecksumSHA256: sum}, unsigned)
		if err != nil {
			return digest.Object{}, u.s.fail(ctx, err)
		}
		u.done = append(u.done, types.CompletedPart{PartNumber: aws.Int32(number), ETag: out.ETag, ChecksumSHA256: sum})
		offset += body.size
	}
	return digest.Object(whole.Sum(nil)), nil
}

func (u *upload) complete(ctx context.Context) error {
	_, err := u.s.client.CompleteMultipartUpload(ctx, &api.CompleteMultipartUploadInput{Bucket: u.s.bucket(), Key: u.s.key(u.name),
		UploadId: u.id, IfNoneMatch: aws.String("*"), MpuObjectSize: &u.size,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.done}})
	if err = u.s.fail(ctx, err); err != nil && (ctx.Err() != nil || store.IsTemporary(err)) {
		return &completion{err}
	}
	return err
}

// completion is an error after which the server may be putting the object together: the upload must not be given up then.
type completion struct{ err error }

func (c *completion) Error() string { return c.err.Error() }
func (c *completion) Unwrap() error { return c.err }

func unclear(err error) bool {
	var c *completion
	return errors.As(err, &c)
}

// abort gives up the upload, also after ctx has ended.
func (u *upload) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.s.o.Idle)
	defer cancel()
	_, err := u.s.client.AbortMultipartUpload(ctx, &api.AbortMultipartUploadInput{Bucket: u.s.bucket(), Key: u.s.key(u.name), UploadId: u.id})
	return u.s.fail(ctx, err)
}

var errShort = errors.New("content is shorter than it was said to be")

// section is size bytes of r from base on. It does not close r.
type section struct {
	r          io.ReadSeeker
	base, size int64
	at         int64
	placed     bool // r stands at base+at
}

func (s *section) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	if !s.placed {
		if _, err := s.r.Seek(s.base+s.at, io.SeekStart); err != nil {
			return 0, err
		}
		s.placed = true
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.size-s.at)])
	s.at += int64(n)
	if err == io.EOF && s.at < s.size {
		err = errShort
	}
	return n, err
}

func (s *section) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	if offset != s.at {
		s.at, s.placed = offset, false
	}
	return s.at, nil
}
