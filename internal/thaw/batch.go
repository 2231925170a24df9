package thaw

import (
	"bufio"
	"fmt"
	"io"
	"iter"
)

// BatchFormat and BatchFields are how S3 Batch Operations calls what WriteBatchManifest writes (Amazon S3 API, JobManifestSpec).
const BatchFormat = "S3BatchOperations_CSV_20180820"

// BatchFields returns the columns.
func BatchFields() []string { return []string{"Bucket", "Key"} }

// WriteBatchManifest writes what an initiate-restore job of S3 Batch Operations reads: a line "bucket,key" for each key, without a heading, keys URL-encoded
// (Amazon S3 User Guide, "Specifying a manifest": a CSV manifest "must be URL encoded"). Keys are whole, with the prefix of the repository. One job takes objects of
// one kind of archive and knows the tiers Standard and Bulk. It returns how many lines it wrote.
func WriteBatchManifest(w io.Writer, bucket string, keys iter.Seq[string]) (int64, error) {
	buf := bufio.NewWriterSize(w, 64<<10)
	var n int64
	line := make([]byte, 0, 256)
	for key := range keys {
		if key == "" {
			return n, fmt.Errorf("line %d of the manifest: empty key", n+1)
		}
		line = append(encode(line[:0], bucket), ',')
		line = append(encode(line, key), '\n')
		if _, err := buf.Write(line); err != nil {
			return n, err
		}
		n++
	}
	return n, buf.Flush()
}

// encode appends s with all but the unreserved characters of RFC 3986 §2.3 and "/" percent-encoded, so that no quoting is needed.
func encode(to []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/':
			to = append(to, c)
		default:
			to = append(to, '%', hex[c>>4], hex[c&15])
		}
	}
	return to
}
