package snapshot

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func aProof(n int) Proof {
	return Proof{Source: Source{1, byte(n % 3)}, Snapshot: ID{byte(n)}, Time: time.Unix(1_700_000_000+int64(n), 5).UTC(), By: "nas", Files: 3, Bytes: 4, OfFiles: 5, OfBytes: 6,
		Cost: 0.25, Currency: "USD", Seed: 1<<63 + uint64(n), Reach: Reach{Turn: 2, Rank: 1, Hash: 1<<64 - 1, Pack: 7}}
}

func TestProofRoundTrip(t *testing.T) {
	s := &State{Host: [16]byte{1}, Time: time.Unix(1, 0).UTC(), Proofs: []Proof{aProof(1), aProof(2)}}
	body, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseState(body)
	if err != nil || !reflect.DeepEqual(got.Proofs, s.Proofs) {
		t.Fatalf("%v\n%+v\n%+v", err, got, s)
	}
	// A reader that knows more, and one that knows less.
	if _, err := ParseState([]byte(strings.Replace(string(body), `"by":"nas"`, `"by":"nas","mood":{"good":1}`, 1))); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{`"files":-3`, `"cost":-1`, `"seed":"12"`, `"source":"zz"`} {
		key := bad[:strings.Index(bad, ":")+1]
		at := strings.Index(string(body), key)
		end := at + strings.IndexAny(string(body[at:]), ",}")
		if _, err := ParseState([]byte(string(body[:at]) + bad + string(body[end:]))); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	one := aProof(9)
	raw, err := one.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ParseProof(raw); err != nil || !reflect.DeepEqual(back, one) {
		t.Fatalf("%v %+v", err, back)
	}
}

func TestMergeProofs(t *testing.T) {
	var a, b []Proof
	for n := range 200 {
		if n%2 == 0 {
			a = append(a, aProof(n))
		} else {
			b = append(b, aProof(n))
		}
	}
	all := MergeProofs(a, b, a)
	if len(all) != 3*MaxSourceProofs {
		t.Fatal(len(all))
	}
	for i := range all {
		if i > 0 && all[i].Time.Before(all[i-1].Time) {
			t.Fatal("out of order")
		}
	}
	if last := all[len(all)-1]; last.Snapshot != (ID{199}) {
		t.Fatal(last)
	}
}

func FuzzParseProof(f *testing.F) {
	p := aProof(1)
	raw, _ := p.Marshal()
	f.Add(raw)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := ParseProof(body)
		if err != nil {
			return
		}
		again, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if q, err := ParseProof(again); err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%v %+v %+v", err, p, q)
		}
	})
}
