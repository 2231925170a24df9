package plain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"

	"firn/internal/bucket"
	"firn/internal/store"
	"firn/internal/store/s3"
)

var errKey = errors.New("a key is UTF-8 of 1 to 1,024 bytes")

// checkKey refuses what no server takes as a key.
func checkKey(key string) error {
	if key == "" || len(key) > bucket.MaxKey || !utf8.ValidString(key) {
		return fmt.Errorf("%w: %w", bucket.ErrKey, errKey)
	}
	return nil
}

// What is known of how a server keeps names such as "a//b" and "a/../b": servers that keep objects as files may take them for paths, and so for other names.
const (
	namesUnknown = int32(iota)
	namesKept
	namesMapped
)

var errMapped = errors.New("it takes keys for paths, and would store it by another name")

// isPath reports whether a key is the shortest way to write a path; a slash at its end makes no difference.
func isPath(key string) bool {
	if key == "/" {
		return false
	}
	key = strings.TrimSuffix(key, "/")
	return path.Clean("/"+key) == "/"+key
}

// awkward refuses to make an object whose key the server would take for another.
func (b *Bucket) awkward(ctx context.Context, key string) error {
	mapped, err := b.mapped(ctx, key)
	if mapped {
		return fmt.Errorf("%w: %w", bucket.ErrKey, errMapped)
	}
	return err
}

// absent is awkward for what looks at objects: there is none of that name.
func (b *Bucket) absent(ctx context.Context, key string) error {
	mapped, err := b.mapped(ctx, key)
	if mapped {
		return fmt.Errorf("%w: %w", bucket.ErrNotExist, errMapped)
	}
	return err
}

// mapped reports whether the server takes a key for another. As long as it is not known how it does that an object that is there, and not listed by its name, tells.
func (b *Bucket) mapped(ctx context.Context, key string) (bool, error) {
	known := b.naming.Load()
	if isPath(key) || known == namesKept {
		return false, nil
	}
	if known == namesMapped {
		return true, nil
	}
	listed, err := b.listed(ctx, key)
	if err != nil || listed {
		return false, err
	}
	_, err = b.head(ctx, key, nil)
	if errors.Is(err, bucket.ErrNotExist) {
		return false, nil // it is not there by whatever name, so that nothing can be lost
	}
	if err == nil {
		b.naming.Store(namesMapped)
		return true, nil
	}
	var e *s3.Error
	if errors.As(err, &e) && e.Status == http.StatusBadRequest && !store.IsTemporary(err) {
		err = withReason(err, bucket.ErrKey) // whatever it does not like, it is the key
	}
	return false, err
}

// kept looks whether an object that was just made, and that was not there before, is listed by its name. If not it is removed.
func (b *Bucket) kept(ctx context.Context, key string) error {
	if isPath(key) || b.naming.Load() == namesKept {
		return nil
	}
	listed, err := b.listed(ctx, key)
	if err != nil || listed {
		return err
	}
	b.naming.Store(namesMapped)
	in := &api.DeleteObjectInput{Bucket: b.name, Key: &key}
	err = b.do(ctx, b.asks, "delete", key, func() error {
		_, err := s3.Ask(ctx, b.s, func() (*api.DeleteObjectOutput, error) { return b.c.DeleteObject(ctx, in) })
		return err
	})
	return errors.Join(fmt.Errorf("%w: %w", bucket.ErrKey, errMapped), err)
}

// listed reports whether the server lists an object of that very name, and remembers if it does.
func (b *Bucket) listed(ctx context.Context, key string) (bool, error) {
	p := b.page(ctx, key, &api.ListObjectsV2Input{Bucket: b.name, Prefix: &key, MaxKeys: aws.Int32(1)})
	if p.err != nil {
		return false, p.err
	}
	found := len(p.objects) > 0 && p.objects[0].Key == key
	if found {
		b.naming.Store(namesKept)
	}
	return found, nil
}

// lookFirst keeps the conditions of a write as well as it goes where the server does not.
func (b *Bucket) lookFirst(ctx context.Context, key string, o bucket.PutOptions, needed bool) error {
	if !needed || !o.IfNone && o.IfMatch == "" {
		return nil
	}
	out, err := b.head(ctx, key, nil)
	gone := errors.Is(err, bucket.ErrNotExist)
	switch {
	case err != nil && !gone:
		return err
	case gone && o.IfMatch != "", !gone && o.IfNone, !gone && o.IfMatch != "" && tag(out.ETag) != o.IfMatch:
		return bucket.ErrPrecondition
	}
	return nil
}
