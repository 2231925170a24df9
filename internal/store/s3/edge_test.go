package s3

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"firn/internal/store"
	"firn/internal/storetest"
)

// behind returns a store whose packs are read through edge, and whose bucket is bucket.
func behind(t *testing.T, edge, bucket http.HandlerFunc) *Store {
	t.Helper()
	server := httptest.NewServer(edge)
	t.Cleanup(server.Close)
	return against(t, bucket, func(o *Options) { o.Prefix, o.GetEndpoint = "some/prefix", server.URL+"/cdn/" })
}

func TestEdge(t *testing.T) {
	var paths []string
	edge := func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		for _, secret := range []string{"Authorization", "X-Amz-Security-Token", "X-Amz-Date"} {
			if r.Header.Get(secret) != "" {
				t.Errorf("%s: %s", secret, r.Header.Get(secret))
			}
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	}
	bucket := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", "10")
			return
		}
		_, _ = io.WriteString(w, "bucket")
	}
	s := behind(t, edge, bucket)
	for _, c := range []struct {
		name           string
		offset, length int64
		want           string
	}{
		{"data/a", 0, -1, "0123456789"}, {"meta/a", 3, -1, "3456789"}, {"data/a", 3, 4, "3456"}, {"data/a", 8, 100, "89"}, {"data/a", 0, 4, "0123"}, {"data/a", 10, -1, ""},
		{"data/a", 5, 0, ""}, {"index/a", 0, -1, "bucket"}, {"firn.json", 0, -1, "bucket"}, {"database", 0, -1, "bucket"},
	} {
		if got, err := storetest.Get(t.Context(), s, c.name, c.offset, c.length); err != nil || string(got) != c.want {
			t.Errorf("%s %d+%d: %q, %v", c.name, c.offset, c.length, got, err)
		}
	}
	if len(paths) != 6 || paths[0] != "/cdn/some/prefix/data/a" || s.Requests()["GetEdge"] != 6 {
		t.Errorf("%q, %v", paths, s.Requests())
	}
	if _, err := s.Get(t.Context(), "data/a", 11, -1); !errors.Is(err, store.ErrRange) {
		t.Errorf("past the end: %v", err)
	}
}

func TestEdgeErrors(t *testing.T) {
	there := func(class, restore string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("x-amz-storage-class", class)
			if restore != "" {
				w.Header().Set("x-amz-restore", restore)
			}
		}
	}
	body := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	missing := refuse(404, "")
	for _, c := range []struct {
		name         string
		edge, bucket http.HandlerFunc
		want         error
		temporary    bool
	}{
		{"cold by S3's words", refuse(403, "InvalidObjectState"), missing, store.ErrCold, false},
		{"cold by the bucket's words", refuse(403, ""), there("DEEP_ARCHIVE", ""), store.ErrCold, false},
		{"being thawed", refuse(403, "AccessDenied"), there("GLACIER", headThawing), store.ErrCold, false},
		{"thawed, and denied all the same", refuse(403, "AccessDenied"), there("GLACIER", headThawed), errEdge, false},
		{"not at either", refuse(404, ""), missing, store.ErrNotExist, false},
		{"not at the edge", refuse(404, "NoSuchKey"), there("STANDARD", ""), errEdge, false},
		{"another bucket", refuse(404, "NoSuchBucket"), there("STANDARD", ""), errEdge, false},
		{"elsewhere", refuse(302, "", "Location", "https://nowhere.example"), there("STANDARD", ""), errEdge, false},
		{"a page about it", body(401, "<html>please sign in"), there("STANDARD", ""), errEdge, false},
		{"busy", refuse(503, ""), missing, nil, true},
		{"ranges are not known", body(200, "0123456789"), there("STANDARD", ""), nil, false},
		{"another range", refuse(206, "", "Content-Range", "bytes 0-5/10", "Content-Length", "6"), there("STANDARD", ""), nil, false},
		{"no length", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 3-9/10")
			w.WriteHeader(206)
			w.(http.Flusher).Flush()
		}, there("STANDARD", ""), nil, false},
	} {
		_, err := behind(t, c.edge, c.bucket).Get(t.Context(), "data/a", 3, 4)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || store.IsTemporary(err) != c.temporary {
			t.Errorf("%s: %v, temporary %v", c.name, err, store.IsTemporary(err))
		}
		if c.want != store.ErrNotExist && errors.Is(err, store.ErrNotExist) || c.want == errEdge && errors.Is(err, store.ErrDenied) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	s := against(t, missing, func(o *Options) { o.GetEndpoint = closed.URL })
	if _, err := s.Get(t.Context(), "data/a", 0, -1); !store.IsTemporary(err) {
		t.Errorf("nobody there: %v", err)
	}
	cut := behind(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	}, missing)
	if got, err := storetest.Get(t.Context(), cut, "data/a", 0, -1); !store.IsTemporary(err) || string(got) != "half" {
		t.Errorf("a body that was cut: %q, %v", got, err)
	}
	for _, bad := range []string{"cdn.example", "ftp://x", "https://u:p@x", "https://x?y=1", "https://x#y"} {
		if _, err := Open(t.Context(), Options{Bucket: "bucket", GetEndpoint: bad}); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
