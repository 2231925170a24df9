package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"firn/internal/store"
	"firn/internal/units"
)

const (
	maxCopy  = 5 * units.GiB // of one CopyObject (Amazon S3 API Reference, CopyObject)
	copyPart = 1 * units.GiB // of an object above it
)

// Move implements store.Mover: the object is copied onto itself, with its metadata, encryption and a lock that still holds, if it still is the one that was looked at. Its Modified is new
// then; above 5 GiB its SHA-256 is no longer reported. In a bucket with versions the one that was copied is deleted, unless a lock or a missing right forbids it; any that are older stay.
func (s *Store) Move(ctx context.Context, name, class string) error {
	if !store.ValidName(name) {
		return store.Fail("move", name, store.ErrName)
	}
	return store.Fail("move", name, s.move(ctx, name, class))
}

func (s *Store) move(ctx context.Context, name, class string) error {
	if class == "" {
		class = s.o.Class
	}
	if class == "" {
		class = standard
	}
	old, err := s.head(ctx, name)
	if err != nil {
		return err
	}
	was := s.infoOf(name, old)
	if was.Class == class {
		return nil
	}
	if (was.Class == "GLACIER" || was.Class == "DEEP_ARCHIVE") && was.Copy.State != store.Thawed {
		return store.ErrCold // as the server would say; this way it need not be asked
	}
	if aws.ToString(old.ETag) == "" {
		return errors.New("server tells no ETag, so that nobody knows what would be copied")
	}
	m := mover{s: s, name: name, class: types.StorageClass(class), old: old, was: was}
	if was.Size > int64(maxCopy) {
		err = m.inParts(ctx)
	} else {
		err = m.whole(ctx)
	}
	if err == nil && !s.amazon {
		err = m.verify(ctx)
	}
	if err == nil {
		m.clean(ctx)
	}
	return err
}

// mover moves one object.
type mover struct {
	s     *Store
	name  string
	class types.StorageClass
	old   *api.HeadObjectOutput
	was   store.Info
}

// source is how the object is named as one to copy from.
func (m *mover) source() *string {
	parts := strings.Split(*m.s.bucket()+"/"+*m.s.key(m.name), "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return aws.String(strings.Join(parts, "/"))
}

// lock is the lock that the copy gets, none where that of the original is over: servers refuse a date that has passed. Where a bucket locks what is new, they lock the copy by that rule.
func (m *mover) lock() (types.ObjectLockMode, *time.Time) {
	now, known := middleware.GetServerTime(m.old.ResultMetadata)
	if !known {
		now = time.Now()
	}
	if until := m.old.ObjectLockRetainUntilDate; until != nil && until.After(now) {
		return m.old.ObjectLockMode, until
	}
	return "", nil
}

func (m *mover) whole(ctx context.Context) error {
	in := &api.CopyObjectInput{Bucket: m.s.bucket(), Key: m.s.key(m.name), CopySource: m.source(), CopySourceIfMatch: m.old.ETag, StorageClass: m.class,
		MetadataDirective: types.MetadataDirectiveCopy, ServerSideEncryption: m.old.ServerSideEncryption, SSEKMSKeyId: m.old.SSEKMSKeyId, BucketKeyEnabled: m.old.BucketKeyEnabled,
		ObjectLockLegalHoldStatus: m.old.ObjectLockLegalHoldStatus}
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = m.lock()
	if !m.s.refused(store.Sums) {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
	}
	out, err := ask(ctx, m.s, func() (*api.CopyObjectOutput, error) { return m.s.client.CopyObject(ctx, in) })
	if err != nil {
		return moving(err)
	}
	if r := out.CopyObjectResult; r != nil && r.ChecksumSHA256 != nil && !m.was.Sum.IsZero() && *r.ChecksumSHA256 != *encode(m.was.Sum) {
		return store.ErrChecksum
	}
	return nil
}

// moving gives the errors of a copy the meaning that they have there: a condition that fails is about the source.
func moving(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Reason == store.ErrExist {
		e.Reason, e.temporary = errChanged, true
	}
	return err
}

var errChanged = errors.New("object was changed while it was moved")

// inParts is whole for objects that one CopyObject cannot take. The completion replaces the object at once.
func (m *mover) inParts(ctx context.Context) error {
	in := &api.CreateMultipartUploadInput{Bucket: m.s.bucket(), Key: m.s.key(m.name), StorageClass: m.class, Metadata: m.old.Metadata, ContentType: m.old.ContentType,
		ServerSideEncryption: m.old.ServerSideEncryption, SSEKMSKeyId: m.old.SSEKMSKeyId, BucketKeyEnabled: m.old.BucketKeyEnabled,
		ObjectLockLegalHoldStatus: m.old.ObjectLockLegalHoldStatus}
	in.ObjectLockMode, in.ObjectLockRetainUntilDate = m.lock()
	if !m.s.refused(store.Sums) {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
	}
	made, err := ask(ctx, m.s, func() (*api.CreateMultipartUploadOutput, error) { return m.s.client.CreateMultipartUpload(ctx, in) })
	if err != nil {
		return err
	}
	id := aws.ToString(made.UploadId)
	parts, err := m.copyParts(ctx, id)
	if err == nil {
		err = m.s.complete(ctx, &api.CompleteMultipartUploadInput{Bucket: m.s.bucket(), Key: m.s.key(m.name), UploadId: &id, MpuObjectSize: &m.was.Size,
			IfMatch: m.old.ETag, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	}
	if err != nil && !unclear(err) {
		err = errors.Join(moving(err), m.s.abandon(ctx, m.name, id))
	}
	return err
}

func (m *mover) copyParts(ctx context.Context, id string) ([]types.CompletedPart, error) {
	size := int64(copyPart)
	parts := make([]types.CompletedPart, (m.was.Size+size-1)/size)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(partsAtOnce)
	for i := range parts {
		work.Go(func() error {
			number, from := aws.Int32(int32(i+1)), int64(i)*size
			out, err := ask(ctx, m.s, func() (*api.UploadPartCopyOutput, error) {
				return m.s.client.UploadPartCopy(ctx, &api.UploadPartCopyInput{Bucket: m.s.bucket(), Key: m.s.key(m.name), UploadId: &id, PartNumber: number,
					CopySource: m.source(), CopySourceIfMatch: m.old.ETag, CopySourceRange: aws.String(byteRange(from, min(size, m.was.Size-from)))})
			})
			if err != nil {
				return err
			}
			if out.CopyPartResult == nil {
				return errors.New("server does not tell what it copied")
			}
			parts[i] = types.CompletedPart{PartNumber: number, ETag: out.CopyPartResult.ETag, ChecksumSHA256: out.CopyPartResult.ChecksumSHA256}
			return nil
		})
	}
	return parts, work.Wait()
}

// verify looks at an object after a server moved it that may ignore what it does not know.
func (m *mover) verify(ctx context.Context) error {
	now, err := m.s.stat(ctx, m.name)
	if err != nil {
		return err
	}
	if now.Class != string(m.class) || now.Size != m.was.Size {
		return fmt.Errorf("%w: after a move to %s it is in %s, with %d bytes of %d", store.ErrUnsupported, m.class, now.Class, now.Size, m.was.Size)
	}
	return nil
}

// clean deletes the version that was copied, which would be billed on and on. It is the very one that was looked at: what an intruder may have put over a good version is moved
// as it is, and the good one stays below it.
func (m *mover) clean(ctx context.Context) {
	id := aws.ToString(m.old.VersionId)
	if id == "" || id == noVersion {
		return // the bucket keeps none, or the copy has taken its place
	}
	_, _ = ask(ctx, m.s, func() (*api.DeleteObjectOutput, error) {
		return m.s.client.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: m.s.bucket(), Key: m.s.key(m.name), VersionId: &id})
	})
}
