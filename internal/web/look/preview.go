package look

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"firn/internal/browse"
)

// What is shown of a file.
const (
	previewText    = 256 << 10 // bytes
	previewPicture = 64 << 20  // bytes of a picture that a page shows by itself
)

// preview is what a page shows of the content of a file.
type preview struct {
	Picture bool
	Large   bool // a picture that is not shown by itself
	Text    string
	Lines   int
	Cut     bool   // there is more
	Charset string // that the text was read as; empty: it is no text
	Empty   bool
}

// readPreview reads the beginning of a file.
func readPreview(f *browse.File) (*preview, error) {
	if f.Size() == 0 {
		return &preview{Empty: true}, nil
	}
	head := make([]byte, min(previewText, f.Size()))
	n, err := io.ReadFull(f, head[:min(magicLength, len(head))])
	if err != nil {
		return nil, err
	}
	if pictureType(head[:n]) != "" {
		return &preview{Picture: true, Large: f.Size() > previewPicture}, nil
	}
	k, err := io.ReadFull(f, head[n:])
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return textPreview(head[:n+k], f.Size() > int64(n+k)), nil
}

// textPreview is the beginning of a file as text, if it is text.
func textPreview(head []byte, cut bool) *preview {
	p := &preview{Cut: cut}
	text, charset := decodeText(head, cut)
	if charset == "" {
		return p
	}
	p.Charset, p.Text = charset, plain(text)
	p.Lines = strings.Count(p.Text, "\n")
	if !strings.HasSuffix(p.Text, "\n") {
		p.Lines++
	}
	return p
}

// decodeText makes text of bytes: UTF-8, UTF-16 with a mark, or, where few bytes would be control characters, Latin-1. An empty charset: it is no text.
func decodeText(b []byte, cut bool) (text, charset string) {
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		return fromUTF16(b[2:], binary.LittleEndian), "UTF-16"
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return fromUTF16(b[2:], binary.BigEndian), "UTF-16"
	case bytes.IndexByte(b, 0) >= 0:
		return "", ""
	}
	whole := b
	for i := 1; cut && i < utf8.UTFMax && i < len(b) && !utf8.Valid(whole); i++ {
		whole = b[:len(b)-i] // a character that was cut through
	}
	control, high := 0, 0
	for _, c := range b {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != 0x1b || c == 0x7f {
			control++
		}
		if c >= 0x80 && c < 0xa0 {
			high++
		}
	}
	switch {
	case control*20 > len(b):
		return "", ""
	case utf8.Valid(whole):
		return strings.TrimPrefix(string(whole), "\ufeff"), "UTF-8"
	case high*10 > len(b) || control > 0:
		return "", ""
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes), "Latin-1"
}

func fromUTF16(b []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// plain is text in which everything can be seen: control characters, what turns the direction of reading, and whatever else does not print, by its number.
func plain(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for _, c := range text {
		switch {
		case c == '\n' || c == '\t' || c == ' ':
			b.WriteRune(c)
		case unicode.IsPrint(c) || c == 0xa0 || c == 0x3000 || c == 0x200d || c == 0x200c: // joiners are part of words and pictures
			b.WriteRune(c)
		default:
			fmt.Fprintf(&b, "‹U+%04X›", c)
		}
	}
	return b.String()
}
