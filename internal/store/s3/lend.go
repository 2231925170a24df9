package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"

	api "github.com/aws/aws-sdk-go-v2/service/s3"

	"firn/internal/store"
)

// What follows lends the requests of a Store to package plain, which keeps something else in a bucket.

// Ask makes a request as all methods of s make theirs: call may be called twice, once more with other credentials. An error is an *Error, or why ctx has ended.
func Ask[O any](ctx context.Context, s *Store, call func() (*O, error)) (*O, error) {
	return ask(ctx, s, call)
}

// Client is what makes the requests of s. It repeats none.
func (s *Store) Client() *api.Client { return s.client }

// Cause tells what an error means that came while an answer was read: an *Error, or why ctx has ended.
func (s *Store) Cause(ctx context.Context, err error) error { return s.fail(ctx, err) }

// Amazon reports whether the server is Amazon's.
func (s *Store) Amazon() bool { return s.amazon }

// ParseRestore reads the header x-amz-restore.
func ParseRestore(header string) store.Copy { return parseRestore(header) }

// MaxParts is into how many parts the server lets an object be cut.
func (s *Store) MaxParts() int { return s.maxParts() }

// Do makes a request that was made and signed without the SDK. It is counted and traced like any other.
func (s *Store) Do(operation string, req *http.Request) (*http.Response, error) {
	return s.meter.named(operation, req)
}

// Refusal is what an answer to Do means that is an error: an *Error. It reads the answer.
func (s *Store) Refusal(ctx context.Context, resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return s.fail(ctx, err)
	}
	e := &Error{Status: resp.StatusCode, Message: resp.Status, RequestID: resp.Header.Get("x-amz-request-id"), Region: resp.Header.Get("x-amz-bucket-region"), Cause: errTold}
	var said struct{ Code, Message string }
	if xml.Unmarshal(text, &said) == nil && said.Code != "" {
		e.Code, e.Message = said.Code, said.Message
	}
	if e.Region == s.client.Options().Region {
		e.Region = ""
	}
	e.answered()
	return e
}

// Told is an error that an answer tells of one of several objects.
func (s *Store) Told(code, message string) error {
	e := &Error{Code: code, Message: message, Status: http.StatusBadRequest, Cause: errTold}
	e.answered()
	return e
}

var errTold = errors.New("the server says so")
