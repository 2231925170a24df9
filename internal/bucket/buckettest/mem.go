// Package buckettest is for tests of what keeps plain objects: the contract of bucket.Bucket as a suite that every implementation passes (Suite), and a bucket in memory that fails as it is
// told (Mem).
package buckettest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5" // what ETags are
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"firn/internal/bucket"
)

// MemOptions of a bucket in memory. All may be left out.
type MemOptions struct {
	Name   string           // of the bucket; empty: mem
	Now    func() time.Time // nil: time.Now
	Faults string           // rules, see ParseFaults
	Limits bucket.Limits    // zero members: those of S3
	NoSums bool             // no sum is kept, as by older servers
	KMS    bool             // ETags are no MD5
	Cold   []string         // classes whose objects have to be thawed; nil: GLACIER and DEEP_ARCHIVE
	Hook   func(op, key string) error
}

// Mem is a bucket in memory. It implements bucket.Bucket, bucket.Thawer and bucket.Counter. Thawed is what was asked to be thawed, at once.
type Mem struct {
	o     MemOptions
	rules *rules
	world *world
	*memBucket
}

// world is what buckets of one server share.
type world struct {
	mu       sync.Mutex
	buckets  map[string]*memBucket
	requests map[string]int64
	serial   int
}

// memBucket is the content of one bucket. world.mu guards it.
type memBucket struct {
	objects map[string]*object
	sorted  []string // nil: objects have changed; never written once it is there
	uploads map[string]*upload
}

type object struct {
	info    bucket.Info
	content []byte
}

type upload struct {
	key   string
	o     bucket.PutOptions
	parts map[int]part
}

type part struct {
	bucket.Part
	content []byte
}

var (
	_ bucket.Bucket  = (*Mem)(nil)
	_ bucket.Thawer  = (*Mem)(nil)
	_ bucket.Counter = (*Mem)(nil)
)

// NewMem returns an empty bucket. It panics where the rules of Faults cannot be read.
func NewMem(o MemOptions) *Mem {
	w := &world{buckets: map[string]*memBucket{}, requests: map[string]int64{}}
	return w.open(o)
}

// Beside returns another bucket of the same server, from which and to which can be copied; the same one for the same name.
func (m *Mem) Beside(o MemOptions) *Mem { return m.world.open(o) }

func (w *world) open(o MemOptions) *Mem {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Cold == nil {
		o.Cold = []string{"GLACIER", "DEEP_ARCHIVE"}
	}
	o.Name = cmp.Or(o.Name, "mem")
	o.Limits = bucket.Limits{MaxPut: cmp.Or(o.Limits.MaxPut, 5<<30), MinPart: cmp.Or(o.Limits.MinPart, 5<<20), MaxPart: cmp.Or(o.Limits.MaxPart, 5<<30), MaxParts: cmp.Or(o.Limits.MaxParts, 10_000)}
	r, err := parseRules(o.Faults)
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.buckets[o.Name]
	if b == nil {
		b = &memBucket{objects: map[string]*object{}, uploads: map[string]*upload{}}
		w.buckets[o.Name] = b
	}
	return &Mem{o: o, rules: r, world: w, memBucket: b}
}

// SetFaults replaces the rules; their counts begin anew.
func (m *Mem) SetFaults(text string) error {
	r, err := parseRules(text)
	if err != nil {
		return err
	}
	m.rules.replace(r)
	return nil
}

// Change lets a test do to an object what happens behind a client's back: fn may change all that is told of it, and returns the content from then on.
func (m *Mem) Change(key string, fn func(info *bucket.Info, content []byte) []byte) {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	o := m.objects[key]
	if o == nil {
		o = &object{info: bucket.Info{Object: bucket.Object{Key: key, Modified: m.now()}}}
		m.objects[key], m.sorted = o, nil
	}
	other := *o
	other.content = fn(&other.info, slices.Clone(o.content))
	m.objects[key] = &other
}

// Content returns the content of every object, by key.
func (m *Mem) Content() map[string]string {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	out := make(map[string]string, len(m.objects))
	for key, o := range m.objects {
		out[key] = string(o.content)
	}
	return out
}

// Uploads returns the ids of the uploads that are under way, by key.
func (m *Mem) Uploads() map[string]string {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	out := map[string]string{}
	for id, u := range m.uploads {
		out[u.key] = id
	}
	return out
}

// Requests implements bucket.Counter, for all buckets of the server.
func (m *Mem) Requests() map[string]int64 {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	return maps.Clone(m.world.requests)
}

// ForgetRequests begins to count anew.
func (m *Mem) ForgetRequests() {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	clear(m.world.requests)
}

func (m *Mem) now() time.Time { return m.o.Now().UTC().Truncate(time.Second) }

// begin is what every request begins with: it counts, asks the hook and the rules, and returns with the lock held. lost is an error to return in the place of the answer.
func (m *Mem) begin(ctx context.Context, request, op, key string) (strike strike, err error) {
	if err := ctx.Err(); err != nil {
		return strike, err
	}
	if m.o.Hook != nil {
		if err := m.o.Hook(op, key); err != nil {
			return strike, err
		}
	}
	strike = m.rules.strike(op, key)
	m.world.mu.Lock()
	m.world.requests[request]++
	if strike.err != nil {
		m.world.mu.Unlock()
	}
	return strike, strike.err
}

func checkKey(key string) error {
	if key == "" || len(key) > bucket.MaxKey || !utf8.ValidString(key) {
		return bucket.ErrKey
	}
	return nil
}

// List implements bucket.Bucket.
func (m *Mem) List(ctx context.Context, prefix, after string, fn func(bucket.Object) error) error {
	for {
		page, more, err := m.page(ctx, prefix, after)
		if err != nil {
			return bucket.Fail("list", prefix, err)
		}
		for _, o := range page {
			if err := fn(o); err != nil {
				return err
			}
		}
		if !more {
			return bucket.Fail("list", prefix, ctx.Err())
		}
		after = page[len(page)-1].Key
	}
}

func (m *Mem) page(ctx context.Context, prefix, after string) (page []bucket.Object, more bool, err error) {
	if _, err := m.begin(ctx, "ListObjectsV2", "list", prefix); err != nil {
		return nil, false, err
	}
	defer m.world.mu.Unlock()
	if m.sorted == nil {
		m.sorted = slices.Sorted(maps.Keys(m.objects))
	}
	i, _ := slices.BinarySearch(m.sorted, max(prefix, after))
	for ; i < len(m.sorted) && strings.HasPrefix(m.sorted[i], prefix); i++ {
		if m.sorted[i] <= after && after != "" {
			continue
		}
		if len(page) == 1000 {
			return page, true, nil
		}
		page = append(page, m.objects[m.sorted[i]].info.Object)
	}
	return page, false, nil
}

// Head implements bucket.Bucket.
func (m *Mem) Head(ctx context.Context, key string) (bucket.Info, error) {
	if err := checkKey(key); err != nil {
		return bucket.Info{}, bucket.Fail("head", key, err)
	}
	if _, err := m.begin(ctx, "HeadObject", "head", key); err != nil {
		return bucket.Info{}, bucket.Fail("head", key, err)
	}
	defer m.world.mu.Unlock()
	o := m.objects[key]
	if o == nil {
		return bucket.Info{}, bucket.Fail("head", key, bucket.ErrNotExist)
	}
	return o.info, nil
}

// Get implements bucket.Bucket.
func (m *Mem) Get(ctx context.Context, key string, o bucket.GetOptions) (io.ReadCloser, bucket.Info, error) {
	r, info, err := m.get(ctx, key, o)
	if err != nil {
		return nil, bucket.Info{}, bucket.Fail("get", key, err)
	}
	return r, info, nil
}

func (m *Mem) get(ctx context.Context, key string, o bucket.GetOptions) (io.ReadCloser, bucket.Info, error) {
	if err := checkKey(key); err != nil {
		return nil, bucket.Info{}, err
	}
	strike, err := m.begin(ctx, "GetObject", "get", key)
	if err != nil {
		return nil, bucket.Info{}, err
	}
	defer m.world.mu.Unlock()
	it := m.objects[key]
	switch {
	case it == nil:
		return nil, bucket.Info{}, bucket.ErrNotExist
	case o.IfMatch != "" && o.IfMatch != it.info.ETag:
		return nil, bucket.Info{}, bucket.ErrPrecondition
	case m.cold(it) && o.Length != 0:
		return nil, bucket.Info{}, bucket.ErrCold
	case o.Offset < 0 || o.Offset > int64(len(it.content)):
		return nil, bucket.Info{}, fmt.Errorf("offset %d of %d bytes", o.Offset, len(it.content))
	}
	content := it.content[o.Offset:]
	if o.Length >= 0 {
		content = content[:min(int64(len(content)), o.Length)]
	}
	r := &reader{ctx: ctx, r: bytes.NewReader(content)}
	if strike.cut {
		r.r, r.end = bytes.NewReader(content[:len(content)/2]), io.ErrUnexpectedEOF
	}
	if strike.flip && len(content) > 0 {
		content = slices.Clone(content)
		content[len(content)/2] ^= 1
		r.r, r.end = bytes.NewReader(content), bucket.ErrChecksum
	}
	return r, it.info, nil
}

func (m *Mem) cold(o *object) bool { return slices.Contains(m.o.Cold, o.info.Class) && !o.info.Thawed }

// reader ends with its context, or as a rule wants it.
type reader struct {
	ctx context.Context
	r   io.Reader
	end error // nil: io.EOF
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	if err == io.EOF && r.end != nil {
		err = r.end
	}
	return n, err
}

func (r *reader) Close() error { return nil }

// Put implements bucket.Bucket.
func (m *Mem) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, o bucket.PutOptions) (bucket.Info, error) {
	info, err := m.put(ctx, key, r, size, o)
	return info, bucket.Fail("put", key, err)
}

func (m *Mem) put(ctx context.Context, key string, r io.ReadSeeker, size int64, o bucket.PutOptions) (bucket.Info, error) {
	if err := checkKey(key); err != nil {
		return bucket.Info{}, err
	}
	if size > m.o.Limits.MaxPut {
		return bucket.Info{}, fmt.Errorf("%d bytes are more than %d", size, m.o.Limits.MaxPut)
	}
	content, err := read(r, size)
	if err != nil {
		return bucket.Info{}, err
	}
	strike, err := m.begin(ctx, "PutObject", "put", key)
	if err != nil {
		return bucket.Info{}, err
	}
	defer m.world.mu.Unlock()
	tag := md5.Sum(content)
	info, err := m.store(key, content, hex.EncodeToString(tag[:]), o)
	if err == nil {
		err = strike.lost
	}
	return info, err
}

func read(r io.ReadSeeker, size int64) ([]byte, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	content := make([]byte, size)
	_, err := io.ReadFull(r, content)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = bucket.ErrShort
	}
	return content, err
}

// store makes an object, if the conditions hold and the sum fits.
func (m *Mem) store(key string, content []byte, tag string, o bucket.PutOptions) (bucket.Info, error) {
	if err := m.condition(key, o); err != nil {
		return bucket.Info{}, err
	}
	crc := sumOf(bucket.CRC64NVME, content)
	if s := o.Sum; s != nil && s.Parts == 0 && !bytes.Equal(s.Value, sumOf(s.Algorithm, content)) {
		return bucket.Info{}, bucket.ErrChecksum
	}
	info := bucket.Info{Object: bucket.Object{Key: key, Size: int64(len(content)), ETag: tag, Modified: m.now(), Class: o.Class}, ContentType: o.ContentType, Metadata: maps.Clone(o.Metadata)}
	if info.Class == "STANDARD" {
		info.Class = ""
	}
	if info.Sum = &(bucket.Sum{Algorithm: bucket.CRC64NVME, Value: crc}); m.o.NoSums {
		info.Sum = nil
	} else if o.Sum != nil && o.Sum.Parts == 0 && !strings.Contains(tag, "-") {
		info.Sum = o.Sum
	}
	if m.o.KMS {
		info.ETag, info.Encryption = random(), "aws:kms"
		if _, parts, many := strings.Cut(tag, "-"); many {
			info.ETag += "-" + parts
		}
	}
	m.objects[key] = &object{info: info, content: content}
	m.sorted = nil
	return info, nil
}

func (m *Mem) condition(key string, o bucket.PutOptions) error {
	old := m.objects[key]
	if o.IfNone && old != nil || o.IfMatch != "" && (old == nil || old.info.ETag != o.IfMatch) {
		return bucket.ErrPrecondition
	}
	return nil
}

func random() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// Copy implements bucket.Bucket.
func (m *Mem) Copy(ctx context.Context, fromBucket, from, key string, size int64, o bucket.CopyOptions) (bucket.Info, error) {
	info, err := m.copy(ctx, fromBucket, from, key, size, o)
	return info, bucket.Fail("copy", key, err)
}

func (m *Mem) copy(ctx context.Context, fromBucket, from, key string, size int64, o bucket.CopyOptions) (bucket.Info, error) {
	if err := checkKey(key); err != nil {
		return bucket.Info{}, err
	}
	strike, err := m.begin(ctx, "CopyObject", "copy", key)
	if err != nil {
		return bucket.Info{}, err
	}
	defer m.world.mu.Unlock()
	source := m.memBucket
	if fromBucket != "" {
		source = m.world.buckets[fromBucket]
	}
	if source == nil || source.objects[from] == nil {
		return bucket.Info{}, bucket.ErrNotExist
	}
	old := source.objects[from]
	switch {
	case o.IfSource != "" && o.IfSource != old.info.ETag, old.info.Size != size && size > m.o.Limits.MaxPut:
		return bucket.Info{}, bucket.ErrPrecondition
	case m.cold(old):
		return bucket.Info{}, bucket.ErrCold
	}
	if o.Metadata == nil {
		o.Metadata = old.info.Metadata
	}
	if o.ContentType == "" {
		o.ContentType = old.info.ContentType
	}
	tag := md5.Sum(old.content)
	info, err := m.store(key, old.content, hex.EncodeToString(tag[:]), o.PutOptions)
	if err == nil {
		err = strike.lost
	}
	return info, err
}

// Delete implements bucket.Bucket.
func (m *Mem) Delete(ctx context.Context, keys []string) (map[string]error, error) {
	failed := map[string]error{}
	for some := range slices.Chunk(keys, 1000) {
		if err := m.deleteSome(ctx, some, failed); err != nil {
			return failed, bucket.Fail("delete", "", err)
		}
	}
	return failed, nil
}

func (m *Mem) deleteSome(ctx context.Context, keys []string, failed map[string]error) error {
	if _, err := m.begin(ctx, "DeleteObjects", "deletes", ""); err != nil {
		return err
	}
	defer m.world.mu.Unlock()
	for _, key := range keys {
		err := checkKey(key)
		if err == nil {
			err = m.rules.strike("delete", key).err
		}
		if err != nil {
			failed[key] = bucket.Fail("delete", key, err)
			continue
		}
		delete(m.objects, key)
	}
	m.sorted = nil
	return nil
}

// Begin implements bucket.Bucket.
func (m *Mem) Begin(ctx context.Context, key string, o bucket.PutOptions) (string, error) {
	if err := checkKey(key); err != nil {
		return "", bucket.Fail("upload", key, err)
	}
	if _, err := m.begin(ctx, "CreateMultipartUpload", "begin", key); err != nil {
		return "", bucket.Fail("upload", key, err)
	}
	defer m.world.mu.Unlock()
	m.world.serial++
	id := fmt.Sprintf("upload-%d", m.world.serial)
	o.Metadata = maps.Clone(o.Metadata)
	m.uploads[id] = &upload{key: key, o: o, parts: map[int]part{}}
	return id, nil
}

func (m *Mem) upload(key, id string) (*upload, error) {
	if u := m.uploads[id]; u != nil && u.key == key {
		return u, nil
	}
	return nil, bucket.ErrNoUpload
}

// PutPart implements bucket.Bucket.
func (m *Mem) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	p, err := m.putPart(ctx, key, id, n, r, size)
	return p, bucket.Fail("upload", key, err)
}

func (m *Mem) putPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	if n < 1 || n > m.o.Limits.MaxParts || size > m.o.Limits.MaxPart {
		return bucket.Part{}, fmt.Errorf("part %d of %d bytes", n, size)
	}
	content, err := read(r, size)
	if err != nil {
		return bucket.Part{}, err
	}
	strike, err := m.begin(ctx, "UploadPart", "part", key)
	if err != nil {
		return bucket.Part{}, err
	}
	defer m.world.mu.Unlock()
	u, err := m.upload(key, id)
	if err != nil {
		return bucket.Part{}, err
	}
	tag := md5.Sum(content)
	p := part{Part: bucket.Part{N: n, Size: size, ETag: hex.EncodeToString(tag[:])}, content: content}
	if !m.o.NoSums {
		p.Sum = sumOf(bucket.CRC64NVME, content)
	}
	u.parts[n] = p
	return p.Part, strike.lost
}

// Parts implements bucket.Bucket.
func (m *Mem) Parts(ctx context.Context, key, id string) ([]bucket.Part, error) {
	if _, err := m.begin(ctx, "ListParts", "parts", key); err != nil {
		return nil, bucket.Fail("upload", key, err)
	}
	defer m.world.mu.Unlock()
	u, err := m.upload(key, id)
	if err != nil {
		return nil, bucket.Fail("upload", key, err)
	}
	var out []bucket.Part
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		out = append(out, u.parts[n].Part)
	}
	return out, nil
}

// Complete implements bucket.Bucket.
func (m *Mem) Complete(ctx context.Context, key, id string, parts []bucket.Part, o bucket.PutOptions) (bucket.Info, error) {
	info, err := m.complete(ctx, key, id, parts, o)
	return info, bucket.Fail("upload", key, err)
}

func (m *Mem) complete(ctx context.Context, key, id string, parts []bucket.Part, o bucket.PutOptions) (bucket.Info, error) {
	strike, err := m.begin(ctx, "CompleteMultipartUpload", "complete", key)
	if err != nil {
		return bucket.Info{}, err
	}
	defer m.world.mu.Unlock()
	u, err := m.upload(key, id)
	if err != nil {
		return bucket.Info{}, err
	}
	if len(parts) == 0 {
		return bucket.Info{}, fmt.Errorf("no parts")
	}
	var content []byte
	tags := md5.New()
	for i, p := range parts {
		have, ok := u.parts[p.N]
		if !ok || have.ETag != p.ETag || i > 0 && parts[i-1].N >= p.N {
			return bucket.Info{}, fmt.Errorf("part %d is not what was sent", p.N)
		}
		if i < len(parts)-1 && have.Size < m.o.Limits.MinPart {
			return bucket.Info{}, fmt.Errorf("part %d has %d bytes, less than %d", p.N, have.Size, m.o.Limits.MinPart)
		}
		content = append(content, have.content...)
		raw, _ := hex.DecodeString(have.ETag)
		tags.Write(raw)
	}
	all := u.o
	all.Sum, all.IfMatch, all.IfNone = o.Sum, o.IfMatch, o.IfNone
	info, err := m.store(key, content, fmt.Sprintf("%x-%d", tags.Sum(nil), len(parts)), all)
	if err != nil {
		return info, err
	}
	info.PartSize = u.parts[parts[0].N].Size
	m.objects[key].info = info
	delete(m.uploads, id)
	return info, strike.lost
}

// Abort implements bucket.Bucket.
func (m *Mem) Abort(ctx context.Context, key, id string) error {
	if _, err := m.begin(ctx, "AbortMultipartUpload", "abort", key); err != nil {
		return bucket.Fail("upload", key, err)
	}
	defer m.world.mu.Unlock()
	if _, err := m.upload(key, id); err == nil {
		delete(m.uploads, id)
	}
	return nil
}

// Thaw implements bucket.Thawer.
func (m *Mem) Thaw(ctx context.Context, key, _ string, _ int) error {
	if _, err := m.begin(ctx, "RestoreObject", "thaw", key); err != nil {
		return bucket.Fail("thaw", key, err)
	}
	defer m.world.mu.Unlock()
	o := m.objects[key]
	if o == nil {
		return bucket.Fail("thaw", key, bucket.ErrNotExist)
	}
	other := *o
	other.info.Thawed = true
	m.objects[key] = &other
	return nil
}

// Limits implements bucket.Bucket.
func (m *Mem) Limits() bucket.Limits { return m.o.Limits }

// Location implements bucket.Bucket.
func (m *Mem) Location() string { return "s3://" + m.o.Name }

// Close implements bucket.Bucket.
func (m *Mem) Close() error { return nil }
