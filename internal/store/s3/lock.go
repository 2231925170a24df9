package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/store"
)

// LockRule implements store.Locker: the Object Lock configuration of the bucket.
func (s *Store) LockRule(ctx context.Context) (store.LockRule, error) {
	out, err := ask(ctx, s, func() (*api.GetObjectLockConfigurationOutput, error) {
		return s.client.GetObjectLockConfiguration(ctx, &api.GetObjectLockConfigurationInput{Bucket: s.bucket()})
	})
	var e *Error
	if errors.As(err, &e) && e.Code == "ObjectLockConfigurationNotFoundError" {
		return store.LockRule{}, nil
	}
	if err != nil {
		return store.LockRule{}, store.Fail("locks", "", err)
	}
	var rule store.LockRule
	if c := out.ObjectLockConfiguration; c != nil {
		rule.Enabled = c.ObjectLockEnabled == types.ObjectLockEnabledEnabled
		if c.Rule != nil && c.Rule.DefaultRetention != nil {
			d := c.Rule.DefaultRetention
			rule.Mode, rule.Days, rule.Years = store.LockMode(d.Mode), int(aws.ToInt32(d.Days)), int(aws.ToInt32(d.Years))
		}
	}
	return rule, nil
}

// LockOf implements store.Locker. It is a HEAD, which tells of holds, too; where the right to see locks is missing it tells of none.
func (s *Store) LockOf(ctx context.Context, name string) (store.Lock, error) {
	if !store.ValidName(name) {
		return store.Lock{}, store.Fail("stat", name, store.ErrName)
	}
	out, err := s.head(ctx, name)
	if err != nil {
		return store.Lock{}, store.Fail("stat", name, err)
	}
	return lockOf(out), nil
}

func lockOf(out *api.HeadObjectOutput) store.Lock {
	l := store.Lock{Mode: store.LockMode(out.ObjectLockMode), Hold: out.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn}
	if l.Mode != store.NoLock {
		l.Until = aws.ToTime(out.ObjectLockRetainUntilDate)
	}
	return l
}

// Extend implements store.Locker. The request is made at once: the server refuses one that would shorten or soften a lock, since it never asks to be let past it, and
// only then it is looked what is there.
func (s *Store) Extend(ctx context.Context, name string, mode store.LockMode, until time.Time) (store.Lock, error) {
	if !store.ValidName(name) {
		return store.Lock{}, store.Fail("lock", name, store.ErrName)
	}
	if mode != store.Governance && mode != store.Compliance {
		return store.Lock{}, store.Fail("lock", name, fmt.Errorf("no mode of a lock: %q", mode))
	}
	if whole := until.UTC().Truncate(time.Second); whole.Before(until) {
		until = whole.Add(time.Second)
	}
	l, err := s.extend(ctx, name, store.Lock{Mode: mode, Until: until.UTC()})
	return l, store.Fail("lock", name, err)
}

func (s *Store) extend(ctx context.Context, name string, want store.Lock) (store.Lock, error) {
	refused := s.retain(ctx, name, want)
	if refused == nil {
		return want, nil
	}
	if !errors.Is(refused, store.ErrDenied) {
		return store.Lock{}, refused
	}
	out, err := s.head(ctx, name)
	if err != nil {
		return store.Lock{}, refused
	}
	have := lockOf(out)
	switch {
	case have.Mode == store.NoLock:
		return store.Lock{}, refused
	case !have.Until.Before(want.Until):
		return have, nil
	case have.Mode == want.Mode:
		return store.Lock{}, refused
	}
	want.Mode = have.Mode // to make a lock harder takes the right to lift it
	return want, s.retain(ctx, name, want)
}

func (s *Store) retain(ctx context.Context, name string, l store.Lock) error {
	_, err := ask(ctx, s, func() (*api.PutObjectRetentionOutput, error) {
		return s.client.PutObjectRetention(ctx, &api.PutObjectRetentionInput{Bucket: s.bucket(), Key: s.key(name),
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(l.Mode), RetainUntilDate: &l.Until}})
	})
	var e *Error
	if errors.As(err, &e) && e.Reason == nil && (e.Code == "InvalidRequest" || e.Code == "InvalidBucketState") {
		e.Reason = store.ErrUnsupported // the bucket has no Object Lock
	}
	return err
}

// locked tells whether a deletion failed because of a lock, which servers say in the words of a missing right.
func (s *Store) locked(ctx context.Context, name, id string, err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Code != "ObjectLocked" && e.Reason != store.ErrDenied {
		return err
	}
	text := strings.ToLower(e.Message)
	said := e.Code == "ObjectLocked" || strings.Contains(text, "object lock") || strings.Contains(text, "worm")
	if !said && id == "" {
		return err
	}
	if l := s.lockOfVersion(ctx, name, id); said || l.Holds(time.Now()) {
		return &store.LockedError{Lock: l}
	}
	return err
}

// lockOfVersion tells the lock of a version, as far as the server tells. Some answer a HEAD of what is not the latest without it.
func (s *Store) lockOfVersion(ctx context.Context, name, id string) (l store.Lock) {
	head, of := &api.HeadObjectInput{Bucket: s.bucket(), Key: s.key(name)}, &api.GetObjectRetentionInput{Bucket: s.bucket(), Key: s.key(name)}
	if id != "" {
		head.VersionId, of.VersionId = &id, &id
	}
	if out, err := ask(ctx, s, func() (*api.HeadObjectOutput, error) { return s.client.HeadObject(ctx, head) }); err == nil {
		l = lockOf(out)
	}
	if l.Mode != store.NoLock {
		return l
	}
	out, err := ask(ctx, s, func() (*api.GetObjectRetentionOutput, error) { return s.client.GetObjectRetention(ctx, of) })
	if err == nil && out.Retention != nil {
		l.Mode, l.Until = store.LockMode(out.Retention.Mode), aws.ToTime(out.Retention.RetainUntilDate)
	}
	return l
}

// Keeping implements store.Versioner.
func (s *Store) Keeping(ctx context.Context) (store.Keeping, error) {
	out, err := ask(ctx, s, func() (*api.GetBucketVersioningOutput, error) {
		return s.client.GetBucketVersioning(ctx, &api.GetBucketVersioningInput{Bucket: s.bucket()})
	})
	if err != nil {
		return 0, store.Fail("versions", "", err)
	}
	switch out.Status {
	case types.BucketVersioningStatusEnabled:
		return store.KeepsVersions, nil
	case types.BucketVersioningStatusSuspended:
		return store.KeptVersions, nil
	}
	return store.KeepsNothing, nil
}

// noVersion is the id of what was made while a bucket kept no versions.
const noVersion = "null"

// DeleteVersion implements store.Versioner.
func (s *Store) DeleteVersion(ctx context.Context, name, id string) error {
	if !store.ValidName(name) {
		return store.Fail("delete", name, store.ErrName)
	}
	if id == "" {
		return store.Fail("delete", name, errors.New("no version is named"))
	}
	_, err := ask(ctx, s, func() (*api.DeleteObjectOutput, error) {
		return s.client.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: s.bucket(), Key: s.key(name), VersionId: &id})
	})
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	if err != nil {
		err = s.locked(ctx, name, id, err)
	}
	return store.Fail("delete", name, err)
}

// ListVersions implements store.Versioner.
func (s *Store) ListVersions(ctx context.Context, prefix, after string, fn func(store.Version) error) error {
	in := &api.ListObjectVersionsInput{Bucket: s.bucket(), Prefix: s.key(prefix)}
	if *in.Prefix == "" {
		in.Prefix = nil
	}
	if after != "" {
		in.KeyMarker = s.key(after)
	}
	for {
		out, err := ask(ctx, s, func() (*api.ListObjectVersionsOutput, error) { return s.client.ListObjectVersions(ctx, in) })
		if err != nil {
			return store.Fail("list", prefix, err)
		}
		for _, v := range s.versionsOf(out, prefix, after) {
			if err := ctx.Err(); err != nil {
				return store.Fail("list", prefix, err)
			}
			if err := fn(v); err != nil {
				return err
			}
		}
		if !aws.ToBool(out.IsTruncated) {
			return nil
		}
		if aws.ToString(out.NextKeyMarker) == aws.ToString(in.KeyMarker) && aws.ToString(out.NextVersionIdMarker) == aws.ToString(in.VersionIdMarker) {
			return store.Fail("list", prefix, errors.New("server cuts a listing and does not say how to go on"))
		}
		in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
	}
}

// versionsOf are those of a page, versions and marks in one order, which the SDK takes apart.
func (s *Store) versionsOf(out *api.ListObjectVersionsOutput, prefix, after string) []store.Version {
	var page []store.Version
	add := func(key, id *string, at *time.Time, latest *bool, v store.Version) {
		info, ours := s.info(types.Object{Key: key, Size: &v.Size, LastModified: at, StorageClass: types.ObjectStorageClass(v.Class)}, prefix)
		if !ours || info.Name <= after && after != "" {
			return
		}
		if v.Info, v.ID, v.Latest = info, aws.ToString(id), aws.ToBool(latest); v.ID == "" {
			v.ID = noVersion
		}
		if v.Mark {
			v.Class = ""
		}
		page = append(page, v)
	}
	for _, o := range out.Versions {
		add(o.Key, o.VersionId, o.LastModified, o.IsLatest, store.Version{Info: store.Info{Size: aws.ToInt64(o.Size), Class: string(o.StorageClass)}})
	}
	for _, o := range out.DeleteMarkers {
		add(o.Key, o.VersionId, o.LastModified, o.IsLatest, store.Version{Mark: true})
	}
	slices.SortStableFunc(page, func(a, b store.Version) int {
		if by := cmp.Compare(a.Name, b.Name); by != 0 {
			return by
		}
		if a.Latest != b.Latest {
			return latestFirst(a.Latest)
		}
		return b.Modified.Compare(a.Modified)
	})
	return page
}

func latestFirst(a bool) int {
	if a {
		return -1
	}
	return 1
}
