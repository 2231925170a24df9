package thaw

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"firn/internal/state"
)

// The register is a journal of its own, "thaw", that says which jobs there are and how they stand, so that jobs can be looked at, and cancelled, while another
// process has their journals. Its records are JSON: an entry, whole when the job is created, with nothing but an ID and the status afterwards; the last counts. It is
// locked for the moment in which it is read or changed. If it is lost, so are the jobs; what is thawed is not.
const registerName = "thaw"

// registerPatience is how long to wait for another process that has the register.
const registerPatience = 5 * time.Second

// registerSize is the length, in bytes, from which on the register is written anew.
const registerSize = 1 << 20

// line is one record of the register.
type line struct {
	ID     string  `json:"id,omitempty"`
	Header *Header `json:"header,omitempty"`
	Status *Status `json:"status,omitempty"`
	Gone   bool    `json:"gone,omitempty"`
}

type register struct {
	log     *state.Journal
	entries []Entry // in the order in which they were created
}

// withRegister calls fn with the register, which nobody else changes meanwhile.
func withRegister(s *state.State, now time.Time, fn func(*register)) error {
	lock, err := lockRegister(s, now)
	if err != nil {
		return err
	}
	defer lock.Release()
	r := &register{}
	if r.log, err = s.OpenJournal(registerName, r.replay); err != nil {
		return err
	}
	defer r.log.Close()
	r.forget(s, now)
	fn(r)
	if r.log.Size() > registerSize {
		r.compact()
	}
	return nil
}

func lockRegister(s *state.State, now time.Time) (*state.Lock, error) {
	for waited := time.Duration(0); ; waited += 5 * time.Millisecond {
		lock, err := s.Lock(state.SourceID([]byte("thawjobs")), now)
		var held *state.HeldError
		if !errors.As(err, &held) {
			return lock, err
		}
		if waited >= registerPatience {
			return nil, &BusyError{ID: "list", PID: held.PID, Since: held.Since}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// replay takes in a record. One that cannot be read is left out.
func (r *register) replay(record []byte) error {
	var l line
	if json.Unmarshal(record, &l) != nil {
		return nil
	}
	if l.Header != nil && l.Header.ID != "" {
		l.ID = l.Header.ID
		if k := r.find(l.ID); k >= 0 {
			r.entries[k].Header = *l.Header
		} else {
			r.entries = append(r.entries, Entry{Header: *l.Header})
		}
	}
	k := r.find(l.ID)
	switch {
	case k < 0:
	case l.Gone:
		r.entries = slices.Delete(r.entries, k, k+1)
	case l.Status != nil:
		r.entries[k].Status = *l.Status
	}
	return nil
}

func (r *register) find(id string) int {
	return slices.IndexFunc(r.entries, func(e Entry) bool { return e.Header.ID == id })
}

func (r *register) write(l line) {
	if record, err := json.Marshal(l); err == nil {
		r.log.Append(record)
	}
}

// add adds a job, or changes its header.
func (r *register) add(e Entry) {
	if k := r.find(e.Header.ID); k >= 0 {
		e.Status = r.entries[k].Status
		r.entries[k] = e
	} else {
		r.entries = append(r.entries, e)
	}
	r.write(line{Header: &e.Header, Status: &e.Status})
	r.log.Sync()
}

func (r *register) set(id string, s Status) {
	if k := r.find(id); k >= 0 {
		r.entries[k].Status = s
		r.write(line{ID: id, Status: &s})
	}
}

// forget drops jobs that ended long ago.
func (r *register) forget(s *state.State, now time.Time) {
	for k := len(r.entries) - 1; k >= 0; k-- {
		e := &r.entries[k]
		if e.Status.State == Active || now.Sub(e.Status.At) < KeepEnded {
			continue
		}
		if old, err := s.OpenJournal(journalName(e.Header.ID), nil); err == nil {
			old.Clear()
			old.Close()
		}
		r.write(line{ID: e.Header.ID, Gone: true})
		r.entries = slices.Delete(r.entries, k, k+1)
	}
}

func (r *register) compact() {
	var records [][]byte
	for k := range r.entries {
		if record, err := json.Marshal(line{Header: &r.entries[k].Header, Status: &r.entries[k].Status}); err == nil {
			records = append(records, record)
		}
	}
	r.log.Rewrite(records)
}

// List returns the jobs of this machine, youngest first; those that others work on, too. Jobs that ended KeepEnded before now are forgotten.
func List(s *state.State, now time.Time) ([]Entry, error) {
	if s == nil {
		return nil, nil
	}
	var entries []Entry
	err := withRegister(s, now, func(r *register) { entries = slices.Clone(r.entries) })
	slices.Reverse(entries)
	for k := range entries {
		entries[k].PID = holder(s, entries[k].Header.ID, now)
	}
	return entries, err
}

// holder returns the process that works on a job; 0: none, or unknown.
func holder(s *state.State, id string, now time.Time) int {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != len(state.SourceID{}) {
		return 0
	}
	lock, err := s.Lock(state.SourceID(raw), now)
	if err == nil {
		lock.Release()
		return 0
	}
	var held *state.HeldError
	if errors.As(err, &held) {
		return held.PID
	}
	return 0
}

// Cancel ends a job by its ID or a unique beginning of it; one that is being worked on stops at its next look around. What was asked for comes nevertheless,
// expires by itself after its days, and stays paid for: nothing is refunded. The returned Entry tells how much that is. It fails with *NoJobError or *EndedError.
func Cancel(s *state.State, id string, now time.Time) (Entry, error) {
	e, err := entryOf(s, id, now)
	if err != nil {
		return e, err
	}
	if e.Status.State != Active {
		return e, &EndedError{ID: e.Header.ID, State: e.Status.State}
	}
	err = withRegister(s, now, func(r *register) {
		if k := r.find(e.Header.ID); k >= 0 {
			e.Status = r.entries[k].Status
		}
		e.Status.State, e.Status.At = Cancelled, now.UTC()
		r.set(e.Header.ID, e.Status)
	})
	return e, err
}
