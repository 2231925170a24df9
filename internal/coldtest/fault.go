package coldtest

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is one parsed rule by which requests fail. A rule is written
//
//	OPERATION PREFIX FAULT [p=0.1] [nth=3] [times=2] [delay=50ms] [n=5] [from=1h] [until=2h]
//
// OPERATION is one of the S3 API (PutObject, …) or any; PREFIX begins the keys that it is about, or the prefixes of listings; * is all. FAULT is one of
//
//	slowdown     503 SlowDown
//	unavailable  503 ServiceUnavailable
//	internal     500 InternalError
//	denied       403 AccessDenied
//	expired      400 ExpiredToken
//	moved        301 PermanentRedirect, and where to
//	conflict     409 ConditionalRequestConflict, of writes with a condition that holds
//	capacity     503 GlacierExpeditedRetrievalNotAvailable, of expedited restores
//	embedded     200 with an InternalError in it, of CompleteMultipartUpload, which is not done, and CopyObject, which is
//	partly       200 with an InternalError for every second key, of DeleteObjects
//	cut-in       the connection is cut in the middle of what is sent to the server
//	cut-out      the connection is cut in the middle of the answer
//	cut-after    it is done, and the connection is cut before the answer
//	flip         the content that is got has one bit wrong
//	flip-in      the content that is sent to the server has one bit wrong
//	slow         takes delay longer, by the clock
//	pages        a listing has at most n keys on a page
//
// p is how likely it is; the seed, the rule, the operation, the key and how often that was asked before decide, so that a run with the same
// seed and rules fails in the same places, however its goroutines take turns. nth counts the requests that match in the order in which they come; times ends the
// rule after so many faults. from and until are times by the clock since the server began.
type Fault struct {
	Operation   string
	Prefix      string
	Fault       string
	P           float64 // 0: always
	Nth         int     // 0: any
	Times       int     // 0: no end
	Delay       time.Duration
	N           int
	From, Until time.Duration // Until 0: no end
}

var kinds = []string{"slowdown", "unavailable", "internal", "denied", "expired", "moved", "conflict", "capacity", "embedded", "partly", "cut-in", "cut-out",
	"cut-after", "flip", "flip-in", "slow", "pages"}

// ParseFaults reads rules, one a line; empty lines and lines that begin with # are left out.
func ParseFaults(text string) ([]Fault, error) {
	var rules []Fault
	for number, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		r, err := parseFault(fields)
		if err != nil {
			return nil, fmt.Errorf("rule %q in line %d: %w", strings.TrimSpace(line), number+1, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func parseFault(fields []string) (Fault, error) {
	known := len(fields) >= 3 && fields[0] == "any"
	for _, o := range operations {
		known = known || len(fields) >= 3 && o.name == fields[0]
	}
	if !known || !slices.Contains(kinds, fields[2]) {
		return Fault{}, fmt.Errorf("want an operation of S3 or any, a prefix or *, and %s", strings.Join(kinds, "|"))
	}
	r := Fault{Operation: fields[0], Prefix: strings.TrimSuffix(fields[1], "*"), Fault: fields[2]}
	for _, field := range fields[3:] {
		key, value, _ := strings.Cut(field, "=")
		var err error
		switch key {
		case "p":
			r.P, err = strconv.ParseFloat(value, 64)
			if err == nil && !(r.P > 0 && r.P <= 1) {
				err = fmt.Errorf("p=%q is not above 0 and at most 1", value)
			}
		case "nth":
			r.Nth, err = positive(value)
		case "times":
			r.Times, err = positive(value)
		case "n":
			r.N, err = positive(value)
		case "delay":
			r.Delay, err = time.ParseDuration(value)
		case "from":
			r.From, err = time.ParseDuration(value)
		case "until":
			r.Until, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("%q is not known", key)
		}
		if err != nil {
			return Fault{}, err
		}
	}
	return r, nil
}

func positive(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err == nil && n <= 0 {
		err = fmt.Errorf("%d is not positive", n)
	}
	return n, err
}

// faults decides which requests fail.
type faults struct {
	seed  uint64
	start time.Time

	mu    sync.Mutex
	rules []Fault
	asked map[string]int // requests so far, by operation and key
	state []ruleState
}

type ruleState struct{ matched, fired int }

// SetFaults replaces the rules; their counts begin anew.
func (s *Server) SetFaults(text string) error {
	rules, err := ParseFaults(text)
	if err != nil {
		return err
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.rules, s.faults.state = rules, make([]ruleState, len(rules))
	return nil
}

// strike returns the rules that strike a request.
func (f *faults) strike(operation, key string, now time.Time) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rules) == 0 {
		return nil
	}
	name := operation + " " + key
	turn := f.asked[name]
	f.asked[name]++
	var out fault
	for i, r := range f.rules {
		since := now.Sub(f.start)
		if r.Operation != operation && r.Operation != "any" || !strings.HasPrefix(key, r.Prefix) || since < r.From || r.Until > 0 && since >= r.Until {
			continue
		}
		s := &f.state[i]
		s.matched++
		if r.Nth > 0 && s.matched != r.Nth || r.Times > 0 && s.fired >= r.Times || r.P > 0 && f.chance(i, name, turn) >= r.P {
			continue
		}
		s.fired++
		out.rules = append(out.rules, r)
	}
	return &out
}

// chance is a number in [0, 1) that depends on its arguments and the seed alone.
func (f *faults) chance(rule int, name string, turn int) float64 {
	h := fnv.New64a()
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], f.seed)
	binary.LittleEndian.PutUint64(b[8:], uint64(rule))
	binary.LittleEndian.PutUint64(b[16:], uint64(turn))
	h.Write(b[:])
	h.Write([]byte(name))
	return float64(mix(h.Sum64())>>11) / (1 << 53)
}

// fault is what strikes one request; nil: nothing.
type fault struct{ rules []Fault }

func (f *fault) has(kind string) (Fault, bool) {
	if f != nil {
		for _, r := range f.rules {
			if r.Fault == kind {
				return r, true
			}
		}
	}
	return Fault{}, false
}

func (f *fault) names() string {
	if f == nil {
		return ""
	}
	var out []string
	for _, r := range f.rules {
		out = append(out, r.Fault)
	}
	return strings.Join(out, "+")
}

func (f *fault) delay() time.Duration {
	r, _ := f.has("slow")
	return r.Delay
}

// refusal is the answer of rules that let nothing happen.
func (f *fault) refusal() error {
	if f == nil {
		return nil
	}
	for _, r := range f.rules {
		switch r.Fault {
		case "slowdown":
			return fail(http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
		case "unavailable":
			return fail(http.StatusServiceUnavailable, "ServiceUnavailable", "Service is unable to handle request.")
		case "internal":
			return internal()
		case "denied":
			return denied("Access Denied")
		case "expired":
			return fail(http.StatusBadRequest, "ExpiredToken", "The provided token has expired.")
		case "moved":
			e := fail(http.StatusMovedPermanently, "PermanentRedirect",
				"The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.")
			e.header = http.Header{"X-Amz-Bucket-Region": {"eu-west-3"}}
			return e
		}
	}
	return nil
}

func internal() *apiError {
	return fail(http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
}

func (f *fault) conflict() error {
	if _, ok := f.has("conflict"); ok {
		return fail(http.StatusConflict, "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation against this resource.")
	}
	return nil
}

func (f *fault) capacity() bool { _, ok := f.has("capacity"); return ok }
func (f *fault) cutsOut() bool  { _, ok := f.has("cut-out"); return ok }
func (f *fault) flips() bool    { _, ok := f.has("flip"); return ok }
func (f *fault) flipsIn() bool  { _, ok := f.has("flip-in"); return ok }

// partly is what becomes of one of several keys.
func (f *fault) partly(i int) error {
	if _, ok := f.has("partly"); ok && i%2 == 0 {
		return internal()
	}
	return nil
}

// cutIn tells after how many bytes of size the connection is cut; less than 0: it is not.
func (f *fault) cutIn(size int64) int64 {
	if _, ok := f.has("cut-in"); ok {
		return size / 2
	}
	return -1
}

// cutBefore cuts the connection, instead of an answer.
func (f *fault) cutBefore() {
	if _, ok := f.has("cut-after"); ok {
		panic(http.ErrAbortHandler)
	}
}

func (f *fault) pageKeys() int {
	r, _ := f.has("pages")
	return r.N
}

// embedded is the page of an error in an answer that began well; nil: none.
func (f *fault) embedded() *page {
	if _, ok := f.has("embedded"); !ok {
		return nil
	}
	e := internal()
	p := newPage()
	p.open("Error")
	p.put("Code", e.code)
	p.put("Message", e.message)
	p.end("Error")
	return p
}
