package sync

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/crc64nvme"

	"firn/internal/bucket"
	"firn/internal/seal"
	"firn/internal/sync/ledger"
)

// racy is how long before it is read a file must have been changed for its times to show the next change: some file systems count in steps of two seconds.
const racy = 2e9 // ns

// tag is what an ETag can say of the content.
type tag struct {
	sum   [16]byte
	parts int // 0: the MD5 of the content; else that of the MD5s of so many parts
}

// parseTag reads an ETag that can be one of S3's.
func parseTag(text string) (t tag, ok bool) {
	digits, parts, cut := strings.Cut(text, "-")
	if cut {
		n, err := strconv.ParseUint(parts, 10, 16)
		if err != nil || n == 0 || n > 10_000 {
			return t, false
		}
		t.parts = int(n)
	}
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != len(t.sum) {
		return t, false
	}
	copy(t.sum[:], raw)
	return t, true
}

// usualParts are part sizes that programs choose, in MiB; powers of two come besides.
var usualParts = []int64{5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 200, 250, 256, 500, 512, 1024, 2048, 4096, 5120}

// partSizes are those by which a file of size bytes makes so many parts, the likeliest first.
func partSizes(size int64, parts int, first ...int64) (fit []int64) {
	try := func(p int64) {
		if p > 0 && (size+p-1)/p == int64(parts) && !slices.Contains(fit, p) {
			fit = append(fit, p)
		}
	}
	if parts == 1 {
		return []int64{max(size, 1)} // whatever was wanted
	}
	for _, p := range first {
		try(p)
	}
	for _, mib := range usualParts {
		try(mib << 20)
	}
	for p := int64(1 << 20); p <= 8<<30; p *= 2 {
		try(p)
	}
	for _, most := range []int64{10_000, 1000} { // as much as makes that many parts, in whole MiB
		try((size/most + 1<<20) >> 20 << 20)
	}
	for _, p := range usualParts { // the same, doubled until they are few enough
		for n := p << 20; n < 8<<30; n *= 2 {
			try(n)
		}
	}
	return fit[:min(len(fit), 8)]
}

// partHash is the hash of the MD5s of parts.
type partHash struct {
	size  int64
	in    int64
	part  hash.Hash
	outer hash.Hash
	parts int
}

func newPartHash(size int64) *partHash {
	return &partHash{size: size, part: md5.New(), outer: md5.New()}
}

// Write implements io.Writer; it never fails.
func (h *partHash) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if h.in == h.size {
			h.cut()
		}
		k := min(int64(len(b)), h.size-h.in)
		_, _ = h.part.Write(b[:k])
		h.in += k
		b = b[k:]
	}
	return n, nil
}

func (h *partHash) cut() {
	_, _ = h.outer.Write(h.part.Sum(nil))
	h.part.Reset()
	h.in = 0
	h.parts++
}

// sum ends it.
func (h *partHash) sum() tag {
	if h.in > 0 || h.parts == 0 {
		h.cut()
	}
	return tag{[16]byte(h.outer.Sum(nil)), h.parts}
}

// sumHash makes a hash; nil where the algorithm is not known.
func sumHash(a bucket.Algorithm) hash.Hash {
	switch a {
	case bucket.SHA256:
		return sha256.New()
	case bucket.CRC64NVME:
		return crc64nvme.New()
	}
	return nil
}

// feed reads size bytes into hashes. Content that ends before is ErrChanged.
func feed(ctx context.Context, r io.ReaderAt, size int64, to ...io.Writer) error {
	buf := make([]byte, min(max(size, 1), 256<<10))
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		for _, w := range to {
			_, _ = w.Write(buf[:n]) // hashes never fail
		}
		if off += int64(n); off < size && err != nil {
			if err == io.EOF {
				return ErrChanged
			}
			return err
		}
	}
	return nil
}

// content is what two things that should be equal are compared by: the file, and all that can be known of the object.
type content struct {
	r    *run
	ctx  context.Context
	file io.ReaderAt
	size int64
	o    *object
	b    bucket.Bucket
	e    *ledger.Entry // that counts for the object; nil: none
	mt   int64         // mtime of the file
	out  *ledger.Entry // gets what is found out
}

// equal reports whether a file of the object's size has its content. See the comment of the package.
func (c *content) equal() (bool, error) {
	if c.e != nil && c.e.SumBy != "" && sumHash(c.e.SumBy) != nil {
		return c.bySum(c.e.SumBy, c.e.Sum)
	}
	t, ok := parseTag(c.o.ETag)
	sure := c.e != nil && !c.e.Has(ledger.Opaque)
	opaque := c.e != nil && c.e.Has(ledger.Opaque)
	if ok && !opaque {
		var first []int64
		if c.e != nil && c.e.PartSize > 0 {
			first = append(first, c.e.PartSize)
		}
		fit := partSizes(c.size, t.parts, append(first, c.r.partSize(c.size), c.r.o.PartSize)...)
		if t.parts == 0 || len(fit) > 0 && len(fit) <= 3 {
			same, err := c.byTag(t, fit)
			if same || err != nil || sure && (t.parts == 0 || c.e.PartSize > 0) {
				return same, err
			}
		}
	}
	return c.ask(t, ok && !opaque)
}

// byTag compares with an ETag, by all these part sizes at once.
func (c *content) byTag(t tag, sizes []int64) (bool, error) {
	if t.parts == 0 {
		h := md5.New()
		err := feed(c.ctx, c.file, c.size, h)
		return err == nil && [16]byte(h.Sum(nil)) == t.sum, err
	}
	hashes := make([]*partHash, len(sizes))
	to := make([]io.Writer, len(sizes))
	for i, p := range sizes {
		hashes[i] = newPartHash(p)
		to[i] = hashes[i]
	}
	if err := feed(c.ctx, c.file, c.size, to...); err != nil {
		return false, err
	}
	for i, h := range hashes {
		if h.sum() == t {
			c.out.PartSize = sizes[i]
			return true, nil
		}
	}
	return false, nil
}

func (c *content) bySum(by bucket.Algorithm, want []byte) (bool, error) {
	h := sumHash(by)
	if err := feed(c.ctx, c.file, c.size, h); err != nil {
		return false, err
	}
	if !bytes.Equal(h.Sum(nil), want) {
		return false, nil
	}
	c.out.SumBy, c.out.Sum = by, want
	return true, nil
}

// ask asks the server what else it knows. tagged: the ETag may say something.
func (c *content) ask(t tag, tagged bool) (bool, error) {
	info, err := c.b.Head(c.ctx, c.o.Key)
	if err != nil {
		return false, err
	}
	if info.ETag != c.o.ETag {
		return false, nil
	}
	if s := info.Sum; s != nil && s.Parts == 0 && sumHash(s.Algorithm) != nil {
		return c.bySum(s.Algorithm, s.Value)
	}
	if plain := info.Encryption == "" || info.Encryption == "AES256"; plain && tagged && t.parts > 0 {
		fit := partSizes(c.size, t.parts)
		if info.PartSize > 0 {
			fit = []int64{info.PartSize}
		}
		if same, err := c.byTag(t, fit); same || err != nil {
			return same, err
		}
	} else if plain && tagged {
		return false, nil // an MD5, and another one
	}
	c.out.Flags |= ledger.Opaque
	m, ok := parseMtime(info.Metadata)
	return ok && m == c.mt && c.r.o.Compare != ByContent, nil
}

// askSealed asks for what an encrypted object says of its file.
func askSealed(ctx context.Context, b bucket.Bucket, o *object, l *localFile) (bool, error) {
	info, err := b.Head(ctx, o.Key)
	if err != nil {
		return false, err
	}
	m, ok := parseMtime(info.Metadata)
	return ok && info.ETag == o.ETag && m == l.mtime && info.Metadata[metaPlain] == fmt.Sprint(l.size), nil
}

// sealedSize is the size of a file when it is encrypted for the recipients.
func (r *run) sealedSize(size int64) int64 { return seal.SealedSize(r.prefixLen, size) }
