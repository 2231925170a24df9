package snapshot

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Limits of proofs.
const (
	MaxProofs       = 1 << 14 // in one body
	MaxSourceProofs = 24      // that are kept of one source: the newest
	MaxProver       = 1 << 10 // bytes of Proof.By
)

// Proof tells that a sample of a snapshot was restored on trial, and how that went.
type Proof struct {
	Source   Source
	Snapshot ID
	Time     time.Time // of the end
	By       string    // who did it, for people: the name of a machine

	Files, Bytes     int64 // that came back as they were backed up
	OfFiles, OfBytes int64 // in the snapshot
	Differing        int64 // files that came back otherwise
	Lost             int64 // files that did not come back

	Cost     float64 // by the price table; 0 also where prices are not known
	Currency string  // of Cost

	Seed  uint64 // of the sample
	Reach Reach
}

// Good reports whether all that was tried came back as it was, and that was something.
func (p *Proof) Good() bool { return p.Differing == 0 && p.Lost == 0 && p.Files > 0 }

// Reach tells, together with the seed, which files a sample was made of (FORMAT §11.1), so that a later one can prefer the others.
type Reach struct {
	Turn uint32 // number of this sample in its source, from 1; 0: it does not count in the rounds
	Rank uint32 // turn in which the last of its files had been tried before; 0: never
	Hash uint64 // of the path of that file: of files of that rank those up to it belong to the sample
	Pack uint64 // files whose first pack has a hash up to this belong to it
}

type proofJSON struct {
	Source    string    `json:"source"`
	Snapshot  string    `json:"snapshot"`
	Time      time.Time `json:"time"`
	By        string    `json:"by"`
	Files     int64     `json:"files"`
	Bytes     int64     `json:"bytes"`
	OfFiles   int64     `json:"of_files"`
	OfBytes   int64     `json:"of_bytes"`
	Differing int64     `json:"differing"`
	Lost      int64     `json:"lost"`
	Cost      float64   `json:"cost"`
	Currency  string    `json:"currency,omitempty"`
	Seed      string    `json:"seed"`
	Turn      uint32    `json:"turn"`
	Rank      uint32    `json:"rank"`
	Hash      string    `json:"hash"`
	Pack      string    `json:"pack"`
}

func (p *Proof) json() proofJSON {
	return proofJSON{p.Source.String(), p.Snapshot.String(), p.Time.UTC(), p.By, p.Files, p.Bytes, p.OfFiles, p.OfBytes, p.Differing, p.Lost, p.Cost, p.Currency,
		hex64(p.Seed), p.Reach.Turn, p.Reach.Rank, hex64(p.Reach.Hash), hex64(p.Reach.Pack)}
}

func (j *proofJSON) proof(r *hexReader) Proof {
	p := Proof{Time: j.Time.UTC(), By: j.By, Files: j.Files, Bytes: j.Bytes, OfFiles: j.OfFiles, OfBytes: j.OfBytes, Differing: j.Differing, Lost: j.Lost,
		Cost: j.Cost, Currency: j.Currency, Reach: Reach{Turn: j.Turn, Rank: j.Rank}}
	r.read(p.Source[:], j.Source)
	r.read(p.Snapshot[:], j.Snapshot)
	r.number(&p.Seed, j.Seed)
	r.number(&p.Reach.Hash, j.Hash)
	r.number(&p.Reach.Pack, j.Pack)
	return p
}

// check fails with ErrBody if p breaks a limit.
func (p *Proof) check() error {
	for _, n := range []int64{p.Files, p.Bytes, p.OfFiles, p.OfBytes, p.Differing, p.Lost} {
		if n < 0 {
			return fmt.Errorf("%w: proof with a count of %d", ErrBody, n)
		}
	}
	if len(p.By) > MaxProver || len(p.Currency) > 16 || !(p.Cost >= 0) || math.IsInf(p.Cost, 0) {
		return fmt.Errorf("%w: proof by %.80q, cost %v %.80q", ErrBody, p.By, p.Cost, p.Currency)
	}
	return nil
}

func hex64(n uint64) string { return fmt.Sprintf("%016x", n) }

func (r *hexReader) number(n *uint64, s string) {
	var b [8]byte
	r.read(b[:], s)
	*n = 0
	for _, c := range b {
		*n = *n<<8 | uint64(c)
	}
}

// MergeProofs joins lists of proofs: each once, the newest MaxSourceProofs of each source and MaxProofs in all, sorted by time.
func MergeProofs(lists ...[]Proof) []Proof {
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b Proof) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Source.String(), b.Source.String()), cmp.Compare(a.Seed, b.Seed))
	})
	seen := map[Source]int{}
	kept := all[:0]
	for i := range all {
		same := func(p Proof) bool {
			return p.Source == all[i].Source && p.Time.Equal(all[i].Time) && p.Seed == all[i].Seed
		}
		if seen[all[i].Source] >= MaxSourceProofs || len(kept) >= MaxProofs || slices.ContainsFunc(kept, same) {
			continue
		}
		seen[all[i].Source]++
		kept = append(kept, all[i])
	}
	slices.Reverse(kept)
	return slices.Clip(kept)
}

// ParseProof reads what Proof.Marshal wrote. It fails with ErrBody or *VersionError.
func ParseProof(body []byte) (Proof, error) {
	var j struct {
		Version int `json:"version"`
		proofJSON
	}
	if err := unmarshal(body, &j, &j.Version, MaxDoneBody); err != nil {
		return Proof{}, err
	}
	var r hexReader
	p := j.proof(&r)
	if r.err != nil {
		return Proof{}, r.err
	}
	return p, p.check()
}

// Marshal returns a proof alone, with its version.
func (p *Proof) Marshal() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return marshal(struct {
		Version int `json:"version"`
		proofJSON
	}{Version, p.json()}, MaxDoneBody)
}

// proofsJSON and parseProofs are the list in the state of a host.
func proofsJSON(proofs []Proof) (out []proofJSON, err error) {
	for i := range proofs {
		if err := proofs[i].check(); err != nil {
			return nil, err
		}
		out = append(out, proofs[i].json())
	}
	return out, nil
}

func parseProofs(list []proofJSON, r *hexReader) (out []Proof) {
	if len(list) > MaxProofs {
		r.err = fmt.Errorf("%w: %d proofs, want at most %d", ErrBody, len(list), MaxProofs)
		return nil
	}
	for i := range list {
		p := list[i].proof(r)
		if err := p.check(); err != nil && r.err == nil {
			r.err = err
		}
		out = append(out, p)
	}
	return out
}
