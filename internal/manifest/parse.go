package manifest

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"

	"firn/internal/manifest/jsonline"
	"firn/internal/manifest/linetree"
)

// The members of a line, as bits.
const (
	hasPath = 1 << iota
	hasType
	hasMode
	hasUID
	hasGID
	hasUser
	hasGroup
	hasMtime
	hasSize
	hasHash
	hasContent // or content_tree
	hasHardlink
	hasTarget
	hasRdev
	hasXattrs
	hasError

	always   = hasPath | hasType | hasMode | hasUID | hasGID | hasMtime
	fileOnly = hasSize | hasHash | hasContent
)

// ParseLine reads a line, with or without its newline, into e. Members may stand in any order, in any spelling that
// JSON allows; unknown ones are skipped. It fails with *LineError for a line that is not JSON, has a member twice, lacks one that its type
// needs or has one that its type cannot have, has an unsafe path or a size that its pieces do not add up to. e is then undefined.
func ParseLine(line []byte, e *Entry) error {
	p := parser{e: e, s: &e.own.scan}
	e.clear()
	if len(line) > linetree.MaxLine {
		return &LineError{Offset: -1, Msg: "line too long"}
	}
	p.s.Reset(line)
	p.s.Open('{')
	for n := 0; p.s.More(n, '}'); n++ {
		p.member(p.s.Name())
	}
	p.s.End()
	if p.seen&hasUser == 0 {
		e.User = ""
	}
	if p.seen&hasGroup == 0 {
		e.Group = ""
	}
	if p.s.Err() == nil {
		if msg := e.refuse(p.seen); msg != "" {
			p.s.Fail(msg)
		}
	}
	err := lineError(p.s, e.Path)
	p.s.Reset(nil) // line is not held on to
	return err
}

// clear empties e but for its names: they are the next entry's most of the time.
func (e *Entry) clear() {
	e.Size, e.Hash, e.Tree, e.Major, e.Minor, e.Error = 0, Hash{}, Tree{}, 0, 0, ""
	e.Path, e.Content, e.Hardlink, e.Target, e.Xattrs = nil, nil, nil, nil, nil
	e.own.bytes, e.own.pieces, e.own.xattrs = e.own.bytes[:0], e.own.pieces[:0], e.own.xattrs[:0]
}

type parser struct {
	s    *jsonline.Scanner
	e    *Entry
	seen uint
}

// text keeps the next string.
func (p *parser) text() []byte {
	m := &p.e.own
	start := len(m.bytes)
	m.bytes = append(m.bytes, p.s.Text()...)
	return m.bytes[start:len(m.bytes):len(m.bytes)]
}

// base64 keeps what the next string says in base64.
func (p *parser) base64() []byte {
	m := &p.e.own
	start := len(m.bytes)
	m.bytes = p.s.Base64(m.bytes)
	return m.bytes[start:len(m.bytes):len(m.bytes)]
}

// once notes a member, which must not stand there twice.
func (p *parser) once(bit uint) {
	if p.seen&bit != 0 {
		p.s.Fail("member given twice")
	}
	p.seen |= bit
}

// member reads the value of a member.
func (p *parser) member(name []byte) {
	e, s := p.e, p.s
	switch string(name) {
	case "path":
		p.once(hasPath)
		e.Path = p.text()
	case "path_b64":
		p.once(hasPath)
		e.Path = p.base64()
	case "type":
		p.once(hasType)
		e.Type = p.parseType()
	case "mode":
		p.once(hasMode)
		e.Mode = p.parseMode()
	case "uid":
		p.once(hasUID)
		e.UID = s.Int(-1, math.MaxInt64)
	case "gid":
		p.once(hasGID)
		e.GID = s.Int(-1, math.MaxInt64)
	case "user":
		p.once(hasUser)
		setString(&e.User, s.Text())
	case "group":
		p.once(hasGroup)
		setString(&e.Group, s.Text())
	case "mtime":
		p.once(hasMtime)
		e.Mtime = p.parseTime()
	default:
		p.rarer(name)
	}
}

// setString keeps the string that is there if it is the same, so that names cost nothing.
func setString(s *string, text []byte) {
	if *s != string(text) {
		*s = string(text)
	}
}

// rarer is member for what stands behind the times.
func (p *parser) rarer(name []byte) {
	e, s := p.e, p.s
	switch string(name) {
	case "size":
		p.once(hasSize)
		e.Size = s.Int(0, math.MaxInt64)
	case "hash":
		p.once(hasHash)
		p.parseHash()
	case "content":
		p.once(hasContent)
		p.parseContent()
	case "content_tree":
		p.once(hasContent)
		if e.Tree = linetree.ScanTree(s); e.Tree.IsEmpty() {
			s.Fail("empty content tree")
		}
	case "hardlink":
		p.once(hasHardlink)
		e.Hardlink = p.text()
	case "hardlink_b64":
		p.once(hasHardlink)
		e.Hardlink = p.base64()
	case "target":
		p.once(hasTarget)
		e.Target = p.text()
	case "target_b64":
		p.once(hasTarget)
		e.Target = p.base64()
	case "rdev":
		p.once(hasRdev)
		p.parseRdev()
	case "xattrs":
		p.once(hasXattrs)
		p.parseXattrs()
	case "error":
		p.once(hasError)
		e.Error = string(s.Text())
	default:
		s.Skip()
	}
}

func (p *parser) parseType() Type {
	switch string(p.s.Text()) {
	case "file":
		return File
	case "dir":
		return Dir
	case "symlink":
		return Symlink
	case "fifo":
		return FIFO
	case "char":
		return Char
	case "block":
		return Block
	case "socket":
		return Socket
	}
	p.s.Fail("unknown type")
	return 0
}

// parseMode reads four octal digits.
func (p *parser) parseMode() (mode uint32) {
	text := p.s.Text()
	if len(text) != 4 {
		p.s.Fail("mode is not four octal digits")
	}
	for _, c := range text {
		if c-'0' > 7 {
			p.s.Fail("mode is not four octal digits")
		}
		mode = mode<<3 | uint32(c-'0')
	}
	return mode
}

// parseTime reads "sec.nnnnnnnnn".
func (p *parser) parseTime() (t Time) {
	text := p.s.Text()
	dot := len(text) - 10
	if dot < 1 || dot > 20 || text[dot] != '.' {
		p.s.Fail("time without nine digits behind the point")
		return t
	}
	for _, c := range text[dot+1:] {
		if c-'0' > 9 {
			p.s.Fail("time without nine digits behind the point")
			return t
		}
		t.Nsec = t.Nsec*10 + int32(c-'0')
	}
	sec := text[:dot]
	neg := sec[0] == '-'
	if neg {
		sec = sec[1:]
	}
	var u uint64
	for _, c := range sec {
		if c-'0' > 9 {
			p.s.Fail("bad seconds")
			return t
		}
		u = u*10 + uint64(c-'0')
	}
	switch {
	case len(sec) == 0 || len(sec) > 19 || sec[0] == '0' && (len(sec) > 1 || neg), u > 1<<63, u == 1<<63 && !neg:
		p.s.Fail("bad seconds")
	case neg:
		t.Sec = -int64(u)
	default:
		t.Sec = int64(u)
	}
	return t
}

func (p *parser) parseHash() {
	text := p.s.Text()
	var out Hash
	if len(text) == hex.EncodedLen(len(out)) && !bytes.ContainsAny(text, "ABCDEF") {
		if _, err := hex.Decode(out[:], text); err == nil {
			p.e.Hash = out
			return
		}
	}
	p.s.Fail("hash is not 24 lower-case hex digits")
}

func (p *parser) parseContent() {
	s, e := p.s, p.e
	s.Open('[')
	for n := 0; s.More(n, ']'); n++ {
		e.own.pieces = append(e.own.pieces, Piece{})
		scanPiece(s, &e.own.pieces[n])
	}
	e.Content = e.own.pieces
}

// scanPiece reads [chunk, offset, length].
func scanPiece(s *jsonline.Scanner, p *Piece) {
	s.Open('[')
	if !s.Null() {
		s.Hex32((*[32]byte)(&p.Chunk))
		if p.Chunk.IsZero() {
			s.Fail("chunk id of zeros")
		}
	}
	s.Comma()
	p.Offset = uint32(s.Int(0, math.MaxUint32))
	s.Comma()
	p.Length = s.Int(1, math.MaxInt64)
	s.Close(']')
}

// refuse tells what is wrong with p; "": nothing.
func (p *Piece) refuse() string {
	switch {
	case p.Length < 1:
		return "piece without length"
	case p.IsHole() && p.Offset != 0:
		return "hole with an offset"
	case !p.IsHole() && p.Length > MaxPiece-int64(p.Offset):
		return "piece longer than a chunk"
	}
	return ""
}

func (p *parser) parseRdev() {
	s, e := p.s, p.e
	s.Open('[')
	e.Major = uint32(s.Int(0, math.MaxUint32))
	s.Comma()
	e.Minor = uint32(s.Int(0, math.MaxUint32))
	s.Close(']')
}

func (p *parser) parseXattrs() {
	s, m := p.s, &p.e.own
	s.Open('[')
	for n := 0; s.More(n, ']'); n++ {
		if n < cap(m.xattrs) {
			m.xattrs = m.xattrs[:n+1] // the name of the last entry's is the same most of the time
		} else {
			m.xattrs = append(m.xattrs, Xattr{})
		}
		x := &m.xattrs[n]
		s.Open('[')
		setString(&x.Name, s.Text())
		s.Comma()
		x.Value = p.base64()
		if x.Name == "" {
			s.Comma()
			x.Name = string(p.base64())
		}
		s.Close(']')
	}
	p.e.Xattrs = m.xattrs
}

// Check tells whether e can be a line: the rules of ParseLine. It fails with *LineError.
func (e *Entry) Check() error {
	seen := uint(always)
	for _, has := range []struct {
		yes bool
		bit uint
	}{
		{e.Type == File, hasSize}, {e.Type == Char || e.Type == Block, hasRdev}, {!e.Hash.IsZero(), hasHash},
		{len(e.Content) > 0 || !e.Tree.IsEmpty(), hasContent}, {len(e.Hardlink) > 0, hasHardlink},
		{len(e.Target) > 0, hasTarget}, {e.Error != "", hasError},
	} {
		if has.yes {
			seen |= has.bit
		}
	}
	msg := e.refuse(seen)
	switch {
	case msg != "":
	case e.Type > Socket:
		msg = "unknown type"
	case e.Mode > 07777:
		msg = "mode out of range"
	case e.UID < -1 || e.GID < -1:
		msg = "owner out of range"
	case e.Mtime.Nsec < 0 || e.Mtime.Nsec >= 1e9:
		msg = "nanoseconds out of range"
	case e.Size < 0 || e.Type != File && e.Size != 0:
		msg = "size out of range"
	}
	if msg != "" {
		return &LineError{Path: string(e.Path), Offset: -1, Msg: msg}
	}
	return nil
}

// refuse tells what is wrong with an entry that was given these members; "": nothing.
func (e *Entry) refuse(seen uint) string {
	if seen&always != always {
		return "member missing"
	}
	if msg := CheckPath(e.Path); msg != "" {
		return msg
	}
	if len(e.Path) == 0 && e.Type != Dir {
		return "empty path of something that is no folder"
	}
	linked, failed := seen&hasHardlink != 0, seen&hasError != 0
	switch e.Type {
	case File:
		if seen&hasSize == 0 {
			return "file without size"
		}
	case Symlink:
		if seen&hasTarget == 0 && !linked && !failed {
			return "link without target"
		}
	case Char, Block:
		if seen&hasRdev == 0 && !linked && !failed {
			return "device without number"
		}
	}
	switch {
	case e.Type != File && seen&fileOnly != 0:
		return "content of something that is no file"
	case e.Type != Symlink && seen&hasTarget != 0:
		return "target of something that is no link"
	case e.Type != Char && e.Type != Block && seen&hasRdev != 0:
		return "device number of something that is no device"
	case e.Type == Dir && linked:
		return "hard link to a folder"
	}
	return e.refuseValues(seen)
}

// refuseValues is refuse for what the members say.
func (e *Entry) refuseValues(seen uint) string {
	if seen&hasTarget != 0 && (len(e.Target) == 0 || len(e.Target) > MaxPath || bytes.IndexByte(e.Target, 0) >= 0) {
		return "bad target"
	}
	if seen&hasHardlink != 0 {
		if len(e.Hardlink) == 0 || CheckPath(e.Hardlink) != "" || Compare(e.Hardlink, e.Path) >= 0 {
			return "hard link to no earlier path"
		}
		if seen&hasContent != 0 {
			return "hard link with content"
		}
	}
	for i := range e.Xattrs {
		name := e.Xattrs[i].Name
		switch {
		case name == "" || strings.IndexByte(name, 0) >= 0:
			return "bad name of an attribute"
		case i > 0 && e.Xattrs[i-1].Name >= name:
			return "attributes out of order"
		}
	}
	return e.refuseContent(seen)
}

// refuseContent is refuse for the pieces of a file.
func (e *Entry) refuseContent(seen uint) string {
	if e.Size == 0 && !e.Hash.IsZero() {
		return "hash of an empty file"
	}
	if e.Type != File || seen&hasHardlink != 0 || !e.Tree.IsEmpty() {
		if !e.Tree.IsEmpty() && len(e.Content) > 0 {
			return "content and content tree"
		}
		return ""
	}
	var sum int64
	for i := range e.Content {
		if msg := e.Content[i].refuse(); msg != "" {
			return msg
		}
		if sum += e.Content[i].Length; sum < 0 {
			return "pieces longer than a file can be"
		}
	}
	if sum != e.Size {
		return "pieces do not add up to the size"
	}
	return ""
}
