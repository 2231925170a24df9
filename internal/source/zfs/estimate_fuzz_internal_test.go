package zfs

import "testing"

// FuzzEstimate: what zfs send says of its size.
func FuzzEstimate(f *testing.F) {
	f.Add("full\tpool/a@x\t1000\nsize\t1000\n")
	f.Add("size\t-1\n")
	f.Add("size\t99999999999999999999\n")
	f.Fuzz(func(t *testing.T, text string) {
		if n := parseEstimate(text); n < 0 {
			t.Errorf("%q: %d", text, n)
		}
	})
}
