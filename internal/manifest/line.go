package manifest

import "fmt"

// LineError tells what is wrong with a line.
type LineError struct {
	Path   string // as far as known
	Offset int    // in the line, bytes
	Msg    string
}

func (e *LineError) Error() string {
	return fmt.Sprintf("manifest line of %.200q at byte %d: %s", e.Path, e.Offset, e.Msg)
}

// AppendLine appends the line of e, with its newline. It does not allocate if dst has room. What stands in fields that the type of e has
// no use for is left out. e has to be as Entry says (Check tells), else ParseLine will refuse the line.
func AppendLine(dst []byte, e *Entry) []byte { panic("manifest: not built yet") }

// Check tells whether e can be a line: the rules of ParseLine. It fails with *LineError.
func (e *Entry) Check() error { panic("manifest: not built yet") }

// ParseLine reads a line, with or without its newline, into e, whose memory it reuses. Members may stand in any order, in any spelling that
// JSON allows; unknown ones are skipped. It fails with *LineError for a line that is not JSON, has a member twice, lacks one that its type
// needs or has one that its type cannot have, has an unsafe path or a size that its pieces do not add up to. e is then undefined.
func ParseLine(line []byte, e *Entry) error { panic("manifest: not built yet") }

// PathOf returns the path of a line without looking at the rest of it; the result may be part of line or of scratch's memory. It is not
// checked: ParseLine does that.
func PathOf(line, scratch []byte) ([]byte, error) { panic("manifest: not built yet") }
