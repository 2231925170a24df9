package plain

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/bucket"
	"firn/internal/store"
	"firn/internal/store/s3"
)

// List implements bucket.Bucket. The next page is asked for while fn works on the one before; fn runs in the caller's goroutine.
func (b *Bucket) List(ctx context.Context, prefix, after string, fn func(bucket.Object) error) error {
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan *page)
	var fetcher sync.WaitGroup
	fetcher.Go(func() {
		defer close(pages)
		b.pages(ctx, prefix, after, pages)
	})
	defer fetcher.Wait()
	defer cancel()
	last, shown := after, false
	for p := range pages {
		if p.err != nil {
			return bucket.Fail("list", prefix, p.err)
		}
		for _, o := range p.objects {
			if !strings.HasPrefix(o.Key, prefix) || !shown && o.Key <= after {
				continue
			}
			if o.Key <= last && shown {
				return bucket.Fail("list", prefix, disorder(last, o.Key))
			}
			last, shown = o.Key, true
			if err := fn(o); err != nil {
				return err
			}
		}
	}
	return bucket.Fail("list", prefix, ctx.Err())
}

// disorder tells why a key comes where it should not. Servers that do not encode keys put U+FFFD into the place of what XML cannot carry.
func disorder(last, key string) error {
	for _, k := range []string{last, key} {
		if strings.ContainsRune(k, '\ufffd') {
			return fmt.Errorf("%w: the server does not tell what an object is called, but %q", bucket.ErrKey, k)
		}
	}
	return fmt.Errorf("server does not list in bytewise order: %q after %q", key, last)
}

// page is one of a listing.
type page struct {
	objects []bucket.Object
	next    string // token of the next page; empty: there is none
	err     error
}

// pages sends the pages of a listing until the last, an error or the end of ctx.
func (b *Bucket) pages(ctx context.Context, prefix, after string, to chan<- *page) {
	in := &api.ListObjectsV2Input{Bucket: b.name}
	if prefix != "" {
		in.Prefix = &prefix
	}
	if after != "" {
		in.StartAfter = &after
	}
	for {
		p := b.page(ctx, prefix, in)
		select {
		case to <- p:
		case <-ctx.Done():
			return
		}
		if p.err != nil || p.next == "" {
			return
		}
		in.ContinuationToken = &p.next
	}
}

// page asks for one page. What a server does not like to be asked for beside the listing itself it is not asked for again.
func (b *Bucket) page(ctx context.Context, prefix string, in *api.ListObjectsV2Input) *page {
	for {
		in.EncodingType, in.OptionalObjectAttributes = types.EncodingTypeUrl, restoreStatus
		raw, mute := b.raw.Load(), b.mute.Load()
		if raw {
			in.EncodingType = ""
		}
		if mute {
			in.OptionalObjectAttributes = nil
		}
		var p *page
		err := b.do(ctx, b.asks, "list", prefix, func() (err error) {
			p, err = b.askPage(ctx, in)
			return err
		})
		switch {
		case err == nil:
			return p
		case !mute && b.refuses(err):
			b.mute.Store(true)
		case !raw && b.refuses(err):
			b.raw.Store(true)
		default:
			return &page{err: err}
		}
	}
}

var restoreStatus = []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus}

func (b *Bucket) askPage(ctx context.Context, in *api.ListObjectsV2Input) (*page, error) {
	var quick *page
	out, err := s3.Ask(ctx, b.s, func() (*api.ListObjectsV2Output, error) {
		quick = nil
		return b.c.ListObjectsV2(ctx, in, readQuickly(&quick))
	})
	if err != nil {
		return nil, err
	}
	if quick != nil {
		return quick, quick.err
	}
	return slowPage(out)
}

// slowPage takes a page from the SDK.
func slowPage(out *api.ListObjectsV2Output) (*page, error) {
	p := &page{objects: make([]bucket.Object, 0, len(out.Contents))}
	encoded := out.EncodingType == types.EncodingTypeUrl
	for _, o := range out.Contents {
		key := aws.ToString(o.Key)
		if encoded {
			key = decodeKey(key)
		}
		one := bucket.Object{Key: key, Size: aws.ToInt64(o.Size), ETag: tag(o.ETag), Modified: aws.ToTime(o.LastModified), Class: class(string(o.StorageClass))}
		if r := o.RestoreStatus; r != nil {
			one.Thawed = !aws.ToBool(r.IsRestoreInProgress) && r.RestoreExpiryDate != nil
		}
		p.objects = append(p.objects, one)
	}
	if !aws.ToBool(out.IsTruncated) {
		return p, nil
	}
	if p.next = aws.ToString(out.NextContinuationToken); p.next == "" {
		return nil, errCut
	}
	return p, nil
}

var errCut = errors.New("server cuts a listing and does not say how to go on")

// decodeKey undoes the URL-encoding of a listing, in which a space may be "+" or "%20".
func decodeKey(key string) string {
	if !strings.ContainsAny(key, "%+") {
		return key
	}
	if plain, err := url.QueryUnescape(key); err == nil {
		return plain
	}
	return key
}

// Thaw implements bucket.Thawer.
func (b *Bucket) Thaw(ctx context.Context, key string, tier string, days int) error {
	if err := checkKey(key); err != nil {
		return bucket.Fail("thaw", key, err)
	}
	if days < 1 || days > 1<<30 {
		return bucket.Fail("thaw", key, fmt.Errorf("a copy cannot be kept for %d days", days))
	}
	request := &types.RestoreRequest{Days: aws.Int32(int32(days))}
	if tier != "" {
		request.GlacierJobParameters = &types.GlacierJobParameters{Tier: types.Tier(tier)}
	}
	in := &api.RestoreObjectInput{Bucket: b.name, Key: &key, RestoreRequest: request}
	return b.do(ctx, b.asks, "thaw", key, func() error {
		_, err := s3.Ask(ctx, b.s, func() (*api.RestoreObjectOutput, error) { return b.c.RestoreObject(ctx, in) })
		var e *s3.Error
		switch {
		case errors.Is(err, store.ErrThawing):
			return nil
		case errors.As(err, &e) && e.Code == "InvalidObjectState":
			return withReason(err, store.ErrNotCold)
		}
		return err
	})
}
