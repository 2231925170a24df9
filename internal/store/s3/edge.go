package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"firn/internal/store"
)

// edgeOperation is how requests to the GetEndpoint are counted and traced.
const edgeOperation = "GetEdge"

// maxAnswer bounds what is read of an answer that is an error, in bytes.
const maxAnswer = 64 << 10

var errEdge = errors.New("get endpoint does not show what the bucket has")

// fromEdge reports whether an object is read through the GetEndpoint: packs only, since it may show what was deleted or not show what was just made.
func (s *Store) fromEdge(name string) bool {
	return s.o.GetEndpoint != "" && (strings.HasPrefix(name, "data/") || strings.HasPrefix(name, "meta/"))
}

// getEdge is get through the GetEndpoint, for a length that is not 0.
func (s *Store) getEdge(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(s.o.GetEndpoint, "/")+"/"+(&url.URL{Path: *s.key(name)}).EscapedPath(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 || length > 0 {
		req.Header.Set("Range", byteRange(offset, length))
	}
	resp, err := s.meter.Do(req)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		defer resp.Body.Close()
		return s.edgeRefused(ctx, name, offset, resp)
	}
	begins := strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset))
	if wrong := resp.StatusCode == http.StatusPartialContent && !begins || resp.StatusCode == http.StatusOK && offset > 0; wrong || resp.ContentLength < 0 {
		resp.Body.Close()
		return nil, fmt.Errorf("get endpoint %s answers %q, range %q, %d bytes, to a request for %q", req.URL.Host, resp.Status, resp.Header.Get("Content-Range"),
			resp.ContentLength, req.Header.Get("Range"))
	}
	left := resp.ContentLength
	if length > 0 {
		left = min(left, length)
	}
	return &reader{ctx: ctx, s: s, name: name, body: resp.Body, left: left}, nil
}

// edgeRefused tells why the GetEndpoint does not give an object. Whether it is there, and thawed, the bucket knows best.
func (s *Store) edgeRefused(ctx context.Context, name string, offset int64, resp *http.Response) (io.ReadCloser, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	e := &Error{Status: resp.StatusCode, Message: resp.Status, Cause: errEdge}
	var said struct{ Code, Message string }
	if xml.Unmarshal(body, &said) == nil && said.Code != "" {
		e.Code, e.Message = said.Code, said.Message
	}
	e.answered()
	switch {
	case e.Reason == store.ErrRange:
		return s.empty(ctx, name, offset)
	case e.Reason == store.ErrCold, e.temporary:
	case e.Reason == store.ErrNotExist, e.Reason == store.ErrNoStore, e.Reason == store.ErrDenied:
		info, err := s.stat(ctx, name)
		if err != nil {
			return nil, err
		}
		if (info.Class == "GLACIER" || info.Class == "DEEP_ARCHIVE") && info.Copy.State != store.Thawed {
			return nil, store.ErrCold
		}
		e.Reason = errEdge
	default:
		e.Reason = errEdge
	}
	return nil, fmt.Errorf("get endpoint %s: %w", resp.Request.URL.Host, e)
}
