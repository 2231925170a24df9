package inventory_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"firn/internal/bucket"
	"firn/internal/sync/inventory"
)

// files are a manifest and what it names, in memory.
type files map[string][]byte

func (f files) open(name string) (io.ReadCloser, error) {
	raw, ok := f[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(raw)), nil
}

func (f files) Manifest(_ context.Context, sum bool) (io.ReadCloser, error) {
	if sum {
		return f.open("manifest.checksum")
	}
	return f.open("manifest.json")
}

func (f files) Data(_ context.Context, bucket, key string) (io.ReadCloser, error) {
	if bucket != "dest" {
		return nil, fmt.Errorf("bucket %q", bucket)
	}
	return f.open(key)
}

const schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass, IsMultipartUploaded, EncryptionStatus, ChecksumAlgorithm"

var created = time.Date(2026, 9, 1, 1, 0, 0, 0, time.UTC)

// seal writes the manifest for what is there.
func (f files) seal(format, schema string) files {
	var list []map[string]any
	for name, raw := range f {
		sum := md5.Sum(raw)
		list = append(list, map[string]any{"key": name, "size": len(raw), "MD5checksum": hex.EncodeToString(sum[:])})
	}
	raw, _ := json.Marshal(map[string]any{"sourceBucket": "src", "destinationBucket": "arn:aws:s3:::dest", "version": "2016-11-30", "creationTimestamp": fmt.Sprint(created.UnixMilli()),
		"fileFormat": format, "fileSchema": schema, "files": list})
	f["manifest.json"] = raw
	sum := md5.Sum(raw)
	f["manifest.checksum"] = []byte(hex.EncodeToString(sum[:]) + "\n")
	return f
}

func packed(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.Bytes()
}

// objects are made up ones, in no order.
func objects(n int) (all []bucket.Object) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		all = append(all, bucket.Object{Key: fmt.Sprintf("p/ä %d+&,\"\n/%05d", i%7, i), Size: rng.Int64N(1 << 40), ETag: fmt.Sprintf("%032x", rng.Uint64()),
			Modified: time.UnixMilli(1_700_000_000_000 + rng.Int64N(1<<32)), Class: []string{"", "DEEP_ARCHIVE"}[i%2]})
	}
	rng.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func csvRow(o *bucket.Object, latest, deleted bool) string {
	c := o.Class
	if c == "" {
		c = "STANDARD"
	}
	return fmt.Sprintf(`"src","%s","v1","%v","%v","%d","%s","%s","%s","false","SSE-S3",""`+"\n", strings.ReplaceAll(url.QueryEscape(o.Key), "%2F", "/"), latest, deleted, o.Size, o.Modified.UTC().Format("2006-01-02T15:04:05.000Z"), o.ETag, c)
}

func csvFiles(all []bucket.Object) files {
	f := files{}
	for i := 0; i*400 < len(all); i++ {
		var b strings.Builder
		for _, o := range all[i*400 : min(len(all), i*400+400)] {
			old := o
			old.Size++
			b.WriteString(csvRow(&old, false, false))
			b.WriteString(csvRow(&o, true, false))
		}
		b.WriteString(csvRow(&bucket.Object{Key: "p/gone"}, true, true))
		f[fmt.Sprintf("inv/data/%d.csv.gz", i)] = packed(b.String())
	}
	return f.seal("CSV", schema)
}

// parquetRow is one of an inventory as S3 writes it.
type parquetRow struct {
	Bucket   string    `parquet:"bucket"`
	Key      string    `parquet:"key"`
	Version  *string   `parquet:"version_id,optional"`
	Latest   *bool     `parquet:"is_latest,optional"`
	Deleted  *bool     `parquet:"is_delete_marker,optional"`
	Size     *int64    `parquet:"size,optional"`
	Modified time.Time `parquet:"last_modified_date,timestamp(millisecond)"`
	ETag     *string   `parquet:"e_tag,optional"`
	Class    *string   `parquet:"storage_class,optional"`
	ACL      *string   `parquet:"object_access_control_list,optional"`
}

func parquetFile(all []bucket.Object, o ...parquet.WriterOption) []byte {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[parquetRow](&b, o...)
	yes, no, acl := true, false, "e30="
	for i := range all {
		c := all[i].Class
		if c == "" {
			c = "STANDARD"
		}
		row := parquetRow{Bucket: "src", Key: all[i].Key, Latest: &yes, Deleted: &no, Size: &all[i].Size, Modified: all[i].Modified, ETag: &all[i].ETag, Class: &c, ACL: &acl}
		old := row
		old.Latest = &no
		_, _ = w.Write([]parquetRow{old, row})
		if i%300 == 299 {
			_ = w.Flush()
		}
	}
	_ = w.Close()
	return b.Bytes()
}

func parquetFiles(all []bucket.Object, o ...parquet.WriterOption) files {
	return files{"inv/data/a.parquet": parquetFile(all[:len(all)/2], o...), "inv/data/b.parquet": parquetFile(all[len(all)/2:], o...)}.seal("Parquet", "message s3.inventory {}")
}

func read(t *testing.T, l *inventory.Listing, err error) (got []bucket.Object) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Each(t.Context(), func(o bucket.Object) error { got = append(got, o); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func same(t *testing.T, got, want []bucket.Object) {
	t.Helper()
	want = slices.Clone(want)
	slices.SortFunc(want, func(a, b bucket.Object) int { return strings.Compare(a.Key, b.Key) })
	if len(got) != len(want) {
		t.Fatalf("%d objects, want %d", len(got), len(want))
	}
	for i := range got {
		if !got[i].Modified.Equal(want[i].Modified) {
			t.Fatalf("%v, want %v", got[i], want[i])
		}
		got[i].Modified = want[i].Modified
		if got[i] != want[i] {
			t.Fatalf("%v, want %v", got[i], want[i])
		}
	}
}

// TestFormats reads the same objects in all formats.
func TestFormats(t *testing.T) {
	all := objects(2000)
	for name, f := range map[string]files{"csv": csvFiles(all), "parquet": parquetFiles(all), "snappy": parquetFiles(all, parquet.Compression(&parquet.Snappy)), "gzip": parquetFiles(all, parquet.Compression(&parquet.Gzip)),
		"zstd": parquetFiles(all, parquet.Compression(&parquet.Zstd)), "pages": parquetFiles(all, parquet.DataPageStatistics(true), parquet.PageBufferSize(1000), parquet.DataPageVersion(1))} {
		t.Run(name, func(t *testing.T) {
			l, err := inventory.Open(t.Context(), f, inventory.Options{Bucket: "src", Prefix: "p/", Temp: t.TempDir()})
			same(t, read(t, l, err), all)
			if !l.Created.Equal(created) {
				t.Errorf("created %v", l.Created)
			}
			l, err = inventory.Open(t.Context(), f, inventory.Options{Bucket: "src", Prefix: "p/ä 3"})
			if n := len(read(t, l, err)); n != 286 {
				t.Errorf("%d with the prefix", n)
			}
		})
	}
}

// TestSaved reads pages of list-objects-v2 in any order.
func TestSaved(t *testing.T) {
	all := objects(2500)
	var b bytes.Buffer
	for i := 0; i < len(all); i += 1000 {
		var list []map[string]any
		for _, o := range all[i:min(len(all), i+1000)] {
			m := map[string]any{"Key": o.Key, "Size": o.Size, "ETag": `"` + o.ETag + `"`, "LastModified": o.Modified.UTC().Format("2006-01-02T15:04:05.000000Z07:00"), "ChecksumAlgorithm": []string{"CRC32"}}
			if o.Class != "" {
				m["StorageClass"] = o.Class
			}
			list = append(list, m)
		}
		e := json.NewEncoder(&b)
		e.SetIndent("", "    ")
		_ = e.Encode(map[string]any{"IsTruncated": true, "Name": "src", "Owner": map[string]string{"ID": "x"}, "Contents": list, "KeyCount": len(list)})
	}
	l, err := inventory.Saved(t.Context(), &b, created, inventory.Options{Bucket: "src", Prefix: "p/"})
	same(t, read(t, l, err), all)
	l, err = inventory.Saved(t.Context(), strings.NewReader(`{"RequestCharged": null}`), created, inventory.Options{})
	if n := len(read(t, l, err)); n != 0 {
		t.Errorf("%d objects of an empty bucket", n)
	}
	for text, want := range map[string]error{"": inventory.ErrDamaged, "[]": inventory.ErrDamaged, `{"Contents":[`: inventory.ErrDamaged, `{"Contents":[{"Key":"a"}]}`: inventory.ErrDamaged,
		`{"Name":"other"}`: inventory.ErrOther, `{"Contents":[{"Key":"a","Size":-1,"LastModified":"2026-01-01T00:00:00Z"}]}`: inventory.ErrDamaged,
		`{"Contents":[{"Key":"` + strings.Repeat("a", 2000) + `","Size":1,"LastModified":"2026-01-01T00:00:00Z"}]}`: inventory.ErrDamaged, `{"x":"` + strings.Repeat("a", 10<<20) + `"}`: inventory.ErrDamaged} {
		if _, err := inventory.Saved(t.Context(), strings.NewReader(text), created, inventory.Options{Bucket: "src"}); !errors.Is(err, want) {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

// TestHostile wants a word for what is wrong, and no more memory than is allowed.
func TestHostile(t *testing.T) {
	row := csvRow(&bucket.Object{Key: "p/a", ETag: "x", Modified: created}, true, false)
	one := func(name string, raw []byte, format, schema string) files {
		return files{name: raw}.seal(format, schema)
	}
	torn := one("a.csv.gz", packed(row), "CSV", schema)
	torn["a.csv.gz"] = append(torn["a.csv.gz"][:10:10], torn["a.csv.gz"][11:]...)
	flipped := one("a.csv.gz", packed(row), "CSV", schema)
	flipped["a.csv.gz"] = slices.Clone(flipped["a.csv.gz"])
	flipped["a.csv.gz"][12] ^= 1
	manifest := one("a.csv.gz", packed(row), "CSV", schema)
	manifest["manifest.json"] = append(manifest["manifest.json"], ' ')
	for name, x := range map[string]struct {
		f    files
		want error
		text string
	}{
		"orc":        {one("a.orc", nil, "ORC", schema), inventory.ErrUnsupported, "ORC; CSV and Parquet can be read"},
		"no etag":    {one("a.csv.gz", packed(row), "CSV", "Bucket, Key, Size, LastModifiedDate"), inventory.ErrUnsupported, "without ETag"},
		"other":      {one("a.csv.gz", packed(strings.Replace(row, "src", "oth", 1)), "CSV", schema), inventory.ErrOther, "oth"},
		"torn":       {torn, inventory.ErrDamaged, "bytes that the manifest tells"},
		"flipped":    {flipped, inventory.ErrDamaged, "MD5"},
		"manifest":   {manifest, inventory.ErrDamaged, "manifest.checksum"},
		"huge row":   {one("a.csv.gz", packed(`"`+strings.Repeat("x", 40<<20)), "CSV", schema), inventory.ErrDamaged, "bytes"},
		"bomb":       {one("a.csv.gz", packed(strings.Repeat(row, 200_000)), "CSV", schema), inventory.ErrDamaged, "it becomes more than"},
		"columns":    {one("a.csv.gz", packed("a,b\n"), "CSV", schema), inventory.ErrDamaged, "wrong number of fields"},
		"size":       {one("a.csv.gz", packed(strings.Replace(row, `"0"`, `"-5"`, 1)), "CSV", schema), inventory.ErrDamaged, "size"},
		"no parquet": {one("a.parquet", []byte("PAR1 and nothing that is any"), "Parquet", ""), inventory.ErrDamaged, ""},
		"empty":      {files{"manifest.json": []byte("{}")}, inventory.ErrDamaged, "is it a manifest.json"},
		"nothing":    {files{}, fs.ErrNotExist, ""},
	} {
		l, err := inventory.Open(t.Context(), x.f, inventory.Options{Bucket: "src", Temp: t.TempDir()})
		if l != nil || !errors.Is(err, x.want) || !strings.Contains(fmt.Sprint(err), x.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestParquetLies flips bytes of a file in all places: an error or rows, never a panic.
func TestParquetLies(t *testing.T) {
	good := parquetFile(objects(20), parquet.Compression(&parquet.Snappy))
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 3000 {
		raw := slices.Clone(good)
		for range 1 + rng.IntN(3) {
			at := rng.IntN(len(raw))
			if i%2 == 0 { // the footer, mostly
				at = len(raw) - 1 - rng.IntN(min(len(raw), 1500))
			}
			raw[at] = byte(rng.Uint32())
		}
		l, err := inventory.Open(t.Context(), files{"a": raw}.seal("Parquet", ""), inventory.Options{})
		if err == nil {
			_ = l.Each(t.Context(), func(bucket.Object) error { return nil })
			l.Close()
		}
	}
}

// FuzzManifest feeds anything to all readers.
func FuzzManifest(f *testing.F) {
	all := objects(3)
	c, p := csvFiles(all), parquetFiles(all)
	f.Add(c["manifest.json"], c["inv/data/0.csv.gz"], true)
	f.Add(p["manifest.json"], p["inv/data/a.parquet"], false)
	f.Add([]byte("{}"), []byte("PAR1"), false)
	f.Fuzz(func(t *testing.T, manifest, data []byte, csv bool) {
		if l, err := inventory.Open(t.Context(), files{"manifest.json": manifest, "inv/data/0.csv.gz": data, "inv/data/a.parquet": data}, inventory.Options{}); err == nil {
			l.Close()
		}
		format := "Parquet"
		if csv {
			format, data = "CSV", packed(string(data))
		}
		if l, err := inventory.Open(t.Context(), files{"x": data}.seal(format, schema), inventory.Options{}); err == nil {
			last := ""
			if err := l.Each(t.Context(), func(o bucket.Object) error {
				if o.Key <= last {
					t.Errorf("%q after %q", o.Key, last)
				}
				last = o.Key
				return nil
			}); err != nil {
				t.Error(err)
			}
			l.Close()
		}
	})
}

// FuzzSaved feeds anything to the reader of saved listings.
func FuzzSaved(f *testing.F) {
	f.Add([]byte(`{"Contents":[{"Key":"a","Size":1,"LastModified":"2026-01-01T00:00:00+00:00","ETag":"\"x\""}]}{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if l, err := inventory.Saved(t.Context(), bytes.NewReader(raw), created, inventory.Options{}); err == nil {
			l.Close()
		}
	})
}
