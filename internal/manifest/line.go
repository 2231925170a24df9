package manifest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode/utf8"

	"firn/internal/manifest/jsonline"
	"firn/internal/manifest/linetree"
)

// LineError tells what is wrong with a line.
type LineError struct {
	Path   string // as far as known
	Offset int    // in the line, bytes; negative: the line as a whole
	Msg    string
}

func (e *LineError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("manifest line of %.200q: %s", e.Path, e.Msg)
	}
	return fmt.Sprintf("manifest line of %.200q at byte %d: %s", e.Path, e.Offset, e.Msg)
}

// AppendLine appends the line of e, with its newline. It does not allocate if dst has room. What stands in fields that the type of e has
// no use for is left out. e has to be as Entry says (Check tells), else ParseLine will refuse the line.
func AppendLine(dst []byte, e *Entry) []byte {
	dst = append(dst, '{')
	dst = jsonline.AppendKey(dst, "path", e.Path)
	dst = append(append(dst, `,"type":"`...), e.Type.String()...)
	m := e.Mode
	dst = append(dst, `","mode":"`...)
	dst = append(dst, '0'+byte(m>>9&7), '0'+byte(m>>6&7), '0'+byte(m>>3&7), '0'+byte(m&7))
	dst = strconv.AppendInt(append(dst, `","uid":`...), e.UID, 10)
	dst = strconv.AppendInt(append(dst, `,"gid":`...), e.GID, 10)
	if e.User != "" {
		dst = jsonline.AppendString(append(dst, `,"user":`...), e.User)
	}
	if e.Group != "" {
		dst = jsonline.AppendString(append(dst, `,"group":`...), e.Group)
	}
	dst = strconv.AppendInt(append(dst, `,"mtime":"`...), e.Mtime.Sec, 10)
	dst = jsonline.AppendNano(append(dst, '.'), uint32(e.Mtime.Nsec))
	dst = append(dst, '"')
	if e.Type == File {
		dst = appendContent(dst, e)
	}
	if len(e.Hardlink) > 0 && e.Type != Dir {
		dst = jsonline.AppendKey(append(dst, ','), "hardlink", e.Hardlink)
	}
	if len(e.Target) > 0 && e.Type == Symlink {
		dst = jsonline.AppendKey(append(dst, ','), "target", e.Target)
	}
	if e.Type == Char || e.Type == Block {
		dst = strconv.AppendUint(append(dst, `,"rdev":[`...), uint64(e.Major), 10)
		dst = strconv.AppendUint(append(dst, ','), uint64(e.Minor), 10)
		dst = append(dst, ']')
	}
	if len(e.Xattrs) > 0 {
		dst = appendXattrs(dst, e.Xattrs)
	}
	if e.Error != "" {
		dst = jsonline.AppendString(append(dst, `,"error":`...), e.Error)
	}
	return append(dst, "}\n"...)
}

func appendContent(dst []byte, e *Entry) []byte {
	dst = strconv.AppendInt(append(dst, `,"size":`...), e.Size, 10)
	if !e.Hash.IsZero() && e.Size > 0 {
		dst = append(dst, `,"hash":"`...)
		dst = hex.AppendEncode(dst, e.Hash[:])
		dst = append(dst, '"')
	}
	switch {
	case len(e.Hardlink) > 0:
	case !e.Tree.IsEmpty():
		dst = linetree.AppendTree(append(dst, `,"content_tree":`...), e.Tree)
	case len(e.Content) > 0:
		dst = append(dst, `,"content":[`...)
		for i := range e.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendPiece(dst, &e.Content[i])
		}
		dst = append(dst, ']')
	}
	return dst
}

func appendPiece(dst []byte, p *Piece) []byte {
	if p.IsHole() {
		dst = append(dst, "[null,"...)
	} else {
		dst = jsonline.AppendHex32(append(dst, `["`...), (*[32]byte)(&p.Chunk))
		dst = append(dst, `",`...)
	}
	dst = strconv.AppendUint(dst, uint64(p.Offset), 10)
	dst = strconv.AppendInt(append(dst, ','), p.Length, 10)
	return append(dst, ']')
}

func appendXattrs(dst []byte, xattrs []Xattr) []byte {
	dst = append(dst, `,"xattrs":[[`...)
	for i := range xattrs {
		if i > 0 {
			dst = append(dst, "],["...)
		}
		x := &xattrs[i]
		text := utf8.ValidString(x.Name)
		if text {
			dst = jsonline.AppendString(dst, x.Name)
		} else {
			dst = append(dst, `""`...)
		}
		dst = base64.StdEncoding.AppendEncode(append(dst, `,"`...), x.Value)
		dst = append(dst, '"')
		if !text {
			dst = appendBase64String(append(dst, `,"`...), x.Name)
			dst = append(dst, '"')
		}
	}
	return append(dst, "]]"...)
}

func appendBase64String(dst []byte, s string) []byte {
	return base64.StdEncoding.AppendEncode(dst, []byte(s))
}

// PathOf returns the path of a line without looking at the rest of it; the result may be part of line or use scratch's memory. It is not
// checked: ParseLine does that.
func PathOf(line, scratch []byte) ([]byte, error) {
	const start = `{"path":"`
	if len(line) > len(start) && string(line[:len(start)]) == start {
		text := line[len(start):]
		if i := bytes.IndexByte(text, '"'); i >= 0 && bytes.IndexByte(text[:i], '\\') < 0 {
			return text[:i], nil
		}
	}
	return pathOfAny(line, scratch)
}

// pathOfAny is PathOf for paths with escapes or in base64, and for members in another order.
func pathOfAny(line, scratch []byte) ([]byte, error) {
	var s jsonline.Scanner
	s.Reset(line)
	s.Open('{')
	for n := 0; s.More(n, '}'); n++ {
		switch string(s.Name()) {
		case "path":
			return append(scratch[:0], s.Text()...), lineError(&s, nil)
		case "path_b64":
			return s.Base64(scratch[:0]), lineError(&s, nil)
		}
		s.Skip()
	}
	s.Fail("no path")
	return nil, lineError(&s, nil)
}

// lineError is the error of s as a *LineError.
func lineError(s *jsonline.Scanner, path []byte) error {
	err := s.Err()
	if err == nil {
		return nil
	}
	e := err.(*jsonline.Error)
	return &LineError{Path: string(path), Offset: e.Offset, Msg: e.Msg}
}
