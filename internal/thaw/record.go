package thaw

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/klauspost/compress/zstd"

	"firn/internal/store"
)

// The journal of a job is records (state.Journal has lengths and sums), each a byte that tells its kind and a body. Integers are unsigned varints, strings a length
// and bytes; a set of objects is a number of ranges, each the distance of its first index from the end of the one before, and its length less one.
//
//	1 header   JSON, Header; the first record
//	2 needs    zstd of: n; n names, each ended by a line feed; n sizes; n wanted; n gets; n classes, each an index into the strings that follow as
//	           a number and strings. At most needsPerRecord; they follow the header, in order
//	3 asked    time (Unix seconds), number of groups; each: what (0 thaw, 1 extend), class, tier, days, set. Written, and synced, before the requests are made
//	4 answered three sets of those asked for: thaws that began, copies that are kept for longer, what cost nothing
//	5 fetched  set
//	6 news     JSON, news: status and counters
//	7 ledger   JSON, ledger: what was paid, in place of all records 3 and 4 before it but for what is open
//	8 paid     set: objects that were paid for once
//	9 change   JSON, Header, in place of the one before
//	10 passed  set: objects that were read, and may have to be once more: what that costs is counted, and not again when they are fetched
//
// Records of other kinds end the reading: they are of a later version.
const (
	recHeader = iota + 1
	recNeeds
	recAsked
	recAnswered
	recFetched
	recNews
	recLedger
	recPaid
	recChange
	recPassed
)

const (
	needsPerRecord = 50_000
	maxHeader      = 1 << 20
	maxNeedsRaw    = 64 << 20
	maxText        = 1024 // a class, a tier
)

var (
	errRecord = errors.New("damaged record")
	errLater  = errors.New("written by a later version")
)

// group is objects asked for alike.
type group struct {
	extend bool
	class  string
	tier   store.Tier
	days   int
	set    ranges
}

// span is objects from … to-1.
type span struct{ from, to int32 }

// ranges is a set of objects, ascending, without touching spans.
type ranges []span

// with adds i, which is not smaller than any that is in.
func (r ranges) with(i int32) ranges {
	if n := len(r); n > 0 && i <= r[n-1].to {
		r[n-1].to = max(r[n-1].to, i+1)
		return r
	}
	return append(r, span{i, i + 1})
}

func (r ranges) each(fn func(i int32)) {
	for _, s := range r {
		for i := s.from; i < s.to; i++ {
			fn(i)
		}
	}
}

func (r ranges) append(to []byte) []byte {
	to = binary.AppendUvarint(to, uint64(len(r)))
	at := int32(0)
	for _, s := range r {
		to = binary.AppendUvarint(to, uint64(s.from-at))
		to = binary.AppendUvarint(to, uint64(s.to-s.from-1))
		at = s.to
	}
	return to
}

func appendText(to []byte, s string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}

// body is what is left of a record. After the first fault everything is zero.
type body struct {
	b   []byte
	err error
}

func (b *body) number(limit uint64) uint64 {
	v, n := binary.Uvarint(b.b)
	if n <= 0 || v > limit {
		b.fail()
		return 0
	}
	b.b = b.b[n:]
	return v
}

func (b *body) fail() {
	b.b = nil
	if b.err == nil {
		b.err = errRecord
	}
}

func (b *body) text(limit uint64) string {
	n := b.number(limit)
	if n > uint64(len(b.b)) {
		b.fail()
		return ""
	}
	s := string(b.b[:n])
	b.b = b.b[n:]
	return s
}

// set reads a set of objects below n.
func (b *body) set(n int) ranges {
	count := b.number(uint64(len(b.b)))
	r := make(ranges, 0, count)
	at := uint64(0)
	for range count {
		from := at + b.number(math.MaxInt32)
		at = from + b.number(math.MaxInt32) + 1
		if at > uint64(n) || b.err != nil {
			b.fail()
			return nil
		}
		if k := len(r); k > 0 && r[k-1].to == int32(from) {
			r[k-1].to = int32(at)
			continue
		}
		r = append(r, span{int32(from), int32(at)})
	}
	return r
}

func (b *body) end() error {
	if b.err == nil && len(b.b) > 0 {
		return errRecord
	}
	return b.err
}

func encodeAsked(at time.Time, groups []group) []byte {
	b := binary.AppendUvarint([]byte{recAsked}, uint64(max(0, at.Unix())))
	b = binary.AppendUvarint(b, uint64(len(groups)))
	for _, g := range groups {
		what := byte(0)
		if g.extend {
			what = 1
		}
		b = appendText(appendText(append(b, what), g.class), string(g.tier))
		b = g.set.append(binary.AppendUvarint(b, uint64(g.days)))
	}
	return b
}

func decodeAsked(raw []byte, n int) (time.Time, []group, error) {
	b := &body{b: raw}
	at := time.Unix(int64(b.number(1<<40)), 0)
	groups := make([]group, 0, 4)
	for range b.number(1 << 16) {
		g := group{extend: b.number(1) == 1, class: b.text(maxText), tier: store.Tier(b.text(maxText)), days: int(b.number(1 << 20))}
		g.set = b.set(n)
		if b.err != nil {
			return at, nil, b.err
		}
		groups = append(groups, g)
	}
	return at, groups, b.end()
}

// encodeSets writes a record that is nothing but sets.
func encodeSets(kind byte, sets ...ranges) []byte {
	b := []byte{kind}
	for _, s := range sets {
		b = s.append(b)
	}
	return b
}

func decodeSets(raw []byte, n int, sets ...*ranges) error {
	b := &body{b: raw}
	for _, s := range sets {
		*s = b.set(n)
	}
	return b.end()
}

func encodeJSON(kind byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	return append([]byte{kind}, text...), err
}

// encodeNeeds writes the records of a list of needs.
func encodeNeeds(needs []Need) ([][]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	var out [][]byte
	var raw []byte
	for len(needs) > 0 {
		n := min(len(needs), needsPerRecord)
		raw = columns(raw[:0], needs[:n])
		out = append(out, enc.EncodeAll(raw, []byte{recNeeds}))
		needs = needs[n:]
	}
	return out, nil
}

func columns(raw []byte, needs []Need) []byte {
	raw = binary.AppendUvarint(raw, uint64(len(needs)))
	for i := range needs {
		raw = append(append(raw, needs[i].Object...), '\n')
	}
	for i := range needs {
		raw = binary.AppendUvarint(raw, uint64(needs[i].Size))
	}
	for i := range needs {
		raw = binary.AppendUvarint(raw, uint64(needs[i].Wanted))
	}
	for i := range needs {
		raw = binary.AppendUvarint(raw, uint64(needs[i].Gets))
	}
	var classes []string
	at := map[string]int{}
	for i := range needs {
		c := needs[i].Class
		if _, ok := at[c]; !ok {
			at[c] = len(classes)
			classes = append(classes, c)
		}
		raw = binary.AppendUvarint(raw, uint64(at[c]))
	}
	raw = binary.AppendUvarint(raw, uint64(len(classes)))
	for _, c := range classes {
		raw = appendText(raw, c)
	}
	return raw
}

// decodeNeeds appends the needs of a record.
func decodeNeeds(to []Need, packed []byte) ([]Need, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxNeedsRaw))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	raw, err := dec.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	b := &body{b: raw}
	n := int(b.number(needsPerRecord))
	if n > len(b.b) || len(to)+n > MaxNeeds {
		return nil, errRecord
	}
	from := len(to)
	to = append(to, make([]Need, n)...)
	added := to[from:]
	for i := range added {
		name, rest, ok := bytes.Cut(b.b, []byte{'\n'})
		if !ok || !store.ValidName(string(name)) {
			return nil, errRecord
		}
		added[i].Object, b.b = string(name), rest
	}
	for _, column := range []func(*Need) *int64{
		func(n *Need) *int64 { return &n.Size }, func(n *Need) *int64 { return &n.Wanted }, func(n *Need) *int64 { return &n.Gets },
	} {
		for i := range added {
			*column(&added[i]) = int64(b.number(math.MaxInt64))
		}
	}
	return to, decodeClasses(b, added)
}

func decodeClasses(b *body, added []Need) error {
	of := make([]uint64, len(added))
	for i := range of {
		of[i] = b.number(needsPerRecord)
	}
	count := b.number(needsPerRecord)
	var classes []string
	for range count {
		if b.err != nil {
			break
		}
		classes = append(classes, b.text(maxText))
	}
	if err := b.end(); err != nil {
		return err
	}
	for i, k := range of {
		if k >= uint64(len(classes)) {
			return errRecord
		}
		added[i].Class = classes[k]
	}
	return nil
}
