// Package s3 is a store in a bucket of Amazon S3 or of a compatible server.
//
// The key of an object is the prefix, "/" and its name. Every object is made by one PutObject, or above the part size limit by a
// multipart upload whose completion creates it; both carry "If-None-Match: *", so that nothing is replaced, and the SHA-256, so that
// the server refuses what was damaged on the way. The sum is signed with the request, which is why the payload is not
// (UNSIGNED-PAYLOAD). ETags are not looked at. The package repeats no request: see package retry. A connection on which nothing moves for
// Options.Idle is given up (store.ErrTimeout).
//
// Objects in a cold class are thawed by RestoreObject, followed by HEAD and by listings with RestoreStatus, and moved by CopyObject onto themselves. Servers differ in all
// of that: what a probe found out (store.Abilities) is given to Open, and the rest is asked for as Amazon has it.
//
// Credentials come from the environment, the profiles of ~/.aws, SSO, web identities or the instance, in the order of the SDK;
// AWS_ENDPOINT_URL_S3 and AWS_CA_BUNDLE are honoured. Credentials that are refused as expired are asked for again, once for each request.
package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"golang.org/x/sync/semaphore"

	"firn/internal/digest"
	"firn/internal/store"
	"firn/internal/units"
)

// Limits of S3 (Amazon S3 User Guide, "Multipart upload limits").
const (
	maxPut      = 5 * units.GiB // of one PutObject
	maxParts    = 10_000
	minPart     = 5 * units.MiB
	maxPart     = 5 * units.GiB
	maxObject   = 5 * units.TiB
	defaultPart = 128 * units.MiB
)

const (
	defaultRegion = "us-east-1"
	defaultIdle   = 90 * time.Second
	defaultFirst  = 30 * time.Second
	dialTimeout   = 15 * time.Second
	socketBuffer  = 128 << 10
	standard      = "STANDARD" // the class that a HEAD answer leaves unsaid
)

// Options of a bucket. Only Bucket has to be set.
type Options struct {
	Bucket string
	Prefix string // below which all objects lie; a name, or empty

	Endpoint  string // URL of a compatible server; empty: AWS_ENDPOINT_URL_S3, else Amazon's
	Region    string // empty: as the environment and the profile say, else us-east-1
	Profile   string // of the shared configuration; empty: AWS_PROFILE, else default
	PathStyle string // "on": bucket in the path; "off": in the host name; empty: on for an endpoint that is not Amazon's

	Class      string     // storage class of objects whose PutOptions name none; empty: the bucket's default
	PartSize   units.Size // of multipart uploads, 5 MiB to 5 GiB; 0: 128 MiB, more for objects above 1.2 TiB
	PartsAbove units.Size // size from which objects are sent in parts, where PutOptions do not say; 0: above 5 GiB only
	MaxParts   int        // of an upload; 0: what Known or the endpoint's name says, else 10,000

	// GetEndpoint is the URL of something in front of the bucket, such as a CDN, from which packs (data/, meta/) are read: by plain requests without signature for URL +
	// "/" + key. Callers verify what they get by its sums anyway. Empty: from the endpoint.
	GetEndpoint string
	// Known is what a probe found out about this server some time (store.Examine). nil: it is asked for everything, as Amazon's.
	Known *store.Abilities

	Idle        time.Duration           // how long a connection may stand still; 0: 90 s
	First       time.Duration           // the same, until the server has answered for the first time: it may not be there at all; 0: 30 s, at most Idle
	Connections int                     // how many idle connections are kept; 0: 32
	Credentials aws.CredentialsProvider // instead of those that the SDK finds
	Trace       func(Request)           // told of every request, by several goroutines at once; nil: nobody
}

// Store is a bucket, or a prefix of one.
type Store struct {
	o           Options
	client      *api.Client
	credentials *credentials
	meter       *meter
	close       func()
	amazon      bool                // the server is Amazon's
	parts       *semaphore.Weighted // parts under way, over all uploads

	known    atomic.Pointer[store.Abilities]
	asked    atomic.Pointer[string] // name of an object of which a copy is there or on its way, as the server said
	accepted atomic.Bool            // the server has answered 202 to a RestoreObject
	tells    atomic.Bool            // its listings have told the state of a copy
	silent   atomic.Bool            // its listings have not told the state of a copy that is there or on its way
}

// Open returns the store. It makes no request, unless the credentials need one.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := o.check(); err != nil {
		return nil, store.Fail("open", "", err)
	}
	answered := new(atomic.Bool)
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { tune(t, o, answered) })
	load := []func(*config.LoadOptions) error{config.WithHTTPClient(client)}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(o.Credentials))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, store.Fail("open", "", fmt.Errorf("%w: %w", store.ErrAuth, err))
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	s := &Store{o: o, meter: newMeter(cfg.HTTPClient, answered, o.Trace), close: client.GetTransport().CloseIdleConnections,
		parts: semaphore.NewWeighted(int64(max(partsAtOnce, o.Connections/2)))}
	if o.Known != nil {
		s.Adapt(*o.Known)
	}
	s.credentials = &credentials{p: cfg.Credentials, load: func(ctx context.Context) (aws.CredentialsProvider, error) {
		if c, ok := o.Credentials.(*aws.CredentialsCache); ok {
			c.Invalidate()
		}
		again, err := config.LoadDefaultConfig(ctx, load...)
		return again.Credentials, err
	}}
	s.client = api.NewFromConfig(cfg, s.configure)
	s.amazon = s.o.Endpoint == "" || isAmazon(s.o.Endpoint)
	return s, nil
}

func (o *Options) check() error {
	if o.Bucket == "" || strings.ContainsAny(o.Bucket, "/ ?#\\%") {
		return fmt.Errorf("%q is no bucket's name", o.Bucket)
	}
	if o.Prefix != "" && !store.ValidName(o.Prefix) {
		return fmt.Errorf("prefix %q: %w", o.Prefix, store.ErrName)
	}
	if o.PartSize != 0 && (o.PartSize < minPart || o.PartSize > maxPart) {
		return fmt.Errorf("part size %v is not within %v and %v", o.PartSize, minPart, maxPart)
	}
	switch o.PathStyle {
	case "", "on", "off":
	default:
		return fmt.Errorf("path style %q is neither on nor off", o.PathStyle)
	}
	if o.Endpoint != "" {
		u, err := url.Parse(o.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
			return fmt.Errorf("endpoint %q is no URL such as https://host:port", o.Endpoint)
		}
	}
	if o.GetEndpoint != "" {
		u, err := url.Parse(o.GetEndpoint)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("get endpoint %q is no URL such as https://host/path", o.GetEndpoint)
		}
	}
	if o.MaxParts < 0 || o.MaxParts > maxParts {
		return fmt.Errorf("%d parts are not within 1 and %d", o.MaxParts, maxParts)
	}
	if o.Idle == 0 {
		o.Idle = defaultIdle
	}
	if o.First == 0 {
		o.First = defaultFirst
	}
	o.First = min(o.First, o.Idle)
	if o.Connections == 0 {
		o.Connections = 32
	}
	return nil
}

// tune sets timeouts that are about silence and never about how long a transfer takes.
func tune(t *http.Transport, o Options, answered *atomic.Bool) {
	dialer := &net.Dialer{Timeout: min(dialTimeout, o.First), KeepAlive: 30 * time.Second}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &idleConn{Conn: c, idle: o.Idle, first: o.First, answered: answered}, nil
	}
	t.TLSHandshakeTimeout = min(dialTimeout, o.First)
	t.IdleConnTimeout = o.Idle / 2
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.MaxConnsPerHost = 0, o.Connections, 0
	t.WriteBufferSize, t.ReadBufferSize = socketBuffer, socketBuffer
	t.Protocols = new(http.Protocols) // several connections carry more than one that is shared
	t.Protocols.SetHTTP1(true)
	t.ForceAttemptHTTP2 = false
}

func (s *Store) configure(o *api.Options) {
	if s.o.Endpoint != "" {
		o.BaseEndpoint = aws.String(s.o.Endpoint)
	}
	if o.BaseEndpoint != nil && !isAmazon(*o.BaseEndpoint) {
		o.UsePathStyle = s.o.PathStyle != "off"
	}
	if s.o.PathStyle == "on" {
		o.UsePathStyle = true
	}
	if s.o.Endpoint == "" && o.BaseEndpoint != nil {
		s.o.Endpoint = *o.BaseEndpoint
	}
	o.HTTPClient = s.meter
	o.Retryer = aws.NopRetryer{}
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	o.DisableLogOutputChecksumValidationSkipped = true
	if o.Credentials != nil {
		o.Credentials = s.credentials
	}
}

func isAmazon(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && (strings.HasSuffix(u.Hostname(), ".amazonaws.com") || strings.HasSuffix(u.Hostname(), ".amazonaws.com.cn"))
}

func (s *Store) key(name string) *string {
	if s.o.Prefix == "" {
		return &name
	}
	return aws.String(s.o.Prefix + "/" + name)
}

func (s *Store) bucket() *string { return &s.o.Bucket }

// Make implements store.Maker: it makes the bucket. One that is there but that the credentials may not look at is left alone.
func (s *Store) Make(ctx context.Context) error {
	_, err := ask(ctx, s, func() (*api.HeadBucketOutput, error) {
		return s.client.HeadBucket(ctx, &api.HeadBucketInput{Bucket: s.bucket()})
	})
	if err == nil || errors.Is(err, store.ErrDenied) {
		return nil
	}
	if !errors.Is(err, store.ErrNotExist) && !errors.Is(err, store.ErrNoStore) {
		return store.Fail("make", "", err)
	}
	in := &api.CreateBucketInput{Bucket: s.bucket()}
	if region := s.client.Options().Region; region != defaultRegion {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
	}
	_, err = ask(ctx, s, func() (*api.CreateBucketOutput, error) { return s.client.CreateBucket(ctx, in) })
	var mine *types.BucketAlreadyOwnedByYou
	if errors.As(err, &mine) {
		return nil
	}
	return store.Fail("make", "", err)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := s.get(ctx, name, offset, length)
	if err != nil {
		return nil, store.Fail("get", name, err)
	}
	return r, nil
}

func (s *Store) get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if !store.ValidName(name) {
		return nil, store.ErrName
	}
	if offset < 0 {
		return nil, store.ErrRange
	}
	if length == 0 {
		return s.empty(ctx, name, offset)
	}
	in := &api.GetObjectInput{Bucket: s.bucket(), Key: s.key(name)}
	if offset > 0 || length > 0 {
		in.Range = aws.String(byteRange(offset, length))
	}
	if s.fromEdge(name) {
		return s.getEdge(ctx, name, offset, length)
	}
	out, err := ask(ctx, s, func() (*api.GetObjectOutput, error) { return s.client.GetObject(ctx, in) })
	if errors.Is(err, store.ErrRange) {
		return s.empty(ctx, name, offset)
	}
	if err != nil {
		return nil, err
	}
	if offset > 0 && !strings.HasPrefix(aws.ToString(out.ContentRange), fmt.Sprintf("bytes %d-", offset)) {
		out.Body.Close()
		return nil, fmt.Errorf("server sent range %q instead of %s", aws.ToString(out.ContentRange), *in.Range)
	}
	left := aws.ToInt64(out.ContentLength)
	if out.ContentLength == nil || left < 0 {
		out.Body.Close()
		return nil, errors.New("server does not tell how much it sends")
	}
	if length > 0 {
		left = min(left, length)
	}
	return &reader{ctx: ctx, s: s, name: name, body: out.Body, left: left}, nil
}

func byteRange(offset, length int64) string {
	if length < 0 || offset > offset+length-1 {
		return fmt.Sprintf("bytes=%d-", offset)
	}
	return fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
}

// empty is a Get that has nothing to send, which HTTP ranges cannot say.
func (s *Store) empty(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	info, err := s.stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, err := store.Clip(info.Size, offset, 0); err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader("")), nil
}

// reader reads the body of an answer, of known length.
type reader struct {
	ctx  context.Context
	s    *Store
	name string
	body io.ReadCloser
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == io.EOF {
		if r.left == 0 {
			return n, io.EOF
		}
		err = io.ErrUnexpectedEOF
	}
	return n, store.Fail("get", r.name, r.s.fail(r.ctx, err))
}

func (r *reader) Close() error { return r.body.Close() }

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	if !store.ValidName(name) {
		return store.Info{}, store.Fail("stat", name, store.ErrName)
	}
	info, err := s.stat(ctx, name)
	return info, store.Fail("stat", name, err)
}

func (s *Store) stat(ctx context.Context, name string) (store.Info, error) {
	out, err := s.head(ctx, name)
	if err != nil {
		return store.Info{}, err
	}
	return s.infoOf(name, out), nil
}

// head asks for an object's metadata. Answers to a HEAD have no body, so one that only says "400" is asked about with a listing: credentials that have expired are
// told, and renewed, that way.
func (s *Store) head(ctx context.Context, name string) (*api.HeadObjectOutput, error) {
	call := func() (*api.HeadObjectOutput, error) {
		return s.client.HeadObject(ctx, &api.HeadObjectInput{Bucket: s.bucket(), Key: s.key(name), ChecksumMode: types.ChecksumModeEnabled})
	}
	out, err := ask(ctx, s, call)
	var mute *Error
	if !errors.As(err, &mute) || mute.Status != http.StatusBadRequest || mute.Reason != nil || ctx.Err() != nil {
		return out, err
	}
	_, why := ask(ctx, s, func() (*api.ListObjectsV2Output, error) {
		return s.client.ListObjectsV2(ctx, &api.ListObjectsV2Input{Bucket: s.bucket(), Prefix: s.key(name), MaxKeys: aws.Int32(1)})
	})
	if why != nil {
		return nil, why
	}
	return ask(ctx, s, call)
}

// infoOf is what the answer to a HEAD tells.
func (s *Store) infoOf(name string, out *api.HeadObjectOutput) store.Info {
	info := store.Info{Name: name, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified), Class: string(out.StorageClass)}
	if info.Class == "" {
		info.Class = standard
	}
	if b, err := base64.StdEncoding.DecodeString(aws.ToString(out.ChecksumSHA256)); err == nil && len(b) == len(info.Sum) {
		info.Sum = digest.Object(b) // the sum of sums of a multipart object has "-N" behind and fails to decode
	}
	info.Copy = parseRestore(aws.ToString(out.Restore))
	return info
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	if !store.ValidName(name) {
		return store.Fail("delete", name, store.ErrName)
	}
	_, err := ask(ctx, s, func() (*api.DeleteObjectOutput, error) {
		return s.client.DeleteObject(ctx, &api.DeleteObjectInput{Bucket: s.bucket(), Key: s.key(name)})
	})
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	if err != nil {
		err = s.locked(ctx, name, "", err)
	}
	return store.Fail("delete", name, err)
}

// List implements store.Store. The next page is asked for while fn works on the one before.
func (s *Store) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	return s.list(ctx, prefix, after, false, func(_ context.Context, i store.Info) error { return fn(i) })
}

// list shows copies, too, if that is wanted and the server tells.
func (s *Store) list(ctx context.Context, prefix, after string, copies bool, fn func(context.Context, store.Info) error) error {
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan page)
	var fetcher sync.WaitGroup
	fetcher.Go(func() {
		defer close(pages)
		s.pages(ctx, s.listing(prefix, after, copies), pages)
	})
	defer fetcher.Wait()
	defer cancel()
	last := after
	for p := range pages {
		if p.err != nil {
			return store.Fail("list", prefix, p.err)
		}
		for _, o := range p.objects {
			info, ok := s.info(o, prefix)
			if !ok {
				continue
			}
			if info.Name <= last {
				return store.Fail("list", prefix, fmt.Errorf("server does not list in bytewise order: %q after %q", info.Name, last))
			}
			last = info.Name
			if !copies {
				info.Copy = store.Copy{}
			}
			if err := fn(ctx, info); err != nil {
				return err
			}
		}
	}
	return store.Fail("list", prefix, ctx.Err())
}

type page struct {
	objects []types.Object
	err     error
}

func (s *Store) listing(prefix, after string, copies bool) *api.ListObjectsV2Input {
	in := &api.ListObjectsV2Input{Bucket: s.bucket(), Prefix: s.key(prefix)}
	if *in.Prefix == "" {
		in.Prefix = nil
	}
	if after != "" {
		in.StartAfter = s.key(after)
	}
	if copies {
		in.OptionalObjectAttributes = []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus}
	}
	return in
}

// pages sends the pages of a listing until the last, an error or the end of ctx.
func (s *Store) pages(ctx context.Context, in *api.ListObjectsV2Input, to chan<- page) {
	for {
		out, err := ask(ctx, s, func() (*api.ListObjectsV2Output, error) { return s.client.ListObjectsV2(ctx, in) })
		if err != nil {
			out = &api.ListObjectsV2Output{}
		}
		more := aws.ToBool(out.IsTruncated)
		if more && aws.ToString(out.NextContinuationToken) == "" {
			err = errors.New("server cuts a listing and does not say how to go on")
		}
		select {
		case to <- page{out.Contents, err}:
		case <-ctx.Done():
			return
		}
		if err != nil || !more {
			return
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

// info returns what a listing tells about an object of firn's; other keys are none of its business.
func (s *Store) info(o types.Object, prefix string) (store.Info, bool) {
	name := aws.ToString(o.Key)
	if s.o.Prefix != "" {
		var ok bool
		if name, ok = strings.CutPrefix(name, s.o.Prefix+"/"); !ok {
			return store.Info{}, false
		}
	}
	if !store.ValidName(name) || !strings.HasPrefix(name, prefix) {
		return store.Info{}, false
	}
	class := string(o.StorageClass)
	if class == "" {
		class = standard
	}
	return store.Info{Name: name, Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified), Class: class, Copy: copyOf(o.RestoreStatus)}, true
}

// Location implements store.Store: s3://bucket/prefix.
func (s *Store) Location() string {
	if s.o.Prefix == "" {
		return "s3://" + s.o.Bucket
	}
	return "s3://" + s.o.Bucket + "/" + s.o.Prefix
}

// Endpoint tells the URL of a server that is not Amazon's, or "".
func (s *Store) Endpoint() string { return s.o.Endpoint }

// Requests tells how many requests of each operation ("PutObject", …) were made.
func (s *Store) Requests() map[string]int64 { return s.meter.counts() }

// Close implements store.Store.
func (s *Store) Close() error {
	s.close()
	return nil
}

// Region is the region that requests are signed for.
func (s *Store) Region() string { return s.client.Options().Region }
