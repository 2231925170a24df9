// Package advice turns errors into what a person needs next: a hint and an exit code. It is the lowest floor that knows commands
// and flags; below it errors state facts.
//
//	0  done
//	1  failed
//	2  used wrongly: unknown command, flag or combination; nothing was done
//	3  done, but some files could not be read or written; each was named
package advice

import "errors"

// Exit codes.
const (
	Done       = 0
	Failed     = 1
	Usage      = 2
	Incomplete = 3
)

// Error is a failure of which the one who found it knows what to say.
type Error struct {
	Text string // as printed; empty: Err's, or nothing
	Hint string // empty: that of Err
	Code int    // 0: Failed
	Err  error  // may be nil
}

func (e *Error) Error() string {
	if e.Text == "" && e.Err != nil {
		return e.Err.Error()
	}
	return e.Text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code returns the exit code for err.
func Code(err error) int {
	var own *Error
	switch {
	case err == nil:
		return Done
	case errors.As(err, &own) && own.Code != 0:
		return own.Code
	}
	return Failed
}

// Hint says what to do about err; empty where there is nothing to say.
func Hint(err error) string {
	if err == nil {
		return ""
	}
	var own *Error
	if errors.As(err, &own) {
		if own.Hint != "" {
			return own.Hint
		}
		if own.Code == Usage || own.Err == nil {
			return ""
		}
	}
	for _, rule := range rules() {
		if hint := rule(err); hint != "" {
			return hint
		}
	}
	return ""
}
