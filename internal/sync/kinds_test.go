package sync_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"firn/internal/bucket"
	"firn/internal/bucket/buckettest"
	"firn/internal/price"
	"firn/internal/sync"
)

// TestMetadata sends modes, times, links and empty folders, as other programs name them, and brings them back.
func TestMetadata(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes and symlinks")
	}
	w := newWorld(t, buckettest.MemOptions{})
	w.write("sub/run.sh", "#!/bin/sh\n")
	when := time.Unix(1_500_000_000, 123_456_789)
	full := filepath.Join(w.folder, "sub", "run.sh")
	if err := errors.Join(os.Chmod(full, 0o750), os.Chtimes(full, when, when), os.Symlink("sub/run.sh", filepath.Join(w.folder, "link")), os.Symlink("nowhere", filepath.Join(w.folder, "sub.link")),
		os.Mkdir(filepath.Join(w.folder, "void"), 0o711),
		os.Chmod(filepath.Join(w.folder, "void"), 0o711)); err != nil {
		t.Fatal(err)
	}
	set := func(o sync.Options) sync.Options {
		o.Metadata, o.Folders, o.Links, o.Delete = true, true, sync.KeepLinks, true
		return o
	}
	if res := w.ok(set(w.options())); res.New != 5 {
		t.Fatalf("%+v", res)
	}
	info, err := w.mem.Head(t.Context(), "p/sub/run.sh")
	if m := info.Metadata; err != nil || m["mtime"] != "1500000000.123456789" || m["mode"] != fmt.Sprint(0o100750) || m["uid"] != fmt.Sprint(os.Getuid()) {
		t.Fatalf("%v %+v", err, info)
	}
	if info, err := w.mem.Head(t.Context(), "p/void/"); err != nil || info.ContentType != "application/x-directory" {
		t.Fatalf("%v %+v", err, info)
	}
	w.still(set(w.options()))
	from := w.folder
	w.folder, w.state = t.TempDir(), t.TempDir()
	w.ok(set(w.back()))
	if out, err := exec.Command("diff", "-r", "--no-dereference", from, w.folder).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	st, err := os.Stat(filepath.Join(w.folder, "sub", "run.sh"))
	if err != nil || st.Mode().Perm() != 0o750 || !st.ModTime().Equal(when) {
		t.Fatalf("%v %v %v", err, st.Mode(), st.ModTime())
	}
	if st, err := os.Stat(filepath.Join(w.folder, "void")); err != nil || st.Mode().Perm() != 0o711 {
		t.Fatalf("%v %v", err, st)
	}
	if res := w.ok(set(w.back())); res.New+res.Changed+res.Deleted != 0 {
		t.Fatalf("%+v %+v", res, w.items)
	}
	// A run that was cut off has made a folder and forgotten it.
	w.folder, w.state = t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(w.folder, "void"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.ok(set(w.back()))
	if st, err := os.Stat(filepath.Join(w.folder, "void")); err != nil || st.Mode().Perm() != 0o711 {
		t.Fatalf("%v %v", err, st)
	}
	if res := w.ok(set(w.back())); res.New+res.Changed+res.Deleted != 0 {
		t.Fatalf("%+v %+v", res, w.items)
	}
}

// TestTouch changes metadata alone: the content is not sent again.
func TestTouch(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes")
	}
	broken := false
	w := newWorld(t, buckettest.MemOptions{Hook: func(op, _ string) error {
		if broken && op == "copy" {
			return errors.New("cut off")
		}
		return nil
	}})
	w.write("f", text(1, 1000))
	o := w.options()
	o.Metadata = true
	o.Now = func() time.Time { return time.Now().Add(time.Hour) } // what has just changed is always looked at again
	w.ok(o)
	if err := os.Chmod(filepath.Join(w.folder, "f"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken = true
	if res, err := w.run(o); err != nil || res.Touched != 0 || res.Failed != 1 {
		t.Fatalf("%v %+v", err, res)
	}
	broken = false // what came to nothing is not taken for done
	if res := w.ok(o); res.Touched != 1 || res.Sent != 0 {
		t.Fatalf("%+v", res)
	}
	info, err := w.mem.Head(t.Context(), "p/f")
	if err != nil || info.Metadata["mode"] != fmt.Sprint(0o100600) {
		t.Fatalf("%v %+v", err, info)
	}
	w.equal()
	w.still(o)
}

// TestFollow sends what symlinks lead to, folders in their place in the order, and stops at circles.
func TestFollow(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symlinks")
	}
	w := newWorld(t, buckettest.MemOptions{})
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "inner"), []byte("in"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.write("a.txt", "1")
	w.write("a0", "2")
	w.write("real/f", "3")
	for name, to := range map[string]string{"a": other, "a.b": other, "file": "a.txt", "real/circle": "..", "broken": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(w.folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	o := w.options()
	o.Links = sync.FollowLinks
	res, err := w.run(o)
	got := w.objects()
	if err != nil || res.Unread != 2 || len(got) != 6 || got["a/inner"] != "in" || got["a.b/inner"] != "in" || got["file"] != "1" {
		t.Fatalf("%v %+v %q %q", err, res, got, w.errs)
	}
}

// TestEncrypted sends age files and brings them back; age itself opens them, too.
func TestEncrypted(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{Limits: bucket.Limits{MinPart: 1}})
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"a": 10, "a-b": 0, "a.age": 5, "sub/large": 700_000, "sub/mid": 90_000} {
		w.write(name, text(size, size))
	}
	up := func() sync.Options {
		o := w.options()
		o.Recipients, o.Threshold, o.PartSize, o.Delete = []age.Recipient{id.Recipient()}, 200_000, 128<<10, true
		return o
	}
	w.ok(up())
	if all := w.objects(); len(all) != 5 || !strings.HasPrefix(all["sub/large.age"], "age-encryption.org/v1\n") || all["a.age.age"] == "" {
		t.Fatal(len(all))
	}
	w.still(up())
	w.write("a", "other text")
	if res := w.ok(up()); res.Changed != 1 {
		t.Fatalf("%+v", res)
	}
	_ = os.RemoveAll(w.state)
	if res := w.ok(up()); res.Same != 5 {
		t.Fatalf("without a ledger: %+v", res)
	}
	want := w.files()
	w.folder, w.state = t.TempDir(), t.TempDir()
	down := func() sync.Options {
		o := w.back()
		o.Identities, o.Threshold = []age.Identity{id}, 200_000
		return o
	}
	w.ok(down())
	if got := w.files(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%d files, want %d", len(got), len(want))
	}
	w.still(down())
	judgeAge(t, id, w.objects()["sub/large.age"], want["sub/large"])
}

func judgeAge(t *testing.T, id *age.X25519Identity, sealed, want string) {
	program, err := exec.LookPath("age")
	if err != nil {
		t.Log("age is not installed")
		return
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(id.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-d", "-i", key)
	cmd.Stdin = strings.NewReader(sealed)
	out, err := cmd.Output()
	if err != nil || string(out) != want {
		t.Fatal(err)
	}
}

// TestThaw asks for cold objects once, and fetches them when they are there.
func TestThaw(t *testing.T) {
	region, err := price.Default().Region("aws", "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, buckettest.MemOptions{})
	buckettest.Put(t, w.mem, "p/cold", []byte("brr"), bucket.PutOptions{Class: "DEEP_ARCHIVE"})
	buckettest.Put(t, w.mem, "p/hot", []byte("hot"), bucket.PutOptions{})
	var dues []sync.Due
	down := func() sync.Options {
		o := w.back()
		o.Region, o.Thaw = region, &sync.Thawing{Days: 3}
		o.Agree = func(_ context.Context, d sync.Due) error { dues = append(dues, d); return nil }
		return o
	}
	res := w.ok(down())
	if res.New != 1 || res.Frozen != 1 || res.Asked != 1 || len(dues) != 1 || dues[0].Why != "thaw" || dues[0].Cost <= 0 || dues[0].Last != 48*time.Hour {
		t.Fatalf("%+v %+v", res, dues)
	}
	if res := w.ok(down()); res.New != 1 || res.Frozen != 0 || w.files()["cold"] != "brr" {
		t.Fatalf("%+v", res)
	}
	w.still(down())
	buckettest.Put(t, w.mem, "p/cold2", []byte("brrr"), bucket.PutOptions{Class: "GLACIER"})
	o := down()
	o.Thaw.Wait = true
	if res := w.ok(o); res.Frozen != 0 || w.files()["cold2"] != "brrr" {
		t.Fatalf("%+v", res)
	}
}

// TestForeign compares with objects that other programs have put, by parts of their sizes, without a request for one that is the same.
func TestForeign(t *testing.T) {
	for _, part := range []int{5 << 20, 8 << 20, 15 << 20} {
		w := newWorld(t, buckettest.MemOptions{})
		content := text(3, 17<<20+123)
		w.write("f", content)
		id, err := w.mem.Begin(t.Context(), "p/f", bucket.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var parts []bucket.Part
		for n := 0; n*part < len(content); n++ {
			piece := content[n*part : min(len(content), (n+1)*part)]
			p, err := w.mem.PutPart(t.Context(), "p/f", id, n+1, strings.NewReader(piece), int64(len(piece)))
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, p)
		}
		if _, err := w.mem.Complete(t.Context(), "p/f", id, parts, bucket.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		w.still(w.options())
	}
}

// TestUpdate leaves alone what is newer at the target.
func TestUpdate(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	w.write("old", "file")
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(w.folder, "old"), past, past); err != nil {
		t.Fatal(err)
	}
	buckettest.Put(t, w.mem, "p/old", []byte("newer"), bucket.PutOptions{})
	o := w.options()
	o.Update = true
	if res := w.ok(o); res.Kept != 1 || w.objects()["old"] != "newer" {
		t.Fatalf("%+v", res)
	}
	future := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(w.folder, "old"), future, future); err != nil {
		t.Fatal(err)
	}
	if res := w.ok(o); res.Changed != 1 || w.objects()["old"] != "file" {
		t.Fatalf("%+v", res)
	}
}

// TestMD5 is the ETag of a small object: what find | md5sum people compare with.
func TestMD5(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	w.write("f", "text")
	w.ok(w.options())
	info, err := w.mem.Head(t.Context(), "p/f")
	if err != nil || info.ETag != fmt.Sprintf("%x", md5.Sum([]byte("text"))) || info.ContentType != "application/octet-stream" {
		t.Fatalf("%v %+v", err, info)
	}
	for name, want := range map[string]string{"a.JPG": "image/jpeg", "x.tar.gz": "application/gzip", ".png": "application/octet-stream", "n": "application/octet-stream", "i.html": "text/html; charset=utf-8"} {
		if got := sync.ContentType("d.jpg/" + name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestRules(t *testing.T) {
	for _, bad := range []string{"", "=X", "size<1K=", "size<x=STANDARD", "*.jpg", "a=b c", "[=X"} {
		if _, err := sync.NewClasses("", []string{bad}); err == nil {
			t.Errorf("%q is a rule", bad)
		}
	}
	c, err := sync.NewClasses("deep_archive", []string{"*.jpg=glacier_ir", "size<128K=STANDARD", "/keep/,size>=1M=GLACIER"})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		path string
		size int64
		want string
	}{{"a", 1 << 20, "DEEP_ARCHIVE"}, {"a.jpg", 1 << 20, "GLACIER_IR"}, {"a.jpg", 5, "STANDARD"}, {"keep/a.jpg", 1 << 20, "GLACIER"}, {"x/keep/a", 1 << 20, "DEEP_ARCHIVE"}} {
		if got := c.Of(x.path, x.size); got != x.want {
			t.Errorf("%+v: %s", x, got)
		}
	}
}
