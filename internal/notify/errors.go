package notify

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Reasons why a notice did not get through; an *Error wraps one of them.
var (
	ErrTimeout     = errors.New("no answer in time")
	ErrUnreachable = errors.New("cannot be reached")
	ErrAuth        = errors.New("the credentials were refused")
	ErrPlain       = errors.New("the connection would not be encrypted")
	ErrCertificate = errors.New("the certificate cannot be trusted")
	ErrRedirect    = errors.New("it sends us elsewhere")
	ErrRecipient   = errors.New("a recipient was refused")
	ErrGone        = errors.New("nothing is there by that address")
	ErrBusy        = errors.New("it is too busy")
	ErrRefused     = errors.New("it was refused")
	ErrCommand     = errors.New("the command failed")
	ErrStopped     = errors.New("it was stopped before that was done")
)

// Error tells that a notice did not get through. It holds no secret, and wraps a reason from above and context.Canceled where that was it.
type Error struct {
	Channel   string // name
	Type      string
	Place     string // scheme://host/…, host:port; empty: a command
	Reason    error  // one of those above
	Text      string // what is known beyond it, without secrets
	Status    int    // of an HTTP answer, an SMTP reply or a command; 0: none
	Answer    string // begin of what was answered, printable
	Tries     int    // that were made
	Temporary bool   // may be otherwise later
	canceled  error
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "channel %q", e.Channel)
	if e.Place != "" {
		b.WriteString(" (" + e.Place + ")")
	}
	b.WriteString(": " + e.Reason.Error())
	if e.Text != "" {
		b.WriteString(": " + e.Text)
	}
	if e.Answer != "" {
		b.WriteString(": " + strconv.Quote(e.Answer))
	}
	if e.Tries > 1 {
		fmt.Fprintf(&b, " (after %d tries)", e.Tries)
	}
	return b.String()
}

// Unwrap returns the reason, and that the caller gave up where that is so.
func (e *Error) Unwrap() []error {
	if e.canceled != nil {
		return []error{e.Reason, e.canceled}
	}
	return []error{e.Reason}
}

// OptionError tells what is wrong with the settings of a channel. It shows no secret.
type OptionError struct{ Channel, Key, Text string }

func (e *OptionError) Error() string {
	return fmt.Sprintf("channel %q: %s %s", e.Channel, e.Key, e.Text)
}

// TemplateError tells that a template was replaced by the built-in text.
type TemplateError struct {
	Channel string
	Key     string // subject or body
	Text    string // where and why, without secrets
}

func (e *TemplateError) Error() string {
	return fmt.Sprintf("channel %q: the template %q failed, so the built-in text stands in its place: %s", e.Channel, e.Key, e.Text)
}

// failure is how one try ended, before anything is made safe to be shown.
type failure struct {
	reason    error
	err       error // beyond the reason; may be nil. May hold secrets
	status    int
	answer    string
	temporary bool
	wait      time.Duration // the other side wants us to wait so long; 0: it did not say
}

func (f *failure) Error() string { return f.reason.Error() }

// inner takes away what shows an address: errors of net/url that wrap others.
func inner(err error) error {
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	return err
}

// explain makes an error for callers of what a try returned.
func (c *Channel) explain(ctx context.Context, err error, tries int) *Error {
	e := &Error{Channel: c.o.Name, Type: c.o.Type, Place: c.place, Reason: ErrRefused, Tries: tries}
	var f *failure
	if errors.As(err, &f) {
		e.Reason, e.Status, e.Answer, e.Temporary = f.reason, f.status, cut(line(c.veil(f.answer)), 200), f.temporary
		err = f.err
	}
	if err = inner(err); err != nil {
		e.Text = cut(line(c.veil(err.Error())), 500)
	}
	if end := ctx.Err(); end != nil {
		e.canceled = end
	}
	return e
}
