package job

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzChild: whatever a child prints, lines are cut at the limit, each byte is taken once, and nothing but objects is counted.
func FuzzChild(f *testing.F) {
	f.Add([]byte(`{"event":"result","cost":{"total":1,"currency":"USD"},"next":"2026-11-20T10:00:00Z"}` + "\n" + `{"event":"problem","path":"a","error":"b"}`))
	f.Add([]byte("{\"event\":\"progress\",\"sent\":9223372036854775807}\n\nnoise\r\n[1]\n"))
	f.Add([]byte(`{"event":7}` + "\n" + `{"event":"result","amounts":null,"cost":"x"}`))
	f.Fuzz(func(t *testing.T, out []byte) {
		const most = 60
		taken := 0
		cut := &lineCutter{most: most, each: func(line []byte, whole bool) {
			if taken++; len(line) > most || bytes.IndexByte(line, '\n') >= 0 {
				t.Errorf("line %q", line)
			}
		}}
		cut.read(bytes.NewReader(out))
		if lines := bytes.Count(out, []byte("\n")); taken < lines || taken > lines+1 {
			t.Errorf("%d lines of %d", taken, lines)
		}
		for _, kind := range []Kind{Backup, Prune, Check, Drill, Copy} {
			s, n := &tally{kind: kind}, int64(0)
			c := &Child{Object: func(o map[string]json.RawMessage, raw []byte) {
				n++
				s.take(o, raw)
			}}
			if garbage, _ := c.objects(bytes.NewReader(out)); garbage+n > int64(taken) || len(s.problems) > maxProblems {
				t.Errorf("%d objects and %d others in %d lines", n, garbage, taken)
			}
		}
	})
}
