// Package coldtest is an S3 server for tests and for trying things out: one process, the loopback interface, no account. It has storage classes, objects that
// have to be thawed before they can be read, a clock that the test moves, users with policies, faults by rules, and a bill.
//
// It does what Amazon documents and refuses what Amazon documents to refuse, in the same words (Amazon S3 API Reference and User Guide): signatures are
// verified, checksums compared, conditions kept, headers that it does not know how to honour answered with NotImplemented. Where the documentation leaves a range,
// such as "3-5 hours", the seed chooses within it. What other providers do otherwise is switched on piece by piece, see Provider.
//
// Implemented are objects (Put, Get, Head, Delete, DeleteObjects, Copy, GetObjectAttributes), multipart uploads, RestoreObject, versions, Object Lock, lifecycle rules,
// listings (ListObjects, ListObjectsV2, ListObjectVersions, ListMultipartUploads, ListParts) and what goes with buckets. Left out are encryption (but for what KMS does to ETags), ACLs, tags, replication,
// websites and everything else: asking for them is an error.
//
// Time: objects age, thaw and expire by Options.Clock. Signatures are compared with the machine's clock, since the client signs by it.
package coldtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/price"
)

// Options of a server. All may be left out.
type Options struct {
	Clock  Clock   // nil: a Virtual one that begins now
	Speed  float64 // how many times faster than Amazon's objects thaw, expire and are billed, for a clock that is real; 0: 1
	Hurry  float64 // how many times faster than that objects thaw, so that copies stay however slow the machine is; 0: 1
	Seed   uint64  // of everything that is left to chance
	Region string  // empty: us-east-1
	Users  []User  // empty: one with all rights and random keys, see Server.User
	Folder string  // where content is kept, and, once the server is closed, everything else, for the next one; empty: in memory

	Provider Provider      // how the server differs from Amazon's
	Faults   string        // rules, see Fault
	Latency  time.Duration // of each request, by Clock; what is sent and received takes none
	PageKeys int           // at most so many keys on a page of a listing; 0: 1,000
	// Expedited is how many expedited retrievals may be under way; further ones are refused until one is done. 0: any number.
	Expedited int
	// KMS has the server encrypt everything by keys of KMS, as a bucket does by its default: ETags are then no MD5, of objects and of parts (User Guide, "Checking object integrity").
	KMS  bool
	Skew time.Duration // by which the clock that signatures are compared with is wrong

	Prices *price.Region // nil: Amazon's in us-east-1
	Route  string        // by which answers leave, for the bill; empty: price.Direct
	Scale  int64         // every object counts as so many times as large, for the bill alone; 0: 1
	Scaled string        // the class whose objects Scale is about; empty: every one

	TLS     bool   // serve HTTPS, by a certificate of its own (Server.Certificate)
	Address string // to listen on; empty: a free port of 127.0.0.1
}

// Server is a server under way. Its methods may be called by many goroutines at once.
type Server struct {
	o      Options
	clock  Clock
	users  map[string]*User
	faults *faults
	http   *httptest.Server
	ids    atomic.Uint64
	keys   sync.Map // signing keys by user, day and region

	begin time.Time

	mu      sync.Mutex // guards what follows; content is read and written without it
	moment  time.Time  // the time as of which things happen: now, or when what is late was due
	buckets map[string]*bucket
	queue   queue // what will happen when
	meter   *meter
	log     []Request
	fast    int // expedited retrievals under way
	thaws   uint64
	blobs   uint64
}

// New makes a server that does not listen yet: it is an http.Handler.
func New(o Options) (*Server, error) {
	if o.Clock == nil {
		o.Clock = NewVirtual(time.Time{}, 0)
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	if o.Hurry == 0 {
		o.Hurry = 1
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.PageKeys <= 0 || o.PageKeys > maxKeys {
		o.PageKeys = maxKeys
	}
	if len(o.Users) == 0 {
		o.Users = []User{NewUser()}
	}
	if o.Scale <= 0 {
		o.Scale = 1
	}
	if o.Route == "" {
		o.Route = price.Direct
	}
	if o.Folder != "" {
		if err := os.MkdirAll(o.Folder, 0o700); err != nil {
			return nil, err
		}
	}
	rules, err := ParseFaults(o.Faults)
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, clock: o.Clock, users: map[string]*User{}, buckets: map[string]*bucket{}}
	s.faults = &faults{seed: o.Seed, rules: rules, start: o.Clock.Now(), asked: map[string]int{}, state: make([]ruleState, len(rules))}
	for i := range o.Users {
		u := o.Users[i]
		s.users[u.Access] = &u
	}
	if o.Prices == nil {
		if o.Prices, err = price.Default().Region("aws", "us-east-1"); err != nil {
			return nil, err
		}
		s.o.Prices = o.Prices
	}
	s.begin = s.now()
	s.moment = s.begin
	s.meter = newMeter(o.Prices, o.Route, s.begin)
	if o.Folder != "" {
		if err := s.load(); err != nil {
			return nil, fmt.Errorf("state in %q: %w", o.Folder, err)
		}
	}
	return s, nil
}

// Listen makes a server and serves it.
func Listen(o Options) (*Server, error) {
	s, err := New(o)
	if err != nil {
		return nil, err
	}
	address := o.Address
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s.http = &httptest.Server{Listener: l, Config: &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}}
	if o.TLS {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	return s, nil
}

// Start serves until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Listen(o)
	if err != nil {
		t.Fatalf("coldtest: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("coldtest: %v", err)
		}
	})
	return s
}

// Close ends the server: requests under way are cut off. Where it has a folder it writes its state there.
func (s *Server) Close() error {
	if s.http != nil {
		s.http.CloseClientConnections()
		s.http.Close()
	}
	if s.o.Folder == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
	return s.save()
}

// Endpoint is the server's URL.
func (s *Server) Endpoint() string { return s.http.URL }

// Certificate is what a client must trust to speak TLS with the server, as PEM.
func (s *Server) Certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// Region is the name of the server's region.
func (s *Server) Region() string { return s.o.Region }

// Clock is the clock by which objects thaw.
func (s *Server) Clock() Clock { return s.clock }

// User is the first user.
func (s *Server) User() User { return s.o.Users[0] }

// Environment tells any S3 client where the server is and who the first user is, as "NAME=value".
func (s *Server) Environment() []string {
	u := s.User()
	env := []string{"AWS_ENDPOINT_URL_S3=" + s.Endpoint(), "AWS_REGION=" + s.o.Region, "AWS_ACCESS_KEY_ID=" + u.Access, "AWS_SECRET_ACCESS_KEY=" + u.Secret}
	if u.Token != "" {
		env = append(env, "AWS_SESSION_TOKEN="+u.Token)
	}
	return env
}

// Advance moves a Virtual clock, and lets happen what happens until then. It panics where the clock is another.
func (s *Server) Advance(d time.Duration) {
	s.clock.(*Virtual).Advance(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
}

// now is the clock's time.
// scale is how much larger an object of a class is than it is, on the bill.
func (s *Server) scale(class string) int64 {
	if s.o.Scaled != "" && class != s.o.Scaled {
		return 1
	}
	return s.o.Scale
}

func (s *Server) now() time.Time { return s.clock.Now().UTC() }

// random makes names that nobody guesses.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// Request is an entry of the log.
type Request struct {
	Operation string // of the S3 API: PutObject, …
	Method    string
	Bucket    string
	Key       string    // or the prefix of a listing
	Class     string    // of the object that it was about, where there was one
	Tier      string    // of a RestoreObject
	User      string    // access key
	Time      time.Time // by Clock
	Status    int       // 0: the connection was cut before
	Code      string    // of the error, or empty
	Fault     string    // what a rule did, or empty
	In, Out   int64     // bytes of content

	Action     string   // of policies, that the operation takes
	Statements []string // names (Sid) of the statements of the user's policy that allowed it and what it did besides
}

// Requests returns the log so far, in the order in which requests ended.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.log...)
}

// Count tells how many requests of an operation, empty for all, there were.
func (s *Server) Count(operation string) (n int) {
	return s.CountFunc(func(r Request) bool { return operation == "" || r.Operation == operation })
}

// CountFunc tells how many requests match.
func (s *Server) CountFunc(match func(Request) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.log {
		if match(r) {
			n++
		}
	}
	return n
}

// ForgetRequests empties the log.
func (s *Server) ForgetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// Objects tells how many current objects of a bucket begin with prefix, and how large they are in all.
func (s *Server) Objects(bucketName, prefix string) (objects int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
	b := s.buckets[bucketName]
	if b == nil {
		return 0, 0
	}
	b.keys.from(prefix, func(e *entry) bool {
		if !strings.HasPrefix(e.key, prefix) {
			return false
		}
		if v := e.current(); v != nil {
			objects++
			bytes += v.Size
		}
		return true
	})
	return objects, bytes
}

// Change lets a test do to an object what happens behind a client's back: Class moves it, and Corrupt flips a bit of its content.
type Change struct {
	Class   string
	Corrupt bool
}

// Change changes the current version of an object, unbilled. Sums and times stay.
func (s *Server) Change(bucketName, key string, c Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
	b := s.buckets[bucketName]
	if b == nil {
		return fmt.Errorf("no bucket %q", bucketName)
	}
	v := b.find(key)
	if v == nil {
		return fmt.Errorf("no object %q", key)
	}
	if c.Corrupt {
		flipped, err := v.content.flip()
		if err != nil {
			return err
		}
		v.content = flipped
	}
	if c.Class != "" && c.Class != v.Class {
		s.leave(v)
		v.Class, v.restore = c.Class, nil
		s.enter(v, v.Since)
	}
	return nil
}

// hold holds a virtual clock while work is under way.
func (s *Server) hold() func() {
	if v, ok := s.clock.(*Virtual); ok {
		return v.Hold()
	}
	return func() {}
}

// sleep waits by the clock.
func (s *Server) sleep(ctx context.Context, d time.Duration) {
	if d > 0 {
		_ = s.clock.Sleep(ctx, d)
	}
}
