package wire

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/store"
	"firn/internal/store/limit"
	"firn/internal/store/mem"
)

func TestParseLocation(t *testing.T) {
	for text, want := range map[string]Location{
		"/srv/backup":       {Scheme: "file", Path: "/srv/backup"},
		"backup":            {Scheme: "file", Path: "backup"},
		"./s3:x":            {Scheme: "file", Path: "./s3:x"},
		`C:\backup`:         {Scheme: "file", Path: `C:\backup`},
		"a/b:c":             {Scheme: "file", Path: "a/b:c"},
		"file:///srv/a%20b": {Scheme: "file", Path: filepath.FromSlash("/srv/a b")},
		"s3://bucket":       {Scheme: "s3", Bucket: "bucket"},
		"s3://bucket/":      {Scheme: "s3", Bucket: "bucket"},
		"S3://bucket/a/b/":  {Scheme: "s3", Bucket: "bucket", Prefix: "a/b"},
		"mem:x":             {Scheme: "mem", Path: "x"},
	} {
		got, err := ParseLocation(text)
		if err != nil || got != want {
			t.Errorf("ParseLocation(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "s3:bucket", "s3://", "s3://ab", "s3://bucket/a//b", "s3://bucket/../x", "s3://key:secret@bucket/x", "s3://bucket?x=1",
		"sftp://host/x", "file:x", "file://host/x", "file:///%zz", "file:///%00", "a\x00b", strings.Repeat("x", 5000)} {
		if got, err := ParseLocation(text); err == nil {
			t.Errorf("ParseLocation(%.40q) = %+v", text, got)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}

func FuzzParseLocation(f *testing.F) {
	for _, s := range []string{"/srv/x", "s3://bucket/a/b", "file:///a%20b", "mem:", `C:\x`, "s3://b@d/x", "file:////x", "s3:///", ":", "a:b", "./mem:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLocation(text)
		if err != nil {
			return
		}
		again, err := ParseLocation(l.String())
		if err != nil || again != l {
			t.Fatalf("%q is %+v, written %q, which is %+v, %v", text, l, l.String(), again, err)
		}
		if l.Scheme == "s3" && (!store.ValidName(l.Bucket) || l.Prefix != "" && !store.ValidName(l.Prefix)) {
			t.Fatalf("%q is %+v", text, l)
		}
	})
}

func TestOpenStore(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	for _, location := range []string{filepath.Join(dir, "new"), "mem:" + t.Name()} {
		s, err := OpenStore(ctx, location, StoreOptions{Connections: 2, Up: limit.Always(1 << 30), Tries: 3, CacheDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		maker, ok := store.As[store.Maker](s)
		if !ok {
			t.Fatalf("%s: no Maker behind the wrappers", location)
		}
		if err := maker.Make(ctx); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(ctx, "index/x", bytes.NewReader([]byte("abc")), 3, store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		again, err := OpenStore(ctx, location, StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if info, err := again.Stat(ctx, "index/x"); err != nil || info.Size != 3 || s.Location() != location {
			t.Errorf("%s: %+v, %v, %s", location, info, err, s.Location())
		}
	}
	if _, err := OpenStore(ctx, dir, StoreOptions{Endpoint: "https://x"}); err == nil {
		t.Error("a folder with an endpoint")
	}
	for _, bad := range []StoreOptions{{Endpoint: "localhost:80"}, {Endpoint: "https://user:pw@x"}, {PathStyle: "maybe"}, {PartSize: 1}, {GetEndpoint: "cdn.example"}, {MaxParts: 20_000}} {
		if _, err := OpenStore(ctx, "s3://bucket", bad); err == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

// Nothing that is behind a store that pretends can be reached and changed.
func TestPretendingHides(t *testing.T) {
	s := Pretending(mem.New(mem.Options{}))
	_, thaws := store.As[store.Thawer](s)
	_, moves := store.As[store.Mover](s)
	_, creates := store.As[store.Creator](s)
	_, sweeps := store.As[store.Sweeper](s)
	if thaws || moves || creates || sweeps {
		t.Errorf("thaws: %v, moves: %v, creates: %v, sweeps: %v", thaws, moves, creates, sweeps)
	}
}

// What thaws is found behind all wrappers.
func TestPowersBehindWrappers(t *testing.T) {
	s, err := OpenStore(t.Context(), "s3://bucket/prefix", StoreOptions{Endpoint: "http://127.0.0.1:1", Up: limit.Always(1 << 20), CacheDir: t.TempDir(),
		GetEndpoint: "https://cdn.example/x", MaxParts: 1000, Known: &store.Abilities{Tiers: store.No}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, thaws := store.As[store.Thawer](s)
	_, moves := store.As[store.Mover](s)
	_, rules := store.As[store.Ruler](s)
	_, sweeps := store.As[store.Sweeper](s)
	if !thaws || !moves || !rules || !sweeps {
		t.Errorf("thaws: %v, moves: %v, rules: %v, sweeps: %v", thaws, moves, rules, sweeps)
	}
}

// TestPretendingPut reads content from its start, wherever the reader stands.
func TestPretendingPut(t *testing.T) {
	s := Pretending(mem.New(mem.Options{}))
	r := strings.NewReader("content")
	for range 2 {
		if err := s.Put(t.Context(), "data/x", r, 7, store.PutOptions{}); err != nil {
			t.Error(err)
		}
	}
	if err := s.Put(t.Context(), "data/x", r, 8, store.PutOptions{}); err == nil {
		t.Error("content that is too short is taken")
	}
}
