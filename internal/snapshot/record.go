package snapshot

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"firn/internal/digest"
)

type recordHeadJSON struct {
	Version int       `json:"version"`
	Scope   string    `json:"scope"`
	Time    time.Time `json:"time"`
	Since   time.Time `json:"since,omitzero"`
	Epochs  uint32    `json:"epochs,omitempty"`
}

type recordLineJSON struct {
	Retire string `json:"retire,omitempty"`
	Forget string `json:"forget,omitempty"`
}

// Marshal returns the body of a prune record. It fails with ErrBody if that is longer than MaxRecordBody.
func (r *Record) Marshal() ([]byte, error) {
	head, err := json.Marshal(recordHeadJSON{Version, hex.EncodeToString(r.Scope[:]), r.Time.UTC(), r.Since.UTC(), r.Epochs})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBody, err)
	}
	const retireLine, forgetLine = len(`{"retire":""}`) + 64 + 1, len(`{"forget":""}`) + 32 + 1
	size := int64(len(head)) + 1 + int64(len(r.Retire))*int64(retireLine) + int64(len(r.Forget))*int64(forgetLine)
	if size > MaxRecordBody {
		return nil, fmt.Errorf("%w: prune record of %d bytes, want at most %d", ErrBody, size, MaxRecordBody)
	}
	b := append(append(make([]byte, 0, size), head...), '\n')
	for _, name := range r.Retire {
		b = hex.AppendEncode(append(b, `{"retire":"`...), name[:])
		b = append(b, "\"}\n"...)
	}
	for _, id := range r.Forget {
		b = hex.AppendEncode(append(b, `{"forget":"`...), id[:])
		b = append(b, "\"}\n"...)
	}
	return b, nil
}

// ParseRecord reads the body of a prune record. It fails with ErrBody or *VersionError. A line whose members it does not know is
// an error too: what must not be used any more must not be overlooked.
func ParseRecord(body []byte) (*Record, error) {
	if len(body) > MaxRecordBody {
		return nil, fmt.Errorf("%w: %d bytes", ErrBody, len(body))
	}
	first, rest, _ := bytes.Cut(body, []byte("\n"))
	if len(first) > MaxLine {
		return nil, fmt.Errorf("%w: first line of %d bytes", ErrBody, len(first))
	}
	var head recordHeadJSON
	if err := unmarshal(first, &head, &head.Version, MaxLine); err != nil {
		return nil, err
	}
	r := &Record{Time: head.Time.UTC(), Since: head.Since.UTC(), Epochs: head.Epochs}
	if err := parseHex(r.Scope[:], head.Scope); err != nil {
		return nil, err
	}
	for n := 2; len(rest) > 0; n++ {
		var line []byte
		if line, rest, _ = bytes.Cut(rest, []byte("\n")); len(line) == 0 && len(rest) == 0 {
			break
		}
		if err := r.parseLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return r, nil
}

func (r *Record) parseLine(line []byte) error {
	var j recordLineJSON
	if len(line) > MaxLine {
		return fmt.Errorf("%w: %d bytes", ErrBody, len(line))
	}
	if err := json.Unmarshal(line, &j); err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	switch {
	case j.Retire != "" && j.Forget == "":
		var name digest.Object
		r.Retire = append(r.Retire, name)
		return parseHex(r.Retire[len(r.Retire)-1][:], j.Retire)
	case j.Forget != "" && j.Retire == "":
		r.Forget = append(r.Forget, ID{})
		return parseHex(r.Forget[len(r.Forget)-1][:], j.Forget)
	}
	return fmt.Errorf("%w: neither retire nor forget", ErrBody)
}

// Compact returns one record of the time now that holds all that the given ones do, sorted and each once. They have to be of one scope, else it fails with ErrBody. Since is for
// the caller to set, who knows when the store got them.
func Compact(now time.Time, records ...*Record) (*Record, error) {
	out := &Record{Time: now.UTC()}
	for i, r := range records {
		if i == 0 {
			out.Scope = r.Scope
		}
		if r.Scope != out.Scope {
			return nil, fmt.Errorf("%w: records of scopes %x and %x", ErrBody, out.Scope, r.Scope)
		}
		out.Epochs = max(out.Epochs, r.Epochs)
		out.Retire = append(out.Retire, r.Retire...)
		out.Forget = append(out.Forget, r.Forget...)
	}
	slices.SortFunc(out.Retire, func(a, b digest.Object) int { return bytes.Compare(a[:], b[:]) })
	slices.SortFunc(out.Forget, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	out.Retire, out.Forget = slices.Compact(out.Retire), slices.Compact(out.Forget)
	return out, nil
}
