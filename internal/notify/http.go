package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Limits of an answer, in bytes: of what is read, so that the next try may use the connection, and of what is looked at.
const (
	maxAnswer = 64 << 10
	maxHeader = 64 << 10
)

// caller sends requests for the channels that do so.
type caller struct {
	c      *Channel
	url    *url.URL
	header http.Header // of every request
	client *http.Client
}

// newCaller reads the address, which is a secret.
func newCaller(c *Channel) (*caller, error) {
	u, err := url.Parse(strings.TrimSpace(c.o.URL))
	switch {
	case c.o.URL == "":
		return nil, c.wrong("url", "is missing")
	case err != nil:
		return nil, c.wrong("url", "is no address")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, c.wrong("url", "does not begin with https:// or http://")
	case u.Hostname() == "":
		return nil, c.wrong("url", "names no host")
	}
	u.Fragment = ""
	c.place = Place(u.String())
	h := &caller{c: c, url: u, header: http.Header{}}
	h.client = &http.Client{CheckRedirect: stay, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.o.Roots},
	}}
	if strings.ContainsFunc(c.o.Token, control) {
		return nil, c.wrong("token", "has several lines, or other control characters")
	}
	for name, value := range c.o.Headers {
		if !isToken(name) {
			return nil, c.wrong("headers", fmt.Sprintf("has %q, which is no name of a header", name))
		}
		if strings.ContainsFunc(value, control) {
			return nil, c.wrong("headers", fmt.Sprintf("has several lines, or other control characters, in %q", name))
		}
		h.header.Set(name, value)
	}
	return h, nil
}

// Place is an address without what may be secret: scheme://host/…; empty: it is none.
func Place(address string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/…"
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// isToken reports whether this can be a method or the name of a header (RFC 9110 §5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// stay follows where an address leads only on the host that was named and not out of encryption, and only as the request that it was: what would turn it into a GET loses the message.
func stay(req *http.Request, via []*http.Request) error {
	from := via[0]
	same := strings.EqualFold(req.URL.Host, from.URL.Host) && req.URL.Scheme == from.URL.Scheme ||
		strings.EqualFold(req.URL.Hostname(), from.URL.Hostname()) && from.URL.Scheme == "http" && req.URL.Scheme == "https"
	switch {
	case !same:
		return &failure{reason: ErrRedirect, err: fmt.Errorf("to %s://%s, which was not named", req.URL.Scheme, req.URL.Host)}
	case req.Method != from.Method:
		return &failure{reason: ErrRedirect, err: errors.New("to somewhere on the same host, but without the message: name the address that it leads to")}
	case len(via) > 3:
		return &failure{reason: ErrRedirect, err: errors.New("again and again")}
	}
	return nil
}

// call makes one request and returns the begin of the answer. What is no 2xx is a *failure.
func (h *caller) call(ctx context.Context, method string, to *url.URL, kind string, body []byte) (answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader(body))
	if err != nil {
		return "", &failure{reason: ErrRefused, err: err}
	}
	if method == http.MethodGet || method == http.MethodHead {
		req.Body, req.ContentLength, req.GetBody = nil, 0, nil
	}
	req.Header = h.header.Clone()
	if req.Header.Get("Content-Type") == "" && req.Body != nil {
		req.Header.Set("Content-Type", kind)
	}
	if h.c.o.Token != "" && req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+h.c.o.Token)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "firn")
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return "", lost(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	answer = string(raw)
	if resp.StatusCode/100 == 2 {
		return answer, nil // it was taken, whatever became of the words
	}
	if err != nil && ctx.Err() != nil {
		return "", lost(err)
	}
	return answer, h.judge(resp, answer)
}

// judge makes an error of an answer.
func (h *caller) judge(resp *http.Response, answer string) error {
	f := &failure{reason: ErrRefused, err: errors.New(strings.TrimSpace(resp.Status)), status: resp.StatusCode, answer: answer}
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusProxyAuthRequired:
		f.reason = ErrAuth
	case s == http.StatusNotFound, s == http.StatusGone:
		f.reason = ErrGone
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests:
		f.reason, f.temporary = ErrBusy, true
	case s/100 == 3:
		f.reason = ErrRedirect
	case s >= 500 && s != http.StatusNotImplemented && s != http.StatusHTTPVersionNotSupported:
		f.reason, f.temporary = ErrBusy, true
	}
	if f.temporary {
		f.wait = waitOf(resp.Header.Get("Retry-After"), h.c.o.Now())
	}
	return f
}

// waitOf reads Retry-After: seconds or a date (RFC 9110 §10.2.3).
func waitOf(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// lost makes an error of a request that got no answer.
func lost(err error) error {
	var own *failure
	if errors.As(err, &own) {
		return own
	}
	if untrusted(err) {
		return &failure{reason: ErrCertificate, err: err}
	}
	if timedOut(err) {
		return &failure{reason: ErrTimeout, temporary: true}
	}
	return &failure{reason: ErrUnreachable, err: err, temporary: true}
}

// timedOut reports whether the network gave up: it may notice the end of the time before the context does.
func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// untrusted reports whether it is the certificate of the other side that is wrong, or that it does not speak TLS as it should: trying again does not help.
func untrusted(err error) bool {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &name) || errors.As(err, &invalid) || errors.As(err, &record) || errors.As(err, &alert)
}
