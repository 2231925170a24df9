package coldtest

import (
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// apiError is a refusal, in the words of S3 (Amazon S3 API Reference, "Error responses").
type apiError struct {
	status  int
	code    string
	message string
	fields  [][2]string // further elements of the answer
	header  http.Header // further headers of the answer
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func fail(status int, code, message string, fields ...[2]string) *apiError {
	return &apiError{status: status, code: code, message: message, fields: fields}
}

// Refusals that several operations give.
func noSuchKey(key string) *apiError {
	return fail(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.", [2]string{"Key", key})
}

func denied(why string) *apiError { return fail(http.StatusForbidden, "AccessDenied", why) }

func invalidArgument(message, name, value string) *apiError {
	return fail(http.StatusBadRequest, "InvalidArgument", message, [2]string{"ArgumentName", name}, [2]string{"ArgumentValue", value})
}

func invalidRequest(message string) *apiError {
	return fail(http.StatusBadRequest, "InvalidRequest", message)
}

func malformedXML() *apiError {
	return fail(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

func notImplemented(what string) *apiError {
	return fail(http.StatusNotImplemented, "NotImplemented", "A header or query you provided implies functionality that is not implemented: "+what)
}

func preconditionFailed(condition string) *apiError {
	return fail(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", [2]string{"Condition", condition})
}

// page writes XML, element by element.
type page struct{ strings.Builder }

func newPage() *page {
	p := &page{}
	p.WriteString(xml.Header)
	return p
}

// open begins an element of S3's namespace.
func (p *page) root(name string) {
	p.WriteString("<" + name + ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
}

func (p *page) open(name string) { p.WriteString("<" + name + ">") }
func (p *page) end(name string)  { p.WriteString("</" + name + ">") }

// put writes an element with text in it.
func (p *page) put(name, text string) {
	p.open(name)
	if strings.ContainsAny(text, "<>&\"'\r\n\t") || !printable(text) {
		_ = xml.EscapeText(&p.Builder, []byte(text))
	} else {
		p.WriteString(text)
	}
	p.end(name)
}

func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

func (p *page) putInt(name string, n int64) { p.put(name, strconv.FormatInt(n, 10)) }
func (p *page) putBool(name string, b bool) { p.put(name, strconv.FormatBool(b)) }

// putMaybe writes an element where there is text.
func (p *page) putMaybe(name, text string) {
	if text != "" {
		p.put(name, text)
	}
}

func (p *page) putTime(name string, t time.Time) { p.put(name, isoTime(t)) }

func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func quoted(tag string) string { return `"` + tag + `"` }
