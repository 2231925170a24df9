package s3

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"firn/internal/store"
)

// ask makes a request. One that is refused because the credentials have expired before the SDK knew is made once more, with what the
// providers have by then: sessions of an hour are cut short, and files are written anew by others. So call may be called twice, and makes a body each time.
func ask[O any](ctx context.Context, s *Store, call func() (*O, error)) (*O, error) {
	turn := s.credentials.now()
	out, err := call()
	if err != nil && ctx.Err() == nil && s.credentials.expired(err) && s.credentials.renew(ctx, turn) {
		out, err = call()
	}
	return out, s.fail(ctx, err)
}

// credentials are those of one chain of providers, which is made anew where they were refused. It tells a failure to get them from any other failure.
type credentials struct {
	load func(context.Context) (aws.CredentialsProvider, error)

	mu   sync.Mutex // held while the chain is made anew: who needs credentials waits
	p    aws.CredentialsProvider
	used aws.Credentials // handed out last
	turn int             // counts chains
}

type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// Retrieve implements aws.CredentialsProvider.
func (c *credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c.mu.Lock()
	p, turn := c.p, c.turn
	c.mu.Unlock()
	got, err := p.Retrieve(ctx)
	if err != nil {
		if ctx.Err() == nil {
			err = &credentialsError{err}
		}
		return got, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn == turn {
		c.used = got
	}
	return got, nil
}

func (c *credentials) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turn
}

// expired reports whether a request failed because the credentials have expired, or may have: the answer to a HEAD has no code.
func (c *credentials) expired(err error) bool {
	var e *awshttp.ResponseError
	if !errors.As(err, &e) || e.Response == nil || e.Response.Response == nil {
		return false
	}
	switch codeOf(err) {
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return true
	}
	head := e.Response.Request != nil && e.Response.Request.Method == http.MethodHead
	c.mu.Lock()
	defer c.mu.Unlock()
	return head && e.HTTPStatusCode() == http.StatusBadRequest && c.used.SessionToken != ""
}

// renew reports whether there are other credentials than those of the given turn.
func (c *credentials) renew(ctx context.Context, turn int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn != turn {
		return true // somebody else was faster
	}
	p, err := c.load(ctx)
	if err != nil {
		return false
	}
	got, err := p.Retrieve(ctx)
	if err != nil || got.AccessKeyID == c.used.AccessKeyID && got.SessionToken == c.used.SessionToken {
		return false
	}
	c.p, c.used = p, got
	c.turn++
	return true
}

// Adapt implements store.Adaptive.
func (s *Store) Adapt(a store.Abilities) { s.known.Store(&a) }

// refused reports whether the server is known to refuse being asked for store.Conditions or store.Sums.
func (s *Store) refused(what string) bool { return s.known.Load().Refused(what) }

// Weakness implements store.Weak.
func (s *Store) Weakness() []string {
	if s.refused(store.Conditions) {
		return []string{"objects are looked for before they are made, but two hosts at once can overwrite one another"}
	}
	return nil
}
