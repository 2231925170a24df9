package linetree

import (
	"errors"
	"math"
	"strconv"

	"firn/internal/digest"
	"firn/internal/manifest/jsonline"
)

var (
	errRange = errors.New("tree out of range")
	errTwice = errors.New("member given twice")
)

// AppendTree appends the name of a tree, a JSON object.
func AppendTree(dst []byte, t Tree) []byte {
	if t.IsEmpty() {
		return append(dst, `{"chunk":"","level":0,"lines":0,"bytes":0}`...)
	}
	dst = append(dst, `{"chunk":"`...)
	dst = jsonline.AppendHex32(dst, (*[32]byte)(&t.Chunk))
	dst = strconv.AppendInt(append(dst, `","level":`...), int64(t.Level), 10)
	dst = strconv.AppendInt(append(dst, `,"lines":`...), t.Lines, 10)
	dst = strconv.AppendInt(append(dst, `,"bytes":`...), t.Bytes, 10)
	return append(dst, '}')
}

// ScanTree reads the name of a tree.
func ScanTree(s *jsonline.Scanner) (t Tree) {
	var seen uint
	s.Open('{')
	for n := 0; s.More(n, '}'); n++ {
		var bit uint
		switch string(s.Name()) {
		case "chunk":
			bit = 1
			t.Chunk = scanChunk(s)
		case "level":
			bit = 2
			t.Level = int(s.Int(0, MaxLevel))
		case "lines":
			bit = 4
			t.Lines = s.Int(0, math.MaxInt64)
		case "bytes":
			bit = 8
			t.Bytes = s.Int(0, math.MaxInt64)
		default:
			s.Skip()
		}
		if seen&bit != 0 {
			s.Fail(errTwice.Error())
		}
		seen |= bit
	}
	if seen != 15 || t.check() != nil {
		s.Fail(errRange.Error())
		return Tree{}
	}
	return t
}

// scanChunk reads a chunk id, or the empty string as the zero id.
func scanChunk(s *jsonline.Scanner) (id digest.Chunk) {
	text := s.Text()
	if len(text) == 0 {
		return id
	}
	s.ParseHex(text, (*[32]byte)(&id))
	if id.IsZero() {
		s.Fail("chunk id of zeros")
	}
	return id
}

// check tells whether the numbers can be true.
func (t Tree) check() error {
	if t.IsEmpty() {
		if t != (Tree{}) {
			return errRange
		}
		return nil
	}
	if t.Level < 0 || t.Level > MaxLevel || t.Lines < 1 || t.Bytes < t.Lines || t.Level == 0 && t.Bytes > MaxLine {
		return errRange
	}
	return nil
}

// MarshalJSON writes the form of FORMAT §7.3.
func (t Tree) MarshalJSON() ([]byte, error) { return AppendTree(nil, t), nil }

// UnmarshalJSON reads it.
func (t *Tree) UnmarshalJSON(b []byte) error {
	var s jsonline.Scanner
	s.Reset(b)
	v := ScanTree(&s)
	s.End()
	if err := s.Err(); err != nil {
		return err
	}
	*t = v
	return nil
}

// node is one line above level 0: a chunk of the level below.
type node struct {
	first []byte // key of its first line; nil and !known: of the top chunk, whose key stands nowhere
	known bool
	skip  bool // not to be read (Options.Enter), or not to be told to Prefetch
	chunk digest.Chunk
	bytes int64 // length of the chunk; −1: unknown
	lines int64
	size  int64 // −1: not given
}

func appendNode(dst []byte, n *node) []byte {
	dst = append(dst, '{')
	dst = jsonline.AppendKey(dst, "first", n.first)
	dst = append(dst, `,"chunk":"`...)
	dst = jsonline.AppendHex32(dst, (*[32]byte)(&n.chunk))
	dst = strconv.AppendInt(append(dst, `","bytes":`...), n.bytes, 10)
	dst = strconv.AppendInt(append(dst, `,"lines":`...), n.lines, 10)
	if n.size > 0 {
		dst = strconv.AppendInt(append(dst, `,"size":`...), n.size, 10)
	}
	return append(dst, "}\n"...)
}

// scanNode reads a line of a node; first is kept in arena, which it returns longer.
func scanNode(s *jsonline.Scanner, line, arena []byte) (n node, _ []byte, err error) {
	n.size = -1
	start := len(arena)
	var seen uint
	s.Reset(line)
	s.Open('{')
	for i := 0; s.More(i, '}'); i++ {
		var bit uint
		switch string(s.Name()) {
		case "first":
			bit = 1
			arena = append(arena, s.Text()...)
		case "first_b64":
			bit = 1
			arena = s.Base64(arena)
		case "chunk":
			bit = 2
			s.Hex32((*[32]byte)(&n.chunk))
		case "bytes":
			bit = 4
			n.bytes = s.Int(1, MaxLine)
		case "lines":
			bit = 8
			n.lines = s.Int(1, math.MaxInt64)
		case "size":
			bit = 16
			n.size = s.Int(1, math.MaxInt64)
		default:
			s.Skip()
		}
		if seen&bit != 0 {
			s.Fail(errTwice.Error())
		}
		seen |= bit
	}
	s.End()
	if seen&15 != 15 || n.chunk.IsZero() {
		s.Fail("member missing")
	}
	n.first, n.known = arena[start:], true
	return n, arena, s.Err()
}
