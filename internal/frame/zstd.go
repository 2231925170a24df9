package frame

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Level is how hard an Encoder tries; a reader need not know it.
type Level int

// The levels, from quick to small.
const (
	Fastest Level = iota
	Default
	Better
	Best
)

var levelNames = [...]string{"fastest", "default", "better", "best"}

// String returns the name that ParseLevel reads.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return "level(" + strconv.Itoa(int(l)) + ")"
	}
	return levelNames[l]
}

// ParseLevel reads fastest, default, better or best.
func ParseLevel(s string) (Level, error) {
	if i := slices.Index(levelNames[:], s); i >= 0 {
		return Level(i), nil
	}
	return 0, fmt.Errorf("compression level %.40q: want one of %s", s, strings.Join(levelNames[:], ", "))
}

// windows are the farthest that a match reaches back, in bytes, by level; an encoder keeps twice that. At Fastest, 4 MiB instead of 1 MiB would save 0.1 % of
// source code in chunks of 4 MiB, and nothing in chunks of 1 MiB or of programs.
var windows = [...]int{1 << 20, 1 << 20, 4 << 20, 4 << 20}

// blockWritten is the content in bytes of the smallest blocks that a level cuts.
const blockWritten = 64 << 10

// Encoder compresses chunks. It keeps its memory from one call to the next, 3, 4, 13 or 43 MB by level, twice that at the lower two once it has met text without repeats, and is not
// for concurrent use.
type Encoder struct {
	z     *zstd.Encoder
	level Level
	plain *zstd.Encoder // codes the entropy of literals everywhere; made when needed, at levels that do so only where they find repeats
	spare []byte
}

// NewEncoder returns an encoder. It panics if level is none of the constants.
func NewEncoder(level Level) *Encoder {
	return &Encoder{z: newEncoder(level), level: level}
}

func newEncoder(level Level, more ...zstd.EOption) *zstd.Encoder {
	levels := [...]zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression, zstd.SpeedBestCompression}
	z, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithEncoderLevel(levels[level]), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true), zstd.WithZeroFrames(true), zstd.WithWindowSize(windows[level])}, more...)...)
	if err != nil {
		panic("frame: " + err.Error()) // only for options that contradict each other
	}
	return z
}

// Append appends raw to dst as one frame and returns the extended slice. dst and raw must not overlap. Content that does
// not compress grows by at most Bound. It panics if raw has 2^32 bytes or more.
func (e *Encoder) Append(dst, raw []byte) []byte {
	if uint64(len(raw)) > math.MaxUint32 {
		panic(fmt.Sprintf("frame: content of %d bytes", len(raw)))
	}
	out := e.z.EncodeAll(raw, dst)
	if e.level > Default || len(raw) < sampled || !wasteful(len(out)-len(dst), raw) {
		return out
	}
	if e.plain == nil {
		e.plain = newEncoder(e.level, zstd.WithAllLitEntropyCompression(true))
	}
	e.spare = e.plain.EncodeAll(raw, e.spare[:0])
	if len(e.spare) < len(out)-len(dst) {
		out = append(out[:len(dst)], e.spare...)
	}
	return out
}

// sampled is how many bytes of a chunk wasteful looks at, in how many places.
const (
	sampled = 4096
	places  = 16
)

// wasteful reports whether size bytes are clearly more than a code for single bytes would need for raw, judged by a sample: Base64, hex digits or short records without repeats, which
// the quick levels leave as they are. Whatever repeats comes out smaller than that, and what is random is not more.
func wasteful(size int, raw []byte) bool {
	var count [256]int
	for i := range places {
		at := (len(raw) - sampled/places) / (places - 1) * i
		for _, b := range raw[at : at+sampled/places] {
			count[b]++
		}
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			bits -= float64(n) * math.Log2(float64(n)/sampled)
		}
	}
	return float64(size) > 1.03*bits/8*float64(len(raw))/sampled
}

// Bound returns the length in bytes that a frame written by an Encoder with n bytes of content has at most.
func Bound(n int) int { return 4 + 1 + 4 + n + 3*(n/blockWritten+1) }

// Decoder decompresses frames. It keeps its memory, 0.2 MB, from one call to the next and is not for concurrent use.
type Decoder struct{ z *zstd.Decoder }

// NewDecoder returns a decoder. It owns no goroutine and needs no closing.
func NewDecoder() *Decoder {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(1<<32))
	if err != nil {
		panic("frame: " + err.Error()) // only for options that contradict each other
	}
	return &Decoder{z}
}

// Append appends the rawLen bytes of content of frame to dst. frame must be exactly one content frame that declares and holds
// exactly rawLen bytes; dst grows by no more than that, and only once frame has the form of one that can hold so much. On an
// error, which matches ErrCorrupt, dst is returned as it was.
func (d *Decoder) Append(dst, frame []byte, rawLen int) ([]byte, error) {
	x, err := measure(frame)
	switch {
	case err != nil:
		return dst, err
	case x.skippable:
		return dst, fmt.Errorf("%w: skippable instead of content", ErrCorrupt)
	case x.length != len(frame):
		return dst, fmt.Errorf("%w: %d bytes behind it", ErrCorrupt, len(frame)-x.length)
	case rawLen < 0 || x.content != uint64(rawLen):
		return dst, fmt.Errorf("%w: declares %d bytes instead of %d", ErrCorrupt, x.content, rawLen)
	}
	return d.decode(dst, frame, rawLen)
}

func (d *Decoder) decode(dst, frame []byte, rawLen int) ([]byte, error) {
	out, err := d.z.DecodeAll(frame, slices.Grow(dst, rawLen))
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if len(out)-len(dst) != rawLen {
		return dst, fmt.Errorf("%w: holds %d bytes instead of %d", ErrCorrupt, len(out)-len(dst), rawLen)
	}
	return out, nil
}

// DecodeAll returns the content of all frames of stream one after another; skippable frames are passed over. It fails with ErrLimit if
// that is more than limit bytes, before it allocates anything, and with ErrCorrupt if stream is not whole frames.
func DecodeAll(stream []byte, limit int) ([]byte, error) {
	total := uint64(0)
	for b := stream; len(b) > 0; {
		x, err := measure(b)
		if err != nil {
			return nil, err
		}
		b = b[x.length:]
		if total += x.content; total > uint64(max(limit, 0)) {
			return nil, fmt.Errorf("%w: %d bytes or more instead of at most %d", ErrLimit, total, limit)
		}
	}
	d := NewDecoder()
	out := make([]byte, 0, total)
	for b := stream; len(b) > 0; {
		x, err := measure(b)
		if err != nil {
			return nil, err
		}
		if !x.skippable {
			if out, err = d.decode(out, b[:x.length], int(x.content)); err != nil {
				return nil, err
			}
		}
		b = b[x.length:]
	}
	return out, nil
}
