package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"firn/internal/bucket"
	"firn/internal/store/limit"
	"firn/internal/store/s3"
	"firn/internal/store/s3/plain"
)

// ParseBucket reads s3://bucket/prefix, where the prefix is the beginning of keys exactly as it is written: any UTF-8 up to bucket.MaxKey bytes, with all its slashes. Nothing is unescaped.
func ParseBucket(text string) (name, prefix string, err error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found || !strings.EqualFold(scheme, "s3") {
		return "", "", fmt.Errorf("location %.200q: want s3://bucket or s3://bucket/prefix", text)
	}
	name, prefix, _ = strings.Cut(rest, "/")
	if strings.Contains(name, "@") {
		return "", "", errors.New("location of the bucket holds credentials: they belong into the environment or a profile")
	}
	if !validBucket(name) {
		return "", "", fmt.Errorf("location %.200q: %.100q is no bucket's name", text, name)
	}
	if len(prefix) > bucket.MaxKey || !utf8.ValidString(prefix) {
		return "", "", fmt.Errorf("location %.200q: the prefix is longer than %d bytes, or no UTF-8", text, bucket.MaxKey)
	}
	return name, prefix, nil
}

// IsBucket reports whether a location is meant to be a bucket's.
func IsBucket(text string) bool { return strings.HasPrefix(strings.ToLower(text), "s3://") }

// OpenBucket opens the bucket of plain objects at location, and returns it with the prefix of keys that location names, as it is written there. It makes no request.
func OpenBucket(ctx context.Context, location string, o StoreOptions) (bucket.Bucket, string, error) {
	name, prefix, err := ParseBucket(location)
	if err != nil {
		return nil, "", err
	}
	if o.GetEndpoint != "" || o.CacheDir != "" {
		return nil, "", fmt.Errorf("bucket %q: plain objects are read from the bucket itself, without a cache", name)
	}
	if o.Connections == 0 {
		o.Connections = defaultConnections
	}
	if o.Tries == 0 {
		o.Tries = defaultTries
	}
	b, err := plain.Open(ctx, plain.Options{
		S3: s3.Options{Bucket: name, Endpoint: o.Endpoint, Region: o.Region, Profile: o.Profile, PathStyle: o.PathStyle, Class: o.Class, MaxParts: o.MaxParts, Known: o.Known,
			Idle: o.Idle, First: o.Idle, Trace: o.Trace},
		Connections: o.Connections, Tries: o.Tries, Notify: o.Retry, Up: pacer(o.Up), Down: pacer(o.Down), Sent: o.Sent,
	})
	if err != nil {
		return nil, "", err
	}
	return b, prefix, nil
}

// pacer lets bytes pass at a rate; nil: any number.
func pacer(rate limit.Rate) plain.Pacer {
	if p := limit.NewPacer(rate, nil); p != nil {
		return p
	}
	return nil
}
