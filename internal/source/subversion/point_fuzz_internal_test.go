package subversion

import "testing"

// FuzzParseID: the id of a point, which a snapshot has.
func FuzzParseID(f *testing.F) {
	f.Add("6f0b8b5e-0000-4000-8000-000000000000:17")
	f.Add(":1")
	f.Add("x:-1")
	f.Fuzz(func(t *testing.T, id string) {
		if uuid, revision, ok := parseID(id); ok && (uuid == "" || revision < 0) {
			t.Errorf("%q: %q %d", id, uuid, revision)
		}
	})
}
