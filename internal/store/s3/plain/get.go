package plain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"firn/internal/bucket"
	"firn/internal/store"
	"firn/internal/store/s3"
)

// withSums asks for the sums of an object. The SDK's own way to ask would have it compare them, too.
var withSums = api.WithAPIOptions(smithyhttp.SetHeaderValue("x-amz-checksum-mode", "ENABLED"))

// Head implements bucket.Bucket. Where only the ETag of an object in parts could tell about its content it asks for the size of the first part, too: two requests.
func (b *Bucket) Head(ctx context.Context, key string) (bucket.Info, error) {
	if err := checkKey(key); err != nil {
		return bucket.Info{}, bucket.Fail("head", key, err)
	}
	if err := b.absent(ctx, key); err != nil {
		return bucket.Info{}, bucket.Fail("head", key, err)
	}
	out, err := b.head(ctx, key, nil)
	if err != nil {
		return bucket.Info{}, err
	}
	info := infoOfHead(key, out)
	if _, number, composite := strings.Cut(info.ETag, "-"); composite && number != "1" && (info.Sum == nil || info.Sum.Parts > 0) && strings.Trim(number, "0123456789") == "" {
		first, err := b.head(ctx, key, aws.Int32(1))
		if err == nil && tag(first.ETag) == info.ETag && aws.ToString(first.ContentRange) != "" {
			info.PartSize = aws.ToInt64(first.ContentLength)
		}
	}
	return info, nil
}

func (b *Bucket) head(ctx context.Context, key string, part *int32) (out *api.HeadObjectOutput, err error) {
	in := &api.HeadObjectInput{Bucket: b.name, Key: &key, PartNumber: part}
	err = b.do(ctx, b.asks, "head", key, func() error {
		out, err = s3.Ask(ctx, b.s, func() (*api.HeadObjectOutput, error) { return b.c.HeadObject(ctx, in, withSums) })
		return err
	})
	return out, err
}

func infoOfHead(key string, out *api.HeadObjectOutput) bucket.Info {
	info := bucket.Info{Object: bucket.Object{Key: key, Size: aws.ToInt64(out.ContentLength), ETag: tag(out.ETag), Modified: aws.ToTime(out.LastModified), Class: class(string(out.StorageClass))},
		Sum: sumOf(out.ChecksumCRC64NVME, out.ChecksumSHA256, out.ChecksumType), ContentType: aws.ToString(out.ContentType), Encoding: aws.ToString(out.ContentEncoding),
		Metadata: fromHeaders(out.Metadata), Encryption: string(out.ServerSideEncryption), Version: version(out.VersionId), LockedUntil: aws.ToTime(out.ObjectLockRetainUntilDate)}
	info.Thawed = s3.ParseRestore(aws.ToString(out.Restore)).State == store.Thawed
	return info
}

// version is empty where the bucket keeps none.
func version(id *string) string {
	if id == nil || *id == "null" {
		return ""
	}
	return *id
}

// Get implements bucket.Bucket. A reader that breaks off is opened again where it stood, if the object is still the same.
func (b *Bucket) Get(ctx context.Context, key string, o bucket.GetOptions) (io.ReadCloser, bucket.Info, error) {
	if err := checkKey(key); err != nil {
		return nil, bucket.Info{}, bucket.Fail("get", key, err)
	}
	if err := b.absent(ctx, key); err != nil {
		return nil, bucket.Info{}, bucket.Fail("get", key, err)
	}
	if o.Offset < 0 {
		return nil, bucket.Info{}, bucket.Fail("get", key, fmt.Errorf("%w: offset %d", store.ErrRange, o.Offset))
	}
	if o.Length == 0 {
		return b.nothing(ctx, key, o)
	}
	r := &reader{b: b, ctx: ctx, key: key, at: o.Offset, want: o.Length, match: o.IfMatch}
	info, err := r.open()
	if errors.Is(err, store.ErrRange) {
		return b.nothing(ctx, key, o)
	}
	if err != nil {
		return nil, bucket.Info{}, bucket.Fail("get", key, err)
	}
	if s := info.Sum; s != nil && s.Parts == 0 && o.Offset == 0 && r.left == info.Size {
		r.sum, r.expected = algorithmHash(s.Algorithm), s.Value
	}
	return r, info, nil
}

// nothing is a Get that has nothing to send, which HTTP ranges cannot say.
func (b *Bucket) nothing(ctx context.Context, key string, o bucket.GetOptions) (io.ReadCloser, bucket.Info, error) {
	info, err := b.Head(ctx, key)
	if err == nil && o.IfMatch != "" && info.ETag != o.IfMatch {
		err = bucket.ErrPrecondition
	}
	if err == nil && o.Offset > info.Size {
		err = fmt.Errorf("%w: offset %d of %d bytes", store.ErrRange, o.Offset, info.Size)
	}
	if err != nil {
		return nil, bucket.Info{}, bucket.Fail("get", key, err)
	}
	return io.NopCloser(strings.NewReader("")), info, nil
}

// reader reads an object, or a range of it, over as many answers as it takes.
type reader struct {
	b     *Bucket
	ctx   context.Context
	key   string
	at    int64  // where the next byte lies
	want  int64  // bytes asked for at first; < 0: all
	match string // the ETag that the object must have; empty: any

	body     io.ReadCloser // nil: closed, or broken
	left     int64         // bytes that are missing
	opened   bool          // once
	turn     int           // of the gate
	inside   bool
	tries    tries
	sum      hash.Hash // nil: there is nothing to compare with
	expected []byte
	err      error // sticky
}

// open makes requests until one is answered.
func (r *reader) open() (info bucket.Info, err error) {
	for {
		if r.turn, err = r.b.gets.enter(r.ctx); err != nil {
			return info, err
		}
		r.inside = true
		if info, err = r.ask(); err == nil {
			return info, nil
		}
		r.leave(err)
		if err = r.b.again(r.ctx, &r.tries, "get", r.key, err); err != nil {
			return info, err
		}
	}
}

func (r *reader) leave(err error) {
	if r.inside {
		r.inside = false
		r.b.gets.leave(r.turn, err)
	}
}

// ask makes one request.
func (r *reader) ask() (bucket.Info, error) {
	in := &api.GetObjectInput{Bucket: r.b.name, Key: &r.key, IfMatch: quoted(r.match)}
	length := r.want
	if r.opened {
		length = r.left
	}
	if r.at > 0 || length > 0 {
		in.Range = aws.String(byteRange(r.at, length))
	}
	out, err := s3.Ask(r.ctx, r.b.s, func() (*api.GetObjectOutput, error) { return r.b.c.GetObject(r.ctx, in, withSums) })
	if err != nil {
		return bucket.Info{}, err
	}
	size, err := r.check(out)
	if err != nil {
		_ = out.Body.Close()
		return bucket.Info{}, err
	}
	r.body = out.Body
	if r.opened {
		return bucket.Info{}, nil
	}
	r.opened = true
	r.left = aws.ToInt64(out.ContentLength)
	r.match = tag(out.ETag)
	return infoOfGet(r.key, size, out), nil
}

// check holds an answer to what was asked, and returns the size of the object.
func (r *reader) check(out *api.GetObjectOutput) (int64, error) {
	n := aws.ToInt64(out.ContentLength)
	if out.ContentLength == nil || n < 0 {
		return 0, errors.New("server does not tell how much it sends")
	}
	text := aws.ToString(out.ContentRange)
	if text == "" {
		if r.at > 0 || r.opened && n != r.left {
			return 0, fmt.Errorf("server sends %d bytes from the start instead of those from %d on", n, r.at)
		}
		if r.want > 0 && n > r.want {
			return 0, errors.New("server sends all of an object instead of a range")
		}
		return n, nil
	}
	from, size, ok := parseRange(text)
	if !ok || from != r.at || r.opened && n != r.left || !r.opened && r.want > 0 && n > r.want {
		return 0, fmt.Errorf("server sends range %q, %d bytes, instead of that from %d on", text, n, r.at)
	}
	return size, nil
}

// parseRange reads "bytes first-last/size".
func parseRange(text string) (first, size int64, ok bool) {
	span, total, ok := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	from, _, ok2 := strings.Cut(span, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	size, err2 := strconv.ParseInt(total, 10, 64)
	return first, size, ok && ok2 && err == nil && err2 == nil && first >= 0 && size > first
}

func byteRange(offset, length int64) string {
	if length < 0 || offset > offset+length-1 {
		return fmt.Sprintf("bytes=%d-", offset)
	}
	return fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
}

func infoOfGet(key string, size int64, out *api.GetObjectOutput) bucket.Info {
	info := bucket.Info{Object: bucket.Object{Key: key, Size: size, ETag: tag(out.ETag), Modified: aws.ToTime(out.LastModified), Class: class(string(out.StorageClass))},
		Sum: sumOf(out.ChecksumCRC64NVME, out.ChecksumSHA256, out.ChecksumType), ContentType: aws.ToString(out.ContentType), Encoding: aws.ToString(out.ContentEncoding),
		Metadata: fromHeaders(out.Metadata), Encryption: string(out.ServerSideEncryption), Version: version(out.VersionId), LockedUntil: aws.ToTime(out.ObjectLockRetainUntilDate)}
	info.Thawed = s3.ParseRestore(aws.ToString(out.Restore)).State == store.Thawed
	return info
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.left == 0 {
		return 0, r.end()
	}
	if err := r.ctx.Err(); err != nil { // what has arrived by now could be read on
		r.err = bucket.Fail("get", r.key, err)
		return 0, r.err
	}
	p = p[:min(int64(len(p)), r.left)]
	if down := r.b.o.Down; down != nil {
		p = p[:min(len(p), max(1, down.Burst()))]
	}
	for {
		n, err := r.body.Read(p)
		if n > 0 {
			return n, r.got(p[:n])
		}
		if err == nil {
			return 0, nil
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if r.err = r.again(r.b.s.Cause(r.ctx, err)); r.err != nil {
			return 0, r.err
		}
	}
}

// got takes account of what was read. An error that came with it comes again.
func (r *reader) got(p []byte) error {
	r.at += int64(len(p))
	r.left -= int64(len(p))
	r.tries = tries{}
	if r.sum != nil {
		r.sum.Write(p)
	}
	if down := r.b.o.Down; down != nil {
		if err := down.WaitN(r.ctx, len(p)); err != nil {
			r.err = bucket.Fail("get", r.key, err)
			return r.err
		}
	}
	return nil
}

// again opens the object where it broke off.
func (r *reader) again(err error) error {
	_ = r.body.Close()
	r.body = http.NoBody
	r.leave(err)
	if r.match == "" { // of another content nobody could tell
		return bucket.Fail("get", r.key, failed(err))
	}
	if err = r.b.again(r.ctx, &r.tries, "get", r.key, err); err == nil {
		_, err = r.open()
	}
	return bucket.Fail("get", r.key, err)
}

// end compares what was read with its sum.
func (r *reader) end() error {
	r.err = io.EOF
	if r.sum != nil && !bytes.Equal(r.sum.Sum(nil), r.expected) {
		r.err = bucket.Fail("get", r.key, bucket.ErrChecksum)
	}
	return r.err
}

// Close implements io.Closer.
func (r *reader) Close() error {
	if r.err == nil {
		r.err = errors.New("read after close")
	}
	if r.body == nil {
		return nil
	}
	err := r.body.Close()
	r.body = nil
	r.leave(nil)
	return err
}
