package coldtest

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// algorithm is a checksum that S3 knows besides MD5 (Amazon S3 User Guide, "Checking object integrity").
type algorithm struct {
	name  string // as in x-amz-checksum-algorithm
	new   func() hash.Hash
	types []string // full or composite, for objects in parts; the default first
}

const (
	full      = "FULL_OBJECT"
	composite = "COMPOSITE"
	nvme      = "CRC64NVME" // what S3 computes where the client gives nothing
)

var nvmeTable = sync.OnceValue(func() *crc64.Table { return crc64.MakeTable(0x9a6c9329ac4bc9b5) }) // NVMe's polynomial, reflected

var algorithms = []algorithm{
	{"SHA256", sha256.New, []string{composite}},
	{"SHA1", sha1.New, []string{composite}},
	{"CRC32", func() hash.Hash { return crc32.NewIEEE() }, []string{composite, full}},
	{"CRC32C", func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }, []string{composite, full}},
	{nvme, func() hash.Hash { return crc64.New(nvmeTable()) }, []string{full}},
}

// findAlgorithm finds one by its name, in any case.
func findAlgorithm(name string) (algorithm, bool) {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return strings.EqualFold(a.name, name) })
	if i < 0 {
		return algorithm{}, false
	}
	return algorithms[i], true
}

// header is where a sum stands in requests and answers.
func (a algorithm) header() string { return "x-amz-checksum-" + strings.ToLower(a.name) }

// element is what a sum is called in XML.
func (a algorithm) element() string { return "Checksum" + a.name }

func encode(sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

// given finds the sum that a header holds. Two are an error.
func given(h http.Header) (a algorithm, value string, err error) {
	for _, one := range algorithms {
		v := h.Get(one.header())
		if v == "" {
			continue
		}
		if value != "" {
			return a, "", fail(http.StatusBadRequest, "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		raw, bad := base64.StdEncoding.DecodeString(strings.SplitN(v, "-", 2)[0])
		if bad != nil || len(raw) != one.new().Size() {
			return a, "", fail(http.StatusBadRequest, "InvalidRequest", "Value for "+one.header()+" header is invalid.")
		}
		a, value = one, v
	}
	return a, value, nil
}

// checksum is what an object or a part has: a sum of its content, or of the sums of its parts, which ends in "-" and their number.
type checksum struct {
	Algorithm string
	Value     string
	Type      string
}

func (c checksum) a() algorithm {
	a, _ := findAlgorithm(c.Algorithm)
	return a
}

// sumContent computes a sum of content.
func sumContent(a algorithm, r io.Reader) (string, error) {
	h := a.new()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return encode(h.Sum(nil)), nil
}

// compose is the sum of the sums of parts.
func compose(a algorithm, parts []*part) string {
	h := a.new()
	for _, p := range parts {
		raw, _ := base64.StdEncoding.DecodeString(p.Sum.Value)
		h.Write(raw)
	}
	return encode(h.Sum(nil)) + "-" + strconv.Itoa(len(parts))
}

// composeTag is the ETag of an object in parts.
func composeTag(parts []*part) string {
	h := md5.New()
	for _, p := range parts {
		h.Write(p.MD5[:])
	}
	return hexOf(h.Sum(nil)) + "-" + strconv.Itoa(len(parts))
}
