package state

import (
	"bytes"
	"testing"
)

// FuzzHolder: what lies in a lock file says who holds it, or nothing.
func FuzzHolder(f *testing.F) {
	f.Add([]byte("pid 12\nsince 2026-11-20T10:00:00Z\n"))
	f.Add([]byte("pid -1\npid 99999999999999999999\nsince\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if held := readHolder(bytes.NewReader(raw)); held == nil || held.PID < 0 || held.Error() == "" {
			t.Errorf("%+v", held)
		}
	})
}
