// Package faultstore wraps a store, for tests, and makes it fail by rules. A rule is written
//
//	OP PREFIX FAULT [p=0.1] [nth=3] [times=2] [delay=50ms] [last=5] [permanent]
//
// OP is put, get, list, stat, delete or any; PREFIX begins the names that it is about, * is all. FAULT is one of
//
//	before    fails and does nothing
//	after     does it and then fails, so that the caller cannot know; a reader is as before, a listing shows all and then fails
//	torn      breaks off: a reader or a put after half of the bytes, a listing after half of its objects
//	short     a reader ends after half of the bytes and tells nobody
//	flip      a reader has one bit wrong
//	slow      waits for the delay first
//	hang      waits until the context ends, or for the delay and fails with store.ErrTimeout
//	missing   what is there is not found, nor listed
//	lag       a listing leaves out the objects among the last that were put
//
// p is how likely it is; whether a call fails is decided by the seed, the rule, the operation, the name and how often that was asked before,
// so that a run with the same seed and rules fails in the same places, however its goroutines take turns. nth counts the calls that
// match in the order in which they come; times ends the rule after so many faults. Errors are temporary unless the rule says permanent.
package faultstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"firn/internal/store"
)

// Rule is one parsed rule.
type Rule struct {
	Op        string
	Prefix    string
	Fault     string
	P         float64 // 0: always
	Nth       int     // 0: any
	Times     int     // 0: no end
	Delay     time.Duration
	Last      int
	Permanent bool
}

var (
	ops    = []string{"put", "get", "list", "stat", "delete", "any"}
	faults = []string{"before", "after", "torn", "short", "flip", "slow", "hang", "missing", "lag"}
)

// Parse reads rules, one a line; empty lines and lines that begin with # are left out.
func Parse(text string) ([]Rule, error) {
	var rules []Rule
	for number, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		r, err := parseRule(fields)
		if err != nil {
			return nil, fmt.Errorf("rule %q in line %d: %w", line, number+1, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// MustParse is Parse for rules that a test holds; it panics.
func MustParse(text string) []Rule {
	rules, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return rules
}

func parseRule(fields []string) (Rule, error) {
	if len(fields) < 3 || !slices.Contains(ops, fields[0]) || !slices.Contains(faults, fields[2]) {
		return Rule{}, fmt.Errorf("want %s, a prefix or *, and %s", strings.Join(ops, "|"), strings.Join(faults, "|"))
	}
	r := Rule{Op: fields[0], Prefix: strings.TrimSuffix(fields[1], "*"), Fault: fields[2]}
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
		case "last":
			r.Last, err = positive(value)
		case "delay":
			r.Delay, err = time.ParseDuration(value)
		case "permanent":
			r.Permanent = true
		default:
			err = fmt.Errorf("%q is not known", key)
		}
		if err != nil {
			return Rule{}, err
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

// String writes a rule so that Parse reads it.
func (r Rule) String() string {
	prefix := r.Prefix + "*"
	out := r.Op + " " + prefix + " " + r.Fault
	if r.P > 0 {
		out += " p=" + strconv.FormatFloat(r.P, 'g', -1, 64)
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"nth", r.Nth}, {"times", r.Times}, {"last", r.Last}} {
		if n.value > 0 {
			out += fmt.Sprintf(" %s=%d", n.name, n.value)
		}
	}
	if r.Delay != 0 {
		out += " delay=" + r.Delay.String()
	}
	if r.Permanent {
		out += " permanent"
	}
	return out
}

// Fault is the error of a call that a rule made fail.
type Fault struct {
	Op, Name string
	Rule     Rule
}

func (f *Fault) Error() string { return fmt.Sprintf("fault of rule %q", f.Rule) }

// Temporary implements store.Temporary.
func (f *Fault) Temporary() bool { return !f.Rule.Permanent }

// Call is an entry of the log.
type Call struct {
	Op, Name       string
	Offset, Length int64  // get; put: Length is the size
	Fault          string // what a rule did, or empty
	Err            error  // what the caller was told at once; a reader may fail later
}

// Store makes another store fail.
type Store struct {
	s     store.Store
	seed  uint64
	rules []Rule

	mu      sync.Mutex
	asked   map[string]int // calls so far, by operation and name
	matched []int          // by rule
	fired   []int          // by rule
	recent  []string       // names put, the newest last
	log     []Call
}

// recentLimit is how many names of put objects are remembered for lag.
const recentLimit = 1024

// New returns s with faults. The caller prints seed and rules where a test fails; with them it fails again. (Create fails
// where s has no Creator.)
func New(s store.Store, seed uint64, rules ...Rule) *Store {
	return &Store{s: s, seed: seed, rules: rules, asked: map[string]int{}, matched: make([]int, len(rules)), fired: make([]int, len(rules))}
}

// Log returns the calls so far, in the order in which they ended.
func (s *Store) Log() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Count tells how many calls of op there were, "" for all.
func (s *Store) Count(op string) (n int) {
	for _, c := range s.Log() {
		if op == "" || c.Op == op {
			n++
		}
	}
	return n
}

// Unwrap implements store.Wrapper.
func (s *Store) Unwrap() store.Store { return s.s }

// decide returns the rules that strike this call.
func (s *Store) decide(op, name string) (strikes []Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := op + " " + name
	turn := s.asked[key]
	s.asked[key]++
	for i, r := range s.rules {
		if r.Op != op && r.Op != "any" || !strings.HasPrefix(name, r.Prefix) && !(op == "list" && strings.HasPrefix(r.Prefix, name)) {
			continue
		}
		s.matched[i]++
		if r.Nth > 0 && s.matched[i] != r.Nth || r.Times > 0 && s.fired[i] >= r.Times || r.P > 0 && s.chance(i, key, turn) >= r.P {
			continue
		}
		s.fired[i]++
		strikes = append(strikes, r)
	}
	return strikes
}

// chance returns a number in [0, 1) that depends on its arguments and the seed alone.
func (s *Store) chance(rule int, key string, turn int) float64 {
	h := fnv.New64a()
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], s.seed)
	binary.LittleEndian.PutUint64(b[8:], uint64(rule))
	binary.LittleEndian.PutUint64(b[16:], uint64(turn))
	h.Write(b[:])
	h.Write([]byte(key))
	x := h.Sum64()
	x ^= x >> 33 // FNV leaves the top bits poorly mixed: two rounds of MurmurHash3's finalizer
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// call is one call under way.
type call struct {
	s       *Store
	entry   Call
	strikes []Rule
}

func (s *Store) begin(op, name string) *call {
	c := &call{s: s, entry: Call{Op: op, Name: name}, strikes: s.decide(op, name)}
	for _, r := range c.strikes {
		if c.entry.Fault != "" {
			c.entry.Fault += "+"
		}
		c.entry.Fault += r.Fault
	}
	return c
}

func (c *call) end(err error) error {
	c.entry.Err = err
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.log = append(c.s.log, c.entry)
	if c.entry.Op == "put" && err == nil {
		c.s.recent = append(c.s.recent, c.entry.Name)
		if len(c.s.recent) > recentLimit {
			c.s.recent = slices.Delete(c.s.recent, 0, len(c.s.recent)-recentLimit)
		}
	}
	return err
}

// has returns the first striking rule of one of the faults.
func (c *call) has(faults ...string) (Rule, bool) {
	for _, r := range c.strikes {
		if slices.Contains(faults, r.Fault) {
			return r, true
		}
	}
	return Rule{}, false
}

func (c *call) fault(r Rule) error {
	return store.Fail(c.entry.Op, c.entry.Name, &Fault{Op: c.entry.Op, Name: c.entry.Name, Rule: r})
}

// first does what happens before the call: waiting, and failing.
func (c *call) first(ctx context.Context) error {
	if r, ok := c.has("slow"); ok {
		if err := wait(ctx, r.Delay); err != nil {
			return store.Fail(c.entry.Op, c.entry.Name, err)
		}
	}
	if r, ok := c.has("hang"); ok {
		if r.Delay == 0 {
			<-ctx.Done()
			return store.Fail(c.entry.Op, c.entry.Name, ctx.Err())
		}
		if err := wait(ctx, r.Delay); err != nil {
			return store.Fail(c.entry.Op, c.entry.Name, err)
		}
		return store.Fail(c.entry.Op, c.entry.Name, fmt.Errorf("%w: %w", store.ErrTimeout, &Fault{c.entry.Op, c.entry.Name, r}))
	}
	if r, ok := c.has("before"); ok {
		return c.fault(r)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// last does what happens after a call that ended with err.
func (c *call) last(err error) error {
	if r, ok := c.has("after"); ok && err == nil {
		err = c.fault(r)
	}
	return c.end(err)
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	c := s.begin("put", name)
	c.entry.Length = size
	if err := c.first(ctx); err != nil {
		return c.end(err)
	}
	if rule, ok := c.has("torn"); ok {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return c.end(err)
		}
		_, _ = io.CopyN(io.Discard, r, size/2)
		return c.end(c.fault(rule))
	}
	return c.last(s.s.Put(ctx, name, r, size, o))
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	c := s.begin("get", name)
	c.entry.Offset, c.entry.Length = offset, length
	if err := c.first(ctx); err != nil {
		return nil, c.end(err)
	}
	if r, ok := c.has("after"); ok {
		return nil, c.end(c.fault(r))
	}
	if _, ok := c.has("missing"); ok {
		return nil, c.end(store.Fail("get", name, store.ErrNotExist))
	}
	rule, ok := c.has("torn", "short", "flip")
	if !ok {
		r, err := s.s.Get(ctx, name, offset, length)
		return r, c.end(err)
	}
	r, err := s.damaged(ctx, c, rule, offset, length)
	return r, c.end(err)
}

func (s *Store) damaged(ctx context.Context, c *call, rule Rule, offset, length int64) (io.ReadCloser, error) {
	info, err := s.s.Stat(ctx, c.entry.Name)
	if err != nil {
		return nil, err
	}
	n, err := store.Clip(info.Size, offset, length)
	if err != nil {
		return nil, store.Fail("get", c.entry.Name, err)
	}
	r, err := s.s.Get(ctx, c.entry.Name, offset, length)
	if err != nil || n == 0 {
		return r, err
	}
	d := &reader{ReadCloser: r, left: n / 2, end: io.EOF}
	switch rule.Fault {
	case "torn":
		d.end = c.fault(rule)
	case "flip":
		d.flip = true
	}
	return d, nil
}

// reader ends after left bytes with end, or flips a bit there.
type reader struct {
	io.ReadCloser
	left int64
	end  error
	flip bool
}

func (r *reader) Read(p []byte) (int, error) {
	if !r.flip {
		if r.left == 0 {
			return 0, r.end
		}
		p = p[:min(int64(len(p)), r.left)]
	}
	n, err := r.ReadCloser.Read(p)
	if r.flip && r.left < int64(n) && r.left >= 0 {
		p[r.left] ^= 0x10
	}
	r.left -= int64(n)
	return n, err
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	c := s.begin("list", prefix)
	if err := c.first(ctx); err != nil {
		return c.end(err)
	}
	if rule, ok := c.has("torn"); ok {
		return c.end(s.tornList(ctx, c, rule, prefix, after, fn))
	}
	hidden := c.hidden()
	missing, isMissing := c.has("missing")
	return c.last(s.s.List(ctx, prefix, after, func(i store.Info) error {
		if hidden[i.Name] || isMissing && strings.HasPrefix(i.Name, missing.Prefix) {
			return nil
		}
		return fn(i)
	}))
}

// hidden returns the names that a listing that lags does not show.
func (c *call) hidden() map[string]bool {
	rule, ok := c.has("lag")
	if !ok {
		return nil
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	hidden := map[string]bool{}
	for _, name := range c.s.recent[max(0, len(c.s.recent)-max(rule.Last, 1)):] {
		if strings.HasPrefix(name, rule.Prefix) {
			hidden[name] = true
		}
	}
	return hidden
}

func (s *Store) tornList(ctx context.Context, c *call, rule Rule, prefix, after string, fn func(store.Info) error) error {
	var all []store.Info
	err := s.s.List(ctx, prefix, after, func(i store.Info) error {
		all = append(all, i)
		return nil
	})
	if err != nil {
		return err
	}
	for _, i := range all[:len(all)/2] {
		if err := fn(i); err != nil {
			return err
		}
	}
	return c.fault(rule)
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	c := s.begin("stat", name)
	if err := c.first(ctx); err != nil {
		return store.Info{}, c.end(err)
	}
	if _, ok := c.has("missing"); ok {
		return store.Info{}, c.end(store.Fail("stat", name, store.ErrNotExist))
	}
	info, err := s.s.Stat(ctx, name)
	if err = c.last(err); err != nil {
		return store.Info{}, err
	}
	return info, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	c := s.begin("delete", name)
	if err := c.first(ctx); err != nil {
		return c.end(err)
	}
	return c.last(s.s.Delete(ctx, name))
}

// Create implements store.Creator, where the store below does. The rules for put strike at Commit.
func (s *Store) Create(ctx context.Context, o store.PutOptions) (store.Pending, error) {
	creator, ok := store.As[store.Creator](s.s)
	if !ok {
		return nil, store.Fail("put", "", fmt.Errorf("store %q has no Creator", s.s.Location()))
	}
	p, err := creator.Create(ctx, o)
	if err != nil {
		return nil, err
	}
	return &pending{Pending: p, s: s}, nil
}

type pending struct {
	store.Pending
	s    *Store
	size int64
}

func (p *pending) Write(b []byte) (int, error) {
	n, err := p.Pending.Write(b)
	p.size += int64(n)
	return n, err
}

func (p *pending) Commit(ctx context.Context, name string) error {
	c := p.s.begin("put", name)
	c.entry.Length = p.size
	err := c.first(ctx)
	if rule, ok := c.has("torn"); ok && err == nil {
		err = c.fault(rule)
	}
	if err != nil {
		_ = p.Abort() // the caller is told of the fault
		return c.end(err)
	}
	return c.last(p.Pending.Commit(ctx, name))
}

// Location implements store.Store.
func (s *Store) Location() string { return s.s.Location() }

// Close implements store.Store.
func (s *Store) Close() error { return s.s.Close() }
