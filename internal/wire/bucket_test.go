package wire

import (
	"strings"
	"testing"

	"firn/internal/bucket"
)

func TestParseBucket(t *testing.T) {
	for text, want := range map[string][2]string{
		"s3://photos": {"photos", ""}, "s3://photos/": {"photos", ""}, "S3://photos/a b/ä": {"photos", "a b/ä"}, "s3://photos/2019/": {"photos", "2019/"}, "s3://photos//a//": {"photos", "/a//"},
		"s3://photos/%20": {"photos", "%20"}, "s3://photos/..": {"photos", ".."},
	} {
		name, prefix, err := ParseBucket(text)
		if err != nil || name != want[0] || prefix != want[1] || !IsBucket(text) {
			t.Errorf("%q: %q, %q, %v", text, name, prefix, err)
		}
	}
	for _, text := range []string{"", "photos", "s3:photos", "s3://", "s3:///x", "s3://a@b/c", "s3://a b/c", "file:///a", "s3://photos/\xff", "s3://photos/" + strings.Repeat("x", bucket.MaxKey+1), "s3://ab"} {
		if name, prefix, err := ParseBucket(text); err == nil {
			t.Errorf("%q: %q, %q", text, name, prefix)
		}
	}
}

func TestOpenBucket(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	b, prefix, err := OpenBucket(t.Context(), "s3://photos/2019/", StoreOptions{Endpoint: "http://127.0.0.1:1", Region: "us-east-1"})
	if err != nil || prefix != "2019/" || b.Location() != "s3://photos" {
		t.Fatal(b, prefix, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for _, o := range []StoreOptions{{CacheDir: "x"}, {GetEndpoint: "https://x"}, {Endpoint: "x"}} {
		if _, _, err := OpenBucket(t.Context(), "s3://photos", o); err == nil {
			t.Errorf("%+v", o)
		}
	}
}
