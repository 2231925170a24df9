package s3

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
)

// Request is what Options.Trace is told about a request. It holds no header and no query, hence no secret.
type Request struct {
	Operation string // of the S3 API: PutObject, …; GetEdge: through the GetEndpoint
	Method    string
	Path      string // bucket and key
	Status    int    // 0 where no answer came
	Sent      int64  // bytes of the body
	Received  int64
	Time      time.Duration // until the body of the answer was read or closed
	Err       error         // of the transport
}

// meter counts and traces the requests that pass.
type meter struct {
	next     aws.HTTPClient
	answered *atomic.Bool // set once the server has answered
	trace    func(Request)

	mu      sync.Mutex
	numbers map[string]int64
}

func newMeter(next aws.HTTPClient, answered *atomic.Bool, trace func(Request)) *meter {
	return &meter{next: next, answered: answered, trace: trace, numbers: map[string]int64{}}
}

func (m *meter) counts() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.numbers)
}

// Do implements the SDK's HTTPClient.
func (m *meter) Do(req *http.Request) (*http.Response, error) {
	operation := middleware.GetOperationName(req.Context())
	if operation == "" {
		operation = edgeOperation
	}
	return m.named(operation, req)
}

// named is Do for an operation that the context does not tell.
func (m *meter) named(operation string, req *http.Request) (*http.Response, error) {
	m.mu.Lock()
	m.numbers[operation]++
	m.mu.Unlock()
	if m.trace == nil {
		return m.do(operation, req)
	}
	r := Request{Operation: operation, Method: req.Method, Path: req.URL.Path}
	start := time.Now()
	sent := &counting{}
	if req.Body != nil && req.Body != http.NoBody {
		sent.ReadCloser = req.Body
		req.Body = sent
	}
	resp, err := m.do(operation, req)
	r.Sent = sent.n.Load()
	if err != nil {
		r.Err, r.Time = err, time.Since(start)
		m.trace(r)
		return resp, err
	}
	r.Status = resp.StatusCode
	got := &counting{ReadCloser: resp.Body}
	got.closed = func() {
		r.Received, r.Time = got.n.Load(), time.Since(start)
		m.trace(r)
	}
	resp.Body = got
	return resp, nil
}

// do notes that the server has answered.
func (m *meter) do(operation string, req *http.Request) (*http.Response, error) {
	resp, err := m.next.Do(req)
	if err == nil && !m.answered.Load() {
		m.answered.Store(true)
	}
	if err == nil && resp.StatusCode == http.StatusOK && strings.HasPrefix(operation, "List") {
		if err = listed(resp); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
	}
	return resp, err
}

// headOfList is within how many bytes of a listing its first element begins.
const headOfList = 4 << 10

// listed makes sure that an answer is a listing. The SDK takes one without any content, a page of some proxy, and an error under status 200 for a listing of nothing, at which the
// listing would end: whoever deletes what is not listed must not believe that.
func listed(resp *http.Response) error {
	body := bufio.NewReaderSize(resp.Body, headOfList)
	head, err := body.Peek(headOfList)
	if err != nil && err != io.EOF {
		return err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{body, resp.Body}
	for rest := head; ; {
		i := bytes.IndexByte(rest, '<')
		if i < 0 || i+1 >= len(rest) {
			return fmt.Errorf("the answer to a listing is none: %w", io.ErrUnexpectedEOF)
		}
		if rest = rest[i+1:]; rest[0] == '?' || rest[0] == '!' {
			continue
		}
		name := rest
		if end := bytes.IndexAny(rest, "> /\t\r\n"); end >= 0 {
			name = rest[:end]
		}
		name = name[bytes.IndexByte(name, ':')+1:]
		if bytes.HasPrefix(name, []byte("List")) && bytes.HasSuffix(name, []byte("Result")) {
			return nil
		}
		return fmt.Errorf("the answer to a listing is none, but <%.40s>: %w", name, io.ErrUnexpectedEOF)
	}
}

// counting counts what is read from a body and tells once when it is closed.
type counting struct {
	io.ReadCloser
	n      atomic.Int64
	once   sync.Once
	closed func()
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (c *counting) Close() error {
	err := c.ReadCloser.Close()
	if c.closed != nil {
		c.once.Do(c.closed)
	}
	return err
}

// idleConn fails reads and writes with a timeout once nothing has moved in either direction for idle; for first, as long as no answer ever came.
type idleConn struct {
	net.Conn
	idle     time.Duration
	first    time.Duration
	answered *atomic.Bool
	last     atomic.Int64 // when the deadline was last moved, nanoseconds
	timedOut atomic.Bool
}

func (c *idleConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.moved()
	}
	return n, c.reason(err)
}

func (c *idleConn) Write(p []byte) (int, error) {
	c.moved()
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.moved()
	}
	return n, c.reason(err)
}

// reason keeps a timeout known: the transport closes the connection after one side timed out, and the other side sees only that.
func (c *idleConn) reason(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.timedOut.Store(true)
	}
	if errors.Is(err, net.ErrClosed) && c.timedOut.Load() {
		return os.ErrDeadlineExceeded
	}
	return err
}

// moved puts the deadline off, but not more often than needed to keep it right to a sixteenth.
func (c *idleConn) moved() {
	now := time.Now()
	last := c.last.Load()
	idle := c.idle
	if !c.answered.Load() {
		idle = c.first
	}
	if now.UnixNano()-last > int64(idle)/16 && c.last.CompareAndSwap(last, now.UnixNano()) {
		_ = c.Conn.SetDeadline(now.Add(idle))
	}
}
