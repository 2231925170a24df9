package thaw

import "testing"

// FuzzRegister: records of the list of jobs; each id stands in it once.
func FuzzRegister(f *testing.F) {
	f.Add([]byte(`{"header":{"id":"a"}}`), []byte(`{"id":"a","gone":true}`))
	f.Add([]byte(`{"header":{"id":"a"}}`), []byte(`{"header":{"id":"a"},"status":{}}`))
	f.Add([]byte(`{"status":{}}`), []byte("null"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		r := &register{}
		for _, record := range [][]byte{one, two, one} {
			if err := r.replay(record); err != nil {
				t.Fatal(err)
			}
		}
		seen := map[string]bool{}
		for _, e := range r.entries {
			if seen[e.Header.ID] || e.Header.ID == "" {
				t.Errorf("%q", e.Header.ID)
			}
			seen[e.Header.ID] = true
		}
	})
}
