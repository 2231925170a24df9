package plain

import (
	"context"
	"crypto/md5" // what S3 calls Content-MD5
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/crc64nvme"

	"firn/internal/bucket"
)

// How contents are summed, from what every newer server has to what every server has.
const (
	byCRC = int32(iota)
	bySHA
	byMD5
)

// sums are those that go with one request; nil: not that one.
type sums struct {
	crc, sha, md5 *string // in base64
}

// level is how this content is summed first.
func (b *Bucket) levelOf(want *bucket.Sum) int32 {
	level := b.level.Load()
	if want != nil && want.Parts == 0 && want.Algorithm == bucket.SHA256 {
		return max(level, bySHA)
	}
	return level
}

// fits reports whether a sum that the caller gave is of the whole content, and of a level.
func fits(want *bucket.Sum, level int32) bool {
	if want == nil || want.Parts > 0 {
		return false
	}
	return want.Algorithm == bucket.CRC64NVME && level == byCRC || want.Algorithm == bucket.SHA256 && level == bySHA
}

func newHash(level int32) hash.Hash {
	switch level {
	case byCRC:
		return crc64nvme.New()
	case bySHA:
		return sha256.New()
	}
	return md5.New()
}

func algorithmHash(a bucket.Algorithm) hash.Hash {
	switch a {
	case bucket.CRC64NVME:
		return crc64nvme.New()
	case bucket.SHA256:
		return sha256.New()
	}
	return nil
}

func encode(sum []byte) *string {
	s := base64.StdEncoding.EncodeToString(sum)
	return &s
}

func (s *sums) set(level int32, sum []byte) {
	switch level {
	case byCRC:
		s.crc = encode(sum)
	case bySHA:
		s.sha = encode(sum)
	default:
		s.md5 = encode(sum)
	}
}

// sumsOf finds what goes with content at a level: the sum that the caller gave, or one of the content. A sum that was given, and that the server does not compare, is compared here.
func sumsOf(c content, level int32, want *bucket.Sum, verified bool) (s sums, err error) {
	if verified && fits(want, level) {
		s.set(level, want.Value)
		return s, nil
	}
	h := newHash(level)
	var other hash.Hash
	to := io.Writer(h)
	if want != nil && want.Parts == 0 {
		if other = algorithmHash(want.Algorithm); other != nil {
			to = io.MultiWriter(h, other)
		}
	}
	if err := c.writeTo(to); err != nil {
		return s, err
	}
	if other != nil && string(other.Sum(nil)) != string(want.Value) {
		return s, bucket.ErrChecksum
	}
	s.set(level, h.Sum(nil))
	return s, nil
}

// content is what is to be sent: in memory, or to be read.
type content struct {
	ctx  context.Context
	mem  []byte // nil: r
	r    io.ReadSeeker
	size int64
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// writeTo writes all of it.
func (c content) writeTo(w io.Writer) error {
	if c.r == nil {
		_, err := w.Write(c.mem)
		return err
	}
	if _, err := c.r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	for left := c.size; left > 0; {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(c.r, (*buffer)[:min(left, int64(len(*buffer)))])
		if _, bad := w.Write((*buffer)[:n]); bad != nil {
			return bad
		}
		left -= int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return bucket.ErrShort
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sumOf reads what a server tells of an object's sums; CRC64NVME rather than SHA-256. nil: neither.
func sumOf(crc, sha *string, kind types.ChecksumType) *bucket.Sum {
	if s := parseSum(bucket.CRC64NVME, crc, crc64nvme.Size); s != nil && kind != types.ChecksumTypeComposite {
		return s
	}
	s := parseSum(bucket.SHA256, sha, sha256.Size)
	if s != nil && s.Parts == 0 && kind == types.ChecksumTypeComposite {
		return nil // of parts, nobody knows how many
	}
	return s
}

// parseSum reads base64, or base64 "-" number of parts.
func parseSum(a bucket.Algorithm, text *string, size int) *bucket.Sum {
	if text == nil || *text == "" || len(*text) > 128 {
		return nil
	}
	value, count, composite := strings.Cut(*text, "-")
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(raw) != size {
		return nil
	}
	s := &bucket.Sum{Algorithm: a, Value: raw}
	if composite {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			return nil
		}
		s.Parts = n
	}
	return s
}

// joinCRC is the CRC64NVME of contents one after another, of which the sums and sizes are known; false where one is not.
func joinCRC(parts []bucket.Part) ([]byte, bool) {
	var all uint64
	for _, p := range parts {
		if len(p.Sum) != crc64nvme.Size {
			return nil, false
		}
		all = shiftCRC(all, p.Size) ^ binary.BigEndian.Uint64(p.Sum)
	}
	return binary.BigEndian.AppendUint64(nil, all), len(parts) > 0
}

// matrix is a linear map of 64 bits to 64 bits: what each bit becomes.
type matrix [64]uint64

func (m *matrix) times(v uint64) (out uint64) {
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 != 0 {
			out ^= m[i]
		}
	}
	return out
}

func (m *matrix) squared() *matrix {
	var out matrix
	for i := range out {
		out[i] = m.times(m[i])
	}
	return &out
}

// zeroByte is what one byte of zeros does to a CRC64NVME (of reflected bits; the inversions at both ends cancel out where two sums are joined).
var zeroByte = sync.OnceValue(func() *matrix {
	bit := &matrix{crc64nvme.NVME}
	for i := 1; i < 64; i++ {
		bit[i] = 1 << (i - 1)
	}
	return bit.squared().squared().squared()
})

// shiftCRC is crc followed by n bytes of zeros, without the inversions.
func shiftCRC(crc uint64, n int64) uint64 {
	for m := zeroByte(); n > 0 && crc != 0; n >>= 1 {
		if n&1 != 0 {
			crc = m.times(crc)
		}
		m = m.squared()
	}
	return crc
}
