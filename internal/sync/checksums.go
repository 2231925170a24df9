package sync

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"path"
	"strings"
	"time"

	"firn/internal/bucket"
	"firn/internal/sync/inventory"
	"firn/internal/sync/ledger"
)

// Checksums is a list of sums of files as md5sum, sha1sum and sha256sum write it, sorted. It is used by one sync, and closed by whoever opened it.
type Checksums struct {
	// Made is when the list was made: a file that changed later is not believed to have its sum.
	Made time.Time
	// Entries counts the lines that name a file of the folder, Others those that name one elsewhere.
	Entries, Others int64
	// Bad counts lines that are none of a list; FirstBad is the number of the first one.
	Bad, FirstBad int64

	s inventory.Sorter
}

// listed is the sum of a file in a list.
type listed struct {
	sum []byte // 16 bytes: MD5, 20: SHA-1, 32: SHA-256
}

// ErrNoList means that no line of a file is one of a list of checksums.
var ErrNoList = errors.New("no line is one of md5sum, sha1sum or sha256sum")

// maxLine bounds a line of a list, in bytes.
const maxLine = 32 << 10

// ReadChecksums reads a list, sorted or not. Names are below one of the roots ("/srv/photos", "photos") or relative to the folder. GNU's escapes, the mark of binary mode, BSD's form, and CR LF
// are understood. Temporary files lie in temp; empty: where the system has them.
func ReadChecksums(in io.Reader, made time.Time, roots []string, temp string) (*Checksums, error) {
	c := &Checksums{Made: made, s: inventory.Sorter{Dir: temp}}
	r := bufio.NewReaderSize(in, maxLine)
	for n := int64(1); ; n++ {
		text, err := r.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			c.Close()
			return nil, err
		}
		if e := c.line(n, text, long, roots); e != nil {
			c.Close()
			return nil, e
		}
		if err != nil {
			break
		}
	}
	if c.Entries+c.Others == 0 && c.Bad > 0 {
		c.Close()
		return nil, ErrNoList
	}
	return c, nil
}

// Close removes temporary files.
func (c *Checksums) Close() { c.s.Close() }

func (c *Checksums) line(n int64, text []byte, long bool, roots []string) error {
	if n == 1 {
		text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 || text[0] == '#' {
		return nil
	}
	name, sum, ok := parseSumLine(string(text))
	if !ok || long {
		if c.Bad++; c.Bad == 1 {
			c.FirstBad = n
		}
		return nil
	}
	if name, ok = below(name, roots); !ok {
		c.Others++
		return nil
	}
	c.Entries++
	return c.s.Add(name, sum)
}

// below makes a name of a list one below the folder.
func below(name string, roots []string) (string, bool) {
	for _, root := range roots {
		if rest, ok := strings.CutPrefix(name, strings.TrimSuffix(root, "/")+"/"); ok && root != "" {
			name = rest
			break
		}
	}
	if strings.HasPrefix(name, "/") || name == "" {
		return "", false
	}
	name = path.Clean(name)
	return name, name != "." && name != ".." && !strings.HasPrefix(name, "../")
}

// parseSumLine reads "<hex> <space or *><name>" or "<algorithm> (<name>) = <hex>", with a backslash in front where the name has escapes.
func parseSumLine(text string) (name string, sum []byte, ok bool) {
	text, escaped := strings.CutPrefix(text, `\`)
	if i := strings.IndexByte(text, ' '); i > 0 {
		if sum, ok = parseDigest(text[:i]); ok {
			if name = text[i+1:]; name != "" && (name[0] == ' ' || name[0] == '*') {
				name = name[1:]
			}
			return unescape(name, escaped, sum)
		}
	}
	kind, rest, ok := strings.Cut(text, "(")
	end := strings.LastIndex(rest, ")")
	if !ok || end < 0 {
		return "", nil, false
	}
	digest, ok := strings.CutPrefix(strings.TrimLeft(rest[end+1:], " "), "=")
	if !ok {
		return "", nil, false
	}
	sum, ok = parseDigest(strings.TrimSpace(digest))
	if !ok || len(sum) != map[string]int{"MD5": 16, "SHA1": 20, "SHA256": 32, "SHA2-256": 32}[strings.TrimSpace(kind)] {
		return "", nil, false
	}
	return unescape(rest[:end], escaped, sum)
}

func parseDigest(text string) ([]byte, bool) {
	sum, err := hex.DecodeString(text)
	return sum, err == nil && (len(sum) == 16 || len(sum) == 20 || len(sum) == 32)
}

func unescape(name string, escaped bool, sum []byte) (string, []byte, bool) {
	if !escaped {
		return name, sum, name != ""
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '\\' {
			b.WriteByte(name[i])
			continue
		}
		if i++; i == len(name) {
			return "", nil, false
		}
		switch name[i] {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case '\\':
			b.WriteByte('\\')
		default:
			return "", nil, false
		}
	}
	return b.String(), sum, b.Len() > 0
}

// sums goes through a list in the order of the names. nil: there is none.
type sums struct {
	next func() (string, []byte, bool)
	stop func()
	name string
	sum  []byte
	have bool
	made int64
	err  error
}

func (c *Checksums) open() *sums {
	if c == nil {
		return nil
	}
	s := &sums{made: c.Made.UnixNano()}
	stopped := errors.New("stopped")
	s.next, s.stop = iter.Pull2(func(yield func(string, []byte) bool) {
		err := c.s.Each(func(name, sum []byte) error {
			if !yield(string(name), bytes.Clone(sum)) {
				return stopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, stopped) {
			s.err = err
		}
	})
	s.name, s.sum, s.have = s.next()
	return s
}

func (s *sums) close() {
	if s != nil {
		s.stop()
	}
}

// of returns the sum of a file, if the list has one that can be believed. Files come in the order of their names.
func (s *sums) of(l *localFile) (*listed, error) {
	if s == nil || l.dir || l.isLnk {
		return nil, nil
	}
	var found *listed
	for s.have && s.name <= l.path {
		if s.name == l.path {
			found = &listed{s.sum}
		}
		s.name, s.sum, s.have = s.next()
	}
	if max(l.mtime, l.ctime) > s.made {
		found = nil
	}
	return found, s.err
}

// alike compares the two sides of a job, by a list of sums where it has the file.
func (r *run) alike(ctx context.Context, j *job) (bool, *ledger.Entry, error) {
	if j.local != nil && j.local.listed != nil && len(r.o.Recipients)+len(r.o.Identities) == 0 {
		o, p := j.to, &r.o.To
		if j.action == Download {
			o, p = j.from, &r.o.From
		}
		if same, known, out, err := r.byList(ctx, j, o, p.Bucket); known || err != nil {
			return same, out, err
		}
	}
	return r.equal(ctx, j)
}

// byList compares an object with the sum that a list has of its file; known: that was possible.
func (r *run) byList(ctx context.Context, j *job, o *object, b bucket.Bucket) (same, known bool, out *ledger.Entry, err error) {
	l := j.local
	out = r.entry(j.key, l, bucket.Info{Object: o.Object}, j.action == Upload)
	if e := j.entry; e != nil {
		out.Flags |= e.Flags & (ledger.Opaque | ledger.Sealed)
		out.SumBy, out.Sum, out.PartSize, out.Meta, out.At = e.SumBy, e.Sum, e.PartSize, e.Meta, e.At
	}
	sum := l.listed.sum
	switch len(sum) {
	case 16:
		t, ok := parseTag(o.ETag)
		switch {
		case !ok || t.parts > 0 || out.Has(ledger.Opaque):
			return false, false, nil, nil
		case t.sum == [16]byte(sum):
			return true, true, out, nil
		case j.entry != nil:
			return false, true, out, nil // known to be an MD5
		}
		info, err := b.Head(ctx, o.Key)
		return false, info.Encryption == "" || info.Encryption == "AES256", out, err
	case 32:
		if e := j.entry; e != nil && e.SumBy == bucket.SHA256 {
			return bytes.Equal(e.Sum, sum), true, out, nil
		}
		info, err := b.Head(ctx, o.Key)
		if s := info.Sum; err == nil && info.ETag == o.ETag && s != nil && s.Parts == 0 && s.Algorithm == bucket.SHA256 {
			out.SumBy, out.Sum = s.Algorithm, s.Value
			return bytes.Equal(s.Value, sum), true, out, nil
		}
		return false, false, nil, err
	}
	return false, false, nil, nil
}
