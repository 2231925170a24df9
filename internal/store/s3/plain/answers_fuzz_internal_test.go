package plain

import "testing"

// FuzzAnswers: what servers put into headers and keys.
func FuzzAnswers(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes 9223372036854775807-/9223372036854775808")
	f.Add("a%2Fb+c%zz")
	f.Fuzz(func(t *testing.T, text string) {
		if first, size, ok := parseRange(text); ok && (first < 0 || size <= first) {
			t.Errorf("%q: from %d of %d", text, first, size)
		}
		if key := decodeKey(text); len(key) > len(text) {
			t.Errorf("%q: %q", text, key)
		}
	})
}
