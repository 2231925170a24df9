package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/bucket"
)

// Suite is the contract of bucket.Bucket, as tests.
type Suite struct {
	Open   func(t *testing.T) bucket.Bucket                            // a new, empty bucket
	Beside func(t *testing.T, b bucket.Bucket) (bucket.Bucket, string) // another bucket of the same server, and its name; nil: there is none to try
	Refuse func(key string) bool                                       // keys that this server does not take; nil: it takes all
	Skip   func(key string) bool                                       // keys that this server takes and does not tell as they are; nil: there are none
	Cold   string                                                      // a class whose objects have to be thawed; empty: there is none
	Wait   func(time.Duration)                                         // lets time pass, by which objects thaw

	NoCopyConditions bool // the server does not look at conditions of the destination of a copy
	NoConditions     bool // nor at any
	NoSums           bool // the server keeps no sums
	Objects          int  // to list; 0: 2,345
}

// Run runs all of it.
func (s Suite) Run(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"put and get": s.putGet, "ranges": s.ranges, "keys": s.keys, "list": s.list, "list many": s.listMany, "conditions": s.conditions, "sums": s.sums, "metadata": s.metadata,
		"copy": s.copies, "delete": s.deletes, "parts": s.parts, "parts resumed": s.resumed, "short": s.short, "cancelled": s.cancelled, "at once": s.atOnce, "cold": s.cold,
	} {
		t.Run(name, test)
	}
}

// Content makes n bytes, always the same for the same seed.
func Content(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 1})
	_, _ = r.Read(b)
	return b
}

// Put puts content, or fails the test.
func Put(t testing.TB, b bucket.Bucket, key string, content []byte, o bucket.PutOptions) bucket.Info {
	t.Helper()
	info, err := b.Put(t.Context(), key, bytes.NewReader(content), int64(len(content)), o)
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return info
}

// Get reads a range of an object.
func Get(ctx context.Context, b bucket.Bucket, key string, o bucket.GetOptions) ([]byte, bucket.Info, error) {
	r, info, err := b.Get(ctx, key, o)
	if err != nil {
		return nil, info, err
	}
	content, err := io.ReadAll(r)
	return content, info, errors.Join(err, r.Close())
}

var all = bucket.GetOptions{Length: -1}

// holds fails the test unless the object has that content, and HEAD and GET agree about it.
func holds(t testing.TB, b bucket.Bucket, key string, want []byte) bucket.Info {
	t.Helper()
	got, info, err := Get(t.Context(), b, key, all)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("get %q: %d bytes instead of %d, %v", key, len(got), len(want), err)
	}
	head, err := b.Head(t.Context(), key)
	if err != nil || head.Key != key || head.Size != int64(len(want)) || info.Size != head.Size || info.ETag != head.ETag || head.ETag == "" || !info.Modified.Equal(head.Modified) || info.Class != head.Class {
		t.Fatalf("head %q: %+v, get: %+v, %v", key, head, info, err)
	}
	return head
}

// Keys lists the keys behind after that begin with prefix.
func Keys(t testing.TB, b bucket.Bucket, prefix, after string) (keys []string) {
	t.Helper()
	if err := b.List(t.Context(), prefix, after, func(o bucket.Object) error { keys = append(keys, o.Key); return nil }); err != nil {
		t.Fatalf("list %q: %v", prefix, err)
	}
	return keys
}

func (s Suite) putGet(t *testing.T) {
	b := s.Open(t)
	for _, size := range []int{0, 1, 4097, 70_000, 1 << 20, 1<<20 + 1, 3 << 20} {
		content := Content(uint64(size), size)
		info := Put(t, b, "some/key", content, bucket.PutOptions{ContentType: "image/jpeg"})
		head := holds(t, b, "some/key", content)
		if info.ETag != head.ETag || info.Size != head.Size || head.ContentType != "image/jpeg" || head.Class != "" || info.Key != "some/key" {
			t.Errorf("put: %+v, head: %+v", info, head)
		}
		if age := time.Since(head.Modified); s.Wait == nil && (age < -time.Minute || age > time.Hour) {
			t.Errorf("modified %v", head.Modified)
		}
	}
	for _, key := range []string{"nothing", "some", "some/", "some/key/"} {
		if _, err := b.Head(t.Context(), key); !errors.Is(err, bucket.ErrNotExist) && !s.refuses(key) {
			t.Errorf("head %q: %v", key, err)
		}
		if _, _, err := b.Get(t.Context(), key, all); !errors.Is(err, bucket.ErrNotExist) && !s.refuses(key) {
			t.Errorf("get %q: %v", key, err)
		}
	}
	if l := b.Limits(); l.MaxPut < 1<<20 || l.MaxPart < l.MinPart || l.MaxParts < 1000 || !strings.HasPrefix(b.Location(), "s3://") {
		t.Errorf("%+v, %q", l, b.Location())
	}
}

func (s Suite) refuses(key string) bool { return s.Refuse != nil && s.Refuse(key) }

func (s Suite) ranges(t *testing.T) {
	b := s.Open(t)
	content := Content(1, 100_000)
	Put(t, b, "k", content, bucket.PutOptions{})
	for _, c := range []struct{ offset, length, from, to int64 }{
		{0, 1, 0, 1}, {0, 100_000, 0, 100_000}, {0, 1 << 40, 0, 100_000}, {5, -1, 5, 100_000}, {99_999, 1, 99_999, 100_000}, {99_999, 5, 99_999, 100_000}, {10, 0, 10, 10}, {100_000, -1, 100_000, 100_000},
		{100_000, 10, 100_000, 100_000}, {50_000, 1<<63 - 1, 50_000, 100_000},
	} {
		got, info, err := Get(t.Context(), b, "k", bucket.GetOptions{Offset: c.offset, Length: c.length})
		if err != nil || !bytes.Equal(got, content[c.from:c.to]) || info.Size != 100_000 {
			t.Errorf("%d+%d: %d bytes, %+v, %v", c.offset, c.length, len(got), info, err)
		}
	}
	for _, o := range []bucket.GetOptions{{Offset: 100_001, Length: -1}, {Offset: -1, Length: 1}, {Offset: 100_001}} {
		if got, _, err := Get(t.Context(), b, "k", o); err == nil {
			t.Errorf("%+v: %d bytes", o, len(got))
		}
	}
	Put(t, b, "empty", nil, bucket.PutOptions{})
	if got, info, err := Get(t.Context(), b, "empty", bucket.GetOptions{Length: 10}); err != nil || len(got) > 0 || info.Size != 0 {
		t.Errorf("%d bytes of nothing, %v", len(got), err)
	}
}

// AwkwardKeys are keys that programs get wrong.
func AwkwardKeys() []string {
	keys := []string{"plain", "with space", " lead", "trail ", "a+b", "a%20b", "%", "%2F", "%zz", "a%2Bb+c d", "a//b", "//", "/", "/lead", "lead/", "a/./b", "./a", "a/../b", "../../etc/passwd", "..", ".", "~", "a\\b",
		"ümläut", "日本語/ファイル", "\U0001f600", "e\u0301", "é", "?query=1", "#fragment", "a&b=c;d", "<tag>", "\"quoted\"", "'", "a\tb", "a\nb", "a\r\nb", "\x01\x02\x1f", "\x7f", "\u0085\u2028", "\ufffe", "\ufffd", "=?UTF-8?B?eA==?=",
		"con", "a:b", "a|b*c", "$HOME", "`id`", "{}", "[x]^", "@", "!", ",", "versions", "delete", "uploads", "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p"}
	keys = append(keys, strings.Repeat("x", bucket.MaxKey), strings.Repeat("ü", bucket.MaxKey/2), strings.Repeat("s/", bucket.MaxKey/2-1)+"e", strings.Repeat("%", 300))
	return keys
}

func (s Suite) keys(t *testing.T) {
	b := s.Open(t)
	want := map[string]string{}
	for i, key := range AwkwardKeys() {
		content := Content(uint64(i), 20+i)
		if s.Skip != nil && s.Skip(key) {
			continue
		}
		_, err := b.Put(t.Context(), key, bytes.NewReader(content), int64(len(content)), bucket.PutOptions{})
		if s.refuses(key) {
			if err == nil {
				t.Errorf("%q was taken", key)
				_, _ = b.Delete(t.Context(), []string{key})
			} else if !errors.Is(err, bucket.ErrKey) {
				t.Errorf("%q: %v", key, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("put %q: %v", key, err)
			continue
		}
		want[key] = string(content)
	}
	for key, content := range want {
		holds(t, b, key, []byte(content))
	}
	if got := Keys(t, b, "", ""); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("listed %q", got)
	}
	few := 0
	for key := range want {
		if few++; s.Objects > 0 && few > 15 { // the server may be a slow one
			break
		}
		if got := Keys(t, b, key, ""); len(got) == 0 || got[0] != key {
			t.Errorf("prefix %q: %q", key, got)
		}
		if got := Keys(t, b, "", key); slices.Contains(got, key) || len(got) > 0 && got[0] <= key {
			t.Errorf("after %q: %q", key, got)
		}
	}
	failed, err := b.Delete(t.Context(), slices.Collect(maps.Keys(want)))
	if left := Keys(t, b, "", ""); err != nil || len(failed) > 0 || len(left) > 0 {
		t.Errorf("left %q, failed %v, %v", left, failed, err)
	}
	for _, key := range []string{"", strings.Repeat("x", bucket.MaxKey+1), "\xff"} {
		_, err := b.Put(t.Context(), key, bytes.NewReader(nil), 0, bucket.PutOptions{})
		if !errors.Is(err, bucket.ErrKey) {
			t.Errorf("put %q: %v", key, err)
		}
	}
}

func (s Suite) list(t *testing.T) {
	b := s.Open(t)
	want := []string{"a", "a-b", "a/b", "a/b-c", "a/b/c", "a0", "b/", "b/x", "ü"}
	want = slices.DeleteFunc(want, func(key string) bool { return s.refuses(key) })
	want = slices.DeleteFunc(want, func(key string) bool { // a server of files has either a file or a folder
		return s.refuses("a/") && (key == "a" || key == "a/b" && s.refuses("a/b/"))
	})
	for i, key := range want {
		Put(t, b, key, Content(uint64(i), i), bucket.PutOptions{})
	}
	for _, c := range []struct{ prefix, after string }{{"", ""}, {"a", ""}, {"a/", ""}, {"a/", "a/b"}, {"", "a-b"}, {"a", "a/b-"}, {"nothing", ""}, {"", "\U0010ffff"}, {"b", "a"}, {"a", "b"}, {"b/", ""}} {
		var expect []string
		for _, key := range want {
			if strings.HasPrefix(key, c.prefix) && (key > c.after || c.after == "") {
				expect = append(expect, key)
			}
		}
		if got := Keys(t, b, c.prefix, c.after); !slices.Equal(got, expect) {
			t.Errorf("prefix %q after %q: %q instead of %q", c.prefix, c.after, got, expect)
		}
	}
	err := b.List(t.Context(), "", "", func(o bucket.Object) error {
		head, err := b.Head(t.Context(), o.Key)
		if err != nil || o != head.Object && (o.Size != head.Size || o.ETag != head.ETag || !o.Modified.Truncate(time.Second).Equal(head.Modified) || o.Class != head.Class) {
			t.Errorf("list: %+v, head: %+v, %v", o, head.Object, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	enough, calls := errors.New("enough"), 0
	err = b.List(t.Context(), "", "", func(bucket.Object) error { calls++; return enough })
	if err != enough || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func (s Suite) listMany(t *testing.T) {
	b := s.Open(t)
	n := s.Objects
	if n == 0 {
		n = 2345
	}
	var want []string
	var work sync.WaitGroup
	queue := make(chan string)
	for range 8 {
		work.Go(func() {
			for key := range queue {
				if _, err := b.Put(t.Context(), key, strings.NewReader(key), int64(len(key)), bucket.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		want = append(want, fmt.Sprintf("many/%d/%d ä", i%7, i))
		queue <- want[i]
	}
	close(queue)
	work.Wait()
	slices.Sort(want)
	if got := Keys(t, b, "many/", ""); !slices.Equal(got, want) {
		t.Errorf("%d keys instead of %d", len(got), len(want))
	}
	if got := Keys(t, b, "many/", want[n/2]); !slices.Equal(got, want[n/2+1:]) {
		t.Errorf("after the middle: %d keys instead of %d", len(got), len(want[n/2+1:]))
	}
	failed, err := b.Delete(t.Context(), want)
	if left := Keys(t, b, "many/", ""); err != nil || len(failed) > 0 || len(left) > 0 {
		t.Errorf("%d left, %d failed, %v", len(left), len(failed), err)
	}
}

func (s Suite) conditions(t *testing.T) {
	if s.NoConditions {
		t.Skip("the server does not look at conditions")
	}
	b := s.Open(t)
	put := func(text string, o bucket.PutOptions) (bucket.Info, error) {
		return b.Put(t.Context(), "k", strings.NewReader(text), int64(len(text)), o)
	}
	if _, err := put("one", bucket.PutOptions{IfMatch: "0123"}); !errors.Is(err, bucket.ErrPrecondition) {
		t.Errorf("replacing nothing: %v", err)
	}
	one, err := put("one", bucket.PutOptions{IfNone: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put("two", bucket.PutOptions{IfNone: true}); !errors.Is(err, bucket.ErrPrecondition) {
		t.Errorf("creating what is there: %v", err)
	}
	two, err := put("two", bucket.PutOptions{IfMatch: one.ETag})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put("three", bucket.PutOptions{IfMatch: one.ETag}); !errors.Is(err, bucket.ErrPrecondition) {
		t.Errorf("replacing what has changed: %v", err)
	}
	holds(t, b, "k", []byte("two"))
	if got, _, err := Get(t.Context(), b, "k", bucket.GetOptions{Length: -1, IfMatch: two.ETag}); err != nil || string(got) != "two" {
		t.Errorf("%q, %v", got, err)
	}
	for _, o := range []bucket.GetOptions{{Length: -1, IfMatch: one.ETag}, {IfMatch: one.ETag}, {Offset: 1, Length: 1, IfMatch: one.ETag}} {
		if _, _, err := Get(t.Context(), b, "k", o); !errors.Is(err, bucket.ErrPrecondition) {
			t.Errorf("reading what has changed: %v", err)
		}
	}
}

func (s Suite) sums(t *testing.T) {
	b := s.Open(t)
	for _, size := range []int{0, 1000, 1<<20 + 5} {
		content := Content(1, size)
		for _, a := range []bucket.Algorithm{bucket.SHA256, bucket.CRC64NVME} {
			sum := &bucket.Sum{Algorithm: a, Value: sumOf(a, content)}
			Put(t, b, "k", content, bucket.PutOptions{Sum: sum})
			head := holds(t, b, "k", content)
			if !s.NoSums && (head.Sum == nil || head.Sum.Algorithm != a || !bytes.Equal(head.Sum.Value, sum.Value) || head.Sum.Parts != 0) {
				t.Errorf("%s of %d bytes: %+v", a, size, head.Sum)
			}
			wrong := &bucket.Sum{Algorithm: a, Value: sumOf(a, append(slices.Clone(content), 'x'))}
			if _, err := b.Put(t.Context(), "wrong", bytes.NewReader(content), int64(size), bucket.PutOptions{Sum: wrong}); !errors.Is(err, bucket.ErrChecksum) {
				t.Errorf("wrong %s of %d bytes: %v", a, size, err)
			}
		}
		info := Put(t, b, "k", content, bucket.PutOptions{})
		if head := holds(t, b, "k", content); !s.NoSums && (head.Sum == nil || info.Sum == nil || !bytes.Equal(info.Sum.Value, head.Sum.Value) || !bytes.Equal(info.Sum.Value, sumOf(info.Sum.Algorithm, content))) {
			t.Errorf("put: %+v, head: %+v", info.Sum, head.Sum)
		}
	}
	if got := Keys(t, b, "", ""); !slices.Equal(got, []string{"k"}) {
		t.Errorf("%q", got)
	}
}

func (s Suite) metadata(t *testing.T) {
	b := s.Open(t)
	want := map[string]string{"mode": "0644", "mtime": "1700000000.123456789", "name": "jürgen", "spaces": "  two  spaces at both ends  ", "link": "../日本語/\U0001f600", "lines": "a\nb\tc\x01", "word": "=?UTF-8?Q?x?=", "long": strings.Repeat("ä", 300),
		"with-dash_and.dot": "x", "quote": `"a", 'b'; <c>`}
	Put(t, b, "k", []byte("x"), bucket.PutOptions{Metadata: want, ContentType: "text/plain; charset=utf-8"})
	head := holds(t, b, "k", []byte("x"))
	_, got, err := Get(t.Context(), b, "k", all)
	if err != nil || !maps.Equal(head.Metadata, want) || !maps.Equal(got.Metadata, want) || head.ContentType != "text/plain; charset=utf-8" {
		t.Errorf("%q, %q, %v", head.Metadata, got.Metadata, err)
	}
	Put(t, b, "k", []byte("x"), bucket.PutOptions{})
	if head := holds(t, b, "k", []byte("x")); len(head.Metadata) > 0 {
		t.Errorf("replaced: %q", head.Metadata)
	}
}

func (s Suite) copies(t *testing.T) {
	b := s.Open(t)
	content := Content(1, 50_000)
	metadata := map[string]string{"name": "jürgen", "mode": "0600"}
	first := Put(t, b, "from+here/ä %", content, bucket.PutOptions{Metadata: metadata, ContentType: "image/png"})
	info, err := b.Copy(t.Context(), "", "from+here/ä %", "to", 50_000, bucket.CopyOptions{})
	if err != nil || info.ETag == "" || info.Size != 50_000 {
		t.Fatalf("%+v, %v", info, err)
	}
	if head := holds(t, b, "to", content); !maps.Equal(head.Metadata, metadata) || head.ContentType != "image/png" {
		t.Errorf("%+v", head)
	}
	for _, o := range []bucket.CopyOptions{
		{PutOptions: bucket.PutOptions{Metadata: map[string]string{"other": "ö"}}},
		{PutOptions: bucket.PutOptions{ContentType: "text/html"}},
		{PutOptions: bucket.PutOptions{Metadata: map[string]string{"other": "ö"}, ContentType: "text/html"}, IfSource: first.ETag},
	} {
		if _, err := b.Copy(t.Context(), "", "from+here/ä %", "to", 50_000, o); err != nil {
			t.Error(err)
			continue
		}
		head := holds(t, b, "to", content)
		meta, kind := metadata, "image/png"
		if o.Metadata != nil {
			meta = o.Metadata
		}
		if o.ContentType != "" {
			kind = o.ContentType
		}
		if !maps.Equal(head.Metadata, meta) || head.ContentType != kind {
			t.Errorf("%+v: %+v", o, head)
		}
	}
	if _, err := b.Copy(t.Context(), "", "from+here/ä %", "to", 50_000, bucket.CopyOptions{IfSource: "0123"}); !errors.Is(err, bucket.ErrPrecondition) {
		t.Errorf("a source that has changed: %v", err)
	}
	if _, err := b.Copy(t.Context(), "", "nothing", "to", 1, bucket.CopyOptions{}); !errors.Is(err, bucket.ErrNotExist) {
		t.Errorf("no source: %v", err)
	}
	if !s.NoCopyConditions {
		if _, err := b.Copy(t.Context(), "", "from+here/ä %", "to", 50_000, bucket.CopyOptions{PutOptions: bucket.PutOptions{IfNone: true}}); !errors.Is(err, bucket.ErrPrecondition) {
			t.Errorf("creating what is there: %v", err)
		}
		if _, err := b.Copy(t.Context(), "", "from+here/ä %", "to", 50_000, bucket.CopyOptions{PutOptions: bucket.PutOptions{IfMatch: "0123"}}); !errors.Is(err, bucket.ErrPrecondition) {
			t.Errorf("replacing what has changed: %v", err)
		}
	}
	if s.Beside == nil {
		return
	}
	other, name := s.Beside(t, b)
	Put(t, other, "there", []byte("from there"), bucket.PutOptions{Metadata: metadata})
	if _, err := b.Copy(t.Context(), name, "there", "here", 10, bucket.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if head := holds(t, b, "here", []byte("from there")); !maps.Equal(head.Metadata, metadata) {
		t.Errorf("%+v", head)
	}
}

func (s Suite) deletes(t *testing.T) {
	b := s.Open(t)
	for _, key := range []string{"a", "b", "c"} {
		Put(t, b, key, []byte(key), bucket.PutOptions{})
	}
	failed, err := b.Delete(t.Context(), []string{"a", "nothing", "c"})
	if err != nil || len(failed) > 0 {
		t.Errorf("%v, %v", failed, err)
	}
	if got := Keys(t, b, "", ""); !slices.Equal(got, []string{"b"}) {
		t.Errorf("%q", got)
	}
	failed, err = b.Delete(t.Context(), []string{"b", "", "\xff"})
	if err != nil || len(failed) != 2 || !errors.Is(failed[""], bucket.ErrKey) || !errors.Is(failed["\xff"], bucket.ErrKey) {
		t.Errorf("%v, %v", failed, err)
	}
	if failed, err = b.Delete(t.Context(), nil); err != nil || len(failed) > 0 {
		t.Errorf("nothing: %v, %v", failed, err)
	}
	if got := Keys(t, b, "", ""); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// uploaded sends content in parts of the smallest size.
func uploaded(t *testing.T, b bucket.Bucket, key, id string, content []byte, skip func(n int) bool) (parts []bucket.Part) {
	t.Helper()
	size := int(b.Limits().MinPart)
	for n, at := 1, 0; at < len(content); n, at = n+1, at+size {
		piece := content[at:min(len(content), at+size)]
		if skip != nil && skip(n) {
			continue
		}
		p, err := b.PutPart(t.Context(), key, id, n, bytes.NewReader(piece), int64(len(piece)))
		if err != nil || p.N != n || p.Size != int64(len(piece)) || p.ETag == "" {
			t.Fatalf("part %d: %+v, %v", n, p, err)
		}
		parts = append(parts, p)
	}
	return parts
}

func (s Suite) parts(t *testing.T) {
	b := s.Open(t)
	content := Content(1, 2*int(b.Limits().MinPart)+12345)
	o := bucket.PutOptions{ContentType: "video/mp4", Metadata: map[string]string{"name": "jürgen"}}
	id, err := b.Begin(t.Context(), "big/ä key", o)
	if err != nil || id == "" {
		t.Fatal(id, err)
	}
	parts := uploaded(t, b, "big/ä key", id, content, nil)
	if _, err := b.Head(t.Context(), "big/ä key"); !errors.Is(err, bucket.ErrNotExist) {
		t.Errorf("there before it is complete: %v", err)
	}
	if !s.NoSums {
		o.Sum = &bucket.Sum{Algorithm: bucket.CRC64NVME, Value: sumOf(bucket.CRC64NVME, content)}
		wrong := o
		wrong.Sum = &bucket.Sum{Algorithm: bucket.CRC64NVME, Value: sumOf(bucket.CRC64NVME, content[1:])}
		if _, err := b.Complete(t.Context(), "big/ä key", id, parts, wrong); !errors.Is(err, bucket.ErrChecksum) {
			t.Errorf("wrong sum: %v", err)
		}
	}
	info, err := b.Complete(t.Context(), "big/ä key", id, parts, o)
	if err != nil {
		t.Fatal(err)
	}
	head := holds(t, b, "big/ä key", content)
	if info.ETag != head.ETag || info.Size != head.Size || !maps.Equal(head.Metadata, o.Metadata) || head.ContentType != o.ContentType || !strings.HasSuffix(head.ETag, fmt.Sprintf("-%d", len(parts))) {
		t.Errorf("complete: %+v, head: %+v", info, head)
	}
	if !s.NoSums && (head.Sum == nil || head.Sum.Parts != 0 || !bytes.Equal(head.Sum.Value, o.Sum.Value)) {
		t.Errorf("%+v", head.Sum)
	}
	if _, err := b.Parts(t.Context(), "big/ä key", id); !errors.Is(err, bucket.ErrNoUpload) {
		t.Errorf("parts of what is complete: %v", err)
	}
	if err := b.Abort(t.Context(), "big/ä key", id); err != nil {
		t.Errorf("abort of what is complete: %v", err)
	}
	if s.NoConditions {
		return
	}
	id, err = b.Begin(t.Context(), "big/ä key", bucket.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	parts = uploaded(t, b, "big/ä key", id, content[:100], nil)
	if _, err := b.Complete(t.Context(), "big/ä key", id, parts, bucket.PutOptions{IfNone: true}); !errors.Is(err, bucket.ErrPrecondition) {
		t.Errorf("creating what is there: %v", err)
	}
	if _, err := b.Complete(t.Context(), "big/ä key", id, parts, bucket.PutOptions{IfMatch: head.ETag}); err != nil {
		t.Errorf("replacing: %v", err)
	}
	holds(t, b, "big/ä key", content[:100])
}

// Another process goes on with an upload: it knows the id, and nothing else.
func (s Suite) resumed(t *testing.T) {
	b := s.Open(t)
	content := Content(2, 3*int(b.Limits().MinPart)+1)
	id, err := b.Begin(t.Context(), "k", bucket.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first := uploaded(t, b, "k", id, content, func(n int) bool { return n%2 == 0 })
	there, err := b.Parts(t.Context(), "k", id)
	if err != nil || len(there) != len(first) {
		t.Fatalf("%+v instead of %+v, %v", there, first, err)
	}
	for i := range there {
		if there[i].N != first[i].N || there[i].ETag != first[i].ETag || there[i].Size != first[i].Size {
			t.Errorf("%+v instead of %+v", there[i], first[i])
		}
	}
	rest := uploaded(t, b, "k", id, content, func(n int) bool { return n%2 == 1 })
	parts := append(there, rest...)
	slices.SortFunc(parts, func(a, b bucket.Part) int { return a.N - b.N })
	if _, err := b.Complete(t.Context(), "k", id, parts, bucket.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	holds(t, b, "k", content)

	id, err = b.Begin(t.Context(), "gone", bucket.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Abort(t.Context(), "gone", id), b.Abort(t.Context(), "gone", id)); err != nil {
		t.Errorf("abort twice: %v", err)
	}
	if _, err := b.Parts(t.Context(), "gone", id); !errors.Is(err, bucket.ErrNoUpload) {
		t.Errorf("parts: %v", err)
	}
	if _, err := b.PutPart(t.Context(), "gone", id, 1, strings.NewReader("x"), 1); !errors.Is(err, bucket.ErrNoUpload) {
		t.Errorf("part: %v", err)
	}
	if _, err := b.Complete(t.Context(), "gone", id, first[:1], bucket.PutOptions{}); !errors.Is(err, bucket.ErrNoUpload) {
		t.Errorf("complete: %v", err)
	}
}

// broken reads some bytes and fails.
type broken struct {
	*bytes.Reader
	err error
}

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

func (s Suite) short(t *testing.T) {
	b := s.Open(t)
	mine := errors.New("the disk is on fire")
	for _, size := range []int64{1000, 2 << 20} {
		content := Content(1, int(size))
		short := bytes.NewReader(content[:size-1])
		if _, err := b.Put(t.Context(), "k", short, size, bucket.PutOptions{}); !errors.Is(err, bucket.ErrShort) {
			t.Errorf("%d bytes, one is missing: %v", size, err)
		}
		if _, err := b.Put(t.Context(), "k", broken{bytes.NewReader(content[:size-1]), mine}, size, bucket.PutOptions{}); !errors.Is(err, mine) {
			t.Errorf("%d bytes that cannot be read: %v", size, err)
		}
		sum := &bucket.Sum{Algorithm: bucket.CRC64NVME, Value: sumOf(bucket.CRC64NVME, content)}
		if _, err := b.Put(t.Context(), "k", broken{bytes.NewReader(content[:size-1]), mine}, size, bucket.PutOptions{Sum: sum}); !errors.Is(err, mine) {
			t.Errorf("%d bytes of known sum that cannot be read: %v", size, err)
		}
	}
	if got := Keys(t, b, "", ""); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

func (s Suite) cancelled(t *testing.T) {
	b := s.Open(t)
	Put(t, b, "k", Content(1, 3<<20), bucket.PutOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	r, _, err := b.Get(ctx, "k", all)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = io.ReadAll(r)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for name, call := range map[string]func() error{
		"list":   func() error { return b.List(ctx, "", "", func(bucket.Object) error { return nil }) },
		"head":   func() error { _, err := b.Head(ctx, "k"); return err },
		"get":    func() error { _, _, err := b.Get(ctx, "k", all); return err },
		"put":    func() error { _, err := b.Put(ctx, "k2", strings.NewReader("x"), 1, bucket.PutOptions{}); return err },
		"delete": func() error { _, err := b.Delete(ctx, []string{"k"}); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	holds(t, b, "k", Content(1, 3<<20))
}

func (s Suite) atOnce(t *testing.T) {
	b := s.Open(t)
	var work sync.WaitGroup
	for w := range 16 {
		work.Go(func() {
			for i := range 10 {
				key, content := fmt.Sprintf("%d/%d", w, i), Content(uint64(w*100+i), 100*(w+1)*(i+1))
				if _, err := b.Put(t.Context(), key, bytes.NewReader(content), int64(len(content)), bucket.PutOptions{}); err != nil {
					t.Error(err)
					return
				}
				got, _, err := Get(t.Context(), b, key, all)
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s: %d bytes, %v", key, len(got), err)
				}
			}
		})
	}
	work.Wait()
	if got := Keys(t, b, "", ""); len(got) != 160 {
		t.Errorf("%d keys", len(got))
	}
}

func (s Suite) cold(t *testing.T) {
	if s.Cold == "" {
		t.Skip("the server has no cold class")
	}
	b := s.Open(t)
	Put(t, b, "k", []byte("cold"), bucket.PutOptions{Class: s.Cold})
	if head, err := b.Head(t.Context(), "k"); err != nil || head.Class != s.Cold || head.Thawed {
		t.Errorf("%+v, %v", head, err)
	}
	if _, _, err := Get(t.Context(), b, "k", all); !errors.Is(err, bucket.ErrCold) {
		t.Errorf("get: %v", err)
	}
	if _, err := b.Copy(t.Context(), "", "k", "other", 4, bucket.CopyOptions{}); !errors.Is(err, bucket.ErrCold) {
		t.Errorf("copy: %v", err)
	}
	thawer := b.(bucket.Thawer)
	for range 2 {
		if err := thawer.Thaw(t.Context(), "k", "Bulk", 3); err != nil {
			t.Fatal(err)
		}
	}
	if s.Wait != nil {
		s.Wait(60 * time.Hour)
	}
	if err := thawer.Thaw(t.Context(), "k", "Bulk", 3); err != nil {
		t.Errorf("again: %v", err)
	}
	head, err := b.Head(t.Context(), "k")
	if err != nil || !head.Thawed || head.Class != s.Cold {
		t.Errorf("%+v, %v", head, err)
	}
	if err := b.List(t.Context(), "", "", func(o bucket.Object) error {
		if o.Class != s.Cold || !o.Thawed {
			t.Errorf("%+v", o)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if got, _, err := Get(t.Context(), b, "k", all); err != nil || string(got) != "cold" {
		t.Errorf("%q, %v", got, err)
	}
	if err := thawer.Thaw(t.Context(), "nothing", "Bulk", 3); !errors.Is(err, bucket.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}
