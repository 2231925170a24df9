package sync

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"

	"firn/internal/bucket"
)

func newBytes(b []byte) io.ReadSeeker { return bytes.NewReader(b) }

// spill keeps jobs for later: a few in memory, more in a temporary file. The zero value is empty.
type spill struct {
	mu    sync.Mutex
	few   []*job
	f     *os.File
	w     *bufio.Writer
	n     int64
	bytes int64
}

// spillAfter is how many jobs stay in memory.
const spillAfter = 4096

// spilled is a job on disk.
type spilled struct {
	A       Action
	K       []byte         // names of files need not be UTF-8
	P       []byte         `json:",omitempty"`
	Abs     []byte         `json:",omitempty"`
	Link    []byte         `json:",omitempty"`
	IsLink  bool           `json:",omitempty"`
	Dir     bool           `json:",omitempty"`
	Size    int64          `json:",omitempty"`
	Mode    uint32         `json:",omitempty"`
	Local   bool           `json:",omitempty"`
	Change  string         `json:",omitempty"`
	Asked   int64          `json:",omitempty"`
	From    *bucket.Object `json:",omitempty"`
	To      *bucket.Object `json:",omitempty"`
	FromKey string         `json:",omitempty"`
	ToKey   string         `json:",omitempty"`
	Told    bool           `json:",omitempty"`
}

// add takes a job.
func (s *spill) add(j *job) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	for _, o := range []*object{j.to, j.from} {
		if o != nil {
			s.bytes += o.Size
			break
		}
	}
	if s.f == nil && len(s.few) < spillAfter {
		s.few = append(s.few, j)
		return nil
	}
	if s.f == nil {
		f, err := os.CreateTemp("", "firn-sync-*")
		if err != nil {
			return err
		}
		s.f, s.w = f, bufio.NewWriterSize(f, 64<<10)
	}
	d := spilled{A: j.action, K: []byte(j.key), Change: j.change, Asked: j.asked, Told: j.told}
	if l := j.local; l != nil {
		d.Local, d.P, d.Abs, d.Link, d.IsLink, d.Dir, d.Size, d.Mode = true, []byte(l.path), []byte(l.abs), []byte(l.link), l.isLnk, l.dir, l.size, l.mode
	}
	if j.from != nil {
		d.From, d.FromKey = &j.from.Object, j.from.key
	}
	if j.to != nil {
		d.To, d.ToKey = &j.to.Object, j.to.key
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = s.w.Write(append(raw, '\n'))
	return err
}

// each gives the jobs in the order in which they were added. Nothing may be added meanwhile.
func (s *spill) each(fn func(*job) error) error {
	for _, j := range s.few {
		if err := fn(j); err != nil {
			return err
		}
	}
	if s.f == nil {
		return nil
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	in := json.NewDecoder(bufio.NewReaderSize(s.f, 64<<10))
	for {
		var d spilled
		if err := in.Decode(&d); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		j := &job{action: d.A, key: string(d.K), change: d.Change, asked: d.Asked, told: d.Told}
		if d.Local {
			j.local = &localFile{path: string(d.P), key: string(d.K), abs: string(d.Abs), link: string(d.Link), isLnk: d.IsLink, dir: d.Dir, size: d.Size, mode: d.Mode}
		}
		if d.From != nil {
			j.from = &object{*d.From, d.FromKey}
		}
		if d.To != nil {
			j.to = &object{*d.To, d.ToKey}
		}
		if err := fn(j); err != nil {
			return err
		}
	}
}

func (s *spill) close() {
	if s.f != nil {
		_ = s.f.Close()
		_ = os.Remove(s.f.Name())
		s.f = nil
	}
}
