package s3

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"firn/internal/store"
)

// partsAtOnce is how many parts of one object are sent at once, if it can be read in several places.
const partsAtOnce = 4

// upload is an upload in parts. The class is given when it begins: with Amazon the parts are billed as STANDARD until the completion.
type upload struct {
	s      *Store
	name   string
	class  string
	memory store.UploadMemory // nil: none
	id     string
	r      io.ReadSeeker
	size   int64
	part   int64 // size of all parts but the last
	there  map[int32]types.Part
	done   []types.CompletedPart // by number less one
}

// putParts sends an object in parts, or the parts that are missing. An upload that fails is given up, so that nothing is billed for it, unless it is remembered and may
// go on.
func (s *Store) putParts(ctx context.Context, name string, r io.ReadSeeker, size, part int64, o store.PutOptions) error {
	u := &upload{s: s, name: name, class: o.Class, memory: o.Memory, r: r, size: size, part: part}
	if err := u.begin(ctx); err != nil {
		return err
	}
	sum, err := u.send(ctx)
	if err == nil && !o.Sum.IsZero() && sum != o.Sum {
		err = store.ErrChecksum
	}
	if err == nil {
		err = s.complete(ctx, &api.CompleteMultipartUploadInput{Bucket: s.bucket(), Key: s.key(name), UploadId: &u.id, IfNoneMatch: s.noneMatch(),
			MpuObjectSize: &size, MultipartUpload: &types.CompletedMultipartUpload{Parts: u.done}})
	}
	return u.end(ctx, err)
}

// begin takes up the upload that is remembered, or begins one.
func (u *upload) begin(ctx context.Context) error {
	if u.memory != nil {
		again, err := u.resume(ctx, u.memory.Upload())
		if again || err != nil {
			return err
		}
	}
	in := &api.CreateMultipartUploadInput{Bucket: u.s.bucket(), Key: u.s.key(u.name), StorageClass: types.StorageClass(u.class)}
	if !u.s.refused(store.Sums) {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
	}
	made, err := ask(ctx, u.s, func() (*api.CreateMultipartUploadOutput, error) { return u.s.client.CreateMultipartUpload(ctx, in) })
	if err != nil {
		return err
	}
	if u.id = aws.ToString(made.UploadId); u.id == "" {
		return errors.New("server begins an upload and does not name it")
	}
	if u.memory != nil {
		u.memory.SetUpload(saved{u.part, u.class, u.id}.String())
	}
	return nil
}

// saved is what is remembered of an upload.
type saved struct {
	part  int64
	class string
	id    string
}

const noClass = "-"

func (m saved) String() string {
	class := m.class
	if class == "" {
		class = noClass
	}
	return fmt.Sprintf("1 %d %s %s", m.part, class, m.id)
}

// parseSaved reads what String writes. What cannot be read is no upload.
func parseSaved(text string) (m saved, ok bool) {
	fields := strings.SplitN(text, " ", 4)
	if len(fields) != 4 || fields[0] != "1" || fields[3] == "" {
		return saved{}, false
	}
	part, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || part < int64(minPart) || part > int64(maxPart) {
		return saved{}, false
	}
	if fields[2] != noClass {
		m.class = fields[2]
	}
	m.part, m.id = part, fields[3]
	return m, true
}

// resume lists what is there of the upload that is remembered. It reports false where there is none that could go on, and fails with ErrExist where it had come to its end
// before that could be remembered.
func (u *upload) resume(ctx context.Context, text string) (bool, error) {
	if text == "" {
		return false, nil
	}
	m, ok := parseSaved(text)
	if !ok {
		u.memory.SetUpload("")
		return false, nil
	}
	if m.class != u.class || (u.size+m.part-1)/m.part > int64(u.s.maxParts()) {
		u.s.forget(ctx, u.name, u.memory)
		return false, nil
	}
	there, err := u.s.listParts(ctx, u.name, m.id)
	switch {
	case err == nil:
		u.part, u.id, u.there = m.part, m.id, there
		return true, nil
	case errors.Is(err, errNoUpload):
		u.memory.SetUpload("")
		info, err := u.s.stat(ctx, u.name)
		if err == nil && info.Size == u.size {
			return false, store.ErrExist
		}
		return false, nil
	case errors.Is(err, store.ErrDenied), errors.Is(err, store.ErrUnsupported): // what may not be listed cannot be trusted
		u.s.forget(ctx, u.name, u.memory)
		return false, nil
	}
	return false, err
}

func (s *Store) listParts(ctx context.Context, name, id string) (map[int32]types.Part, error) {
	there := map[int32]types.Part{}
	in := &api.ListPartsInput{Bucket: s.bucket(), Key: s.key(name), UploadId: &id}
	for range maxParts { // pages; a server that never ends is not followed for ever
		out, err := ask(ctx, s, func() (*api.ListPartsOutput, error) { return s.client.ListParts(ctx, in) })
		if err != nil {
			return nil, err
		}
		for _, p := range out.Parts {
			there[aws.ToInt32(p.PartNumber)] = p
		}
		if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextPartNumberMarker) == "" {
			break
		}
		in.PartNumberMarker = out.NextPartNumberMarker
	}
	return there, nil
}

// send sends the parts that are not there and returns the sum of them all. The content is read twice: for the sums, one part after another, and to send it, from
// several places at once where that can be done. Where one part fails no others are begun, and those under way come to their end: what has arrived need not be sent again.
func (u *upload) send(ctx context.Context) (whole [32]byte, err error) {
	parallel := readsAt(u.r) && readsAt(store.Unpaced(u.r))
	u.done = make([]types.CompletedPart, max(1, (u.size+u.part-1)/u.part))
	var work errgroup.Group
	var failed atomic.Bool
	work.SetLimit(partsAtOnce)
	all := sha256.New()
	for i := 0; i < len(u.done) && !failed.Load(); i++ {
		var todo func() error
		if todo, err = u.prepare(ctx, i, parallel, all); err != nil {
			break
		}
		if todo == nil {
			continue
		}
		if !parallel {
			if err = todo(); err != nil {
				break
			}
			continue
		}
		work.Go(func() error {
			err := todo()
			if err != nil {
				failed.Store(true)
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return whole, err
	}
	return [32]byte(all.Sum(nil)), err
}

func readsAt(r io.ReadSeeker) bool {
	_, ok := r.(io.ReaderAt)
	return ok
}

// pieceOf is size bytes of r from base on; with a position of its own where several are read at once.
func pieceOf(r io.ReadSeeker, base, size int64, parallel bool) io.ReadSeeker {
	if parallel {
		return io.NewSectionReader(r.(io.ReaderAt), base, size)
	}
	return &section{r: r, base: base, size: size}
}

// prepare reads a part for its sums, and returns what sends it, or nil if it is there already.
func (u *upload) prepare(ctx context.Context, i int, parallel bool, all hash.Hash) (func() error, error) {
	number, base := int32(i+1), int64(i)*u.part
	size := min(u.part, u.size-base)
	old, listed := u.there[number]
	weak := u.s.refused(store.Sums)
	got, err := sumsOf(ctx, pieceOf(store.Unpaced(u.r), base, size, parallel), size, weak || listed && old.ChecksumSHA256 == nil, all)
	if err != nil {
		return nil, err
	}
	part := &u.done[i]
	*part = types.CompletedPart{PartNumber: &number}
	if !weak {
		part.ChecksumSHA256 = encode(got.sha256)
	}
	if listed && aws.ToInt64(old.Size) == size && sameSum(old, got) {
		part.ETag = old.ETag
		return nil, nil
	}
	in := api.UploadPartInput{Bucket: u.s.bucket(), Key: u.s.key(u.name), UploadId: &u.id, PartNumber: &number, ContentLength: &size,
		ChecksumSHA256: part.ChecksumSHA256}
	if weak {
		in.ContentMD5 = got.md5
	}
	return func() error {
		if err := u.s.parts.Acquire(ctx, 1); err != nil {
			return err
		}
		defer u.s.parts.Release(1)
		out, err := ask(ctx, u.s, func() (*api.UploadPartOutput, error) {
			in.Body = sending{ctx, pieceOf(u.r, base, size, parallel)}
			return u.s.client.UploadPart(ctx, &in, unsigned)
		})
		if err != nil {
			return err
		}
		part.ETag = out.ETag
		return nil
	}, nil
}

// sameSum reports whether a part that was sent before has the content that it should have. Where the server tells no SHA-256 an ETag that is the MD5 of the part
// will do; one that is not is no proof, and the part is sent again.
func sameSum(old types.Part, got sums) bool {
	if old.ChecksumSHA256 != nil {
		return *old.ChecksumSHA256 == *encode(got.sha256)
	}
	return got.md5 != nil && strings.Trim(aws.ToString(old.ETag), `"`) == got.etag()
}

// complete puts an object together.
func (s *Store) complete(ctx context.Context, in *api.CompleteMultipartUploadInput) error {
	_, err := ask(ctx, s, func() (*api.CompleteMultipartUploadOutput, error) { return s.client.CompleteMultipartUpload(ctx, in) })
	if err != nil && !errors.Is(err, errNoUpload) && !errors.Is(err, errPart) && (ctx.Err() != nil || store.IsTemporary(err)) {
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

// end decides what becomes of an upload that ended with err.
func (u *upload) end(ctx context.Context, err error) error {
	if err == nil {
		if u.memory != nil {
			u.memory.SetUpload("")
		}
		return nil
	}
	if unclear(err) || u.memory != nil && !u.hopeless(err) {
		return err
	}
	failed := u.s.abandon(ctx, u.name, u.id)
	if u.memory != nil {
		u.memory.SetUpload("")
	}
	if failed != nil {
		return errors.Join(err, failed)
	}
	return err
}

// hopeless reports whether the upload cannot come to a good end.
func (u *upload) hopeless(err error) bool {
	for _, end := range []error{store.ErrExist, store.ErrChecksum, store.ErrNoStore, store.ErrUnsupported, errNoUpload, errPart} {
		if errors.Is(err, end) {
			return true
		}
	}
	var e *Error
	return errors.As(err, &e) && !e.temporary && e.Reason == nil && e.Status >= 400 && e.Status < 500
}
