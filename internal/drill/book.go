package drill

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"firn/internal/snapshot"
	"firn/internal/state"
)

// book is the journal of the drills of one source: the proofs of this machine, and the drill under way. Its records are a byte that tells the kind, and JSON:
//
//	p  a proof (FORMAT §11.1); P  one that is in the repository, too
//	b  a drill begins: begun
//	d  the path of a scratch folder that is to be removed: its drill has ended
//	f  files of its sample, as many as fit a few kilobytes; it counts once all are there
//
// A nil journal forgets everything.
type book struct {
	j      *state.Journal
	lock   *state.Lock
	proofs []snapshot.Proof
	known  map[proofKey]bool // those that the repository has
	left   *leftOver
	debris string // scratch folder to be removed
}

// proofKey tells proofs of one source apart.
type proofKey struct {
	seed uint64
	at   int64 // nanoseconds
}

func keyOf(p *snapshot.Proof) proofKey { return proofKey{p.Seed, p.Time.UnixNano()} }

// leftOver is a drill that has not ended.
type leftOver struct {
	snapshot snapshot.ID
	scratch  string
	sample   *Sample
	count    int // of files
}

type begunJSON struct {
	Snapshot string    `json:"snapshot"`
	Scratch  string    `json:"scratch"`
	Begun    time.Time `json:"begun"`
	Files    int       `json:"files"`
	Seed     uint64    `json:"seed,string"`
	Turn     uint32    `json:"turn"`
	Rank     uint32    `json:"rank"`
	Hash     uint64    `json:"hash,string"`
	Pack     uint64    `json:"pack,string"`
	OfFiles  int64     `json:"of_files"`
	OfBytes  int64     `json:"of_bytes"`
	Fresh    int64     `json:"fresh"`
	TooLarge int64     `json:"too_large"`
	TooDear  int64     `json:"too_dear"`
	Packs    int64     `json:"packs"`
	OfPacks  int64     `json:"of_packs"`
	Gaps     int64     `json:"gaps"`
}

type fileJSON struct {
	Path []byte `json:"p"`
	Size int64  `json:"s"`
}

// filesARecord is how many files stand in one record.
const filesARecord = 1000

// openBook opens the book of a source; *state.HeldError: another process drills it.
func openBook(s *state.State, source snapshot.Source, now time.Time) (*book, error) {
	b := &book{known: map[proofKey]bool{}}
	if s == nil {
		return b, nil
	}
	sum := sha256.Sum256(append([]byte("drill"), source[:]...))
	lock, err := s.Lock(state.SourceID(sum[:8]), now)
	if err != nil {
		return nil, err
	}
	b.lock = lock
	b.j, err = s.OpenJournal("drill-"+source.String(), b.replay)
	if err != nil { // replay fails for nothing that the journal's own sums would let through but records of another version
		b.j, err = s.OpenJournal("drill-"+source.String(), func([]byte) error { return nil })
	}
	if err != nil {
		lock.Release()
		return nil, err
	}
	if b.left != nil && len(b.left.sample.Files) != b.left.count {
		b.left = nil
	}
	return b, nil
}

func (b *book) close() {
	if b == nil {
		return
	}
	if b.j != nil {
		b.j.Close()
	}
	if b.lock != nil {
		b.lock.Release()
	}
}

// replay takes one record; what it does not understand is left out.
func (b *book) replay(record []byte) error {
	if len(record) == 0 {
		return nil
	}
	switch body := record[1:]; record[0] {
	case 'p', 'P':
		if p, err := snapshot.ParseProof(body); err == nil {
			b.proofs = append(b.proofs, p)
			b.known[keyOf(&p)] = b.known[keyOf(&p)] || record[0] == 'P'
		}
	case 'd':
		b.debris = string(body)
	case 'b':
		var j begunJSON
		id, err := snapshot.ID{}, json.Unmarshal(body, &j)
		if err == nil {
			id, err = snapshot.ParseID(j.Snapshot)
		}
		if b.left = nil; err == nil {
			b.left = j.leftOver(id)
		}
	case 'f':
		var files []fileJSON
		if b.left == nil || json.Unmarshal(body, &files) != nil {
			return nil
		}
		for _, f := range files {
			b.left.sample.Files = append(b.left.sample.Files, File(f))
			b.left.sample.Bytes += f.Size
		}
	}
	return nil
}

func (j *begunJSON) leftOver(id snapshot.ID) *leftOver {
	s := &Sample{Seed: j.Seed, Reach: snapshot.Reach{Turn: j.Turn, Rank: j.Rank, Hash: j.Hash, Pack: j.Pack}, OfFiles: j.OfFiles, OfBytes: j.OfBytes,
		Fresh: j.Fresh, TooLarge: j.TooLarge, TooDear: j.TooDear, Packs: j.Packs, OfPacks: j.OfPacks, Gaps: j.Gaps}
	return &leftOver{id, j.Scratch, s, j.Files}
}

// begin notes a trial, on disk when it returns.
func (b *book) begin(t *Trial, now time.Time) error {
	if b.j == nil {
		return nil
	}
	s := t.Sample
	head, err := json.Marshal(&begunJSON{
		Snapshot: t.Snapshot.ID.String(), Scratch: t.Target, Begun: now.UTC(), Files: len(s.Files), Seed: s.Seed, Turn: s.Reach.Turn, Rank: s.Reach.Rank, Hash: s.Reach.Hash,
		Pack: s.Reach.Pack, OfFiles: s.OfFiles, OfBytes: s.OfBytes, Fresh: s.Fresh, TooLarge: s.TooLarge, TooDear: s.TooDear, Packs: s.Packs, OfPacks: s.OfPacks, Gaps: s.Gaps,
	})
	if err != nil {
		return fmt.Errorf("journal of drills: %w", err)
	}
	b.j.Append(append([]byte{'b'}, head...))
	for some := range slices.Chunk(s.Files, filesARecord) {
		list := make([]fileJSON, len(some))
		for i := range some {
			list[i] = fileJSON(some[i])
		}
		raw, err := json.Marshal(list)
		if err != nil {
			return fmt.Errorf("journal of drills: %w", err)
		}
		b.j.Append(append([]byte{'f'}, raw...))
	}
	b.j.Sync()
	return nil
}

// forget drops the drill under way.
func (b *book) forget() {
	b.left = nil
	b.rewrite()
}

// end drops it for its proof. debris is its scratch folder, where that is not to stay.
func (b *book) end(p *snapshot.Proof, debris string) {
	b.debris = debris
	b.proofs = snapshot.MergeProofs(b.proofs, []snapshot.Proof{*p})
	b.forget()
}

// clear removes the scratch folder of a drill that has ended.
func (b *book) clear() error {
	if b.debris == "" {
		return nil
	}
	err := removeScratch(b.debris)
	b.debris = ""
	b.rewrite()
	return err
}

// unstored are the proofs that are not in the repository.
func (b *book) unstored() (out []snapshot.Proof) {
	for i := range b.proofs {
		if !b.known[keyOf(&b.proofs[i])] {
			out = append(out, b.proofs[i])
		}
	}
	return out
}

// stored notes that the repository has them all.
func (b *book) stored() {
	for i := range b.proofs {
		b.known[keyOf(&b.proofs[i])] = true
	}
	b.rewrite()
}

func (b *book) rewrite() {
	if b.j == nil {
		return
	}
	var records [][]byte
	for i := range b.proofs {
		raw, err := b.proofs[i].Marshal()
		if err != nil {
			continue
		}
		kind := byte('p')
		if b.known[keyOf(&b.proofs[i])] {
			kind = 'P'
		}
		records = append(records, append([]byte{kind}, raw...))
	}
	if b.debris != "" {
		records = append(records, append([]byte{'d'}, b.debris...))
	}
	b.j.Rewrite(records)
	b.j.Sync()
}
