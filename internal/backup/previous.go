package backup

import (
	"bytes"
	"errors"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/source"
	"firn/internal/state"
)

// previous is what an earlier run saw, read twice side by side: by the planner, which compares, and behind it by the emitter, which takes
// over.
type previous struct {
	plan    *state.StatReader
	emit    *state.StatReader
	whole   bool // of a run that ended
	verify  bool // chunks may be missing or retired: look each up
	index   int64
	emitted int64 // records that the emitter has passed
	started bool
	atEnd   bool
	matches bool // the planner's record is that of the entry asked for

	lineCopy []byte // of the record that find and checkLine judged touched
}

// find moves to the entry's path and compares.
func (p *previous) find(e *source.Entry, d Detect) (verdict, error) {
	p.matches = false
	if !p.started {
		p.started = true
		p.atEnd = !p.plan.Next()
	}
	for !p.atEnd {
		c := manifest.Compare(p.plan.Path, e.Path)
		if c > 0 {
			return modified, nil
		}
		if c == 0 {
			p.matches = true
			return d.compare(&e.Stat, &p.plan.Stat), nil
		}
		p.atEnd = !p.plan.Next() // was removed, or is left out now
		p.index++
	}
	return modified, nil
}

// A cached line is the manifest line with its newline, and behind it, for a file with a content tree, the ids of its chunks: a count of data
// chunks (4 bytes, big-endian), their ids, then the ids of the tree's chunks, so that nobody has to read the tree to know what the file needs.

// splitLine takes a cached line apart.
func splitLine(raw []byte) (line, extra []byte) {
	if i := bytes.IndexByte(raw, '\n'); i >= 0 {
		return raw[:i+1], raw[i+1:]
	}
	return raw, nil
}

// appendExtra appends what splitLine takes off.
func appendExtra(line []byte, data, nodes []digest.Chunk) []byte {
	n := len(data)
	line = append(line, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	for _, ids := range [2][]digest.Chunk{data, nodes} {
		for i := range ids {
			line = append(line, ids[i][:]...)
		}
	}
	return line
}

type neededChunk struct {
	id   digest.Chunk
	kind chunk.Kind
}

var errExtra = errors.New("record of a large file is damaged")

// chunksOf returns the chunks that a line needs, extra as in splitLine. Neighbouring pieces of one chunk count once.
func chunksOf(e *manifest.Entry, extra []byte) ([]neededChunk, error) {
	var out []neededChunk
	if !e.Tree.IsEmpty() {
		if len(extra) < 4 || (len(extra)-4)%32 != 0 {
			return nil, errExtra
		}
		n := int(extra[0])<<24 | int(extra[1])<<16 | int(extra[2])<<8 | int(extra[3])
		all := extra[4:]
		if n > len(all)/32 || n == len(all)/32 {
			return nil, errExtra
		}
		for i := range len(all) / 32 {
			kind := chunk.Data
			if i >= n {
				kind = chunk.Meta
			}
			out = append(out, neededChunk{digest.Chunk(all[32*i:]), kind})
		}
		return out, nil
	}
	for _, p := range e.Content {
		if !p.IsHole() && (len(out) == 0 || out[len(out)-1].id != p.Chunk) {
			out = append(out, neededChunk{p.Chunk, chunk.Data})
		}
	}
	return out, nil
}
