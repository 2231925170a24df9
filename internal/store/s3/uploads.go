package s3

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"

	"firn/internal/store"
)

var (
	errNoUpload = errors.New("upload is gone")
	errPart     = errors.New("parts of the upload are not what was sent")
)

// fewParts is what every server takes.
const fewParts = 1000

// Uploads implements store.Sweeper.
func (s *Store) Uploads(ctx context.Context, prefix string, fn func(store.Upload) error) error {
	in := &api.ListMultipartUploadsInput{Bucket: s.bucket(), Prefix: s.key(prefix)}
	if *in.Prefix == "" {
		in.Prefix = nil
	}
	for {
		out, err := ask(ctx, s, func() (*api.ListMultipartUploadsOutput, error) { return s.client.ListMultipartUploads(ctx, in) })
		if err != nil {
			return store.Fail("list", prefix, err)
		}
		for _, u := range out.Uploads {
			name := aws.ToString(u.Key)
			if s.o.Prefix != "" {
				name = strings.TrimPrefix(name, s.o.Prefix+"/")
			}
			if !store.ValidName(name) || !strings.HasPrefix(name, prefix) || *s.key(name) != aws.ToString(u.Key) {
				continue
			}
			if err := fn(store.Upload{Name: name, ID: aws.ToString(u.UploadId), Class: string(u.StorageClass), Begun: aws.ToTime(u.Initiated)}); err != nil {
				return err
			}
		}
		if !aws.ToBool(out.IsTruncated) {
			return nil
		}
		if aws.ToString(out.NextKeyMarker) == aws.ToString(in.KeyMarker) && aws.ToString(out.NextUploadIdMarker) == aws.ToString(in.UploadIdMarker) {
			return store.Fail("list", prefix, errors.New("server cuts a listing and does not say how to go on"))
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
}

// Abandon implements store.Sweeper.
func (s *Store) Abandon(ctx context.Context, u store.Upload) error {
	if !store.ValidName(u.Name) {
		return store.Fail("delete", u.Name, store.ErrName)
	}
	return store.Fail("delete", u.Name, s.abort(ctx, u.Name, u.ID))
}

func (s *Store) abort(ctx context.Context, name, id string) error {
	_, err := ask(ctx, s, func() (*api.AbortMultipartUploadOutput, error) {
		return s.client.AbortMultipartUpload(ctx, &api.AbortMultipartUploadInput{Bucket: s.bucket(), Key: s.key(name), UploadId: &id})
	})
	if errors.Is(err, errNoUpload) || errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}

// abandon gives up an upload, also after ctx has ended.
func (s *Store) abandon(ctx context.Context, name, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Idle)
	defer cancel()
	return s.abort(ctx, name, id)
}

// forget gives up an upload that is remembered and of no use. What cannot be given up now is left to who sweeps.
func (s *Store) forget(ctx context.Context, name string, memory store.UploadMemory) {
	if memory == nil || memory.Upload() == "" {
		return
	}
	if m, ok := parseSaved(memory.Upload()); ok {
		_ = s.abort(ctx, name, m.id)
	}
	memory.SetUpload("")
}

// CountParts implements store.PartCounter: it sends one byte as the last part that Amazon takes. A server that refuses it is taken for one of those with a limit
// of 1,000.
func (s *Store) CountParts(ctx context.Context, name string) (int, error) {
	n, err := s.countParts(ctx, name)
	return n, store.Fail("put", name, err)
}

func (s *Store) countParts(ctx context.Context, name string) (n int, err error) {
	made, err := ask(ctx, s, func() (*api.CreateMultipartUploadOutput, error) {
		return s.client.CreateMultipartUpload(ctx, &api.CreateMultipartUploadInput{Bucket: s.bucket(), Key: s.key(name)})
	})
	if err != nil {
		return 0, err
	}
	id := aws.ToString(made.UploadId)
	defer func() { err = errors.Join(err, s.abandon(ctx, name, id)) }()
	_, err = ask(ctx, s, func() (*api.UploadPartOutput, error) {
		return s.client.UploadPart(ctx, &api.UploadPartInput{Bucket: s.bucket(), Key: s.key(name), UploadId: &id, PartNumber: aws.Int32(maxParts),
			Body: bytes.NewReader([]byte{0}), ContentLength: aws.Int64(1)}, unsigned)
	})
	switch {
	case err == nil:
		return maxParts, nil
	case store.IsTemporary(err), errors.Is(err, store.ErrDenied), errors.Is(err, store.ErrAuth), ctx.Err() != nil:
		return 0, err
	}
	return fewParts, nil
}
