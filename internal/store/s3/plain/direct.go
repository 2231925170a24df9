package plain

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/ptr"

	"firn/internal/store"
	"firn/internal/store/s3"
)

// direct makes PutObject requests of small contents without the SDK's middleware, which takes longer for one than all else that has to be done for it. What the SDK knows, where the bucket is and
// by whom and for which region requests are signed, is asked of it once; what it does about odd answers it goes on doing: they are left to it.
type direct struct {
	once   sync.Once
	off    atomic.Bool // the SDK is to make all requests
	base   url.URL     // of the bucket, without a slash at the end
	region string
	signer *v4.Signer
}

// probe stands in the place of a key in the URL that the SDK is asked for.
const probe = "k"

// prepare asks the SDK how it would address and sign a request.
func (d *direct) prepare(ctx context.Context, b *Bucket) {
	d.off.Store(true)
	made, err := api.NewPresignClient(b.c).PresignPutObject(ctx, &api.PutObjectInput{Bucket: b.name, Key: ptr.String(probe)})
	if err != nil {
		return
	}
	u, err := url.Parse(made.URL)
	if err != nil || !strings.HasSuffix(u.EscapedPath(), "/"+probe) || u.EscapedPath() != u.Path {
		return
	}
	q := u.Query()
	scope := strings.Split(q.Get("X-Amz-Credential"), "/") // key, day, region, service, aws4_request; keys have no slash
	if q.Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" || len(scope) != 5 || scope[3] != "s3" {
		return // of access points in several regions, and of Express One Zone
	}
	d.base, d.region = url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/"+probe)}, scope[2]
	d.signer = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	d.off.Store(false)
}

// unsignedPayload says that the content is not signed; its sum is.
const unsignedPayload = "UNSIGNED-PAYLOAD"

// put makes one request. ok is false where the SDK has to make it.
func (d *direct) put(ctx context.Context, p *putting) (out *api.PutObjectOutput, ok bool, err error) {
	b := p.b
	d.once.Do(func() { d.prepare(context.WithoutCancel(ctx), b) })
	if d.off.Load() || p.c.r != nil {
		return nil, false, nil
	}
	credentials, err := b.c.Options().Credentials.Retrieve(ctx)
	if err != nil {
		return nil, true, b.s.Cause(ctx, err)
	}
	sent := b.body(p.c)
	req := d.request(ctx, p.in, sent)
	if err := d.signer.SignHTTP(ctx, credentials, req, unsignedPayload, "s3", d.region, time.Now()); err != nil {
		return nil, false, nil
	}
	resp, err := b.s.Do("PutObject", req)
	if err = sent.detach(err); err != nil {
		return nil, true, b.s.Cause(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)); err != nil {
			return nil, true, b.s.Cause(ctx, err)
		}
		return putOutput(resp.Header), true, nil
	}
	err = b.s.Refusal(ctx, resp)
	for _, odd := range []error{store.ErrAuth, store.ErrClock, s3.ErrRegion} {
		if errors.Is(err, odd) {
			return nil, false, nil // credentials can be renewed, a clock allowed for
		}
	}
	return nil, resp.StatusCode < 300 || resp.StatusCode >= 400, err
}

// request is a PutObject, not signed yet.
func (d *direct) request(ctx context.Context, in *api.PutObjectInput, sent *body) *http.Request {
	u := d.base
	u.Path += "/" + *in.Key
	u.RawPath = d.base.Path + "/" + escapePath(*in.Key)
	h := make(http.Header, 12+len(in.Metadata))
	set := func(name string, value *string) {
		if value != nil && *value != "" {
			h[name] = []string{*value}
		}
	}
	class, payload, agent := string(in.StorageClass), unsignedPayload, "firn"
	set("User-Agent", &agent)
	set("X-Amz-Content-Sha256", &payload)
	set("X-Amz-Storage-Class", &class)
	set("Content-Type", in.ContentType)
	set("Content-Md5", in.ContentMD5)
	set("If-Match", in.IfMatch)
	set("If-None-Match", in.IfNoneMatch)
	set("X-Amz-Checksum-Crc64nvme", in.ChecksumCRC64NVME)
	set("X-Amz-Checksum-Sha256", in.ChecksumSHA256)
	if in.ContentType == nil {
		h["Content-Type"] = []string{"application/octet-stream"} // as the SDK has it
	}
	for name, value := range in.Metadata {
		h[http.CanonicalHeaderKey("X-Amz-Meta-"+name)] = []string{value}
	}
	req := &http.Request{Method: http.MethodPut, URL: &u, Host: u.Host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody}
	if n := *in.ContentLength; n > 0 {
		req.ContentLength, req.Body = n, sent
	}
	return req.WithContext(ctx)
}

// putOutput is what the SDK makes of an answer.
func putOutput(h http.Header) *api.PutObjectOutput {
	get := func(name string) *string {
		if v := h[name]; len(v) > 0 {
			return &v[0]
		}
		return nil
	}
	return &api.PutObjectOutput{ETag: get("Etag"), ChecksumCRC64NVME: get("X-Amz-Checksum-Crc64nvme"), ChecksumSHA256: get("X-Amz-Checksum-Sha256"),
		ChecksumType: types.ChecksumType(h.Get("X-Amz-Checksum-Type")), ServerSideEncryption: types.ServerSideEncryption(h.Get("X-Amz-Server-Side-Encryption")), VersionId: get("X-Amz-Version-Id")}
}

// Close implements io.Closer: the content is its owner's.
func (b *body) Close() error { return nil }
