package subversion

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxHead bounds the head of a record of a dump, and the properties of a revision that are looked at, in bytes.
const maxHead = 1 << 20

var (
	errNoDump = errors.New("the stream is no dump of a repository")
	// errOther tells that the revision up to which a repository has the history is another there.
	errOther = errors.New("its history is another than the one that was stored")
)

// verifier passes a dump on, and fails with errOther, before anything of a later revision has been read, where the date of one revision is not the expected one.
//
// A dump is records: lines "Name: value", an empty line, then as many bytes as Content-length says, for a revision its properties ("K n", name, "V n", value, and PROPS-END at last), and perhaps more empty lines
// (Subversion, notes/dump-load-format.txt).
type verifier struct {
	in       *bufio.Reader
	revision int
	date     time.Time

	out  []byte // to be read
	rest int64  // bytes of the content of a record
	done bool
}

// Read implements io.Reader.
func (v *verifier) Read(b []byte) (int, error) {
	for {
		switch {
		case len(b) == 0:
			return 0, nil
		case len(v.out) > 0:
			n := copy(b, v.out)
			v.out = v.out[n:]
			return n, nil
		case v.done:
			return v.in.Read(b)
		case v.rest > 0:
			n, err := v.in.Read(b[:min(int64(len(b)), v.rest)])
			v.rest -= int64(n)
			if n > 0 || err != nil {
				return n, err
			}
		default:
			if err := v.record(); err != nil {
				return 0, err
			}
		}
	}
}

// record reads the head of a record.
func (v *verifier) record() error {
	var head []byte
	length, revision := int64(0), -1
	for started := false; ; {
		line, err := v.in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 && !started { // empty lines at the end
			v.out, v.done = head, true
			return nil
		}
		if err == io.EOF || err == bufio.ErrBufferFull || len(head)+len(line) > maxHead {
			return errNoDump
		}
		if err != nil {
			return err
		}
		head = append(head, line...)
		if len(line) == 1 && started {
			break
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ": ")
		started = started || len(line) > 1
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case name == "Content-length" && (err != nil || n < 0):
			return errNoDump
		case name == "Content-length":
			length = n
		case name == "Revision-number" && err == nil:
			revision = int(n)
		}
	}
	v.out, v.rest = head, length
	if revision != v.revision {
		return nil
	}
	return v.compare()
}

// compare looks at the properties of the revision.
func (v *verifier) compare() error {
	if v.rest > maxHead {
		return errNoDump
	}
	properties := make([]byte, v.rest)
	if _, err := io.ReadFull(v.in, properties); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = errNoDump
		}
		return err
	}
	v.out, v.rest, v.done = append(v.out, properties...), 0, true
	if !dateOf(properties).Equal(v.date) {
		v.out = nil
		return errOther
	}
	return nil
}

// dateOf finds svn:date among properties; zero: it is not there.
func dateOf(properties []byte) time.Time {
	for {
		name, rest, ok := textOf(properties, "K ")
		if !ok {
			return time.Time{}
		}
		value, rest, ok := textOf(rest, "V ")
		if !ok {
			return time.Time{}
		}
		if string(name) == "svn:date" {
			return parseDate(string(value))
		}
		properties = rest
	}
}

// textOf reads a line with a letter and a length, and a text of that length with a line feed behind it.
func textOf(b []byte, letter string) (text, rest []byte, ok bool) {
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	number, ok := strings.CutPrefix(string(line), letter)
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 || n >= len(rest) {
		return nil, nil, false
	}
	return rest[:n], rest[n+1:], true
}

// parseDate reads a date as Subversion writes it; zero: it is none.
func parseDate(text string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}
	}
	return at.UTC()
}
