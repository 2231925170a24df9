package plain

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"unicode/utf8"

	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// maxAnswer bounds what is read of an answer that names one key, in bytes.
const maxAnswer = 4 << 20

// tolerant lets the SDK read answers in which the key has characters that XML does not allow; what stands in their place matters to nobody, since the key is known.
var tolerant = api.WithAPIOptions(func(stack *middleware.Stack) error {
	return stack.Deserialize.Insert(tolerance{}, "OperationDeserializer", middleware.After)
})

type tolerance struct{}

func (tolerance) ID() string { return "PlainTolerance" }

// HandleDeserialize implements middleware.DeserializeMiddleware.
func (tolerance) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, metadata, err := next.HandleDeserialize(ctx, in)
	resp, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok || resp.StatusCode != http.StatusOK || resp.Body == nil {
		return out, metadata, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	if err != nil {
		resp.Body = http.NoBody // the SDK would complain that it cannot read what is left
		return out, metadata, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(mend(text)))
	return out, metadata, nil
}

// mend puts a question mark in the place of what XML does not allow, as it is or as a character reference.
func mend(text []byte) []byte {
	for i := 0; i < len(text); {
		r, width := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && width == 1 || !inXML(r):
			for j := range width {
				text[i+j] = '?'
			}
		case r == '&' && bytes.HasPrefix(text[i:], []byte("&#")):
			end := bytes.IndexByte(text[i:min(len(text), i+12)], ';')
			if end < 0 {
				break
			}
			digits, base := string(text[i+2:i+end]), 10
			if digits != "" && digits[0] == 'x' {
				digits, base = digits[1:], 16
			}
			if n, err := strconv.ParseUint(digits, base, 32); err != nil || !inXML(rune(n)) {
				for j := range end + 1 {
					text[i+j] = '?'
				}
			}
		}
		i += width
	}
	return text
}

// inXML reports whether a document may hold a character (Extensible Markup Language 1.0, section 2.2).
func inXML(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= 0x10ffff
}

// inXMLText reports whether a document may hold all of a text.
func inXMLText(text string) bool {
	for _, r := range text {
		if !inXML(r) {
			return false
		}
	}
	return true
}
