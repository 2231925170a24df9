package coldtest

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Limits of bodies.
const (
	maxPut   = 5 << 30 // of one PutObject or UploadPart
	maxXML   = 4 << 20
	maxLine  = 4 << 10  // of an aws-chunked header or trailer
	maxChunk = 64 << 20 // of one aws-chunked chunk
)

// received is the content of a request once it was read and compared with all that the request said of it.
type received struct {
	content blob
	size    int64
	md5     [md5.Size]byte
	sum     checksum // given by the client, or of the algorithm that it was asked for; else zero
	sawSum  bool     // the client gave a sum, or Content-MD5
}

// body tells what a request says of its body.
type body struct {
	size     int64 // of the content, decoded
	a        algorithm
	want     string // its sum; empty: none is given, or it follows as a trailer
	trailer  bool
	md5      []byte
	payload  string // SHA-256 that was signed, in hex; empty: none
	chunked  bool
	signed   *signature // of chunks; nil: they are not signed
	trailing string     // the name of the trailer that is announced
}

// readBody reads the header of a request that has content.
func (q *request) readBody() (*body, error) {
	b := &body{size: q.r.ContentLength}
	var err error
	if b.a, b.want, err = given(q.r.Header); err != nil {
		return nil, err
	}
	if v := q.r.Header.Get("Content-Md5"); v != "" {
		if b.md5, err = base64.StdEncoding.DecodeString(v); err != nil || len(b.md5) != md5.Size {
			return nil, fail(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified was invalid.")
		}
	}
	switch p := q.sig.payload; p {
	case unsignedPayload:
	case streamUnsigned, streamSigned, streamTrailer:
		if err := b.streamed(q, p); err != nil {
			return nil, err
		}
	default:
		if raw, bad := hexBytes(p); bad != nil || len(raw) != sha256.Size {
			return nil, invalidArgument("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD or a valid sha256 value.", "x-amz-content-sha256", p)
		}
		b.payload = p
	}
	if b.size < 0 {
		return nil, fail(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if b.size > maxPut {
		return nil, fail(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", [2]string{"ProposedSize", strconv.FormatInt(b.size, 10)})
	}
	return b, b.provider(q)
}

// streamed reads what is said of a body in chunks (Amazon S3 API Reference, "Signature calculations … chunked upload").
func (b *body) streamed(q *request, kind string) error {
	b.chunked = true
	n, err := strconv.ParseInt(q.r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
	if err != nil || n < 0 {
		return fail(http.StatusLengthRequired, "MissingContentLength", "You must provide the x-amz-decoded-content-length HTTP header.")
	}
	b.size = n
	if kind != streamUnsigned {
		b.signed = q.sig
	}
	if kind == streamSigned {
		return nil
	}
	b.trailing = strings.ToLower(q.r.Header.Get("X-Amz-Trailer"))
	name, ok := strings.CutPrefix(b.trailing, "x-amz-checksum-")
	if b.trailing == "" || !ok {
		return invalidRequest("The value specified in the x-amz-trailer header is not supported")
	}
	a, ok := findAlgorithm(name)
	if !ok {
		return invalidRequest("The value specified in the x-amz-trailer header is not supported")
	}
	if b.want != "" {
		return invalidRequest("Expecting a single x-amz-checksum- header")
	}
	b.a, b.trailer = a, true
	return nil
}

// drain reads a body that nobody wants: an answer that is sent before is lost at times, since the connection is reset when it is closed with content on its way.
func (q *request) drain() { _, _ = io.Copy(io.Discard, q.r.Body) }

// provider applies what the simulated provider cannot do with sums.
func (b *body) provider(q *request) error {
	if b.want == "" && !b.trailer {
		return nil
	}
	switch q.s.o.Provider.Checksums {
	case ChecksumsRefused:
		q.drain()
		return notImplemented(b.a.header())
	case ChecksumsInvalid:
		q.drain()
		return invalidArgument("Unsupported header", b.a.header(), "")
	case ChecksumsIgnored:
		b.want, b.a = "", algorithm{}
	}
	return nil
}

func hexBytes(text string) ([]byte, error) {
	out := make([]byte, len(text)/2)
	for i := range out {
		n, err := strconv.ParseUint(text[2*i:2*i+2], 16, 8)
		if err != nil {
			return nil, err
		}
		out[i] = byte(n)
	}
	if len(text)%2 != 0 {
		return nil, errors.New("odd length")
	}
	return out, nil
}

// receive reads the content of a request into the store, and compares it. algorithm, where not empty, is that of the sum which
// is computed where the client gave none.
func (q *request) receive() (received, error) {
	b, err := q.readBody()
	if err != nil {
		return received{}, err
	}
	k, err := q.s.newSink(b.size)
	if err != nil {
		return received{}, err
	}
	out, err := q.fill(b, k)
	if err != nil {
		k.giveUp()
		return received{}, err
	}
	out.content, err = k.done()
	return out, err
}

// fill copies the body into k.
func (q *request) fill(b *body, k *sink) (received, error) {
	out := received{sawSum: b.want != "" || b.trailer || b.md5 != nil}
	if n := q.fault.cutIn(b.size); n >= 0 {
		_, _ = io.CopyN(io.Discard, q.r.Body, n)
		panic(http.ErrAbortHandler)
	}
	var r io.Reader = q.r.Body
	var chunks *chunkReader
	if b.chunked {
		chunks = &chunkReader{r: bufio.NewReaderSize(q.r.Body, 64<<10), b: b}
		if b.signed != nil {
			chunks.last = b.signed.given
		}
		r = chunks
	}
	if q.fault.flipsIn() {
		r = &flipper{r: r, at: b.size / 2}
	}
	tag := md5.New()
	writers := []io.Writer{k, tag}
	var sum, payload hash.Hash
	if b.a.new != nil {
		sum = b.a.new()
		writers = append(writers, sum)
	}
	if b.payload != "" {
		payload = sha256.New()
		writers = append(writers, payload)
	}
	n, err := io.Copy(io.MultiWriter(writers...), io.LimitReader(r, b.size+1))
	q.entry.In = n
	var bad *apiError
	if errors.As(err, &bad) {
		return out, bad
	}
	if err != nil || n != b.size {
		return out, fail(http.StatusBadRequest, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
	}
	out.size = n
	tag.Sum(out.md5[:0])
	if payload != nil && hexOf(payload.Sum(nil)) != b.payload {
		return out, fail(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.",
			[2]string{"ClientComputedContentSHA256", b.payload}, [2]string{"S3ComputedContentSHA256", hexOf(payload.Sum(nil))})
	}
	return out, b.compare(&out, sum, chunks)
}

// compare looks at the sums.
func (b *body) compare(out *received, sum hash.Hash, chunks *chunkReader) error {
	if b.md5 != nil && !bytes.Equal(b.md5, out.md5[:]) {
		return fail(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.",
			[2]string{"ExpectedDigest", encode(b.md5)}, [2]string{"CalculatedDigest", encode(out.md5[:])})
	}
	if sum == nil {
		return nil
	}
	got := encode(sum.Sum(nil))
	if b.trailer {
		if chunks.trailer == "" {
			return fail(http.StatusBadRequest, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
		}
		if chunks.trailer != got {
			return fail(http.StatusBadRequest, "XAmzContentChecksumMismatch", "The provided '"+b.trailing+"' header does not match what was computed.")
		}
	} else if b.want != got {
		return fail(http.StatusBadRequest, "BadDigest", "The "+b.a.name+" you specified did not match the calculated checksum.")
	}
	out.sum = checksum{Algorithm: b.a.name, Value: got, Type: full}
	return nil
}

// chunkReader decodes "aws-chunked": size in hex, perhaps ";chunk-signature=…", CRLF, so many bytes, CRLF, until a chunk of size 0, after which trailers may follow.
type chunkReader struct {
	r       *bufio.Reader
	b       *body
	last    string // signature of the chunk before
	left    int64  // of this chunk
	sum     hash.Hash
	sig     string // of this chunk
	end     error
	trailer string
}

func malformedChunk() *apiError {
	return fail(http.StatusBadRequest, "InvalidRequest", "The chunked encoding of the body is not well-formed.")
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if c.end != nil {
		return 0, c.end
	}
	if c.left == 0 {
		if c.end = c.next(); c.end != nil {
			return 0, c.end
		}
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if c.sum != nil {
		c.sum.Write(p[:n])
	}
	if err != nil {
		c.end = io.ErrUnexpectedEOF
		return n, c.end
	}
	if c.left == 0 {
		if c.end = c.finish(); c.end != nil {
			return n, c.end
		}
	}
	return n, nil
}

// line reads up to CRLF.
func (c *chunkReader) line() (string, error) {
	var line []byte
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return "", io.ErrUnexpectedEOF
		}
		if b == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		if line = append(line, b); len(line) > maxLine {
			return "", malformedChunk()
		}
	}
}

// next reads the head of a chunk; after the last one it returns io.EOF.
func (c *chunkReader) next() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	size, extension, _ := strings.Cut(line, ";")
	n, err := strconv.ParseInt(size, 16, 64)
	if err != nil || n < 0 || n > maxChunk {
		return malformedChunk()
	}
	c.sig = strings.TrimPrefix(extension, "chunk-signature=")
	c.left = n
	if c.b.signed != nil {
		c.sum = sha256.New()
	}
	if n > 0 {
		return nil
	}
	if err := c.verify(); err != nil {
		return err
	}
	return c.trailers()
}

// finish reads what ends a chunk.
func (c *chunkReader) finish() error {
	if line, err := c.line(); err != nil || line != "" {
		return malformedChunk()
	}
	return c.verify()
}

func wrongSignature() *apiError {
	return fail(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
}

// verify compares the signature of a chunk, which covers that of the one before.
func (c *chunkReader) verify() error {
	g := c.b.signed
	if g == nil {
		return nil
	}
	text := strings.Join([]string{scheme + "-PAYLOAD", g.time.Format(longDate), g.scope(), c.last, emptySum, hexOf(c.sum.Sum(nil))}, "\n")
	if c.last = hexOf(sign(g.key, text)); !hmac.Equal([]byte(c.last), []byte(c.sig)) {
		return wrongSignature()
	}
	return nil
}

// trailers reads the lines after the last chunk.
func (c *chunkReader) trailers() error {
	var canonical string
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case ok && name == "x-amz-trailer-signature":
			c.sig = value
		case ok && name == c.b.trailing && c.trailer == "":
			c.trailer = value
			canonical = name + ":" + value + "\n"
		default:
			return fail(http.StatusBadRequest, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
		}
	}
	if g := c.b.signed; g != nil && c.b.trailing != "" {
		text := strings.Join([]string{scheme + "-TRAILER", g.time.Format(longDate), g.scope(), c.last, hexSum(canonical)}, "\n")
		if want := hexOf(sign(g.key, text)); !hmac.Equal([]byte(want), []byte(c.sig)) {
			return wrongSignature()
		}
	}
	return io.EOF
}
