package state

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestStatsOfHugeFiles: the line of a file of a hundred thousand chunks and more is kept, and does not end the cache for all the others; a change of time that
// no file has comes back as it was.
func TestStatsOfHugeFiles(t *testing.T) {
	s, notes := testState(t)
	list := makeRecords(5, rand.New(rand.NewPCG(1, 1)))
	list[2].line = strings.Repeat("x", 20<<20)
	list[3].st.CtimeSec, list[3].st.CtimeNsec = 0, -1
	if !s.write(list, "note") || len(*notes) > 0 {
		t.Fatal(*notes)
	}
	r := s.OpenStats(testSource)
	defer r.Close()
	for i := range list {
		if !r.Next() || r.Stat != list[i].st {
			t.Fatalf("record %d: %+v", i, r.Stat)
		}
		if line, err := r.Line(); err != nil || string(line) != list[i].line {
			t.Fatalf("line %d: %d bytes, %v", i, len(line), err)
		}
	}
}
