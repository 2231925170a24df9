package coldtest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// stateFile is where, in Options.Folder, the state is kept between two servers: all that there is but users, faults, the log and what was billed so far.
const stateFile = "state.json"

type savedState struct {
	Blobs   uint64
	Thaws   uint64
	Buckets []savedBucket
}

type savedBucket struct {
	Name       string
	Created    time.Time
	Versioning string
	Versions   uint64
	Lock       *lockConfiguration
	Lifecycle  []lifecycleRule
	Objects    []savedVersion
	Uploads    []savedUpload
}

type savedVersion struct {
	version
	Content []savedPiece
	Restore *savedRestore
}

type savedPiece struct {
	File  string // in the folder
	Size  int64
	Bytes []byte // of what is in memory
}

type savedRestore struct {
	Tier    string
	Days    int
	Ready   time.Time
	Expires time.Time
}

type savedUpload struct {
	ID, Key, Class     string
	Started, Until     time.Time
	Algorithm, SumType string
	Header             map[string]string
	Mode               string
	Hold               bool
	Parts              []savedPart
}

type savedPart struct {
	part
	Content []savedPiece
}

// save writes the state. s.mu is held.
func (s *Server) save() error {
	out := savedState{Blobs: s.blobs, Thaws: s.thaws}
	for _, b := range s.buckets {
		one := savedBucket{Name: b.name, Created: b.created, Versioning: b.versioning, Versions: b.versions, Lock: b.lock, Lifecycle: b.lifecycle}
		b.keys.from("", func(e *entry) bool {
			for _, v := range e.versions {
				o := savedVersion{version: *v, Content: v.content.save()}
				if r := v.restore; r != nil {
					o.Restore = &savedRestore{r.tier, r.days, r.ready, r.expires}
				}
				one.Objects = append(one.Objects, o)
			}
			return true
		})
		for _, u := range b.uploads {
			up := savedUpload{ID: u.id, Key: u.key, Class: u.class, Started: u.started, Until: u.until, Algorithm: u.algorithm, SumType: u.sumType, Header: u.header, Mode: u.mode, Hold: u.hold}
			for _, p := range u.parts {
				up.Parts = append(up.Parts, savedPart{part: *p, Content: p.content.save()})
			}
			one.Uploads = append(one.Uploads, up)
		}
		out.Buckets = append(out.Buckets, one)
	}
	text, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return err
	}
	path := filepath.Join(s.o.Folder, stateFile)
	if err := os.WriteFile(path+"~", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+"~", path)
}

func (b blob) save() (out []savedPiece) {
	for _, p := range b {
		one := savedPiece{Size: p.size, Bytes: p.b}
		if p.path != "" {
			one.File = filepath.Base(p.path)
		}
		out = append(out, one)
	}
	return out
}

// load reads what another server left in the folder. Nothing is fine.
func (s *Server) load() error {
	text, err := os.ReadFile(filepath.Join(s.o.Folder, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var in savedState
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	s.blobs, s.thaws = in.Blobs, in.Thaws
	shared := map[string]*piece{}
	for _, one := range in.Buckets {
		b := s.newBucket(one.Name)
		b.created, b.versioning, b.versions, b.lock, b.lifecycle = one.Created, one.Versioning, one.Versions, one.Lock, one.Lifecycle
		for i := range one.Objects {
			s.loadVersion(b, &one.Objects[i], shared)
		}
		for _, up := range one.Uploads {
			u := &upload{id: up.ID, key: up.Key, class: up.Class, started: up.Started, until: up.Until, algorithm: up.Algorithm, sumType: up.SumType, header: up.Header, mode: up.Mode,
				hold: up.Hold, parts: map[int]*part{}}
			for i := range up.Parts {
				p := up.Parts[i].part
				p.content = s.loadBlob(up.Parts[i].Content, shared)
				u.parts[p.Number] = &p
				s.meter.partComes(s.begin, u.class, p.Size*s.o.Scale)
			}
			b.uploads[u.id] = u
		}
		if len(b.lifecycle) > 0 {
			s.schedule(b)
		}
	}
	return nil
}

// loadVersion puts a version back as it was.
func (s *Server) loadVersion(b *bucket, o *savedVersion, shared map[string]*piece) {
	v := o.version
	v.content = s.loadBlob(o.Content, shared)
	e := b.keys.make(v.Key)
	e.versions = append(e.versions, &v)
	if v.Marker {
		return
	}
	s.enter(&v, v.Since)
	if o.Restore == nil {
		return
	}
	r := &restore{tier: o.Restore.Tier, days: o.Restore.Days, ready: o.Restore.Ready, expires: o.Restore.Expires}
	v.restore = r
	if r.expires.IsZero() {
		if r.fast = r.tier == expedited; r.fast {
			s.fast++
		}
		s.whenReady(&v, r)
		return
	}
	s.meter.copyBegins(s.begin, v.Size*s.o.Scale)
	s.whenExpired(&v, r)
}

// loadBlob finds pieces, each once.
func (s *Server) loadBlob(saved []savedPiece, shared map[string]*piece) (out blob) {
	for _, one := range saved {
		p := shared[one.File]
		if p == nil || one.File == "" {
			p = &piece{b: one.Bytes, size: one.Size}
			if one.File != "" {
				p.path = filepath.Join(s.o.Folder, filepath.Base(one.File))
				shared[one.File] = p
			}
		}
		p.uses.Add(1)
		out = append(out, p)
	}
	return out
}
