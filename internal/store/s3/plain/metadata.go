package plain

import (
	"encoding/base64"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"firn/internal/bucket"
)

// encodedMax is the longest piece, in bytes, of one encoded word: such a word has 75 characters at most (RFC 2047, section 2).
const encodedMax = 45

// toHeaders makes metadata what HTTP can carry.
func toHeaders(metadata map[string]string) (map[string]string, error) {
	if len(metadata) == 0 {
		return metadata, nil
	}
	out := make(map[string]string, len(metadata))
	for name, value := range metadata {
		if !isToken(name) {
			return nil, fmt.Errorf("metadata %q: the name may hold small letters, digits and - _ . only", name)
		}
		if !utf8.ValidString(value) {
			return nil, fmt.Errorf("metadata %q: the value is no UTF-8", name)
		}
		if !asItIs(value) {
			value = encodeWords(value)
		}
		out[name] = value
	}
	return out, nil
}

func isToken(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return name != "" && len(name) <= 128
}

// asItIs reports whether a header carries the value and whoever reads it does not take it for something else. The signature makes one space of several.
func asItIs(value string) bool {
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return false
		}
	}
	return value == strings.TrimSpace(value) && !strings.Contains(value, "=?") && !strings.Contains(value, "  ")
}

func encodeWords(value string) string {
	var words []string
	for value != "" {
		n := min(len(value), encodedMax)
		for n < len(value) && !utf8.RuneStart(value[n]) {
			n--
		}
		words = append(words, "=?UTF-8?B?"+base64.StdEncoding.EncodeToString([]byte(value[:n]))+"?=")
		value = value[n:]
	}
	return strings.Join(words, " ")
}

// fromHeaders reads metadata back. What cannot be read stays as it came.
func fromHeaders(metadata map[string]string) map[string]string {
	if len(metadata) == 0 {
		return nil
	}
	out := make(map[string]string, len(metadata))
	for name, value := range metadata {
		if strings.Contains(value, "=?") {
			if plain, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
				value = plain
			}
		}
		out[strings.ToLower(name)] = value
	}
	return out
}

// refusedMatch gives a condition that failed since the object is gone the meaning of one that failed.
func refusedMatch(err error) error {
	return withReason(err, &meaning{bucket.ErrPrecondition, bucket.ErrNotExist})
}
