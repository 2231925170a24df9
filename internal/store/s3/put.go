package s3

import (
	"context"
	"crypto/md5" // what S3 calls Content-MD5
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

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
	return store.Fail("put", name, s.put(ctx, name, r, size, o))
}

func (s *Store) put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	part, err := s.partSize(size, o.Parts)
	if err != nil {
		return err
	}
	if s.refused(store.Conditions) {
		if _, err := s.stat(ctx, name); err == nil {
			return store.ErrExist
		} else if !errors.Is(err, store.ErrNotExist) && !errors.Is(err, store.ErrDenied) {
			return err
		}
	}
	if part > 0 {
		err = s.putParts(ctx, name, r, size, part, o)
	} else {
		s.forget(ctx, name, o.Memory)
		err = s.putWhole(ctx, name, r, size, o)
	}
	if err == nil && s.refused(store.Sums) {
		err = s.weigh(ctx, name, size)
	}
	if !s.amazon && errors.Is(err, store.ErrExist) {
		if _, missing := s.stat(ctx, name); errors.Is(missing, store.ErrNotExist) {
			return errHidden
		}
	}
	return err
}

// errHidden is of servers that take what was deleted, and is kept as a version, for there when it is to be created again.
var errHidden = errors.New("server does not create it, and does not show it: a version of it is kept behind a mark of deletion")

// partSize returns the size of the parts of an object, all but the last, or 0 where it is sent as one.
func (s *Store) partSize(size, want int64) (int64, error) {
	if size > int64(maxObject) {
		return 0, fmt.Errorf("object of %v is larger than %v", units.Size(size), maxObject)
	}
	part := want
	if part == 0 {
		part = int64(s.o.PartSize)
	}
	if part == 0 {
		part = int64(defaultPart)
	}
	part = min(max(part, int64(minPart)), int64(maxPart))
	most := int64(s.maxParts())
	if least := (size + most - 1) / most; part < least {
		part = (least + 1<<20 - 1) >> 20 << 20
	}
	switch {
	case size > int64(maxPut):
	case want > 0 && size > part:
	case want == 0 && s.o.PartsAbove > 0 && size > int64(s.o.PartsAbove):
	default:
		return 0, nil
	}
	if part > int64(maxPart) {
		return 0, fmt.Errorf("object of %v would need more than %d parts", units.Size(size), most)
	}
	return part, nil
}

// maxParts is into how many parts the server lets an object be cut.
func (s *Store) maxParts() int {
	if s.o.MaxParts > 0 {
		return s.o.MaxParts
	}
	if known := s.known.Load(); known != nil && known.MaxParts > 0 {
		return min(known.MaxParts, maxParts)
	}
	if u, err := url.Parse(s.o.Endpoint); err == nil && strings.HasSuffix(u.Hostname(), ".scw.cloud") {
		return fewParts // Scaleway documentation, "Object Storage limits"
	}
	return maxParts
}

func (s *Store) putWhole(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	in := api.PutObjectInput{Bucket: s.bucket(), Key: s.key(name), ContentLength: &size, IfNoneMatch: s.noneMatch(), StorageClass: types.StorageClass(o.Class)}
	if o.Sum.IsZero() || s.refused(store.Sums) {
		got, err := sumsOf(ctx, &section{r: store.Unpaced(r), size: size}, size, s.refused(store.Sums))
		if err != nil {
			return err
		}
		if !o.Sum.IsZero() && got.sha256 != o.Sum {
			return store.ErrChecksum
		}
		o.Sum, in.ContentMD5 = got.sha256, got.md5
	}
	if !s.refused(store.Sums) {
		in.ChecksumSHA256 = encode(o.Sum)
	}
	_, err := ask(ctx, s, func() (*api.PutObjectOutput, error) {
		in.Body = sending{ctx, &section{r: r, size: size}}
		return s.client.PutObject(ctx, &in, unsigned)
	})
	return err
}

// noneMatch is the condition under which an object is made.
func (s *Store) noneMatch() *string {
	if s.refused(store.Conditions) {
		return nil
	}
	return aws.String("*")
}

// weigh looks whether what was stored without a SHA-256 has its size at least.
func (s *Store) weigh(ctx context.Context, name string, size int64) error {
	info, err := s.stat(ctx, name)
	if errors.Is(err, store.ErrDenied) {
		return nil // who may write only cannot look
	}
	if err == nil && info.Size != size {
		err = fmt.Errorf("%w: server stored %d bytes of %d", store.ErrChecksum, info.Size, size)
	}
	return err
}

func encode(sum [32]byte) *string { return aws.String(base64.StdEncoding.EncodeToString(sum[:])) }

// sums are those of a whole object or of a part.
type sums struct {
	sha256 [32]byte
	md5    *string // in base64; nil: not wanted
}

// etag is what servers that do not encrypt tell of a part: its MD5.
func (s sums) etag() string {
	if s.md5 == nil {
		return ""
	}
	raw, _ := base64.StdEncoding.DecodeString(*s.md5)
	return hex.EncodeToString(raw)
}

// sumsOf reads size bytes of r from its start, and feeds others, too.
func sumsOf(ctx context.Context, r io.ReadSeeker, size int64, alsoMD5 bool, others ...io.Writer) (got sums, err error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return sums{}, err
	}
	sha := sha256.New()
	var weak hash.Hash
	to := append([]io.Writer{sha}, others...)
	if alsoMD5 {
		weak = md5.New()
		to = append(to, weak)
	}
	n, err := io.Copy(io.MultiWriter(to...), ctxReader{ctx, r})
	if err != nil {
		return sums{}, err
	}
	if n < size {
		return sums{}, errShort
	}
	got.sha256 = [32]byte(sha.Sum(nil))
	if alsoMD5 {
		got.md5 = aws.String(base64.StdEncoding.EncodeToString(weak.Sum(nil)))
	}
	return got, nil
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

// sending is the body of a request. It ends with its context: HTTP's client notices a cancelled context beside the sending, so
// that a body sent fast enough would still arrive whole and be stored although its caller has given up.
type sending struct {
	ctx context.Context
	io.ReadSeeker
}

func (b sending) Read(p []byte) (int, error) { return ctxReader{b.ctx, b.ReadSeeker}.Read(p) }

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
