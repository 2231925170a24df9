package thaw

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"firn/internal/state"
)

// Job is a job that this process works on, or looks at; nobody else does while it is not closed. One goroutine uses it at a time.
type Job struct {
	header Header
	needs  []Need
	order  []int32      // indexes of needs by name
	s      *state.State // nil: none
	log    log          // nil: the job is kept nowhere
	lock   *state.Lock

	fetched bitset
	paid    bitset    // thawed by this job, once at least
	passed  bitset    // not fetched for good, but the cost of that is in the ledger
	pending []pending // asked for, and it is not known whether it was answered
	ledger  ledger
	status  Status
	records int // in the log
}

// log is where a job is written down: a *state.Journal.
type log interface {
	Append(record []byte)
	Sync()
	Rewrite(records [][]byte)
	Err() error
	Close()
}

// pending is one object of a record "asked" that no record "answered" has settled.
type pending struct {
	i  int32
	at time.Time
	*group
}

// bitset has a bit for each need.
type bitset []uint64

func newBitset(n int) bitset      { return make(bitset, (n+63)/64) }
func (b bitset) has(i int32) bool { return b[i/64]>>(i%64)&1 != 0 }
func (b bitset) put(i int32)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) ranges() (r ranges) {
	for w, word := range b {
		for ; word != 0; word &= word - 1 {
			r = r.with(int32(w*64 + bits.TrailingZeros64(word)))
		}
	}
	return r
}

// headerRecord is the first record.
type headerRecord struct {
	Header
	Needs int `json:"needs"` // how many follow
}

// Create writes a job down. It chooses the ID; now becomes Created. s may be nil, or not be able to keep anything: then the job lives as long as the process.
// Errors are about what was given, or tell that the state is busy.
func Create(s *state.State, h Header, needs []Need, now time.Time) (*Job, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	order, err := byName(needs)
	if err != nil {
		return nil, err
	}
	var id state.SourceID
	_, _ = rand.Read(id[:])
	h.ID, h.Created = hex.EncodeToString(id[:]), now.UTC().Truncate(time.Second)
	j := newJob(h, needs)
	j.order = order
	j.status.At = h.Created
	j.sum()
	if s == nil {
		return j, nil
	}
	records, err := j.all()
	if err != nil {
		return nil, err
	}
	if j.lock, err = lockJob(s, h.ID, now); err != nil {
		return nil, err
	}
	journal, err := s.OpenJournal(journalName(h.ID), nil)
	if err != nil {
		j.lock.Release()
		return nil, err
	}
	j.s, j.log = s, journal
	for _, r := range records {
		j.append(r)
	}
	j.log.Sync()
	err = withRegister(s, now, func(r *register) { r.add(Entry{Header: j.header, Status: j.status}) })
	if err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

func newJob(h Header, needs []Need) *Job {
	return &Job{header: h, needs: needs, fetched: newBitset(len(needs)), paid: newBitset(len(needs)), passed: newBitset(len(needs)), status: Status{State: Active}}
}

func (h *Header) check() error {
	switch {
	case h.Days < 1 || h.Days > 36500:
		return fmt.Errorf("copies cannot be kept for %d days", h.Days)
	case h.Purpose == "":
		return errors.New("a thaw job needs a purpose")
	case len(h.Description) > maxHeader/2:
		return fmt.Errorf("description of a thaw job has %d bytes, more than %d", len(h.Description), maxHeader/2)
	case len(h.Description) > 0 && !json.Valid(h.Description):
		return errors.New("description of a thaw job is not JSON")
	case h.MaxCost != nil && !(*h.MaxCost >= 0):
		return fmt.Errorf("a thaw job cannot cost at most %v", *h.MaxCost)
	}
	return nil
}

func journalName(id string) string { return "thaw-" + id }

// Load returns a job by its ID, or a unique beginning of it. It fails with *NoJobError or *BusyError.
func Load(s *state.State, id string, now time.Time) (*Job, error) {
	e, err := entryOf(s, id, now)
	if err != nil {
		return nil, err
	}
	lock, err := lockJob(s, e.Header.ID, now)
	if err != nil {
		return nil, err
	}
	j, err := open(e.Header.ID, func(replay func([]byte) error) (log, error) { return s.OpenJournal(journalName(e.Header.ID), replay) })
	if err != nil {
		lock.Release()
		return nil, err
	}
	j.s, j.lock, j.status.State = s, lock, e.Status.State
	return j, nil
}

// Find returns the youngest active job with that Key, as Load does; nil if there is none. One whose journal is lost or damaged is cancelled, and as good as none: what is
// thawed, or on its way, is not paid for again.
func Find(s *state.State, key string, now time.Time) (*Job, error) {
	entries, err := List(s, now)
	if err != nil || key == "" {
		return nil, err
	}
	for _, e := range entries {
		if e.Header.Key != key || e.Status.State != Active {
			continue
		}
		j, err := Load(s, e.Header.ID, now)
		var none *NoJobError
		if !errors.As(err, &none) || !none.lost() {
			return j, err
		}
		if _, err := Cancel(s, e.Header.ID, now); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// open reads a job from its log.
func open(id string, openLog func(replay func([]byte) error) (log, error)) (*Job, error) {
	j := newJob(Header{}, nil)
	want := -1
	l, err := openLog(func(record []byte) error { return j.replay(record, &want) })
	if err != nil {
		if l != nil {
			l.Close()
		}
		return nil, &NoJobError{ID: id, Reason: err}
	}
	if want < 0 || len(j.needs) != want || j.header.ID != id {
		reason := l.Err()
		if reason == nil {
			reason = errRecord
		}
		l.Close()
		return nil, &NoJobError{ID: id, Reason: reason}
	}
	if j.order, err = byName(j.needs); err != nil {
		l.Close()
		return nil, &NoJobError{ID: id, Reason: err}
	}
	j.log = l
	j.sum()
	j.compact()
	return j, nil
}

// replay takes in one record.
func (j *Job) replay(record []byte, want *int) error {
	if len(record) == 0 {
		return errRecord
	}
	j.records++
	kind, rest := record[0], record[1:]
	if (kind == recHeader) != (*want < 0) {
		return errRecord
	}
	if kind > recNeeds && len(j.needs) != *want {
		return errRecord
	}
	switch kind {
	case recHeader:
		var h headerRecord
		if err := json.Unmarshal(rest, &h); err != nil {
			return fmt.Errorf("%w: %w", errRecord, err)
		}
		if h.Needs < 0 || h.Needs > MaxNeeds {
			return errRecord
		}
		*want, j.header = h.Needs, h.Header
		j.fetched, j.paid, j.passed = newBitset(h.Needs), newBitset(h.Needs), newBitset(h.Needs)
		return h.check()
	case recNeeds:
		needs, err := decodeNeeds(j.needs, rest)
		if err == nil && len(needs) > *want {
			err = errRecord
		}
		j.needs = needs
		return err
	case recFetched, recPaid, recPassed:
		return j.replaySet(kind, rest)
	case recAsked:
		return j.replayAsked(rest)
	case recAnswered:
		var a answers
		if err := decodeSets(rest, len(j.needs), &a.begun, &a.kept, &a.free); err != nil {
			return err
		}
		j.settle(a)
		return nil
	case recChange:
		return j.change(rest)
	case recNews:
		n := news{Asked: j.ledger.Asked}
		err := json.Unmarshal(rest, &n)
		j.status, j.ledger.Asked = n.Status, n.Asked
		return err
	case recLedger:
		j.pending, j.ledger = nil, ledger{}
		return json.Unmarshal(rest, &j.ledger)
	}
	return errLater
}

// change takes in a changed header.
func (j *Job) change(rest []byte) error {
	h := Header{}
	if err := json.Unmarshal(rest, &h); err != nil {
		return err
	}
	if h.ID != j.header.ID {
		return errRecord
	}
	if err := h.check(); err != nil {
		return err
	}
	j.header = h
	return nil
}

func (j *Job) replaySet(kind byte, rest []byte) error {
	var set ranges
	if err := decodeSets(rest, len(j.needs), &set); err != nil {
		return err
	}
	switch kind {
	case recFetched:
		j.brought(set)
	case recPassed:
		j.passedBy(set)
	default:
		set.each(j.paid.put)
	}
	return nil
}

func (j *Job) replayAsked(rest []byte) error {
	at, groups, err := decodeAsked(rest, len(j.needs))
	if err != nil {
		return err
	}
	j.expect(at, groups)
	return nil
}

func (j *Job) append(record []byte) {
	if j.log != nil {
		j.log.Append(record)
		j.records++
	}
}

// expect notes what is asked for.
func (j *Job) expect(at time.Time, groups []group) {
	for k := range groups {
		g := groups[k]
		g.set.each(func(i int32) { j.pending = append(j.pending, pending{i, at, &g}) })
	}
}

// answers are what came of requests. What is in none of the sets is not known.
type answers struct {
	begun ranges // thaws
	kept  ranges // copies that are kept for longer
	free  ranges // nothing was done
}

// settle takes what was answered off the list of what is pending, and into the ledger where it cost. What is pending twice, since it was asked for again when
// nothing was heard of the first time, counts once.
func (j *Job) settle(a answers) {
	const begun, kept, free, counted = 1, 2, 3, 4
	answer := make(map[int32]int, len(j.pending))
	a.begun.each(func(i int32) { answer[i] = begun })
	a.kept.each(func(i int32) { answer[i] = kept })
	a.free.each(func(i int32) { answer[i] = free })
	var left []pending
	for k := len(j.pending) - 1; k >= 0; k-- {
		p := j.pending[k]
		what := answer[p.i]
		switch what {
		case 0:
			left = append(left, p)
			continue
		case begun:
			j.ledger.thawed(p.class, p.tier, j.needs[p.i].Size, p.days)
			if j.paid.has(p.i) {
				j.ledger.Again++
			}
			j.paid.put(p.i)
		case kept:
			j.ledger.extended(p.class, p.tier, j.needs[p.i].Size, p.days)
		}
		answer[p.i] = counted
	}
	slices.Reverse(left)
	j.pending = left
}

// ask writes down what is about to be asked for. It returns once that is on disk.
func (j *Job) ask(at time.Time, groups []group) {
	j.append(encodeAsked(at, groups))
	if j.log != nil {
		j.log.Sync()
	}
	j.expect(at, groups)
}

// answer writes down what came of it.
func (j *Job) answer(a answers) {
	if len(a.begun)+len(a.kept)+len(a.free) == 0 {
		return
	}
	j.append(encodeSets(recAnswered, a.begun, a.kept, a.free))
	j.settle(a)
}

// bring writes down that objects are fetched.
func (j *Job) bring(set ranges) {
	if len(set) == 0 {
		return
	}
	j.append(encodeSets(recFetched, set))
	if j.log != nil {
		j.log.Sync()
	}
	j.brought(set)
}

// Brought notes that objects are fetched, so that a kill in the middle of a long pass costs nothing. Their content is on the disk by then. Fetch may call it before it returns,
// from one goroutine at a time; so may whoever has the job while it is not run, to tell what came before. Objects that the job is not about are left out.
func (j *Job) Brought(objects ...string) {
	var list []int32
	for _, name := range objects {
		if i, ok := j.index(name); ok {
			list = append(list, i)
		}
	}
	got := set(list)
	if len(got) > 0 {
		j.append(encodeSets(recFetched, got))
		j.brought(got)
	}
}

// index finds an object by its name.
func (j *Job) index(name string) (int32, bool) {
	k, ok := slices.BinarySearchFunc(j.order, name, func(i int32, name string) int { return strings.Compare(j.needs[i].Object, name) })
	if !ok {
		return 0, false
	}
	return j.order[k], true
}

func (j *Job) brought(set ranges) {
	set.each(func(i int32) {
		if j.fetched.has(i) {
			return
		}
		j.fetched.put(i)
		if !j.header.Hold && !j.passed.has(i) {
			j.ledger.fetched(&j.needs[i])
		}
	})
}

// news is a record of how the job stands.
type news struct {
	Status
	Asked Requests `json:"asked"`
}

// tell writes down how the job stands.
func (j *Job) tell() {
	if record, err := encodeJSON(recNews, &news{j.status, j.ledger.Asked}); err == nil {
		j.append(record)
	}
}

// all returns the records that say all that is known of the job.
func (j *Job) all() ([][]byte, error) {
	head, err := encodeJSON(recHeader, headerRecord{j.header, len(j.needs)})
	if err != nil {
		return nil, err
	}
	needs, err := encodeNeeds(j.needs)
	if err != nil {
		return nil, err
	}
	paid, err := encodeJSON(recLedger, &j.ledger)
	if err != nil {
		return nil, err
	}
	state, err := encodeJSON(recNews, &news{j.status, j.ledger.Asked})
	if err != nil {
		return nil, err
	}
	out := append([][]byte{head}, needs...)
	out = append(out, encodeSets(recFetched, j.fetched.ranges()), encodeSets(recPaid, j.paid.ranges()), encodeSets(recPassed, j.passed.ranges()), paid, state)
	for _, p := range j.pending {
		out = append(out, encodeAsked(p.at, []group{{p.extend, p.class, p.tier, p.days, ranges{{p.i, p.i + 1}}}}))
	}
	return out, nil
}

// compactAt is how many records a log has before it is written anew.
const compactAt = 256

func (j *Job) compact() {
	if j.records < compactAt {
		return
	}
	if records, err := j.all(); err == nil {
		j.log.Rewrite(records)
		j.records = len(records)
	}
}

// sum counts what is fetched and what is left.
func (j *Job) sum() {
	var done, left Tally
	for i := range j.needs {
		if j.fetched.has(int32(i)) {
			done.add(&j.needs[i])
		} else {
			left.add(&j.needs[i])
		}
	}
	j.status.Fetched, j.status.Left = done, left
}

// Header returns what the job is.
func (j *Job) Header() Header { return j.header }

// Needs returns what the job is about; not to be changed.
func (j *Job) Needs() []Need { return j.needs }

// Fetched reports whether Needs[i] was fetched.
func (j *Job) Fetched(i int) bool { return j.fetched.has(int32(i)) }

// Update changes what may change: the tier, the days, the limit on costs and what goes with them, for what is asked for from now on; and the description.
func (j *Job) Update(h Header, now time.Time) error {
	if err := h.check(); err != nil {
		return err
	}
	h.ID, h.Key, h.Purpose, h.Created, h.Hold = j.header.ID, j.header.Key, j.header.Purpose, j.header.Created, j.header.Hold
	record, err := encodeJSON(recChange, &h)
	if err != nil {
		return err
	}
	j.header = h
	j.append(record)
	if j.s == nil || j.log == nil {
		return nil
	}
	j.log.Sync()
	return withRegister(j.s, now, func(r *register) { r.add(Entry{Header: h, Status: j.status}) })
}

// Status returns how far the job has come, as of its last Run.
func (j *Job) Status() Status { return j.status }

// Err tells why the job is not written down, or nil: it works all the same as long as the process lives.
func (j *Job) Err() error {
	if j.log == nil {
		return state.ErrNone
	}
	return j.log.Err()
}

// End marks the job as done although something may be left, or as cancelled.
func (j *Job) End(how State, now time.Time) error {
	j.status.State, j.status.At = how, now.UTC()
	if j.s == nil {
		return nil
	}
	return withRegister(j.s, now, func(r *register) { r.set(j.header.ID, j.status) })
}

// Close lets go of the job.
func (j *Job) Close() {
	if j.log != nil {
		j.log.Close()
	}
	if j.lock != nil {
		j.lock.Release()
	}
	j.log, j.lock = nil, nil
}

// lockJob locks a job, or fails with *BusyError. Looking through a list takes the locks for a moment, so it tries a few times.
func lockJob(s *state.State, id string, now time.Time) (*state.Lock, error) {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != len(state.SourceID{}) {
		return nil, &NoJobError{ID: id}
	}
	for tries := 0; ; tries++ {
		lock, err := s.Lock(state.SourceID(raw), now)
		var held *state.HeldError
		if !errors.As(err, &held) {
			return lock, err
		}
		if tries == 5 {
			return nil, &BusyError{ID: id, PID: held.PID, Since: held.Since}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// entryOf finds a job by a beginning of its ID.
func entryOf(s *state.State, id string, now time.Time) (Entry, error) {
	entries, err := List(s, now)
	if err != nil {
		return Entry{}, err
	}
	found := Entry{}
	for _, e := range entries {
		if id == "" || !strings.HasPrefix(e.Header.ID, id) {
			continue
		}
		if found.Header.ID != "" {
			return Entry{}, &NoJobError{ID: id, Reason: errors.New("several begin so")}
		}
		found = e
	}
	if found.Header.ID == "" {
		return Entry{}, &NoJobError{ID: id}
	}
	return found, nil
}
