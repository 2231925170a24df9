package plain

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"firn/internal/bucket"
	"firn/internal/store"
	"firn/internal/store/s3"
)

const (
	deletePage    = 1000 // keys of one request (Amazon S3 API Reference, DeleteObjects)
	deletesAtOnce = 8
)

// Delete implements bucket.Bucket. Keys that XML cannot carry, and all where the server has no DeleteObjects, are deleted one by one, several at once.
func (b *Bucket) Delete(ctx context.Context, keys []string) (map[string]error, error) {
	d := &deletion{b: b, failed: map[string]error{}}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(deletesAtOnce)
	page := make([]string, 0, min(len(keys), deletePage))
	flush := func() {
		if len(page) > 0 {
			some := page
			work.Go(func() error { return d.several(ctx, some) })
			page = make([]string, 0, deletePage)
		}
	}
	for _, key := range keys {
		err := checkKey(key)
		if err == nil {
			err = b.absent(ctx, key)
		}
		switch {
		case errors.Is(err, bucket.ErrNotExist):
		case err != nil:
			d.note(key, err)
		case b.single.Load() || !inXMLText(key):
			work.Go(func() error { return d.one(ctx, key) })
		default:
			if page = append(page, key); len(page) == deletePage {
				flush()
			}
		}
	}
	flush()
	err := work.Wait()
	return d.failed, bucket.Fail("delete", "", err)
}

// deletion is a Delete under way.
type deletion struct {
	b *Bucket

	mu     sync.Mutex
	failed map[string]error
}

func (d *deletion) note(key string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed[key] = bucket.Fail("delete", key, err)
}

// one deletes one. What goes wrong with it alone is no reason to leave the others; what goes wrong with every request is.
func (d *deletion) one(ctx context.Context, key string) error {
	in := &api.DeleteObjectInput{Bucket: d.b.name, Key: &key}
	err := d.b.do(ctx, d.b.asks, "delete", key, func() error {
		_, err := s3.Ask(ctx, d.b.s, func() (*api.DeleteObjectOutput, error) { return d.b.c.DeleteObject(ctx, in) })
		return err
	})
	if err == nil || errors.Is(err, bucket.ErrNotExist) {
		return nil
	}
	var e *s3.Error
	if errors.As(err, &e) && e.Status >= 400 && e.Status < 500 && !errors.Is(err, store.ErrAuth) && !errors.Is(err, store.ErrNoStore) && !errors.Is(err, s3.ErrRegion) && !errors.Is(err, store.ErrClock) {
		d.note(key, err)
		return nil
	}
	return err
}

// several deletes up to 1,000, again those of which the server says that it may do so later.
func (d *deletion) several(ctx context.Context, keys []string) error {
	left, told := keys, false
	err := d.b.do(ctx, d.b.asks, "delete", keys[0], func() error {
		in := &api.DeleteObjectsInput{Bucket: d.b.name, Delete: &types.Delete{Quiet: aws.Bool(true), Objects: make([]types.ObjectIdentifier, len(left))}}
		for i := range left {
			in.Delete.Objects[i].Key = &left[i]
		}
		out, err := s3.Ask(ctx, d.b.s, func() (*api.DeleteObjectsOutput, error) { return d.b.c.DeleteObjects(ctx, in) })
		if told = err == nil; !told {
			return err
		}
		left, err = d.sort(out.Errors)
		return err
	})
	switch {
	case err != nil && told && ctx.Err() == nil:
		for _, key := range left {
			d.note(key, err)
		}
		return nil
	case err != nil && d.lacks(err):
		d.b.single.Store(true)
		return d.each(ctx, left)
	}
	return err
}

// lacks reports whether the server has no DeleteObjects, or not as it is asked.
func (d *deletion) lacks(err error) bool {
	var e *s3.Error
	if d.b.s.Amazon() || !errors.As(err, &e) {
		return false
	}
	return errors.Is(err, store.ErrUnsupported) || e.Status == http.StatusNotFound && !errors.Is(err, store.ErrNoStore) || e.Status == http.StatusBadRequest && !store.IsTemporary(err) && e.Code != "ExpiredToken"
}

func (d *deletion) each(ctx context.Context, keys []string) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(deletesAtOnce)
	for _, key := range keys {
		work.Go(func() error { return d.one(ctx, key) })
	}
	return work.Wait()
}

// sort notes what failed for good, and returns the keys to delete again with the reason.
func (d *deletion) sort(errs []types.Error) (again []string, why error) {
	for _, one := range errs {
		key := aws.ToString(one.Key)
		err := d.b.s.Told(aws.ToString(one.Code), aws.ToString(one.Message))
		switch {
		case errors.Is(err, store.ErrNotExist):
		case store.IsTemporary(err):
			again, why = append(again, key), err
		default:
			d.note(key, failed(err))
		}
	}
	return again, why
}
